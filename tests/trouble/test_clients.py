"""Clients in trouble of their own: cancelled anywhere, short of connections, forked, or led to another server."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from redis.asyncio import Redis
from redis.asyncio.connection import BlockingConnectionPool

from aiorq import Job, Queue, Worker, connect
from aiorq.errors import ConnectionLostError, StoreError
from aiorq.server import EmbeddedServer
from aiorq.store import commands, waiting
from aiorq.store.base import store_of
from tests.api.conftest import FakeWorker, clients_of, tasks_of_ours, until
from tests.execution.processes import LIMIT
from tests.trouble.conftest import Ledger, proxied
from tests.trouble.proxy import Fault, Proxy
from tests.worker.conftest import Started, result_of, working

ROUNDS: Final = 60
TASKS: Final = 12
STEPS: Final = 40
"""Turns of the event loop after which a task is cancelled, at most; most calls take fewer."""


async def quiet() -> bool:
    return not tasks_of_ours()


@pytest.mark.parametrize(
    "anyio_backend",
    [("asyncio", {"use_uvloop": False}), ("asyncio", {"use_uvloop": True})],
    ids=["asyncio", "uvloop"],
)
@pytest.mark.parametrize("seed", range(2))
class TestCancelled:
    """Tasks are cancelled after a number of turns of the event loop, so at whatever await they are then."""

    @pytest.fixture
    async def client(self, connection: Redis, url: str) -> AsyncIterator[Redis]:
        client = connect(url, client_name="canceled")
        yield client
        await client.aclose()

    async def cancel_some(
        self, chance: random.Random, calls: list[Callable[[], Awaitable[Any]]]
    ) -> list[Any | BaseException]:
        """Start calls together and cancel two thirds, each after a while of its own; returns what became of each."""
        tasks = [asyncio.ensure_future(call()) for call in calls]
        ends = {task: chance.randrange(STEPS) for task in tasks if chance.random() < 2 / 3}
        for step in range(STEPS):
            for task, end in ends.items():
                if end == step:
                    task.cancel()
            await asyncio.sleep(0)
        return await asyncio.gather(*tasks, return_exceptions=True)

    @staticmethod
    def told(outcome: Any | BaseException, expected: Any) -> bool:
        """Whether a call that was not cancelled was told the right thing; False where it was cancelled."""
        if isinstance(outcome, asyncio.CancelledError):
            return False
        assert outcome == expected
        return True

    async def no_connection_is_left(self, connection: Redis, client: Redis) -> None:
        await until(quiet)
        assert len(client.connection_pool._in_use_connections) == 1  # the one for commands
        assert sum(told["name"] == "canceled" for told in await clients_of(connection)) <= 2

    async def test_questions(self, connection: Redis, client: Redis, seed: int) -> None:
        """Who is not cancelled gets the right answer."""
        chance = random.Random(seed)
        queue, worker = Queue(connection=client), FakeWorker(store_of(client))
        made = [await queue.enqueue("jobs.add", number, job_id=f"job-{number}") for number in range(10)]
        ended = [await Queue("ended", client).enqueue("jobs.add", number) for number in range(10)]
        for number, job in enumerate(ended):
            await worker.do(job, number)
        never: Job[Any] = Job("never", client)

        async def args(number: int) -> Any:
            return (await Job.fetch(f"job-{number}", client)).args

        async def value(number: int, seconds: float) -> Any:
            result = await ended[number].latest_result(timeout=seconds)
            assert result is not None
            return result.return_value

        answered = 0
        for _ in range(ROUNDS):
            calls: list[Callable[[], Awaitable[Any]]] = []
            expected: list[Any] = []
            for _ in range(TASKS):
                number = chance.randrange(10)
                questions: list[tuple[Callable[[], Awaitable[Any]], Any]] = [
                    (partial(args, number), (number,)),
                    (partial(queue.get_job_position, made[number]), number),
                    (partial(value, number, 0), number),
                    (partial(value, number, LIMIT), number),
                    (partial(never.latest_result, timeout=0.001), None),
                    (queue.count, 10),
                ]
                call, answer = chance.choice(questions)
                calls.append(call)
                expected.append(answer)
            outcomes = await self.cancel_some(chance, calls)
            answered += sum(self.told(*pair) for pair in zip(outcomes, expected, strict=True))
        assert ROUNDS < answered < ROUNDS * TASKS
        await self.no_connection_is_left(connection, client)

    async def test_changes(self, connection: Any, client: Redis, seed: int) -> None:
        """Each is there entirely or not at all, whether its caller heard of it or not."""
        chance = random.Random(seed)
        queue = Queue(connection=client)
        for round_ in range(ROUNDS):
            old = [await queue.enqueue("jobs.add", 1, description="old") for _ in range(2)]
            old[0].description = "new"
            ids = [f"{round_}-{number}" for number in range(TASKS - 3)]
            outcomes = await self.cancel_some(
                chance,
                [
                    *[partial(queue.enqueue, "jobs.add", job_id=job_id) for job_id in ids],
                    partial(queue.enqueue_many, [Queue.prepare_data("jobs.add") for _ in range(5)]),
                    old[0].save,
                    old[1].delete,
                ],
            )
            await until(quiet)
            for job_id, outcome in zip(ids, outcomes, strict=False):
                if not isinstance(outcome, asyncio.CancelledError):
                    assert isinstance(outcome, Job)
                    assert await connection.exists(f"rq:job:{job_id}")
            assert (await Job.fetch(old[0].id, client)).description in ("old", "new")
            if not isinstance(outcomes[-2], asyncio.CancelledError):
                assert (await Job.fetch(old[0].id, client)).description == "new"
            if not isinstance(outcomes[-1], asyncio.CancelledError):
                assert not await connection.exists(old[1].key)
        listed = await connection.lrange("rq:queue:default", 0, -1)
        assert sorted(listed) == sorted(key.removeprefix(b"rq:job:") for key in await connection.keys("rq:job:*"))
        for job_id in listed:
            assert {b"data", b"status", b"enqueued_at"} <= set(await connection.hkeys(b"rq:job:" + job_id))
        await self.no_connection_is_left(connection, client)


@pytest.mark.parametrize("seconds", [None, 5])
async def test_a_listener_that_is_cancelled_ends(connection: Redis, url: str, seconds: int | None) -> None:
    """After any number of turns of the event loop, and whatever timeout the application gave its client."""

    async def listen() -> None:
        while True:
            async with aclosing(commands.listen(store, "worker")) as messages:
                async for _ in messages:
                    pass

    client = Redis.from_url(url, socket_timeout=seconds)
    store = store_of(client)
    await client.ping()
    for turns in range(3 * STEPS):
        task = asyncio.create_task(listen())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=LIMIT)
        assert task.cancelled(), f"cancelled after {turns} turns, it goes on"
        assert len(client.connection_pool._in_use_connections) <= 1  # the one for commands
    await client.aclose()


class TestFewConnections:
    """One connection carries the commands; waiting does without where there is no second one."""

    @pytest.mark.parametrize("waits_first", [True, False])
    async def test_a_result_is_waited_for(
        self, queue: Queue, url: str, start: Started, gate: Any, told: Any, waits_first: bool
    ) -> None:
        limited = connect(url, max_connections=1)
        mine = Queue(connection=limited)
        job = await queue.enqueue("waiting.meet", told.path, gate.path)
        if not waits_first:
            assert await mine.count() == 1
        results = [asyncio.create_task(result_of(Job(job.id, limited))) for _ in range(3)]
        await start()
        await told.pids()
        for _ in range(20):
            assert await mine.count() == 0
        gate.let()
        for result in results:
            assert (await result).type.name == "SUCCESSFUL"
        await limited.aclose()

    async def test_others_have_the_connections(self, queue: Queue, url: str, start: Started) -> None:
        """What the application has borrowed comes back, or not."""
        limited = connect(url, max_connections=3)
        borrowed = [await limited.connection_pool.get_connection() for _ in range(3)]
        job = await queue.enqueue("jobs.add", 1)
        with pytest.raises(ConnectionLostError, match="Too many connections"):
            await Job(job.id, limited).get_status()
        waiting = asyncio.create_task(result_of(Job(job.id, limited)))
        await limited.connection_pool.release(borrowed.pop())
        await start()
        assert (await waiting).return_value == 2
        for one in borrowed:
            await limited.connection_pool.release(one)
        await limited.aclose()

    async def test_a_pool_that_waits(self, queue: Queue, url: str, start: Started) -> None:
        limited = Redis.from_pool(BlockingConnectionPool.from_url(url, max_connections=1, timeout=0.1))
        job = await Queue(connection=limited).enqueue("jobs.add", 1)
        await start()
        assert (await result_of(job)).return_value == 2
        await limited.aclose()

    async def test_a_wait_that_is_refused(self, connection: Redis, url: str) -> None:
        """Looking, too, tells a key of the wrong type from one that is not there yet."""
        await connection.set("rq:results:broken", "text")
        limited = connect(url, max_connections=1)
        with anyio.fail_after(LIMIT), pytest.raises(StoreError, match="WRONGTYPE"):
            await Job("broken", limited).latest_result(timeout=LIMIT)
        await limited.aclose()


@pytest.mark.parametrize("client", ["not-shared", "own"])
def test_forked(url: str, client: str) -> None:
    """One that was there before the fork belongs to the parent; one that is made after it works."""
    command = [sys.executable, "-P", "-W", "error", str(Path(__file__).with_name("forked.py")), client, url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


class TestDemoted:
    """A server becomes a replica, and its name leads to another one."""

    @pytest.fixture
    async def servers(self, tmp_path: Path) -> AsyncIterator[tuple[Any, Any, Proxy, EmbeddedServer]]:
        with EmbeddedServer() as old, EmbeddedServer() as new:
            clients = connect(old.url), connect(new.url)
            async with proxied(old, tmp_path) as proxy:
                yield *clients, proxy, new
            for client in clients:
                await client.aclose()

    async def test_client(self, servers: tuple[Any, Any, Proxy, EmbeddedServer]) -> None:
        old, new, proxy, successor = servers
        client = connect(proxy.url)
        queue = Queue(connection=client)
        await queue.enqueue("jobs.add", 1)
        await old.replicaof("127.0.0.1", 1)
        proxy.upstream = str(successor.socket_path)
        with pytest.raises(ConnectionLostError, match="read only replica"):
            await queue.enqueue("jobs.add", 1)
        job = await queue.enqueue("jobs.add", 1)
        assert await new.lrange("rq:queue:default", 0, -1) == [job.id.encode()]
        await client.aclose()

    async def test_waits(self, servers: tuple[Any, Any, Proxy, EmbeddedServer]) -> None:
        old, new, proxy, successor = servers
        client = connect(proxy.url)
        job = await Queue(connection=new).enqueue("jobs.add", 1)
        waiting = asyncio.create_task(result_of(Job(job.id, client)))
        await waits(old, 1)
        proxy.upstream = str(successor.socket_path)
        await old.replicaof("127.0.0.1", 1)
        await FakeWorker(store_of(new)).do(job, 2)
        assert (await waiting).return_value == 2
        await client.aclose()

    @pytest.mark.parametrize("names", [["default"], ["default", "two", "three"]], ids=len)
    async def test_worker(
        self,
        servers: tuple[Any, Any, Proxy, EmbeddedServer],
        make_worker: Callable[..., Worker],
        tmp_path: Path,
        names: list[str],
    ) -> None:
        """It goes to the new one with all of its connections."""
        old, new, proxy, successor = servers
        client = connect(proxy.url)
        before = Ledger(tmp_path / "before", Queue(connection=old))
        ledger = Ledger(tmp_path / "lines", Queue(connection=new))
        worker = make_worker(names, connection=client)

        async def hears() -> bool:
            [(_, listeners)] = await new.pubsub_numsub(f"rq:pubsub:{worker.name}")
            return bool(listeners)

        async with working(worker):
            await before.enqueue()
            await before.settled()
            await waits(old, len(names))
            proxy.upstream = str(successor.socket_path)
            await old.replicaof("127.0.0.1", 1)
            for _ in range(3):
                await ledger.enqueue()
                await ledger.check()
            await waits(new, len(names))
            for name in names:
                assert (await result_of(await Queue(name, new).enqueue("jobs.add", 1))).return_value == 2
            await until(hears)
            assert proxy.destinations == {str(successor.socket_path)}
        await client.aclose()


async def waits(connection: Any, count: int) -> None:
    """Look until so many clients are blocked."""
    async with asyncio.timeout(LIMIT):
        while (await connection.info("clients"))["blocked_clients"] < count:
            pass


class TestSilence:
    async def test_keepalive(self) -> None:
        """A connection that is silent for 15 s is dropped, whatever it waits for."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with EmbeddedServer(options={"port": port}):
            client = connect(f"redis://127.0.0.1:{port}")
            connection: Any = await client.connection_pool.get_connection()
            sock = connection._writer.get_extra_info("socket")
            probes = [sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, f"TCP_KEEP{name}")) for name in NAMES]
            assert probes[0] + probes[1] * probes[2] <= 15
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 15_000
            await client.connection_pool.release(connection)
            await client.aclose()

    async def test_a_wait_whose_connection_is_dead(
        self, queue: Queue, proxy: Proxy, through_proxy: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It asks again over another one."""
        monkeypatch.setattr(waiting, "_BLOCK", 0.2)
        monkeypatch.setattr(waiting, "REPLY_TIMEOUT", 0.3)
        job = await queue.enqueue("jobs.add", 1)
        result = asyncio.create_task(result_of(Job(job.id, through_proxy)))
        blocked = proxy.arm(Fault(lambda command: command[0] == b"XREAD", gate=asyncio.Event()))
        async with asyncio.timeout(LIMIT):
            await blocked.struck.wait()  # and is never answered
        await FakeWorker(store_of(queue.connection)).do(job, 2)
        assert (await result).return_value == 2


NAMES: Final = ("IDLE", "INTVL", "CNT")
