"""What the parts of a worker share: settings, the store, what runs, and how far the end has come."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import Final, TypeVar

from aiorq.errors import ConnectionLostError
from aiorq.store.base import Store
from aiorq.store.runs import Run
from aiorq.worker.options import WorkerOptions

log = logging.getLogger("aiorq.worker")

T = TypeVar("T")
_BACKOFF: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Stop(IntEnum):
    """How a worker is to end."""

    NOT = 0
    WARM = 1
    """Finish what runs, take nothing new."""
    COLD = 2
    """Kill what runs and hand it back."""


class State:
    """The shared state of one worker. Only code in the worker's event loop changes it."""

    def __init__(self, options: WorkerOptions, store: Store) -> None:
        """Begin with nothing running."""
        self.options = options
        self.store = store
        self.running: dict[int, Run] = {}
        """Number of a run -> the run, from its claim to the moment its outcome is written."""
        self.claimed = 0
        """How many runs were ever claimed."""
        self.stop = Stop.NOT
        self._changed = asyncio.Event()

    @property
    def free(self) -> int:
        """How many more jobs may run now."""
        return self.options.concurrency - len(self.running)

    def notify(self) -> None:
        """Wake whoever waits in `changed`: a run ended, or the worker is to stop."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        """Wait for the next `notify`."""
        await self._changed.wait()

    def request_stop(self, stop: Stop) -> None:
        """Ask for an end; a harder request overrides a softer one."""
        if stop > self.stop:
            self.stop = stop
            self.notify()

    async def persist(self, call: Callable[[], Awaitable[T]], what: str) -> T:
        """Call Redis until it answers. Trouble is waited out, however long it lasts, and logged when it begins and ends.

        Args:
            call: what to do; it must be safe to do twice.
            what: for the log, as in "cannot claim jobs".
        """
        failures = 0
        while True:
            try:
                answer = await call()
            except ConnectionLostError as error:
                if failures == 0:
                    log.warning("cannot %s: %s; trying again until it works", what, error)
                await asyncio.sleep(_BACKOFF[min(failures, len(_BACKOFF) - 1)] * random.uniform(0.5, 1.0))  # noqa: S311
                failures += 1
            else:
                if failures:
                    log.info("can %s again after %d attempts", what, failures)
                return answer
