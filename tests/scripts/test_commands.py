"""Commands to workers, and stopping and canceling jobs, without a worker: what is sent, kept, answered and refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from aiorq import Job, Queue, command
from aiorq.errors import (
    ConnectionLostError,
    CorruptJobError,
    InvalidJobOperation,
    NoSuchJobError,
    StopTimeoutError,
)
from aiorq.status import JobStatus
from aiorq.store import commands, jobs, runs
from aiorq.store.base import Store, store_of
from aiorq.store.runs import Run
from tests.scripts.conftest import YEAR, Books, Desk, begin, told

LIMIT = 20.0
"""Seconds after which something that should have happened has not."""


@pytest.fixture
async def real(connection: Redis) -> Store:
    """The store that handles on this connection use, with the server's clock."""
    return store_of(connection)


@pytest.fixture
async def running(real: Store, desk: Desk) -> Run:
    """A run of job `a` by worker `w`, which is in the books but does not listen."""
    await desk.register()
    await desk.enqueue("a")
    (claim,) = await runs.claim(real, "w", ["default"], 1, 600) or []
    await begin(real, "w", claim.run)
    return claim.run


class Ear:
    """Listens as a worker does."""

    def __init__(self, store: Store, worker: str) -> None:
        self._messages = commands.listen(store, worker)

    async def next(self) -> Any:
        async with asyncio.timeout(LIMIT):
            return await anext(self._messages)

    async def close(self) -> None:
        await self._messages.aclose()


@pytest.fixture
async def ear(real: Store) -> AsyncIterator[Ear]:
    """The ear of worker `w`, open."""
    ear = Ear(real, "w")
    assert await ear.next() is None
    yield ear
    await ear.close()


@pytest.fixture
async def rqs_ear(real: Store) -> AsyncIterator[Ear]:
    """The ear of RQ's worker, open."""
    ear = Ear(real, "rqw")
    assert await ear.next() is None
    yield ear
    await ear.close()


class TestListen:
    async def test_commands_come_in_order(self, real: Store, ear: Ear) -> None:
        assert await commands.send(real, "w", "shutdown") == 1
        assert await commands.send(real, "w", "stop-job", job_id="é", more=[1, None]) == 1
        assert await ear.next() == {"command": "shutdown"}
        assert await ear.next() == {"command": "stop-job", "job_id": "é", "more": [1, None]}

    async def test_nobody_listens(self, real: Store, ear: Ear) -> None:
        assert await commands.send(real, "ww", "shutdown") == 0

    @pytest.mark.parametrize(
        "junk",
        [
            b"",
            b"text",
            b"\xff\xfe",
            b"{",
            b"[" * 50_000,
            b"null",
            b"5",
            b'["command"]',
            b'"shutdown"',
            b"1" * 60_000,
            b"\x00",
            b'{"command": "shutdown"}\xff',
        ],
        ids=lambda junk: repr(junk[:12]),
    )
    async def test_junk_is_an_empty_command(self, real: Store, connection: Any, ear: Ear, junk: bytes) -> None:
        await connection.publish("rq:pubsub:w", junk)
        await commands.send(real, "w", "shutdown")
        assert await ear.next() == {}
        assert await ear.next() == {"command": "shutdown"}

    async def test_what_is_big_is_none(self, real: Store, connection: Any, ear: Ear) -> None:
        await commands.send(real, "w", "shutdown", more="x" * 20_000_000)
        await commands.send(real, "w", "kill-horse", more="x" * 60_000)
        assert await ear.next() == {}
        assert (await ear.next() or {})["command"] == "kill-horse"

    async def test_connection_is_lost(self, real: Store, connection: Any, ear: Ear) -> None:
        await connection.client_kill_filter(_type="pubsub")
        with pytest.raises(ConnectionLostError):
            await ear.next()
        again = Ear(real, "w")
        assert await again.next() is None
        assert await commands.send(real, "w", "shutdown") == 1
        assert await again.next() == {"command": "shutdown"}
        await again.close()

    async def test_what_is_no_json_is_not_sent(self, real: Store, ear: Ear) -> None:
        with pytest.raises(TypeError):
            await commands.send(real, "w", "shutdown", more=object())


