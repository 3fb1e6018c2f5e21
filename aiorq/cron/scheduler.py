"""The cron scheduler: a process, or a part of one, that registers entries, looks after all that there are, and is seen.

It keeps nothing to itself: where there are several, or one is killed at any point, each slot is dealt with once.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from contextlib import ExitStack
from typing import Final

import anyio
from redis.asyncio import Redis

from aiorq.cron.books import SchedulerBooks
from aiorq.cron.config import take_registered
from aiorq.cron.ticker import Ticked, Ticker
from aiorq.errors import AiorqError

log = logging.getLogger("aiorq.cron")

_BEAT: Final = 50.0
"""Seconds between two heartbeats; RQ takes a scheduler for dead after 120."""
_SIGN_OFF: Final = 2.0
"""Seconds that a scheduler which ends tries to say so; otherwise it is forgotten after two minutes."""
_SHOW: Final = 5.0
"""Seconds after which the times of entries are shown anew, where they have changed."""


class CronScheduler(SchedulerBooks):
    """Looks after the cron entries in Redis, with RQ's names."""

    def __init__(
        self,
        connection: Redis | str | None = None,
        logging_level: str | int | None = None,
        name: str = "",
        *,
        prefix: str | None = None,
    ) -> None:
        """As `SchedulerBooks`; `start` or `run` starts it."""
        super().__init__(connection, logging_level, name, prefix=prefix)
        self._stop = asyncio.Event()

    def request_stop(self) -> None:
        """Ask a scheduler that runs to end, from its event loop."""
        self._stop.set()

    async def start(self, *, handle_signals: bool = False) -> None:
        """Register the entries and deal with slots as they come, until told to stop.

        Args:
            handle_signals: end at SIGINT and SIGTERM. Main thread only.

        Raises:
            DuplicateSchedulerError: a live scheduler has the same name.
            ConnectionLostError: Redis cannot be asked at the start. Later on trouble is waited out.
        """
        with ExitStack() as signals:
            if handle_signals:
                self._handle_signals(signals)
            await self.register_birth()
            try:
                await self.put()
                await self.heartbeat()
                log.info("cron scheduler %s looks after the entries at %s", self.name, self.store.transport.where)
                ticking = asyncio.ensure_future(Ticker(self.store).run(self.after))
                stopping = asyncio.ensure_future(self._stop.wait())
                try:
                    await asyncio.wait([ticking, stopping], return_when=asyncio.FIRST_COMPLETED)
                    if ticking.done():
                        await ticking
                finally:
                    ticking.cancel()
                    stopping.cancel()
                    await asyncio.wait([ticking, stopping])
            finally:
                with anyio.move_on_after(_SIGN_OFF, shield=True):
                    try:
                        await self.register_death()
                    except AiorqError as error:
                        log.warning("cannot sign off: %s", error)
                log.info("cron scheduler %s ended", self.name)

    def run(self) -> None:
        """`start` in an event loop of its own: the way for scripts. SIGINT and SIGTERM end it."""

        async def main() -> None:
            try:
                await self.start(handle_signals=True)
            finally:  # no connection outlives the event loop
                await self.store.connection.aclose()

        anyio.run(main, backend_options={"use_uvloop": True})

    def _handle_signals(self, stack: ExitStack) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise ValueError("signals can be handled in the main thread only")
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.request_stop)
            stack.callback(loop.remove_signal_handler, number)

    async def after(self, done: list[Ticked]) -> None:
        """Show what was done, where it is time."""
        self._stale = self._stale or bool(done)
        now = time.monotonic()
        if now - self._beaten >= _BEAT or (self._stale and now - self._shown >= _SHOW):
            await self.heartbeat()


def create_cron(connection: Redis | str | None = None, *, prefix: str | None = None) -> CronScheduler:
    """A scheduler with all entries that were registered with `cron.register` since this was last called."""
    scheduler = CronScheduler(connection, prefix=prefix)
    for job in take_registered():
        scheduler.add(job)
    return scheduler
