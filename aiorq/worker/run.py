"""One run, from its claim to its outcome in Redis: order, execute, and the one transition that the outcome asks for."""

from __future__ import annotations

import re
import time
from typing import Final

from aiorq.errors import AiorqError, HorseTerminatedError, JobTimeoutException
from aiorq.execution.forking import ForkExecutor
from aiorq.execution.horse import Order, encode_text, summarize
from aiorq.execution.outcome import Lost, NotBegun, Outcome, Raised, Returned
from aiorq.options import DEFAULT_FAILURE_TTL, DEFAULT_TIMEOUT, MAX_SECONDS
from aiorq.record import JobRecord
from aiorq.store import runs
from aiorq.store.runs import Claimed, Run
from aiorq.worker.state import State, Stop, log

_CALL: Final = re.compile(r"([\w.<>]{1,200})\(")
KILLED_AT_STOP: Final = "the worker was stopped"
"""Why a run is killed that is handed back afterwards."""
LEASE_LOST: Final = "another worker took the job, or it was deleted"
"""Why a run is killed whose outcome would be refused."""
_NOT_BEGUN_PAUSE: Final = 0.5
"""Seconds before a job is put back for which there was no process: the next one will not be there at once either."""
_REFUSALS: Final = 5
"""How many times Redis may refuse an outcome before the worker goes on without it."""


class Runner:
    """Runs claimed jobs on an executor and records how they end."""

    def __init__(self, state: State, executor: ForkExecutor) -> None:
        """Run for the worker of `state`."""
        self._state = state
        self._executor = executor

    def admit(self, claimed: Claimed) -> int:
        """Take note of a run; it counts as running from now on."""
        number = self._executor.next_number()
        self._state.running[number] = claimed.run
        self._state.busy += 1
        return number

    async def run(self, number: int, claimed: Claimed) -> None:
        """Run a job that was admitted, and write its outcome however long Redis takes.

        What goes wrong is the trouble of this job alone. A run that is cancelled stays in `state.running`: it is to be
        handed back.
        """
        run, state = claimed.run, self._state
        extra = {"job_id": run.job_id, "queue": run.queue, "worker": state.options.name}
        record = JobRecord(run.job_id, check=False)
        began = time.monotonic()
        try:
            try:
                outcome = await self._execute(number, claimed, record, extra)
            finally:
                # The next job is claimed in the round trip that writes this outcome.
                state.busy -= 1
                state.notify()
            await self._commit(run, record, outcome, time.monotonic() - began, extra)
        except AiorqError as error:
            log.error("%s: the outcome of job %s is not recorded: %s", run.queue, run.job_id, error, extra=extra)
        except Exception:  # noqa: BLE001 - the other jobs go on
            log.exception("%s: the outcome of job %s is not recorded", run.queue, run.job_id, extra=extra)
        state.end(number)

    async def _execute(self, number: int, claimed: Claimed, record: JobRecord, extra: dict[str, str]) -> Outcome:
        run = claimed.run
        # Reading `meta` is up to the job: with pickle it would run code of whoever enqueued it, here.
        fields = {name: value for name, value in claimed.fields.items() if name != b"meta"}
        try:
            record.decode(fields)
        except AiorqError as error:
            return Raised(summarize(error), encode_text(f"{type(error).__name__}: {error}\n"))
        if self._state.stop is not Stop.NOT:
            return NotBegun("the worker is to stop")
        log.info("%s: %s (%s)", run.queue, _function(record), run.job_id, extra=extra)
        order = Order(number, run.job_id, run.token, _timeout(record), claimed.fields)
        return await self._executor.execute(order)

    async def _commit(
        self, run: Run, record: JobRecord, outcome: Outcome, seconds: float, extra: dict[str, str]
    ) -> None:
        state = self._state
        store, worker = state.store, state.options.name
        extra = extra | {"duration_ms": str(round(seconds * 1000))}
        name = _function(record)
        if isinstance(outcome, Lost) and outcome.why == LEASE_LOST:
            return
        if isinstance(outcome, NotBegun) or (isinstance(outcome, Lost) and outcome.why == KILLED_AT_STOP):
            reason = outcome.reason if isinstance(outcome, NotBegun) else outcome.why
            log.warning("%s: %s is put back (%s): %s", run.queue, name, run.job_id, reason, extra=extra)
            if isinstance(outcome, NotBegun):
                state.claimed -= 1
                await state.pause(_NOT_BEGUN_PAUSE)
            await state.persist(
                lambda: runs.release(store, worker, [], [run]), f"put back job {run.job_id}", refusals=_REFUSALS
            )
            return
        if isinstance(outcome, Returned):
            result_ttl = state.options.default_result_ttl if record.result_ttl is None else record.result_ttl
            if outcome.warning:
                log.warning("%s: %s (%s): %s", run.queue, name, run.job_id, outcome.warning, extra=extra)
            held = await state.persist(
                lambda: runs.finish(store, worker, run, outcome.value, result_ttl),
                f"record the result of job {run.job_id}",
                refusals=_REFUSALS,
            )
            if held:
                log.info("%s: %s finished in %.3f s (%s)", run.queue, name, seconds, run.job_id, extra=extra)
        else:
            failed = _as_raised(outcome, record)
            failure_ttl = DEFAULT_FAILURE_TTL if record.failure_ttl is None else record.failure_ttl
            held = await state.persist(
                lambda: runs.fail(store, worker, run, failed.traceback, failure_ttl),
                f"record the failure of job {run.job_id}",
                refusals=_REFUSALS,
            )
            if held:
                text = "%s: %s failed after %.3f s (%s): %s"
                log.warning(text, run.queue, name, seconds, run.job_id, failed.summary, extra=extra)
        if not held:
            text = "%s: the outcome of %s (%s) is not recorded: %s"
            log.warning(text, run.queue, name, run.job_id, LEASE_LOST, extra=extra)


def _as_raised(outcome: Raised | Lost, record: JobRecord) -> Raised:
    if isinstance(outcome, Raised):
        return outcome
    error: AiorqError | JobTimeoutException = HorseTerminatedError(str(outcome))
    if outcome.why == "timeout":
        error = JobTimeoutException(
            f"the job ran longer than its timeout of {_timeout(record)} seconds and went on after it was told; "
            "its process was killed"
        )
    return Raised(summarize(error), encode_text(f"{type(error).__module__}.{type(error).__name__}: {error}\n"))


def _timeout(record: JobRecord) -> int:
    return DEFAULT_TIMEOUT if record.timeout is None else min(record.timeout, MAX_SECONDS)


def _function(record: JobRecord) -> str:
    # The call itself is for the process that runs it alone to read; RQ's description begins with the function's name,
    # but goes on with the arguments, which have no place in a log.
    match = _CALL.match(record.description or "")
    return match[1] if match else "a job"
