"""Keeping what runs: one script call renews the leases of all runs of a worker and its heartbeat."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from aiorq.errors import AiorqError, WorkerExistsError
from aiorq.execution.forking import ForkExecutor
from aiorq.store import runs
from aiorq.worker.run import LEASE_LOST
from aiorq.worker.state import State, Stop, log

IDLE_HEARTBEAT: Final = 30.0
"""Seconds between heartbeats while nothing runs."""


async def keep_leases(state: State, executor: ForkExecutor, register: Callable[[], Awaitable[None]]) -> None:
    """Renew three times within each lease while jobs run, and every 30 s otherwise, until cancelled.

    A run that another worker took, or whose job was deleted, is killed. A worker that Redis forgot is entered anew.
    """
    options = state.options
    renewed = time.monotonic()
    while True:
        # Looked at often enough that a run which begins between two heartbeats is renewed in time.
        await asyncio.sleep(min(options.lease / 3, IDLE_HEARTBEAT))
        if not state.running and time.monotonic() - renewed < IDLE_HEARTBEAT:
            continue
        numbers = dict(state.running)
        held = list(numbers.values())
        try:
            known, lost = await state.persist(
                lambda held=held: runs.renew(  # type: ignore[misc]
                    state.store, options.name, held, options.lease, options.worker_ttl + 60
                ),
                "renew leases",
            )
        except AiorqError as error:
            log.debug("ending without leases: %s", error)
            return
        renewed = time.monotonic()
        for number, run in numbers.items():
            if run in lost and number in state.running:
                log.warning("%s: job %s is killed: %s", run.queue, run.job_id, LEASE_LOST, extra={"job_id": run.job_id})
                executor.kill(number, LEASE_LOST)
        if not known:
            log.warning("Redis does not know this worker (any more); it is entered anew")
            try:
                await state.persist(register, "enter the worker")
            except WorkerExistsError as error:
                log.error("%s; this one ends", error)
                state.request_stop(Stop.WARM)
            except AiorqError as error:
                log.debug("ending without an entry: %s", error)
                return
