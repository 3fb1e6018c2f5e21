"""What a call of `aiorq.sync` costs: enqueueing one job after another, beside rq, beside the async API, beside a PING.

    python -m benchmarks.facade [--rounds N] [--jobs N]

All of them in one process, over the same server, in turns; of each round the median call is taken, of the rounds the
median. rq, the facade and PING use one and the same blocking client. "The core's own work" is what an enqueue does
without the facade: the same coroutine of the store, with the job made and encoded by hand, driven over the same client.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any

import redis
import rq
from rich.console import Console
from rich.table import Table

import aiorq
from aiorq.call import make_call
from aiorq.options import JobOptions
from aiorq.placement import new_job
from aiorq.server import EmbeddedServer
from aiorq.store import jobs
from aiorq.store.blocking import drive, store_of
from aiorq.sync import Job, Queue
from benchmarks.jobs import moment


def timed(call: Callable[[], Any], number: int) -> tuple[float, float]:
    """The median call by the clock, and the mean one by this process's CPU time, in microseconds."""
    spent, began = [], time.process_time()
    for _ in range(number):
        start = time.perf_counter()
        call()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent) * 1e6, (time.process_time() - began) / number * 1e6


async def timed_in_loop(url: str, number: int) -> tuple[float, float]:
    """The same for the async API."""
    async with aiorq.connect(url) as client:
        queue = aiorq.Queue("async", client)
        for _ in range(50):
            await queue.enqueue(moment, 1.0)
        spent, began = [], time.process_time()
        for _ in range(number):
            start = time.perf_counter()
            await queue.enqueue(moment, 1.0)
            spent.append(time.perf_counter() - start)
        return statistics.median(spent) * 1e6, (time.process_time() - began) / number * 1e6


def core(client: redis.Redis) -> Callable[[], Any]:
    """An enqueue by hand."""
    store = store_of(client)

    def enqueue() -> None:
        job: Job[Any] = Job(connection=client)
        job.set_call(make_call(moment, (1.0,), {}), JobOptions(), 180)
        new = new_job(job, "core", at_front=False, unique=False, when=None, runs_here=False)
        job.mark_placed("core", drive(jobs.enqueue(store, new)))

    return enqueue


def main() -> None:
    """Run all of them in turns, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--jobs", type=int, default=1000, help="calls of each in a round")
    given = parser.parse_args()
    with EmbeddedServer() as server, redis.Redis.from_url(server.url) as client:
        facade, theirs = Queue("facade", client), rq.Queue("rq", connection=client)
        calls: dict[str, Callable[[], Any]] = {
            "PING of redis-py": client.ping,
            "the core's own work": core(client),
            "aiorq.sync": lambda: facade.enqueue(moment, 1.0),
            "rq": lambda: theirs.enqueue(moment, 1.0),
        }
        for call in calls.values():
            timed(call, 200)
        rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in [*calls, "aiorq, awaited"]}
        for _ in range(given.rounds):
            for name, call in calls.items():
                rounds[name].append(timed(call, given.jobs))
            rounds["aiorq, awaited"].append(asyncio.run(timed_in_loop(server.url, given.jobs)))
        enqueued = given.rounds * given.jobs + 200
        assert len(facade) == theirs.count == enqueued
    table = Table(title=f"One call, us; medians of {given.rounds} rounds of {given.jobs}")
    for column in ("", "by the clock", "of CPU"):
        table.add_column(column, justify="left" if not column else "right")
    medians = {name: [statistics.median(part) for part in zip(*found, strict=True)] for name, found in rounds.items()}
    for name, (clock, cpu) in medians.items():
        table.add_row(name, f"{clock:.0f}", f"{cpu:.0f}")
    console = Console()
    console.print(table)
    added = medians["aiorq.sync"][0] - medians["the core's own work"][0]
    console.print(f"the facade adds {added:.0f} us to the core's own work")
    console.print(f"rq takes {medians['rq'][0] / medians['aiorq.sync'][0]:.2f} times as long as the facade")


if __name__ == "__main__":
    main()
