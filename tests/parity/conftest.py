"""The real rq beside aiorq on one database, and workers that find the functions of these tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import redis
import rq
from redis.asyncio import Redis

from aiorq import SimpleWorker, Worker
from tests.execution.conftest import gate, told  # noqa: F401 - fixtures
from tests.execution.processes import LIMIT
from tests.worker.conftest import log, monitor, run_script, working  # noqa: F401 - fixtures
from tests.worker.test_webhooks import listener  # noqa: F401 - a fixture

WAITING = str(Path(__file__).parents[1] / "execution" / "functions")

MakeWorker: TypeAlias = Callable[..., Worker]
Work: TypeAlias = Callable[..., Awaitable[bool]]
Start: TypeAlias = Callable[..., Awaitable[Worker]]


@pytest.fixture
def client(url: str, connection: Redis) -> Iterator[redis.Redis]:
    """RQ's client, of the same database as `connection`."""
    with redis.Redis.from_url(url) as made:
        yield made


@pytest.fixture
def rq_queue(client: redis.Redis) -> rq.Queue:
    """RQ's side of `queue`."""
    return rq.Queue(connection=client)


@pytest.fixture
def make_worker(connection: Redis, jobs_path: str) -> MakeWorker:
    """Makes workers with a process per job."""

    def make(*args: Any, kind: type[Worker] = Worker, **options: Any) -> Worker:
        options.setdefault("connection", connection)
        return kind(*args, path=(jobs_path, WAITING), **options)

    return make


@pytest.fixture
def work(make_worker: MakeWorker) -> Work:
    """Has a worker that forks nothing run what is on some queues, until nothing is left; returns whether it ran any."""

    async def run(*args: Any, **options: Any) -> bool:
        return await make_worker(*args, kind=SimpleWorker, **options).work(burst=True)

    return run


@pytest.fixture
async def start(make_worker: MakeWorker) -> AsyncIterator[Start]:
    """Starts workers that end with the test."""
    async with AsyncExitStack() as stack:

        async def start(*args: Any, **options: Any) -> Worker:
            worker = make_worker(*args, **options)
            _ = await stack.enter_async_context(working(worker))
            return worker

        yield start


async def lines(connection: Any, count: int = 1) -> list[str]:
    """What the callbacks of `chores` left, taken away; so many lines must come."""
    found: list[bytes] = []
    while len(found) < count:
        entry = await connection.blpop("lines", timeout=LIMIT)
        assert entry is not None, f"{found} and no more"
        found.append(entry[1])
    found += await connection.lpop("lines", 1000) or []
    return [line.decode() for line in found]
