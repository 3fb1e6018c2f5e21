"""What RQ's page on results shows; written as the stories of queues are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import letters
import somewhere
from redis import Redis

from aiorq.sync import Queue, SimpleWorker
from aiorq.sync.job import Job
from aiorq.sync.results import Result
from tests.execution.processes import Fifo
from tests.sync.workers import AtWork

LETTER = "Dear Bob, all is well here"


def work(*queues: Queue) -> bool:
    return SimpleWorker(list(queues), connection=queues[0].connection).work(burst=True)


def show(result: Result[Any] | None) -> Any:
    """What the page prints."""
    assert result is not None
    if result.type == result.Type.SUCCESSFUL:
        return result.return_value
    elif result.type == result.Type.FAILED:
        return (result.exc_string or "").splitlines()[-1]
    return result.type


def test_the_latest(redis: Redis) -> None:
    queue = Queue(connection=redis)
    queue.enqueue(letters.count_words, LETTER, job_id="my_id")
    queue.enqueue(letters.divide_by_zero, 1, job_id="my_other_id")
    work(queue)

    job = Job.fetch(id="my_id", connection=redis)
    result = job.latest_result()
    assert show(result) == 6
    assert job.return_value() == 6  # Shortcut for job.latest_result().return_value

    job = Job.fetch(id="my_other_id", connection=redis)
    result = job.latest_result()
    assert show(result) == "ZeroDivisionError: division by zero"
    assert job.return_value() is None


def test_several(redis: Redis, tmp_path: Path) -> None:
    plan = tmp_path / "plan"
    plan.write_text("once\nraise")
    queue = Queue(connection=redis)
    queue.enqueue(letters.follow, str(plan), job_id="my_id")
    work(queue)
    job = Job.fetch(id="my_id", connection=redis)
    queue.finished_job_registry.requeue(job)
    work(queue)

    job = Job.fetch(id="my_id", connection=redis)
    assert [result.type.name for result in job.results()] == ["FAILED", "SUCCESSFUL"]
    assert all(datetime.now(UTC) - result.created_at < timedelta(minutes=1) for result in job.results())
    assert job.return_value() is None


def test_waiting_for_one(redis: Redis, at_work: AtWork, told: Fifo, gate: Fifo) -> None:
    queue = Queue(connection=redis)
    job = queue.enqueue(letters.wait_at, told.path, gate.path)
    assert job.latest_result(timeout=1) is None
    with at_work(queue):
        told.line_now()
        gate.let()
        result = job.latest_result(timeout=60)
    assert show(result) == "went on"
    # If any results already exist, the latest result is returned immediately.
    assert job.latest_result(timeout=60) == result


def test_how_long_results_are_kept(redis: Redis) -> None:
    q = Queue(connection=redis)
    by_default = q.enqueue(letters.greet)  # result expires after 500 secs (the default)
    for_a_day = q.enqueue(letters.greet, result_ttl=86400)  # result expires after 1 day
    not_at_all = q.enqueue(letters.greet, result_ttl=0)  # result gets deleted immediately
    for_ever = q.enqueue(letters.greet, result_ttl=-1)  # result never expires
    without = q.enqueue(letters.nothing, result_ttl=500)  # job kept explicitly
    work(q)
    kept: list[int] = [int(redis.ttl(each.key)) for each in (by_default, for_a_day, for_ever, without)]
    assert [round(seconds, -1) for seconds in kept[:2] + kept[3:]] == [500, 86400, 500]
    assert kept[2] == -1
    assert not Job.exists(not_at_all.id, connection=redis)
    assert without.is_finished
    assert len(q.finished_job_registry) == 4


def test_asking_for_another_attempt(redis: Redis) -> None:
    queue = Queue(connection=redis)
    job = queue.enqueue(somewhere.return_retry, max=3, interval=60)
    for run in range(1, 5):
        work(queue)
        assert len(job.results()) == run
        if run < 4:
            assert job.is_scheduled
            due = queue.scheduled_job_registry.get_scheduled_time(job)
            assert timedelta(seconds=50) < due - datetime.now(UTC) <= timedelta(seconds=61)
            queue.scheduled_job_registry.requeue(job)  # as if a minute had passed
    assert job.is_failed


def test_timeouts(redis: Redis) -> None:
    q = Queue(connection=redis)
    by_default = q.enqueue(letters.greet)
    job = q.enqueue(letters.label, args=(LETTER,), kwargs={"description": "a"}, job_timeout=600)  # 10 mins

    # High prio jobs should end in 8 secs, while low prio
    # work may take up to 10 mins
    high = Queue("high", connection=redis, default_timeout=8)  # 8 secs
    low = Queue("low", connection=redis, default_timeout=600)  # 10 mins

    # Individual jobs can still override these defaults
    slow = low.enqueue(letters.greet, job_timeout=3600)  # 1 hr

    made = (by_default, job, high.enqueue(letters.greet), low.enqueue(letters.greet), slow)
    fetched = Job.fetch_many([each.id for each in made], connection=redis)
    assert [each.timeout for each in fetched if each] == [180, 600, 8, 600, 3600]

    late = Queue("late", connection=redis, default_timeout=1).enqueue(letters.linger, 60)
    work(Queue("late", connection=redis))
    assert late.is_failed
    assert "JobTimeoutException" in (late.exc_info or "")
