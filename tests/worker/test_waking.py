"""An idle worker asks nothing and starts at once; a busy one takes nothing that it cannot run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import redis
import rq
from redis.asyncio import Redis

from aiorq import Queue, Worker
from aiorq.scripts import load, names
from aiorq.server import EmbeddedServer
from tests.execution.processes import Fifo
from tests.worker.conftest import Monitor, Started, result_of

NAMES = ["one", "two", "three", "four", "five"]


async def test_a_push_to_any_queue_starts_at_once(connection: Redis, start: Started, monitor: Monitor) -> None:
    await start(NAMES)
    for count, name in enumerate([*NAMES, *reversed(NAMES)], start=1):
        await monitor.seen('"BLMOVE"', 5 * count)  # it waits on all of them
        assert (await result_of(await Queue(name, connection).enqueue("jobs.add", count))).return_value == count + 1


async def test_it_asks_nothing_but_heartbeats_while_it_waits(
    make_worker: Callable[..., Worker], monitor: Monitor, connection: Redis
) -> None:
    shas = {name: await connection.script_load(load(name).source) for name in names()}
    await make_worker(NAMES, reap_interval=0.5).work(max_idle_time=2)
    await connection.echo("over")  # what came before it has been heard when it is
    await monitor.seen('"over"', 1)
    commands = [command for command in monitor.commands if not command.startswith("lua") and '"over"' not in command]
    settled = max(
        index for index, command in enumerate(commands) if '"BLMOVE"' in command or f'"{shas["renew"]}"' in command
    )
    retired = max(index for index, command in enumerate(commands) if f'"{shas["retire"]}"' in command)
    asked = [command.split('"') for command in commands[settled + 1 : retired + 1]]
    names_read = [command[3] for command in asked if command[1] == "SSCAN"]
    assert sorted(names_read) == ["rq:groups", "rq:queues", "rq:rl-keys"]  # once a minute: there is nothing to sweep
    asked = [command for command in asked if command[1] != "SSCAN"]
    assert {command[1] for command in asked} == {"EVALSHA"}
    scripts = [command[3] for command in asked]
    looks = shas["overdue"], shas["promote_due"]
    assert all(3 <= scripts.count(sha) <= 5 for sha in looks)  # by default a fourth of it: one a second in all
    assert [sha for sha in scripts if sha not in looks] == [shas["claim"], shas["release"], shas["retire"]]


async def test_one_push_wakes_one_worker(
    new_client: Callable[[], Redis], start: Started, monitor: Monitor, queue: Queue
) -> None:
    workers = [await start(name=f"worker-{number}", connection=new_client()) for number in range(3)]
    await monitor.seen('"BLMOVE"', 3)
    ran = []
    for count in range(1, 7):
        job = await queue.enqueue("jobs.nothing")
        ran.append((await result_of(job)).worker_name)
        await monitor.seen('"BLMOVE"', 3 + count)  # only the one that ran it begins to wait anew
    assert monitor.count('"BLMOVE"') == 3 + 6
    assert ran == [*ran[:3], *ran[:3]]  # each in its turn
    assert sorted(ran[:3]) == [worker.name for worker in workers]


async def test_a_busy_worker_takes_nothing_more(
    connection: Redis, start: Started, monitor: Monitor, told: Fifo, gate: Fifo
) -> None:
    queues = [Queue(name, connection) for name in NAMES]
    await start(queues)
    await monitor.seen('"BLMOVE"', 5)
    await queues[2].enqueue("waiting.meet", told.path, gate.path)
    await told.pids()
    jobs = [await queue.enqueue("jobs.nothing") for queue in queues]
    assert await connection.keys("rq:aiorq:inbox:*") == []
    assert [await queue.get_job_ids() for queue in queues] == [[job.id] for job in jobs]
    gate.let()
    for job in jobs:
        await result_of(job)


async def test_pushes_to_all_queues_at_the_same_moment(
    connection: Redis, start: Started, monitor: Monitor, told: Fifo, gate: Fifo
) -> None:
    """It is handed one of each, runs the first, and gives the rest back to the heads of their queues."""
    queues = [Queue(name, connection) for name in NAMES]
    jobs = [queue.create_job("waiting.meet", (told.path, gate.path)) for queue in queues]
    await start(queues)
    await monitor.seen('"BLMOVE"', 5)
    async with connection.pipeline(transaction=True) as pipe:
        for job, queue in zip(jobs, queues, strict=True):
            await pipe.hset(job.key, mapping={**job.encode(), "status": "queued"})  # type: ignore[dict-item]
            await pipe.rpush(queue.key, job.id, "behind")
        await pipe.execute()
    await told.pids()
    assert await jobs[0].get_status() == "started"
    assert await connection.keys("rq:aiorq:inbox:*") == []
    assert [await queue.get_job_ids() for queue in queues] == [
        ["behind"], *([job.id, "behind"] for job in jobs[1:])
    ]  # fmt: skip
    gate.let(5)
    for job in jobs:
        await result_of(job)


@pytest.mark.parametrize("front", [False, True])
async def test_producers_of_rq_wake_it(
    server: EmbeddedServer, connection: Redis, start: Started, monitor: Monitor, front: bool
) -> None:
    await start(NAMES)
    await monitor.seen('"BLMOVE"', 5)
    with redis.Redis(unix_socket_path=str(server.socket_path)) as client:
        theirs = rq.Queue("three", connection=client).enqueue("jobs.add", 1, 2, at_front=front)
        job = await Queue("three", connection).fetch_job(theirs.id)
        assert job is not None
        assert (await result_of(job)).return_value == 3


async def test_connections(
    connection: Redis, new_client: Callable[[], Redis], start: Started, monitor: Monitor
) -> None:
    """One for commands, one to hear them and one for each queue, however often it waits."""
    before = len(await connection.client_list())
    await start(NAMES, connection=new_client())
    queue = Queue("one", connection)
    for count in range(1, 4):
        await monitor.seen('"BLMOVE"', 5 * count)
        await result_of(await queue.enqueue("jobs.nothing"))
    await monitor.seen('"BLMOVE"', 5 * 4)
    assert len(await connection.client_list()) <= before + 2 + 5 + 1  # the last waits for the results


async def test_with_a_client_of_other_settings(
    url: str, queue: Queue, make_worker: Callable[..., Worker], monitor: Monitor
) -> None:
    """A wait may last longer than the client's patience."""
    client = Redis.from_url(url, socket_timeout=0.2, decode_responses=True)
    job = await queue.enqueue("jobs.add", 1)
    await make_worker(connection=client).work(max_idle_time=1)
    assert await job.return_value() == 2
    assert monitor.count('"BLMOVE"') == 1
    await client.aclose()


async def test_a_wait_that_is_cancelled_leaves_no_trace(
    connection: Redis,
    new_client: Callable[[], Redis],
    make_worker: Callable[..., Worker],
    monitor: Monitor,
    queue: Queue,
) -> None:
    working = asyncio.create_task(make_worker(connection=new_client()).work())
    await monitor.seen('"BLMOVE"', 1)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    job = await queue.enqueue("jobs.nothing")
    assert await queue.get_job_ids() == [job.id]
    assert await connection.keys("rq:aiorq:inbox:*") == []
