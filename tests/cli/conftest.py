"""Running the command line as a person does: as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from aiorq import Queue
from tests.cli.terminal import AIORQ, Terminal
from tests.conftest import CANARY
from tests.interop.conftest import Gate

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def run(url: str, tmp_path: Path) -> Run:
    """Run a command to its end, on the server of the tests unless told otherwise, in an empty folder."""

    def run_command(*arguments: str, server: str = url, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"AIORQ_REDIS_URL": server, "COLUMNS": "100"} | settings
        done = subprocess.run(
            [*AIORQ, *arguments],
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert CANARY not in done.stdout + done.stderr
        return done

    return run_command


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a command; what still runs at the end of the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def start_command(*arguments: str, module: str = "aiorq", **settings: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=os.environ | settings,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start_command
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def terminal(url: str, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Run commands in pseudo-terminals, on the server of the tests; what still runs at the end is killed."""
    opened: list[Terminal] = []

    def open_terminal(*arguments: str, **settings: Any) -> Terminal:
        opened.append(Terminal(tmp_path, url, *arguments, **settings))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()


@pytest.fixture
def make_gate(tmp_path: Path) -> Iterator[Callable[[], Gate]]:
    """Make gates, each of which holds a job while it runs; those that are shut at the end of the test are opened."""
    gates: list[Gate] = []

    def make() -> Gate:
        gates.append(Gate(tmp_path / f"gate{len(gates)}"))
        return gates[-1]

    yield make
    for gate in gates:
        gate.close()


@pytest.fixture
def busy(
    connection: Redis, url: str, start: Start, make_gate: Callable[[], Gate], jobs_path: str
) -> Callable[..., Awaitable[tuple[subprocess.Popen[str], Gate]]]:
    """Start a worker that runs a job which waits at a gate."""

    async def begin(
        name: str, *options: str, queue: str = "shop", job_id: str = "running", module: str = "aiorq"
    ) -> tuple[subprocess.Popen[str], Gate]:
        gate = make_gate()
        await Queue(queue, connection).enqueue("jobs.touch_and_wait", *gate.args, job_id=job_id, at_front=True)
        where = ["--url", url, "--path", jobs_path]
        process = start("worker", queue, *where, "--name", name, *options, module=module)
        await gate.reached()
        return process, gate

    return begin
