"""Cron: functions that are called again and again, each slot once, however many processes look after it.

    from aiorq import cron
    cron.register(tasks.clean_up, "default", cron="30 2 * * *", timezone="Europe/Berlin")

`register` in a module, which `aiorq cron MODULE` or `aiorq worker --cron MODULE` loads, describes entries; they live in
Redis, where `Cron` lists, pauses, resumes, runs and removes them. Files:

    definition   what an entry is in Redis, and what becomes of slots that were missed
    entry        an entry for people: its options, and what became of it
    job          entries of the async API, and registering them
    config       modules that register entries
    entries      the entries in Redis
    ticker       dealing with slots as they come
    books        how a process that does it is seen by RQ's readers
    scheduler    such a process
"""

from __future__ import annotations

from aiorq.cron.entries import Cron
from aiorq.cron.entry import CronOptions
from aiorq.cron.job import CronJob, get_cron_job_ids, get_cron_job_names, register
from aiorq.cron.scheduler import CronScheduler, create_cron

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
