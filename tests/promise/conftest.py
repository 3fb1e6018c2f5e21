"""Workers as people start them, each with its log, and workers of RQ."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import redis

from tests.execution.conftest import FUNCTIONS as WAITING
from tests.execution.conftest import gate, told  # noqa: F401 - fixtures
from tests.execution.processes import LIMIT, Fifo, Process

FUNCTIONS = str(Path(__file__).parent / "functions")


class Command:
    """A command in a process of its own, and what it prints."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        folder.mkdir()
        self._log = Fifo(folder / "log")
        with open(self._log.path, "wb") as output:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
                process_group=0,
            )
        self.process = Process(self._popen.pid)
        self.lines: list[str] = []

    async def line(self, text: str) -> None:
        """Wait until it has printed a line with `text` in it."""
        while True:
            self.lines.append(await self._log.line())
            if text in self.lines[-1]:
                return

    def count(self, text: str) -> int:
        """How many lines it has printed so far have `text` in them."""
        self.lines += self._log.rest().splitlines()
        return sum(text in line for line in self.lines)

    async def end(self) -> int:
        """Wait for its end; returns its exit code."""
        assert await self.process.ended(), self.lines
        return self._popen.wait()

    def close(self) -> None:
        if self.process.alive:
            self.process.kill()
        self._popen.wait()
        print(*self.lines, self._log.rest(), sep="\n")  # for the report of a test that failed
        self._log.close()
        self.process.close()


class Worker(Command):
    """A worker of aiorq."""

    def __init__(self, folder: Path, name: str, url: str, queues: tuple[str, ...], options: tuple[str, ...]) -> None:
        self.name = name
        paths = [part for path in (FUNCTIONS, WAITING) for part in ("--path", str(path))]
        where = ("--name", name, "--url", f"{url}?client_name={name}")
        super().__init__(folder / name, "aiorq", "worker", *queues, *where, *paths, *options)


Launch: TypeAlias = Callable[..., Awaitable[Worker]]


@pytest.fixture
async def launch(url: str, jobs_path: str, tmp_path: Path) -> AsyncIterator[Launch]:
    """Starts workers of a lease of 3 s, and waits until they take jobs."""
    workers: list[Worker] = []

    async def start(name: str, *options: str, queues: tuple[str, ...] = ()) -> Worker:
        given = ("--path", jobs_path, *options)
        if "--lease" not in options:
            given += ("--lease", "3")
        workers.append(Worker(tmp_path, name, url, queues, given))
        await workers[-1].line("takes jobs from")
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


@pytest.fixture
def launch_rq(url: str, jobs_path: str, tmp_path: Path) -> Iterator[Callable[[str], Command]]:
    """Starts workers of RQ."""
    workers: list[Command] = []

    def start(name: str) -> Command:
        paths = ("--path", jobs_path, "--path", WAITING)
        workers.append(Command(tmp_path / name, "rq.cli", "worker", "--url", url, "--name", name, *paths))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


@pytest.fixture
def client(url: str, connection: Any) -> Iterator[redis.Redis]:
    """RQ's client, of the same database as `connection`."""
    with redis.Redis.from_url(url) as made:
        yield made


async def outcome_of(job: Any, seconds: float = LIMIT) -> Any:
    """The newest outcome of a job, waited for; it must come."""
    result = await job.latest_result(timeout=seconds)
    assert result is not None, f"no outcome of {job}: {await job.get_status()}"
    return result


async def begun(job: Any) -> None:
    """Wait until Redis knows that a job has begun, of which its process may tell a moment before."""
    async with asyncio.timeout(LIMIT):
        while await job.connection.hexists(job.key, "aiorq_held"):
            pass
