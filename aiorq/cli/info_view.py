"""How `info` and `workers` show what there is: lines and tables that fit the terminal, or plain text for a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType
from rich.text import Text

from aiorq.cli.grid import Column, Grid, bar, duration
from aiorq.cli.mistakes import printable
from aiorq.cli.output import number_of

if TYPE_CHECKING:
    from aiorq.inspection.overview import Overview, QueueView, Rates, WorkerView

_BARS: Final = ((120, 20), (100, 12), (0, 8))
"""Columns of a terminal from which on bars are so long."""
_SCALE: Final = 20
"""Jobs of a bar in its full length, unless a queue has more (RQ)."""
_STATES: Final = {"busy": "red", "idle": "green", "suspended": "yellow"}  # RQ's colours


class View:
    """What was seen, drawn for a place of some width."""

    def __init__(
        self,
        seen: Overview,
        rates: Rates | None,
        *,
        width: int | None,
        ascii_only: bool,
        asked: Sequence[str] = (),
    ) -> None:
        """Draw `seen`.

        Args:
            seen: what was seen.
            rates: since the look before; None where there was none.
            width: of the terminal; None for a pipe.
            ascii_only: whether nothing but ASCII can be shown.
            asked: the queues that were asked for; none for all.
        """
        self._seen = seen
        self._rates = rates
        self._width = width
        self._ascii_only = ascii_only
        self._asked = asked

    def head(self) -> list[RenderableType]:
        """Where and when, and what keeps jobs waiting."""
        seen = self._seen
        lines: list[RenderableType] = [
            self._line(f"{seen.server}, prefix {seen.prefix}, {seen.moment.astimezone():%Y-%m-%d %H:%M:%S}", "dim")
        ]
        if seen.suspended:
            until = "" if seen.suspended_for is None else f" for {duration(seen.suspended_for)}"
            lines.append(self._line(f"All workers are suspended{until}: `aiorq resume` lets them go on.", "yellow"))
        return lines

    def queues(self) -> list[RenderableType]:
        """The queues, and a line with their sum."""
        seen = self._seen
        summary = f"{number_of(len(seen.queues), 'queue')}, {number_of(seen.total('queued'), 'job')} waiting"
        failed = seen.total("failed")
        if failed:
            summary += f", {failed} failed"
        if not seen.queues:
            return [self._line("There are no queues: the first job that is enqueued makes one.")]
        most = max(_SCALE, *(queue.counts["queued"] for queue in seen.queues))
        longest = next(length for columns, length in _BARS if (self._width or 0) >= columns)
        grid = Grid(
            Column("Queue", least=8),
            Column("", keep=5),
            Column("Waiting", right=True, keep=9),
            *([Column("per s", right=True, keep=5)] if self._rates else []),
            Column("Oldest", right=True, keep=6),
            Column("Running", right=True, keep=7),
            Column("Failed", right=True, keep=8),
            Column("Finished", right=True, keep=4),
            Column("Scheduled", right=True, keep=2),
            Column("Deferred", right=True, keep=1),
            Column("Canceled", right=True, keep=0),
            width=self._width,
        )
        for queue in seen.queues:
            counts = queue.counts
            rate = [] if self._rates is None else [_growth(self._rates.queued.get(queue.name, 0.0))]
            drawn = bar(counts["queued"], most, longest, ascii_only=self._ascii_only)
            grid.add(
                Text(printable(queue.name), style="yellow" if queue.paused else ""),
                Text("" if self._width is None else drawn, style="green"),
                f"{counts['queued']}",
                *rate,
                duration(queue.oldest),
                f"{counts['started']}",
                Text(f"{counts['failed']}", style="red" if counts["failed"] else ""),
                f"{counts['finished']}",
                f"{counts['scheduled']}",
                f"{counts['deferred'] + counts['ready_to_enqueue']}",
                f"{counts['canceled']}",
                note=_note_of(queue),
            )
        return [grid, self._line(summary, "bold")]

    def limits(self) -> list[RenderableType]:
        """The rate limits, where there are any."""
        seen = self._seen
        if not seen.limits or self._asked:
            return []
        grid = Grid(
            Column("Rate limit", least=8),
            Column("In use", right=True, keep=2),
            Column("Of", right=True, keep=1),
            Column("Waiting", right=True, keep=3),
            width=self._width,
        )
        for limit in seen.limits:
            grid.add(limit.key, f"{limit.allowed}", f"{limit.concurrency or '?'}", f"{limit.waiting}")
        return [grid]

    def workers(self, *, all_runs: bool = False) -> list[RenderableType]:
        """The workers, and a line with their sum.

        Args:
            all_runs: show each run in a line of its own, not the longest alone.
        """
        seen = self._seen
        running = sum(worker.running for worker in seen.workers)
        summary = f"{number_of(len(seen.workers), 'worker')}, {number_of(running, 'job')} running"
        if self._rates is not None:
            summary += f", {self._rates.ended:.1f} jobs/s"
        if not seen.workers:
            here = f" takes jobs from {', '.join(self._asked)}" if self._asked else " runs"
            return [self._line(f"No worker{here}: `aiorq worker` starts one.")]
        grid = Grid(
            Column("Worker", least=8),
            Column("State", keep=9),
            Column("Running", keep=8, least=16),
            *([Column("Job", keep=5)] if all_runs else []),
            Column("For", right=True, keep=7),
            Column("Queues", keep=6, least=8),
            Column("Done", right=True, keep=4),
            Column("Failed", right=True, keep=3),
            *([Column("per s", right=True, keep=5)] if self._rates else []),
            Column("Heard of", right=True, keep=2),
            Column("Host", keep=1),
            Column("Pid", right=True, keep=1),
            Column("Version", keep=0),
            width=self._width,
        )
        for worker in seen.workers:
            rate = [] if self._rates is None else [f"{self._rates.of_workers.get(worker.name, 0.0):.1f}"]
            longest = worker.runs[0] if worker.runs else None
            more = "" if all_runs or worker.running < 2 else f" +{worker.running - 1}"
            grid.add(
                worker.name,
                Text(printable(worker.state), style=_STATES.get(worker.state, "")),
                "-" if longest is None else longest.function + more,
                *([longest.job_id if longest else "-"] if all_runs else []),
                duration(None if longest is None else longest.seconds),
                ", ".join(worker.queues),
                f"{worker.successful_job_count}",
                f"{worker.failed_job_count}",
                *rate,
                _ago(seen, worker),
                worker.hostname or "-",
                f"{worker.pid or '-'}",
                f"{worker.kind} {worker.version or ''}".strip(),
                note=_note_of_worker(worker),
            )
            if all_runs:
                for run in worker.runs[1:]:
                    grid.add("", "", run.function, run.job_id, duration(run.seconds), *[""] * (3 + len(rate) + 4))
                left = worker.running - len(worker.runs)
                if worker.runs and left > 0:
                    grid.add("", "", f"and {left} more", *[""] * (5 + len(rate) + 4))
        return [grid, self._line(summary, "bold")]

    def workers_by_queue(self) -> list[RenderableType]:
        """The workers of each queue."""
        seen = self._seen
        grid = Grid(Column("Queue", least=8), Column("Workers", keep=1, least=8), width=self._width)
        for queue in seen.queues:
            names = [f"{worker.name} ({worker.state})" for worker in seen.workers_of(queue.name)]
            grid.add(queue.name, ", ".join(names) or "-")
        workers = number_of(len(seen.workers), "worker")
        return [grid, self._line(f"{workers}, {number_of(len(seen.queues), 'queue')}", "bold")]

    def _line(self, text: str, style: str = "") -> Text:
        wrapped = self._width is not None
        return Text(printable(text), style=style, no_wrap=not wrapped, overflow="fold" if wrapped else "ignore")


def stacked(*parts: Sequence[RenderableType]) -> Group:
    """Parts below each other, with an empty line between them."""
    lines: list[RenderableType] = []
    for part in parts:
        if part:
            lines += ([Text("")] if lines else []) + list(part)
    return Group(*lines)


def raw_lines(seen: Overview, *, queues: bool, workers: bool, by_queue: bool) -> list[str]:
    """What `rq info --raw` prints of it."""
    lines = []
    if queues:
        for queue in seen.queues:
            counts = queue.counts
            lines.append(
                f"queue {queue.name} {counts['queued']}, {counts['started']} executing, "
                f"{counts['finished']} finished, {counts['failed']} failed"
            )
    if workers and by_queue:
        longest = max((len(queue.name) for queue in seen.queues), default=0)
        for queue in seen.queues:
            names = sorted(f"{worker.name} ({worker.state})" for worker in seen.workers_of(queue.name))
            lines.append(f"{queue.name + ':':<{longest + 1}} {', '.join(names) or '–'}")  # noqa: RUF001 - RQ's dash
    elif workers:
        for worker in seen.workers:
            place = f"{worker.hostname} {worker.ip_address} {worker.pid}"
            lines.append(
                f"worker {worker.name} ({place}) {worker.state} {', '.join(worker.queues)}. "
                f"jobs: {worker.successful_job_count} finished, {worker.failed_job_count} failed"
            )
    return lines


def _growth(rate: float) -> str:
    return f"{rate:+.1f}" if abs(rate) >= 0.05 else "0"


def _note_of(queue: QueueView) -> Text | None:
    if queue.problem is not None:
        return Text(printable(queue.problem), style="red")
    if queue.lost:
        return Text(f"{number_of(queue.lost, 'run')} lost with a worker: any other will deal with it", style="red")
    if not queue.paused:
        return None
    since = "" if queue.paused_since is None else f" since {queue.paused_since.astimezone():%Y-%m-%d %H:%M:%S}"
    reason = f": {queue.pause_reason}" if queue.pause_reason else ""
    return Text(printable(f"paused{since}{reason}"), style="yellow")


def _note_of_worker(worker: WorkerView) -> Text | str | None:
    if worker.problem is not None:
        return Text(printable(worker.problem), style="red")
    return "is ending: takes no more jobs" if worker.shutdown_requested_date else None


def _ago(seen: Overview, worker: WorkerView) -> str:
    if worker.last_heartbeat is None:
        return "-"
    return duration(max(0.0, (seen.moment - worker.last_heartbeat).total_seconds()))
