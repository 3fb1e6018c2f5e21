"""Parity with RQ 3.0: queues."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import chores
import jobs
import pytest
import redis
import rq
import rq.exceptions
from redis.asyncio import Redis

from aiorq import Job, JobStatus, Queue, RateLimit, Repeat, Result, Retry, Webhook
from aiorq.errors import DuplicateJobError
from aiorq.options import RESERVED
from aiorq.registry import (
    CanceledJobRegistry,
    DeferredJobRegistry,
    FailedJobRegistry,
    FinishedJobRegistry,
    ReadyJobRegistry,
    ScheduledJobRegistry,
    StartedJobRegistry,
)
from tests.api.conftest import until
from tests.parity.conftest import MakeWorker, Start, Work, lines
from tests.parity.signatures import assert_taken_alike
from tests.worker.test_webhooks import Listener

NOBODY = "death_penalty_class"
"""RQ's parameter for the class that enforces timeouts inside of a process."""


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A timezone with summer time, for the time of the test."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


async def ids(queue: Queue, *numbers: int) -> list[str]:
    """Enqueue jobs with these ids."""
    return [(await queue.enqueue("jobs.add", number, job_id=str(number))).id for number in numbers]


async def test_constructor(connection: Redis, client: redis.Redis) -> None:
    """2.3, box 1: what the constructor takes, and what a queue object is like; a connection may be left out."""
    assert_taken_alike(Queue, rq.Queue, without=(NOBODY, "kwargs"))
    with pytest.raises(TypeError):
        rq.Queue("q")
    with pytest.raises(TypeError, match="async"):
        Queue(**{"async": False})  # type: ignore[arg-type]
    queue = Queue("q", connection, job_class="chores.OwnJob")
    assert queue.job_class is chores.OwnJob
    assert Queue("q", connection, job_class=chores.OwnJob).job_class is chores.OwnJob
    theirs = rq.Queue("q", client)
    assert bool(queue) is bool(theirs) is True
    assert (await queue.count(), len(theirs)) == (0, 0)
    await queue.enqueue("jobs.nothing")
    assert (await queue.count(), len(theirs)) == (1, 1)
    sides: list[Any] = [(Queue, connection), (rq.Queue, client)]
    for kind, one in sides:
        a, b = kind("a", connection=one), kind("b", connection=one)
        assert a == kind("a", connection=one)
        assert a < b
        assert a <= b
        assert sorted([b, a]) == [a, b]
        assert len({a, b, kind("a", connection=one)}) == 2
        assert hash(a) == hash("a")
        with pytest.raises(TypeError):
            assert a == "a"
        with pytest.raises(TypeError):
            assert a < "b"


async def test_first_enqueue_declares(queue: Queue, connection: Redis, client: redis.Redis) -> None:
    """2.3, box 2: a queue is known from its first enqueue on."""
    assert await Queue.all(connection) == []
    await queue.enqueue("jobs.nothing")
    assert await connection.smembers("rq:queues") == {b"rq:queue:default"}
    assert [each.name for each in rq.Queue.all(client)] == ["default"]


async def test_class_methods(connection: Redis, client: redis.Redis) -> None:
    """2.3, box 3: finding queues, and describing jobs."""
    assert_taken_alike(Queue.all, rq.Queue.all, without=(NOBODY,))
    assert_taken_alike(Queue.from_queue_key, rq.Queue.from_queue_key, without=(NOBODY,))
    assert_taken_alike(Queue.prepare_data, rq.Queue.prepare_data)
    await Queue("a", connection).enqueue("jobs.nothing")
    await Queue("b", connection).enqueue("jobs.nothing")
    found = await Queue.all(connection, chores.OwnJob, "json")
    assert [each.name for each in found] == sorted(each.name for each in rq.Queue.all(client)) == ["a", "b"]
    assert found[0].job_class is chores.OwnJob
    assert type(found[0].serializer).__name__ == "JSONSerializer"
    one = Queue.from_queue_key("rq:queue:a", connection, "chores.OwnJob")
    assert (one.name, one.job_class) == (rq.Queue.from_queue_key("rq:queue:a", client).name, chores.OwnJob)
    for bad in ("rq:job:a", "a"):
        with pytest.raises(ValueError, match="queue key"):
            rq.Queue.from_queue_key(bad, client)
        with pytest.raises(ValueError, match="key of a queue"):
            Queue.from_queue_key(bad, connection)
    data = Queue.prepare_data("jobs.add", (1,), {"right": 2}, 60, job_id="a", at_front=True)
    theirs = rq.Queue.prepare_data("jobs.add", (1,), {"right": 2}, 60, job_id="a", at_front=True)
    assert (data.func, data.args, data.kwargs) == (theirs.func, theirs.args, theirs.kwargs)
    assert data.options.job_timeout == theirs.timeout
    assert (data.options.job_id, data.options.at_front) == (theirs.job_id, theirs.at_front)


