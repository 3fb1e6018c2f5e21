"""enqueue_dependents.lua: jobs that wait for one that has ended, and are too many to be looked at in the same step."""

from __future__ import annotations

from typing import Any

import pytest

from aiorq.errors import AiorqError
from aiorq.store import jobs, queues, runs
from aiorq.store.overdue import Finding
from aiorq.store.runs import Failed
from tests.scripts.conftest import NOON, TRACEBACK, Books, ClockedStore, Desk

PART = "p:1767355200.250000"
MANY = 250


async def with_children(store: ClockedStore, desk: Desk, count: int = MANY, **options: Any) -> list[str]:
    """Job `p`, and so many that wait for it."""
    await desk.enqueue("p", queue="parents")
    ids = [f"child-{number}" for number in range(count)]
    await jobs.enqueue_many(store, [desk.new(job_id, parents=["p"], **options) for job_id in ids])
    return ids


async def look(store: ClockedStore, part: str = PART, most: int = 100) -> list[Any]:
    """Look at some of them."""
    reply: list[Any] = await store.run("enqueue_dependents", [store.keys.ended_parents], part, most)
    return reply


class TestHowMany:
    @pytest.mark.parametrize(("count", "apart"), [(100, False), (101, True)])
    async def test_set_apart(self, store: ClockedStore, desk: Desk, books: Books, count: int, apart: bool) -> None:
        ids = await with_children(store, desk, count)
        part = await desk.end_apart("finish", await desk.take("p", "parents"))
        assert part == (PART if apart else "")
        assert not await books.connection.exists("rq:job:p:dependents")
        assert await books.connection.hgetall("rq:aiorq:parents") == ({PART.encode(): b"finished"} if apart else {})
        assert await books.members(f"rq:aiorq:parting:{PART}") == (set(ids) if apart else set())
        assert len(await books.queue()) == (0 if apart else count)
        assert await books.places("p") == ["rq:finished:parents"]

    async def test_some_at_a_time(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        ids = await with_children(store, desk)
        await desk.end_apart("finish", await desk.take("p", "parents"))
        seen: list[str] = []
        for more, count in ((1, 100), (1, 100), (0, 50)):
            left, *pairs = await look(store)
            assert (left, pairs[::2]) == (more, [b"default"] * count)
            seen += [job_id.decode() for job_id in pairs[1::2]]
        assert sorted(seen) == sorted(ids)
        assert await books.queue() == seen
        assert await books.registry("deferred") == {}
        assert not await books.connection.exists("rq:aiorq:parents", f"rq:aiorq:parting:{PART}")
        assert await look(store) == [0]

    async def test_who_ended_it_goes_on_with_them(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await with_children(store, desk)
        await desk.finish("p", "parents")
        assert len(await books.queue()) == MANY
        assert not await books.connection.exists("rq:aiorq:parents")

    @pytest.mark.parametrize("ttl", [500, 0])
    async def test_after_a_failure(self, store: ClockedStore, desk: Desk, books: Books, ttl: int) -> None:
        await with_children(store, desk, allow_failure=True)
        assert await desk.fail("p", "parents", ttl) is Failed.FOR_GOOD
        assert len(await books.queue()) == MANY

    async def test_who_cancels_it_hears_of_all(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        ids = await with_children(store, desk)
        enqueued = await jobs.cancel(store, "p", 500, enqueue_dependents=True)
        assert sorted(enqueued["default"]) == sorted(ids)
        assert enqueued.keys() == {"default"}
        assert len(await books.queue()) == MANY

    @pytest.mark.parametrize("end", ["delete", "empty", "reap", "recover"])
    async def test_the_leader_goes_on_with_them(self, store: ClockedStore, desk: Desk, books: Books, end: str) -> None:
        await with_children(store, desk, allow_failure=True)
        if end == "delete":
            await jobs.delete(store, ["p"])
        elif end == "empty":
            await queues.empty(store, "parents")
        elif end == "recover":
            await books.connection.lmove("rq:queue:parents", "rq:queue:parents:intermediate", "LEFT", "RIGHT")
            await desk.recover("p", "parents")
            await store.set_clock(NOON + 100)
            assert await desk.recover("p", "parents") == "failed"
        else:
            run = await desk.take("p", "parents", begun=True)
            await store.set_clock(NOON + 100)
            assert await desk.reap(run) == "failed"
        findings = [finding for finding in await desk.look() or [] if finding.kind == "parent"]
        (part,) = [part.decode() for part in await books.connection.hkeys("rq:aiorq:parents")]
        assert findings == [Finding("parent", "", part)]
        assert len(await jobs.enqueue_dependents(store, part)) == 2 * MANY
        assert len(await books.queue()) == MANY
        assert [finding for finding in await desk.look() or [] if finding.kind == "parent"] == []

    async def test_outcome_stands_if_the_rest_fails(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await with_children(store, desk)
        run = await desk.take("p", "parents")
        calls: list[str] = []

        async def fail_behind_the_outcome(script: str) -> None:
            calls.append(script)
            if script == "enqueue_dependents":
                raise AiorqError

        store.before = fail_behind_the_outcome
        assert await runs.finish(store, "w", run, b"", 500)
        assert calls == ["finish", "enqueue_dependents"]
        assert await books.places("p") == ["rq:finished:parents"]


class TestSentTwice:
    async def test_looks_at_others(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await with_children(store, desk)
        await desk.end_apart("finish", await desk.take("p", "parents"))
        await look(store)
        assert (await store.again())[0] == 1
        assert len(set(await books.queue())) == len(await books.queue()) == 200

    async def test_after_the_last(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await with_children(store, desk)
        await desk.finish("p", "parents")
        before = await books.registry("deferred"), await books.queue()
        assert await store.again() == [0]
        assert (await books.registry("deferred"), await books.queue()) == before

    async def test_outcome(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """It says nothing of the part, and the leader finds it."""
        await with_children(store, desk)
        await desk.end_apart("finish", await desk.take("p", "parents"))
        assert await store.again() == b"ok"
        assert await books.connection.hkeys("rq:aiorq:parents") == [PART.encode()]


class TestMeanwhile:
    """What may happen between the end of the parent and the look at a child."""

    @pytest.fixture(autouse=True)
    async def ended(self, store: ClockedStore, desk: Desk) -> None:
        await with_children(store, desk, 101)
        await desk.end_apart("finish", await desk.take("p", "parents"))

    @pytest.mark.parametrize("deed", ["cancel", "delete", "enqueue", "requeue", "expire"])
    async def test_to_the_child(self, store: ClockedStore, desk: Desk, books: Books, deed: str) -> None:
        if deed == "delete":
            await jobs.delete(store, ["child-7"])
        elif deed == "expire":
            await books.connection.delete("rq:job:child-7")
        elif deed == "enqueue":
            await desk.enqueue("child-7", queue="other")
        else:
            await jobs.cancel(store, "child-7", 500)
            if deed == "requeue":
                await jobs.requeue(store, "child-7", "canceled")
        places = await books.places("child-7")
        await jobs.enqueue_dependents(store, PART)
        assert await books.places("child-7") == places
        assert (await books.queue()).count("child-7") == (1 if deed == "requeue" else 0)
        assert len(await books.queue()) == (101 if deed == "requeue" else 100)

    async def test_child_waits_for_another_one_now(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("q", queue="q")
        await desk.place("child-7", parents=["q"])
        await jobs.enqueue_dependents(store, PART)
        assert await books.places("child-7") == ["rq:deferred:default"]
        await desk.finish("q", "q")
        assert await books.places("child-7") == ["rq:queue:default"]

    async def test_parent_is_enqueued_again(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """They waited for the end that it came to."""
        await desk.enqueue("p", queue="parents")
        await desk.place("late", parents=["p"])
        await jobs.enqueue_dependents(store, PART)
        assert len(await books.queue()) == 101
        assert await books.places("late") == ["rq:deferred:default"]
        await desk.finish("p", "parents")
        assert await books.places("late") == ["rq:queue:default"]

    async def test_parent_ends_again(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await jobs.requeue(store, "p", "finished")
        await jobs.enqueue_many(store, [desk.new(f"late-{number}", parents=["p"]) for number in range(101)])
        await store.set_clock(NOON + 1)
        second = await desk.end_apart("finish", await desk.take("p", "parents"))
        assert second == "p:1767355201.250000"
        assert len(await books.connection.hgetall("rq:aiorq:parents")) == 2
        await jobs.enqueue_dependents_of(store, "p")
        assert len(await books.queue()) == 202

    @pytest.mark.parametrize("deed", ["delete", "expire"])
    async def test_parent_goes(self, store: ClockedStore, desk: Desk, books: Books, deed: str) -> None:
        if deed == "delete":
            await jobs.delete(store, ["p"])
        else:
            await books.connection.delete("rq:job:p")
        await jobs.enqueue_dependents(store, PART)
        assert len(await books.queue()) == 101
        assert not await books.connection.exists("rq:job:p:dependents")

    async def test_only_the_parts_of_one_job(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await books.connection.hset("rq:aiorq:parents", "p2:5", "finished")
        await jobs.enqueue_dependents_of(store, "p")
        assert await books.connection.hkeys("rq:aiorq:parents") == [b"p2:5"]


class TestWait:
    """Children that go on waiting."""

    async def test_for_another_parent(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("q", queue="q")
        await with_children(store, desk, 101)
        await desk.place("both", parents=["p", "q"])
        await desk.finish("p", "parents")
        assert await books.registry("deferred") == {"both": int(NOON)}
        assert await books.members("rq:job:p:dependents") == {"both"}
        assert 499 <= await books.ttl("rq:job:p:dependents") <= 500
        await desk.finish("q", "q")
        assert await books.places("both") == ["rq:queue:default"]

    async def test_for_a_parent_that_is_not_kept(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("q", queue="q")
        await with_children(store, desk, 101)
        await desk.place("both", parents=["p", "q"])
        await desk.finish("p", "parents", ttl=0)
        assert not await books.connection.exists("rq:job:p:dependents")
        await desk.finish("q", "q")
        assert await books.places("both") == ["rq:queue:default"]

    async def test_for_one_that_failed(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        ids = await with_children(store, desk, 101)
        await desk.place("lax", parents=["p"], allow_failure=True)
        await desk.fail("p", "parents")
        assert await books.queue() == ["lax"]
        assert await books.members("rq:job:p:dependents") == set(ids)
        await jobs.requeue(store, "p", "failed")
        await desk.finish("p", "parents")
        assert len(await books.queue()) == 102

    @pytest.mark.parametrize("deed", ["finish", "delete"])
    async def test_for_one_that_failed_and_got_on_since(
        self, store: ClockedStore, desk: Desk, books: Books, deed: str
    ) -> None:
        """Its second end finds none of them: they are still set apart since the first one."""
        await with_children(store, desk, 101)
        part = await desk.end_apart("fail", await desk.take("p", "parents"))
        if deed == "delete":
            await jobs.delete(store, ["p"])
        else:
            await jobs.requeue(store, "p", "failed")
            await desk.end_apart("finish", await desk.take("p", "parents"))
        assert await books.queue() == []
        await jobs.enqueue_dependents(store, part)
        assert len(await books.queue()) == (101 if deed == "finish" else 0)

    async def test_for_one_that_was_stopped(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        ids = await with_children(store, desk, 101, allow_failure=True)
        assert await runs.stop(store, "w", await desk.take("p", "parents", begun=True), TRACEBACK, 500)
        (part,) = [part.decode() for part in await books.connection.hkeys("rq:aiorq:parents")]
        assert await jobs.enqueue_dependents(store, part) == []
        assert await books.members("rq:job:p:dependents") == set(ids)
        await jobs.requeue(store, "p", "failed")
        await desk.finish("p", "parents")
        assert len(await books.queue()) == 101

    async def test_behind_a_rate_limit_or_for_their_time(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await with_children(store, desk, 101, limit=("api", 2))
        await desk.place("later", parents=["p"], wishes={"delay": 60.0})
        await desk.finish("p", "parents")
        assert len(await books.queue()) == len(await books.slots()) == 2
        assert len(await books.registry("rl", "api:rate_limited")) == 99
        assert await books.places("later") == ["rq:scheduled:default"]

    async def test_queue_of_a_wrong_type(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await with_children(store, desk, 101)
        await books.connection.set("rq:queue:default", "text")
        await desk.finish("p", "parents")
        assert len(await books.registry("deferred")) == 101
        assert await books.members("rq:job:p:dependents") == set(await books.registry("deferred"))


@pytest.mark.parametrize("key", ["rq:aiorq:parents", f"rq:aiorq:parting:{PART}"])
async def test_books_of_our_own_of_a_wrong_type(store: ClockedStore, desk: Desk, books: Books, key: str) -> None:
    await with_children(store, desk, 101)
    await books.connection.set(key, "text")
    await desk.finish("p", "parents")
    assert len(await books.queue()) == 101
    assert not await books.connection.exists("rq:aiorq:parents", f"rq:aiorq:parting:{PART}")


async def test_part_that_holds_something_else(store: ClockedStore, desk: Desk, books: Books) -> None:
    """What else is overdue must not wait behind it."""
    await books.connection.hset("rq:aiorq:parents", PART, "finished")
    await books.connection.set(f"rq:aiorq:parting:{PART}", "text")
    assert await look(store) == [0]
    assert await books.dump() == {}


@pytest.mark.parametrize("part", ["", ":", "x", "p", "p:", PART + "0", "\x00"])
async def test_part_that_is_none(store: ClockedStore, desk: Desk, books: Books, part: str) -> None:
    await desk.enqueue("p")
    await desk.place("a", parents=["p"])
    before = await books.dump()
    assert await look(store, part) == [0]
    assert await books.dump() == before
