"""fail.lua: started to failed, or to nothing."""

from __future__ import annotations

from datetime import datetime

import pytest

from aiorq import Job
from aiorq.errors import StoreError
from aiorq.store import jobs, registries, runs
from aiorq.store.runs import Failed, Run
from tests.scripts.conftest import NOON, Books, ClockedStore, Desk

STAMP = "2026-01-02T12:00:01.500000Z"
YEAR = 31_536_000


@pytest.fixture
async def run(store: ClockedStore, desk: Desk) -> Run:
    """A run of job `a` that began at noon; it is a second and a quarter later."""
    run = await desk.start("a")
    await store.set_clock(NOON + 1.25)
    return run


async def test_job_is_failed(store: ClockedStore, books: Books, run: Run) -> None:
    assert await runs.fail(store, "w", run, b"dHJhY2U=", YEAR) is Failed.FOR_GOOD
    fields = await books.job("a")
    assert (fields["status"], fields["ended_at"], fields["last_heartbeat"]) == ("failed", STAMP, STAMP)
    assert (fields["started_at"], fields["worker_name"]) == ("2026-01-02T12:00:00.250000Z", "w")
    assert await books.places("a") == ["rq:failed:default"]
    assert await books.runs("a") == []
    assert await books.results("a") == [
        {
            "type": "2",
            "worker_name": "w",
            "execution_id": run.token,
            "execution_started_at": "1767355200.250000",
            "execution_ended_at": "1767355201.500000",
            "exc_string": "dHJhY2U=",
        }
    ]
    worker = await books.connection.hgetall("rq:worker:w")
    assert (worker[b"failed_job_count"], worker[b"state"]) == (b"1", b"idle")
    assert float(worker[b"total_working_time"]) == pytest.approx(1.25)
    assert b"successful_job_count" not in worker


