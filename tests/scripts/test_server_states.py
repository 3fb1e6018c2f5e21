"""Servers that forget the scripts, and servers that are full."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
from redis.asyncio import Redis

from aiorq import Job, Queue, connect
from aiorq.errors import QueueFullError
from aiorq.keys import Keys
from aiorq.server import EmbeddedServer
from aiorq.store import jobs, queues, runs, workers
from aiorq.store.runs import Failed, Run
from tests.scripts.conftest import NOON, Books, ClockedStore, Desk, begin, renew


class TestForgottenScripts:
    async def test_each_call(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        async def flush() -> None:
            await books.connection.script_flush()

        await flush()
        await desk.enqueue("a", "b", "c", "d")
        await flush()
        first, second, third = [claim.run for claim in await desk.claim(most=3) or []]
        await flush()
        assert await renew(store, [first, second]) == (False, [])
        await flush()
        assert await runs.finish(store, "w", first, b"", 500)
        await flush()
        assert await runs.fail(store, "w", second, b"", 500) is Failed.FOR_GOOD
        await flush()
        assert await runs.release(store, "w", [], [third]) == 1
        await flush()
        assert await jobs.delete(store, ["c"]) == 1
        await flush()
        assert await jobs.save(store, "d", {"description": b"new"})
        await flush()
        assert await queues.empty(store, "default") == 1
        await flush()
        await workers.register(store, "v", "boot", ["default"], {"pid": 1}, 480)
        await flush()
        await workers.retire(store, "v", "boot", ["default"])
        assert (await books.places("a"), await books.places("b")) == (["rq:finished:default"], ["rq:failed:default"])

    async def test_each_call_about_what_runs(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        async def flush() -> None:
            await books.connection.script_flush()

        await desk.enqueue("a", "b", "c", "d", "e")
        await desk.put("due", "scheduled")
        first, second, third = [claim.run for claim in await desk.claim(most=3) or []]
        await flush()
        assert await begin(store, "w", first)
        await flush()
        await desk.ask("a")
        await flush()
        assert await runs.stop(store, "w", first, b"", 500)
        await flush()
        await jobs.cancel(store, "b", 500)
        await store.set_clock(NOON + 1000)
        await books.connection.lmove("rq:queue:default", "rq:queue:default:intermediate", "LEFT", "RIGHT")
        await flush()
        assert {finding.kind for finding in await desk.look() or []} == {"lease", "due", "intermediate"}
        await flush()
        assert await desk.reap(third) == "returned"
        await flush()
        assert await desk.promote("due") == "queued"
        await flush()
        assert await desk.recover("d") == "waits"
        assert await books.queue() == ["c", "e", "due"]
        assert await runs.fail(store, "w", second, b"", 500) is Failed.LOST

    async def test_many_calls_at_once(self, queue: Queue, connection: Redis) -> None:
        async with anyio.create_task_group() as group:
            for round_ in range(20):
                for number in range(10):
                    group.start_soon(queue.enqueue, "jobs.add", round_, number)
                await connection.script_flush()
        assert await queue.count() == 200

    async def test_scripts_are_sent_by_name_once_they_are_known(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("a")
        await books.connection.config_resetstat()
        await desk.enqueue("b", "c")
        stats = await books.connection.info("commandstats")
        assert stats["cmdstat_evalsha"]["calls"] == 2
        assert "cmdstat_eval" not in stats


@pytest.fixture(scope="module")
def small() -> Iterator[EmbeddedServer]:
    """A server that refuses to write when it is full."""
    with EmbeddedServer(options={"maxmemory-policy": "noeviction"}) as server:
        yield server


@pytest.fixture
async def client(small: EmbeddedServer) -> AsyncIterator[Any]:
    client = connect(small.url)
    await client.config_set("maxmemory", 0)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def full(client: Any) -> ClockedStore:
    """A store with five jobs of which three run, on a server that is full."""
    store = ClockedStore(client, Keys("rq"))
    await store.set_clock(NOON)
    await workers.register(store, "w", "boot", ["default"], {"state": "idle"}, 480)
    desk = Desk(store)
    await desk.enqueue("a", "b", "c", "d", "e")
    assert len(await desk.claim(most=3) or []) == 3
    await client.config_set("maxmemory", 1)
    return store


class TestFullServer:
    """Redis at `maxmemory`: new work is refused before anything is written, and what is there drains."""

    async def test_enqueue_is_refused_and_writes_nothing(self, full: ClockedStore, client: Any) -> None:
        books, desk = Books(client), Desk(full)
        before = await books.dump()
        with pytest.raises(QueueFullError, match="at its memory limit and refuses new work"):
            await desk.enqueue("new")
        with pytest.raises(QueueFullError):
            await desk.enqueue("d")  # not even its old life is touched
        with pytest.raises(QueueFullError):
            await jobs.enqueue_many(full, [desk.new(f"job-{number}") for number in range(150)])
        with pytest.raises(QueueFullError):
            await Queue(connection=client).enqueue("jobs.add", 1)
        with pytest.raises(QueueFullError):
            await Job.create("jobs.add", connection=client).save()
        assert await books.dump() == before

    async def test_every_enqueue_of_a_batch_is_told(self, full: ClockedStore, client: Any) -> None:
        queue = Queue(connection=client)
        refused = 0

        async def enqueue() -> None:
            nonlocal refused
            with pytest.raises(QueueFullError):
                await queue.enqueue("jobs.add", 1)
            refused += 1

        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(enqueue)
        assert refused == 50

    async def test_what_is_there_drains(self, full: ClockedStore, client: Any) -> None:
        books = Books(client)
        held = await books.registry("wip")
        first, second, third = [Run("default", *member.split(":")) for member in sorted(held)]
        assert await renew(full, [first, second, third]) == (True, [])
        assert await runs.finish(full, "w", first, b"dmFsdWU=", 500)
        assert await runs.fail(full, "w", second, b"dHJhY2U=", 500) is Failed.FOR_GOOD
        assert await runs.release(full, "w", ["default"], [third]) == 1
        assert [claim.run.job_id for claim in await runs.claim(full, "w", ["default"], 5, 15) or []] == ["c", "d", "e"]
        assert await jobs.delete(full, ["d"]) == 1
        assert await queues.empty(full, "default") == 0
        await workers.set_fields(full, "w", {"state": "suspended"})
        await workers.register(full, "v", "boot", ["default"], {"state": "idle"}, 480)
        await workers.retire(full, "w", "boot", ["default"])
        assert len(await books.results("a")) == len(await books.results("b")) == 1
        assert await books.places("c") == ["rq:queue:default"]  # it had not begun

    async def test_reading_goes_on(self, full: ClockedStore, client: Any) -> None:
        queue = Queue(connection=client)
        assert await queue.get_job_ids() == ["d", "e"]
        job = await Job.fetch("a", client)
        assert await job.get_status() == "started"
        assert await job.latest_result() is None

    async def test_it_has_room_again(self, full: ClockedStore, client: Any) -> None:
        with pytest.raises(QueueFullError):
            await Desk(full).enqueue("new")
        await client.config_set("maxmemory", 0)
        await Desk(full).enqueue("new")
        assert await Books(client).queue() == ["d", "e", "new"]

    async def test_what_is_overdue_is_dealt_with(self, full: ClockedStore, client: Any) -> None:
        books, desk = Books(client), Desk(full)
        held = await books.registry("wip")
        first, second, third = [Run("default", *member.split(":")) for member in sorted(held)]
        assert await begin(full, "w", first)
        assert await begin(full, "w", second)
        assert (await desk.ask("b")).is_answered
        assert await runs.stop(full, "w", second, b"dHJhY2U=", 500)
        assert await books.answers(second.token) == ["stopped"]
        await client.config_set("maxmemory", 0)
        await full.set_clock(NOON + 100)
        await client.lmove("rq:queue:default", "rq:queue:default:intermediate", "LEFT", "RIGHT")
        await client.config_set("maxmemory", 1)
        assert [finding.kind for finding in await desk.look() or []] == ["lease", "lease", "intermediate"]
        assert await desk.reap(first) == "failed"
        assert await desk.reap(third) == "returned"
        assert await desk.recover("d") == "waits"
        await jobs.cancel(full, "e", 500)
        places = [await books.places(job_id) for job_id in "abce"]
        failed = ["rq:failed:default"]
        assert places == [failed, failed, ["rq:queue:default"], ["rq:canceled:default"]]

    async def test_what_is_due_is_queued(self, full: ClockedStore, client: Any) -> None:
        await client.config_set("maxmemory", 0)
        await Desk(full).put("due", "scheduled")
        await full.set_clock(NOON + 500)
        await client.config_set("maxmemory", 1)
        assert await Desk(full).promote("due") == "queued"
        assert await Books(client).places("due") == ["rq:queue:default"]

    async def test_a_retry_is_queued(self, full: ClockedStore, client: Any) -> None:
        (member, *_) = sorted(await Books(client).registry("wip"))
        await client.config_set("maxmemory", 0)
        await client.hset("rq:job:a", "retries_left", 1)
        await client.config_set("maxmemory", 1)
        assert await runs.fail(full, "w", Run("default", *member.split(":")), b"", 500) is Failed.QUEUED
        assert await Books(client).places("a") == ["rq:queue:default"]
