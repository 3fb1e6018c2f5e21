"""Waiting for results: many waits, few connections, no polling, and nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest
from redis.asyncio import Redis

import aiorq.store.transport
from aiorq import Job, Queue, Result, connect
from aiorq.errors import StoreError
from aiorq.server import EmbeddedServer
from aiorq.store import runs
from tests.api.conftest import LIMIT, FakeWorker, Proxy, clients_of, tasks_of_ours, until


async def blocked_keys(connection: Redis) -> int:
    """For how many streams Redis has somebody waiting."""
    info: Any = await connection.info("clients")
    return int(info.get("total_blocking_keys", info["blocked_clients"]))


async def nobody_waits(connection: Redis) -> bool:
    info: Any = await connection.info("clients")
    return info["blocked_clients"] == 0 and not tasks_of_ours()


class Waits:
    """Waits under way, one for each job, and what each brought."""

    def __init__(self, group: anyio.abc.TaskGroup) -> None:
        self.group = group
        self.returned: dict[str, Result[Any] | None] = {}

    def start(self, *jobs: Job[Any], timeout: float = LIMIT) -> None:
        for job in jobs:
            self.group.start_soon(self._wait, job, timeout)

    async def _wait(self, job: Job[Any], timeout: float) -> None:
        self.returned[job.id] = await job.latest_result(timeout=timeout)

    def value(self, job: Job[Any]) -> Any:
        result = self.returned[job.id]
        assert result is not None
        return result.return_value


@pytest.fixture
async def waits(connection: Redis) -> AsyncIterator[Waits]:
    async with anyio.create_task_group() as group:
        yield Waits(group)
    await until(lambda: nobody_waits(connection))


AGAIN: dict[str, Any] = {"most": 1, "intervals": [0], "at_front": False, "failure_ttl": 500}


def are_blocked(connection: Redis, count: int) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        return await blocked_keys(connection) >= count

    return condition


async def test_result_that_is_there(queue: Queue, worker: FakeWorker) -> None:
    job = await queue.enqueue("jobs.add", 1)
    await worker.do(job, 5)
    with anyio.fail_after(LIMIT):
        result = await job.latest_result(timeout=1000)
    assert result is not None
    assert result.return_value == 5


async def test_result_that_comes(queue: Queue, worker: FakeWorker, waits: Waits, connection: Redis) -> None:
    job = await queue.enqueue("jobs.add", 1)
    waits.start(job)
    await until(are_blocked(connection, 1))
    await worker.do(job, 5)
    await until(lambda: returned(waits, 1))
    assert waits.value(job) == 5


async def returned(waits: Waits, count: int) -> bool:
    return len(waits.returned) >= count


async def test_failure_that_comes(queue: Queue, worker: FakeWorker, waits: Waits, connection: Redis) -> None:
    job = await queue.enqueue("jobs.add", 1)
    waits.start(job)
    await until(are_blocked(connection, 1))
    (run,) = await worker.take()
    await worker.fail(run)
    await until(lambda: returned(waits, 1))
    result = waits.returned[job.id]
    assert result is not None
    assert result.type is Result.Type.FAILED


async def test_outcomes_that_ask_for_another_run_do_not_count(
    queue: Queue, worker: FakeWorker, waits: Waits, connection: Redis
) -> None:
    job = await queue.enqueue("jobs.add")
    other = await queue.enqueue("jobs.add")
    waits.start(job)
    await until(are_blocked(connection, 1))
    for _ in range(3):
        run = await worker.take_job(job)
        assert await runs.retry(worker.store, "w", run, most=9, intervals=[0], at_front=True, failure_ttl=500)
    waits.start(other)  # while the first wait is looked for behind what it has passed
    await until(are_blocked(connection, 2))
    assert waits.returned == {}
    await worker.finish(await worker.take_job(job), 7)
    await worker.finish(await worker.take_job(other), 8)
    await until(lambda: returned(waits, 2))
    assert (waits.value(job), waits.value(other)) == (7, 8)


async def test_last_outcome_when_it_was_asked_for_too_often(
    queue: Queue, worker: FakeWorker, waits: Waits, connection: Redis
) -> None:
    job = await queue.enqueue("jobs.add")
    waits.start(job)
    await until(are_blocked(connection, 1))
    for _ in range(2):
        await runs.retry(worker.store, "w", await worker.take_job(job), **AGAIN)
    await until(lambda: returned(waits, 1))
    result = waits.returned[job.id]
    assert result is not None
    assert result.type is Result.Type.MAX_RETRIES_EXCEEDED
    late = await job.latest_result(timeout=LIMIT)
    assert late == result


async def test_nothing_comes(queue: Queue, connection: Redis) -> None:
    job = await queue.enqueue("jobs.add", 1)
    with anyio.fail_after(LIMIT):
        assert await job.latest_result(timeout=0.05) is None
    await until(lambda: nobody_waits(connection))


async def test_job_that_does_not_exist(connection: Redis) -> None:
    assert await Job("missing", connection).latest_result(timeout=0.05) is None
    await until(lambda: nobody_waits(connection))


async def test_wait_that_begins_while_another_one_blocks(
    queue: Queue, worker: FakeWorker, waits: Waits, connection: Redis
) -> None:
    first = await queue.enqueue("jobs.add", 1)
    second = await queue.enqueue("jobs.add", 2)
    waits.start(first)
    await until(are_blocked(connection, 1))
    one, two = await worker.take(2)
    waits.start(second)
    await worker.finish(two, "second")
    await until(lambda: returned(waits, 1))
    assert waits.value(second) == "second"
    await worker.finish(one, "first")
    await until(lambda: returned(waits, 2))
    assert waits.value(first) == "first"


async def test_two_waits_for_one_job(queue: Queue, worker: FakeWorker, connection: Redis) -> None:
    job = await queue.enqueue("jobs.add", 1)
    results: list[Result[Any] | None] = []

    async def wait() -> None:
        results.append(await job.latest_result(timeout=LIMIT))

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(wait)
        await until(are_blocked(connection, 1))
        await worker.do(job, 5)
    assert [result and result.return_value for result in results] == [5] * 10


async def test_a_thousand_at_once(queue: Queue, worker: FakeWorker, waits: Waits, connection: Redis) -> None:
    many = await queue.enqueue_many([Queue.prepare_data("jobs.add", (n,)) for n in range(1000)])
    waits.start(*many)
    await until(are_blocked(connection, 1))
    for _ in range(10):
        for run in await worker.take(100):
            await worker.finish(run, run.job_id)
        assert len(await clients_of(connection)) <= 4
    await until(lambda: returned(waits, 1000))
    assert all(waits.value(job) == job.id for job in many)


async def test_enqueue_and_wait_a_thousand_times_at_once(queue: Queue, worker: FakeWorker, connection: Redis) -> None:
    """As an application does: every task enqueues a job of its own and waits for it."""
    values: list[Any] = []

    async def ask(number: int) -> None:
        job = await queue.enqueue("jobs.add", number)
        result = await job.latest_result(timeout=LIMIT)
        assert result is not None
        values.append(result.return_value)

    async with anyio.create_task_group() as group:
        for number in range(1000):
            group.start_soon(ask, number)
        done = 0
        while done < 1000:
            await until(lambda: some_wait_in(queue))
            count = min(await queue.count(), 200)
            async with anyio.create_task_group() as ending:
                for run in await worker.take(count):
                    ending.start_soon(worker.finish, run, run.job_id)
            done += count
            assert len(await clients_of(connection)) <= 4
    assert len(set(values)) == 1000


async def some_wait_in(queue: Queue) -> bool:
    return not await queue.is_empty()


async def test_cancelled_waits_leave_nothing_behind(queue: Queue, worker: FakeWorker, connection: Redis) -> None:
    many = await queue.enqueue_many([Queue.prepare_data("jobs.add", (n,)) for n in range(100)])
    async with anyio.create_task_group() as group:
        for job in many:
            group.start_soon(job.latest_result, LIMIT)
        await until(are_blocked(connection, 1))
        group.cancel_scope.cancel()
    await until(lambda: nobody_waits(connection))
    # And the connection is fit for the next one.
    assert await many[0].latest_result(timeout=0.05) is None
    await worker.do(many[0], 5)
    result = await many[0].latest_result(timeout=LIMIT)
    assert result is not None
    assert result.return_value == 5


async def test_one_of_two_is_cancelled(queue: Queue, worker: FakeWorker, waits: Waits, connection: Redis) -> None:
    first = await queue.enqueue("jobs.add", 1)
    second = await queue.enqueue("jobs.add", 2)
    waits.start(second)
    task = asyncio.create_task(first.latest_result(timeout=LIMIT))
    await until(are_blocked(connection, 1))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    one, two = await worker.take(2)
    await worker.finish(one)
    await worker.finish(two, "second")
    await until(lambda: returned(waits, 1))
    assert waits.value(second) == "second"


async def test_waits_that_come_and_go(queue: Queue, worker: FakeWorker, connection: Redis) -> None:
    """Short waits, cancelled waits and results at once: no wait hangs, none gets another one's result."""
    many = await queue.enqueue_many([Queue.prepare_data("jobs.add", (n,)) for n in range(200)])
    values: dict[str, Any] = {}

    async def ask(number: int, job: Job[Any]) -> None:
        while job.id not in values:
            with anyio.move_on_after(0.003 * (number % 7)):
                result = await job.latest_result(timeout=0.002 * (number % 5) + 0.001)
                if result is not None:
                    values[job.id] = result.return_value
                    return
            await anyio.lowlevel.checkpoint()
            if number % 7 == 0:
                result = await job.latest_result(timeout=LIMIT)
                assert result is not None
                values[job.id] = result.return_value

    with anyio.fail_after(LIMIT * 2):
        async with anyio.create_task_group() as group:
            for number, job in enumerate(many):
                group.start_soon(ask, number, job)
            for _ in range(20):
                for run in await worker.take(10):
                    await worker.finish(run, run.job_id)
    assert values == {job.id: job.id for job in many}
    await until(lambda: nobody_waits(connection))


