"""Schedulers in processes of their own: many at once, some of them killed, at any point."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import pytest
from redis.asyncio import Redis

from aiorq import connect, scripts
from aiorq.cron import Cron, CronScheduler
from aiorq.cron.ticker import Ticker
from aiorq.doctor import examine
from aiorq.server import EmbeddedServer
from aiorq.store.base import store_of
from tests.crash.conftest import launcher  # noqa: F401 - a fixture
from tests.crash.points import Point
from tests.crash.stage import Actor, Launcher
from tests.cron import roles
from tests.cron.soak import soak
from tests.execution.processes import LIMIT
from tests.worker.conftest import Monitor, monitor  # noqa: F401 - a fixture

CONNECT = {"CLIENT SETINFO", "CLIENT SETNAME", "HELLO", "AUTH", "SELECT", "CLIENT MAINT_NOTIFICATIONS"}
AT_A_TIME = 4
ENTRY: dict[str, Any] = {"func": "jobs.add", "queue_name": "default", "name": "entry"}
SECONDS = float(os.environ.get("AIORQ_TEST_SOAK_SECONDS", "6"))


@pytest.fixture
async def start(url: str, launcher: Launcher) -> Any:  # noqa: F811
    """Starts schedulers that end with the test."""
    actors: list[Actor] = []

    def start_scheduler(*entries: dict[str, Any], kill: Point | None = None) -> Actor:
        actors.append(
            Actor(launcher, role="schedule", kill=kill, url=url, entries=[ENTRY | entry for entry in entries])
        )
        return actors[-1]

    yield start_scheduler
    for actor in actors:
        actor.end()
        await actor.gone()
        assert actor.told("raised") == []


async def test_ten_schedulers_of_which_three_are_killed(
    connection: Redis,
    url: str,
    launcher: Launcher,  # noqa: F811
) -> None:
    report = await soak(url, launcher, SECONDS)
    assert (report.twice, report.without) == ([], [])
    assert report.slots == report.jobs == report.history
    assert report.slots >= SECONDS - 2


async def test_killed_at_every_command(connection: Redis, url: str, launcher: Launcher) -> None:  # noqa: F811
    """What a process did not do, the next one does; each slot has one job, whatever the first one came to."""
    for script in scripts.names():  # so that no run is the first to send one
        await connection.script_load(scripts.load(script).source)
    free = asyncio.Semaphore(AT_A_TIME)
    count = 0

    async def play(kill: Point | None) -> Actor:
        nonlocal count
        count += 1
        prefix, client = f"p{count}", connection
        async with free:
            actor = Actor(launcher, role="use_cron", kill=kill, url=url, prefix=prefix, name="first")
            await actor.gone()
            assert actor.told("raised") == []
            assert kill is None or actor.was_hit
            await roles.use(client, prefix, "second")
            await expect(actor, prefix)
        return actor

    async def expect(actor: Actor, prefix: str) -> None:
        client: Any = connection
        entries = Cron(connection, prefix=prefix)
        assert await entries.names() == ["kept"]
        kept = await entries.get("kept")
        assert not kept.paused
        assert kept.next_enqueue_time is not None
        assert kept.latest_slot is not None
        assert (kept.next_enqueue_time - kept.latest_slot).total_seconds() == 3600
        ids = {name: await entries.job_ids(name) for name in ("kept", "removed")}
        slots = {
            name: [slot for job_id in ids[name] if (slot := await client.hget(f"{prefix}:job:{job_id}", "aiorq_slot"))]
            for name in ids
        }
        assert len(slots["kept"]) == 1
        assert len(ids["kept"]) == 2 + bool(actor.told("executed", "cron_run#1") or actor.told("sent", "cron_run#1"))
        assert len(set(slots["removed"])) == len(slots["removed"]) <= 2
        queued = await client.lrange(f"{prefix}:queue:default", 0, -1)
        assert sorted(queued) == sorted(job_id.encode() for some in ids.values() for job_id in some)
        report = await examine(connection, prefix, settle=0.01)
        assert [finding for finding in report.findings if finding.invariant != "server"] == []

    whole = await play(None)
    names = [name for name in whole.names if name.partition("#")[0] not in CONNECT]
    called = {name.partition("#")[0] for name in names}
    assert called >= {f"cron_{name}" for name in ("look", "set", "tick", "run", "pause", "resume", "remove", "beat")}
    kills = [Point(name, moment) for name in names for moment in ("before", "after")]
    outcomes = await asyncio.gather(*map(play, kills), return_exceptions=True)
    failures = [f"{kill}: {out!r}" for kill, out in zip(kills, outcomes, strict=True) if isinstance(out, BaseException)]
    assert failures == []


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_scheduler_that_dies_at_a_slot(connection: Redis, start: Any, moment: str) -> None:
    """The other one deals with the slot, or finds that it was dealt with."""
    entries = Cron(connection)
    doomed = start({"interval": 1}, kill=Point("cron_tick#2", moment))
    await doomed.gone()
    assert doomed.was_hit
    before = await entries.job_ids("entry")
    assert len(before) == (1 if moment == "before" else 2)
    other = start({"interval": 1})
    assert await other.tells("executed", "cron_tick#2")
    raw: Any = connection
    ids = await entries.job_ids("entry")
    slots = sorted([float(await raw.hget(f"rq:job:{job_id}", "aiorq_slot")) for job_id in ids])
    assert [round(slot - slots[0], 6) for slot in slots] == list(range(len(slots)))
    assert len(slots) > len(before)


async def test_restart_repeats_nothing(connection: Redis, start: Any) -> None:
    first = start({"interval": 3600})
    assert await first.tells("executed", "cron_tick#1")
    first.end()
    await first.gone()
    second = start({"interval": 3600})
    assert await second.tells("executed", "cron_look#3")  # one as it puts the entry there, and two of its ticker
    assert len(await Cron(connection).job_ids("entry")) == 1


async def test_entry_that_comes_meanwhile(connection: Redis, start: Any) -> None:
    """A scheduler that sleeps is woken; it would have slept for a minute."""
    scheduler = start({"interval": 3600})
    assert await scheduler.tells("executed", "SUBSCRIBE#1")
    async with asyncio.timeout(LIMIT):
        await Cron(connection).set("jobs.add", "default", interval=3600, name="new")
        assert await scheduler.until(lambda: [line for line in scheduler.told("log") if "entry new" in line[1]])


async def test_sleeps_in_between(connection: Redis, start: Any, monitor: Monitor) -> None:  # noqa: F811
    """Between two slots, 2 seconds apart, a scheduler asks Redis four things at most, with the heartbeat."""
    scheduler = start({"interval": 2})
    assert await scheduler.tells("executed", "cron_tick#2")
    begin = len(monitor.commands)
    assert await scheduler.tells("executed", "cron_tick#3")
    asked = [command for command in monitor.commands[begin:] if not command.startswith("lua")]
    assert len([command for command in asked if "EVALSHA" in command]) <= 5, asked


async def test_rq_reads_who_is_there(connection: Redis, start: Any, url: str) -> None:
    scheduler = start({"cron": "0 0 1 1 *", "timezone": "UTC"})
    assert await scheduler.tells("executed", "cron_beat#2")
    (found,) = await CronScheduler.all(connection)
    assert found.pid == scheduler.pid
    raw: Any = await connection.hgetall(f"rq:cron_scheduler:{found.name}")
    (entry,) = json.loads(raw[b"cron_jobs"])
    assert (entry["name"], entry["cron"], entry["queue_name"]) == ("entry", "0 0 1 1 *", "default")
    assert entry["next_enqueue_time"].endswith("-01-01T00:00:00.000000Z")
    scheduler.end()
    await scheduler.gone()
    assert await connection.keys("rq:cron_scheduler*") == []


async def test_outage(tmp_path: Any, launcher: Launcher) -> None:  # noqa: F811
    """Redis goes and comes back: the slots of meanwhile are run, since they are not late by much."""
    with EmbeddedServer(append_only=True) as server:
        actor = Actor(launcher, role="schedule", kill=None, url=server.url, entries=[ENTRY | {"interval": 1}])
        assert await actor.tells("executed", "cron_tick#2")
        server.kill()
        assert await actor.until(lambda: [line for line in actor.told("log") if "cannot go on" in line[1]])
        server.restart()
        assert await actor.until(lambda: [line for line in actor.told("log") if "cron goes on" in line[1]])
        actor.end()
        await actor.gone()
        async with connect(server.url) as client:
            await Ticker(store_of(client)).tick()
            ids = await Cron(client).job_ids("entry")
            raw: Any = client
            slots = sorted([float(await raw.hget(f"rq:job:{job_id}", "aiorq_slot")) for job_id in ids])
        assert [round(slot - slots[0], 6) for slot in slots] == list(range(len(slots)))
