"""Executions: the runs of a job that go on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import redis
import rq.executions
from redis.asyncio import Redis

from aiorq import Job, Queue
from aiorq.errors import CorruptJobError
from aiorq.executions import Execution, ExecutionRegistry
from aiorq.store.runs import Run
from tests.api.conftest import FakeWorker


@pytest.fixture
async def run(queue: Queue, worker: FakeWorker) -> Run:
    """A run of job `a` by worker `w`."""
    await queue.enqueue("jobs.add", 1, job_id="a")
    (run,) = await worker.take()
    return run


async def everything(connection: Any) -> dict[bytes, bytes]:
    """All that is in Redis."""
    return {key: await connection.dump(key) for key in await connection.keys("*")}


class TestExecution:
    def test_making_one_reads_nothing(self) -> None:
        execution = Execution("exec", "a", "redis://nowhere.invalid", prefix="{app}")
        assert execution.composite_key == "a:exec"
        assert execution.key == "{app}:execution:a:exec"
        assert repr(execution) == "Execution('exec', 'a')"
        assert execution == Execution("exec", "a")
        assert execution != Execution("other", "a")
        assert len({execution, Execution("exec", "a")}) == 1

    async def test_fetch(self, connection: Any, run: Run) -> None:
        execution = await Execution.fetch(run.token, "a", connection)
        assert (execution.id, execution.job_id, execution.worker_name) == (run.token, "a", "w")
        assert execution.created_at == execution.last_heartbeat
        seconds, _ = await connection.time()
        assert execution.created_at.tzinfo is UTC
        assert execution.created_at.timestamp() == pytest.approx(seconds, abs=5)
        assert execution.job is None

    async def test_is_what_rq_reads(self, connection: Redis, run: Run, url: str) -> None:
        with redis.Redis.from_url(url) as client:
            theirs = rq.executions.Execution.fetch(run.token, "a", client)
        ours = await Execution.fetch(run.token, "a", connection)
        assert (ours.created_at, ours.last_heartbeat) == (theirs.created_at, theirs.last_heartbeat)
        assert (ours.key, ours.composite_key) == (theirs.key, theirs.composite_key)

    async def test_refresh(self, connection: Any, run: Run) -> None:
        execution = await Execution.fetch(run.token, "a", connection)
        await connection.hset(execution.key, mapping={"last_heartbeat": "1767355200.25", "worker_name": "other"})
        await execution.refresh()
        assert execution.last_heartbeat == datetime(2026, 1, 2, 12, 0, 0, 250_000, tzinfo=UTC)
        assert execution.worker_name == "other"

    async def test_one_that_has_ended(self, connection: Redis, run: Run, worker: FakeWorker) -> None:
        execution = await Execution.fetch(run.token, "a", connection)
        await worker.finish(run)
        with pytest.raises(ValueError, match="it has ended, or never was"):
            await execution.refresh()
        with pytest.raises(ValueError, match="it has ended, or never was"):
            await Execution.fetch("nope", "a", connection)

    @pytest.mark.parametrize("value", ["", "soon", "nan", "inf", "1e300", b"\xff"])
    async def test_a_time_that_is_none(self, connection: Any, run: Run, value: str | bytes) -> None:
        await connection.hset(f"rq:execution:a:{run.token}", "created_at", value)
        with pytest.raises(CorruptJobError, match="created_at"):
            await Execution.fetch(run.token, "a", connection)

    async def test_another_type(self, connection: Any) -> None:
        await connection.set("rq:execution:a:exec", "text")
        with pytest.raises(CorruptJobError, match="does not hold a hash"):
            await Execution.fetch("exec", "a", connection)

    def test_from_a_composite_key(self) -> None:
        execution = Execution.from_composite_key("a:exec")
        assert (execution.job_id, execution.id) == ("a", "exec")
        for text in ("a", "a:", ":exec", "a:b:c", ""):
            with pytest.raises(ValueError, match="is not the id of a job"):
                Execution.from_composite_key(text)


class TestRegistry:
    async def test_empty(self, connection: Redis) -> None:
        registry = ExecutionRegistry("a", connection)
        assert registry.key == "rq:executions:a"
        assert repr(registry) == "ExecutionRegistry('a')"
        assert await registry.count() == 0
        assert await registry.get_execution_ids() == []
        assert await registry.get_executions() == []
        assert not await registry.contains("exec")

    async def test_a_run(self, connection: Redis, run: Run) -> None:
        registry = ExecutionRegistry("a", connection)
        (execution,) = await registry.get_executions()
        assert execution.id == run.token
        assert await registry.get_execution_ids() == [run.token]
        assert await registry.contains(execution)
        assert await registry.count() == 1

    async def test_what_has_expired_or_ended_is_left_out(self, connection: Any, run: Run) -> None:
        """RQ raises for an id whose hash is gone, and removes what has expired."""
        registry = ExecutionRegistry("a", connection)
        seconds, _ = await connection.time()
        await connection.zadd(registry.key, {"expired": seconds - 1, "ended": seconds + 1000})
        await connection.zadd(registry.key, {"odd": seconds + 2000})
        await connection.hset("rq:execution:a:expired", mapping={"created_at": 1, "last_heartbeat": 1})
        await connection.hset("rq:execution:a:odd", mapping={"created_at": "soon"})
        before = await everything(connection)
        assert await registry.get_execution_ids() == [run.token, "ended", "odd"]
        assert await registry.get_execution_ids(1, 1) == ["ended"]
        assert [execution.id for execution in await registry.get_executions()] == [run.token]
        assert not await registry.contains("expired")
        assert await everything(connection) == before
        assert await registry.cleanup() == 1
        assert await connection.zscore(registry.key, "expired") is None
        assert await connection.zcard(registry.key) == 3

    def test_bad_ids(self) -> None:
        with pytest.raises(ValueError, match="bad job id"):
            ExecutionRegistry("a b")


async def test_of_a_job(connection: Redis, run: Run, worker: FakeWorker) -> None:
    job = await Job.fetch("a", connection)
    (execution,) = await job.get_executions()
    assert (execution.id, execution.job_id, execution.worker_name) == (run.token, "a", "w")
    assert execution.job is job
    await worker.finish(run)
    assert await job.get_executions() == []
