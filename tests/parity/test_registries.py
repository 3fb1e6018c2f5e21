"""Parity with RQ 3.0: registries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import chores
import pytest
import redis
import rq
import rq.rate_limit
import rq.registry
from redis.asyncio import Redis

from aiorq import Job, JobStatus, Queue, RateLimit
from aiorq.errors import InvalidJobOperation
from aiorq.registry import (
    REGISTRIES,
    BaseRegistry,
    CanceledJobRegistry,
    DeferredJobRegistry,
    FailedJobRegistry,
    FinishedJobRegistry,
    RateLimitRegistry,
    ReadyJobRegistry,
    ScheduledJobRegistry,
    StartedJobRegistry,
    clean_registries,
)
from aiorq.store import runs
from aiorq.store.base import store_of
from tests.parity.conftest import Start, Work, lines
from tests.parity.signatures import assert_taken_alike
from tests.scripts.conftest import begin

HIS = rq.registry.BaseRegistry
KINDS: list[type[BaseRegistry]] = list(REGISTRIES)


def his(kind: type[BaseRegistry], client: redis.Redis) -> Any:
    """RQ's registry of that name."""
    return getattr(rq.registry, kind.__name__)("default", connection=client)


async def test_common(queue: Queue, connection: Any, client: redis.Redis) -> None:
    """2.8, box 1: what all registries do."""
    assert_taken_alike(BaseRegistry, HIS, without=("death_penalty_class",))
    for name in ("get_job_count", "get_job_ids", "get_expired_job_ids", "remove", "requeue", "get_expiration_time"):
        assert_taken_alike(getattr(BaseRegistry, name), getattr(HIS, name))
    assert_taken_alike(BaseRegistry.add, HIS.add, without=("pipeline", "xx"))
    assert_taken_alike(BaseRegistry.cleanup, HIS.cleanup, without=("exception_handlers",))
    registry = FinishedJobRegistry(queue=queue)
    theirs = his(FinishedJobRegistry, client)
    seconds, _ = await connection.time()
    now = int(seconds)
    scores = {"expired": now - 60, "b": now + 60, "a": now + 120}
    await connection.zadd(registry.key, scores)
    assert await registry.get_job_count(cleanup=False) == theirs.get_job_count(cleanup=False) == 3
    part: Any
    for part in ((), (0, 0), (1, 2), (-1, -1), (0, -1, True)):
        options: dict[str, Any] = {"cleanup": False}
        assert await registry.get_job_ids(*part, **options) == theirs.get_job_ids(*part, **options)
    assert await registry.get_expired_job_ids() == theirs.get_expired_job_ids() == ["expired"]
    assert await registry.get_expired_job_ids(now + 90) == theirs.get_expired_job_ids(now + 90) == ["expired", "b"]
    # RQ takes out what has expired when it counts; here it does not count.
    assert await registry.count() == await registry.get_job_count() == 2
    assert await registry.get_job_ids() == ["b", "a"]
    assert await registry.get_job_ids(desc=True) == theirs.get_job_ids(desc=True) == ["a", "b"]
    await connection.zadd(registry.key, {"expired": now - 60})
    assert await registry.cleanup() == 1
    assert await connection.zcard(registry.key) == theirs.count == 2
    given: Any
    for given in ("a", Job("a")):
        assert await registry.contains(given)
        assert await registry.get_expiration_time(given) == datetime.fromtimestamp(now + 120, UTC)
    assert not await registry.contains("c")
    assert await registry.add(Job("c"), ttl=50) == 1
    assert abs(await connection.zscore(registry.key, "c") - now - 50) <= 2
    await registry.add("d", ttl=-1)
    assert await connection.zscore(registry.key, "d") == float("inf")
    assert await registry.remove("d") == 1
    await queue.enqueue("jobs.nothing", job_id="c")
    assert await registry.remove(Job("c"), delete_job=True) == 1
    assert not await Job.exists("c", connection)
    await queue.enqueue("jobs.nothing", job_id="a")
    async with connection.pipeline() as pipeline:
        await registry.remove("b", pipeline)
        await registry.remove("a", pipeline, delete_job=True)
        assert await registry.count() == 2
        await pipeline.execute()
    assert await registry.count() == 0
    assert not await Job.exists("a", connection)
    job = await queue.enqueue("jobs.nothing", job_id="e")
    await job.cancel()
    for given in (job, "e"):
        with pytest.raises(InvalidJobOperation):
            await queue.failed_job_registry.requeue(given)
        assert await queue.canceled_job_registry.requeue(given, at_front=True) == job
        await job.cancel()
    failed = FailedJobRegistry("default", connection)
    assert failed == queue.failed_job_registry
    assert failed != registry
    assert failed != FailedJobRegistry("other", connection)
    assert failed != FailedJobRegistry("default", "redis://elsewhere")
    own = FailedJobRegistry("default", connection, chores.OwnJob, serializer="json")
    assert own.job_class is chores.OwnJob
    assert own.get_queue() == queue
    assert own.get_queue().job_class is chores.OwnJob
    assert registry.get_queue() is queue


