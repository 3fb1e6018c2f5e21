"""Jobs that rq enqueues, aiorq runs, and rq reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import anyio
import parity
import pytest
import redis
import rq
from redis.asyncio import Redis
from rq.job import JobStatus
from rq.registry import CanceledJobRegistry, FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry
from rq.results import Result

from aiorq import Queue, SimpleWorker, Worker
from tests.interop.callables import callables
from tests.interop.conftest import Command, Gate

MakeWorker = Callable[..., Worker]
RANDOM_ID_LENGTH = 32


def result_of(job: rq.job.Job) -> Result:
    result = job.latest_result()
    assert result is not None
    return result


def assert_nothing_runs(queue: rq.Queue) -> None:
    assert queue.count == 0
    assert queue.intermediate_queue.get_job_ids() == []
    assert StartedJobRegistry(queue=queue).get_job_ids(cleanup=False) == []
    assert not queue.connection.keys("rq:execution*")
    assert not queue.connection.keys("rq:aiorq:inbox:*")


async def test_every_callable(rq_queue: rq.Queue, make_worker: MakeWorker, jobs: ModuleType) -> None:
    forms = callables(jobs)
    enqueued = {name: rq_queue.enqueue(function, "you") for name, (function, _) in forms.items()}
    assert await make_worker().work(burst=True)
    returned = {name: job.return_value() for name, job in enqueued.items()}
    assert returned == {name: expected for name, (_, expected) in forms.items()}
    assert {job.get_status() for job in enqueued.values()} == {JobStatus.FINISHED}
    finished = FinishedJobRegistry(queue=rq_queue)
    assert finished.count == len(forms)
    assert all(job in finished for job in enqueued.values())
    assert_nothing_runs(rq_queue)


@pytest.mark.parametrize("function", ["add", "add_async"])
async def test_what_rq_reads_of_a_finished_job(
    function: str, rq_queue: rq.Queue, make_worker: MakeWorker, jobs: ModuleType
) -> None:
    enqueued = rq_queue.enqueue(getattr(jobs, function), 1, right=2, meta={"caller": "me"})
    worker = make_worker()
    await worker.work(burst=True)
    job = rq.job.Job.fetch(enqueued.id, rq_queue.connection)
    assert job.is_finished
    assert job.return_value() == 3
    assert job.worker_name == worker.name
    assert job.meta == {"caller": "me"}
    assert job.enqueued_at is not None
    assert job.started_at is not None
    assert job.ended_at is not None
    assert job.enqueued_at <= job.started_at <= job.ended_at
    result = result_of(job)
    assert result.type is Result.Type.SUCCESSFUL
    assert result.return_value == 3
    assert result.worker_name == worker.name
    assert result.execution_id is not None
    assert len(result.execution_id) == RANDOM_ID_LENGTH
    assert result.execution_started_at is not None
    assert result.execution_ended_at is not None
    assert result.execution_started_at <= result.execution_ended_at
    assert job.results() == [result]
    assert job.get_executions() == []


async def test_rq_waits_for_the_result(rq_queue: rq.Queue, make_worker: MakeWorker, jobs: ModuleType) -> None:
    job = rq_queue.enqueue(jobs.nothing)
    waiting = asyncio.create_task(asyncio.to_thread(job.latest_result, timeout=30))
    await make_worker().work(burst=True)
    result = await waiting
    assert result is not None
    assert result.type is Result.Type.SUCCESSFUL
    assert result.return_value is None


async def test_what_rq_reads_of_a_failed_job(rq_queue: rq.Queue, make_worker: MakeWorker, jobs: ModuleType) -> None:
    job = rq_queue.enqueue(jobs.fail, "a reason")
    worker = make_worker()
    await worker.work(burst=True)
    assert job.get_status() is JobStatus.FAILED
    assert job.return_value() is None
    result = result_of(job)
    assert result.type is Result.Type.FAILED
    assert result.worker_name == worker.name
    assert result.exc_string is not None
    assert result.exc_string.startswith("Traceback (most recent call last):\n")
    assert "in fail\n" in result.exc_string
    assert result.exc_string.endswith("ValueError: a reason\n")
    job = rq.job.Job.fetch(job.id, rq_queue.connection)
    assert job.worker_name == worker.name
    assert job.ended_at is not None
    failed = FailedJobRegistry(queue=rq_queue)
    assert job in failed
    assert failed.count == 1
    assert FinishedJobRegistry(queue=rq_queue).count == 0
    assert_nothing_runs(rq_queue)


@pytest.mark.parametrize("function", ["sleep", "sleep_async"])
async def test_timeout(function: str, rq_queue: rq.Queue, make_worker: MakeWorker, jobs: ModuleType) -> None:
    job = rq_queue.enqueue(getattr(jobs, function), 600, job_timeout=1)
    await make_worker().work(burst=True)
    assert job.get_status() is JobStatus.FAILED
    text = result_of(job).exc_string
    assert text is not None
    assert "JobTimeoutException: " in text
    assert "1 seconds" in text
    assert job in FailedJobRegistry(queue=rq_queue)


async def test_no_timeout(rq_queue: rq.Queue, make_worker: MakeWorker, jobs: ModuleType) -> None:
    job = rq_queue.enqueue(jobs.add, 1, job_timeout=-1)
    await make_worker().work(burst=True)
    assert job.return_value() == 2


@pytest.mark.parametrize("function", ["jobs.no_such", "no_such_module.function", "jobs.Greeter.no_such", "no_such"])
async def test_function_that_does_not_exist(function: str, rq_queue: rq.Queue, make_worker: MakeWorker) -> None:
    job = rq_queue.enqueue(function)
    await make_worker().work(burst=True)
    assert job.get_status() is JobStatus.FAILED
    assert function in str(result_of(job).exc_string)


async def test_killed_process(rq_queue: rq.Queue, make_worker: MakeWorker, jobs: ModuleType) -> None:
    job, next_job = rq_queue.enqueue(jobs.die), rq_queue.enqueue(jobs.add, 1)
    await make_worker().work(burst=True)
    assert job.get_status() is JobStatus.FAILED
    assert "SIGKILL" in str(result_of(job).exc_string)
    assert next_job.return_value() == 2


async def test_meta_is_changed_by_the_job(rq_queue: rq.Queue, make_worker: MakeWorker, jobs: ModuleType) -> None:
    job = rq_queue.enqueue(jobs.note, "progress", 0.5, meta={"caller": "me"})
    await make_worker().work(burst=True)
    assert job.get_status() is JobStatus.FINISHED, result_of(job).exc_string
    assert job.get_meta() == {"caller": "me", "progress": 0.5}


@pytest.mark.parametrize("function", ["tell_of_my_job", "tell_of_my_job_async"])
@pytest.mark.parametrize("kind", [Worker, SimpleWorker])
@pytest.mark.parametrize("options", [{}, {"on_success": rq.Callback("parity.on_success")}])
async def test_the_job_that_rq_finds_where_it_runs(
    options: dict[str, Any], kind: type[Worker], function: str, rq_queue: rq.Queue, connection: Redis, jobs_path: str
) -> None:
    job = rq_queue.enqueue(f"parity.{function}", **options)
    await kind("default", connection=connection, path=jobs_path).work(burst=True)
    assert job.return_value() == (job.id, "default", "started"), result_of(job).exc_string
    assert job.get_meta() == {"noted": f"parity.{function}"}
    assert rq.get_current_job() is None


async def test_the_job_that_rq_finds_where_its_enqueuer_runs_it(
    rq_queue: rq.Queue, connection: Redis, jobs: ModuleType
) -> None:
    job = await Queue(connection=connection, is_async=False).enqueue(parity.tell_of_my_job)
    assert await job.return_value() == (job.id, "default", "started")
    assert rq.get_current_job() is None


async def test_result_that_cannot_be_serialised(rq_queue: rq.Queue, make_worker: MakeWorker, jobs: ModuleType) -> None:
    job = rq_queue.enqueue(jobs.unserializable)
    await make_worker().work(burst=True)
    assert job.get_status() is JobStatus.FINISHED
    assert job.return_value() == "Unserializable return value"


@pytest.mark.parametrize(
    ("function", "options", "seconds", "score"),
    [
        ("add", {}, 500, 500),
        ("add", {"result_ttl": 60}, 60, 60),
        ("add", {"result_ttl": -1}, -1, "inf"),
        ("add", {"result_ttl": -1, "ttl": 60}, -1, "inf"),
        ("add", {"result_ttl": 0}, -2, None),
        ("fail", {}, 31_536_000, 31_536_000),
        ("fail", {"failure_ttl": 60}, 60, 60),
        ("fail", {"failure_ttl": -1}, -1, -1),
        ("fail", {"failure_ttl": 0}, -2, 0),
    ],
)
async def test_how_long_a_job_is_kept(
    function: str,
    options: dict[str, int],
    seconds: int,
    score: int | str | None,
    rq_queue: rq.Queue,
    client: redis.Redis,
    make_worker: MakeWorker,
    jobs: ModuleType,
) -> None:
    job = rq_queue.enqueue(getattr(jobs, function), 1, **options)
    await make_worker().work(burst=True)
    assert client.ttl(f"rq:job:{job.id}") == pytest.approx(seconds, abs=5)
    assert client.ttl(f"rq:results:{job.id}") == pytest.approx(seconds, abs=5)
    registry = FailedJobRegistry(queue=rq_queue) if function == "fail" else FinishedJobRegistry(queue=rq_queue)
    found: Any = client.zscore(registry.key, job.id)
    if isinstance(score, int) and score >= 0:
        now: Any = client.time()
        assert found - now[0] == pytest.approx(score, abs=5)
    else:
        assert found == (float(score) if score is not None else None)
    assert rq.job.Job.exists(job.id, client) is (seconds != -2)


async def test_result_ttl_of_the_worker(rq_queue: rq.Queue, client: redis.Redis, make_worker: MakeWorker) -> None:
    job = rq_queue.enqueue("jobs.add", 1)
    await make_worker(default_result_ttl=-1).work(burst=True)
    assert client.ttl(f"rq:job:{job.id}") == -1
    assert job in FinishedJobRegistry(queue=rq_queue)


async def test_json(client: redis.Redis, make_worker: MakeWorker) -> None:
    queue = rq.Queue(connection=client, serializer="json")
    added = queue.enqueue("jobs.add", 1, right=2, meta={"list": [1, 2]})
    echoed = queue.enqueue("jobs.echo", {"a": None}, b=[1.5])
    await make_worker(serializer="json").work(burst=True)
    assert added.return_value() == 3
    assert added.get_meta() == {"list": [1, 2]}
    assert echoed.return_value() == [[{"a": None}], {"b": [1.5]}]


async def test_job_of_another_serializer(rq_queue: rq.Queue, client: redis.Redis, make_worker: MakeWorker) -> None:
    other = rq.Queue(connection=client, serializer="json").enqueue("jobs.add", 1)
    job = rq_queue.enqueue("jobs.add", 1)
    await make_worker().work(burst=True)
    assert other.get_status() is JobStatus.FAILED
    assert "DeserializationError" in str(result_of(other).exc_string)
    assert job.return_value() == 2


async def test_many_jobs_of_several_queues(client: redis.Redis, make_worker: MakeWorker) -> None:
    high, low = rq.Queue("high", connection=client), rq.Queue("low", connection=client)
    data = [rq.Queue.prepare_data("jobs.add", (number,)) for number in range(20)]
    enqueued = [*low.enqueue_many(data), *high.enqueue_many(data)]
    worker = make_worker("high", "low", concurrency=4)
    await worker.work(burst=True)
    assert [job.return_value() for job in enqueued] == 2 * [number + 1 for number in range(20)]
    # The first queue was served first.
    last_of_high = max(result_of(job).execution_started_at for job in enqueued[20:])  # type: ignore[type-var]
    first_of_low = min(result_of(job).execution_started_at for job in enqueued[:20])  # type: ignore[type-var]
    assert last_of_high <= first_of_low  # type: ignore[operator]


async def test_what_rq_reads_while_a_job_runs(
    rq_queue: rq.Queue,
    client: redis.Redis,
    make_worker: MakeWorker,
    make_gate: Callable[[], Gate],
    rq_command: Command,
    jobs: ModuleType,
) -> None:
    gate = make_gate()
    job = rq_queue.enqueue(jobs.touch_and_wait, *gate.args)
    worker = make_worker("default", "other", name="aiorq-worker")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(worker.work, burst=True))
        await gate.reached()
        (seen,) = rq.Worker.all(client)
        assert seen.name == "aiorq-worker"
        assert seen.get_state() == "busy"
        assert seen.queue_names() == ["default", "other"]
        assert seen.get_current_job_id() == job.id
        assert seen.get_current_job() == job
        assert rq.Worker.count(queue=rq_queue) == 1
        assert job.get_status() is JobStatus.STARTED
        assert job.id in StartedJobRegistry(queue=rq_queue).get_job_ids()
        (execution,) = job.get_executions()
        assert execution.worker_name == "aiorq-worker"
        assert rq_queue.count == 0
        info = await rq_command("info")
        assert "aiorq-worker" in info
        assert "busy" in info
        assert "1 workers, 1 queues" in info
        assert "default" in info
        await gate.open()
    assert job.return_value() == "let through"
    assert rq.Worker.all(client) == []
    buried = rq.Worker.find_by_key("rq:worker:aiorq-worker", client)
    assert buried is not None
    assert buried.death_date is not None
    assert buried.successful_job_count == 1
    assert buried.failed_job_count == 0
    assert buried.total_working_time > 0
    assert 0 < client.ttl("rq:worker:aiorq-worker") <= 60


async def test_rq_info_of_a_worker_that_waits(
    rq_queue: rq.Queue, client: redis.Redis, make_worker: MakeWorker, rq_command: Command, jobs: ModuleType
) -> None:
    worker = make_worker(name="aiorq-worker", concurrency=3)
    failing, job = rq_queue.enqueue(jobs.fail), rq_queue.enqueue(jobs.add, 1)
    info = by_queue = ""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.work)
        for awaited in (failing, job):
            assert await asyncio.to_thread(awaited.latest_result, timeout=30)
        info = await rq_command("info")
        by_queue = await rq_command("info", "--by-queue", "--raw")
        worker.request_stop()
    assert "aiorq-worker" in info
    assert "idle" in info
    assert by_queue.splitlines() == [
        "queue default 0, 0 executing, 1 finished, 1 failed",
        "default: aiorq-worker (idle)",
    ]


async def test_rq_requeues_a_failed_job(rq_queue: rq.Queue, make_worker: MakeWorker, jobs: ModuleType) -> None:
    job = rq_queue.enqueue(jobs.fail, failure_ttl=600)
    await make_worker().work(burst=True)
    FailedJobRegistry(queue=rq_queue).requeue(job)
    assert job.get_status() is JobStatus.QUEUED
    await make_worker().work(burst=True)
    assert job.get_status() is JobStatus.FAILED
    assert [result.type for result in job.results()] == [Result.Type.FAILED] * 2
    assert FailedJobRegistry(queue=rq_queue).get_job_ids() == [job.id]


async def test_rq_cancels_and_deletes_jobs_in_the_queue(
    rq_queue: rq.Queue, make_worker: MakeWorker, jobs: ModuleType
) -> None:
    canceled, deleted, kept = (rq_queue.enqueue(jobs.add, number) for number in range(3))
    canceled.cancel()
    deleted.delete()
    await make_worker().work(burst=True)
    assert canceled.get_status() is JobStatus.CANCELED
    assert canceled in CanceledJobRegistry(queue=rq_queue)
    assert canceled.latest_result() is None
    assert deleted.latest_result() is None
    assert kept.return_value() == 3


async def test_expired_job(rq_queue: rq.Queue, client: redis.Redis, make_worker: MakeWorker) -> None:
    gone, job = rq_queue.enqueue("jobs.add", 1, ttl=60), rq_queue.enqueue("jobs.add", 1)
    client.expire(f"rq:job:{gone.id}", 0)
    await make_worker().work(burst=True)
    assert job.return_value() == 2
    assert_nothing_runs(rq_queue)


async def test_suspended_by_rq(rq_queue: rq.Queue, make_worker: MakeWorker, rq_command: Command) -> None:
    job = rq_queue.enqueue("jobs.add", 1)
    await rq_command("suspend")
    assert not await make_worker().work(burst=True)
    assert job.get_status() is JobStatus.QUEUED
    await rq_command("resume")
    assert await make_worker().work(burst=True)
    assert job.return_value() == 2


async def test_command_line(rq_queue: rq.Queue, client: redis.Redis, aiorq_command: Command, jobs: ModuleType) -> None:
    other = rq.Queue("other", connection=client)
    jobs_of_both = [
        rq_queue.enqueue(jobs.add, 1),
        other.enqueue(jobs.add_async, 2),
        rq_queue.enqueue(jobs.Greeter.shout, "you"),
    ]
    failing = other.enqueue(jobs.fail)
    await aiorq_command.work("default", "other")
    assert [job.return_value() for job in jobs_of_both] == [2, 3, "HELLO you"]
    assert failing.get_status() is JobStatus.FAILED
    assert_nothing_runs(rq_queue)
    assert rq.Worker.all(client) == []
