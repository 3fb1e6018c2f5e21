"""Carrying commands to Redis: concurrent ones together, each to its end, again when a reply was lost.

Why not call the client's methods: a round trip through redis-py costs about 100 us, a further command in the same one about 10;
its default retry is not told apart from a first try; a cancelled caller costs a connection. Here whoever awaits at the same
moment shares a round trip, which no caller can cancel, and the settings of a client that the application made
(`decode_responses`, short timeouts, retries) do not matter.

Everything that is sent may be sent twice: scripts are idempotent by token, and the few plain commands are by nature.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Generic, TypeAlias, TypeVar

from redis import exceptions as redis_errors
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection

from aiorq.errors import AiorqError, ConnectionLostError, QueueFullError, StoreError, WrongLoopError
from aiorq.scripts import Script
from aiorq.store.connection import where

log = logging.getLogger(__name__)

Value: TypeAlias = str | bytes | int | float
Command: TypeAlias = Sequence[Value]
Reply: TypeAlias = Any
T = TypeVar("T")
R = TypeVar("R")

REPLY_TIMEOUT: Final = 10.0
"""Seconds without an answer after which a connection is given up."""
RESENDS: Final = (0.0, 0.1, 0.3)
"""Seconds to wait before a request is sent again after its connection was lost, at most; then the caller is told."""
_BATCH: Final = 500
_REFUSED: Final = (redis_errors.AuthenticationError, redis_errors.NoPermissionError)
_LOST: Final = (
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
    redis_errors.ReadOnlyError,
    redis_errors.ClusterDownError,
    redis_errors.TryAgainError,
    OSError,
)
_TRANSIENT: Final = (
    "LOADING",
    "READONLY",
    "MISCONF",
    "BUSY",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "TRYAGAIN",
    "UNBLOCKED",
    "NOREPLICAS",
)


class Batcher(Generic[T, R]):
    """Gathers the items of callers that wait at the same moment and runs them together, one batch after the other.

    The batch runs in a task of its own, so that a caller that is cancelled neither stops it nor disturbs the others.
    """

    def __init__(self, run: Callable[[list[T]], Awaitable[Sequence[R | BaseException]]], most: int) -> None:
        """Gather for `run`, which answers a list of at most `most` items with as many results or errors."""
        self._run = run
        self._most = most
        self._pending: list[tuple[T, asyncio.Future[R]]] = []
        self._task: asyncio.Task[None] | None = None

    async def add(self, item: T) -> R:
        """Run `item` in the next batch and return its result, or raise its error."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._pending.append((item, future))
        if self._task is None:
            self._task = loop.create_task(self._drain(), name="aiorq batch")
        return await future

    async def _drain(self) -> None:
        try:
            while self._pending:
                batch, self._pending = self._pending[: self._most], self._pending[self._most :]
                await self._settle(batch)
        finally:
            self._task = None

    async def _settle(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._run([item for item, _ in batch])
        except Exception as error:
            results = [error] * len(batch)
        except BaseException:
            for _, future in batch:
                future.cancel()
            raise
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)


