"""Parity with RQ 3.0: jobs and their states."""

from __future__ import annotations

import asyncio
import uuid
import zlib
from datetime import UTC, datetime
from typing import Any

import chores
import jobs
import pytest
import redis
import rq
import rq.exceptions
import rq.job
from redis.asyncio import Redis

from aiorq import Callback, Dependency, Job, JobStatus, Queue, RateLimit, Repeat, Result, Retry, Webhook
from aiorq.errors import (
    DeserializationError,
    FunctionNotFoundError,
    InvalidJobOperation,
    NoSuchJobError,
)
from aiorq.executions import ExecutionRegistry
from aiorq.job import cancel_job, get_current_job, requeue_job
from tests.execution.processes import Fifo
from tests.parity.conftest import MakeWorker, Start, Work, lines
from tests.parity.signatures import assert_taken_alike

STATES = ["queued", "started", "finished", "failed", "deferred", "scheduled", "canceled", "stopped", "ready_to_enqueue"]


def test_constructor() -> None:
    """2.4, box 1: a job object; its id is random or given."""
    assert_taken_alike(Job, rq.job.Job)
    with pytest.raises(TypeError):
        rq.job.Job("a")
    assert uuid.UUID(Job().id).version == 4
    assert Job().id != Job().id
    assert Job("Az09_-").id == "Az09_-"
    for bad in ("", "a b", "a:b", "ä", "a\n", "a/b"):
        with pytest.raises(ValueError, match="job id"):
            Job(bad)
    for kind in (5, b"a"):
        with pytest.raises(TypeError):
            Job(kind)  # type: ignore[arg-type]


async def test_create(connection: Redis, client: redis.Redis) -> None:
    """2.4, box 2: making a job."""
    assert_taken_alike(Job.create, rq.job.Job.create)
    for args in ((), (1, "two"), ("x" * 100,)):
        for kwargs in ({}, {"b": "y" * 80, "a": None}):
            ours = Job.create("jobs.echo", args, kwargs, connection)
            theirs = rq.job.Job.create("jobs.echo", args, kwargs, client)
            assert ours.description == theirs.description == ours.get_call_string() == theirs.get_call_string()
    job = Job.create("jobs.add", (1,), {"right": 2}, connection, 3, 4, JobStatus.QUEUED, "it", "p", 5, Retry(6, 7), "a")
    assert (job.args, job.kwargs, job.result_ttl, job.ttl) == ((1,), {"right": 2}, 3, 4)
    assert (job.status, job.description, job.dependency_ids, job.timeout) == (JobStatus.QUEUED, "it", ["p"], 5)
    assert (job.retries_left, job.retry_intervals, job.id) == (6, [7], "a")
    plain = Job.create("jobs.add", origin="q", meta={"a": 1}, failure_ttl=8, serializer="json", group_id="g")
    assert (plain.status, plain.origin, plain.meta, plain.failure_ttl) == (JobStatus.CREATED, "q", {"a": 1}, 8)
    assert (plain.group_id, plain.serializer.loads(zlib.decompress(plain.data))[0]) == ("g", "jobs.add")
    hook = Webhook("http://localhost/", "failed")
    called = Job.create(
        "jobs.add",
        on_success=Callback("jobs.nothing", 5),
        on_failure=jobs.nothing,
        on_stopped="jobs.nothing",
        webhooks=[hook],
    )
    assert (called.success_callback_name, called.success_callback_timeout) == ("jobs.nothing", 5)
    assert (called.failure_callback_name, called.stopped_callback_name) == ("jobs.nothing", "jobs.nothing")
    assert called.webhooks == [hook]
    assert await connection.keys() == []


async def test_functions(queue: Queue, connection: Redis, client: redis.Redis, work: Work) -> None:
    """2.4, box 3: what may be a job's function."""
    adder = chores.Adder(4)
    calls: list[tuple[Any, tuple[Any, ...], Any]] = [
        (jobs.add, (1, 2), 3),
        (len, ("abc",), 3),
        (adder.add, (1,), 5),
        ("jobs.add", (1, 2), 3),
        ("chores.Adder.double", (4,), 8),
        ("len", ("ab",), 2),
        (adder, (2,), 42),
        (chores.Adder.double, (5,), 10),
    ]
    made = [await queue.enqueue(function, *args) for function, args, _ in calls]
    for job, (function, args, _) in zip(made, calls, strict=True):
        theirs = rq.job.Job.create(function, args, connection=client)
        assert (job.func_name, job.description) == (theirs.func_name, theirs.description)
        assert rq.job.Job.fetch(job.id, client).func_name == theirs.func_name
    await work()
    assert [await job.return_value() for job in made] == [value for _, _, value in calls]
    bad: Any
    for bad in (chores.Adder, 5, None):
        with pytest.raises(TypeError):
            rq.job.Job.create(bad, connection=client)
        with pytest.raises(TypeError):
            await queue.enqueue(bad)


