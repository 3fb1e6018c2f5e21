"""save.lua: fields that are no state, and nothing to created."""

from __future__ import annotations

import pytest

from aiorq.errors import CorruptJobError
from aiorq.store import jobs, workers
from tests.scripts.conftest import Books, ClockedStore, Desk


async def test_writes_these_fields_and_no_other(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.enqueue("a", description="old", ttl=100)
    before = await books.job("a")
    assert await jobs.save(store, "a", {"description": b"new", "aiorq_more": 5})
    assert await books.job("a") == {**before, "description": "new", "aiorq_more": "5"}
    assert 99 <= await books.ttl("rq:job:a") <= 100


async def test_what_does_not_exist_is_not_brought_back(store: ClockedStore, books: Books) -> None:
    assert not await jobs.save(store, "a", {"meta": b"x"})
    assert await books.dump() == {}


async def test_creates(store: ClockedStore, books: Books) -> None:
    assert await jobs.save(store, "a", {"data": b"x", "ttl": 5}, create={"status": b"created", "origin": b"q"})
    assert await books.connection.hgetall("rq:job:a") == {
        b"data": b"x",
        b"ttl": b"5",
        b"status": b"created",
        b"origin": b"q",
    }
    assert await books.places("a") == []


async def test_state_of_what_exists_is_left_alone(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.start("a")
    before = await books.job("a")
    created = {"status": b"created", "origin": b"elsewhere", "worker_name": b""}
    assert await jobs.save(store, "a", {"description": b"new"}, create=created)
    assert await books.job("a") == {**before, "description": "new"}


async def test_creates_without_more(store: ClockedStore, books: Books) -> None:
    assert await jobs.save(store, "a", {"data": b"x"}, create={})
    assert await books.connection.hgetall("rq:job:a") == {b"data": b"x"}


async def test_empty_meta_is_removed(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.enqueue("a", meta={"k": 1})
    assert await jobs.save(store, "a", {"meta": b"", "description": b""})
    fields = await books.job("a")
    assert "meta" not in fields
    assert fields["description"] == ""


@pytest.mark.parametrize("create", [None, {}, {"status": b"created"}])
async def test_sent_twice(store: ClockedStore, desk: Desk, books: Books, create: dict[str, bytes | int] | None) -> None:
    await desk.enqueue("a")
    assert await jobs.save(store, "a", {"description": b"new"}, create=create)
    before = await books.dump()
    assert await store.again() == 1
    assert await books.dump() == before


async def test_key_of_a_wrong_type(store: ClockedStore, books: Books) -> None:
    await books.connection.set("rq:job:a", "text")
    before = await books.dump()
    for create in (None, {"status": b"created"}):
        with pytest.raises(CorruptJobError, match="job 'a' is corrupt: its key does not hold a hash"):
            await jobs.save(store, "a", {"description": b"new"}, create=create)
    assert await books.dump() == before


async def test_fields_of_a_worker(store: ClockedStore, books: Books) -> None:
    await workers.set_fields(store, "w", {"state": "suspended"})
    assert await books.dump() == {}
    await workers.register(store, "w", "boot", ["default"], {"state": "idle"}, 480)
    await workers.set_fields(store, "w", {"state": "suspended", "pid": 5})
    fields = await books.connection.hgetall("rq:worker:w")
    assert (fields[b"state"], fields[b"pid"]) == (b"suspended", b"5")
    assert 479 <= await books.ttl("rq:worker:w") <= 480