async def test_dequeueing(queue: Queue, connection: Any, work: Work) -> None:
    """2.3, box 4: queues are emptied in order, and an id whose job is gone is passed over."""
    low = Queue("low", connection)
    await connection.rpush(queue.key, "ghost")
    await connection.sadd("rq:queues", queue.key)
    first, second = await low.enqueue("jobs.add", 1), await queue.enqueue("jobs.add", 2)
    assert await work([queue, low])
    results = [await job.latest_result() for job in (second, first)]
    assert all(result is not None for result in results)
    ends = [result.execution_started_at for result in results if result is not None]
    assert ends == sorted(ends, key=lambda moment: moment or datetime.now(UTC))
    assert (await queue.count(), await low.count()) == (0, 0)
    assert not await connection.exists("rq:queue:default:intermediate")


async def test_properties(queue: Queue, connection: Any, rq_queue: rq.Queue) -> None:
    """2.3, box 5: properties; those that ask Redis are coroutines here."""
    await ids(queue, 1, 2)
    assert (queue.key, queue.name, queue.is_async) == (rq_queue.key, rq_queue.name, rq_queue.is_async)
    assert await queue.count() == rq_queue.count == 2
    assert await queue.job_ids() == rq_queue.job_ids == ["1", "2"]
    assert [job.id for job in await queue.jobs()] == [job.id for job in rq_queue.jobs] == ["1", "2"]
    assert await queue.scheduler_pid() is rq_queue.scheduler_pid is None
    await connection.set("rq:scheduler-lock:default", "s")
    await connection.hset("rq:scheduler:s", mapping={"pid": 77})
    assert await queue.scheduler_pid() == 77
    kinds = {
        "started": StartedJobRegistry,
        "finished": FinishedJobRegistry,
        "failed": FailedJobRegistry,
        "deferred": DeferredJobRegistry,
        "ready": ReadyJobRegistry,
        "scheduled": ScheduledJobRegistry,
        "canceled": CanceledJobRegistry,
    }
    for word, kind in kinds.items():
        registry = getattr(queue, f"{word}_job_registry")
        assert type(registry) is kind
        assert registry == kind("default", connection)
        assert registry.key == getattr(rq_queue, f"{word}_job_registry").key


