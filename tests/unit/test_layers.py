"""The layers of the package: imports point down, the lazy ones and those for type checkers too."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import aiorq

ROOT = Path(aiorq.__file__).parent
LAYERS = {
    "values": {
        *("errors", "status", "keys", "seconds", "options", "serializers", "call", "record", "current"),
        *("retry", "callback", "dependency", "rate_limit", "webhook", "outcome", "ending", "crontab", "process_title"),
    },
    "redis": {"scripts", "store"},
    "handles": {
        *(
            "job",
            "attempt",
            "placement",
            "result",
            "queue",
            "group",
            "registry",
            "executions",
            "cron",
            "command",
            "suspension",
            "errands",
        ),
        *("decorators", "enqueuer", "inline", "doctor", "worker_info", "inspection"),
    },
    "execution": {"execution"},
    "worker": {"worker"},
    "edges": {"server", "cli", "sync", "testing", "__main__", ""},
}
BELOW = {
    "values": {"values"},
    "redis": {"values", "redis"},
    "handles": {"values", "redis", "handles"},
    "execution": {"values", "execution"},  # it knows no Redis
    "worker": {"values", "redis", "handles", "execution", "worker"},
    "edges": set(LAYERS),
}
MODULES = {
    ".".join(("aiorq", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}


def first_of(module: str) -> str:
    return module.removeprefix("aiorq").lstrip(".").partition(".")[0]


def layer_of(module: str) -> str:
    first = first_of(module)
    return next((layer for layer, members in LAYERS.items() if first in members), "none")


def imports_of(module: str) -> set[str]:
    """The modules of the package that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "aiorq"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "aiorq":
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in MODULES:
                    found.add(whole)
                elif whole != "aiorq.__version__":  # a constant
                    found.add(node.module)
    return found


def test_every_module_has_its_layer() -> None:
    assert len(MODULES) > 20
    assert [module for module in MODULES if layer_of(module) == "none"] == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_down(module: str) -> None:
    imports = imports_of(module)
    assert imports <= set(MODULES)
    allowed = BELOW[layer_of(module)]
    assert {imported: layer_of(imported) for imported in imports if layer_of(imported) not in allowed} == {}


def test_no_module_imports_one_that_imports_it() -> None:
    graph = {module: imports_of(module) - {module} for module in MODULES if module != "aiorq"}
    list(TopologicalSorter(graph).static_order())  # raises CycleError


@pytest.mark.parametrize("module", sorted(module for module in MODULES if layer_of(module) != "redis"))
def test_redis_is_asked_in_one_layer(module: str) -> None:
    """Elsewhere redis-py is at most a name in annotations and a check of a type."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not [alias.name for alias in node.names if alias.name.split(".")[0] == "redis"]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "redis":
            assert {alias.name for alias in node.names} <= {"Redis", "Pipeline"}


def test_values_do_not_wait() -> None:
    for module, path in MODULES.items():
        if layer_of(module) == "values":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert not [node for node in ast.walk(tree) if isinstance(node, (ast.AsyncFunctionDef, ast.Await))]
