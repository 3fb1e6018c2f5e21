"""Running what is queued to its end, here: claim, perform, record, one job after the other, by the workers' scripts.

It is written once, for both APIs. Over an asynchronous client coroutines run in the caller's event loop, with all that
belongs to it, and functions in a thread beside it, where they may block and start event loops as in a worker. Over a
blocking client everything runs in the caller's thread: so it sees the caller's database transaction.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextvars import copy_context
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Final, Generic, TypeVar

from aiorq.call import resolve
from aiorq.cron.ticker import ENQUEUED, Ticker
from aiorq.ending import encode_traceback, summarize
from aiorq.errors import AiorqError, NoSuchJobError
from aiorq.inline import Ending, RunHere, perform, send_webhooks
from aiorq.options import DEFAULT_FAILURE_TTL, DEFAULT_RESULT_TTL
from aiorq.outcome import Again, Raised, Returned
from aiorq.placement import PlacedJob
from aiorq.retry import kinds_of
from aiorq.status import JobStatus
from aiorq.store import jobs, queues, runs, schedule
from aiorq.store.base import Store
from aiorq.store.blocking import drive
from aiorq.store.runs import Claimed, Claims, Failed
from aiorq.testing.calls import Journal
from aiorq.testing.failures import Failure
from aiorq.testing.reading import serializer_of

log = logging.getLogger("aiorq.testing")

J = TypeVar("J", bound=PlacedJob)
WORKER: Final = "aiorq-testing"
"""The name by which jobs know who runs them."""
_LEASE: Final = 3600.0
"""Seconds: nobody renews it, and nobody else is to take the job."""


class Burst(Generic[J]):
    """One run of everything that is queued."""

    def __init__(self, store: Store, kind: type[J], journal: Journal, names: Sequence[str], serializer: Any) -> None:
        """Describe it.

        Args:
            store: of either API.
            kind: the job class of that API.
            journal: is told of every job.
            names: of queues, the first one first; none for all that there are, in the order of the alphabet.
            serializer: of all jobs; None where it is pickle or JSON.
        """
        self._store = store
        self._kind = kind
        self._journal = journal
        self._names = list(names)
        self._serializer = serializer
        self._ticker = Ticker(store)
        self.ran: list[J] = []
        """The jobs that ran, in order, as their last run left them."""
        self.failures: list[Failure] = []
        """What failed for good."""

    async def run(self, max_jobs: int | None = None) -> None:
        """Run jobs until none is left, or as many as are said.

        What is due by the clock of the test belongs to it: scheduled jobs, retries, repeats, cron entries.
        """
        due = True
        while (max_jobs is None or len(self.ran) < max_jobs) and due:
            names = self._names or await queues.names(self._store)
            claimed = await runs.claim(self._store, WORKER, names, 1, _LEASE) if names else Claims()
            if claimed is None:
                log.warning("workers are suspended; nothing is run")
                return
            for claim in claimed:
                await self._run(claim)
            if not claimed:
                due = await self._enqueue_due(names)

    async def _enqueue_due(self, names: Sequence[str]) -> bool:
        ticked, _ = await self._ticker.tick()
        promoted = await schedule.promote_due(self._store, names) if names else schedule.Promoted(0, 0.0)
        return promoted.moved > 0 or any(entry.word in ENQUEUED for entry in ticked)

    async def _run(self, claimed: Claimed) -> None:
        run, where = claimed.run, (claimed.run.queue, claimed.run.job_id)
        self._journal.note(run.job_id, claimed.fields)
        job = self._make(claimed)
        raised: list[BaseException] = []
        try:
            job.decode(claimed.fields)
            job.status = JobStatus.STARTED
            if not await runs.begin(self._store, WORKER, run):
                log.warning("%s: job %s is not run: it was canceled or deleted", *where)
                return
            outcome = await self._perform(job, RunHere(job, run.token, claimed.fields, WORKER), raised)
        except AiorqError as error:
            raised.append(error)
            outcome = Raised(summarize(error), encode_traceback(error), tuple(kinds_of(type(error))))
        if outcome.warning:
            log.warning("%s: job %s: %s", *where, outcome.warning)
        became = await self._record(job, claimed, outcome)
        self.ran.append(job)
        if became is Failed.LOST:
            log.warning("%s: the outcome of job %s is not recorded: it was canceled or deleted", *where)
        if became is Failed.FOR_GOOD:
            summary = outcome.summary if isinstance(outcome, Raised) else "it asked to be tried again too often"
            text = outcome.traceback if isinstance(outcome, Raised) else b""
            self.failures.append(Failure(job, summary, text, raised[-1] if raised else None))
        await self._reread(job, outcome)
        await send_webhooks(job, outcome)

    def _make(self, claimed: Claimed) -> J:
        make: Any = self._kind  # the classes of both APIs are made alike
        serializer = serializer_of(claimed.fields, self._serializer)
        job: J = make(None, self._store.connection, serializer, prefix=self._store.keys.prefix)
        job.id = claimed.run.job_id  # of any length, as RQ has it
        job.has_fresh_id = False
        return job

    async def _perform(self, job: J, current: RunHere, raised: list[BaseException]) -> Ending:
        if self._store.transport.blocks or _is_coroutine(job):
            return await perform(job, current, raised.append)
        loop, context = asyncio.get_running_loop(), copy_context()
        return await loop.run_in_executor(None, context.run, partial(drive, perform(job, current, raised.append)))

    async def _record(self, job: J, claimed: Claimed, outcome: Ending) -> Failed | None:
        store, run = self._store, claimed.run
        failure_ttl = DEFAULT_FAILURE_TTL if job.failure_ttl is None else job.failure_ttl
        if isinstance(outcome, Returned):
            ttl = DEFAULT_RESULT_TTL if job.result_ttl is None else job.result_ttl
            return None if await runs.finish(store, WORKER, run, outcome.value, ttl) else Failed.LOST
        if isinstance(outcome, Again):
            return await runs.retry(
                store,
                WORKER,
                run,
                most=outcome.max,
                intervals=outcome.intervals,
                at_front=outcome.enqueue_at_front,
                failure_ttl=failure_ttl,
                value=outcome.value,
            )
        return await runs.fail(store, WORKER, run, outcome.traceback, failure_ttl, kinds=outcome.kinds)

    async def _reread(self, job: J, outcome: Ending) -> None:
        try:
            job.decode(await jobs.fetch(self._store, job.id))
        except NoSuchJobError:  # it was not to be kept
            job.status = JobStatus.FINISHED if isinstance(outcome, Returned) else JobStatus.FAILED
        except AiorqError as error:
            log.debug("job %s cannot be read: %s", job.id, error)


def _is_coroutine(job: PlacedJob) -> bool:
    try:
        return iscoroutinefunction(resolve(job.call))
    except Exception:  # noqa: BLE001 - what is wrong with it comes up when it is run
        return True
