"""Workers promote what is due on their queues when it is due: not before, once, and in the order of its time."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import rq
from redis.asyncio import Redis

from aiorq import Job, JobStatus, Queue, RateLimit, Repeat, Retry, Worker
from aiorq.scripts import load
from aiorq.server import EmbeddedServer
from aiorq.worker import SimpleWorker
from tests.api.conftest import until
from tests.execution.processes import LIMIT
from tests.interop.conftest import Command
from tests.schedule.conftest import UNASKED, Clock, date, started
from tests.worker.conftest import Log, Monitor, Started, result_of, working

NAMES = ["one", "two", "three"]


async def asks(monitor: Monitor, connection: Redis, count: int = 1) -> int:
    """How often workers asked what is due, once it was so often."""
    sha = await connection.script_load(load("promote_due").source)
    await monitor.seen(f'"EVALSHA" "{sha}"', count)
    return monitor.count(f'"EVALSHA" "{sha}"')


class TestTime:
    async def test_it_starts_when_it_is_due(self, connection: Redis, start: Started, clock: Clock) -> None:
        """No look finds it: the worker knows."""
        due = [await clock.after(seconds) for seconds in (0.31, 0.47, 0.6)]
        queues = [Queue(name, connection) for name in NAMES]
        jobs = [await queue.enqueue_at(when, "jobs.add", 1) for queue, when in zip(queues, due, strict=True)]
        await start(NAMES, reap_interval=UNASKED)
        for job, when in zip(jobs, due, strict=True):
            assert (await result_of(job)).return_value == 2
            assert await started(job) >= when.timestamp()

    async def test_one_that_is_due_earlier_meanwhile(
        self, queue: Queue, start: Started, monitor: Monitor, clock: Clock
    ) -> None:
        await start(reap_interval=UNASKED)
        await monitor.seen('"BLMOVE"')
        await queue.enqueue_in(timedelta(hours=1), "jobs.add", 1)
        before = await asks(monitor, queue.connection)
        for seconds in (0.5, 0.25, 0.0):
            due = await clock.after(seconds)
            job = await queue.enqueue_at(due, "jobs.add", 1)
            await result_of(job)
            assert await started(job) >= due.timestamp()
        # At each time that it was told, and where it came a moment too early once more.
        assert before + 2 <= await asks(monitor, queue.connection) <= before + 8

    async def test_what_was_said_while_nobody_listened(
        self, queue: Queue, connection: Redis, start: Started, monitor: Monitor
    ) -> None:
        await start(reap_interval=UNASKED)
        for count in (1, 2, 3):
            await monitor.seen('"SUBSCRIBE"', count)
            await connection.client_kill_filter(_type="pubsub")
            job = await queue.enqueue_in(timedelta(seconds=0.2), "jobs.add", 1)
            assert (await result_of(job)).return_value == 2

    async def test_the_server_was_away(self, own_server: tuple[EmbeddedServer, Redis], start: Started) -> None:
        server, connection = own_server
        queue = Queue(connection=connection)
        await start(connection=connection, reap_interval=UNASKED)
        later = await queue.enqueue_in(timedelta(seconds=1.5), "jobs.add", 1)
        job = await queue.enqueue_in(timedelta(seconds=0.2), "jobs.add", 1)
        server.kill()
        server.restart()
        assert (await result_of(job)).return_value == 2
        assert (await result_of(later)).return_value == 2

    async def test_what_rq_schedules(
        self, queue: Queue, rq_queue: rq.Queue, start: Started, monitor: Monitor, clock: Clock
    ) -> None:
        """Nobody tells of it; a worker asks at times."""
        await start(reap_interval=0.2)
        await monitor.seen('"BLMOVE"')
        due = await clock.after(1)
        theirs = rq_queue.enqueue_at(due.replace(tzinfo=None), "jobs.add", 1)
        job = Job[Any](theirs.id, queue.connection)
        assert (await result_of(job)).return_value == 2
        assert await started(job) >= int(due.timestamp())

    async def test_junk_on_the_channel(self, queue: Queue, start: Started, monitor: Monitor, log: Log) -> None:
        connection: Any = queue.connection
        await start(reap_interval=UNASKED)
        await monitor.seen('"SUBSCRIBE"')
        for message in (
            b"junk",
            b"",
            b"-1 default",
            b"nan default",
            b"-inf default",
            b"inf default",
            b"1 \xff",
            b"9 x",
        ):
            await connection.publish("rq:aiorq:due", message)
        assert (await result_of(await queue.enqueue_in(timedelta(seconds=0.2), "jobs.add", 1))).return_value == 2
        assert log.count("cannot") == 0

    async def test_one_job_wakes_each_worker_once(
        self, queue: Queue, new_client: Callable[[], Redis], start: Started, monitor: Monitor
    ) -> None:
        for number in range(3):
            await start(connection=new_client(), reap_interval=UNASKED)
            await monitor.seen('"SUBSCRIBE"', number + 1)
            await monitor.seen('"BLMOVE"', number + 1)
        before = await asks(monitor, queue.connection, 6)  # when they start, and when they begin to listen
        job = await queue.enqueue_in(timedelta(seconds=0.4), "jobs.add", 1)
        await result_of(job)
        assert 1 <= await asks(monitor, queue.connection) - before <= 3 * 3


class TestMany:
    async def test_two_workers_and_a_thousand_jobs(
        self, connection: Redis, new_client: Callable[[], Redis], start: Started, clock: Clock
    ) -> None:
        """All promoted once, in the order of their time. Nothing is taken, so that the order can be seen."""
        queue, other = Queue("many", connection), Queue("other", connection)
        await queue.pause("to see the order")
        for _ in range(2):
            await start([queue, other], connection=new_client(), reap_interval=UNASKED)
        dues = {f"job-{number}": random.Random(number).random() for number in range(1000)}
        later = date(await clock.now() + 3600)
        await asyncio.gather(*(queue.enqueue_at(later, "jobs.nothing", job_id=name) for name in dues))
        # In one step, however slow the machine is.
        begin = await clock.now() + 0.5
        await connection.zadd("rq:scheduled:many", {name: begin + second for name, second in dues.items()})
        last = await other.enqueue_at(date(begin + 1.001), "jobs.nothing")
        await connection.publish("rq:aiorq:due", f"{begin - await clock.now()} many")
        await result_of(last)  # of all queues the earliest are promoted first
        ids = await queue.get_job_ids()
        assert ids == sorted(dues, key=dues.__getitem__)
        assert await queue.scheduled_job_registry.count() == 0
        assert {await job.get_status() for job in await queue.get_jobs()} == {JobStatus.QUEUED}


class TestWays:
    """Whatever puts a job on the schedule, it is started when it is due."""

    async def test_delayed_retry(self, queue: Queue, start: Started, clock: Clock) -> None:
        await start(reap_interval=UNASKED)
        job = await queue.enqueue("jobs.fail", retry=Retry(max=1, interval=1))
        assert (await result_of(job)).type.name == "FAILED"
        first, second = sorted(attempt.ended_at for attempt in await job.attempts() if attempt.ended_at)
        assert second > first + timedelta(seconds=1)
        assert await started(job) >= first.timestamp() + 1

    async def test_repeat(self, queue: Queue, start: Started) -> None:
        await start(reap_interval=UNASKED)
        job = await queue.enqueue("jobs.nothing", repeat=Repeat(times=2, interval=1))

        async def all_ran() -> bool:
            return len(await job.results()) == 3

        await until(all_ran)
        last, middle, first = [result.created_at for result in await job.results()]
        assert middle - first >= timedelta(seconds=1)
        assert last - middle >= timedelta(seconds=1)

    async def test_dependent_with_a_time(self, queue: Queue, start: Started, clock: Clock) -> None:
        await start(reap_interval=UNASKED)
        due = await clock.after(0.5)
        parent = await queue.enqueue_in(timedelta(seconds=0.1), "jobs.add", 1)
        job = await queue.enqueue_at(due, "jobs.add", 2, depends_on=parent)
        assert (await result_of(job)).return_value == 3
        assert await started(job) >= due.timestamp()

    async def test_rate_limits(self, queue: Queue, start: Started) -> None:
        await start(concurrency=5, reap_interval=UNASKED)
        limit = RateLimit("api", 1)
        jobs = [await queue.enqueue_in(timedelta(seconds=0.3), "jobs.sleep", 0.05, rate_limit=limit) for _ in range(4)]
        spans = sorted([((await result_of(job)).execution_started_at, await ended(job)) for job in jobs])
        for (_, end), (begin, _) in itertools.pairwise(spans):
            assert begin >= end

    async def test_canceled_deleted_and_scheduled_anew(self, queue: Queue, start: Started, clock: Clock) -> None:
        await start(reap_interval=UNASKED)
        due = await clock.after(2)
        canceled, deleted, moved = [await queue.enqueue_at(due, "jobs.nothing", job_id=name) for name in "abc"]
        again = await clock.after(2.3)
        moved = await queue.enqueue_at(again, "jobs.nothing", job_id="c")
        await canceled.cancel()
        await deleted.delete()
        await result_of(moved)
        assert await started(moved) >= again.timestamp()
        assert (await canceled.get_status(), await canceled.results()) == (JobStatus.CANCELED, [])
        assert await Job.exists("b", queue.connection) is False
        assert len(await moved.results()) == 1


async def ended(job: Job[Any]) -> Any:
    """When a job ended."""
    await job.refresh()
    return job.ended_at


class TestBurst:
    async def test_what_is_due_is_done(
        self, queue: Queue, connection: Redis, make_worker: Callable[..., Worker]
    ) -> None:
        due, later = [await queue.enqueue_in(timedelta(hours=1), "jobs.add", 1) for _ in range(2)]
        await connection.zadd("rq:scheduled:default", {due.id: 1})
        assert await make_worker(reap_interval=UNASKED).work(burst=True)
        assert (await due.get_status(), await later.get_status()) == (JobStatus.FINISHED, JobStatus.SCHEDULED)

    async def test_what_has_become_due_meanwhile(
        self, queue: Queue, make_worker: Callable[..., Worker], clock: Clock
    ) -> None:
        job = await queue.enqueue("jobs.sleep", 0.5)
        due = await queue.enqueue_in(timedelta(seconds=0.2), "jobs.add", 1)
        await make_worker(reap_interval=UNASKED).work(burst=True)
        assert await due.get_status() is JobStatus.FINISHED
        assert await started(due) >= await started(job)

    async def test_of_a_simple_worker(self, queue: Queue, connection: Redis, jobs_path: str) -> None:
        due = await queue.enqueue_in(timedelta(hours=1), "jobs.add", 1)
        await connection.zadd("rq:scheduled:default", {due.id: 1})
        await SimpleWorker(queue, path=jobs_path).work(burst=True)
        assert await due.get_status() is JobStatus.FINISHED

    async def test_it_holds_no_lock(self, queue: Queue, make_worker: Callable[..., Worker], monitor: Monitor) -> None:
        """A scheduler of RQ's that starts now would look for it again after two minutes only."""
        await queue.enqueue("jobs.add", 1)
        await make_worker().work(burst=True)
        await monitor.seen('"DEL" "rq:worker:')
        assert monitor.count('lua "SET" "rq:scheduler-lock') == 0


