"""Parity with RQ 3.0: what is given with a job, groups, and the decorator."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import chores
import jobs
import pytest
import redis
import rq
import rq.decorators
import rq.group
import rq.job
from redis.asyncio import Redis

from aiorq import Callback, Dependency, Group, Job, JobStatus, Queue, RateLimit, Repeat, Result, Retry, Webhook
from aiorq.decorators import job as job_decorator
from aiorq.errors import NoSuchGroupError
from aiorq.registry import RateLimitRegistry
from aiorq.store import runs
from aiorq.store.base import store_of
from tests.execution.processes import Fifo
from tests.parity.conftest import MakeWorker, Start, Work, lines
from tests.parity.signatures import assert_taken_alike
from tests.scripts.conftest import begin
from tests.worker.conftest import Log
from tests.worker.test_webhooks import Listener


def assert_refused(bad: tuple[Any, ...], *kinds: Callable[..., Any], **options: Any) -> None:
    """Both libraries refuse these arguments."""
    for kind in kinds:
        with pytest.raises((ValueError, TypeError)):
            kind(*bad, **options)


async def due_in(queue: Queue, job: Job[Any]) -> int:
    """Seconds until a job that is scheduled is due, rounded to tens."""
    due = await queue.scheduled_job_registry.get_scheduled_time(job)
    seconds, _ = await queue.connection.time()
    return int(10 * round((due.timestamp() - int(seconds)) / 10))


async def intervals_of(queue: Queue, make: Callable[[], Any], most: int, connection: Any) -> list[int]:
    """After how many seconds each attempt of a job that `make` enqueues is followed by the next."""
    store, job, found = store_of(connection), await make(), []
    for _ in range(most):
        claimed = await runs.claim(store, "w", ["default"], 1, 15)
        assert claimed
        await runs.fail(store, "w", claimed[0].run, b"", 60)
        found.append(await due_in(queue, job))
        await queue.scheduled_job_registry.requeue(job)
    await job.delete()
    return found


async def test_retry(queue: Queue, connection: Any, work: Work) -> None:
    """2.6, box 1: trying again what raised, or what asked for it; the intervals from the first on, the last repeats."""
    assert_taken_alike(Retry, rq.Retry)
    for bad in ((0,), (-1,), (1, -1), (1, [1, -1])):
        assert_refused(bad, Retry, rq.Retry)
    many: list[tuple[Any, list[int]]] = [(0, [0]), (60, [60]), ([1, 2], [1, 2]), (iter((1, 2)), [1, 2])]
    for interval, intervals in many:
        retry = Retry(3, interval, True)
        assert (retry.max, retry.intervals, retry.enqueue_at_front) == (3, intervals, True)

    async def make() -> Job[Any]:
        return await queue.enqueue("jobs.fail", retry=Retry(5, [10, 30, 60]))

    assert await intervals_of(queue, make, 5, connection) == [10, 30, 60, 60, 60]
    asked = await queue.enqueue("chores.ask_again", 2)
    at_once = await queue.enqueue("jobs.fail", retry=Retry(2))
    await work()
    kinds = [result.type.name for result in await asked.results()]
    assert kinds == ["MAX_RETRIES_EXCEEDED", "RETRIED", "RETRIED"]
    assert await asked.get_status() is JobStatus.FAILED
    await at_once.refresh()
    assert (at_once.status, at_once.retries_left, len(await at_once.results())) == (JobStatus.FAILED, 0, 1)
    front = await queue.enqueue("jobs.fail", retry=Retry(1, enqueue_at_front=True))
    other = await queue.enqueue("jobs.nothing")
    store = store_of(connection)
    [claimed] = await runs.claim(store, "w", ["default"], 1, 15) or []
    await runs.fail(store, "w", claimed.run, b"", 60)
    assert await queue.get_job_ids() == [front.id, other.id]
    [claimed] = await runs.claim(store, "w", ["default"], 1, 15) or []
    await runs.stop(store, "w", claimed.run, b"", 60)
    assert await front.get_status() is JobStatus.STOPPED  # and not tried again
    later = await queue.enqueue("jobs.fail", retry=Retry(1, 1))  # with no scheduler
    await work()
    assert await later.get_status() is JobStatus.SCHEDULED


async def test_repeat(queue: Queue, connection: Any, work: Work) -> None:
    """2.6, box 2: running again what succeeded, under the same id."""
    assert_taken_alike(Repeat, rq.Repeat)
    for bad in ((0,), (1, -1), (1, [1, -1]), (1, "x")):
        assert_refused(bad, Repeat, rq.Repeat)
    assert (Repeat(3).intervals, Repeat(3, 5).intervals, Repeat(3, [1, 2]).intervals) == ([0], [5], [1, 2])
    job = await queue.enqueue("jobs.add", 1, repeat=Repeat(2))
    fails = await queue.enqueue("jobs.fail", repeat=Repeat(2))
    await work()
    assert [result.type.name for result in await job.results()] == ["SUCCESSFUL"] * 3
    assert [result.type.name for result in await fails.results()] == ["FAILED"]
    found = []
    slow = await queue.enqueue("jobs.add", 1, repeat=Repeat(3, [10, 30]))
    store = store_of(connection)
    for _ in range(3):
        [claimed] = await runs.claim(store, "w", ["default"], 1, 15) or []
        assert await runs.finish(store, "w", claimed.run, b"", 500)
        found.append(await due_in(queue, slow))
        await queue.scheduled_job_registry.requeue(slow)
    assert found == [10, 30, 30]


async def test_callback(
    queue: Queue, connection: Any, make_worker: MakeWorker, start: Start, told: Fifo, log: Log
) -> None:
    """2.6, box 3: what is called when a job has ended, with what, and what becomes of it if that raises."""
    assert_taken_alike(Callback, rq.Callback)
    given: Any
    for given in ((jobs.nothing,), ("jobs.nothing", 5), (jobs.nothing, "2m"), (len,)):
        ours, theirs = Callback(*given), rq.Callback(*given)
        assert (ours.timeout, ours.func) == (theirs.timeout, theirs.func)
        assert ours.name == (theirs.name if isinstance(given[0], str) else ours.name)
    for bad in ((5,), (jobs.Greeter,), (jobs.Greeter(),)):
        assert_refused(bad, Callback, rq.Callback)
    child = {"on_success": chores.on_success, "on_failure": chores.on_failure, "on_stopped": chores.on_stopped}
    good = await queue.enqueue(chores.succeed, 5, **child)
    await Queue("other", connection).enqueue("jobs.nothing", depends_on=good)
    bad_job = await queue.enqueue(chores.fail, **child)
    rejected = await queue.enqueue(chores.succeed, 6, on_success=chores.on_success_raising)
    replaced = await queue.enqueue(chores.fail, on_failure=chores.on_failure_raising)
    killed = await queue.enqueue(chores.die, on_failure=chores.on_failure)
    await make_worker().work(burst=True)
    said = await lines(connection, 3)
    assert said[0].startswith(f"{good.id} success 5 chores.succeed(5)")
    assert "rq:queue:other" not in said[0]  # its dependents are not enqueued yet
    assert said[1] == f"{bad_job.id} failure ValueError on purpose with a traceback"
    assert said[2].startswith(f"{killed.id} failure HorseTerminatedError")
    assert said[2].endswith("without a traceback")
    for failed, text in ((rejected, "RuntimeError: of the callback"), (replaced, "LookupError: instead of it")):
        result = await failed.latest_result()
        assert result is not None
        assert result.type is Result.Type.FAILED
        assert text in (result.exc_string or "")
    stopped = await queue.enqueue("waiting.hang", told.path, on_stopped=chores.on_stopped)
    raising = await queue.enqueue("waiting.hang", told.path, on_stopped=chores.on_stopped_raising)
    abandoned = await Queue("idle", connection).enqueue("chores.succeed", on_failure=chores.on_failure)
    store = store_of(connection)
    [claimed] = await runs.claim(store, "gone", ["idle"], 1, 15) or []
    assert await begin(store, "gone", claimed.run)
    await connection.zadd("rq:wip:idle", {f"{claimed.run.job_id}:{claimed.run.token}": 1})
    await start(concurrency=2)
    await told.pids(2)
    for each in (stopped, raising):
        await each.stop(grace=0)
    await log.line("of the callback")
    assert await raising.get_status() is JobStatus.STOPPED
    assert await abandoned.latest_result(timeout=20) is not None
    first, second = sorted(await lines(connection, 2), key=lambda line: not line.startswith(stopped.id))
    assert first == f"{stopped.id} stopped stopped"
    assert second.startswith(f"{abandoned.id} failure AbandonedJobError")
    assert second.endswith("without a traceback")


async def test_dependency(queue: Queue, connection: Redis, work: Work, client: redis.Redis) -> None:
    """2.6, box 4: what a job waits for; what is gone counts as met, what failed does not, unless that is allowed."""
    assert_taken_alike(Dependency, rq.job.Dependency)
    a, b = await queue.enqueue("jobs.fail", job_id="a"), await queue.enqueue("jobs.nothing", job_id="b")
    theirs = rq.job.Job.fetch("a", client)
    ours: Any
    his: Any
    for ours, his in ((a, theirs), ("a", "a"), ([a, "b"], [theirs, "b"]), (("a",), ("a",))):
        assert len(list(Dependency(ours).dependencies)) == len(list(rq.job.Dependency(his).dependencies))
    for bad in (([],), (5,), ([5],)):
        assert_refused(bad, Dependency, rq.job.Dependency)
    waits: list[Any] = [a, "a", Dependency(a), [a, "b"], [Dependency("a"), b], (Dependency(["a", b]),)]
    for depends_on in waits:
        job = await queue.enqueue("jobs.nothing", depends_on=depends_on)
        assert (job.status, job.dependency_ids[0]) == (JobStatus.DEFERRED, "a")
        await job.delete()
    both = [Dependency(a, allow_failure=True), Dependency(b, enqueue_at_front=True)]
    flags = await queue.enqueue("jobs.nothing", depends_on=both)
    assert (flags.allow_dependency_failures, flags.enqueue_at_front) == (True, True)
    unknown = await queue.enqueue("jobs.nothing", depends_on="never")
    assert unknown.status is JobStatus.QUEUED
    kept = await Queue("other", connection).enqueue("jobs.nothing", depends_on=a)
    allowed = await Queue("other", connection).enqueue("jobs.nothing", depends_on=Dependency(a, allow_failure=True))
    await work(queue)
    assert (await kept.get_status(), await allowed.get_status()) == (JobStatus.DEFERRED, JobStatus.QUEUED)
    assert await flags.get_status() is JobStatus.FINISHED
    assert await Queue("other", connection).get_job_ids() == [allowed.id]
    canceled = await queue.enqueue("jobs.nothing")
    child = await queue.enqueue("jobs.nothing", depends_on=Dependency(canceled, allow_failure=True))
    await canceled.cancel()
    assert await child.get_status() is JobStatus.DEFERRED


async def test_rate_limit(queue: Queue, connection: Any, work: Work) -> None:
    """2.6, box 5: so many jobs of a key may be queued or run; the others wait for a slot, first in, first out."""
    assert_taken_alike(RateLimit, rq.RateLimit)
    for bad in (("", 1), ("a", 0), ("a", -1), ("a", "1")):
        assert_refused(bad, RateLimit, rq.RateLimit)
    limit, registry = RateLimit("r", 1), RateLimitRegistry("r", connection)
    made = [await queue.enqueue("jobs.nothing", job_id=name, rate_limit=limit) for name in "abcd"]
    assert [await job.get_status() for job in made] == [JobStatus.QUEUED, *[JobStatus.RATE_LIMITED] * 3]
    assert (await registry.get_allowed_job_ids(), await registry.get_rate_limited_job_ids()) == (["a"], list("bcd"))
    await made[0].cancel()
    assert await queue.get_job_ids() == ["b"]
    await made[1].delete()
    assert await queue.get_job_ids() == ["c"]
    again = await queue.enqueue("jobs.fail", retry=Retry(1), rate_limit=RateLimit("s", 1), job_id="again")
    waits = await queue.enqueue("jobs.nothing", rate_limit=RateLimit("s", 1))
    store = store_of(connection)
    await queue.remove("c")
    [claimed] = await runs.claim(store, "w", ["default"], 1, 15) or []
    assert claimed.run.job_id == "again"
    await runs.fail(store, "w", claimed.run, b"", 60)
    assert (await again.get_status(), await waits.get_status()) == (JobStatus.QUEUED, JobStatus.RATE_LIMITED)
    late = await queue.enqueue("jobs.fail", retry=Retry(1, 60), rate_limit=RateLimit("t", 1))
    freed = await queue.enqueue("jobs.nothing", rate_limit=RateLimit("t", 1))
    await queue.remove("again")
    [claimed] = await runs.claim(store, "w", ["default"], 1, 15) or []
    await runs.fail(store, "w", claimed.run, b"", 60)
    assert (await late.get_status(), await freed.get_status()) == (JobStatus.SCHEDULED, JobStatus.QUEUED)
    with pytest.raises(ValueError, match="rate limit"):
        await Queue(connection=connection, is_async=False).enqueue("jobs.nothing", rate_limit=limit)
    async with connection.pipeline() as pipeline:
        with pytest.raises(ValueError, match="rate limit"):
            await queue.enqueue("jobs.nothing", rate_limit=limit, pipeline=pipeline)
    with pytest.raises(ValueError, match="unique"):
        await queue.enqueue("jobs.nothing", rate_limit=limit, job_id="x", unique=True)
    wider = await queue.enqueue("jobs.nothing", rate_limit=RateLimit("t", 3))
    assert (wider.status, await RateLimitRegistry("t", connection).concurrency()) == (JobStatus.QUEUED, 3)
    await connection.delete("rq:job:c")  # which holds a slot: it has expired
    assert await registry.cleanup() == 1
    assert (await made[3].get_status(), await registry.get_allowed_job_ids()) == (JobStatus.QUEUED, ["d"])
    await work()
    assert await registry.get_allowed_job_count() == 0


async def test_webhook(queue: Queue, listener: Listener, work: Work, log: Log) -> None:
    """2.6, box 6: requests once a job has ended, with RQ's body; none for an attempt that is followed by another."""
    assert_taken_alike(Webhook, rq.Webhook)
    for bad, options in (
        (("ftp://a/", "failed"), {}),
        (("nothing", "failed"), {}),
        (("http://a/", "queued"), {}),
        (("http://a/", "failed"), {"method": "PUT"}),
    ):
        assert_refused(bad, Webhook, rq.Webhook, **options)
    ours, theirs = Webhook("https://a/b", "finished"), rq.Webhook("https://a/b", "finished")
    assert (ours.method, ours.headers, ours.timeout) == (theirs.method, theirs.headers, theirs.timeout)
    assert ours.to_dict() == theirs.to_dict()
    good = Webhook(listener.url("/good"), "finished", headers={"X-Key": "1"})
    bad_hook = Webhook(listener.url("/bad"), "failed", method="POST")
    nobody = Webhook("http://127.0.0.1:9/", "failed", timeout=1)
    finished = await queue.enqueue("jobs.add", 1, webhooks=[good, bad_hook])
    await work()
    first, headers, body = await listener.next()
    assert (first, headers["x-key"], body) == ("GET /good HTTP/1.1", "1", b"")
    failed = await queue.enqueue("jobs.fail", retry=Retry(2), webhooks=[nobody, bad_hook, good])
    await work()
    first, _, body = await listener.next()
    assert first == "POST /bad HTTP/1.1"
    sent = json.loads(body)
    assert {*sent} == {"job_id", "func_name", "status", "enqueued_at", "ended_at", "exc_info"}
    assert (sent["job_id"], sent["func_name"], sent["status"]) == (failed.id, "jobs.fail", "failed")
    assert "ValueError: on purpose" in sent["exc_info"]
    await failed.refresh()
    assert failed.ended_at is not None
    assert abs(datetime.fromisoformat(sent["ended_at"]) - failed.ended_at) < timedelta(seconds=1)
    assert listener.requests.empty()
    assert log.count("webhook") == 1  # the one that nobody answered
    assert await finished.get_status() is JobStatus.FINISHED


