"""`aiorq drain` and `aiorq stop`."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import jobs
import pytest
from redis.asyncio import Redis

from aiorq import Job, JobStatus, Queue
from tests.cli.conftest import Run, Start
from tests.cli.terminal import Terminal
from tests.interop.conftest import Gate

Busy = Callable[..., Awaitable[tuple["subprocess.Popen[str]", Gate]]]
FOLDER = str(Path(jobs.__file__).parent)


async def told(connection: Redis) -> None:
    """Wait until a worker shows that it was told to end."""
    while not await connection.hexists("rq:worker:worker-1", "shutdown_requested_date"):
        pass


async def test_drain_waits_for_what_runs(start: Start, busy: Busy, connection: Redis, url: str) -> None:
    worker, gate = await busy("worker-1")
    draining = start("drain", "worker-1", "--url", url)
    await told(connection)
    waiting = await Queue("shop", connection).enqueue(jobs.nothing)
    assert draining.poll() is None
    await gate.open()
    assert draining.wait(30) == 0
    assert worker.wait(30) == 0
    assert draining.stdout is not None
    assert draining.stdout.read() == "worker-1: has ended\n"
    assert await (await Job.fetch("running", connection)).get_status() is JobStatus.FINISHED
    assert await waiting.get_status() is JobStatus.QUEUED  # it took no more


async def test_drain_with_a_limit(run: Run, busy: Busy, connection: Redis) -> None:
    worker, gate = await busy("worker-1")
    done = run("drain", "--all", "--timeout", "0.3")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == "worker-1: has not ended yet (it runs 1 job); it still will\n"
    assert "is ending: takes no more jobs" in run("workers").stdout
    await gate.open()
    assert worker.wait(30) == 0


async def test_by_queue(run: Run, start: Start, busy: Busy, connection: Redis, url: str) -> None:
    worker, _ = await busy("worker-1")
    other = start("worker", "other", "--url", url, "--path", FOLDER, "--name", "worker-2")
    while await connection.scard("rq:workers") < 2:
        pass
    done = run("drain", "-q", "other", "--json")
    assert json.loads(done.stdout) == [
        {"worker": "worker-2", "heard": True, "waited": True, "ended": True, "running": 0}
    ]
    assert other.wait(30) == 0
    assert worker.poll() is None
    assert run("drain", "--queue", "never").stdout == "No worker takes jobs from there.\n"


async def test_stop(run: Run, busy: Busy, connection: Redis) -> None:
    worker, gate = await busy("worker-1")
    done = run("stop", "worker-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "worker-1: ends when what it runs has finished: 1 job\n"
    assert worker.poll() is None
    await gate.open()
    assert worker.wait(30) == 0
    assert await (await Job.fetch("running", connection)).get_status() is JobStatus.FINISHED


async def test_stop_now_puts_back_what_runs(run: Run, busy: Busy, connection: Redis) -> None:
    worker, _ = await busy("worker-1")
    done = run("stop", "--all", "--now", "--wait", "--timeout", "30")
    assert (done.returncode, done.stdout, done.stderr) == (0, "worker-1: has ended\n", "")
    assert worker.wait(30) == 1
    assert await Queue("shop", connection).get_job_ids() == ["running"]
    assert await (await Job.fetch("running", connection)).get_status() is JobStatus.QUEUED


async def test_workers_of_rq(run: Run, start: Start, busy: Busy, connection: Redis, url: str) -> None:
    worker, gate = await busy("worker-1", module="rq.cli")
    draining = start("drain", "--all", "--url", url)
    await told(connection)
    await gate.open()
    assert draining.wait(30) == 0
    assert worker.wait(30) == 0
    second, _ = await busy("worker-2", module="rq.cli", job_id="killed")
    done = run("stop", "worker-2", "--now", "--wait")
    assert (done.returncode, done.stdout) == (0, "worker-2: has ended\n")
    assert second.wait(30) is not None


async def test_a_worker_that_does_not_hear(run: Run, busy: Busy, connection: Redis) -> None:
    worker, _ = await busy("worker-1")
    worker.send_signal(signal.SIGKILL)
    worker.wait(30)
    for command in (["stop"], ["drain"]):
        done = run(*command, "worker-1")
        assert (done.returncode, done.stderr) == (1, "")
        assert done.stdout.startswith("worker-1: cannot be told: it is not connected to Redis, or is gone")


async def test_bar_on_a_terminal(terminal: Callable[..., Terminal], busy: Busy, connection: Redis) -> None:
    _, gate = await busy("worker-1")
    screen = terminal("drain", "--all")
    screen.shows("Waiting for workers")
    await gate.open()
    assert screen.end() == 0
    assert screen.rows == ["worker-1: has ended"]


@pytest.mark.parametrize("command", ["stop", "drain"])
async def test_wrong(run: Run, connection: Redis, command: str) -> None:
    for arguments, code, text in (
        ([], 2, "name the workers, or give --all, or --queue"),
        (["w", "--all"], 2, "one of the three"),
        (["nobody"], 1, "no worker 'nobody' is alive; `aiorq workers` shows who is"),
        (["--all", "--timeout", "-1"] + (["--wait"] if command == "stop" else []), 2, "must not be negative"),
    ):
        done = run(command, *arguments)
        assert (done.returncode, done.stdout) == (code, "")
        assert text in done.stderr
    assert run(command, "--all").stdout == "There are no workers.\n"
