"""The stories of RQ's pages with RQ itself: they say what RQ does, and nothing but their import lines is changed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from aiorq.server import EmbeddedServer
from tests.conftest import JOBS
from tests.sync.pages import FILES
from tests.sync.workers import AtWork, at_work

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of `job.result` and `job.exc_info`
SOMEWHERE = "somewhere_of_rq"


def for_rq(source: str) -> str:
    """The same text with RQ's import lines."""
    return source.replace("aiorq.sync", "rq").replace("import somewhere\n", f"import {SOMEWHERE} as somewhere\n")


def stories_of(file: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The tests of a file of stories, with RQ in the place of aiorq."""
    path = Path(__file__).parent / file
    module = ModuleType(f"{path.stem}_with_rq")
    exec(compile(for_rq(path.read_text(encoding="utf-8")), path, "exec"), module.__dict__)
    for name, value in vars(module).items():
        if name.startswith("test_"):
            yield f"{name}_{path.stem.rpartition('_')[2]}", value


def make_somewhere() -> None:
    """Make RQ's module of functions, for the import of the stories."""
    module = ModuleType(SOMEWHERE)
    exec(compile(for_rq((JOBS / "somewhere.py").read_text(encoding="utf-8")), SOMEWHERE, "exec"), module.__dict__)
    sys.modules[SOMEWHERE] = module


make_somewhere()
for each in FILES:
    globals().update(stories_of(each))


@pytest.fixture(name="at_work")
def at_work_of_rq(server: EmbeddedServer, tmp_path: Path) -> AtWork:
    """Has a worker of RQ take jobs from queues within a block."""
    (tmp_path / f"{SOMEWHERE}.py").write_text(for_rq((JOBS / "somewhere.py").read_text(encoding="utf-8")))
    return partial(at_work, "rq", server.url, [JOBS, tmp_path])
