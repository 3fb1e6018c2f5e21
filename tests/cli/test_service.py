"""What the service manager hears of workers, and how their processes are called."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import jobs
import pytest
from redis.asyncio import Redis

from aiorq import Queue
from tests.cli.conftest import Start
from tests.cli.test_restart import heard

BOTH = pytest.mark.parametrize("command", ["worker", "worker-pool"])
LIMIT = 30.0


class Manager:
    """The receiving end, as systemd is it."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(LIMIT)
        self.heard: list[tuple[float, str]] = []

    def hear(self, what: str) -> str:
        """Wait for a message with that in it; the whole of it."""
        while True:
            message = self.socket.recv(4096).decode()
            self.heard.append((time.monotonic(), message))
            if what in message:
                return message


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "n")
    yield made
    made.socket.close()


@pytest.fixture
def serve(start: Start, manager: Manager, url: str, jobs_path: str) -> Callable[..., subprocess.Popen[str]]:
    """Start a command as a service."""

    def start_service(*arguments: str, **settings: str) -> subprocess.Popen[str]:
        where = manager.socket.getsockname()
        return start(*arguments, "--quiet", "-P", jobs_path, AIORQ_REDIS_URL=url, NOTIFY_SOCKET=where, **settings)

    return start_service


@BOTH
async def test_ready_and_stopping(
    serve: Callable[..., subprocess.Popen[str]], connection: Redis, manager: Manager, command: str
) -> None:
    process = serve(command, "high", "low")
    ready = manager.hear("READY=1")
    assert re.search("STATUS=.* high, low", ready)
    process.send_signal(signal.SIGTERM)
    assert "STATUS=ending" in manager.hear("STOPPING=1")
    assert process.wait(LIMIT) == 0
    manager.socket.settimeout(0.1)
    with pytest.raises(TimeoutError):
        manager.hear("READY=1")
    assert not [message for _, message in manager.heard if "WATCHDOG" in message]  # nobody has asked for it


async def test_status(serve: Callable[..., subprocess.Popen[str]], queue: Queue, manager: Manager) -> None:
    process = serve("worker", "--concurrency", "2")
    manager.hear("READY=1\nSTATUS=0 jobs running, 0 taken, from default")
    job = await queue.enqueue(jobs.sleep, 600)
    manager.hear("STATUS=1 job running, 1 taken, from default")
    process.send_signal(signal.SIGTERM)
    manager.hear("STATUS=ending, 1 job to go")
    await job.stop(grace=0)
    assert process.wait(LIMIT) == 0


@BOTH
async def test_watchdog(
    serve: Callable[..., subprocess.Popen[str]], queue: Queue, manager: Manager, command: str
) -> None:
    """It is told often enough, also while a job does not yield; and not by a process that hangs."""
    process = serve(command, WATCHDOG_USEC="1000000")
    manager.hear("READY=1")
    await queue.enqueue("time.sleep", 600)
    for _ in range(4):
        manager.hear("WATCHDOG=1")
    moments = [moment for moment, message in manager.heard if message == "WATCHDOG=1"]
    assert max(after - before for before, after in pairwise(moments)) < 1.0
    process.send_signal(signal.SIGSTOP)
    manager.socket.settimeout(1.2)
    with pytest.raises(TimeoutError):
        manager.hear("nothing")  # but what was on its way
    process.send_signal(signal.SIGCONT)
    manager.socket.settimeout(LIMIT)
    manager.hear("WATCHDOG=1")
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
    manager.hear("STOPPING=1")


async def test_a_watchdog_for_another_process(
    serve: Callable[..., subprocess.Popen[str]], connection: Redis, manager: Manager
) -> None:
    process = serve("worker", WATCHDOG_USEC="200000", WATCHDOG_PID="1", AIORQ_MAX_IDLE_TIME="1")
    manager.hear("STOPPING=1")
    assert process.wait(LIMIT) == 0
    assert not [message for _, message in manager.heard if "WATCHDOG" in message]


@BOTH
async def test_reloading(
    serve: Callable[..., subprocess.Popen[str]], connection: Redis, manager: Manager, command: str
) -> None:
    process = serve(command, WATCHDOG_USEC="20000000")
    manager.hear("READY=1")
    process.send_signal(signal.SIGHUP)
    assert re.search(r"^MONOTONIC_USEC=\d+$", manager.hear("RELOADING=1"), re.MULTILINE)
    manager.hear("READY=1")
    assert not [message for _, message in manager.heard if "STOPPING" in message]
    process.send_signal(signal.SIGTERM)
    manager.hear("STOPPING=1")
    assert process.wait(LIMIT) == 0


@pytest.mark.parametrize("option", [[], ["-w", "aiorq.SimpleWorker"]], ids=str)
async def test_jobs_have_no_part_in_it(
    serve: Callable[..., subprocess.Popen[str]], queue: Queue, manager: Manager, option: list[str]
) -> None:
    process = serve("worker", *option, WATCHDOG_USEC="20000000")
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC"):
        job = await queue.enqueue("os.environ.get", name)
        result = await job.latest_result(timeout=LIMIT)
        assert result is not None
        assert result.return_value is None
    process.send_signal(signal.SIGTERM)
    manager.hear("STOPPING=1")


async def test_nobody_listens(start: Start, queue: Queue, url: str, tmp_path: Path) -> None:
    """A socket that is gone, or is none, is no reason to end."""
    job = await queue.enqueue("math.sqrt", 4)
    for where in (str(tmp_path / "gone"), str(tmp_path), "@abstract-and-gone", "x" * 200):
        process = start("worker", "-b", AIORQ_REDIS_URL=url, NOTIFY_SOCKET=where, WATCHDOG_USEC="1000")
        assert process.wait(LIMIT) == 0
    assert await job.return_value() == 2.0


def titles(pid: int) -> list[str]:
    """The titles of a process and all below it."""
    own = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode()
    children = [
        int(each) for task in Path(f"/proc/{pid}/task").iterdir() for each in (task / "children").read_text().split()
    ]
    return [own, *(title for child in children for title in titles(child))]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
async def test_titles(start: Start, queue: Queue, url: str, jobs_path: str) -> None:
    pytest.importorskip("setproctitle")
    pool = start("worker-pool", "-q", "--url", url, "-P", jobs_path)
    job = await queue.enqueue(jobs.sleep, 600)
    end = time.monotonic() + LIMIT
    while (shown := titles(pool.pid)) and not any("1 job running" in title for title in shown):
        assert time.monotonic() < end, shown
        time.sleep(0.05)  # noqa: ASYNC251 - of another process's title nobody is told
    first, second, third, fourth = shown
    assert re.fullmatch(r"aiorq: pool \w+: 1 of 1 workers, for default", first)
    assert re.fullmatch(r"aiorq: worker \w+: 1 job running, 1 taken, from default", second)
    assert re.fullmatch(r"aiorq: jobs of worker \w+", third)
    assert fourth == f"aiorq: job {job.id}"
    for how in ("finishing what runs", "what runs is killed"):
        pool.send_signal(signal.SIGTERM)
        heard(pool, how)
    assert pool.wait(LIMIT) == 1
