"""register.lua: a worker enters RQ's books."""

from __future__ import annotations

from typing import Any

import pytest

from aiorq.errors import WorkerExistsError
from aiorq.store import workers
from tests.scripts.conftest import NOON, Books, ClockedStore, Desk

STAMP = b"2026-01-02T12:00:00.250000Z"
FIELDS: dict[str, str | int] = {"state": "idle", "pid": 5, "queues": "one,two"}


async def enter(store: ClockedStore, boot: str = "boot", fields: Any = FIELDS) -> None:
    await workers.register(store, "w", boot, ["one", "two"], fields, 480)


async def test_entry(store: ClockedStore, books: Books) -> None:
    await enter(store)
    assert await books.connection.hgetall("rq:worker:w") == {
        b"birth": STAMP,
        b"last_heartbeat": STAMP,
        b"aiorq_boot": b"boot",
        b"state": b"idle",
        b"pid": b"5",
        b"queues": b"one,two",
    }
    assert 479 <= await books.ttl("rq:worker:w") <= 480
    for key in ("rq:workers", "rq:workers:one", "rq:workers:two"):
        assert await books.connection.smembers(key) == {b"rq:worker:w"}


async def test_inboxes_are_known(store: ClockedStore, books: Books) -> None:
    await enter(store)
    assert await books.connection.smembers("rq:aiorq:inboxes") == {b"w:one", b"w:two"}
    await books.connection.delete("rq:aiorq:inboxes")
    await enter(store)  # anew: they were lost
    assert await books.connection.smembers("rq:aiorq:inboxes") == {b"w:one", b"w:two"}


async def test_refused_worker_has_no_inboxes(store: ClockedStore, books: Books) -> None:
    await books.connection.hset("rq:worker:w", mapping={"birth": STAMP})
    with pytest.raises(WorkerExistsError):
        await enter(store)
    assert not await books.connection.exists("rq:aiorq:inboxes")


async def test_key_of_a_wrong_type(store: ClockedStore, books: Books) -> None:
    """It holds no worker; one that is forgotten must be able to enter anew."""
    await books.connection.set("rq:worker:w", "text")
    await enter(store)
    assert await books.connection.hget("rq:worker:w", "aiorq_boot") == b"boot"


async def test_sent_twice(store: ClockedStore, books: Books) -> None:
    await enter(store)
    before = await books.dump()
    assert await store.again() == b"ok"
    assert await books.dump() == before


async def test_name_of_a_live_worker(store: ClockedStore, books: Books) -> None:
    await enter(store)
    before = await books.dump()
    with pytest.raises(WorkerExistsError, match="a live worker named 'w'"):
        await enter(store, "another boot")
    assert await books.dump() == before


async def test_name_of_a_live_worker_of_rq(store: ClockedStore, books: Books) -> None:
    await books.connection.hset("rq:worker:w", mapping={"birth": STAMP, "pid": 1})
    before = await books.dump()
    with pytest.raises(WorkerExistsError):
        await enter(store)
    assert await books.dump() == before


async def test_name_of_a_dead_worker(store: ClockedStore, desk: Desk, books: Books) -> None:
    await enter(store, "old")
    await books.connection.hincrby("rq:worker:w", "failed_job_count", 7)
    await workers.retire(store, "w", "old", ["one", "two"])
    await store.set_clock(NOON + 5)
    await enter(store)
    fields = await books.connection.hgetall("rq:worker:w")
    assert fields[b"birth"] == b"2026-01-02T12:00:05.250000Z"
    assert fields[b"aiorq_boot"] == b"boot"
    assert not {b"death", b"failed_job_count"} & set(fields)
    assert 479 <= await books.ttl("rq:worker:w") <= 480


async def test_runs_of_a_dead_worker_are_not_those_of_the_next(store: ClockedStore, books: Books) -> None:
    await books.connection.hset("rq:worker:w", mapping={"birth": STAMP, "death": STAMP})
    await books.connection.sadd("rq:worker:w:executions", "a:token")
    await enter(store)
    assert not await books.connection.exists("rq:worker:w:executions")


class TestAnew:
    async def test_the_sets_were_lost(self, store: ClockedStore, books: Books) -> None:
        await enter(store)
        await books.connection.hincrby("rq:worker:w", "failed_job_count", 7)
        await books.connection.delete("rq:workers", "rq:workers:one")
        await store.set_clock(NOON + 5)
        await enter(store)
        fields = await books.connection.hgetall("rq:worker:w")
        assert (fields[b"birth"], fields[b"failed_job_count"]) == (STAMP, b"7")
        assert fields[b"last_heartbeat"] == b"2026-01-02T12:00:05.250000Z"
        assert await books.connection.smembers("rq:workers") == {b"rq:worker:w"}
        assert await books.connection.smembers("rq:workers:one") == {b"rq:worker:w"}

    async def test_everything_was_lost_and_it_claimed_since(
        self, store: ClockedStore, desk: Desk, books: Books
    ) -> None:
        await enter(store)
        await books.connection.flushall()
        await store.set_clock(NOON)
        await desk.start("a")
        await enter(store)
        fields = await books.connection.hgetall("rq:worker:w")
        assert (fields[b"birth"], fields[b"aiorq_boot"]) == (STAMP, b"boot")
        assert await books.connection.scard("rq:worker:w:executions") == 1
        assert await books.connection.smembers("rq:workers") == {b"rq:worker:w"}


async def test_without_fields(store: ClockedStore, books: Books) -> None:
    await enter(store, fields={})
    assert await books.connection.hlen("rq:worker:w") == 3


async def test_rq_reads_it(store: ClockedStore, url: str) -> None:
    import redis
    import rq

    await enter(store)
    with redis.Redis.from_url(url) as client:
        (worker,) = rq.Worker.all(client)
        assert (worker.name, worker.get_state(), worker.pid) == ("w", "idle", 5)
        assert worker.queue_names() == ["one", "two"]
