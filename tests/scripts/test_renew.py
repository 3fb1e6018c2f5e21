"""renew.lua: what runs goes on running."""

from __future__ import annotations

import pytest

from aiorq.store import jobs, runs, workers
from aiorq.store.runs import Renewed, Run
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


class TestBegun:
    async def test_run_that_began_since(self, store: ClockedStore, books: Books, run: Run) -> None:
        """Whoever reaps it must know, also where the call that says so was lost."""
        renewed = await runs.renew(store, "w", "boot", {run: True}, 15, 480)
        assert renewed == Renewed(True, [], {})
        fields = await books.job("a")
        assert "aiorq_held" not in fields
        assert fields["started_at"] == LATER
        execution = await books.connection.hgetall(f"rq:execution:a:{run.token}")
        assert execution[b"created_at"] == b"1767355205.250000"
        await store.set_clock(NOON + 8)
        await runs.renew(store, "w", "boot", {run: True}, 15, 480)
        assert (await books.job("a"))["started_at"] == LATER

    async def test_run_that_waits_for_its_turn(self, store: ClockedStore, books: Books, run: Run) -> None:
        before = await books.job("a")
        await runs.renew(store, "w", "boot", {run: False}, 15, 480)
        assert await books.job("a") == {**before, "last_heartbeat": LATER}

    async def test_each_for_itself(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        others = {await desk.start(job_id): job_id == "b" for job_id in ("b", "c")}
        await runs.renew(store, "w", "boot", {run: False, **others}, 15, 480)
        assert [("aiorq_held" in await books.job(job_id)) for job_id in ("a", "b", "c")] == [True, False, True]

    async def test_run_that_was_taken_does_not_begin(
        self, store: ClockedStore, desk: Desk, books: Books, run: Run
    ) -> None:
        await runs.release(store, "w", [], [run])
        (claim,) = await desk.claim() or []
        before = await books.job("a")
        renewed = await runs.renew(store, "w", "boot", {run: True}, 15, 480)
        assert renewed.lost == [run]
        assert await books.job("a") == before
        assert before["aiorq_held"] == claim.run.token


class TestStops:
    async def test_are_told_until_the_run_has_ended(self, store: ClockedStore, desk: Desk, run: Run) -> None:
        await desk.ask("a", grace=7)
        for _ in range(2):
            assert (await runs.renew(store, "w", "boot", {run: True}, 15, 480)).stops == {run.token: 7.0}
        await runs.stop(store, "w", run, b"", 500)
        assert (await runs.renew(store, "w", "boot", {}, 15, 480)).stops == {}

    async def test_also_to_a_worker_that_is_forgotten(
        self, store: ClockedStore, desk: Desk, books: Books, run: Run
    ) -> None:
        await desk.ask("a")
        await books.connection.delete("rq:worker:w")
        assert await runs.renew(store, "w", "boot", {run: True}, 15, 480) == Renewed(False, [], {run.token: None})

    @pytest.mark.parametrize("grace", [b"", b"abc", b"nan", b"inf", b"-1", b"1e300", b"\xff", b"3601"])
    async def test_grace_that_is_none(self, store: ClockedStore, books: Books, run: Run, grace: bytes) -> None:
        await books.connection.hset("rq:aiorq:stops:w", run.token, grace)
        assert (await runs.renew(store, "w", "boot", {run: True}, 15, 480)).stops == {run.token: None}

    async def test_what_is_no_request(self, store: ClockedStore, books: Books, run: Run) -> None:
        await books.connection.hset("rq:aiorq:stops:w", mapping={b"\xff": b"1", "text": "2"})
        renewed = await runs.renew(store, "w", "boot", {run: True}, 15, 480)
        assert (renewed.known, renewed.lost) == (True, [])
        assert renewed.stops["text"] == 2.0

    async def test_key_of_a_wrong_type(self, store: ClockedStore, books: Books, run: Run) -> None:
        await books.connection.set("rq:aiorq:stops:w", "text")
        assert await runs.renew(store, "w", "boot", {run: True}, 15, 480) == Renewed(True, [], {})
        assert await books.registry("wip") == {f"a:{run.token}": NOON + 20}


class TestOneStrayKey:
    """It costs the run that it is in the way of, at most: the others are renewed."""

    async def test_registry(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        bad = await desk.start("b", "bad")
        await books.connection.set("rq:wip:bad", "text")
        assert await renew(store, [bad, run]) == (True, [bad])
        assert await books.registry("wip") == {f"a:{run.token}": NOON + 20}

    async def test_worker(self, store: ClockedStore, books: Books, run: Run) -> None:
        await books.connection.set("rq:worker:w", "text")
        assert await renew(store, [run]) == (False, [])
        assert await books.registry("wip") == {f"a:{run.token}": NOON + 20}

    async def test_execution(self, store: ClockedStore, books: Books, run: Run) -> None:
        key = f"rq:execution:a:{run.token}"
        whole = await books.connection.hgetall(key)
        await books.connection.set(key, "text")
        assert await renew(store, [run]) == (True, [])
        assert set(await books.connection.hgetall(key)) == set(whole)
        assert 0 < await books.ttl(key) <= 75


@pytest.mark.parametrize("key", ["rq:executions:a", "rq:worker:w:executions"])
async def test_books_of_a_wrong_type(store: ClockedStore, books: Books, run: Run, key: str) -> None:
    await books.connection.set(key, "text")
    assert await renew(store, [run]) == (True, [])
    assert await books.registry("wip") == {f"a:{run.token}": NOON + 20}
