"""cancel.lua: any state to canceled."""

from __future__ import annotations

from typing import Any

import pytest

from aiorq import Job
from aiorq.errors import CorruptJobError, InvalidJobOperation, NoSuchJobError, StoreError
from aiorq.status import JobStatus
from aiorq.store import jobs, runs
from aiorq.store.runs import Failed, Run
from tests.scripts.conftest import NOON, YEAR, Books, ClockedStore, Desk, begin, changed, renew, told

OTHERS = [status.value for status in JobStatus if status not in (JobStatus.STARTED, JobStatus.CANCELED)]


@pytest.mark.parametrize("status", OTHERS)
async def test_leaves_its_place(store: ClockedStore, desk: Desk, books: Books, status: str) -> None:
    await desk.put("other", status)
    without = await books.dump()
    await desk.put("a", status)
    before = await books.job("a")
    await jobs.cancel(store, "a", 500)
    assert await books.places("a") == ["rq:canceled:default"]
    assert await books.registry("canceled") == {"a": int(NOON)}
    after = await books.job("a")
    assert len(after.pop("aiorq_cancel")) == 16
    assert after == {**before, "status": "canceled"}
    await books.connection.delete("rq:job:a", "rq:canceled:default")
    assert await books.dump() == without


async def test_only_saved(store: ClockedStore, desk: Desk, books: Books) -> None:
    """It has no queue, and there is no registry of a queue without a name."""
    job: Job[Any] = Job.create("jobs.add", (1, 2), id="a", connection=store.connection)
    await job.save()
    before = await books.dump()
    await jobs.cancel(store, "a", 500)
    assert set(changed(before, await books.dump())) == {"rq:job:a"}
    assert await books.status("a") == "canceled"
    assert 499 <= await books.ttl("rq:job:a") <= 500


@pytest.mark.parametrize(("status", "kept"), [("finished", 300), ("failed", 300), ("stopped", 300), ("queued", 500)])
async def test_what_had_ended_keeps_its_time(
    store: ClockedStore, desk: Desk, books: Books, status: str, kept: int
) -> None:
    await desk.put("a", status)
    await books.connection.expire("rq:job:a", 300)
    await jobs.cancel(store, "a", 500)
    assert kept - 1 <= await books.ttl("rq:job:a") <= kept


