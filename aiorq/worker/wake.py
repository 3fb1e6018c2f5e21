"""Waiting for work without asking for it: one blocking move for each queue, into a list that the worker owns.

RQ's producers do nothing but push to the list, so the wake-up must come from the list itself. Redis serves one waiting
worker for each push, in the order in which they began to wait, and what it hands over lies in the worker's inbox, from
which the next claim takes first and to whose queue it returns the rest: a wait can be broken off at any moment and
nothing is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Set
from contextlib import AsyncExitStack, suppress
from typing import Any, Final

import anyio

from aiorq.errors import AiorqError
from aiorq.store import workers
from aiorq.store.base import Store
from aiorq.store.transport import Dedicated

_BLOCK: Final = 20.0  # seconds of one blocking move: a connection that died silently is noticed REPLY_TIMEOUT after it
_UNBLOCK_LIMIT: Final = 1.0  # seconds for a move to end that was unblocked; a dead connection never hears of it


class Wakeups:
    """The waits of one worker. Use it as an async context manager: it holds a connection for each queue."""

    def __init__(self, store: Store, worker: str, queues: tuple[str, ...]) -> None:
        """Wait for pushes to `queues`."""
        self._store = store
        self._worker = worker
        self._queues = queues
        self._stack = AsyncExitStack()
        self._connections: dict[str, Dedicated] = {}
        self._ending = False
        self._broken_off = False

    async def __aenter__(self) -> Wakeups:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._broken_off:
            # Said over the connection for commands, so that the server hears it before it hears of the worker's end: it
            # must hand over nothing after that.
            with anyio.move_on_after(_UNBLOCK_LIMIT, shield=True), suppress(AiorqError):
                await self._ask_to_unblock(self._queues)
        await self._stack.aclose()

    async def wait(
        self, interrupt: asyncio.Future[Any], seconds: float | None = None, *, without: Set[str] = frozenset()
    ) -> bool:
        """Return when a job may be there, when `interrupt` is done, or after `seconds`.

        When this returns no move is under way: what was handed over is in the inboxes, and nothing more comes.

        Args:
            interrupt: ends the wait.
            seconds: None for no limit.
            without: queues that are not waited for.

        Returns:
            whether something was handed over.

        Raises:
            ConnectionLostError: Redis cannot be asked now.
            QueueFullError: it is at its memory limit, and refuses to move anything.
            StoreError: it refuses for another reason.
        """
        self._ending = False
        waited_for = [queue for queue in self._queues if queue not in without]
        moves = {asyncio.ensure_future(self._move(queue)): queue for queue in waited_for}
        try:
            await asyncio.wait([*moves, interrupt], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            await self._unblock(moves)
        except BaseException:
            self._broken_off = True
            for move in moves:
                move.cancel()
            raise
        finally:
            outcomes = await asyncio.gather(*moves, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        return any(outcome is True for outcome in outcomes)

    async def _move(self, queue: str) -> bool:
        connection = self._connections.get(queue)
        if connection is None:
            connection = await self._stack.enter_async_context(self._store.transport.dedicated())
            self._connections[queue] = connection
        await connection.identify()
        while not self._ending:
            if await workers.wait_for_push(self._store, connection, self._worker, queue, _BLOCK):
                return True
            await connection.identify()
        return False

    async def _ask_to_unblock(self, queues: Iterable[str]) -> None:
        clients = [self._connections[queue].last_client_id for queue in queues if queue in self._connections]
        commands = [("CLIENT", "UNBLOCK", client) for client in clients if client is not None]
        await self._store.transport.execute_many(commands)

    async def _unblock(self, moves: dict[asyncio.Task[bool], str]) -> None:
        self._ending = True
        pause = 0.001
        deadline = asyncio.get_running_loop().time() + _UNBLOCK_LIMIT
        # A move that is only being sent cannot be unblocked yet: ask again until all have ended.
        while pending := {move: queue for move, queue in moves.items() if not move.done()}:
            await self._ask_to_unblock(pending.values())
            await asyncio.wait(pending, timeout=pause)
            pause = min(2 * pause, 0.1)
            if asyncio.get_running_loop().time() > deadline:
                for move in pending:
                    move.cancel()  # closes the connection