async def test_class_methods(queue: Queue, connection: Redis, client: redis.Redis) -> None:
    """2.4, box 4: finding jobs."""
    assert_taken_alike(Job.exists, rq.job.Job.exists)
    assert_taken_alike(Job.fetch, rq.job.Job.fetch)
    assert_taken_alike(Job.fetch_many, rq.job.Job.fetch_many)
    job = await queue.enqueue("jobs.add", 1, job_id="a")
    assert (await Job.exists("a", connection), await Job.exists("b", connection)) == (True, False)
    for job_id in ("a", "a:execution"):
        assert await Job.fetch(job_id, connection) == job
    with pytest.raises(NoSuchJobError):
        await Job.fetch("b", connection)
    assert await Job.fetch_many(["b", "a", "a:execution"], connection) == [None, job, job]
    assert job.key == rq.job.Job("a", connection=client).key == "rq:job:a"


async def test_module_functions(queue: Queue, connection: Redis, work: Work) -> None:
    """2.4, box 5: canceling and requeueing by id; the job that runs."""
    assert_taken_alike(cancel_job, rq.job.cancel_job)
    assert_taken_alike(requeue_job, rq.job.requeue_job)
    assert_taken_alike(get_current_job, rq.job.get_current_job, without=("connection", "job_class"))
    first = await queue.enqueue("jobs.nothing")
    child = await queue.enqueue("jobs.nothing", depends_on=first)
    await cancel_job(first.id, connection, enqueue_dependents=True)
    assert await child.get_status() is JobStatus.QUEUED
    await child.delete()
    failed = await queue.enqueue("jobs.fail")
    assert get_current_job() is None
    said = await queue.enqueue("chores.class_of_the_job")
    await work()
    assert await said.return_value() == "Job"
    assert get_current_job() is None
    assert (await requeue_job(failed.id, connection)) == failed
    assert await queue.get_job_ids() == [failed.id]
    for call in (cancel_job("none", connection), requeue_job("none", connection)):
        with pytest.raises(NoSuchJobError):
            await call


async def test_data(queue: Queue, connection: Any, client: redis.Redis, work: Work) -> None:
    """2.4, box 6: the attributes of a job, which are those that RQ reads, each as last read."""
    names = (
        "id origin func func_name instance args kwargs data description meta timeout ttl result_ttl failure_ttl "
        "created_at enqueued_at started_at ended_at last_heartbeat worker_name group_id retries_left retry_intervals "
        "number_of_retries enqueue_at_front enqueue_at_front_on_retry repeats_left repeat_intervals rate_limit_key "
        "rate_limit_concurrency has_rate_limit success_callback failure_callback stopped_callback "
        "success_callback_timeout failure_callback_timeout stopped_callback_timeout"
    )
    parent = await queue.enqueue("jobs.add", 1, job_id="p")
    many = [
        Queue.prepare_data(
            chores.Adder(1).add,
            (1,),
            {},
            timeout=11,
            ttl=3600,
            result_ttl=13,
            failure_ttl=14,
            meta={"a": 1},
            retry=Retry(2, [3, 4], enqueue_at_front=True),
            repeat=Repeat(1, 3600),
            on_success=Callback(jobs.nothing, 5),
            on_failure=Callback(jobs.nothing, 6),
            on_stopped=Callback(jobs.nothing, 7),
            depends_on=Dependency(["p"], allow_failure=True, enqueue_at_front=True),
            rate_limit=RateLimit("r", 8),
            webhooks=[Webhook("http://localhost:9/", "failed")],
            job_id="a",
        )
    ]
    [job] = await queue.enqueue_many(many, group_id="g")
    child = await queue.enqueue("jobs.add", 1, depends_on="a")
    for when in ("deferred", "ended"):
        if when == "ended":
            await work()
        await job.refresh()
        theirs = rq.job.Job.fetch("a", client)
        for name in names.split():
            ours, his = getattr(job, name), getattr(theirs, name)
            if name == "instance":
                ours, his = ours.left, his.left
            elif name == "data":
                ours = zlib.decompress(ours)  # which is here what Redis holds
            elif name == "func":
                ours, his = ours.__qualname__, his.__qualname__
            assert ours == his or (not ours and not his), name
        for name in ("created_at", "enqueued_at", "started_at", "ended_at", "last_heartbeat"):
            moment = getattr(job, name)
            assert moment is None or moment.utcoffset() == datetime.now(UTC).utcoffset(), name
        assert (job.dependency_ids, await job.dependent_ids()) == (["p"], theirs.dependent_ids)
        assert theirs.dependent_ids == ([child.id] if when == "deferred" else [])
        assert job.allow_dependency_failures is True
        assert job.webhooks[0].to_dict() == theirs.webhooks[0].to_dict()
        assert await job.dependency() == parent
    assert job.ended_at is not None
    registry = job.execution_registry
    assert isinstance(registry, ExecutionRegistry)
    assert registry.key == rq.job.Job.fetch("a", client).execution_registry.key
    await connection.hset("rq:job:a", mapping={"data": zlib.compress(b"nonsense"), "meta": b"\x80nonsense"})
    await job.refresh()
    theirs = rq.job.Job.fetch("a", client)
    for name in ("func_name", "args", "kwargs", "instance"):
        with pytest.raises(rq.exceptions.DeserializationError):
            getattr(theirs, name)
        with pytest.raises(DeserializationError):
            getattr(job, name)
    assert job.meta == theirs.meta == {"unserialized": b"\x80nonsense"}
    await job.save()
    assert await connection.hget("rq:job:a", "meta") == b"\x80nonsense"
    lost = Job.create("nowhere.nothing", on_success="nowhere.callback")
    with pytest.raises(FunctionNotFoundError):
        _ = lost.func
    with pytest.raises(FunctionNotFoundError):
        _ = lost.success_callback


