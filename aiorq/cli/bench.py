"""`aiorq bench`: how fast it is here, in a few seconds."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aiorq.cli.mistakes import Failure
from aiorq.cli.output import place, print_json, progress, run, say, show
from aiorq.cli.parameters import AsJson, Given
from aiorq.cli.workplace import percentiles, working, workplace

if TYPE_CHECKING:
    from aiorq.job import Job
    from aiorq.queue import Queue
    from aiorq.result import Result
    from aiorq.store.base import Store

_FUNCTION: Final = "math.sqrt"
"""What the jobs call: next to nothing, and in a module that costs nothing to import."""
_ONE_BY_ONE: Final = 200
_TOGETHER: Final = 2000
_ROUND_TRIPS: Final = 50
_WAIT: Final = 60.0


@dataclass
class Figures:
    """What was measured. Times of jobs are by the server's clock."""

    server: str
    python: str
    concurrency: int
    jobs: int
    enqueue_one_by_one_per_second: float = 0.0
    enqueue_together_per_second: float = 0.0
    drain_per_second: float = 0.0
    to_start_ms: dict[str, float] = field(default_factory=dict)
    to_result_ms: dict[str, float] = field(default_factory=dict)
    """From the call of `enqueue` to the result in this process."""


def bench(
    given: Given,
    jobs: Annotated[int, typer.Option(min=10, max=100_000, help="How many jobs are run, a process each.")] = 500,
    concurrency: Annotated[
        int, typer.Option(min=1, max=1000, help="How many jobs run at a time.", show_default="number of processors")
    ] = os.cpu_count() or 1,
    as_json: AsJson = False,
) -> None:
    """Measure how fast jobs are enqueued and run here, in a few seconds.

    It works below a prefix of its own, which it leaves empty, on the Redis that is meant or else on a server that it
    starts. Others who work there or on this machine meanwhile slow it down, and are slowed down.
    """
    logging.getLogger("aiorq").setLevel(logging.CRITICAL)
    figures = run(_main, given, jobs, concurrency, uvloop=True)
    if as_json:
        print_json(asdict(figures))
    else:
        _show(figures)


async def _main(given: Given, jobs: int, concurrency: int) -> Figures:
    from aiorq.queue import Queue
    from aiorq.worker import Worker

    async with workplace(given, "aiorq-bench") as store:
        figures = Figures(store.transport.where, platform.python_version(), concurrency, jobs)
        with progress("measuring", jobs + _ROUND_TRIPS) as step:
            await _enqueue(_queue(store, "waiting"), figures)
            queue = _queue(store, "bench")
            put = await queue.enqueue_many([Queue.prepare_data(_FUNCTION, (2,)) for _ in range(jobs)])
            async with working(Worker(queue, concurrency=concurrency)):

                async def end(job: Job[Any]) -> Result[Any]:
                    result = await _result(job)
                    step(1)
                    return result

                results = await asyncio.gather(*map(end, put))
                began = min(_begun(result) for result in results)
                ended = max(_ended(result) for result in results)
                figures.drain_per_second = round(jobs / (ended - began), 1)
                await _time(queue, figures, step)
    return figures


def _queue(store: Store, name: str) -> Queue:
    from aiorq.queue import Queue

    return Queue(name, store.connection, prefix=store.keys.prefix)


async def _enqueue(queue: Queue, figures: Figures) -> None:
    began = time.perf_counter()
    for _ in range(_ONE_BY_ONE):
        await queue.enqueue(_FUNCTION, 2)
    figures.enqueue_one_by_one_per_second = round(_ONE_BY_ONE / (time.perf_counter() - began), 1)
    began = time.perf_counter()
    await asyncio.gather(*(queue.enqueue(_FUNCTION, 2) for _ in range(_TOGETHER)))
    figures.enqueue_together_per_second = round(_TOGETHER / (time.perf_counter() - began), 1)


async def _time(queue: Queue, figures: Figures, step: Any) -> None:
    """One job after the other, on an idle worker."""
    to_start, to_result = [], []
    for _ in range(_ROUND_TRIPS):
        began = time.perf_counter()
        job = await queue.enqueue(_FUNCTION, 2)
        result = await _result(job)
        to_result.append((time.perf_counter() - began) * 1000)
        if job.enqueued_at is not None:
            to_start.append((_begun(result) - job.enqueued_at.timestamp()) * 1000)
        step(1)
    figures.to_start_ms, figures.to_result_ms = percentiles(to_start), percentiles(to_result)


async def _result(job: Job[Any]) -> Result[Any]:
    result = await job.latest_result(timeout=_WAIT)
    if result is None or result.type.name != "SUCCESSFUL":
        raise Failure(f"a job of the measurement did not finish: {(result and result.exc_string) or 'no outcome'}")
    return result


def _begun(result: Result[Any]) -> float:
    assert result.execution_started_at is not None  # noqa: S101 - of our own workers' results
    return result.execution_started_at.timestamp()


def _ended(result: Result[Any]) -> float:
    assert result.execution_ended_at is not None  # noqa: S101
    return result.execution_ended_at.timestamp()


def _show(figures: Figures) -> None:
    from aiorq.cli.grid import Column, Grid

    say(f"{figures.server}, Python {figures.python}, {figures.concurrency} jobs at a time, a process each")
    say()
    grid = Grid(Column("", least=8), Column("jobs/s", right=True), width=place())
    grid.add("enqueue, one after the other", f"{figures.enqueue_one_by_one_per_second:.0f}")
    grid.add("enqueue, together", f"{figures.enqueue_together_per_second:.0f}")
    grid.add(f"run {figures.jobs} that wait", f"{figures.drain_per_second:.0f}")
    show(grid)
    say()
    grid = Grid(
        Column("ms, on an idle worker", least=8), Column("p50", right=True), Column("p99", right=True), width=place()
    )
    for name, times in (("enqueue to start", figures.to_start_ms), ("enqueue to result", figures.to_result_ms)):
        grid.add(name, *(f"{times[cut]:.1f}" for cut in ("p50", "p99")))
    show(grid)
