"""What grows with the number of jobs: one that many wait for, one that waits for many, and a long queue.

python -m benchmarks.scale [--dependents N] [--queued N]

Redis time is what the server says that its commands took; the longest call is the longest time that others waited.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import redis
import rq
from rich.console import Console
from rich.table import Table

from aiorq import Queue, connect
from aiorq.server import EmbeddedServer
from aiorq.store import runs

CALL = "benchmarks.jobs.nothing"
PAGE = 100
BATCH = 5000
"""Jobs that rq's client is given at a time."""


class Gauge:
    """Wall time, Redis time, and the longest call of what is awaited."""

    def __init__(self, client: Any, table: Table) -> None:
        self._client = client
        self._table = table

    async def __call__(self, what: str, act: Callable[[], Awaitable[object]]) -> Any:
        await self._client.config_resetstat()
        await self._client.slowlog_reset()
        began = time.perf_counter()
        done = await act()
        seconds = time.perf_counter() - began
        used = sum(stats["usec"] for stats in (await self._client.info("commandstats")).values())
        slow = [entry["duration"] for entry in await self._client.slowlog_get(1000)]
        self._table.add_row(what, f"{seconds:.3f}", f"{used / 1e6:.3f}", f"{max(slow, default=0) / 1000:.2f}")
        return done


async def finish_all(queue: Queue, until: str = "") -> int:
    """Claim and finish what is in the queue, as workers would, up to the job of that id; returns how many."""
    done = 0
    while claimed := await runs.claim(queue.store, "scale", [queue.name], 50, 60):
        await asyncio.gather(*(runs.finish(queue.store, "scale", claim.run, b"", 500) for claim in claimed))
        done += len(claimed)
        if any(claim.run.job_id == until for claim in claimed):
            break
    return done


async def dependents(number: int, table: Table) -> None:
    """One parent with many children, then one child with many parents."""
    with EmbeddedServer() as server:
        client = connect(server.url)
        await client.config_set("slowlog-log-slower-than", 500)
        await client.config_set("slowlog-max-len", 1000)
        gauge, queue = Gauge(client, table), Queue(connection=client)
        await queue.enqueue(CALL, job_id="parent")
        children = [Queue.prepare_data(CALL, depends_on="parent") for _ in range(number)]
        await gauge(f"enqueue {number} jobs that wait for one", lambda: queue.enqueue_many(children))
        await gauge("finish that one, and release them all", lambda: finish_all(queue, "parent"))
        assert await queue.count() == number
        await client.flushall()
        parents = await queue.enqueue_many([Queue.prepare_data(CALL) for _ in range(number)])
        waiting = Queue.prepare_data(CALL, job_id="it", depends_on=parents)
        await gauge(f"enqueue one that waits for {number}", lambda: queue.enqueue_data(waiting))
        await gauge(f"claim and finish these {number}, and it", lambda: finish_all(queue, "it"))
        assert await queue.count() == 0
        await queue.enqueue_many([Queue.prepare_data(CALL) for _ in range(number)])
        await gauge(f"claim and finish {number} that nothing waits for", lambda: finish_all(queue))
        await client.aclose()


async def backlog(number: int, table: Table) -> None:
    """A long queue: filling it, counting it, looking at parts of it, and what a job in it costs."""
    with EmbeddedServer() as server:
        client = connect(server.url)
        await client.config_set("slowlog-log-slower-than", 500)
        gauge, queue = Gauge(client, table), Queue(connection=client)
        before = _used(server.url)
        middle = "the-middle"

        async def fill() -> None:
            for start in range(0, number, 100_000):
                count = min(100_000, number - start)
                datas = [Queue.prepare_data(CALL, (start + index,)) for index in range(count)]
                if start <= number // 2 < start + count:
                    datas[number // 2 - start] = Queue.prepare_data(CALL, (0,), job_id=middle)
                await queue.enqueue_many(datas)

        await gauge(f"enqueue_many of {number} jobs", fill)
        assert await gauge("count", queue.count) == number
        assert len(await gauge(f"the first {PAGE} ids", lambda: queue.get_job_ids(0, PAGE))) == PAGE
        assert await gauge("position of the job in the middle", lambda: queue.get_job_position(middle)) == number // 2
        await client.aclose()  # whose buffers are not the jobs'
        ours = (_used(server.url) - before) / number
        registry = queue.finished_job_registry
        key = registry.key
        later = time.time() + 3600
        for start in range(0, number, 10_000):
            await client.zadd(key, {f"job-{start + index}": later for index in range(min(10_000, number - start))})
        half = number // 2
        page = await gauge(
            f"{PAGE} ids in the middle of a registry", lambda: registry.get_job_ids(half, half + PAGE - 1)
        )
        assert len(page) == PAGE
        await client.aclose()
    with EmbeddedServer() as server, redis.Redis.from_url(server.url) as blocking:
        before = _used(server.url)
        theirs = rq.Queue(connection=blocking)
        for start in range(0, number, BATCH):
            datas = [rq.Queue.prepare_data(CALL, (start + index,)) for index in range(min(BATCH, number - start))]
            theirs.enqueue_many(datas)
        blocking.close()
        rqs = (_used(server.url) - before) / number
    Console().print(f"bytes of memory for each queued job: aiorq {ours:.0f}, rq {rqs:.0f}")


def _used(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        info: Any = client.info("memory")
        return int(info["used_memory"])


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--dependents", type=int, default=10_000)
    parser.add_argument("--queued", type=int, default=1_000_000)
    options = parser.parse_args()
    table = Table("", title="scale", title_justify="left")
    for column in ("seconds", "of Redis", "longest call, ms"):
        table.add_column(column, justify="right")
    asyncio.run(dependents(options.dependents, table))
    asyncio.run(backlog(options.queued, table))
    Console().print(table)


if __name__ == "__main__":
    main()
