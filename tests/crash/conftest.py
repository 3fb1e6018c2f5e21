"""A server with a database for each crash, and a process to fork those from that are to be killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import TypeAlias

import pytest
import redis

from aiorq import scripts
from aiorq.server import EmbeddedServer

for _module in ("stage", "scenarios", "again", "clients", "dependents", "upkeep"):
    pytest.register_assert_rewrite(f"tests.crash.{_module}")
from tests.crash.stage import Launcher, Stage  # noqa: E402 - only then its assertions say what they compared

AT_A_TIME = 8
"""Crashes that happen at the same time."""

MakeStage: TypeAlias = Callable[[], AbstractAsyncContextManager[Stage]]


@pytest.fixture(scope="session")
def launcher() -> Iterator[Launcher]:
    """Forks the processes that are to be killed."""
    made = Launcher()
    yield made
    made.close()


@pytest.fixture(scope="session")
def crash_server() -> Iterator[EmbeddedServer]:
    """A server that knows all scripts, so that no run is the first to send one."""
    with EmbeddedServer(options={"databases": AT_A_TIME + 1}) as embedded:
        with redis.Redis.from_url(embedded.url) as client:
            for name in scripts.names():
                client.script_load(scripts.load(name).source)
        yield embedded


@pytest.fixture
async def make_stage(crash_server: EmbeddedServer, launcher: Launcher, tmp_path: Path) -> MakeStage:
    """Gives out stages, each with a database of its own while it is used."""
    free: asyncio.Queue[int] = asyncio.Queue()
    for database in range(1, AT_A_TIME + 1):
        free.put_nowait(database)
    numbers = count()

    @asynccontextmanager
    async def make() -> AsyncIterator[Stage]:
        database = await free.get()
        try:
            url = f"{crash_server.url}?db={database}"
            async with Stage(launcher, url, tmp_path / str(next(numbers))) as stage:
                yield stage
        finally:
            free.put_nowait(database)

    return make
