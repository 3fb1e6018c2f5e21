"""A way to the server on which requests fare badly, and jobs whose runs are counted outside of Redis."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from aiorq import Job, Queue, connect
from aiorq.errors import ConnectionLostError, QueueFullError
from aiorq.server import EmbeddedServer
from tests.execution.conftest import gate, told  # noqa: F401 - fixtures
from tests.execution.processes import LIMIT
from tests.trouble.proxy import Proxy
from tests.worker.conftest import log, make_worker, monitor, own_server, run_script, start  # noqa: F401 - fixtures

AHEAD = 20
"""Jobs that are there before they are run, at most."""
REST = 0.01
"""Seconds between two looks at Redis: those who are waited for need the machine, too."""


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
        self._lines = count()
        self._enqueued = asyncio.Event()
        self.connection: Any = queue.connection
        """The client that looks."""
        self.jobs: dict[str, Job[Any]] = {}
        """The line of each job whose enqueue returned."""
        self.unsure: set[str] = set()
        """The lines of those whose enqueue got no answer."""
        self.refused: set[str] = set()
        """The lines of those that the server had no room for."""

    async def enqueue(self, queue: Queue | None = None, **options: Any) -> Job[Any]:
        """Enqueue one, on `queue` where another way to the server is to be taken."""
        line = f"line-{next(self._lines)}"
        try:
            job = await (queue or self._queue).enqueue(
                "jobs.append", str(self._path), line, description=line, **options
            )
        except ConnectionLostError:
            self.unsure.add(line)
            raise
        except QueueFullError:
            self.refused.add(line)
            raise
        self.jobs[line] = job
        self._enqueued.set()
        self._enqueued = asyncio.Event()
        return job

    @asynccontextmanager
    async def load(self, queue: Queue) -> AsyncIterator[None]:
        """Within the block enqueue jobs on `queue` as fast as they are run, whatever it says."""
        ending = False

        async def enqueue() -> None:
            while not ending:
                # No more than the machine can take: those that come last would wait for ever longer.
                if len(self.jobs) - self.runs.total() < AHEAD:
                    with suppress(ConnectionLostError, QueueFullError):
                        await self.enqueue(queue)
                await asyncio.sleep(0.02)

        task = asyncio.create_task(enqueue())
        try:
            yield
        finally:
            ending = True
            await task

    @property
    def runs(self) -> Counter[str]:
        """How many times each line was written."""
        return Counter(self._path.read_text().split())

    async def more(self, amount: int = 5) -> None:
        """Wait until that many jobs have run that are enqueued from now on."""
        known = len(self.jobs)
        async with asyncio.timeout(LIMIT):
            while len(self.jobs) < known + amount:
                await self._enqueued.wait()
        for job in list(self.jobs.values())[known:]:
            assert await job.latest_result(timeout=LIMIT) is not None, f"no outcome of {job}"

    async def settled(self, seconds: float = LIMIT) -> None:
        """Wait until every job has an outcome."""
        async with asyncio.timeout(seconds):
            for job in self.jobs.values():
                assert await job.latest_result(timeout=seconds) is not None, f"no outcome of {job}"

    async def check(self) -> None:
        """Every job ran once and its outcome is there once, and nothing speaks of a run any more."""
        await self.settled()
        async with asyncio.timeout(LIMIT):  # those that nobody knows of end too
            while await self.remains():  # noqa: ASYNC110 - what is asked is Redis, which tells nobody by itself
                await asyncio.sleep(REST)
        runs = self.runs
        assert set(runs.values()) <= {1}
        assert set(self.jobs) <= set(runs) <= set(self.jobs) | self.unsure
        for job in self.jobs.values():
            assert await self.connection.xlen(f"rq:results:{job.id}") == 1
            assert await job.get_status() == "finished"
        finished = await self.connection.zrange("rq:finished:default", 0, -1)
        assert len(finished) == len(runs)

    async def remains(self) -> list[bytes]:
        """What there is in queues, inboxes and the books of runs."""
        patterns = ("rq:queue:*", "rq:wip:*", "rq:execution*", "rq:worker:*:executions", "rq:aiorq:inbox:*")
        return [key for pattern in patterns for key in await self.connection.keys(pattern)]


@pytest.fixture
async def ledger(tmp_path: Path, queue: Queue) -> Ledger:
    """Jobs on the default queue of the emptied server."""
    return Ledger(tmp_path / "lines", queue)
