"""One run, from its claim to its outcome in Redis: order, execute, and the one transition that the outcome asks for."""

from __future__ import annotations

import re
import time
from typing import Final

from aiorq.errors import AiorqError, CorruptJobError, HorseTerminatedError, JobTimeoutException
from aiorq.execution.forking import ForkExecutor
from aiorq.execution.horse import Order, encode_text, summarize
from aiorq.execution.outcome import Lost, NotBegun, Outcome, Raised, Returned
from aiorq.options import DEFAULT_FAILURE_TTL, DEFAULT_TIMEOUT
from aiorq.record import JobRecord
from aiorq.store import runs
from aiorq.store.runs import Claimed, Run
from aiorq.worker.state import State, Stop, log

_CALL: Final = re.compile(r"([\w.<>]{1,200})\(")
KILLED_AT_STOP: Final = "the worker was stopped"
"""Why a run is killed that is handed back afterwards."""
LEASE_LOST: Final = "another worker took the job, or it was deleted"
"""Why a run is killed whose outcome would be refused."""


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
        return number

    async def run(self, number: int, claimed: Claimed) -> None:
        """Run a job that was admitted, and write its outcome however long Redis takes."""
        run, state = claimed.run, self._state
        record = JobRecord(run.job_id)
        extra = {"job_id": run.job_id, "queue": run.queue, "worker": state.options.name}
        began = time.monotonic()
        try:
            outcome = await self._execute(number, claimed, record, extra)
            await self._commit(run, record, outcome, time.monotonic() - began, extra)
        finally:
            del state.running[number]
            state.notify()

    async def _execute(self, number: int, claimed: Claimed, record: JobRecord, extra: dict[str, str]) -> Outcome:
        run = claimed.run
        try:
            record.decode(claimed.fields)
        except CorruptJobError as error:
            return Raised(summarize(error), encode_text(f"{type(error).__name__}: {error}\n"))
        if self._state.stop is not Stop.NOT:
            return NotBegun("the worker is to stop")
        log.info("%s: %s (%s)", run.queue, _function(record), run.job_id, extra=extra)
        timeout = DEFAULT_TIMEOUT if record.timeout is None else record.timeout
        return await self._executor.execute(Order(number, run.job_id, run.token, timeout, claimed.fields))

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
            await state.persist(lambda: runs.release(store, worker, [], [run]), f"put back job {run.job_id}")
            return
        if isinstance(outcome, Returned):
            result_ttl = state.options.default_result_ttl if record.result_ttl is None else record.result_ttl
            if outcome.warning:
                log.warning("%s: %s (%s): %s", run.queue, name, run.job_id, outcome.warning, extra=extra)
            held = await state.persist(
                lambda: runs.finish(store, worker, run, outcome.value, result_ttl), f"record the result of job {run.job_id}"
            )
            if held:
                log.info("%s: %s finished in %.3f s (%s)", run.queue, name, seconds, run.job_id, extra=extra)
        else:
            failed = _as_raised(outcome, record)
            failure_ttl = DEFAULT_FAILURE_TTL if record.failure_ttl is None else record.failure_ttl
            held = await state.persist(
                lambda: runs.fail(store, worker, run, failed.traceback, failure_ttl), f"record the failure of job {run.job_id}"
            )
            if held:
                text = "%s: %s failed after %.3f s (%s): %s"
                log.warning(text, run.queue, name, seconds, run.job_id, failed.summary, extra=extra)
        if not held:
            log.warning("%s: the outcome of %s (%s) is not recorded: %s", run.queue, name, run.job_id, LEASE_LOST, extra=extra)


def _as_raised(outcome: Raised | Lost, record: JobRecord) -> Raised:
    if isinstance(outcome, Raised):
        return outcome
    error: AiorqError | JobTimeoutException = HorseTerminatedError(str(outcome))
    if outcome.why == "timeout":
        error = JobTimeoutException(
            f"the job ran longer than its timeout of {record.timeout} seconds and went on after it was told; its process was killed"
        )
    return Raised(summarize(error), encode_text(f"{type(error).__module__}.{type(error).__name__}: {error}\n"))


def _function(record: JobRecord) -> str:
    # The call itself is for the process that runs it alone to read; RQ's description begins with the function's name, but goes on
    # with the arguments, which have no place in a log.
    match = _CALL.match(record.description or "")
    return match[1] if match else "a job"
