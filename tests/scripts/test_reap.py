"""reap.lua: what becomes of a run whose lease has expired."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiorq.store import jobs, overdue, runs
from aiorq.store.base import store_of
from aiorq.store.overdue import Finding
from aiorq.store.runs import Failed, Run
from tests.scripts.conftest import NOON, POISONED, TRACEBACK, YEAR, Books, ClockedStore, Desk, begin, changed, renew

STAMP = "2026-01-02T12:01:40.250000Z"
"""When the tests reap."""


@pytest.fixture
async def run(store: ClockedStore, desk: Desk) -> Run:
    """A run of job `a` that began at noon, and whose lease has long expired."""
    return await lost(store, desk)


async def lost(store: ClockedStore, desk: Desk, job_id: str = "a", *, begun: bool = True, **options: Any) -> Run:
    """A job whose worker has gone."""
    await store.set_clock(NOON)
    run = await (desk.begin(job_id, **options) if begun else desk.start(job_id, **options))
    await store.set_clock(NOON + 100)
    return run


class TestNotBegun:
    async def test_is_back_at_the_head_as_if_it_had_not_been_claimed(
        self, store: ClockedStore, desk: Desk, books: Books
    ) -> None:
        await desk.enqueue("a", ttl=1000, retries_left=2, on_lost="fail")
        await desk.enqueue("b")
        before = await books.dump()
        (claim,) = await desk.claim() or []
        await store.set_clock(NOON + 100)
        assert await desk.reap(claim.run) == "returned"
        after = await books.dump()
        del after[b"rq:worker:w"]
        assert changed(before, after) == {}
        assert await books.queue() == ["a", "b"]
        assert 999 <= await books.ttl("rq:job:a") <= 1000
        assert await books.runs("a") == []

    async def test_however_often(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        for _ in range(10):
            assert await desk.reap(await lost(store, desk, begun=False), requeue_lost=True) == "returned"
            assert "aiorq_losses" not in await books.job("a")

    async def test_note_of_another_run(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        """The field speaks of one run: what an earlier one left in it says nothing of this one."""
        await books.connection.hset("rq:job:a", "aiorq_held", "f" * 32)
        assert await desk.reap(run) == "failed"

    async def test_worker_said_with_its_renewal_that_it_had_begun(
        self, store: ClockedStore, desk: Desk, books: Books
    ) -> None:
        run = await desk.start("a")
        await runs.renew(store, "w", "boot", {run: True}, 15, 480)
        await store.set_clock(NOON + 100)
        assert await desk.reap(run) == "failed"


class TestFailed:
    async def test_for_good(self, desk: Desk, books: Books, run: Run) -> None:
        before = await books.job("a")
        assert await desk.reap(run) == "failed"
        assert await books.job("a") == {**before, "status": "failed", "ended_at": STAMP, "last_heartbeat": STAMP}
        assert await books.places("a") == ["rq:failed:default"]
        assert await books.registry("failed") == {"a": int(NOON + 100) + YEAR}
        assert await books.runs("a") == []
        (result,) = await books.results("a")
        assert result["exc_string"] == TRACEBACK.decode()
        assert (result["type"], result["execution_id"]) == ("2", run.token)
        assert float(result["execution_started_at"]) == NOON
        assert float(result["execution_ended_at"]) == NOON + 100
        for key in ("rq:job:a", "rq:results:a"):
            assert YEAR - 1 <= await books.ttl(key) <= YEAR

    @pytest.mark.parametrize(
        ("own", "seconds"), [("7", 7), ("-1", -1), ("", 500), ("abc", 500), ("nan", 500), ("inf", 500), ("7.5", 7)]
    )
    async def test_kept_as_long_as_it_says(self, desk: Desk, books: Books, run: Run, own: str, seconds: int) -> None:
        await books.connection.hset("rq:job:a", "failure_ttl", own)
        assert await desk.reap(run, kept=500) == "failed"
        assert await books.registry("failed") == {"a": int(NOON + 100) + seconds if seconds > 0 else -1}
        for key in ("rq:job:a", "rq:results:a"):
            assert seconds - 1 <= await books.ttl(key) <= seconds

    async def test_not_kept(self, desk: Desk, books: Books, run: Run) -> None:
        await books.connection.hset("rq:job:a", "failure_ttl", 0)
        assert await desk.reap(run) == "failed"
        assert {key.decode() for key in await books.dump()} == {
            *("rq:queues", "rq:worker:w", "rq:aiorq:gone", "rq:aiorq:gone:a"),
            "rq:failed:default",
        }

    async def test_execution_that_expired(self, desk: Desk, books: Books, run: Run) -> None:
        await books.connection.delete("rq:executions:a", f"rq:execution:a:{run.token}")
        assert await desk.reap(run, worker="") == "failed"
        assert (await books.places("a"), await books.runs("a")) == (["rq:failed:default"], [])
        (result,) = await books.results("a")
        assert float(result["execution_started_at"]) == NOON + 100  # nobody knows better

    async def test_run_of_rq(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await desk.start_at_rq("a")
        await store.set_clock(NOON + 100)
        assert await desk.reap(run, worker="rqw") == "failed"
        assert (await books.places("a"), await books.runs("a")) == (["rq:failed:default"], [])

    async def test_entry_of_an_old_rq(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """Its members are ids alone."""
        run = await desk.start_at_rq("a")
        await books.connection.delete("rq:wip:default", "rq:executions:a", f"rq:execution:a:{run.token}")
        await books.connection.zadd("rq:wip:default", {"a": NOON - 1})
        assert await desk.reap("a", worker="") == "failed"
        assert await books.places("a") == ["rq:failed:default"]
        (result,) = await books.results("a")
        assert (result["execution_id"], float(result["execution_started_at"])) == ("", NOON)

    async def test_without_an_origin(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("a")
        await books.connection.hdel("rq:job:a", "origin")
        (claim,) = await desk.claim() or []
        await begin(store, "w", claim.run)
        await store.set_clock(NOON + 100)
        assert await desk.reap(claim.run) == "failed"
        assert await books.places("a") == ["rq:failed:default"]


class TestRetried:
    async def test_at_once(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await lost(store, desk, retries_left=2)
        await desk.enqueue("b")
        before = await books.job("a")
        assert await desk.reap(run) == "retried"
        assert await books.queue() == ["b", "a"]
        fields = {
            "status": "queued",
            "enqueued_at": STAMP,
            "ended_at": STAMP,
            "retries_left": "1",
            "aiorq_retries": "2",
        }
        assert await books.job("a") == {**before, **fields, "aiorq_attempts": "1"}
        assert (await books.runs("a"), await books.results("a")) == ([], [])

    async def test_later(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await lost(store, desk, retries_left=1, retry_intervals=[30])
        assert await desk.reap(run) == "retried"
        assert await books.places("a") == ["rq:scheduled:default"]
        assert await books.registry("scheduled") == {"a": NOON + 130}
        assert (await books.job("a"))["status"] == "scheduled"
        assert await books.runs("a") == []

    async def test_until_none_is_left(self, store: ClockedStore, desk: Desk) -> None:
        run = await lost(store, desk, retries_left=2)
        words = []
        for _ in range(3):
            words.append(await desk.reap(run))
            if words[-1] == "retried":
                (claim,) = await desk.claim() or []
                run = claim.run
                await begin(store, "w", run)
                await store.set_clock(NOON + 100 + 100 * len(words))
        assert words == ["retried", "retried", "failed"]


class TestRequeued:
    async def test_is_back_at_the_head(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await lost(store, desk, ttl=1000, retries_left=2)
        await desk.enqueue("b")
        before = await books.job("a")
        assert await desk.reap(run, requeue_lost=True) == "requeued"
        assert await books.queue() == ["a", "b"]
        cleared = {"started_at": "", "last_heartbeat": "", "worker_name": ""}
        noted = {"aiorq_losses": "1", "aiorq_attempts": "1"}
        assert await books.job("a") == {**before, **cleared, "status": "queued", **noted}
        assert (await books.places("a"), await books.runs("a")) == (["rq:queue:default"], [])
        assert 999 <= await books.ttl("rq:job:a") <= 1000

    @pytest.mark.parametrize(
        ("job", "worker", "reaper", "word"),
        [
            ("requeue", False, False, "requeued"),
            ("fail", True, True, "failed"),
            (None, True, False, "requeued"),
            (None, False, True, "requeued"),
            (None, False, False, "failed"),
            ("", True, False, "requeued"),
            ("nonsense", True, True, "failed"),
        ],
    )
    async def test_job_decides_before_its_worker_before_the_reaper(
        self, store: ClockedStore, desk: Desk, books: Books, job: str | None, worker: bool, reaper: bool, word: str
    ) -> None:
        await desk.enqueue("a")
        if job is not None:
            await books.connection.hset("rq:job:a", "aiorq_on_lost", job)
        (claim,) = await runs.claim(store, "w", ["default"], 1, 15, requeue_lost=worker) or []
        await begin(store, "w", claim.run)
        await store.set_clock(NOON + 100)
        assert await desk.reap(claim.run, requeue_lost=reaper) == word

    async def test_three_times_and_then_it_is_poison(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await lost(store, desk, on_lost="requeue", retries_left=5)
        words = []
        for number in range(4):
            words.append(await desk.reap(run))
            if words[-1] == "requeued":
                assert (await books.job("a"))["aiorq_losses"] == str(number + 1)
                (claim,) = await desk.claim() or []
                run = claim.run
                await begin(store, "w", run)
                await store.set_clock(NOON + 200 + 100 * number)
        assert words == ["requeued"] * 3 + ["poisoned"]
        (result,) = await books.results("a")
        assert result["exc_string"] == POISONED.decode()
        assert await books.places("a") == ["rq:failed:default"]

    @pytest.mark.parametrize(
        ("losses", "word"),
        [("3", "poisoned"), ("2", "requeued"), ("inf", "poisoned"), ("-inf", "requeued"), ("abc", "requeued")],
    )
    async def test_count_of_losses_that_is_none(
        self, desk: Desk, books: Books, run: Run, losses: str, word: str
    ) -> None:
        await books.connection.hset("rq:job:a", "aiorq_losses", losses)
        assert await desk.reap(run, requeue_lost=True) == word
        if word == "requeued":
            assert int((await books.job("a"))["aiorq_losses"]) in range(1, 4)

    async def test_a_new_life_begins_anew(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        await desk.reap(run, requeue_lost=True)
        await desk.enqueue("a")
        assert "aiorq_losses" not in await books.job("a")


class TestAttempts:
    @pytest.mark.parametrize(
        ("options", "requeue", "word"),
        [
            ({"retries_left": 1}, False, "retried"),
            ({"retries_left": 1, "retry_intervals": [30]}, False, "retried"),
            ({}, True, "requeued"),
        ],
        ids=str,
    )
    async def test_is_noted(
        self, store: ClockedStore, desk: Desk, books: Books, options: dict[str, Any], requeue: bool, word: str
    ) -> None:
        run = await lost(store, desk, **options)
        assert await desk.reap(run, requeue_lost=requeue) == word
        assert await books.attempts("a") == [
            {
                "number": 1,
                "outcome": "lost",
                "worker_name": "w",
                "execution_id": run.token,
                "started_at": f"{NOON:.6f}",
                "ended_at": f"{NOON + 100:.6f}",
                "exc_string": TRACEBACK.decode(),
            }
        ]
        assert (await books.job("a"))["aiorq_attempts"] == "1"
        before = await books.dump()
        assert await store.again() == b"held"
        assert await books.dump() == before

    async def test_of_the_last_one_there_is_a_result(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await lost(store, desk, retries_left=1)
        await desk.reap(run)
        second = await desk.take("a", begun=True)
        await store.set_clock(NOON + 200)
        assert await desk.reap(second) == "failed"
        assert len(await books.attempts("a")) == 1
        assert [result["aiorq_attempt"] for result in await books.results("a")] == ["2"]

    async def test_that_did_not_begin_is_none(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        assert await desk.reap(await lost(store, desk, begun=False, retries_left=1)) == "returned"
        assert await books.attempts("a") == []
        assert "aiorq_attempts" not in await books.job("a")


class TestHeld:
    async def test_renewed_meanwhile(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        await renew(store, [run])
        before = await books.dump()
        assert await desk.reap(run) == "held"
        assert await books.dump() == before

    @pytest.mark.parametrize(("seconds", "word"), [(14.9, "held"), (15, "failed"), (-3600, "held")])
    async def test_to_the_end_of_its_lease(
        self, store: ClockedStore, desk: Desk, run: Run, seconds: float, word: str
    ) -> None:
        await store.set_clock(NOON + seconds)
        assert await desk.reap(run) == word

    @pytest.mark.parametrize("member", ["a", "a:", "", ":", "a:" + "f" * 32, "b:text", "a:b:c"])
    async def test_foreign_token(self, desk: Desk, books: Books, run: Run, member: str) -> None:
        before = await books.dump()
        assert await desk.reap(member) == "held"
        assert await desk.reap(run.job_id + ":" + run.token, queue="other") == "held"
        assert await books.dump() == before

    @pytest.mark.parametrize("key", ["rq:queue:default", "rq:scheduled:default", "rq:failed:default"])
    async def test_next_place_of_a_wrong_type(self, store: ClockedStore, desk: Desk, books: Books, key: str) -> None:
        """What else is overdue must not wait behind it, and the job is where it was."""
        options: dict[str, Any] = {
            "rq:queue:default": {"retries_left": 1},
            "rq:scheduled:default": {"retries_left": 1, "retry_intervals": [5]},
            "rq:failed:default": {},
        }
        run = await lost(store, desk, **options[key])
        await books.connection.set(key, "text")
        before = await books.dump()
        assert await desk.reap(run) == "held"
        assert await books.dump() == before
        await books.connection.delete(key)
        assert await desk.reap(run) in {"retried", "failed"}

    @pytest.mark.parametrize("begun", [True, False])
    async def test_queue_of_a_wrong_type(self, store: ClockedStore, desk: Desk, books: Books, begun: bool) -> None:
        run = await lost(store, desk, begun=begun)
        await books.connection.set("rq:queue:default", "text")
        before = await books.dump()
        assert await desk.reap(run, requeue_lost=True) == "held"
        assert await books.dump() == before

    async def test_registry_of_a_wrong_type(self, desk: Desk, books: Books, run: Run) -> None:
        await books.connection.set("rq:wip:default", "text")
        assert await desk.reap(run) == "held"


class TestDropped:
    @pytest.mark.parametrize("status", ["queued", "finished", "failed", "scheduled", "canceled", "banana", ""])
    async def test_job_that_is_elsewhere(self, desk: Desk, books: Books, run: Run, status: str) -> None:
        """RQ's cleaning, or a run of RQ's that was canceled, leaves such entries."""
        await books.connection.hset("rq:job:a", "status", status)
        before = await books.connection.hgetall("rq:job:a")
        assert await desk.reap(run) == "dropped"
        assert await books.connection.hgetall("rq:job:a") == before
        assert (await books.places("a"), await books.runs("a")) == ([], [])

    async def test_job_that_is_gone(self, desk: Desk, books: Books, run: Run) -> None:
        await books.connection.delete("rq:job:a")
        assert await desk.reap(run) == "dropped"
        assert {key.decode() for key in await books.dump()} == {"rq:queues", "rq:worker:w"}

    @pytest.mark.parametrize("kind", ["text", "list"])
    async def test_key_of_a_wrong_type(self, desk: Desk, books: Books, run: Run, kind: str) -> None:
        await books.connection.delete("rq:job:a")
        await (books.connection.set if kind == "text" else books.connection.rpush)("rq:job:a", "x")
        assert await desk.reap(run) == "dropped"
        assert (await books.places("a"), await books.runs("a")) == ([], [])

    async def test_run_that_another_one_follows(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        """The entry of an old run must not end the new one."""
        await runs.release(store, "w", [], [run])
        (claim,) = await desk.claim() or []
        await books.connection.zadd("rq:wip:default", {f"a:{run.token}": NOON})
        before = await books.job("a")
        assert await desk.reap(run) == "dropped"
        assert await books.job("a") == before
        assert await books.registry("wip") == {f"a:{claim.run.token}": NOON + 115}
        assert await runs.finish(store, "w", claim.run, b"", 500)

    async def test_entry_in_another_queue(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        await books.connection.delete("rq:executions:a")
        await books.connection.zadd("rq:wip:other", {f"a:{'f' * 32}": NOON})
        before = await books.job("a")
        assert await desk.reap(f"a:{'f' * 32}", queue="other") == "dropped"
        assert await books.job("a") == before
        assert await books.places("a") == ["rq:wip:default"]

    @pytest.mark.parametrize("member", [b"\xff\xfe:\xfd", b"\xff", b"", b":", b"::", b"a b:c\n", b"x" * 100_000])
    async def test_members_that_are_none(self, store: ClockedStore, desk: Desk, books: Books, member: bytes) -> None:
        await books.connection.zadd("rq:wip:default", {member: NOON - 1})
        await books.connection.sadd("rq:queues", "rq:queue:default")
        (finding,) = await desk.look() or []
        reaped = await overdue.reap(
            store, finding, requeue_lost=True, most=3, traceback=TRACEBACK, poisoned=POISONED, kept=500
        )
        assert reaped == "dropped"
        assert await books.registry("wip") == {}


class TestSentTwice:
    @pytest.mark.parametrize("requeue", [True, False])
    @pytest.mark.parametrize("ttl", [500, 0])
    async def test_nothing_changes(
        self, store: ClockedStore, desk: Desk, books: Books, run: Run, requeue: bool, ttl: int
    ) -> None:
        await desk.reap(run, requeue_lost=requeue, kept=ttl)
        before = await books.dump()
        assert await store.again() == b"held"
        assert await books.dump() == before

    @pytest.mark.parametrize("options", [{"retries_left": 2}, {"retries_left": 2, "retry_intervals": [5]}])
    async def test_one_retry_is_used(
        self, store: ClockedStore, desk: Desk, books: Books, options: dict[str, Any]
    ) -> None:
        await desk.reap(await lost(store, desk, **options))
        assert await store.again() == b"held"
        assert (await books.job("a"))["retries_left"] == "1"

    async def test_after_somebody_claimed_it(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        await desk.reap(run, requeue_lost=True)
        sent = store.last
        await desk.claim()
        before = await books.dump()
        store.last = sent
        assert await store.again() == b"held"
        assert await books.dump() == before


class TestTheWorkerWasNotDead:
    @pytest.mark.parametrize("ttl", [500, -1, 0])
    @pytest.mark.parametrize("options", [{}, {"retries_left": 1}, {"on_lost": "requeue"}])
    async def test_its_outcome_is_refused(
        self, store: ClockedStore, desk: Desk, books: Books, ttl: int, options: dict[str, Any]
    ) -> None:
        run = await lost(store, desk, **options)
        await desk.reap(run, kept=ttl)
        before = await books.dump()
        assert not await runs.finish(store, "w", run, b"dmFsdWU=", ttl)
        assert await runs.fail(store, "w", run, b"eA==", ttl) is Failed.LOST
        assert not await runs.stop(store, "w", run, b"eA==", ttl)
        assert not await begin(store, "w", run)
        assert await books.dump() == before
        assert await renew(store, [run]) == (False, [run])

    @pytest.mark.parametrize("ttl", [500, 0])
    async def test_what_it_recorded_stands(self, store: ClockedStore, desk: Desk, books: Books, ttl: int) -> None:
        run = await lost(store, desk)
        assert await runs.finish(store, "w", run, b"dmFsdWU=", ttl)
        before = await books.dump()
        assert await desk.reap(run) == "held"
        assert await books.dump() == before

    async def test_one_of_many_wins(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        ended = await asyncio.gather(
            desk.reap(run),
            runs.finish(store, "w", run, b"dmFsdWU=", 500),
            runs.fail(store, "w", run, TRACEBACK + b"eA==", 500),
            runs.stop(store, "w", run, b"eA==", 500),
            jobs.delete(store, ["none"]),
            desk.reap(run),
        )
        assert [outcome in ("failed", True, Failed.FOR_GOOD) for outcome in ended[:4]].count(True) == 1
        assert len(await books.results("a")) == 1
        assert len(await books.places("a")) == 1


async def test_books_of_a_wrong_type(store: ClockedStore, desk: Desk, books: Books) -> None:
    keys = ("rq:executions:{id}", "rq:worker:w", "rq:worker:w:executions", "rq:execution:{id}:{token}")
    for number, key in enumerate(keys):
        job_id = f"job{number}"
        run = await lost(store, desk, job_id)
        name = key.format(id=job_id, token=run.token)
        await books.connection.set(name, "text")
        assert await desk.reap(run) == "failed", name
        assert await books.places(job_id) == ["rq:failed:default"]
        await books.connection.delete(name)


async def test_by_the_clock_of_the_server(desk: Desk, store: ClockedStore) -> None:
    """Without the clock of the tests: the lease is over by the server's time, and not before."""
    real = store_of(store.connection)
    await desk.enqueue("a", "b")
    for job_id, lease, word in (("a", 0.0, "failed"), ("b", 600.0, "held")):
        (claim,) = await runs.claim(real, "w", ["default"], 1, lease) or []
        await begin(real, "w", claim.run)
        finding = Finding("lease", "default", f"{job_id}:{claim.run.token}", "w")
        assert (
            await overdue.reap(
                real, finding, requeue_lost=False, most=3, traceback=TRACEBACK, poisoned=POISONED, kept=500
            )
            == word
        )
