"""enqueue.lua: nothing, or any state but started, to queued."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from aiorq.errors import CorruptJobError, DuplicateJobError, StoreError
from aiorq.status import JobStatus
from aiorq.store import jobs, runs
from aiorq.store.jobs import Placed
from tests.scripts.conftest import NOON, Books, ClockedStore, Desk

STAMP = "2026-01-02T12:00:00.250000Z"
WAITING_OR_ENDED = [status.value for status in JobStatus if status is not JobStatus.STARTED]


async def test_new_job(store: ClockedStore, desk: Desk, books: Books) -> None:
    placed = await jobs.enqueue(store, desk.new("a", nonce=""))
    assert placed == Placed(JobStatus.QUEUED, datetime(2026, 1, 2, 12, 0, 0, 250_000, UTC))
    assert await books.queue() == ["a"]
    assert await books.places("a") == ["rq:queue:default"]
    assert await books.connection.smembers("rq:queues") == {b"rq:queue:default"}
    fields = await books.job("a")
    assert (fields["status"], fields["enqueued_at"], fields["origin"]) == ("queued", STAMP, "default")
    assert "aiorq_nonce" not in fields
    assert await books.ttl("rq:job:a") == -1
    assert sorted(await books.dump()) == [b"rq:job:a", b"rq:queue:default", b"rq:queues"]


async def test_order(desk: Desk, books: Books) -> None:
    await desk.enqueue("a", "b")
    await desk.enqueue("c", "d", at_front=True)
    await desk.enqueue("e")
    assert await books.queue() == ["d", "c", "a", "b", "e"]


async def test_queues_apart(desk: Desk, books: Books) -> None:
    await desk.enqueue("a", queue="one")
    await desk.enqueue("b", queue="two:2")
    assert (await books.queue("one"), await books.queue("two:2")) == (["a"], ["b"])
    assert await books.connection.smembers("rq:queues") == {b"rq:queue:one", b"rq:queue:two:2"}


class TestTtl:
    async def test_covers_the_sets_of_dependencies(self, desk: Desk, books: Books) -> None:
        await books.connection.sadd("rq:job:a:dependents", "x")
        await books.connection.sadd("rq:job::a:dependencies", "x")
        await desk.enqueue("a", ttl=100)
        for key in ("rq:job:a", "rq:job:a:dependents", "rq:job::a:dependencies"):
            assert 99 <= await books.ttl(key) <= 100
        assert (await books.job("a"))["ttl"] == "100"

    async def test_counts_anew_for_a_new_life(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", ttl=100)
        await desk.enqueue("a", ttl=500)
        assert 499 <= await books.ttl("rq:job:a") <= 500

    async def test_of_an_old_life_is_over(self, desk: Desk, books: Books) -> None:
        await books.connection.sadd("rq:job:a:dependents", "x")
        await desk.enqueue("a", ttl=100)
        await desk.enqueue("a")
        assert await books.ttl("rq:job:a") == -1
        assert await books.ttl("rq:job:a:dependents") == -1


class TestSentTwice:
    @pytest.mark.parametrize("nonce", ["", "nonce"])
    async def test_nothing_changes(self, store: ClockedStore, desk: Desk, books: Books, nonce: str) -> None:
        await jobs.enqueue(store, desk.new("a", nonce=nonce, ttl=100))
        before = await books.dump()
        assert await store.again() == [STAMP.encode(), b"queued"]
        assert await books.dump() == before

    @pytest.mark.parametrize("nonce", ["", "nonce"])
    async def test_after_the_job_ran_and_was_not_kept(
        self, store: ClockedStore, desk: Desk, books: Books, nonce: str
    ) -> None:
        await jobs.enqueue(store, desk.new("a", nonce=nonce))
        sent = store.last
        (claim,) = await desk.claim() or []
        assert await runs.finish(store, "w", claim.run, b"", 0)
        before = await books.dump()
        script, keys, args = sent
        assert await store.run(script, keys, *args) == [STAMP.encode(), b"queued"]
        assert await books.dump() == before
        assert 0 < await books.ttl("rq:aiorq:gone:a") <= await books.ttl("rq:aiorq:gone") <= 60
        await desk.enqueue("a")  # another call
        assert await books.places("a") == ["rq:queue:default"]

    @pytest.mark.parametrize("nonce", ["", "nonce"])
    async def test_after_the_job_went_on(self, store: ClockedStore, desk: Desk, books: Books, nonce: str) -> None:
        await jobs.enqueue(store, desk.new("a", nonce=nonce))
        sent = store.last
        claimed = await desk.claim()
        assert claimed is not None
        before = await books.dump()
        store.last = sent
        assert (await store.again())[1:] == [b"queued"]
        assert await books.dump() == before

        assert await runs.finish(store, "w", claimed[0].run, b"", 500)
        before = await books.dump()
        store.last = sent
        assert (await store.again())[1:] == [b"queued"]
        assert await books.dump() == before

    async def test_batch_of_which_a_part_went_on(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await jobs.enqueue_many(store, [desk.new("a"), desk.new("b"), desk.new("c")])
        sent = store.last
        await desk.claim(most=2)
        before = await books.dump()
        store.last = sent
        assert await store.again() == [STAMP.encode(), b"queued", b"queued", b"queued"]
        assert await books.dump() == before


class TestSameIdAgain:
    @pytest.mark.parametrize("status", WAITING_OR_ENDED)
    async def test_begins_a_new_life(self, desk: Desk, books: Books, status: str) -> None:
        await desk.put("a", status)
        await books.connection.xadd("rq:results:a", {"type": 1})
        await books.connection.sadd("rq:job:a:dependents", "child")
        await books.connection.sadd("rq:job::a:dependencies", "parent")
        await books.connection.expire("rq:job:a", 1000)
        await desk.enqueue("a", "b", queue="other")
        assert await books.places("a") == ["rq:queue:other"]
        fields = await books.job("a")
        assert (fields["status"], fields["origin"], fields["enqueued_at"]) == ("queued", "other", STAMP)
        assert "old" not in fields
        assert await books.results("a") == []
        assert await books.ttl("rq:job:a") == -1
        assert await books.connection.smembers("rq:job:a:dependents") == {b"child"}
        assert not await books.connection.exists("rq:job::a:dependencies")

    async def test_moves_to_the_end_or_to_the_front(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", "b", "c")
        await desk.enqueue("a")
        assert await books.queue() == ["b", "c", "a"]
        await desk.enqueue("c", at_front=True)
        assert await books.queue() == ["c", "b", "a"]

    async def test_twice_in_a_batch(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        async with anyio.create_task_group() as group:
            for description in ("first", "second"):
                group.start_soon(jobs.enqueue, store, desk.new("a", description=description))
        assert await books.queue() == ["a"]
        assert (await books.job("a"))["description"] == "second"

    async def test_running(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await desk.start("a")
        before = await books.dump()
        with pytest.raises(DuplicateJobError, match="'a' is running") as caught:
            await desk.enqueue("a", queue="other")
        assert caught.value.job_id == "a"
        assert await books.dump() == before
        assert await runs.finish(store, "w", run, b"", 500)
        await desk.enqueue("a")
        assert await books.places("a") == ["rq:queue:default"]

    async def test_run_that_nobody_reaped(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """The execution expired a minute after its lease; a worker that slept through both must be refused."""
        run = await desk.start("a")
        other = await desk.start("ab")
        await books.connection.delete("rq:executions:a", f"rq:execution:a:{run.token}")
        await desk.enqueue("a")
        assert await books.places("a") == ["rq:queue:default"]
        assert await books.runs("a") == []
        before = await books.dump()
        assert not await runs.finish(store, "w", run, b"", 500)
        assert await books.dump() == before
        assert await runs.finish(store, "w", other, b"", 500)


class TestWrongTypes:
    async def test_key_of_a_job(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await books.connection.set("rq:job:b", "text")
        before = await books.dump()
        with pytest.raises(CorruptJobError, match="its key does not hold a hash") as caught:
            await desk.enqueue("b")
        assert caught.value.job_id == "b"
        assert await books.dump() == before

    async def test_neighbours_do_not_suffer(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await books.connection.set("rq:job:b", "text")
        await books.connection.set("rq:queue:bad", "text")
        outcomes: dict[str, Any] = {}

        async def enqueue(job_id: str, queue: str) -> None:
            try:
                outcomes[job_id] = await jobs.enqueue(store, desk.new(job_id, queue))
            except (CorruptJobError, StoreError) as error:
                outcomes[job_id] = type(error)

        async with anyio.create_task_group() as group:
            for job_id, queue in (("a", "default"), ("b", "default"), ("c", "bad"), ("d", "default")):
                group.start_soon(enqueue, job_id, queue)
        assert await books.queue() == ["a", "d"]
        assert (outcomes["b"], outcomes["c"]) == (CorruptJobError, StoreError)
        assert outcomes["a"].status is JobStatus.QUEUED
        assert await books.connection.smembers("rq:queues") == {b"rq:queue:default"}

    async def test_key_of_a_queue(self, desk: Desk, books: Books) -> None:
        await books.connection.set("rq:queue:bad", "text")
        await desk.put("a", "finished")
        before = await books.dump()
        with pytest.raises(
            StoreError, match="'rq:queue:bad', or a registry of that queue, is a key of another type; nothing"
        ):
            await desk.enqueue("a", queue="bad")
        assert await books.dump() == before

    async def test_key_of_the_queues(self, desk: Desk, books: Books) -> None:
        await desk.put("a", "finished")
        await books.connection.delete("rq:queues")
        await books.connection.set("rq:queues", "text")
        before = await books.dump()
        with pytest.raises(StoreError, match="WRONGTYPE"):
            await desk.enqueue("a")
        assert await books.dump() == before

    async def test_place_of_an_old_life(self, desk: Desk, books: Books) -> None:
        await desk.put("a", "finished")
        await books.connection.delete("rq:finished:default")
        await books.connection.set("rq:finished:default", "text")
        await desk.enqueue("a")
        assert await books.queue() == ["a"]


class TestMany:
    async def test_order_and_number_of_calls(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        ids = [f"job-{number}" for number in range(250)]
        await calls_of_scripts(books)
        moments = await jobs.enqueue_many(store, [desk.new(job_id, nonce="") for job_id in ids])
        assert await books.queue() == ids
        assert len(moments) == 250
        assert await calls_of_scripts(books) == 3

    async def test_large_jobs_travel_in_several_calls(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        many = [desk.new(f"job-{number}", data=bytes(600_000)) for number in range(4)]
        await calls_of_scripts(books)
        await jobs.enqueue_many(store, [*many, desk.new("small"), desk.new("smaller")])
        assert await books.queue() == ["job-0", "job-1", "job-2", "job-3", "small", "smaller"]
        assert await calls_of_scripts(books) == 4

    async def test_failures_do_not_stop_the_others(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.start("job-7")
        many = [desk.new(f"job-{number}") for number in range(200)]
        with pytest.raises(DuplicateJobError, match="job-7"):
            await jobs.enqueue_many(store, many)
        assert len(await books.queue()) == 199

    async def test_none(self, store: ClockedStore, books: Books) -> None:
        assert await jobs.enqueue_many(store, []) == []
        assert await books.dump() == {}


async def calls_of_scripts(books: Books) -> int:
    """How often the server ran a script since this was last asked."""
    stats = await books.connection.info("commandstats")
    await books.connection.config_resetstat()
    called = sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))
    return int(called - stats.get("cmdstat_evalsha", {}).get("failed_calls", 0))  # scripts that it did not know


async def test_clock_is_the_servers(store: ClockedStore, desk: Desk, connection: Any) -> None:
    """The scripts as they are shipped, without the clock of the tests."""
    from aiorq.store.base import store_of

    real = store_of(connection)
    seconds, micros = await connection.time()
    moment = (await jobs.enqueue(real, desk.new("a"))).moment
    before = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micros)
    assert before <= moment < before + timedelta(seconds=10)


def test_noon() -> None:
    assert datetime.fromtimestamp(NOON, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") == STAMP
