"""list_failed.lua: a job is listed among the failed ones by hand."""

from __future__ import annotations

import pytest

from aiorq.status import JobStatus
from aiorq.store import registries
from tests.scripts.conftest import NOON, Books, ClockedStore, Desk

REGISTRY = "rq:failed:other"
RESTING = {"created", "finished", "failed", "stopped", "canceled"}


@pytest.mark.parametrize("status", [status.value for status in JobStatus])
async def test_job_that_rests_is_kept_as_long(store: ClockedStore, desk: Desk, books: Books, status: str) -> None:
    """One that waits or runs must not expire before its turn."""
    await (desk.start("a") if status == "started" else desk.put("a", status))
    await books.connection.sadd("rq:job:a:dependents", "x")
    before = await books.status("a"), await books.places("a")
    assert await registries.list_failed(store, REGISTRY, "a", 900) == 1
    assert await books.connection.zscore(REGISTRY, "a") == int(NOON) + 900
    assert await books.status("a") == before[0]
    assert await books.places("a") == sorted([*before[1], REGISTRY])
    for key in ("rq:job:a", "rq:job:a:dependents"):
        assert (899 <= await books.ttl(key) <= 900) if status in RESTING else await books.ttl(key) == -1


async def test_again(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.put("a", "finished")
    assert await registries.list_failed(store, REGISTRY, "a", 900) == 1
    assert await registries.list_failed(store, REGISTRY, "a", 1500) == 0
    assert await books.connection.zscore(REGISTRY, "a") == int(NOON) + 1500
    assert 1499 <= await books.ttl("rq:job:a") <= 1500


async def test_for_ever(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.put("a", "finished")
    await books.connection.expire("rq:job:a", 100)
    await registries.list_failed(store, REGISTRY, "a", -1)
    assert await books.connection.zscore(REGISTRY, "a") == -1
    assert 99 <= await books.ttl("rq:job:a") <= 100


@pytest.mark.parametrize("wrong", [True, False])
async def test_no_job(store: ClockedStore, books: Books, wrong: bool) -> None:
    if wrong:
        await books.connection.set("rq:job:a", "text")
    assert await registries.list_failed(store, REGISTRY, "a", 900) == 1
    assert await books.ttl("rq:job:a") == (-1 if wrong else -2)