async def test_started(queue: Queue, connection: Any, start: Start, client: redis.Redis) -> None:
    """2.8, box 2: what runs; a run whose lease has expired fails, is tried again, and lets others go on."""
    registry, theirs = queue.started_job_registry, rq.registry.StartedJobRegistry
    assert_taken_alike(StartedJobRegistry.get_job_and_execution_ids, theirs.get_job_and_execution_ids)
    assert (registry.key, his(StartedJobRegistry, client).key) == ("rq:wip:default",) * 2
    job = await queue.enqueue("chores.succeed", on_failure="chores.on_failure", rate_limit=RateLimit("r", 1))
    child = await queue.enqueue("jobs.nothing", depends_on=[job], job_id="child")
    waits = await queue.enqueue("jobs.nothing", rate_limit=RateLimit("r", 1))
    store = store_of(connection)
    [claimed] = await runs.claim(store, "w", ["default"], 1, 100) or []
    assert await begin(store, "w", claimed.run)
    assert await registry.get_job_and_execution_ids() == [(job.id, claimed.run.token)]
    assert his(StartedJobRegistry, client).get_job_and_execution_ids() == [(job.id, claimed.run.token)]
    assert (await registry.get_job_ids(), await registry.contains(job)) == ([job.id], True)
    end = await registry.get_expiration_time(job)
    seconds, _ = await connection.time()
    assert end is not None
    assert 90 < end.timestamp() - int(seconds) <= 101
    for refused in (registry.add(job), registry.remove(job)):
        with pytest.raises(NotImplementedError):
            await refused
    with pytest.raises(NotImplementedError):
        his(StartedJobRegistry, client).add(job)
    await connection.zadd(registry.key, {f"{job.id}:{claimed.run.token}": 1})
    await start("default")
    result = await job.latest_result(timeout=20)
    assert result is not None
    assert "AbandonedJobError" in (result.exc_string or "")
    assert await waits.latest_result(timeout=20) is not None
    assert (await lines(connection))[0].startswith(f"{job.id} failure AbandonedJobError")
    assert (await job.get_status(), await child.get_status()) == (JobStatus.FAILED, JobStatus.DEFERRED)
    assert await queue.failed_job_registry.get_job_ids() == [job.id]


