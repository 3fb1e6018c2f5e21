"""Registries: what they list, what they leave out, and that a look changes nothing."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import rq
import rq.registry
from redis.asyncio import Redis

from aiorq import Job, JobStatus, Queue
from aiorq.errors import CorruptJobError, InvalidJobOperation, NoSuchJobError
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
from tests.api.conftest import FakeWorker

YEAR = 31_536_000
OTHERS = [kind for kind in REGISTRIES if kind is not StartedJobRegistry]


async def everything(connection: Any) -> dict[bytes, bytes]:
    """All that is in Redis."""
    return {key: await connection.dump(key) for key in await connection.keys("*")}


async def now(connection: Any) -> float:
    seconds, micros = await connection.time()
    return float(seconds + micros / 1_000_000)


async def fail(queue: Queue, worker: FakeWorker, *job_ids: str) -> None:
    """Jobs of the default queue that have failed, one after the other."""
    for job_id in job_ids:
        await queue.enqueue("jobs.add", 1, job_id=job_id)
        (run,) = await worker.take()
        await worker.fail(run)


async def fill(registry: BaseRegistry, connection: Any, **scores: float) -> None:
    await connection.zadd(registry.key, scores)


class TestNames:
    def test_keys_are_those_of_rq(self) -> None:
        import redis

        for kind in REGISTRIES:
            theirs = getattr(rq.registry, kind.__name__)("mail", redis.Redis())
            assert kind("mail").key == theirs.key
        assert FailedJobRegistry("mail", prefix="{app}").key == "{app}:failed:mail"

    def test_of_a_queue(self) -> None:
        class Own(Job[Any]):
            pass

        queue = Queue("mail", job_class=Own, serializer="json", prefix="{app}")
        registry = FailedJobRegistry(queue=queue)
        assert (registry.name, registry.key) == ("mail", "{app}:failed:mail")
        assert registry.serializer is queue.serializer
        assert registry.job_class is Own
        assert registry.get_queue() is queue

    def test_queue_of_a_registry(self) -> None:
        queue = FailedJobRegistry("mail", serializer="json", prefix="{app}").get_queue()
        assert isinstance(queue, Queue)
        assert (queue.name, queue.key) == ("mail", "{app}:queue:mail")
        assert queue.serializer is FailedJobRegistry("mail", serializer="json").serializer

    def test_equality(self) -> None:
        here = FailedJobRegistry("a", "redis://one/0")
        assert here == FailedJobRegistry("a", "redis://one/0")
        assert hash(here) == hash(FailedJobRegistry("a", "redis://one/0"))
        for other in (
            FailedJobRegistry("b", "redis://one/0"),
            FailedJobRegistry("a", "redis://one/1"),
            FailedJobRegistry("a", "redis://two/0"),
            FailedJobRegistry("a", "redis://one/0", prefix="{app}"),
            FinishedJobRegistry("a", "redis://one/0"),
            "a",
        ):
            assert here != other

    def test_bad_arguments(self) -> None:
        with pytest.raises(ValueError, match="no commas"):
            FailedJobRegistry("a,b")
        with pytest.raises(ValueError, match="bad key prefix"):
            FailedJobRegistry("a", prefix="a b")
        with pytest.raises(ValueError, match="no serializer"):
            FailedJobRegistry("a", serializer="nope")

    def test_making_and_showing_one_asks_nothing(self) -> None:
        assert repr(FailedJobRegistry("a", "redis://nowhere.invalid")) == "FailedJobRegistry('a')"


class TestLooking:
    async def test_empty(self, connection: Redis) -> None:
        for kind in REGISTRIES:
            registry = kind("default", connection)
            assert await registry.count() == 0
            assert await registry.get_job_ids() == []
            assert await registry.get_jobs() == []
            assert not await registry.contains("a")
            with pytest.raises(NoSuchJobError):
                await registry.get_expiration_time("a")
        assert await connection.keys("*") == []

    @pytest.mark.parametrize("kind", [FinishedJobRegistry, FailedJobRegistry, StartedJobRegistry])
    async def test_what_has_expired_is_left_out(self, connection: Redis, kind: type[BaseRegistry]) -> None:
        registry = kind("default", connection)
        moment = await now(connection)
        await fill(registry, connection, ever=-1, zero=0, past=moment - 1, soon=moment + 60, late=float("inf"))
        before = await everything(connection)
        assert await registry.count() == 3
        assert await registry.get_job_ids() == ["ever", "soon", "late"]
        assert await registry.get_job_ids(desc=True) == ["late", "soon", "ever"]
        assert await registry.get_job_count(cleanup=False) == 5
        assert await registry.get_job_ids(cleanup=False) == ["ever", "zero", "past", "soon", "late"]
        assert await registry.get_expired_job_ids() == ["zero", "past"]
        assert await registry.get_expired_job_ids(moment + 61) == ["zero", "past", "soon"]
        assert await everything(connection) == before

    @pytest.mark.parametrize("kind", [DeferredJobRegistry, ReadyJobRegistry, ScheduledJobRegistry, CanceledJobRegistry])
    async def test_what_does_not_expire_is_there(self, connection: Redis, kind: type[BaseRegistry]) -> None:
        registry = kind("default", connection)
        await fill(registry, connection, a=5, b=2e9)
        assert await registry.count() == 2
        assert await registry.get_job_ids() == ["a", "b"]

    @pytest.mark.parametrize("desc", [False, True])
    @pytest.mark.parametrize("kind", [FailedJobRegistry, ScheduledJobRegistry])
    async def test_pages_are_those_of_rq(
        self, connection: Redis, url: str, kind: type[BaseRegistry], desc: bool
    ) -> None:
        import redis

        registry = kind("default", connection)
        moment = await now(connection)
        await fill(registry, connection, ever=-1, **{f"id-{number}": moment + 60 + number for number in range(8)})
        indices = [-30, -10, -9, -3, -1, 0, 1, 3, 8, 9, 20]
        with redis.Redis.from_url(url) as client:
            theirs = getattr(rq.registry, kind.__name__)("default", client)
            for start in indices:
                for end in indices:
                    expected = theirs.get_job_ids(start, end, desc, cleanup=False)
                    assert await registry.get_job_ids(start, end, desc) == expected, (start, end)
        await fill(registry, connection, **{f"old-{number}": number for number in range(5)})
        if kind is FailedJobRegistry:
            everyone = await registry.get_job_ids(desc=desc)
            assert len(everyone) == 9
            for start in range(9):
                for end in range(9):
                    assert await registry.get_job_ids(start, end, desc) == everyone[start : end + 1]

    @pytest.mark.parametrize("desc", [False, True])
    @pytest.mark.parametrize(
        ("start", "end"), [(0, -1), (1, -2), (-1, -1), (-11_000, -5_500), (4_000, 11_000), (-20_000, 5), (3, 5_002)]
    )
    async def test_long_pages(self, connection: Any, start: int, end: int, desc: bool) -> None:
        registry = FinishedJobRegistry("default", connection)
        moment = await now(connection)
        everyone = [f"id-{number}" for number in range(12_000)]
        await connection.zadd(registry.key, {"ever": -1, "old": 5})
        await connection.zadd(registry.key, {name: moment + 100 + index for index, name in enumerate(everyone)})
        everyone = ["ever", *everyone]
        if desc:
            everyone.reverse()
        expected = everyone[start:] if end == -1 else everyone[max(start, -len(everyone)) : end + 1]
        assert await registry.get_job_ids(start, end, desc) == expected

    async def test_a_page_of_a_million_costs_a_page(self, connection: Any) -> None:
        registry = FailedJobRegistry("default", connection)
        script = """
            for first = 1, tonumber(ARGV[2]), 1000 do
              local part = {}
              for number = first, first + 999 do
                part[#part + 1] = number + tonumber(ARGV[1])
                part[#part + 1] = 'id-' .. number
              end
              redis.call('ZADD', KEYS[1], unpack(part))
            end"""
        await connection.eval(script, 1, registry.key, await now(connection) + 100, 1_000_000)
        tracemalloc.start()
        try:
            assert await registry.count() == 1_000_000
            assert len(await registry.get_job_ids(500_000, 500_099)) == 100
            assert await registry.get_job_ids(-1, -1) == ["id-1000000"]
            assert await registry.contains("id-777777")
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()

    async def test_jobs(self, connection: Any, queue: Queue, worker: FakeWorker) -> None:
        await fail(queue, worker, "a", "b", "c")
        registry = FailedJobRegistry(queue=queue)
        await connection.delete("rq:job:b")
        await connection.zadd(registry.key, {"no id": await now(connection) + 1000, b"\xff": -1})
        jobs = await registry.get_jobs()
        assert sorted(job.id for job in jobs) == ["a", "c"]
        assert {job.status for job in jobs} == {JobStatus.FAILED}
        assert await registry.count() == 5
        assert len(await registry.get_jobs(2, 2)) == 1

    async def test_a_corrupt_job_is_named(self, connection: Any) -> None:
        registry = FailedJobRegistry("default", connection)
        await connection.zadd(registry.key, {"odd": -1})
        await connection.set("rq:job:odd", "text")
        with pytest.raises(CorruptJobError, match="odd"):
            await registry.get_jobs()

    async def test_contains(self, connection: Redis, queue: Queue, worker: FakeWorker) -> None:
        await fail(queue, worker, "a")
        registry = FailedJobRegistry("default", connection)
        assert await registry.contains("a")
        assert await registry.contains(Job("a"))
        assert not await registry.contains("b")

    async def test_expiration_time(self, connection: Any) -> None:
        registry = FailedJobRegistry("default", connection)
        await fill(registry, connection, a=1_800_000_000, rqs_ever=-1, ours_ever=float("inf"), far=1e17)
        assert await registry.get_expiration_time("a") == datetime(2027, 1, 15, 8, tzinfo=UTC)
        for job_id in ("rqs_ever", "ours_ever", "far"):
            assert await registry.get_expiration_time(Job(job_id)) is None
        deferred = DeferredJobRegistry("default", connection)
        await fill(deferred, connection, a=5)
        assert await deferred.get_expiration_time("a") is None

    async def test_no_look_changes_anything(self, connection: Any) -> None:
        """RQ's run failure callbacks, retry lost jobs and remove what has expired."""
        for kind in REGISTRIES:
            await connection.zadd(kind("default", connection).key, {"gone": 5, "lost:exec": 6})
        await connection.sadd("rq:queues", "rq:queue:default")
        await connection.hset("rq:job:lost", mapping={"status": "started", "origin": "default", "data": "x"})
        before = await everything(connection)
        for kind in REGISTRIES:
            registry = kind("default", connection)
            looks: list[Callable[[], Awaitable[Any]]] = [
                registry.count,
                registry.get_job_count,
                registry.get_job_ids,
                lambda registry=registry: registry.contains("gone"),  # type: ignore[misc]
                lambda registry=registry: registry.get_job_ids(cleanup=False),  # type: ignore[misc]
            ]
            if kind is not CanceledJobRegistry:
                looks.append(registry.get_expired_job_ids)
            for look in looks:
                await look()
        assert await everything(connection) == before


class TestStarted:
    async def test_runs(self, connection: Any, queue: Queue, worker: FakeWorker) -> None:
        await queue.enqueue("jobs.add", 1, job_id="a")
        await queue.enqueue("jobs.add", 1, job_id="ab")
        first, second = await worker.take(2)
        registry = StartedJobRegistry(queue=queue)
        assert await registry.count() == 2
        assert sorted(await registry.get_job_ids()) == ["a", "ab"]
        assert sorted(await registry.get_job_and_execution_ids()) == [("a", first.token), ("ab", second.token)]
        assert sorted(job.id for job in await registry.get_jobs()) == ["a", "ab"]
        assert await registry.contains("a")
        await worker.finish(first)
        assert not await registry.contains("a")
        assert await registry.contains(Job("ab"))
        remaining = await registry.get_expiration_time("ab")
        assert remaining is not None
        assert remaining.timestamp() == pytest.approx(await now(connection) + 15, abs=5)

    async def test_one_of_many_is_found(self, connection: Any) -> None:
        """Also when nothing else on the books names the run any more."""
        registry = StartedJobRegistry("default", connection)
        await connection.zadd(registry.key, {f"job-{number}:exec": number for number in range(12_000)})
        assert await registry.contains("job-11999")
        assert not await registry.contains("job-1199x")
        assert not await registry.contains("job-1199-")

    async def test_entry_of_an_old_rq(self, connection: Any) -> None:
        registry = StartedJobRegistry("default", connection)
        await connection.zadd(registry.key, {"old": float("inf")})
        assert await registry.get_job_ids() == ["old"]
        assert await registry.get_job_and_execution_ids() == [("old", "")]
        assert await registry.contains("old")

    async def test_what_is_not_possible(self, connection: Redis) -> None:
        registry = StartedJobRegistry("default", connection)
        with pytest.raises(NotImplementedError):
            await registry.add("a")
        with pytest.raises(NotImplementedError):
            await registry.remove("a")
        with pytest.raises(InvalidJobOperation, match="cannot be requeued from"):
            await registry.requeue("a")
        with pytest.raises(InvalidJobOperation, match="cannot be requeued from"):
            await registry.requeue_all()

    async def test_cleanup_leaves_lost_runs_to_workers(self, connection: Any) -> None:
        registry = StartedJobRegistry("default", connection)
        await connection.zadd(registry.key, {"lost:exec": 5})
        assert await registry.cleanup() == 0
        assert await connection.zcard(registry.key) == 1


class TestListing:
    @pytest.mark.parametrize(
        ("kind", "ttl", "expected"),
        [(FinishedJobRegistry, -1, float("inf")), (FailedJobRegistry, -1, -1.0), (CanceledJobRegistry, 500, 0)],
    )
    async def test_scores_are_those_of_rq(
        self, connection: Any, kind: type[BaseRegistry], ttl: int, expected: float
    ) -> None:
        registry = kind("default", connection)
        assert await registry.add("a", ttl) == 1
        score = await connection.zscore(registry.key, "a")
        assert score == (expected or pytest.approx(await now(connection), abs=5))

    async def test_add(self, connection: Any) -> None:
        registry = FinishedJobRegistry("default", connection)
        assert await registry.add(Job("a"), 100) == 1
        score = await connection.zscore(registry.key, "a")
        assert score == pytest.approx(await now(connection) + 100, abs=5)
        assert score == int(score)
        assert await registry.add("a", 200) == 0
        assert await connection.zscore(registry.key, "a") > score
        failed = FailedJobRegistry("default", connection)
        await failed.add("a")
        assert await connection.zscore(failed.key, "a") == pytest.approx(await now(connection) + YEAR, abs=5)

    async def test_remove(self, connection: Redis, queue: Queue, worker: FakeWorker) -> None:
        await fail(queue, worker, "a", "b")
        registry = FailedJobRegistry(queue=queue)
        assert await registry.remove("a") == 1
        assert await registry.remove("a") == 0
        assert await Job.exists("a", connection)
        assert await registry.remove(Job("b"), delete_job=True) == 1
        assert not await Job.exists("b", connection)
        assert await registry.count() == 0


class TestRequeueing:
    async def test_one(self, connection: Redis, queue: Queue, worker: FakeWorker) -> None:
        await fail(queue, worker, "a", "b")
        registry = FailedJobRegistry(queue=queue)
        job = await registry.requeue("a")
        assert (job.id, job.status, job.origin) == ("a", JobStatus.QUEUED, "default")
        assert await registry.get_job_ids() == ["b"]
        assert await queue.get_job_ids() == ["a"]
        await registry.requeue(await Job.fetch("b", connection), at_front=True)
        assert await queue.get_job_ids() == ["b", "a"]

    async def test_one_that_is_not_there(self, connection: Redis, queue: Queue, worker: FakeWorker) -> None:
        await fail(queue, worker, "a")
        await queue.enqueue("jobs.add", 1, job_id="queued")
        before = await everything(connection)
        with pytest.raises(InvalidJobOperation):
            await FailedJobRegistry(queue=queue).requeue("queued")
        with pytest.raises(NoSuchJobError):
            await FailedJobRegistry(queue=queue).requeue("gone")
        with pytest.raises(InvalidJobOperation):
            await FinishedJobRegistry(queue=queue).requeue("a")
        with pytest.raises(InvalidJobOperation, match="of queue 'default'"):
            await FailedJobRegistry("other", connection).requeue("a")
        with pytest.raises(InvalidJobOperation, match="not among the deferred jobs"):
            await DeferredJobRegistry(queue=queue).requeue("a")
        assert await everything(connection) == before

    async def test_of_others(self, queue: Queue, worker: FakeWorker) -> None:
        job = await queue.enqueue("jobs.add", 1, job_id="a")
        await worker.do(job)
        await FinishedJobRegistry(queue=queue).requeue("a")
        assert await queue.get_job_ids() == ["a"]
        await job.cancel()
        await CanceledJobRegistry(queue=queue).requeue("a")
        assert await queue.get_job_ids() == ["a"]
        assert await CanceledJobRegistry(queue=queue).count() == 0

    async def test_what_waits_is_not_to_any_more(self, queue: Queue, worker: FakeWorker) -> None:
        parent = await queue.enqueue("jobs.add", 1, job_id="parent")
        await queue.enqueue("jobs.add", 1, job_id="child", depends_on=parent)
        await queue.enqueue_in(timedelta(hours=1), "jobs.add", 1, job_id="later")
        await DeferredJobRegistry(queue=queue).requeue("child")
        await ScheduledJobRegistry(queue=queue).requeue("later", at_front=True)
        assert await queue.get_job_ids() == ["later", "parent", "child"]
        assert await DeferredJobRegistry(queue=queue).count() + await ScheduledJobRegistry(queue=queue).count() == 0
        await queue.remove("later")
        await worker.do(parent)
        assert await queue.get_job_ids() == ["child"]

    @pytest.mark.parametrize("at_front", [False, True])
    async def test_all(self, connection: Any, queue: Queue, worker: FakeWorker, at_front: bool) -> None:
        registry = FailedJobRegistry(queue=queue)
        moment = await now(connection)
        ids = [f"job-{number:03}" for number in range(250)]
        await queue.enqueue_many([Queue.prepare_data("jobs.add", (1,), job_id=job_id) for job_id in ids])
        for run in await worker.take(250):
            await worker.fail(run)
        await connection.zadd(registry.key, {job_id: moment + 1000 + number for number, job_id in enumerate(ids)})
        await connection.delete("rq:job:job-003", "rq:job:job-100")
        await connection.set("rq:job:job-200", "text")
        await queue.enqueue("jobs.add", 1, job_id="other")
        told: list[int] = []
        assert await registry.requeue_all(at_front, told.append) == 247
        assert told == sorted(told)
        assert told[-1] == 247
        assert len(told) == 3
        left = ["job-003", "job-100", "job-200"]
        assert await registry.get_job_ids() == left
        requeued = [job_id for job_id in ids if job_id not in left]
        assert await queue.get_job_ids() == ([*requeued, "other"] if at_front else ["other", *requeued])

    async def test_all_of_none(self, queue: Queue) -> None:
        assert await FailedJobRegistry(queue=queue).requeue_all() == 0

    async def test_those_that_fail_again_at_once_are_not_requeued_for_ever(
        self, queue: Queue, worker: FakeWorker
    ) -> None:
        registry = FailedJobRegistry(queue=queue)
        await fail(queue, worker, *(f"job-{number}" for number in range(5)))
        tasks: list[asyncio.Task[None]] = []

        async def fail_again() -> None:
            for run in await worker.take(5):
                await worker.fail(run)

        requeued = await registry.requeue_all(progress=lambda _: tasks.append(asyncio.create_task(fail_again())))
        assert requeued == 5
        await tasks[0]
        assert len(tasks) == 1
        assert await registry.count() == 5


class TestScheduled:
    async def test_times(self, connection: Any) -> None:
        registry = ScheduledJobRegistry("default", connection)
        noon = datetime(2027, 1, 15, 12, 0, 0, 250_000, tzinfo=UTC)
        assert await registry.schedule("a", noon) == 1
        assert await registry.get_scheduled_time("a") == noon
        later = noon.astimezone(UTC) + timedelta(hours=1)
        assert await registry.schedule(Job("a"), later) == 0
        assert await registry.get_scheduled_time(Job("a")) == later
        with pytest.raises(NoSuchJobError):
            await registry.get_scheduled_time("b")

    async def test_a_time_without_a_zone_is_local(self, connection: Any) -> None:
        registry = ScheduledJobRegistry("default", connection)
        local = datetime(2027, 7, 15, 12)
        await registry.schedule("a", local)
        assert await connection.zscore(registry.key, "a") == local.astimezone().timestamp()

    async def test_what_is_due(self, connection: Any) -> None:
        registry = ScheduledJobRegistry("default", connection)
        moment = await now(connection)
        await fill(registry, connection, a=moment - 3, b=moment - 2, c=moment - 1, d=moment + 60)
        assert await registry.get_jobs_to_schedule() == ["a", "b", "c"]
        assert await registry.get_jobs_to_schedule(chunk_size=2) == ["a", "b"]
        assert await registry.get_jobs_to_schedule(moment - 2.5) == ["a"]
        assert await registry.get_jobs_to_enqueue() == ["a", "b", "c"]
        assert await registry.count() == 4

    async def test_no_expired_ones_among_the_canceled(self, connection: Redis) -> None:
        with pytest.raises(NotImplementedError):
            await CanceledJobRegistry("default", connection).get_expired_job_ids()


class TestCleaning:
    async def test_expired_ids_leave_and_nothing_else(self, connection: Any, queue: Queue, worker: FakeWorker) -> None:
        await fail(queue, worker, "a")
        before = await everything(connection)
        registry = FailedJobRegistry(queue=queue)
        await fill(registry, connection, old=5, older=4)
        assert await registry.cleanup() == 2
        assert await everything(connection) == before

    async def test_all_registries_of_a_queue(self, connection: Any, queue: Queue) -> None:
        for kind in OTHERS:
            await connection.zadd(kind("default", connection).key, {"gone": 5})
        await connection.zadd("rq:failed:other", {"gone": 5})
        await connection.sadd("rq:rl-keys", "api")
        await connection.zadd("rq:rl:api:allowed", {"gone": 5})
        assert await clean_registries(queue) == len(OTHERS) + 1
        assert await connection.keys("*") == [b"rq:failed:other"]


class TestRateLimits:
    async def test_looking(self, connection: Any) -> None:
        await connection.sadd("rq:rl-keys", "b", "a", b"\xff", "un\nfit")
        await connection.hset("rq:rl:a", "concurrency", 3)
        await connection.hset("rq:rl:b", "concurrency", "many")
        await connection.zadd("rq:rl:a:allowed", {"y": 2, "x": 1})
        await connection.zadd("rq:rl:a:rate_limited", {"z": 3})
        before = await everything(connection)
        ours, other = await RateLimitRegistry.all(connection)
        assert (ours.key, other.key) == ("a", "b")
        assert await ours.concurrency() == 3
        assert await other.concurrency() == 0
        assert await ours.get_allowed_job_ids() == ["x", "y"]
        assert await ours.get_allowed_job_ids(1, 1) == ["y"]
        assert await ours.get_allowed_job_count() == 2
        assert await ours.get_rate_limited_job_ids() == ["z"]
        assert await ours.get_rate_limited_job_count() == 1
        assert await other.get_allowed_job_ids() == []
        assert ours == RateLimitRegistry("a", connection) != other
        assert await everything(connection) == before

    async def test_cleanup(self, connection: Any) -> None:
        await connection.sadd("rq:rl-keys", "a")
        await connection.hset("rq:rl:a", "concurrency", 3)
        await connection.zadd("rq:rl:a:allowed", {"gone": 2})
        assert await RateLimitRegistry("a", connection).cleanup() == 1
        assert await connection.keys("*") == []

    def test_bad_keys(self) -> None:
        with pytest.raises(ValueError, match="printable"):
            RateLimitRegistry("")
        with pytest.raises(TypeError):
            RateLimitRegistry(5)  # type: ignore[arg-type]
