"""What is left to do when a run has ended and its process is gone: an errand of one process, whatever there is to do.

    on_stopped                       of a job that was stopped
    work_horse_killed_handler        when the process was lost
    on_failure, exception handlers   when it was lost, with its worker or without, before it could call them itself
    webhooks                         when the job has finished, or has failed for good

The state of the job is recorded by then. What goes wrong on an errand is logged and changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from aiorq.callback import DEFAULT_TIMEOUT as CALLBACK_TIMEOUT
from aiorq.execution.executor import Executor
from aiorq.execution.horse import Order, Step
from aiorq.outcome import Lost, NotBegun, Returned
from aiorq.record import JobRecord
from aiorq.retry import qualified_name
from aiorq.seconds import MAX_SECONDS
from aiorq.store.runs import Claimed
from aiorq.worker.options import WorkerOptions
from aiorq.worker.state import State, log

_SETTING_OUT: Final = 60
"""Seconds until the first step, in which modules are imported."""
_PAUSES: Final = (0.1, 0.5, 2.0)
"""Seconds between attempts to get a process."""


def job_steps(record: JobRecord) -> tuple[Step, ...]:
    """The callbacks that the process of a job calls itself."""
    if not (record.success_callback_name or record.failure_callback_name):
        return ()
    return tuple(
        Step(kind, name, _seconds(timeout))
        for kind, name, timeout in (
            ("on_success", record.success_callback_name, record.success_callback_timeout),
            ("on_failure", record.failure_callback_name, record.failure_callback_timeout),
        )
        if name
    )


def stopped_steps(record: JobRecord) -> list[Step]:
    """What is left to do for a job that was stopped."""
    name = record.stopped_callback_name
    return [Step("on_stopped", name, _seconds(record.stopped_callback_timeout))] if name else []


def failure_steps(options: WorkerOptions, record: JobRecord, error: Exception) -> list[Step]:
    """What is left to do for a job whose process, or worker, was lost before it could do so.

    Args:
        options: of the worker.
        record: the job.
        error: of a class that can be made of its text; what it failed with.
    """
    told = (qualified_name(type(error)), str(error))
    steps = []
    if record.failure_callback_name:
        seconds = _seconds(record.failure_callback_timeout)
        steps.append(Step("on_failure", record.failure_callback_name, seconds, told))
    if options.hooks.exception_handlers:
        steps.append(Step("exception_handlers", "", 0, told))
    return steps


def killed_steps(options: WorkerOptions, lost: Lost) -> list[Step]:
    """What is left to do since a process is lost."""
    name = options.hooks.work_horse_killed_handler
    if not name:
        return []
    status = lost.signal if lost.signal is not None else None if lost.exit_code is None else lost.exit_code << 8
    return [Step("work_horse_killed_handler", name, CALLBACK_TIMEOUT, (lost.pid, status, lost.usage))]


def webhook_steps(record: JobRecord, status: str, traceback: bytes = b"") -> list[Step]:
    """The requests to make for a job that has come to its end.

    Args:
        record: the job.
        status: `finished` or `failed`.
        traceback: of its failure, as RQ stores it.
    """
    return [
        Step("webhook", urlsplit(hook.url).hostname or "", hook.timeout, (hook.to_dict(), time.time(), traceback))
        for hook in record.webhooks
        if hook.job_status == status
    ]


class Errands:
    """Sends processes of one worker on errands."""

    def __init__(self, state: State, executor: Executor, tasks: asyncio.TaskGroup) -> None:
        """Send them for a worker.

        Args:
            state: of the worker.
            executor: has the processes.
            tasks: each errand that is begun becomes one of them.
        """
        self._state = state
        self._executor = executor
        self._tasks = tasks
        self._turns = asyncio.Semaphore(state.options.concurrency)

    def begin(self, claimed: Claimed, steps: Sequence[Step]) -> None:
        """Do what is left to do for a run that was another worker's: not more such errands at a time than jobs may run.

        Args:
            claimed: as for `run`.
            steps: as for `run`.
        """
        run = claimed.run

        async def take_turn() -> None:
            async with self._turns:
                extra = {"job_id": run.job_id, "queue": run.queue, "worker": self._state.options.name}
                await self.run(claimed, steps, extra)

        errand = take_turn()
        try:
            self._tasks.create_task(errand, name=f"aiorq errand {run.job_id}")
        except RuntimeError:  # the last of the other tasks has just ended, and with it the worker's work
            errand.close()
            log.warning("%s: nothing is called for job %s: the worker ends", run.queue, run.job_id)

    async def run(self, claimed: Claimed, steps: Sequence[Step], extra: dict[str, str]) -> None:
        """Do what is left to do for a run that has ended.

        Args:
            claimed: the run, and the fields of its job.
            steps: what to do, in this order.
            extra: for the log.
        """
        run = claimed.run
        order = Order(0, run.job_id, run.token, _SETTING_OUT, claimed.fields, steps=steps, errand=True)
        outcome = await self._executor.execute(order._replace(number=self._executor.next_number()))
        for pause in _PAUSES:
            if isinstance(outcome, NotBegun):
                await self._state.pause(pause)
                outcome = await self._executor.execute(order._replace(number=self._executor.next_number()))
        if isinstance(outcome, Returned):
            for line in outcome.warning.splitlines():
                log.warning("%s: job %s: %s", run.queue, run.job_id, line, extra=extra)
            return
        what = ", ".join(dict.fromkeys(step.kind for step in steps))
        why = outcome.how if isinstance(outcome, Lost) else f"failed: {outcome}"
        log.warning("%s: job %s: the process of its %s %s", run.queue, run.job_id, what, why, extra=extra)


def _seconds(timeout: int | None) -> int:
    return min(timeout or CALLBACK_TIMEOUT, MAX_SECONDS)
