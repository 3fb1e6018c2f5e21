"""`Queue` beyond `enqueue`: what waits in it, and what it is."""

from __future__ import annotations

import os
from typing import Any

import pytest
import redis
import rq
import rq.scheduler
from redis.asyncio import Redis

from aiorq import Job, Queue
from aiorq.errors import CorruptJobError, NoSuchJobError
from aiorq.queue import EnqueueData
from tests.api.conftest import FakeWorker


async def fill(queue: Queue, count: int) -> list[str]:
    await queue.enqueue_many([Queue.prepare_data("jobs.add", (n,), job_id=f"job-{n}") for n in range(count)])
    return [f"job-{number}" for number in range(count)]


class TestMaking:
    def test_defaults_are_those_of_rq(self) -> None:
        queue = Queue()
        assert (queue.name, queue.key, queue.default_timeout) == ("default", "rq:queue:default", 180)
        assert Queue.DEFAULT_TIMEOUT == rq.Queue.DEFAULT_TIMEOUT
        assert (str(queue), repr(queue)) == ("<Queue default>", "Queue('default')")
        assert bool(queue) is True

    def test_asks_for_no_event_loop(self) -> None:
        assert Queue("x", connection="redis://nowhere:1/0", prefix="{app}").key == "{app}:queue:x"
        assert Queue.from_queue_key("rq:queue:a:b").name == "a:b"

    @pytest.mark.parametrize("name", ["", "a,b", "a\n", "\x1b[31m", "\ud800", "x" * 10_240])
    def test_bad_names(self, name: str) -> None:
        with pytest.raises(ValueError, match="queue name"):
            Queue(name)

    @pytest.mark.parametrize("name", [b"default", None, 5])
    def test_names_that_are_no_text(self, name: Any) -> None:
        with pytest.raises(TypeError):
            Queue(name)

    @pytest.mark.parametrize("timeout", [0, -7, "1x", True, float("nan"), 10**12])
    def test_bad_timeouts(self, timeout: Any) -> None:
        with pytest.raises(ValueError, match="job_timeout"):
            Queue(default_timeout=timeout)

    def test_timeouts(self) -> None:
        assert Queue(default_timeout="1h").default_timeout == 3600
        assert Queue(default_timeout=-1).default_timeout == -1

    def test_bad_serializers_and_prefixes(self) -> None:
        with pytest.raises(ValueError, match="no serializer"):
            Queue(serializer="nope")
        with pytest.raises(NotImplementedError):
            Queue(serializer=5)
        with pytest.raises(ValueError, match="bad key prefix"):
            Queue(prefix="a b")

    async def test_connections_that_are_none(self) -> None:
        import redis

        for connection in (redis.Redis(), 5, object()):
            with pytest.raises(TypeError, match=r"must be a redis\.asyncio\.Redis, a URL or None"):
                await Queue(connection=connection).count()  # type: ignore[arg-type]

    def test_from_a_key_that_is_none(self) -> None:
        with pytest.raises(ValueError, match="not the key of a queue"):
            Queue.from_queue_key("rq:job:x")
        with pytest.raises(ValueError, match="not the key of a queue"):
            Queue.from_queue_key("rq:queue:x", prefix="other")


class TestComparing:
    def test_by_name(self) -> None:
        assert Queue("a") == Queue("a")
        assert Queue("a") != Queue("b")
        assert Queue("a") < Queue("b") <= Queue("b")
        assert Queue("b") > Queue("a")
        assert len({Queue("a"), Queue("a"), Queue("b")}) == 2
        assert sorted([Queue("b"), Queue("a")]) == [Queue("a"), Queue("b")]

    def test_with_something_else(self) -> None:
        with pytest.raises(TypeError, match="cannot compare queues"):
            assert Queue("a") == "a"
        with pytest.raises(TypeError, match="cannot compare queues"):
            assert Queue("a") < 5


