"""What is known of workers: those of aiorq and of RQ, alive, dead, and with entries that cannot be read."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
import rq
from redis.asyncio import Redis

from aiorq import Job, Queue
from aiorq.errors import CorruptJobError
from aiorq.store import workers
from aiorq.store.base import store_of
from aiorq.worker_info import WorkerInfo, WorkerStatus, count_workers, find_worker, find_workers, worker_keys
from tests.api.conftest import FakeWorker

NOON = datetime(2026, 1, 2, 12, 0, 0, 250_000, tzinfo=UTC)
NOON_TEXT = "2026-01-02T12:00:00.250000Z"
FIELDS = {
    "birth": NOON_TEXT,
    "last_heartbeat": "2026-01-02T12:00:01Z",
    "shutdown_requested_date": NOON_TEXT,
    "queues": "default,other",
    "pid": "77",
    "hostname": "box",
    "ip_address": "10.0.0.1:5",
    "version": "0.1.0",
    "python_version": "3.11",
    "state": "busy",
    "successful_job_count": "5",
    "failed_job_count": "2",
    "total_working_time": "12.5",
}


@pytest.fixture
def client(connection: Redis, url: str) -> Iterator[redis.Redis]:
    """A client as RQ needs it."""
    with redis.Redis.from_url(url) as client:
        yield client


async def enter(connection: Any, name: str = "w", *queues: str, **fields: Any) -> None:
    """A worker in the books."""
    await connection.hset(f"rq:worker:{name}", mapping={**FIELDS, **fields})
    await connection.sadd("rq:workers", f"rq:worker:{name}")
    for queue in queues or ("default",):
        await connection.sadd(f"rq:workers:{queue}", f"rq:worker:{name}")


async def everything(connection: Any) -> dict[bytes, bytes]:
    """All that is in Redis."""
    return {key: await connection.dump(key) for key in await connection.keys("*")}


class TestReading:
    async def test_what_is_there(self, connection: Redis) -> None:
        await enter(connection)
        (info,) = await find_workers(connection)
        assert (info.name, info.key, info.hostname, info.pid) == ("w", "rq:worker:w", "box", 77)
        assert (info.ip_address, info.version, info.python_version) == ("10.0.0.1:5", "0.1.0", "3.11")
        assert info.queue_names() == ["default", "other"]
        assert info.queues == [Queue("default"), Queue("other")]
        assert info.queues[0].connection is connection
        assert info.queue_keys() == ["rq:queue:default", "rq:queue:other"]
        assert info.state == info.get_state() == WorkerStatus.BUSY
        assert info.birth_date == info.shutdown_requested_date == NOON
        assert info.last_heartbeat == NOON.replace(second=1, microsecond=0)
        assert info.death_date is None
        assert (info.successful_job_count, info.failed_job_count, info.total_working_time) == (5, 2, 12.5)
        assert info.pubsub_channel_name == "rq:pubsub:w"
        assert repr(info) == "WorkerInfo('w')"

    async def test_one_of_aiorq(self, connection: Redis) -> None:
        store = store_of(connection)
        await workers.register(store, "w", "boot", ["default"], {"queues": "default", "state": "idle"}, 480)
        (info,) = await find_workers(connection)
        assert info.birth_date is not None
        assert info.birth_date == info.last_heartbeat
        assert (info.queue_names(), info.get_state()) == (["default"], "idle")
        assert (info.successful_job_count, info.total_working_time, info.pid) == (0, 0.0, None)
        await workers.retire(store, "w", "boot", ["default"])
        assert await find_workers(connection) == []
        buried = await find_worker("rq:worker:w", connection)
        assert buried is not None
        assert buried.death_date is not None

    async def test_one_of_rq(self, connection: Redis, client: redis.Redis) -> None:
        theirs = rq.Worker(["default", "other"], name="theirs", connection=client)
        theirs.register_birth()  # type: ignore[no-untyped-call]
        theirs.set_state(rq.worker.WorkerStatus.IDLE)
        (info,) = await find_workers(connection)
        assert (info.name, info.pid, info.hostname) == ("theirs", os.getpid(), socket.gethostname())
        assert (info.queue_names(), info.state) == (["default", "other"], "idle")
        assert (info.version, info.python_version) == (rq.__version__, sys.version)
        assert info.birth_date == theirs.birth_date
        theirs.register_death()  # type: ignore[no-untyped-call]
        assert await find_workers(connection) == []

    @pytest.mark.parametrize(
        ("field", "value", "attribute", "unset"),
        [
            ("birth", "yesterday", "birth_date", None),
            ("last_heartbeat", b"\xff", "last_heartbeat", None),
            ("pid", "x", "pid", None),
            ("successful_job_count", "1.5", "successful_job_count", 0),
            ("total_working_time", "nan", "total_working_time", 0.0),
            ("total_working_time", "long", "total_working_time", 0.0),
            ("state", b"\xff", "state", "?"),
            ("queues", "", "queues", []),
        ],
    )
    async def test_a_field_that_cannot_be_read(
        self,
        connection: Redis,
        caplog: pytest.LogCaptureFixture,
        field: str,
        value: str | bytes,
        attribute: str,
        unset: Any,
    ) -> None:
        """It breaks RQ's list of all workers."""
        await enter(connection, "a")
        await enter(connection, "b", **{field: value})
        first, second = await find_workers(connection)
        assert getattr(first, attribute) != unset
        assert getattr(second, attribute) == unset
        assert second.hostname == "box"
        assert bool(value) == ("worker b" in caplog.text)
        assert "worker a" not in caplog.text

    async def test_entries_that_are_none(self, connection: Any) -> None:
        await enter(connection, "good")
        await connection.set("rq:worker:text", "text")
        await connection.hset("rq:worker:bare", "aiorq_claim", "x")
        for member in (b"rq:worker:text", b"rq:worker:bare", b"rq:worker:gone", b"good", b"\xff", b"rq:worker:\xff"):
            await connection.sadd("rq:workers", member)
        await connection.sadd("rq:workers", "rq:worker:")
        assert [info.name for info in await find_workers(connection)] == ["bare", "good"]

    async def test_refresh(self, connection: Any) -> None:
        await enter(connection)
        info = WorkerInfo("w", connection)
        assert info.get_state() == "?"
        assert await info.refresh()
        assert info.get_state() == "busy"
        await connection.hset("rq:worker:w", "state", "idle")
        await connection.hdel("rq:worker:w", "pid")
        assert await info.refresh()
        assert (info.get_state(), info.pid) == ("idle", None)
        await connection.delete("rq:worker:w")
        assert not await info.refresh()
        assert info.get_state() == "idle"

    def test_comparing(self) -> None:
        assert WorkerInfo("w") == WorkerInfo("w")
        assert WorkerInfo("w") != WorkerInfo("v")
        assert WorkerInfo("w") != WorkerInfo("w", prefix="{app}")
        assert len({WorkerInfo("w"), WorkerInfo("w")}) == 1


