"""Whatever happens to the server, to keys or to processes, the worker goes on and nothing is lost or run twice."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from aiorq import JobStatus, Queue, Worker
from aiorq.server import EmbeddedServer
from tests.execution.processes import LIMIT, Fifo
from tests.worker.conftest import FUNCTIONS, WAITING, Log, Monitor, Started, result_of, working

NAMES = ["one", "two", "three"]


async def waits(connection: Redis, count: int) -> None:
    """Look until so many clients are blocked."""
    async with asyncio.timeout(LIMIT):
        while (await connection.info("clients"))["blocked_clients"] < count:
            pass


class TestServer:
    @pytest.mark.parametrize("crash", [False, True])
    async def test_a_restart(
        self, own_server: tuple[EmbeddedServer, Redis], start: Started, told: Fifo, gate: Fifo, log: Log, crash: bool
    ) -> None:
        server, connection = own_server
        queues = [Queue(name, connection) for name in NAMES]
        await start(queues, connection=connection, concurrency=2)
        running = await queues[0].enqueue("waiting.meet", told.path, gate.path)
        await told.pids()
        if crash:
            server.kill()
        server.restart()
        for queue in queues:  # one slot is free, and it waits again
            assert (await result_of(await queue.enqueue("jobs.add", 1))).return_value == 2
        gate.let()
        assert (await result_of(running)).type.name == "SUCCESSFUL"
        assert log.count("killed") == 0

    async def test_an_outcome_is_kept_while_it_is_away(
        self, own_server: tuple[EmbeddedServer, Redis], start: Started, told: Fifo, gate: Fifo, log: Log
    ) -> None:
        server, connection = own_server
        queue = Queue(connection=connection)
        jobs = [await queue.enqueue("waiting.meet", told.path, gate.path) for _ in range(2)]
        await start(connection=connection, concurrency=2)
        await told.pids(2)
        server.kill()
        gate.let(2)
        await log.line("cannot record the result of job", 2)
        server.restart()
        for job in jobs:
            assert (await result_of(job)).type.name == "SUCCESSFUL"
        await log.line("again after", 2)
        assert log.count("cannot record the result of job") == 2  # said once for each

    async def test_an_idle_worker_when_it_comes_back(
        self, own_server: tuple[EmbeddedServer, Redis], start: Started, log: Log
    ) -> None:
        server, connection = own_server
        queues = [Queue(name, connection) for name in NAMES]
        await start(queues, connection=connection)
        await waits(connection, 3)
        server.kill()
        await log.line("cannot take jobs")
        server.restart()
        for queue in queues:
            assert (await result_of(await queue.enqueue("jobs.add", 1))).return_value == 2
        assert log.count("cannot take jobs") == 1
        await waits(connection, 3)  # and not a look every now and then

    async def test_connections_are_killed(
        self, connection: Redis, new_client: Callable[[], Redis], start: Started, told: Fifo, gate: Fifo, log: Log
    ) -> None:
        queues = [Queue(name, connection) for name in NAMES]
        await start(queues, connection=new_client())
        running = await queues[0].enqueue("waiting.meet", told.path, gate.path)
        await told.pids()
        for _ in range(5):
            await connection.client_kill_filter(_type="normal", skipme=True)
        gate.let()
        assert (await result_of(running)).type.name == "SUCCESSFUL"
        for queue in queues * 2:
            await waits(connection, 3)
            await connection.client_kill_filter(_type="normal", skipme=True)
            assert (await result_of(await queue.enqueue("jobs.add", 1))).return_value == 2
        assert log.count("killed") == 0

    async def test_scripts_are_flushed(
        self, connection: Redis, start: Started, told: Fifo, gate: Fifo, log: Log
    ) -> None:
        queue = Queue(connection=connection)
        await start(lease=2)
        for _ in range(3):
            job = await queue.enqueue("waiting.meet", told.path, gate.path)
            await told.pids()
            await connection.script_flush()
            gate.let()
            assert (await result_of(job)).type.name == "SUCCESSFUL"
            await connection.script_flush()
        assert log.count("cannot") == 0

    async def test_memory_is_full(
        self, own_server: tuple[EmbeddedServer, Redis], start: Started, told: Fifo, gate: Fifo, log: Log
    ) -> None:
        """What is there is drained; the wait for more is refused, and the worker looks instead."""
        _, connection = own_server
        queue = Queue(connection=connection)
        jobs = [await queue.enqueue("waiting.meet", told.path, gate.path) for _ in range(3)]
        await start(connection=connection)
        await told.pids()
        await connection.config_set("maxmemory", 1)
        gate.let(3)
        await log.line("cannot wait for jobs")
        assert {await job.get_status() for job in jobs} == {JobStatus.FINISHED}
        await connection.config_set("maxmemory", 0)
        for _ in range(3):
            assert (await result_of(await queue.enqueue("jobs.add", 1))).return_value == 2
        await waits(connection, 1)
        assert log.count("cannot wait for jobs") == 1

    async def test_no_more_connections(
        self, own_server: tuple[EmbeddedServer, Redis], new_client: Callable[[], Redis], start: Started, log: Log
    ) -> None:
        """There is one for commands, and none to wait on."""
        server, connection = own_server
        await connection.ping()
        queue = Queue("three", connection)
        job = await queue.enqueue("jobs.add", 1)
        limited = Redis.from_url(server.url, max_connections=2)
        async with working(Worker(NAMES, connection=limited, path=self.path())):
            assert (await result_of(job)).return_value == 2
            await log.line("cannot wait for jobs")
            for _ in range(2):
                assert (await result_of(await queue.enqueue("jobs.add", 1))).return_value == 2
        await limited.aclose()
        assert log.count("cannot wait for jobs") == 1

    @staticmethod
    def path() -> list[str]:
        return [str(Path(__file__).parents[1] / "jobs"), FUNCTIONS, WAITING]

    async def test_a_permission_is_taken_away(
        self, own_server: tuple[EmbeddedServer, Redis], log: Log, told: Fifo, gate: Fifo
    ) -> None:
        server, connection = own_server
        await connection.acl_setuser("limited", enabled=True, nopass=True, keys=["*"], categories=["+@all"])
        limited = Redis.from_url(server.url, username="limited", password="any")
        queue = Queue(connection=connection)
        job = await queue.enqueue("waiting.meet", told.path, gate.path)
        async with working(Worker(connection=limited, path=self.path())):
            await told.pids()
            await connection.execute_command("ACL", "SETUSER", "limited", "-evalsha", "-eval")
            gate.let()
            await log.line("cannot record the result of job")
            await connection.execute_command("ACL", "SETUSER", "limited", "+evalsha", "+eval")
            assert (await result_of(job)).type.name == "SUCCESSFUL"
            assert (await result_of(await queue.enqueue("jobs.add", 1))).return_value == 2
        await limited.aclose()


class TestKeys:
    async def test_a_queue_that_is_no_list(self, connection: Redis, start: Started, log: Log) -> None:
        await connection.set("rq:queue:two", "not a list")
        queues = [Queue(name, connection) for name in NAMES]
        await start(queues)
        await log.line("cannot wait for jobs: Redis")
        for queue in (queues[0], queues[2]):
            assert (await result_of(await queue.enqueue("jobs.add", 1))).return_value == 2
        assert log.count("cannot wait for jobs") == 1
        await connection.delete("rq:queue:two")
        assert (await result_of(await queues[1].enqueue("jobs.add", 1))).return_value == 2
        await waits(connection, 3)

    @pytest.mark.parametrize("key", ["rq:wip:default", "rq:finished:default", "rq:results:{}", "rq:executions:{}"])
    async def test_of_another_type(
        self, queue: Queue, make_worker: Callable[..., Worker], key: str, told: Fifo, gate: Fifo
    ) -> None:
        """However it goes for that job: the worker goes on once the key is right."""
        first = await queue.enqueue("waiting.meet", told.path, gate.path)
        async with working(make_worker(lease=1)):
            await told.pids()
            name = key.format(first.id)
            await queue.connection.delete(name)
            await queue.connection.set(name, "of another type")
            gate.let()
            if "{}" not in key:
                await queue.connection.delete(name)
            assert (await result_of(await queue.enqueue("jobs.add", 1))).return_value == 2

    async def test_a_job_that_cannot_be_taken(self, queue: Queue, start: Started, log: Log, monitor: Monitor) -> None:
        """It is handed over and put back, again and again, and the worker does not keep the server busy with it."""
        await queue.connection.set("rq:wip:default", "not a sorted set")
        job = await queue.enqueue("jobs.add", 1)
        await start()
        await log.line("cannot wait for jobs: what is in the queues cannot be taken")
        assert monitor.count('"BLMOVE"') < 10
        await queue.connection.delete("rq:wip:default")
        assert (await result_of(job)).return_value == 2
        assert (await result_of(await queue.enqueue("jobs.add", 1))).return_value == 2


class TestZygote:
    async def test_its_death(self, queue: Queue, start: Started, told: Fifo, log: Log, monitor: Monitor) -> None:
        job = await queue.enqueue("waiting.hang", told.path)
        await start()
        [horse] = await told.pids()
        os.kill(int(horse.status("PPid")), signal.SIGKILL)
        result = await result_of(job)
        assert "the worker's process that forks jobs died" in result.exc_string
        assert (await result_of(await queue.enqueue("jobs.add", 1))).return_value == 2
        assert await horse.ended()

    async def test_no_new_one_for_a_while(
        self,
        queue: Queue,
        start: Started,
        told: Fifo,
        gate: Fifo,
        log: Log,
        monitor: Monitor,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Jobs are put back meanwhile, and not in a hurry."""
        monkeypatch.setenv("GATE", gate.path)
        gate.let()
        first = await queue.enqueue("waiting.hang", told.path)
        await start(preload="slow_start")
        [horse] = await told.pids()
        os.kill(int(horse.status("PPid")), signal.SIGKILL)
        await result_of(first)
        job = await queue.enqueue("jobs.add", 1)
        await log.line("is put back")
        before = monitor.count('"EVALSHA"')
        await log.line("is put back", 3)
        assert monitor.count('"EVALSHA"') - before < 20
        assert await job.get_status() in (JobStatus.QUEUED, JobStatus.STARTED)
        gate.let()
        assert (await result_of(job)).return_value == 2

    async def test_it_does_not_start(self, connection: Redis, make_worker: Callable[..., Worker]) -> None:
        from aiorq.execution.forking import ZygoteError

        worker = make_worker(preload="no_such_module")
        with pytest.raises(ZygoteError, match="cannot preload no_such_module"):
            await worker.work(burst=True)
        assert await connection.hexists(f"rq:worker:{worker.name}", "death")
        assert await connection.smembers("rq:workers") == set()