async def test_key_that_holds_something_else_harms_its_own_wait_only(
    queue: Queue, worker: FakeWorker, waits: Waits, connection: Redis
) -> None:
    good = await queue.enqueue("jobs.add", 1)
    bad = await queue.enqueue("jobs.add", 2)
    await connection.set(f"rq:results:{bad.id}", "text")
    waits.start(good)
    await until(are_blocked(connection, 1))
    with pytest.raises(StoreError, match="WRONGTYPE"), anyio.fail_after(LIMIT):
        await bad.latest_result(timeout=LIMIT * 2)
    await worker.do(good, 5)
    await until(lambda: returned(waits, 1))
    assert waits.value(good) == 5


async def test_connection_that_is_killed(queue: Queue, worker: FakeWorker, waits: Waits, connection: Redis) -> None:
    job = await queue.enqueue("jobs.add", 1)
    waits.start(job)
    for _ in range(3):
        await until(are_blocked(connection, 1))
        for client in await clients_of(connection):
            await connection.client_kill_filter(_id=client["id"])
    await until(are_blocked(connection, 1))
    await worker.do(job, 5)
    await until(lambda: returned(waits, 1))
    assert waits.value(job) == 5


async def test_answer_that_is_lost(
    queue: Queue, worker: FakeWorker, waits: Waits, connection: Redis, proxy: Proxy, through_proxy: Redis
) -> None:
    job = await queue.enqueue("jobs.add", 1)
    same = await Job.fetch(job.id, through_proxy)
    proxy.lose_answer_to("XREAD")
    waits.start(same)
    await until(are_blocked(connection, 1))
    await worker.do(job, 5)
    await until(lambda: returned(waits, 1))
    assert waits.value(job) == 5
    assert proxy.lost == 1


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("decode_responses", [False, True])
async def test_settings_of_the_client(
    connection: Redis, worker: FakeWorker, url: str, protocol: int, decode_responses: bool
) -> None:
    client = Redis.from_url(url, decode_responses=decode_responses, protocol=protocol, socket_timeout=0.05)
    job = await Queue(connection=client).enqueue("jobs.add", 1)
    group = anyio.create_task_group()
    waits = Waits(group)
    async with group:
        waits.start(job)
        await until(are_blocked(connection, 1))
        # Longer than the timeout of the client's sockets: nothing may come of that.
        assert await Job("missing", client).latest_result(timeout=0.2) is None
        await until(are_blocked(connection, 1))
        await worker.do(job, {"a": b"\xff"})
    assert waits.value(job) == {"a": b"\xff"}
    await until(lambda: nobody_waits(connection))
    await client.aclose()


