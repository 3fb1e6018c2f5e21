"""The way to Redis: URLs, settings of clients, connections that are lost, and servers that are away or say no."""

from __future__ import annotations

import asyncio
import gc
import traceback
import weakref
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import anyio
import pytest
import uvloop
from redis.asyncio import Redis
from redis.asyncio.connection import ConnectionPool, SSLConnection

import aiorq.store.transport
from aiorq import Job, Queue, connect
from aiorq.errors import AiorqError, ConnectionLostError, InvalidURLError, StoreError, WrongLoopError
from aiorq.server import EmbeddedServer
from aiorq.store.base import store_of
from aiorq.store.connection import (
    DEFAULT_URL,
    AnyRedis,
    connect_as,
    connect_blocking,
    default_url,
    describe,
    shared_connection,
    where,
)
from tests.api.conftest import FakeWorker, Proxy, clients_of, tasks_of_ours, until

SECRET = "c4n4ry"


def settings_of(client: AnyRedis) -> dict[str, Any]:
    settings: dict[str, Any] = client.connection_pool.connection_kwargs
    return settings


def raise_for(client: Redis) -> None:
    raise AssertionError(f"{where(client)} should not have been taken")


class TestURLs:
    @pytest.mark.parametrize(
        ("url", "place"),
        [
            ("redis://localhost", "localhost:6379/0"),
            ("redis://", "localhost:6379/0"),
            ("redis://host:1234/5", "host:1234/5"),
            ("redis://host/", "host:6379/0"),
            ("redis://[::1]:7/1", "::1:7/1"),
            (f"redis://user:{SECRET}@host:1/2", "host:1/2"),
            (f"redis://:{SECRET}@host", "host:6379/0"),
            (f"redis://:{SECRET}%2Fw%40x@host", "host:6379/0"),
            (f"redis://:{SECRET}@x@host", "host:6379/0"),
            ("redis://host?db=3", "host:6379/3"),
            (f"rediss://:{SECRET}@host", "host:6379/0"),
            ("valkey://host:1", "host:1/0"),
            ("valkeys://host:1", "host:1/0"),
            ("unix:///some/where", "unix:///some/where"),
            (f"unix://user:{SECRET}@/some/where?db=2", "unix:///some/where"),
        ],
    )
    def test_good(self, url: str, place: str) -> None:
        client = connect(url)
        assert where(client) == place
        assert SECRET not in where(client)
        secure = client.connection_pool.connection_class is SSLConnection
        assert secure == url.startswith(("rediss", "valkeys"))
        blocking = connect_blocking(url)
        assert where(blocking) == place
        names = ("username", "password", "db", "path", "port")
        assert [settings_of(blocking).get(name) for name in names] == [settings_of(client).get(name) for name in names]

    def test_password_is_taken(self) -> None:
        assert settings_of(connect(f"redis://:{SECRET}%2Fw%40x@host"))["password"] == f"{SECRET}/w@x"

    @pytest.mark.parametrize(
        ("url", "part"),
        [
            (f"http://:{SECRET}@host", "scheme http"),
            (f"{SECRET}", "scheme none"),
            (f"redis:/{SECRET}@host", "scheme none"),
            (f"REDIS://{SECRET}@host", "scheme none"),
            (f"redis://:{SECRET}@host:port", "port"),
            (f"redis://:{SECRET}@host:99999", "port"),
            (f"redis://:{SECRET}@host:0", "port"),
            (f"redis://:{SECRET}@host:-1", "port"),
            (f"redis://:{SECRET}@host/notadb", "database"),
            (f"redis://:{SECRET}@host/-1", "database"),
            (f"redis://:{SECRET}@host/1/2", "database"),
            (f"redis://:{SECRET}@host/\N{SUPERSCRIPT TWO}", "database"),
            (f"redis://:{SECRET}@host?db=x", "db"),
            (f"redis://:{SECRET}@host?socket_timeout=x", "socket_timeout"),
            (f"redis://:{SECRET}@host?unknown=1", "unknown"),
            (f"redis://:{SECRET}@[::1", "host"),
            (f"redis://:{SECRET}p@ss/w@host", "database"),
            (f"redis://:1{SECRET}?p@host", "port"),
            (f"redis://:1?{SECRET}@host", "'@' behind"),
            (f"redis://:1/{SECRET}@host", "database"),
            (f"redis://:1#{SECRET}@host", "behind '#'"),
            (f"redis://host/1#{SECRET}", "behind '#'"),
            (f"unix://:{SECRET}@", "names no socket"),
            ("unix:///", "names no socket"),
        ],
    )
    def test_bad(self, url: str, part: str) -> None:
        with pytest.raises(InvalidURLError) as caught:
            raise_for(connect(url))
        assert part in str(caught.value)
        assert isinstance(caught.value, ValueError)
        assert SECRET not in "".join(traceback.format_exception(caught.value))

    def test_bad_settings_beside_a_url(self) -> None:
        with pytest.raises(InvalidURLError, match="unknown"):
            raise_for(connect("redis://host", unknown=1))

    def test_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert default_url() == DEFAULT_URL == "redis://localhost:6379/0"
        monkeypatch.setenv("RQ_REDIS_URL", "redis://theirs")
        assert where(connect()) == "theirs:6379/0"
        monkeypatch.setenv("AIORQ_REDIS_URL", "redis://ours:1/2")
        assert where(connect()) == "ours:1/2"
        monkeypatch.setenv("AIORQ_REDIS_URL", f"redis://:{SECRET}@h/db")
        with pytest.raises(InvalidURLError):
            raise_for(connect())

    async def test_bad_one_of_a_queue(self) -> None:
        with pytest.raises(InvalidURLError, match="scheme http"):
            await Queue(connection="http://host").count()

    @pytest.mark.parametrize(
        "url", [f"redis://user:{SECRET}@host:1/2", f"rediss://:{SECRET}@host?ssl_cert_reqs=none", "unix:///x?db=3"]
    )
    def test_another_process_connects_to_the_same_place(self, url: str) -> None:
        import json

        client = connect(url, decode_responses=True)
        same = connect_as(json.loads(json.dumps(describe(client))))
        assert where(same) == where(client)
        assert same.connection_pool.connection_class is client.connection_pool.connection_class
        for name in ("host", "port", "db", "username", "password", "path", "ssl_cert_reqs"):
            assert settings_of(same).get(name) == settings_of(client).get(name)
        assert not settings_of(same).get("decode_responses")