async def test_entries(queue: Queue, connection: Any, rq_queue: rq.Queue) -> None:
    """2.3, box 6: listing, finding, taking out and deleting what waits."""
    for name in ("get_job_ids", "get_jobs", "fetch_job", "get_job_position", "remove", "is_empty", "empty", "delete"):
        assert_taken_alike(getattr(Queue, name), getattr(rq.Queue, name))
    await ids(queue, *range(5))
    for part in ((), (0, 0), (1,), (1, 2), (3, 9), (9, 1), (0, -1), (0, 1)):
        expected = rq_queue.get_job_ids(*part)
        assert await queue.get_job_ids(*part) == expected
        assert [job.id for job in await queue.get_jobs(*part)] == expected
    await connection.lpush(queue.key, "gone")
    await connection.rpush(queue.key, "2")  # as RQ does when an id is used twice
    assert [job.id for job in await queue.get_jobs(0, 2)] == ["0"]
    for wanted in ("gone", "0", "4", "never"):
        assert await queue.get_job_position(wanted) == rq_queue.get_job_position(wanted)
    assert await queue.get_job_position(Job("3")) == 4
    job = await queue.fetch_job("4")
    assert job is not None
    assert job.id == "4"
    assert await queue.fetch_job("gone") is None
    assert "gone" not in await queue.get_job_ids()
    await Queue("other", connection).enqueue("jobs.nothing", job_id="elsewhere")
    assert await queue.fetch_job("elsewhere") is None
    assert rq_queue.fetch_job("elsewhere") is None
    assert await queue.remove("2") == 1
    assert await queue.get_job_ids() == ["0", "1", "3", "4", "2"]
    assert await queue.remove(Job("7")) == 0
    async with connection.pipeline() as pipeline:
        await queue.remove("2", pipeline=pipeline)
        assert await queue.count() == 5
        assert await pipeline.execute() == [1]
    assert await connection.exists("rq:job:2")
    await connection.rpush(queue.key, "gone", "2")
    assert await queue.compact() == 1
    assert rq_queue.get_job_ids() == ["0", "1", "3", "4", "2"]
    await queue.enqueue("jobs.nothing", job_id="child", depends_on="4")
    assert not await queue.is_empty()
    await connection.xadd("rq:results:4", {"type": 1})
    assert await queue.empty() == 5
    assert await queue.get_job_ids() == ["child"]  # whose parent is gone
    assert await queue.empty() == 1
    assert await queue.is_empty()
    assert await queue.empty() == 0
    assert await connection.keys("rq:job:[0-4]*") == await connection.keys("rq:results:*") == []
    await ids(queue, 1)
    await queue.delete(delete_jobs=False)
    assert await connection.exists("rq:job:1")
    assert not await connection.exists(queue.key)
    assert queue not in await Queue.all(connection)
    await ids(queue, 1)
    await queue.enqueue("jobs.nothing", job_id="child", depends_on="1")
    await queue.delete()
    assert await connection.keys("rq:job:*") == [b"rq:job:elsewhere"]
    assert queue not in await Queue.all(connection)


async def test_enqueue(queue: Queue, client: redis.Redis, connection: Redis) -> None:
    """2.3, box 7: options among the keywords of a function; explicit arguments; what cannot be enqueued."""
    keywords = (
        "job_timeout description result_ttl ttl failure_ttl depends_on job_id at_front meta retry repeat on_success "
        "on_failure on_stopped rate_limit webhooks unique"
    )
    assert set(keywords.split()) <= RESERVED
    given: dict[str, Any] = {
        "job_timeout": 7,
        "description": "it",
        "result_ttl": 8,
        "ttl": 9,
        "failure_ttl": 10,
        "job_id": "a",
        "at_front": True,
        "meta": {"b": 1},
        "retry": Retry(2, 3),
        "repeat": Repeat(4, 5),
        "on_success": "jobs.nothing",
        "on_failure": "jobs.nothing",
        "on_stopped": "jobs.nothing",
        "webhooks": [Webhook("http://localhost/", "failed")],
    }
    await ids(queue, 1)
    job = await queue.enqueue("jobs.echo", 1, key=2, **given, unique=True)
    assert await queue.get_job_ids() == ["a", "1"]
    stored = rq.job.Job.fetch("a", client)
    assert (stored.args, stored.kwargs, stored.description) == ((1,), {"key": 2}, "it")
    assert (stored.timeout, stored.result_ttl, stored.failure_ttl, stored.ttl) == (7, 8, 10, 9)
    assert (stored.retries_left, stored.retry_intervals, stored.repeats_left, stored.repeat_intervals) == (
        *(2, [3]),
        *(4, [5]),
    )
    assert (stored.meta, stored.webhooks[0].url) == ({"b": 1}, "http://localhost/")
    for callback in (stored.success_callback, stored.failure_callback, stored.stopped_callback):
        assert callback is jobs.nothing
    child = await queue.enqueue("jobs.echo", depends_on=job, rate_limit=RateLimit("r", 1))
    assert (child.dependency_ids, child.rate_limit_key, child.kwargs) == (["a"], "r", {})
    async with connection.pipeline() as pipeline:
        late = await queue.enqueue("jobs.echo", 3, pipeline=pipeline)
        assert late.id not in await queue.get_job_ids()
        await pipeline.execute()
    assert late.id in await queue.get_job_ids()
    explicit = await queue.enqueue("jobs.echo", args=(1, 2), kwargs={"ttl": 3, "args": 4}, ttl=60)
    assert (explicit.args, explicit.kwargs, explicit.ttl) == ((1, 2), {"ttl": 3, "args": 4}, 60)
    with pytest.raises(TypeError, match="args="):
        await queue.enqueue("jobs.echo", 1, args=(2,))
    with pytest.raises(AssertionError):
        rq.Queue(connection=client).enqueue("jobs.echo", 1, args=(2,))

    def function() -> None: ...

    function.__module__ = "__main__"
    enqueues: list[Any] = [queue.enqueue, rq.Queue(connection=client).enqueue]
    for enqueue in enqueues:
        with pytest.raises(ValueError, match="__main__"):
            _ = await enqueue(function)