class TestFinding:
    async def test_of_a_queue(self, connection: Redis) -> None:
        await enter(connection, "a", "default")
        await enter(connection, "b", "default", "other")
        queue = Queue("other", connection)
        assert [info.name for info in await find_workers(connection)] == ["a", "b"]
        assert [info.name for info in await find_workers(queue=queue)] == ["b"]
        assert [info.name for info in await find_workers(connection, queue="other")] == ["b"]
        assert await worker_keys(connection) == ["rq:worker:a", "rq:worker:b"]
        assert await worker_keys(queue=queue) == ["rq:worker:b"]
        assert await count_workers(connection) == 2
        assert await count_workers(queue=queue) == 1
        assert await count_workers(connection, "none") == 0

    async def test_of_a_prefix(self, connection: Any) -> None:
        await enter(connection)
        await connection.hset("{app}:worker:v", mapping=FIELDS)
        await connection.sadd("{app}:workers", "{app}:worker:v")
        await connection.sadd("{app}:workers:default", "{app}:worker:v")
        assert [info.name for info in await find_workers(connection, prefix="{app}")] == ["v"]
        queue = Queue(connection=connection, prefix="{app}")
        assert [info.key for info in await find_workers(queue=queue)] == ["{app}:worker:v"]
        assert await worker_keys(queue=queue) == ["{app}:worker:v"]

    async def test_many(self, connection: Any) -> None:
        for number in range(1_200):
            await connection.hset(f"rq:worker:w-{number:04}", "state", "idle")
        await connection.sadd("rq:workers", *(f"rq:worker:w-{number:04}" for number in range(1_200)))
        found = await find_workers(connection)
        assert [info.name for info in found] == [f"w-{number:04}" for number in range(1_200)]

    async def test_the_dead_are_taken_out_where_that_is_asked_for(self, connection: Any) -> None:
        await enter(connection, "a")
        await enter(connection, "dead")
        await connection.delete("rq:worker:dead")
        before = await everything(connection)
        assert [info.name for info in await find_workers(connection)] == ["a"]
        assert await find_worker("rq:worker:dead", connection) is None
        assert await count_workers(connection) == 2
        assert await everything(connection) == before
        assert [info.name for info in await find_workers(connection, queue="default", cleanup=True)] == ["a"]
        assert await connection.smembers("rq:workers:default") == {b"rq:worker:a"}
        assert await count_workers(connection) == 2
        await find_workers(connection, cleanup=True)
        assert await connection.smembers("rq:workers") == {b"rq:worker:a"}

    async def test_by_key(self, connection: Redis) -> None:
        await enter(connection)
        info = await find_worker("rq:worker:w", connection)
        assert info is not None
        assert (info.name, info.pid) == ("w", 77)
        assert await find_worker("rq:worker:v", connection) is None
        for key in ("w", "rq:worker:", "rq:job:w", ""):
            with pytest.raises(ValueError, match="is not the key of a worker"):
                await find_worker(key, connection)


