"""Looking after what nobody looks after: every worker does, one at a time, on all queues."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeAlias

from aiorq.ending import encode_text
from aiorq.errors import AbandonedJobError, AiorqError
from aiorq.execution.horse import Step
from aiorq.options import DEFAULT_FAILURE_TTL
from aiorq.record import JobRecord
from aiorq.retry import kinds_of
from aiorq.store import jobs, overdue, runs
from aiorq.store.overdue import Finding
from aiorq.store.runs import Claimed, Run
from aiorq.store.sweep import Sweep
from aiorq.worker.errands import failure_steps, webhook_steps
from aiorq.worker.state import State, Stop, log

Send: TypeAlias = Callable[[Claimed, Sequence[Step]], None]
MAX_LOSSES: Final = 3
"""How many times a job that is lost with its worker is put back, where that was asked for."""
_LEADS: Final = 1.1
"""How many times as long as the interval a leader is waited for. Where two look, each does part of the work."""
_FIRST_LOOK: Final = (0.1, 0.5)
"""When a worker looks first, as a part of the interval: it may be the only one, and there since another one is not."""
_SECOND_LOOK: Final = 0.3
"""Seconds after which inboxes are looked at again that had jobs in them: a worker that lives has emptied them."""
_MERCIFUL_LEADS: Final = 0.05
"""Seconds that a worker leads which reaps nothing now: it must not keep those from it who know better."""
_SWEEP_INTERVAL: Final = 60.0
"""Seconds from the begin of a sweep to that of the next, for as long as a worker leads."""
_SWEEP_STEPS: Final = 50
"""Steps of a sweep that are done at one look: about 50 ms, and 10,000 entries, where there is much to do."""
_RQ_PATIENCE: Final = 60.0
"""Seconds that a worker of RQ's has to begin what it took from its queue (RQ)."""
_SAID: Final = {
    "returned": "it had not begun and is back in its queue",
    "requeued": "it is back in its queue",
    "retried": "it is tried again",
    "failed": "it failed",
    "poisoned": f"it failed, having been lost {MAX_LOSSES + 1} times",
}


async def look_after(state: State, send: Send) -> None:
    """Look for what is overdue and deal with it, again and again, until cancelled.

    Args:
        state: of the worker.
        send: sends a process to do what is left to do for a job that failed (`Errands.begin`).
    """
    interval = state.options.seconds_between_reaps
    reaper = _Reaper(state, send)
    complaint = ""
    part = _FIRST_LOOK
    while True:
        pause = interval * random.uniform(*part)  # noqa: S311 - not a secret
        await asyncio.sleep(min(pause, _SECOND_LOOK) if reaper.suspects else pause)
        part = (0.9, 1.0)
        try:
            await reaper.look()
            complaint = ""
        except AiorqError as error:
            if str(error) != complaint:
                log.debug("cannot look for what is overdue: %s", error)
            complaint = str(error)
        except Exception:  # noqa: BLE001 - whatever stands in Redis, the jobs of this worker go on
            log.exception("cannot deal with what is overdue")


