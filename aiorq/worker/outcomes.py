"""Recording how runs end: the one transition that an outcome asks for, however long Redis takes."""

from __future__ import annotations

import re
from typing import Final

from aiorq import callback as callbacks
from aiorq.errors import AiorqError, HorseTerminatedError, JobTimeoutException
from aiorq.execution.forking import ForkExecutor
from aiorq.execution.horse import Order, encode_text, summarize
from aiorq.execution.outcome import Lost, NotBegun, Raised, Returned
from aiorq.options import DEFAULT_FAILURE_TTL, DEFAULT_TIMEOUT, MAX_SECONDS
from aiorq.record import JobRecord
from aiorq.serializers import Serializer
from aiorq.store import runs
from aiorq.store.runs import Claimed, Failed, Run
from aiorq.worker.state import Active, State, log

_CALL: Final = re.compile(r"([\w.<>]{1,200})\(")
KILLED_AT_STOP: Final = "the worker was stopped"
"""Why a run is killed that is handed back afterwards."""
LEASE_LOST: Final = "it was canceled, deleted or taken by another worker"
"""Why a run is killed whose outcome would be refused."""
FENCED: Final = "its lease could not be renewed in time, and another worker may take it"
"""Why a run is killed whose outcome may be refused; whoever finds the expired lease decides what becomes of the job."""
STOPPED: Final = "it was asked to stop"
"""Why a run is ended that is then recorded as stopped."""
KILLED_ON_COMMAND: Final = "a command told the worker to kill it"
"""Why a run is killed that then fails."""
_NOT_BEGUN_PAUSE: Final = 0.5
"""Seconds before a job is put back for which there was no process: the next one will not be there at once either."""
REFUSALS: Final = 5
"""How many times Redis may refuse an outcome before the worker goes on without it."""