class TestCommandsOfRq:
    async def test_are_rqs_words(self, connection: Redis) -> None:
        async with told(connection) as heard:
            assert await command.send_shutdown_command(connection, "w") == 1
            assert await command.send_kill_horse_command(connection, "w") == 1
            assert await command.send_command(connection, "w", "any", x=1) == 1
        assert heard == [{"command": "shutdown"}, {"command": "kill-horse"}, {"command": "any", "x": 1}]

    async def test_nobody_listens(self, connection: Redis) -> None:
        assert await command.send_shutdown_command(connection, "w") == 0
        assert await command.send_kill_horse_command(connection, "w") == 0

    async def test_prefix(self, connection: Any) -> None:
        async with connection.pubsub() as channel:
            await channel.subscribe("other:pubsub:w")
            assert (await channel.get_message(timeout=10))["type"] == "subscribe"
            assert await command.send_shutdown_command(connection, "w", prefix="other") == 1
            assert await command.send_shutdown_command(connection, "w") == 0

    async def test_stop_is_kept_while_the_worker_does_not_listen(
        self, connection: Redis, books: Books, running: Run
    ) -> None:
        await command.send_stop_job_command(connection, "a")
        assert await books.stops() == {running.token: ""}

    async def test_stop_of_one_run(self, connection: Redis, books: Books, running: Run) -> None:
        with pytest.raises(InvalidJobOperation, match="does not run"):
            await command.send_stop_execution_command(connection, "a", "f" * 32)
        assert await books.stops() == {}
        await command.send_stop_execution_command(connection, "a", running.token)
        assert await books.stops() == {running.token: ""}

    async def test_stop_of_what_does_not_run(self, connection: Redis, desk: Desk) -> None:
        await desk.enqueue("a")
        with pytest.raises(InvalidJobOperation, match="the job is queued"):
            await command.send_stop_job_command(connection, "a", None)
        with pytest.raises(NoSuchJobError):
            await command.send_stop_job_command(connection, "b")
        with pytest.raises(ValueError, match="id"):
            await command.send_stop_job_command(connection, "a b")
        with pytest.raises(ValueError, match="id"):
            await command.send_stop_execution_command(connection, "", "x")


class TestStop:
    @pytest.mark.parametrize("how", ["stopped", "finished", "failed", "queued", "canceled", "deleted"])
    async def test_waits_for_the_end_and_says_which(
        self, real: Store, connection: Redis, ear: Ear, running: Run, how: str
    ) -> None:
        job = await Job.fetch("a", connection)
        stopping = asyncio.create_task(job.stop(grace=5))
        message = await ear.next()
        assert message == {
            "command": "stop-execution",
            "job_id": "a",
            "execution_id": running.token,
            "aiorq_grace": 5,
        }
        assert not stopping.done()
        ends: dict[str, Callable[[], Awaitable[object]]] = {
            "stopped": lambda: runs.stop(real, "w", running, b"", 500),
            "finished": lambda: runs.finish(real, "w", running, b"", 500),
            "failed": lambda: runs.fail(real, "w", running, b"", 500),
            "queued": lambda: runs.release(real, "w", [], [running]),
            "canceled": lambda: jobs.cancel(real, "a", YEAR),
            "deleted": lambda: jobs.delete(real, ["a"]),
        }
        await ends[how]()
        async with asyncio.timeout(LIMIT):
            assert await stopping is (None if how == "deleted" else JobStatus(how))

    async def test_all_who_ask_are_answered(self, real: Store, connection: Redis, ear: Ear, running: Run) -> None:
        stopping = [asyncio.create_task(Job("a", connection).stop()) for _ in range(20)]
        for _ in stopping:
            assert await ear.next()
        await runs.stop(real, "w", running, b"", 500)
        async with asyncio.timeout(LIMIT):
            assert await asyncio.gather(*stopping) == [JobStatus.STOPPED] * 20

    async def test_without_waiting(self, connection: Redis, books: Books, running: Run) -> None:
        assert await Job("a", connection).stop(timeout=None) is None
        assert await books.stops() == {running.token: ""}

    async def test_in_vain(self, connection: Redis, books: Books, running: Run) -> None:
        with pytest.raises(
            StopTimeoutError, match=r"'a' was asked to stop and did not end within 0\.05 s: its worker 'w'"
        ):
            await Job("a", connection).stop(timeout=0.05)
        assert await books.stops() == {running.token: ""}

    @pytest.mark.parametrize("grace", [-1, 3601, float("nan"), float("inf"), -0.001])
    async def test_grace_that_is_none(self, connection: Redis, books: Books, running: Run, grace: float) -> None:
        with pytest.raises(ValueError, match="grace must be 0 to 3600 seconds"):
            await Job("a", connection).stop(grace=grace)
        assert await books.stops() == {}

    async def test_what_cannot_be_stopped(self, queue: Queue, connection: Any) -> None:
        job = await queue.enqueue("jobs.add", 1, 2)
        with pytest.raises(InvalidJobOperation, match="it does not run, the job is queued"):
            await job.stop()
        await job.delete()
        with pytest.raises(NoSuchJobError):
            await job.stop()
        await connection.set("rq:job:a", "text")
        with pytest.raises(CorruptJobError):
            await Job("a", connection).stop()


