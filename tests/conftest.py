"""What all tests share: one server for the session, an empty database and a client for each test.

The URL that the tests use has a password, which the server takes as it takes any: it must come up in nothing that a
test prints or logs, whatever the test is about.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest
import redis
from redis.asyncio import Redis

from aiorq import Queue, connect
from aiorq.server import EmbeddedServer
from aiorq.store import blocking

JOBS = Path(__file__).parent / "jobs"
"""The folder of the modules whose functions the tests enqueue; workers find it by `path=`."""
sys.path.insert(0, str(JOBS))
CANARY = "canary-3f8a51"
"""A password that is to be seen nowhere."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test whose output shows a secret, the password or an argument: all of them are called canary."""
    report = yield
    shown = [name for name, text in report.sections if "canary" in text]
    if shown and report.passed:
        report.outcome = "failed"
        report.longrepr = f"a secret, the password of the server or an argument, is in the {', '.join(shown)}"
    return report


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
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of the machine's reaches a test, and no client that the process shares the next one."""
    for name in list(os.environ):
        if name.startswith(("AIORQ_", "RQ_", "REDIS_")) and name != "AIORQ_SERVER_BIN":
            monkeypatch.delenv(name)
    yield
    while blocking._shared:
        blocking._shared.popitem()[1].close()


@pytest.fixture
def url(server: EmbeddedServer) -> str:
    """The URL of the server, which is empty, with a password that is to be seen nowhere."""
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        client.execute_command("QUIT")  # it is gone from the server's list, too, before the test begins
    return server.url.replace("unix://", f"unix://default:{CANARY}@")


@pytest.fixture
async def connection(url: str) -> AsyncIterator[Redis]:
    """A client of an empty server."""
    client = connect(url)
    yield client
    await client.aclose()


def pytest_xdist_auto_num_workers() -> int:
    """Half as many processes again as there are cores: the tests wait a third of their time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + (cores + 1) // 2


@pytest.fixture
def queue(connection: Redis) -> Queue:
    """The default queue of an empty server."""
    return Queue(connection=connection)


@pytest.fixture
def jobs_path() -> str:
    """The folder of the modules whose functions the tests enqueue."""
    return str(JOBS)
