"""The list of stories is complete, and names stories that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stories.examples import COUNTS, EXAMPLES
from tests.stories.test_examples import names_in
from tests.sync.pages import BY_COMMAND, FILES, STATEMENTS, STORIES


@pytest.mark.parametrize("page", COUNTS)
def test_every_example_has_one_story(page: str) -> None:
    told = [number for numbers in STORIES[page].values() for number in numbers]
    assert sorted([*told, *BY_COMMAND.get(page, ())]) == [*range(1, COUNTS[page] + 1)]


def test_no_other_page_is_listed() -> None:
    assert STORIES.keys() == COUNTS.keys()


def test_what_is_left_to_the_command_line_is_tested_there() -> None:
    left = [example for example in EXAMPLES if example.number in BY_COMMAND.get(example.page, ())]
    assert len(left) == 14
    assert {example.story.partition("::")[0] for example in left} == {"tests/cli/test_commands.py"}


@pytest.mark.parametrize("file", FILES)
def test_the_stories_of_a_file_are_those_of_the_list(file: str) -> None:
    listed = {story for stories in STORIES.values() for story in stories} | set(STATEMENTS)
    there = {f"{file}::{name}" for name in names_in(Path(__file__).parent / file)}
    assert there == {story for story in listed if story.startswith(file)}
