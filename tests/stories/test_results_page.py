"""What RQ's page on results shows: outcomes, how long they are kept, retries, interruptions and timeouts."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import letters
import pytest
from redis.asyncio import Redis

from aiorq import Job, JobStatus, Queue, Repeat, Result, Retry
from aiorq.store.base import store_of
from tests.execution.processes import Fifo, Process
from tests.stories.conftest import Work, Works
from tests.worker.conftest import Log, result_of

LETTER = "Dear Bob, all is well here"


class TestResults:
    async def test_the_latest(self, connection: Redis, work: Work) -> None:
        queue = Queue(connection=connection)
        await queue.enqueue(letters.count_words, LETTER, job_id="my_id")
        await queue.enqueue(letters.divide_by_zero, 1, job_id="my_other_id")
        await work(queue)

        job = await Job.fetch(id="my_id", connection=connection)
        result = await job.latest_result()
        assert result is not None
        assert result.type is result.Type.SUCCESSFUL is Result.Type.SUCCESSFUL
        assert result.return_value == 6
        assert result.exc_string is None
        assert repr(result) == f"Result(job_id='my_id', type=SUCCESSFUL, id={result.id!r})"

        job = await Job.fetch(id="my_other_id", connection=connection)
        result = await job.latest_result()
        assert result is not None
        assert result.type is result.Type.FAILED
        assert "ZeroDivisionError: division by zero" in (result.exc_string or "")
        assert result.return_value is None

    async def test_the_return_value(self, connection: Redis, work: Work, tmp_path: Path) -> None:
        """Of the latest result, where it is a success."""
        plan = tmp_path / "plan"
        plan.write_text("once\nraise\ntwice")
        queue = Queue(connection=connection)
        await queue.enqueue(letters.follow, str(plan), job_id="my_id")
        await work(queue)
        job = await Job.fetch(id="my_id", connection=connection)
        assert await job.return_value() == "once"

        await queue.finished_job_registry.requeue("my_id")
        await work(queue)
        assert await job.return_value() is None
        await queue.failed_job_registry.requeue("my_id")
        await work(queue)
        assert await job.return_value() == "twice"

        results = await job.results()
        assert [result.type.name for result in results] == ["SUCCESSFUL", "FAILED", "SUCCESSFUL"]
        moments = [result.created_at for result in results]
        assert moments == sorted(moments, reverse=True)
        assert datetime.now(UTC) - timedelta(minutes=1) < moments[-1] <= moments[0]

    async def test_ten_are_kept(self, connection: Redis, work: Work) -> None:
        queue = Queue(connection=connection)
        job = await queue.enqueue(letters.greet, repeat=Repeat(times=11), job_id="my_id")
        await work(queue)
        results = await job.results()
        assert len(results) == 10
        assert all(result.return_value == "good morning" for result in results)

    async def test_waiting_for_one(self, queue: Queue, at_work: Works, told: Fifo, gate: Fifo) -> None:
        job = await queue.enqueue(letters.wait_at, told.path, gate.path)
        assert await job.latest_result(timeout=0.2) is None
        waiting = asyncio.create_task(job.latest_result(timeout=60))
        async with at_work(queue):
            await told.line()
            assert not waiting.done()
            gate.let()
            result = await waiting
        assert result is not None
        assert result.return_value == "went on"
        # Now that there is one, it comes at once.
        async with asyncio.timeout(20):
            assert await job.latest_result(timeout=60) == result


class TestResultTTL:
    async def test_how_long_results_are_kept(self, connection: Redis, work: Work) -> None:
        q = Queue(connection=connection)
        by_default = await q.enqueue(letters.greet)  # result expires after 500 secs (the default)
        for_a_day = await q.enqueue(letters.greet, result_ttl=86400)  # result expires after 1 day
        not_at_all = await q.enqueue(letters.greet, result_ttl=0)  # result gets deleted immediately
        for_ever = await q.enqueue(letters.greet, result_ttl=-1)  # result never expires
        await work(q)

        key = store_of(connection).keys.results
        for job, seconds in ((by_default, 500), (for_a_day, 86400)):
            assert seconds - 5 <= await connection.ttl(job.key) <= seconds
            assert seconds - 5 <= await connection.ttl(key(job.id)) <= seconds
        assert await connection.exists(not_at_all.key, key(not_at_all.id)) == 0
        assert await connection.ttl(for_ever.key) == await connection.ttl(key(for_ever.id)) == -1
        assert await q.finished_job_registry.count() == 3
        assert await for_ever.return_value() == "good morning"

    async def test_without_a_return_value(self, connection: Redis, work: Work) -> None:
        q = Queue(connection=connection)
        job = await q.enqueue(letters.nothing, result_ttl=500)  # job kept explicitly
        await work(q)
        assert await job.get_status() is JobStatus.FINISHED
        result = await job.latest_result()
        assert result is not None
        assert (result.type, result.return_value) == (Result.Type.SUCCESSFUL, None)
        assert 495 <= await connection.ttl(job.key) <= 500


class TestRetries:
    async def test_asked_for_by_the_function(self, queue: Queue, at_work: Works, log: Log) -> None:
        """Three times, with 60 seconds in between."""
        registry = queue.scheduled_job_registry
        async with at_work(queue, reap_interval=0.05):
            job = await queue.enqueue(letters.ask_again, 3, interval=60)
            for run in range(1, 4):
                await log.line("asked for it", run)
                assert await job.get_status() is JobStatus.SCHEDULED
                wait = await registry.get_scheduled_time(job) - datetime.now(UTC)
                assert timedelta(seconds=50) < wait <= timedelta(seconds=61)
                results = await job.results()
                assert [result.type for result in results] == [Result.Type.RETRIED] * run
                await registry.schedule(job, datetime.now(UTC))  # as if a minute had passed
            await result_of(job)
        assert await job.get_status() is JobStatus.FAILED
        types = [result.type for result in await job.results()]
        assert types == [Result.Type.MAX_RETRIES_EXCEEDED, *[Result.Type.RETRIED] * 3]

    async def test_are_counted_apart(self, queue: Queue, work: Work, tmp_path: Path) -> None:
        """Those that the function asks for, and those after exceptions: two of each are allowed."""
        plan = tmp_path / "plan"
        plan.write_text("raise\nagain\nraise\nagain\ndone at last")
        job = await queue.enqueue(letters.follow, str(plan), retry=Retry(max=2))
        await work(queue)
        assert await job.return_value() == "done at last"
        outcomes = [attempt.outcome for attempt in await job.attempts()]
        assert outcomes == ["failed", "retried", "failed", "retried", "successful"]


class TestInterruptions:
    @pytest.fixture
    async def start_worker(self, url: str, jobs_path: str) -> AsyncIterator[Callable[[], subprocess.Popen[bytes]]]:
        """Starts a worker as a process of its own."""
        started = []

        def start() -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", "aiorq", "worker", "--quiet", "--url", url, "--path", jobs_path]
            started.append(subprocess.Popen([*command, "--lease", "1"]))
            return started[-1]

        yield start
        for worker in started:
            worker.kill()
            worker.wait()

    async def test_a_worker_that_is_asked_to_end(
        self, queue: Queue, start_worker: Callable[[], subprocess.Popen[bytes]], told: Fifo, gate: Fifo
    ) -> None:
        """Finishes what it does, and begins nothing."""
        running = await queue.enqueue(letters.wait_at, told.path, gate.path)
        waiting = await queue.enqueue(letters.greet)
        worker = start_worker()
        await told.line()
        worker.send_signal(signal.SIGTERM)
        gate.let()
        assert (await result_of(running)).return_value == "went on"
        assert await asyncio.to_thread(worker.wait, 20) == 0
        assert await waiting.get_status() is JobStatus.QUEUED

    async def test_a_worker_that_is_killed(
        self,
        queue: Queue,
        start_worker: Callable[[], subprocess.Popen[bytes]],
        at_work: Works,
        told: Fifo,
        gate: Fifo,
    ) -> None:
        """What it did fails."""
        job = await queue.enqueue(letters.wait_at, told.path, gate.path)
        worker = start_worker()
        [horse] = await told.pids()
        worker.kill()
        worker.wait()
        async with at_work(queue, lease=1):
            result = await result_of(job)
        assert await horse.ended()
        assert result.type is Result.Type.FAILED
        assert "AbandonedJobError" in (result.exc_string or "")
        assert await job.get_status() is JobStatus.FAILED
        assert await queue.failed_job_registry.contains(job)


class TestTimeouts:
    async def test_a_job_that_takes_too_long(self, queue: Queue, at_work: Works, told: Fifo, gate: Fifo) -> None:
        """Fails, and its process is gone."""
        job = await queue.enqueue(letters.wait_at, told.path, gate.path, job_timeout=1)
        async with at_work(queue):
            [horse] = await told.pids()
            assert isinstance(horse, Process)
            result = await result_of(job)
            assert await horse.ended()
        assert result.type is Result.Type.FAILED
        assert "JobTimeoutException" in (result.exc_string or "")
        assert await job.get_status() is JobStatus.FAILED
        assert await queue.failed_job_registry.contains(job)

    async def test_how_long_a_job_may_take(self, connection: Redis, work: Work) -> None:
        q = Queue(connection=connection)
        by_default = await q.enqueue(letters.greet)
        job = await q.enqueue(letters.label, args=(LETTER,), kwargs={"description": "a"}, job_timeout=600)  # 10 mins
        for each, seconds in ((by_default, 180), (job, 600)):
            assert (await Job.fetch(each.id, connection)).timeout == seconds
        await work(q)
        assert await job.return_value() == f"{LETTER}: a, 0"

    async def test_the_default_of_a_queue(self, connection: Redis) -> None:
        # High prio jobs should end in 8 secs, while low prio work may take up to 10 mins
        high = Queue("high", connection=connection, default_timeout=8)  # 8 secs
        low = Queue("low", connection=connection, default_timeout=600)  # 10 mins

        # Individual jobs can still override these defaults
        slow = await low.enqueue(letters.greet, job_timeout=3600)  # 1 hr

        for job, seconds in (
            (await high.enqueue(letters.greet), 8),
            (await low.enqueue(letters.greet), 600),
            (slow, 3600),
        ):
            assert (await Job.fetch(job.id, connection)).timeout == seconds

    async def test_the_default_of_a_queue_is_enforced(self, connection: Redis, work: Work) -> None:
        queue = Queue("high", connection=connection, default_timeout=1)
        job = await queue.enqueue(letters.linger, 60)
        await work(queue)
        assert "JobTimeoutException" in ((await result_of(job)).exc_string or "")
