"""hold_schedules.lua: a worker shows as the scheduler of its queues, where no other one does."""

from __future__ import annotations

from typing import Any

import pytest
import rq
from redis import Redis
from rq.scheduler import RQScheduler

from aiorq.store import schedule, workers
from tests.scripts.conftest import NOON, Books, ClockedStore, Desk

FIELDS: dict[str, str | int] = {"name": "w", "hostname": "here", "pid": 7, "queues": "one,two"}
LOCKS = "rq:scheduler-lock:one", "rq:scheduler-lock:two"


async def hold(store: ClockedStore, worker: str = "w", boot: str = "") -> int:
    return await schedule.hold(store, worker, boot or f"boot of {worker}", ["one", "two"], {**FIELDS, "name": worker})


async def holders(books: Books) -> list[str | None]:
    found = [await books.connection.get(lock) for lock in LOCKS]
    return [None if holder is None else holder.decode() for holder in found]


async def test_takes_what_is_free(store: ClockedStore, books: Books) -> None:
    assert await hold(store) == 2
    assert await holders(books) == ["w", "w"]
    for key in (*LOCKS, "rq:scheduler:w"):
        assert 60 <= await books.ttl(key) <= 61
    assert await books.connection.hgetall("rq:scheduler:w") == {
        b"name": b"w",
        b"hostname": b"here",
        b"pid": b"7",
        b"queues": b"one,two",
        b"created_at": b"2026-01-02T12:00:00.250000Z",
        b"last_heartbeat": b"2026-01-02T12:00:00.250000Z",
        b"aiorq_boot": b"boot of w",
    }


async def test_keeps_its_own(store: ClockedStore, books: Books) -> None:
    await hold(store)
    for key in (*LOCKS, "rq:scheduler:w"):
        await books.connection.expire(key, 10)
    await store.set_clock(NOON + 20)
    assert await hold(store) == 2
    for key in (*LOCKS, "rq:scheduler:w"):
        assert 60 <= await books.ttl(key) <= 61
    fields = await books.connection.hmget("rq:scheduler:w", "created_at", "last_heartbeat")
    assert fields == [b"2026-01-02T12:00:00.250000Z", b"2026-01-02T12:00:20.250000Z"]


async def test_leaves_those_of_others(store: ClockedStore, books: Books) -> None:
    await books.connection.set(LOCKS[0], "theirs", ex=10)
    assert await hold(store) == 1
    assert await holders(books) == ["theirs", "w"]
    assert await books.ttl(LOCKS[0]) <= 10
    before = await books.dump()
    assert await hold(store, "v") == 0
    assert await books.dump() == before
    await books.connection.delete(LOCKS[0])
    assert await hold(store, "v") == 1
    assert await holders(books) == ["v", "w"]


async def test_after_a_process_of_the_same_name(store: ClockedStore, books: Books) -> None:
    await hold(store)
    await store.set_clock(NOON + 20)
    assert await hold(store, boot="another boot") == 2
    fields = await books.connection.hmget("rq:scheduler:w", "created_at", "aiorq_boot")
    assert fields == [b"2026-01-02T12:00:20.250000Z", b"another boot"]


@pytest.mark.parametrize("key", [LOCKS[0], "rq:scheduler:w"])
async def test_keys_of_a_wrong_type(store: ClockedStore, books: Books, key: str) -> None:
    await books.connection.rpush(key, "text")
    assert await hold(store) == (1 if key == LOCKS[0] else 2)
    assert await books.connection.hget("rq:scheduler:w", "pid") == b"7"


async def test_rq_shows_it(store: ClockedStore, url: str) -> None:
    await hold(store)
    with Redis.from_url(url) as client:
        assert rq.Queue("one", connection=client).scheduler_pid == 7
        theirs = RQScheduler.fetch("w", client)
        assert (theirs.name, theirs.hostname, theirs.pid) == ("w", "here", 7)
        assert theirs.created_at.timestamp() == NOON
        another: Any = RQScheduler(["one", "two", "three"], client)
        assert another.acquire_locks() == {"three"}


class TestRetire:
    @pytest.fixture(autouse=True)
    async def held(self, store: ClockedStore) -> None:
        await workers.register(store, "w", "boot of w", ["one", "two"], {"state": "idle"}, 480)
        await hold(store)

    async def test_frees_them(self, store: ClockedStore, books: Books) -> None:
        await workers.retire(store, "w", "boot of w", ["one", "two"])
        assert not await books.connection.exists(*LOCKS, "rq:scheduler:w")
        before = await books.dump()
        await store.again()
        assert await books.dump() == before

    async def test_leaves_those_of_others(self, store: ClockedStore, books: Books) -> None:
        await books.connection.set(LOCKS[1], "theirs", ex=10)
        await workers.retire(store, "w", "boot of w", ["one", "two"])
        assert await holders(books) == [None, "theirs"]

    async def test_of_another_process_of_that_name(self, store: ClockedStore, books: Books) -> None:
        await hold(store, boot="another boot")
        await workers.retire(store, "w", "boot of w", ["one", "two"])
        assert await holders(books) == ["w", "w"]
        assert await books.connection.exists("rq:scheduler:w")

    @pytest.mark.parametrize("key", [LOCKS[0], "rq:scheduler:w"])
    async def test_keys_of_a_wrong_type(self, store: ClockedStore, books: Books, key: str) -> None:
        await books.connection.delete(key)
        await books.connection.rpush(key, "text")
        await workers.retire(store, "w", "boot of w", ["one", "two"])
        assert await books.connection.hexists("rq:worker:w", "death")


async def test_what_is_due_is_found_where_a_worker_holds_the_lock(
    store: ClockedStore, desk: Desk, books: Books
) -> None:
    await desk.put("a", "scheduled", "one")
    await desk.put("b", "scheduled", "two")
    await books.connection.set(LOCKS[1], "theirs", ex=10)
    await hold(store)
    await store.set_clock(NOON + 500)
    assert [finding.subject for finding in await desk.look() or []] == ["a"]
