"""What type checkers see of `aiorq.sync`: `nox -s types` reads this file, whose every `type: ignore` must be needed.

The calls are made too, with a worker that runs the jobs in this process.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

import jobs
import pytest
from redis import Redis

from aiorq.sync import Group, Job, JobStatus, Queue, Result, Retry, SimpleWorker, Worker, get_current_job
from aiorq.sync.decorators import job
from aiorq.sync.enqueuer import Enqueuer
from aiorq.sync.executions import Execution
from aiorq.sync.queue import EnqueueData
from aiorq.sync.registry import FailedJobRegistry, StartedJobRegistry
from aiorq.sync.worker import WorkerInfo


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(connection=redis)


def work(queue: Queue) -> bool:
    return assert_type(SimpleWorker([queue]).work(burst=True), bool)


def test_queues(queue: Queue) -> None:
    assert_type(len(queue), int)
    assert_type(queue.count, int)
    assert_type(queue.job_ids, list[str])
    assert_type(queue.jobs, list[Job[Any]])
    assert_type(queue.get_job_ids(0, 1), list[str])
    assert_type(queue.fetch_job("none"), Job[Any] | None)
    assert_type(queue.scheduler_pid, int | None)
    assert_type(queue.connection, Redis)
    assert_type(queue.failed_job_registry, FailedJobRegistry)
    assert_type(len(queue.failed_job_registry), int)
    assert_type("a" in queue.failed_job_registry, bool)
    assert_type(queue.started_job_registry, StartedJobRegistry)
    assert_type(queue.started_job_registry.count, int)
    assert_type(Queue.all(queue.connection), list[Queue])
    assert_type(queue.empty(), int)
    assert_type(iter(queue), Iterator[Queue])
    assert list(queue) == [queue]


def test_enqueue(queue: Queue) -> None:
    """Functions and coroutine functions alike: what is asked for is what the job gives."""
    added = queue.enqueue(jobs.add, 1, right=2)
    later = queue.enqueue(jobs.add_async, 3)
    named = queue.enqueue("jobs.add", 4)
    assert_type(added, Job[int])
    assert_type(later, Job[int])
    assert_type(named, Job[Any])
    assert_type(queue.enqueue_in(timedelta(hours=1), jobs.add, 1), Job[Any])
    assert work(queue)
    value, result = added.return_value(), added.latest_result(timeout=5)
    assert_type(value, int | None)
    assert_type(result, Result[int] | None)
    assert_type(added.result, int | None)
    assert_type(added.exc_info, str | None)
    assert_type(added.results(), list[Result[int]])
    assert_type(added.is_finished, bool)
    assert_type(added.get_status(), JobStatus)
    assert_type(added.get_executions(), list[Execution])
    assert_type(added.dependent_ids, list[str])
    assert_type(added.dependency, Job[Any] | None)
    assert_type(added.started_at, datetime | None)
    assert_type(Job.fetch(added.id, queue.connection), Job[Any])
    assert_type(Job.fetch_many([added.id], queue.connection), list[Job[Any] | None])
    assert result is not None
    assert_type(result.return_value, int | None)
    assert (value, result.return_value, added.result, later.result, named.result) == (3, 3, 3, 4, 5)


def test_options_are_said_first(queue: Queue) -> None:
    options = queue.options(job_timeout="2m", retry=Retry(3))
    assert_type(options, Enqueuer)
    assert_type(options.enqueue(jobs.add, 1), Job[int])
    assert_type(options.enqueue_at(datetime(2100, 1, 1, tzinfo=UTC), jobs.add_async, 1), Job[int])
    assert_type(options.prepare(jobs.add, 1), EnqueueData)
    with pytest.raises(TypeError):
        queue.options(no_such=1)  # type: ignore[call-arg]
    # What is wrong is seen before anything runs: these are enqueued.
    options.enqueue(jobs.add, "one")  # type: ignore[call-overload]
    options.enqueue(jobs.add)  # type: ignore[call-overload]
    options.enqueue_in(timedelta(1), jobs.add, 1, 2, 3)  # type: ignore[call-overload]


def test_the_decorator(queue: Queue) -> None:
    decorated, decorated_async = job(queue)(jobs.add), job("default", queue.connection)(jobs.add_async)
    assert_type(decorated(1), int)
    assert_type(decorated.enqueue(1, right=2), Job[int])
    assert_type(decorated.delay(1), Job[int])
    assert_type(decorated_async.delay(1), Job[int])
    assert_type(decorated.enqueue(1, job_id="mine"), Job[int])
    decorated.delay("one")  # type: ignore[call-overload]
    assert len(queue) == 5


def test_groups_and_workers(queue: Queue) -> None:
    group = Group.create(queue.connection)
    assert_type(group.enqueue_many(queue, [Queue.prepare_data(jobs.add, (1,))]), list[Job[Any]])
    assert_type(group.get_jobs(), list[Job[Any]])
    worker = SimpleWorker([queue])
    assert_type(worker.queues, list[Queue])
    assert_type(worker.get_current_job(), Job[Any] | None)
    assert_type(worker.successful_job_count, int)
    assert_type(Worker.all(queue.connection), list[WorkerInfo])
    assert_type(Worker.count(queue.connection), int)
    assert_type(get_current_job(), Job[Any] | None)
    assert worker.work(burst=True)
    assert (worker.successful_job_count, worker.failed_job_count) == (1, 0)
