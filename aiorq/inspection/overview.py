"""The whole at a glance: queues with what they hold, workers with what they run, rate limits; and rates between looks.

Redis is asked in three steps, each of one round trip for some five hundred commands: what there is, what that holds,
and what runs. So a look costs three round trips for a few dozen queues and workers, whatever the number of jobs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from redis.asyncio import Redis

from aiorq.inspection.summary import summarize
from aiorq.keys import check_queue_name
from aiorq.record import decode_date
from aiorq.store import executions, glance
from aiorq.store.base import Store, store_of
from aiorq.store.executions import Entry, RunId
from aiorq.store.glance import Everything, Sizes
from aiorq.worker_info import WorkerInfo

REGISTRIES: Final = {
    "wip": "started",
    "finished": "finished",
    "failed": "failed",
    "deferred": "deferred",
    "scheduled": "scheduled",
    "canceled": "canceled",
    "ready": "ready_to_enqueue",
}
"""The kind of a registry -> the state of its jobs. Among the failed ones are those that were stopped."""
STATES: Final = ("queued", *REGISTRIES.values())


@dataclass(frozen=True, slots=True)
class QueueView:
    """A queue."""

    name: str
    counts: Mapping[str, int]
    """Number of jobs by state: the words of `STATES`."""
    lost: int
    """How many runs were lost with their worker; any worker that lives deals with them within seconds."""
    oldest: float | None
    """Seconds that the job has waited which has waited longest of the ten at the front; None where none waits."""
    paused: bool
    paused_since: datetime | None
    pause_reason: str | None
    problem: str | None
    """What is wrong with its keys."""


@dataclass(frozen=True, slots=True)
class RunView:
    """A run that goes on."""

    job_id: str
    execution_id: str
    function: str
    queue: str | None
    started_at: datetime
    seconds: float
    """How long it has gone on."""


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker."""

    name: str
    kind: str
    """`aiorq`, or `rq`."""
    state: str
    """`idle`, `busy`, `suspended` or `started`; `?` where it shows none."""
    hostname: str | None
    ip_address: str | None
    pid: int | None
    version: str | None
    python_version: str | None
    queues: Sequence[str]
    birth_date: datetime | None
    last_heartbeat: datetime | None
    shutdown_requested_date: datetime | None
    successful_job_count: int
    failed_job_count: int
    total_working_time: float
    running: int
    """How many jobs it runs."""
    runs: Sequence[RunView]
    """Those of them, a hundred at most, that have gone on longest at the front."""
    problem: str | None = None
    """What is wrong with its entry."""

    @property
    def ended(self) -> int:
        """How many jobs have ended with it."""
        return self.successful_job_count + self.failed_job_count


@dataclass(frozen=True, slots=True)
class LimitView:
    """A rate limit."""

    key: str
    concurrency: int
    """How many jobs may hold a slot; 0 where that is not on record."""
    allowed: int
    """How many do."""
    waiting: int


@dataclass(frozen=True, slots=True)
class Overview:
    """All that was seen at one moment."""

    moment: datetime
    """By the server's clock."""
    server: str
    prefix: str
    queues: Sequence[QueueView]
    workers: Sequence[WorkerView]
    limits: Sequence[LimitView]
    suspended: bool
    suspended_for: float | None
    """Seconds until all workers are resumed; None for ever, and when they are not suspended."""

    def workers_of(self, queue: str) -> list[WorkerView]:
        """The workers that take jobs from a queue."""
        return [worker for worker in self.workers if queue in worker.queues]

    def total(self, state: str) -> int:
        """How many jobs all queues together have in a state."""
        return sum(queue.counts.get(state, 0) for queue in self.queues)


@dataclass(frozen=True, slots=True)
class Rates:
    """What happened between two looks, for each second."""

    seconds: float
    """Between the two."""
    ended: float
    """Jobs that ended, with the workers that were there at both looks or were born between them."""
    of_workers: Mapping[str, float]
    queued: Mapping[str, float]
    """By how many jobs queues have grown; negative for those that shrink."""


def rates_between(before: Overview, now: Overview) -> Rates | None:
    """The rates between two looks; None where no time has passed."""
    seconds = (now.moment - before.moment).total_seconds()
    if seconds <= 0:
        return None
    lives = {(worker.name, worker.birth_date): worker.ended for worker in before.workers}
    of_workers = {}
    for worker in now.workers:
        known = lives.get((worker.name, worker.birth_date))
        born_since = worker.birth_date is not None and worker.birth_date >= before.moment
        if known is not None or born_since:
            of_workers[worker.name] = max(0, worker.ended - (known or 0)) / seconds
    lengths = {queue.name: queue.counts["queued"] for queue in before.queues}
    queued = {
        queue.name: (queue.counts["queued"] - lengths[queue.name]) / seconds
        for queue in now.queues
        if queue.name in lengths
    }
    return Rates(seconds, sum(of_workers.values()), of_workers, queued)


