"""`aiorq.sync` is what the generator makes, lacks nothing that the async API has, and does not speak of awaiting.

The first test holds the modules against the generator; the others hold what comes of it, and what is written by hand,
against the async API, and know nothing of how it was made.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
from collections.abc import Iterator, Set
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final, NamedTuple

import pytest

import aiorq
import aiorq.sync
from aiorq import errors, registry, worker
from aiorq.cron import scheduler
from aiorq.sync import exceptions, operators
from aiorq.sync import worker as sync_worker
from aiorq.sync.cron import scheduler as sync_scheduler
from tests.sync.generate import MODULES, WORDS, Module, Transformer, made

HERE = Path(aiorq.sync.__file__).parent
ALL = sorted(str(path.relative_to(HERE).with_suffix("")) for path in HERE.rglob("*.py"))
BY_HAND = (
    (worker.Worker, sync_worker.Worker),
    (worker.SpawnWorker, sync_worker.SpawnWorker),
    (worker.SimpleWorker, sync_worker.SimpleWorker),
    (worker.WorkerPool, sync_worker.WorkerPool),
    (scheduler.CronScheduler, sync_scheduler.CronScheduler),
    (scheduler.create_cron, sync_scheduler.create_cron),
)
"""Classes of which the blocking one is not made of the other."""
ONLY_ASYNC: Final = {"Worker.work": {"handle_signals"}, "CronScheduler.start": {"handle_signals"}}
"""Parameters that only the async side has: outside of an event loop there is no doubt whose the signals are."""
IN_LOOPS: Final = {"CronScheduler": {"run", "after", "request_stop"}}
"""Methods that only the async side has: `start` is the way for scripts already; the others are called within a loop."""
ABOUT_LOOPS: Final = {
    "cron/__init__": ["Cron without `await`"],
    "cron/scheduler": ["started in an event loop of its own"],
    "__init__": [
        "without `await`",
        "thread or an event loop",
        "of the async ones",
        "start the async ones in an event loop",
    ],
    "job": ["A coroutine gets `asyncio.CancelledError`"],
    "operators": ["made of the async ones"],
    "worker": [
        "started in an event loop of its own",
        "beside a running event loop as in a notebook",
        "where an event loop can run",
        "the worker of `aiorq`",
    ],
}
"""What is said of awaiting because it is so."""
INDENT = " " * 8
WRONG = re.compile(r"\bawait|\basync\b|coroutine|event loop|asyncio", re.IGNORECASE)


class Pair(NamedTuple):
    """Something public of both sides."""

    name: str
    theirs: Any
    """The async one's."""
    ours: Any
    module: Module | None = None


def modules_of(module: Module) -> tuple[ModuleType, ModuleType]:
    return import_module(f"aiorq.{module.source}"), import_module(f"aiorq.sync.{module.name}")


def public_names(module: ModuleType, shared: Set[str]) -> Iterator[str]:
    """What a module defines for others and does not share with its other half."""
    for name, value in vars(module).items():
        is_public = name not in shared and not name.startswith("_")
        if is_public and isinstance(value, (type, FunctionType)) and value.__module__ == module.__name__:
            yield name


def members(kind: type[Any]) -> dict[str, Any]:
    """What a class has by itself or from its bases here, dunders among it."""
    found: dict[str, Any] = {}
    for base in kind.__mro__:
        if base.__module__.startswith("aiorq"):
            for name, value in vars(base).items():
                if not name.startswith("_") or (name in ("__init__", "__call__")):
                    found.setdefault(name, value)
    return found


def pairs() -> Iterator[Pair]:
    for module in MODULES:
        theirs, ours = modules_of(module)
        for name in public_names(theirs, module.shared):
            yield Pair(name, getattr(theirs, name), getattr(ours, name, None), module)
    for theirs_too, ours_too in BY_HAND:
        yield Pair(theirs_too.__name__, theirs_too, ours_too)


PAIRS = list(pairs())
CALLABLES = [
    *(pair for pair in PAIRS if not isinstance(pair.theirs, type)),
    *(
        Pair(f"{pair.name}.{name}", value, inspect.getattr_static(pair.ours, name, None), pair.module)
        for pair in PAIRS
        if isinstance(pair.theirs, type)
        for name, value in members(pair.theirs).items()
        if name not in IN_LOOPS.get(pair.name, ())
        if callable(value) or isinstance(value, (property, classmethod, staticmethod))
    ),
]


def unwrapped(value: Any) -> Any:
    """The function within."""
    value = value.fget if isinstance(value, property) else value
    return value.__func__ if isinstance(value, (classmethod, staticmethod)) else value


def text_of(value: Any, pair: Pair | None = None) -> str:
    """The docstring; with `pair`, as it is on the other side."""
    text = value.__doc__ or ""
    if pair is not None and pair.module is not None:
        for old, new in (*WORDS, *pair.module.words):
            # Since Python 3.13 docstrings are not indented.
            text = text.replace(old.removeprefix(INDENT), new.removeprefix(INDENT))
    return inspect.cleandoc(text)


def spoken(path: Path) -> Iterator[str]:
    """The docstrings and the comments of a module, and the names that it defines."""
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        assert not isinstance(node, (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)), path
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if (
            token.type == tokenize.COMMENT
            and "noqa" not in token.string
            and "tests/sync/generate.py" not in token.string
        ):
            yield token.string


