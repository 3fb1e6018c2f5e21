"""Cron: functions that are called again and again, each slot once, however many processes look after it.

    from aiorq import cron
    cron.register(tasks.clean_up, "default", cron="30 2 * * *", timezone="Europe/Berlin")

`register` in a module, which `aiorq cron MODULE` or `aiorq worker --cron MODULE` loads, describes entries; they live in
Redis, where `Cron` lists, pauses, resumes, runs and removes them. Files:

    definition   what an entry is in Redis, and what becomes of slots that were missed
    job          an entry for people: its options, and what became of it
    config       modules that register entries
    entries      the entries in Redis
    ticker       dealing with slots as they come
    scheduler    a process that does it, as RQ's readers see it
"""

from __future__ import annotations

from redis.asyncio import Redis

from aiorq.cron.config import register
from aiorq.cron.entries import Cron
from aiorq.cron.job import CronJob, CronOptions
from aiorq.cron.scheduler import CronScheduler, create_cron
from aiorq.store import crons
from aiorq.store.base import store_of

__all__ = [
    "Cron",
    "CronJob",
    "CronOptions",
    "CronScheduler",
    "create_cron",
    "get_cron_job_ids",
    "get_cron_job_names",
    "register",
]


async def get_cron_job_ids(
    name: str, connection: Redis | str | None = None, start: int = 0, end: int = -1, *, prefix: str | None = None
) -> list[str]:
    """The ids of the jobs of an entry, RQ's too, newest first, from index `start` to `end`, both included."""
    return await crons.history(store_of(connection, prefix), name, start, end)


async def get_cron_job_names(connection: Redis | str | None = None, *, prefix: str | None = None) -> list[str]:
    """The names of all entries that have had jobs, RQ's too, the one with the newest job at the end."""
    return await crons.job_names(store_of(connection, prefix))