async def test_group(queue: Queue, connection: Any, client: redis.Redis) -> None:
    """2.6, box 7: jobs under a name."""
    for name in ("create", "fetch", "all", "enqueue_many", "cleanup", "delete_job", "clean_registries"):
        assert_taken_alike(getattr(Group, name), getattr(rq.group.Group, name))
    group = Group.create(connection, "g")
    assert (group.name, Group.create(connection).name == Group.create(connection).name) == ("g", False)
    with pytest.raises(NoSuchGroupError):
        await Group.fetch("g", connection)
    datas = [Queue.prepare_data("jobs.nothing", job_id=name) for name in "abc"]
    made = await group.enqueue_many(queue, datas)
    assert [job.group_id for job in made] == ["g"] * 3
    async with connection.pipeline() as pipeline:
        await group.enqueue_many(queue, [Queue.prepare_data("jobs.nothing", job_id="d")], pipeline)
        await pipeline.execute()
    theirs = rq.group.Group.fetch("g", client)
    assert sorted(job.id for job in theirs.get_jobs()) == list("abcd")
    assert sorted(job.id for job in await group.get_jobs()) == list("abcd")
    assert await Group.all(connection) == [group]
    assert (await Group.fetch("g", connection)).name == "g"
    await group.delete_job("a")
    async with connection.pipeline() as pipeline:
        await group.delete_job("b", pipeline)
        await pipeline.execute()
    assert sorted(await group.get_job_ids()) == ["c", "d"]
    await connection.delete("rq:job:c")
    assert await group.cleanup() == 1
    await connection.delete("rq:job:d")
    await Group.clean_registries(connection)
    assert await Group.all(connection) == []
    with pytest.raises(NoSuchGroupError):
        await Group.fetch("g", connection)


