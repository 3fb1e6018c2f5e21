"""Groups: jobs that are enqueued and asked for together."""

from __future__ import annotations

from typing import Any

import pytest
import redis
import rq.group
from redis.asyncio import Redis

from aiorq import JobStatus, Queue
from aiorq.errors import CorruptJobError, NoSuchGroupError
from aiorq.group import Group
from tests.api.conftest import FakeWorker


@pytest.fixture
async def group(connection: Redis, queue: Queue) -> Group:
    """A group of three jobs: a, b, c."""
    group = Group.create(connection, "mail")
    await group.enqueue_many(queue, [Queue.prepare_data("jobs.add", (1,), job_id=job_id) for job_id in "abc"])
    return group


async def everything(connection: Any) -> dict[bytes, bytes]:
    """All that is in Redis."""
    return {key: await connection.dump(key) for key in await connection.keys("*")}


class TestNames:
    def test_random_ones_differ(self) -> None:
        assert Group.create().name != Group.create().name

    def test_given_ones(self) -> None:
        group = Group(name="mail", prefix="{app}")
        assert (group.name, group.key, repr(group)) == ("mail", "{app}:group:mail", "Group('mail')")
        assert group == Group.create(name="mail", prefix="{app}")
        assert group != Group.create(name="mail")
        assert len({group, Group.create(name="mail", prefix="{app}")}) == 1

    @pytest.mark.parametrize("name", ["", "x" * 256, "a\nb", "a\ud800"])
    def test_bad_ones(self, name: str) -> None:
        with pytest.raises(ValueError, match="bad name of a group"):
            Group.create(name=name)

    def test_no_text(self) -> None:
        with pytest.raises(TypeError, match="must be text"):
            Group.create(name=5)  # type: ignore[arg-type]


class TestEnqueueing:
    async def test_jobs_belong_to_the_group(self, connection: Any, queue: Queue, group: Group) -> None:
        assert await queue.get_job_ids() == ["a", "b", "c"]
        assert [job.group_id for job in await queue.get_jobs()] == ["mail"] * 3
        assert await connection.smembers("rq:group:mail") == {b"a", b"b", b"c"}
        assert await connection.smembers("rq:groups") == {b"mail"}

    async def test_is_seen_by_rq(self, group: Group, url: str) -> None:
        with redis.Redis.from_url(url) as client:
            (theirs,) = rq.group.Group.all(client)
            assert theirs.name == "mail"
            assert sorted(job.id for job in theirs.get_jobs()) == ["a", "b", "c"]

    async def test_of_rq_is_seen(self, connection: Redis, url: str) -> None:
        with redis.Redis.from_url(url) as client:
            theirs = rq.group.Group.create(client, "theirs")
            data = [rq.Queue.prepare_data("jobs.add", (number,), job_id=f"job-{number}") for number in range(3)]
            theirs.enqueue_many(rq.Queue(connection=client), data)
        group = await Group.fetch("theirs", connection)
        assert sorted(job.id for job in await group.get_jobs()) == ["job-0", "job-1", "job-2"]
        assert await group.counts() == {JobStatus.QUEUED: 3}

    async def test_more_into_the_same_group(self, connection: Redis, queue: Queue, group: Group) -> None:
        told: list[int] = []
        data = [Queue.prepare_data("jobs.add", (1,)) for _ in range(250)]
        jobs = await group.enqueue_many(Queue("other", connection), data, progress=told.append)
        assert len(jobs) == 250
        assert told == [100, 200, 250]
        assert await group.count() == 253


