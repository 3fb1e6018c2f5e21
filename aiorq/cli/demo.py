"""`aiorq demo`: a real job on real input, from an empty machine to a table."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import statistics
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from aiorq.job import Job
    from aiorq.queue import Queue
    from aiorq.result import Result

_WAIT: Final = 600.0
_TIMEOUT: Final = 1
_NAMES_SHOWN: Final = 10


def demo(
    jobs: Annotated[int | None, typer.Option(min=1, help="At most that many files.", show_default="all files")] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, max=1000, help="How many jobs run at a time.", show_default="number of processors")
    ] = os.cpu_count() or 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Count the names in Python's standard library, a job and a process for each file.

    Among the jobs is one that raises and is enqueued again, one that overruns its timeout and one that kills its own
    process. A server is started for it, unless AIORQ_REDIS_URL names one. Exits with 0 when all ended as they should.
    """
    import anyio

    logging.getLogger("aiorq").setLevel(logging.CRITICAL)  # three jobs fail on purpose
    report = anyio.run(_main, jobs, concurrency, not as_json, backend_options={"use_uvloop": True})
    if as_json:
        typer.echo(json.dumps(asdict(report), indent=2))
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


async def _main(limit: int | None, concurrency: int, progress: bool) -> Report:
    from aiorq.queue import Queue
    from aiorq.server import EmbeddedServer
    from aiorq.store.base import store_of, wipe
    from aiorq.store.connection import connect
    from aiorq.worker import Worker

    given = os.environ.get("AIORQ_REDIS_URL")
    with nullcontext() if given else EmbeddedServer() as server, tempfile.TemporaryDirectory() as folder:
        client = connect(given or (server.url if server else None))
        prefix = f"aiorq-demo-{os.urandom(4).hex()}"
        store = store_of(client, prefix)
        try:
            queue = Queue("demo", client, prefix=prefix)
            worker = Worker(queue, concurrency=concurrency, preload="aiorq.cli.demo_jobs")
            async with _working(worker):
                report = Report(store.transport.where, sys.version.split()[0], concurrency)
                await _play(queue, report, limit, Path(folder), progress)
        finally:
            try:
                await wipe(store)
            finally:
                await client.aclose()
    return report


@asynccontextmanager
async def _working(worker: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.work())
    try:
        yield
    finally:
        worker.request_stop(cold=sys.exc_info()[0] is not None)
        await task


async def _play(queue: Queue, report: Report, limit: int | None, folder: Path, progress: bool) -> None:
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
    with _Bar(len(expected) + 1, progress) as bar:

        async def wait(job: Job[Any]) -> Result[Any] | None:
            return bar.step(await job.latest_result(timeout=_WAIT))

        async def wait_again() -> Result[Any] | None:
            return bar.step(await again())

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
    report.to_start_ms = _percentiles(to_start)
    report.to_result_ms = _percentiles(to_result)


def _percentiles(values: list[float]) -> dict[str, float]:
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1)}


class _Bar:
    """A progress bar on a terminal; nothing elsewhere. Drawn from the event loop: no thread."""

    def __init__(self, total: int, wanted: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("counting names"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            auto_refresh=False,
            disable=not (wanted and self._console.is_terminal),
        )
        self._task = self._progress.add_task("", total=total)
        self._drawn = 0.0

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.refresh()
        self._progress.stop()

    def step(self, result: Result[Any] | None) -> Result[Any] | None:
        """Note that one more job ended."""
        self._progress.advance(self._task)
        if time.monotonic() - self._drawn > 0.1:
            self._drawn = time.monotonic()
            self._progress.refresh()
        return result


def _show(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(
        f"{report.jobs} jobs in {report.seconds:.1f} s: {report.jobs_per_second:.0f} jobs/s, a process each, "
        f"{report.concurrency} at a time.",
        f"They read {report.lines} lines with {report.words} words.",
        sep="\n",
        highlight=False,
    )
    outcomes = Table("outcome", title="Jobs by outcome", title_justify="left", title_style="bold")
    outcomes.add_column("jobs", justify="right")
    for name, number in report.outcomes.items():
        outcomes.add_row(name, f"{number}")
    console.print(outcomes)
    times = Table("from enqueue", title="Latency, ms", title_justify="left", title_style="bold")
    for column in ("p50", "p99"):
        times.add_column(column, justify="right")
    for name, values in (("to start", report.to_start_ms), ("to result", report.to_result_ms)):
        times.add_row(name, *(f"{values[column]:.1f}" if column in values else "-" for column in ("p50", "p99")))
    console.print(times)
    names = Table("name", title="Most frequent names", title_justify="left", title_style="bold")
    names.add_column("times", justify="right")
    for name, number in report.names:
        names.add_row(name, f"{number}")
    console.print(names)
    for line in report.unexpected:
        console.print(f"not as expected: {line}", style="red", markup=False)
