"""Runs, from their claim to their outcome: whose turn it is, what its process is told, and how it may be ended."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from aiorq.ending import encode_text, summarize
from aiorq.errors import AiorqError
from aiorq.execution.executor import Executor
from aiorq.execution.horse import Order, Step
from aiorq.outcome import Lost, NotBegun, Outcome, Raised
from aiorq.record import JobRecord
from aiorq.retry import kinds_of
from aiorq.store import runs
from aiorq.store.runs import Claimed, Run
from aiorq.worker.errands import Errands, job_steps
from aiorq.worker.outcomes import (
    KILLED_AT_STOP,
    KILLED_ON_COMMAND,
    LEASE_LOST,
    REFUSALS,
    STOPPED,
    Recorder,
    function_of,
    timeout_of,
)
from aiorq.worker.state import Active, State, Stop, log

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
    """Runs claimed jobs on an executor and has their outcomes recorded.

    While jobs are brisk, up to twice as many as may run are claimed ahead: the next one begins in the moment in which
    one ends, and not a round trip later. They have not begun for anybody who looks, and are put back if it takes long.
    """

    def __init__(self, state: State, executor: Executor, tasks: asyncio.TaskGroup) -> None:
        """Run for a worker.

        Args:
            state: of the worker.
            executor: has the processes.
            tasks: each run becomes one of them.
        """
        self._recorder = Recorder(state)
        self._errands = Errands(state, executor, tasks)
        self._state = state
        self._executor = executor
        self._tasks = tasks
        self._waiting: deque[_Waiting] = deque()
        self._beginning: set[int] = set()
        self._executing: set[int] = set()
        self._cancelled = False  # the worker is: what waits is left to be handed back, with what ran
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
        number = self._number_of(token)
        if number is not None:
            self.condemn(number, LEASE_LOST, self._state.options.stop_grace)

    def stop(self, token: str, grace: float | None) -> None:
        """Stop a run; what is not (or no longer) there is left alone.

        Args:
            token: its execution id.
            grace: seconds that it has to end by itself; None for the worker's own.
        """
        state = self._state
        number = self._number_of(token)
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
        """Kill the processes of all runs, and of callbacks."""
        self._executor.kill_all(why)

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
        if self._waiting and not self._cancelled:
            waiting, self._waiting = list(self._waiting), deque()
            self._tasks.create_task(self._put_back(waiting), name="aiorq put back")
        self._settle_ahead()

    def _number_of(self, token: str) -> int | None:
        return next((number for number, active in self._state.running.items() if active.run.token == token), None)

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
                refusals=REFUSALS,
            )
        except AiorqError as error:
            log.error("jobs that wait for their turn cannot be put back: %s", error)
        for entry in waiting:
            state.claimed -= 1
            state.end(entry.number)
        state.notify()

    def _go_on(self) -> None:
        """Start what waits, as far as there is room."""
        while self._waiting and self._state.free > 0 and not self._cancelled:
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
            except asyncio.CancelledError:
                self._cancelled = True
                raise
            finally:
                # The next job is claimed in the round trip that writes this outcome.
                seconds = time.monotonic() - began
                self._executing.discard(number)
                self._brisk = self._brisk + 1 if seconds <= _BRISK else 0
                state.busy -= 1
                self._go_on()
                state.notify()
            if isinstance(outcome, NotBegun) or (isinstance(outcome, Lost) and outcome.why == KILLED_AT_STOP):
                if not await self._recorder.hand_back(run, record, outcome, extra):
                    return  # the worker's end does it
            else:
                left = await self._recorder.commit(state.running[number], claimed, record, outcome, seconds, extra)
                if left:
                    await self._run_errand(claimed, left, extra)
        except AiorqError as error:
            log.error("%s: the outcome of job %s is not recorded: %s", run.queue, run.job_id, error, extra=extra)
        except Exception:  # noqa: BLE001 - the other jobs go on
            log.exception("%s: the outcome of job %s is not recorded", run.queue, run.job_id, extra=extra)
        state.end(number)

    async def _run_errand(self, claimed: Claimed, steps: Sequence[Step], extra: dict[str, str]) -> None:
        """Do what is left to do for a run, in the place of a job: so there are never many more processes than those."""
        self._state.busy += 1
        try:
            await self._errands.run(claimed, steps, extra)
        finally:
            self._state.busy -= 1
            self._go_on()
            self._state.notify()

    async def _execute(self, number: int, claimed: Claimed, record: JobRecord, extra: dict[str, str]) -> Outcome:
        run, state = claimed.run, self._state
        # Reading `meta` is up to the job: with pickle it would run code of whoever enqueued it, here.
        fields = {name: value for name, value in claimed.fields.items() if name != b"meta"}
        try:
            record.decode(fields)
        except AiorqError as error:
            traceback = encode_text(f"{type(error).__name__}: {error}\n")
            return Raised(summarize(error), traceback, tuple(kinds_of(type(error))))
        active = state.running[number]
        withheld = self._withhold(active)
        if withheld is not None:
            return withheld
        again = ""
        if record.attempt > 1:
            again = f", attempt {record.attempt}"
            extra["attempt"] = str(record.attempt)
        what = record.description if state.options.log_job_description else function_of(record)
        log.info("%s: %s (%s)%s", run.queue, what, run.job_id, again, extra=extra)
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
        timeout, steps = timeout_of(record), job_steps(record)
        order = Order(number, run.job_id, run.token, timeout, claimed.fields, limit, steps)
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
