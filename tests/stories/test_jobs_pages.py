"""What RQ's pages on jobs show, those of its versions 0.x, 1.x and 2.x."""

from __future__ import annotations

import json
import pickle
import socket
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import letters
import pytest
from redis.asyncio import Redis

from aiorq import Job, JobStatus, Queue, Retry, Worker, cancel_job, get_current_job
from aiorq.command import send_stop_job_command
from aiorq.errors import InvalidJobOperation, NoSuchJobError
from aiorq.registry import CanceledJobRegistry
from aiorq.serializers import JSONSerializer
from aiorq.store.base import store_of
from tests.execution.processes import Fifo
from tests.stories.conftest import Work, Works
from tests.worker.conftest import result_of

LETTER = "Dear Bob, all is well here"


async def stored_call(job: Job[Any]) -> bytes:
    """What Redis holds of a job's call."""
    data: Any = await job.connection.hget(job.key, "data")
    return zlib.decompress(data)


class TestCreation:
    async def test_a_job_has_an_id(self, connection: Redis, work: Work, address: str) -> None:
        q = Queue(connection=connection)
        job = await q.enqueue(letters.count_words_at, address)
        other = await q.enqueue(letters.count_words_at, address)
        assert await q.get_job_ids() == [job.id, other.id]
        await work(q)
        assert await (await Job.fetch(job.id, connection=connection)).return_value() == 10

    async def test_an_id_of_the_callers(self, connection: Redis, work: Work, address: str) -> None:
        q = Queue(connection=connection)
        job = await q.enqueue(letters.count_words_at, address, job_id="my_job_id")
        assert job.id == "my_job_id"
        await work(q)
        assert await (await Job.fetch("my_job_id", connection=connection)).return_value() == 10

    async def test_created_first_and_enqueued_then(self, connection: Redis, work: Work, address: str) -> None:
        q = Queue(connection=connection)
        job = Job.create(letters.count_words_at, address, connection=connection)
        assert await job.get_status(refresh=False) is JobStatus.CREATED
        assert not await Job.exists(job.id, connection)
        await q.enqueue_job(job)
        assert await job.get_status() is JobStatus.QUEUED

        # with a predetermined id
        mine = Job.create(letters.count_words_at, [address], id="my_job_id", connection=connection)
        assert mine.id == "my_job_id"
        await q.enqueue_job(mine)

        assert await q.get_job_ids() == [job.id, "my_job_id"]
        await work(q)
        assert [await job.return_value(), await mine.return_value()] == [10, 10]

    async def test_arguments_that_are_named_like_options(self, connection: Redis, work: Work) -> None:
        job = Job.create(
            letters.label,
            ttl=30,
            args=(LETTER,),
            kwargs={"description": "Function description", "ttl": 15},
            connection=connection,
        )
        assert job.ttl == 30
        assert job.description == f"letters.label({LETTER!r}, description='Function description', ttl=15)"
        queue = Queue("low", connection=connection)
        await queue.enqueue_job(job)
        await work(queue)
        assert await job.return_value() == f"{LETTER}: Function description, 15"

    async def test_all_options(self, connection: Redis) -> None:
        parent = Job.create(letters.greet, connection=connection)
        job = Job.create(
            letters.label,
            timeout="3m",
            result_ttl=60,
            ttl=70,
            failure_ttl=80,
            depends_on=parent,
            id="an-id",
            description="a text for people",
            connection=connection,
            status=JobStatus.CREATED,
            origin="low",
            meta={"to": "Bob"},
            args=(LETTER,),
            kwargs={"ttl": 1},
        )
        await job.save()
        fetched = await Job.fetch("an-id", connection=connection)
        assert (fetched.timeout, fetched.result_ttl, fetched.ttl, fetched.failure_ttl) == (180, 60, 70, 80)
        assert fetched.dependency_ids == [parent.id]
        assert (fetched.id, fetched.description, fetched.origin) == ("an-id", "a text for people", "low")
        assert (fetched.args, fetched.kwargs, fetched.meta) == ((LETTER,), {"ttl": 1}, {"to": "Bob"})
        assert fetched.status is JobStatus.CREATED
        assert Job.create(letters.greet, status=JobStatus.QUEUED, connection=connection).status is JobStatus.QUEUED
        assert Job.create(letters.greet, depends_on=parent.id, connection=connection).dependency_ids == [parent.id]

    @pytest.mark.parametrize(("given", "seconds"), [(2, 2), ("2", 2), ("1h", 3600), ("3m", 180), ("5s", 5)])
    async def test_timeouts(self, connection: Redis, given: Any, seconds: int) -> None:
        assert Job.create(letters.greet, timeout=given, connection=connection).timeout == seconds


