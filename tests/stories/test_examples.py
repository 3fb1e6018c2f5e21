"""The list of the examples of RQ's pages is complete, and names stories that there are."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.cli.test_commands import test_arguments as arguments_of_cli
from tests.stories.examples import COUNTS, EXAMPLES, STATEMENTS

ROOT = Path(__file__).parents[2]
PAGES = ["test_queues_page.py", "test_queues_page_chains.py", "test_jobs_pages.py", "test_results_page.py"]
STORIES = [entry.story for entry in EXAMPLES] + [entry.story for entry in STATEMENTS]


def names_in(path: Path) -> set[str]:
    """The tests of a file, as `class::test`, or `test`."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {
            prefix + each.name
            for each in inner
            if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)) and each.name.startswith("test_")
        }
    return found


@pytest.mark.parametrize("page", COUNTS)
def test_every_example_is_listed_once(page: str) -> None:
    listed = [example.number for example in EXAMPLES if example.page == page]
    assert listed == list(range(1, COUNTS[page] + 1))


def test_no_other_page_is_listed() -> None:
    assert {example.page for example in EXAMPLES} == set(COUNTS)
    assert {statement.page for statement in STATEMENTS} <= set(COUNTS)


def test_every_example_has_a_story_or_a_reason() -> None:
    assert [example for example in EXAMPLES if not (example.story or example.note)] == []
    assert [statement for statement in STATEMENTS if not (statement.story or statement.note)] == []


@pytest.mark.parametrize("story", sorted({story for story in STORIES if story}))
def test_the_story_exists(story: str) -> None:
    path, _, name = story.partition("::")
    assert name in names_in(ROOT / path)


@pytest.mark.parametrize("argument", [example.argument for example in EXAMPLES if example.argument])
def test_the_argument_has_a_case(argument: str) -> None:
    [mark] = [mark for mark in vars(arguments_of_cli)["pytestmark"] if mark.name == "parametrize"]
    assert [argument] in [given for given, _ in mark.args[1]]


@pytest.mark.parametrize("file", PAGES)
def test_every_story_is_listed(file: str) -> None:
    path = Path(__file__).parent / file
    named = {f"tests/stories/{file}::{name}" for name in names_in(path)}
    assert named - set(STORIES) == set()
