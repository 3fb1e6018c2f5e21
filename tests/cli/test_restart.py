"""SIGHUP: the worker ends what it runs and starts anew, in the same process."""

from __future__ import annotations

import signal
import subprocess

from redis.asyncio import Redis

from aiorq import Queue
from tests.cli.conftest import Start


def heard(process: subprocess.Popen[str], text: str) -> str:
    """Read the log up to a line with `text` in it."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return line
    raise AssertionError(f"the worker ended without saying {text!r}")


async def test_hangup(connection: Redis, url: str, start: Start) -> None:
    queue = Queue("default", connection)
    worker = start("worker", AIORQ_REDIS_URL=url)
    first = heard(worker, "takes jobs from default")
    worker.send_signal(signal.SIGHUP)
    heard(worker, "to start anew")
    second = heard(worker, "takes jobs from default")
    assert f"(pid {worker.pid}," in first
    assert f"(pid {worker.pid}," in second
    job = await queue.enqueue("os.getppid")
    assert await job.latest_result(timeout=30) is not None
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