async def test_enqueue_call(queue: Queue) -> None:
    """2.3, box 8: the same with the function's arguments apart."""
    assert_taken_alike(Queue.enqueue_call, rq.Queue.enqueue_call)
    job = await queue.enqueue_call("jobs.echo", (1,), {"ttl": 2}, "1m", 3, 4, 5, "it", at_front=True, meta={"a": 1})
    assert (job.args, job.kwargs, job.timeout) == ((1,), {"ttl": 2}, 60)
    assert (job.result_ttl, job.ttl, job.failure_ttl, job.description, job.meta) == (3, 4, 5, "it", {"a": 1})


async def test_enqueue_at_and_in(
    queue: Queue, connection: Redis, rq_queue: rq.Queue, start: Start, berlin: None
) -> None:
    """2.3, box 9: later; a datetime without a timezone is local time on that date; `at_front` is kept for then."""
    assert_taken_alike(Queue.enqueue_at, rq.Queue.enqueue_at)
    assert_taken_alike(Queue.enqueue_in, rq.Queue.enqueue_in)
    registry = queue.scheduled_job_registry
    for moment in (
        datetime(2100, 1, 15, 12),
        datetime(2100, 7, 15, 12),
        datetime(2100, 7, 15, 12, tzinfo=UTC),
    ):
        job = await queue.enqueue_at(moment, "jobs.add", 1, right=2, job_timeout=9)
        assert (job.status, job.args, job.kwargs, job.timeout) == (JobStatus.SCHEDULED, (1,), {"right": 2}, 9)
        theirs = rq_queue.enqueue_at(moment, jobs.add, 1)
        assert await registry.get_scheduled_time(job) == await registry.get_scheduled_time(theirs.id)
        assert rq_queue.scheduled_job_registry.get_scheduled_time(job.id) == moment.astimezone(UTC)
    winter, summer = [await registry.get_scheduled_time(job_id) for job_id in (await registry.get_job_ids())[::2][:2]]
    assert (winter.hour, summer.hour) == (11, 10)
    seconds, _ = await connection.time()
    job = await queue.enqueue_in(timedelta(hours=1), "jobs.add", 1)
    assert abs((await registry.get_scheduled_time(job)).timestamp() - int(seconds) - 3600) < 5
    first = await queue.enqueue("jobs.add", 1)
    due = await queue.enqueue_in(timedelta(seconds=0.2), "jobs.add", 1, at_front=True)
    assert due.status is JobStatus.SCHEDULED
    assert bool(rq.job.Job.fetch(due.id, rq_queue.connection).enqueue_at_front) is True
    await start("other")

    async def is_queued() -> bool:
        return await due.get_status() is JobStatus.QUEUED

    await until(is_queued)
    assert await queue.get_job_ids() == [due.id, first.id]


