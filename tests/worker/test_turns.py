"""From which queue the next job comes: strategies, and queues that are paused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from aiorq import Queue, Worker
from aiorq.worker import DequeueStrategy
from tests.execution.processes import Fifo
from tests.worker.conftest import Log, Monitor, Started, result_of, working


async def fill(connection: Redis, path: Path, **counts: int) -> None:
    for name, count in counts.items():
        for _ in range(count):
            await Queue(name, connection).enqueue("jobs.append", str(path), name)


class TestStrategies:
    @pytest.mark.parametrize("strategy", [DequeueStrategy.DEFAULT, "default"])
    async def test_strict(
        self, connection: Redis, make_worker: Callable[..., Worker], tmp_path: Path, strategy: str
    ) -> None:
        await fill(connection, tmp_path / "trace", c=3, b=3, a=3)
        await make_worker(["a", "b", "c"]).work(burst=True, dequeue_strategy=strategy)
        assert "".join((tmp_path / "trace").read_text().split()) == "aaabbbccc"

    @pytest.mark.parametrize("strategy", [DequeueStrategy.ROUND_ROBIN, "round_robin"])
    async def test_round_robin(
        self, connection: Redis, make_worker: Callable[..., Worker], tmp_path: Path, strategy: str
    ) -> None:
        await fill(connection, tmp_path / "trace", c=3, b=1, a=5)
        await make_worker(["a", "b", "c"]).work(burst=True, dequeue_strategy=strategy)
        assert "".join((tmp_path / "trace").read_text().split()) == "abcacacaa"

    async def test_round_robin_of_several(
        self, connection: Redis, make_worker: Callable[..., Worker], told: Fifo, gate: Fifo
    ) -> None:
        """A claim of several jobs takes one from each queue in turn."""
        queues = [Queue(name, connection) for name in ("a", "b", "c")]
        for queue in queues:
            for _ in range(3):
                await queue.enqueue("waiting.meet", told.path, gate.path)
        worker = make_worker(queues, concurrency=3)
        async with working(worker, dequeue_strategy="round_robin"):
            await told.pids(3)
            assert [await queue.count() for queue in queues] == [2, 2, 2]

    async def test_random(self, connection: Redis, make_worker: Callable[..., Worker], tmp_path: Path) -> None:
        await fill(connection, tmp_path / "trace", a=40, b=40)
        await make_worker(["a", "b"]).work(burst=True, dequeue_strategy="random")
        order = "".join((tmp_path / "trace").read_text().split())
        assert (order.count("a"), order.count("b")) == (40, 40)
        assert order not in ("a" * 40 + "b" * 40, "b" * 40 + "a" * 40, "ab" * 40, "ba" * 40)

    async def test_a_job_of_another_queue(
        self, connection: Redis, make_worker: Callable[..., Worker], tmp_path: Path
    ) -> None:
        """A job that says that it belongs to a queue which the worker does not have disturbs no order."""
        await fill(connection, tmp_path / "trace", a=1, b=1)
        [job_id] = await Queue("a", connection).get_job_ids()
        await connection.hset(f"rq:job:{job_id}", "origin", "elsewhere")
        await make_worker(["a", "b"]).work(burst=True, dequeue_strategy="round_robin")
        assert "".join((tmp_path / "trace").read_text().split()) == "ab"

    async def test_an_unknown_one(self, make_worker: Callable[..., Worker]) -> None:
        with pytest.raises(ValueError, match="dequeue_strategy must be one of 'default', 'round_robin', 'random', not"):
            await make_worker().work(burst=True, dequeue_strategy="fair")
        with pytest.raises(ValueError, match="dequeue_strategy must be one of"):
            make_worker().run(burst=True, dequeue_strategy="fair")


class TestPauses:
    async def test_nothing_is_taken(self, connection: Redis, start: Started, log: Log) -> None:
        """Until the queue is resumed; other queues go on. Both is said once."""
        paused, other = Queue("paused", connection), Queue("other", connection)
        await paused.pause("for a test")
        jobs = [await paused.enqueue("jobs.nothing") for _ in range(3)]
        await start([paused, other])
        await log.line("paused: the queue is paused; nothing is taken from it until it is resumed")
        for _ in range(3):
            await result_of(await other.enqueue("jobs.nothing"))
        jobs.append(await paused.enqueue("jobs.nothing"))
        assert await paused.count() == 4
        await paused.resume()
        for job in jobs:
            await result_of(job)
        assert log.count("the queue is paused;") == 1
        assert log.count("paused: the queue is paused no more") == 1

    async def test_it_is_not_waited_for(self, connection: Redis, start: Started, log: Log, monitor: Monitor) -> None:
        paused, other = Queue("paused", connection), Queue("other", connection)
        await paused.pause()
        await start([paused, other])
        await log.line("the queue is paused;")
        await monitor.seen('"BLMOVE" "rq:queue:other"')
        assert monitor.count('"BLMOVE" "rq:queue:paused"') == 0
        await paused.resume()
        await monitor.seen('"BLMOVE" "rq:queue:paused"')

    async def test_one_that_is_paused_while_it_is_waited_for(
        self, connection: Redis, start: Started, log: Log, queue: Queue
    ) -> None:
        await start([queue])
        await result_of(await queue.enqueue("jobs.nothing"))
        await queue.pause()
        jobs = [await queue.enqueue("jobs.nothing") for _ in range(2)]
        await log.line("the queue is paused;")
        assert await queue.get_job_ids() == [job.id for job in jobs]
        await queue.resume()
        for job in jobs:
            await result_of(job)

    async def test_a_burst_ends(self, queue: Queue, make_worker: Callable[..., Worker]) -> None:
        await queue.pause()
        await queue.enqueue("jobs.nothing")
        assert not await make_worker().work(burst=True)
        assert await queue.count() == 1

    async def test_all_of_them(self, queue: Queue, make_worker: Callable[..., Worker]) -> None:
        """A worker without any queue to wait for ends all the same when it is told to, and when it is idle."""
        await queue.pause()
        async with working(make_worker(), max_idle_time=0.2) as task:
            assert await task is False
