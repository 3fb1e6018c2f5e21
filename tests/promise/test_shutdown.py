"""A worker that is told to end takes no job with it."""

from __future__ import annotations

import signal

from redis.asyncio import Redis

from aiorq import JobStatus, Queue
from tests.chaos.rolling import roll
from tests.execution.processes import Fifo
from tests.promise.conftest import Launch, outcome_of


async def test_what_does_not_end_in_time_goes_back(queue: Queue, launch: Launch, told: Fifo, gate: Fifo) -> None:
    worker = await launch("worker", "--concurrency", "2", "--shutdown-timeout", "1")
    jobs = [await queue.enqueue("waiting.meet", told.path, gate.path) for _ in range(2)]
    horses = await told.pids(2)
    waiting = [await queue.enqueue("jobs.add", number) for number in range(20)]
    worker.process.kill(signal.SIGTERM)
    assert await worker.end() == 0
    for horse in horses:
        assert await horse.ended()
    ids = await queue.get_job_ids()
    assert set(ids[:2]) == {job.id for job in jobs}
    assert ids[2:] == [job.id for job in waiting]
    for job in jobs:
        assert await job.get_status() == JobStatus.QUEUED
        assert await job.latest_result() is None
    assert await queue.connection.keys("rq:wip:*") == []
    other = await launch("other", "--concurrency", "2")
    gate.let(2)
    for job in [*jobs, *waiting]:
        result = await outcome_of(job)
        assert (result.type.name, result.worker_name) == ("SUCCESSFUL", other.name)


async def test_what_ends_in_time_is_recorded(queue: Queue, launch: Launch, told: Fifo, gate: Fifo) -> None:
    worker = await launch("worker", "--shutdown-timeout", "60")
    job = await queue.enqueue("waiting.meet", told.path, gate.path)
    await told.pids()
    worker.process.kill(signal.SIGTERM)
    await worker.line("waiting for 1 jobs to end")
    gate.let()
    assert await worker.end() == 0
    assert (await outcome_of(job)).type.name == "SUCCESSFUL"


async def test_the_second_signal_is_heeded_at_once(queue: Queue, launch: Launch, told: Fifo) -> None:
    worker = await launch("worker", "--shutdown-timeout", "600")
    job = await queue.enqueue("waiting.hang", told.path)
    [horse] = await told.pids()
    worker.process.kill(signal.SIGTERM)
    await worker.line("waiting for 1 jobs to end")
    worker.process.kill(signal.SIGTERM)
    assert await worker.end() == 1
    assert await horse.ended()
    assert await queue.get_job_ids() == [job.id]


async def test_a_rolling_restart(connection: Redis, url: str) -> None:
    """Workers are replaced one after the other under load: each job runs once."""
    rolled = await roll(url, 5)
    assert rolled.is_clean, rolled
    assert rolled.jobs == 750
