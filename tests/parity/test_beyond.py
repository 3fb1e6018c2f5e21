"""What aiorq has beyond RQ, from enqueue to end: growing intervals, kinds of errors, attempts, counts, pauses."""

from __future__ import annotations

from typing import Any, assert_type

import jobs
import pytest
from redis.asyncio import Redis

from aiorq import Attempt, Group, Job, JobOptions, JobStatus, Queue, RateLimit, Retry
from tests.parity.conftest import MakeWorker, Work


async def due_in(queue: Queue, job: Job[Any]) -> float:
    """Seconds until a job that is scheduled is due."""
    due = await queue.scheduled_job_registry.get_scheduled_time(job)
    seconds, micros = await queue.connection.time()
    return due.timestamp() - int(seconds) - int(micros) / 1e6


class TestIntervals:
    async def test_they_grow_up_to_a_cap(self, queue: Queue, work: Work) -> None:
        job = await queue.enqueue("jobs.fail", retry=Retry(5, 100, backoff=2, max_interval=350))
        found = []
        for _ in range(5):
            await work()
            assert await job.get_status() is JobStatus.SCHEDULED
            found.append(await due_in(queue, job))
            await queue.scheduled_job_registry.requeue(job)
        for seconds, expected in zip(found, (100, 200, 350, 350, 350), strict=True):
            assert expected - 5 < seconds <= expected
        await work()
        assert await job.get_status() is JobStatus.FAILED

    async def test_jitter_spreads_them(self, queue: Queue, work: Work) -> None:
        retry = Retry(1, 1000, jitter=0.5)
        made = await queue.enqueue_many([Queue.prepare_data("jobs.fail", retry=retry) for _ in range(20)])
        await work()
        found = [await due_in(queue, job) for job in made]
        assert all(500 - 10 < seconds <= 1500 for seconds in found)
        assert max(found) - min(found) > 100  # by chance in one of 10^17 runs not


async def test_attempts_and_kinds_of_errors(queue: Queue, make_worker: MakeWorker) -> None:
    """In processes of their own, with one worker for all jobs."""
    many: dict[str, tuple[str, tuple[int, ...], Retry, int]] = {
        "after two": ("chores.fail_until", (3,), Retry(5, retry_on=ConnectionError), 3),
        "a base class": ("chores.fail_until", (3,), Retry(5, retry_on=OSError), 3),
        "another kind": ("chores.fail_until", (3,), Retry(5, retry_on=[KeyError, "tarfile.TarError"]), 1),
        "never": ("chores.fail_until", (3,), Retry(5, never="builtins.OSError"), 1),
        "never another": ("chores.fail_until", (3,), Retry(5, never=(KeyError,)), 3),
        "both": ("chores.fail_until", (3,), Retry(5, retry_on=OSError, never=ConnectionError), 1),
        "a lost process": ("jobs.die", (), Retry(1, retry_on="aiorq.errors.HorseTerminatedError"), 2),
        "exhausted": ("chores.fail_until", (3,), Retry(1), 2),
    }
    made = {name: await queue.enqueue(call, *args, retry=retry) for name, (call, args, retry, _) in many.items()}
    await make_worker(concurrency=2, name="the-worker").work(burst=True)
    for name, (_, _, _, count) in many.items():
        job = made[name]
        attempts = await job.attempts()
        assert [each.number for each in attempts] == [*range(1, count + 1)], name
        succeeds = name in ("after two", "a base class", "never another")
        assert [each.outcome for each in attempts[:-1]] == ["failed"] * (count - 1), name
        assert attempts[-1].outcome == ("successful" if succeeds else "failed"), name
        assert await job.return_value() == (3 if succeeds else None), name
        await job.refresh()
        assert job.attempt == count
    one, two, three = await made["after two"].attempts()
    assert "ConnectionError: attempt 1" in (one.exc_string or "")
    assert "ConnectionError: attempt 2" in (two.exc_string or "")
    assert (three.exc_string, three.worker_name) == (None, "the-worker")
    assert len({each.execution_id for each in (one, two, three)}) == 3
    moments = [moment for each in (one, two, three) for moment in (each.started_at, each.ended_at)]
    assert moments == sorted(moments, key=lambda moment: moment.timestamp() if moment else 0.0)
    assert isinstance(one, Attempt)


