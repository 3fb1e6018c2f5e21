"""The names of cron entries that have had jobs: RQ's place for it."""

from __future__ import annotations

from redis import Redis

from aiorq.sync.cron.job import get_cron_job_names

__all__ = ["get_names"]


def get_names(connection: Redis | str | None = None, cleanup: bool = True, *, prefix: str | None = None) -> list[str]:  # noqa: ARG001 - RQ's parameter
    """As `get_cron_job_names`; `cleanup` is accepted as in RQ."""
    return get_cron_job_names(connection, prefix=prefix)
