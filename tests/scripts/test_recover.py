"""recover.lua: what a worker of RQ's took from its queue and did not begin."""

from __future__ import annotations

from typing import Any

import pytest

from aiorq.store import jobs
from tests.scripts.conftest import NOON, TRACEBACK, YEAR, Books, ClockedStore, Desk, changed

TAKEN = "rq:queue:default:intermediate"
SEEN = f"{TAKEN}:first_seen:a"
STAMP = "2026-01-02T12:01:10.250000Z"


@pytest.fixture
async def taken(desk: Desk, books: Books) -> None:
    """A worker of RQ's took job `a` at noon."""
    await take(desk, books)


async def take(desk: Desk, books: Books, **options: Any) -> None:
    await desk.enqueue("a", **options)
    assert await books.connection.lmove("rq:queue:default", TAKEN, "LEFT", "RIGHT") == b"a"


async def later(store: ClockedStore, desk: Desk, **options: Any) -> str:
    """Recover now, and a minute and ten seconds after noon."""
    assert await desk.recover("a", **options) == "waits"
    await store.set_clock(NOON + 70)
    return await desk.recover("a", **options)


@pytest.mark.usefixtures("taken")
class TestWaits:
    async def test_first_time(self, desk: Desk, books: Books) -> None:
        before = await books.dump()
        enqueued_at = (await books.job("a"))["enqueued_at"]
        assert await desk.recover("a") == "waits"
        assert changed(before, await books.dump()) == {
            SEEN: b"1767355200.250000",  # RQ's note, as RQ writes it
            "rq:job:a": {"aiorq_taken": enqueued_at},
        }
        assert 86_399 <= await books.ttl(SEEN) <= 86_400

    @pytest.mark.parametrize(("seconds", "word"), [(1, "waits"), (60, "waits"), (60.5, "failed"), (-3600, "waits")])
    async def test_for_a_minute(self, store: ClockedStore, desk: Desk, books: Books, seconds: float, word: str) -> None:
        await desk.recover("a")
        await store.set_clock(NOON + seconds)
        assert await desk.recover("a") == word

    async def test_after_a_step_of_the_clock(self, store: ClockedStore, desk: Desk) -> None:
        await store.set_clock(NOON + 36_000)
        await desk.recover("a")
        await store.set_clock(NOON)
        assert await later(store, desk) == "failed"

    async def test_note_of_an_earlier_turn(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """It was seen in the list once, ran, was enqueued again and was taken again this moment."""
        await desk.recover("a")
        await books.connection.delete(TAKEN)
        await store.set_clock(NOON + 3600)
        await take(desk, books)
        assert await desk.recover("a") == "waits"
        await store.set_clock(NOON + 3670)
        assert await desk.recover("a") == "failed"

    @pytest.mark.parametrize("seen", ["abc", "", "nan", "1e300"])
    async def test_note_that_is_none(self, store: ClockedStore, desk: Desk, books: Books, seen: str) -> None:
        await desk.recover("a")
        await books.connection.set(SEEN, seen)
        await store.set_clock(NOON + 70)
        assert await desk.recover("a") == "waits"

    async def test_note_of_a_wrong_type(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await books.connection.rpush(SEEN, "x")
        assert await later(store, desk) == "failed"

    async def test_run_is_being_entered(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """RQ enters the run, and then says that the job is started and takes it from the list."""
        await desk.recover("a")
        await store.set_clock(NOON + 70)
        await books.connection.zadd("rq:executions:a", {"t": NOON + 160})
        await books.connection.zadd("rq:wip:default", {"a:t": NOON + 160})
        before = await books.dump()
        assert await desk.recover("a") == "waits"
        assert await books.dump() == before

    async def test_its_worker_died_there(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """The lease ends, and the list is what the job is found by."""
        await desk.recover("a")
        await books.connection.zadd("rq:executions:a", {"t": NOON + 60})
        await books.connection.zadd("rq:wip:default", {"a:t": NOON + 60})
        await store.set_clock(NOON + 70)
        assert await desk.recover("a") == "waits"
        assert await desk.reap("a:t", worker="rqw") == "dropped"
        assert await desk.recover("a") == "failed"
        assert await books.places("a") == ["rq:failed:default"]

    @pytest.mark.parametrize(
        ("key", "options"),
        [
            ("rq:failed:default", {}),
            ("rq:scheduled:default", {"retries_left": 1, "retry_intervals": "[5]"}),
            ("rq:queue:default", {"retries_left": 1}),
        ],
    )
    async def test_next_place_of_a_wrong_type(
        self, store: ClockedStore, desk: Desk, books: Books, key: str, options: dict[str, Any]
    ) -> None:
        if options:
            await books.connection.hset("rq:job:a", mapping=options)
        await books.connection.set(key, "text")
        await desk.recover("a")
        await store.set_clock(NOON + 70)
        before = await books.dump()
        assert await desk.recover("a") == "waits"
        assert await books.dump() == before
        await books.connection.delete(key)
        assert await desk.recover("a") in {"failed", "retried"}
        assert not await books.connection.exists(TAKEN, SEEN)


@pytest.mark.usefixtures("taken")
class TestFailed:
    async def test_as_in_rq(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        before = await books.job("a")
        assert await later(store, desk) == "failed"
        after = await books.job("a")
        after.pop("aiorq_taken")
        assert after == {**before, "status": "failed", "ended_at": STAMP, "last_heartbeat": STAMP}
        assert await books.places("a") == ["rq:failed:default"]
        (result,) = await books.results("a")
        assert (result["type"], result["worker_name"], result["exc_string"]) == ("2", "", TRACEBACK.decode())
        for_ever = {key.decode() for key, (_, expires) in (await books.dump()).items() if not expires}
        assert for_ever == {"rq:queues", "rq:failed:default"}
        assert YEAR - 1 <= await books.ttl("rq:job:a") <= YEAR
        assert not await books.connection.exists(TAKEN, SEEN)

    async def test_not_kept(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await books.connection.hset("rq:job:a", "failure_ttl", 0)
        assert await later(store, desk) == "failed"
        assert {key.decode() for key in await books.dump()} == {
            "rq:queues",
            "rq:aiorq:gone",
            "rq:aiorq:gone:a",
            "rq:failed:default",
        }

    async def test_one_of_many(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await books.connection.rpush(TAKEN, "b", "c")
        await books.connection.lpush(TAKEN, "z")
        await later(store, desk)
        assert await books.connection.lrange(TAKEN, 0, -1) == [b"z", b"b", b"c"]

    async def test_sent_twice(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await later(store, desk)
        before = await books.dump()
        assert await store.again() == b"dropped"
        assert await books.dump() == before


class TestRetried:
    @pytest.mark.parametrize(
        ("intervals", "place"), [([], "rq:queue:default"), ([30], "rq:scheduled:default")], ids=["at once", "later"]
    )
    async def test_as_in_rq(
        self, store: ClockedStore, desk: Desk, books: Books, intervals: list[int], place: str
    ) -> None:
        await take(desk, books, retries_left=2, retry_intervals=intervals)
        assert await later(store, desk) == "retried"
        assert await books.places("a") == [place]
        assert (await books.job("a"))["retries_left"] == "1"
        (attempt,) = await books.attempts("a")
        assert (attempt["number"], attempt["outcome"], attempt["exc_string"]) == (1, "lost", TRACEBACK.decode())
        assert attempt["started_at"] == attempt["ended_at"] == f"{NOON + 70:.6f}"
        assert not await books.connection.exists(TAKEN, SEEN)
        before = await books.dump()
        assert await store.again() == b"dropped"
        assert await books.dump() == before


@pytest.mark.usefixtures("taken")
class TestDropped:
    async def test_job_that_is_gone(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """Its time to wait was over; RQ leaves the id in the list."""
        await desk.recover("a")
        await jobs.delete(store, ["a"])
        assert await desk.recover("a") == "dropped"
        assert {key.decode() for key in await books.dump()} == {"rq:queues"}

    @pytest.mark.parametrize("status", ["started", "finished", "failed", "canceled", "scheduled", "deferred"])
    async def test_job_that_is_elsewhere(self, desk: Desk, books: Books, status: str) -> None:
        await books.connection.hset("rq:job:a", "status", status)
        before = await books.connection.hgetall("rq:job:a")
        assert await desk.recover("a") == "dropped"
        assert await books.connection.hgetall("rq:job:a") == before
        assert not await books.connection.exists(TAKEN)

    async def test_job_that_waits_in_its_queue_again(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """It was enqueued anew under its id while it lay in the list."""
        await desk.recover("a")
        await books.connection.rpush("rq:queue:default", "a")
        await store.set_clock(NOON + 70)
        assert await desk.recover("a") == "dropped"
        assert await books.places("a") == ["rq:queue:default"]
        assert await books.status("a") == "queued"

    async def test_begun_meanwhile(self, desk: Desk, books: Books) -> None:
        await books.connection.delete(TAKEN)
        before = await books.dump()
        assert await desk.recover("a") == "dropped"
        assert await books.dump() == before

    async def test_list_of_a_wrong_type(self, desk: Desk, books: Books) -> None:
        await books.connection.delete(TAKEN)
        await books.connection.set(TAKEN, "text")
        before = await books.dump()
        assert await desk.recover("a") == "dropped"
        assert await books.dump() == before

    async def test_key_of_a_wrong_type(self, desk: Desk, books: Books) -> None:
        await books.connection.delete("rq:job:a")
        await books.connection.set("rq:job:a", "text")
        assert await desk.recover("a") == "dropped"
        assert await books.connection.get("rq:job:a") == b"text"
