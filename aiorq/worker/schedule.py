"""Promoting: every worker puts the jobs of its queues where they are taken from when their time has come.

It knows when the next one is due and sleeps until then. A job that is scheduled to be due earlier is told of over a
channel. The server's clock alone decides: it says how many seconds are left, and when it is asked too early it says so.
Any number of workers may ask for the same job; it is promoted once.

What RQ's clients schedule nobody tells of, so it is asked for at times. While a scheduler of RQ's holds the lock of a
queue, that one looks after its schedule; otherwise a worker takes the lock, and shows as a scheduler.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from aiorq.errors import AiorqError
from aiorq.store import schedule
from aiorq.store.schedule import LOCK_TTL, Due
from aiorq.worker.state import State, log

_HOLDS: Final = LOCK_TTL / 3
"""Seconds between two renewals of locks."""
_GATHERS: Final = 0.002
"""Seconds after a promotion before the next one, so that of thousands that are due in a second some go together."""


class Schedule:
    """The schedule of one worker's queues."""

    def __init__(self, state: State, boot: str, *, shows: bool) -> None:
        """Look after the schedule of the queues in `state`.

        Args:
            state: of the worker.
            boot: the text that tells the worker's process from every other one.
            shows: whether it holds RQ's locks. One that is gone in a moment would only keep schedulers of RQ's from
                them, which look for free ones every two minutes.
        """
        self.promoted = 0
        """How many jobs were promoted."""
        self._state = state
        self._boot = boot
        self._shows = shows
        self._next = -math.inf
        """When to ask again, as the last answer has it, by this machine's clock (`time.monotonic`)."""
        self._heard = math.inf
        """When the earliest job is due that was heard of since that answer was asked for."""
        self._changed = asyncio.Event()
        self._complaints: dict[str, str] = {}

    async def keep(self) -> None:
        """Promote what is due when it is due, until cancelled."""
        held = -math.inf
        while True:
            if self._shows and time.monotonic() - held >= _HOLDS:
                held = time.monotonic()
                await self._attempt(self._hold, "hold the schedules")
            if not await self._attempt(self.promote, "look for what is due"):
                self._next = time.monotonic() + self._patience()
            await self._sleep()

    async def promote(self) -> None:
        """Promote what is due now.

        Raises:
            AiorqError: Redis cannot be asked.
        """
        before, seconds = self.promoted, 0.0
        while seconds == 0:
            self._heard = math.inf
            asked = time.monotonic()
            moved, seconds = await schedule.promote_due(self._state.store, self._state.options.queues)
            self.promoted += moved
            # Not from the answer on: so the next request arrives as much later than this one as the server has said.
            self._next = asked + min(seconds, self._patience())
        if self.promoted > before:
            self._next = max(self._next, time.monotonic() + _GATHERS)

    def hear(self, due: Due) -> None:
        """Take note of a job that was scheduled."""
        if due.queue in self._state.options.queues:
            self._heard = min(self._heard, time.monotonic() + due.seconds)
            self._changed.set()

    def ask(self) -> None:
        """Ask anew, since nothing was heard for a while."""
        self._heard = -math.inf
        self._changed.set()

    async def _attempt(self, act: Callable[[], Awaitable[None]], what: str) -> bool:
        """Do something; False when that failed, which is logged where it did not fail in the same way just before."""
        try:
            await act()
        except AiorqError as error:
            if self._complaints.get(what) != str(error):
                log.debug("cannot %s: %s", what, error)
            self._complaints[what] = str(error)
            return False
        except Exception:  # noqa: BLE001 - whatever stands in Redis, the jobs of this worker go on
            log.exception("cannot %s", what)
            return False
        self._complaints.pop(what, None)
        return True

    async def _hold(self) -> None:
        options = self._state.options
        fields: dict[str, str | int] = {
            "name": options.name,
            "hostname": socket.gethostname(),
            "pid": os.getpid(),
            "queues": ",".join(options.queues),
        }
        await schedule.hold(self._state.store, options.name, self._boot, options.queues, fields)

    def _patience(self) -> float:
        return self._state.options.seconds_between_reaps * random.uniform(0.9, 1.0)  # noqa: S311 - not a secret

    async def _sleep(self) -> None:
        while (left := min(self._next, self._heard) - time.monotonic()) > 0:
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()
