"""What RQ's pages on jobs show, of 0.x, 1.x and 2.x; written as the stories of queues are."""

from __future__ import annotations

import json
import pickle
import socket
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import letters
import pytest
import somewhere
from redis import Redis

from aiorq.sync import Queue, SimpleWorker, Worker, cancel_job, get_current_job
from aiorq.sync.command import send_stop_job_command
from aiorq.sync.exceptions import InvalidJobOperation, NoSuchJobError
from aiorq.sync.job import Job, Retry
from aiorq.sync.registry import CanceledJobRegistry
from aiorq.sync.serializers import JSONSerializer
from tests.execution.processes import Fifo
from tests.sync.workers import AtWork

LETTER = "Dear Bob, all is well here"


def work(*queues: Queue) -> bool:
    return SimpleWorker(list(queues), connection=queues[0].connection).work(burst=True)


def test_a_job_and_its_id(redis: Redis, address: str) -> None:
    redis_conn = redis
    q = Queue(connection=redis_conn)  # no args implies the default queue
    job = q.enqueue(letters.count_words_at, address)
    assert q.job_ids == [job.id]
    mine = q.enqueue(letters.count_words_at, address, job_id="my_job_id")
    assert mine.id == "my_job_id"
    work(q)
    assert [job.return_value(), Job.fetch("my_job_id", connection=redis).return_value()] == [10, 10]


def test_created_first_and_enqueued_then(redis: Redis) -> None:
    q = Queue(connection=redis)
    job = Job.create(letters.greet, connection=redis)
    assert not Job.exists(job.id, connection=redis)
    q.enqueue_job(job)
    assert job.is_queued

    # create a job with a predetermined id
    mine = Job.create(letters.count_words, [LETTER], id="my_job_id", connection=redis)
    q.enqueue_job(mine)
    work(q)
    assert [job.return_value(), mine.return_value()] == ["good morning", 6]


def test_arguments_that_are_named_like_options(redis: Redis) -> None:
    job = Job.create(
        letters.label,
        ttl=30,  # This ttl will be used by RQ
        args=(LETTER,),
        kwargs={
            "description": "Function description",  # This is passed on to the function
            "ttl": 15,  # and this
        },
        connection=redis,
    )
    q = Queue(connection=redis)
    q.enqueue_job(job)
    assert job.ttl == 30
    work(q)
    assert job.return_value() == f"{LETTER}: Function description, 15"


def test_a_job_and_its_attributes(redis: Redis) -> None:
    Queue("low", connection=redis).enqueue(letters.greet, job_id="my_job_id")
    job = Job.fetch("my_job_id", connection=redis)
    assert job.get_status() == "queued"
    assert (job.origin, job.func_name, job.args, job.kwargs, job.meta) == ("low", "letters.greet", (), {}, {})
    assert (job.result, job.exc_info, job.started_at, job.ended_at, job.worker_name) == (None,) * 5

    work(Queue("low", connection=redis))
    assert job.get_status(refresh=False) == "queued"
    assert job.get_status() == "finished"
    assert job.result == "good morning"
    job.refresh()
    moments = [job.enqueued_at, job.started_at, job.ended_at, datetime.now(UTC) + timedelta(seconds=1)]
    assert moments == sorted(moment for moment in moments if moment)


def test_why_a_job_failed(redis: Redis) -> None:
    queue = Queue(connection=redis)
    job = queue.enqueue(letters.divide_by_zero, 1, meta={"to": "Bob"})
    work(queue)
    assert "ZeroDivisionError: division by zero" in (job.exc_info or "")
    assert job.result is None
    elsewhere = Job.fetch(job.id, connection=redis)
    elsewhere.meta["to"] = "Eve"
    elsewhere.save_meta()
    assert [job.get_meta(refresh=False), job.get_meta(refresh=True)] == [{"to": "Bob"}, {"to": "Eve"}]


def test_many_jobs(redis: Redis) -> None:
    queue = Queue(connection=redis)
    queue.enqueue(letters.greet, job_id="foo_id")
    queue.enqueue(letters.divide_by_zero, 1, job_id="bar_id")
    jobs = Job.fetch_many(["foo_id", "bar_id"], connection=redis)
    said = [f"Job {job.id}: {job.func_name}" for job in jobs if job]
    assert said == ["Job foo_id: letters.greet", "Job bar_id: letters.divide_by_zero"]
    assert Job.fetch_many(["none"], connection=redis) == [None]


