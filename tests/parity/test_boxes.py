"""Every box of the checklist has its test, and what the README says is not here is RQ's and is not here."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import rq
import rq.cron
import rq.executions
import rq.group
import rq.job
import rq.registry
import rq.results
import rq.worker

import aiorq
import aiorq.cron
import aiorq.errors
import aiorq.executions
import aiorq.registry
from tests.parity.boxes import BOXES, COUNTS

HERE = Path(__file__).parent
README = HERE.parents[1] / "README.md"
HEAD = "| of RQ's | why it is not here |"
COMING = "to come"
CLASSES: dict[str, tuple[type[Any], type[Any]]] = {
    "BaseRegistry": (rq.registry.BaseRegistry, aiorq.registry.BaseRegistry),
    "BaseWorker": (rq.worker.BaseWorker, aiorq.Worker),
    "CronJob": (rq.cron.CronJob, aiorq.cron.CronJob),
    "CronScheduler": (rq.cron.CronScheduler, aiorq.cron.CronScheduler),
    "Execution": (rq.executions.Execution, aiorq.executions.Execution),
    "ExecutionRegistry": (rq.executions.ExecutionRegistry, aiorq.executions.ExecutionRegistry),
    "FailedJobRegistry": (rq.registry.FailedJobRegistry, aiorq.registry.FailedJobRegistry),
    "Group": (rq.group.Group, aiorq.Group),
    "Job": (rq.job.Job, aiorq.Job),
    "Queue": (rq.Queue, aiorq.Queue),
    "RateLimitRegistry": (rq.rate_limit.RateLimitRegistry, aiorq.registry.RateLimitRegistry),
    "ReadyJobRegistry": (rq.registry.ReadyJobRegistry, aiorq.registry.ReadyJobRegistry),
    "Result": (rq.results.Result, aiorq.Result),
    "ScheduledJobRegistry": (rq.registry.ScheduledJobRegistry, aiorq.registry.ScheduledJobRegistry),
    "StartedJobRegistry": (rq.registry.StartedJobRegistry, aiorq.registry.StartedJobRegistry),
    "Worker": (rq.Worker, aiorq.Worker),
}
"""Classes that the table names, RQ's and ours."""
HOMES = {"rq.exceptions": "aiorq.errors"}
"""Where the names of a module of RQ's would be, if not in the module of the same name."""
TOKEN = re.compile(r"(?P<owner>[\w.]*)\.(?P<name>\w+)(\((?P<parameter>\w+)\))?|(?P<maker>\w+)\((?P<option>\w+)\)")


class Absent(NamedTuple):
    """A name of the README's table."""

    token: str
    comes: bool
    """Whether it is only to come."""


def _spell_out(cell: str) -> list[str]:
    """The names in a cell; one that begins with a dot belongs to the owner of the one before."""
    found: list[str] = []
    owner = ""
    for token in re.findall(r"`([^`]+)`", cell):
        if token.isupper() or token.startswith("REDIS_"):
            continue  # a variable of the environment
        whole = owner + token if token.startswith(".") else token
        if "(" not in whole.partition(".")[0]:
            owner = whole.partition("(")[0].rpartition(".")[0]
        found.append(whole)
    return found


def absentees() -> list[Absent]:
    lines = README.read_text(encoding="utf-8").splitlines()
    found = []
    for line in lines[lines.index(HEAD) + 2 :]:
        if not line.startswith("|"):
            break
        _, names, reason, _ = line.split("|")
        found += [Absent(name, reason.strip().startswith(COMING)) for name in _spell_out(names)]
    return found


ABSENT = absentees()


def parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)


def test_every_box_has_its_test() -> None:
    """The table names the tests that there are, in the files' own words, and as many as the checklist has boxes."""
    assert Counter(box.section for box in BOXES) == COUNTS
    assert len(BOXES) == len({box.test for box in BOXES}) == sum(COUNTS.values()) == 76
    docstrings = {}
    for file in {box.test.partition("::")[0] for box in BOXES}:
        for node in ast.parse((HERE / file).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                docstrings[f"{file}::{node.name}"] = ast.get_docstring(node) or ""
    assert docstrings.keys() == {box.test for box in BOXES}
    for box in BOXES:
        assert docstrings[box.test].startswith(f"{box.section}, box {box.number}: "), box


def test_the_table_has_names() -> None:
    assert len(ABSENT) == len({absent.token for absent in ABSENT}) > 80


@pytest.mark.parametrize("absent", ABSENT, ids=lambda absent: absent.token)
def test_absent(absent: Absent) -> None:
    """It is really RQ's, and really not here."""
    token = absent.token
    if find_module(token) is not None:
        assert absent.comes or find_spec(token.replace("rq", "aiorq", 1)) is None
        return
    match = TOKEN.fullmatch(token)
    assert match is not None, token
    if match["maker"]:
        theirs, ours = CLASSES[match["maker"]]
        assert match["option"] in parameters(theirs)
        assert match["option"] not in parameters(ours)
        return
    owner, name, parameter = match["owner"], match["name"], match["parameter"]
    if owner.startswith("rq."):
        his: Any = find_module(owner)
        home = HOMES.get(owner, owner.replace("rq", "aiorq", 1))
        mine: Any = import_module(home) if find_spec(home) else aiorq
    else:
        his, mine = CLASSES[owner]
    assert his is not None, owner
    if parameter:
        assert parameter in parameters(getattr(his, name))
        assert parameter not in parameters(getattr(mine, name))
    else:
        assert has(his, name), f"RQ has no {token}"
        assert absent.comes or not has(mine, name), f"aiorq has {token}"


def find_module(name: str) -> ModuleType | None:
    try:
        return import_module(name) if name.startswith("rq") else None
    except ModuleNotFoundError:
        return None


def has(owner: Any, name: str) -> bool:
    found = inspect.getattr_static(owner, name, None)
    return found is not None or isinstance(found, property | cached_property)
