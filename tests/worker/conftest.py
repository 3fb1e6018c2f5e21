"""Workers in the tests' event loop and in processes of their own, and ears for what they log and ask of the server."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self, TypeAlias

import pytest
from redis.asyncio import Redis

from aiorq import Job, Worker, connect
from aiorq.server import EmbeddedServer
from tests.conftest import CANARY
from tests.execution.conftest import gate, told  # noqa: F401 - fixtures
from tests.execution.processes import LIMIT, Fifo, Process

FUNCTIONS = str(Path(__file__).parent / "functions")
WAITING = str(Path(__file__).parents[1] / "execution" / "functions")
"""The folder of `waiting`, whose jobs talk over fifos."""

Started: TypeAlias = Callable[..., Awaitable[Worker]]


class Log(logging.Handler):
    """What workers log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._event = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self._event.set()
        self._event = asyncio.Event()

    def count(self, text: str) -> int:
        """How many lines have `text` in them."""
        return sum(text in line for line in self.lines)

    async def line(self, text: str, count: int = 1) -> None:
        """Wait until so many lines have `text` in them."""
        async with asyncio.timeout(LIMIT):
            while self.count(text) < count:
                await self._event.wait()


class Monitor:
    """The commands that a server is sent, in their order; those of scripts begin with `lua`."""

    _LINE = re.compile(r"\+[\d.]+ \[\d+ (lua)?[^\]]*\] (.*)")

    def __init__(self, server: EmbeddedServer) -> None:
        self._path = str(server.socket_path)
        self.commands: list[str] = []
        self._event = asyncio.Event()

    async def __aenter__(self) -> Self:
        reader, self._writer = await asyncio.open_unix_connection(self._path, limit=1 << 26)
        self._writer.write(b"MONITOR\r\n")
        assert await reader.readline() == b"+OK\r\n"
        self._task = asyncio.create_task(self._read(reader))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            match = self._LINE.match(line.decode().rstrip())
            assert match is not None, line
            self.commands.append((match[1] or "") + " " + match[2])
            self._event.set()
            self._event = asyncio.Event()

    def count(self, text: str) -> int:
        """How many commands have `text` in them."""
        return sum(text in command for command in self.commands)

    async def seen(self, text: str, count: int = 1) -> None:
        """Wait until so many commands with `text` in them came."""
        async with asyncio.timeout(LIMIT):
            while self.count(text) < count:
                await self._event.wait()


class Script:
    """A worker in a process and a process group of its own; its log can be read line by line."""

    def __init__(self, folder: Path, body: str) -> None:
        self._log = Fifo(folder / "log")
        path = folder / "script.py"
        path.write_text(_HEAD.format(log=self._log.path, functions=FUNCTIONS, waiting=WAITING) + body)
        self._popen = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-W", "error", str(path)],
            process_group=0,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.process = Process(self._popen.pid)
        self.lines: list[str] = []

    async def line(self, text: str) -> None:
        """Wait until it has logged a line with `text` in it."""
        while True:
            self.lines.append(await self._log.line())
            if text in self.lines[-1]:
                return

    async def end(self) -> tuple[int, str]:
        """Wait for its end; returns its exit code and what it printed."""
        assert await self.process.ended(), "\n".join(self.lines)
        assert self._popen.stdout is not None
        printed = self._popen.stdout.read().decode()
        assert CANARY not in "\n".join([*self.lines, printed])
        return self._popen.wait(), printed.strip()

    def close(self) -> None:
        assert self._popen.stdout is not None
        if self.process.alive:  # say why, for the report of a test that failed: where it hangs, and what it logged
            self.process.kill(signal.SIGABRT)
            print(self._popen.stdout.read().decode(), self._log.rest(), sep="\n")
        self._popen.wait()
        self._popen.stdout.close()
        self._log.close()


_HEAD = """
import logging, sys
sys.path[:0] = [{functions!r}, {waiting!r}]
logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[logging.FileHandler({log!r})])
from aiorq import Worker
"""


async def result_of(job: Job[Any], seconds: float = LIMIT) -> Any:
    """The outcome of a job, waited for; it must come."""
    result = await job.latest_result(timeout=seconds)
    assert result is not None, f"no outcome of {job}"
    return result


@pytest.fixture
def log() -> Iterator[Log]:
    """What the workers of this test log."""
    handler = Log()
    logger = logging.getLogger("aiorq")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
async def monitor(server: EmbeddedServer, connection: Redis) -> AsyncIterator[Monitor]:
    """The commands that the server is sent."""
    async with Monitor(server) as listening:
        yield listening


@pytest.fixture
def make_worker(connection: Redis, jobs_path: str) -> Callable[..., Worker]:
    """Makes workers that find the functions of the tests."""

    def make(*args: Any, **kwargs: Any) -> Worker:
        kwargs.setdefault("connection", connection)
        return Worker(*args, path=(jobs_path, FUNCTIONS, WAITING), **kwargs)

    return make


@pytest.fixture
async def new_client(url: str) -> AsyncIterator[Callable[[], Redis]]:
    """Makes further clients of the server."""
    clients: list[Redis] = []

    def make() -> Redis:
        clients.append(connect(url))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
async def start(make_worker: Callable[..., Worker]) -> AsyncIterator[Started]:
    """Starts workers that end with the test."""
    async with AsyncExitStack() as stack:

        async def start(*args: Any, worker: Worker | None = None, **kwargs: Any) -> Worker:
            started = worker or make_worker(*args, **kwargs)
            _ = await stack.enter_async_context(working(started))
            return started

        yield start


@asynccontextmanager
async def working(worker: Worker, **options: Any) -> AsyncIterator[asyncio.Task[bool]]:
    """A worker that works within the block, and is stopped cold at its end."""
    task = asyncio.create_task(worker.work(**options))
    try:
        yield task
    finally:
        worker.request_stop(cold=True)
        # A limit of its own: this is where a test ends, too, whose limit is over.
        async with asyncio.timeout(LIMIT):
            await task


@pytest.fixture
def run_script(tmp_path: Path) -> Iterator[Callable[[str], Script]]:
    """Runs a script of a worker; `Worker` is imported."""
    scripts: list[Script] = []

    def run(body: str) -> Script:
        scripts.append(Script(tmp_path, body))
        return scripts[-1]

    yield run
    for script in scripts:
        script.close()


@pytest.fixture
async def own_server(tmp_path: Path) -> AsyncIterator[tuple[EmbeddedServer, Redis]]:
    """A server of the test's own, to be stopped and started, which keeps what it acknowledged, and a client of it."""
    with EmbeddedServer(append_only=True) as embedded:
        client = connect(embedded.url)
        yield embedded, client
        await client.aclose()


@pytest.fixture
def me() -> Process:
    """This process."""
    return Process(os.getpid())
