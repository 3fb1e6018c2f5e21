"""stop.lua: started to stopped, or to nothing."""

from __future__ import annotations

import pytest

from aiorq.errors import StoreError
from aiorq.store import jobs, runs
from aiorq.store.runs import Failed, Run
from tests.scripts.conftest import NOON, TRACEBACK, Books, ClockedStore, Desk

STAMP = "2026-01-02T12:00:01.500000Z"


@pytest.fixture
async def run(store: ClockedStore, desk: Desk) -> Run:
    """A run of job `a` that began at noon; it is a second and a quarter later."""
    run = await desk.begin("a", retries_left=3, retry_intervals=[0])
    await store.set_clock(NOON + 1.25)
    return run


async def test_job_is_stopped_and_not_tried_again(store: ClockedStore, books: Books, run: Run) -> None:
    before = await books.job("a")
    assert await runs.stop(store, "w", run, TRACEBACK, 500)
    assert await books.job("a") == {**before, "status": "stopped", "ended_at": STAMP, "last_heartbeat": STAMP}
    assert await books.places("a") == ["rq:failed:default"]
    assert await books.registry("failed") == {"a": int(NOON + 1.25) + 500}
    assert await books.runs("a") == []
    assert await books.results("a") == [
        {
            "type": "3",
            "worker_name": "w",
            "execution_id": run.token,
            "execution_started_at": "1767355200.250000",
            "execution_ended_at": "1767355201.500000",
            "exc_string": "dHJhY2U=",
        }
    ]
    for key in ("rq:job:a", "rq:results:a"):
        assert 499 <= await books.ttl(key) <= 500
    worker = await books.connection.hgetall("rq:worker:w")
    assert (worker[b"failed_job_count"], worker[b"state"]) == (b"1", b"idle")


async def test_kept_for_ever(store: ClockedStore, books: Books, run: Run) -> None:
    await runs.stop(store, "w", run, b"", -1)
    assert await books.registry("failed") == {"a": -1}
    for key in ("rq:job:a", "rq:results:a"):
        assert await books.ttl(key) == -1


async def test_not_kept(store: ClockedStore, books: Books, run: Run) -> None:
    assert await runs.stop(store, "w", run, b"", 0)
    ended = f"rq:aiorq:ended:{run.token}"
    left = {"rq:queues", "rq:worker:w", "rq:aiorq:gone", "rq:aiorq:gone:a", "rq:failed:default", ended}
    assert {key.decode() for key in await books.dump()} == left
    assert 0 < await books.ttl(ended) <= 60


async def test_run_that_had_not_begun(store: ClockedStore, desk: Desk, books: Books) -> None:
    run = await desk.start("a")
    assert await runs.stop(store, "w", run, b"", 500)
    assert await books.places("a") == ["rq:failed:default"]
    assert await books.status("a") == "stopped"


@pytest.mark.parametrize("ttl", [500, -1, 0])
async def test_sent_twice(store: ClockedStore, books: Books, run: Run, ttl: int) -> None:
    assert await runs.stop(store, "w", run, TRACEBACK, ttl)
    before = await books.dump()
    assert await store.again() == b"ok"
    assert await books.dump() == before


class TestRefused:
    @pytest.mark.parametrize("token", ["", "f" * 32, "text"])
    async def test_foreign_token(self, store: ClockedStore, books: Books, run: Run, token: str) -> None:
        before = await books.dump()
        assert not await runs.stop(store, "w", Run("default", "a", token), b"", 500)
        assert not await runs.stop(store, "w", Run("other", "a", run.token), b"", 500)
        assert await books.dump() == before

    @pytest.mark.parametrize("ttl", [500, 0])
    async def test_run_that_was_released(self, store: ClockedStore, books: Books, run: Run, ttl: int) -> None:
        await runs.release(store, "w", [], [run])
        before = await books.dump()
        assert not await runs.stop(store, "w", run, b"", ttl)
        assert await books.dump() == before

    @pytest.mark.parametrize("ttl", [500, 0])
    async def test_run_that_ended_otherwise(
        self, store: ClockedStore, desk: Desk, books: Books, run: Run, ttl: int
    ) -> None:
        assert await runs.finish(store, "w", run, b"", ttl)
        other = await desk.begin("b")
        assert await runs.fail(store, "w", other, b"", ttl) is Failed.FOR_GOOD
        before = await books.dump()
        assert not await runs.stop(store, "w", run, b"", 500)
        assert not await runs.stop(store, "w", other, b"", 500)
        assert await books.dump() == before

    async def test_job_that_was_deleted(self, store: ClockedStore, books: Books, run: Run) -> None:
        await jobs.delete(store, ["a"])
        before = await books.dump()
        assert not await runs.stop(store, "w", run, b"", 500)
        assert await books.dump() == before


async def test_what_comes_after_a_stop_is_refused(store: ClockedStore, books: Books, run: Run) -> None:
    """A stopped job never ends as returned."""
    assert await runs.stop(store, "w", run, b"", 500)
    before = await books.dump()
    assert not await runs.finish(store, "w", run, b"", 500)
    assert await runs.fail(store, "w", run, b"", 500) is Failed.LOST
    assert await books.dump() == before


async def test_registry_of_a_wrong_type(store: ClockedStore, books: Books, run: Run) -> None:
    await books.connection.set("rq:failed:default", "text")
    before = await books.dump()
    with pytest.raises(StoreError, match="WRONGTYPE"):
        await runs.stop(store, "w", run, b"", 500)
    assert await books.dump() == before


@pytest.mark.parametrize("key", ["rq:executions:a", "rq:worker:w", "rq:worker:w:executions", "rq:results:a"])
async def test_books_of_a_wrong_type(store: ClockedStore, books: Books, run: Run, key: str) -> None:
    await books.connection.set(key, "text")
    assert await runs.stop(store, "w", run, b"", 500)
    assert await books.places("a") == ["rq:failed:default"]
