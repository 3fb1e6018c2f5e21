"""One run, from its claim to its outcome in Redis: order, execute, and the one transition that the outcome asks for."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from aiorq import callback as callbacks
from aiorq.errors import AiorqError, HorseTerminatedError, JobTimeoutException
from aiorq.execution.forking import ForkExecutor
from aiorq.execution.horse import Order, encode_text, summarize
from aiorq.execution.outcome import Lost, NotBegun, Outcome, Raised, Returned
from aiorq.options import DEFAULT_FAILURE_TTL, DEFAULT_TIMEOUT, MAX_SECONDS
from aiorq.record import JobRecord
from aiorq.serializers import Serializer, resolve_serializer
from aiorq.store import runs
from aiorq.store.runs import Claimed, Failed, Run
from aiorq.worker.state import Active, State, Stop, log

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
_REFUSALS: Final = 5
"""How many times Redis may refuse an outcome before the worker goes on without it."""
_BRISK: Final = 0.02
"""Seconds within which runs must end for jobs to be claimed ahead: a round trip to Redis is then worth saving."""
_BRISK_RUNS: Final = 3
"""How many runs in a row must have been as brisk."""
_AHEAD: Final = 0.05
"""Seconds that a job which was claimed ahead waits at most; then it is put back for others to take."""


@dataclass(slots=True)
class _Waiting:
    number: int
    claimed: Claimed
    since: float


class Runner:
    """Runs claimed jobs on an executor and records how they end.

    While jobs are brisk, up to twice as many as may run are claimed ahead: the next one begins in the moment in which
    one ends, and not a round trip later. They have not begun for anybody who looks, and are put back if it takes long.
    """

    def __init__(
        self, state: State, executor: ForkExecutor, tasks: asyncio.TaskGroup, serializer: Serializer | None = None
    ) -> None:
        """Run for a worker.

        Args:
            state: of the worker.
            executor: has the processes.
            tasks: each run becomes one of them.
            serializer: of the worker; None for pickle.
        """
        self._serializer = serializer or resolve_serializer(None)
        self._state = state
        self._executor = executor
        self._tasks = tasks
        self._waiting: deque[_Waiting] = deque()
        self._beginning: set[int] = set()
        self._executing: set[int] = set()
        self._brisk = 0
        self._timer: asyncio.TimerHandle | None = None

    def take(self, claims: Sequence[Claimed], leased: float) -> None:
        """Run jobs that were claimed, as far as there is room, and let the others wait for their turn.

        Args:
            claims: what was claimed; it counts as running from now on.
            leased: when the claim was sent (`time.monotonic`).
        """
        for claimed in claims:
            number = self._executor.next_number()
            self._state.running[number] = Active(claimed.run, leased)
            self._waiting.append(_Waiting(number, claimed, time.monotonic()))
        self._go_on()
        if self._waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_AHEAD, self._put_back_late)

    def drop(self, token: str) -> None:
        """End a run whose outcome would be refused: its job was canceled, deleted or replaced."""
        for number, active in list(self._state.running.items()):
            if active.run.token == token and not active.condemned:
                self.condemn(number, LEASE_LOST, self._state.options.stop_grace)

    def stop(self, token: str, grace: float | None) -> None:
        """Stop a run; what is not (or no longer) there is left alone.

        Args:
            token: its execution id.
            grace: seconds that it has to end by itself; None for the worker's own.
        """
        state = self._state
        number = next((number for number, active in state.running.items() if active.run.token == token), None)
        if number is None:
            return
        active = state.running[number]
        if not active.stopped:
            run = active.run
            log.warning("%s: job %s is to stop", run.queue, run.job_id, extra={"job_id": run.job_id})
        active.stopped = True
        waiting = self._withdraw(number)
        if waiting is not None:
            self._start(waiting)  # it ends before it begins
        elif number in self._executing:
            self._executor.stop(number, STOPPED, state.options.stop_grace if grace is None else grace)

    def kill_all(self, why: str = KILLED_ON_COMMAND) -> None:
        """Kill the processes of all runs."""
        for number in list(self._executing):
            self._executor.kill(number, why)

    def condemn(self, number: int, why: str, grace: float = 0.0) -> None:
        """End a run without an outcome, unless it has one already, which is being written.

        Args:
            number: of the run.
            why: for the log; `LEASE_LOST` or `FENCED`.
            grace: seconds that it has to end by itself.
        """
        active = self._state.running.get(number)
        if active is None or active.condemned:
            return
        if self._withdraw(number) is not None:
            self._state.claimed -= 1
            self._state.end(number)
            self._settle_ahead()
        elif number in self._executing:
            self._executor.stop(number, why, grace)
        elif number not in self._beginning:
            return
        active.condemned = True
        run = active.run
        log.warning("%s: job %s is killed: %s", run.queue, run.job_id, why, extra={"job_id": run.job_id})

    def put_back_waiting(self) -> None:
        """Put back every job that waits for its turn."""
        if self._waiting:
            waiting, self._waiting = list(self._waiting), deque()
            self._tasks.create_task(self._put_back(waiting), name="aiorq put back")
        self._settle_ahead()

    def _withdraw(self, number: int) -> _Waiting | None:
        for waiting in self._waiting:
            if waiting.number == number:
                self._waiting.remove(waiting)
                return waiting
        return None

    def _put_back_late(self) -> None:
        self._timer = None
        now = time.monotonic()
        if self._waiting and now - self._waiting[0].since >= _AHEAD:
            self._brisk = 0
            self.put_back_waiting()
        elif self._waiting:
            due = self._waiting[0].since + _AHEAD - now
            self._timer = asyncio.get_running_loop().call_later(due, self._put_back_late)

    async def _put_back(self, waiting: Sequence[_Waiting]) -> None:
        state = self._state
        back = [entry.claimed.run for entry in waiting]
        try:
            await state.persist(
                lambda: runs.release(state.store, state.options.name, [], back),
                f"put back {len(back)} jobs",
                refusals=_REFUSALS,
            )
        except AiorqError as error:
            log.error("jobs that wait for their turn cannot be put back: %s", error)
        for entry in waiting:
            state.claimed -= 1
            state.end(entry.number)
        state.notify()

    def _go_on(self) -> None:
        """Start what waits, as far as there is room."""
        while self._waiting and self._state.free > 0:
            self._start(self._waiting.popleft())
        self._settle_ahead()

    def _start(self, waiting: _Waiting) -> None:
        self._state.busy += 1
        run = self._run(waiting.number, waiting.claimed)
        self._tasks.create_task(run, name=f"aiorq run {waiting.number}")

    def _settle_ahead(self) -> None:
        state = self._state
        state.waiting = len(self._waiting)
        room = state.options.concurrency
        brisk = self._brisk >= _BRISK_RUNS and state.stop is Stop.NOT
        # Some at a time: a claim of several costs little more than a claim of one.
        state.ahead = 2 * room - state.waiting if brisk and state.waiting <= room else 0

    async def _run(self, number: int, claimed: Claimed) -> None:
        """Run a job and write its outcome however long Redis takes.

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
                seconds = time.monotonic() - began
                self._executing.discard(number)
                self._brisk = self._brisk + 1 if seconds <= _BRISK else 0
                state.busy -= 1
                self._go_on()
                state.notify()
            if isinstance(outcome, NotBegun) or (isinstance(outcome, Lost) and outcome.why == KILLED_AT_STOP):
                if not await self._hand_back(run, _function(record), outcome, extra):
                    return  # the worker's end does it
            else:
                await self._commit(state.running[number], claimed, record, outcome, seconds, extra)
        except AiorqError as error:
            log.error("%s: the outcome of job %s is not recorded: %s", run.queue, run.job_id, error, extra=extra)
        except Exception:  # noqa: BLE001 - the other jobs go on
            log.exception("%s: the outcome of job %s is not recorded", run.queue, run.job_id, extra=extra)
        state.end(number)

    async def _execute(self, number: int, claimed: Claimed, record: JobRecord, extra: dict[str, str]) -> Outcome:
        run, state = claimed.run, self._state
        # Reading `meta` is up to the job: with pickle it would run code of whoever enqueued it, here.
        fields = {name: value for name, value in claimed.fields.items() if name != b"meta"}
        try:
            record.decode(fields)
        except AiorqError as error:
            return Raised(summarize(error), encode_text(f"{type(error).__name__}: {error}\n"))
        active = state.running[number]
        withheld = self._withhold(active)
        if withheld is not None:
            return withheld
        log.info("%s: %s (%s)", run.queue, _function(record), run.job_id, extra=extra)
        self._beginning.add(number)
        try:
            await self._begin(number, run)
        except AiorqError as error:
            return NotBegun(f"Redis cannot be told that it begins: {error}")
        finally:
            self._beginning.discard(number)
        withheld = self._withhold(active)
        if withheld is not None:
            return withheld
        active.begun = True
        self._executing.add(number)
        limit = state.options.max_memory if record.memory_limit is None else record.memory_limit
        order = Order(number, run.job_id, run.token, _timeout(record), claimed.fields, limit)
        outcome = await self._executor.execute(order)
        if isinstance(outcome, NotBegun):
            active.begun = False
        return outcome

    def _withhold(self, active: Active) -> Outcome | None:
        """The outcome of a run that is not to begin."""
        if active.stopped:
            return Lost(why=STOPPED)
        if active.condemned:
            return Lost(why=LEASE_LOST)
        return None if self._state.stop is Stop.NOT else NotBegun("the worker is to stop")

    async def _begin(self, number: int, run: Run) -> None:
        """Say that a run begins, and wait until the words have left: whoever finds the job after this worker's sudden
        end takes it for begun if it may have, and puts it back if it has not.

        Raises:
            AiorqError: they cannot be said now.
        """
        left: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def tell_left() -> None:
            if not left.done():
                left.set_result(None)

        answer = runs.send_begin(self._state.store, self._state.options.name, run, tell_left)
        answer.add_done_callback(partial(self._on_begun, number, run, left))
        await left

    def _on_begun(self, number: int, run: Run, left: asyncio.Future[None], answer: asyncio.Future[list[int]]) -> None:
        if answer.cancelled():
            left.cancel()
            return
        error = answer.exception()
        if error is not None and not left.done():
            left.set_exception(error)
            return
        if error is None and answer.result()[0]:
            return
        self._tasks.create_task(self._check_begun(number, run, answer), name=f"aiorq begin {number}")

    async def _check_begun(self, number: int, run: Run, answer: asyncio.Future[list[int]]) -> None:
        try:
            if not await runs.begins(self._state.store, self._state.options.name, run, answer):
                self.condemn(number, LEASE_LOST)
        except AiorqError as error:
            log.debug("the beginning of job %s is said by the next renewal: %s", run.job_id, error)

    async def _commit(
        self,
        active: Active,
        claimed: Claimed,
        record: JobRecord,
        outcome: Returned | Raised | Lost,
        seconds: float,
        extra: dict[str, str],
    ) -> None:
        state, run = self._state, claimed.run
        store, worker = state.store, state.options.name
        extra = extra | {"duration_ms": str(round(seconds * 1000))}
        name = _function(record)
        failure_ttl = DEFAULT_FAILURE_TTL if record.failure_ttl is None else record.failure_ttl
        if isinstance(outcome, Lost) and outcome.why in {LEASE_LOST, FENCED}:
            return
        if isinstance(outcome, Lost) and outcome.why == STOPPED:
            text = encode_text("the job was stopped, as somebody had asked\n")
            what = f"record the stop of job {run.job_id}"
            held = await state.persist(
                lambda: runs.stop(store, worker, run, text, failure_ttl), what, refusals=_REFUSALS
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
                lambda: runs.finish(store, worker, run, outcome.value, result_ttl), what, refusals=_REFUSALS
            )
            if held:
                log.info("%s: %s finished in %.3f s (%s)", run.queue, name, seconds, run.job_id, extra=extra)
        else:
            failed = _as_raised(outcome, record)
            what = f"record the failure of job {run.job_id}"
            became = await state.persist(
                lambda: runs.fail(store, worker, run, failed.traceback, failure_ttl), what, refusals=_REFUSALS
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

    async def _hand_back(self, run: Run, name: str, outcome: NotBegun | Lost, extra: dict[str, str]) -> bool:
        """Put a job back whose run is to leave no trace; False when Redis cannot be asked, and the worker is to end."""
        state = self._state
        reason = outcome.reason if isinstance(outcome, NotBegun) else outcome.why
        log.warning("%s: %s is put back (%s): %s", run.queue, name, run.job_id, reason, extra=extra)
        if isinstance(outcome, NotBegun):
            state.claimed -= 1
            await state.pause(_NOT_BEGUN_PAUSE)
        try:
            await state.persist(
                lambda: runs.release(state.store, state.options.name, [], [run]),
                f"put back job {run.job_id}",
                refusals=_REFUSALS,
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
