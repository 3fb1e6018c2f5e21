"""`Job`: making, reading, writing and deleting one, and what became of it."""

from __future__ import annotations

import asyncio
import base64
import importlib
import zlib
from contextvars import copy_context
from typing import Any

import pytest
import redis
import rq
import rq.job
from redis.asyncio import Redis

from aiorq import Job, JobStatus, Queue, Result, cancel_job, connect, get_current_job, requeue_job
from aiorq.current import CurrentRun, current_run
from aiorq.errors import (
    CorruptJobError,
    DeserializationError,
    InvalidJobOperation,
    NoSuchJobError,
    SerializationError,
    StoreError,
)
from aiorq.server import EmbeddedServer
from aiorq.store import runs
from aiorq.store.connection import describe
from tests.api.conftest import FakeWorker

jobs: Any = importlib.import_module("jobs")


class TestMaking:
    def test_create(self) -> None:
        job = Job.create(
            jobs.add,
            [1],
            {"right": 2},
            timeout="1m",
            result_ttl=5,
            ttl=6,
            failure_ttl=-1,
            description="text",
            id="an-id",
            origin="q",
            meta={"k": 1},
            group_id="g",
        )
        assert (job.func_name, job.args, job.kwargs, job.instance) == ("jobs.add", (1,), {"right": 2}, None)
        assert (job.timeout, job.result_ttl, job.ttl, job.failure_ttl) == (60, 5, 6, -1)
        assert (job.id, job.origin, job.meta, job.group_id, job.description) == ("an-id", "q", {"k": 1}, "g", "text")
        assert (job.status, job.enqueued_at, job.key) == (JobStatus.CREATED, None, "rq:job:an-id")
        assert Job.create("jobs.add", status=JobStatus.DEFERRED).status is JobStatus.DEFERRED
        assert Job.create("jobs.add", prefix="{app}").key.startswith("{app}:job:")

    @pytest.mark.parametrize(
        ("given", "error"),
        [
            ({"id": "a b"}, ValueError),
            ({"id": 5}, TypeError),
            ({"timeout": 0}, ValueError),
            ({"ttl": 0}, ValueError),
            ({"status": "banana"}, ValueError),
            ({"origin": "a,b"}, ValueError),
            ({"meta": [1]}, TypeError),
            ({"serializer": "nope"}, ValueError),
        ],
    )
    def test_bad_ones(self, given: dict[str, Any], error: type[Exception]) -> None:
        with pytest.raises(error):
            Job.create("jobs.add", **given)

    def test_equality_is_that_of_ids(self) -> None:
        assert Job("a") == Job("a")
        assert Job("a") != Job("b")
        assert Job("a") != "a"
        assert len({Job("a"), Job("a"), Job("b")}) == 2
        assert Job().id != Job().id
        assert repr(Job.create("jobs.add", [1], id="a")) == "Job('a', 'jobs.add(1)')"


