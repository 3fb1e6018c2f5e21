"""release.lua: started back to queued."""

from __future__ import annotations

import pytest

from aiorq.store import jobs, runs
from aiorq.store.runs import Run
from tests.scripts.conftest import NOON, Books, ClockedStore, Desk


async def test_job_is_as_if_it_had_not_been_claimed(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.enqueue("a", "b")
    before = await books.dump()
    (claim,) = await desk.claim() or []
    assert await runs.release(store, "w", ["default"], [claim.run]) == 1
    after = await books.dump()
    del after[b"rq:worker:w"]
    del after[b"rq:job:a"], before[b"rq:job:a"]  # the order of its fields changed
    assert after == before
    fields = await books.connection.hgetall("rq:job:a")
    assert fields == claim.fields
    assert await books.queue() == ["a", "b"]
    assert await books.connection.hget("rq:worker:w", "state") == b"idle"


async def test_order(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.enqueue("a", "b", "c", "d")
    await desk.enqueue("x", "y", queue="other")
    claimed = await desk.claim("default", "other", most=5) or []
    assert await runs.release(store, "w", ["default", "other"], [claim.run for claim in claimed]) == 5
    assert await books.queue() == ["a", "b", "c", "d"]
    assert await books.queue("other") == ["x", "y"]
    assert await books.registry("wip") == {}


async def test_some_of_many(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.enqueue("a", "b", "c")
    claimed = await desk.claim(most=3) or []
    assert await runs.release(store, "w", [], [claimed[0].run, claimed[2].run]) == 2
    assert await books.queue() == ["a", "c"]
    assert list(await books.registry("wip")) == [f"b:{claimed[1].run.token}"]
    assert await books.connection.hget("rq:worker:w", "state") == b"busy"


async def test_inboxes(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.enqueue("a", "b", "c", "d")
    (claim,) = await desk.claim() or []
    for _ in range(2):
        await books.connection.lmove("rq:queue:default", "rq:aiorq:inbox:w:default", "LEFT", "RIGHT")
    await runs.release(store, "w", ["default"], [claim.run])
    assert await books.inbox("w") == []
    assert sorted(await books.queue()) == ["a", "b", "c", "d"]
    assert [job_id for job_id in await books.queue() if job_id != "a"] == ["b", "c", "d"]


async def test_nothing_to_release(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.enqueue("a")
    before = await books.dump()
    assert await runs.release(store, "w", ["default"]) == 0
    assert await books.dump() == before


async def test_ttl_counts_again(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.enqueue("a", ttl=100)
    (claim,) = await desk.claim() or []
    assert await books.ttl("rq:job:a") == -1
    await runs.release(store, "w", [], [claim.run])
    assert 99 <= await books.ttl("rq:job:a") <= 100


@pytest.mark.parametrize("ttl", ["", "abc", "0", "-5", "9" * 30, "nan", "inf"])
async def test_ttl_that_is_none(store: ClockedStore, desk: Desk, books: Books, ttl: str) -> None:
    run = await desk.start("a")
    await books.connection.hset("rq:job:a", "ttl", ttl)
    assert await runs.release(store, "w", [], [run]) == 1
    assert await books.places("a") == ["rq:queue:default"]
    assert await books.ttl("rq:job:a") == -1


async def test_sent_twice(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.enqueue("a", "b")
    claimed = await desk.claim(most=2) or []
    assert await runs.release(store, "w", ["default"], [claim.run for claim in claimed]) == 2
    before = await books.dump()
    assert await store.again() == 0
    assert await books.dump() == before


class TestRefused:
    @pytest.mark.parametrize("token", ["", "f" * 32])
    async def test_foreign_token(self, store: ClockedStore, desk: Desk, books: Books, token: str) -> None:
        run = await desk.start("a")
        before = await books.dump()
        assert await runs.release(store, "w", [], [Run("default", "a", token), Run("other", "a", run.token)]) == 0
        assert await books.dump() == before

    async def test_run_that_ended(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await desk.start("a")
        await runs.finish(store, "w", run, b"", 500)
        before = await books.dump()
        assert await runs.release(store, "w", [], [run]) == 0
        assert await books.dump() == before

    async def test_job_that_was_deleted(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await desk.start("a")
        await jobs.delete(store, ["a"])
        assert await runs.release(store, "w", [], [run]) == 0
        assert await books.places("a") == []
        assert not await books.connection.exists("rq:job:a")


async def test_queue_of_a_wrong_type(store: ClockedStore, desk: Desk, books: Books) -> None:
    """The run keeps its place; the others go back."""
    bad = await desk.start("a", "bad")
    good = await desk.start("b", "good")
    await books.connection.set("rq:queue:bad", "text")
    assert await runs.release(store, "w", ["bad", "good"], [bad, good]) == 1
    assert await books.places("a") == ["rq:wip:bad"]
    assert await books.status("a") == "started"
    assert await books.queue("good") == ["b"]


async def test_worker_that_is_forgotten_is_not_brought_back(store: ClockedStore, desk: Desk, books: Books) -> None:
    run = await desk.start("a")
    await books.connection.delete("rq:worker:w")
    assert await runs.release(store, "w", [], [run]) == 1
    assert not await books.connection.exists("rq:worker:w")


async def test_token_does_not_come_back(store: ClockedStore, desk: Desk, books: Books) -> None:
    run = await desk.start("a")
    await runs.release(store, "w", [], [run])
    (claim,) = await desk.claim() or []
    assert claim.run.token != run.token
    assert await books.registry("wip") == {f"a:{claim.run.token}": NOON + 15}
