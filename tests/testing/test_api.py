"""The kit as a package: its names, and its two sides, which must not drift apart."""

from __future__ import annotations

import inspect
from typing import Any

import posts
import pytest

import aiorq.testing
from aiorq import Job, doctor
from aiorq.errors import AiorqError
from aiorq.store import audit
from aiorq.store.base import store_of
from aiorq.sync import Job as SyncJob
from aiorq.testing import JobFailed, Sandbox, SyncSide, WaitTimeout

PUBLIC = [
    "Calls",
    "Clock",
    "EnqueuedCall",
    "Failure",
    "JobFailed",
    "Sandbox",
    "SandboxMixin",
    "SyncSide",
    "WaitTimeout",
    "server_url",
]
"""A name that is taken from here is a breaking change; a name that is added belongs into the changelog."""
SIDES = ["queue", "wait_for_result", "wait_for_status", "work", "work_in_forks", "worker"]


def test_pinned_names() -> None:
    assert aiorq.testing.__all__ == PUBLIC


def test_sides_have_the_same_names() -> None:
    sides = [name for name in vars(SyncSide) if not name.startswith("_")]
    assert sorted(sides) == sorted([*SIDES, "connection"])
    assert set(sides) <= set(dir(Sandbox))


@pytest.mark.parametrize("name", SIDES)
def test_sides_take_the_same(name: str) -> None:
    def parameters(kind: type) -> list[tuple[str, Any, Any]]:
        found = inspect.signature(getattr(kind, name)).parameters.values()
        return [(parameter.name, parameter.kind, parameter.default) for parameter in found]

    assert parameters(Sandbox) == parameters(SyncSide)


async def test_what_comes_back(box: Sandbox) -> None:
    await posts.write_later("Ada")
    (job,) = await box.work()
    box.sync.queue().enqueue(posts.stamp, "Bob")
    (other,) = box.sync.work()
    assert (type(job), type(other)) == (Job, SyncJob)
    assert (job.worker_name, other.worker_name) == ("aiorq-testing", "aiorq-testing")


def test_errors_fail_tests_and_are_none_of_the_queue() -> None:
    for kind in (JobFailed, WaitTimeout):
        assert issubclass(kind, AssertionError)
        assert not issubclass(kind, AiorqError)


async def test_the_doctor_finds_a_sandbox_healthy(box: Sandbox) -> None:
    """Runs in the test's process leave what a worker leaves."""
    await posts.remind("Ada")
    await posts.write_later("Bob")
    await box.queue().enqueue(posts.lose, "Eve")
    await box.work(raises=False)
    box.clock.move(hours=1)
    await box.work()
    store = store_of(box.url, box.prefix)
    assert doctor.check(await audit.look(store)) == []