def test_executions(redis: Redis, at_work: AtWork, told: Fifo, gate: Fifo) -> None:
    queue = Queue(connection=redis)
    queue.enqueue(letters.wait_at, told.path, gate.path, job_id="my_job_id")
    began = datetime.now(UTC) - timedelta(seconds=1)
    with at_work(queue):
        told.line_now()
        job = Job.fetch("my_job_id", connection=redis)
        executions = job.get_executions()  # Returns all current executions
        execution = job.get_executions()[0]  # Retrieves a single execution
        assert len(executions) == 1
        assert began < execution.created_at <= datetime.now(UTC)  # When did this execution start?
        assert began < execution.last_heartbeat <= datetime.now(UTC)  # Worker's last heartbeat
        assert execution.job == job
        assert execution.composite_key == f"my_job_id:{execution.id}"
        assert job.is_started
        assert job in queue.started_job_registry
        assert job.id in job.started_job_registry
        again = type(execution).fetch(execution.id, "my_job_id", connection=redis)
        assert again.job == job
        gate.let()
        assert job.latest_result(timeout=20) is not None
    assert job.get_executions() == []
    assert job in queue.finished_job_registry
    assert len(job.finished_job_registry) == len(queue.finished_job_registry) == 1


def test_stopping(redis: Redis, at_work: AtWork, told: Fifo, gate: Fifo) -> None:
    queue = Queue(connection=redis)
    job = queue.enqueue(letters.wait_at, told.path, gate.path, retry=Retry(max=3))
    with pytest.raises(NoSuchJobError):
        send_stop_job_command(redis, "none")
    with pytest.raises(InvalidJobOperation):
        send_stop_job_command(redis, job.id)
    with at_work(queue):
        told.line_now()
        send_stop_job_command(redis, job.id)
        assert job.latest_result(timeout=20) is not None
    assert job.is_stopped
    assert job in queue.failed_job_registry
    assert job in job.failed_job_registry
    assert len(queue) == len(queue.scheduled_job_registry) == 0  # it is not tried again


def test_canceling(redis: Redis) -> None:
    queue = Queue(connection=redis)
    queue.enqueue(letters.greet, job_id="my_job_id")
    job = Job.fetch("my_job_id", connection=redis)
    job.cancel()

    assert job.get_status() == "canceled"  # Job status is CANCELED

    registry = CanceledJobRegistry(job.origin, connection=job.connection)
    assert job in registry  # Job is in CanceledJobRegistry

    assert queue.job_ids == []
    # job.cancel() does not delete the job itself from Redis.
    assert Job.exists("my_job_id", connection=redis)
    job.delete()
    assert not Job.exists("my_job_id", connection=redis)
    assert job not in registry


def test_the_dependents_of_a_canceled_job(redis: Redis) -> None:
    queue = Queue(connection=redis)
    queue.enqueue(letters.greet, job_id="2eafc1e6-48c2-464b-a0ff-88fd199d039c")
    child = queue.enqueue(letters.greet, depends_on="2eafc1e6-48c2-464b-a0ff-88fd199d039c")
    cancel_job("2eafc1e6-48c2-464b-a0ff-88fd199d039c", connection=redis, enqueue_dependents=True)
    assert queue.job_ids == [child.id]


def test_serializers(redis: Redis) -> None:
    connection = redis
    job: Job[Any] = Job(id="my-job", connection=connection, serializer=JSONSerializer)
    queue = Queue(connection=connection, serializer=JSONSerializer)

    assert job.serializer is queue.serializer or type(job.serializer) is type(queue.serializer)
    job = queue.enqueue(letters.count_words, LETTER)
    assert json.loads(zlib.decompress(stored(redis, job))) == ["letters.count_words", None, [LETTER], {}]
    SimpleWorker([queue], connection=redis, serializer=JSONSerializer).work(burst=True)
    assert job.return_value() == 6
    # The default serializer used is `pickle`.
    job = Queue(connection=connection).enqueue(letters.greet)
    assert pickle.loads(zlib.decompress(stored(redis, job))) == ("letters.greet", None, (), {})


def stored(redis: Redis, job: Job[Any]) -> bytes:
    data: Any = redis.hget(job.key, "data")
    return bytes(data)


