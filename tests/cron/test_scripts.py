"""The scripts of cron: what each changes, what it refuses, and the same call sent twice."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from aiorq.cron.definition import Definition
from aiorq.errors import DuplicateJobError, NoSuchCronJobError, StoreError
from aiorq.rate_limit import RateLimit
from aiorq.store import crons
from aiorq.store.crons import CronCall
from tests.cron.conftest import MINUTE, Clock
from tests.scripts.conftest import NOON, YEAR, Books, ClockedStore, Desk, changed

KEYS = {"rq:aiorq:cron", "rq:aiorq:cron:next", "rq:aiorq:cron:state:entry", "rq:aiorq:cron:fields:entry"}


async def tick(clock: Clock, slot: float, following: float | None = None, **other: Any) -> str:
    """Call cron_tick for a slot, in seconds from noon, of the entry `entry` as it is defined now."""
    definition = (await clock.cron.get("entry")).definition
    settings: dict[str, Any] = {
        "version": definition.version,
        "token": "token",
        "passed": 0,
        "overlap": definition.overlap,
        "call": CronCall("id", "default", "", False, None, None, ()),
    } | other
    after = None if following is None else MINUTE + following
    version, token = settings.pop("version"), settings.pop("token")
    return await crons.tick(clock.store, "entry", version, token, MINUTE + slot, after, **settings)


class TestSet:
    async def test_what_is_written(self, clock: Clock, books: Books) -> None:
        before = await books.dump()
        await clock.add(args=(1, 2))
        written = changed(before, await books.dump())
        assert set(written) == KEYS
        assert written["rq:aiorq:cron:next"] == [(b"entry", MINUTE + 60)]
        definition = Definition.decode(written["rq:aiorq:cron"][b"entry"])
        assert (definition.name, definition.queue, definition.cron, definition.timezone) == (
            *("entry", "default", "* * * * *", "UTC"),
        )
        state = written["rq:aiorq:cron:state:entry"]
        assert {*state} == {b"version", b"recurrence"}
        assert state[b"version"].decode() == definition.version
        assert not [key for key in KEYS if (await books.ttl(key)) != -1]

    async def test_fields_are_those_of_an_enqueue(self, clock: Clock, desk: Desk, books: Books) -> None:
        await clock.add(args=(1, 2), result_ttl=77, meta={"a": 1})
        fields = await books.connection.hgetall("rq:aiorq:cron:fields:entry")
        job = await desk.place("plain", result_ttl=77, meta={"a": 1})
        assert job
        plain = await books.connection.hgetall("rq:job:plain")
        assert set(plain) - set(fields) == {b"created_at", b"status", b"enqueued_at", b"aiorq_nonce"}
        assert set(fields) <= set(plain)

    async def test_the_same_again(self, clock: Clock, books: Books) -> None:
        await clock.add(args=(1, 2))
        before = await books.dump()
        await clock.set(NOON + 3600)
        await clock.add(args=(1, 2))
        assert await books.dump() == before

    async def test_sent_twice(self, clock: Clock, store: ClockedStore, books: Books) -> None:
        job = await clock.add(interval=60)
        definition, fields = job.definition, {"data": b"x"}
        args = ("entry", "v2", definition.recurrence_text, definition.encode(), fields, None, 60)
        assert await crons.put(store, *args) == "replaced"
        before = await books.dump()
        assert await store.again() == b"same"
        assert await books.dump() == before

    async def test_an_interval_begins_now(self, clock: Clock) -> None:
        await clock.add(interval=60)
        assert await clock.next() == 0.25

    async def test_other_arguments_keep_the_slot(self, clock: Clock) -> None:
        await clock.add(interval=60)
        await clock.tick()
        assert await clock.next() == 60.25
        await clock.set(NOON + 45)
        await clock.add(interval=60, args=(1,))
        assert await clock.next() == 60.25

    async def test_an_overdue_slot_is_not_lost(self, clock: Clock) -> None:
        await clock.add()
        await clock.set(MINUTE + 65)
        await clock.add(args=(1,))
        assert await clock.next() == 60

    @pytest.mark.parametrize(("passed", "slot"), [(5, 30.25), (100, 100.25)])
    async def test_an_interval_of_another_length(self, clock: Clock, passed: float, slot: float) -> None:
        await clock.add(interval=60)
        await clock.tick()
        await clock.set(NOON + passed)
        await clock.add(interval=30)
        assert await clock.next() == slot

    async def test_another_expression(self, clock: Clock) -> None:
        await clock.add()
        await clock.add(cron="*/5 * * * *", timezone="UTC")
        assert await clock.next() == 300

    async def test_paused_stays_paused(self, clock: Clock) -> None:
        await clock.add()
        await clock.cron.pause("entry")
        await clock.add(cron="*/5 * * * *", timezone="UTC")
        assert await clock.next() is None
        assert (await clock.cron.get("entry")).paused
        await clock.cron.resume("entry")
        assert await clock.next() == 300

    async def test_removed_and_new(self, clock: Clock) -> None:
        """Nothing of the old one is left."""
        await clock.add(interval=60)
        await clock.tick()
        await clock.cron.pause("entry")
        await clock.cron.remove("entry")
        await clock.set(NOON + 10)
        job = await clock.add(interval=60)
        assert (job.enqueued, job.paused, await clock.next()) == (0, False, 10.25)

    @pytest.mark.parametrize("key", sorted(KEYS))
    async def test_keys_of_a_wrong_type(self, clock: Clock, books: Books, key: str) -> None:
        await books.connection.set(key, "text")
        before = await books.dump()
        with pytest.raises(StoreError, match=r"another type|WRONGTYPE"):
            await clock.add()
        assert await books.dump() == before


class TestTick:
    async def test_what_is_written(self, clock: Clock, books: Books) -> None:
        await clock.add(func="jobs.add", args=(1, 2))
        before = await books.dump()
        await clock.set(NOON + 60)
        assert await tick(clock, 60, 120) == "queued"
        written = changed(before, await books.dump())
        job = written.pop("rq:job:id")
        assert written == {
            "rq:queues": {b"rq:queue:default"},
            "rq:queue:default": [b"id"],
            "rq:cron_jobs": [(b"entry", NOON + 60)],
            "rq:cron_job:entry:jobs": [(b"id", NOON + 60)],
            "rq:aiorq:cron:next": [(b"entry", MINUTE + 120)],
            "rq:aiorq:cron:state:entry": {
                "enqueued": "1",
                "job": "id",
                "ran": f"{NOON + 60:.6f}",
                "slot": f"{MINUTE + 60:.6f}",
                "token": "token",
                "word": "queued",
            },
        }
        assert job[b"status"] == b"queued"
        assert job[b"created_at"] == job[b"enqueued_at"] == b"2026-01-02T12:01:00.250000Z"
        assert (job[b"aiorq_cron"], job[b"aiorq_slot"]) == (b"entry", b"1767355260.000000")
        assert await books.ttl("rq:cron_job:entry:jobs") == YEAR

    async def test_sent_twice(self, clock: Clock, store: ClockedStore, books: Books) -> None:
        await clock.add()
        await clock.set(NOON + 60)
        await tick(clock, 60, 120)
        before = await books.dump()
        assert await store.again() == b"queued"
        assert await books.dump() == before

    async def test_only_the_next_slot(self, clock: Clock, books: Books) -> None:
        await clock.add()
        await clock.set(NOON + 300)
        before = await books.dump()
        for slot in (0, 120, 60.25):
            assert await tick(clock, slot, 180) == "taken"
        assert await tick(clock, 60, 120, version="other") == "changed"
        assert await books.dump() == before
        await tick(clock, 60, 120)
        before = await books.dump()
        assert await tick(clock, 60, 120, token="other") == "taken"
        assert await books.dump() == before

    async def test_not_before_its_time(self, clock: Clock, books: Books) -> None:
        await clock.add()
        await clock.set(MINUTE + 59.999)
        before = await books.dump()
        assert await tick(clock, 60, 120) == "early"
        assert await books.dump() == before

    async def test_passing_over(self, clock: Clock, books: Books) -> None:
        await clock.add()
        await clock.set(NOON + 600)
        assert await tick(clock, 60, 360, passed=5) == "missed"
        assert await clock.next() == 360
        assert (await clock.cron.get("entry")).missed == 5
        assert await books.queue() == []

    async def test_the_last_slot_of_all(self, clock: Clock) -> None:
        await clock.add()
        await clock.set(NOON + 60)
        assert await tick(clock, 60, None) == "queued"
        assert await clock.next() is None
        assert await clock.tick(NOON + 6000) == []

    async def test_history_is_capped(self, clock: Clock, books: Books) -> None:
        await clock.add()
        await books.connection.zadd("rq:cron_job:entry:jobs", {f"old-{number:04}": number for number in range(1000)})
        await clock.set(NOON + 60)
        await tick(clock, 60, 120)
        ids = await clock.cron.job_ids("entry")
        assert (len(ids), ids[0], ids[-1]) == (1000, "id", "old-0001")

    async def test_names_are_forgotten_after_a_year(self, clock: Clock, books: Books) -> None:
        await clock.add()
        names = {"older": NOON + 60 - YEAR - 1, "younger": NOON + 60 - YEAR + 1}
        await books.connection.zadd("rq:cron_jobs", names)
        await clock.set(NOON + 60)
        await tick(clock, 60, 120)
        assert await crons.job_names(clock.store) == ["younger", "entry"]

    @pytest.mark.parametrize("key", ["rq:queue:default", "rq:aiorq:cron:fields:entry"])
    async def test_keys_of_a_wrong_type(self, clock: Clock, books: Books, key: str) -> None:
        """The slot has no job; the next one may have."""
        await clock.add()
        await clock.set(NOON + 60)
        kept = await books.connection.dump(key)
        await books.connection.set(key, "text")
        assert await tick(clock, 60, 120) in ("unlisted", "unfit")
        assert ((await clock.cron.get("entry")).refused, await clock.next()) == (1, 120)
        await books.connection.delete(key)
        if kept is not None:
            await books.connection.restore(key, 0, kept)
        await clock.set(NOON + 120)
        assert await tick(clock, 120, 180, token="next") == "queued"

    @pytest.mark.parametrize("key", ["rq:cron_job:entry:jobs", "rq:cron_jobs"])
    async def test_histories_of_a_wrong_type(self, clock: Clock, books: Books, key: str) -> None:
        await clock.add(overlap="skip")
        await clock.set(NOON + 60)
        await books.connection.set(key, "text")
        assert await tick(clock, 60, 120) == "queued"
        assert await books.queue() == ["id"]
        assert await clock.next() == 120

    async def test_options_of_the_job(self, clock: Clock, books: Books) -> None:
        await clock.add(rate_limit=RateLimit("api", 1), ttl=100, at_front=True)
        await clock.tick(NOON + 60)
        await clock.tick(NOON + 120)
        second, first = await clock.cron.job_ids("entry")
        assert [await books.status(job_id) for job_id in (first, second)] == ["queued", "rate_limited"]
        assert 0 < await books.ttl(f"rq:job:{first}") <= 100
        assert await books.connection.hget(f"rq:job:{second}", "enqueue_at_front") == b"1"

    async def test_at_the_front(self, clock: Clock, desk: Desk, books: Books) -> None:
        await desk.enqueue("a")
        await clock.add(at_front=True)
        await clock.tick(NOON + 60)
        assert await books.queue() == [*(await clock.cron.job_ids("entry")), "a"]


class TestRun:
    async def test_beside_the_slots(self, clock: Clock, books: Books) -> None:
        await clock.add()
        job = await clock.cron.run_now("entry")
        assert await books.queue() == [job.id] == await clock.cron.job_ids("entry")
        assert await clock.next() == 60
        assert not await books.connection.hexists(f"rq:job:{job.id}", "aiorq_slot")
        entry = await clock.cron.get("entry")
        assert (entry.enqueued, entry.last_job_id, entry.latest_slot) == (1, job.id, None)

    async def test_sent_twice(self, clock: Clock, store: ClockedStore, books: Books) -> None:
        entry = await clock.add()
        await crons.run(store, "entry", entry.definition.version, entry.definition.call())
        before = await books.dump()
        assert (await store.again())[0] == b"queued"
        assert await books.dump() == before

    async def test_paused(self, clock: Clock, books: Books) -> None:
        await clock.add()
        await clock.cron.pause("entry")
        job = await clock.cron.run_now("entry")
        assert await books.queue() == [job.id]

    async def test_another_definition(self, clock: Clock, store: ClockedStore, books: Books) -> None:
        entry = await clock.add()
        await clock.add(args=(1,))
        before = await books.dump()
        assert (await crons.run(store, "entry", entry.definition.version, entry.definition.call()))[0] == "changed"
        assert await books.dump() == before

    async def test_unique(self, clock: Clock) -> None:
        await clock.add(unique=True)
        job = await clock.cron.run_now("entry")
        assert job.id == "cron-entry"
        with pytest.raises(DuplicateJobError, match="exists already"):
            await clock.cron.run_now("entry")

    async def test_wrong_type(self, clock: Clock, books: Books) -> None:
        await clock.add()
        await books.connection.set("rq:queue:default", "text")
        before = await books.dump()
        with pytest.raises(StoreError, match="another type"):
            await clock.cron.run_now("entry")
        assert await books.dump() == before


class TestPause:
    async def test_expression(self, clock: Clock) -> None:
        await clock.add()
        assert await clock.cron.pause("entry")
        assert not await clock.cron.pause("entry")
        entry = await clock.cron.get("entry")
        assert entry.paused_since is not None
        assert entry.paused_since.timestamp() == NOON
        assert await clock.tick(NOON + 600) == []
        assert await clock.cron.resume("entry")
        assert not await clock.cron.resume("entry")
        assert await clock.next() == 660
        assert not (await clock.cron.get("entry")).paused

    @pytest.mark.parametrize(("passed", "slot"), [(30, 60.25), (60, 60.25), (61, 120.25), (601, 660.25)])
    async def test_interval_stays_on_its_grid(self, clock: Clock, passed: float, slot: float) -> None:
        await clock.add(interval=60)
        await clock.tick()
        await clock.cron.pause("entry")
        await clock.set(NOON + passed)
        await clock.cron.resume("entry")
        assert await clock.next() == slot

    async def test_sent_twice(self, clock: Clock, store: ClockedStore, books: Books) -> None:
        await clock.add(interval=60)
        for act in (clock.cron.pause, clock.cron.resume):
            await act("entry")
            before = await books.dump()
            await store.again()
            assert await books.dump() == before

    async def test_another_definition(self, clock: Clock, store: ClockedStore) -> None:
        entry = await clock.add()
        await clock.cron.pause("entry")
        await clock.add(args=(1,))
        assert await crons.resume(store, "entry", entry.definition.version, MINUTE + 60, None) == "changed"


class TestRemove:
    async def test_nothing_is_left(self, clock: Clock, books: Books) -> None:
        before = await books.dump()
        await clock.add()
        assert await clock.cron.remove("entry")
        assert await books.dump() == before
        assert not await clock.cron.remove("entry")

    async def test_jobs_stay(self, clock: Clock, books: Books) -> None:
        await clock.add()
        await clock.tick(NOON + 60)
        ids = await clock.cron.job_ids("entry")
        await clock.cron.remove("entry")
        assert await books.queue() == ids == await clock.cron.job_ids("entry")

    async def test_another_definition(self, clock: Clock, store: ClockedStore, books: Books) -> None:
        await clock.add()
        before = await books.dump()
        assert not await crons.remove(store, "entry", "other")
        assert await books.dump() == before

    async def test_entries_that_are_not_there(self, clock: Clock, books: Books) -> None:
        before = await books.dump()
        for act in (clock.cron.get, clock.cron.pause, clock.cron.resume, clock.cron.run_now):
            with pytest.raises(NoSuchCronJobError, match="'nope'"):
                await act("nope")
        assert await books.dump() == before


class TestBeat:
    FIELDS: ClassVar[dict[str, str | int]] = {"hostname": "h", "pid": 5}

    async def test_what_is_written(self, store: ClockedStore, books: Books) -> None:
        await crons.beat(store, "s", "boot", self.FIELDS, begins=True)
        assert changed({}, await books.dump()) == {
            "rq:cron_schedulers": [(b"s", NOON)],
            "rq:cron_scheduler:s": {b"hostname": b"h", b"pid": b"5", b"aiorq_boot": b"boot"},
        }
        assert await books.ttl("rq:cron_scheduler:s") == 120
        await crons.leave(store, "s")
        assert await books.dump() == {}

    async def test_sent_twice(self, store: ClockedStore, books: Books) -> None:
        await crons.beat(store, "s", "boot", self.FIELDS, begins=True)
        before = await books.dump()
        assert await store.again() == b"ok"
        assert await books.dump() == before

    async def test_those_that_died(self, store: ClockedStore, books: Books) -> None:
        await books.connection.zadd("rq:cron_schedulers", {"dead": NOON - 121, "alive": NOON - 119})
        await crons.beat(store, "s", "boot", self.FIELDS)
        assert await crons.schedulers(store, cleanup=False) == ["alive", "s"]
        await store.set_clock(NOON + 110)
        assert await crons.schedulers(store) == ["s"]


async def test_look(clock: Clock, store: ClockedStore) -> None:
    await clock.add("a", interval=60)
    await clock.add("b", interval=1000)
    await clock.add("c")
    await clock.tick()
    agenda = await crons.look(store, 10)
    assert (agenda.moment, agenda.later, agenda.due) == (NOON, MINUTE + 60, [])
    await clock.set(NOON + 60)
    agenda = await crons.look(store, 10)
    assert [(due.name, due.slot) for due in agenda.due] == [("c", MINUTE + 60), ("a", NOON + 60)]
    assert agenda.later == NOON + 1000
    assert [due.name for due in (await crons.look(store, 1)).due] == ["c"]
    assert (await crons.look(store, 0)).due == []