class TestLock:
    async def test_while_it_works(
        self, connection: Redis, start: Started, monitor: Monitor, make_worker: Callable[..., Worker]
    ) -> None:
        worker = make_worker(NAMES, name="first")
        queues = [Queue(name, connection) for name in NAMES]
        async with working(worker):
            await monitor.seen('lua "SET" "rq:scheduler-lock:three"')
            assert [await queue.scheduler_pid() for queue in queues] == [os.getpid()] * 3
            assert 0 < await connection.ttl("rq:scheduler:first") <= 61
            await start(["three", "four"], name="second")
            await monitor.seen('lua "SET" "rq:scheduler-lock:four"')
            assert await connection.get("rq:scheduler-lock:three") == b"first"
        assert [await queue.scheduler_pid() for queue in queues] == [None] * 3
        assert await connection.keys("rq:scheduler*:*") != []
        assert not await connection.exists("rq:scheduler:first")

    async def test_each_of_two_workers_promotes(
        self, connection: Redis, start: Started, monitor: Monitor, make_worker: Callable[..., Worker]
    ) -> None:
        """Whoever of them holds it, even if that one is gone without a word."""
        queue = Queue("one", connection)
        await connection.set("rq:scheduler-lock:one", "dead", ex=60)
        await connection.hset("rq:scheduler:dead", mapping={"pid": "1", "aiorq_boot": "x"})
        await start(["one"], reap_interval=UNASKED)
        assert (await result_of(await queue.enqueue_in(timedelta(seconds=0.2), "jobs.add", 1))).return_value == 2
        assert await connection.get("rq:scheduler-lock:one") == b"dead"

    async def test_a_scheduler_of_rq_has_it(self, connection: Redis, start: Started, monitor: Monitor) -> None:
        one, two = Queue("one", connection), Queue("two", connection)
        await connection.set("rq:scheduler-lock:one", "theirs", ex=60)
        await start(["one", "two"], reap_interval=0.1)
        left = await one.enqueue_in(timedelta(seconds=0.1), "jobs.add", 1)
        await result_of(await two.enqueue_in(timedelta(seconds=0.3), "jobs.add", 1))
        assert await left.get_status() is JobStatus.SCHEDULED
        assert await connection.get("rq:scheduler-lock:one") == b"theirs"
        await connection.delete("rq:scheduler-lock:one")
        assert (await result_of(left)).return_value == 2


async def test_queues_that_no_worker_of_ours_serves(connection: Redis, start: Started) -> None:
    """The worker that looks after what nobody looks after promotes there too."""
    queue = Queue("theirs", connection)
    job = await queue.enqueue_in(timedelta(seconds=0.2), "jobs.add", 1)
    await start(["ours"], reap_interval=0.1)
    assert await connection.blmove("rq:queue:theirs", "rq:queue:theirs", int(LIMIT)) == job.id.encode()
    assert await job.get_status() is JobStatus.QUEUED


@pytest.mark.parametrize("option", ["--with-scheduler", "-s"])
async def test_the_command_takes_the_option_of_rqs(url: str, aiorq_command: Command, option: str) -> None:
    printed = await aiorq_command("worker", "--burst", option)
    assert printed.count("with_scheduler is not needed: every worker enqueues what is due") == 1
