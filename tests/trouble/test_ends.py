"""Trouble in the moment of a worker's end, and with the connections that it waits on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from aiorq import JobStatus, Queue, Worker
from aiorq.store import transport, workers
from tests.execution.processes import Fifo
from tests.trouble.proxy import Fault, Proxy, calls_of
from tests.worker.conftest import Log, Monitor, result_of, working

BUSY = b"BUSY Redis is busy"


async def test_a_cold_stop(
    proxy: Proxy, through_proxy: Redis, queue: Queue, make_worker: Callable[..., Worker], told: Fifo, gate: Fifo
) -> None:
    """What was killed is put back, although it does not work at once."""
    job = await queue.enqueue("waiting.meet", told.path, gate.path)
    worker = make_worker(connection=through_proxy)
    async with working(worker) as work:
        await told.pids()
        fault = proxy.arm(Fault(calls_of("release"), BUSY))
        worker.request_stop(cold=True)
        await work
    assert fault.hits == 1
    assert await job.get_status() is JobStatus.QUEUED
    assert await queue.get_job_ids() == [job.id]


async def test_a_worker_that_cannot_sign_off(
    proxy: Proxy, through_proxy: Redis, queue: Queue, make_worker: Callable[..., Worker], log: Log
) -> None:
    """It ends all the same; what it leaves expires."""
    connection: Any = queue.connection
    job = await queue.enqueue("jobs.add", 1)
    worker = make_worker(connection=through_proxy)
    fault = proxy.arm(Fault(calls_of("retire"), BUSY, times=50))
    await worker.work(burst=True)
    assert fault.hits > 1
    assert log.count("cannot sign off") == 1
    assert (await result_of(job)).return_value == 2
    assert not await connection.hexists(f"rq:worker:{worker.name}", "death")
    assert await connection.ttl(f"rq:worker:{worker.name}") > 0


async def test_what_redis_had_handed_over(
    proxy: Proxy, through_proxy: Redis, queue: Queue, make_worker: Callable[..., Worker], monitor: Monitor
) -> None:
    worker = make_worker(connection=through_proxy)
    async with working(worker) as work:
        await monitor.seen('"BLMOVE"')
        proxy.arm(Fault(calls_of("release"), BUSY))
        refused = proxy.arm(Fault(calls_of("claim"), BUSY, times=50))
        job = await queue.enqueue("jobs.add", 1)
        await refused.struck.wait()
        worker.request_stop()
        await work
    assert await queue.get_job_ids() == [job.id]


async def test_a_claim_whose_answer_is_lost(
    proxy: Proxy, through_proxy: Redis, queue: Queue, make_worker: Callable[..., Worker], monitor: Monitor
) -> None:
    """The worker is told to end and never hears what it took."""
    worker = make_worker(connection=through_proxy)
    async with working(worker) as work:
        await monitor.seen('"BLMOVE"')
        lost = proxy.arm(Fault(calls_of("claim"), executed=True, times=50))
        job = await queue.enqueue("jobs.add", 1)
        await lost.struck.wait()
        worker.request_stop()
        await work
    assert await job.get_status() is JobStatus.QUEUED
    assert await queue.get_job_ids() == [job.id]
    assert await queue.connection.exists("rq:wip:default") == 0


async def test_a_connection_that_died_in_silence(
    proxy: Proxy,
    through_proxy: Redis,
    queue: Queue,
    make_worker: Callable[..., Worker],
    told: Fifo,
    gate: Fifo,
    log: Log,
    monitor: Monitor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A busy worker waits for a second job on it, and hears the news of free room all the same."""
    for module in (transport, workers):
        monkeypatch.setattr(module, "REPLY_TIMEOUT", 1.0)
    job = await queue.enqueue("waiting.meet", told.path, gate.path)
    async with working(make_worker(connection=through_proxy, concurrency=2, lease=10)):
        await told.pids()
        await monitor.seen('"BLMOVE"')
        with proxy.black_hole():
            await log.line("trying again until it works")
        await log.line("again after")
        gate.let()
        assert await result_of(job)
        assert (await result_of(await queue.enqueue("jobs.add", 1), 15)).return_value == 2
