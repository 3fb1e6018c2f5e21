"""Jobs in every state on a server with its own clock, and what the doctor says of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeAlias, cast

import pytest
from redis.asyncio import Redis

from aiorq.doctor import Finding, Report, examine
from aiorq.store import jobs, workers
from aiorq.store.base import Store, store_of
from tests.scripts.conftest import Books, ClockedStore, Desk

Look: TypeAlias = Callable[[], Awaitable[Report]]


def of_books(report: Report) -> list[Finding]:
    """The findings that are not of the server: the one of the tests saves nothing."""
    return [finding for finding in report.findings if finding.invariant != "server"]


class Ward(Desk):
    """Brings jobs into the states of RQ, and breaks what the books say of them."""

    def __init__(self, store: Store) -> None:
        super().__init__(cast(ClockedStore, store))
        self.client: Any = store.connection

    async def register(self, worker: str = "w", *queues: str) -> None:
        """Enter a worker of aiorq."""
        names = queues or ("default",)
        await workers.register(self.store, worker, "boot", names, {"queues": ",".join(names), "pid": 1}, 480)

    async def defer(self, job_id: str, *parents: str, **fields: str) -> None:
        """A job that waits for others, as RQ defers it."""
        await self.put(job_id, "deferred")
        await self.client.hset(f"rq:job:{job_id}", mapping={"old": "", **fields})
        for parent in parents:
            await self.client.sadd(f"rq:job:{parent}:dependents", job_id)
            await self.client.sadd(f"rq:job::{job_id}:dependencies", parent)

    async def limit(self, *job_ids: str, concurrency: int = 1, **attributes: Any) -> None:
        """Enqueue jobs behind the rate limit `k`."""
        fields = {"rate_limit_key": "k", "rate_limit_concurrency": concurrency, **attributes}
        for job_id in job_ids:
            await jobs.enqueue(self.store, replace(self.new(job_id, **fields), limit=("k", concurrency)))

    async def wait(self, job_id: str, *parents: str, allow: bool = False, **attributes: Any) -> None:
        """Enqueue a job that waits for others."""
        new = self.new(job_id, allow_dependency_failures=allow, **attributes)
        await jobs.enqueue(self.store, replace(new, parents=parents, allow_failure=allow))

    async def group(self, *job_ids: str) -> None:
        """Enqueue jobs of the group `g`."""
        for job_id in job_ids:
            await jobs.enqueue(self.store, replace(self.new(job_id, group_id="g"), group="g"))

    async def set(self, job_id: str, **fields: str) -> None:
        """Change fields of a job behind everybody's back."""
        await self.client.hset(f"rq:job:{job_id}", mapping=fields)


@pytest.fixture
async def ward(connection: Redis) -> Ward:
    return Ward(store_of(connection))


@pytest.fixture
def books(connection: Redis) -> Books:
    return Books(connection)


@pytest.fixture
def look(connection: Redis) -> Look:
    """Look over the books, without much waiting."""

    async def look() -> Report:
        return await examine(connection, settle=0.01)

    return look
