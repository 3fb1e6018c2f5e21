"""Workers that are asked for nothing but when something is due, and the clock of the server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from aiorq import Job
from tests.interop.conftest import aiorq_command, client, rq_queue  # noqa: F401 - fixtures
from tests.worker.conftest import log, make_worker, monitor, new_client, own_server, start  # noqa: F401 - fixtures

UNASKED = 600.0
"""Seconds between two looks of a worker which is not to find anything that way within a test."""


class Clock:
    """The clock of the server."""

    def __init__(self, connection: Redis) -> None:
        self._connection: Any = connection

    async def now(self) -> float:
        """Seconds since 1970."""
        seconds, micros = await self._connection.time()
        return float(seconds + micros / 1_000_000)

    async def after(self, seconds: float) -> datetime:
        """The date of so many seconds from now."""
        return date(await self.now() + seconds)


@pytest.fixture
def clock(connection: Redis) -> Clock:
    """That of the server."""
    return Clock(connection)


def date(moment: float) -> datetime:
    """The date of a moment in seconds since 1970."""
    return datetime.fromtimestamp(moment, UTC)


async def started(job: Job[Any]) -> float:
    """When a job's last run began, by the server's clock, in seconds since 1970."""
    await job.refresh()
    assert job.started_at is not None
    return job.started_at.timestamp()
