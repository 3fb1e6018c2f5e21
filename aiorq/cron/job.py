"""Cron entries for people: what they are read as, and how modules register them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

from redis.asyncio import Redis

from aiorq.cron.config import add_registered
from aiorq.cron.entry import CronEntry, CronOptions
from aiorq.options import DEFAULT_RESULT_TTL
from aiorq.seconds import Duration
from aiorq.store import crons
from aiorq.store.base import store_of
from aiorq.webhook import Webhook


class CronJob(CronEntry):
    """An entry of cron. Attributes show what it was made with or last read; only coroutines ask Redis."""

    async def get_job_ids(
        self, connection: Redis | str | None = None, start: int = 0, end: int = -1, *, prefix: str | None = None
    ) -> list[str]:
        """The ids of its jobs, the last thousand, newest first, from index `start` to `end`, both included."""
        return await crons.history(store_of(connection, prefix), self.name, start, end)


def register(
    func: Callable[..., Any] | str,
    queue_name: str,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    interval: int | None = None,
    cron: str | None = None,
    job_timeout: Duration | None = None,
    result_ttl: Duration | None = DEFAULT_RESULT_TTL,
    ttl: Duration | None = None,
    failure_ttl: Duration | None = None,
    meta: Mapping[str, Any] | None = None,
    webhooks: Sequence[Webhook] | None = None,
    name: str = "",
    **options: Unpack[CronOptions],
) -> CronJob:
    """Have a function called again and again. For modules that a scheduler or a worker is told to load.

    Nothing is asked of Redis: the entry is put there when the module has been loaded. The parameters are those of
    `CronJob`.

    Returns:
        the entry.

    Raises:
        TypeError, ValueError: something is wrong; the text names it.
        SerializationError: an argument cannot be serialised.
    """
    job = CronJob(
        queue_name,
        func,
        None,
        args,
        kwargs,
        interval,
        cron,
        job_timeout,
        result_ttl,
        ttl,
        failure_ttl,
        meta,
        webhooks,
        name,
        **options,
    )
    add_registered(job)
    return job


async def get_cron_job_ids(
    name: str, connection: Redis | str | None = None, start: int = 0, end: int = -1, *, prefix: str | None = None
) -> list[str]:
    """The ids of the jobs of an entry, RQ's too, newest first, from index `start` to `end`, both included."""
    return await crons.history(store_of(connection, prefix), name, start, end)


async def get_cron_job_names(connection: Redis | str | None = None, *, prefix: str | None = None) -> list[str]:
    """The names of all entries that have had jobs, RQ's too, the one with the newest job at the end."""
    return await crons.job_names(store_of(connection, prefix))
