"""renew.lua: what runs goes on running."""

from __future__ import annotations

import pytest

from aiorq.store import jobs, runs
from aiorq.store.runs import Run
from tests.scripts.conftest import NOON, Books, ClockedStore, Desk, renew

LATER = "2026-01-02T12:00:05.250000Z"


@pytest.fixture
async def run(store: ClockedStore, desk: Desk) -> Run:
    """A run that began at noon; it is five seconds later."""
    await books_of_worker(store)
    run = await desk.start("a")
    await store.set_clock(NOON + 5)
    return run


async def books_of_worker(store: ClockedStore) -> None:
    from aiorq.store import workers

    await workers.register(store, "w", "boot", ["default"], {"state": "idle"}, 480)


async def test_lease_and_heartbeats(store: ClockedStore, books: Books, run: Run) -> None:
    assert await renew(store, [run], 20.5, 480) == (True, [])
    assert await books.registry("wip") == {f"a:{run.token}": NOON + 25.5}
    executions = await books.connection.zrange("rq:executions:a", 0, -1, withscores=True)
    assert executions == [(run.token.encode(), NOON + 85.5)]
    execution = await books.connection.hgetall(f"rq:execution:a:{run.token}")
    assert (execution[b"created_at"], execution[b"last_heartbeat"]) == (b"1767355200.250000", b"1767355205.250000")
    assert (await books.job("a"))["last_heartbeat"] == LATER
    assert await books.connection.hget("rq:worker:w", "last_heartbeat") == LATER.encode()
    assert await books.status("a") == "started"


async def test_ttls(store: ClockedStore, books: Books, run: Run) -> None:
    for key in ("rq:executions:a", f"rq:execution:a:{run.token}", "rq:worker:w", "rq:worker:w:executions"):
        await books.connection.expire(key, 2)
    await renew(store, [run], 20.5, 333)
    for key in ("rq:executions:a", f"rq:execution:a:{run.token}"):
        assert 80 <= await books.ttl(key) <= 81
    for key in ("rq:worker:w", "rq:worker:w:executions"):
        assert 332 <= await books.ttl(key) <= 333
    assert await books.ttl("rq:job:a") == -1


async def test_idle_worker(store: ClockedStore, books: Books) -> None:
    await books_of_worker(store)
    await store.set_clock(NOON + 5)
    assert await renew(store, []) == (True, [])
    assert await books.connection.hget("rq:worker:w", "last_heartbeat") == LATER.encode()


async def test_many(store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
    await desk.enqueue("b", "c", queue="other")
    others = [claim.run for claim in await desk.claim("other", most=2) or []]
    await runs.finish(store, "w", others[0], b"", 500)
    known, lost = await renew(store, [run, *others])
    assert known
    assert lost == [others[0]]
    assert await books.registry("wip", "other") == {f"c:{others[1].token}": NOON + 20}


async def test_sent_twice(store: ClockedStore, books: Books, run: Run) -> None:
    await renew(store, [run])
    before = await books.dump()
    assert await store.again() == [b"known", [], 1]
    assert await books.dump() == before


class TestRefused:
    @pytest.mark.parametrize("token", ["", "f" * 32, "text"])
    async def test_foreign_token(self, store: ClockedStore, books: Books, run: Run, token: str) -> None:
        await renew(store, [])
        before = await books.dump()
        foreign = [Run("default", "a", token), Run("other", "a", run.token), Run("default", "b", run.token)]
        assert await renew(store, foreign) == (True, foreign)
        assert await books.dump() == before

    async def test_ended(self, store: ClockedStore, books: Books, run: Run) -> None:
        await runs.fail(store, "w", run, b"", 500)
        await renew(store, [])
        before = await books.dump()
        assert await renew(store, [run]) == (True, [run])
        assert await books.dump() == before

    async def test_deleted(self, store: ClockedStore, books: Books, run: Run) -> None:
        await jobs.delete(store, ["a"])
        assert await renew(store, [run]) == (True, [run])
        assert not await books.connection.exists("rq:job:a")

    async def test_hash_gone(self, store: ClockedStore, books: Books, run: Run) -> None:
        """An RQ process deleted the job: a heartbeat must not bring a stump of it back."""
        await books.connection.delete("rq:job:a")
        assert await renew(store, [run]) == (True, [run])
        assert not await books.connection.exists("rq:job:a")
        await books.connection.set("rq:job:a", "text")
        assert await renew(store, [run]) == (True, [run])


class TestForgotten:
    async def test_worker(self, store: ClockedStore, books: Books, run: Run) -> None:
        """Its leases are renewed all the same, and it is told to enter anew."""
        await books.connection.delete("rq:worker:w", "rq:workers")
        assert await renew(store, [run]) == (False, [])
        assert await books.registry("wip") == {f"a:{run.token}": NOON + 20}
        assert not await books.connection.exists("rq:worker:w")

    async def test_worker_that_claimed_since(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """What a claim leaves in the worker's hash is no entry in the books."""
        run = await desk.start("a")
        assert await books.connection.exists("rq:worker:w")
        assert await renew(store, [run]) == (False, [])

    async def test_runs_of_the_worker(self, store: ClockedStore, books: Books, run: Run) -> None:
        await books.connection.delete("rq:worker:w:executions")
        await renew(store, [run])
        assert await books.connection.smembers("rq:worker:w:executions") == {f"a:{run.token}".encode()}
        assert 479 <= await books.ttl("rq:worker:w:executions") <= 480

    async def test_execution_that_expired(self, store: ClockedStore, books: Books, run: Run) -> None:
        """RQ's readers cannot do without any of its fields."""
        whole = await books.connection.hgetall(f"rq:execution:a:{run.token}")
        await books.connection.delete(f"rq:execution:a:{run.token}", "rq:executions:a")
        assert await renew(store, [run]) == (True, [])
        again = await books.connection.hgetall(f"rq:execution:a:{run.token}")
        assert set(again) == set(whole)
        assert again[b"id"] == run.token.encode()
        assert 0 < await books.ttl(f"rq:execution:a:{run.token}") <= 75
        assert await books.connection.zcard("rq:executions:a") == 1

    async def test_everything(self, store: ClockedStore, books: Books, run: Run) -> None:
        await books.connection.flushall()
        await store.set_clock(NOON)
        assert await renew(store, [run]) == (False, [run])
        assert await books.dump() == {}


@pytest.mark.parametrize("key", ["rq:executions:a", "rq:worker:w:executions"])
async def test_books_of_a_wrong_type(store: ClockedStore, books: Books, run: Run, key: str) -> None:
    await books.connection.set(key, "text")
    assert await renew(store, [run]) == (True, [])
    assert await books.registry("wip") == {f"a:{run.token}": NOON + 20}
