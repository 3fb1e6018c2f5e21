"""A way to the server on which requests fare badly, and jobs whose runs are counted outside of Redis."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from aiorq import Job, Queue, connect
from aiorq.server import EmbeddedServer
from tests.execution.conftest import gate, told  # noqa: F401 - fixtures
from tests.execution.processes import LIMIT
from tests.trouble.proxy import Proxy
from tests.worker.conftest import log, make_worker, own_server, run_script, start  # noqa: F401 - fixtures


@asynccontextmanager
async def proxied(server: EmbeddedServer, folder: Path) -> AsyncIterator[Proxy]:
    """A proxy in front of `server`, whose socket is in `folder`."""
    proxy = Proxy(server.socket_path, folder)
    listening = await asyncio.start_unix_server(proxy.serve, proxy.path)
    try:
        yield proxy
    finally:
        listening.close()
        await proxy.end()


@pytest.fixture
async def proxy(server: EmbeddedServer, tmp_path: Path) -> AsyncIterator[Proxy]:
    """A way to the server on which requests fare badly when a test says so."""
    async with proxied(server, tmp_path) as proxy:
        yield proxy


@pytest.fixture
async def through_proxy(connection: Redis, proxy: Proxy) -> AsyncIterator[Redis]:
    """A client of the emptied server, through the proxy."""
    client = connect(proxy.url)
    yield client
    await client.aclose()


class Ledger:
    """Jobs that leave a line in a file for each run, and what became of them."""

    def __init__(self, path: Path, queue: Queue) -> None:
        """Enqueue on `queue`, whose connection must be sound whenever the jobs are looked at."""
        path.touch()
        self._path = path
        self._queue = queue
        self.connection: Any = queue.connection
        """The client that looks."""
        self.jobs: list[Job[Any]] = []
        """Those whose enqueue returned."""

    async def enqueue(self, queue: Queue | None = None, **options: Any) -> Job[Any]:
        """Enqueue one, on `queue` where another way to the server is to be taken."""
        line = f"line-{len(self.jobs)}"
        job = await (queue or self._queue).enqueue("jobs.append", str(self._path), line, description=line, **options)
        self.jobs.append(job)
        return job

    @property
    def runs(self) -> Counter[str]:
        """How many times each line was written."""
        return Counter(self._path.read_text().split())

    async def settled(self, seconds: float = LIMIT) -> None:
        """Wait until every job has an outcome."""
        async with asyncio.timeout(seconds):
            for job in self.jobs:
                assert await job.latest_result(timeout=seconds) is not None, f"no outcome of {job}"

    async def check(self) -> None:
        """Every job ran once and its outcome is there once, and nothing speaks of a run any more."""
        await self.settled()
        assert self.runs == {f"line-{number}": 1 for number in range(len(self.jobs))}
        entries = [await self.connection.xlen(f"rq:results:{job.id}") for job in self.jobs]
        assert entries == [1] * len(self.jobs)
        assert {await job.get_status() for job in self.jobs} <= {"finished"}
        finished = await self.connection.zrange("rq:finished:default", 0, -1)
        assert sorted(finished) == sorted(job.id.encode() for job in self.jobs)
        await self.nothing_runs()

    async def nothing_runs(self) -> None:
        """Neither queues, nor inboxes, nor the books of runs hold anything."""
        for pattern in ("rq:queue:*", "rq:wip:*", "rq:execution*", "rq:worker:*:executions", "rq:aiorq:inbox:*"):
            assert await self.connection.keys(pattern) == []


@pytest.fixture
async def ledger(tmp_path: Path, queue: Queue) -> Ledger:
    """Jobs on the default queue of the emptied server."""
    return Ledger(tmp_path / "lines", queue)
