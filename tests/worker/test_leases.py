"""A run that lost its place is killed, and what it says is not recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from aiorq import JobStatus, Queue, Worker
from aiorq.server import EmbeddedServer
from tests.execution.processes import Fifo
from tests.worker.conftest import Log, Monitor, Started, result_of, working


async def test_a_deleted_job_is_killed(queue: Queue, start: Started, told: Fifo, gate: Fifo, log: Log) -> None:
    job = await queue.enqueue("waiting.meet", told.path, gate.path)
    worker = await start(lease=3)
    [horse] = await told.pids()
    await job.delete()
    assert await horse.ended()
    await log.line(f"job {job.id} is killed: it was canceled, deleted or taken by another worker")
    assert (await result_of(await queue.enqueue("jobs.add", 1))).return_value == 2
    assert await queue.connection.keys(f"*{job.id}*") == []
    assert log.count(job.id) == 2  # its start and its end
    assert await queue.connection.hget(f"rq:worker:{worker.name}", "state") == b"idle"


async def test_a_job_that_was_taken_away_is_killed(
    queue: Queue, start: Started, told: Fifo, gate: Fifo, log: Log
) -> None:
    connection: Any = queue.connection
    job = await queue.enqueue("waiting.hang", told.path)
    await start(lease=3, concurrency=2)
    [horse] = await told.pids()
    [taken] = await connection.zrange("rq:wip:default", 0, -1)
    other = await queue.enqueue("waiting.meet", told.path, gate.path)
    [other_horse] = await told.pids()
    await connection.zrem("rq:wip:default", taken)
    assert await horse.ended()
    await log.line(f"job {job.id} is killed")
    assert other_horse.alive
    gate.let()
    assert (await result_of(other)).type.name == "SUCCESSFUL"
    assert await job.get_status() == JobStatus.STARTED  # whoever took it says what becomes of it
    assert await job.latest_result() is None
    assert log.count(job.id) == 2


async def test_the_outcome_of_a_run_that_was_taken_away_is_refused(
    queue: Queue, start: Started, told: Fifo, gate: Fifo, log: Log, monitor: Monitor
) -> None:
    """It ended before the worker could notice."""
    connection: Any = queue.connection
    job = await queue.enqueue("waiting.meet", told.path, gate.path)
    worker = await start()
    await told.pids()
    before = await connection.hgetall(job.key)
    await connection.delete("rq:wip:default")
    gate.let()
    await log.line("is not recorded: it was canceled, deleted or taken by another worker")
    assert await connection.hgetall(job.key) == before
    assert await job.latest_result() is None
    assert log.count(job.id) == 2
    assert not await connection.hexists(f"rq:worker:{worker.name}", "successful_job_count")
    assert (await result_of(await queue.enqueue("jobs.add", 1))).return_value == 2


async def test_a_failure_of_a_run_that_was_taken_away_is_refused(
    queue: Queue, start: Started, told: Fifo, log: Log
) -> None:
    job = await queue.enqueue("waiting.hang", told.path)
    await start()
    [horse] = await told.pids()
    await queue.connection.delete("rq:wip:default")
    horse.kill()
    await log.line("is not recorded")
    assert await job.get_status() == JobStatus.STARTED
    assert await queue.connection.zcard("rq:failed:default") == 0


async def test_a_job_longer_than_the_lease(
    queue: Queue, start: Started, told: Fifo, gate: Fifo, monitor: Monitor, log: Log
) -> None:
    job = await queue.enqueue("waiting.meet", told.path, gate.path)
    await start(lease=2)
    await told.pids()
    await monitor.seen('"ZADD" "rq:wip:default" "XX"', 7)  # three in each lease
    gate.let()
    assert (await result_of(job)).type.name == "SUCCESSFUL"
    assert log.count("killed") == 0


async def test_a_busy_event_loop_loses_no_lease(
    connection: Redis, start: Started, told: Fifo, monitor: Monitor, queue: Queue
) -> None:
    """A coroutine that blocks is in a process of its own; the leases are kept outside of it."""
    job = await queue.enqueue("waiting.block_async", job_timeout=4)
    await start(lease=2)
    await monitor.seen('"ZADD" "rq:wip:default" "XX"', 7)
    result = await result_of(job)
    assert "JobTimeoutException: the job ran longer than its timeout of 4 seconds" in result.exc_string


@pytest.mark.parametrize("on_lost", ["fail", "requeue"])
async def test_a_lease_that_cannot_be_renewed(
    own_server: tuple[EmbeddedServer, Redis],
    make_worker: Callable[..., Worker],
    told: Fifo,
    gate: Fifo,
    log: Log,
    on_lost: str,
) -> None:
    """Redis is silent for longer than the lease lasts: the job is killed before anybody could start it again."""
    server, connection = own_server
    job = await Queue(connection=connection).enqueue("waiting.meet", told.path, gate.path)
    async with working(make_worker(connection=connection, lease=2, on_lost=on_lost)):
        [horse] = await told.pids()
        server.pause()
        assert await horse.ended()
        assert log.count(f"job {job.id} is killed: its lease could not be renewed in time") == 1
        server.resume()
        if on_lost == "requeue":
            await told.pids()
            gate.let()
            assert (await result_of(job)).type.name == "SUCCESSFUL"
        else:
            assert "AbandonedJobError" in (await result_of(job)).exc_string
        assert await connection.xlen(f"rq:results:{job.id}") == 1
        assert log.count(f"job {job.id} is killed") == 1