class _Entered(NamedTuple):
    """A worker as its entry shows it, and the ids of what it runs."""

    info: WorkerInfo
    is_ours: bool
    running: int
    runs: Sequence[RunId]
    problems: Sequence[str]


async def look(
    connection: Redis | str | None = None, queues: Sequence[str] = (), *, prefix: str | None = None
) -> Overview:
    """Look at queues and workers. Nothing is changed.

    Args:
        connection: a client, a URL, or None for the environment's.
        queues: only these, whether they were ever used or not, and only the workers that take jobs from one of them;
            none for all.
        prefix: of all keys; None for the environment's.

    Raises:
        ValueError: what is no name of a queue.
        ConnectionLostError, StoreError: the server cannot be asked, or lets nobody in.
    """
    store = store_of(connection, prefix)
    wanted = [check_queue_name(name).encode() for name in dict.fromkeys(queues)]
    whole = await glance.everything(store)
    names = wanted or whole.queues
    sizes, found, holders = await asyncio.gather(
        glance.sizes(store, names, whole.moment),
        glance.of_workers(store, whole.workers),
        glance.holders(store, whole.limits),
    )
    entered = []
    for name, (fields, running, runs) in zip(whole.workers, found, strict=True):
        info = WorkerInfo(name, store.connection, prefix=store.keys.prefix)
        problems = info.restore(fields)
        if fields and (not wanted or not {name.encode() for name in info.queue_names()}.isdisjoint(wanted)):
            entered.append(_Entered(info, b"aiorq_boot" in fields, running, runs, problems))
    fronts = [job_id for size in sizes for job_id in size.front]
    waited, shown = await asyncio.gather(
        _waited(store, fronts, whole.moment),
        _runs(store, [run for worker in entered for run in worker.runs], whole.moment),
    )
    return Overview(
        datetime.fromtimestamp(whole.moment, UTC),
        store.transport.where,
        store.keys.prefix,
        [_queue(name, size, whole, waited) for name, size in zip(names, sizes, strict=True)],
        [_worker(worker, shown) for worker in entered],
        [
            LimitView(key.decode(errors="replace"), held.concurrency, held.allowed, held.waiting)
            for key, held in zip(whole.limits, holders, strict=True)
        ],
        whole.is_suspended,
        whole.suspended_for,
    )


async def _waited(store: Store, fronts: Sequence[bytes], moment: float) -> dict[bytes, float]:
    """How long jobs have waited; nothing of those that are gone, or do not say."""
    waited = {}
    for job_id, texts in zip(fronts, await glance.times(store, fronts), strict=True):
        text = texts[0] or texts[1]
        try:
            since = decode_date((text or b"").decode())
        except ValueError:
            continue
        if since is not None:
            # The clock of whoever enqueued it, where that was RQ, may be ahead of the server's.
            waited[job_id] = max(0.0, moment - since.timestamp())
    return waited


async def _runs(store: Store, runs: Sequence[RunId], moment: float) -> dict[RunId, RunView]:
    entries, peeked = await asyncio.gather(
        executions.fetch_many(store, runs), glance.peek(store, [job_id for job_id, _ in runs])
    )
    shown = {}
    for run, entry, fields in zip(runs, entries, peeked, strict=True):
        if not isinstance(entry, Entry):  # it has ended, or what is on the books of it cannot be read
            continue
        job = summarize(run[0], fields)
        shown[run] = RunView(
            *run, job.function, job.queue, entry.created_at, max(0.0, moment - entry.created_at.timestamp())
        )
    return shown


def _queue(name: bytes, size: Sizes, whole: Everything, waited: Mapping[bytes, float]) -> QueueView:
    counts = {"queued": size.queued} | {state: size.registries[kind] for kind, state in REGISTRIES.items()}
    damaged = [state for state, count in counts.items() if count is None]
    problems = [f"the key of its {state} jobs is one of another type" for state in damaged]
    text = name.decode(errors="replace")
    if text.encode() != name:
        problems.append("its name is no text")
    pause = whole.paused.get(name)
    return QueueView(
        text,
        {state: count or 0 for state, count in counts.items()},
        size.lost,
        max((waited[job_id] for job_id in size.front if job_id in waited), default=None),
        pause is not None,
        None if pause is None else pause.since,
        None if pause is None else pause.reason or None,
        "; ".join(problems) or None,
    )


def _worker(entered: _Entered, shown: Mapping[RunId, RunView]) -> WorkerView:
    info = entered.info
    known = [shown[run] for run in entered.runs if run in shown]
    return WorkerView(
        info.name,
        "aiorq" if entered.is_ours else "rq",
        info.state,
        info.hostname,
        info.ip_address,
        info.pid,
        info.version,
        info.python_version,
        info.queue_names(),
        info.birth_date,
        info.last_heartbeat,
        info.shutdown_requested_date,
        info.successful_job_count,
        info.failed_job_count,
        info.total_working_time,
        entered.running,
        sorted(known, key=lambda run: run.started_at),
        "; ".join(entered.problems) or None,
    )