class TestSharing:
    async def test_a_url_is_one_client_for_all(self, connection: Redis, url: str) -> None:
        """Queues, their jobs and whatever is asked by URL: connections do not add up."""
        queue = Queue(connection=url)
        made = [await queue.enqueue("jobs.add", number) for number in range(20)]
        for job in made:
            assert await job.get_status() == "queued"
            assert (await Job.fetch(job.id, url)).id == job.id
        assert [queue.name for queue in await Queue.all(url)] == ["default"]
        assert made[0].connection is queue.connection is Queue("other", url).connection
        assert len(await clients_of(connection)) == 1
        await queue.connection.aclose()

    async def test_the_client_of_the_environment(
        self, connection: Redis, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIORQ_REDIS_URL", url)
        job = await Queue().enqueue("jobs.add", 1)
        assert await Job(job.id).get_status() == "queued"
        assert job.connection is Queue("other").connection
        assert len(await clients_of(connection)) == 1
        await job.connection.aclose()

    def test_urls_in_several_event_loops(self, url: str) -> None:
        """A queue made at import time is used wherever a loop runs."""
        queue = Queue(connection=url)

        async def use() -> int:
            job = await queue.enqueue("jobs.add", 1)
            assert await job.get_status() == "queued"
            try:
                return await queue.count()
            finally:
                await queue.connection.aclose()

        counts = [asyncio.run(use()) for _ in range(3)]
        assert counts == [counts[0], counts[0] + 1, counts[0] + 2]

    def test_client_in_another_event_loop(self, url: str) -> None:
        client = connect(url)
        queue = Queue(connection=client)

        async def use() -> Job[Any]:
            try:
                return await queue.enqueue("jobs.add", 1)
            finally:
                await client.connection_pool.disconnect()

        async def use_all(job: Job[Any]) -> None:
            for call in (
                lambda: queue.enqueue("jobs.add", 1),
                queue.count,
                job.get_status,
                lambda: job.latest_result(timeout=1),
                lambda: queue.enqueue_many([Queue.prepare_data("jobs.add")]),
            ):
                with pytest.raises(WrongLoopError, match="another event loop"):
                    await call()

        job = asyncio.run(use())
        asyncio.run(use_all(job))
        assert issubclass(WrongLoopError, ConnectionLostError)

    async def test_clients_are_not_kept(self, url: str) -> None:
        client = connect(url)
        assert await Queue(connection=client).count() >= 0
        assert store_of(client) is store_of(client)
        assert store_of(client, "other") is not store_of(client)
        await client.aclose()
        gone = weakref.ref(client)
        del client
        gc.collect()
        assert gone() is None

    async def test_client_with_room_for_one_connection(self, connection: Redis, url: str) -> None:
        client = Redis.from_url(url, max_connections=1)
        queue = Queue(connection=client)
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(queue.enqueue, "jobs.add", 1)
        assert await queue.count() == 50
        await client.aclose()


class TestSettings:
    """A client that the application made for itself does as well as one of ours."""

    @pytest.mark.parametrize(
        "settings",
        [
            {"decode_responses": True, "socket_timeout": 0.05},
            {"decode_responses": True, "protocol": 3},
            {"protocol": 2},
            {"encoding": "latin-1"},
            {"encoding": "utf-16"},
            {"health_check_interval": 1},
            {"single_connection_client": True},
            {"client_name": "somebody"},
        ],
        ids=str,
    )
    async def test_everything_works(self, connection: Redis, server: EmbeddedServer, settings: dict[str, Any]) -> None:
        client = Redis.from_url(server.url, **settings)  # without a password, which UTF-16 would change
        queue, worker = Queue("täst", client), FakeWorker(store_of(client))
        job = await queue.enqueue("jobs.echo", "ä", b"\xff", description="täxt", meta={"ä": b"\xff"})
        made = await queue.enqueue_many([Queue.prepare_data("jobs.echo", job_id="a"), Queue.prepare_data("jobs.echo")])
        assert await queue.count() == 3
        assert await queue.get_job_ids() == [job.id, "a", made[1].id]
        same = await Job.fetch(job.id, client)
        assert (same.args, same.description, same.meta) == (("ä", b"\xff"), "täxt", {"ä": b"\xff"})
        assert same.origin == "täst"
        assert [queue.name for queue in await Queue.all(client)] == ["täst"]
        assert await queue.get_job_position("a") == 1
        await job.save_meta()
        await worker.do(job, "ö")
        assert await job.return_value() == "ö"
        assert [result.return_value for result in await job.results()] == ["ö"]
        assert await queue.remove("a") == 1
        assert await queue.empty() == 1
        await queue.delete()
        # And what is stored is what everybody else reads.
        assert (await Job.fetch(job.id, connection)).description == "täxt"
        await client.aclose()

    async def test_answer_that_takes_longer_than_the_timeout_of_the_client(
        self, connection: Redis, url: str, server: EmbeddedServer
    ) -> None:
        client = Redis.from_url(url, socket_timeout=0.05)
        queue = Queue(connection=client)
        await queue.count()
        await connection.execute_command("CLIENT", "PAUSE", 200, "ALL")
        with anyio.fail_after(10):
            job = await queue.enqueue("jobs.add", 1)
        assert await queue.get_job_ids() == [job.id]
        await client.aclose()


class TestLostConnections:
    async def test_between_calls(self, queue: Queue, connection: Redis, url: str) -> None:
        client = connect(url)
        mine = Queue(connection=client)
        for number in range(5):
            await mine.enqueue("jobs.add", number)
            for one in await clients_of(connection):
                await connection.client_kill_filter(_id=one["id"])
        assert await mine.count() == 5
        await client.aclose()

    async def test_many_idle_ones_at_once(self, connection: Redis, url: str) -> None:
        client = connect(url)
        mine = Queue(connection=client)
        pool = client.connection_pool
        held = [await pool.get_connection() for _ in range(10)]
        for one in held:
            await pool.release(one)
        for one_client in await clients_of(connection):
            await connection.client_kill_filter(_id=one_client["id"])
        job = await mine.enqueue("jobs.add", 1)
        assert await mine.get_job_ids() == [job.id]
        await client.aclose()

    async def test_during_calls(self, connection: Redis, url: str) -> None:
        """Connections are killed all the time: each job is enqueued, once."""
        client = connect(url)
        mine = Queue(connection=client)
        done = 0

        async def enqueue(number: int) -> None:
            nonlocal done
            for step in range(20):
                job_id = f"job-{number}-{step}" if step % 2 else None
                await mine.enqueue("jobs.add", number, job_id=job_id)
                done += 1

        async def kill() -> None:
            while done < 400:
                for one in await clients_of(connection):
                    await connection.client_kill_filter(_id=one["id"])
                await until(partial(progressed, done))

        async def progressed(before: int) -> bool:
            return done > before + 15 or done == 400

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(enqueue, number)
            group.start_soon(kill)
        ids = await Queue(connection=connection).get_job_ids()
        assert len(ids) == len(set(ids)) == 400
        await client.aclose()

    @pytest.mark.parametrize("job_id", [None, "an-id"])
    async def test_answer_to_an_enqueue(
        self, connection: Redis, proxy: Proxy, through_proxy: Redis, job_id: str | None
    ) -> None:
        queue = Queue(connection=through_proxy)
        await queue.enqueue("jobs.add", 0)
        proxy.lose_answer_to("EVALSHA")
        job = await queue.enqueue("jobs.add", 1, job_id=job_id)
        assert proxy.lost == 1
        assert await queue.count() == 2
        assert (await queue.get_job_ids())[1] == job.id

    async def test_answer_to_a_batch(self, connection: Redis, proxy: Proxy, through_proxy: Redis) -> None:
        queue = Queue(connection=through_proxy)
        await queue.enqueue("jobs.add", 0)
        proxy.lose_answer_to("EVALSHA")
        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(queue.enqueue, "jobs.add", number)
        proxy.lose_answer_to("EVALSHA")
        await queue.enqueue_many([Queue.prepare_data("jobs.add", job_id=f"job-{n}") for n in range(50)])
        assert proxy.lost == 2
        ids = await queue.get_job_ids()
        assert len(ids) == len(set(ids)) == 101

    async def test_answer_to_a_claim_and_an_outcome(
        self, queue: Queue, connection: Redis, proxy: Proxy, through_proxy: Redis
    ) -> None:
        worker = FakeWorker(store_of(through_proxy))
        for number in range(3):
            await queue.enqueue("jobs.add", job_id=f"job-{number}")
        first = (await worker.take(1))[0]
        await worker.finish(first)
        proxy.lose_answer_to("EVALSHA")
        second, third = await worker.take(2)
        assert [second.job_id, third.job_id] == ["job-1", "job-2"]
        proxy.lose_answer_to("EVALSHA")
        await worker.finish(second, 5)
        proxy.lose_answer_to("EVALSHA")
        await worker.finish(third, 6, ttl=0)
        assert proxy.lost == 3
        assert await connection.xlen("rq:results:job-1") == 1
        assert await connection.hget("rq:worker:w", "successful_job_count") == b"3"

    @pytest.mark.parametrize("request_", ["HGETALL", "LLEN", "SMEMBERS", "XREVRANGE", "HGET", "LPOS"])
    async def test_answer_to_a_question(self, queue: Queue, proxy: Proxy, through_proxy: Redis, request_: str) -> None:
        job = await queue.enqueue("jobs.add", 1, job_id="a")
        proxy.lose_answer_to(request_)
        same = await Job.fetch("a", through_proxy)
        assert same.args == (1,)
        mine = Queue(connection=through_proxy)
        assert await mine.count() == 1
        assert [queue.name for queue in await Queue.all(through_proxy)] == ["default"]
        assert await same.latest_result() is None
        assert await same.get_status() == "queued"
        assert await same.get_position() == 0
        assert proxy.lost == 1
        assert job == same


class TestCancelled:
    async def test_callers_do_not_disturb_each_other(self, connection: Redis, url: str) -> None:
        """Whoever is cancelled at whatever moment: no other caller gets a wrong answer, no connection is left."""
        client = connect(url)
        queue = Queue(connection=client)
        for number in range(10):
            await queue.enqueue("jobs.add", number, job_id=f"job-{number}")
        wrong: list[Any] = []

        async def ask(number: int) -> None:
            job = await Job.fetch(f"job-{number % 10}", client)
            if job.args != (number % 10,):
                wrong.append((number, job.args))
            position = await queue.get_job_position(job)
            if position != number % 10:
                wrong.append((number, position))

        for _ in range(30):
            tasks = [asyncio.create_task(ask(number)) for number in range(30)]
            for number, task in enumerate(tasks):
                if number % 3:
                    asyncio.get_running_loop().call_later(0.0001 * number, task.cancel)
            await asyncio.gather(*tasks, return_exceptions=True)
        assert wrong == []
        assert len(await clients_of(connection)) <= 2
        await client.aclose()

    async def test_an_enqueue_is_there_or_is_not(self, connection: Redis, url: str) -> None:
        client = connect(url)
        queue = Queue(connection=client)
        for number in range(50):
            tasks = [asyncio.create_task(queue.enqueue("jobs.add", number)) for _ in range(4)]
            asyncio.get_running_loop().call_later(0.00005 * number, tasks[0].cancel)
            await asyncio.gather(*tasks, return_exceptions=True)
        await until(no_task_is_left)
        ids = await queue.get_job_ids()
        keys: Any = await connection.keys("rq:job:*")
        assert sorted(f"rq:job:{job_id}" for job_id in ids) == sorted(key.decode() for key in keys)
        assert len(ids) >= 150
        await client.aclose()


async def no_task_is_left() -> bool:
    return not tasks_of_ours()


class TestServersThatAreAway:
    async def test_down(self) -> None:
        with EmbeddedServer() as server:
            client = connect(server.url)
            queue = Queue(connection=client)
            job = await queue.enqueue("jobs.add", 1)
            await anyio.to_thread.run_sync(server.kill)
            for call in (
                lambda: queue.enqueue("jobs.add", 1),
                queue.count,
                job.get_status,
                lambda: queue.enqueue_many([Queue.prepare_data("jobs.add")]),
                job.latest_result,
            ):
                with anyio.fail_after(2), pytest.raises(ConnectionLostError, match="cannot be asked now"):
                    await call()
            assert tasks_of_ours() == []
            await client.aclose()

    async def test_nowhere(self) -> None:
        for url in ("unix:///no/such/socket", "redis://127.0.0.1:1"):
            client = connect(url)
            with anyio.fail_after(2), pytest.raises(ConnectionLostError):
                await Queue(connection=client).enqueue("jobs.add", 1)
            await client.aclose()

    async def test_restarted(self) -> None:
        with EmbeddedServer(append_only=True) as server:
            client = connect(server.url)
            queue = Queue(connection=client)
            await queue.enqueue("jobs.add", 1)
            await anyio.to_thread.run_sync(server.restart)
            await queue.enqueue("jobs.add", 2)
            assert await queue.count() == 2
            await client.aclose()

    async def test_hanging(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that was stopped takes connections, and says nothing."""
        monkeypatch.setattr(aiorq.store.transport, "REPLY_TIMEOUT", 0.1)
        with EmbeddedServer() as server:
            old, new = connect(server.url), connect(server.url)
            await Queue(connection=old).enqueue("jobs.add", 1)
            server.pause()
            try:
                for client in (old, new):
                    with anyio.fail_after(5), pytest.raises(ConnectionLostError, match="no answer in time"):
                        await Queue(connection=client).enqueue("jobs.add", 2)
            finally:
                server.resume()
            # What was sent while it hung may be there, once each; and the connections are fit again.
            for client in (old, new):
                job = await Queue(connection=client).enqueue("jobs.add", 3)
                assert await job.get_status() == "queued"
                await client.aclose()


class TestServersThatSayNo:
    @pytest.fixture
    async def guarded(self) -> AsyncIterator[EmbeddedServer]:
        with EmbeddedServer(options={"requirepass": SECRET}) as server:
            yield server

    async def refused(self, url: str) -> StoreError:
        client = connect(url)
        queue = Queue(connection=client)
        try:
            with anyio.fail_after(2):
                with pytest.raises(StoreError) as caught:
                    await queue.enqueue("jobs.add", 1)
                with pytest.raises(StoreError):
                    await Job("a", client).latest_result(timeout=1)
        finally:
            await client.aclose()
        text = "".join(traceback.format_exception(caught.value))
        assert SECRET not in text
        assert "wr0ng" not in text
        return caught.value

    async def test_no_password(self, guarded: EmbeddedServer) -> None:
        assert "refused" in str(await self.refused(guarded.url))

    @pytest.mark.parametrize("protocol", [2, 3])
    async def test_wrong_password(self, guarded: EmbeddedServer, protocol: int) -> None:
        url = guarded.url.replace("unix://", "unix://:wr0ng@")
        error = await self.refused(f"{url}?protocol={protocol}")
        assert "refused" in str(error)
        assert guarded.socket_path.name in str(error)

    async def test_right_password(self, guarded: EmbeddedServer) -> None:
        client = connect(guarded.url.replace("unix://", f"unix://:{SECRET}@"))
        assert await Queue(connection=client).count() == 0
        await client.aclose()

    async def test_database_that_does_not_exist(self, server: EmbeddedServer) -> None:
        error = await self.refused(f"{server.url}?db=12345")
        assert "DB index" in str(error)

    async def test_no_permission(self, connection: Redis, server: EmbeddedServer) -> None:
        await connection.execute_command("ACL", "SETUSER", "reader", "on", f">{SECRET}", "~*", "+@read", "+@connection")
        client = connect(server.url.replace("unix://", f"unix://reader:{SECRET}@"))
        queue = Queue(connection=client)
        assert await queue.count() == 0
        with pytest.raises(StoreError, match="permission") as caught:
            await queue.enqueue("jobs.add", 1)
        assert SECRET not in str(caught.value)
        assert await queue.count() == 0
        await client.aclose()
        await connection.execute_command("ACL", "DELUSER", "reader")

    async def test_errors_are_ours(self) -> None:
        assert issubclass(StoreError, AiorqError)
        assert issubclass(ConnectionLostError, AiorqError)


async def test_close_and_go_on(connection: Redis, url: str) -> None:
    """A client of redis-py may be closed and used again."""
    client = connect(url)
    queue = Queue(connection=client)
    await queue.enqueue("jobs.add", 1)
    await client.aclose()
    await queue.enqueue("jobs.add", 1)
    assert await queue.count() == 2
    await client.aclose()


def test_making_a_client_connects_nothing() -> None:
    client = connect("redis://no.such.host.invalid")
    assert isinstance(client.connection_pool, ConnectionPool)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run, lambda coroutine: anyio.run(lambda: coroutine)])
def test_a_shared_client_is_closed_with_its_loop(server: EmbeddedServer, run: Any) -> None:
    async def use() -> None:
        assert await shared_connection(server.url).ping()
        assert await Queue(connection=server.url).count() >= 0

    async def clients(expected: int | None = None) -> int:
        client = connect(server.url)

        async def are_gone() -> bool:  # the server sees the end of a connection when it comes to it
            return len(await clients_of(client)) == expected

        try:
            if expected is not None:
                await until(are_gone)
            return len(await clients_of(client))
        finally:
            await client.aclose()

    before = asyncio.run(clients())
    run(use())
    gc.collect()  # which would warn of connections that nobody has closed
    assert asyncio.run(clients(before)) == before
