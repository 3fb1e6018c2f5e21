"""Claiming jobs: as many as may run, from the queue whose turn it is; waiting for more when there are none."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence, Set
from contextlib import suppress

from aiorq.errors import AiorqError, ConnectionLostError, QueueFullError, StoreError
from aiorq.store import runs, workers
from aiorq.store.runs import Claimed
from aiorq.worker.options import DequeueStrategy
from aiorq.worker.run import Runner
from aiorq.worker.schedule import Schedule
from aiorq.worker.state import State, Stop, log
from aiorq.worker.wake import Wakeups

_SUSPENDED_LOOK = 1.0  # seconds between looks whether a suspension is over (RQ)
_PAUSED_LOOK = 1.0  # seconds between looks whether a queue is paused no more
_UNWOKEN_LOOK = 0.5  # seconds between looks for jobs while Redis does not tell of them
_FRUITLESS = 5  # times that a job was handed over and could not be taken, in a row, before the worker slows down


class _Turns:
    """In which order the queues of a worker are looked through."""

    def __init__(self, queues: Sequence[str], strategy: DequeueStrategy) -> None:
        self._queues = list(queues)
        self._strategy = strategy
        self.is_fair = strategy is not DequeueStrategy.DEFAULT
        """Whether a claim of several jobs takes one from each queue in turn."""

    def next(self) -> tuple[str, ...]:
        """The order for a claim."""
        if self._strategy is DequeueStrategy.RANDOM:
            random.shuffle(self._queues)
        return tuple(self._queues)

    def note(self, claimed: Sequence[Claimed]) -> None:
        """Take note of what a claim took: the queue that was served last goes to the end."""
        last = claimed[-1].run.queue if claimed else ""
        # A job may say that it belongs to a queue which is none of the worker's.
        if self._strategy is DequeueStrategy.ROUND_ROBIN and last in self._queues:
            after = self._queues.index(last) + 1
            self._queues = self._queues[after:] + self._queues[:after]


class _Pauses:
    """Which queues are paused; says once when one is, and when it is no more."""

    def __init__(self) -> None:
        self.paused: frozenset[str] = frozenset()

    def note(self, paused: frozenset[str]) -> None:
        for queue in sorted(paused - self.paused):
            log.info("%s: the queue is paused; nothing is taken from it until it is resumed", queue)
        for queue in sorted(self.paused - paused):
            log.info("%s: the queue is paused no more", queue)
        self.paused = paused


async def fetch(
    state: State,
    runner: Runner,
    *,
    burst: bool,
    max_jobs: int | None,
    max_idle_time: float | None,
    schedule: Schedule,
    strategy: DequeueStrategy = DequeueStrategy.DEFAULT,
) -> None:
    """Claim jobs and hand them to `runner`, until the worker is to stop or there is no reason to go on.

    Args:
        state: of the worker.
        runner: runs them.
        burst: end as soon as the queues are empty, nothing is due and nothing runs.
        max_jobs: end after that many jobs.
        max_idle_time: end after that many seconds without a job.
        schedule: of the worker's queues.
        strategy: from which queue jobs are taken.
    """
    options = state.options
    state.idle_since = time.monotonic()
    state.heeds_ends = burst or max_idle_time is not None
    complaint = ""
    woken, fruitless = False, 0
    turns, pauses = _Turns(options.queues, strategy), _Pauses()
    async with Wakeups(state.store, options.name, options.queues) as wakeups:
        while state.stop is Stop.NOT:
            changed = state.watch()
            most = state.free + state.ahead
            if max_jobs is not None:
                most = min(most, max_jobs - state.claimed)
                if state.claimed >= max_jobs and not state.waiting:
                    log.info("%d jobs were taken, as many as were asked for", state.claimed)
                    return
            if most == 0:
                await changed.wait()
                continue
            nonce, asked, order = runs.new_nonce(), time.monotonic(), turns.next()
            promoted = schedule.promoted
            try:
                claimed = await state.persist(
                    lambda most=most, nonce=nonce, order=order: runs.claim(  # type: ignore[misc]
                        state.store,
                        options.name,
                        order,
                        most,
                        options.lease,
                        nonce,
                        requeue_lost=options.requeues_lost,
                        in_turn=turns.is_fair,
                    ),
                    "take jobs",
                    until=Stop.WARM,
                )
            except AiorqError as error:
                log.debug("ending without an answer: %s", error)
                return
            if claimed is None:
                if burst:
                    log.info("workers are suspended; nothing is taken")
                    return
                await _wait_out_suspension(state)
                continue
            turns.note(claimed)
            pauses.note(claimed.paused)
            state.claimed += len(claimed)
            fruitless = fruitless + 1 if woken and not claimed else 0
            runner.take(claimed, asked)
            if len(claimed) == most:
                continue
            if state.free == 0:  # more was asked for than may run
                await changed.wait()
                continue
            if burst:
                if state.running:
                    await changed.wait()
                    continue
                with suppress(AiorqError):
                    await state.persist(schedule.promote, "look for what is due", until=Stop.WARM)
                if schedule.promoted == promoted:
                    return
                continue
            remaining = None
            if max_idle_time is not None and not state.running:
                remaining = max_idle_time - (time.monotonic() - state.idle_since)
                if remaining <= 0:
                    log.info("no job for %g seconds", max_idle_time)
                    return
            if pauses.paused:
                remaining = _PAUSED_LOOK if remaining is None else min(_PAUSED_LOOK, remaining)
            if fruitless < _FRUITLESS:
                woken, trouble = await _wait_for_work(changed, wakeups, remaining, pauses.paused)
            else:
                trouble = "what is in the queues cannot be taken"
            if trouble and trouble != complaint:
                log.warning("cannot wait for jobs: %s; looking for them every %g s", trouble, _UNWOKEN_LOOK)
            if trouble:
                await state.pause(_UNWOKEN_LOOK if remaining is None else min(_UNWOKEN_LOOK, remaining))
            complaint = trouble


async def _wait_for_work(
    changed: asyncio.Event, wakeups: Wakeups, seconds: float | None, paused: Set[str]
) -> tuple[bool, str]:
    """Wait until there may be work; returns whether some was handed over, and what went wrong, if something did."""
    interrupt = asyncio.ensure_future(changed.wait())
    try:
        return await wakeups.wait(interrupt, seconds, without=paused), ""
    except (ConnectionLostError, QueueFullError, StoreError) as error:
        return False, str(error)
    finally:
        interrupt.cancel()


async def _wait_out_suspension(state: State) -> None:
    log.info("workers are suspended; nothing is taken until they are resumed")
    store, name = state.store, state.options.name
    shown = False
    try:
        while await state.persist(lambda: workers.are_suspended(store), "look at the suspension", until=Stop.WARM):
            if not state.running and not shown:  # what runs goes on, and its end shows the worker as idle
                await state.persist(
                    lambda: workers.set_fields(store, name, {"state": "suspended"}), "show the suspension"
                )
                shown = True
            await state.pause(_SUSPENDED_LOOK)
            if state.stop is not Stop.NOT:
                break
        if shown and state.stop is Stop.NOT:
            await state.persist(lambda: workers.set_fields(store, name, {"state": "idle"}), "show the resumption")
    except AiorqError as error:
        log.debug("ending without an answer: %s", error)
