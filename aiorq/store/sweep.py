"""One pass over everything that may have become stale: registries of all queues, groups, rate limits.

It is made of steps, each short for the server and each one round trip, between which who takes them does other things.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeAlias

from aiorq.errors import StoreError
from aiorq.store import groups, limits, registries
from aiorq.store.base import Store

log = logging.getLogger(__name__)

_TOGETHER: Final = 10
"""Pages of one step."""
_NAMES: Final = 500
"""Names of queues, groups or rate limits that are read at a time."""

_Page: TypeAlias = Callable[[bytes], Coroutine[Any, Any, bytes]]
"""Does what there is to do from a cursor on, and returns the next one, `0` at the end."""


class Sweep:
    """A pass. Nothing is wrong with leaving one unfinished, or with several at a time."""

    def __init__(self, store: Store) -> None:
        """Begin at the beginning."""
        self._store = store
        self._pages: deque[tuple[_Page, bytes]] = deque()
        self.left = 0
        """How many entries have left so far."""
        keys = store.keys
        for names, plan in (
            (keys.queues, self._plan_queue),
            (keys.groups, self._plan_group),
            (keys.limits, self._plan_limit),
        ):
            self._pages.append((self._reading(names, plan), b"0"))

    async def step(self) -> bool:
        """Do some of what is left; False when that was the end.

        What a key of another type stands in the way of is left out.

        Raises:
            ConnectionLostError: Redis cannot be asked now; the pass may go on.
        """
        pages = [self._pages.popleft() for _ in range(min(_TOGETHER, len(self._pages)))]
        outcomes = await self._store.transport.gather([page(cursor) for page, cursor in pages])
        for (page, _), outcome in zip(pages, outcomes, strict=True):
            if isinstance(outcome, StoreError):
                log.debug("something is not swept: %s", outcome)
            elif isinstance(outcome, BaseException):
                raise outcome
            elif outcome != b"0":
                self._pages.appendleft((page, outcome))
        return bool(self._pages)

    def _reading(self, key: str, plan: Callable[[str], None]) -> _Page:
        """Read a set of names, and plan the pages of each."""

        async def page(cursor: bytes) -> bytes:
            following, names = await self._store.transport.execute("SSCAN", key, cursor, "COUNT", _NAMES)
            for raw in names:
                name = raw.decode(errors="replace")
                if name.encode() == raw:
                    plan(name)
            return bytes(following)

        return page

    def _plan_queue(self, key: str) -> None:
        try:
            queue = self._store.keys.queue_name(key)
        except ValueError:
            return
        for kind, stale in registries.STALE.items():
            self._plan(partial(registries.sweep, self._store, self._store.keys.registry(kind, queue), stale))

    def _plan_group(self, group: str) -> None:
        self._plan(partial(groups.sweep, self._store, group))

    def _plan_limit(self, limit: str) -> None:
        for side in limits.SIDES:
            self._plan(partial(limits.sweep, self._store, limit, side))

    def _plan(self, sweep: Callable[[bytes], Awaitable[tuple[bytes, int]]]) -> None:
        async def page(cursor: bytes) -> bytes:
            following, left = await sweep(cursor)
            self.left += left
            return following

        self._pages.append((page, b"0"))