async def test_create_job(queue: Queue) -> None:
    """2.3, box 10: a job that is not enqueued."""
    assert_taken_alike(Queue.create_job, rq.Queue.create_job)
    job = queue.create_job("jobs.add", (1,), timeout=5, group_id="g")
    assert (job.status, job.origin, job.timeout, job.group_id) == (JobStatus.QUEUED, "default", 5, "g")
    assert queue.create_job("jobs.add", status=JobStatus.CREATED).status is JobStatus.CREATED
    assert queue.create_job("jobs.add").timeout == 180
    assert not await Job.exists(job.id, queue.connection)
    with pytest.raises(ValueError, match="job_timeout"):
        queue.create_job("jobs.add", timeout=0)
    for ttl in (0, -1):
        with pytest.raises(ValueError, match="ttl"):
            queue.create_job("jobs.add", ttl=ttl)


async def test_enqueue_job(queue: Queue, connection: Redis) -> None:
    """2.3, box 11: enqueueing a job that was made, at once or for later."""
    assert_taken_alike(Queue.enqueue_job, rq.Queue.enqueue_job)
    assert_taken_alike(Queue.schedule_job, rq.Queue.schedule_job)
    await ids(queue, 1)
    job = queue.create_job("jobs.add", (1,), job_id="a")
    assert await queue.enqueue_job(job, at_front=True) is job
    assert await queue.get_job_ids() == ["a", "1"]
    later = queue.create_job("jobs.add", (1,), job_id="b")
    assert (await queue.schedule_job(later, datetime(2100, 1, 1))).status is JobStatus.SCHEDULED
    assert await queue.scheduled_job_registry.get_job_ids() == ["b"]
    for enqueue in (queue.enqueue_job(job, unique=True), queue.schedule_job(later, datetime(2100, 1, 1), unique=True)):
        with pytest.raises(DuplicateJobError):
            await enqueue
    async with connection.pipeline() as pipeline:
        await queue.enqueue_job(queue.create_job("jobs.add", (1,), job_id="c"), pipeline)
        await queue.schedule_job(queue.create_job("jobs.add", (1,), job_id="d"), datetime(2100, 1, 1), pipeline)
        await pipeline.execute()
    assert await queue.get_job_ids() == ["a", "1", "c"]
    assert await queue.scheduled_job_registry.get_job_ids() == ["b", "d"]


async def test_enqueue_many(queue: Queue, connection: Redis, client: redis.Redis, work: Work) -> None:
    """2.3, box 12: many in one go, which may wait for each other."""
    assert_taken_alike(Queue.enqueue_many, rq.Queue.enqueue_many)
    theirs = rq.Queue("theirs", connection=client)
    orders = []
    for side, prepare in ((queue, Queue.prepare_data), (theirs, rq.Queue.prepare_data)):
        prefix = side.name
        datas = [
            prepare("jobs.add", (1,), job_id=f"{prefix}-met", depends_on="gone"),
            prepare("jobs.add", (1,), job_id=f"{prefix}-child", depends_on=f"{prefix}-free"),
            prepare("jobs.add", (1,), job_id=f"{prefix}-free"),
            prepare("jobs.add", (1,), job_id=f"{prefix}-other", at_front=True),
        ]
        made: Any = side.enqueue_many(datas, group_id=prefix)  # type: ignore[arg-type]
        orders.append([job.id.removeprefix(f"{prefix}-") for job in (made if side is theirs else await made)])
    assert orders[0] == orders[1] == ["free", "other", "child", "met"]
    assert [each.removeprefix("default-") for each in await queue.get_job_ids()] == [
        each.removeprefix("theirs-") for each in theirs.get_job_ids()
    ]
    assert await queue.deferred_job_registry.get_job_ids() == ["default-child"]
    group = {f"default-{name}".encode() for name in orders[0]}
    assert await connection.smembers("rq:group:default") == group
    for make in (Queue, rq.Queue):
        twice = [make.prepare_data("jobs.add", job_id="a") for _ in range(2)]
        with pytest.raises(ValueError, match="a"):
            _ = await (queue if make is Queue else theirs).enqueue_many(twice)  # type: ignore[misc, arg-type]
    assert not await Job.exists("a", connection)
    async with connection.pipeline() as pipeline:
        await queue.enqueue_many([Queue.prepare_data("jobs.add", (5,), job_id="p")], pipeline)
        assert not await Job.exists("p", connection)
        await pipeline.execute()
    await work(queue)
    for job_id in ("default-child", "p"):
        assert await (await Job.fetch(job_id, connection)).get_status() is JobStatus.FINISHED