class TestLooking:
    async def test_ids_and_jobs(self, connection: Redis, group: Group) -> None:
        assert sorted(await group.get_job_ids()) == ["a", "b", "c"]
        assert sorted(job.id for job in await group.get_jobs()) == ["a", "b", "c"]
        assert await group.count() == 3

    async def test_many_ids(self, connection: Any, queue: Queue) -> None:
        await connection.sadd("rq:group:many", *(f"job-{number}" for number in range(7_000)))
        ids = await Group(connection, "many").get_job_ids()
        assert len(ids) == len(set(ids)) == 7_000

    async def test_jobs_that_are_gone(self, connection: Any, group: Group) -> None:
        await connection.delete("rq:job:a")
        await connection.sadd("rq:group:mail", "no id", b"\xff")
        before = await everything(connection)
        assert sorted(job.id for job in await group.get_jobs()) == ["b", "c"]
        assert await group.counts() == {JobStatus.QUEUED: 2}
        assert await everything(connection) == before

    async def test_counts(self, connection: Any, queue: Queue, group: Group, worker: FakeWorker) -> None:
        first, second, _ = await worker.take(3)
        await worker.finish(first)
        await worker.fail(second)
        await connection.hset("rq:job:odd", "status", "banana")
        await connection.set("rq:job:text", "text")
        await connection.sadd("rq:group:mail", "odd", "text", "gone")
        assert await group.counts() == {JobStatus.STARTED: 1, JobStatus.FINISHED: 1, JobStatus.FAILED: 1}

    async def test_counts_of_many(self, connection: Redis, queue: Queue) -> None:
        group = Group.create(connection)
        await group.enqueue_many(queue, [Queue.prepare_data("jobs.add", (1,)) for _ in range(5_000)])
        assert await group.counts() == {JobStatus.QUEUED: 5_000}

    async def test_a_corrupt_job_is_named(self, connection: Any, group: Group) -> None:
        await connection.delete("rq:job:a")
        await connection.set("rq:job:a", "text")
        with pytest.raises(CorruptJobError, match="'a'"):
            await group.get_jobs()

    async def test_serializer(self, connection: Redis) -> None:
        group = Group.create(connection)
        await group.enqueue_many(Queue("q", connection, serializer="json"), [Queue.prepare_data("jobs.add", (1,))])
        (job,) = await group.get_jobs(serializer="json")
        assert job.args == (1,)


class TestFetching:
    async def test_one(self, connection: Redis, group: Group) -> None:
        assert await Group.fetch("mail", connection) == group

    async def test_one_that_does_not_exist(self, connection: Redis) -> None:
        with pytest.raises(NoSuchGroupError, match="'nope'"):
            await Group.fetch("nope", connection)

    async def test_all(self, connection: Any, queue: Queue, group: Group) -> None:
        await Group.create(connection, "a").enqueue_many(queue, [Queue.prepare_data("jobs.add", (1,))])
        await connection.sadd("rq:groups", "gone", b"\xff", "un\nfit")
        before = await everything(connection)
        assert [found.name for found in await Group.all(connection)] == ["a", "mail"]
        assert await Group.all(connection, prefix="{app}") == []
        assert await everything(connection) == before

    async def test_one_whose_jobs_are_deleted_is_gone(self, connection: Redis, group: Group) -> None:
        for job in await group.get_jobs():
            await job.delete()
        with pytest.raises(NoSuchGroupError):
            await Group.fetch("mail", connection)
        assert await Group.all(connection) == []


class TestTakingOut:
    async def test_a_job(self, connection: Any, group: Group) -> None:
        assert await group.delete_job("a") == 1
        assert await group.delete_job("a") == 0
        assert sorted(await group.get_job_ids()) == ["b", "c"]
        assert await connection.exists("rq:job:a")

    async def test_cleanup(self, connection: Any, group: Group) -> None:
        await connection.delete("rq:job:a")
        assert await group.cleanup() == 1
        assert sorted(await group.get_job_ids()) == ["b", "c"]

    async def test_cleanup_of_all(self, connection: Any, group: Group) -> None:
        await connection.sadd("rq:groups", "old", "empty")
        await connection.sadd("rq:group:old", "gone")
        assert await Group.clean_registries(connection) == 1
        assert await connection.smembers("rq:groups") == {b"mail"}
        assert not await connection.exists("rq:group:old")