class TestLooking:
    async def test_empty(self, queue: Queue) -> None:
        assert await queue.count() == 0
        assert await queue.is_empty()
        assert await queue.get_job_ids() == []
        assert await queue.get_jobs() == []

    async def test_some(self, queue: Queue) -> None:
        ids = await fill(queue, 3)
        assert await queue.count() == 3
        assert not await queue.is_empty()
        assert await queue.get_job_ids() == ids
        assert [job.id for job in await queue.get_jobs()] == ids

    @pytest.mark.parametrize(
        ("offset", "length"),
        [(0, -1), (0, 0), (0, 1), (0, 4), (3, 4), (3, -1), (9, 1), (9, 5), (10, 1), (50, -1), (50, 5), (0, 500)],
    )
    async def test_pages_are_those_of_rq(self, queue: Queue, url: str, offset: int, length: int) -> None:
        import redis

        ids = await fill(queue, 10)
        ours = await queue.get_job_ids(offset, length)
        assert ours == ([] if length == 0 else ids[offset:][: None if length < 0 else length])
        assert [job.id for job in await queue.get_jobs(offset, length)] == ours
        with redis.Redis.from_url(url) as client:
            assert rq.Queue(connection=client).get_job_ids(offset, length) == ours

    async def test_jobs_that_are_gone_are_left_out(self, queue: Queue, connection: Redis) -> None:
        await fill(queue, 3)
        await connection.delete("rq:job:job-1")
        assert await queue.count() == 3
        assert [job.id for job in await queue.get_jobs()] == ["job-0", "job-2"]

    async def test_what_is_no_id_is_left_out(self, queue: Queue, connection: Redis) -> None:
        await fill(queue, 1)
        for junk in (b"\xff\xfe", b"a b", b"", b"x:y", b"x" * 300):
            await connection.rpush(queue.key, junk)
            await connection.hset(b"rq:job:" + junk, "data", "x")
        assert await queue.count() == 6
        assert len(await queue.get_job_ids()) == 6
        assert [job.id for job in await queue.get_jobs()] == ["job-0"]

    async def test_a_corrupt_job_is_named(self, queue: Queue, connection: Redis) -> None:
        await fill(queue, 3)
        await connection.delete("rq:job:job-1")
        await connection.set("rq:job:job-1", "text")
        with pytest.raises(CorruptJobError) as caught:
            await queue.get_jobs()
        assert caught.value.job_id == "job-1"

    async def test_position(self, queue: Queue) -> None:
        await fill(queue, 3)
        assert await queue.get_job_position("job-0") == 0
        assert await queue.get_job_position(Job("job-2")) == 2
        assert await queue.get_job_position("missing") is None

    async def test_fetch_job(self, queue: Queue, connection: Redis) -> None:
        await fill(queue, 2)
        job = await queue.fetch_job("job-1")
        assert job is not None
        assert (job.id, job.args, job.origin) == ("job-1", (1,), "default")
        assert await Queue("other", connection).fetch_job("job-1") is None
        with pytest.raises(ValueError, match="bad job id"):
            await queue.fetch_job("a b")

    async def test_fetching_a_job_that_is_gone_takes_its_id_out(self, queue: Queue, connection: Redis) -> None:
        await fill(queue, 3)
        await connection.delete("rq:job:job-1")
        assert await queue.fetch_job("job-1") is None
        assert await queue.get_job_ids() == ["job-0", "job-2"]


class TestTakingOut:
    async def test_remove(self, queue: Queue, connection: Redis) -> None:
        await fill(queue, 2)
        await connection.rpush(queue.key, "job-0")
        assert await queue.remove("job-0") == 1
        assert await queue.get_job_ids() == ["job-1", "job-0"]
        assert await queue.remove(Job("job-0")) == 1
        assert await queue.remove("job-0") == 0
        assert await Job.exists("job-0", connection)

    async def test_empty(self, queue: Queue, connection: Redis) -> None:
        await fill(queue, 3)
        other = await Queue("other", connection).enqueue("jobs.add", 1)
        assert await queue.empty() == 3
        assert await queue.is_empty()
        assert not await Job.exists("job-0", connection)
        assert await Job.exists(other.id, connection)
        assert await queue.empty() == 0

    async def test_empty_tells_how_far_it_has_come(self, queue: Queue) -> None:
        await queue.enqueue_many([Queue.prepare_data("jobs.add", (1,)) for _ in range(1200)])
        steps: list[int] = []
        assert await queue.empty(progress=steps.append) == 1200
        assert steps == [500, 500, 200]

    async def test_delete(self, queue: Queue, connection: Redis) -> None:
        await fill(queue, 3)
        await queue.delete()
        assert await connection.keys("*") == []

    async def test_delete_without_the_jobs(self, queue: Queue, connection: Redis) -> None:
        await fill(queue, 2)
        await queue.delete(delete_jobs=False)
        assert sorted(await connection.keys("*")) == [b"rq:job:job-0", b"rq:job:job-1"]

    async def test_a_job_that_runs_is_not_emptied(self, queue: Queue, connection: Redis, worker: FakeWorker) -> None:
        await fill(queue, 2)
        (run,) = await worker.take()
        assert await queue.empty() == 1
        await worker.finish(run)
        assert await Job.exists("job-0", connection)


class TestCompact:
    async def test_ids_whose_job_is_gone(self, queue: Queue, connection: Redis) -> None:
        await queue.enqueue_many([Queue.prepare_data("jobs.add", job_id=f"job-{n}") for n in range(1200)])
        gone = [f"job-{n}" for n in range(0, 1200, 3)]
        await connection.delete(*(f"rq:job:{job_id}" for job_id in gone))
        await connection.rpush("rq:queue:default", "job-0", "ghost", "ghost")
        assert await queue.compact() == 403
        assert await queue.get_job_ids() == [f"job-{n}" for n in range(1200) if n % 3]
        assert await queue.compact() == 0

    async def test_nothing(self, queue: Queue, connection: Redis) -> None:
        assert await queue.compact() == 0
        assert await connection.keys("*") == []