class _Reaper:
    def __init__(self, state: State, send: Send) -> None:
        self._state = state
        self._send = send
        self._looked = time.monotonic()
        self._merciful_until = 0.0
        self._leads = False
        self._inboxes: dict[tuple[str, str], str] = {}
        self._sweep: Sweep | None = None
        self._next_sweep = self._looked

    @property
    def suspects(self) -> bool:
        """Whether this worker led at its last look and found jobs in inboxes."""
        return self._leads and bool(self._inboxes)

    async def look(self) -> None:
        state, options = self._state, self._state.options
        begins = time.monotonic()
        merciful = begins < self._merciful_until or begins - self._looked > options.lease
        leads = _MERCIFUL_LEADS if merciful else _LEADS * options.seconds_between_reaps
        findings = await overdue.look(state.store, options.name, leads)
        now = time.monotonic()
        if now - self._looked > options.lease:
            # Redis could not be asked for longer than leases last: those who live get the time to renew theirs, and
            # to write the outcomes that they kept.
            self._merciful_until = now + options.lease
        self._looked = now
        self._leads = findings is not None
        if findings is None:
            return
        inboxes: dict[tuple[str, str], str] = {}
        for finding in findings:
            if finding.kind == "lease":
                if now >= self._merciful_until:
                    await self._reap(finding)
            elif finding.kind == "intermediate":
                await self._recover(finding)
            elif finding.kind == "inbox":
                inboxes[finding.worker, finding.queue] = finding.subject
            elif finding.kind == "parent":
                await jobs.enqueue_dependents(state.store, finding.subject)
            elif finding.kind != "due" or finding.queue not in options.queues:  # of those see `schedule`
                await overdue.promote(state.store, finding)
        for (worker, queue), first in inboxes.items():
            # A worker that lives takes what it was handed at once.
            if self._inboxes.get((worker, queue)) == first:
                await runs.release(state.store, worker, [queue])
                log.warning("%s: what Redis had handed to worker %s is back in its queue", queue, worker)
        self._inboxes = inboxes
        if now >= self._merciful_until:
            await self._sweep_on(now)

    async def _sweep_on(self, now: float) -> None:
        """Do some of a sweep that is under way, or begin one where it is time."""
        if self._sweep is None and now >= self._next_sweep:
            self._sweep, self._next_sweep = Sweep(self._state.store), now + _SWEEP_INTERVAL
        for _ in range(_SWEEP_STEPS):
            if self._sweep is None or self._state.stop is not Stop.NOT:
                return
            if not await self._sweep.step():
                if self._sweep.left:
                    log.debug("%d entries that had expired or led nowhere are out of the books", self._sweep.left)
                self._sweep = None

    async def _reap(self, finding: Finding) -> None:
        job_id, _, token = finding.subject.partition(":")
        claimed = await self._read(finding, job_id, token)
        error = AbandonedJobError(_loss(finding))
        poisoned = AbandonedJobError(
            f"{error}; that was the {MAX_LOSSES + 1}th time: the job may be what ends its workers"
        )
        word = await overdue.reap(
            self._state.store,
            finding,
            requeue_lost=self._state.options.requeues_lost,
            most=MAX_LOSSES,
            traceback=_traceback(error),
            poisoned=_traceback(poisoned),
            kept=DEFAULT_FAILURE_TTL,
            kinds=kinds_of(AbandonedJobError),
        )
        if word in _SAID:
            text = "%s: job %s was lost with worker %s: %s"
            log.warning(
                text, finding.queue, job_id, finding.worker or "(unknown)", _SAID[word], extra={"job_id": job_id}
            )
        self._follow_up(claimed, word, poisoned if word == "poisoned" else error)

    async def _recover(self, finding: Finding) -> None:
        error = AbandonedJobError(
            f"a worker of RQ took the job from its queue and did not begin within {_RQ_PATIENCE:g} seconds"
        )
        claimed = await self._read(finding, finding.subject, "")
        word = await overdue.recover(
            self._state.store,
            finding,
            patience=_RQ_PATIENCE,
            traceback=_traceback(error),
            kept=DEFAULT_FAILURE_TTL,
            kinds=kinds_of(AbandonedJobError),
        )
        if word in _SAID:
            extra = {"job_id": finding.subject}
            log.warning("%s: %s (%s): %s", finding.queue, error, finding.subject, _SAID[word], extra=extra)
        self._follow_up(claimed, word, error)

    async def _read(self, finding: Finding, job_id: str, token: str) -> Claimed | None:
        """The job of a run that may be about to fail: it can be gone afterwards."""
        try:
            fields = await jobs.fetch(self._state.store, job_id)
        except (AiorqError, UnicodeEncodeError) as error:
            log.debug("%s: job %s cannot be read: %s", finding.queue, ascii(job_id), error)
            return None
        return Claimed(Run(finding.queue, job_id, token), fields)

    def _follow_up(self, claimed: Claimed | None, word: str, error: AbandonedJobError) -> None:
        """Do what is left to do for a job that was lost, if that made it fail."""
        if claimed is None or word not in ("retried", "failed", "poisoned"):
            return
        record = JobRecord(claimed.run.job_id, check=False)
        try:
            record.decode(claimed.fields)
        except AiorqError as corrupt:
            log.debug("nothing is called for job %s: %s", claimed.run.job_id, corrupt)
            return
        steps = failure_steps(self._state.options, record, error)
        if word != "retried":
            steps += webhook_steps(record, "failed", _traceback(error))
        if steps:
            self._send(claimed, steps)


def _loss(finding: Finding) -> str:
    who = f"worker {finding.worker!r}" if finding.worker else "the worker"
    heard = ""
    if finding.heard is not None:
        heard = f", which was last heard of at {datetime.fromtimestamp(finding.heard, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"the job was lost with {who}{heard}: its lease ran out"


def _traceback(error: AbandonedJobError) -> bytes:
    kind = type(error)
    return encode_text(f"{kind.__module__}.{kind.__name__}: {error}\n")