class TestStopOfRq:
    @pytest.mark.parametrize("earlier", [True, False])
    async def test_its_outcome_is_the_answer(
        self, connection: Any, rqs_ear: Ear, books: Books, desk: Desk, earlier: bool
    ) -> None:
        """Not the one of an earlier run."""
        await desk.start_at_rq("a")
        if earlier:
            await connection.xadd("rq:results:a", {"type": 2})
        stopping = asyncio.create_task(Job("a", connection).stop())
        assert await rqs_ear.next()
        async with connection.pipeline() as step:
            step.hset("rq:job:a", "status", "stopped").xadd("rq:results:a", {"type": 2})
            await step.execute()
        async with asyncio.timeout(LIMIT):
            assert await stopping is JobStatus.STOPPED
        assert await books.stops("rqw") == {}

    @pytest.mark.parametrize("earlier", [True, False])
    async def test_in_vain(self, connection: Any, desk: Desk, earlier: bool) -> None:
        await desk.start_at_rq("a")
        if earlier:
            await connection.xadd("rq:results:a", {"type": 2})
        with pytest.raises(StopTimeoutError, match="worker 'rqw' is gone"):
            await Job("a", connection).stop(timeout=0.05)

    async def test_job_that_is_gone(self, connection: Any, rqs_ear: Ear, desk: Desk) -> None:
        await desk.start_at_rq("a")
        stopping = asyncio.create_task(Job("a", connection).stop(timeout=0.3))
        assert await rqs_ear.next()
        await connection.delete("rq:job:a")
        async with asyncio.timeout(LIMIT):
            assert await stopping is None


class TestCancel:
    async def test_waiting(self, queue: Queue) -> None:
        job = await queue.enqueue("jobs.add", 1, 2)
        await job.cancel()
        assert job.status is JobStatus.CANCELED
        assert await job.get_status() is JobStatus.CANCELED
        assert await queue.get_job_ids() == []
        with pytest.raises(InvalidJobOperation, match="it is canceled already"):
            await job.cancel()

    async def test_running(self, real: Store, connection: Redis, books: Books, ear: Ear, running: Run) -> None:
        await Job("a", connection).cancel()
        message = await ear.next()
        assert message == {"command": "aiorq-dropped", "job_id": "a", "execution_id": running.token}
        assert not await runs.finish(real, "w", running, b"", 500)
        assert await books.places("a") == ["rq:canceled:default"]
        assert YEAR - 1 <= await books.ttl("rq:job:a") <= YEAR

    async def test_what_is_none(self, connection: Any, queue: Queue) -> None:
        job = await queue.enqueue("jobs.add", 1, 2)
        await job.delete()
        with pytest.raises(NoSuchJobError):
            await job.cancel()
        await connection.set("rq:job:a", "text")
        with pytest.raises(CorruptJobError):
            await Job("a", connection).cancel()

    async def test_enqueued_anew(self, queue: Queue) -> None:
        job = await queue.enqueue("jobs.add", 1, 2, job_id="a")
        await job.cancel()
        await queue.enqueue("jobs.add", 1, 2, job_id="a")
        assert await queue.get_job_ids() == ["a"]
