"""promote.lua: scheduled, or ready, to queued."""

from __future__ import annotations

import pytest

from aiorq.store import jobs
from tests.scripts.conftest import NOON, Books, ClockedStore, Desk, changed

STAMP = "2026-01-02T12:08:20.250000Z"
"""When the jobs are due that `put` schedules."""
KINDS = [("due", "scheduled", "rq:scheduled:default"), ("ready", "ready_to_enqueue", "rq:ready:default")]


@pytest.fixture(params=KINDS, ids=["due", "ready"])
async def kind(request: pytest.FixtureRequest, store: ClockedStore, desk: Desk) -> str:
    """What job `a` is; it is due now."""
    kind, status, _ = request.param
    await desk.put("a", status)
    await store.set_clock(NOON + 500)
    return str(kind)


async def test_is_queued(desk: Desk, books: Books, kind: str) -> None:
    await desk.enqueue("b")
    before = await books.dump()
    assert await desk.promote("a", kind) == "queued"
    (registry,) = [key for name, _, key in KINDS if name == kind]
    assert changed(before, await books.dump()) == {
        "rq:job:a": {"status": "queued", "enqueued_at": STAMP},
        "rq:queue:default": [b"b", b"a"],
        registry: None,
    }


async def test_at_the_front_where_it_says_so(desk: Desk, books: Books, kind: str) -> None:
    await desk.enqueue("b")
    await books.connection.hset("rq:job:a", "enqueue_at_front", 1)
    assert await desk.promote("a", kind) == "queued"
    assert await books.queue() == ["a", "b"]


@pytest.mark.parametrize(("ended_at", "order"), [(STAMP, ["a", "b"]), ("", ["b", "a"]), (None, ["b", "a"])])
async def test_retry_that_is_for_the_front(
    desk: Desk, books: Books, kind: str, ended_at: str | None, order: list[str]
) -> None:
    """RQ's rule: only a job that has run before is being tried again."""
    await desk.enqueue("b")
    await books.connection.hset("rq:job:a", "enqueue_at_front_on_retry", 1)
    if ended_at is None:
        await books.connection.hdel("rq:job:a", "ended_at")
    else:
        await books.connection.hset("rq:job:a", "ended_at", ended_at)
    assert await desk.promote("a", kind) == "queued"
    assert await books.queue() == order


@pytest.mark.parametrize(
    ("fields", "timeout"),
    [
        ({"timeout": 90}, "90"),
        ({"timeout": 90, "aiorq_timeout": 400}, "90"),
        ({"aiorq_timeout": 400}, "400"),
        ({}, "180"),
    ],
)
async def test_has_a_timeout_then(desk: Desk, books: Books, kind: str, fields: dict[str, int], timeout: str) -> None:
    await books.connection.hdel("rq:job:a", "timeout")
    await books.connection.hset("rq:job:a", mapping={"description": "a", **fields})
    assert await desk.promote("a", kind) == "queued"
    assert (await books.job("a"))["timeout"] == timeout


async def test_time_to_wait_counts_from_now(desk: Desk, books: Books, kind: str) -> None:
    await books.connection.hset("rq:job:a", "ttl", 100)
    await books.connection.expire("rq:job:a", 1000)
    await desk.promote("a", kind)
    assert 99 <= await books.ttl("rq:job:a") <= 100


async def test_queue_is_known(desk: Desk, books: Books, kind: str) -> None:
    await books.connection.delete("rq:queues")
    await desk.promote("a", kind)
    assert await books.connection.smembers("rq:queues") == {b"rq:queue:default"}


@pytest.mark.parametrize(("seconds", "word"), [(499.999, "early"), (500, "queued"), (-3600, "early")])
async def test_not_before_its_time(store: ClockedStore, desk: Desk, books: Books, seconds: float, word: str) -> None:
    await desk.put("a", "scheduled")
    await store.set_clock(NOON + seconds)
    before = await books.dump()
    assert await desk.promote("a") == word
    assert (await books.dump() == before) == (word == "early")


async def test_what_is_ready_has_no_time(desk: Desk, books: Books) -> None:
    """RQ writes the time of some worker's clock."""
    await desk.put("a", "ready_to_enqueue")
    assert await desk.promote("a", "ready") == "queued"
    assert await books.places("a") == ["rq:queue:default"]


async def test_sent_twice(desk: Desk, store: ClockedStore, books: Books, kind: str) -> None:
    await desk.promote("a", kind)
    before = await books.dump()
    assert await store.again() == b"dropped"
    assert await books.dump() == before
    await desk.claim()
    before = await books.dump()
    assert await store.again() is not None
    assert await desk.promote("a", kind) == "dropped"
    assert await books.places("a") == ["rq:wip:default"]