class Recorder:
    """Records the outcomes of one worker's runs."""

    def __init__(self, state: State, executor: ForkExecutor, serializer: Serializer) -> None:
        """Record for the worker of `state`; `executor` and `serializer` are for callbacks."""
        self._state = state
        self._executor = executor
        self._serializer = serializer

    async def commit(
        self,
        active: Active,
        claimed: Claimed,
        record: JobRecord,
        outcome: Returned | Raised | Lost,
        seconds: float,
        extra: dict[str, str],
    ) -> None:
        """Write what a run's end means for its job, however long Redis takes, and log it.

        Args:
            active: the run.
            claimed: its claim.
            record: its job.
            outcome: how it ended.
            seconds: how long it took.
            extra: for the log.

        Raises:
            AiorqError: Redis refuses it, or cannot be asked and the worker is to end.
        """
        state, run = self._state, claimed.run
        store, worker = state.store, state.options.name
        extra = extra | {"duration_ms": str(round(seconds * 1000))}
        name = function_of(record)
        failure_ttl = DEFAULT_FAILURE_TTL if record.failure_ttl is None else record.failure_ttl
        if isinstance(outcome, Lost) and outcome.why in {LEASE_LOST, FENCED}:
            return
        if isinstance(outcome, Lost) and outcome.why == STOPPED:
            text = encode_text("the job was stopped, as somebody had asked\n")
            what = f"record the stop of job {run.job_id}"
            held = await state.persist(
                lambda: runs.stop(store, worker, run, text, failure_ttl), what, refusals=REFUSALS
            )
            if held:
                log.warning("%s: %s stopped after %.3f s (%s)", run.queue, name, seconds, run.job_id, extra=extra)
                await self._tell_stopped(claimed, record, extra)
        elif isinstance(outcome, Returned):
            result_ttl = state.options.default_result_ttl if record.result_ttl is None else record.result_ttl
            if outcome.warning:
                log.warning("%s: %s (%s): %s", run.queue, name, run.job_id, outcome.warning, extra=extra)
            what = f"record the result of job {run.job_id}"
            held = await state.persist(
                lambda: runs.finish(store, worker, run, outcome.value, result_ttl), what, refusals=REFUSALS
            )
            if held:
                log.info("%s: %s finished in %.3f s (%s)", run.queue, name, seconds, run.job_id, extra=extra)
        else:
            failed = _as_raised(outcome, record)
            what = f"record the failure of job {run.job_id}"
            became = await state.persist(
                lambda: runs.fail(store, worker, run, failed.traceback, failure_ttl), what, refusals=REFUSALS
            )
            held = became is not Failed.LOST
            if held:
                again = {Failed.QUEUED: "; it is tried again", Failed.SCHEDULED: "; it is tried again later"}
                text_ = "%s: %s failed after %.3f s (%s): %s%s"
                said = (failed.summary, again.get(became, ""))
                log.warning(text_, run.queue, name, seconds, run.job_id, *said, extra=extra)
        if not held and not active.condemned:  # which was said, and why
            refused = "%s: the outcome of %s (%s) is not recorded: %s"
            log.warning(refused, run.queue, name, run.job_id, LEASE_LOST, extra=extra)

    async def _tell_stopped(self, claimed: Claimed, record: JobRecord, extra: dict[str, str]) -> None:
        """Call the `on_stopped` of a job, in a process of its own; what it raises is logged and changes nothing."""
        callback = record.stopped_callback_name
        if not callback:
            return
        run = claimed.run
        timeout = record.stopped_callback_timeout or callbacks.DEFAULT_TIMEOUT
        fields = callbacks.stopped_fields(claimed.fields, callback, self._serializer)
        order = Order(self._executor.next_number(), run.job_id, run.token, timeout, fields)
        outcome = await self._executor.execute(order)
        if not isinstance(outcome, Returned):
            what = outcome.summary if isinstance(outcome, Raised) else str(outcome)
            text = "%s: on_stopped of job %s did not end well: %s"
            log.warning(text, run.queue, run.job_id, what, extra=extra)

    async def hand_back(self, run: Run, record: JobRecord, outcome: NotBegun | Lost, extra: dict[str, str]) -> bool:
        """Put a job back whose run is to leave no trace; False when Redis cannot be asked, and the worker is to end."""
        state = self._state
        reason = outcome.reason if isinstance(outcome, NotBegun) else outcome.why
        log.warning("%s: %s is put back (%s): %s", run.queue, function_of(record), run.job_id, reason, extra=extra)
        if isinstance(outcome, NotBegun):
            state.claimed -= 1
            await state.pause(_NOT_BEGUN_PAUSE)
        try:
            await state.persist(
                lambda: runs.release(state.store, state.options.name, [], [run]),
                f"put back job {run.job_id}",
                refusals=REFUSALS,
            )
        except AiorqError as error:
            log.debug("job %s cannot be put back now: %s", run.job_id, error)
            return False
        return True


def _as_raised(outcome: Raised | Lost, record: JobRecord) -> Raised:
    if isinstance(outcome, Raised):
        return outcome
    error: AiorqError | JobTimeoutException = HorseTerminatedError(str(outcome))
    if outcome.why == "timeout":
        error = JobTimeoutException(
            f"the job ran longer than its timeout of {timeout_of(record)} seconds and went on after it was told; "
            "its process was killed"
        )
    return Raised(summarize(error), encode_text(f"{type(error).__module__}.{type(error).__name__}: {error}\n"))


def timeout_of(record: JobRecord) -> int:
    """Seconds that a job may run; -1 for no limit."""
    return DEFAULT_TIMEOUT if record.timeout is None else min(record.timeout, MAX_SECONDS)


def function_of(record: JobRecord) -> str:
    """The name of a job's function, for the log."""
    # The call itself is for the process that runs it alone to read; RQ's description begins with the function's name,
    # but goes on with the arguments, which have no place in a log.
    match = _CALL.match(record.description or "")
    return match[1] if match else "a job"
