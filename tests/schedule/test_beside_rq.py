"""A `rq worker --with-scheduler` and an aiorq worker on one queue: each job runs once, whoever promotes it."""

from __future__ import annotations

import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import jobs
import pytest
import rq
from redis.asyncio import Redis

from aiorq import Job, Queue, Worker
from tests.api.conftest import until
from tests.interop.conftest import LIMIT
from tests.schedule.conftest import Clock, date
from tests.worker.conftest import result_of, working

JOBS = 100


async def workers_there(connection: Redis) -> int:
    """How many workers there are."""
    return int(await connection.scard("rq:workers"))


@asynccontextmanager
async def worker_of_rq(url: str, path: str, connection: Redis) -> AsyncIterator[None]:
    """RQ's worker, once it is there, and its scheduler, which it starts where it gets a lock."""
    command = [sys.executable, "-m", "rq.cli", "worker", "--with-scheduler", "--url", url, "--path", path, "--quiet"]

    before = await workers_there(connection)

    async def is_there() -> bool:
        return before < await workers_there(connection) and await connection.exists("rq:scheduler-lock:default") == 1

    async with await anyio.open_process(command, stdout=None, stderr=None) as process:
        try:
            await until(is_there)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            with anyio.fail_after(LIMIT):
                await process.wait()


@pytest.mark.parametrize("rq_first", [True, False])
async def test_each_job_runs_once(
    queue: Queue,
    rq_queue: rq.Queue,
    connection: Redis,
    clock: Clock,
    make_worker: Callable[..., Worker],
    url: str,
    jobs_path: str,
    tmp_path: Path,
    rq_first: bool,
) -> None:
    trace = tmp_path / "trace"
    ours, theirs = working(make_worker(name="ours", reap_interval=0.5)), worker_of_rq(url, jobs_path, connection)
    first, second = (theirs, ours) if rq_first else (ours, theirs)
    async with first, second:
        if not rq_first:
            assert await connection.get("rq:scheduler-lock:default") == b"ours"
        begin = await clock.now() + 0.5
        ids = [f"job-{number}" for number in range(JOBS)]
        for number, job_id in enumerate(ids):
            when = date(begin + random.Random(number).uniform(0, 2))
            args: Any = str(trace), str(number)
            if number % 2:
                rq_queue.enqueue_at(when, jobs.append, *args, job_id=job_id)
            else:
                await queue.enqueue_at(when, jobs.append, *args, job_id=job_id)
        for job_id in ids:
            await result_of(Job[Any](job_id, connection))
        # Had the scheduler of RQ's pushed one a second time, that would run before this one.
        await result_of(await queue.enqueue_at(date(await clock.now() + 1.5), "jobs.nothing"))
    assert Counter(map(int, trace.read_text().split())) == dict.fromkeys(range(JOBS), 1)
    assert await queue.count() == 0
    assert await queue.scheduled_job_registry.count() == 0
    assert await connection.keys("rq:scheduler*") == []
