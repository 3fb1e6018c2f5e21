"""Cron without `await`: as `aiorq.cron`. A module may register its entries with either."""

from __future__ import annotations

from aiorq.cron.entry import CronOptions
from aiorq.sync.cron.entries import Cron
from aiorq.sync.cron.job import CronJob, get_cron_job_ids, get_cron_job_names, register
from aiorq.sync.cron.scheduler import CronScheduler, create_cron

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
