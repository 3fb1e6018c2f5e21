"""What an enqueue may ask for beyond a function and its arguments: what is stored, and what becomes of it."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest
import redis
import rq
import rq.job
from redis.asyncio import Redis

from aiorq import Job, JobStatus, Queue
from aiorq.callback import Callback
from aiorq.errors import DuplicateJobError, InvalidJobOperation
from aiorq.options import RESERVED
from aiorq.rate_limit import RateLimit
from aiorq.retry import Repeat, Retry
from aiorq.store import runs
from aiorq.webhook import Webhook
from tests.api.conftest import FakeWorker

jobs: Any = importlib.import_module("jobs")
HOOK = Webhook("https://example.org/x", "finished", method="POST", headers={"a": "b"}, timeout=5)
EVERY: dict[str, Any] = {
    "job_timeout": "1m",
    "result_ttl": 0,
    "failure_ttl": -1,
    "ttl": "1d",
    "description": "täxt",
    "job_id": "an-id",
    "at_front": True,
    "meta": {"k": [1]},
    "depends_on": "parent",
    "retry": Retry(3, [10, 20], enqueue_at_front=True, jitter=0.5, retry_on=OSError, never=[KeyError, "a.B"]),
    "repeat": Repeat(2, [5, 6]),
    "on_success": Callback("shapes.function", 5),
    "on_failure": "shapes.function",
    "on_stopped": Callback("shapes.function", "2m"),
    "rate_limit": RateLimit("api", 3),
    "webhooks": [HOOK, Webhook("http://example.org", "failed")],
    "on_lost": "requeue",
    "memory_limit": "512m",
}


class TestEvery:
    """All options at once."""

    def test_none_is_left_out(self) -> None:
        assert RESERVED - EVERY.keys() == {"unique"}  # which goes neither with depends_on nor with rate_limit

    async def test_what_is_returned_is_what_is_stored(self, queue: Queue, connection: Redis) -> None:
        await Queue("parents", connection).enqueue("jobs.add", job_id="parent")
        job = await queue.enqueue("jobs.echo", 1, other=2, **EVERY)
        assert (job.args, job.kwargs) == ((1,), {"other": 2})
        same = await Job.fetch("an-id", connection)
        for name in vars(job):
            if name not in {"_call", "_meta", "_raw_meta", "_store", "has_fresh_id", "_prefix", "serializer"}:
                assert getattr(job, name) == getattr(same, name), name
        assert (same.retries_left, same.retry_intervals, same.enqueue_at_front_on_retry) == (3, [10, 20], True)
        assert (same.retry_jitter, same.retry_on, same.never_retry) == (0.5, ["OSError"], ["KeyError", "a.B"])
        assert (same.repeats_left, same.repeat_intervals) == (2, [5, 6])
        assert (same.rate_limit_key, same.rate_limit_concurrency, same.has_rate_limit) == ("api", 3, True)
        assert same.webhooks == EVERY["webhooks"]
        for kind, seconds in (("success", 5), ("failure", 60), ("stopped", 120)):
            assert getattr(same, f"{kind}_callback_name") == "shapes.function"
            assert getattr(same, f"{kind}_callback_timeout") == seconds
        assert (same.on_lost, same.memory_limit) == ("requeue", 2**29)

    async def test_rq_reads_them(self, queue: Queue, connection: Redis, url: str) -> None:
        await Queue("parents", connection).enqueue("jobs.add", job_id="parent")
        await queue.enqueue("jobs.echo", 1, **EVERY)
        with redis.Redis.from_url(url) as client:
            theirs = rq.job.Job.fetch("an-id", client)
            assert (theirs.retries_left, theirs.retry_intervals, theirs.enqueue_at_front_on_retry) == (
                3,
                [10, 20],
                True,
            )
            assert (theirs.repeats_left, theirs.repeat_intervals) == (2, [5, 6])
            assert (theirs.rate_limit_key, theirs.rate_limit_concurrency) == ("api", 3)
            assert [hook.url for hook in theirs.webhooks] == ["https://example.org/x", "http://example.org"]
            assert theirs.success_callback_timeout == 5
            assert [job.id for job in theirs.fetch_dependencies()] == ["parent"]
            assert theirs.get_status() == "deferred"
            assert theirs.id in rq.Queue(connection=client).deferred_job_registry.get_job_ids()

    async def test_of_enqueue_call_and_prepare_data(self, queue: Queue, connection: Redis) -> None:
        words = {name: value for name, value in EVERY.items() if name not in {"job_timeout", "job_id"}}
        await queue.enqueue_call("jobs.echo", (1,), timeout="1m", job_id="a", **words)
        words["depends_on"] = None
        await queue.enqueue_many([Queue.prepare_data("jobs.echo", (1,), timeout="1m", job_id="b", **words)])
        await queue.enqueue("jobs.echo", 1, **{**EVERY, "job_id": "c", "depends_on": None})
        a, b, c = [await connection.hgetall(f"rq:job:{name}") for name in "abc"]
        skipped = {b"created_at", b"enqueued_at", b"aiorq_nonce", b"dependency_id", b"dependency_ids"}
        for fields in (a, b):
            assert {name for name in c if fields.get(name) != c[name]} <= skipped

    def test_create(self) -> None:
        words = {
            *("depends_on", "retry", "on_success", "on_failure", "on_stopped", "webhooks"),
            *("result_ttl", "ttl", "failure_ttl", "description", "meta"),
        }
        job = Job.create("jobs.echo", id="a", group_id="g", **{name: EVERY[name] for name in words})
        assert (job.dependency_ids, job.retries_left, job.webhooks) == (["parent"], 3, EVERY["webhooks"])
        assert (job.success_callback_timeout, job.failure_callback_name) == (5, "shapes.function")
        assert (job.group_id, job.ttl, job.status) == ("g", 86_400, JobStatus.CREATED)

    async def test_subclass(self, queue: Queue, connection: Redis) -> None:
        """The options of a job that is read and enqueued again stay."""
        await Queue("parents", connection).enqueue("jobs.add", job_id="parent")
        await queue.enqueue("jobs.echo", 1, **EVERY)
        before: Any = await connection.hgetall("rq:job:an-id")
        again = await queue.enqueue_job(await Job.fetch("an-id", connection), at_front=True)
        assert again.status is JobStatus.DEFERRED
        after: Any = await connection.hgetall("rq:job:an-id")
        assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == {
            b"aiorq_nonce"
        }


class TestRetries:
    async def test_failures(self, queue: Queue, worker: FakeWorker) -> None:
        job = await queue.enqueue("jobs.add", 1, retry=Retry(2))
        for number in range(3):
            await job.refresh()
            assert (job.attempt, job.retries_left) == (number + 1, 2 - number)
            (run,) = await worker.take()
            await worker.fail(run, traceback=b"")
        assert await job.get_status() == "failed"
        shown = [(attempt.number, attempt.outcome) for attempt in await job.attempts()]
        assert shown == [(1, "failed"), (2, "failed"), (3, "failed")]

    async def test_attempts_say_what_happened(self, queue: Queue, worker: FakeWorker) -> None:
        job = await queue.enqueue("jobs.add", 1, retry=Retry(1))
        assert await job.attempts() == []
        (run,) = await worker.take()
        await worker.fail(run, traceback=b"VHJhY2ViYWNr")
        (attempt,) = await job.attempts()
        assert (attempt.worker_name, attempt.execution_id, attempt.exc_string) == ("w", run.token, "Traceback")
        assert attempt.started_at is not None
        assert attempt.ended_at is not None
        assert attempt.started_at <= attempt.ended_at
        await worker.do(job, 5)
        assert [attempt.outcome for attempt in await job.attempts()] == ["failed", "successful"]
        assert await job.return_value() == 5

    async def test_requeued_job_begins_anew(self, queue: Queue, worker: FakeWorker) -> None:
        job = await queue.enqueue("jobs.add", 1, retry=Retry(1))
        for _ in range(2):
            (run,) = await worker.take()
            await worker.fail(run)
        await job.requeue()
        assert await job.attempts() == []
        assert len(await job.results()) == 1
        await worker.do(job)
        assert [(attempt.number, attempt.outcome) for attempt in await job.attempts()] == [(1, "successful")]


class TestLimit:
    async def test_who_comes_too_many(self, queue: Queue, worker: FakeWorker) -> None:
        limit = RateLimit("api", 1)
        first, second = [await queue.enqueue("jobs.add", n, rate_limit=limit) for n in range(2)]
        assert (first.status, second.status) == (JobStatus.QUEUED, JobStatus.RATE_LIMITED)
        assert (first.enqueued_at is None, second.enqueued_at) == (False, None)
        await worker.do(first)
        assert await second.get_status() == "queued"

    async def test_canceled_in_a_pipeline(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue("jobs.add", 1, rate_limit=RateLimit("api", 1))
        with pytest.raises(InvalidJobOperation, match="rate limit"):
            await job.cancel(connection.pipeline())
        await job.cancel()
        assert await connection.zcard("rq:rl:api:allowed") == 0

    async def test_requeued(self, queue: Queue, worker: FakeWorker) -> None:
        job = await queue.enqueue("jobs.add", 1, rate_limit=RateLimit("api", 1))
        (run,) = await worker.take()
        await worker.fail(run)
        other = await queue.enqueue("jobs.add", 1, rate_limit=RateLimit("api", 1))
        assert other.status is JobStatus.QUEUED
        await job.requeue()
        assert job.status is JobStatus.RATE_LIMITED


class TestUnique:
    @pytest.mark.parametrize("state", ["queued", "started", "finished", "failed", "canceled"])
    async def test_while_the_other_is_kept(self, queue: Queue, worker: FakeWorker, state: str) -> None:
        job = await queue.enqueue("jobs.add", 1, job_id="a", unique=True)
        if state == "canceled":
            await job.cancel()
        elif state != "queued":
            (run,) = await worker.take()
            if state != "started":
                await (worker.finish(run) if state == "finished" else worker.fail(run))
        with pytest.raises(DuplicateJobError, match="'a' exists already, and was to be unique; nothing was enqueued"):
            await queue.enqueue("jobs.add", 2, job_id="a", unique=True)
        assert (await Job.fetch("a", queue.connection)).args == (1,)
        assert await job.get_status() == state

    async def test_once_it_is_gone(self, queue: Queue, worker: FakeWorker) -> None:
        job = await queue.enqueue("jobs.add", 1, job_id="a", unique=True)
        (run,) = await worker.take()
        await worker.finish(run, ttl=0)
        again = await queue.enqueue("jobs.add", 2, job_id="a", unique=True)
        assert (again == job, again.status) == (True, JobStatus.QUEUED)

    async def test_of_enqueue_job(self, queue: Queue) -> None:
        await queue.enqueue_job(queue.create_job("jobs.add", job_id="a"), unique=True)
        with pytest.raises(DuplicateJobError):
            await queue.enqueue_job(queue.create_job("jobs.add", job_id="a"), unique=True)


class TestPipeline:
    async def test_is_written_when_it_is_executed(self, queue: Queue, connection: Redis) -> None:
        async with connection.pipeline() as pipeline:
            await pipeline.set("mine", "1")
            job = await queue.enqueue("jobs.add", 1, pipeline=pipeline)
            other = await queue.enqueue_job(queue.create_job("jobs.add", job_id="b"), pipeline)
            assert (job.status, other.status) == (JobStatus.QUEUED, JobStatus.QUEUED)
            assert await connection.keys("*") == []
            replies = await pipeline.execute()
        assert [reply[1] for reply in replies[1:]] == [b"queued", b"queued"]
        assert await queue.get_job_ids() == [job.id, "b"]

    async def test_is_not_written_when_it_is_dropped(self, queue: Queue, connection: Redis) -> None:
        async with connection.pipeline() as pipeline:
            await queue.enqueue("jobs.add", 1, pipeline=pipeline)
        assert await connection.keys("*") == []

    async def test_deletes_and_cancels(self, queue: Queue, connection: Redis) -> None:
        one, two = [await queue.enqueue("jobs.add", 1) for _ in range(2)]
        async with connection.pipeline() as pipeline:
            await one.delete(pipeline)
            await two.cancel(pipeline)
            assert await queue.count() == 2
            await pipeline.execute()
        assert not await Job.exists(one.id, connection)
        assert await two.get_status() == "canceled"

    async def test_of_many(self, queue: Queue, connection: Redis) -> None:
        async with connection.pipeline() as pipeline:
            made = await queue.enqueue_many([Queue.prepare_data("jobs.add", (n,)) for n in range(250)], pipeline)
            await pipeline.execute()
        assert await queue.get_job_ids() == [job.id for job in made]

    @pytest.mark.parametrize("pipeline", [object(), redis.Redis().pipeline(), 5])
    async def test_that_is_none(self, queue: Queue, connection: Redis, pipeline: Any) -> None:
        with pytest.raises(TypeError, match=r"must be one of redis\.asyncio"):
            await queue.enqueue("jobs.add", 1, pipeline=pipeline)
        assert await connection.keys("*") == []


class TestGroup:
    async def test_of_a_job(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue_job(queue.create_job("jobs.add", group_id="g"))
        assert (job.group_id, await connection.smembers("rq:group:g")) == (
            "g",
            {job.id.encode()},
        )
        await job.delete()
        assert not await connection.exists("rq:group:g")


async def test_repeats(queue: Queue, worker: FakeWorker) -> None:
    job = await queue.enqueue("jobs.add", 1, repeat=Repeat(2))
    for left in (2, 1, 0):
        await job.refresh()
        assert (job.repeats_left, job.status) == (left, JobStatus.QUEUED)
        await worker.do(job, left)
    assert await job.get_status() == "finished"
    assert [result.return_value for result in await job.results()] == [0, 1, 2]


async def test_webhooks_are_stored_as_by_rq(queue: Queue, connection: Redis, url: str) -> None:
    await queue.enqueue("jobs.add", 1, job_id="a", webhooks=[HOOK])
    stored: Any = await connection.hget("rq:job:a", "webhooks")
    with redis.Redis.from_url(url) as client:
        hook = rq.Webhook("https://example.org/x", "finished", method="POST", headers={"a": "b"}, timeout=5)
        rq.Queue("other", connection=client).enqueue("jobs.add", 1, job_id="b", webhooks=[hook])
        theirs: Any = client.hget("rq:job:b", "webhooks")
    assert stored == theirs
    assert json.loads(stored)[0]["timeout"] == 5


async def test_a_returned_retry_is_no_outcome_to_wait_for(queue: Queue, worker: FakeWorker) -> None:
    job = await queue.enqueue("jobs.add", 1)
    (run,) = await worker.take()
    word = await runs.retry(worker.store, "w", run, most=3, intervals=[0], at_front=False, failure_ttl=500)
    assert word is runs.Failed.QUEUED
    assert [attempt.outcome for attempt in await job.attempts()] == ["retried"]
    newest = await job.latest_result()
    assert newest is not None
    assert newest.type.name == "RETRIED"
    assert await job.latest_result(timeout=0.01) is None
    await worker.do(job, 7)
    final = await job.latest_result(timeout=10)
    assert final is not None
    assert final.return_value == 7
