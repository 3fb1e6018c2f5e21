"""`aiorq demo`: a real job on real input, from an empty machine to a table."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aiorq.cli.output import place, print_json, progress, run, say, show
from aiorq.cli.parameters import AsJson, Given
from aiorq.cli.workplace import percentiles, working, workplace

if TYPE_CHECKING:
    from aiorq.job import Job
    from aiorq.queue import Queue
    from aiorq.result import Result

_WAIT: Final = 600.0
_TIMEOUT: Final = 1
_NAMES_SHOWN: Final = 10


def demo(
    given: Given,
    jobs: Annotated[int | None, typer.Option(min=1, help="At most that many files.", show_default="all files")] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, max=1000, help="How many jobs run at a time.", show_default="number of processors")
    ] = os.cpu_count() or 1,
    as_json: AsJson = False,
) -> None:
    """Count the names in Python's standard library, a job and a process for each file.

    Among the jobs is one that raises and is enqueued again, one that overruns its timeout and one that kills its own
    process. A server is started for it, unless --url or AIORQ_REDIS_URL names one, where it works below a prefix of its
    own and leaves nothing. Exits with 0 when all ended as they should.
    """
    logging.getLogger("aiorq").setLevel(logging.CRITICAL)  # three jobs fail on purpose
    report = run(_main, given, jobs, concurrency, uvloop=True)
    if as_json:
        print_json(asdict(report))
    else:
        _show(report)
    if report.unexpected:
        raise typer.Exit(1)


@dataclass
class Report:
    """What the demo found and how it went. Latencies are milliseconds by the server's clock."""

    server: str
    python: str
    concurrency: int
    jobs: int = 0
    seconds: float = 0.0
    jobs_per_second: float = 0.0
    outcomes: dict[str, int] = field(default_factory=dict)
    to_start_ms: dict[str, float] = field(default_factory=dict)
    to_result_ms: dict[str, float] = field(default_factory=dict)
    lines: int = 0
    words: int = 0
    names: list[tuple[str, int]] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)


async def _main(given: Given, limit: int | None, concurrency: int) -> Report:
    from aiorq.queue import Queue
    from aiorq.worker import Worker

    with tempfile.TemporaryDirectory() as folder:
        async with workplace(given, "aiorq-demo") as store:
            queue = Queue("demo", store.connection, prefix=store.keys.prefix)
            worker = Worker(queue, concurrency=concurrency, preload="aiorq.cli.demo_jobs")
            async with working(worker):
                report = Report(store.transport.where, sys.version.split()[0], concurrency)
                await _play(queue, report, limit, Path(folder))
    return report


async def _play(queue: Queue, report: Report, limit: int | None, folder: Path) -> None:
    from aiorq.cli import demo_jobs
    from aiorq.queue import Queue

    files = _standard_library()[:limit]
    began = time.monotonic()
    datas = [Queue.prepare_data(demo_jobs.count, (str(path),)) for path in files]
    counted = await queue.enqueue_many(datas)
    late = folder / "late.py"  # does not exist yet: the first try fails
    retried = await queue.enqueue(demo_jobs.count, str(late))
    overrun: Job[Any] = await queue.enqueue(demo_jobs.overrun, job_timeout=_TIMEOUT)
    killed = await queue.enqueue(demo_jobs.kill_itself)

    async def again() -> Result[Any] | None:
        first = await retried.latest_result(timeout=_WAIT)
        _expect(report, "the file that was missing", first, "failed", "FileNotFoundError")
        late.write_text("late = True\n")
        await queue.enqueue_job(retried)
        return await retried.latest_result(timeout=_WAIT)

    expected = [*counted, overrun, killed]
    with progress("counting names", len(expected) + 1) as step:

        async def wait(job: Job[Any]) -> Result[Any] | None:
            result = await job.latest_result(timeout=_WAIT)
            step(1)
            return result

        async def wait_again() -> Result[Any] | None:
            result = await again()
            step(1)
            return result

        *results, last = await asyncio.gather(*(wait(job) for job in expected), wait_again())
    report.seconds = time.monotonic() - began

    *counts, of_overrun, of_killed = results
    for path, result in zip(files, counts, strict=True):
        _expect(report, str(path), result, "successful")
    _expect(report, "the job that overran its timeout", of_overrun, "failed", "JobTimeoutException")
    _expect(report, "the job that killed its process", of_killed, "failed", "signal 9 (SIGKILL)")
    _expect(report, "the file that was missing, tried again", last, "successful")
    report.jobs = len(expected) + 1
    report.jobs_per_second = report.jobs / report.seconds
    report.outcomes = {
        "finished": sum(_ended(result, "successful") for result in counts),
        "failed, then finished when tried again": int(_ended(last, "successful")),
        "failed: ran over its timeout": int(_ended(of_overrun, "failed")),
        "failed: its process was killed": int(_ended(of_killed, "failed")),
    }
    _measure(report, [*expected, retried], [*results, last])
    total: Counter[str] = Counter()
    for result in counts:
        if result is not None and result.return_value is not None:
            value: demo_jobs.Count = result.return_value
            report.lines += value["lines"]
            report.words += value["words"]
            total.update(value["names"])
    report.names = total.most_common(_NAMES_SHOWN)