class TestRetrieving:
    async def test_a_job_and_its_attributes(self, connection: Redis, work: Work) -> None:
        began = datetime.now(UTC)
        queue = Queue("low", connection=connection)
        await queue.enqueue(letters.label, LETTER, job_id="my_job_id", kwargs={"description": "a"})
        job = await Job.fetch("my_job_id", connection=connection)
        assert await job.get_status() == job.status == "queued"
        assert await job.return_value() is None
        assert (job.started_at, job.ended_at, job.worker_name) == (None, None, None)

        await work(queue, name="the-worker")
        assert await job.get_status(refresh=False) == "queued"
        assert await job.get_status() == "finished"
        await job.refresh()
        assert (job.origin, job.func_name) == ("low", "letters.label")
        assert (job.args, job.kwargs) == ((LETTER,), {"description": "a"})
        assert job.enqueued_at is not None
        assert job.started_at is not None
        assert job.ended_at is not None
        assert began - timedelta(seconds=1) < job.enqueued_at <= job.started_at <= job.ended_at
        assert await job.return_value() == f"{LETTER}: a, 0"

    async def test_why_a_job_failed(self, queue: Queue, work: Work) -> None:
        job = await queue.enqueue(letters.divide_by_zero, 1)
        await work(queue)
        assert "ZeroDivisionError: division by zero" in ((await result_of(job)).exc_string or "")
        assert await job.return_value() is None

    async def test_meta_is_read_anew(self, queue: Queue) -> None:
        job = await queue.enqueue(letters.greet, meta={"to": "Bob"})
        elsewhere = await Job.fetch(job.id, queue.connection)
        elsewhere.meta["to"] = "Eve"
        await elsewhere.save_meta()
        assert await job.get_meta(refresh=False) == {"to": "Bob"}
        assert await job.get_meta() == job.meta == {"to": "Eve"}

    async def test_many_jobs(self, connection: Redis) -> None:
        queue = Queue(connection=connection)
        await queue.enqueue(letters.greet, job_id="foo_id")
        await queue.enqueue(letters.count_words, LETTER, job_id="bar_id")
        jobs = await Job.fetch_many(["foo_id", "bar_id", "no-such-id"], connection=connection)
        shown = [job and (job.id, job.func_name) for job in jobs]
        assert shown == [("foo_id", "letters.greet"), ("bar_id", "letters.count_words"), None]


