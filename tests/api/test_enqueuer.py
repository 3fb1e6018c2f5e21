"""Enqueueing with the options said first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import jobs
import pytest
from redis.asyncio import Redis

from aiorq import Job, JobStatus, Queue
from aiorq.retry import Retry


async def test_options_are_those_of_every_call(queue: Queue, connection: Redis) -> None:
    options = queue.options(job_timeout="2m", retry=Retry(3), result_ttl=60)
    first, second = await options.enqueue(jobs.add, 1, right=2), await options.enqueue(jobs.add_async, 3)
    for made, call in ((first, ((1,), {"right": 2})), (second, ((3,), {}))):
        job = await Job.fetch(made.id, connection)
        assert (job.timeout, job.retries_left, job.result_ttl) == (120, 3, 60)
        assert (job.args, job.kwargs) == call
    assert await queue.get_job_ids() == [first.id, second.id]


async def test_arguments_of_any_name_are_the_functions(queue: Queue) -> None:
    """Also those that `queue.enqueue` takes for its own."""
    job = await queue.options(at_front=True).enqueue(jobs.echo, 1, job_id="x", at_front=2, args=3, kwargs=4, timeout=5)
    assert job.args == (1,)
    assert job.kwargs == {"job_id": "x", "at_front": 2, "args": 3, "kwargs": 4, "timeout": 5}
    assert job.id != "x"


async def test_places(queue: Queue) -> None:
    first = await queue.options().enqueue(jobs.nothing)
    second = await queue.options(at_front=True, job_id="second").enqueue(jobs.nothing)
    child = await queue.options(depends_on=first).enqueue(jobs.nothing)
    assert await queue.get_job_ids() == [second.id, first.id]
    assert (second.id, child.status) == ("second", JobStatus.DEFERRED)


async def test_later(queue: Queue, connection: Redis) -> None:
    moment = datetime(2100, 1, 1, tzinfo=UTC)
    at = await queue.options(job_id="at").enqueue_at(moment, jobs.add, 1)
    before = datetime.now(UTC).timestamp()
    delayed = await queue.options().enqueue_in(timedelta(hours=1), jobs.add, 1)
    assert (at.status, delayed.status) == (JobStatus.SCHEDULED, JobStatus.SCHEDULED)
    assert await connection.zscore("rq:scheduled:default", "at") == moment.timestamp()
    assert await connection.zscore("rq:scheduled:default", delayed.id) == pytest.approx(before + 3600, abs=5)


async def test_many(queue: Queue) -> None:
    options = queue.options(description="one of many")
    made = await queue.enqueue_many([options.prepare(jobs.add, number) for number in range(3)])
    assert [(job.args, job.description) for job in made] == [((number,), "one of many") for number in range(3)]
    assert await queue.get_job_ids() == [job.id for job in made]


async def test_mistakes_are_found_before_anything_is_enqueued(queue: Queue) -> None:
    with pytest.raises(ValueError, match="job_timeout"):
        queue.options(job_timeout=0)
    with pytest.raises(ValueError, match="a lambda has no name"):
        await queue.options().enqueue(lambda: None)
    assert await queue.count() == 0
