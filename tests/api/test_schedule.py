"""`enqueue_at`, `enqueue_in` and `schedule_job`: when a job may run, whatever the clock of this machine says."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from redis.asyncio import Redis

from aiorq import Job, JobStatus, Queue
from aiorq.errors import DuplicateJobError
from aiorq.rate_limit import RateLimit
from aiorq.store import overdue
from aiorq.store.base import store_of
from aiorq.store.overdue import Finding
from tests.api.conftest import FakeWorker

jobs: Any = importlib.import_module("jobs")
LATER = datetime(2100, 1, 1, 12, 30, 15, 250_000, UTC)


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The local time of this process; its clocks change in March and November."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


async def due(connection: Redis, queue: str = "default") -> dict[str, float]:
    """When the scheduled jobs of a queue are due."""
    entries: Any = await connection.zrange(f"rq:scheduled:{queue}", 0, -1, withscores=True)
    return {member.decode(): score for member, score in entries}


async def now(connection: Redis) -> float:
    """The time of the server."""
    seconds, micros = await connection.time()
    return float(seconds) + float(micros) / 1e6


class TestAt:
    async def test_a_moment(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue_at(LATER, jobs.add, 1, right=2)
        assert (job.status, job.enqueued_at, job.args, job.kwargs) == (JobStatus.SCHEDULED, None, (1,), {"right": 2})
        assert await due(connection) == {job.id: LATER.timestamp()}
        assert await queue.get_job_ids() == []
        assert await job.get_status() == "scheduled"
        assert await connection.smembers("rq:queues") == {b"rq:queue:default"}

    @pytest.mark.parametrize(
        "moment", [datetime(1970, 1, 1, tzinfo=UTC), datetime(1, 1, 2, tzinfo=UTC), datetime(2020, 1, 1)]
    )
    async def test_past_means_now(self, queue: Queue, moment: datetime) -> None:
        job = await queue.enqueue_at(moment, "jobs.add", 1)
        assert job.status is JobStatus.QUEUED
        assert await queue.get_job_ids() == [job.id]

    @pytest.mark.parametrize(
        ("moment", "utc"),
        [
            (datetime(2100, 1, 1, 12), datetime(2100, 1, 1, 17, tzinfo=UTC)),
            (datetime(2100, 7, 1, 12), datetime(2100, 7, 1, 16, tzinfo=UTC)),
            (datetime(2037, 3, 8, 1, 59), datetime(2037, 3, 8, 6, 59, tzinfo=UTC)),
            (datetime(2037, 3, 8, 2, 30), datetime(2037, 3, 8, 7, 30, tzinfo=UTC)),  # an hour that is skipped
            (datetime(2037, 3, 8, 3, 0), datetime(2037, 3, 8, 7, 0, tzinfo=UTC)),
            (datetime(2037, 11, 1, 1, 30), datetime(2037, 11, 1, 5, 30, tzinfo=UTC)),  # one that comes twice
            (datetime(2037, 11, 1, 1, 30, fold=1), datetime(2037, 11, 1, 6, 30, tzinfo=UTC)),
        ],
    )
    async def test_without_a_timezone_it_is_local_time(
        self, queue: Queue, connection: Redis, new_york: None, moment: datetime, utc: datetime
    ) -> None:
        job = await queue.enqueue_at(moment, "jobs.add", 1)
        assert await due(connection) == {job.id: utc.timestamp()}

    async def test_of_another_timezone(self, queue: Queue, connection: Redis, new_york: None) -> None:
        moment = LATER.astimezone(timezone(timedelta(hours=5, minutes=45)))
        job = await queue.enqueue_at(moment, "jobs.add", 1)
        assert await due(connection) == {job.id: LATER.timestamp()}

    @pytest.mark.parametrize(
        "moment", [datetime(9999, 12, 31, 23, 59, 59), datetime.max, datetime(2200, 1, 2, tzinfo=UTC)]
    )
    async def test_too_far_away(self, queue: Queue, connection: Redis, moment: datetime) -> None:
        with pytest.raises(ValueError, match="out of range"):
            await queue.enqueue_at(moment, "jobs.add", 1)
        assert await connection.keys("*") == []

    @pytest.mark.parametrize("moment", [5, "2100-01-01", LATER.date(), True])
    async def test_that_is_none(self, queue: Queue, connection: Redis, moment: Any) -> None:
        with pytest.raises(TypeError, match="expected a datetime"):
            await queue.enqueue_at(moment, "jobs.add", 1)
        assert await connection.keys("*") == []


class TestIn:
    async def test_from_now_by_the_clock_of_the_server(
        self, queue: Queue, connection: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(time, "time", lambda: 0.0)
        before = await now(connection)
        job = await queue.enqueue_in(timedelta(minutes=5, milliseconds=250), jobs.add, 1)
        assert job.status is JobStatus.SCHEDULED
        assert before + 300.25 <= (await due(connection))[job.id] <= await now(connection) + 300.25

    @pytest.mark.parametrize("delta", [timedelta(0), timedelta(seconds=-60), timedelta.min])
    async def test_no_time_or_less_means_now(self, queue: Queue, delta: timedelta) -> None:
        job = await queue.enqueue_in(delta, "jobs.add", 1)
        assert job.status is JobStatus.QUEUED

    async def test_too_far_away(self, queue: Queue, connection: Redis) -> None:
        for delta in (timedelta.max, timedelta(days=36_501)):
            with pytest.raises(ValueError, match="more than a hundred years"):
                await queue.enqueue_in(delta, "jobs.add", 1)
        assert await connection.keys("*") == []

    @pytest.mark.parametrize("delta", [5, "5m"])
    async def test_that_is_none(self, queue: Queue, connection: Redis, delta: Any) -> None:
        with pytest.raises(TypeError, match="expected a datetime or a timedelta"):
            await queue.enqueue_in(delta, "jobs.add", 1)
        assert await connection.keys("*") == []


class TestOptions:
    async def test_all_are_taken(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue_at(LATER, "jobs.echo", 1, job_id="a", ttl=100, meta={"k": 1}, job_timeout="1m", x=2)
        assert (job.id, job.ttl, job.meta, job.timeout, job.kwargs) == ("a", 100, {"k": 1}, 60, {"x": 2})
        assert 0 < await connection.ttl("rq:job:a") <= 100

    async def test_at_the_front_when_it_is_due(self, queue: Queue, connection: Redis) -> None:
        first = await queue.enqueue("jobs.add", 1)
        job = await queue.enqueue_in(timedelta(hours=1), "jobs.add", 1, at_front=True)
        await connection.zadd("rq:scheduled:default", {job.id: 1})
        assert await overdue.promote(store_of(connection), Finding("due", "default", job.id)) == "queued"
        assert await queue.get_job_ids() == [job.id, first.id]

    async def test_depends_on_comes_first(self, queue: Queue, connection: Redis, worker: FakeWorker) -> None:
        """RQ ignores it."""
        parent = await Queue("parents", connection).enqueue("jobs.add", 1)
        job = await queue.enqueue_at(LATER, "jobs.add", 1, depends_on=parent)
        assert job.status is JobStatus.DEFERRED
        await worker.do(parent)
        assert await due(connection) == {job.id: LATER.timestamp()}

    async def test_rate_limit_comes_when_it_is_due(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue_at(LATER, "jobs.add", 1, rate_limit=RateLimit("api", 1))
        assert job.status is JobStatus.SCHEDULED
        assert await connection.keys("rq:rl*") == []

    async def test_unique(self, queue: Queue) -> None:
        await queue.enqueue_at(LATER, "jobs.add", 1, job_id="a", unique=True)
        with pytest.raises(DuplicateJobError):
            await queue.enqueue_in(timedelta(1), "jobs.add", 1, job_id="a", unique=True)

    async def test_enqueuer(self, queue: Queue, connection: Redis) -> None:
        options = queue.options(job_timeout=7)
        one = await options.enqueue_at(LATER, jobs.add, 1)
        two = await options.enqueue_in(timedelta(hours=1), jobs.add, 1)
        assert (one.timeout, two.timeout) == (7, 7)
        assert (await due(connection)).keys() == {one.id, two.id}

    async def test_in_a_pipeline(self, queue: Queue, connection: Redis) -> None:
        async with connection.pipeline() as pipeline:
            job = await queue.enqueue_at(LATER, "jobs.add", 1, pipeline=pipeline)
            assert (job.status, await due(connection)) == (JobStatus.SCHEDULED, {})
            await pipeline.execute()
        assert await due(connection) == {job.id: LATER.timestamp()}

    async def test_a_job_that_was_made_before(self, queue: Queue, connection: Redis) -> None:
        job = Job.create("jobs.add", (1,), connection=connection)
        assert await queue.schedule_job(job, LATER) is job
        assert (job.status, job.origin, job.timeout) == (JobStatus.SCHEDULED, "default", None)
        assert await due(connection) == {job.id: LATER.timestamp()}
        with pytest.raises(DuplicateJobError):
            await queue.schedule_job(job, LATER, unique=True)

    @pytest.mark.parametrize(("own", "default", "taken"), [(None, None, 180), (None, 400, 400), (90, 400, 90)])
    @pytest.mark.parametrize("when", [LATER, datetime(2020, 1, 1)])
    async def test_timeout_of_a_job_that_was_made_before(
        self, connection: Redis, when: datetime, own: int | None, default: int | None, taken: int
    ) -> None:
        """Without one of its own it has none until it is due, as in RQ, and then that of the queue it was put on."""
        job = Job.create("jobs.add", (1,), connection=connection, timeout=own)
        await Queue(connection=connection, default_timeout=default).schedule_job(job, when)
        if when is LATER:
            await job.refresh()
            assert (job.status, job.timeout) == (JobStatus.SCHEDULED, own)
            await connection.zadd("rq:scheduled:default", {job.id: 1})
            assert await overdue.promote(store_of(connection), Finding("due", "default", job.id)) == "queued"
        await job.refresh()
        assert (job.status, job.timeout) == (JobStatus.QUEUED, taken)

    async def test_the_same_id_again(self, queue: Queue, connection: Redis) -> None:
        await queue.enqueue_at(LATER, "jobs.add", 1, job_id="a")
        await queue.enqueue("jobs.add", 2, job_id="a")
        assert (await due(connection), await queue.get_job_ids()) == ({}, ["a"])
        await queue.enqueue_at(LATER, "jobs.add", 3, job_id="a")
        assert (await due(connection), await queue.get_job_ids()) == ({"a": LATER.timestamp()}, [])

    async def test_canceled(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue_at(LATER, "jobs.add", 1)
        await job.cancel()
        assert await due(connection) == {}
