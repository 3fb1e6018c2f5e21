"""Parity with RQ 3.0: results and executions."""

from __future__ import annotations

import asyncio
import base64
import zlib
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
import rq
import rq.executions
import rq.job
import rq.results

from aiorq import Queue, Result, Retry
from aiorq.executions import Execution, ExecutionRegistry
from aiorq.serializers import PickleSerializer
from tests.execution.processes import Fifo
from tests.parity.conftest import MakeWorker, Start, Work
from tests.parity.signatures import assert_taken_alike


async def test_results(
    queue: Queue, connection: Any, make_worker: MakeWorker, start: Start, told: Fifo, client: redis.Redis
) -> None:
    """2.7, box 1: the kinds of results, their fields, and how they are found; a stopped job's says so."""
    assert {each.name: each.value for each in Result.Type} == {each.name: each.value for each in rq.results.Result.Type}
    for name in ("all", "count", "delete_all", "fetch_latest"):
        assert_taken_alike(getattr(Result, name), getattr(rq.results.Result, name))
    job = await queue.enqueue("chores.ask_again", 1)
    good = await queue.enqueue("jobs.add", 1)
    await make_worker(name="the-worker").work(burst=True)
    ours, theirs = await job.results(), rq.results.Result.all(rq.job.Job.fetch(job.id, client))
    assert [each.type.name for each in ours] == ["MAX_RETRIES_EXCEEDED", "RETRIED"]
    names = (
        "id job_id created_at worker_name execution_id execution_started_at execution_ended_at exc_string return_value"
    )
    for mine, his in zip(ours, theirs, strict=True):
        for name in names.split():
            assert getattr(mine, name) == getattr(his, name), name
        assert mine.type.value == his.type.value
        assert mine.execution_started_at is not None
        assert mine.execution_ended_at is not None
        assert mine.execution_started_at <= mine.execution_ended_at
    latest = await Result.fetch_latest(good)
    assert latest is not None
    assert (latest.type, latest.return_value, latest.worker_name) == (Result.Type.SUCCESSFUL, 2, "the-worker")
    assert await Result.all(job) == ours
    assert (await Result.count(job), rq.results.Result.count(rq.job.Job.fetch(job.id, client))) == (2, 2)
    await Result.delete_all(job)
    assert (await Result.count(job), await Result.fetch_latest(job)) == (0, None)
    stopped = await queue.enqueue("waiting.hang", told.path)
    waiting = asyncio.create_task(Result.fetch_latest(stopped, timeout=20))
    await start()
    await told.pids()
    await stopped.stop(grace=0)
    result = await waiting
    assert result is not None
    assert result.type is Result.Type.STOPPED


async def test_streams(queue: Queue, connection: Any, work: Work) -> None:
    """2.7, box 2: a stream of ten results, in RQ's encoding, which expires with the job."""
    ok = await queue.enqueue("jobs.add", 1, result_ttl=77)
    bad = await queue.enqueue("jobs.fail", "x" * 1000, failure_ttl=88)
    kept = await queue.enqueue("jobs.add", 1, result_ttl=-1)
    gone = await queue.enqueue("jobs.add", 1, result_ttl=0)
    gone_too = await queue.enqueue("jobs.fail", failure_ttl=0)
    tried = await queue.enqueue("jobs.fail", retry=Retry(3))
    many = await queue.enqueue("chores.ask_again", 30)
    await work()
    [(_, fields)] = await connection.xrange(f"rq:results:{ok.id}")
    assert PickleSerializer.loads(base64.b64decode(fields[b"return_value"])) == 2
    [(_, fields)] = await connection.xrange(f"rq:results:{bad.id}")
    text = zlib.decompress(base64.b64decode(fields[b"exc_string"])).decode()
    assert text.endswith(f"ValueError: {'x' * 1000}\n")
    assert 70 < await connection.ttl(f"rq:results:{ok.id}") <= 77
    assert 80 < await connection.ttl(f"rq:results:{bad.id}") <= 88
    assert await connection.ttl(f"rq:results:{kept.id}") == await connection.ttl(kept.key) == -1
    for job in (gone, gone_too):
        assert await connection.exists(job.key, f"rq:results:{job.id}") == 0
    assert len(await tried.results()) == 1  # but each attempt is kept besides
    assert [each.number for each in await tried.attempts()] == [1, 2, 3, 4]
    assert 10 <= len(await many.results()) < 20


async def test_executions(
    queue: Queue, connection: Any, start: Start, told: Fifo, gate: Fifo, client: redis.Redis
) -> None:
    """2.7, box 3: the runs of jobs while they go on."""
    theirs = rq.executions.Execution
    assert_taken_alike(Execution, theirs)
    assert_taken_alike(Execution.fetch, theirs.fetch)
    assert_taken_alike(Execution.from_composite_key, theirs.from_composite_key)
    assert_taken_alike(Execution.refresh, theirs.refresh)
    for name in ("get_execution_ids", "get_executions", "cleanup"):
        left_out = ("exception_handlers",) if name == "cleanup" else ()
        his = getattr(rq.executions.ExecutionRegistry, name)
        assert_taken_alike(getattr(ExecutionRegistry, name), his, without=left_out)
    job = await queue.enqueue("waiting.meet", told.path, gate.path, job_id="a")
    worker = await start()
    await told.pids()
    registry = ExecutionRegistry("a", connection)
    [execution_id] = await registry.get_execution_ids()
    [execution] = await registry.get_executions()
    his = theirs.fetch(execution_id, "a", client)
    for name in ("id", "job_id", "composite_key", "key", "created_at", "last_heartbeat", "worker_name"):
        assert getattr(execution, name) == getattr(his, name), name
    assert execution == await Execution.fetch(execution_id, "a", connection)
    assert execution.composite_key == f"a:{execution_id}"
    assert execution.worker_name == worker.name
    named = Execution.from_composite_key(f"a:{execution_id}", connection)
    assert named == execution
    await named.refresh()
    assert named.created_at == execution.created_at <= datetime.now(UTC)
    assert execution.job is None
    assert (await job.get_executions())[0].job is job
    gate.let()
    assert await job.latest_result(timeout=20) is not None
    for gone in (execution.refresh(), Execution.fetch(execution_id, "a", connection)):
        with pytest.raises(ValueError, match="execution"):
            await gone
    with pytest.raises(ValueError, match="not found"):
        theirs.fetch(execution_id, "a", client)
    assert await registry.get_execution_ids() == []
    await connection.zadd(registry.key, {"old": 1, "new": 4_000_000_000})
    assert await registry.cleanup() == 1
    assert await registry.get_execution_ids() == ["new"]