class TestLimit:
    @pytest.fixture(autouse=True)
    async def limited(self, books: Books, kind: str) -> None:
        mapping = {"rate_limit_key": "api", "rate_limit_concurrency": 1}
        await books.connection.hset("rq:job:a", mapping=mapping)

    async def test_free_slot(self, desk: Desk, books: Books, kind: str) -> None:
        assert await desk.promote("a", kind) == "queued"
        assert (await books.places("a"), await books.slots()) == (["rq:queue:default"], {"a"})
        assert await books.registry("rl", "api:allowed") == {"a": NOON + 500}

    async def test_no_free_slot(self, store: ClockedStore, desk: Desk, books: Books, kind: str) -> None:
        await desk.place("b", "other", limit=("api", 1))
        await books.connection.hset("rq:job:a", mapping={"enqueue_at_front": 1, "ttl": 100})
        assert await desk.promote("a", kind) == "rate_limited"
        assert (await books.places("a"), await books.slots()) == (["rq:rl:api:rate_limited"], {"b"})
        assert await books.registry("rl", "api:rate_limited") == {"a": NOON + 500}
        assert 99 <= await books.ttl("rq:job:a") <= 100
        before = await books.dump()
        assert await store.again() == b"dropped"
        assert await books.dump() == before
        await desk.enqueue("x")
        await desk.finish("b", "other")
        assert await books.queue() == ["a", "x"]

    @pytest.mark.parametrize("key", ["rq:rl:api", "rq:rl:api:rate_limited", "rq:rl-keys"])
    async def test_keys_of_a_wrong_type(self, desk: Desk, books: Books, kind: str, key: str) -> None:
        await books.connection.set(key, "text")
        before = await books.dump()
        assert await desk.promote("a", kind) == "held"
        assert await books.dump() == before
        await books.connection.delete(key)
        assert await desk.promote("a", kind) == "queued"


class TestDropped:
    @pytest.mark.parametrize("status", ["queued", "finished", "failed", "canceled", "deferred", "banana", ""])
    async def test_job_that_is_elsewhere(self, desk: Desk, books: Books, kind: str, status: str) -> None:
        await books.connection.hset("rq:job:a", "status", status)
        before = await books.connection.hgetall("rq:job:a")
        assert await desk.promote("a", kind) == "dropped"
        assert await books.connection.hgetall("rq:job:a") == before
        assert await books.places("a") == []

    @pytest.mark.parametrize("wrong", [True, False])
    async def test_job_that_is_gone(self, desk: Desk, books: Books, kind: str, wrong: bool) -> None:
        await books.connection.delete("rq:job:a")
        if wrong:
            await books.connection.set("rq:job:a", "text")
        assert await desk.promote("a", kind) == "dropped"
        assert await books.places("a") == []
        assert await books.connection.exists("rq:job:a") == wrong

    async def test_entry_that_is_gone(self, desk: Desk, books: Books, kind: str) -> None:
        """Another one was faster, or the job was canceled meanwhile."""
        await books.connection.delete("rq:scheduled:default", "rq:ready:default")
        before = await books.dump()
        assert await desk.promote("a", kind) == "dropped"
        assert await books.dump() == before

    async def test_canceled_meanwhile(self, desk: Desk, store: ClockedStore, books: Books, kind: str) -> None:
        await jobs.cancel(store, "a", 500)
        assert await desk.promote("a", kind) == "dropped"
        assert await books.places("a") == ["rq:canceled:default"]


class TestWrongTypes:
    async def test_queue(self, desk: Desk, books: Books, kind: str) -> None:
        """The job is not lost, and what else is due does not wait behind it."""
        await books.connection.set("rq:queue:default", "text")
        before = await books.dump()
        assert await desk.promote("a", kind) == "held"
        assert await books.dump() == before
        await books.connection.delete("rq:queue:default")
        assert await desk.promote("a", kind) == "queued"

    async def test_registry(self, desk: Desk, books: Books, kind: str) -> None:
        await books.connection.set("rq:scheduled:default", "text")
        await books.connection.set("rq:ready:default", "text")
        assert await desk.promote("a", kind) == "dropped"

    async def test_set_of_queues(self, desk: Desk, books: Books, kind: str) -> None:
        await books.connection.set("rq:queues", "text")
        assert await desk.promote("a", kind) == "queued"
        assert (await books.job("a"))["status"] == "queued"
        assert await books.places("a") == ["rq:queue:default"]
