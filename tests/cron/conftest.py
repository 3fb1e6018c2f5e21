"""Cron entries on a server whose clock the tests set, and schedulers in processes of their own."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from aiorq.cron import Cron, CronJob
from aiorq.cron.ticker import Ticked, Ticker
from aiorq.keys import Keys
from tests.scripts.conftest import NOON, Books, ClockedStore, Desk

MINUTE = 1_767_355_200.0
"""2026-01-02T12:00:00Z, a slot of whatever begins with `*`; the clock stands a quarter of a second behind."""


class Clock:
    """Entries whose time goes on only when the test says so."""

    def __init__(self, store: ClockedStore) -> None:
        self.store = store
        self.connection: Any = store.connection
        self.cron = Cron(store.connection, prefix="rq")
        self.ticker = Ticker(store)
        self.moment = NOON

    async def set(self, moment: float) -> None:
        """Put the clock there."""
        self.moment = moment
        await self.store.set_clock(moment)

    async def add(self, name: str = "entry", func: str = "jobs.add", queue: str = "default", **options: Any) -> CronJob:
        """Add an entry, or replace it; one a minute unless told otherwise."""
        if "interval" not in options and "cron" not in options:
            options |= {"cron": "* * * * *", "timezone": "UTC"}
        return await self.cron.set(func, queue, name=name, **options)

    async def tick(self, moment: float | None = None) -> list[Ticked]:
        """Deal with what is due, at that moment or now."""
        if moment is not None:
            await self.set(moment)
        done, _ = await self.ticker.tick()
        return done

    async def slots(self, name: str = "entry") -> list[float]:
        """The slots of the jobs of an entry in seconds from noon."""
        found = []
        for job_id in await self.cron.job_ids(name):
            slot = await self.connection.hget(f"rq:job:{job_id}", "aiorq_slot")
            found.append(float(slot) - MINUTE)
        return sorted(found)

    async def next(self, name: str = "entry") -> float | None:
        """The next slot of an entry in seconds from noon."""
        slot = await self.connection.zscore("rq:aiorq:cron:next", name)
        return None if slot is None else float(slot) - MINUTE


@pytest.fixture
async def store(connection: Redis) -> ClockedStore:
    """The store of an empty server, which everything on its client uses; its clock stands at noon."""
    store = ClockedStore(connection, Keys("rq"))
    connection.__dict__["_aiorq_stores"] = {"rq": store}
    await store.set_clock(NOON)
    return store


@pytest.fixture
def clock(store: ClockedStore) -> Clock:
    return Clock(store)


@pytest.fixture
def desk(store: ClockedStore) -> Desk:
    return Desk(store)


@pytest.fixture
def books(connection: Redis) -> Books:
    return Books(connection)