class Transport:
    """The way to the server of one client, in one event loop."""

    def __init__(self, connection: Redis) -> None:
        """Use the connections of `connection`'s pool: one for commands, and one for each blocking command at a time."""
        self._pool = connection.connection_pool
        self._loop = asyncio.get_running_loop()
        self._batcher: Batcher[Command, Reply] = Batcher(self._exchange, _BATCH)
        self.where = where(connection)

    async def execute(self, *command: Value) -> Reply:
        """Send one command and return its answer, in bytes.

        Raises:
            ConnectionLostError: no answer, after sending it again.
            QueueFullError: the server is at its memory limit.
            StoreError: the server refused the command.
        """
        self.check_loop()
        return await self._batcher.add(command)

    async def execute_many(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands in one round trip; the first error is raised after all were answered."""
        self.check_loop()
        return await asyncio.gather(*(self._batcher.add(command) for command in commands))

    async def run(self, script: Script, keys: Sequence[Value], args: Sequence[Value]) -> Reply:
        """Run a script; it is loaded where the server does not have it (any more)."""
        try:
            return await self.execute("EVALSHA", script.sha, len(keys), *keys, *args)
        except StoreError as error:
            if not isinstance(error.__cause__, redis_errors.NoScriptError):
                raise
        return await self.execute("EVAL", script.source, len(keys), *keys, *args)

    @asynccontextmanager
    async def dedicated(self) -> AsyncIterator[Dedicated]:
        """A connection for commands that block. Leaving the block while one is under way closes the connection."""
        self.check_loop()
        try:
            connection = await self._pool.get_connection()
        except (redis_errors.RedisError, OSError) as error:
            raise self._map(error) from error
        try:
            yield Dedicated(connection, self._map)
        finally:
            await self._pool.release(connection)

    def check_loop(self) -> None:
        """Raise WrongLoopError outside the event loop that the connections belong to."""
        if asyncio.get_running_loop() is not self._loop:
            raise WrongLoopError(
                "this connection belongs to another event loop: make a client (aiorq.connect) in each loop that uses one"
            )

    async def _exchange(self, commands: list[Command]) -> list[Reply | AiorqError]:
        for pause in (*RESENDS, None):
            try:
                return await self._round_trip(commands)
            except (redis_errors.ConnectionError, redis_errors.TimeoutError, OSError) as error:
                if pause is None or isinstance(error, redis_errors.AuthenticationError):
                    raise self._map(error) from error
                log.debug("request to %s is sent again: %s", self.where, error)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
            except redis_errors.RedisError as error:
                raise self._map(error) from error
        raise AssertionError("unreachable")

    async def _round_trip(self, commands: list[Command]) -> list[Reply | AiorqError]:
        connection = await self._pool.get_connection()
        try:
            async with asyncio.timeout(REPLY_TIMEOUT):
                await connection.send_packed_command(connection.pack_commands(commands))
                replies = [await self._reply(connection) for _ in commands]
        finally:
            await self._pool.release(connection)
        return replies

    async def _reply(self, connection: AbstractConnection) -> Reply | AiorqError:
        try:
            return await connection.read_response(disable_decoding=True, timeout=math.inf)
        except redis_errors.ResponseError as error:
            mapped = self._map(error)
            if isinstance(mapped, ConnectionLostError):
                connection.mark_for_reconnect()  # after a failover the name may lead to another server
            mapped.__cause__ = error
            return mapped

    def _map(self, error: BaseException) -> AiorqError:
        """Redis's errors in aiorq's words."""
        text = str(error)
        if isinstance(error, _REFUSED) or text.startswith(("NOAUTH", "WRONGPASS")):
            return StoreError(f"Redis at {self.where} refused: {text}")
        if isinstance(error, redis_errors.OutOfMemoryError) or text.startswith("OOM"):
            return QueueFullError(f"Redis at {self.where} is at its memory limit and refuses new work; nothing was written")
        if isinstance(error, _LOST) or text.startswith(_TRANSIENT):
            reason = text or "no answer in time"
            return ConnectionLostError(f"Redis at {self.where} cannot be asked now: {reason}")
        return StoreError(f"Redis at {self.where} refused: {text}")


class Dedicated:
    """One connection, for one blocking command at a time."""

    def __init__(self, connection: AbstractConnection, map_error: Callable[[BaseException], AiorqError]) -> None:
        """Use `connection` until its block is left."""
        self._connection = connection
        self._map = map_error
        self._client_id: int | None = None

    @property
    def client_id(self) -> int | None:
        """The server's number for this connection, by which another one can unblock it; None when it is not known."""
        return self._client_id if self._connection.is_connected else None

    async def identify(self) -> None:
        """Learn `client_id`, connecting anew if the connection was lost.

        Raises:
            ConnectionLostError: Redis cannot be asked now.
        """
        if self.client_id is None:
            self._client_id = await self.execute("CLIENT", "ID", timeout=REPLY_TIMEOUT)

    async def execute(self, *command: Value, timeout: float) -> Reply:
        """Send a command and wait at most `timeout` seconds for its answer.

        Raises:
            ConnectionLostError: no answer in time, or the connection was lost.
        """
        connection = self._connection
        try:
            async with asyncio.timeout(timeout):
                await connection.send_packed_command(connection.pack_command(*command))
                return await connection.read_response(disable_decoding=True, timeout=math.inf)
        except (redis_errors.RedisError, OSError) as error:
            raise self._map(error) from error


_transports: weakref.WeakKeyDictionary[Redis, Transport] = weakref.WeakKeyDictionary()


def transport_of(connection: Redis) -> Transport:
    """The transport that everything on `connection` shares."""
    transport = _transports.get(connection)
    if transport is None:
        transport = _transports[connection] = Transport(connection)
    return transport
