"""fail.lua with retries left: started to queued, or to scheduled."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aiorq import Job
from aiorq.errors import StoreError
from aiorq.store import runs
from aiorq.store.runs import Failed, Run
from tests.scripts.conftest import NOON, TRACEBACK, YEAR, Books, ClockedStore, Desk, changed

STAMP = "2026-01-02T12:00:01.500000Z"
DAYS = 100 * 365 * 86_400


async def begun(store: ClockedStore, desk: Desk, **options: Any) -> Run:
    """A run of job `a` that began at noon; it is a second and a quarter later."""
    await store.set_clock(NOON)
    run = await desk.begin("a", **options)
    await store.set_clock(NOON + 1.25)
    return run


class TestAtOnce:
    async def test_job_is_queued_again(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await begun(store, desk, retries_left=3)
        await desk.enqueue("b")
        before = await books.dump()
        assert await runs.fail(store, "w", run, TRACEBACK, YEAR) is Failed.QUEUED
        difference = changed(before, await books.dump())
        worker = difference.pop("rq:worker:w")
        assert (worker["failed_job_count"], worker["state"]) == ("1", "idle")
        assert float(worker["total_working_time"]) == pytest.approx(1.25)
        (attempt,) = difference.pop("rq:aiorq:attempts:a")
        assert json.loads(attempt) == {
            "number": 1,
            "outcome": "failed",
            "worker_name": "w",
            "execution_id": run.token,
            "started_at": "1767355200.250000",
            "ended_at": "1767355201.500000",
            "exc_string": TRACEBACK.decode(),
        }
        assert difference == {
            "rq:job:a": {
                "status": "queued",
                "enqueued_at": STAMP,
                "ended_at": STAMP,
                "retries_left": "2",
                "aiorq_retries": "3",
                "aiorq_attempts": "1",
            },
            "rq:queue:default": [b"b", b"a"],
            "rq:wip:default": None,
            "rq:executions:a": None,
            f"rq:execution:a:{run.token}": None,
            "rq:worker:w:executions": None,
            f"rq:aiorq:ended:{run.token}": b"queued",
        }
        assert 0 < await books.ttl(f"rq:aiorq:ended:{run.token}") <= 60

    @pytest.mark.parametrize(("front", "order"), [(True, ["a", "b"]), (False, ["b", "a"]), (None, ["b", "a"])])
    async def test_at_the_front_where_it_says_so(
        self, store: ClockedStore, desk: Desk, books: Books, front: bool | None, order: list[str]
    ) -> None:
        run = await begun(store, desk, retries_left=1, enqueue_at_front_on_retry=front)
        await desk.enqueue("b")
        await runs.fail(store, "w", run, b"", 500)
        assert await books.queue() == order

    async def test_queue_is_known_again(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """RQ takes an empty queue out of the set when somebody deletes it."""
        run = await begun(store, desk, retries_left=1)
        await books.connection.delete("rq:queues")
        await runs.fail(store, "w", run, b"", 500)
        assert await books.connection.smembers("rq:queues") == {b"rq:queue:default"}

    async def test_time_to_wait_counts_anew(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await begun(store, desk, retries_left=1, ttl=100)
        assert await books.ttl("rq:job:a") == -1
        await runs.fail(store, "w", run, b"", 500)
        assert 99 <= await books.ttl("rq:job:a") <= 100


class TestLater:
    async def test_job_is_scheduled(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await begun(store, desk, retries_left=3, retry_intervals=[10, 20])
        before = await books.job("a")
        assert await runs.fail(store, "w", run, TRACEBACK, YEAR) is Failed.SCHEDULED
        fields = {"status": "scheduled", "ended_at": STAMP, "retries_left": "2", "aiorq_retries": "3"}
        assert await books.job("a") == {**before, **fields, "aiorq_attempts": "1"}
        assert await books.places("a") == ["rq:scheduled:default"]
        assert await books.registry("scheduled") == {"a": NOON + 11.25}
        assert (await books.runs("a"), await books.results("a")) == ([], [])

    @pytest.mark.parametrize(
        ("retries", "intervals", "waits"),
        [
            (3, [10, 20], [10, 20, 20]),  # RQ: 10, 10, 20
            (2, [10, 20, 30], [10, 20]),  # RQ: 20, 30
            (3, [10], [10, 10, 10]),
            (3, [0, 5], [0, 5, 5]),
            (2, [], [0, 0]),
        ],
    )
    async def test_first_interval_for_the_first_retry_and_the_last_one_repeats(
        self, store: ClockedStore, desk: Desk, books: Books, retries: int, intervals: list[int], waits: list[int]
    ) -> None:
        run = await begun(store, desk, retries_left=retries, retry_intervals=intervals)
        seen = []
        clock = NOON + 1.25
        while (word := await runs.fail(store, "w", run, b"", 500)) is not Failed.FOR_GOOD:
            due = (await books.registry("scheduled")).get("a", clock)
            seen.append(due - clock)
            clock = due
            await store.set_clock(clock)
            if word is Failed.SCHEDULED:
                assert await desk.promote("a") == "queued"
            (claim,) = await desk.claim() or []
            run = claim.run
        assert seen == waits
        assert await books.places("a") == ["rq:failed:default"]
        assert (await books.job("a"))["retries_left"] == "0"

    async def test_retries_that_rqs_workers_have_used(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """They do not say how many there were: what is left counts as all."""
        run = await begun(store, desk, retries_left=1, retry_intervals=[10, 20])
        await runs.fail(store, "w", run, b"", 500)
        assert await books.registry("scheduled") == {"a": NOON + 11.25}


class TestWhich:
    """Retries after some exceptions only."""

    KINDS = ("mine.Late", "ConnectionError", "OSError", "Exception", "BaseException")

    @pytest.mark.parametrize(
        ("fields", "retried"),
        [
            ({}, True),
            ({"retry_on": ["OSError"]}, True),
            ({"retry_on": ["mine.Late"]}, True),
            ({"retry_on": ["ValueError", "ConnectionError"]}, True),
            ({"retry_on": ["ValueError"]}, False),
            ({"retry_on": ["Late", "mine", "ConnectionErr", "mine.Late.More"]}, False),
            ({"never_retry": ["OSError"]}, False),
            ({"never_retry": ["ValueError"]}, True),
            ({"retry_on": ["OSError"], "never_retry": ["mine.Late"]}, False),
            ({"retry_on": ["OSError"], "never_retry": ["mine.Later"]}, True),
        ],
        ids=str,
    )
    async def test_by_class_and_base(
        self, store: ClockedStore, desk: Desk, books: Books, fields: dict[str, list[str]], retried: bool
    ) -> None:
        run = await begun(store, desk, retries_left=2, **fields)
        word = await runs.fail(store, "w", run, b"", 500, kinds=self.KINDS)
        assert word is (Failed.QUEUED if retried else Failed.FOR_GOOD)
        assert await books.places("a") == [f"rq:{'queue' if retried else 'failed'}:default"]
        assert (await books.job("a"))["retries_left"] == ("1" if retried else "2")

    @pytest.mark.parametrize("retried", [True, False])
    async def test_of_what_became_of_its_worker(self, store: ClockedStore, desk: Desk, retried: bool) -> None:
        run = await begun(store, desk, retries_left=2, retry_on=["aiorq.errors.AbandonedJobError" if retried else "X"])
        await store.set_clock(NOON + 100)
        kinds = ["aiorq.errors.AbandonedJobError", "aiorq.errors.AiorqError", "Exception", "BaseException"]
        assert await desk.reap(run, kinds=kinds) == ("retried" if retried else "failed")

    async def test_without_a_class(self, store: ClockedStore, desk: Desk) -> None:
        """Its process ended: nobody knows of what."""
        run = await begun(store, desk, retries_left=2, retry_on=["OSError"])
        assert await runs.fail(store, "w", run, b"", 500) is Failed.FOR_GOOD
        run = await begun(store, desk, retries_left=2, never_retry=["OSError"])
        assert await runs.fail(store, "w", run, b"", 500) is Failed.QUEUED

    @pytest.mark.parametrize("names", ["", "abc", "5", "{}", '{"a": 5}', "[5, null, [], {}]", "[" * 5000, "null"])
    @pytest.mark.parametrize("field", ["aiorq_retry_on", "aiorq_never"])
    async def test_lists_that_are_none(
        self, store: ClockedStore, desk: Desk, books: Books, field: str, names: str
    ) -> None:
        run = await begun(store, desk, retries_left=1)
        await books.connection.hset("rq:job:a", field, names)
        word = await runs.fail(store, "w", run, b"", 500, kinds=self.KINDS)
        named = field == "aiorq_retry_on" and names.startswith("[5")
        assert word is (Failed.FOR_GOOD if named else Failed.QUEUED)


class TestJitter:
    @pytest.mark.parametrize(
        ("jitter", "chance", "seconds"),
        [(0.5, 0, 50), (0.5, 1, 150), (0.5, 0.5, 100), (1, 0, 0), (1, 1, 200), (0.1, 0.75, 105), (None, 1, 100)],
    )
    async def test_bounds(
        self,
        store: ClockedStore,
        desk: Desk,
        books: Books,
        monkeypatch: pytest.MonkeyPatch,
        jitter: float | None,
        chance: float,
        seconds: float,
    ) -> None:
        monkeypatch.setattr(runs, "chance", lambda: chance)
        run = await begun(store, desk, retries_left=1, retry_intervals=[100], retry_jitter=jitter)
        word = await runs.fail(store, "w", run, b"", 500)
        assert word is (Failed.SCHEDULED if seconds else Failed.QUEUED)
        if seconds:
            assert (await books.registry("scheduled"))["a"] == pytest.approx(NOON + 1.25 + seconds)

    @pytest.mark.parametrize("jitter", ["", "abc", "nan", "inf", "-1", "2", "1.01"])
    async def test_that_is_none(self, store: ClockedStore, desk: Desk, books: Books, jitter: str) -> None:
        run = await begun(store, desk, retries_left=1, retry_intervals=[100])
        await books.connection.hset("rq:job:a", "aiorq_jitter", jitter)
        assert await runs.fail(store, "w", run, b"", 500) is Failed.SCHEDULED
        assert await books.registry("scheduled") == {"a": NOON + 101.25}

    def test_chance(self) -> None:
        drawn = {runs.chance() for _ in range(100)}
        assert len(drawn) == 100
        assert all(0 <= one <= 1 for one in drawn)


class TestAttempts:
    async def test_each_is_noted(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await begun(store, desk, retries_left=2)
        await runs.fail(store, "w", run, b"Zmlyc3Q=", 500)
        second = await desk.take("a", begun=True)
        await store.set_clock(NOON + 5)
        await runs.fail(store, "w", second, b"c2Vjb25k", 500)
        noted = await books.attempts("a")
        assert [(one["number"], one["exc_string"], one["execution_id"]) for one in noted] == [
            (1, "Zmlyc3Q=", run.token),
            (2, "c2Vjb25k", second.token),
        ]
        third = await desk.take("a")
        assert await runs.finish(store, "w", third, b"", 500)
        assert [result["aiorq_attempt"] for result in await books.results("a")] == ["3"]
        assert 499 <= await books.ttl("rq:aiorq:attempts:a") <= 500

    async def test_the_last_twenty_are_kept(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", retries_left=25)
        for _ in range(25):
            assert await desk.fail("a") is Failed.QUEUED
        assert [one["number"] for one in await books.attempts("a")] == list(range(6, 26))
        assert await desk.fail("a") is Failed.FOR_GOOD
        assert (await books.results("a"))[0]["aiorq_attempt"] == "26"

    async def test_as_long_as_the_job(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await begun(store, desk, retries_left=2, ttl=100)
        await runs.fail(store, "w", run, b"", 500)
        assert 99 <= await books.ttl("rq:aiorq:attempts:a") <= 100
        second = await desk.take("a")
        assert await books.ttl("rq:aiorq:attempts:a") == -1  # it runs, however long
        await runs.fail(store, "w", second, b"", 500)
        assert 99 <= await books.ttl("rq:aiorq:attempts:a") <= 100
        assert await desk.fail("a", ttl=0) is Failed.FOR_GOOD
        assert not await books.connection.exists("rq:aiorq:attempts:a")

    async def test_count_that_is_none(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await begun(store, desk, retries_left=2)
        await books.connection.hset("rq:job:a", "aiorq_attempts", "many")
        await runs.fail(store, "w", run, b"", 500)
        assert [one["number"] for one in await books.attempts("a")] == [1]
        assert (await books.job("a"))["aiorq_attempts"] == "1"

    async def test_list_of_a_wrong_type(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await begun(store, desk, retries_left=2)
        await books.connection.set("rq:aiorq:attempts:a", "text")
        assert await runs.fail(store, "w", run, b"", 500) is Failed.QUEUED
        assert len(await books.attempts("a")) == 1

    async def test_moment_that_is_none(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await begun(store, desk, retries_left=2)
        await books.connection.hset(f"rq:execution:a:{run.token}", "created_at", "nan")
        await runs.fail(store, "w", run, TRACEBACK, 500)
        job: Job[Any] = Job("a", store.connection)
        (attempt,) = await job.attempts()
        assert attempt.started_at == attempt.ended_at


class TestOddFields:
    @pytest.mark.parametrize("left", ["0", "-1", "", "abc", "nan", "inf", "-inf", "1e300", "0.5"])
    async def test_retries_that_are_none(self, store: ClockedStore, desk: Desk, books: Books, left: str) -> None:
        """Above all none that never ends."""
        run = await begun(store, desk)
        await books.connection.hset("rq:job:a", "retries_left", left)
        assert await runs.fail(store, "w", run, b"", 500) is Failed.FOR_GOOD
        assert await books.places("a") == ["rq:failed:default"]

    @pytest.mark.parametrize(
        "intervals", ["", "abc", "5", "null", "{}", '{"a": 5}', "[null]", '["x"]', "[[]]", "[-5]", "[NaN]", "[" * 5000]
    )
    async def test_intervals_that_are_none(self, store: ClockedStore, desk: Desk, books: Books, intervals: str) -> None:
        run = await begun(store, desk, retries_left=1)
        await books.connection.hset("rq:job:a", "retry_intervals", intervals)
        assert await runs.fail(store, "w", run, b"", 500) is Failed.QUEUED
        assert await books.places("a") == ["rq:queue:default"]

    @pytest.mark.parametrize(("interval", "seconds"), [("0.5", 0.5), ("1e300", DAYS), ('"7"', 7)])
    async def test_odd_intervals(
        self, store: ClockedStore, desk: Desk, books: Books, interval: str, seconds: float
    ) -> None:
        run = await begun(store, desk, retries_left=1)
        await books.connection.hset("rq:job:a", "retry_intervals", f"[{interval}]")
        assert await runs.fail(store, "w", run, b"", 500) is Failed.SCHEDULED
        assert await books.registry("scheduled") == {"a": NOON + 1.25 + seconds}

    @pytest.mark.parametrize("most", ["", "abc", "nan", "inf", "-7", "0"])
    async def test_note_of_how_many_there_were(self, store: ClockedStore, desk: Desk, books: Books, most: str) -> None:
        run = await begun(store, desk, retries_left=1, retry_intervals=[10, 20])
        await books.connection.hset("rq:job:a", "aiorq_retries", most)
        assert await runs.fail(store, "w", run, b"", 500) in {Failed.SCHEDULED, Failed.QUEUED}
        assert len(await books.places("a")) == 1


class TestSentTwice:
    @pytest.mark.parametrize("intervals", [[], [5]])
    async def test_nothing_changes(self, store: ClockedStore, desk: Desk, books: Books, intervals: list[int]) -> None:
        run = await begun(store, desk, retries_left=3, retry_intervals=intervals)
        word = await runs.fail(store, "w", run, TRACEBACK, 500)
        before = await books.dump()
        await store.set_clock(NOON + 3)
        assert await store.again() == word.value.encode()
        assert await books.dump() == before

    async def test_after_the_retry_has_begun_and_ended(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await begun(store, desk, retries_left=3)
        await runs.fail(store, "w", run, TRACEBACK, 500)
        sent = store.last
        (claim,) = await desk.claim() or []
        before = await books.dump()
        store.last = sent
        assert await store.again() == b"queued"
        assert await books.dump() == before
        assert await runs.finish(store, "w", claim.run, b"", 500)
        before = await books.dump()
        store.last = sent
        assert await store.again() == b"queued"
        assert await books.dump() == before
        assert await books.places("a") == ["rq:finished:default"]

    async def test_another_outcome_of_the_same_run_is_refused(
        self, store: ClockedStore, desk: Desk, books: Books
    ) -> None:
        run = await begun(store, desk, retries_left=3)
        await runs.fail(store, "w", run, TRACEBACK, 500)
        before = await books.dump()
        assert not await runs.finish(store, "w", run, b"", 500)
        assert not await runs.stop(store, "w", run, b"", 500)
        assert await books.dump() == before


class TestWrongTypes:
    @pytest.mark.parametrize(("key", "intervals"), [("rq:queue:default", []), ("rq:scheduled:default", [5])])
    async def test_next_place(
        self, store: ClockedStore, desk: Desk, books: Books, key: str, intervals: list[int]
    ) -> None:
        """Nothing is half done, and the outcome can be written once the key is what it should be."""
        run = await begun(store, desk, retries_left=3, retry_intervals=intervals)
        await books.connection.set(key, "text")
        before = await books.dump()
        with pytest.raises(StoreError, match="WRONGTYPE"):
            await runs.fail(store, "w", run, b"", 500)
        assert await books.dump() == before
        await books.connection.delete(key)
        assert await runs.fail(store, "w", run, b"", 500) in {Failed.QUEUED, Failed.SCHEDULED}

    async def test_set_of_queues(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await begun(store, desk, retries_left=3)
        await books.connection.set("rq:queues", "text")
        assert await runs.fail(store, "w", run, b"", 500) is Failed.QUEUED
        assert await books.places("a") == ["rq:queue:default"]
        assert (await books.job("a"))["retries_left"] == "2"


async def test_what_a_retry_leaves_ends_by_itself(store: ClockedStore, desk: Desk, books: Books) -> None:
    run = await begun(store, desk, retries_left=1)
    await runs.fail(store, "w", run, b"", 500)
    for_ever = {key.decode() for key, (_, expires) in (await books.dump()).items() if not expires}
    assert for_ever == {"rq:queues", "rq:queue:default", "rq:job:a"}
