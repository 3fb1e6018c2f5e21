"""Putting jobs on queues: what is written, what is refused before anything is, and the same id again."""

from __future__ import annotations

import importlib
import threading
from datetime import UTC, datetime
from functools import partial
from typing import Any

import anyio
import pytest
from redis.asyncio import Redis

from aiorq import Job, JobStatus, Queue
from aiorq.dependency import Dependency
from aiorq.errors import (
    CorruptJobError,
    DependencyCycleError,
    DuplicateJobError,
    PayloadTooLargeError,
    SerializationError,
    StoreError,
    UnserializableFunctionError,
)
from aiorq.rate_limit import RateLimit
from aiorq.retry import Retry
from tests.api.conftest import FakeWorker, clients_of

jobs: Any = importlib.import_module("jobs")
shapes: Any = importlib.import_module("shapes")


async def keys(connection: Redis) -> list[bytes]:
    found: Any = await connection.keys("*")
    return sorted(found)


class TestEnqueue:
    async def test_job(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue(jobs.add, 1, right=2)
        assert (job.func_name, job.args, job.kwargs) == ("jobs.add", (1,), {"right": 2})
        assert (job.origin, job.status, job.description) == ("default", JobStatus.QUEUED, "jobs.add(1, right=2)")
        assert (job.timeout, job.ttl, job.result_ttl, job.failure_ttl) == (180, None, None, None)
        assert job.connection is connection
        assert isinstance(job.enqueued_at, datetime)
        assert abs((datetime.now(UTC) - job.enqueued_at).total_seconds()) < 10
        assert await queue.get_job_ids() == [job.id]

    async def test_what_is_returned_is_what_is_stored(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue(
            *(jobs.add, 1),
            job_timeout="1h",
            result_ttl=0,
            failure_ttl=-1,
            ttl="1d",
            description="täxt",
            job_id="an-id",
            meta={"k": [1]},
        )
        same = await Job.fetch("an-id", connection)
        for name in vars(job):
            if name not in {"_call", "_meta", "_raw_meta", "_store", "has_fresh_id", "_prefix", "serializer"}:
                assert getattr(job, name) == getattr(same, name), name
        assert same.meta == job.meta
        assert same.call == job.call
        assert 86_000 < await connection.ttl(job.key) <= 86_400

    async def test_every_reserved_keyword_is_kept_from_the_function(self, queue: Queue) -> None:
        job = await queue.enqueue(
            "jobs.add",
            job_timeout=1,
            result_ttl=1,
            ttl=1,
            failure_ttl=1,
            description="d",
            job_id="i",
            at_front=True,
            meta={},
        )
        assert (job.args, job.kwargs) == ((), {})

    async def test_explicit_arguments(self, queue: Queue) -> None:
        job = await queue.enqueue("jobs.echo", args=[1, 2], kwargs={"ttl": 3, "args": 4}, ttl=5)
        assert (job.args, job.kwargs, job.ttl) == ((1, 2), {"ttl": 3, "args": 4}, 5)
        with pytest.raises(TypeError, match="in args=, or none"):
            await queue.enqueue("jobs.echo", 1, args=[2])
        with pytest.raises(TypeError, match="stood beside"):
            await queue.enqueue("jobs.echo", kwargs={}, other=1)

    async def test_function_named_f(self, queue: Queue) -> None:
        job = await queue.enqueue("jobs.echo", f=1, self=2)
        assert job.kwargs == {"f": 1, "self": 2}

    async def test_at_front(self, queue: Queue) -> None:
        for job_id, at_front in (("a", False), ("b", True), ("c", True), ("d", False)):
            await queue.enqueue("jobs.add", 1, job_id=job_id, at_front=at_front)
        assert await queue.get_job_ids() == ["c", "b", "a", "d"]

    async def test_default_timeout_of_the_queue(self, connection: Redis) -> None:
        queue = Queue(connection=connection, default_timeout="5m")
        assert (await queue.enqueue("jobs.add", 1)).timeout == 300
        assert (await queue.enqueue("jobs.add", 1, job_timeout=-1)).timeout == -1

    async def test_call(self, queue: Queue) -> None:
        job = await queue.enqueue_call(
            "jobs.add", (1,), {"right": 2}, "1m", 5, 6, 7, "text", None, "an-id", at_front=True, meta={"k": 1}
        )
        assert (job.args, job.kwargs, job.timeout, job.result_ttl) == ((1,), {"right": 2}, 60, 5)
        assert (job.ttl, job.failure_ttl, job.description, job.id, job.meta) == (6, 7, "text", "an-id", {"k": 1})

    async def test_create_and_enqueue(self, queue: Queue, connection: Redis) -> None:
        job = queue.create_job("jobs.add", (1,), timeout=7, job_id="an-id")
        assert (job.status, job.origin, job.timeout) == (JobStatus.QUEUED, "default", 7)  # as in RQ
        assert not await Job.exists("an-id", connection)
        assert queue.create_job("jobs.add", status=JobStatus.CREATED).status is JobStatus.CREATED
        assert await queue.enqueue_job(job) is job
        assert (job.status, await job.get_status()) == (JobStatus.QUEUED, JobStatus.QUEUED)
        assert await queue.get_job_ids() == ["an-id"]

    async def test_a_job_that_was_told_nowhere_belongs_to_its_queue(
        self, connection: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIORQ_REDIS_URL", "redis://localhost:1")  # where nobody is
        queue = Queue("low", connection, prefix="mine")
        job = Job.create("jobs.add", (1,))
        await queue.enqueue_job(job)
        assert (job.key, job.connection) == (f"mine:job:{job.id}", connection)
        assert await job.get_status() is JobStatus.QUEUED
        told = Job.create("jobs.add", (1,), connection=connection, prefix="other")
        await queue.enqueue_job(told)
        assert told.key == f"other:job:{told.id}"

    async def test_concurrent_ones_share_round_trips_and_connections(self, queue: Queue, connection: Redis) -> None:
        jobs_of: list[Job[Any]] = []

        async def enqueue(number: int) -> None:
            jobs_of.append(await queue.enqueue("jobs.add", number))

        await connection.config_resetstat()
        async with anyio.create_task_group() as group:
            for number in range(1000):
                group.start_soon(enqueue, number)
        stats: Any = await connection.info("commandstats")
        assert await queue.count() == 1000
        assert len({job.id for job in jobs_of}) == 1000
        assert stats["cmdstat_evalsha"]["calls"] + stats.get("cmdstat_eval", {}).get("calls", 0) <= 12
        assert len(await clients_of(connection)) <= 3

    async def test_order_of_concurrent_ones_is_that_of_their_calls(self, queue: Queue) -> None:
        async with anyio.create_task_group() as group:
            for number in range(250):
                group.start_soon(partial(queue.enqueue, "jobs.add", job_id=f"job-{number}"))
        assert await queue.get_job_ids() == [f"job-{number}" for number in range(250)]


class TestMany:
    async def test_order(self, queue: Queue) -> None:
        made = await queue.enqueue_many([Queue.prepare_data("jobs.add", (n,), at_front=n == 4) for n in range(5)])
        assert [job.args for job in made] == [(0,), (1,), (2,), (3,), (4,)]
        ids = [job.id for job in made]
        assert await queue.get_job_ids() == [ids[4], *ids[:4]]
        assert all(job.status is JobStatus.QUEUED and job.enqueued_at for job in made)

    async def test_large(self, queue: Queue) -> None:
        made = await queue.enqueue_many([Queue.prepare_data("jobs.add", (n,)) for n in range(20_000)])
        assert await queue.get_job_ids() == [job.id for job in made]

    async def test_none(self, queue: Queue, connection: Redis) -> None:
        assert await queue.enqueue_many([]) == []
        assert await keys(connection) == []

    async def test_same_id_twice(self, queue: Queue, connection: Redis) -> None:
        datas = [Queue.prepare_data("jobs.add", job_id=job_id) for job_id in ("a", "b", "a")]
        with pytest.raises(ValueError, match="'a' stands twice"):
            await queue.enqueue_many(datas)
        assert await keys(connection) == []

    async def test_one_bad_call(self, queue: Queue, connection: Redis) -> None:
        datas = [Queue.prepare_data("jobs.add", (n,)) for n in range(5)]
        datas.append(Queue.prepare_data("jobs.add", (threading.Lock(),)))
        with pytest.raises(SerializationError):
            await queue.enqueue_many(datas)
        assert await keys(connection) == []

    async def test_one_that_runs(self, queue: Queue, worker: FakeWorker) -> None:
        await queue.enqueue("jobs.add", job_id="b")
        await worker.take()
        with pytest.raises(DuplicateJobError, match="'b' is running"):
            await queue.enqueue_many([Queue.prepare_data("jobs.add", job_id=job_id) for job_id in "abc"])
        assert await queue.get_job_ids() == ["a", "c"]


PIPELINE = Redis().pipeline()
BAD: list[tuple[str, Any, dict[str, Any], type[Exception]]] = [
    ("B1 lambda", lambda: None, {}, UnserializableFunctionError),
    ("B3 method", shapes.Locked().method, {}, SerializationError),
    ("B4 argument", "jobs.add", {"f": threading.Lock()}, SerializationError),
    ("B8 id", "jobs.add", {"job_id": "a b"}, ValueError),
    ("B8 id, empty", "jobs.add", {"job_id": ""}, ValueError),
    ("B9 id, long", "jobs.add", {"job_id": "x" * 2**20}, ValueError),
    ("B12 ttl", "jobs.add", {"ttl": -5}, ValueError),
    ("B12 ttl 0", "jobs.add", {"ttl": 0}, ValueError),
    ("B12 result_ttl", "jobs.add", {"result_ttl": "abc"}, ValueError),
    ("B12 failure_ttl", "jobs.add", {"failure_ttl": float("nan")}, ValueError),
    ("B12 result_ttl, far", "jobs.add", {"result_ttl": 1e30}, ValueError),
    ("B12 bool", "jobs.add", {"ttl": True}, ValueError),
    ("B13 timeout", "jobs.add", {"job_timeout": -7}, ValueError),
    ("B13 timeout 0", "jobs.add", {"job_timeout": 0}, ValueError),
    ("B13 timeout, text", "jobs.add", {"job_timeout": "1x"}, ValueError),
    ("description", "jobs.add", {"description": "\ud800"}, SerializationError),
    ("description, bytes", "jobs.add", {"description": b"x"}, TypeError),
    ("meta", "jobs.add", {"meta": {"f": threading.Lock()}}, SerializationError),
    ("meta, list", "jobs.add", {"meta": [1]}, TypeError),
    ("class", shapes.Counter, {}, TypeError),
    ("None", None, {}, TypeError),
    ("empty name", "", {}, ValueError),
    ("rate_limit", "jobs.add", {"rate_limit": "api"}, TypeError),
    ("B15 retry", "jobs.add", {"retry": 3}, TypeError),
    ("B15 repeat", "jobs.add", {"repeat": Retry(1)}, TypeError),
    ("B16 itself", "jobs.add", {"depends_on": "a", "job_id": "a"}, DependencyCycleError),
    ("B16 itself, among others", "jobs.add", {"depends_on": ["b", Dependency(["c", "a"])], "job_id": "a"}, ValueError),
    ("depends_on, id", "jobs.add", {"depends_on": "a b"}, ValueError),
    ("depends_on, empty id", "jobs.add", {"depends_on": ""}, ValueError),
    ("depends_on, number", "jobs.add", {"depends_on": 5}, ValueError),
    ("depends_on, None in it", "jobs.add", {"depends_on": ["a", None]}, ValueError),
    ("B20 depends_on, many", "jobs.add", {"depends_on": [f"j{n}" for n in range(100_000)]}, ValueError),
    ("unique without an id", "jobs.add", {"unique": True}, ValueError),
    ("unique that waits", "jobs.add", {"unique": True, "job_id": "a", "depends_on": "b"}, ValueError),
    ("unique and limited", "jobs.add", {"unique": True, "job_id": "a", "rate_limit": RateLimit("x", 1)}, ValueError),
    ("callback", "jobs.add", {"on_success": 5}, ValueError),
    ("callback, lambda", "jobs.add", {"on_failure": lambda *_: None}, UnserializableFunctionError),
    ("callback, no name", "jobs.add", {"on_stopped": "a b"}, ValueError),
    ("webhooks", "jobs.add", {"webhooks": ["https://example.org"]}, TypeError),
    ("on_lost", "jobs.add", {"on_lost": "cry"}, ValueError),
    ("memory_limit", "jobs.add", {"memory_limit": 5}, ValueError),
    ("pipeline", "jobs.add", {"pipeline": object()}, TypeError),
    ("pipeline, and limited", "jobs.add", {"pipeline": PIPELINE, "rate_limit": RateLimit("x", 1)}, ValueError),
]


@pytest.mark.parametrize(("name", "func", "options", "error"), BAD)
async def test_bad_input_writes_nothing(
    queue: Queue, connection: Redis, name: str, func: Any, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await queue.enqueue(func, **options)
    assert await keys(connection) == []


async def test_coroutine_in_place_of_its_function(queue: Queue, connection: Redis) -> None:
    with pytest.raises(TypeError, match="pass the function, not its call"):
        await queue.enqueue(jobs.add_async(1))
    assert await keys(connection) == []


async def test_payload_that_is_too_large(queue: Queue, connection: Redis) -> None:
    with pytest.raises(PayloadTooLargeError, match="more than"):
        await queue.enqueue("jobs.add", bytes(64 * 1024 * 1024))
    assert await keys(connection) == []


async def test_bad_ones_do_not_harm_those_at_their_side(queue: Queue) -> None:
    """Enqueues of one moment travel together; what is unfit to travel must not take the others down."""
    outcomes: dict[int, Any] = {}

    async def enqueue(number: int, **options: Any) -> None:
        try:
            outcomes[number] = (await queue.enqueue("jobs.add", number, **options)).id
        except SerializationError as error:
            outcomes[number] = error.path

    bad: dict[int, dict[str, Any]] = {1: {"description": "\ud800"}, 2: {"meta": {"f": threading.Lock()}}}
    async with anyio.create_task_group() as group:
        for number in range(30):
            group.start_soon(partial(enqueue, number, **bad.get(number, {})))
    assert (outcomes[1], outcomes[2]) == ("description", "meta")
    assert await queue.count() == 28


@pytest.mark.parametrize(
    ("attribute", "value", "error"),
    [
        ("timeout", 0, ValueError),
        ("timeout", "1x", ValueError),
        ("ttl", -5, ValueError),
        ("ttl", 0, ValueError),
        ("result_ttl", -2, ValueError),
        ("failure_ttl", "zzz", ValueError),
        ("group_id", 1.5, SerializationError),
        ("group_id", "\ud800", SerializationError),
    ],
)
async def test_attributes_that_were_set_to_nonsense(
    queue: Queue, connection: Redis, attribute: str, value: Any, error: type[Exception]
) -> None:
    job = Job.create("jobs.add", connection=connection)
    setattr(job, attribute, value)
    with pytest.raises(error):
        await queue.enqueue_job(job)
    assert await keys(connection) == []


async def test_attributes_that_were_set_to_texts(queue: Queue, connection: Redis) -> None:
    job: Any = Job.create("jobs.add", connection=connection)
    job.timeout, job.ttl, job.result_ttl = "1h", "2m", "-1"
    await queue.enqueue_job(job)
    assert (job.timeout, job.ttl, job.result_ttl) == (3600, 120, -1)
    same = await Job.fetch(job.id, connection)
    assert (same.timeout, same.ttl, same.result_ttl) == (3600, 120, -1)


@pytest.mark.parametrize("value", ["\ud800", "a\x00b", b"\xff", 2**80, float("inf"), "\N{SNAKE}" * 1000])
async def test_odd_arguments_arrive(queue: Queue, connection: Redis, value: Any) -> None:
    job = await queue.enqueue("jobs.echo", value, key=value)
    same = await Job.fetch(job.id, connection)
    assert (same.args, same.kwargs) == ((value,), {"key": value})


async def test_arguments_that_cannot_be_shown(queue: Queue, connection: Redis) -> None:
    job = await queue.enqueue("jobs.echo", shapes.Unprintable(), shapes.Surrogate())
    same = await Job.fetch(job.id, connection)
    assert same.description == job.description == r"jobs.echo(<unprintable Unprintable>, <\ud800>)"


class TestSameIdAgain:
    async def test_while_it_waits(self, queue: Queue, connection: Redis) -> None:
        await queue.enqueue("jobs.add", 1, job_id="a", meta={"old": 1}, ttl=100)
        await queue.enqueue("jobs.add", job_id="b")
        await queue.enqueue("jobs.add", 2, job_id="a")
        assert await queue.get_job_ids() == ["b", "a"]
        job = await Job.fetch("a", connection)
        assert (job.args, job.meta, job.ttl) == ((2,), {}, None)
        assert await connection.ttl("rq:job:a") == -1

    async def test_on_another_queue(self, queue: Queue, connection: Redis) -> None:
        await queue.enqueue("jobs.add", job_id="a")
        other = Queue("other", connection)
        await other.enqueue("jobs.add", job_id="a")
        assert (await queue.count(), await other.count()) == (0, 1)
        assert (await Job.fetch("a", connection)).origin == "other"

    async def test_while_it_runs(self, queue: Queue, worker: FakeWorker) -> None:
        job = await queue.enqueue("jobs.add", 1, job_id="a")
        (run,) = await worker.take()
        with pytest.raises(DuplicateJobError, match="job 'a' is running; nothing was enqueued"):
            await queue.enqueue("jobs.add", 2, job_id="a")
        with pytest.raises(DuplicateJobError):
            await queue.enqueue_job(job)
        assert await queue.count() == 0
        await worker.finish(run, 5)
        assert await job.return_value() == 5

    @pytest.mark.parametrize("outcome", ["finished", "failed"])
    async def test_after_it_ended(self, queue: Queue, connection: Redis, worker: FakeWorker, outcome: str) -> None:
        job = await queue.enqueue("jobs.add", 1, job_id="a")
        (run,) = await worker.take()
        await (worker.finish(run, 5) if outcome == "finished" else worker.fail(run))
        assert await job.get_status() == outcome
        again = await queue.enqueue("jobs.add", 2, job_id="a")
        assert await again.get_status() == "queued"
        assert await again.latest_result() is None
        assert await queue.get_job_ids() == ["a"]
        assert await connection.zcard(f"rq:{outcome}:default") == 0
        assert await connection.ttl("rq:job:a") == -1
        await worker.do(again, 7)
        assert await again.return_value() == 7

    async def test_the_same_object_again(self, queue: Queue, connection: Redis, worker: FakeWorker) -> None:
        """A job that ended, read and enqueued again, shows nothing of its old run."""
        job = await queue.enqueue("jobs.add", 1, meta={"k": 1})
        await worker.do(job)
        await job.refresh()
        assert job.started_at is not None
        assert job.ended_at is not None
        await queue.enqueue_job(job)
        same = await Job.fetch(job.id, connection)
        for one in (job, same):
            assert (one.status, one.meta, one.args) == (JobStatus.QUEUED, {"k": 1}, (1,))
            assert (one.started_at, one.ended_at, one.last_heartbeat, one.worker_name) == (None, None, None, None)
        await worker.do(job, 3)
        assert await job.return_value() == 3

    async def test_the_same_object_twice_at_once(self, queue: Queue) -> None:
        job = queue.create_job("jobs.add", (1,))
        async with anyio.create_task_group() as group:
            group.start_soon(queue.enqueue_job, job)
            group.start_soon(queue.enqueue_job, job)
        assert await queue.get_job_ids() == [job.id]

    async def test_after_it_was_saved(self, queue: Queue, connection: Redis) -> None:
        job = Job.create("jobs.add", (1,), connection=connection)
        await job.save()
        assert await job.get_status() == "created"
        await queue.enqueue_job(job)
        assert await job.get_status() == "queued"
        assert await queue.get_job_ids() == [job.id]

    async def test_key_that_holds_no_job(self, queue: Queue, connection: Redis) -> None:
        await connection.set("rq:job:a", "text")
        with pytest.raises(CorruptJobError, match="'a'"):
            await queue.enqueue("jobs.add", job_id="a")
        assert await keys(connection) == [b"rq:job:a"]

    async def test_queue_whose_key_holds_something_else(self, queue: Queue, connection: Redis) -> None:
        await connection.set("rq:queue:default", "text")
        with pytest.raises(StoreError, match="is a key of another type; nothing was enqueued"):
            await queue.enqueue("jobs.add", job_id="a")
        assert await keys(connection) == [b"rq:queue:default"]
