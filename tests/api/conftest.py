"""Trouble on the way to Redis, and jobs that run without a worker."""

from __future__ import annotations

import asyncio
import base64
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from redis.asyncio import Redis

from aiorq import Job, connect
from aiorq.options import DEFAULT_FAILURE_TTL, DEFAULT_RESULT_TTL
from aiorq.serializers import PickleSerializer
from aiorq.server import EmbeddedServer
from aiorq.store import runs
from aiorq.store.base import Store, store_of
from aiorq.store.runs import Run

LIMIT = 20.0
"""Seconds after which something that should have happened has not."""
REST = 0.002
"""Seconds between two looks at Redis: those who are waited for need the machine, too."""


class Proxy:
    """Stands between clients and the server, and can keep an answer to itself."""

    def __init__(self, upstream: Path, folder: str) -> None:
        self._upstream = str(upstream)
        self.path = f"{folder}/proxy"
        self.url = f"unix://{self.path}"
        self.connected = 0
        """How many connections were made."""
        self.lost = 0
        """How many answers were lost."""
        self._needle = b""
        self._tasks: set[asyncio.Task[None]] = set()

    def lose_answer_to(self, request: str) -> None:
        """Close the connection in place of the answer to the next request that holds this text."""
        self._needle = request.encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(self._upstream)
            losing = asyncio.Event()

            async def requests() -> None:
                while data := await reader.read(65_536):
                    if self._needle and self._needle in data:
                        self._needle = b""
                        losing.set()
                    up_writer.write(data)
                up_writer.close()

            sending = asyncio.create_task(requests())
            try:
                while data := await up_reader.read(65_536):
                    if losing.is_set():
                        self.lost += 1
                        break
                    writer.write(data)
            finally:
                sending.cancel()
                up_writer.close()
                writer.close()
        finally:
            self._tasks.discard(task)

    async def end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def proxy(server: EmbeddedServer) -> AsyncIterator[Proxy]:
    """A way to the server that loses answers on request."""
    with tempfile.TemporaryDirectory() as folder:
        proxy = Proxy(server.socket_path, folder)
        listening = await asyncio.start_unix_server(proxy.serve, proxy.path)
        yield proxy
        listening.close()
        await proxy.end()


@pytest.fixture
async def through_proxy(connection: Redis, proxy: Proxy) -> AsyncIterator[Redis]:
    """A client of the emptied server, through the proxy."""
    client = connect(proxy.url)
    yield client
    await client.aclose()


class FakeWorker:
    """Takes jobs and ends them as a worker does, without running anything."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def take(self, count: int = 1, queue: str = "default") -> list[Run]:
        claimed = await runs.claim(self.store, "w", [queue], count, 15)
        assert claimed is not None
        assert len(claimed) == count
        return [claim.run for claim in claimed]

    async def take_job(self, job: Job[Any]) -> Run:
        """Take the first job of a queue, which must be this one."""
        (run,) = await self.take(1, job.origin)
        assert run.job_id == job.id
        return run

    async def finish(self, run: Run, value: Any = None, ttl: int = DEFAULT_RESULT_TTL) -> None:
        assert await runs.finish(
            self.store, "w", run, b"" if value is None else base64.b64encode(PickleSerializer.dumps(value)), ttl
        )

    async def fail(self, run: Run, traceback: bytes = b"", ttl: int = DEFAULT_FAILURE_TTL) -> None:
        assert await runs.fail(self.store, "w", run, traceback, ttl)

    async def do(self, job: Job[Any], value: Any = None) -> None:
        """Take the first job of the queue, which must be this one, and end it."""
        await self.finish(await self.take_job(job), value)


@pytest.fixture
async def worker(connection: Redis) -> FakeWorker:
    return FakeWorker(store_of(connection))


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it is so. What is asked is Redis, which tells nobody by itself."""
    with anyio.fail_after(LIMIT):
        while not await condition():  # noqa: ASYNC110 - nobody tells
            await anyio.sleep(REST)


async def clients_of(connection: Redis) -> Sequence[dict[str, str]]:
    """What CLIENT LIST says of all connections to the server but the one that asks."""
    me = await connection.client_id()
    listed: Any = await connection.client_list()
    return [client for client in listed if int(client["id"]) != me]


def tasks_of_ours() -> list[str]:
    """The names of the tasks that aiorq has going."""
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("aiorq")]
