"""Many schedulers on one entry per second, some of them killed and started anew: each slot has one job.

python -m tests.cron.soak --seconds 60
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import anyio

from aiorq import connect
from aiorq.cron import Cron, CronScheduler
from aiorq.cron.ticker import Ticker
from aiorq.record import decode_date
from aiorq.server import EmbeddedServer
from tests.crash.stage import Actor, Launcher

ENTRY = {"func": "jobs.add", "queue_name": "default", "args": [1, 2], "interval": 1, "name": "each-second"}


@dataclass
class Report:
    """What came of it."""

    slots: int
    """How many seconds there were, from the first slot to the last."""
    jobs: int
    twice: list[float]
    """Slots that had more than one job."""
    without: list[float]
    """Slots that had none."""
    history: int
    """How many jobs the history knows."""
    killed: int
    late_ms: dict[str, float]
    """How long after their slots jobs were enqueued, those that nobody could have enqueued left out."""


async def soak(url: str, launcher: Launcher, seconds: float, processes: int = 10, kills: int = 3) -> Report:
    """Let it go on for so long on an empty server, and count."""

    async def start() -> Actor:
        actor = Actor(launcher, role="schedule", kill=None, url=url, entries=[ENTRY])
        assert await actor.tells("executed", "cron_beat#2")
        return actor

    async with connect(url) as client:
        actors = [await start() for _ in range(processes)]
        assert len(await CronScheduler.all(client)) == processes
        for number in range(kills):
            await asyncio.sleep(seconds / (kills + 1))
            actors[number].end(signal.SIGKILL)
            await actors[number].gone()
            actors[number] = await start()
        await asyncio.sleep(seconds / (kills + 1))
        for actor in actors:
            assert actor.told("raised") == []
            actor.end(signal.SIGTERM)
        for actor in actors:
            await actor.gone()
        assert len(await CronScheduler.all(client)) == kills  # those that were killed, for two minutes
        entries = Cron(client)
        await Ticker(entries.store).tick()
        return await _report(client, await entries.job_ids(str(ENTRY["name"])), kills)


async def _report(client: Any, history: list[str], kills: int) -> Report:
    queued = [job_id.decode() for job_id in await client.lrange("rq:queue:default", 0, -1)]
    assert sorted(queued) == sorted(history)
    slots: list[float] = []
    late: list[float] = []
    for job_id in queued:
        slot, stamp = await client.hmget(f"rq:job:{job_id}", "aiorq_slot", "enqueued_at")
        slots.append(float(slot))
        moment = decode_date(stamp.decode())
        assert moment is not None
        late.append((moment.timestamp() - float(slot)) * 1000)
    first, last = min(slots), max(slots)
    expected = [round(first + number, 6) for number in range(round(last - first) + 1)]
    counts = Counter(slots)
    return Report(
        slots=len(expected),
        jobs=len(queued),
        twice=[slot for slot, count in counts.items() if count > 1],
        without=[slot for slot in expected if slot not in counts],
        history=len(history),
        killed=kills,
        late_ms={"median": round(statistics.median(late), 2), "most": round(max(late), 2)},
    )


async def _main(seconds: float, processes: int, kills: int) -> Report:
    launcher = Launcher()
    try:
        with EmbeddedServer() as server:
            return await soak(server.url, launcher, seconds, processes, kills)
    finally:
        launcher.close()


def main() -> None:
    """Run it and print what came of it; exits with 1 where a slot has not exactly one job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument("--kills", type=int, default=3)
    given = parser.parse_args()
    report = anyio.run(_main, given.seconds, given.processes, given.kills)
    print(json.dumps(asdict(report), indent=2))
    raise SystemExit(bool(report.twice or report.without or report.history != report.jobs))


if __name__ == "__main__":
    main()