async def test_status(queue: Queue, connection: Any) -> None:
    """2.4, box 7: the state, asked for or as last read."""
    assert_taken_alike(Job.get_status, rq.job.Job.get_status)
    job = await queue.enqueue("jobs.nothing", job_id="a")
    for state in STATES:
        await connection.hset(job.key, "status", state)
        assert await job.get_status() == state
        assert await job.get_status(refresh=False) == state
        assert [name for name in STATES if getattr(job, f"is_{name}")] == [state]
    assert isinstance(job.status, JobStatus)
    await connection.hset(job.key, "status", "queued")
    assert job.is_ready_to_enqueue
    await job.refresh()
    assert job.is_queued
    await job.delete()
    with pytest.raises(InvalidJobOperation):
        await job.get_status()


async def test_reading_and_writing(queue: Queue, connection: Any, client: redis.Redis) -> None:
    """2.4, box 8: meta, saving, reading anew, the position, and durations with a default."""
    for name in [
        "get_meta",
        "save_meta",
        "save",
        "refresh",
        "get_position",
        "get_call_string",
        "get_ttl",
        "get_result_ttl",
    ]:
        assert_taken_alike(getattr(Job, name), getattr(rq.job.Job, name))
    assert_taken_alike(Job.get_ttl, rq.job.Job.get_ttl)
    assert_taken_alike(Job.get_result_ttl, rq.job.Job.get_result_ttl)
    await queue.enqueue("jobs.nothing")
    job = await queue.enqueue("jobs.add", 1, job_id="a", ttl=60, meta={"step": 1})
    assert await job.get_position() == rq.job.Job.fetch("a", client).get_position() == 1
    assert job.get_call_string() == "jobs.add(1)"
    assert (job.get_ttl(5), job.get_result_ttl(7), Job("b").get_ttl(5), Job("b").get_ttl()) == (60, 7, 5, None)
    theirs = rq.job.Job.fetch("a", client)
    theirs.meta["step"] = 2
    theirs.save_meta()  # type: ignore[no-untyped-call]
    assert (job.meta, await job.get_meta(refresh=False)) == ({"step": 1}, {"step": 1})
    assert await job.get_meta() == job.meta == {"step": 2}
    job.meta["step"] = 3
    job.description = "changed"
    await job.save_meta()
    assert await connection.hget(job.key, "description") != b"changed"
    job.meta["step"] = 4
    await job.save(include_meta=False)
    await connection.hset(job.key, "status", "started")
    stored = rq.job.Job.fetch("a", client)
    assert (stored.meta, stored.description) == ({"step": 3}, "changed")
    async with connection.pipeline() as pipeline:
        await job.save(pipeline)
        assert rq.job.Job.fetch("a", client).meta == {"step": 3}
        assert await pipeline.execute() == [1]
    assert rq.job.Job.fetch("a", client).meta == {"step": 4}
    assert await connection.hget(job.key, "status") == b"started"
    await job.refresh()
    assert job.is_started
    fields = await connection.hgetall(job.key)
    read = Job.restore("a", fields, job.store)
    assert {name: getattr(read, name) for name in ("meta", "description", "ttl")} == {
        "meta": {"step": 4},
        "description": "changed",
        "ttl": 60,
    }
    created = Job.create("jobs.add", connection=connection, id="c")
    await created.save()
    assert (await Job.fetch("c", connection)).status is JobStatus.CREATED
    await connection.delete(job.key)
    for gone in (job.save(), job.save_meta()):
        with pytest.raises(InvalidJobOperation):
            await gone
    with pytest.raises(NoSuchJobError):
        await job.refresh()