class TestReading:
    async def test_fetch(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue(jobs.add, 1, job_id="a")
        for job_id in ("a", "a:some-execution"):
            same = await Job.fetch(job_id, connection)
            assert (same.id, same.args, same.status, same.enqueued_at) == ("a", (1,), "queued", job.enqueued_at)

    async def test_fetch_missing(self, connection: Redis) -> None:
        with pytest.raises(NoSuchJobError, match="no job 'a'") as caught:
            await Job.fetch("a", connection)
        assert caught.value.job_id == "a"

    @pytest.mark.parametrize(
        ("job_id", "error"), [("a b", ValueError), ("", ValueError), (":x", ValueError), (5, TypeError)]
    )
    async def test_fetch_what_is_no_id(self, connection: Redis, job_id: Any, error: type[Exception]) -> None:
        with pytest.raises(error):
            await Job.fetch(job_id, connection)
        with pytest.raises(error):
            await Job.fetch_many([job_id], connection)

    async def test_fetch_many(self, queue: Queue, connection: Redis) -> None:
        for job_id in ("a", "b"):
            await queue.enqueue("jobs.add", job_id=job_id)
        found = await Job.fetch_many(["b", "missing", "a:x", "b"], connection)
        assert [job and job.id for job in found] == ["b", None, "a", "b"]
        assert await Job.fetch_many([], connection) == []

    async def test_fetch_many_is_one_round_trip(self, queue: Queue, connection: Redis) -> None:
        made = await queue.enqueue_many([Queue.prepare_data("jobs.add", (n,)) for n in range(1500)])
        found = await Job.fetch_many([job.id for job in made], connection)
        assert [job and job.args for job in found] == [(n,) for n in range(1500)]

    async def test_corrupt(self, queue: Queue, connection: Redis) -> None:
        await queue.enqueue("jobs.add", job_id="a")
        await queue.enqueue("jobs.add", job_id="b")
        await connection.hset("rq:job:b", "timeout", "abc")
        with pytest.raises(CorruptJobError, match="field 'timeout'") as caught:
            await Job.fetch_many(["a", "b"], connection)
        assert (caught.value.job_id, caught.value.field) == ("b", "timeout")
        await connection.delete("rq:job:b")
        await connection.rpush("rq:job:b", "text")
        for read in (Job.fetch("b", connection), Job("b", connection).get_status(), Job("b", connection).get_meta()):
            with pytest.raises(CorruptJobError, match="its key does not hold a hash") as caught:
                await read
            assert caught.value.job_id == "b"

    async def test_exists(self, queue: Queue, connection: Redis) -> None:
        await queue.enqueue("jobs.add", job_id="a")
        assert await Job.exists("a", connection)
        assert not await Job.exists("b", connection)

    async def test_refresh(self, queue: Queue, connection: Redis, worker: FakeWorker) -> None:
        job = await queue.enqueue("jobs.add", 1)
        assert (job.status, job.started_at) == (JobStatus.QUEUED, None)
        await worker.do(job)
        assert job.status is JobStatus.QUEUED
        await job.refresh()
        assert (job.status, job.worker_name) == (JobStatus.FINISHED, "w")
        assert job.started_at is not None
        assert job.ended_at is not None
        assert job.started_at <= job.ended_at
        await job.delete()
        with pytest.raises(NoSuchJobError):
            await job.refresh()

    async def test_status(self, queue: Queue, connection: Redis, worker: FakeWorker) -> None:
        job = await queue.enqueue("jobs.add", 1)
        (run,) = await worker.take()
        assert await job.get_status(refresh=False) is JobStatus.QUEUED
        assert await job.get_status() is JobStatus.STARTED
        assert job.status is JobStatus.STARTED
        await worker.fail(run)
        assert await job.get_status() is JobStatus.FAILED
        await connection.hset(job.key, "status", "banana")
        with pytest.raises(CorruptJobError, match="field 'status'"):
            await job.get_status()
        await job.delete()
        with pytest.raises(InvalidJobOperation, match="does not exist"):
            await job.get_status()

    async def test_position(self, queue: Queue, connection: Redis) -> None:
        first = await queue.enqueue("jobs.add", 1)
        second = await queue.enqueue("jobs.add", 1)
        assert (await first.get_position(), await second.get_position()) == (0, 1)
        await first.delete()
        assert (await first.get_position(), await second.get_position()) == (None, 0)
        assert await Job("x", connection).get_position() is None


class TestMeta:
    async def test_saving(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue("jobs.add", 1, meta={"a": 1})
        job.meta["b"] = 2
        before = await connection.hgetall(job.key)
        await job.save_meta()
        after = await connection.hgetall(job.key)
        assert {name for name in after if after[name] != before.get(name)} == {b"meta"}
        same = await Job.fetch(job.id, connection)
        assert same.meta == {"a": 1, "b": 2}

    async def test_reading(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue("jobs.add", 1, meta={"a": 1})
        same = await Job.fetch(job.id, connection)
        same.meta["a"] = 2
        await same.save_meta()
        assert await job.get_meta(refresh=False) == {"a": 1}
        assert await job.get_meta() == {"a": 2}
        assert job.meta == {"a": 2}

    async def test_emptied(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue("jobs.add", 1, meta={"a": 1})
        job.meta.clear()
        await job.save_meta()
        assert await job.get_meta() == {}
        assert not await connection.hexists(job.key, "meta")

    async def test_of_a_job_that_is_gone(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue("jobs.add", 1, meta={"a": 1})
        await job.delete()
        with pytest.raises(InvalidJobOperation, match="does not exist"):
            await job.save_meta()
        assert not await connection.exists(job.key)
        assert await job.get_meta() == {}

    async def test_that_cannot_be_serialised(self, queue: Queue) -> None:
        job = await queue.enqueue("jobs.add", 1, meta={"a": 1})
        job.meta["f"] = lambda: None
        with pytest.raises(SerializationError, match="the meta of job"):
            await job.save_meta()
        assert await job.get_meta() == {"a": 1}

    async def test_while_the_job_runs(self, queue: Queue, connection: Redis, worker: FakeWorker) -> None:
        """Only `meta` is written: what a worker wrote meanwhile stays."""
        job = await queue.enqueue("jobs.add", 1)
        (run,) = await worker.take()
        job.meta["progress"] = 50
        await job.save_meta()
        assert await job.get_status() == "started"
        await worker.finish(run)
        assert (await Job.fetch(job.id, connection)).meta == {"progress": 50}


class TestSaving:
    async def test_creates_what_was_created(self, connection: Redis) -> None:
        job = Job.create("jobs.add", [1], connection=connection, meta={"a": 1}, origin="q", id="a")
        await job.save()
        assert await connection.keys("*") == [b"rq:job:a"]
        same = await Job.fetch("a", connection)
        assert (same.status, same.origin, same.meta, same.args) == (JobStatus.CREATED, "q", {"a": 1}, (1,))

    async def test_rq_reads_it(self, connection: Redis, url: str) -> None:
        await Job.create("jobs.add", [1], connection=connection, id="a").save()
        with redis.Redis.from_url(url) as client:
            assert rq.job.Job.fetch("a", client).get_status() == "created"

    async def test_writes_what_the_caller_may_set(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue("jobs.add", 1)
        job.description, job.result_ttl, job.meta["a"] = "new", 7, 1
        await job.save()
        same = await Job.fetch(job.id, connection)
        assert (same.description, same.result_ttl, same.meta) == ("new", 7, {"a": 1})

    async def test_without_meta(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue("jobs.add", 1, meta={"a": 1})
        job.description, job.meta["a"] = "new", 2
        await job.save(include_meta=False)
        same = await Job.fetch(job.id, connection)
        assert (same.description, same.meta) == ("new", {"a": 1})

    @pytest.mark.parametrize("moment", ["started", "finished"])
    async def test_changes_no_state(self, queue: Queue, connection: Redis, worker: FakeWorker, moment: str) -> None:
        """The object is from before the run: what the run wrote must stay."""
        job = await queue.enqueue("jobs.add", 1)
        (run,) = await worker.take()
        if moment == "finished":
            await worker.finish(run, 5)
        job.description, job.origin = "new", "elsewhere"
        await job.save()
        same = await Job.fetch(job.id, connection)
        assert (same.status, same.worker_name, same.description, same.origin) == (moment, "w", "new", "default")
        assert same.started_at is not None
        if moment == "started":
            await worker.finish(run, 5)
        assert await same.return_value() == 5

    async def test_does_not_bring_back_what_is_gone(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue("jobs.add", 1)
        await job.delete()
        with pytest.raises(InvalidJobOperation, match="does not exist"):
            await job.save()
        assert not await connection.exists(job.key)

    async def test_key_that_holds_something_else(self, connection: Redis) -> None:
        await connection.set("rq:job:a", "text")
        with pytest.raises(CorruptJobError):
            await Job.create("jobs.add", connection=connection, id="a").save()


class TestDeleting:
    async def test_in_the_queue(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue("jobs.add", 1)
        await job.delete()
        assert await connection.keys("*") == [b"rq:queues"]
        await job.delete()

    async def test_while_it_runs(self, queue: Queue, connection: Redis, worker: FakeWorker) -> None:
        job = await queue.enqueue("jobs.add", 1)
        (run,) = await worker.take()
        await job.delete()
        assert not await runs.finish(worker.store, "w", run, b"", 500)
        assert not await Job.exists(job.id, connection)

    async def test_with_its_results(self, queue: Queue, connection: Redis, worker: FakeWorker) -> None:
        job = await queue.enqueue("jobs.add", 1)
        await worker.do(job, 5)
        await job.delete()
        assert await job.latest_result() is None
        assert await connection.zcard("rq:finished:default") == 0


class TestCanceling:
    async def test_by_its_id(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue("jobs.add", 1)
        child = await queue.enqueue("jobs.add", 1, depends_on=job)
        assert await cancel_job(job.id, connection) == {}
        assert await job.get_status() == "canceled"
        with pytest.raises(InvalidJobOperation, match="canceled already"):
            await cancel_job(job.id, connection)
        assert await cancel_job(child.id, connection, enqueue_dependents=True) == {}
        assert await child.get_status() == "canceled"

    async def test_with_those_that_wait(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue("jobs.add", 1)
        child = await queue.enqueue("jobs.add", 1, depends_on=job)
        assert await cancel_job(job.id, connection, enqueue_dependents=True) == {"default": [child.id]}

    async def test_with_more_than_a_step_looks_at(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue("jobs.add", 1)
        children = await queue.enqueue_many([Queue.prepare_data("jobs.add", depends_on=job) for _ in range(250)])
        enqueued = await job.cancel(enqueue_dependents=True)
        assert sorted(enqueued["default"]) == sorted(child.id for child in children)
        assert await queue.count() == 250

    @pytest.mark.parametrize(
        ("job_id", "error"), [("missing", NoSuchJobError), ("a b", ValueError), ("", ValueError), (5, TypeError)]
    )
    async def test_what_is_no_job(self, connection: Redis, job_id: Any, error: type[Exception]) -> None:
        for deed in (cancel_job, requeue_job):
            with pytest.raises(error):
                await deed(job_id, connection)
        assert await connection.keys("*") == []

    async def test_key_that_holds_something_else(self, connection: Redis) -> None:
        await connection.set("rq:job:a", "text")
        for deed in (cancel_job, requeue_job):
            with pytest.raises(CorruptJobError):
                await deed("a", connection)
        assert await connection.get("rq:job:a") == b"text"


class TestRequeueing:
    @pytest.mark.parametrize("by_id", [True, False])
    async def test_after_a_failure(self, queue: Queue, connection: Redis, worker: FakeWorker, by_id: bool) -> None:
        job = await queue.enqueue("jobs.add", 1)
        await worker.fail(await worker.take_job(job))
        await job.refresh()
        first = await queue.enqueue("jobs.add", 2)
        again = await (requeue_job(job.id, connection) if by_id else job.requeue(at_front=True))
        assert (again == job, again.status, again.started_at, again.ended_at) == (True, JobStatus.QUEUED, None, None)
        assert again.enqueued_at is not None
        assert await queue.get_job_ids() == ([first.id, job.id] if by_id else [job.id, first.id])
        same = await Job.fetch(job.id, connection)
        assert (same.status, same.started_at, same.ended_at) == (JobStatus.QUEUED, None, None)
        assert same.enqueued_at == again.enqueued_at
        assert await connection.ttl(job.key) == -1
        assert len(await job.results()) == 1

    @pytest.mark.parametrize("state", ["created", "queued", "started", "finished", "canceled"])
    async def test_what_has_not_failed(self, queue: Queue, worker: FakeWorker, state: str) -> None:
        job = queue.create_job("jobs.add", (1,), status=JobStatus.CREATED)
        if state == "created":
            await job.save()
        else:
            await queue.enqueue_job(job)
            if state == "canceled":
                await job.cancel()
            elif state != "queued":
                run = await worker.take_job(job)
                if state == "finished":
                    await worker.finish(run)
        with pytest.raises(InvalidJobOperation, match="it is not among the failed jobs of its queue"):
            await job.requeue()
        assert await job.get_status() == state

    async def test_of_another_registry(self, queue: Queue, worker: FakeWorker) -> None:
        job = await queue.enqueue("jobs.add", 1)
        await worker.do(job)
        await job.requeue_from("finished")
        assert await queue.get_job_ids() == [job.id]
        await job.cancel()
        assert (await job.requeue_from("canceled", at_front=True)).status is JobStatus.QUEUED

    async def test_seen_by_rq(self, queue: Queue, worker: FakeWorker, url: str) -> None:
        job = await queue.enqueue("jobs.add", 1)
        await worker.fail(await worker.take_job(job))
        await job.requeue()
        with redis.Redis.from_url(url) as client:
            theirs = rq.job.Job.fetch(job.id, client)
            assert (theirs.get_status(), theirs.started_at, theirs.ended_at) == ("queued", None, None)
            assert job.id not in rq.Queue(connection=client).failed_job_registry.get_job_ids()


class TestExecutions:
    async def test_of_a_job_that_runs(self, queue: Queue, worker: FakeWorker) -> None:
        job = await queue.enqueue("jobs.add", 1)
        assert await job.get_executions() == []
        run = await worker.take_job(job)
        (execution,) = await job.get_executions()
        assert (execution.id, execution.job_id) == (run.token, job.id)
        await worker.finish(run)
        assert await job.get_executions() == []


class TestAttempts:
    async def test_what_others_have_written(self, queue: Queue, connection: Redis, worker: FakeWorker) -> None:
        """A job that RQ ran has the attempt that its result tells of."""
        job = await queue.enqueue("jobs.add", 1)
        assert await job.attempts() == []
        await connection.xadd(f"rq:results:{job.id}", {"type": 2, "worker_name": "theirs"})
        (attempt,) = await job.attempts()
        assert (attempt.number, attempt.outcome, attempt.worker_name, attempt.started_at) == (
            1,
            "failed",
            "theirs",
            None,
        )

    async def test_of_a_job_that_is_gone(self, connection: Redis) -> None:
        assert await Job[Any]("missing", connection).attempts() == []


class TestResults:
    async def test_none_yet(self, queue: Queue) -> None:
        job = await queue.enqueue("jobs.add", 1)
        assert await job.latest_result() is None
        assert await job.results() == []
        assert await job.return_value() is None

    @pytest.mark.parametrize("value", [5, None, {"a": (1, b"\xff")}])
    async def test_success(self, queue: Queue, worker: FakeWorker, value: Any) -> None:
        job = await queue.enqueue("jobs.add", 1)
        await worker.do(job, value)
        result = await job.latest_result()
        assert result is not None
        assert (result.type, result.return_value, result.exc_string) == (Result.Type.SUCCESSFUL, value, None)
        assert (result.job_id, result.worker_name) == (job.id, "w")
        assert await job.results() == [result]
        assert await job.return_value() == value
        assert await job.return_value(refresh=True) == value

    async def test_failure(self, queue: Queue, worker: FakeWorker) -> None:
        job = await queue.enqueue("jobs.add", 1)
        (run,) = await worker.take()
        await worker.fail(run, base64.b64encode(zlib.compress("Träceback".encode())))
        result = await job.latest_result()
        assert result is not None
        assert (result.type, result.exc_string, result.return_value) == (Result.Type.FAILED, "Träceback", None)
        assert await job.return_value() is None

    async def test_several_newest_first(self, queue: Queue, connection: Redis, worker: FakeWorker) -> None:
        job = await queue.enqueue("jobs.add", 1)
        for number in range(3):
            if number:
                await connection.rpush(queue.key, job.id)
            await worker.do(job, number)
        assert [result.return_value for result in await job.results()] == [2, 1, 0]
        assert await job.return_value() == 2

    async def test_value_of_another_serializer(self, connection: Redis, worker: FakeWorker) -> None:
        job = await Queue(connection=connection, serializer="json").enqueue("jobs.add", 1)
        await worker.do(job, {1, 2})
        result = await job.latest_result()
        assert result is not None
        assert result.type is Result.Type.SUCCESSFUL
        with pytest.raises(DeserializationError):
            await job.return_value()
        assert await job.get_status() == "finished"

    async def test_entry_that_is_none(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue("jobs.add", 1)
        await connection.xadd(f"rq:results:{job.id}", {"type": "banana"})
        with pytest.raises(DeserializationError):
            await job.latest_result()

    async def test_key_that_holds_something_else(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue("jobs.add", 1)
        await connection.set(f"rq:results:{job.id}", "text")
        with pytest.raises(StoreError, match="WRONGTYPE"):
            await job.latest_result()


class TestCurrentJob:
    """`get_current_job`, in a context as the process that runs a job has it."""

    @staticmethod
    def run_of(server: EmbeddedServer, prefix: str = "rq") -> CurrentRun:
        client = connect(server.url)
        record = Job.create("jobs.add", [1], meta={"k": 1}, id="a")
        return CurrentRun(
            job_id="a",
            fields={
                name.encode(): value if isinstance(value, bytes) else str(value).encode()
                for name, value in record.encode().items()
            },
            execution_id="token",
            worker_name="w",
            serializer="pickle",
            prefix=prefix,
            connection=describe(client),
        )

    def test_none_outside(self) -> None:
        assert get_current_job() is None

    def test_attributes_without_an_event_loop(self, server: EmbeddedServer) -> None:
        def inside() -> None:
            run = self.run_of(server)
            current_run.set(lambda: run)
            job = get_current_job()
            assert job is not None
            assert job is get_current_job()
            assert (job.id, job.args, job.meta, job.status, job.worker_name) == ("a", (1,), {"k": 1}, "started", "w")

        copy_context().run(inside)
        assert get_current_job() is None

    def test_one_for_each_event_loop(self, server: EmbeddedServer) -> None:
        """A plain function may run one event loop after the other; each needs connections of its own."""

        async def note(key: str) -> int:
            job = get_current_job()
            assert job is not None
            assert job is get_current_job()
            job.meta[key] = True
            try:
                await job.save_meta()
                return id(job)
            finally:
                await job.connection.aclose()

        async def fields() -> dict[str, Any]:
            async with connect(server.url) as client:
                return (await Job.fetch("a", client)).meta

        async def prepare() -> None:
            async with connect(server.url) as client:
                await client.flushall()
                await Job.create("jobs.add", connection=client, id="a").save()

        def inside() -> None:
            run = self.run_of(server)
            current_run.set(lambda: run)
            for number in range(5):
                asyncio.run(note(f"loop {number}"))

        asyncio.run(prepare())
        copy_context().run(inside)
        assert "loop 4" in asyncio.run(fields())
