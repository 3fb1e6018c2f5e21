"""One adapter for each library: how it enqueues, and how its worker is started. All run the same job.

When a job began and ended is read from the results in Redis, which both libraries write in the same format, so that
neither the start of a worker's process nor its end is counted.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import anyio
import redis
import rq

from aiorq import Queue, connect
from benchmarks import jobs

ROOT = Path(__file__).parent.parent


class Adapter(Protocol):
    """A library under measurement."""

    name: str

    def enqueue(self, url: str, number: int) -> list[str]:
        """Put that many jobs on the default queue; returns their ids."""
        ...

    def worker(self, *, burst: bool) -> Sequence[str]:
        """The command of its worker."""
        ...


class Aiorq:
    """aiorq, a fork per job, `concurrency` at a time."""

    def __init__(self, concurrency: int, *, preload: bool = False) -> None:
        self.name = f"aiorq worker --concurrency {concurrency}{' --preload' if preload else ''}"
        self._concurrency = concurrency
        self._preload = ["--preload", jobs.__name__] if preload else []

    def enqueue(self, url: str, number: int) -> list[str]:
        async def main() -> list[str]:
            client = connect(url)
            try:
                data = Queue.prepare_data(jobs.nothing)
                return [job.id for job in await Queue(connection=client).enqueue_many([data] * number)]
            finally:
                await client.aclose()

        return anyio.run(main)

    def worker(self, *, burst: bool) -> Sequence[str]:
        command = [sys.executable, "-m", "aiorq", "worker", "--quiet", "--concurrency", f"{self._concurrency}"]
        return [*command, *self._preload, *(["--burst"] if burst else [])]


class RQ:
    """rq 3.0, whose worker forks a job at a time."""

    name = "rq worker"

    def enqueue(self, url: str, number: int) -> list[str]:
        with redis.Redis.from_url(url) as client:
            data = rq.Queue.prepare_data(jobs.nothing)
            return [job.id for job in rq.Queue(connection=client).enqueue_many([data] * number)]

    def worker(self, *, burst: bool) -> Sequence[str]:
        return [sys.executable, "-m", "rq.cli", "worker", "--quiet", *(["--burst"] if burst else [])]


@contextmanager
def running(adapter: Adapter, url: str, *, burst: bool) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of the library, ended (or waited for, with `burst`) when the block is left."""
    environment = os.environ | {"AIORQ_REDIS_URL": url, "RQ_REDIS_URL": url}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # otherwise each job compiles what it imports
    process = subprocess.Popen(adapter.worker(burst=burst), env=environment, cwd=ROOT)
    try:
        yield process
        if not burst:
            process.terminate()
        process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()
