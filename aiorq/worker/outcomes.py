"""Recording how runs end: the one transition that an outcome asks for, however long Redis takes."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Final

from aiorq.ending import encode_text, summarize
from aiorq.errors import AiorqError, HorseTerminatedError, JobTimeoutException
from aiorq.execution.horse import Step
from aiorq.options import DEFAULT_FAILURE_TTL, DEFAULT_TIMEOUT
from aiorq.outcome import Again, Lost, NotBegun, Raised, Returned
from aiorq.record import JobRecord
from aiorq.retry import kinds_of
from aiorq.seconds import MAX_SECONDS
from aiorq.store import runs
from aiorq.store.runs import Claimed, Failed, Run
from aiorq.worker.errands import failure_steps, killed_steps, stopped_steps, webhook_steps
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
_AGAIN: Final = {Failed.QUEUED: "it is tried again", Failed.SCHEDULED: "it is tried again later"}


@dataclass(frozen=True, slots=True)
class _Ended:
    """A run that has ended, and how to speak of it."""

    run: Run
    record: JobRecord
    seconds: float
    extra: dict[str, str]

    @property
    def name(self) -> str:
        return function_of(self.record)

    @property
    def failure_ttl(self) -> int:
        return DEFAULT_FAILURE_TTL if self.record.failure_ttl is None else self.record.failure_ttl

    def say(self, level: int, what: str, more: str = "") -> None:
        run = self.run
        text = "%s: %s %s %.3f s (%s)%s"
        log.log(level, text, run.queue, self.name, what, self.seconds, run.job_id, more, extra=self.extra)


class Recorder:
    """Records the outcomes of one worker's runs."""

    def __init__(self, state: State) -> None:
        """Record for the worker of `state`."""
        self._state = state

    async def commit(
        self,
        active: Active,
        claimed: Claimed,
        record: JobRecord,
        outcome: Returned | Again | Raised | Lost,
        seconds: float,
        extra: dict[str, str],
    ) -> list[Step]:
        """Write what a run's end means for its job, however long Redis takes, and log it.

        Args:
            active: the run.
            claimed: its claim.
            record: its job.
            outcome: how it ended.
            seconds: how long it took.
            extra: for the log.

        Returns:
            what is left to do then, in a process of its own.

        Raises:
            AiorqError: Redis refuses it, or cannot be asked and the worker is to end.
        """
        if isinstance(outcome, Lost) and outcome.why in {LEASE_LOST, FENCED}:
            return []
        extra = extra | {"duration_ms": str(round(seconds * 1000))}
        ended = _Ended(claimed.run, record, seconds, extra)
        if isinstance(outcome, Returned | Again | Raised):
            for line in outcome.warning.splitlines():
                log.warning("%s: %s (%s): %s", ended.run.queue, ended.name, ended.run.job_id, line, extra=extra)
        if isinstance(outcome, Lost) and outcome.why == STOPPED:
            left = await self._record_stop(ended)
        elif isinstance(outcome, Returned):
            left = await self._record_result(ended, outcome)
        elif isinstance(outcome, Again):
            left = await self._record_retry(ended, outcome)
        else:
            left = await self._record_failure(ended, outcome)
        if left is None and not active.condemned:  # which was said, and why
            refused = "%s: the outcome of %s (%s) is not recorded: %s"
            log.warning(refused, ended.run.queue, ended.name, ended.run.job_id, LEASE_LOST, extra=extra)
        return left or []

    async def _record_stop(self, ended: _Ended) -> list[Step] | None:
        state, run = self._state, ended.run
        text = encode_text("the job was stopped, as somebody had asked\n")
        held = await state.persist(
            lambda: runs.stop(state.store, state.options.name, run, text, ended.failure_ttl),
            f"record the stop of job {run.job_id}",
            refusals=REFUSALS,
        )
        if not held:
            return None
        ended.say(logging.WARNING, "stopped after")
        return stopped_steps(ended.record)

    async def _record_result(self, ended: _Ended, outcome: Returned) -> list[Step] | None:
        state, run, record = self._state, ended.run, ended.record
        result_ttl = state.options.default_result_ttl if record.result_ttl is None else record.result_ttl
        held = await state.persist(
            lambda: runs.finish(
                state.store, state.options.name, run, outcome.value, result_ttl, repeats=bool(record.repeats_left)
            ),
            f"record the result of job {run.job_id}",
            refusals=REFUSALS,
        )
        if not held:
            return None
        ended.say(logging.INFO, "finished in")
        return webhook_steps(record, "finished")

    async def _record_retry(self, ended: _Ended, outcome: Again) -> list[Step] | None:
        state, run = self._state, ended.run
        became = await state.persist(
            lambda: runs.retry(
                state.store,
                state.options.name,
                run,
                most=outcome.max,
                intervals=outcome.intervals,
                at_front=outcome.enqueue_at_front,
                failure_ttl=ended.failure_ttl,
                value=outcome.value,
            ),
            f"record the retry of job {run.job_id}",
            refusals=REFUSALS,
        )
        if became is Failed.LOST:
            return None
        if became is Failed.FOR_GOOD:
            ended.say(logging.WARNING, "failed after", f": it asked to be tried again more than {outcome.max} times")
            return webhook_steps(ended.record, "failed")
        ended.say(logging.INFO, "asked for it after", f": {_AGAIN[became]}")
        return []

    async def _record_failure(self, ended: _Ended, outcome: Raised | Lost) -> list[Step] | None:
        state, run, record, options = self._state, ended.run, ended.record, self._state.options
        left: list[Step] = []
        if isinstance(outcome, Lost):
            error = _error_of(outcome, record)
            failed = _as_raised(error)
            left += killed_steps(options, outcome)
            if not outcome.told:
                left += failure_steps(options, record, error)
        else:
            failed = outcome
        became = await state.persist(
            lambda: runs.fail(
                state.store,
                options.name,
                run,
                failed.traceback,
                ended.failure_ttl,
                kinds=failed.kinds,
                listed=options.lists_failures,
            ),
            f"record the failure of job {run.job_id}",
            refusals=REFUSALS,
        )
        if became is Failed.LOST:
            return None
        again = f"; {_AGAIN[became]}" if became in _AGAIN else ""
        ended.say(logging.WARNING, "failed after", f": {failed.summary}{again}")
        if became is Failed.FOR_GOOD:
            left += webhook_steps(record, "failed", failed.traceback)
        return left

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


def _error_of(outcome: Lost, record: JobRecord) -> AiorqError | JobTimeoutException:
    """What a job failed with whose process was lost."""
    if outcome.why != "timeout":
        return HorseTerminatedError(str(outcome))
    late = f"{outcome.doing} ran longer than its timeout"
    if not outcome.doing:
        late = f"the job ran longer than its timeout of {timeout_of(record)} seconds"
    return JobTimeoutException(f"{late} and went on after it was told; its process was killed")


def _as_raised(error: AiorqError | JobTimeoutException) -> Raised:
    kind = type(error)
    traceback = encode_text(f"{kind.__module__}.{kind.__name__}: {error}\n")
    return Raised(summarize(error), traceback, tuple(kinds_of(kind)))


def timeout_of(record: JobRecord) -> int:
    """Seconds that a job may run; -1 for no limit."""
    return DEFAULT_TIMEOUT if record.timeout is None else min(record.timeout, MAX_SECONDS)


def function_of(record: JobRecord) -> str:
    """The name of a job's function, for the log."""
    # The call itself is for the process that runs it alone to read; RQ's description begins with the function's name,
    # but goes on with the arguments, which have no place in a log.
    match = _CALL.match(record.description or "")
    return match[1] if match else "a job"
