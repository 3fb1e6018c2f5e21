"""What is due: how late single jobs start, what waiting for them costs, and many jobs that are due in the same second.

python -m benchmarks.schedule [--single N] [--burst N] [--beside-rq N]

Workers, server and clients share one machine, and so one clock. Redis time is what the server says that its commands
took; the longest call is the longest time that others waited.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import redis
import rq
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table

from aiorq import Queue, Worker, connect
from aiorq.server import EmbeddedServer

MOMENT = "benchmarks.jobs.moment"
IDLE = 10.0
"""Seconds for which the commands of a worker that waits are counted."""


@asynccontextmanager
async def worker(url: str, count: int, *more: str, module: str = "aiorq") -> AsyncIterator[None]:
    """A worker in a process of its own, once there are `count` of them."""
    command = [sys.executable, "-m", module, "worker", "--url", url, "--path", ".", "--quiet", *more]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        async with connect(url) as client:
            while await Worker.count(client) < count:  # noqa: ASYNC110 - another process's doing
                await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        yield
    finally:
        process.terminate()
        await process.wait()


def at(seconds: float) -> datetime:
    """The date of so many seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def part(values: Sequence[float], share: float) -> float:
    """The value below which that share of them is."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def commands_while_idle(url: str) -> float:
    """Commands in a second that clients send while nothing happens."""
    with redis.Redis.from_url(url) as client, client.monitor() as monitor:
        heard = []

        def listen() -> None:
            commands: Any = monitor.listen()
            for command in commands:
                if "ECHO over" in command["command"]:
                    return
                if command["client_type"] != "lua":
                    heard.append(command["command"])

        listening = asyncio.create_task(asyncio.to_thread(listen))
        await asyncio.sleep(IDLE)
        async with connect(url) as other:
            before = len(heard)
            await other.echo("over")
        await listening
        return before / IDLE


async def single(number: int, table: Table) -> None:
    """Jobs that are due one at a time, while the worker has nothing else to do."""
    with EmbeddedServer() as server:
        async with connect(server.url) as client, worker(server.url, 1):
            idle = await commands_while_idle(server.url)
            queue = Queue(connection=client)
            moments = [time.time() + 1]
            while len(moments) < number:
                moments.append(moments[-1] + random.uniform(0.15, 0.65))
            shuffled = random.sample(moments, len(moments))
            jobs = {due: await queue.enqueue_at(at(due), MOMENT, due) for due in shuffled}
            started = await asyncio.gather(*(job.latest_result(timeout=number) for job in jobs.values()))
    late = [1000 * (float(result.return_value or 0) - due) for due, result in zip(jobs, started, strict=True) if result]
    table.add_row("jobs", f"{len(late)}")
    table.add_row("started after they were due, median, ms", f"{statistics.median(late):.1f}")
    table.add_row("the same, 99 of 100", f"{part(late, 0.99):.1f}")
    table.add_row("the same, the last and the first", f"{max(late):.1f}, {min(late):.1f}")
    table.add_row("commands in a second of the worker while it waits", f"{idle:.2f}")


async def burst(number: int, table: Table) -> None:
    """Many jobs that are due in the same second, with two workers; the queue is paused, so that none is taken."""
    with EmbeddedServer() as server:
        async with connect(server.url) as client, AsyncExitStack() as workers:
            queue = Queue(connection=client)
            await queue.pause("promotion is measured")
            for count in (1, 2):
                await workers.enter_async_context(worker(server.url, count))
            begin = int(time.time()) + 3 + number // 1000
            dues = {f"job-{index}": begin + random.random() for index in range(number)}
            for start in range(0, number, 500):
                chosen = list(dues.items())[start : start + 500]
                await asyncio.gather(*(queue.enqueue_at(at(due), MOMENT, job_id=name) for name, due in chosen))
            assert time.time() < begin, "it took too long to schedule them"
            scheduled = await redis_time(client)
            await asyncio.sleep(begin - time.time())
            longest = 0.0
            while await queue.count() < number and time.time() < begin + 60:
                asked = time.perf_counter()
                await client.ping()
                longest = max(longest, time.perf_counter() - asked)
            done = time.time()
            used = await redis_time(client)
            ids = await queue.get_job_ids()
    assert Counter(ids) == Counter(dues.keys())
    ordered = [round(dues[name], 6) for name in ids]
    table.add_row("jobs, each promoted once", f"{len(ids)}")
    table.add_row("in the order of their time", str(ordered == sorted(ordered)))
    table.add_row("the last one promoted after the end of that second, s", f"{done - begin - 1:.3f}")
    table.add_row("jobs in a second of Redis time", f"{number / used[0]:.0f}")
    table.add_row("calls", f"{used[2]}")
    table.add_row("longest call, ms", f"{used[1]:.2f}")
    table.add_row("longest wait of another client, ms", f"{1000 * longest:.2f}")
    table.add_row("Redis time to schedule one, us", f"{1e6 * scheduled[0] / number:.1f}")


async def redis_time(client: Redis) -> tuple[float, float, int]:
    """Seconds that scripts took since this was asked last, milliseconds of the longest one, and their number."""
    asked: Any = client
    stats = (await asked.info("commandstats"))["cmdstat_evalsha"]
    slow = [entry["duration"] for entry in await asked.slowlog_get(1000)]
    await asked.config_resetstat()
    await asked.slowlog_reset()
    await asked.config_set("slowlog-log-slower-than", 100)
    return stats["usec"] / 1e6, max(slow, default=0) / 1000, stats["calls"]


async def beside_rq(number: int, table: Table) -> None:
    """Jobs that both libraries schedule and both run, with a scheduler of RQ's that holds the queue, or does not."""
    for first, second in (("rq.cli", "aiorq"), ("aiorq", "rq.cli")):
        options = {"rq.cli": ["--with-scheduler"], "aiorq": []}
        with EmbeddedServer() as server:
            url = server.url
            async with (
                worker(url, 1, *options[first], module=first),
                worker(url, 2, *options[second], module=second),
                connect(url) as client,
            ):
                queue = Queue(connection=client)
                with redis.Redis.from_url(url) as blocking:
                    theirs = rq.Queue(connection=blocking)
                    names = [f"job-{index}" for index in range(number)]
                    begin = time.time() + 1
                    for index, name in enumerate(names):
                        due = at(begin + random.uniform(0, 5))
                        if index % 2:
                            theirs.enqueue_at(due, MOMENT, job_id=name)
                        else:
                            await queue.enqueue_at(due, MOMENT, job_id=name)
                    jobs = [await queue.fetch_job(name) for name in names]
                    await asyncio.gather(*(job.latest_result(timeout=120) for job in jobs if job))
                    await asyncio.sleep(3)  # a second run would come now
                    runs = Counter([len(await job.results()) for job in jobs if job])
                    by = Counter([result.worker_name for job in jobs if job for result in await job.results()])
        table.add_row(f"{first} before {second}: runs of a job -> jobs", str(dict(runs)))
        table.add_row("jobs of each worker", str(sorted(by.values())))


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.schedule", description=__doc__)
    parser.add_argument("--single", type=int, default=100)
    parser.add_argument("--burst", type=int, default=10_000)
    parser.add_argument("--beside-rq", type=int, default=500)
    options = parser.parse_args()
    for title, measure, number in (
        ("one at a time", single, options.single),
        ("all in the same second", burst, options.burst),
        ("beside rq", beside_rq, options.beside_rq),
    ):
        table = Table("", "", title=title, title_justify="left", show_header=False)
        if number:
            asyncio.run(measure(number, table))
            Console().print(table)


if __name__ == "__main__":
    main()
