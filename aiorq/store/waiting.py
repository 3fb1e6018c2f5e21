"""Many waits for streams over one connection, without polling.

One blocking XREAD covers every stream that somebody waits for. When a wait begins while it blocks, the command is
unblocked from the connection for commands and sent anew with the stream added. RQ's workers do nothing but add to the
stream, so that it is the stream itself that must be watched.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeAlias

from aiorq.errors import AiorqError, ConnectionLostError, StoreError
from aiorq.store.base import Store
from aiorq.store.replies import REPLY_TIMEOUT, Value
from aiorq.store.transport import Dedicated, Transport

log = logging.getLogger(__name__)

_BLOCK: Final = 5.0  # seconds of one XREAD: a connection that died silently is noticed REPLY_TIMEOUT after it
_REBUILD: Final = 5e-6  # seconds of rest for each stream of an XREAD, so that many waits do not keep the server busy
_BACKOFF: Final = (0.05, 0.1, 0.2, 0.5, 1.0)

Raw: TypeAlias = Any
"""An entry of a stream as redis-py gives it: its id, and a flat list of its fields."""


class Waiter:
    """The waits of one event loop on one server."""

    def __init__(self, transport: Transport) -> None:
        """Wait over `transport`, with one connection of its pool while anybody waits."""
        self._transport = transport
        self._waiting: dict[bytes, set[asyncio.Future[Raw]]] = {}
        self._passed: dict[bytes, bytes] = {}
        """The newest entry of a stream that was not what is waited for."""
        self._fits: dict[bytes, Callable[[list[bytes]], bool]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._watched: frozenset[bytes] = frozenset()
        self._blocked_as: int | None = None
        self._unblocking: asyncio.Task[None] | None = None

    async def wait(self, key: str, seconds: float, fits: Callable[[list[bytes]], bool] | None = None) -> Raw | None:
        """The newest entry of the stream `key`, now or within `seconds`; None after that.

        Args:
            key: of the stream.
            seconds: to wait at most.
            fits: whether the fields of an entry are what is waited for, the same for all who wait for a stream; until
                they are the wait goes on. None for any.
        """
        self._transport.check_loop()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Raw] = loop.create_future()
        name = key.encode()
        self._waiting.setdefault(name, set()).add(future)
        if fits is not None:
            self._fits[name] = fits
        if self._reader is None:
            self._reader = loop.create_task(self._read(), name="aiorq result waits")
        elif name not in self._watched:
            self._interrupt()
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            return None
        finally:
            futures = self._waiting.get(name)
            if futures is not None:
                futures.discard(future)
                if not futures:
                    self._forget(name)
            if not self._waiting:
                self._interrupt()

    def _forget(self, name: bytes) -> set[asyncio.Future[Raw]]:
        self._passed.pop(name, None)
        self._fits.pop(name, None)
        return self._waiting.pop(name, set())

    def _interrupt(self) -> None:
        if self._blocked_as is not None and self._unblocking is None:
            self._unblocking = asyncio.get_running_loop().create_task(self._unblock(), name="aiorq unblock")

    async def _unblock(self) -> None:
        try:
            pause = 0.001
            # Until the server has read the XREAD there is nothing to unblock: ask again, unless it was answered.
            while self._blocked_as is not None:
                try:
                    if await self._transport.execute("CLIENT", "UNBLOCK", self._blocked_as):
                        return
                except AiorqError as error:
                    log.debug("could not unblock a wait: %s", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, 0.1)
        finally:
            self._unblocking = None

    async def _read(self) -> None:
        failures = 0
        try:
            while self._waiting:
                try:
                    async with self._transport.dedicated() as connection:
                        while self._waiting:
                            await self._read_once(connection)
                            failures = 0
                except ConnectionLostError as error:
                    log.debug("waiting for results goes on: %s", error)
                    if self._transport.is_exhausted:
                        await self._look()
                    await asyncio.sleep(_BACKOFF[min(failures, len(_BACKOFF) - 1)])
                    failures += 1
        except AiorqError as error:  # a refusal, which waiting does not cure
            for future in [future for futures in self._waiting.values() for future in futures if not future.done()]:
                future.set_exception(error)
        finally:
            self._reader = None
            self._watched = frozenset()

    async def _look(self) -> None:
        """Ask without blocking: the client has no connection to spare for it."""
        try:
            await self._ask(self._transport.execute)
        except ConnectionLostError as error:
            log.debug("looking for results goes on: %s", error)

    async def _read_once(self, connection: Dedicated) -> None:
        await connection.identify()
        self._blocked_as = connection.client_id
        await self._ask(partial(connection.execute, timeout=_BLOCK + REPLY_TIMEOUT), "BLOCK", int(_BLOCK * 1000))

    async def _ask(self, execute: Callable[..., Awaitable[Any]], *block: Value) -> None:
        streams = list(self._waiting)
        if not streams:  # whoever waited was cancelled meanwhile
            self._blocked_as = None
            return
        self._watched = frozenset(streams)
        try:
            since = [self._passed.get(stream, b"0-0") for stream in streams]
            reply = await execute("XREAD", *block, "STREAMS", *streams, *since)
        except StoreError as error:
            if "WRONGTYPE" not in str(error):
                raise
            await self._fail_unfit(error)
            return
        finally:
            self._blocked_as = None
            self._watched = frozenset()
        if self._unblocking is not None:  # a late unblock must not hit the next command
            await self._unblocking
        for key, entries in (reply.items() if isinstance(reply, dict) else reply) or ():
            newest = entries[-1]
            if key in self._fits and not self._fits[key](newest[1]):
                self._passed[key] = newest[0]
                continue
            for future in self._forget(key):
                if not future.done():
                    future.set_result(newest)
        if len(streams) > 200:
            await asyncio.sleep(len(streams) * _REBUILD)

    async def _fail_unfit(self, error: StoreError) -> None:
        """Give `error` to those who wait for a key that holds no stream; the others must not suffer from it."""
        streams = list(self._waiting)
        kinds = await self._transport.execute_many([("TYPE", stream) for stream in streams])
        for stream, kind in zip(streams, kinds, strict=True):
            if kind not in {b"stream", b"none"}:
                for future in self._forget(stream):
                    if not future.done():
                        future.set_exception(error)


def waiter_of(store: Store) -> Waiter:
    """The waits of a store, which share a connection unless it blocks."""
    if store.waiter is None:
        store.waiter = Waiter(store.transport)
    waiter: Waiter = store.waiter
    return waiter