async def test_counts_of_a_group(queue: Queue, connection: Redis, work: Work) -> None:
    group = Group.create(connection, "g")
    await group.enqueue_many(
        queue,
        [
            Queue.prepare_data("jobs.nothing"),
            Queue.prepare_data("jobs.nothing"),
            Queue.prepare_data("jobs.fail", job_id="bad"),
            Queue.prepare_data("jobs.nothing", depends_on="bad"),
            Queue.prepare_data("jobs.fail", retry=Retry(1, 60)),
        ],
    )
    assert await group.counts() == {JobStatus.QUEUED: 4, JobStatus.DEFERRED: 1}
    await work()
    counts = {JobStatus.FINISHED: 2, JobStatus.FAILED: 1, JobStatus.DEFERRED: 1, JobStatus.SCHEDULED: 1}
    assert (await group.counts(), await group.count()) == (counts, 5)


async def test_a_paused_queue(queue: Queue, connection: Redis, work: Work) -> None:
    """Nothing is taken from it, by none of the ways to its front, while other queues go on."""
    other = Queue("other", connection)
    held, free = await queue.enqueue("jobs.nothing"), await other.enqueue("jobs.nothing")
    pause = await queue.pause("deploy")
    assert (pause.reason, await queue.paused()) == ("deploy", pause)
    again = await queue.pause("still")
    assert (again.reason, again.since) == ("still", pause.since)
    late = await queue.enqueue("jobs.nothing", at_front=True)
    await work(["default", "other"])
    states = [await job.get_status() for job in (held, late, free)]
    assert states == [JobStatus.QUEUED, JobStatus.QUEUED, JobStatus.FINISHED]
    assert await queue.get_job_ids() == [late.id, held.id]
    assert await queue.resume() is True
    assert (await queue.resume(), await queue.paused()) == (False, None)
    await work(["default", "other"])
    assert [await job.get_status() for job in (held, late)] == [JobStatus.FINISHED] * 2


async def test_typed_options(queue: Queue, work: Work) -> None:
    """Options that are said first leave all keywords to the function, whose arguments and result have their types."""
    enqueuer = queue.options(job_timeout="1m", retry=Retry(2), meta={"a": 1})
    job = await enqueuer.enqueue(jobs.add, 1, right=2)
    _ = assert_type(job, Job[int])
    later = await enqueuer.enqueue(jobs.add_async, 3)
    _ = assert_type(later, Job[int])
    echoed = await enqueuer.enqueue(jobs.echo, ttl=5, description="mine")
    assert (job.timeout, job.retries_left, job.meta) == (60, 2, {"a": 1})
    await work()
    value = await job.return_value()
    _ = assert_type(value, int | None)
    assert (value, await later.return_value()) == (3, 4)
    assert await echoed.return_value() == ((), {"ttl": 5, "description": "mine"})
    bad: dict[str, Any]
    for bad in ({"job_timeout": 0}, {"retry": 3}, {"rate_limit": 5}, {"meta": 5}, {"job_id": "a b"}, {"on_lost": "x"}):
        with pytest.raises((ValueError, TypeError)):
            queue.options(**bad)
        with pytest.raises((ValueError, TypeError)):
            JobOptions(**bad)
    with pytest.raises(TypeError):
        queue.options(timeout=5)  # type: ignore[call-arg]
    options = JobOptions(rate_limit=RateLimit("r", 1), ttl=60)
    with pytest.raises(AttributeError):
        options.ttl = 5  # type: ignore[misc]
