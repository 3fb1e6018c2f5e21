"""What RQ's books say about a worker, from its birth to its death."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
import rq
from redis.asyncio import Redis

import aiorq
from aiorq import Queue, Worker
from aiorq.errors import WorkerExistsError
from aiorq.execution.forking import ForkExecutor
from aiorq.execution.horse import Context
from aiorq.execution.zygote import Settings
from aiorq.record import decode_date
from aiorq.server import EmbeddedServer
from aiorq.store.base import store_of
from aiorq.store.runs import Run
from aiorq.worker.leases import Leases
from aiorq.worker.options import WorkerOptions
from aiorq.worker.run import Runner
from aiorq.worker.state import Active, State, Stop
from tests.execution.processes import Fifo
from tests.worker.conftest import Log, Monitor, Started, result_of, working

KEY = "rq:worker:the-worker"


async def entry(connection: Any, key: str = KEY) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in (await connection.hgetall(key)).items()}


async def members(connection: Any, *names: str) -> list[set[bytes]]:
    return [set(await connection.smembers(name)) for name in ("rq:workers", *(f"rq:workers:{name}" for name in names))]


async def test_birth_and_death(connection: Any, make_worker: Callable[..., Worker], monitor: Monitor) -> None:
    worker = make_worker(["one", "two"], "the-worker", worker_ttl=100)
    async with working(worker):
        await monitor.seen('"BLMOVE"', 2)
        found = await entry(connection)
        for name in ("birth", "last_heartbeat"):
            moment = decode_date(found[name])
            assert moment is not None
            assert abs((datetime.now(UTC) - moment).total_seconds()) < 30
        assert found["queues"] == "one,two"
        assert found["pid"] == str(os.getpid())
        assert found["hostname"] == socket.gethostname()
        assert found["version"] == aiorq.__version__
        assert found["python_version"] == sys.version
        assert found["state"] == "idle"
        assert "death" not in found
        assert 150 < await connection.ttl(KEY) <= 160
        assert await members(connection, "one", "two") == [{KEY.encode()}] * 3
    assert "death" in await entry(connection)
    assert 0 < await connection.ttl(KEY) <= 60
    assert await members(connection, "one", "two") == [set()] * 3
    assert {key.decode() for key in await connection.keys()} == {KEY}


async def test_counters_and_states(queue: Queue, start: Started, told: Fifo, gate: Fifo, monitor: Monitor) -> None:
    await start(name="the-worker")
    for function in ("jobs.add", "jobs.fail", "jobs.add"):
        await result_of(await queue.enqueue(function, 1))
    job = await queue.enqueue("waiting.meet", told.path, gate.path)
    await told.pids()
    found = await entry(queue.connection)
    assert (found["successful_job_count"], found["failed_job_count"], found["state"]) == ("2", "1", "busy")
    assert 0 < float(found["total_working_time"]) < 60
    [execution] = await queue.connection.smembers(f"{KEY}:executions")
    assert str(execution).startswith(f"b'{job.id}:")
    assert await queue.connection.ttl(f"{KEY}:executions") > 0
    gate.let()
    await result_of(job)
    assert (await entry(queue.connection))["state"] == "idle"
    assert not await queue.connection.exists(f"{KEY}:executions")


async def test_the_real_rq_sees_it(
    server: EmbeddedServer, queue: Queue, start: Started, told: Fifo, gate: Fifo
) -> None:
    job = await queue.enqueue("waiting.meet", told.path, gate.path)
    await start(name="the-worker")
    await told.pids()
    with redis.Redis(unix_socket_path=str(server.socket_path)) as client:
        [theirs] = rq.Worker.all(connection=client)
        assert theirs.name == "the-worker"
        assert theirs.get_state() == "busy"
        assert theirs.pid == os.getpid()
        assert theirs.queue_names() == ["default"]
        assert theirs.birth_date is not None
        assert [worker.name for worker in rq.Worker.all(queue=rq.Queue(connection=client))] == ["the-worker"]
        assert rq.job.Job.fetch(job.id, connection=client).worker_name == "the-worker"
    gate.let()


class TestName:
    async def test_of_a_live_worker(self, queue: Queue, make_worker: Callable[..., Worker], start: Started) -> None:
        await start(name="the-worker")
        await result_of(await queue.enqueue("jobs.nothing"))
        before = await entry(queue.connection)
        with pytest.raises(WorkerExistsError, match="the-worker"):
            await make_worker("other", "the-worker").work(burst=True)
        assert await entry(queue.connection) == before
        assert await members(queue.connection, "other") == [{KEY.encode()}, set()]
        await result_of(await queue.enqueue("jobs.nothing"))

    async def test_of_a_worker_that_ended(self, queue: Queue, make_worker: Callable[..., Worker]) -> None:
        for _ in range(2):
            await queue.enqueue("jobs.nothing")
            await make_worker(name="the-worker").work(burst=True)
            found = await entry(queue.connection)
            assert found["successful_job_count"] == "1"

    async def test_of_a_worker_of_rq(
        self, server: EmbeddedServer, connection: Redis, make_worker: Callable[..., Worker]
    ) -> None:
        with redis.Redis(unix_socket_path=str(server.socket_path)) as client:
            theirs = rq.Worker(["default"], name="the-worker", connection=client)
            theirs.register_birth()  # type: ignore[no-untyped-call]
            with pytest.raises(WorkerExistsError):
                await make_worker(name="the-worker").work(burst=True)
            theirs.register_death()  # type: ignore[no-untyped-call]
        await make_worker(name="the-worker").work(burst=True)

    async def test_twice_at_a_time(self, connection: Redis, start: Started, monitor: Monitor) -> None:
        worker = await start()
        await monitor.seen('"BLMOVE"')
        with pytest.raises(RuntimeError, match="works already"):
            await worker.work(burst=True)
        assert "death" not in await entry(connection, f"rq:worker:{worker.name}")


class TestHeartbeat:
    async def test_it_and_the_lease_are_renewed(
        self, queue: Queue, start: Started, told: Fifo, gate: Fifo, monitor: Monitor
    ) -> None:
        connection: Any = queue.connection
        job = await queue.enqueue("waiting.meet", told.path, gate.path)
        await start(name="the-worker", lease=2)
        await told.pids()
        [(member, lease)] = await connection.zrange("rq:wip:default", 0, -1, withscores=True)
        execution = f"rq:execution:{member.decode()}"
        before = await entry(connection), await entry(connection, execution)
        await monitor.seen('"ZADD" "rq:wip:default" "XX"', 7)  # more often than the lease is long
        assert dict(await connection.zrange("rq:wip:default", 0, -1, withscores=True))[member] > lease
        after = await entry(connection), await entry(connection, execution)
        for name in ("last_heartbeat",):
            assert all(later[name] > earlier[name] for earlier, later in zip(before, after, strict=True))
        assert after[0]["birth"] == before[0]["birth"]
        gate.let()
        assert (await result_of(job)).type.name == "SUCCESSFUL"

    @pytest.mark.parametrize("loss", ["the hash", "everything"])
    async def test_a_lost_entry_is_made_anew(
        self, queue: Queue, start: Started, told: Fifo, gate: Fifo, log: Log, monitor: Monitor, loss: str
    ) -> None:
        connection: Any = queue.connection
        worker = await start(name="the-worker", lease=3)
        await monitor.seen('"BLMOVE"')
        await (connection.flushall() if loss == "everything" else connection.delete(KEY))
        job = await queue.enqueue("waiting.meet", told.path, gate.path)
        await told.pids()
        await log.line("it is entered anew")
        await monitor.seen('"HSETNX" "rq:worker:the-worker" "birth"', 2)
        found = await entry(connection)
        assert found["queues"] == "default"
        assert found["aiorq_boot"] == worker._boot
        assert await members(connection, "default") == [{KEY.encode()}] * 2
        assert await connection.ttl(KEY) > 60
        gate.let()
        assert (await result_of(job)).type.name == "SUCCESSFUL"

    async def test_another_took_the_name_meanwhile(self, connection: Redis, log: Log) -> None:
        """The worker that lost its entry ends, after what it runs."""
        state = State(WorkerOptions(queues=("default",), name="the-worker", lease=1), store_of(connection))
        state.running[1] = Active(Run("default", "a-job", "a-token"), time.monotonic())

        async def register() -> None:
            raise WorkerExistsError("there is a live worker named 'the-worker'")

        executor = ForkExecutor(Settings(Context("the-worker", "pickle", "rq", {}), [], []))
        async with asyncio.TaskGroup() as tasks:
            leases = Leases(state, Runner(state, executor, tasks), "boot", register)
            keeping = asyncio.create_task(leases.keep())
        async with asyncio.timeout(10):
            await state.watch().wait()
        assert state.stop is Stop.WARM
        assert not keeping.done()
        assert log.count("there is a live worker named 'the-worker'; this one ends") == 1
        keeping.cancel()
        await asyncio.wait([keeping])


async def test_no_start_without_a_server(make_worker: Callable[..., Worker], server: EmbeddedServer) -> None:
    worker = make_worker(connection=f"unix://{server.socket_path}.not")
    with pytest.raises(aiorq.errors.ConnectionLostError):
        await asyncio.wait_for(worker.work(burst=True), 10)