async def test_sync_queue(connection: Any, listener: Listener) -> None:
    """2.3, box 13: with `is_async=False` a job runs within its enqueue, callbacks and webhooks too."""
    queue = Queue(connection=connection, is_async=False)
    job = await queue.enqueue(chores.succeed, 5, on_success=chores.on_success)
    assert (job.status, await job.return_value()) == (JobStatus.FINISHED, 5)
    assert (await lines(connection))[0].startswith(f"{job.id} success 5")
    hook = Webhook(listener.url("/"), "failed", method="POST")
    failed = await queue.enqueue(chores.fail, on_failure=chores.on_failure, webhooks=[hook])
    assert failed.status is JobStatus.FAILED
    result = await failed.latest_result()
    assert result is not None
    assert result.type is Result.Type.FAILED
    assert "ValueError: on purpose" in (result.exc_string or "")
    assert await lines(connection) == [f"{failed.id} failure ValueError on purpose with a traceback"]
    request, _, _ = await listener.next()
    assert request == "POST / HTTP/1.1"
    assert (await queue.count(), await queue.failed_job_registry.get_job_ids()) == (0, [failed.id])
    assert await connection.exists("rq:queues")


async def test_dependents_are_enqueued(queue: Queue, connection: Any, work: Work) -> None:
    """2.3, box 14: what waited is enqueued by the script that ends a job, each on its own queue."""
    parent = await queue.enqueue("jobs.add", 1)
    here = await queue.enqueue("jobs.add", 2, depends_on=parent)
    there = await Queue("there", connection).enqueue("jobs.add", 3, depends_on=[parent])
    later = await queue.enqueue("jobs.add", 4, depends_on=[parent, there])
    assert await connection.smembers(f"rq:job:{parent.id}:dependents") == {
        job.id.encode() for job in (here, there, later)
    }
    await work(queue)
    states = [await job.get_status() for job in (here, there, later)]
    assert states == [JobStatus.FINISHED, JobStatus.QUEUED, JobStatus.DEFERRED]
    assert await Queue("there", connection).get_job_ids() == [there.id]
    assert not await connection.exists("rq:ready:default")
    await work("there")
    assert await later.get_status() is JobStatus.QUEUED


async def test_unique(queue: Queue, connection: Any, rq_queue: rq.Queue, make_worker: MakeWorker, work: Work) -> None:
    """2.3, box 15: a unique job is refused as long as one of its id exists; another one replaces it."""
    for bad in (
        {},
        {"job_id": "a", "depends_on": "b"},
        {"job_id": "a", "rate_limit": RateLimit("r", 1)},
    ):
        with pytest.raises(ValueError, match="unique"):
            await queue.enqueue("jobs.nothing", unique=True, **bad)
    await queue.enqueue("jobs.nothing", job_id="a", unique=True)
    with pytest.raises(DuplicateJobError) as caught:
        await queue.enqueue("jobs.nothing", job_id="a", unique=True)
    assert caught.value.job_id == "a"
    with pytest.raises(rq.exceptions.DuplicateJobError):
        rq_queue.enqueue("jobs.nothing", job_id="a", unique=True)
    with pytest.raises(DuplicateJobError):
        await queue.enqueue_in(timedelta(1), "jobs.nothing", job_id="a", unique=True)
    await work()
    assert await (await Job.fetch("a", connection)).get_status() is JobStatus.FINISHED
    with pytest.raises(DuplicateJobError):
        await queue.enqueue("jobs.nothing", job_id="a", unique=True)
    await (await Job.fetch("a", connection)).delete()
    await queue.enqueue_in(timedelta(1), "jobs.nothing", job_id="a", unique=True)
    with pytest.raises(DuplicateJobError):
        await queue.enqueue("jobs.nothing", job_id="a", unique=True)
    for value in (1, 2):  # not unique: one entry, the later call
        await queue.enqueue("jobs.add", value, job_id="b")
    assert await queue.get_job_ids() == ["b"]
    assert (await Job.fetch("b", connection)).args == (2,)
