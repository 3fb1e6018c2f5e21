"""What the stories share: workers that run until nothing is left, and a page to count the words of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import letters
import pytest
from redis.asyncio import Redis

from aiorq import Queue, Worker
from tests.execution.conftest import gate, told  # noqa: F401 - fixtures
from tests.worker.conftest import log, working  # noqa: F401 - a fixture

Work: TypeAlias = Callable[..., Awaitable[bool]]
Works: TypeAlias = Callable[..., AbstractAsyncContextManager[object]]

PAGE = "Dear Ada, the engine is done. Come and see it."
"""Ten words."""


@pytest.fixture
def work(connection: Redis, jobs_path: str) -> Work:
    """Has a worker run what is on some queues, until nothing is left; returns whether it ran any."""

    async def run(*queues: Queue, max_jobs: int | None = None, **options: Any) -> bool:
        options.setdefault("path", jobs_path)
        worker = Worker(list(queues), connection=connection, **options)
        return await worker.work(burst=True, max_jobs=max_jobs)

    return run


@pytest.fixture
def at_work(connection: Redis, jobs_path: str) -> Works:
    """Has a worker run what comes on some queues, within a block."""

    def start(*queues: Queue, **options: Any) -> AbstractAsyncContextManager[object]:
        return working(Worker(list(queues), connection=connection, path=jobs_path, **options))

    return start


@pytest.fixture
async def address() -> AsyncIterator[str]:
    """The URL of a page with ten words."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(PAGE)}\r\n\r\n"
        writer.write((head + PAGE).encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}/letter"


async def notes(connection: Redis) -> list[str]:
    """What the callbacks of `letters` left."""
    lines: list[Any] = await connection.lrange(letters.NOTES, 0, -1)
    return [line.decode() for line in lines]


async def next_note(connection: Redis) -> str:
    """The first line that the callbacks of `letters` left, or leave, which is taken."""
    taken: Any = await connection.blpop([letters.NOTES], timeout=10)
    assert taken is not None
    return str(taken[1].decode())