def _standard_library() -> list[Path]:
    root = Path(sysconfig.get_path("stdlib"))
    foreign = ("site-packages", "dist-packages")
    return sorted(path for path in root.rglob("*.py") if path.is_file() and not set(foreign) & set(path.parts))


def _ended(result: Result[Any] | None, kind: str) -> bool:
    return result is not None and result.type.name.lower() == kind


def _expect(report: Report, what: str, result: Result[Any] | None, kind: str, text: str = "") -> None:
    if result is None:
        report.unexpected.append(f"{what}: no outcome within {_WAIT:g} seconds")
    elif not _ended(result, kind) or text not in (result.exc_string or ""):
        last = (result.exc_string or "").strip().splitlines()[-1:]
        report.unexpected.append(f"{what}: {result.type.name.lower()} {' '.join(last)}")


def _measure(report: Report, jobs: Sequence[Job[Any]], results: Sequence[Result[Any] | None]) -> None:
    to_start, to_result = [], []
    for job, result in zip(jobs, results, strict=True):
        if result is None or job.enqueued_at is None:
            continue
        if result.execution_started_at is not None and result.execution_ended_at is not None:
            to_start.append((result.execution_started_at - job.enqueued_at).total_seconds() * 1000)
            to_result.append((result.execution_ended_at - job.enqueued_at).total_seconds() * 1000)
    report.to_start_ms = percentiles(to_start)
    report.to_result_ms = percentiles(to_result)


def _show(report: Report) -> None:
    from aiorq.cli.grid import Column, Grid

    numbers = Column("", right=True)

    def table(title: str, *columns: str, rows: Iterable[Sequence[str]]) -> None:
        say()
        say(title, style="bold")
        first, *others = columns
        grid = Grid(Column(first, least=8), *(replace(numbers, title=column) for column in others), width=place())
        for row in rows:
            grid.add(*row)
        show(grid)

    say(
        f"{report.jobs} jobs in {report.seconds:.1f} s: {report.jobs_per_second:.0f} jobs/s, a process each, "
        f"{report.concurrency} at a time."
    )
    say(f"They read {report.lines} lines with {report.words} words.")
    table("Jobs by outcome", "outcome", "jobs", rows=((name, f"{n}") for name, n in report.outcomes.items()))
    times = (("to start", report.to_start_ms), ("to result", report.to_result_ms))
    shown = ((name, *(f"{each[cut]:.1f}" if cut in each else "-" for cut in ("p50", "p99"))) for name, each in times)
    table("Latency, ms", "from enqueue", "p50", "p99", rows=shown)
    table("Most frequent names", "name", "times", rows=((name, f"{number}") for name, number in report.names))
    for line in report.unexpected:
        say(f"not as expected: {line}", style="red")
