"""What RQ's page on queues shows. The calls are those of the page, but for what is enqueued and for import lines."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import letters
import pytest
import somewhere
from redis import Redis

from aiorq.sync import Callback, Queue, SimpleWorker
from aiorq.sync.decorators import job
from aiorq.sync.exceptions import NoSuchGroupError
from aiorq.sync.group import Group
from aiorq.sync.job import Dependency, Job
from aiorq.sync.suspension import is_suspended, resume, suspend
from tests.execution.processes import Fifo
from tests.sync.workers import AtWork, notes

LETTER = "Dear Bob, all is well here"


def work(*queues: Queue) -> bool:
    return SimpleWorker(list(queues), connection=queues[0].connection).work(burst=True)


def test_a_call_is_delayed(redis: Redis, address: str) -> None:
    redis_conn = redis
    q = Queue(connection=redis_conn)  # no args implies the default queue

    # Delay execution of count_words_at
    job = q.enqueue(letters.count_words_at, address)
    assert job.result is None
    assert job.return_value() is None

    work(q)
    assert job.result == 10
    assert job.return_value() == 10


def test_a_queue_of_any_name(redis: Redis) -> None:
    q = Queue("low", connection=redis)
    assert Queue.all(redis) == []
    q.enqueue(letters.count_words, LETTER)
    assert Queue.all(redis) == [q]
    assert len(q) == 1


def test_arguments_that_are_named_like_options(redis: Redis) -> None:
    q = Queue("low", connection=redis)
    job = q.enqueue(
        letters.label,
        ttl=30,  # This ttl will be used by RQ
        args=(LETTER,),
        kwargs={
            "description": "Function description",  # This is passed on to the function
            "ttl": 15,  # and this
        },
    )
    assert job.ttl == 30
    work(q)
    assert job.return_value() == f"{LETTER}: Function description, 15"


def test_a_function_by_its_name(redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    q = Queue("low", connection=redis)
    job = q.enqueue("my_package.my_module.my_func", 3, 4)
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "my_module.py").write_text("def my_func(x, y):\n    return x * y\n")
    monkeypatch.syspath_prepend(tmp_path)
    work(q)
    assert job.return_value() == 12


def test_many_at_once(redis: Redis) -> None:
    q = Queue(connection=redis)
    jobs = q.enqueue_many(
        [
            Queue.prepare_data(letters.count_words, (LETTER,), job_id="my_job_id"),
            Queue.prepare_data(letters.count_words, (LETTER,), job_id="my_other_job_id"),
        ]
    )
    assert [job.id for job in jobs] == q.job_ids == ["my_job_id", "my_other_job_id"]

    with q.connection.pipeline() as pipe:
        jobs = q.enqueue_many(
            [
                Queue.prepare_data(letters.count_words, ("one",), job_id="my_third_job_id"),
                Queue.prepare_data(letters.count_words, ("one two",), job_id="my_fourth_job_id"),
            ],
            pipeline=pipe,
        )
        assert len(q) == 2
        pipe.execute()
    assert len(q) == 4
    work(q)
    assert [job.return_value() for job in jobs] == [1, 2]


def test_jobs_of_a_group(redis: Redis) -> None:
    group = Group.create(connection=redis, name="my_group")
    q = Queue("my_queue", connection=redis)
    jobs = group.enqueue_many(
        queue=q,
        job_datas=[
            Queue.prepare_data(letters.count_words, (LETTER,), job_id="my_job_id"),
            Queue.prepare_data(letters.count_words, (LETTER,), job_id="my_other_job_id"),
        ],
    )
    assert {job.id for job in group.get_jobs()} == {job.id for job in jobs} == {"my_job_id", "my_other_job_id"}

    group = Group.fetch(name="my_group", connection=redis)
    assert len(group.get_jobs()) == 2

    # If all of a group's jobs are deleted, the group is removed.
    for each in jobs:
        each.delete()
    Group.clean_registries(connection=redis)
    with pytest.raises(NoSuchGroupError):
        Group.fetch(name="my_group", connection=redis)


def test_one_after_the_other(redis: Redis, tmp_path: Path) -> None:
    q = Queue("low", connection=redis)
    report_job = q.enqueue(letters.write, str(tmp_path / "report"), "all is well")
    send_job = q.enqueue(letters.read, str(tmp_path / "report"), depends_on=report_job)
    assert q.job_ids == [report_job.id]
    assert send_job.is_deferred
    assert send_job in q.deferred_job_registry
    work(q)
    assert send_job.return_value() == "all is well\n"

    queue = Queue("low", connection=redis)
    foo_job = queue.enqueue(letters.greet)
    bar_job = queue.enqueue(letters.greet)
    baz_job = queue.enqueue(letters.greet, depends_on=[foo_job, bar_job])
    assert len(queue) == 2
    work(queue)
    assert baz_job.is_finished


def test_failure_may_count_too(redis: Redis, tmp_path: Path) -> None:
    order = str(tmp_path / "order")
    queue = Queue(connection=redis)
    job_1 = queue.enqueue(letters.divide_by_zero, 1)
    queue.enqueue(letters.write, order, "the other one")
    dependency = Dependency(
        jobs=[job_1],
        allow_failure=True,  # allow_failure defaults to False
        enqueue_at_front=True,  # enqueue_at_front defaults to False
    )
    job_2 = queue.enqueue(letters.write, order, "the one that waited", depends_on=dependency)
    never = queue.enqueue(letters.greet, depends_on=job_1)
    work(queue)
    # job_2 has run even though its dependency (job_1) failed, and was enqueued at the front of the queue.
    assert job_1.is_failed
    assert job_2.is_finished
    assert letters.read(order) == "the one that waited\nthe other one\n"
    assert never.is_deferred


def test_callbacks(redis: Redis, at_work: AtWork, told: Fifo, gate: Fifo) -> None:
    queue = Queue(connection=redis)
    reports: dict[str, Any] = {"on_failure": letters.report_failure, "on_stopped": letters.report_stopped}
    done = queue.enqueue(letters.greet, on_success=letters.report_success, **reports)
    failed = queue.enqueue(letters.divide_by_zero, 1, on_success=letters.report_success, **reports)
    stopped = queue.enqueue(letters.wait_at, told.path, gate.path, on_success=letters.report_success, **reports)
    with at_work(queue):
        told.line_now()
        stop(redis, stopped)
        assert notes(redis, 3) == [
            f"{done.id} succeeded: good morning",
            f"{failed.id} failed: ZeroDivisionError, division by zero, in divide_by_zero",
            f"{stopped.id} was stopped",
        ]


def stop(redis: Redis, job: Job[Any]) -> None:
    from aiorq.sync.command import send_stop_job_command

    send_stop_job_command(redis, job.id)


def test_callbacks_with_timeouts(redis: Redis) -> None:
    queue = Queue(connection=redis)
    job = queue.enqueue(
        letters.greet,
        on_success=Callback(letters.report_success),  # default callback timeout (60 seconds)
        on_failure=Callback(letters.report_failure, timeout=10),  # 10 seconds timeout
        on_stopped=Callback(letters.report_stopped, timeout="2m"),  # 2 minutes timeout
    )
    job = Job.fetch(job.id, connection=redis)
    assert (job.success_callback_timeout, job.failure_callback_timeout, job.stopped_callback_timeout) == (60, 10, 120)
    # You can also pass the function as a string reference
    other = queue.enqueue(letters.greet, on_success=Callback("letters.report_success"))
    third = queue.enqueue(letters.greet, on_success=Callback(somewhere.note_success), meta={"to": "Bob"})
    work(queue)
    assert notes(redis, 3) == [
        f"{job.id} succeeded: good morning",
        f"{other.id} succeeded: good morning",
        f"{third.id}, {{'to': 'Bob'}}: good morning",
    ]


def test_what_can_be_asked_of_a_queue(redis: Redis) -> None:
    q = Queue(connection=redis)
    first = q.enqueue(letters.greet, job_id="my_id")
    q.enqueue(letters.greet, depends_on=first)

    # Getting the number of jobs in the queue
    assert len(q) == 1  # Note: Only queued jobs are counted, not including deferred ones

    # Retrieving jobs
    queued_job_ids = q.job_ids  # Gets a list of job IDs from the queue
    queued_jobs = q.jobs  # Gets a list of enqueued job instances
    job = q.fetch_job("my_id")  # Returns job having ID "my_id"
    assert queued_job_ids == ["my_id"]
    assert queued_jobs == [job] == [first]

    # Emptying a queue, this will delete all jobs in this queue
    first.delete(delete_dependents=True)
    q.enqueue(letters.greet, job_id="my_id")
    q.empty()
    assert len(q) == 0
    assert not Job.exists("my_id", connection=redis)

    # Deleting a queue
    q.enqueue(letters.greet, job_id="my_id")
    q.delete(delete_jobs=True)  # Passing in `True` will remove all jobs in the queue
    assert Queue.all(connection=redis) == []
    assert not Job.exists("my_id", connection=redis)
    # It can be recreated by enqueueing jobs to it.
    q.enqueue(letters.greet)
    assert Queue.all(connection=redis) == [q]


def test_the_decorator(redis: Redis) -> None:
    add = job("low", connection=redis, timeout=5)(letters.add)
    assert add(3, 4) == 7

    delayed = add.delay(3, 4)
    assert (delayed.origin, delayed.timeout) == ("low", 5)
    work(Queue("low", connection=redis))
    assert delayed.return_value() == 7


def test_without_workers(redis: Redis) -> None:
    q = Queue("low", is_async=False, connection=redis)
    job = q.enqueue(letters.fibonacci, 8)
    assert job.result == 21
    assert job.is_finished
    assert len(q) == 0
    assert q.enqueue(letters.process_id).return_value() == os.getpid()


def test_suspension(redis: Redis, at_work: AtWork, told: Fifo, gate: Fifo) -> None:
    q = Queue(connection=redis)
    running = q.enqueue(letters.wait_at, told.path, gate.path)
    with at_work(q):
        told.line_now()
        # Suspend indefinitely
        suspend(redis)
        assert is_suspended(redis)
        waiting = q.enqueue(letters.greet)
        # However currently running jobs will continue until completion.
        gate.let()
        result = running.latest_result(timeout=20)
        assert result is not None
        assert result.return_value == "went on"
        assert waiting.is_queued

        # Suspend for a specific duration (in seconds) then automatically resume work again.
        suspend(redis, 300)
        assert 299 <= redis.ttl("rq:suspended") <= 300

        # Resume work again.
        resume(redis)
        assert not is_suspended(redis)
        assert waiting.latest_result(timeout=20) is not None


def test_functions_of_main_are_refused(redis: Redis) -> None:
    def greet() -> None: ...

    greet.__module__ = "__main__"
    with pytest.raises(ValueError, match="__main__"):
        Queue(connection=redis).enqueue(greet)


@pytest.mark.parametrize(("given", "seconds"), [(2, 2), ("2", 2), ("1h", 3600), ("3m", 180), ("5s", 5)])
def test_timeouts(redis: Redis, given: Any, seconds: int) -> None:
    q = Queue(connection=redis)
    q.enqueue(letters.greet, job_timeout=given, job_id="my_id", at_front=True, description="a text for people")
    job = Job.fetch("my_id", connection=redis)
    assert (job.timeout, job.args, job.kwargs, job.description) == (seconds, (), {}, "a text for people")
    assert job.created_at is not None
    assert job.created_at <= datetime.now(UTC)
