"""retire.lua: a worker leaves RQ's books."""

from __future__ import annotations

import pytest

from aiorq.store import runs, workers
from aiorq.store.overdue import Finding
from tests.scripts.conftest import NOON, Books, ClockedStore, Desk

STAMP = b"2026-01-02T12:00:05.250000Z"


@pytest.fixture(autouse=True)
async def entered(store: ClockedStore) -> None:
    """A worker entered at noon, and another one; it is five seconds later."""
    for name in ("w", "other"):
        await workers.register(store, name, f"boot of {name}", ["one", "two"], {"state": "busy"}, 480)
    await store.set_clock(NOON + 5)


async def leave(store: ClockedStore, boot: str = "boot of w") -> None:
    await workers.retire(store, "w", boot, ["one", "two"])


async def test_entry(store: ClockedStore, books: Books) -> None:
    await books.connection.sadd("rq:worker:w:executions", "a:token")
    await leave(store)
    assert await books.connection.hget("rq:worker:w", "death") == STAMP
    assert 0 < await books.ttl("rq:worker:w") <= 60
    for key in ("rq:workers", "rq:workers:one", "rq:workers:two"):
        assert await books.connection.smembers(key) == {b"rq:worker:other"}
    assert not await books.connection.exists("rq:worker:w:executions")


async def test_sent_twice(store: ClockedStore, books: Books) -> None:
    await leave(store)
    before = await books.dump()
    await store.set_clock(NOON + 10)
    assert await store.again() == b"ok"
    assert await books.dump() == before


@pytest.mark.parametrize("boot", ["", "another boot"])
async def test_entry_of_another_process(store: ClockedStore, books: Books, boot: str) -> None:
    before = await books.dump()
    await leave(store, boot)
    assert await books.dump() == before


async def test_name_that_a_worker_of_rq_has_now(store: ClockedStore, books: Books) -> None:
    await books.connection.delete("rq:worker:w")
    await books.connection.hset("rq:worker:w", mapping={"birth": STAMP})
    await books.connection.sadd("rq:worker:w:executions", "a:token")
    before = await books.dump()
    await leave(store)
    assert await books.dump() == before


async def test_inboxes_are_forgotten(store: ClockedStore, books: Books) -> None:
    await leave(store)
    assert await books.connection.smembers("rq:aiorq:inboxes") == {b"other:one", b"other:two"}


async def test_inbox_with_something_in_it_is_looked_into(store: ClockedStore, desk: Desk, books: Books) -> None:
    """Redis may hand over an id after the last look of the worker that leaves."""
    await books.connection.rpush("rq:aiorq:inbox:w:one", "late")
    await leave(store)
    assert await desk.look() == [Finding("inbox", "one", "late", "w")]
    assert await runs.release(store, "w", ["one"]) == 0
    assert await books.queue("one") == ["late"]
    await books.connection.delete("rq:worker:w")
    assert await desk.look() == []
    assert await books.connection.smembers("rq:aiorq:inboxes") == {b"other:one", b"other:two"}


class TestLeader:
    async def test_makes_room(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.look("w", leads=1000)
        await leave(store)
        assert await desk.look("other") == []

    @pytest.mark.parametrize("leader", ["other", "ww", ""])
    async def test_of_another_name_stays(self, store: ClockedStore, books: Books, leader: str) -> None:
        await books.connection.set("rq:aiorq:leader", leader)
        await leave(store)
        assert await books.connection.get("rq:aiorq:leader") == leader.encode()

    async def test_of_another_process_stays(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.look("w", leads=1000)
        await leave(store, "another boot")
        assert await books.connection.get("rq:aiorq:leader") == b"w"

    async def test_of_a_wrong_type(self, store: ClockedStore, books: Books) -> None:
        await books.connection.rpush("rq:aiorq:leader", "w")
        await leave(store)
        assert await books.connection.hget("rq:worker:w", "death") == STAMP


async def test_forgotten(store: ClockedStore, books: Books) -> None:
    """The hash expired; what is left of it goes, and no stump of it stays."""
    await books.connection.delete("rq:worker:w")
    await leave(store)
    assert not await books.connection.exists("rq:worker:w")
    assert await books.connection.smembers("rq:workers") == {b"rq:worker:other"}
