"""The names that aiorq shows, and what it costs to import them."""

from __future__ import annotations

import subprocess
import sys

import pytest

import aiorq

PUBLIC = [
    "Attempt",
    "Callback",
    "Dependency",
    "DequeueStrategy",
    "Group",
    "Job",
    "JobOptions",
    "JobStatus",
    "Queue",
    "RateLimit",
    "Repeat",
    "Result",
    "Retry",
    "SimpleWorker",
    "SpawnWorker",
    "Webhook",
    "Worker",
    "WorkerPool",
    "__version__",
    "cancel_job",
    "connect",
    "get_current_job",
    "requeue_job",
]
"""A name that is taken from here is a breaking change; a name that is added belongs into the changelog."""


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has after a statement."""
    script = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_pinned_names() -> None:
    assert aiorq.__all__ == PUBLIC
    assert dir(aiorq) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_is_there(name: str) -> None:
    assert getattr(aiorq, name) is not None


def test_every_name_can_be_imported_first() -> None:
    """Names are found when they are first used: in whatever order that is."""
    statements = "; ".join(f"from aiorq import {name}" for name in reversed(PUBLIC))
    assert "redis.asyncio" in loaded_by(statements)
    assert "redis.asyncio" in loaded_by("from aiorq import *")


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'aiorq' has no attribute 'nope'"):
        aiorq.nope  # noqa: B018


def test_importing_the_package_costs_nothing() -> None:
    loaded = loaded_by("import aiorq")
    for heavy in ("redis", "anyio", "asyncio", "uvloop", "typer", "json", "inspect", "dataclasses", "pickle"):
        assert heavy not in loaded, heavy
    assert {name for name in loaded if name.startswith("aiorq")} == {"aiorq"}


@pytest.mark.parametrize("module", ["aiorq.call", "aiorq.current", "aiorq.serializers", "aiorq.errors"])
def test_what_a_forking_process_imports_is_small(module: str) -> None:
    loaded = loaded_by(f"import {module}")
    for heavy in ("redis", "anyio", "asyncio", "uvloop", "json", "inspect", "dataclasses"):
        assert heavy not in loaded, heavy
