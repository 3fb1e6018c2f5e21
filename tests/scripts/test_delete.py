"""delete.lua: any state to nothing."""

from __future__ import annotations

import pytest

from aiorq.status import JobStatus
from aiorq.store import jobs, runs
from tests.scripts.conftest import Books, ClockedStore, Desk, renew

STATES = [status.value for status in JobStatus if status is not JobStatus.STARTED]


@pytest.mark.parametrize("status", STATES)
async def test_nothing_is_left(store: ClockedStore, desk: Desk, books: Books, status: str) -> None:
    await desk.put("other", status)
    before = await books.dump()
    await desk.put("a", status)
    await books.connection.xadd("rq:results:a", {"type": 1})
    await books.connection.sadd("rq:job:a:dependents", "x")
    await books.connection.sadd("rq:job::a:dependencies", "x")
    assert await jobs.delete(store, ["a"]) == 1
    assert await books.dump() == before
    assert await books.places("a") == []


async def test_running(store: ClockedStore, desk: Desk, books: Books) -> None:
    other = await desk.start("ab")
    before = await books.dump()
    run = await desk.start("a")
    assert await jobs.delete(store, ["a"]) == 1
    assert (await books.places("a"), await books.runs("a")) == ([], [])
    assert not await books.connection.exists("rq:job:a")
    after = await books.dump()
    before.pop(b"rq:worker:w")  # it remembers its last claim
    after.pop(b"rq:worker:w")
    assert after == before
    assert await renew(store, [run, other]) == (False, [run])


async def test_running_since_long_and_reaped_by_nobody(store: ClockedStore, desk: Desk, books: Books) -> None:
    run = await desk.start("a")
    await desk.start("ab")
    await books.connection.delete("rq:executions:a", f"rq:execution:a:{run.token}")
    assert await jobs.delete(store, ["a"]) == 1
    assert (await books.places("a"), await books.runs("a")) == ([], [])
    assert len(await books.registry("wip")) == 1
    await desk.enqueue("a")  # a new life, which the old run must not end
    assert not await runs.finish(store, "w", run, b"", 500)
    assert await books.places("a") == ["rq:queue:default"]


async def test_canceled_while_it_ran(store: ClockedStore, desk: Desk, books: Books) -> None:
    """RQ leaves the execution of such a job."""
    await desk.start("a")
    await books.connection.hset("rq:job:a", "status", "canceled")
    await books.connection.zadd("rq:canceled:default", {"a": 1})
    assert await jobs.delete(store, ["a"]) == 1
    assert (await books.places("a"), await books.runs("a")) == ([], [])


