"""Claiming jobs: as many as may run, from the first queue first; waiting for more when there are none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from aiorq.errors import ConnectionLostError
from aiorq.store import runs, workers
from aiorq.store.runs import Claimed
from aiorq.worker.state import State, Stop, log
from aiorq.worker.wake import Wakeups

_SUSPENDED_LOOK = 1.0  # seconds between looks whether a suspension is over (RQ)


async def fetch(
    state: State, begin: Callable[[Claimed], None], *, burst: bool, max_jobs: int | None, max_idle_time: float | None
) -> None:
    """Claim jobs and `begin` each, until the worker is to stop or there is no reason to go on.

    Args:
        state: of the worker.
        begin: starts a run; it is in `state.running` until its outcome is written.
        burst: end as soon as the queues are empty and nothing runs.
        max_jobs: end after that many jobs.
        max_idle_time: end after that many seconds without a job.
    """
    options = state.options
    idle_since = time.monotonic()
    async with Wakeups(state.store, options.name, options.queues) as wakeups:
        while state.stop is Stop.NOT:
            most = state.free if max_jobs is None else min(state.free, max_jobs - state.claimed)
            if max_jobs is not None and state.claimed >= max_jobs:
                log.info("%d jobs were taken, as many as were asked for", state.claimed)
                return
            if most == 0:
                await state.changed()
                continue
            claimed = await state.persist(
                lambda most=most: runs.claim(state.store, options.name, options.queues, most, options.lease),  # type: ignore[misc]
                "take jobs",
            )
            if claimed is None:
                if burst:
                    log.info("workers are suspended; nothing is taken")
                    return
                await _wait_out_suspension(state)
                continue
            state.claimed += len(claimed)
            for claim in claimed:
                begin(claim)
            if claimed or state.running:
                idle_since = time.monotonic()
            if len(claimed) == most:
                continue
            if burst:
                if not state.running:
                    return
                await state.changed()
                continue
            remaining = None
            if max_idle_time is not None and not state.running:
                remaining = max_idle_time - (time.monotonic() - idle_since)
                if remaining <= 0:
                    log.info("no job for %g seconds", max_idle_time)
                    return
            await _wait_for_work(state, wakeups, remaining)


async def _wait_for_work(state: State, wakeups: Wakeups, seconds: float | None) -> None:
    changed = asyncio.ensure_future(state.changed())
    try:
        await wakeups.wait(changed, seconds)
    except ConnectionLostError as error:
        log.debug("the wait for jobs broke off: %s", error)  # the claim that follows waits the trouble out
    finally:
        changed.cancel()


async def _wait_out_suspension(state: State) -> None:
    log.info("workers are suspended; nothing is taken until they are resumed")
    await state.persist(
        lambda: workers.set_fields(state.store, state.options.name, {"state": "suspended"}), "show the suspension"
    )
    while state.stop is Stop.NOT and await state.persist(lambda: workers.are_suspended(state.store), "look at the suspension"):
        try:
            async with asyncio.timeout(_SUSPENDED_LOOK):
                await state.changed()
        except TimeoutError:
            continue
    await state.persist(lambda: workers.set_fields(state.store, state.options.name, {"state": "idle"}), "show the resumption")
