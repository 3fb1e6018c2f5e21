"""Where tests have their jobs, and that nothing else is touched."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from typing import Any
from unittest import IsolatedAsyncioTestCase, TestCase

import anyio
import posts
import pytest
from redis.asyncio import Redis

import aiorq.sync
from aiorq import Queue
from aiorq.server import EmbeddedServer
from aiorq.testing import Sandbox, SandboxMixin, server_url
from tests.api.conftest import clients_of, until


async def test_a_place_of_its_own(server: EmbeddedServer, connection: Any) -> None:
    await connection.set("mine", "stays")
    await Queue(connection=connection).enqueue(posts.stamp, "stays")
    before = set(await connection.keys())
    with Sandbox(server.url) as one, Sandbox(server.url) as other:
        assert one.prefix != other.prefix
        await one.queue().enqueue(posts.stamp, "one")
        other.sync.queue().enqueue(posts.stamp, "other")
        one.clock.move(days=1)
        assert [call.args for call in one.calls()] == [("one",)]
        assert [call.args for call in other.calls()] == [("other",)]
        added = {key.decode() for key in set(await connection.keys()) - before}
        assert added
        assert all(key.startswith(("aiorq-test:", one.prefix, other.prefix)) for key in added)
    assert set(await connection.keys()) == before


class TestEnvironment:
    async def test_leads_there_within_the_block(self, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIORQ_KEY_PREFIX", "before")
        with Sandbox(server.url) as box:
            assert (os.environ["AIORQ_REDIS_URL"], os.environ["AIORQ_KEY_PREFIX"]) == (server.url, box.prefix)
            await Queue("mail").enqueue(posts.stamp, "Ada")
            with Sandbox() as inner:
                assert inner.url == server.url
                aiorq.sync.Queue("mail").enqueue(posts.stamp, "Bob")
                inner.assert_enqueued(args=["Bob"], count=1)
            box.assert_enqueued(args=["Ada"], count=1)
            box.assert_nothing_enqueued(args=["Bob"])
        assert "AIORQ_REDIS_URL" not in os.environ
        assert os.environ["AIORQ_KEY_PREFIX"] == "before"

    def test_of_queues_that_were_made_before(self, server: EmbeddedServer) -> None:
        for name in ("Ada", "Bob"):
            with Sandbox(server.url) as box:
                posts.stamp_later(name)
                assert posts.mail_of_sync.key == f"{box.prefix}:queue:mail"
                box.assert_enqueued(posts.stamp, args=[name], count=1)
                assert [job.return_value() for job in box.sync.work()] == [f"{name}, stamped"]

    async def test_of_queues_that_were_made_before_in_one_loop(self, server: EmbeddedServer) -> None:
        for name in ("Ada", "Bob"):
            with Sandbox(server.url) as box:
                await posts.write_later(name)
                box.assert_enqueued(posts.write, args=[name], count=1)
                assert [await job.return_value() for job in await box.work()] == [f"Dear {name}"]

    async def test_of_queues_with_a_client_of_their_own(self, server: EmbeddedServer, connection: Redis) -> None:
        queue = Queue(connection=connection)
        for name in ("Ada", "Bob"):
            with Sandbox(server.url) as box:
                await queue.enqueue(posts.stamp, name)
                box.assert_enqueued(posts.stamp, args=[name], count=1)


class TestServer:
    def test_of_the_environment(self, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIORQ_REDIS_URL", server.url)
        assert server_url() == server.url

    def test_of_its_own_is_gone_with_the_process(self) -> None:
        script = "from aiorq.testing import *; print(server_url()); assert server_url() == server_url()"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=50)
        assert not os.path.exists(done.stdout.strip().removeprefix("unix://"))

    def test_serves_many_loops_and_is_left_without_connections(self, server: EmbeddedServer) -> None:
        async def use(box: Sandbox) -> None:
            await posts.write_later("Ada")
            await box.connection.ping()
            await box.work()

        async def count(expected: int | None = None) -> int:
            client = aiorq.connect(server.url)

            async def are_gone() -> bool:  # the server sees the end of a connection when it comes to it
                return len(await clients_of(client)) == expected

            try:
                if expected is not None:
                    await until(are_gone)
                return len(await clients_of(client))
            finally:
                await client.aclose()

        with Sandbox(server.url) as box:
            box.sync.connection.ping()  # the client of the process stays
            before = asyncio.run(count())
        for run in (asyncio.run, lambda coroutine: anyio.run(lambda: coroutine)):
            with Sandbox(server.url) as box:
                run(use(box))
            gc.collect()
            assert asyncio.run(count(before)) == before


def test_unittest_with_a_loop(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIORQ_REDIS_URL", server.url)
    prefixes = []

    class Letters(SandboxMixin, IsolatedAsyncioTestCase):
        async def asyncSetUp(self) -> None:
            await posts.write_later("Ada")

        async def test_one(self) -> None:
            prefixes.append(self.aiorq.prefix)
            self.aiorq.assert_enqueued(posts.write, args=["Ada"], count=1)
            assert [await job.return_value() for job in await self.aiorq.work()] == ["Dear Ada"]

        test_other = test_one

    result = Letters("test_one").defaultTestResult()
    for name in ("test_one", "test_other"):
        Letters(name).run(result)
    assert (result.testsRun, result.errors, result.failures) == (2, [], [])
    assert len(set(prefixes)) == 2
    assert "AIORQ_KEY_PREFIX" not in os.environ


def test_unittest_without_a_loop(server: EmbeddedServer) -> None:
    class Letters(SandboxMixin, TestCase):
        def make_sandbox(self) -> Sandbox:
            return Sandbox(server.url, serializer="json")

        def test_one(self) -> None:
            self.aiorq.sync.queue().enqueue(posts.stamp, "Ada")
            self.aiorq.assert_enqueued(posts.stamp, args=["Ada"])
            assert [job.return_value() for job in self.aiorq.sync.work()] == ["Ada, stamped"]

    result = Letters("test_one").defaultTestResult()
    Letters("test_one").run(result)
    assert (result.testsRun, result.errors, result.failures) == (1, [], [])