class TestTtl:
    async def test_some_seconds(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        await books.connection.sadd("rq:job::a:dependencies", "x")
        await desk.enqueue("child", parents=["a"])
        await runs.fail(store, "w", run, b"", 500)
        assert await books.registry("failed") == {"a": int(NOON + 1.25) + 500}
        for key in ("rq:job:a", "rq:job:a:dependents", "rq:job::a:dependencies", "rq:results:a"):
            assert 499 <= await books.ttl(key) <= 500

    async def test_for_ever(self, store: ClockedStore, books: Books, run: Run) -> None:
        await runs.fail(store, "w", run, b"", -1)
        assert await books.registry("failed") == {"a": -1}  # RQ's number
        for key in ("rq:job:a", "rq:results:a"):
            assert await books.ttl(key) == -1

    async def test_no_time_at_all(self, store: ClockedStore, books: Books, run: Run) -> None:
        assert await runs.fail(store, "w", run, b"", 0) is Failed.FOR_GOOD
        ended = f"rq:aiorq:ended:{run.token}"
        left = {"rq:queues", "rq:worker:w", "rq:aiorq:gone", "rq:aiorq:gone:a", ended}
        assert {key.decode() for key in await books.dump()} == {*left, "rq:failed:default"}
        assert 0 < await books.ttl(ended) <= 60
        # An entry without any time left, as RQ's.
        assert await books.registry("failed") == {"a": int(NOON + 1.25)}
        assert await registries.count(store, "rq:failed:default", shown="live") == 0
        assert await registries.clean(store, "rq:failed:default", "expired") == 1
        assert {key.decode() for key in await books.dump()} == left


@pytest.mark.parametrize("worker", ["", "w"])
async def test_rq_does_not_note_when_a_job_failed_that_its_enqueuer_ran(
    store: ClockedStore, desk: Desk, books: Books, worker: str
) -> None:
    await desk.place("a", wishes={"run_token": "0" * 32, "lease": 60.0})
    await store.set_clock(NOON + 1.25)
    assert await runs.fail(store, worker, Run("default", "a", "0" * 32), b"dHJhY2U=", 500) is Failed.FOR_GOOD
    fields = await books.job("a")
    assert (fields["ended_at"], fields.get("aiorq_ended_at")) == (("", STAMP) if worker == "" else (STAMP, None))
    job = await Job.fetch("a", store.connection)
    assert job.ended_at == datetime.fromisoformat(STAMP)
    await job.requeue()
    assert (await Job.fetch("a", store.connection)).ended_at is None


class TestUnlisted:
    """A worker may be told not to keep a register of failures."""

    async def test_is_failed_and_in_no_registry(self, store: ClockedStore, books: Books, run: Run) -> None:
        assert await runs.fail(store, "w", run, b"dHJhY2U=", 500, listed=False) is Failed.FOR_GOOD
        assert (await books.status("a"), await books.places("a")) == ("failed", [])
        assert len(await books.results("a")) == 1
        assert 499 <= await books.ttl("rq:job:a") <= 500
        before = await books.dump()
        assert await store.again() == b"failed"
        assert await books.dump() == before

    async def test_has_its_retries(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        await books.connection.hset("rq:job:a", "retries_left", 1)
        assert await runs.fail(store, "w", run, b"", 500, listed=False) is Failed.QUEUED
        assert await books.places("a") == ["rq:queue:default"]

    async def test_registry_of_a_wrong_type_is_no_matter(self, store: ClockedStore, books: Books, run: Run) -> None:
        await books.connection.set("rq:failed:default", "text")
        assert await runs.fail(store, "w", run, b"", 500, listed=False) is Failed.FOR_GOOD


class TestSentTwice:
    @pytest.mark.parametrize("ttl", [500, -1, 0])
    async def test_nothing_changes(self, store: ClockedStore, books: Books, run: Run, ttl: int) -> None:
        assert await runs.fail(store, "w", run, b"dHJhY2U=", ttl) is Failed.FOR_GOOD
        before = await books.dump()
        assert await store.again() == b"failed"
        assert await books.dump() == before


class TestRefused:
    @pytest.mark.parametrize("token", ["", "f" * 32, "text"])
    async def test_foreign_token(self, store: ClockedStore, books: Books, run: Run, token: str) -> None:
        before = await books.dump()
        assert await runs.fail(store, "w", Run("default", "a", token), b"", 500) is Failed.LOST
        assert await runs.fail(store, "w", Run("other", "a", run.token), b"", 500) is Failed.LOST
        assert await books.dump() == before

    @pytest.mark.parametrize("ttl", [500, 0])
    async def test_run_that_was_released(self, store: ClockedStore, books: Books, run: Run, ttl: int) -> None:
        await runs.release(store, "w", [], [run])
        before = await books.dump()
        assert await runs.fail(store, "w", run, b"", ttl) is Failed.LOST
        assert await books.dump() == before

    async def test_run_that_finished(self, store: ClockedStore, books: Books, run: Run) -> None:
        assert await runs.finish(store, "w", run, b"", 500)
        before = await books.dump()
        assert await runs.fail(store, "w", run, b"", 500) is Failed.LOST
        assert await books.dump() == before
        assert await books.status("a") == "finished"

    async def test_job_that_was_deleted(self, store: ClockedStore, books: Books, run: Run) -> None:
        await jobs.delete(store, ["a"])
        before = await books.dump()
        assert await runs.fail(store, "w", run, b"", 500) is Failed.LOST
        assert await books.dump() == before


async def test_registry_of_a_wrong_type(store: ClockedStore, books: Books, run: Run) -> None:
    await books.connection.set("rq:failed:default", "text")
    before = await books.dump()
    with pytest.raises(StoreError, match="WRONGTYPE"):
        await runs.fail(store, "w", run, b"", 500)
    assert await books.dump() == before


async def test_results_of_a_wrong_type(store: ClockedStore, books: Books, run: Run) -> None:
    await books.connection.set("rq:results:a", "text")
    assert await runs.fail(store, "w", run, b"dHJhY2U=", 500) is Failed.FOR_GOOD
    assert [result["exc_string"] for result in await books.results("a")] == ["dHJhY2U="]


async def test_a_job_that_ended_leaves_nothing_without_an_end(store: ClockedStore, books: Books, run: Run) -> None:
    await runs.fail(store, "w", run, b"dHJhY2U=", 500)
    for_ever = {key.decode() for key, (_, expires) in (await books.dump()).items() if not expires}
    assert for_ever == {"rq:queues", "rq:failed:default"}