class TestLife:
    async def test_from_the_queue_to_the_result(self, queue: Queue, at_work: Works, told: Fifo, gate: Fifo) -> None:
        job = await queue.enqueue(letters.wait_at, told.path, gate.path)
        assert await job.get_status() is JobStatus.QUEUED
        assert await queue.get_job_ids() == [job.id]

        async with at_work(queue):
            await told.line()
            assert await job.get_status() is JobStatus.STARTED
            assert await queue.get_job_ids() == []
            [execution] = await job.get_executions()
            assert await queue.connection.zrange(queue.started_job_registry.key, 0, -1) == [
                execution.composite_key.encode()
            ]
            gate.let()
            assert (await result_of(job)).return_value == "went on"

        assert await job.get_status() is JobStatus.FINISHED
        assert await queue.finished_job_registry.contains(job)
        assert await queue.started_job_registry.count() == 0
        assert await job.get_executions() == []
        for key in (job.key, store_of(queue.connection).keys.results(job.id)):
            assert 495 <= await queue.connection.ttl(key) <= 500

    async def test_executions(self, queue: Queue, at_work: Works, told: Fifo, gate: Fifo) -> None:
        began = datetime.now(UTC) - timedelta(seconds=1)
        await queue.enqueue(letters.wait_at, told.path, gate.path, job_id="my_job_id")
        async with at_work(queue, name="the-worker", lease=3):
            await told.line()
            job = await Job.fetch("my_job_id", connection=queue.connection)
            executions = await job.get_executions()  # all current executions
            execution = executions[0]
            assert len(executions) == 1
            assert execution.job is job
            assert execution.composite_key == f"my_job_id:{execution.id}"
            assert began < execution.created_at <= execution.last_heartbeat < datetime.now(UTC) + timedelta(seconds=1)
            assert execution.worker_name == job.worker_name == "the-worker"
            assert job.last_heartbeat is not None
            assert await queue.started_job_registry.get_job_and_execution_ids() == [("my_job_id", execution.id)]

            # Heartbeats go on while the job does.
            of_execution, of_job = execution.last_heartbeat, job.last_heartbeat
            while execution.last_heartbeat == of_execution or job.last_heartbeat == of_job:
                await execution.refresh()
                await job.refresh()
            assert execution.last_heartbeat > of_execution
            assert job.last_heartbeat > of_job
            gate.let()
            await result_of(job)

    async def test_every_status(self, queue: Queue, at_work: Works, told: Fifo, gate: Fifo) -> None:
        """And the property of its name."""
        finished, failed = await queue.enqueue(letters.greet), await queue.enqueue(letters.divide_by_zero, 1)
        stopped, started = [await queue.enqueue(letters.wait_at, told.path, gate.path) for _ in range(2)]
        canceled, queued = [await queue.enqueue(letters.greet) for _ in range(2)]
        deferred = await queue.enqueue(letters.greet, depends_on=queued)
        scheduled = await queue.enqueue_in(timedelta(minutes=1), letters.greet)
        await canceled.cancel()
        async with at_work(queue):
            await told.line()
            await stopped.stop()
            await told.line()
            jobs: dict[str, Job[Any]] = {
                "queued": queued,
                "finished": finished,
                "failed": failed,
                "started": started,
                "deferred": deferred,
                "scheduled": scheduled,
                "stopped": stopped,
                "canceled": canceled,
            }
            for status, job in jobs.items():
                await job.refresh()
                assert await job.get_status() == status
                assert [name for name in jobs if getattr(job, f"is_{name}")] == [status]
            gate.let()
            await result_of(queued)


class TestStopping:
    async def test_a_job_that_runs(self, queue: Queue, at_work: Works, told: Fifo, gate: Fifo) -> None:
        with pytest.raises(NoSuchJobError):
            await send_stop_job_command(queue.connection, "no-such-job")
        job = await queue.enqueue(letters.wait_at, told.path, gate.path, retry=Retry(max=3))
        with pytest.raises(InvalidJobOperation):  # it does not run yet
            await send_stop_job_command(queue.connection, job.id)

        async with at_work(queue):
            await told.line()
            await send_stop_job_command(queue.connection, job.id)
            await result_of(job)
        assert await job.get_status() is JobStatus.STOPPED
        assert await queue.failed_job_registry.contains(job)
        # It is not tried again.
        assert await queue.is_empty()
        assert await queue.scheduled_job_registry.count() == 0

    async def test_a_job_that_waits(self, connection: Redis, work: Work) -> None:
        queue = Queue(connection=connection)
        await queue.enqueue(letters.greet, job_id="my_job_id")
        job = await Job.fetch("my_job_id", connection=connection)
        await job.cancel()

        assert await job.get_status() is JobStatus.CANCELED
        registry = CanceledJobRegistry(job.origin, connection=job.connection)
        assert await registry.contains(job)

        assert await queue.get_job_ids() == []
        assert not await work(queue)
        assert await Job.exists("my_job_id", connection)
        await job.delete()
        assert not await Job.exists("my_job_id", connection)
        assert not await registry.contains(job)

    async def test_the_dependents_of_a_canceled_job(self, connection: Redis, work: Work) -> None:
        queue = Queue(connection=connection)
        one, other = [await queue.enqueue(letters.greet) for _ in range(2)]
        waiting = [await queue.enqueue(letters.greet, depends_on=parent) for parent in (one, other)]
        await cancel_job(one.id, connection, enqueue_dependents=True)
        await cancel_job(other.id, connection)
        await work(queue)
        assert await waiting[0].return_value() == "good morning"
        assert await waiting[1].get_status() is JobStatus.DEFERRED


