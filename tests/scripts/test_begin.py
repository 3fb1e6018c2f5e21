"""begin.lua: a run that was claimed has begun."""

from __future__ import annotations

import asyncio

import pytest

from aiorq.store import jobs, runs
from aiorq.store.runs import Run
from tests.scripts.conftest import NOON, Books, ClockedStore, Desk, begin, changed

LATER = "2026-01-02T12:00:05.250000Z"


@pytest.fixture
async def run(store: ClockedStore, desk: Desk) -> Run:
    """A run that was claimed at noon; it is five seconds later."""
    run = await desk.start("a")
    await store.set_clock(NOON + 5)
    return run


async def test_begins_now(store: ClockedStore, books: Books, run: Run) -> None:
    before = await books.dump()
    assert await begin(store, "w", run) is True
    assert changed(before, await books.dump()) == {
        f"rq:execution:a:{run.token}": {"created_at": "1767355205.250000"},
        "rq:job:a": {"aiorq_held": None, "started_at": LATER},
    }


async def test_sent_twice(store: ClockedStore, books: Books, run: Run) -> None:
    await begin(store, "w", run)
    before = await books.dump()
    await store.set_clock(NOON + 9)
    assert await store.again() == [1]
    assert await books.dump() == before


async def test_runs_that_begin_at_once(store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
    await desk.enqueue("b", "c", queue="other")
    others = [claim.run for claim in await desk.claim("other", most=2) or []]
    await runs.release(store, "w", [], [others[0]])
    assert await asyncio.gather(*(begin(store, "w", held) for held in (run, *others))) == [True, False, True]
    assert [("aiorq_held" in await books.job(job_id)) for job_id in ("a", "b", "c")] == [False, False, False]


class TestRefused:
    @pytest.mark.parametrize("token", ["", "f" * 32, "text"])
    async def test_foreign_token(self, store: ClockedStore, books: Books, run: Run, token: str) -> None:
        before = await books.dump()
        for foreign in (Run("default", "a", token), Run("other", "a", run.token), Run("default", "b", run.token)):
            assert await begin(store, "w", foreign) is False
        assert await books.dump() == before

    async def test_run_of_an_earlier_claim(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        await runs.release(store, "w", [], [run])
        (claim,) = await desk.claim() or []
        before = await books.dump()
        assert await begin(store, "w", run) is False
        assert await books.dump() == before
        assert (await books.job("a"))["aiorq_held"] == claim.run.token

    async def test_canceled_and_deleted(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        other = await desk.start("b")
        await jobs.cancel(store, "a", 500)
        await jobs.delete(store, ["b"])
        before = await books.dump()
        assert await begin(store, "w", run) is False
        assert await begin(store, "w", other) is False
        assert await books.dump() == before

    async def test_hash_gone(self, store: ClockedStore, books: Books, run: Run) -> None:
        await books.connection.delete("rq:job:a")
        assert await begin(store, "w", run) is False
        assert not await books.connection.exists("rq:job:a")


async def test_execution_that_expired_leaves_no_stump(store: ClockedStore, books: Books, run: Run) -> None:
    """RQ's readers cannot do without any of its fields, and without a TTL it would stay."""
    await books.connection.delete(f"rq:execution:a:{run.token}")
    assert await begin(store, "w", run) is True
    assert not await books.connection.exists(f"rq:execution:a:{run.token}")
    assert "aiorq_held" not in await books.job("a")


@pytest.mark.parametrize("key", ["rq:execution:a:{token}", "rq:executions:a", "rq:worker:w"])
async def test_books_of_a_wrong_type(store: ClockedStore, books: Books, run: Run, key: str) -> None:
    await books.connection.set(key.format(token=run.token), "text")
    assert await begin(store, "w", run) is True
    assert "aiorq_held" not in await books.job("a")


async def test_registry_of_a_wrong_type_harms_no_other(store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
    bad = await desk.start("b", "bad")
    await books.connection.set("rq:wip:bad", "text")
    assert [*await asyncio.gather(begin(store, "w", bad), begin(store, "w", run))] == [False, True]
