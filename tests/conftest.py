"""What all tests share: one server for the session, an empty database and a client for each test."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from aiorq import Queue, connect
from aiorq.server import EmbeddedServer

JOBS = Path(__file__).parent / "jobs"
"""The folder of the modules whose functions the tests enqueue; workers find it by `path=`."""
sys.path.insert(0, str(JOBS))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The only one that redis-py knows."""
    return "asyncio"


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """The server of the session."""
    with EmbeddedServer() as embedded:
        yield embedded


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine's reaches a test."""
    for name in list(os.environ):
        if name.startswith(("AIORQ_", "RQ_", "REDIS_")) and name != "AIORQ_SERVER_BIN":
            monkeypatch.delenv(name)


@pytest.fixture
def url(server: EmbeddedServer) -> str:
    """The URL of the server."""
    return server.url


@pytest.fixture
async def connection(url: str) -> AsyncIterator[Redis]:
    """A client of an empty server."""
    client = connect(url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def queue(connection: Redis) -> Queue:
    """The default queue of an empty server."""
    return Queue(connection=connection)


@pytest.fixture
def jobs_path() -> str:
    """The folder of the modules whose functions the tests enqueue."""
    return str(JOBS)
