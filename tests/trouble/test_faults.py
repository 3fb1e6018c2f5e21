"""What befalls a server while a worker is busy: the worker lives, no job is lost, and none is run or recorded twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from aiorq import Queue, Worker, connect
from aiorq.errors import QueueFullError
from aiorq.server import EmbeddedServer
from aiorq.store import transport, waiting, workers
from aiorq.worker import wake
from tests.execution.processes import LIMIT, Fifo
from tests.trouble.conftest import REST, Ledger
from tests.trouble.proxy import Proxy
from tests.worker.conftest import Log, Script, working

Run = Callable[[str], Script]


class Scene:
    """A server that keeps what it acknowledged, a worker in a process of its own, and jobs that come all the time."""

    def __init__(self, server: EmbeddedServer, connection: Redis, ledger: Ledger, script: Script) -> None:
        self.server = server
        self.connection: Any = connection
        self.ledger = ledger
        self.worker = script

    async def goes_on(self) -> None:
        """Wait until jobs run that come now; the worker is still the same process."""
        await self.ledger.more()
        assert self.worker.process.alive


@pytest.fixture
def scene(
    own_server: tuple[EmbeddedServer, Redis], run_script: Run, tmp_path: Path, jobs_path: str
) -> Callable[..., Any]:
    """Sets the scene; at its end everything is checked."""

    @asynccontextmanager
    async def set_scene(lease: float = 15.0, concurrency: int = 3) -> AsyncIterator[Scene]:
        server, connection = own_server
        producer = connect(server.url)
        ledger = Ledger(tmp_path / "lines", Queue(connection=connection))
        options = f"connection={server.url!r}, path={jobs_path!r}, concurrency={concurrency}, lease={lease}"
        script = run_script(f"Worker({options}).run()")
        async with aclosing(producer):
            async with ledger.load(Queue(connection=producer)):
                scene = Scene(server, connection, ledger, script)
                await scene.goes_on()
                yield scene
                await scene.goes_on()
            await ledger.check()
        assert script.process.alive

    return set_scene


class TestServer:
    @pytest.mark.parametrize("crash", [False, True])
    async def test_away_for_three_seconds(self, scene: Callable[..., Any], crash: bool) -> None:
        async with scene() as on:
            if crash:
                on.server.kill()
            else:
                await on.connection.shutdown(nosave=True)
            await asyncio.sleep(3)
            on.server.restart()
            await on.goes_on()

    async def test_frozen_for_four_seconds(self, scene: Callable[..., Any]) -> None:
        async with scene() as on:
            on.server.pause()
            await asyncio.sleep(4)
            on.server.resume()
            await on.goes_on()
        assert on.ledger.unsure == set()

    async def test_connections_are_killed(self, scene: Callable[..., Any]) -> None:
        async with scene() as on:
            for _ in range(5):
                assert await on.connection.client_kill_filter(_type="normal", skipme=True) >= 2
                await on.goes_on()

    async def test_scripts_are_flushed(self, scene: Callable[..., Any]) -> None:
        async with scene() as on:
            for _ in range(5):
                await on.connection.script_flush()
                await on.goes_on()
        assert on.ledger.unsure == set()

    async def test_memory_is_full(self, scene: Callable[..., Any]) -> None:
        """New jobs are refused, those that were there run."""
        async with scene() as on:
            await on.connection.config_set("maxmemory", 1)
            before = set(await on.connection.keys("rq:job:*"))
            for _ in range(20):
                with pytest.raises(QueueFullError):
                    await on.ledger.enqueue()
            async with asyncio.timeout(LIMIT):
                while await on.ledger.remains():  # noqa: ASYNC110 - it is Redis that is asked
                    await asyncio.sleep(REST)
            assert set(await on.connection.keys("rq:job:*")) == before
            await on.connection.config_set("maxmemory", 0)
            await on.goes_on()
        assert len(on.ledger.refused) >= 20

    async def test_no_room_for_clients(self, scene: Callable[..., Any]) -> None:
        async with scene() as on:
            await on.connection.config_set("maxclients", 1)
            await on.connection.client_kill_filter(_type="normal", skipme=True)
            await on.worker.line("trying again until it works")
            await on.connection.config_set("maxclients", 1000)
            await on.goes_on()

    async def test_keys_are_flushed(
        self,
        own_server: tuple[EmbeddedServer, Redis],
        run_script: Run,
        tmp_path: Path,
        jobs_path: str,
        told: Fifo,
        gate: Fifo,
    ) -> None:
        """A job that runs is not brought back; the worker enters itself anew."""
        server, client = own_server
        connection: Any = client
        queue = Queue(connection=connection)
        running = await queue.enqueue("waiting.meet", told.path, gate.path)
        script = run_script(
            f"Worker(name='w', connection={server.url!r}, path={jobs_path!r}, concurrency=2, lease=3).run()"
        )
        await told.pids()
        await connection.flushdb()
        await script.line("it is entered anew")
        async with asyncio.timeout(LIMIT):
            while not await connection.sismember("rq:workers", "rq:worker:w"):  # noqa: ASYNC110 - it is Redis that is asked
                await asyncio.sleep(REST)
        ledger = Ledger(tmp_path / "lines", queue)
        for _ in range(10):
            await ledger.enqueue()
        await ledger.check()
        assert await connection.keys(f"*{running.id}*") == []
        assert await connection.hexists("rq:worker:w", "birth")
        assert script.process.alive


class TestSilence:
    """Nothing gets through and nobody says so."""

    @pytest.fixture(autouse=True)
    def impatience(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (transport, workers, waiting):
            monkeypatch.setattr(module, "REPLY_TIMEOUT", 1.0)

    async def test_a_busy_worker(
        self, proxy: Proxy, through_proxy: Redis, ledger: Ledger, make_worker: Callable[..., Worker], url: str, log: Log
    ) -> None:
        producer = connect(url)
        async with aclosing(producer), working(make_worker(connection=through_proxy, concurrency=2)):
            async with ledger.load(Queue(connection=producer)):
                await ledger.more()
                with proxy.black_hole():
                    await log.line("trying again until it works")
                await ledger.more()
            await ledger.check()

    async def test_an_idle_worker(
        self,
        proxy: Proxy,
        through_proxy: Redis,
        ledger: Ledger,
        make_worker: Callable[..., Worker],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """What is handed to a dead connection is found all the same."""
        monkeypatch.setattr(wake, "_BLOCK", 0.5)
        async with working(make_worker(connection=through_proxy)):
            await ledger.enqueue()
            await ledger.settled()
            async with asyncio.timeout(LIMIT):
                while not (await ledger.connection.info("clients"))["blocked_clients"]:  # noqa: ASYNC110 - it is Redis that is asked
                    await asyncio.sleep(REST)
            with proxy.black_hole():
                await ledger.enqueue()
            await ledger.check()
