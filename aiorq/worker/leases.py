"""Keeping what runs: one script call renews the leases of all runs of a worker and its heartbeat.

A run whose lease could not be renewed for nearly its length is killed here, by this machine's clock: another worker may
soon start the job, and must find it at rest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from aiorq.errors import AiorqError, WorkerExistsError
from aiorq.store import runs
from aiorq.worker.outcomes import FENCED, LEASE_LOST
from aiorq.worker.run import Runner
from aiorq.worker.state import Active, State, Stop, log

IDLE_HEARTBEAT: Final = 30.0
"""Seconds between heartbeats while nothing runs."""
RENEWALS: Final = 6
"""Renewals within a lease, so that a server which is silent for two thirds of it costs nothing."""
MARGIN: Final = 0.1
"""Part of a lease before whose end what could not be renewed is killed."""


class Leases:
    """The leases and the heartbeat of one worker."""

    def __init__(self, state: State, runner: Runner, boot: str, register: Callable[[], Awaitable[None]]) -> None:
        """Keep what runs in `state`.

        Args:
            state: of the worker.
            runner: is told which runs are to be stopped, and which have lost their place.
            boot: the text that tells the worker's process from every other one.
            register: enters the worker anew.
        """
        self._state = state
        self._runner = runner
        self._boot = boot
        self._register = register
        self._renewed = time.monotonic()

    async def keep(self) -> None:
        """Renew six times within each lease while jobs run, and every 30 s otherwise, until cancelled."""
        state = self._state
        while True:
            # Looked at often enough that a run which begins between two heartbeats is renewed in time.
            await asyncio.sleep(min(state.options.lease / RENEWALS, IDLE_HEARTBEAT))
            if not state.running and time.monotonic() - self._renewed < IDLE_HEARTBEAT:
                continue
            try:
                await self.renew()
            except AiorqError as error:
                log.debug("ending without leases: %s", error)
                return

    async def renew(self) -> None:
        """Renew now, and obey what the answer says: a run that was taken from this worker is killed, one that somebody
        wants to be stopped is stopped, and a worker that Redis forgot is entered anew.

        Raises:
            AiorqError: Redis cannot be asked, and the worker is to end.
        """
        state, options = self._state, self._state.options
        held: dict[int, Active] = {}
        began = 0.0

        def call() -> Awaitable[runs.Renewed]:
            nonlocal held, began
            held, began = dict(state.running), time.monotonic()
            begun = {active.run: active.begun for active in held.values()}
            return runs.renew(state.store, options.name, self._boot, begun, options.lease, options.worker_ttl + 60)

        answer = await state.persist(call, "renew leases")
        self._renewed = began
        lost = set(answer.lost)
        for number, active in held.items():
            if number not in state.running:
                continue
            if active.run not in lost:
                active.leased = max(active.leased, began)
            else:
                self._runner.condemn(number, LEASE_LOST)
        for token, grace in answer.stops.items():
            self._runner.stop(token, grace)
        if not answer.known:
            log.warning("Redis does not know this worker (any more); it is entered anew")
            try:
                await state.persist(self._register, "enter the worker")
            except WorkerExistsError as error:
                log.error("%s; this one ends", error)
                state.request_stop(Stop.WARM)

    async def fence(self) -> None:
        """Kill what could not be renewed for nearly a lease, until cancelled."""
        state, lease = self._state, self._state.options.lease
        while True:
            await asyncio.sleep(lease * MARGIN / 2)
            now = time.monotonic()
            for number, active in list(state.running.items()):
                if now - active.leased > lease * (1 - MARGIN):
                    self._runner.condemn(number, FENCED)