def test_the_modules_are_what_the_generator_makes() -> None:
    """To the last name; how lines are broken does not matter."""
    stale = [
        path.name
        for path, text in made()
        if not path.exists() or ast.dump(ast.parse(path.read_text(encoding="utf-8"))) != ast.dump(ast.parse(text))
    ]
    assert stale == [], "run python -m tests.sync.generate"


@pytest.mark.parametrize("source", ["async with a: ...", "async for a in b: ...", "[a async for a in b]"])
def test_what_the_generator_cannot_turn_round_it_refuses(source: str) -> None:
    transformer = Transformer(MODULES[0])
    transformer.tree = ast.parse(f"async def f(a, b):\n    {source}")
    with pytest.raises(ValueError, match="nothing here knows"):
        transformer.result()


@pytest.mark.parametrize("name", ALL)
def test_nothing_speaks_of_awaiting(name: str) -> None:
    for text in spoken(HERE / f"{name}.py"):
        for allowed in ABOUT_LOOPS.get(name, ()):
            text = " ".join(text.split()).replace(allowed, "")
        assert WRONG.search(text) is None, text


def test_all_words_are_used() -> None:
    """No replacement is left over from a text that is another one now."""
    sources = [Transformer(module).source.decode() for module in MODULES]
    for old, _ in WORDS:
        assert any(old in source for source in sources), old
    for source, module in zip(sources, MODULES, strict=True):
        for old, _ in module.words:
            assert old in source, old


def test_modules_have_all_names() -> None:
    assert [pair.name for pair in PAIRS if pair.ours is None] == []
    assert len(PAIRS) > 40
    assert len(CALLABLES) > 250


@pytest.mark.parametrize("name", sorted(set(aiorq.__all__) - {"WorkerInfo"}))
def test_the_package_has_all_names(name: str) -> None:
    assert name in aiorq.sync.__all__
    assert getattr(aiorq.sync, name).__name__ == getattr(aiorq, name).__name__ if name[0].isupper() else True


@pytest.mark.parametrize("pair", CALLABLES, ids=lambda pair: pair.name)
def test_signatures_and_docstrings(pair: Pair) -> None:
    """The same parameters with the same types and defaults, and the same text, with other words where it must be.

    A property may stand for a coroutine without parameters: then it has the type that the coroutine gives.
    """
    theirs, ours = unwrapped(pair.theirs), unwrapped(pair.ours)
    assert ours is not None, f"aiorq.sync lacks {pair.name}"
    if isinstance(theirs, type):
        assert isinstance(ours, type)
        return
    if isinstance(pair.theirs, property):
        assert isinstance(pair.ours, property)
    assert not inspect.iscoroutinefunction(ours)
    wanted, taken = inspect.signature(theirs), inspect.signature(ours)
    only_async = ONLY_ASYNC.get(re.sub(r"^\w+Worker\.", "Worker.", pair.name), set())
    assert only_async <= set(wanted.parameters)
    for (name, parameter), mine in zip(
        ((name, each) for name, each in wanted.parameters.items() if name not in only_async),
        taken.parameters.values(),
        strict=True,
    ):
        assert (mine.name, mine.kind) == (name, parameter.kind)
        if not (pair.name.endswith("Worker.work") and name == "dequeue_strategy"):  # None is for that of the class
            assert (mine.default, mine.annotation) == (parameter.default, parameter.annotation)
    assert taken.return_annotation == wanted.return_annotation
    if pair.module is not None and ours.__module__ != operators.__name__:
        assert text_of(ours) == text_of(theirs, pair)
    elif "__init__" not in pair.name or theirs is ours:
        assert text_of(ours)


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if isinstance(pair.theirs, type)], ids=lambda pair: pair.name)
def test_classes(pair: Pair) -> None:
    """Annotated attributes, class attributes and docstrings are the same; what is there besides is RQ's."""
    assert text_of(pair.ours)
    assert text_of(pair.ours) == text_of(pair.theirs, pair) or pair.module is None
    theirs, ours = members(pair.theirs), members(pair.ours)
    for name in IN_LOOPS.get(pair.name, ()):
        del theirs[name]
    assert theirs.keys() <= ours.keys()
    for name, value in theirs.items():
        if isinstance(value, (int, str, float)):
            assert ours[name] == value, name
    assert {name for name, note in noted(pair.theirs).items() if noted(pair.ours).get(name) != note} == set()


def noted(kind: type[Any]) -> dict[str, Any]:
    """Of public attributes of the class."""
    return {name: note for name, note in inspect.get_annotations(kind).items() if not name.startswith("_")}


def test_errors_are_all_there() -> None:
    """Under RQ's name for their module, and the same ones: what a callee raises is caught by either name."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind.__module__ == errors.__name__]
    raised = {kind.__name__: kind for kind in kinds}
    assert raised == {name: getattr(exceptions, name) for name in exceptions.__all__}


def test_registries_are_all_there() -> None:
    ours = import_module("aiorq.sync.registry")
    assert [kind.__name__ for kind in registry.REGISTRIES] == [kind.__name__ for kind in ours.REGISTRIES]
    assert not {*registry.REGISTRIES} & {*ours.REGISTRIES}
