"""retry.lua: a job that returned a request to be tried again; started to queued, scheduled, failed, or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from aiorq import Job
from aiorq.errors import StoreError
from aiorq.store import jobs, runs
from aiorq.store.runs import Failed, Run
from tests.scripts.conftest import NOON, YEAR, Books, ClockedStore, Desk, changed

STAMP = "2026-01-02T12:00:01.500000Z"


async def begun(store: ClockedStore, desk: Desk, **options: Any) -> Run:
    """A run of job `a` that began at noon; it is a second and a quarter later."""
    await store.set_clock(NOON)
    run = await desk.begin("a", **options)
    await store.set_clock(NOON + 1.25)
    return run


async def retry(
    store: ClockedStore, run: Run, most: int = 3, *intervals: int, front: bool = False, ttl: int = YEAR
) -> Failed:
    """End a run so."""
    return await runs.retry(store, "w", run, most=most, intervals=intervals or [0], at_front=front, failure_ttl=ttl)


class TestAtOnce:
    async def test_is_queued_again(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await begun(store, desk)
        await desk.enqueue("b")
        before = await books.dump()
        assert await retry(store, run) is Failed.QUEUED
        difference = changed(before, await books.dump())
        worker = difference.pop("rq:worker:w")
        assert (worker["failed_job_count"], worker["state"]) == ("1", "idle")
        assert float(worker["total_working_time"]) == pytest.approx(1.25)
        difference.pop("rq:results:a")
        assert difference == {
            "rq:job:a": {
                "status": "queued",
                "enqueued_at": STAMP,
                "ended_at": STAMP,
                "number_of_retries": "1",
                "aiorq_attempts": "1",
            },
            "rq:queue:default": [b"b", b"a"],
            "rq:wip:default": None,
            "rq:executions:a": None,
            f"rq:execution:a:{run.token}": None,
            "rq:worker:w:executions": None,
            f"rq:aiorq:ended:{run.token}": b"queued",
        }
        assert await books.results("a") == [
            {
                "type": "4",
                "worker_name": "w",
                "execution_id": run.token,
                "execution_started_at": "1767355200.250000",
                "execution_ended_at": "1767355201.500000",
            }
        ]
        assert YEAR - 1 <= await books.ttl("rq:results:a") <= YEAR

    async def test_the_request_is_kept(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """Where it is RQ's own, as RQ keeps it: with the results, also the last one, and in the hash."""
        run = await begun(store, desk)
        for place, value in ((Failed.QUEUED, b"Zmlyc3Q="), (Failed.FOR_GOOD, b"bGFzdA==")):
            became = await runs.retry(
                store, "w", run, most=1, intervals=[0], at_front=False, failure_ttl=500, value=value
            )
            assert became is place
            if place is Failed.QUEUED:
                run = await desk.take("a")
        kinds = [(result["type"], result["return_value"]) for result in await books.results("a")]
        assert kinds == [("5", "bGFzdA=="), ("4", "Zmlyc3Q=")]
        assert await books.connection.hget("rq:job:a", "result") == b"first"

    @pytest.mark.parametrize(("front", "order"), [(True, ["a", "b"]), (False, ["b", "a"])])
    async def test_at_the_front(
        self, store: ClockedStore, desk: Desk, books: Books, front: bool, order: list[str]
    ) -> None:
        run = await begun(store, desk)
        await desk.enqueue("b")
        await retry(store, run, front=front)
        assert await books.queue() == order

    async def test_at_the_front_ever_after(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await begun(store, desk)
        await retry(store, run, front=True)
        run = await desk.take("a")
        await desk.enqueue("b")
        await retry(store, run, front=False)
        assert await books.queue() == ["a", "b"]

    async def test_time_to_wait_counts_anew(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await begun(store, desk, ttl=100)
        await retry(store, run)
        assert 99 <= await books.ttl("rq:job:a") <= 100


class TestLater:
    async def test_is_scheduled(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await begun(store, desk)
        assert await retry(store, run, 3, 30) is Failed.SCHEDULED
        assert await books.registry("scheduled") == {"a": NOON + 31.25}
        assert (await books.places("a"), await books.status("a")) == (["rq:scheduled:default"], "scheduled")

    @pytest.mark.parametrize(("front", "order"), [(True, ["a", "b"]), (False, ["b", "a"])])
    async def test_at_the_front_when_due(
        self, store: ClockedStore, desk: Desk, books: Books, front: bool, order: list[str]
    ) -> None:
        run = await begun(store, desk)
        await desk.enqueue("b")
        await retry(store, run, 3, 30, front=front)
        await store.set_clock(NOON + 40)
        assert await desk.promote("a") == "queued"
        assert await books.queue() == order

    @pytest.mark.parametrize("days", [1, 400])
    async def test_outcome_is_kept_as_long_as_a_failure(
        self, store: ClockedStore, desk: Desk, books: Books, days: int
    ) -> None:
        run = await begun(store, desk)
        await retry(store, run, 3, 30, ttl=days * 86_400)
        assert days * 86_400 - 1 <= await books.ttl("rq:results:a") <= days * 86_400

    @pytest.mark.parametrize(
        ("most", "intervals", "waits"),
        [(3, [10, 20], [10, 20, 20]), (2, [10, 20, 30], [10, 20]), (3, [5], [5, 5, 5]), (2, [0, 7], [0, 7])],
    )
    async def test_first_interval_for_the_first_time_and_the_last_one_repeats(
        self, store: ClockedStore, desk: Desk, books: Books, most: int, intervals: list[int], waits: list[int]
    ) -> None:
        run = await begun(store, desk)
        seen = []
        clock = NOON + 1.25
        while (word := await retry(store, run, most, *intervals)) is not Failed.FOR_GOOD:
            due = (await books.registry("scheduled")).get("a", clock)
            seen.append(due - clock)
            clock = due
            await store.set_clock(clock)
            if word is Failed.SCHEDULED:
                assert await desk.promote("a") == "queued"
            run = await desk.take("a")
        assert seen == waits
        assert await books.places("a") == ["rq:failed:default"]
        types = [result["type"] for result in await books.results("a")]
        assert types == ["5", *["4"] * most]


class TestOftenEnough:
    async def test_fails(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await begun(store, desk, number_of_retries=3)
        before = await books.job("a")
        assert await retry(store, run, 3, ttl=500) is Failed.FOR_GOOD
        fields = {"status": "failed", "ended_at": STAMP, "last_heartbeat": STAMP}
        assert await books.job("a") == {**before, **fields}
        assert await books.registry("failed") == {"a": int(NOON + 1.25) + 500}
        (result,) = await books.results("a")
        assert result["type"] == "5"
        assert "exc_string" not in result
        assert 499 <= await books.ttl("rq:job:a") <= 500

    async def test_the_number_is_that_of_the_last_request(self, store: ClockedStore, desk: Desk) -> None:
        run = await begun(store, desk)
        assert await retry(store, run, 3) is Failed.QUEUED
        assert await retry(store, await desk.take("a"), 1) is Failed.FOR_GOOD

    async def test_not_kept(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await begun(store, desk, number_of_retries=3)
        assert await retry(store, run, ttl=0) is Failed.FOR_GOOD
        ended = f"rq:aiorq:ended:{run.token}"
        left = {"rq:queues", "rq:worker:w", "rq:aiorq:gone", "rq:aiorq:gone:a", "rq:failed:default", ended}
        assert {key.decode() for key in await books.dump()} == left

    async def test_has_nothing_to_do_with_retries_after_failures(
        self, store: ClockedStore, desk: Desk, books: Books
    ) -> None:
        run = await begun(store, desk, retries_left=1)
        assert await retry(store, run, 1) is Failed.QUEUED
        assert await desk.fail("a") is Failed.QUEUED
        assert (await books.job("a"))["retries_left"] == "0"
        job: Job[Any] = Job("a", store.connection)
        await desk.finish("a")
        shown = [(attempt.number, attempt.outcome) for attempt in await job.attempts()]
        assert shown == [(1, "retried"), (2, "failed"), (3, "successful")]


class TestLimit:
    async def test_keeps_its_slot_at_once_and_gives_it_up_for_later(
        self, store: ClockedStore, desk: Desk, books: Books
    ) -> None:
        run = await begun(store, desk, limit=("api", 1))
        await desk.place("b", "other", limit=("api", 1))
        await retry(store, run)
        assert await books.slots() == {"a"}
        await retry(store, await desk.take("a"), 3, 30)
        assert (await books.slots(), await books.places("b")) == ({"b"}, ["rq:queue:other"])

    async def test_gives_it_up_when_it_fails(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await begun(store, desk, limit=("api", 1), number_of_retries=3)
        await retry(store, run)
        assert await books.slots() == set()


class TestOddFields:
    @pytest.mark.parametrize(
        ("tried", "word", "then"),
        [
            ("", Failed.QUEUED, "1"),
            ("abc", Failed.QUEUED, "1"),
            ("-5", Failed.QUEUED, "1"),
            ("-inf", Failed.QUEUED, "1"),
            ("nan", Failed.QUEUED, "1"),
            ("0.5", Failed.QUEUED, "1"),
            ("2", Failed.QUEUED, "3"),
            ("inf", Failed.FOR_GOOD, "inf"),
            ("1e300", Failed.FOR_GOOD, "1e300"),
        ],
    )
    async def test_how_often_it_was(
        self, store: ClockedStore, desk: Desk, books: Books, tried: str, word: Failed, then: str
    ) -> None:
        """Above all none that never ends."""
        run = await begun(store, desk)
        await books.connection.hset("rq:job:a", "number_of_retries", tried)
        assert await retry(store, run) is word
        assert (await books.job("a"))["number_of_retries"] == then

    async def test_attempts(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await begun(store, desk)
        await books.connection.hset("rq:job:a", "aiorq_attempts", "many")
        assert await retry(store, run) is Failed.QUEUED
        assert await books.places("a") == ["rq:queue:default"]


class TestSentTwice:
    @pytest.mark.parametrize(("tried", "seconds"), [(0, 0), (0, 30), (3, 0)])
    @pytest.mark.parametrize("ttl", [500, 0])
    async def test_nothing_changes(
        self, store: ClockedStore, desk: Desk, books: Books, tried: int, seconds: int, ttl: int
    ) -> None:
        run = await begun(store, desk, number_of_retries=tried)
        word = await retry(store, run, 3, seconds, ttl=ttl)
        before = await books.dump()
        await store.set_clock(NOON + 3)
        assert await store.again() == word.value.encode()
        assert await books.dump() == before

    async def test_after_the_next_run_has_begun_and_ended(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await begun(store, desk)
        await retry(store, run)
        sent = store.last
        second = await desk.take("a")
        for _ in range(2):
            before = await books.dump()
            store.last = sent
            assert await store.again() == b"queued"
            assert await books.dump() == before
            await runs.finish(store, "w", second, b"", 500)

    async def test_another_outcome_of_the_same_run_is_refused(
        self, store: ClockedStore, desk: Desk, books: Books
    ) -> None:
        run = await begun(store, desk, retries_left=1)
        await retry(store, run)
        before = await books.dump()
        assert not await runs.finish(store, "w", run, b"", 500)
        assert not await runs.stop(store, "w", run, b"", 500)
        assert await runs.fail(store, "w", run, b"", 500) is Failed.QUEUED  # it is in its queue, as it should be
        assert await books.dump() == before


class TestRefused:
    @pytest.mark.parametrize("token", ["", "f" * 32, "text"])
    async def test_foreign_token(self, store: ClockedStore, desk: Desk, books: Books, token: str) -> None:
        run = await begun(store, desk)
        before = await books.dump()
        assert await retry(store, Run("default", "a", token)) is Failed.LOST
        assert await retry(store, Run("other", "a", run.token)) is Failed.LOST
        assert await books.dump() == before

    @pytest.mark.parametrize("deed", ["release", "cancel", "delete", "reap"])
    async def test_run_that_lost_its_place(self, store: ClockedStore, desk: Desk, books: Books, deed: str) -> None:
        run = await begun(store, desk)
        if deed == "release":
            await runs.release(store, "w", [], [run])
        elif deed == "cancel":
            await jobs.cancel(store, "a", 500)
        elif deed == "delete":
            await jobs.delete(store, ["a"])
        else:
            await store.set_clock(NOON + 100)
            await desk.reap(run)
        before = await books.dump()
        assert await retry(store, run) is Failed.LOST
        assert await books.dump() == before


@pytest.mark.parametrize(
    ("key", "tried", "seconds"),
    [("rq:queue:default", 0, 0), ("rq:scheduled:default", 0, 5), ("rq:failed:default", 3, 0)],
)
async def test_next_place_of_a_wrong_type(
    store: ClockedStore, desk: Desk, books: Books, key: str, tried: int, seconds: int
) -> None:
    """Nothing is half done, and the outcome can be written once the key is what it should be."""
    run = await begun(store, desk, number_of_retries=tried)
    await books.connection.set(key, "text")
    before = await books.dump()
    with pytest.raises(StoreError, match="WRONGTYPE"):
        await retry(store, run, 3, seconds)
    assert await books.dump() == before
    await books.connection.delete(key)
    assert await retry(store, run, 3, seconds) is not Failed.LOST


@pytest.mark.parametrize("key", ["rq:results:a", "rq:executions:a", "rq:worker:w:executions", "rq:queues"])
async def test_other_keys_of_a_wrong_type(store: ClockedStore, desk: Desk, books: Books, key: str) -> None:
    run = await begun(store, desk)
    await books.connection.delete(key)
    await books.connection.set(key, "text")
    assert await retry(store, run) is Failed.QUEUED
    assert await books.places("a") == ["rq:queue:default"]


async def test_what_it_leaves_ends_by_itself(store: ClockedStore, desk: Desk, books: Books) -> None:
    await retry(store, await begun(store, desk))
    for_ever = {key.decode() for key, (_, expires) in (await books.dump()).items() if not expires}
    assert for_ever == {"rq:queues", "rq:queue:default", "rq:job:a"}
