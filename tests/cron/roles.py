"""What the processes do that tests of cron kill; `tests.crash.launcher` forks them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiorq import connect
from aiorq.cron import Cron, CronScheduler
from aiorq.cron.ticker import Ticker


def schedule(url: str, entries: Sequence[dict[str, Any]], prefix: str = "rq") -> None:
    """Be a scheduler with entries."""
    scheduler = CronScheduler(url, prefix=prefix)
    for entry in entries:
        scheduler.register(**entry)
    scheduler.run()


def use_cron(url: str, prefix: str, name: str) -> None:
    """Do everything once that can be done with entries."""

    async def main() -> None:
        async with connect(url) as client:
            await use(client, prefix, name)

    asyncio.run(main())


async def use(client: Any, prefix: str, name: str) -> None:
    """As `use_cron`, as the scheduler of that name."""
    scheduler, entries = CronScheduler(client, name=name, prefix=prefix), Cron(client, prefix=prefix)
    for entry in ("kept", "removed"):
        scheduler.register("jobs.add", "default", (1, 2), interval=3600, name=entry)
    await scheduler.register_birth()
    await scheduler.put()
    await Ticker(scheduler.store).tick()
    await entries.pause("kept")
    await entries.resume("kept")
    await entries.run_now("kept")
    await entries.remove("removed")
    await scheduler.register_death()
