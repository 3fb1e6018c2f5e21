"""What the parts of a worker share: settings, the store, what runs, and how far the end has come."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeVar

from aiorq.errors import ConnectionLostError, QueueFullError, StoreError
from aiorq.store.base import Store
from aiorq.store.runs import Run
from aiorq.worker.options import WorkerOptions

log = logging.getLogger("aiorq.worker")

T = TypeVar("T")
_BACKOFF: Final = (0.1, 0.2, 0.5, 1.0)  # work goes on within a second of the end of trouble


class Stop(IntEnum):
    """How a worker is to end."""

    NOT = 0
    WARM = 1
    """Finish what runs, take nothing new."""
    COLD = 2
    """Kill what runs and hand it back."""


@dataclass(slots=True)
class Active:
    """A run of this worker, from its claim to the moment its outcome is written."""

    run: Run
    leased: float
    """When its lease was last known to begin anew, by this machine's clock (`time.monotonic`)."""
    begun: bool = False
    """Whether a process was asked to run it."""
    stopped: bool = False
    """Whether somebody asked for it to be stopped."""
    condemned: bool = False
    """Whether it was killed since its outcome would be refused, or could be."""


class State:
    """The shared state of one worker. Only code in the worker's event loop changes it."""

    def __init__(self, options: WorkerOptions, store: Store) -> None:
        """Begin with nothing running."""
        self.options = options
        self.store = store
        self.running: dict[int, Active] = {}
        """Number of a run -> the run, from its claim to the moment its outcome is written."""
        self.busy = 0
        """How many of them have a process: a run whose outcome is known makes room before it is written."""
        self.ahead = 0
        """How many more jobs may be claimed beyond those that may run now: their turn comes at once."""
        self.claimed = 0
        """How many runs were ever claimed, those that were put back before they began not counted."""
        self.waiting = 0
        """How many of them wait for their turn."""
        self.idle_since = time.monotonic()
        """When the last run ended."""
        self.heeds_ends = False
        """Whether the recorded end of a run is a change that somebody waits for."""
        self.stop = Stop.NOT
        self._changed = asyncio.Event()

    @property
    def free(self) -> int:
        """How many more jobs may run now."""
        return max(0, self.options.concurrency - self.busy)

    def watch(self) -> asyncio.Event:
        """An event that is set at the next change. Take it, look at the state, then wait: so no change is missed."""
        return self._changed

    def notify(self) -> None:
        """Say that something changed: there is room for a run, or the worker is to stop."""
        self._changed.set()
        self._changed = asyncio.Event()

    def end(self, number: int) -> None:
        """Take note that the outcome of a run is written."""
        del self.running[number]
        self.idle_since = time.monotonic()
        if self.heeds_ends:
            self.notify()

    async def pause(self, seconds: float | None, stop: Stop = Stop.WARM) -> None:
        """Wait so long (None for ever), or until the worker is to end in this way or a harder one."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    changed = self.watch()
                    if self.stop >= stop:
                        return
                    await changed.wait()

    def request_stop(self, stop: Stop) -> None:
        """Ask for an end; a harder request overrides a softer one."""
        if stop > self.stop:
            self.stop = stop
            self.notify()

    async def persist(
        self,
        call: Callable[[], Awaitable[T]],
        what: str,
        *,
        until: Stop = Stop.COLD,
        refusals: int | None = None,
    ) -> T:
        """Call Redis until it answers. Trouble is waited out, however long it lasts; its begin and its end are logged.

        Args:
            call: what to do; it must be safe to do twice.
            what: for the log, as in "cannot take jobs".
            until: when the worker is to end in this way or a harder one, trouble is raised.
            refusals: how many refusals of Redis (`StoreError`) are waited out before one is raised; None for all.

        Raises:
            AiorqError: the trouble, in the cases above.
        """
        failures = refused = 0
        while True:
            try:
                answer = await call()
            except (ConnectionLostError, QueueFullError, StoreError) as error:
                refused += isinstance(error, StoreError)
                if self.stop >= until or (refusals is not None and refused > refusals):
                    raise
                if failures == 0:
                    log.warning("cannot %s: %s; trying again until it works", what, error)
                pause = _BACKOFF[min(failures, len(_BACKOFF) - 1)]
                await self.pause(pause * random.uniform(0.5, 1.0), until)  # noqa: S311 - jitter, not a secret
                failures += 1
            else:
                if failures:
                    log.info("can %s again after %d attempts", what, failures)
                return answer
