"""finish.lua: started to finished, or to nothing."""

from __future__ import annotations

from typing import Any

import pytest

from aiorq import Job
from aiorq.errors import StoreError
from aiorq.store import jobs, queues, runs
from aiorq.store.runs import Failed, Run
from tests.scripts.conftest import NOON, Books, ClockedStore, Desk

STAMP = "2026-01-02T12:00:01.500000Z"


@pytest.fixture
async def run(store: ClockedStore, desk: Desk) -> Run:
    """A run of job `a` that began at noon; it is a second and a quarter later."""
    run = await desk.start("a")
    await store.set_clock(NOON + 1.25)
    return run


async def test_job_is_finished(store: ClockedStore, books: Books, run: Run) -> None:
    await books.connection.hset("rq:job:a", "aiorq_other", "kept")
    assert await runs.finish(store, "w", run, b"dmFsdWU=", 500)
    fields = await books.job("a")
    assert (fields["status"], fields["ended_at"], fields["last_heartbeat"]) == ("finished", STAMP, STAMP)
    assert (fields["started_at"], fields["worker_name"]) == ("2026-01-02T12:00:00.250000Z", "w")
    assert fields["aiorq_other"] == "kept"
    assert await books.places("a") == ["rq:finished:default"]
    assert await books.runs("a") == []
    assert await books.results("a") == [
        {
            "type": "1",
            "worker_name": "w",
            "execution_id": run.token,
            "execution_started_at": "1767355200.250000",
            "execution_ended_at": "1767355201.500000",
            "return_value": "dmFsdWU=",
        }
    ]


async def test_none_is_not_stored(store: ClockedStore, books: Books, run: Run) -> None:
    await runs.finish(store, "w", run, b"", 500)
    (result,) = await books.results("a")
    assert "return_value" not in result


