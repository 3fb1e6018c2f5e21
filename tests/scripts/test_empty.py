"""empty.lua: queued to nothing."""

from __future__ import annotations

import pytest

from aiorq.errors import StoreError
from aiorq.store import queues
from tests.scripts.conftest import Books, ClockedStore, Desk


async def test_jobs_that_wait_are_deleted(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.enqueue("x", queue="other")
    before = await books.dump()
    await desk.enqueue("a", "b", "c")
    await books.connection.xadd("rq:results:a", {"type": 1})
    await books.connection.sadd("rq:job:a:dependents", "x")
    await books.connection.sadd("rq:job::a:dependencies", "x")
    assert await queues.empty(store, "default") == 3
    after = await books.dump()
    del after[b"rq:queues"], before[b"rq:queues"]
    assert after == before


async def test_in_steps(store: ClockedStore, desk: Desk, books: Books) -> None:
    await books.connection.rpush("rq:queue:default", *(f"ghost-{number}" for number in range(1200)))
    await desk.enqueue("last")
    assert await queues.empty(store, "default") == 1201
    assert await books.queue() == []
    assert not await books.connection.exists("rq:job:last")


async def test_empty_already(store: ClockedStore, books: Books) -> None:
    assert await queues.empty(store, "default") == 0
    assert await books.dump() == {}


@pytest.mark.parametrize("status", ["finished", "failed", "scheduled", "deferred", "canceled", "banana"])
async def test_job_that_is_elsewhere_loses_its_entry_only(
    store: ClockedStore, desk: Desk, books: Books, status: str
) -> None:
    await desk.put("a", status)
    before = await books.dump()
    await books.connection.rpush("rq:queue:default", "a")
    assert await queues.empty(store, "default") == 1
    assert await books.dump() == before


async def test_job_that_runs_loses_its_entry_only(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.start("a")
    before = await books.dump()
    await books.connection.rpush("rq:queue:default", "a")
    assert await queues.empty(store, "default") == 1
    assert await books.dump() == before


async def test_entry_of_a_wrong_type(store: ClockedStore, books: Books) -> None:
    await books.connection.set("rq:job:a", "text")
    before = await books.dump()
    await books.connection.rpush("rq:queue:default", "a")
    assert await queues.empty(store, "default") == 1
    assert await books.dump() == before


async def test_dependents_go_on(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.enqueue("p", "q", queue="parents")
    await desk.place("a", parents=["p"])
    await desk.place("b", parents=["p", "q"])
    await desk.place("c", "parents", parents=["p"], wishes={"delay": 60.0})
    assert await queues.empty(store, "parents") == 2
    assert sorted(await books.queue()) == ["a", "b"]
    assert await books.places("c") == ["rq:scheduled:parents"]


async def test_what_comes_to_the_queue_meanwhile_is_spared(store: ClockedStore, desk: Desk, books: Books) -> None:
    """It did not wait in it when somebody decided to empty it."""
    await desk.enqueue("p")
    await desk.place("a", parents=["p"])
    await desk.place("b", parents=["a"])
    assert await queues.empty(store, "default") == 1
    assert (await books.queue(), await books.status("b")) == (["a"], "deferred")
    await desk.place("c", limit=("api", 1))
    await desk.place("d", limit=("api", 1))
    assert await queues.empty(store, "default") == 2
    assert sorted(await books.queue()) == ["b", "d"]


async def test_job_that_repeats(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.enqueue("a", repeats_left=3, repeat_intervals=[0])
    await desk.finish("a", ttl=-1)
    assert await books.places("a") == ["rq:finished:default", "rq:queue:default"]
    assert await queues.empty(store, "default") == 1
    assert await books.places("a") == []


async def test_leave_their_groups_and_slots(store: ClockedStore, desk: Desk, books: Books) -> None:
    for job_id, queue in (("a", "default"), ("b", "other")):
        await desk.place(job_id, queue, limit=("api", 1), wishes={"group": "g"})
    await queues.empty(store, "default")
    assert (await books.members("rq:group:g"), await books.slots()) == ({"b"}, {"b"})
    assert await books.queue("other") == ["b"]


async def test_sent_twice(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.enqueue("a", "b")
    await queues.empty(store, "default")
    before = await books.dump()
    assert await store.again() == 0
    assert await books.dump() == before


async def test_queue_of_a_wrong_type(store: ClockedStore, books: Books) -> None:
    await books.connection.set("rq:queue:default", "text")
    before = await books.dump()
    with pytest.raises(StoreError, match="WRONGTYPE"):
        await queues.empty(store, "default")
    assert await books.dump() == before
