"""The real rq beside aiorq: its client, its command line, and two prefixes for comparing what both leave behind."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import anyio
import pytest
import redis
import rq
from redis.asyncio import Redis

from aiorq import Queue, Worker, connect
from aiorq.server import EmbeddedServer
from tests.interop.snapshot import Snapshot, take

LIMIT = 50.0
"""Seconds after which a command is killed: less than the limit of a test, so that the test can say what it printed."""


class Command:
    """A command line program, run to its end."""

    def __init__(self, module: str, url: str, path: str) -> None:
        self.module = module
        self.url = url
        self.path = path

    async def __call__(self, command: str, *arguments: str, url: str | None = None) -> str:
        """Run `python -m module command --url ... arguments` and return what it printed; a failure raises."""
        whole = [sys.executable, "-m", self.module, command, "--url", url or self.url, *arguments]
        with anyio.fail_after(LIMIT):
            done = await anyio.run_process(whole, stdin=None, check=False)
        printed = done.stdout.decode() + done.stderr.decode()
        assert done.returncode == 0, f"{' '.join(whole[2:])} ended with {done.returncode}:\n{printed}"
        return printed

    async def work(self, *arguments: str, url: str | None = None) -> str:
        """Run a worker in burst mode."""
        return await self("worker", "--burst", "--path", self.path, *arguments, url=url)


class Gate:
    """Holds a job of `jobs.touch_and_wait` in the middle of its run: `await reached()`, then `await open()`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.args = str(folder / "runs"), str(folder / "gate")
        """The arguments of `jobs.touch_and_wait`."""
        for path in self.args:
            os.mkfifo(path)
        self._runs = self._listen()
        self._pid = 0

    def _listen(self) -> int:
        return os.open(self.args[0], os.O_RDONLY | os.O_NONBLOCK)

    async def reached(self) -> None:
        """Wait until the job runs."""
        await anyio.wait_readable(self._runs)
        while not (said := os.read(self._runs, 20)):  # the job before, which has only now closed its end
            os.close(self._runs)
            self._runs = self._listen()
            await anyio.wait_readable(self._runs)
        self._pid = int(said)

    async def open(self) -> None:
        """Let the job go on; the gate is shut again for the next one."""
        os.close(self._runs)
        self._runs = self._listen()
        await anyio.to_thread.run_sync(lambda: os.close(os.open(self.args[1], os.O_WRONLY)), abandon_on_cancel=True)
        self._pid = 0

    def close(self) -> None:
        """End a job that was not let through, and a wait for one that never came."""
        os.close(os.open(self.args[1], os.O_RDWR))
        os.close(self._runs)
        if self._pid:
            try:
                os.kill(self._pid, signal.SIGKILL)
            except ProcessLookupError:
                return


class Side(NamedTuple):
    """One of the two libraries that are compared, each with a prefix of its own."""

    url: str
    client: redis.Redis
    prefix: str

    def take(self, serializer: Any = pickle) -> Snapshot:
        """What its keys hold."""
        return take(self.client, serializer, self.prefix)


class Pair(NamedTuple):
    """Two prefixes of one database: one for rq, whose rate limits want it to be `rq`, one for aiorq."""

    theirs: Side
    ours: Side

    def rq_queue(self, name: str = "default") -> rq.Queue:
        """RQ's queue."""
        return rq.Queue(name, connection=self.theirs.client)


@pytest.fixture(scope="session")
def jobs() -> ModuleType:
    """The module of the functions that are enqueued, under the name by which workers know it."""
    return import_module("jobs")


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
def rq_command(url: str, jobs_path: str) -> Command:
    """The command line of rq."""
    return Command("rq.cli", url, jobs_path)


@pytest.fixture
def aiorq_command(url: str, jobs_path: str) -> Command:
    """The command line of aiorq."""
    return Command("aiorq.cli", url, jobs_path)


@pytest.fixture
def make_worker(connection: Redis, jobs_path: str) -> Callable[..., Worker]:
    """Make an aiorq worker in this process, of the default queue unless told otherwise."""

    def make(*queues: str, **options: Any) -> Worker:
        return Worker(queues or "default", connection=connection, path=jobs_path, **options)

    return make


@pytest.fixture
def make_gate(tmp_path: Path) -> Iterator[Callable[[], Gate]]:
    """Make gates, which are left open behind the test."""
    gates: list[Gate] = []

    def make() -> Gate:
        gates.append(Gate(tmp_path / f"gate{len(gates)}"))
        return gates[-1]

    yield make
    for gate in gates:
        gate.close()


@pytest.fixture(scope="module")
def pair(server: EmbeddedServer) -> Iterator[Pair]:
    """Two prefixes of a database that is empty when the module begins."""
    url = f"{server.url}?db=1"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield Pair(Side(url, client, "rq"), Side(url, client, "ours"))


@pytest.fixture
def empty_pair(pair: Pair) -> Pair:
    """Two prefixes of an empty database."""
    pair.ours.client.flushdb()
    return pair


@pytest.fixture
async def our_queue(empty_pair: Pair) -> AsyncIterator[Queue]:
    """The queue under aiorq's prefix."""
    made = connect(empty_pair.ours.url)
    yield Queue(connection=made, prefix=empty_pair.ours.prefix)
    await made.aclose()
