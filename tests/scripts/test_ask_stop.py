"""ask_stop.lua: a run is asked to stop, and whoever asked is answered once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from aiorq.errors import CorruptJobError, InvalidJobOperation, NoSuchJobError
from aiorq.status import JobStatus
from aiorq.store import jobs, runs
from aiorq.store.commands import Asked
from aiorq.store.runs import Failed, Run
from tests.scripts.conftest import NOON, Books, ClockedStore, Desk, changed, told

OTHERS = [status.value for status in JobStatus if status is not JobStatus.STARTED]
Ending: TypeAlias = Callable[[ClockedStore, Desk, Run], Awaitable[object]]


@pytest.fixture
async def run(desk: Desk) -> Run:
    """A run that has begun, of a worker in the books."""
    await desk.register()
    return await desk.begin("a")


class TestRunning:
    @pytest.mark.parametrize(("grace", "kept"), [(None, ""), (2.5, "2.5"), (0, "0.0")])
    async def test_request_is_sent_and_kept(
        self, desk: Desk, books: Books, run: Run, grace: float | None, kept: str
    ) -> None:
        before = await books.dump()
        async with told(books.connection) as heard:
            assert await desk.ask("a", grace=grace) == Asked("w", run.token, True)
        message = {"command": "stop-execution", "job_id": "a", "execution_id": run.token}
        assert heard == [message if grace is None else {**message, "aiorq_grace": grace}]
        stops = "rq:aiorq:stops:w"
        difference = changed(before, await books.dump())
        assert difference.pop("rq:job:a").keys() == {"aiorq_stop"}
        assert difference == {stops: {run.token.encode(): kept.encode()}}
        assert 86_399 <= await books.ttl(stops) <= 86_400

    async def test_one_run_by_its_name(self, desk: Desk, books: Books, run: Run) -> None:
        assert await desk.ask("a", run.token) == Asked("w", run.token, True)
        assert await books.stops() == {run.token: ""}

    async def test_run_that_has_not_begun(self, desk: Desk, books: Books) -> None:
        await desk.register()
        run = await desk.start("a")
        assert await desk.ask("a") == Asked("w", run.token, True)

    async def test_worker_hears_of_it_at_its_next_renewal(self, store: ClockedStore, desk: Desk, run: Run) -> None:
        other = await desk.begin("b")
        await desk.ask("a", grace=7)
        await desk.ask("b")
        renewed = await runs.renew(store, "w", "boot", {run: True, other: True}, 15, 480)
        assert renewed.stops == {run.token: 7.0, other.token: None}
        assert renewed.lost == []

    async def test_the_last_grace_counts(self, desk: Desk, books: Books, run: Run) -> None:
        await desk.ask("a", grace=60)
        await desk.ask("a", grace=0)
        assert await books.stops() == {run.token: "0.0"}

    async def test_run_of_a_worker_of_rq(self, desk: Desk, books: Books) -> None:
        """It obeys and does not answer: nothing is kept that nobody takes away."""
        run = await desk.start_at_rq("a")
        before = await books.dump()
        async with told(books.connection, "rqw") as heard:
            assert await desk.ask("a") == Asked("rqw", run.token, False)
        assert heard == [{"command": "stop-execution", "job_id": "a", "execution_id": run.token}]
        difference = changed(before, await books.dump())
        assert {key: set(fields) for key, fields in difference.items()} == {"rq:job:a": {"aiorq_stop"}}

    async def test_execution_that_expired(self, desk: Desk, books: Books, run: Run) -> None:
        await books.connection.delete(f"rq:execution:a:{run.token}")
        assert await desk.ask("a") == Asked("w", run.token, True)

    async def test_what_is_kept_has_a_wrong_type(self, desk: Desk, books: Books, run: Run) -> None:
        await books.connection.set("rq:aiorq:stops:w", "text")
        await desk.ask("a")
        assert await books.stops() == {run.token: ""}


class TestRefused:
    @pytest.mark.parametrize("status", OTHERS)
    async def test_job_that_does_not_run(self, desk: Desk, books: Books, status: str) -> None:
        await desk.put("a", status)
        before = await books.dump()
        with pytest.raises(InvalidJobOperation, match=f"job 'a' cannot be stopped: .* the job is {status}"):
            await desk.ask("a")
        assert await books.dump() == before

    @pytest.mark.parametrize("token", ["f" * 32, "text", "é"])
    async def test_foreign_token(self, desk: Desk, books: Books, run: Run, token: str) -> None:
        before = await books.dump()
        with pytest.raises(InvalidJobOperation, match=f"run '{token}' of job 'a' cannot be stopped"):
            await desk.ask("a", token)
        assert await books.dump() == before

    async def test_run_that_has_ended(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        await runs.release(store, "w", [], [run])
        await desk.claim()
        before = await books.dump()
        with pytest.raises(InvalidJobOperation, match="it does not run"):
            await desk.ask("a", run.token)
        assert await books.dump() == before

    async def test_job_that_was_ended_with_its_run_on_the_books(self, desk: Desk, books: Books, run: Run) -> None:
        """RQ takes several steps."""
        await books.connection.hset("rq:job:a", "status", "failed")
        before = await books.dump()
        with pytest.raises(InvalidJobOperation, match="the job is failed"):
            await desk.ask("a")
        assert await books.dump() == before

    async def test_missing(self, desk: Desk, books: Books) -> None:
        with pytest.raises(NoSuchJobError):
            await desk.ask("a")
        assert await books.dump() == {}

    async def test_key_of_a_wrong_type(self, desk: Desk, books: Books) -> None:
        await books.connection.set("rq:job:a", "text")
        with pytest.raises(CorruptJobError, match="does not hold a hash"):
            await desk.ask("a")

    @pytest.mark.parametrize("key", ["rq:executions:a", "rq:wip:default"])
    async def test_books_of_a_wrong_type(self, desk: Desk, books: Books, run: Run, key: str) -> None:
        await books.connection.set(key, "text")
        with pytest.raises(InvalidJobOperation):
            await desk.ask("a")
        assert await books.stops() == {}


class TestSentTwice:
    async def test_nothing_changes(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        await desk.ask("a", grace=5)
        before = await books.dump()
        assert await store.again() == [b"asked", b"w", run.token.encode(), 1]
        assert await books.dump() == before

    async def test_the_run_ended_before_the_second(
        self, store: ClockedStore, desk: Desk, books: Books, run: Run
    ) -> None:
        await desk.ask("a")
        sent = store.last
        await runs.stop(store, "w", run, b"", 500)
        before = await books.dump()
        store.last = sent
        assert await store.again() == [b"asked", b"w", run.token.encode(), 1]
        assert await books.dump() == before

    async def test_the_next_run_is_not_meant(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        await desk.ask("a")
        sent = store.last
        await runs.release(store, "w", [], [run])
        await desk.claim()
        before = await books.dump()
        store.last = sent
        assert await store.again() == [b"asked", b"w", run.token.encode(), 1]
        assert await books.dump() == before


async def finish(store: ClockedStore, desk: Desk, run: Run) -> None:
    assert await runs.finish(store, "w", run, b"", 500)


async def finish_and_forget(store: ClockedStore, desk: Desk, run: Run) -> None:
    assert await runs.finish(store, "w", run, b"", 0)


async def fail(store: ClockedStore, desk: Desk, run: Run) -> None:
    assert await runs.fail(store, "w", run, b"", 500) is Failed.FOR_GOOD


async def retry(store: ClockedStore, desk: Desk, run: Run) -> None:
    await store.connection.hset("rq:job:a", "retries_left", 1)
    assert await runs.fail(store, "w", run, b"", 500) is Failed.QUEUED


async def retry_later(store: ClockedStore, desk: Desk, run: Run) -> None:
    await store.connection.hset("rq:job:a", mapping={"retries_left": 1, "retry_intervals": "[9]"})
    assert await runs.fail(store, "w", run, b"", 500) is Failed.SCHEDULED


async def stop(store: ClockedStore, desk: Desk, run: Run) -> None:
    assert await runs.stop(store, "w", run, b"", 500)


async def release(store: ClockedStore, desk: Desk, run: Run) -> None:
    assert await runs.release(store, "w", [], [run]) == 1


async def reap(store: ClockedStore, desk: Desk, run: Run) -> None:
    await store.set_clock(NOON + 100)
    assert await desk.reap(run) == "failed"


async def reap_later(store: ClockedStore, desk: Desk, run: Run) -> None:
    """Nobody was there to reap before the execution expired, so that nothing but the job names the worker."""
    await store.connection.delete("rq:executions:a", f"rq:execution:a:{run.token}")
    await store.set_clock(NOON + 100)
    assert await desk.reap(run, worker="") == "failed"


async def requeue(store: ClockedStore, desk: Desk, run: Run) -> None:
    await store.set_clock(NOON + 100)
    assert await desk.reap(run, requeue_lost=True) == "requeued"


async def drop(store: ClockedStore, desk: Desk, run: Run) -> None:
    """RQ's cleaning has ended the job, and left the entry."""
    await store.connection.hset("rq:job:a", "status", "failed")
    await store.set_clock(NOON + 100)
    assert await desk.reap(run) == "dropped"