class TestSchedulerPid:
    async def test_of_rqs_scheduler(self, queue: Queue, connection: Redis, url: str) -> None:
        assert await queue.scheduler_pid() is None
        with redis.Redis.from_url(url) as client:
            scheduler: Any = rq.scheduler.RQScheduler([rq.Queue(connection=client)], client)
            scheduler.acquire_locks()
            scheduler.register_birth()
            assert await queue.scheduler_pid() == os.getpid() == rq.Queue(connection=client).scheduler_pid
            scheduler.release_locks()
        assert await queue.scheduler_pid() is None

    @pytest.mark.parametrize("pid", ["abc", "", "-5", "1.5"])
    async def test_that_is_none(self, queue: Queue, connection: Redis, pid: str) -> None:
        await connection.set("rq:scheduler-lock:default", "x")
        await connection.hset("rq:scheduler:x", "pid", pid)
        assert await queue.scheduler_pid() is None


class TestAll:
    async def test_every_queue_ever_used(self, connection: Redis) -> None:
        for name in ("b", "a:1", "c"):
            await Queue(name, connection).enqueue("jobs.add", 1)
        await Queue("c", connection).empty()
        found = await Queue.all(connection)
        assert [queue.name for queue in found] == ["a:1", "b", "c"]
        assert await found[1].count() == 1

    async def test_of_a_prefix(self, connection: Redis) -> None:
        await Queue("ours", connection, prefix="{app}").enqueue("jobs.add", 1)
        await Queue("theirs", connection).enqueue("jobs.add", 1)
        (queue,) = await Queue.all(connection, prefix="{app}")
        assert (queue.name, queue.key) == ("ours", "{app}:queue:ours")
        assert await queue.count() == 1

    async def test_what_is_no_queue_is_left_out(self, connection: Redis) -> None:
        await Queue("good", connection).enqueue("jobs.add", 1)
        for junk in (b"\xff", b"good", b"rq:queue:", b"rq:queue:a,b", b"rq:queue:\xff", b"rq:queue:" + b"x" * 101):
            await connection.sadd("rq:queues", junk)
        assert await Queue.all(connection) == [Queue("good")]

    async def test_is_seen_by_rq(self, queue: Queue, url: str) -> None:
        import redis

        await fill(queue, 1)
        with redis.Redis.from_url(url) as client:
            (theirs,) = rq.Queue.all(client)
            assert (theirs.name, theirs.job_ids) == ("default", ["job-0"])


async def test_prefixes_are_apart(connection: Redis, queue: Queue) -> None:
    ours = Queue(connection=connection, prefix="{app}")
    job = await ours.enqueue("jobs.add", 1)
    assert await queue.count() == 0
    assert job.key == f"{{app}}:job:{job.id}"
    assert sorted(await connection.keys("*")) == sorted(
        [b"{app}:queues", b"{app}:queue:default", f"{{app}}:job:{job.id}".encode()]
    )
    with pytest.raises(NoSuchJobError):
        await Job.fetch(job.id, connection)
    assert (await Job.fetch(job.id, connection, prefix="{app}")).id == job.id


async def test_own_job_class(connection: Redis) -> None:
    class Own(Job[Any]):
        pass

    queue = Queue(connection=connection, job_class=Own)
    job = await queue.enqueue("jobs.add", 1)
    assert type(job) is Own
    assert type(await queue.fetch_job(job.id)) is Own
    assert [type(job) for job in await queue.get_jobs()] == [Own]


async def test_serializer(connection: Redis) -> None:
    queue = Queue(connection=connection, serializer="json")
    job = await queue.enqueue("jobs.add", 1, right=2, meta={"a": [1]})
    same = await queue.fetch_job(job.id)
    assert same is not None
    assert (same.func_name, same.args, same.kwargs, same.meta) == ("jobs.add", (1,), {"right": 2}, {"a": [1]})
    assert (await Job.fetch(job.id, connection)).meta == {"unserialized": b'{"a": [1]}'}


def test_prepared_data_is_checked_at_once() -> None:
    data = Queue.prepare_data("jobs.add", (1,), {"right": 2}, timeout="1m", job_id="a", at_front=True)
    assert isinstance(data, EnqueueData)
    assert (data.args, data.kwargs, data.options.job_timeout) == ((1,), {"right": 2}, 60)
    with pytest.raises(ValueError, match="job_timeout"):
        Queue.prepare_data("jobs.add", timeout=0)
