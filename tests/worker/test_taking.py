"""Which jobs a worker takes, in which order, how many at a time, and when it has had enough."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from aiorq import Dependency, JobStatus, Queue, Worker
from tests.execution.processes import Fifo
from tests.worker.conftest import Log, Monitor, Started, result_of


class TestBurst:
    async def test_until_all_is_done(self, queue: Queue, make_worker: Callable[..., Worker]) -> None:
        jobs = [await queue.enqueue("jobs.add", number) for number in range(5)]
        assert await make_worker().work(burst=True)
        assert [await job.return_value() for job in jobs] == [1, 2, 3, 4, 5]
        assert await queue.is_empty()

    async def test_nothing_to_do(self, queue: Queue, make_worker: Callable[..., Worker]) -> None:
        assert not await make_worker(["default", "other"]).work(burst=True)

    @pytest.mark.parametrize("concurrency", [1, 3])
    async def test_jobs_of_jobs(self, queue: Queue, make_worker: Callable[..., Worker], concurrency: int) -> None:
        await queue.enqueue("inside.enqueue_next", 5)
        worker = make_worker(concurrency=concurrency)
        await worker.work(burst=True)
        assert await queue.is_empty()
        assert await queue.connection.hget(f"rq:worker:{worker.name}", "successful_job_count") == b"6"

    async def test_twice(self, queue: Queue, make_worker: Callable[..., Worker]) -> None:
        worker = make_worker()
        for _ in range(2):
            job = await queue.enqueue("jobs.add", 1)
            assert await worker.work(burst=True)
            assert await job.return_value() == 2
        assert not await worker.work(burst=True)


class TestEnough:
    @pytest.mark.parametrize("concurrency", [1, 4])
    async def test_max_jobs(self, queue: Queue, make_worker: Callable[..., Worker], concurrency: int) -> None:
        jobs = [await queue.enqueue("jobs.nothing") for _ in range(5)]
        assert await make_worker(concurrency=concurrency).work(max_jobs=2)
        statuses = [await job.get_status() for job in jobs]
        assert statuses == [JobStatus.FINISHED] * 2 + [JobStatus.QUEUED] * 3
        assert await queue.get_job_ids() == [job.id for job in jobs[2:]]

    async def test_max_jobs_of_different_lengths(self, queue: Queue, make_worker: Callable[..., Worker]) -> None:
        seconds = (0, 0, 0.3, 0, 0.3, 0, 0)
        jobs = [await queue.enqueue("jobs.sleep", each) for each in seconds]
        await make_worker(preload="jobs").work(max_jobs=6)
        statuses = [await job.get_status() for job in jobs]
        assert statuses == [JobStatus.FINISHED] * 6 + [JobStatus.QUEUED]

    async def test_max_jobs_as_they_come(self, queue: Queue, make_worker: Callable[..., Worker]) -> None:
        working = asyncio.create_task(make_worker().work(max_jobs=2))
        for _ in range(2):
            await result_of(await queue.enqueue("jobs.nothing"))
        assert await working

    @pytest.mark.parametrize("concurrency", [1, 2])
    async def test_max_idle_time_begins_with_the_end_of_the_last_job(
        self, queue: Queue, make_worker: Callable[..., Worker], concurrency: int
    ) -> None:
        job = await queue.enqueue("jobs.sleep", 1.2)
        assert await make_worker(concurrency=concurrency).work(max_idle_time=1)
        await job.refresh()
        assert job.ended_at is not None
        seconds, microseconds = await queue.connection.time()
        assert seconds + microseconds / 1e6 - job.ended_at.timestamp() >= 1

    async def test_max_idle_time_without_a_job(
        self, queue: Queue, make_worker: Callable[..., Worker], log: Log
    ) -> None:
        assert not await make_worker(["default", "other"]).work(max_idle_time=0.1)
        assert log.count("no job for 0.1 seconds") == 1

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"max_jobs": 0}, "max_jobs"),
            ({"max_idle_time": 0}, "max_idle_time"),
            ({"max_idle_time": float("nan")}, "max_idle_time"),
        ],
    )
    async def test_bad_settings(
        self, connection: Redis, make_worker: Callable[..., Worker], options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            await make_worker().work(**options)
        assert await connection.dbsize() == 0


class TestOrder:
    async def test_first_queue_first(
        self, connection: Redis, make_worker: Callable[..., Worker], tmp_path: Path
    ) -> None:
        done = tmp_path / "done"
        low, high = Queue("low", connection), Queue("high", connection)
        for number in range(3):
            await low.enqueue("jobs.append", str(done), f"low {number}")
            await high.enqueue("jobs.append", str(done), f"high {number}")
        await high.enqueue("jobs.append", str(done), "front", at_front=True)
        await make_worker(["high", "low"]).work(burst=True)
        assert done.read_text().split("\n")[:-1] == [
            "front", "high 0", "high 1", "high 2", "low 0", "low 1", "low 2"
        ]  # fmt: skip

    @pytest.mark.parametrize(("function", "args"), [("jobs.fail", ()), ("jobs.add", (1,))])
    async def test_what_an_end_puts_at_the_front_comes_next(
        self, queue: Queue, make_worker: Callable[..., Worker], tmp_path: Path, function: str, args: tuple[int, ...]
    ) -> None:
        """Also on a server that has not seen any script yet."""
        done = tmp_path / "done"
        await queue.connection.script_flush()
        first = await queue.enqueue(function, *args)
        await queue.enqueue("jobs.append", str(done), "the other")
        after = Dependency([first], allow_failure=True, enqueue_at_front=True)
        await queue.enqueue("jobs.append", str(done), "the one that waited", depends_on=after)
        await make_worker().work(burst=True)
        assert done.read_text() == "the one that waited\nthe other\n"

    async def test_a_job_that_comes_later_to_the_first_queue(
        self, connection: Redis, start: Started, told: Fifo, gate: Fifo, tmp_path: Path
    ) -> None:
        done = tmp_path / "done"
        low, high = Queue("low", connection), Queue("high", connection)
        await low.enqueue("waiting.meet", told.path, gate.path)
        await start([high, low])
        await told.line()
        last = await low.enqueue("jobs.append", str(done), "low")
        await high.enqueue("jobs.append", str(done), "high")
        gate.let()
        await result_of(last)
        assert done.read_text() == "high\nlow\n"

    async def test_a_long_job_holds_nothing_back(
        self, connection: Redis, start: Started, told: Fifo, gate: Fifo, monitor: Monitor
    ) -> None:
        """Whatever a worker takes while it is busy, another one may run."""
        queue = Queue(connection=connection)
        first = await start(name="first", preload="jobs")
        for _ in range(3):  # however brisk it is
            await result_of(await queue.enqueue("jobs.nothing"))
        await queue.enqueue("waiting.meet", told.path, gate.path)
        await told.pids()
        jobs = [await queue.enqueue("jobs.add", number) for number in range(2)]
        await start(name="second")
        assert [(await result_of(job)).worker_name for job in jobs] == ["second", "second"]
        assert first.name == "first"
        gate.let()


class TestConcurrency:
    async def test_so_many_at_a_time(self, queue: Queue, start: Started, told: Fifo, gate: Fifo) -> None:
        jobs = [await queue.enqueue("waiting.meet", told.path, gate.path) for _ in range(6)]
        await start(concurrency=4)
        together = {process.pid for process in await told.pids(4)}
        assert len(together) == 4
        statuses = [await job.get_status() for job in jobs]
        assert statuses == [JobStatus.STARTED] * 4 + [JobStatus.QUEUED] * 2
        assert await queue.connection.zcard("rq:wip:default") == 4
        gate.let()
        together |= {process.pid for process in await told.pids(1)}  # one has made room for one
        gate.let(5)
        assert {(await result_of(job)).return_value for job in jobs} >= together

    async def test_over_several_queues(self, connection: Redis, start: Started, told: Fifo, gate: Fifo) -> None:
        names = ["one", "two", "three"]
        jobs = [await Queue(name, connection).enqueue("waiting.meet", told.path, gate.path) for name in names]
        await start(names, concurrency=3)
        await told.pids(3)
        gate.let(3)
        for job in jobs:
            await result_of(job)

    async def test_a_job_comes_while_others_run(self, queue: Queue, start: Started, told: Fifo, gate: Fifo) -> None:
        await queue.enqueue("waiting.meet", told.path, gate.path)
        await start(concurrency=2)
        await told.pids()
        assert (await result_of(await queue.enqueue("jobs.add", 1))).return_value == 2
        gate.let()


class TestSuspension:
    async def test_burst(self, queue: Queue, make_worker: Callable[..., Worker], log: Log) -> None:
        await queue.enqueue("jobs.nothing")
        await queue.connection.set("rq:suspended", 1)
        assert not await make_worker().work(burst=True)
        assert await queue.count() == 1
        assert log.count("workers are suspended; nothing is taken") == 1

    async def test_it_is_waited_out(self, queue: Queue, start: Started, log: Log) -> None:
        job = await queue.enqueue("jobs.add", 1)
        await queue.connection.set("rq:suspended", 1)
        await start()
        await log.line("nothing is taken until they are resumed")
        assert await queue.count() == 1
        await queue.connection.delete("rq:suspended")
        assert (await result_of(job)).return_value == 2
        assert log.count("suspended") == 1

    async def test_of_an_idle_worker(self, connection: Redis, start: Started, log: Log) -> None:
        queues = [Queue(name, connection) for name in ("one", "two")]
        worker = await start(queues)
        await result_of(await queues[1].enqueue("jobs.nothing"))
        await connection.set("rq:suspended", 1)
        jobs = [await queue.enqueue("jobs.add", 1) for queue in queues]
        await log.line("suspended")
        assert await connection.keys("rq:aiorq:inbox:*") == []
        assert [await queue.count() for queue in queues] == [1, 1]
        await connection.delete("rq:suspended")
        for job in jobs:
            await result_of(job)
        assert await connection.hget(f"rq:worker:{worker.name}", "birth")

    async def test_running_jobs_go_on(self, queue: Queue, start: Started, told: Fifo, gate: Fifo, log: Log) -> None:
        job = await queue.enqueue("waiting.meet", told.path, gate.path)
        worker = await start(concurrency=2)
        await told.pids()
        await queue.connection.set("rq:suspended", 1)
        await queue.enqueue("jobs.nothing")
        await log.line("suspended")
        assert await queue.connection.hget(f"rq:worker:{worker.name}", "state") == b"busy"
        gate.let()
        await result_of(job)
        assert await queue.count() == 1


class TestWhatIsNoJob:
    async def test_it_is_passed_over(self, queue: Queue, make_worker: Callable[..., Worker]) -> None:
        gone = await queue.enqueue("jobs.nothing")
        await queue.connection.delete(gone.key)
        await queue.connection.rpush(queue.key, "no id: really", b"\xff\xfe", "unheard-of")
        job = await queue.enqueue("jobs.add", 1)
        await make_worker().work(burst=True)
        assert await job.return_value() == 2
        assert await queue.is_empty()
        assert await queue.connection.hget("rq:aiorq:dropped", "default") == b"4"

    async def test_an_id_that_is_there_twice_runs_once(
        self, queue: Queue, make_worker: Callable[..., Worker], tmp_path: Path
    ) -> None:
        job = await queue.enqueue("jobs.append", str(tmp_path / "runs"), "ran", job_timeout=10)
        await queue.connection.rpush(queue.key, job.id)
        await make_worker(concurrency=2).work(burst=True)
        assert (tmp_path / "runs").read_text() == "ran\n"
        assert await job.get_status() == JobStatus.FINISHED
