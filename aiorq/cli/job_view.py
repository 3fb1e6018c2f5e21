"""How one job is shown: a line for each thing that is known, its attempts, its traceback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from aiorq.cli.grid import Column, Grid, duration
from aiorq.cli.info_view import stacked
from aiorq.cli.jobs_view import STYLES
from aiorq.cli.mistakes import printable
from aiorq.cli.output import moment

if TYPE_CHECKING:
    from aiorq.inspection.details import JobDetails

_VALUE: Final = 4_000
"""Characters of an argument that are shown."""


def lines_of(told: JobDetails, width: int | None) -> RenderableType:
    """All about a job, for a terminal of that width, or for a pipe."""
    known: list[tuple[str, Text]] = [
        (name, value if isinstance(value, Text) else Text(printable(value))) for name, value in _known(told)
    ]
    longest = max(len(name) for name, _ in known)
    if width is None:
        lines: list[RenderableType] = [Text(f"{name:<{longest}}  ") + value for name, value in known]
    else:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in known:
            table.add_row(name, value)
        lines = [table]
    return stacked(lines, _attempts(told, width), _traceback(told))


def _known(told: JobDetails) -> Iterator[tuple[str, Text | str]]:
    job = told.summary
    yield "Job", job.id
    for problem in told.problems:
        yield "Problem", Text(printable(problem), style="red")
    yield "State", Text(printable(job.status or "?"), style=STYLES.get(job.status or "", ""))
    yield "Function", job.function
    if job.description is not None:
        yield "Description", job.description
    position = "" if told.position is None else f" (position {told.position + 1})"
    yield "Queue", (job.queue or "-") + position
    for name, when in (
        ("Created", job.created_at),
        ("Enqueued", job.enqueued_at),
        ("Scheduled for", told.scheduled_for),
        ("Started", job.started_at),
        ("Ended", job.ended_at),
    ):
        if when is not None:
            seconds = (told.moment - when).total_seconds()
            yield name, f"{moment(when)} ({f'{duration(seconds)} ago' if seconds >= 0 else f'in {duration(-seconds)}'})"
    if job.started_at is not None and job.ended_at is not None:
        yield "Took", duration(max(0.0, (job.ended_at - job.started_at).total_seconds()))
    if job.worker is not None:
        heard = ""
        if told.last_heartbeat is not None and job.status == "started":
            heard = f", heard of {duration(max(0.0, (told.moment - told.last_heartbeat).total_seconds()))} ago"
        yield "Worker", job.worker + heard
    for label, value in (
        ("May run for", job.timeout),
        ("May wait for", told.ttl),
        ("Result kept for", told.result_ttl),
        ("Failure kept for", told.failure_ttl),
    ):
        if value is not None:
            yield label, "ever" if value < 0 else _seconds(value)
    if told.retries_left is not None:
        waits = ", ".join(map(str, told.retry_intervals or ()))
        yield "Retries left", f"{told.retries_left}" + (f" (after {waits} s)" if waits.strip("0, ") else "")
    if told.repeats_left is not None:
        yield "Repeats left", f"{told.repeats_left}"
    if told.rate_limit is not None:
        yield "Rate limit", f"{told.rate_limit} ({told.rate_limit_concurrency} at a time)"
    if told.on_lost is not None:
        yield "If lost", told.on_lost
    if told.memory_limit is not None:
        yield "Memory limit", f"{told.memory_limit} bytes"
    if told.group is not None:
        yield "Group", told.group
    if told.waits_for:
        yield "Waits for", ", ".join(told.waits_for)
    if told.dependents:
        yield "Waited for by", ", ".join(told.dependents)
    if told.payload is not None:
        for index, value in enumerate(told.payload.args):
            yield f"Argument {index + 1}", _value(value)
        for name, value in told.payload.kwargs.items():
            yield f"Argument {printable(name)}", _value(value)
        if told.payload.meta:
            yield "Meta", _value(told.payload.meta)


def _attempts(told: JobDetails, width: int | None) -> list[RenderableType]:
    if not told.attempts:
        return []
    grid = Grid(
        Column("Attempt", right=True),
        Column("Outcome", keep=3),
        Column("Took", right=True, keep=2),
        Column("Ended", keep=1),
        Column("Worker", keep=0, least=8),
        width=width,
    )
    for attempt in told.attempts:
        took = None
        if attempt.started_at is not None and attempt.ended_at is not None:
            took = max(0.0, (attempt.ended_at - attempt.started_at).total_seconds())
        good = attempt.outcome == "successful"
        outcome = Text(printable(attempt.outcome.replace("_", " ")), style="green" if good else "red")
        grid.add(f"{attempt.number}", outcome, duration(took), moment(attempt.ended_at), attempt.worker_name)
    return [grid]


def _traceback(told: JobDetails) -> list[RenderableType]:
    if told.traceback is None:
        return []
    return [Text(printable(line), overflow="fold") for line in told.traceback.splitlines()]


def _seconds(value: int) -> str:
    return f"{value} s" if value < 60 else f"{value} s ({duration(value)})"


def _value(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - code of the value's own class
        text = f"<unprintable {type(value).__name__}>"
    return text if len(text) <= _VALUE else f"{text[:_VALUE]}... ({len(text)} characters)"
