"""Whether queues and workers are as they should be: what a health check asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiorq.inspection.overview import Overview, WorkerView


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What should be; None for no matter."""

    workers: int | None = None
    """So many alive, at least, on each of the queues that are asked about; of all workers where none is."""
    named: Sequence[str] = ()
    """The workers of these names are alive."""
    heartbeat: float | None = None
    """Seconds without a heartbeat after which a worker does not count. Those of RQ's, which beat their heart every few
    minutes while they are idle, count until their entry expires."""
    max_age: float | None = None
    """Seconds that no job has waited for at the front of its queue."""
    max_queued: int | None = None
    """So many jobs wait in a queue, at most."""
    max_failed: int | None = None
    """So many failed jobs a queue has, at most."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one question."""

    check: str
    """`server`, `workers`, `worker`, `keys`, `age`, `queued` or `failed`."""
    subject: str | None
    """The queue, or the worker; None for all together."""
    ok: bool
    value: float | None
    """What was found; None where there is nothing, as of the age of the oldest job of an empty queue."""
    bound: float | None
    message: str


def judge(overview: Overview, bounds: Bounds, asked: Sequence[str] = ()) -> list[Verdict]:
    """Hold what was seen against bounds.

    Args:
        overview: what was seen.
        bounds: what should be.
        asked: the queues that somebody named; none where all are looked at.
    """
    found = [Verdict("server", None, True, None, None, f"{overview.server} answers")]
    alive = [worker for worker in overview.workers if _is_alive(overview, worker, bounds)]
    for name in bounds.named:
        ok = any(worker.name == name for worker in alive)
        found.append(Verdict("worker", name, ok, None, None, f"worker {name} is {'alive' if ok else 'not alive'}"))
    if bounds.workers is not None:
        named: list[str | None] = [*dict.fromkeys(asked)]
        for queue_name in named or [None]:
            number = sum(queue_name is None or queue_name in worker.queues for worker in alive)
            text = f"{_number(number, 'worker')} alive" + (f" on {queue_name}" if queue_name else "")
            ok = number >= bounds.workers
            found.append(_verdict("workers", queue_name, ok, number, bounds.workers, text, "at least"))
    for queue in overview.queues:
        if queue.problem is not None:
            found.append(Verdict("keys", queue.name, False, None, None, f"queue {queue.name}: {queue.problem}"))
        if bounds.max_age is not None:
            age = queue.oldest
            text = f"{queue.name}: " + ("no job waits" if age is None else f"the oldest job has waited {age:.1f} s")
            found.append(_verdict("age", queue.name, (age or 0) <= bounds.max_age, age, bounds.max_age, text))
        for check, state, bound in (
            ("queued", "queued", bounds.max_queued),
            ("failed", "failed", bounds.max_failed),
        ):
            if bound is not None:
                number = queue.counts[state]
                text = f"{queue.name}: {_number(number, f'{state} job')}"
                found.append(_verdict(check, queue.name, number <= bound, number, bound, text))
    return found


def _is_alive(overview: Overview, worker: WorkerView, bounds: Bounds) -> bool:
    if bounds.heartbeat is None or worker.kind != "aiorq" or worker.last_heartbeat is None:
        return True
    return (overview.moment - worker.last_heartbeat).total_seconds() <= bounds.heartbeat


def _verdict(
    check: str, subject: str | None, ok: bool, value: float | None, bound: float, text: str, word: str = "at most"
) -> Verdict:
    return Verdict(check, subject, ok, value, bound, text if ok else f"{text}, should be {word} {bound:g}")


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
