"""Whatever a job does: it can be stopped, in time, and nothing of it is left."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest
import redis
import rq.command
from redis.asyncio import Redis

from aiorq import Dependency, Job, JobStatus, Queue, RateLimit, Retry
from aiorq.command import send_command, send_kill_horse_command, send_shutdown_command, send_stop_job_command
from aiorq.errors import InvalidJobOperation
from tests.execution.processes import LIMIT, Fifo, Process
from tests.promise.conftest import Command, Launch, begun, outcome_of

GRACE = 0.5
IN_TIME = 5 * (GRACE + 1) - GRACE
"""Seconds beyond the grace that a busy machine is given; they are below one when it is quiet."""


async def assert_stopped(job: Job[Any]) -> None:
    """It is stopped, once, and will not run again."""
    result = await outcome_of(job)
    assert result.type is result.Type.STOPPED
    assert len(await job.results()) == 1
    assert await job.get_status() == JobStatus.STOPPED
    connection: Any = job.connection
    assert await connection.zrange("rq:failed:default", 0, -1) == [job.id.encode()]
    for pattern in ("rq:wip:*", "rq:execution*", "rq:queue:*", "rq:scheduled:*", "rq:aiorq:stops:*"):
        assert await connection.keys(pattern) == []


@pytest.mark.parametrize(
    ("function", "processes"),
    [
        ("stopping.spin", 1),
        ("stopping.ignore", 1),
        ("stopping.hold", 1),
        ("stopping.leave_daemons", 3),
        ("stopping.leave_daemons_async", 3),
        ("stopping.swallow", 1),
        ("stopping.block", 1),
    ],
)
async def test_what_does_not_listen(queue: Queue, launch: Launch, told: Fifo, function: str, processes: int) -> None:
    worker = await launch("worker")
    job = await queue.enqueue(function, told.path)
    started = await told.pids(processes)
    assert await job.stop(GRACE, timeout=IN_TIME) == JobStatus.STOPPED
    for process in started:
        assert await process.ended()
    await assert_stopped(job)
    result = await outcome_of(await queue.enqueue("jobs.add", 1))
    assert (result.return_value, result.worker_name) == (2, worker.name)


async def test_a_job_with_retries_is_not_tried_again(
    queue: Queue, client: redis.Redis, launch: Launch, told: Fifo
) -> None:
    await launch("worker")
    theirs = rq.Queue(connection=client).enqueue("stopping.ignore", told.path, retry=rq.Retry(max=3))
    await told.pids()
    job: Job[Any] = await Job.fetch(theirs.id, queue.connection)
    assert await job.stop(GRACE, timeout=IN_TIME) == JobStatus.STOPPED
    await assert_stopped(job)
    await job.refresh()
    assert job.retries_left == 3
    assert theirs.get_status() == rq.job.JobStatus.STOPPED


async def test_a_coroutine_cleans_up_within_its_grace(queue: Queue, launch: Launch, told: Fifo, gate: Fifo) -> None:
    await launch("worker")
    job = await queue.enqueue("stopping.clean_up", told.path, gate.path)
    [horse] = await told.pids()
    stopping = asyncio.create_task(job.stop(grace=60))
    assert await told.line() == "cancelled"
    assert horse.alive
    gate.let()
    assert await stopping == JobStatus.STOPPED
    assert await told.line() == "cleaned up"
    await assert_stopped(job)


async def test_one_of_many(queue: Queue, launch: Launch, told: Fifo, gate: Fifo) -> None:
    await launch("worker", "--concurrency", "3")
    stopped = await queue.enqueue("stopping.ignore", told.path)
    [horse] = await told.pids()
    others = [await queue.enqueue("waiting.meet", told.path, gate.path) for _ in range(2)]
    await told.pids(2)
    assert await stopped.stop(GRACE, timeout=IN_TIME) == JobStatus.STOPPED
    assert await horse.ended()
    gate.let(2)
    for other in others:
        assert (await outcome_of(other)).type.name == "SUCCESSFUL"


async def test_a_job_that_waits_cannot_be_stopped(queue: Queue) -> None:
    job = await queue.enqueue("jobs.add", 1)
    with pytest.raises(InvalidJobOperation, match="cannot be stopped: it does not run, the job is queued"):
        await job.stop()
    assert await queue.get_job_ids() == [job.id]


async def test_a_job_that_was_lost_is_asked_in_vain(queue: Queue, launch: Launch, told: Fifo) -> None:
    """Whoever waits for its end hears of it from who finds it."""
    lost = await launch("the-lost-one")
    job = await queue.enqueue("waiting.hang", told.path)
    await told.pids()
    await begun(job)
    lost.process.kill()
    stopping = asyncio.create_task(job.stop())
    await launch("other")
    assert await stopping == JobStatus.FAILED


async def test_what_waits_for_it_goes_on_waiting(queue: Queue, launch: Launch, told: Fifo) -> None:
    """Whatever it makes of failures, and until a job of its id succeeds; the job that waits for its slot gets that."""
    await launch("worker", "--concurrency", "2")
    job = await queue.enqueue("waiting.hang", told.path, rate_limit=RateLimit("api", 1), retry=Retry(3))
    await told.pids()
    waiting = [
        await queue.enqueue("jobs.add", 1, depends_on=Dependency(job, allow_failure=lenient))
        for lenient in (False, True)
    ]
    limited = await queue.enqueue("jobs.add", 1, rate_limit=RateLimit("api", 1))
    assert await limited.get_status() == JobStatus.RATE_LIMITED
    assert await job.stop(GRACE, timeout=IN_TIME) == JobStatus.STOPPED
    assert (await outcome_of(limited)).return_value == 2
    assert [await each.get_status() for each in waiting] == [JobStatus.DEFERRED] * 2
    await job.delete()
    assert [await each.get_status() for each in waiting] == [JobStatus.DEFERRED] * 2
    again = await queue.enqueue("jobs.add", 1, job_id=job.id)
    assert (await outcome_of(again)).return_value == 2
    assert [(await outcome_of(each)).return_value for each in waiting] == [2, 2]
    assert await queue.connection.keys("rq:rl:*:*") == []


class TestCancel:
    async def test_a_job_that_runs(self, queue: Queue, launch: Launch, told: Fifo) -> None:
        await launch("worker")
        job = await queue.enqueue("stopping.leave_daemons", told.path)
        processes = await told.pids(3)
        await job.cancel()
        for process in processes:
            assert await process.ended()
        assert (await outcome_of(await queue.enqueue("jobs.add", 1))).return_value == 2
        assert await job.get_status() == JobStatus.CANCELED
        assert await job.latest_result() is None
        assert await queue.connection.zrange("rq:canceled:default", 0, -1) == [job.id.encode()]
        assert await queue.connection.keys("rq:wip:*") == []

    async def test_a_job_for_which_others_wait(self, queue: Queue, launch: Launch, told: Fifo) -> None:
        await launch("worker")
        job = await queue.enqueue("waiting.hang", told.path, rate_limit=RateLimit("api", 1), retry=Retry(3))
        [horse] = await told.pids()
        child = await queue.enqueue("jobs.add", 1, depends_on=job)
        limited = await queue.enqueue("jobs.add", 1, rate_limit=RateLimit("api", 1))
        assert await job.cancel(enqueue_dependents=True) == {"default": [child.id]}
        assert await horse.ended()
        for each in (child, limited):
            assert (await outcome_of(each)).return_value == 2
        assert await job.get_status() == JobStatus.CANCELED
        assert await job.latest_result() is None
        assert await queue.connection.keys("rq:rl:*:*") == []

    async def test_a_job_whose_worker_hears_nothing(self, queue: Queue, launch: Launch, told: Fifo) -> None:
        """The next renewal tells it."""
        await launch("worker")
        job = await queue.enqueue("waiting.hang", told.path)
        [horse] = await told.pids()
        await begun(job)
        async with deaf(queue.connection):
            await job.cancel()
        assert await horse.ended()
        assert (await outcome_of(await queue.enqueue("jobs.add", 1))).return_value == 2
        assert await job.get_status() == JobStatus.CANCELED


class deaf:  # noqa: N801 - reads as a statement
    """Within this block all connections of the worker that is called so are killed, again and again."""

    def __init__(self, connection: Redis, worker: str = "worker") -> None:
        self._connection: Any = connection
        self._worker = worker
        self._rounds: asyncio.Queue[int] = asyncio.Queue()

    async def __aenter__(self) -> deaf:
        self._task = asyncio.create_task(self._kill())
        await self._go_round()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._go_round()
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _go_round(self) -> None:
        """Wait until some were killed."""
        while not self._rounds.empty():
            self._rounds.get_nowait()
        killed = 0
        async with asyncio.timeout(LIMIT):
            while killed < 5:
                killed += await self._rounds.get()

    async def _kill(self) -> None:
        while True:
            clients = await self._connection.client_list()
            found = [client["id"] for client in clients if client["name"] == self._worker]
            for number in found:
                await self._connection.client_kill_filter(_id=number)
            self._rounds.put_nowait(len(found))


class TestWithRQ:
    async def test_rq_stops_a_job_of_ours(self, queue: Queue, client: redis.Redis, launch: Launch, told: Fifo) -> None:
        await launch("worker", "--stop-grace", "0.5")
        job = await queue.enqueue("stopping.ignore", told.path)
        [horse] = await told.pids()
        rq.command.send_stop_job_command(client, job.id)
        assert await horse.ended()
        await assert_stopped(job)

    async def test_ours_stops_a_job_of_rq(self, queue: Queue, launch_rq: Callable[[str], Command], told: Fifo) -> None:
        launch_rq("theirs")
        job = await queue.enqueue("waiting.hang", told.path)
        [horse] = await told.pids()
        await listening(queue.connection, "theirs")
        assert await job.stop() == JobStatus.STOPPED
        assert await horse.ended()
        assert (await outcome_of(job)).worker_name == "theirs"

    async def test_ours_sends_the_word_to_rq(
        self, queue: Queue, launch_rq: Callable[[str], Command], told: Fifo
    ) -> None:
        launch_rq("theirs")
        job = await queue.enqueue("waiting.hang", told.path)
        [horse] = await told.pids()
        await listening(queue.connection, "theirs")
        await send_stop_job_command(queue.connection, job.id)
        assert await horse.ended()
        await outcome_of(job)
        assert await job.get_status() == JobStatus.STOPPED

    async def test_rq_shuts_ours_down(
        self, queue: Queue, client: redis.Redis, launch: Launch, told: Fifo, gate: Fifo
    ) -> None:
        worker = await launch("worker")
        job = await queue.enqueue("waiting.meet", told.path, gate.path)
        await told.pids()
        await listening(queue.connection, "worker")
        rq.command.send_shutdown_command(client, "worker")
        await worker.line("waiting for 1 jobs to end")
        gate.let()
        assert await worker.end() == 0
        assert (await outcome_of(job)).type.name == "SUCCESSFUL"

    async def test_ours_shuts_rq_down(self, connection: Redis, launch_rq: Callable[[str], Command]) -> None:
        theirs = launch_rq("theirs")
        await listening(connection, "theirs")
        await theirs.line("Listening on default")
        assert await send_shutdown_command(connection, "theirs") == 1
        assert await theirs.end() == 0

    async def test_rq_kills_horses_of_ours(self, queue: Queue, client: redis.Redis, launch: Launch, told: Fifo) -> None:
        await launch("worker", "--concurrency", "2")
        jobs = [await queue.enqueue("waiting.hang", told.path) for _ in range(2)]
        horses = await told.pids(2)
        await listening(queue.connection, "worker")
        rq.command.send_kill_horse_command(client, "worker")
        for job, horse in zip(jobs, horses, strict=True):
            assert await horse.ended()
            result = await outcome_of(job)
            assert result.type is result.Type.FAILED
            assert "a command told the worker to kill it" in result.exc_string
        assert (await outcome_of(await queue.enqueue("jobs.add", 1))).return_value == 2

    async def test_ours_kills_a_horse_of_rq(
        self, queue: Queue, launch_rq: Callable[[str], Command], told: Fifo
    ) -> None:
        launch_rq("theirs")
        job = await queue.enqueue("waiting.hang", told.path)
        [horse] = await told.pids()
        await listening(queue.connection, "theirs")
        assert await send_kill_horse_command(queue.connection, "theirs") == 1
        assert await horse.ended()
        assert (await outcome_of(job)).type.name == "FAILED"


async def listening(connection: Any, worker: str) -> None:
    """Wait until a worker listens to commands."""
    async with asyncio.timeout(30):
        while dict(await connection.pubsub_numsub(f"rq:pubsub:{worker}"))[f"rq:pubsub:{worker}".encode()] == 0:
            pass


class TestTheWayThere:
    async def test_junk_on_the_channel(self, queue: Queue, launch: Launch, told: Fifo) -> None:
        worker = await launch("worker")
        job = await queue.enqueue("waiting.hang", told.path)
        [horse] = await told.pids()
        connection: Any = queue.connection
        await listening(connection, "worker")
        token = (await connection.zrange(f"rq:executions:{job.id}", 0, -1))[0].decode()
        for junk in (
            b"",
            b"\x80\xff",
            b"{",
            b"[" * 100_000,
            b'"stop-job"',
            b"[1, 2]",
            b"null",
            b'{"command": ["stop-job"]}',
            b'{"command": "dance"}',
            b'{"command": "stop-job"}',
            b'{"command": "stop-job", "job_id": 7}',
            b'{"command": "stop-job", "job_id": "another"}',
            b'{"command": "stop-execution", "execution_id": "another", "aiorq_grace": 0}',
            b'{"command": "stop-execution", "execution_id": null}',
            b"x" * (8 << 20),
        ):
            assert await connection.publish("rq:pubsub:worker", junk) == 1
        await worker.line("a command that is none came")
        assert horse.alive
        bad_grace = f'{{"command": "stop-execution", "execution_id": "{token}", "aiorq_grace": NaN}}'
        await connection.publish("rq:pubsub:worker", bad_grace)
        assert await horse.ended()
        await assert_stopped(job)
        assert worker.count("a command that is none came") == 1

    async def test_a_stop_while_connections_are_killed(self, queue: Queue, launch: Launch, told: Fifo) -> None:
        await launch("worker")
        job = await queue.enqueue("stopping.ignore", told.path)
        [horse] = await told.pids()
        await begun(job)
        async with deaf(queue.connection):
            await send_stop_job_command(queue.connection, job.id)
        assert await horse.ended()
        await assert_stopped(job)

    async def test_a_stop_of_a_frozen_worker(self, queue: Queue, launch: Launch, told: Fifo) -> None:
        worker = await launch("worker", "--lease", "60")
        job = await queue.enqueue("stopping.ignore", told.path)
        [horse] = await told.pids()
        await begun(job)
        worker.process.kill(signal.SIGSTOP)
        stopping = asyncio.create_task(job.stop(GRACE))
        while not await queue.connection.hlen("rq:aiorq:stops:worker"):
            pass
        worker.process.kill(signal.SIGCONT)
        assert await stopping == JobStatus.STOPPED
        assert await horse.ended()
        await assert_stopped(job)

    async def test_nobody_listens(self, connection: Redis) -> None:
        assert await send_command(connection, "nobody", "shutdown") == 0


async def test_the_processes_of_stopped_jobs_are_reaped(queue: Queue, launch: Launch, told: Fifo) -> None:
    worker = await launch("worker", "--concurrency", "4")
    [zygote] = [Process(pid) for pid in worker.process.children()]
    jobs = [await queue.enqueue("stopping.leave_daemons", told.path) for _ in range(4)]
    processes = await told.pids(12)
    assert await asyncio.gather(*(job.stop(0, timeout=IN_TIME) for job in jobs)) == [JobStatus.STOPPED] * 4
    for process in processes:
        assert await process.ended()
    while zygote.children():  # noqa: ASYNC110 - the zygote reaps them in its own time
        await asyncio.sleep(0.01)