class TestRunning:
    async def test_nothing(self, connection: Redis) -> None:
        info = WorkerInfo("w", connection)
        assert await info.current_execution_count() == 0
        assert await info.get_current_executions() == []
        assert await info.get_current_job_id() is None
        assert await info.get_current_job() is None

    async def test_jobs(self, connection: Redis, queue: Queue, worker: FakeWorker) -> None:
        await queue.enqueue("jobs.add", 1, job_id="b")
        await worker.take()
        await queue.enqueue("jobs.add", 1, job_id="a")
        (run,) = await worker.take()
        info = WorkerInfo("w", connection)
        assert await info.current_execution_count() == 2
        assert [execution.job_id for execution in await info.get_current_executions()] == ["b", "a"]
        assert {execution.worker_name for execution in await info.get_current_executions()} == {"w"}
        assert await info.get_current_job_id() == "b"
        job = await info.get_current_job()
        assert job is not None
        assert (job.id, job.is_started) == ("b", True)
        await worker.finish(run)
        assert await info.current_execution_count() == 1

    async def test_executions_that_are_gone(self, connection: Any, queue: Queue, worker: FakeWorker) -> None:
        await queue.enqueue("jobs.add", 1, job_id="a")
        (run,) = await worker.take()
        await connection.sadd("rq:worker:w:executions", "gone:exec", "junk", b"\xff")
        await connection.set("rq:execution:odd:exec", "text")
        await connection.sadd("rq:worker:w:executions", "odd:exec")
        before = await everything(connection)
        info = WorkerInfo("w", connection)
        assert [execution.id for execution in await info.get_current_executions()] == [run.token]
        assert await info.get_current_job_id() == "a"
        assert await everything(connection) == before

    async def test_a_job_that_is_gone_or_corrupt(self, connection: Any, queue: Queue, worker: FakeWorker) -> None:
        await queue.enqueue("jobs.add", 1, job_id="a")
        await worker.take()
        await connection.delete("rq:job:a")
        info = WorkerInfo("w", connection)
        assert await info.get_current_job_id() == "a"
        assert await info.get_current_job() is None
        await connection.set("rq:job:a", "text")
        with pytest.raises(CorruptJobError):
            await info.get_current_job()

    async def test_class_and_serializer_of_jobs(self, connection: Redis, worker: FakeWorker) -> None:
        class Own(Job[Any]):
            pass

        await enter(connection)
        await Queue(connection=connection, serializer="json").enqueue("jobs.add", 1)
        await worker.take()
        (info,) = await find_workers(connection, job_class=Own, serializer="json")
        job = await info.get_current_job()
        assert type(job) is Own
        assert job.args == (1,)