async def test_kinds(queue: Queue, connection: Any, client: redis.Redis, work: Work) -> None:
    """2.8, box 3: the registries of what has ended or waits, their keys and what their scores mean."""
    for kind in KINDS:
        assert kind("default", connection).key == his(kind, client).key
    schedules = rq.registry.ScheduledJobRegistry
    assert_taken_alike(ScheduledJobRegistry.schedule, schedules.schedule, without=("pipeline",))
    assert_taken_alike(ScheduledJobRegistry.get_scheduled_time, schedules.get_scheduled_time)
    assert_taken_alike(ScheduledJobRegistry.get_jobs_to_schedule, schedules.get_jobs_to_schedule)
    seconds, _ = await connection.time()
    now = int(seconds)
    finished = await queue.enqueue("jobs.nothing")
    failed = await queue.enqueue("jobs.fail")
    deferred = await queue.enqueue("jobs.nothing", depends_on=failed)
    canceled = await queue.enqueue("jobs.nothing")
    await canceled.cancel()
    scheduled = await queue.enqueue_in(timedelta(hours=1), "jobs.nothing")
    await work()
    expected: dict[type[BaseRegistry], tuple[Job[Any], int]] = {
        FinishedJobRegistry: (finished, 500),
        FailedJobRegistry: (failed, 31_536_000),
        DeferredJobRegistry: (deferred, 0),
        CanceledJobRegistry: (canceled, 0),
        ScheduledJobRegistry: (scheduled, 3600),
    }
    for kind, (job, after) in expected.items():
        registry = kind(queue=queue)
        assert await registry.get_job_ids() == his(kind, client).get_job_ids(cleanup=False) == [job.id]
        assert abs(await connection.zscore(registry.key, job.id) - now - after) < 10
    assert await queue.canceled_job_registry.get_expiration_time(canceled) is None
    registry = queue.scheduled_job_registry
    assert abs((await registry.get_scheduled_time(scheduled)).timestamp() - now - 3600) < 10
    assert await registry.get_jobs_to_schedule() == await registry.get_jobs_to_enqueue() == []
    assert await registry.get_jobs_to_schedule(now + 7200) == [scheduled.id]
    for number in range(3):
        await registry.schedule(Job(f"s{number}"), datetime.fromtimestamp(1000 + number, UTC))
    theirs = his(ScheduledJobRegistry, client)
    assert (
        await registry.get_jobs_to_schedule(chunk_size=2) == theirs.get_jobs_to_schedule(chunk_size=2) == ["s0", "s1"]
    )
    assert await registry.get_scheduled_time("s2") == theirs.get_scheduled_time("s2")
    # What RQ had let go and did not come to enqueue: a worker does it.
    orphan = await queue.enqueue("jobs.nothing", depends_on=failed)
    async with connection.pipeline() as pipeline:
        pipeline.zrem("rq:deferred:default", orphan.id)
        pipeline.zadd("rq:ready:default", {orphan.id: now})
        pipeline.hset(orphan.key, "status", "ready_to_enqueue")
        pipeline.srem(f"rq:job:{failed.id}:dependents", orphan.id)
        await pipeline.execute()
    assert await queue.ready_job_registry.get_job_ids() == [orphan.id]
    assert isinstance(queue.ready_job_registry, ReadyJobRegistry)
    await orphan.refresh()
    assert orphan.is_ready_to_enqueue


async def test_clean_registries(queue: Queue, connection: Any) -> None:
    """2.8, box 4: all registries of a queue, and all rate limits, at once."""
    assert_taken_alike(clean_registries, rq.registry.clean_registries, without=("exception_handlers",))
    await connection.zadd("rq:finished:default", {"a": 1})
    await connection.zadd("rq:failed:default", {"b": 1})
    await connection.zadd("rq:scheduled:default", {"c": 1})
    await queue.enqueue("jobs.nothing", job_id="d", rate_limit=RateLimit("r", 1))
    await connection.delete("rq:job:d")
    assert await clean_registries(queue) == 4
    for key in ("rq:finished:default", "rq:failed:default", "rq:scheduled:default", "rq:rl:r:allowed", "rq:rl-keys"):
        assert not await connection.exists(key)


async def test_rate_limits(queue: Queue, connection: Redis, client: redis.Redis) -> None:
    """2.8, box 5: the jobs of a rate limit."""
    theirs = rq.rate_limit.RateLimitRegistry
    assert_taken_alike(RateLimitRegistry, theirs)
    assert_taken_alike(RateLimitRegistry.all, theirs.all)
    assert_taken_alike(RateLimitRegistry.cleanup, theirs.cleanup)
    for name in "abc":
        await queue.enqueue("jobs.nothing", job_id=name, rate_limit=RateLimit("r", 2))
    [registry], [his_own] = await RateLimitRegistry.all(connection), theirs.all(client)
    assert registry.key == his_own.key == "r"
    assert await registry.concurrency() == his_own.concurrency == 2
    assert await registry.get_allowed_job_ids() == his_own.get_allowed_job_ids() == ["a", "b"]
    assert await registry.get_rate_limited_job_ids() == his_own.get_rate_limited_job_ids() == ["c"]
    assert await registry.get_allowed_job_count() == his_own.get_allowed_job_count() == 2
    assert await registry.get_rate_limited_job_count() == his_own.get_rate_limited_job_count() == 1
    await connection.delete("rq:job:a")
    assert await registry.cleanup() == 1
    assert await registry.get_allowed_job_ids() == ["b", "c"]