async def test_one_of_many_in_a_queue(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.enqueue("a", "b", "c")
    assert await jobs.delete(store, ["b"]) == 1
    assert await books.queue() == ["a", "c"]


async def test_many(store: ClockedStore, desk: Desk, books: Books) -> None:
    wanted = [f"job-{number}" for number in range(250)]
    await desk.enqueue(*wanted)
    assert await jobs.delete(store, [*wanted, "missing"]) == 250
    assert list(await books.dump()) == [b"rq:queues"]
    assert await jobs.delete(store, []) == 0


class TestDependents:
    async def test_go_on(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("p", queue="parents")
        await desk.place("a", parents=["p"])
        assert await jobs.delete(store, ["p"]) == 1
        assert await books.places("a") == ["rq:queue:default"]
        before = await books.dump()
        assert await store.again() == 0
        assert await books.dump() == before

    async def test_with_them_nothing_is_left(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """A tree, and two ways to the same job."""
        await desk.enqueue("other")
        before = await books.dump()
        await desk.enqueue("p", queue="parents")
        for job_id, parents in (("a", ["p"]), ("b", ["a", "p"]), ("c", ["b"]), ("d", ["b", "c", "other"])):
            await desk.place(job_id, parents=parents)
        assert await jobs.delete(store, ["p"], with_dependents=True) == 5
        after = await books.dump()
        for look in (before, after):
            look.pop(b"rq:queues")
        assert after.pop(b"rq:job:other:dependents")[0] == {b"d"}  # until that one ends
        assert after == before

    async def test_none_of_them_was_enqueued_meanwhile(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """Each is deleted before what it waits for, also where they are too many for one step."""
        await desk.enqueue("p", queue="parents")
        chain = [desk.new(f"job-{n}", "q", parents=[f"job-{n - 1}" if n else "p"]) for n in range(250)]
        await jobs.enqueue_many(store, chain)
        seen = []

        async def watch(script: str) -> None:
            seen.append((script, await books.queue("q")))

        store.before = watch
        assert await jobs.delete(store, ["p"], with_dependents=True) == 251
        assert seen == [("delete", [])] * 3
        assert await books.queue("q") == []
        assert await books.registry("deferred", "q") == {}

    async def test_of_one_that_is_gone(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("p", queue="parents")
        await desk.place("a", parents=["p"])
        await books.connection.delete("rq:job:p")
        assert await jobs.delete(store, ["p"]) == 0
        assert await books.places("a") == ["rq:queue:default"]

    async def test_deleted_together_with_it(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("p", queue="parents")
        await desk.place("a", parents=["p"])
        assert await jobs.delete(store, ["p", "a"]) == 2
        assert await books.places("a") == []
        assert not await books.connection.exists("rq:job:a", "rq:job:p")

    async def test_deleted_while_it_waits(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("p", queue="parents")
        await desk.place("a", parents=["p"])
        assert await jobs.delete(store, ["a"]) == 1
        assert await books.registry("deferred") == {}
        await desk.finish("p", "parents")
        assert await books.queue() == []


async def test_leaves_its_group(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.place("a", wishes={"group": "g"})
    await desk.place("b", wishes={"group": "g"})
    await jobs.delete(store, ["a"])
    assert await books.members("rq:group:g") == {"b"}
    await books.connection.delete("rq:group:g")
    await books.connection.set("rq:group:g", "text")
    assert await jobs.delete(store, ["b"]) == 1


async def test_with_what_is_kept_of_its_attempts(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.enqueue("a", retries_left=1)
    await desk.fail("a")
    parents = [f"parent-{number}" for number in range(20)]
    await desk.enqueue(*parents, queue="parents")
    await desk.place("b", parents=parents)
    assert await jobs.delete(store, ["a", "b"]) == 2
    assert not await books.connection.exists("rq:aiorq:attempts:a", "rq:aiorq:waits:b")


async def test_sent_twice(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.start("a")
    await desk.enqueue("b")
    await jobs.delete(store, ["a"])
    before = await books.dump()
    assert await store.again() == 0
    assert await books.dump() == before


async def test_missing(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.enqueue("a")
    before = await books.dump()
    assert await jobs.delete(store, ["missing"]) == 0
    assert await books.dump() == before


@pytest.mark.parametrize("command", ["SET", "RPUSH", "SADD"])
async def test_key_of_a_wrong_type(store: ClockedStore, books: Books, command: str) -> None:
    await books.connection.execute_command(command, "rq:job:a", "text")
    assert await jobs.delete(store, ["a"]) == 1
    assert await books.dump() == {}


@pytest.mark.parametrize(
    "key", ["rq:queue:default", "rq:executions:a", "rq:wip:default", "rq:worker:w:executions", "rq:results:a"]
)
async def test_places_of_a_wrong_type(store: ClockedStore, desk: Desk, books: Books, key: str) -> None:
    await desk.start("a")
    if key == "rq:queue:default":
        await books.connection.hset("rq:job:a", "status", "queued")
    await books.connection.set(key, "text")
    assert await jobs.delete(store, ["a"]) == 1
    assert not await books.connection.exists("rq:job:a")


async def test_without_status_or_origin(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.enqueue("a", "b")
    await books.connection.hdel("rq:job:a", "status")
    await books.connection.hdel("rq:job:b", "origin")
    assert await jobs.delete(store, ["a", "b"]) == 2
    assert not await books.connection.exists("rq:job:a", "rq:job:b")
    assert await desk.claim() == []  # what is left in the list is dropped
