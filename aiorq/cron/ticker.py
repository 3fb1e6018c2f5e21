"""Dealing with the slots of all cron entries, as they come. Any number of processes may do it at the same time.

A ticker sleeps until the next slot by the server's clock; it wakes earlier when somebody says that entries changed,
and looks after a minute at the latest.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final

from aiorq.cron.definition import Definition
from aiorq.errors import AiorqError, ConnectionLostError, QueueFullError
from aiorq.store import crons
from aiorq.store.base import Store
from aiorq.store.crons import Due

log = logging.getLogger("aiorq.cron")

LOOK: Final = 60.0
"""Seconds after which entries are looked at, at the latest (RQ)."""
_AT_ONCE: Final = 100
"""Entries that are dealt with at the same time."""
_BACKOFF: Final = (0.1, 0.2, 0.5, 1.0)
_STEPS: Final = 50
"""Slots, or parts of those that are passed over, of one entry at a look: the others have their turn too."""
_LATE: Final = 0.001  # seconds: timers have that precision, and one that is early costs a look
_HELD: Final = 5.0
"""Seconds after which an entry is looked at again that is due and cannot be dealt with."""
ENQUEUED: Final = frozenset({"queued", "scheduled", "rate_limited"})
"""The words of cron_tick.lua which say that a job was enqueued."""
_WHY: Final = {
    "overlapped": "one of its last jobs is not over",
    "exists": "its job of before is still kept",
    "running": "its job runs",
    "unfit": "the key of its job, or of the entry itself, holds something else",
    "unlisted": "the key of its queue, or of a registry of that, is of another type",
}


@dataclass(frozen=True, slots=True)
class Ticked:
    """A slot that this process dealt with."""

    name: str
    slot: float
    word: str
    """As cron_tick.lua says it."""
    job_id: str
    passed: int


class Ticker:
    """Deals with what is due."""

    def __init__(self, store: Store) -> None:
        """Look after the entries below the prefix of `store`."""
        self._store = store
        self._complaints: dict[str, str] = {}
        """Name of an entry -> what was last said of it."""

    async def tick(self) -> tuple[list[Ticked], float]:
        """Deal with everything that is due.

        Returns:
            what this process has done, and the seconds to the next look.

        Raises:
            AiorqError: Redis cannot be asked, or refuses new work.
        """
        done: list[Ticked] = []
        while True:
            agenda = await crons.look(self._store, _AT_ONCE)
            calls = [self._deal_with(due, agenda.moment) for due in agenda.due]
            parts = await self._store.transport.gather(calls)
            progress = False
            for due, part in zip(agenda.due, parts, strict=True):
                if isinstance(part, Exception) and not isinstance(part, (ConnectionLostError, QueueFullError)):
                    # Whatever is wrong with one entry, the others go on.
                    self._complain(due.name, str(part) or type(part).__name__)
                    continue
                if isinstance(part, BaseException):
                    raise part
                ticked, seen = part
                done += ticked
                progress = progress or seen
            if not progress:
                wait = LOOK if agenda.later is None else agenda.later - agenda.moment + _LATE
                return done, min(wait, LOOK if not agenda.due else _HELD)

    async def _deal_with(self, due: Due, moment: float) -> tuple[list[Ticked], bool]:
        """What was done for an entry, and whether its next slot is another one now."""
        done: list[Ticked] = []
        try:
            definition = Definition.decode(due.definition)
        except ValueError as error:
            self._complain(due.name, f"it cannot be read: {error}")
            return done, False
        progress = False
        for step in islice(definition.steps(due.slot, moment), _STEPS):
            slot = step.slot.timestamp()
            call = definition.call(slot)
            word = await crons.tick(
                self._store,
                due.name,
                definition.version,
                secrets.token_hex(8),
                slot,
                None if step.following is None else step.following.timestamp(),
                passed=step.passed,
                overlap=definition.overlap,
                call=call,
            )
            # Of a definition that is another one now we are told; a slot that somebody else took is behind us.
            progress = progress or word not in ("early", "changed")
            if word in ("early", "changed", "taken"):
                break
            done.append(Ticked(due.name, slot, word, call.id, step.passed))
            self._tell(definition, done[-1])
        return done, progress

    def _tell(self, definition: Definition, ticked: Ticked) -> None:
        if ticked.word in ENQUEUED:
            self._complaints.pop(ticked.name, None)
            extra = {"job_id": ticked.job_id, "queue": definition.queue}
            log.info("%s: job %s of cron entry %s", definition.queue, ticked.job_id, ticked.name, extra=extra)
        elif ticked.word == "missed":
            log.warning("cron entry %s: %d slots were missed and are passed over", ticked.name, ticked.passed)
        elif ticked.word in ("unfit", "unlisted"):
            self._complain(ticked.name, f"a slot has no job: {_WHY[ticked.word]}")
        else:
            log.info("cron entry %s: a slot is passed over: %s", ticked.name, _WHY.get(ticked.word, ticked.word))

    def _complain(self, name: str, text: str) -> None:
        if self._complaints.get(name) != text:
            self._complaints[name] = text
            log.error("cron entry %s: %s", name, text)

    async def run(self, after: Callable[[list[Ticked]], Awaitable[None]] | None = None) -> None:
        """Deal with slots as they come, until cancelled. Trouble with Redis is waited out.

        Args:
            after: is told after each look what was done.
        """
        changed = asyncio.Event()
        listening = asyncio.ensure_future(self._listen(changed))
        failures = 0
        complaint = ""
        try:
            while True:
                changed.clear()
                try:
                    done, seconds = await self.tick()
                    if after is not None:
                        await after(done)
                    if failures:
                        log.info("cron goes on after %d attempts", failures)
                    failures = 0
                except AiorqError as error:
                    if failures == 0 or str(error) != complaint:
                        log.warning("cron cannot go on: %s; trying again until it works", error)
                    complaint = str(error)
                    seconds = _BACKOFF[min(failures, len(_BACKOFF) - 1)]
                    failures += 1
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await changed.wait()
        finally:
            listening.cancel()
            await asyncio.wait([listening])

    async def _listen(self, changed: asyncio.Event) -> None:
        failures = 0
        while True:
            try:
                async with aclosing(crons.listen(self._store)) as messages:
                    async for _ in messages:
                        failures = 0
                        changed.set()
            except AiorqError as error:
                log.debug("listening for changes of cron goes on: %s", error)
            await asyncio.sleep(_BACKOFF[min(failures, len(_BACKOFF) - 1)])
            failures += 1