class TestTtl:
    async def test_some_seconds(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        await books.connection.sadd("rq:job::a:dependencies", "x")
        await desk.enqueue("other", queue="other")
        await desk.enqueue("child", parents=["a", "other"])
        await runs.finish(store, "w", run, b"", 500)
        assert await books.registry("finished") == {"a": int(NOON + 1.25) + 500}
        for key in ("rq:job:a", "rq:job:a:dependents", "rq:job::a:dependencies", "rq:results:a"):
            assert 499 <= await books.ttl(key) <= 500

    @pytest.mark.parametrize("ttl", [-1, -7])
    async def test_for_ever(self, store: ClockedStore, books: Books, run: Run, ttl: int) -> None:
        await books.connection.xadd("rq:results:a", {"type": 1})
        await books.connection.expire("rq:results:a", 100)
        await runs.finish(store, "w", run, b"", ttl)
        assert await books.registry("finished") == {"a": float("inf")}
        for key in ("rq:job:a", "rq:results:a"):
            assert await books.ttl(key) == -1

    async def test_no_time_at_all(self, store: ClockedStore, books: Books, run: Run) -> None:
        await books.connection.sadd("rq:job:a:dependents", "x")
        assert await runs.finish(store, "w", run, b"", 0)
        left = {key.decode() for key in await books.dump()}
        ended = f"rq:aiorq:ended:{run.token}"
        assert left == {"rq:queues", "rq:worker:w", "rq:aiorq:gone", "rq:aiorq:gone:a", ended}
        assert 0 < await books.ttl(ended) <= 60
        assert await books.connection.hget("rq:worker:w", "successful_job_count") == b"1"


class TestRepeats:
    """A job that succeeded and is to run again stays among the finished ones while it waits, as in RQ."""

    async def test_at_once(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        await desk.enqueue("b")
        await books.connection.hset("rq:job:a", mapping={"repeats_left": 2, "repeat_intervals": "[0]"})
        before = await books.job("a")
        assert await runs.finish(store, "w", run, b"dmFsdWU=", 500)
        fields = {"status": "queued", "enqueued_at": STAMP, "ended_at": STAMP, "last_heartbeat": STAMP}
        since = {"repeats_left": "1", "aiorq_since": f"{NOON + 1.25:.6f}"}
        assert await books.job("a") == {**before, **fields, **since}
        assert await books.places("a") == ["rq:finished:default", "rq:queue:default"]
        assert await books.queue() == ["b", "a"]
        assert [result["return_value"] for result in await books.results("a")] == ["dmFsdWU="]
        assert await books.ttl("rq:job:a") == -1

    @pytest.mark.parametrize("times", [1, 0])
    async def test_the_result_is_in_the_hash_too(self, store: ClockedStore, books: Books, run: Run, times: int) -> None:
        """As RQ leaves it there; not with the last run."""
        await books.connection.hset("rq:job:a", mapping={"repeats_left": times, "result": b"of before"})
        assert await runs.finish(store, "w", run, b"dmFsdWU=", 500, repeats=True)
        assert await books.connection.hget("rq:job:a", "result") == (b"value" if times else b"of before")

    @pytest.mark.parametrize(("ttl", "kept"), [(900, 500), (100, 100)])
    async def test_results_go_with_the_job_at_the_latest(
        self, store: ClockedStore, desk: Desk, books: Books, ttl: int, kept: int
    ) -> None:
        run = await desk.start("r", ttl=ttl, repeats_left=1, repeat_intervals=[50])
        assert await runs.finish(store, "w", run, b"dmFsdWU=", 500)
        assert kept - 1 <= await books.ttl("rq:results:r") <= kept
        assert ttl - 1 <= await books.ttl("rq:job:r") <= ttl

    async def test_later(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        await books.connection.hset("rq:job:a", mapping={"repeats_left": 2, "repeat_intervals": "[30]"})
        assert await runs.finish(store, "w", run, b"", 500)
        assert await books.registry("scheduled") == {"a": NOON + 31.25}
        assert await books.places("a") == ["rq:finished:default", "rq:scheduled:default"]
        assert await books.status("a") == "scheduled"

    @pytest.mark.parametrize(
        ("times", "intervals", "waits"),
        [(3, [10, 20], [10, 20, 20]), (1, [10, 20], [10]), (2, [], [0, 0]), (3, [0, 5], [0, 5, 5])],
    )
    async def test_one_interval_after_the_other(
        self, store: ClockedStore, desk: Desk, books: Books, times: int, intervals: list[int], waits: list[int]
    ) -> None:
        run = await desk.start("r", repeats_left=times, repeat_intervals=intervals)
        seen = []
        clock = NOON
        while True:
            assert await runs.finish(store, "w", run, b"", 500)
            if await books.status("r") == "finished":
                break
            due = (await books.registry("scheduled")).get("r", clock)
            seen.append(due - clock)
            clock = due
            await store.set_clock(clock)
            if await books.status("r") == "scheduled":
                assert await desk.promote("r") == "queued"
            run = await desk.take("r")
        assert seen == waits
        assert (await books.job("r"))["repeats_left"] == "0"
        assert await books.places("r") == ["rq:finished:default"]
        assert len(await books.results("r")) == times + 1
        assert 499 <= await books.ttl("rq:job:r") <= 500

    async def test_intervals_are_consumed_as_in_rq(self, store: ClockedStore, books: Books, run: Run) -> None:
        await books.connection.hset("rq:job:a", mapping={"repeats_left": 5, "repeat_intervals": "[10, 20, 30]"})
        await runs.finish(store, "w", run, b"", 500)
        assert (await books.job("a"))["repeat_intervals"] == "[20, 30]"

    @pytest.mark.parametrize("ttl", [0, -1])
    async def test_results_that_are_not_kept_or_for_ever(
        self, store: ClockedStore, desk: Desk, books: Books, run: Run, ttl: int
    ) -> None:
        await books.connection.hset("rq:job:a", mapping={"repeats_left": 1, "repeat_intervals": "[0]"})
        assert await runs.finish(store, "w", run, b"", ttl)
        assert await books.registry("finished") == ({} if ttl == 0 else {"a": float("inf")})
        assert len(await books.results("a")) == (0 if ttl == 0 else 1)
        await desk.finish("a", ttl=ttl)
        assert await books.places("a") == ([] if ttl == 0 else ["rq:finished:default"])
        assert await books.connection.exists("rq:job:a") == (ttl != 0)

    async def test_ends_with_a_failure(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        await books.connection.hset("rq:job:a", mapping={"repeats_left": 5, "repeat_intervals": "[0]"})
        await runs.finish(store, "w", run, b"", 500)
        assert await desk.fail("a") is Failed.FOR_GOOD
        assert await books.places("a") == ["rq:failed:default"]

    @pytest.mark.parametrize("deed", ["cancel", "delete", "empty", "enqueue", "expire"])
    async def test_is_over(self, store: ClockedStore, desk: Desk, books: Books, run: Run, deed: str) -> None:
        """Then it is not among the finished ones either."""
        await books.connection.hset("rq:job:a", mapping={"repeats_left": 5, "repeat_intervals": "[0]"})
        await runs.finish(store, "w", run, b"", -1)
        if deed == "cancel":
            await jobs.cancel(store, "a", 500)
        elif deed == "delete":
            await jobs.delete(store, ["a"])
        elif deed == "empty":
            await queues.empty(store, "default")
        else:
            await desk.enqueue("a")
        left = {"cancel": ["rq:canceled:default"], "delete": [], "empty": []}
        assert await books.places("a") == left.get(deed, ["rq:queue:default"])

    async def test_attempts_begin_anew(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        await books.connection.hset("rq:job:a", mapping={"repeats_left": 1, "retries_left": 1})
        assert await runs.fail(store, "w", run, b"", 500) is Failed.QUEUED
        await desk.finish("a")
        assert "aiorq_attempts" not in await books.job("a")
        assert await books.attempts("a") == []
        job: Job[Any] = Job("a", store.connection)
        assert await job.attempts() == []
        await store.set_clock(NOON + 5)
        await desk.finish("a")
        assert [(one.number, one.outcome) for one in await job.attempts()] == [(1, "successful")]

    async def test_time_to_wait_counts_anew(self, store: ClockedStore, books: Books, run: Run) -> None:
        await books.connection.hset("rq:job:a", mapping={"repeats_left": 1, "ttl": 100})
        await runs.finish(store, "w", run, b"", 500)
        assert 99 <= await books.ttl("rq:job:a") <= 100

    @pytest.mark.parametrize("left", ["0", "-1", "", "abc", "nan", "inf", "-inf", "1e300", "0.5"])
    async def test_number_that_is_none(self, store: ClockedStore, books: Books, run: Run, left: str) -> None:
        """Above all none that never ends."""
        await books.connection.hset("rq:job:a", mapping={"repeats_left": left, "repeat_intervals": "[0]"})
        assert await runs.finish(store, "w", run, b"", 500)
        assert await books.places("a") == ["rq:finished:default"]
        assert await books.ttl("rq:job:a") >= 499

    @pytest.mark.parametrize(
        "intervals",
        [
            *("", "abc", "5", "null", "{}", '{"a": 5}', "[null]", '["x"]', "[[]]", "[-5]", "[NaN]", "[" * 5000),
            *("[0, null]", "[0, [1]]", "[0, {}]", "[0, true]", '[0, "x"]', "[0, NaN]", "[0, -5]"),
        ],
    )
    async def test_intervals_that_are_none(
        self, store: ClockedStore, desk: Desk, books: Books, run: Run, intervals: str
    ) -> None:
        """Nothing is half done."""
        await books.connection.hset("rq:job:a", mapping={"repeats_left": 3, "repeat_intervals": intervals})
        assert await runs.finish(store, "w", run, b"", 500)
        for _ in range(2):
            assert await books.places("a") == ["rq:finished:default", "rq:queue:default"]
            await desk.finish("a")
        assert len(await books.results("a")) == 3

    @pytest.mark.parametrize("interval", [0, 30])
    @pytest.mark.parametrize("ttl", [500, 0])
    async def test_sent_twice(
        self, store: ClockedStore, desk: Desk, books: Books, run: Run, interval: int, ttl: int
    ) -> None:
        await books.connection.hset("rq:job:a", mapping={"repeats_left": 3, "repeat_intervals": f"[{interval}]"})
        assert await runs.finish(store, "w", run, b"", ttl)
        before = await books.dump()
        assert await store.again() == b"ok"
        assert await books.dump() == before
        if not interval:
            sent = store.last
            await desk.take("a")
            before = await books.dump()
            store.last = sent
            assert await store.again() == b"ok"
            assert await books.dump() == before

    @pytest.mark.parametrize(("key", "interval"), [("rq:queue:default", 0), ("rq:scheduled:default", 5)])
    async def test_next_place_of_a_wrong_type(
        self, store: ClockedStore, books: Books, run: Run, key: str, interval: int
    ) -> None:
        await books.connection.hset("rq:job:a", mapping={"repeats_left": 1, "repeat_intervals": f"[{interval}]"})
        await books.connection.set(key, "text")
        before = await books.dump()
        with pytest.raises(StoreError, match="WRONGTYPE"):
            await runs.finish(store, "w", run, b"", 500)
        assert await books.dump() == before
        await books.connection.delete(key)
        assert await runs.finish(store, "w", run, b"", 500)


class TestWorker:
    async def test_counters(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", "b")
        first, second = [claim.run for claim in await desk.claim(most=2) or []]
        await store.set_clock(NOON + 1.25)
        await runs.finish(store, "w", first, b"", 500)
        assert await books.connection.hget("rq:worker:w", "state") == b"busy"
        await store.set_clock(NOON + 2)
        await runs.finish(store, "w", second, b"", 500)
        worker = await books.connection.hgetall("rq:worker:w")
        assert (worker[b"successful_job_count"], worker[b"state"]) == (b"2", b"idle")
        assert float(worker[b"total_working_time"]) == pytest.approx(3.25)
        assert b"failed_job_count" not in worker

    async def test_that_is_forgotten_is_not_brought_back(self, store: ClockedStore, books: Books, run: Run) -> None:
        await books.connection.delete("rq:worker:w")
        assert await runs.finish(store, "w", run, b"", 500)
        assert not await books.connection.exists("rq:worker:w")

    @pytest.mark.parametrize("field", ["successful_job_count", "total_working_time"])
    async def test_counter_that_is_none(self, store: ClockedStore, books: Books, run: Run, field: str) -> None:
        await books.connection.hset("rq:worker:w", field, "many")
        assert await runs.finish(store, "w", run, b"", 500)
        assert await books.places("a") == ["rq:finished:default"]

    async def test_of_a_wrong_type(self, store: ClockedStore, books: Books, run: Run) -> None:
        await books.connection.set("rq:worker:w", "text")
        assert await runs.finish(store, "w", run, b"", 500)
        assert await books.places("a") == ["rq:finished:default"]


class TestSentTwice:
    @pytest.mark.parametrize("ttl", [500, -1, 0])
    async def test_nothing_changes(self, store: ClockedStore, books: Books, run: Run, ttl: int) -> None:
        assert await runs.finish(store, "w", run, b"dmFsdWU=", ttl)
        before = await books.dump()
        assert await store.again() == b"ok"
        assert await books.dump() == before

    async def test_once_the_job_has_run_again(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        assert await runs.finish(store, "w", run, b"", 500)
        sent = store.last
        second = await desk.start("a")
        before = await books.dump()
        store.last = sent
        assert await store.again() == b"lost"
        assert await books.dump() == before
        assert await runs.finish(store, "w", second, b"", 500)


class TestRefused:
    @pytest.mark.parametrize("token", ["", "f" * 32, "text", "-1"])
    async def test_foreign_token(self, store: ClockedStore, books: Books, run: Run, token: str) -> None:
        before = await books.dump()
        assert not await runs.finish(store, "w", Run("default", "a", token), b"", 500)
        assert await books.dump() == before

    async def test_token_of_another_job(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        other = await desk.start("b")
        before = await books.dump()
        assert not await runs.finish(store, "w", Run("default", "a", other.token), b"", 500)
        assert not await runs.finish(store, "w", Run("other", "a", run.token), b"", 500)
        assert await books.dump() == before

    @pytest.mark.parametrize("ttl", [500, 0])
    async def test_run_that_was_released(self, store: ClockedStore, books: Books, run: Run, ttl: int) -> None:
        await runs.release(store, "w", [], [run])
        before = await books.dump()
        assert not await runs.finish(store, "w", run, b"", ttl)
        assert await books.dump() == before

    async def test_run_that_failed(self, store: ClockedStore, books: Books, run: Run) -> None:
        assert await runs.fail(store, "w", run, b"", 500) is Failed.FOR_GOOD
        before = await books.dump()
        assert not await runs.finish(store, "w", run, b"", 500)
        assert await books.dump() == before
        assert await books.status("a") == "failed"

    async def test_job_that_was_deleted(self, store: ClockedStore, books: Books, run: Run) -> None:
        await jobs.delete(store, ["a"])
        before = await books.dump()
        assert not await runs.finish(store, "w", run, b"", 500)
        assert await books.dump() == before

    async def test_run_of_an_earlier_life(self, store: ClockedStore, desk: Desk, books: Books, run: Run) -> None:
        await runs.release(store, "w", [], [run])
        (claim,) = await desk.claim() or []
        before = await books.dump()
        assert not await runs.finish(store, "w", run, b"", 500)
        assert await books.dump() == before
        assert await runs.finish(store, "w", claim.run, b"", 500)

    async def test_run_whose_job_another_one_ended(
        self, store: ClockedStore, desk: Desk, books: Books, run: Run
    ) -> None:
        await runs.release(store, "w", [], [run])
        (claim,) = await desk.claim() or []
        assert await runs.finish(store, "w", claim.run, b"", 500)
        before = await books.dump()
        assert not await runs.finish(store, "w", run, b"", 500)
        assert await runs.fail(store, "w", run, b"", 500) is Failed.LOST
        assert await books.dump() == before

    @pytest.mark.parametrize("command", [("DEL",), ("SET", "text")])
    async def test_job_whose_hash_is_gone(
        self, store: ClockedStore, books: Books, run: Run, command: tuple[str, ...]
    ) -> None:
        name, *rest = command
        await books.connection.execute_command(name, "rq:job:a", *rest)
        before = await books.dump()
        assert not await runs.finish(store, "w", run, b"", 500)
        assert await books.dump() == before


class TestWrongTypes:
    async def test_registry(self, store: ClockedStore, books: Books, run: Run) -> None:
        """Nothing is half done."""
        await books.connection.set("rq:finished:default", "text")
        before = await books.dump()
        with pytest.raises(StoreError, match="WRONGTYPE"):
            await runs.finish(store, "w", run, b"", 500)
        assert await books.dump() == before
        await books.connection.delete("rq:finished:default")
        assert await runs.finish(store, "w", run, b"", 500)

    async def test_results(self, store: ClockedStore, books: Books, run: Run) -> None:
        await books.connection.set("rq:results:a", "text")
        assert await runs.finish(store, "w", run, b"", 500)
        assert len(await books.results("a")) == 1
        assert await books.places("a") == ["rq:finished:default"]

    @pytest.mark.parametrize("key", ["rq:executions:a", "rq:worker:w:executions"])
    async def test_books_of_our_own(self, store: ClockedStore, books: Books, run: Run, key: str) -> None:
        await books.connection.set(key, "text")
        assert await runs.finish(store, "w", run, b"", 500)
        assert await books.places("a") == ["rq:finished:default"]

    @pytest.mark.parametrize("created_at", ["zzz", "", "nan", "inf", "-1", "1e300", None])
    async def test_execution(self, store: ClockedStore, books: Books, run: Run, created_at: str | None) -> None:
        if created_at is None:
            await books.connection.set(f"rq:execution:a:{run.token}", "text")
        else:
            await books.connection.hset(f"rq:execution:a:{run.token}", "created_at", created_at)
        assert await runs.finish(store, "w", run, b"", 500)
        (result,) = await books.results("a")
        assert result["execution_started_at"] == result["execution_ended_at"]
        assert await books.runs("a") == []


async def test_about_ten_results_are_kept(store: ClockedStore, desk: Desk, books: Books) -> None:
    """A new life forgets the results of the old one; runs of one life add up."""
    for _ in range(300):
        await desk.put("a", "queued")
        (claim,) = await desk.claim() or []
        await runs.finish(store, "w", claim.run, b"", 500)
    assert 10 <= len(await books.results("a")) <= 200


async def test_a_job_that_ended_leaves_nothing_without_an_end(store: ClockedStore, books: Books, run: Run) -> None:
    await runs.finish(store, "w", run, b"dmFsdWU=", 500)
    for_ever = {key.decode() for key, (_, expires) in (await books.dump()).items() if not expires}
    assert for_ever == {"rq:queues", "rq:finished:default"}