class TestSerializers:
    async def test_json(self, connection: Redis, work: Work) -> None:
        job: Job[Any] = Job(id="my-job", connection=connection, serializer=JSONSerializer)
        queue = Queue(connection=connection, serializer=JSONSerializer)
        assert isinstance(job.serializer, JSONSerializer)

        job = await queue.enqueue(letters.label, LETTER, description="a", job_id="my-job", kwargs={"ttl": 1})
        stored = await stored_call(job)
        assert json.loads(stored) == ["letters.label", None, [LETTER], {"ttl": 1}]
        await work(queue)
        fetched = await Job.fetch("my-job", connection=connection, serializer=JSONSerializer)
        assert await fetched.return_value() == f"{LETTER}: , 1"

    async def test_any_object_that_dumps_and_loads(self, connection: Redis, work: Work) -> None:
        queue = Queue(connection=connection, serializer=letters.Mirrored)
        job = await queue.enqueue(letters.count_words, LETTER)
        stored = await stored_call(job)
        assert pickle.loads(stored[::-1]) == ("letters.count_words", None, (LETTER,), {})
        await work(queue)
        assert await job.return_value() == 6

    async def test_pickle_is_the_default(self, queue: Queue) -> None:
        job = await queue.enqueue(letters.count_words, LETTER)
        stored = await stored_call(job)
        assert pickle.loads(stored) == ("letters.count_words", None, (LETTER,), {})


class TestInside:
    async def test_the_current_job(self, queue: Queue, work: Work) -> None:
        assert get_current_job() is None
        job = await queue.enqueue(letters.add_and_tell, 3, 4)
        await work(queue)
        assert await job.return_value() == f"{job.id}: 7"
        assert get_current_job() is None

    async def test_data_of_the_callers(self, queue: Queue, at_work: Works, told: Fifo, gate: Fifo) -> None:
        """It can be seen while the job runs, and remains."""
        began = datetime.now(UTC) - timedelta(seconds=1)
        job = await queue.enqueue(letters.add_by_hand, 3, 4, told.path, gate.path)
        async with at_work(queue):
            await told.line()
            meta = await job.get_meta()
            assert meta["handled_by"] == socket.gethostname()
            assert began < meta["since"] < datetime.now(UTC) + timedelta(seconds=1)
            gate.let()
            assert (await result_of(job)).return_value == 7
        assert (await Job.fetch(job.id, queue.connection)).meta == meta


