"""requeue.lua: what has ended, or waits, to queued or rate limited."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime
from typing import Any

import pytest

from aiorq import Job
from aiorq.errors import CorruptJobError, InvalidJobOperation, NoSuchJobError, QueueFullError, StoreError
from aiorq.status import JobStatus
from aiorq.store import jobs, runs
from aiorq.store.jobs import Placed
from aiorq.store.runs import Failed
from tests.scripts.conftest import NOON, TRACEBACK, YEAR, Books, ClockedStore, Desk, changed

STAMP = "2026-01-02T12:01:40.250000Z"
"""When the tests requeue."""
MOMENT = datetime(2026, 1, 2, 12, 1, 40, 250_000, UTC)
KINDS = {"failed": "failed", "stopped": "failed", "finished": "finished", "canceled": "canceled"}
"""The states that end a job and can be left, with the registry that lists each."""
ALL = {**KINDS, "deferred": "deferred", "scheduled": "scheduled"}


async def end(store: ClockedStore, desk: Desk, status: str, job_id: str = "a", **options: Any) -> None:
    """A job that ended so, at noon; it is a hundred seconds later."""
    run = await desk.begin(job_id, **options)
    if status == "failed":
        assert await runs.fail(store, "w", run, TRACEBACK, YEAR) is Failed.FOR_GOOD
    elif status == "stopped":
        assert await runs.stop(store, "w", run, TRACEBACK, YEAR)
    elif status == "finished":
        assert await runs.finish(store, "w", run, b"", 500)
    else:
        await jobs.cancel(store, job_id, YEAR)
    await store.set_clock(NOON + 100)


@pytest.mark.parametrize("status", KINDS)
async def test_is_queued_again(store: ClockedStore, desk: Desk, books: Books, status: str) -> None:
    await desk.enqueue("b", queue="other")
    await end(store, desk, status)
    before = await books.dump()
    assert await jobs.requeue(store, "a", KINDS[status]) == Placed(JobStatus.QUEUED, MOMENT)
    difference = changed(before, await books.dump())
    fields = difference.pop("rq:job:a")
    assert len(fields.pop("aiorq_requeue")) == 16
    assert float(fields.pop("aiorq_since")) == NOON + 100
    assert fields.pop("aiorq_cancel", None) is None
    if status != "canceled":
        assert fields.pop("ended_at") == ""
    assert fields.pop("exc_info")
    assert zlib.decompress(await books.connection.hget("rq:job:a", "exc_info")) == b""
    assert fields == {"status": "queued", "enqueued_at": STAMP, "started_at": ""}
    assert difference == {"rq:queue:default": [b"a"], f"rq:{KINDS[status]}:default": None}
    assert len(await books.results("a")) == (0 if status == "canceled" else 1)
    assert await books.ttl("rq:job:a") == -1
    kept = {"finished": 500, "canceled": -2}.get(status, YEAR)
    assert kept - 1 <= await books.ttl("rq:results:a") <= kept
    await desk.finish("a")
    assert await books.places("a") == ["rq:finished:default"]


@pytest.mark.parametrize(("at_front", "order"), [(True, ["a", "b"]), (False, ["b", "a"])])
async def test_at_the_front(store: ClockedStore, desk: Desk, books: Books, at_front: bool, order: list[str]) -> None:
    await end(store, desk, "failed")
    await desk.enqueue("b")
    await jobs.requeue(store, "a", "failed", at_front)
    assert await books.queue() == order


async def test_queue_is_known_again(store: ClockedStore, desk: Desk, books: Books) -> None:
    await end(store, desk, "failed")
    await books.connection.delete("rq:queues")
    await jobs.requeue(store, "a", "failed")
    assert await books.members("rq:queues") == {"rq:queue:default"}


class TestTime:
    @pytest.mark.parametrize(
        ("ttl", "seconds"),
        [(None, -1), ("100", 100), ("0", -1), ("-5", -1), ("abc", -1), ("nan", -1), ("inf", -1), ("1e300", -1)],
    )
    async def test_waits_as_long_as_it_says(
        self, store: ClockedStore, desk: Desk, books: Books, ttl: str | None, seconds: int
    ) -> None:
        await end(store, desk, "failed")
        await books.connection.sadd("rq:job:a:dependents", "x")
        if ttl is not None:
            await books.connection.hset("rq:job:a", "ttl", ttl)
        await jobs.requeue(store, "a", "failed")
        for key in ("rq:job:a", "rq:job:a:dependents"):
            assert seconds - 1 <= await books.ttl(key) <= seconds
        kept = seconds if seconds > 0 else YEAR
        assert kept - 1 <= await books.ttl("rq:results:a") <= kept

    async def test_of_far_away(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await end(store, desk, "failed")
        await books.connection.hset("rq:job:a", "ttl", 2**53)
        await jobs.requeue(store, "a", "failed")
        assert await books.ttl("rq:job:a") > YEAR


class TestCounts:
    async def test_retries_stay_used(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", retries_left=1)
        assert await desk.fail("a") is Failed.QUEUED
        assert await desk.fail("a") is Failed.FOR_GOOD
        await jobs.requeue(store, "a", "failed")
        assert (await books.job("a"))["retries_left"] == "0"
        assert await desk.fail("a") is Failed.FOR_GOOD

    async def test_losses_and_attempts_begin_anew(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", retries_left=1, on_lost="requeue")
        await desk.fail("a")
        await books.connection.hset("rq:job:a", "aiorq_losses", 2)
        await desk.fail("a")
        assert len(await books.attempts("a")) == 1
        await jobs.requeue(store, "a", "failed")
        assert not {"aiorq_losses", "aiorq_attempts"} & (await books.job("a")).keys()
        assert await books.attempts("a") == []

    async def test_attempts_of_the_former_life_do_not_show(self, store: ClockedStore, desk: Desk) -> None:
        """Its results do."""
        await desk.enqueue("a", retries_left=2)
        job: Job[Any] = Job("a", store.connection)
        await desk.fail("a")
        await desk.finish("a")
        assert [(one.number, one.outcome) for one in await job.attempts()] == [(1, "failed"), (2, "successful")]
        await store.set_clock(NOON + 100)
        await jobs.requeue(store, "a", "finished")
        assert await job.attempts() == []
        await store.set_clock(NOON + 200)
        await desk.fail("a")
        assert [(one.number, one.outcome) for one in await job.attempts()] == [(1, "failed")]
        await desk.finish("a")
        assert [(one.number, one.outcome) for one in await job.attempts()] == [(1, "failed"), (2, "successful")]
        assert len(await job.results()) == 2

    @pytest.mark.parametrize("since", ["", "abc", "nan", "\xff"])
    async def test_note_of_when_it_began_that_is_none(
        self, store: ClockedStore, desk: Desk, books: Books, since: str
    ) -> None:
        await end(store, desk, "failed")
        await books.connection.hset("rq:job:a", "aiorq_since", since.encode("latin-1"))
        job: Job[Any] = Job("a", store.connection)
        assert [one.outcome for one in await job.attempts()] == ["failed"]

    async def test_may_be_canceled_and_stopped_again(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await end(store, desk, "canceled")
        await jobs.requeue(store, "a", "canceled")
        await jobs.cancel(store, "a", 500)
        assert await books.places("a") == ["rq:canceled:default"]
        await desk.register()
        await end(store, desk, "stopped", "b")
        await jobs.requeue(store, "b", "failed")
        run = await desk.take("b", begun=True)
        await desk.ask("b")
        assert list(await books.stops()) == [run.token]


class TestLimit:
    async def test_takes_a_slot_again(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await end(store, desk, "failed", limit=("api", 1))
        assert await books.slots() == set()
        assert (await jobs.requeue(store, "a", "failed")).status is JobStatus.QUEUED
        assert (await books.places("a"), await books.slots()) == (["rq:queue:default"], {"a"})

    async def test_waits_for_one(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await end(store, desk, "failed", limit=("api", 1))
        await desk.place("b", "other", limit=("api", 1))
        assert await jobs.requeue(store, "a", "failed", True) == Placed(JobStatus.RATE_LIMITED, MOMENT)
        assert (await books.places("a"), await books.slots()) == (["rq:rl:api:rate_limited"], {"b"})
        before = await books.dump()
        assert (await store.again())[0] == b"rate_limited"
        assert await books.dump() == before
        await desk.enqueue("x")
        await desk.finish("b", "other")
        assert await books.queue() == ["a", "x"]


class TestWaits:
    async def test_for_another_job(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """It does not wait any more, and is not enqueued again when that one ends."""
        await desk.enqueue("p", queue="parents")
        await desk.place("a", parents=["p"])
        await jobs.requeue(store, "a", "deferred")
        assert await books.places("a") == ["rq:queue:default"]
        await desk.finish("p", "parents")
        assert await books.queue() == ["a"]

    async def test_for_many(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        parents = [f"parent-{number}" for number in range(20)]
        await desk.enqueue(*parents, queue="parents")
        await desk.place("a", parents=parents)
        await jobs.requeue(store, "a", "deferred")
        assert not await books.connection.exists("rq:aiorq:waits:a")

    async def test_for_its_time(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.place("a", limit=("api", 1), wishes={"delay": 60.0})
        await jobs.requeue(store, "a", "scheduled")
        assert (await books.places("a"), await books.slots()) == (["rq:queue:default"], {"a"})
        await store.set_clock(NOON + 60)
        assert await desk.promote("a") == "dropped"


async def test_only_once_though_it_repeats(store: ClockedStore, desk: Desk, books: Books) -> None:
    await end(store, desk, "finished", repeats_left=1, repeat_intervals=[30])
    assert await books.places("a") == ["rq:finished:default", "rq:scheduled:default"]
    before = await books.dump()
    with pytest.raises(InvalidJobOperation):
        await jobs.requeue(store, "a", "finished")
    assert await books.dump() == before


class TestSentTwice:
    @pytest.mark.parametrize("status", KINDS)
    async def test_nothing_changes(self, store: ClockedStore, desk: Desk, books: Books, status: str) -> None:
        await end(store, desk, status)
        await jobs.requeue(store, "a", KINDS[status])
        before = await books.dump()
        await store.set_clock(NOON + 200)
        assert await store.again() == [b"queued", STAMP.encode()]
        assert await books.dump() == before

    @pytest.mark.parametrize("ended", [True, False])
    async def test_after_the_job_went_on(self, store: ClockedStore, desk: Desk, books: Books, ended: bool) -> None:
        await end(store, desk, "failed")
        await jobs.requeue(store, "a", "failed")
        sent = store.last
        await (desk.fail("a") if ended else desk.take("a"))
        before = await books.dump()
        store.last = sent
        assert (await store.again())[0] == b"queued"
        assert await books.dump() == before

    async def test_by_somebody_else(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await end(store, desk, "failed")
        await jobs.requeue(store, "a", "failed")
        before = await books.dump()
        with pytest.raises(InvalidJobOperation, match="'a' cannot be requeued: it is not among the failed jobs"):
            await jobs.requeue(store, "a", "failed")
        assert await books.dump() == before

    async def test_a_second_time_after_it_failed_again(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await end(store, desk, "failed")
        for _ in range(3):
            await jobs.requeue(store, "a", "failed")
            await desk.fail("a")
        assert len(await books.results("a")) == 4


class TestRefused:
    @pytest.mark.parametrize("kind", ["failed", "finished", "canceled", "deferred", "scheduled", "wip", "ready", "x"])
    @pytest.mark.parametrize("status", [status.value for status in JobStatus])
    async def test_elsewhere(self, store: ClockedStore, desk: Desk, books: Books, status: str, kind: str) -> None:
        await (desk.start("a") if status == "started" else desk.put("a", status))
        before = await books.dump()
        if ALL.get(status) == kind:
            await jobs.requeue(store, "a", kind)
            assert await books.places("a") == ["rq:queue:default"]
            return
        with pytest.raises(InvalidJobOperation, match=f"it is not among the {kind} jobs"):
            await jobs.requeue(store, "a", kind)
        assert await books.dump() == before

    @pytest.mark.parametrize("status", KINDS)
    async def test_not_in_the_registry(self, store: ClockedStore, desk: Desk, books: Books, status: str) -> None:
        await desk.put("a", status)
        await books.connection.delete(f"rq:{KINDS[status]}:default")
        before = await books.dump()
        with pytest.raises(InvalidJobOperation):
            await jobs.requeue(store, "a", KINDS[status])
        assert await books.dump() == before

    async def test_without_an_origin(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.put("a", "failed")
        await books.connection.hdel("rq:job:a", "origin")
        before = await books.dump()
        with pytest.raises(InvalidJobOperation):
            await jobs.requeue(store, "a", "failed")
        assert await books.dump() == before

    async def test_missing(self, store: ClockedStore, books: Books) -> None:
        await books.connection.zadd("rq:failed:default", {"a": 1})
        before = await books.dump()
        with pytest.raises(NoSuchJobError):
            await jobs.requeue(store, "a", "failed")
        assert await books.dump() == before

    async def test_key_of_a_wrong_type(self, store: ClockedStore, books: Books) -> None:
        await books.connection.set("rq:job:a", "text")
        before = await books.dump()
        with pytest.raises(CorruptJobError, match="does not hold a hash"):
            await jobs.requeue(store, "a", "failed")
        assert await books.dump() == before

    @pytest.mark.parametrize(
        ("key", "limited"),
        [
            ("rq:queue:default", False),
            ("rq:rl:api:rate_limited", True),
            ("rq:rl:api", True),
            ("rq:rl-keys", True),
        ],
    )
    async def test_next_place_of_a_wrong_type(
        self, store: ClockedStore, desk: Desk, books: Books, key: str, limited: bool
    ) -> None:
        await end(store, desk, "failed", limit=("api", 1) if limited else None)
        await books.connection.delete(key)
        await books.connection.set(key, "text")
        before = await books.dump()
        with pytest.raises(StoreError, match="WRONGTYPE"):
            await jobs.requeue(store, "a", "failed")
        assert await books.dump() == before

    async def test_registry_of_a_wrong_type(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.put("a", "failed")
        await books.connection.set("rq:failed:default", "text")
        before = await books.dump()
        with pytest.raises(InvalidJobOperation):
            await jobs.requeue(store, "a", "failed")
        assert await books.dump() == before

    async def test_at_the_memory_limit(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.put("a", "failed")
        before = await books.dump()
        await books.connection.config_set("maxmemory", 1)
        try:
            with pytest.raises(QueueFullError):
                await jobs.requeue(store, "a", "failed")
        finally:
            await books.connection.config_set("maxmemory", 0)
        assert await books.dump() == before