async def test_decorator(connection: Redis, queue: Queue) -> None:
    """2.6, box 8: a function that can be enqueued by itself."""
    assert_taken_alike(job_decorator, rq.decorators.job)
    options: dict[str, Any] = {
        "timeout": 5,
        "result_ttl": 6,
        "ttl": 7,
        "at_front": True,
        "meta": {"a": 1},
        "description": "it",
        "failure_ttl": 8,
        "retry": Retry(1),
        "on_failure": jobs.nothing,
        "webhooks": [Webhook("http://a/", "failed")],
    }
    decorated = job_decorator("other", connection, queue_class=chores.OwnQueue, **options)(jobs.add)
    try:
        await decorated.enqueue(1, right=2)
        job = await decorated.delay(1, right=2)
        assert (job.origin, job.args, job.kwargs) == ("other", (1,), {"right": 2})
        assert (job.timeout, job.result_ttl, job.ttl, job.failure_ttl) == (5, 6, 7, 8)
        assert (job.meta, job.description, job.retries_left) == ({"a": 1}, "it", 1)
        assert (await Queue("other", connection).get_job_ids())[0] == job.id
        waits = await decorated.enqueue(1, depends_on=job, job_id="a", at_front=False)
        assert (waits.id, waits.dependency_ids, waits.status) == ("a", [job.id], JobStatus.DEFERRED)
        assert decorated(1, 2) == 3
        assert inspect.iscoroutinefunction(decorated.delay)
    finally:
        del jobs.add.enqueue, jobs.add.delay  # type: ignore[attr-defined]
