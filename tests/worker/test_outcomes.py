"""How each outcome of a run is recorded, and for how long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from aiorq import JobStatus, Queue, Result, Worker
from aiorq.execution.forking import ForkExecutor
from aiorq.execution.horse import Context
from aiorq.execution.zygote import Settings
from aiorq.store import runs
from aiorq.store.base import store_of
from aiorq.worker.options import WorkerOptions
from aiorq.worker.run import Runner
from aiorq.worker.state import State
from tests.execution.processes import Fifo
from tests.worker.conftest import WAITING, Log, Started, result_of, working


class TestSuccess:
    async def test_records(self, queue: Queue, make_worker: Callable[..., Worker]) -> None:
        job = await queue.enqueue("jobs.add_async", 1, right=2)
        await make_worker(name="the-worker").work(burst=True)
        result = await result_of(job)
        assert (result.type, result.return_value, result.exc_string) == (Result.Type.SUCCESSFUL, 3, None)
        assert result.worker_name == "the-worker"
        await job.refresh()
        assert job.status == JobStatus.FINISHED
        assert job.worker_name == "the-worker"
        assert job.enqueued_at is not None
        assert job.started_at is not None
        assert job.ended_at is not None
        assert job.enqueued_at <= job.started_at <= job.ended_at
        assert await queue.connection.keys("rq:execution*") == []
        assert await queue.connection.keys("rq:wip:*") == []

    @pytest.mark.parametrize(("result_ttl", "expected"), [(None, 500), (60, 60), ("1h", 3600), (-1, -1)])
    async def test_it_is_kept(
        self, queue: Queue, make_worker: Callable[..., Worker], result_ttl: int | str | None, expected: int
    ) -> None:
        job = await queue.enqueue("jobs.nothing", result_ttl=result_ttl)
        await make_worker().work(burst=True)
        for key in (job.key, f"rq:results:{job.id}"):
            assert expected - 10 < await queue.connection.ttl(key) <= expected
        seconds, _ = await queue.connection.time()
        score = await queue.connection.zscore("rq:finished:default", job.id)
        assert score == float("inf") if expected < 0 else seconds + expected - 10 < score <= seconds + expected  # type: ignore[operator]

    async def test_it_is_not_kept(self, queue: Queue, make_worker: Callable[..., Worker]) -> None:
        job = await queue.enqueue("jobs.nothing", result_ttl=0)
        await make_worker().work(burst=True)
        gone = f"rq:aiorq:gone:{job.id}"  # so that the enqueue may be sent again
        assert await queue.connection.keys(f"*{job.id}*") == [gone.encode()]
        assert 0 < await queue.connection.ttl(gone) <= 60
        assert await queue.connection.exists("rq:finished:default") == 0

    async def test_default_of_the_worker(self, queue: Queue, make_worker: Callable[..., Worker]) -> None:
        jobs = [await queue.enqueue("jobs.nothing", result_ttl=ttl) for ttl in (None, 60)]
        await make_worker(default_result_ttl=1000).work(burst=True)
        ttls = [await queue.connection.ttl(job.key) for job in jobs]
        assert 990 < ttls[0] <= 1000
        assert 50 < ttls[1] <= 60

    async def test_what_cannot_be_serialised(self, queue: Queue, make_worker: Callable[..., Worker], log: Log) -> None:
        job = await queue.enqueue("jobs.unserializable")
        await make_worker().work(burst=True)
        assert await job.return_value() == "Unserializable return value"
        assert log.count(f"jobs.unserializable ({job.id}): its result, a function, cannot be serialised") == 1

    async def test_8_megabytes(self, queue: Queue, make_worker: Callable[..., Worker]) -> None:
        text = "0123456789abcdef" * (1 << 19)
        job = await queue.enqueue("jobs.echo", text)
        await make_worker().work(burst=True)
        assert await job.return_value() == ((text,), {})


class TestFailure:
    async def test_records(self, queue: Queue, make_worker: Callable[..., Worker], log: Log) -> None:
        job = await queue.enqueue("jobs.fail", "on purpose")
        await make_worker(name="the-worker").work(burst=True)
        result = await result_of(job)
        assert (result.type, result.return_value) == (Result.Type.FAILED, None)
        assert result.exc_string.startswith("Traceback (most recent call last):\n")
        assert result.exc_string.endswith("ValueError: on purpose\n")
        assert await job.get_status() == JobStatus.FAILED
        assert log.count("jobs.fail failed after") == 1
        assert log.count("ValueError: on purpose") == 1
        assert await queue.connection.keys("rq:execution*") == []

    @pytest.mark.parametrize(("failure_ttl", "expected"), [(None, 31_536_000), (60, 60), (-1, -1)])
    async def test_it_is_kept(
        self, queue: Queue, make_worker: Callable[..., Worker], failure_ttl: int | None, expected: int
    ) -> None:
        job = await queue.enqueue("jobs.fail", failure_ttl=failure_ttl)
        await make_worker().work(burst=True)
        assert expected - 10 < await queue.connection.ttl(job.key) <= expected
        seconds, _ = await queue.connection.time()
        score = await queue.connection.zscore("rq:failed:default", job.id)
        assert score is not None
        assert score == -1 if expected < 0 else seconds + expected - 10 < score <= seconds + expected

    @pytest.mark.parametrize(
        ("function", "args", "cause"),
        [
            (
                "jobs.die",
                (),
                "HorseTerminatedError: the process that ran the job was killed by signal 9 (SIGKILL): not ",
            ),
            ("os._exit", (3,), "HorseTerminatedError: the process that ran the job exited with code 3"),
            ("sys.exit", (3,), "SystemExit: 3\n"),
            ("jobs.add", (), "TypeError: add() missing 1 required positional argument: 'left'\n"),
            ("jobs.no_such", (), "FunctionNotFoundError: "),
            ("no_such.function", (), "FunctionNotFoundError: "),
        ],
    )
    async def test_causes(
        self, queue: Queue, make_worker: Callable[..., Worker], function: str, args: tuple[int, ...], cause: str
    ) -> None:
        job = await queue.enqueue(function, *args)
        good = await queue.enqueue("jobs.add", 1)
        await make_worker().work(burst=True)
        assert cause in (await result_of(job)).exc_string
        assert await good.return_value() == 2


class TestTimeout:
    async def test_a_job_is_told(self, queue: Queue, start: Started) -> None:
        jobs = [await queue.enqueue(name, 3600, job_timeout=1) for name in ("jobs.sleep", "jobs.sleep_async")]
        await start(concurrency=2)
        for job in jobs:
            text = (await result_of(job)).exc_string
            assert text.endswith("JobTimeoutException: the job ran longer than its timeout of 1 seconds\n")

    async def test_a_job_that_goes_on_is_killed(self, queue: Queue, told: Fifo) -> None:
        """With the executor that the worker has, but for its patience."""
        job = await queue.enqueue("waiting.ignore_timeout", told.path, job_timeout=1)
        store = store_of(queue.connection)
        state = State(WorkerOptions(queues=("default",), name="the-worker"), store)
        settings = Settings(Context("the-worker", "pickle", "rq", {}), [WAITING], [])
        executor = ForkExecutor(settings, timeout_grace=0.2)
        await executor.start()
        claimed = await runs.claim(store, "the-worker", ["default"], 1, 15)
        assert claimed is not None
        async with asyncio.TaskGroup() as tasks:
            Runner(state, executor, tasks).take(claimed, time.monotonic())
        await executor.close()
        assert (await result_of(job)).exc_string == (
            "aiorq.errors.JobTimeoutException: the job ran longer than its timeout of 1 seconds and went on after it "
            "was told; its process was killed\n"
        )

    async def test_no_timeout(self, queue: Queue, start: Started, told: Fifo, gate: Fifo) -> None:
        job = await queue.enqueue("waiting.meet", told.path, gate.path, job_timeout=-1)
        await start()
        await told.pids()
        gate.let()
        assert (await result_of(job)).type is Result.Type.SUCCESSFUL


async def test_what_a_job_prints_is_passed_on(
    queue: Queue, make_worker: Callable[..., Worker], capfd: pytest.CaptureFixture[str]
) -> None:
    await queue.enqueue("builtins.print", "hello")
    await make_worker().work(burst=True)
    assert capfd.readouterr().out == "hello\n"


async def test_a_thousand_jobs(queue: Queue, make_worker: Callable[..., Worker]) -> None:
    await queue.enqueue_many([Queue.prepare_data("jobs.add", (number,)) for number in range(1000)])
    worker = make_worker(concurrency=4, preload="jobs")
    async with working(worker, burst=True) as task:
        assert await asyncio.wait_for(task, 50)
    assert await queue.connection.zcard("rq:finished:default") == 1000
    assert await queue.connection.hget(f"rq:worker:{worker.name}", "successful_job_count") == b"1000"
    assert await queue.connection.keys("rq:execution*") == []
