"""How lists show jobs."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from rich.console import RenderableType
from rich.text import Text

from aiorq.cli.grid import Column, Grid, duration
from aiorq.cli.mistakes import printable

if TYPE_CHECKING:
    from aiorq.inspection.listing import Listing
    from aiorq.inspection.summary import JobSummary

STYLES: Final = {
    "started": "cyan",
    "failed": "red",
    "stopped": "red",
    "finished": "green",
    "canceled": "yellow",
}


def table_of(found: Listing, width: int | None) -> RenderableType:
    """The jobs of a page."""
    has_workers, has_descriptions = (
        any(getattr(job, name) for job in found.jobs) for name in ("worker", "description")
    )
    grid = Grid(
        Column("Job"),
        Column("State", keep=9),
        Column("Queue", keep=7, least=8),
        Column("Function", keep=8, least=12),
        Column("When", right=True, keep=6),
        *([Column("Worker", keep=3, least=8)] if has_workers else []),
        *([Column("Description", keep=4, least=12)] if has_descriptions else []),
        width=width,
        notes="Error",
    )
    for job in found.jobs:
        text = job.problem or job.error
        grid.add(
            job.id,
            Text(printable(job.status or "?"), style=STYLES.get(job.status or "", "")),
            job.queue or "-",
            job.function,
            _when(found.moment, job),
            *([job.worker or "-"] if has_workers else []),
            *([job.description or "-"] if has_descriptions else []),
            note=None if text is None else Text(printable(text), style="red"),
        )
    return grid


def _when(now: datetime, job: JobSummary) -> str:
    """How long the job has been what it is."""
    if job.status == "started":
        return f"for {_since(now, job.started_at)}" if job.started_at else "-"
    since = job.ended_at if job.status in {"failed", "stopped", "finished", "canceled"} else None
    since = since or job.enqueued_at or job.created_at
    return f"{_since(now, since)} ago" if since else "-"


def _since(now: datetime, moment: datetime) -> str:
    return duration(max(0.0, (now - moment).total_seconds()))
