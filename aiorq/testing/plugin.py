"""A plugin for pytest. It is loaded only when asked for, in the `conftest.py` at the root of the tests:

    pytest_plugins = ["aiorq.testing.plugin"]

or with `-p aiorq.testing.plugin`. No fixture needs a plugin for coroutines or is bound to an event loop: those of the
async API work with pytest-asyncio and with anyio's plugin, in loops of any scope.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from aiorq.job import Job
from aiorq.queue import Queue
from aiorq.sync.job import Job as SyncJob
from aiorq.sync.queue import Queue as SyncQueue
from aiorq.testing.clock import Clock
from aiorq.testing.place import server_url
from aiorq.testing.sandbox import Sandbox


@pytest.fixture(scope="session")
def aiorq_url() -> str:
    """The URL of the server: that of `AIORQ_REDIS_URL`, else of one that is gone with the session.

    Override it to use another one: nothing is touched there but the keys of the tests.
    """
    return server_url()


@pytest.fixture(scope="session")
def aiorq_serializer() -> object | None:
    """The serializer of all queues. Override it where it is neither pickle nor JSON."""
    return None


@pytest.fixture
def aiorq_sandbox(aiorq_url: str, aiorq_serializer: object | None) -> Iterator[Sandbox]:
    """A place for the jobs of the test: a prefix of its own, which is that of the environment during the test."""
    with Sandbox(aiorq_url, serializer=aiorq_serializer) as sandbox:
        yield sandbox


@pytest.fixture
def aiorq_clock(aiorq_sandbox: Sandbox) -> Clock:
    """The clock, which alone says what is due: `aiorq_clock.move(hours=1)`."""
    return aiorq_sandbox.clock


@pytest.fixture
def aiorq_connection(aiorq_sandbox: Sandbox) -> Redis:
    """A client for the event loop of the test, at whose end it is closed."""
    return aiorq_sandbox.connection


@pytest.fixture
def aiorq_make_queue(aiorq_sandbox: Sandbox) -> Callable[..., Queue]:
    """Makes queues: `aiorq_make_queue("mail", default_timeout=5)`."""
    return aiorq_sandbox.queue


@pytest.fixture
def aiorq_queue(aiorq_sandbox: Sandbox) -> Queue:
    """The queue `default`."""
    return aiorq_sandbox.queue()


@pytest.fixture
def aiorq_worker(aiorq_sandbox: Sandbox) -> Callable[..., Coroutine[Any, Any, list[Job[Any]]]]:
    """Runs what is queued to its end in this process: `await aiorq_worker()`; see `Sandbox.work`."""
    return aiorq_sandbox.work


@pytest.fixture
def aiorq_fork_worker(aiorq_sandbox: Sandbox) -> Callable[..., Coroutine[Any, Any, list[Job[Any]]]]:
    """Runs what is queued to its end in forks: `await aiorq_fork_worker()`; see `Sandbox.work_in_forks`."""
    return aiorq_sandbox.work_in_forks


@pytest.fixture
def aiorq_sync_connection(aiorq_sandbox: Sandbox) -> BlockingRedis:
    """A blocking client."""
    return aiorq_sandbox.sync.connection


@pytest.fixture
def aiorq_make_sync_queue(aiorq_sandbox: Sandbox) -> Callable[..., SyncQueue]:
    """Makes queues of `aiorq.sync`."""
    return aiorq_sandbox.sync.queue


@pytest.fixture
def aiorq_sync_queue(aiorq_sandbox: Sandbox) -> SyncQueue:
    """The queue `default` of `aiorq.sync`."""
    return aiorq_sandbox.sync.queue()


@pytest.fixture
def aiorq_sync_worker(aiorq_sandbox: Sandbox) -> Callable[..., list[SyncJob[Any]]]:
    """Runs what is queued to its end in this thread: `aiorq_sync_worker()`; see `SyncSide.work`."""
    return aiorq_sandbox.sync.work


@pytest.fixture
def aiorq_sync_fork_worker(aiorq_sandbox: Sandbox) -> Callable[..., list[SyncJob[Any]]]:
    """Runs what is queued to its end in forks: `aiorq_sync_fork_worker()`; see `SyncSide.work_in_forks`."""
    return aiorq_sandbox.sync.work_in_forks