async def cancel(store: ClockedStore, desk: Desk, run: Run) -> None:
    await jobs.cancel(store, "a", 500)


async def delete(store: ClockedStore, desk: Desk, run: Run) -> None:
    assert await jobs.delete(store, ["a"]) == 1


async def run_elsewhere(store: ClockedStore, desk: Desk, run: Run) -> None:
    """Its execution expired and somebody put the id back."""
    await store.connection.delete("rq:executions:a", f"rq:execution:a:{run.token}")
    await store.connection.rpush("rq:queue:default", "a")
    assert len(await desk.claim(worker="v") or []) == 1


ENDINGS: list[tuple[Ending, str]] = [
    (finish, "finished"),
    (finish_and_forget, "finished"),
    (fail, "failed"),
    (retry, "queued"),
    (retry_later, "scheduled"),
    (stop, "stopped"),
    (release, "queued"),
    (reap, "failed"),
    (reap_later, "failed"),
    (requeue, "queued"),
    (drop, "lost"),
    (cancel, "canceled"),
    (delete, "deleted"),
    (run_elsewhere, "replaced"),
]


class TestAnswer:
    @pytest.mark.parametrize(("end", "word"), ENDINGS, ids=[end.__name__ for end, _ in ENDINGS])
    async def test_once(self, store: ClockedStore, desk: Desk, books: Books, run: Run, end: Ending, word: str) -> None:
        await desk.ask("a")
        await desk.ask("a")
        await end(store, desk, run)
        assert await books.answers(run.token) == [word]
        assert 0 < await books.ttl(f"rq:aiorq:answer:{run.token}") <= 60
        assert await books.stops() == {}
        await store.again()
        assert await books.answers(run.token) == [word]

    @pytest.mark.parametrize(("end", "word"), ENDINGS, ids=[end.__name__ for end, _ in ENDINGS])
    async def test_none_where_nobody_asked(
        self, store: ClockedStore, desk: Desk, books: Books, run: Run, end: Ending, word: str
    ) -> None:
        other = await desk.begin("b")
        await desk.ask("b")
        await end(store, desk, run)
        assert await books.answers(run.token) == []
        assert await books.stops() == {other.token: ""}

    async def test_key_of_a_wrong_type_does_not_stand_in_the_way(
        self, store: ClockedStore, desk: Desk, books: Books, run: Run
    ) -> None:
        await desk.ask("a")
        await books.connection.set(f"rq:aiorq:answer:{run.token}", "text")
        assert await runs.finish(store, "w", run, b"", 500)
        assert await books.places("a") == ["rq:finished:default"]


async def test_what_a_request_leaves_ends_by_itself(store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
    await desk.ask("a")
    assert [key for key, (_, expires) in (await books.dump()).items() if b"aiorq:stops" in key and not expires] == []
    await runs.stop(store, "w", run, b"", 500)
    for_ever = {key.decode() for key, (_, expires) in (await books.dump()).items() if not expires}
    assert for_ever == {"rq:queues", "rq:failed:default", "rq:workers", "rq:workers:default", "rq:aiorq:inboxes"}