class TestRunning:
    @pytest.mark.parametrize("begun", [True, False])
    async def test_the_run_is_over(self, store: ClockedStore, desk: Desk, books: Books, begun: bool) -> None:
        await desk.register()
        other = await desk.start("ab")
        without = await books.dump()
        run = await (desk.begin("a") if begun else desk.start("a"))
        async with told(books.connection) as heard:
            await jobs.cancel(store, "a", 500)
        assert heard == [{"command": "aiorq-dropped", "job_id": "a", "execution_id": run.token}]
        assert (await books.places("a"), await books.runs("a")) == (["rq:canceled:default"], [])
        fields = await books.job("a")
        assert fields["status"] == "canceled"
        assert "aiorq_held" not in fields
        assert await renew(store, [run, other]) == (True, [run])
        await books.connection.delete("rq:job:a", "rq:canceled:default")
        after = await books.dump()
        for look in (without, after):  # it remembers its last claim
            look.pop(b"rq:worker:w")
        assert set(changed(without, after)) <= {f"rq:execution:ab:{other.token}", "rq:job:ab", "rq:executions:ab"}

    async def test_its_outcome_is_refused(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await desk.begin("a", retries_left=3)
        await jobs.cancel(store, "a", 500)
        before = await books.dump()
        assert not await runs.finish(store, "w", run, b"", 500)
        assert await runs.fail(store, "w", run, b"", 500) is Failed.LOST
        assert not await runs.stop(store, "w", run, b"", 500)
        assert not await begin(store, "w", run)
        await store.set_clock(NOON + 100)
        assert await desk.reap(run) == "held"
        assert await books.dump() == before
        assert await runs.release(store, "w", [], [run]) == 0
        assert await books.places("a") == ["rq:canceled:default"]
        assert await desk.claim() == []

    async def test_execution_that_expired(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await desk.begin("a")
        await books.connection.delete("rq:executions:a", f"rq:execution:a:{run.token}")
        await jobs.cancel(store, "a", 500)
        assert (await books.places("a"), await books.runs("a")) == (["rq:canceled:default"], [])
        assert not await runs.finish(store, "w", run, b"", 500)

    async def test_worker_of_rq_is_told_in_a_word_that_it_ignores(
        self, store: ClockedStore, desk: Desk, books: Books
    ) -> None:
        """It would record a stop, and the job would not stay canceled."""
        await desk.start_at_rq("a")
        async with told(books.connection, "rqw") as heard:
            await jobs.cancel(store, "a", 500)
        assert [message["command"] for message in heard] == ["aiorq-dropped"]
        assert (await books.places("a"), await books.runs("a")) == (["rq:canceled:default"], [])

    async def test_worker_that_is_gone(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.begin("a")
        await books.connection.delete("rq:worker:w")
        await jobs.cancel(store, "a", 500)
        assert await books.places("a") == ["rq:canceled:default"]

    async def test_without_an_origin(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("a")
        await books.connection.hdel("rq:job:a", "origin")
        (claim,) = await desk.claim() or []
        await jobs.cancel(store, "a", 500)
        assert await books.places("a") == ["rq:canceled:default"]
        assert not await runs.finish(store, "w", claim.run, b"", 500)


class TestKept:
    @pytest.mark.parametrize(
        ("own", "seconds"),
        [
            (None, 500),
            ("7", 7),
            ("-1", -1),
            ("0", 500),
            ("", 500),
            ("abc", 500),
            ("nan", 500),
            ("inf", 500),
            ("1e300", 500),
            ("7.5", 7),
        ],
    )
    async def test_as_long_as_a_failure(
        self, store: ClockedStore, desk: Desk, books: Books, own: str | None, seconds: int
    ) -> None:
        await desk.enqueue("a", ttl=100)
        if own is not None:
            await books.connection.hset("rq:job:a", "failure_ttl", own)
        await jobs.cancel(store, "a", 500)
        assert seconds - 1 <= await books.ttl("rq:job:a") <= seconds
        assert await books.places("a") == ["rq:canceled:default"]

    async def test_with_its_sets(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("a")
        for key in ("rq:job:a:dependents", "rq:job::a:dependencies"):
            await books.connection.sadd(key, "x")
        await jobs.cancel(store, "a", YEAR)
        for key in ("rq:job:a", "rq:job:a:dependents", "rq:job::a:dependencies"):
            assert YEAR - 1 <= await books.ttl(key) <= YEAR


class TestDependents:
    @pytest.mark.parametrize("status", [*OTHERS, "started"])
    async def test_are_enqueued_as_if_it_had_finished(
        self, store: ClockedStore, desk: Desk, books: Books, status: str
    ) -> None:
        await desk.enqueue("q", "p", queue="parents")
        for job_id, queue, parents in (("a", "one", ["p"]), ("b", "two", ["p"]), ("c", "two", ["p", "q"])):
            await desk.place(job_id, queue, parents=parents)
        await books.connection.delete("rq:queue:parents")
        await (desk.begin("p") if status == "started" else desk.put("p", status))
        assert await jobs.cancel(store, "p", 500, enqueue_dependents=True) == {"one": ["a"], "two": ["b"]}
        assert (await books.queue("one"), await books.queue("two")) == (["a"], ["b"])
        assert await books.places("c") == ["rq:deferred:two"]
        assert await books.members("rq:job:p:dependents") == set()
        await books.connection.rpush("rq:queue:parents", "q")
        await desk.finish("q", "parents")
        assert await books.queue("two") == ["b", "c"]

    async def test_wait_unless_they_are_to_be_enqueued(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("p", queue="parents")
        await desk.place("a", parents=["p"], allow_failure=True)
        assert await jobs.cancel(store, "p", 500) == {}
        assert await books.places("a") == ["rq:deferred:default"]

    async def test_of_a_job_that_was_canceled_before(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("p", queue="parents")
        await desk.place("a", parents=["p"])
        await jobs.cancel(store, "p", 500)
        before = await books.dump()
        with pytest.raises(InvalidJobOperation):
            await jobs.cancel(store, "p", 500, enqueue_dependents=True)
        assert await books.dump() == before

    async def test_sent_twice(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("p", queue="parents")
        await desk.place("a", parents=["p"])
        await jobs.cancel(store, "p", 500, enqueue_dependents=True)
        before = await books.dump()
        assert (store.last[0], await store.again()) == ("cancel", [b"ok"])
        assert await books.dump() == before

    @pytest.mark.parametrize("forget", [True, False])
    async def test_its_parents_forget_it(self, store: ClockedStore, desk: Desk, books: Books, forget: bool) -> None:
        await desk.enqueue("p", "q", queue="parents")
        await desk.place("a", parents=["p", "q"])
        await desk.place("b", parents=["p"])
        await jobs.cancel(store, "a", 500, remove_from_dependencies=forget)
        assert await books.members("rq:job:p:dependents") == ({"b"} if forget else {"a", "b"})
        assert await books.members("rq:job:q:dependents") == (set() if forget else {"a"})
        assert await books.places("a") == ["rq:canceled:default"]

    @pytest.mark.parametrize("key", ["rq:job:p:dependents", "rq:job::a:dependencies"])
    async def test_sets_of_a_wrong_type(self, store: ClockedStore, desk: Desk, books: Books, key: str) -> None:
        await desk.enqueue("p", queue="parents")
        await desk.place("a", parents=["p"])
        await books.connection.set(key, "text")
        await jobs.cancel(store, "a", 500, enqueue_dependents=True, remove_from_dependencies=True)
        await jobs.cancel(store, "p", 500, enqueue_dependents=True, remove_from_dependencies=True)
        assert await books.places("a") == ["rq:canceled:default"]

    async def test_queue_of_a_wrong_type(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("p", queue="parents")
        await desk.place("a", parents=["p"])
        await books.connection.set("rq:queue:default", "text")
        assert await jobs.cancel(store, "p", 500, enqueue_dependents=True) == {}
        assert (await books.status("p"), await books.places("a")) == ("canceled", ["rq:deferred:default"])


class TestSentTwice:
    @pytest.mark.parametrize("status", [*OTHERS, "started"])
    async def test_after_a_lost_reply(self, store: ClockedStore, desk: Desk, books: Books, status: str) -> None:
        await (desk.begin("a") if status == "started" else desk.put("a", status))
        await jobs.cancel(store, "a", 500)
        before = await books.dump()
        await store.set_clock(NOON + 5)
        assert await store.again() == [b"ok"]
        assert await books.dump() == before

    async def test_by_somebody_else(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("a")
        await jobs.cancel(store, "a", 500)
        before = await books.dump()
        with pytest.raises(InvalidJobOperation, match="'a' cannot be canceled: it is canceled already"):
            await jobs.cancel(store, "a", 500)
        assert await books.dump() == before

    async def test_in_another_life(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("a")
        await jobs.cancel(store, "a", 500)
        await desk.enqueue("a")
        assert "aiorq_cancel" not in await books.job("a")
        assert await books.places("a") == ["rq:queue:default"]


class TestRefused:
    async def test_missing(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("other")
        before = await books.dump()
        with pytest.raises(NoSuchJobError):
            await jobs.cancel(store, "a", 500)
        assert await books.dump() == before

    async def test_key_of_a_wrong_type(self, store: ClockedStore, books: Books) -> None:
        await books.connection.set("rq:job:a", "text")
        before = await books.dump()
        with pytest.raises(CorruptJobError, match="does not hold a hash"):
            await jobs.cancel(store, "a", 500)
        assert await books.dump() == before

    @pytest.mark.parametrize("started", [True, False])
    async def test_registry_of_a_wrong_type(self, store: ClockedStore, desk: Desk, books: Books, started: bool) -> None:
        await (desk.begin("a") if started else desk.enqueue("a"))
        await books.connection.set("rq:canceled:default", "text")
        before = await books.dump()
        with pytest.raises(StoreError, match="WRONGTYPE"):
            await jobs.cancel(store, "a", 500)
        assert await books.dump() == before


@pytest.mark.parametrize(
    "key",
    ["rq:queue:default", "rq:executions:a", "rq:wip:default", "rq:worker:w", "rq:worker:w:executions"],
)
async def test_places_of_a_wrong_type(store: ClockedStore, desk: Desk, books: Books, key: str) -> None:
    await desk.start("a")
    if key == "rq:queue:default":
        await books.connection.hset("rq:job:a", "status", "queued")
    await books.connection.set(key, "text")
    await jobs.cancel(store, "a", 500)
    assert await books.status("a") == "canceled"
    assert (await books.registry("canceled")).keys() == {"a"}


async def test_in_an_inbox_or_in_rqs_list(store: ClockedStore, desk: Desk, books: Books) -> None:
    """Where its status does not say that it is: whoever takes it from there drops it."""
    await desk.enqueue("a", "b")
    await books.connection.lmove("rq:queue:default", "rq:aiorq:inbox:w:default", "LEFT", "RIGHT")
    await books.connection.lmove("rq:queue:default", "rq:queue:default:intermediate", "LEFT", "RIGHT")
    await jobs.cancel(store, "a", 500)
    await jobs.cancel(store, "b", 500)
    assert await desk.claim() == []
    assert await desk.recover("b") == "dropped"
    assert await books.places("a") == await books.places("b") == ["rq:canceled:default"]


async def test_without_a_status(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.enqueue("a")
    await books.connection.hdel("rq:job:a", "status")
    await jobs.cancel(store, "a", 500)
    assert await books.status("a") == "canceled"
    assert await desk.claim() == []


async def test_run_of_a_run_that_was_canceled(store: ClockedStore, desk: Desk, books: Books) -> None:
    """Enqueued anew while the old process still dies."""
    old = await desk.begin("a")
    await jobs.cancel(store, "a", 500)
    new = await desk.begin("a")
    before = await books.dump()
    assert await runs.fail(store, "w", old, b"", 500) is Failed.LOST
    assert not await runs.finish(store, "w", Run("default", "a", old.token), b"", 500)
    assert await books.dump() == before
    assert await runs.finish(store, "w", new, b"", 500)
