"""What RQ's page on queues shows of jobs that wait for others, and of callbacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import letters
import pytest
from redis.asyncio import Redis

from aiorq import Callback, Dependency, Job, JobStatus, Queue
from aiorq.errors import JobTimeoutException
from tests.execution.processes import Fifo
from tests.stories.conftest import Work, Works, next_note, notes
from tests.worker.conftest import result_of


class TestDependencies:
    async def test_one_after_the_other(self, connection: Redis, work: Work, tmp_path: Path) -> None:
        q = Queue("low", connection=connection)
        path = str(tmp_path / "report")
        report_job = await q.enqueue(letters.write, path, "all is well")
        send_job = await q.enqueue(letters.read, path, depends_on=report_job)
        assert await send_job.get_status() is JobStatus.DEFERRED
        assert await q.deferred_job_registry.contains(send_job)
        assert await q.get_job_ids() == [report_job.id]

        await work(q)
        assert await send_job.return_value() == "all is well\n"
        assert await q.deferred_job_registry.count() == 0

    async def test_one_after_several(self, connection: Redis, work: Work) -> None:
        queue = Queue("low", connection=connection)
        foo_job = await queue.enqueue(letters.greet)
        bar_job = await queue.enqueue(letters.greet)
        baz_job = await queue.enqueue(letters.count_words, "one two", depends_on=[foo_job, bar_job])

        await work(queue, max_jobs=1)
        assert await foo_job.get_status() is JobStatus.FINISHED
        assert await baz_job.get_status() is JobStatus.DEFERRED
        await work(queue, max_jobs=1)
        assert await bar_job.get_status() is JobStatus.FINISHED
        assert await baz_job.get_status() is JobStatus.QUEUED
        await work(queue)
        assert await baz_job.return_value() == 2

    async def test_only_success_counts(self, queue: Queue, work: Work) -> None:
        failing = await queue.enqueue(letters.divide_by_zero, 1)
        waiting = await queue.enqueue(letters.greet, depends_on=failing)
        await work(queue)
        assert await failing.get_status() is JobStatus.FAILED
        assert await waiting.get_status() is JobStatus.DEFERRED

    async def test_failure_may_count_too(self, connection: Redis, work: Work, tmp_path: Path) -> None:
        queue = Queue(connection=connection)
        order = str(tmp_path / "order")
        job_1 = await queue.enqueue(letters.divide_by_zero, 1)
        other = await queue.enqueue(letters.write, order, "the other one")
        dependency = Dependency(
            jobs=[job_1],
            allow_failure=True,  # allow_failure defaults to False
            enqueue_at_front=True,  # enqueue_at_front defaults to False
        )
        job_2 = await queue.enqueue(letters.write, order, "the one that waited", depends_on=dependency)
        by_default = Dependency(jobs=[job_1])
        assert (by_default.allow_failure, by_default.enqueue_at_front) == (False, False)

        await work(queue)
        assert await job_1.get_status() is JobStatus.FAILED
        assert await job_2.get_status() is JobStatus.FINISHED
        assert await other.get_status() is JobStatus.FINISHED
        assert letters.read(order) == "the one that waited\nthe other one\n"

    @pytest.mark.parametrize(
        "jobs_of",
        [lambda a, b: a.id, lambda a, b: a, lambda a, b: [a.id, b], lambda a, b: iter([a, b.id])],
        ids=["id", "job", "ids and jobs", "iterator"],
    )
    async def test_what_a_dependency_takes(
        self, queue: Queue, jobs_of: Callable[[Job[Any], Job[Any]], Any], work: Work
    ) -> None:
        first, second = [await queue.enqueue(letters.greet) for _ in range(2)]
        waiting = await queue.enqueue(letters.greet, depends_on=Dependency(jobs=jobs_of(first, second)))
        assert waiting.dependency_ids[0] == first.id
        assert set(waiting.dependency_ids) <= {first.id, second.id}
        assert await waiting.get_status() is JobStatus.DEFERRED
        await work(queue)
        assert await waiting.return_value() == "good morning"


class TestCallbacks:
    async def test_after_success_failure_and_a_stop(
        self, connection: Redis, at_work: Works, told: Fifo, gate: Fifo
    ) -> None:
        queue = Queue(connection=connection)
        reports: dict[str, Any] = {
            "on_success": letters.report_success,
            "on_failure": letters.report_failure,
            "on_stopped": letters.report_stopped,
        }
        async with at_work(queue):
            done = await queue.enqueue(letters.greet, **reports)
            failed = await queue.enqueue(letters.divide_by_zero, 1, **reports)
            stopped = await queue.enqueue(letters.wait_at, told.path, gate.path, **reports)
            await told.line()
            await stopped.stop()
            assert [await next_note(connection) for _ in range(3)] == [
                f"{done.id} succeeded: good morning",
                f"{failed.id} failed: ZeroDivisionError, division by zero, in divide_by_zero",
                f"{stopped.id} was stopped",
            ]
        assert await notes(connection) == []

    async def test_timeouts_of_their_own(self, connection: Redis) -> None:
        queue = Queue(connection=connection)
        job = await queue.enqueue(
            letters.greet,
            on_success=Callback(letters.report_success),  # default callback timeout (60 seconds)
            on_failure=Callback(letters.report_failure, timeout=10),  # 10 seconds timeout
            on_stopped=Callback(letters.report_stopped, timeout="2m"),  # 2 minutes timeout
        )
        job = await Job.fetch(job.id, connection)
        assert job.success_callback_timeout == 60
        assert job.failure_callback_timeout == 10
        assert job.stopped_callback_timeout == 120

    async def test_by_name(self, queue: Queue, work: Work) -> None:
        job = await queue.enqueue(letters.greet, on_success=Callback("letters.report_success"))
        await work(queue)
        assert await notes(queue.connection) == [f"{job.id} succeeded: good morning"]

    async def test_dependents_come_after_success_callbacks(self, queue: Queue, work: Work) -> None:
        job = await queue.enqueue(letters.greet, on_success=letters.report_dependents)
        waiting = await queue.enqueue(letters.greet, depends_on=job, job_id="next")
        await work(queue)
        assert await notes(queue.connection) == ["next is deferred"]
        assert await waiting.return_value() == "good morning"

    async def test_a_success_callback_that_raises(self, queue: Queue, work: Work) -> None:
        """Fails the job, and nothing that waits for it runs."""
        job = await queue.enqueue(letters.greet, on_success=letters.reject)
        waiting = await queue.enqueue(letters.greet, depends_on=job)
        await work(queue)
        assert await job.get_status() is JobStatus.FAILED
        assert "ValueError: good morning will not do" in ((await result_of(job)).exc_string or "")
        assert await waiting.get_status() is JobStatus.DEFERRED
        assert await queue.is_empty()

    async def test_callbacks_that_take_too_long(self, queue: Queue, work: Work) -> None:
        late = Callback(letters.dawdle, timeout=1)
        after_success = await queue.enqueue(letters.greet, on_success=late)
        after_failure = await queue.enqueue(letters.divide_by_zero, 1, on_failure=late)
        await work(queue, concurrency=2)
        for job in (after_success, after_failure):
            assert await job.get_status() is JobStatus.FAILED
            assert JobTimeoutException.__name__ in ((await result_of(job)).exc_string or "")
