"""Workers as processes of their own, of this library or of RQ, and what the callbacks of `letters` left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import letters
from redis import Redis

from tests.execution.processes import LIMIT

SCRIPT = """
import sys
from redis import Redis
from {api} import Queue, Worker
connection = Redis.from_url(sys.argv[1])
Worker([Queue(name, connection=connection) for name in sys.argv[2:]]).work()
"""


class Named(Protocol):
    """A queue, of whichever library."""

    @property
    def name(self) -> str: ...


class AtWork(Protocol):
    """Has a worker take jobs from queues within a block."""

    def __call__(self, *queues: Named) -> AbstractContextManager[None]: ...


@contextmanager
def at_work(api: str, url: str, path: list[Path], *queues: Named) -> Iterator[None]:
    """Run a worker of `aiorq.sync` or of `rq`, which finds modules at `path`; it ends with the block."""
    command = [sys.executable, "-c", SCRIPT.format(api=api), url, *(queue.name for queue in queues)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    worker = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
        worker.terminate()
        assert worker.wait(20) == 0
    finally:
        worker.kill()
        worker.wait()


def notes(redis: Redis, count: int) -> list[str]:
    """So many lines, waited for."""
    lines: list[str] = []
    for _ in range(count):
        taken: Any = redis.blpop([letters.NOTES], timeout=LIMIT)
        assert taken is not None, f"{lines} and no more"
        lines.append(taken[1].decode())
    return lines
