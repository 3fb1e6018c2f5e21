"""What workers do beside running jobs: they keep the books clean, and show that they are to end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis

from aiorq import Queue, Worker
from aiorq.worker_info import WorkerStatus
from tests.api.conftest import until
from tests.execution.processes import Fifo
from tests.worker.conftest import Monitor, Started, result_of, working


async def test_the_books_are_cleaned(connection: Any, start: Started, monitor: Monitor) -> None:
    await connection.sadd("rq:queues", "rq:queue:nobodys")
    for kind in ("finished", "failed", "scheduled", "canceled", "deferred"):
        await connection.zadd(f"rq:{kind}:nobodys", {"gone": 5})
    await connection.sadd("rq:groups", "mail")
    await connection.sadd("rq:group:mail", "gone")
    await connection.sadd("rq:rl-keys", "api")
    await connection.zadd("rq:rl:api:allowed", {"gone": 5})
    await start(reap_interval=0.1)
    await monitor.seen('lua "SREM" "rq:rl-keys" "api"')
    left = set(await connection.keys("*"))
    assert not {key for key in left if b"nobodys" in key or b"mail" in key or b"rl" in key}


async def test_a_large_registry_delays_nothing(connection: Any, queue: Queue, start: Started) -> None:
    """It is swept some entries at a time, over several looks."""
    await connection.sadd("rq:queues", "rq:queue:large")
    for first in range(1, 200_000, 10_000):
        await connection.zadd("rq:failed:large", {f"old-{number}": number for number in range(first, first + 10_000)})
    await start(reap_interval=0.05)
    job = await queue.enqueue("jobs.add", 1, 2)
    assert (await result_of(job)).return_value == 3

    async def swept() -> bool:
        return not await connection.zcard("rq:failed:large")

    await until(swept)


async def test_a_worker_that_waits_for_its_jobs_shows_that_it_is_to_end(
    connection: Redis, queue: Queue, make_worker: Callable[..., Worker], told: Fifo, gate: Fifo, monitor: Monitor
) -> None:
    worker = make_worker(name="w")
    await queue.enqueue("waiting.meet", told.path, gate.path)
    async with working(worker) as task:
        await told.line()
        (info,) = await Worker.all(connection)
        assert (info.name, info.get_state()) == ("w", WorkerStatus.BUSY)
        assert info.shutdown_requested_date is None
        worker.request_stop()
        await monitor.seen('"shutdown_requested_date"')
        assert await info.refresh()
        assert info.shutdown_requested_date is not None
        assert abs((info.shutdown_requested_date - datetime.now(UTC)).total_seconds()) < 10
        gate.let()
        await task
    assert await Worker.all(connection) == []
    buried = await Worker.find_by_key("rq:worker:w", connection)
    assert buried is not None
    assert buried.shutdown_requested_date == info.shutdown_requested_date
    assert buried.death_date is not None


async def test_a_worker_without_jobs_shows_none(connection: Redis, make_worker: Callable[..., Worker]) -> None:
    worker = make_worker(name="w")
    worker.request_stop()
    await worker.work()
    buried = await Worker.find_by_key("rq:worker:w", connection)
    assert buried is not None
    assert buried.shutdown_requested_date is None


async def test_workers_are_counted(connection: Redis, queue: Queue, start: Started) -> None:
    await start("default", name="a")
    await start(["default", "other"], name="b")

    async def entered() -> bool:
        return await Worker.count(connection) == 2

    await until(entered)
    assert await Worker.count(queue=queue) == 2
    assert await Worker.all_keys(connection, "other") == ["rq:worker:b"]