async def test_results(queue: Queue, connection: Redis, work: Work, start: Start) -> None:
    """2.4, box 9: what a job returned, its latest outcome, waited for if need be, and all of them."""
    for name in ("return_value", "latest_result", "results"):
        assert_taken_alike(getattr(Job, name), getattr(rq.job.Job, name))
    job = await queue.enqueue("chores.fail_until", 2)
    assert (await job.return_value(), await job.latest_result(), await job.results()) == (None, None, [])
    assert await job.latest_result(timeout=0.01) is None
    await work()
    assert (await job.return_value(), [each.type for each in await job.results()]) == (None, [Result.Type.FAILED])
    await job.requeue()
    waiting = asyncio.create_task(Job.create("jobs.nothing", connection=connection, id="x").latest_result(timeout=20))
    await start()
    result = await job.latest_result(timeout=20)
    assert result is not None  # at once: there was one
    other = await queue.enqueue("jobs.add", 1, job_id="x")
    first = await waiting
    assert first is not None
    assert first.return_value == await other.return_value(refresh=True) == 2


async def test_cancel(queue: Queue, connection: Any, start: Start, told: Fifo, client: redis.Redis) -> None:
    """2.4, box 10: a canceled job is in one place, is not deleted, and does not run on."""
    assert_taken_alike(Job.cancel, rq.job.Job.cancel)
    parent = await queue.enqueue("jobs.nothing")
    job = await queue.enqueue("jobs.nothing", depends_on=parent)
    child = await Queue("other", connection).enqueue("jobs.nothing", depends_on=job)
    assert await job.cancel() == {}
    assert (await job.get_status(), await child.get_status()) == (JobStatus.CANCELED, JobStatus.DEFERRED)
    assert await queue.canceled_job_registry.get_job_ids() == [job.id]
    assert await queue.deferred_job_registry.get_job_ids() == []
    assert job.id in await parent.dependent_ids()
    with pytest.raises(InvalidJobOperation):
        await job.cancel()
    grandchild = await queue.enqueue("jobs.nothing", depends_on=child)
    assert await child.cancel(remove_from_dependencies=True, enqueue_dependents=True) == {"default": [grandchild.id]}
    assert await job.dependent_ids() == []
    limited = await queue.enqueue("jobs.nothing", rate_limit=RateLimit("r", 1))
    async with connection.pipeline() as pipeline:
        await parent.cancel(pipeline)
        with pytest.raises(InvalidJobOperation, match="rate limit"):
            await limited.cancel(pipeline)
        await pipeline.execute()
    assert await parent.get_status() is JobStatus.CANCELED
    for waits in (grandchild, limited):
        await waits.cancel()
    assert await queue.get_job_ids() == []
    running = await queue.enqueue("waiting.hang", told.path)
    await start(lease=3)
    [horse] = await told.pids()
    await running.cancel()
    assert await horse.ended()
    assert await running.get_status() is JobStatus.CANCELED
    assert running.id in await queue.canceled_job_registry.get_job_ids()
    assert await queue.finished_job_registry.count() == 0


