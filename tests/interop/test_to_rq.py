"""Jobs that aiorq enqueues, a `rq worker` runs, and aiorq reads."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import pytest
import redis
import rq
from redis.asyncio import Redis

from aiorq import Job, JobStatus, Queue, Result
from tests.interop.callables import callables
from tests.interop.conftest import Command


async def result_of(job: Job[Any]) -> Result[Any]:
    result = await job.latest_result()
    assert result is not None
    return result


async def assert_nothing_runs(queue: Queue) -> None:
    assert await queue.count() == 0
    assert not await queue.connection.keys("rq:wip:*")
    assert not await queue.connection.keys("rq:execution*")
    assert not await queue.connection.keys("rq:queue:*:intermediate")


async def test_every_callable(queue: Queue, rq_command: Command, jobs: ModuleType) -> None:
    forms = callables(jobs)
    enqueued: dict[str, Job[Any]] = {name: await queue.enqueue(form, "you") for name, (form, _) in forms.items()}
    await rq_command.work()
    returned = {name: await job.return_value() for name, job in enqueued.items()}
    assert returned == {name: expected for name, (_, expected) in forms.items()}
    assert {await job.get_status() for job in enqueued.values()} == {JobStatus.FINISHED}
    await assert_nothing_runs(queue)


async def test_outcomes(queue: Queue, client: redis.Redis, rq_command: Command, jobs: ModuleType) -> None:
    """One run of a `rq worker`, which takes a while to start, for every kind of outcome."""
    before = datetime.now(UTC)
    finished = await queue.enqueue(jobs.add, 1, right=2, meta={"caller": "me"}, job_id="finished")
    nothing = await queue.enqueue(jobs.nothing)
    failed = await queue.enqueue(jobs.fail, "a reason", failure_ttl=60)
    timed_out = await queue.enqueue(jobs.sleep, 600, job_timeout=1)
    unlimited = await queue.enqueue(jobs.add, 1, job_timeout=-1)
    missing = await queue.enqueue("jobs.no_such")
    killed = await queue.enqueue(jobs.die)
    placeholder = await queue.enqueue(jobs.unserializable)
    dropped = await queue.enqueue(jobs.add, 1, result_ttl=0)
    kept = await queue.enqueue(jobs.add, 1, result_ttl=-1, ttl=60)
    failed_kept = await queue.enqueue(jobs.fail, failure_ttl=-1)
    many = await queue.enqueue_many([Queue.prepare_data(jobs.add, (number,)) for number in range(3)])
    front = await queue.enqueue(jobs.append, "/dev/null", "line", at_front=True)
    waiting = asyncio.create_task(finished.latest_result(timeout=40))
    await rq_command.work("--name", "rq-worker")

    result = await waiting
    assert result is not None
    assert result.type is Result.Type.SUCCESSFUL
    assert result.return_value == 3
    assert result.worker_name == "rq-worker"
    assert result.execution_started_at is not None
    assert result.execution_ended_at is not None
    assert before <= result.execution_started_at <= result.execution_ended_at
    job = await Job.fetch("finished", queue.connection)
    assert job.status is JobStatus.FINISHED
    assert job.worker_name == "rq-worker"
    assert job.meta == {"caller": "me"}
    assert job.origin == "default"
    assert job.args == (1,)
    assert job.kwargs == {"right": 2}
    assert job.enqueued_at is not None
    assert job.started_at is not None
    assert job.ended_at is not None
    started = job.started_at
    assert before <= job.enqueued_at <= job.started_at <= job.ended_at

    assert await nothing.get_status() is JobStatus.FINISHED
    assert await nothing.return_value() is None

    result = await result_of(failed)
    assert await failed.get_status() is JobStatus.FAILED
    assert result.type is Result.Type.FAILED
    assert result.return_value is None
    assert result.exc_string is not None
    assert result.exc_string.startswith("Traceback (most recent call last):\n")
    assert result.exc_string.endswith("ValueError: a reason\n")
    assert client.ttl(f"rq:job:{failed.id}") == pytest.approx(60, abs=5)

    assert "JobTimeoutException" in str((await result_of(timed_out)).exc_string)
    assert await unlimited.return_value() == 2
    assert "no_such" in str((await result_of(missing)).exc_string)
    assert "signal 9" in str((await result_of(killed)).exc_string)
    assert (await Job.fetch(killed.id, queue.connection)).worker_name is None
    assert await placeholder.return_value() == "Unserializable return value"

    assert not await Job.exists(dropped.id, queue.connection)
    assert await dropped.latest_result() is None
    assert client.ttl(f"rq:job:{kept.id}") == -1
    assert await kept.return_value() == 2
    assert client.ttl(f"rq:job:{failed_kept.id}") == -1
    assert [await job.return_value() for job in many] == [1, 2, 3]
    await front.refresh()
    assert front.started_at is not None
    assert front.started_at < started
    await assert_nothing_runs(queue)


async def test_json(connection: Redis, rq_command: Command) -> None:
    queue = Queue(connection=connection, serializer="json")
    added = await queue.enqueue("jobs.add", 1, right=2, meta={"list": [1, 2]})
    echoed = await queue.enqueue("jobs.echo", {"a": None}, b=[1.5])
    await rq_command.work("--serializer", "json")
    assert await added.return_value() == 3
    assert await added.get_meta() == {"list": [1, 2]}
    assert await echoed.return_value() == [[{"a": None}], {"b": [1.5]}]


async def test_aiorq_reads_the_queues_of_rq(queue: Queue, client: redis.Redis, jobs: ModuleType) -> None:
    there = rq.Queue("theirs", connection=client).enqueue(
        jobs.echo, 1, a=2, job_timeout="2m", ttl=60, result_ttl=-1, failure_ttl=30, description="text", meta={"a": 1}
    )
    await queue.enqueue(jobs.add, 1)
    assert [found.name for found in await Queue.all(queue.connection)] == ["default", "theirs"]
    theirs = Queue("theirs", queue.connection)
    assert await theirs.get_job_ids() == [there.id]
    (job,) = await theirs.get_jobs()
    assert job.func_name == "jobs.echo"
    assert (job.args, job.kwargs) == ((1,), {"a": 2})
    assert (job.timeout, job.ttl, job.result_ttl, job.failure_ttl) == (120, 60, -1, 30)
    assert (job.description, job.meta, job.status) == ("text", {"a": 1}, JobStatus.QUEUED)
    assert (job.created_at, job.enqueued_at) == (there.created_at, there.enqueued_at)
    assert await job.get_position() == 0
    assert (await theirs.fetch_job(there.id)) == job
    assert await theirs.empty() == 1
    assert client.keys("rq:job:*") == [f"rq:job:{(await queue.get_job_ids())[0]}".encode()]