class TestMalformedJobs:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("timeout", "abc"),
            ("timeout", "1.5"),
            ("timeout", "9" * 400),
            ("timeout", "9" * 5000),
            ("created_at", "zzz"),
            ("status", "banana"),
            ("retries_left", "abc"),
            ("description", b"\xff\xfe"),
            ("origin", b"\xff\xfe"),
            ("origin", "x" * 1000),
            ("result_ttl", "9" * 30),
            ("result_ttl", "abc"),
            ("failure_ttl", "9" * 30),
            ("dependency_ids", "{"),
            ("data", b""),
            ("data", b"\x00junk"),
            ("meta", b"\x80junk"),
        ],
    )
    async def test_it_ends_and_the_worker_goes_on(
        self, queue: Queue, make_worker: Callable[..., Worker], field: str, value: Any, log: Log
    ) -> None:
        broken = await queue.enqueue("jobs.add", 1)
        await queue.connection.hset(broken.key, field, value)
        job = await queue.enqueue("jobs.add", 1)
        async with asyncio.timeout(20):
            await make_worker().work(burst=True)
        assert await job.return_value() == 2
        assert await queue.connection.hget(broken.key, "status") in (b"failed", b"finished")
        assert await queue.connection.keys("rq:execution*") == []

    async def test_a_hash_that_is_none(self, queue: Queue, make_worker: Callable[..., Worker]) -> None:
        await queue.connection.set("rq:job:broken", "text")
        await queue.connection.rpush(queue.key, "broken")
        job = await queue.enqueue("jobs.add", 1)
        await make_worker().work(burst=True)
        assert await job.return_value() == 2

    async def test_a_long_id(self, queue: Queue, make_worker: Callable[..., Worker]) -> None:
        job = await queue.enqueue("jobs.add", 1)
        await queue.connection.rename(job.key, "rq:job:" + 1000 * "x")
        await queue.connection.rpush(queue.key, 1000 * "x")
        job = await queue.enqueue("jobs.add", 1)
        await make_worker().work(burst=True)
        assert await job.return_value() == 2