def test_the_current_job(redis: Redis) -> None:
    assert get_current_job() is None
    q = Queue(connection=redis)
    job = q.enqueue(somewhere.add_and_tell, 3, 4)
    work(q)
    assert job.return_value() == f"Current job: {job.id}, 7"
    assert get_current_job() is None


def test_data_of_the_callers(redis: Redis, at_work: AtWork, told: Fifo, gate: Fifo) -> None:
    q = Queue(connection=redis)
    job = q.enqueue(somewhere.add_by_hand, 3, 4, told.path, gate.path)
    with at_work(q):
        told.line_now()
        assert job.get_meta() == {"handled_by": socket.gethostname()}
        gate.let()
        assert job.latest_result(timeout=20) is not None
    assert Job.fetch(job.id, connection=redis).meta == {"handled_by": socket.gethostname()}
    assert job.return_value() == 7


def test_two_times_to_live(redis: Redis) -> None:
    q = Queue(connection=redis)
    # When creating the job:
    job = Job.create(
        func=letters.greet,
        result_ttl=600,  # how long (in seconds) to keep the job (if successful) and its results
        ttl=43,  # maximum queued time (in seconds) of the job before it's discarded.
        connection=redis,
    )
    q.enqueue_job(job)

    # or when queueing a new job:
    other = q.enqueue(
        letters.count_words,
        LETTER,
        result_ttl=600,  # how long to keep the job (if successful) and its results
        ttl=43,  # maximum queued time
    )
    late = q.enqueue(letters.greet, ttl=43)
    assert all(40 <= redis.ttl(each.key) <= 43 for each in (job, other, late))
    redis.pexpireat(late.key, 1)  # its time is over
    work(q)
    assert all(595 <= redis.ttl(each.key) <= 600 for each in (job, other))
    assert not Job.exists(late.id, connection=redis)


def test_the_position_in_the_queue(redis: Redis) -> None:
    q = Queue(connection=redis)

    job = q.enqueue(letters.greet)
    job2 = q.enqueue(letters.greet)

    assert job2.get_position() == 1
    assert q.get_job_position(job) == 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # the worker forks this process
def test_failed_jobs(redis: Redis) -> None:
    connection = redis
    queue = Queue(connection=connection)
    job = queue.enqueue(letters.divide_by_zero, 1)
    registry = queue.failed_job_registry

    worker = Worker([queue])
    worker.work(burst=True)

    assert len(registry) == 1  # Failed jobs are kept in FailedJobRegistry
    assert job in registry
    assert job.is_failed
    expiry = registry.get_expiration_time(job)
    assert expiry is not None
    assert timedelta(days=364) < expiry - datetime.now(UTC) < timedelta(days=366)  # for 1 year

    job = queue.enqueue(letters.divide_by_zero, 1, failure_ttl=300)  # 5 minutes in seconds
    work(queue)
    assert 295 <= redis.ttl(job.key) <= 300


def test_requeueing(redis: Redis) -> None:
    queue = Queue("myqueue", connection=redis)
    for name in ("foo_job_id", "bar_job_id", "baz_job_id"):
        queue.enqueue(letters.divide_by_zero, 1, job_id=name)
    work(queue)
    registry = queue.failed_job_registry
    assert len(registry) == 3

    # This is how to get jobs from FailedJobRegistry
    for job_id in registry.get_job_ids():
        registry.requeue(job_id)  # Puts job back in its original queue

    assert len(registry) == 0  # Registry will be empty when job is requeued
    assert sorted(queue.job_ids) == ["bar_job_id", "baz_job_id", "foo_job_id"]
    work(queue)
    assert len(registry) == 3

    # This will requeue foo_job_id and bar_job_id from myqueue's failed job registry
    for job_id in ("foo_job_id", "bar_job_id"):
        registry.requeue(job_id)
    assert queue.job_ids == ["foo_job_id", "bar_job_id"]
    assert registry.get_job_ids() == ["baz_job_id"]


def test_requeueing_of_the_oldest_page(redis: Redis) -> None:
    con = redis
    job = Job.create(func=letters.divide_by_zero, args=(1, 2, 3), connection=con)
    job.origin = "fake"
    job.save()
    queue = Queue("fake", connection=con)
    queue.enqueue_job(job)
    work(queue)
    fq = queue.failed_job_registry
    assert fq.count == 1

    fq.requeue(job.id)

    assert fq.count == 0
    assert Queue("fake", connection=con).count == 1