class TestTimes:
    async def test_two_times_to_live(self, connection: Redis, work: Work) -> None:
        q = Queue(connection=connection)
        created = Job.create(
            func=letters.greet,
            result_ttl=600,  # how long (in seconds) to keep the job (if successful) and its results
            ttl=43,  # maximum queued time (in seconds) of the job before it is discarded
            connection=connection,
        )
        await q.enqueue_job(created)
        enqueued = await q.enqueue(letters.count_words, LETTER, result_ttl=600, ttl=43)
        late = await q.enqueue(letters.greet, ttl=43)
        for job in (created, enqueued, late):
            assert 40 <= await connection.ttl(job.key) <= 43
        await connection.pexpireat(late.key, 1)  # its time is over

        await work(q)
        for job in (created, enqueued):
            for key in (job.key, store_of(connection).keys.results(job.id)):
                assert 595 <= await connection.ttl(key) <= 600
        assert await late.latest_result() is None

    async def test_the_position_in_the_queue(self, connection: Redis, work: Work) -> None:
        q = Queue(connection=connection)
        job = await q.enqueue(letters.greet)
        job2 = await q.enqueue(letters.greet)
        assert await job2.get_position() == 1
        assert await q.get_job_position(job) == 0

        await work(q, max_jobs=1)
        assert await job2.get_position() == 0
        assert await q.get_job_position(job) is None


class TestFailures:
    async def test_they_are_kept_in_a_registry(self, connection: Redis, jobs_path: str) -> None:
        queue = Queue(connection=connection)
        job = await queue.enqueue(letters.divide_by_zero, 1)
        registry = queue.failed_job_registry

        worker = Worker([queue], path=jobs_path)
        await worker.work(burst=True)

        assert await registry.count() == 1
        assert await registry.contains(job)
        await job.refresh()
        assert job.is_failed
        expiry = await registry.get_expiration_time(job)
        assert expiry is not None
        assert timedelta(days=364) < expiry - datetime.now(UTC) < timedelta(days=366)

    async def test_for_how_long(self, queue: Queue, work: Work) -> None:
        job = await queue.enqueue(letters.divide_by_zero, 1, failure_ttl=300)
        await work(queue)
        assert 295 <= await queue.connection.ttl(job.key) <= 300
        expiry = await queue.failed_job_registry.get_expiration_time(job)
        assert expiry is not None
        assert timedelta(seconds=290) < expiry - datetime.now(UTC) <= timedelta(seconds=300)

    async def test_requeueing(self, connection: Redis, work: Work, told: Fifo) -> None:
        queue = Queue(connection=connection)
        registry = queue.failed_job_registry
        jobs = [await queue.enqueue(letters.divide_by_zero, number) for number in range(2)]
        await work(queue)
        assert await registry.count() == 2

        for job_id in await registry.get_job_ids():
            await registry.requeue(job_id)

        assert await registry.count() == 0
        assert sorted(await queue.get_job_ids()) == sorted(job.id for job in jobs)
        await work(queue)
        assert [len(await job.results()) for job in jobs] == [2, 2]

    async def test_requeueing_of_the_oldest_page(self, connection: Redis, work: Work) -> None:
        """A job that is made by hand, fails on another queue, and goes back there."""
        fake = Queue("fake", connection=connection)
        job = Job.create(func=letters.divide_by_zero, args=(1, 2, 3), connection=connection)
        job.origin = "fake"
        await job.save()
        assert (await Job.fetch(job.id, connection)).args == (1, 2, 3)
        await fake.enqueue_job(job)
        await work(fake)

        failed = fake.failed_job_registry
        assert await failed.count() == 1
        assert await job.get_status() is JobStatus.FAILED

        await failed.requeue(job.id)
        assert await failed.count() == 0
        assert await Queue("fake", connection=connection).count() == 1

    async def test_requeueing_all(self, connection: Redis, work: Work) -> None:
        queue = Queue("myqueue", connection=connection)
        named = [await queue.enqueue(letters.divide_by_zero, 1, job_id=name) for name in ("foo_job_id", "bar_job_id")]
        other = await queue.enqueue(letters.divide_by_zero, 1)
        await work(queue)
        registry = queue.failed_job_registry
        for job in named:
            await registry.requeue(job.id)
        assert await queue.get_job_ids() == ["foo_job_id", "bar_job_id"]
        assert await registry.get_job_ids() == [other.id]
        assert await registry.requeue_all() == 1
        assert await queue.get_job_ids() == ["foo_job_id", "bar_job_id", other.id]