async def test_server_that_goes_and_comes(worker: FakeWorker) -> None:
    with EmbeddedServer(append_only=True) as server:
        client = connect(server.url)
        queue, mine = Queue(connection=client), FakeWorker(Queue(connection=client).store)
        job = await queue.enqueue("jobs.add", 1)
        group = anyio.create_task_group()
        waits = Waits(group)
        async with group:
            waits.start(job)
            await until(are_blocked(client, 1))
            await anyio.to_thread.run_sync(server.restart)
            await mine.do(job, 5)
        assert waits.value(job) == 5
        await client.aclose()


async def test_server_that_does_not_come_back(queue: Queue) -> None:
    with EmbeddedServer() as server:
        client = connect(server.url)
        job = await Queue(connection=client).enqueue("jobs.add", 1)
        group = anyio.create_task_group()
        waits = Waits(group)
        async with group:
            waits.start(job, timeout=0.3)
            await until(are_blocked(client, 1))
            await anyio.to_thread.run_sync(server.kill)
        assert waits.returned == {job.id: None}
        assert await settled()
        await client.aclose()


async def test_server_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes connections and says nothing: the wait ends in time, and what waited for it goes."""
    monkeypatch.setattr(aiorq.store.transport, "REPLY_TIMEOUT", 0.1)
    with EmbeddedServer() as server:
        client = connect(server.url)
        server.pause()
        try:
            with anyio.fail_after(5):
                assert await Job("missing", client).latest_result(timeout=0.3) is None
            assert await settled()
        finally:
            server.resume()
        job = await Queue(connection=client).enqueue("jobs.add", 1)
        await FakeWorker(Queue(connection=client).store).do(job, 5)
        result = await job.latest_result(timeout=LIMIT)
        assert result is not None
        assert result.return_value == 5
        await client.aclose()


async def settled() -> bool:
    with anyio.fail_after(LIMIT):
        while tasks_of_ours():
            await anyio.lowlevel.checkpoint()
    return True
