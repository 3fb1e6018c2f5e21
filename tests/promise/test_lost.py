"""A worker that is gone takes no job with it: what had begun fails or is run again, what had not is put back."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis
import rq
from redis.asyncio import Redis

from aiorq import Job, JobStatus, Queue
from aiorq.store import runs
from aiorq.store.base import store_of
from tests.execution.processes import Fifo, Process
from tests.promise.conftest import Command, Launch, begun, outcome_of

QUEUES = ("high", "default", "low")


async def assert_nothing_is_left(connection: Redis) -> None:
    """No run and no inbox is left on the books."""
    for pattern in ("rq:wip:*", "rq:execution*", "rq:aiorq:inbox:*", "rq:queue:*"):
        assert await connection.keys(pattern) == []


async def test_a_job_that_had_begun_fails(queue: Queue, launch: Launch, told: Fifo) -> None:
    lost = await launch("the-lost-one")
    await launch("other", queues=("another-queue",))
    job = await queue.enqueue("waiting.hang", told.path)
    [horse] = await told.pids()
    await begun(job)
    lost.process.kill()
    assert await horse.ended()
    result = await outcome_of(job)
    assert result.type is result.Type.FAILED
    assert (
        "AbandonedJobError: the job was lost with worker 'the-lost-one', which was last heard of" in result.exc_string
    )
    assert await job.get_status() == JobStatus.FAILED
    assert await queue.connection.zrange("rq:failed:default", 0, -1) == [job.id.encode()]
    await assert_nothing_is_left(queue.connection)


@pytest.mark.parametrize("asked", ["by the job", "by the worker"])
async def test_a_job_goes_back_where_that_is_asked_for(
    queue: Queue, launch: Launch, told: Fifo, tmp_path: Any, asked: str
) -> None:
    by_job = asked == "by the job"
    lost = await launch("the-lost-one", *(() if by_job else ("--on-lost", "requeue")))
    wish: dict[str, Any] = {"on_lost": "requeue"} if by_job else {}
    job = await queue.enqueue("faults.hang_once", told.path, str(tmp_path / "marker"), **wish)
    await told.pids()
    await begun(job)
    lost.process.kill()
    await launch("other")
    result = await outcome_of(job)
    assert (result.return_value, result.worker_name) == ("the second run", "other")
    assert len(await job.results()) == 1
    await assert_nothing_is_left(queue.connection)


async def test_a_job_may_ask_to_fail(queue: Queue, launch: Launch, told: Fifo) -> None:
    lost = await launch("the-lost-one", "--on-lost", "requeue")
    job = await queue.enqueue("waiting.hang", told.path, on_lost="fail")
    await told.pids()
    await begun(job)
    lost.process.kill()
    await launch("other", "--on-lost", "requeue")
    assert "AbandonedJobError" in (await outcome_of(job)).exc_string


async def test_a_job_that_has_retries_is_tried_again(
    queue: Queue, client: redis.Redis, launch: Launch, told: Fifo, tmp_path: Any
) -> None:
    lost = await launch("the-lost-one")
    arguments = (told.path, str(tmp_path / "marker"))
    theirs = rq.Queue(connection=client).enqueue("faults.hang_once", *arguments, retry=rq.Retry(max=2))
    await told.pids()
    job: Job[Any] = await Job.fetch(theirs.id, queue.connection)
    await begun(job)
    lost.process.kill()
    await launch("other")
    assert (await outcome_of(job)).return_value == "the second run"
    await job.refresh()
    assert job.retries_left == 1


async def test_a_job_that_kills_its_workers_is_given_up(queue: Queue, launch: Launch, told: Fifo, gate: Fifo) -> None:
    workers = [await launch(f"worker-{number}") for number in range(5)]
    job = await queue.enqueue("faults.kill_worker", told.path, gate.path, on_lost="requeue")
    for _ in range(4):
        await told.pids()
        await begun(job)
        gate.let()
    result = await outcome_of(job)
    assert "AbandonedJobError" in result.exc_string
    assert "that was the 4th time" in result.exc_string
    assert len(await job.results()) == 1
    assert sum(worker.process.alive for worker in workers) == 1
    assert (await outcome_of(await queue.enqueue("jobs.add", 1))).return_value == 2
    assert told.rest() == ""


async def test_what_was_only_handed_over_goes_back(connection: Redis, launch: Launch) -> None:
    """Redis gives a pushed job to the worker that has waited longest, whether or not it lives."""
    idle = await launch("idle", queues=QUEUES)
    while len([client for client in await connection.client_list() if client["cmd"] == "blmove"]) < len(QUEUES):
        pass
    idle.process.kill(signal.SIGSTOP)
    jobs = [await Queue(name, connection=connection).enqueue("jobs.add", 1) for name in QUEUES]
    for name in QUEUES:
        assert await connection.llen(f"rq:aiorq:inbox:idle:{name}") == 1
        assert await connection.llen(f"rq:queue:{name}") == 0
    idle.process.kill()
    other = await launch("other", queues=QUEUES)
    for job in jobs:
        result = await outcome_of(job)
        assert (result.return_value, result.worker_name) == (2, "other")
    assert other.count("what Redis had handed to worker idle is back in its queue") == len(QUEUES)
    await assert_nothing_is_left(connection)


async def test_what_was_claimed_and_had_not_begun_goes_back(connection: Redis, launch: Launch) -> None:
    """It has not run, whatever is to become of jobs that were lost."""
    jobs = [await Queue(name, connection=connection).enqueue("jobs.add", 1, on_lost="fail") for name in QUEUES]
    claimed = await runs.claim(store_of(connection, None), "the-lost-one", QUEUES, 3, 1.0)
    assert claimed is not None
    assert len(claimed) == len(jobs)
    await launch("other", queues=QUEUES)
    for job in jobs:
        result = await outcome_of(job)
        assert (result.return_value, result.worker_name) == (2, "other")
    await assert_nothing_is_left(connection)


async def test_a_worker_of_rq_that_was_killed(
    queue: Queue, client: redis.Redis, launch: Launch, launch_rq: Callable[[str], Command], told: Fifo
) -> None:
    theirs = rq.Queue(connection=client).enqueue("waiting.hang", told.path)
    worker = launch_rq("theirs")
    [horse] = await told.pids()
    worker.process.kill()
    horse.kill()
    connection: Any = queue.connection
    [member] = await connection.zrange("rq:wip:default", 0, -1)
    await connection.zadd("rq:wip:default", {member: time.time() - 1}, xx=True)  # its 90 seconds are over
    await launch("ours")
    job: Job[Any] = await Job.fetch(theirs.id, queue.connection)
    assert "AbandonedJobError: the job was lost with worker 'theirs'" in (await outcome_of(job)).exc_string
    assert theirs.get_status() == rq.job.JobStatus.FAILED
    assert theirs.id in rq.Queue(connection=client).failed_job_registry.get_job_ids(cleanup=False)
    await assert_nothing_is_left(queue.connection)


async def test_a_job_that_a_worker_of_rq_took_and_did_not_begin(
    queue: Queue, client: redis.Redis, launch: Launch
) -> None:
    theirs = rq.Queue(connection=client)
    job = theirs.enqueue("jobs.add", 1)
    assert client.lmove(theirs.key, theirs.intermediate_queue_key, "LEFT", "RIGHT") == job.id.encode()
    first_seen = theirs.intermediate_queue.get_first_seen_key(job.id)
    client.set(first_seen, time.time() - 61)  # a worker of ours has noted it a minute ago, for this stay in the queue
    client.hset(job.key, "aiorq_taken", client.hget(job.key, "enqueued_at"))
    await launch("ours")
    ours: Job[Any] = await Job.fetch(job.id, queue.connection)
    assert "AbandonedJobError" in (await outcome_of(ours)).exc_string
    assert job.get_status() == rq.job.JobStatus.FAILED
    assert client.llen(theirs.intermediate_queue_key) == 0


async def test_the_processes_of_a_killed_worker_end(queue: Queue, launch: Launch, told: Fifo) -> None:
    """Its zygote, the horse and what that has started in other sessions."""
    lost = await launch("the-lost-one")
    await queue.enqueue("stopping.leave_daemons", told.path)
    daemons = await told.pids(3)
    [zygote] = [Process(pid) for pid in lost.process.children()]
    lost.process.kill()
    for process in [zygote, *daemons]:
        assert await process.ended()
