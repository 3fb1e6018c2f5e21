"""Slots as they come, with a clock that the test moves: misfires, overlaps, jitter, and clocks that change."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aiorq.cron import Cron
from aiorq.cron.definition import Definition, Step
from aiorq.cron.ticker import Ticker
from aiorq.errors import QueueFullError
from aiorq.store import jobs
from tests.cron.conftest import MINUTE, Clock
from tests.cron.test_crontab import CHANGES, DAILY, at
from tests.scripts.conftest import NOON, Books, ClockedStore, Desk
from tests.worker.conftest import Log

GOOD = Definition(name="broken", queue="default", func_name="jobs.add", cron="* * * * *", timezone="UTC")
WRONG: list[dict[str, Any]] = [
    *({"cron": "61 * * * *"}, {"cron": None}, {"interval": 5}, {"timezone": "Moon/Sea"}, {"cron": 5}),
    *({"jitter": "x"}, {"jitter": -1}, {"ttl": "x"}, {"ttl": 1.5}, {"misfire_limit": 1.5}),
    *({"misfire": "?"}, {"overlap": None}, {"wishes": [5]}, {"wishes": 5}, {"shown": []}),
    *({"queue": 5}, {"job_id": 5}, {"misfire_grace": None}, {"more": 1}, {"misfire_grace": math.nan}),
]
UNREADABLE = [
    *(b"", b"{", b"[]", b"5", b'{"format": 2}', b'{"format": 1, "name": 5}', b"\xff", b"[" * 100_000),
    *(json.dumps({"format": 1, **asdict(GOOD), **wrong}).encode() for wrong in WRONG),
]


class TestMisfire:
    """Everybody was away over ten slots, 60 to 600 seconds after noon, and is back at 605."""

    BACK = MINUTE + 605

    async def test_skip(self, clock: Clock) -> None:
        """The last slot is only five seconds late; the others are gone."""
        await clock.add()
        await clock.tick(self.BACK)
        assert await clock.slots() == [600]
        entry = await clock.cron.get("entry")
        assert (entry.missed, entry.enqueued, await clock.next()) == (9, 1, 660)

    async def test_skip_with_none_in_time(self, clock: Clock) -> None:
        await clock.add()
        await clock.tick(self.BACK + 30)
        assert await clock.slots() == []
        assert ((await clock.cron.get("entry")).missed, await clock.next()) == (10, 660)

    async def test_once(self, clock: Clock) -> None:
        """One job for those that are gone, that of the newest of them."""
        await clock.add(misfire="once")
        await clock.tick(self.BACK + 30)
        assert await clock.slots() == [600]
        assert ((await clock.cron.get("entry")).missed, await clock.next()) == (9, 660)

    async def test_once_and_one_in_time(self, clock: Clock) -> None:
        await clock.add(misfire="once")
        await clock.tick(self.BACK)
        assert await clock.slots() == [540, 600]
        assert (await clock.cron.get("entry")).missed == 8

    async def test_all(self, clock: Clock) -> None:
        await clock.add(misfire="all")
        await clock.tick(self.BACK + 30)
        assert await clock.slots() == [60 * number for number in range(1, 11)]
        assert (await clock.cron.get("entry")).missed == 0

    async def test_all_up_to_a_bound(self, clock: Clock) -> None:
        """The newest ones."""
        await clock.add(misfire="all", misfire_limit=4)
        await clock.tick(self.BACK + 30)
        assert await clock.slots() == [420, 480, 540, 600]
        assert (await clock.cron.get("entry")).missed == 6

    @pytest.mark.parametrize(
        ("misfire", "slots"), [("skip", []), ("once", [600.25]), ("all", [480.25, 540.25, 600.25])]
    )
    async def test_interval(self, clock: Clock, misfire: str, slots: list[float]) -> None:
        await clock.add(interval=60, misfire=misfire, misfire_limit=3)
        await clock.tick(NOON)
        await clock.tick(NOON + 635)
        assert (await clock.slots())[1:] == slots
        entry = await clock.cron.get("entry")
        assert (entry.missed + len(slots), await clock.next()) == (10, 660.25)

    async def test_grace(self, clock: Clock) -> None:
        """Whatever the policy, a slot that is a little late is simply run."""
        await clock.add(interval=1, misfire="skip", misfire_grace=5)
        await clock.tick(NOON)
        await clock.tick(NOON + 20)
        assert await clock.slots() == [0.25, *(number + 0.25 for number in range(15, 21))]
        await clock.tick(NOON + 24)
        assert len(await clock.slots()) == 11

    async def test_long_away(self, clock: Clock) -> None:
        """100,000 slots of an expression are passed over in steps; what is counted is right."""
        await clock.add(cron="*/2 * * * * *", timezone="UTC", misfire="once")
        await clock.tick(MINUTE + 20_031)
        assert await clock.slots() == [20_000, *range(20_002, 20_031, 2)]
        assert (await clock.cron.get("entry")).missed == 9_999

    async def test_others_have_their_turn(self, clock: Clock, books: Books) -> None:
        """An entry with very many missed slots does not keep the others waiting for the end of it."""
        await clock.add("old", cron="* * * * * *", timezone="UTC")
        await clock.add("new")
        await clock.set(MINUTE + 30_060)
        await books.connection.zadd("rq:aiorq:cron:next", {"new": MINUTE + 30_060})
        words = [(ticked.name, ticked.word) for ticked in await clock.tick()]
        first = words.index(("new", "queued"))
        assert 0 < first < len(words) - 50
        assert (await clock.cron.get("old")).missed == 30_029

    async def test_several_come_back(self, clock: Clock, store: ClockedStore) -> None:
        await clock.add(misfire="all")
        await clock.set(self.BACK + 30)
        others = [Ticker(store) for _ in range(5)]
        done = await asyncio.gather(*(ticker.tick() for ticker in others))
        slots = sorted(ticked.slot - MINUTE for part, _ in done for ticked in part)
        assert slots == await clock.slots() == [60 * number for number in range(1, 11)]

    async def test_clock_that_is_put_back(self, clock: Clock) -> None:
        await clock.add()
        await clock.tick(MINUTE + 60)
        assert await clock.tick(MINUTE - 3600) == []
        assert await clock.tick(MINUTE + 119) == []
        await clock.tick(MINUTE + 120)
        assert await clock.slots() == [60, 120]


class TestOverlap:
    async def play(self, clock: Clock, desk: Desk, policy: str) -> list[str]:
        """What becomes of the slots of a job that waits 1, runs 2, and is over before the last one."""
        await clock.add(overlap=policy)
        words = [ticked.word for ticked in await clock.tick(MINUTE + 60)]
        words += [ticked.word for ticked in await clock.tick(MINUTE + 120)]
        claimed = await desk.claim()
        for minute in (3, 4):
            words += [ticked.word for ticked in await clock.tick(MINUTE + 60 * minute)]
        for waiting in await clock.cron.job_ids("entry"):
            await jobs.delete(clock.store, [waiting])
        words += [ticked.word for ticked in await clock.tick(MINUTE + 300)]
        assert claimed is not None
        assert len(claimed) == 1
        return words

    async def test_allow(self, clock: Clock, desk: Desk) -> None:
        assert await self.play(clock, desk, "allow") == ["queued"] * 5

    async def test_skip(self, clock: Clock, desk: Desk) -> None:
        expected = ["queued", "overlapped", "overlapped", "overlapped", "queued"]
        assert await self.play(clock, desk, "skip") == expected
        assert (await clock.cron.get("entry")).overlapped == 3

    async def test_queue(self, clock: Clock, desk: Desk) -> None:
        expected = ["queued", "overlapped", "queued", "overlapped", "queued"]
        assert await self.play(clock, desk, "queue") == expected
        assert (await clock.cron.get("entry")).overlapped == 2

    @pytest.mark.parametrize("policy", ["skip", "queue"])
    @pytest.mark.parametrize("status", ["finished", "failed", "stopped", "canceled", "banana", ""])
    async def test_jobs_that_are_over(self, clock: Clock, books: Books, policy: str, status: str) -> None:
        await clock.add(overlap=policy)
        await clock.tick(MINUTE + 60)
        (job_id,) = await clock.cron.job_ids("entry")
        await books.connection.hset(f"rq:job:{job_id}", "status", status)
        await clock.tick(MINUTE + 120)
        assert len(await clock.cron.job_ids("entry")) == 2

    @pytest.mark.parametrize("status", ["deferred", "scheduled", "rate_limited", "ready_to_enqueue"])
    async def test_jobs_that_are_not(self, clock: Clock, books: Books, status: str) -> None:
        await clock.add(overlap="queue")
        await clock.tick(MINUTE + 60)
        (job_id,) = await clock.cron.job_ids("entry")
        await books.connection.hset(f"rq:job:{job_id}", "status", status)
        assert [ticked.word for ticked in await clock.tick(MINUTE + 120)] == ["overlapped"]

    async def test_job_that_was_asked_for_counts(self, clock: Clock) -> None:
        await clock.add(overlap="skip")
        await clock.cron.run_now("entry")
        assert [ticked.word for ticked in await clock.tick(MINUTE + 60)] == ["overlapped"]

    async def test_unique(self, clock: Clock, books: Books) -> None:
        await clock.add(unique=True)
        words = [(await clock.tick(MINUTE + 60 * number))[0].word for number in (1, 2)]
        assert words == ["queued", "exists"]
        assert await books.queue() == ["cron-entry"]
        await jobs.delete(clock.store, ["cron-entry"])
        assert [ticked.word for ticked in await clock.tick(MINUTE + 180)] == ["queued"]
        assert (await clock.cron.get("entry")).overlapped == 1


class TestJitter:
    async def test_jobs_are_put_off(self, clock: Clock, books: Books) -> None:
        await clock.add(jitter=20)
        for number in range(1, 21):
            await clock.tick(MINUTE + 60 * number)
        scheduled = await books.registry("scheduled")
        ids = (await clock.cron.job_ids("entry"))[::-1]
        by_slot = [scheduled[job_id] - MINUTE - slot for job_id, slot in zip(ids, await clock.slots(), strict=True)]
        assert len(by_slot) == 20
        assert all(0 <= late <= 20 for late in by_slot)
        assert max(by_slot) - min(by_slot) > 5  # 10^-10 that twenty are that close
        assert await clock.slots() == [60 * number for number in range(1, 21)]

    async def test_job_for_the_front(self, clock: Clock, desk: Desk, books: Books) -> None:
        await clock.add(jitter=20, at_front=True)
        await clock.tick(MINUTE + 60)
        (job_id,) = await clock.cron.job_ids("entry")
        await desk.enqueue("a")
        await clock.set(MINUTE + 81)
        assert await desk.promote(job_id) == "queued"
        assert await books.queue() == [job_id, "a"]


class TestClocksChange:
    """The whole way: the clock is put from slot to slot, and each has its job."""

    async def pass_through(self, clock: Clock, begin: datetime, end: datetime) -> list[datetime]:
        while (slot := await clock.next()) is not None and MINUTE + slot <= end.timestamp():
            assert slot + MINUTE > begin.timestamp()
            await clock.tick(MINUTE + slot + 0.01)
        return [datetime.fromtimestamp(MINUTE + slot, UTC) for slot in await clock.slots()]

    @pytest.mark.parametrize(("zone", "cron", "moment", "slots"), DAILY)
    async def test_daily(self, clock: Clock, zone: str, cron: str, moment: str, slots: list[str]) -> None:
        await clock.set(at(moment).timestamp())
        await clock.add(cron=cron, timezone=zone)
        assert await self.pass_through(clock, at(moment), at(slots[-1])) == [at(slot) for slot in slots]

    @pytest.mark.parametrize(("zone", "moment"), CHANGES)
    async def test_half_hourly(self, clock: Clock, zone: str, moment: str) -> None:
        await clock.set(at(moment).timestamp())
        await clock.add(cron="*/30 * * * *", timezone=zone)
        expected = [at(moment) + timedelta(minutes=30 * number) for number in range(1, 13)]
        assert await self.pass_through(clock, at(moment), expected[-1]) == expected


class TestTicker:
    async def test_seconds_to_the_next_look(self, clock: Clock) -> None:
        assert (await clock.ticker.tick())[1] == 60
        await clock.add(interval=20)
        done, seconds = await clock.ticker.tick()
        assert len(done) == 1
        assert 20 <= seconds <= 20.01
        await clock.add("rare", interval=100)
        await clock.cron.remove("entry")
        done, seconds = await clock.ticker.tick()
        assert (len(done), seconds) == (1, 60)

    async def test_many_entries_at_the_same_time(self, clock: Clock, books: Books) -> None:
        for number in range(250):
            await clock.add(f"entry-{number}")
        assert len(await clock.tick(MINUTE + 60)) == 250
        assert len(await books.queue()) == 250

    @pytest.mark.parametrize("raw", UNREADABLE)
    async def test_entry_that_cannot_be_read(self, clock: Clock, books: Books, raw: bytes) -> None:
        """The others go on, and it is said once."""
        await clock.add("broken")
        await clock.add()
        await books.connection.hset("rq:aiorq:cron", "broken", raw)
        log = Log()
        logger = logging.getLogger("aiorq.cron")
        logger.addHandler(log)
        try:
            for number in (1, 2):
                await clock.set(MINUTE + 60 * number)
                _, seconds = await clock.ticker.tick()
                assert seconds <= 5
        finally:
            logger.removeHandler(log)
        assert await clock.slots() == [60, 120]
        assert log.count("broken") == 1
        assert [job.name for job in await clock.cron.list()] == ["entry"]

    @pytest.mark.parametrize("score", ["-inf", "-1e300", "-1e15", "0", "0.1"])
    async def test_slot_that_is_none(self, clock: Clock, books: Books, score: str) -> None:
        """The others go on, and so does this one where it can."""
        await clock.add("odd", cron="0 0 1 1 *", timezone="UTC")
        await clock.add()
        await books.connection.zadd("rq:aiorq:cron:next", {"odd": score})
        async with asyncio.timeout(30):
            await clock.tick(MINUTE + 60)
        assert await clock.slots() == [60]
        assert [job.name for job in await clock.cron.list()] == ["entry", "odd"]

    @pytest.mark.parametrize("score", ["inf", "1e300", "1e12"])
    async def test_slot_that_never_comes(self, clock: Clock, books: Books, score: str) -> None:
        await clock.add()
        await books.connection.zadd("rq:aiorq:cron:next", {"entry": score})
        assert (await clock.ticker.tick())[1] == 60
        assert len(await clock.cron.list()) == 1

    async def test_state_that_is_gone(self, clock: Clock, books: Books) -> None:
        """It is not looked at again and again at once; when it is registered again all is well."""
        await clock.add()
        await books.connection.delete("rq:aiorq:cron:state:entry")
        async with asyncio.timeout(5):
            assert await clock.tick(MINUTE + 60) == []
        await clock.add(args=(1,))
        await clock.tick(MINUTE + 120)
        assert await clock.slots() == [120]

    async def test_memory_is_full(self, clock: Clock, books: Books) -> None:
        await clock.add()
        await clock.set(MINUTE + 60)
        await books.connection.config_set("maxmemory", 1)
        try:
            with pytest.raises(QueueFullError):
                await clock.ticker.tick()
        finally:
            await books.connection.config_set("maxmemory", 0)
        await clock.tick()
        assert await clock.slots() == [60]

    async def test_another_prefix(self, clock: Clock, store: ClockedStore) -> None:
        other = Cron(store.connection, prefix="other")
        await other.set("jobs.add", "default", interval=60, name="entry")
        assert await clock.cron.list() == []
        assert await clock.tick(NOON + 3600) == []


class TestSteps:
    def test_nothing_is_run_twice_or_forgotten(self) -> None:
        """From a slot to now each slot is in exactly one step, whatever the policy."""
        for misfire in ("skip", "once", "all"):
            for cron in ("*/7 * * * * *", "0 */3 * * *", "* * * * *"):
                definition = Definition(
                    name="n", queue="q", func_name="f", cron=cron, timezone="UTC", misfire=misfire, misfire_limit=5
                )
                first = definition.first_after(MINUTE)
                assert first is not None
                steps = list(definition.steps(first, MINUTE + 40_000))
                slots = list(definition.recurrence.slots(self.moment(first), self.moment(MINUTE + 40_000)))
                assert sum(max(1, step.passed) for step in steps) == len(slots)
                covered: list[datetime] = []
                for step in steps:
                    begin = slots.index(step.slot)
                    covered += slots[begin : begin + max(1, step.passed)]
                assert covered == slots
                late = [step.slot for step in steps if not step.passed and step.slot < self.moment(MINUTE + 39_970)]
                assert len(late) <= {"skip": 0, "once": 1, "all": 5}[misfire]

    def test_end_of_time(self) -> None:
        definition = Definition(name="n", queue="q", func_name="f", cron="@daily", timezone="UTC")
        slot = datetime(8999, 12, 31, tzinfo=UTC).timestamp()
        steps = list(definition.steps(slot, slot + 10))
        assert steps == [Step(self.moment(slot), self.moment(slot + 86_400), 0)]
        steps = list(definition.steps(slot + 86_400, slot + 86_410))
        assert [step.following for step in steps] == [None]

    @staticmethod
    def moment(seconds: float) -> datetime:
        return datetime.fromtimestamp(seconds, UTC)