async def test_requeue_and_delete(queue: Queue, connection: Any, work: Work) -> None:
    """2.4, box 11: a failed job may have another life; a deleted one leaves nothing."""
    for name in ("requeue", "delete", "delete_dependents"):
        assert_taken_alike(getattr(Job, name), getattr(rq.job.Job, name))
    limit = RateLimit("r", 1)
    job = await queue.enqueue("jobs.fail", job_id="a", rate_limit=limit)
    await work()
    assert await connection.zcard("rq:rl:r:allowed") == 0
    await queue.enqueue("jobs.nothing", job_id="b")
    await job.refresh()
    assert job.ended_at is not None
    assert await job.requeue(at_front=True) is job
    assert job.started_at is None
    assert [job.ended_at] == [None]
    assert await queue.get_job_ids() == ["a", "b"]
    assert await connection.zrange("rq:rl:r:allowed", 0, -1) == [b"a"]
    assert await queue.failed_job_registry.count() == 0
    with pytest.raises(InvalidJobOperation):
        await job.requeue()
    for pipelined in (False, True):
        parent = await queue.enqueue("jobs.nothing", job_id="p")
        for name, above in (("c", "p"), ("d", "c")):
            await queue.enqueue("jobs.nothing", job_id=name, depends_on=above)
        if pipelined:
            async with connection.pipeline() as pipeline:
                await parent.delete_dependents(pipeline)
                await pipeline.execute()
        else:
            await parent.delete_dependents()
        assert await connection.keys("rq:job:[cd]*") == []
        assert await parent.get_status() is JobStatus.QUEUED
        await queue.enqueue("jobs.nothing", job_id="c", depends_on="p")
        if pipelined:
            async with connection.pipeline() as pipeline:
                await parent.delete(pipeline, delete_dependents=True)
                await pipeline.execute()
        else:
            await parent.delete(delete_dependents=True)
        assert await connection.keys("rq:job:[pcd]*") == []
    await queue.enqueue("jobs.nothing", job_id="p")
    async with connection.pipeline() as pipeline:
        await Job("p", connection).delete(pipeline)
        await pipeline.execute()
    assert await queue.get_job_ids() == ["a", "b"]
    assert await connection.keys("*:p") == []


async def test_relatives_and_runs(queue: Queue, connection: Redis, start: Start, told: Fifo, gate: Fifo) -> None:
    """2.4, box 12: what a job waits for, and its runs."""
    assert_taken_alike(Job.get_executions, rq.job.Job.get_executions)
    assert_taken_alike(Job.fetch_dependencies, rq.job.Job.fetch_dependencies, without=("watch", "pipeline"))
    unmet = ("parent_job", "pipeline", "exclude_job_id", "refresh_job_status")
    assert_taken_alike(Job.dependencies_are_met, rq.job.Job.dependencies_are_met, without=unmet)
    parent = await queue.enqueue("waiting.meet", told.path, gate.path)
    job = await queue.enqueue("jobs.nothing", depends_on=parent)
    assert await job.fetch_dependencies() == [parent]
    assert not await job.dependencies_are_met()
    assert await parent.get_executions() == []
    worker = await start()
    await told.pids()
    [execution] = await parent.get_executions()
    assert (execution.job_id, execution.job, execution.worker_name) == (parent.id, parent, worker.name)
    gate.let()
    assert await job.latest_result(timeout=20) is not None
    assert await job.dependencies_are_met()
    assert await parent.get_executions() == []


async def test_coroutines(queue: Queue, connection: Any, work: Work) -> None:
    """2.4, box 13: coroutine functions are run, and coroutine callbacks are awaited."""
    job = await queue.enqueue(chores.succeed_async, 5, on_success=chores.on_success_async)
    await work()
    assert (await job.get_status(), await job.return_value()) == (JobStatus.FINISHED, 5)
    assert await lines(connection) == [f"{job.id} success 5"]
    with pytest.raises(TypeError, match="not its call"):
        await queue.enqueue(chores.succeed_async(5))  # type: ignore[call-overload]


async def test_subclasses(connection: Redis, make_worker: MakeWorker, work: Work) -> None:
    """2.4, box 14: a job class of one's own, given as class or as dotted path."""
    for given in (chores.OwnJob, "chores.OwnJob"):
        queue = Queue("own", connection, job_class=given)
        job = await queue.enqueue("chores.class_of_the_job")
        assert type(job) is chores.OwnJob
        assert type(await queue.fetch_job(job.id)) is chores.OwnJob
        await work("own", job_class=given)
        assert await job.return_value() == "OwnJob"
        [served] = make_worker("own", job_class=given, queue_class="chores.OwnQueue").queues
        assert (type(served), served.job_class) == (chores.OwnQueue, chores.OwnJob)


def test_states() -> None:
    """2.5, box 1: the words for the states of a job."""
    assert {each.name: each.value for each in JobStatus} == {each.name: each.value for each in rq.job.JobStatus}
    assert len(JobStatus) == 11
    assert JobStatus("queued") is JobStatus.QUEUED
    assert str(JobStatus.RATE_LIMITED) == "rate_limited"
