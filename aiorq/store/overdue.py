"""What nobody looks after any more: expired leases, jobs that are due, what RQ's workers and dead ones left behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiorq.store.base import Store
from aiorq.store.runs import chance

_PAGE: Final = 200
"""Queues, and findings of each kind for a queue, in one call."""


_YEAR_9999: Final = 253_370_764_800.0
"""Seconds since 1970, beyond which a moment is no date."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to be dealt with."""

    kind: str
    """`lease`, `due`, `ready`, `intermediate`, `inbox` or `parent`; see overdue.lua."""
    queue: str
    subject: str
    """The id of a job; of a `lease`, `<job id>:<execution id>`; of an `inbox`, its first id; of a
    `parent`, what enqueue_dependents.lua calls a part."""
    worker: str = ""
    heard: float | None = None
    """Of a `lease`: when its worker was last heard of, in seconds since 1970."""


async def look(store: Store, worker: str, leads: float) -> list[Finding] | None:
    """Find what is overdue, on all queues; None while another worker looks after that.

    Args:
        store: where.
        worker: the name of the one that looks.
        leads: seconds that it then leads the others.
    """
    found: list[Finding] = []
    cursor = b"0"
    while True:
        reply = await store.run("overdue", [store.keys.queues], worker, leads, cursor, _PAGE)
        if reply == b"led":
            return None
        cursor, findings = reply
        for kind, queue, subject, *rest in findings:
            word, name = kind.decode(), queue.decode(errors="replace")
            if word == "lease":
                found.append(Finding(word, name, _text(subject), _text(rest[0]), _moment(rest[1])))
            elif word == "inbox":
                found.append(Finding(word, name, _text(rest[0]), _text(subject)))
            else:
                found.append(Finding(word, name, _text(subject)))
        if cursor == b"0":
            return found


def _text(raw: bytes) -> str:
    # What is no UTF-8 must come back to Redis as it was.
    return raw.decode(errors="surrogateescape")


def _moment(raw: bytes) -> float | None:
    try:
        seconds = float(raw)
    except ValueError:
        return None
    return seconds if 0 <= seconds < _YEAR_9999 else None


async def reap(
    store: Store,
    finding: Finding,
    *,
    requeue_lost: bool,
    most: int,
    traceback: bytes,
    poisoned: bytes,
    kept: int,
    kinds: Sequence[str] = (),
) -> str:
    """End a run whose lease has expired.

    Args:
        store: where.
        finding: of kind `lease`.
        requeue_lost: what becomes of jobs that do not say so themselves, and whose worker did not.
        most: how many times a job may be lost and requeued.
        traceback: for a job that fails, as RQ stores it.
        poisoned: for a job that was lost too often.
        kept: seconds that a failed job is kept which does not say so itself.
        kinds: the dotted names of the class of the exception that it fails with, and of those it derives from.

    Returns:
        a word of reap.lua.
    """
    keys = [store.keys.registry("wip", finding.queue)]
    member = finding.subject.encode(errors="surrogateescape")
    worker = finding.worker.encode(errors="surrogateescape")
    wish = "requeue" if requeue_lost else ""
    args = (finding.queue, member, worker, wish, most, traceback, poisoned, kept, ",".join(kinds), chance())
    return str((await store.run("reap", keys, *args)).decode())


async def recover(
    store: Store, finding: Finding, *, patience: float, traceback: bytes, kept: int, kinds: Sequence[str] = ()
) -> str:
    """Deal with a job that a worker of RQ's took and did not begin; returns a word of recover.lua.

    Args:
        store: where.
        finding: of kind `intermediate`.
        patience: seconds that a worker of RQ's has to begin.
        traceback: for a job that fails, as RQ stores it.
        kept: seconds that a failed job is kept which does not say so itself.
        kinds: as for `reap`.
    """
    keys = [store.keys.intermediate(finding.queue)]
    job_id = finding.subject.encode(errors="surrogateescape")
    args = (finding.queue, job_id, patience, traceback, kept, ",".join(kinds), chance())
    return str((await store.run("recover", keys, *args)).decode())


async def promote(store: Store, finding: Finding) -> str:
    """Put a job on its queue whose time has come; returns a word of promote.lua.

    Args:
        store: where.
        finding: of kind `due` or `ready`.
    """
    registry, status = ("scheduled", "scheduled") if finding.kind == "due" else ("ready", "ready_to_enqueue")
    keys = [store.keys.registry(registry, finding.queue), store.keys.queue(finding.queue), store.keys.queues]
    job_id = finding.subject.encode(errors="surrogateescape")
    return str((await store.run("promote", keys, job_id, status)).decode())
