"""Carrying commands to Redis: concurrent ones together, each to its end, again when a reply was lost.

Why not call the client's methods: a round trip through redis-py costs about 100 us, a further command in the same one
about 10; its default retry is not told apart from a first try; a cancelled caller costs a connection. Here whoever
awaits at the same moment shares a round trip, which no caller can cancel, and the settings of a client that the
application made (`decode_responses`, `encoding`, short timeouts, retries) do not matter.

Everything that is sent may be sent twice: scripts are idempotent by token, and the few plain commands are by nature.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import random
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ClassVar, Final, Generic, TypeVar

from redis import exceptions as redis_errors
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import AbstractConnection

from aiorq.errors import AiorqError, ConnectionLostError, StoreError, WrongLoopError
from aiorq.scripts import Script
from aiorq.store.connection import where
from aiorq.store.replies import REPLY_TIMEOUT, RESENDS, Command, Reply, Value, encoded, in_our_words, is_missing

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

_BATCH: Final = 500
_DEMOTED: Final = (redis_errors.ReadOnlyError, redis_errors.MasterDownError)
"""What a server says that has become a replica."""


class Batcher(Generic[T, R]):
    """Gathers the items of callers that wait at the same moment and runs them together, one batch after the other.

    The batch runs in a task of its own, so that a caller that is cancelled neither stops it nor disturbs the others.
    An item must be fit to be sent when it is added: what fails a batch fails all who are in it.
    """

    def __init__(
        self, run: Callable[[list[T]], Awaitable[Sequence[R | BaseException]]], cut: Callable[[Sequence[T]], int]
    ) -> None:
        """Gather for `run`, which answers a list of items with as many results or errors.

        Args:
            run: runs a batch.
            cut: how many of the items that wait, 1 and more, make the next batch.
        """
        self._run = run
        self._cut = cut
        self._items: list[T] = []
        self._futures: list[asyncio.Future[R]] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, item: T) -> asyncio.Future[R]:
        """Run `item` in the next batch; the future gets its result or its error."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._items.append(item)
        self._futures.append(future)
        if self._task is None:
            self._task = loop.create_task(self._drain(), name="aiorq batch")
        return future

    async def _drain(self) -> None:
        try:
            while self._items:
                size = self._cut(self._items)
                items, self._items = self._items[:size], self._items[size:]
                futures, self._futures = self._futures[:size], self._futures[size:]
                await self._settle(items, futures)
        finally:
            self._task = None

    async def _settle(self, items: list[T], futures: list[asyncio.Future[R]]) -> None:
        results: Sequence[R | BaseException]
        try:
            results = await self._run(items)
        except Exception as error:  # noqa: BLE001 - it is for those who wait
            results = [error] * len(items)
        except BaseException:
            for future in (*futures, *self._futures):
                future.cancel()
            self._items, self._futures = [], []
            raise
        for future, result in zip(futures, results, strict=True):
            if future.done():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)


class Transport:
    """The way to the server of one client, in one event loop."""

    pipeline_class: ClassVar[type[Any]] = Pipeline
    """What the client's pipelines are."""

    def __init__(self, connection: Redis) -> None:
        """Use the connections of `connection`'s pool: one for commands, and one for each blocking command at a time."""
        self._pool = connection.connection_pool
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        self._connection: AbstractConnection | None = None  # kept: the pool takes 80 us for each use
        self._dedicated: set[Dedicated] = set()
        self._demoted = False
        self._batcher: Batcher[Command, Reply] = Batcher(self._exchange, lambda commands: min(len(commands), _BATCH))
        self.where = where(connection)

    @property
    def is_home(self) -> bool:
        """Whether the running event loop is the one that the connections belong to, in the process that made them."""
        return asyncio.get_running_loop() is self._loop and os.getpid() == self._process

    @property
    def blocks(self) -> bool:
        """Whether who asks waits in place of awaiting; see `store.blocking`."""
        return False

    @property
    def is_exhausted(self) -> bool:
        """Whether all connections that the client may have are in use."""
        return not self._pool.can_get_connection()

    def batcher(
        self, run: Callable[[list[T]], Awaitable[Sequence[R | BaseException]]], cut: Callable[[Sequence[T]], int]
    ) -> Batcher[T, R]:
        """What gathers items that are added at the same moment; parameters as for `Batcher`."""
        return Batcher(run, cut)

    async def gather(self, calls: Sequence[Coroutine[Any, Any, T]]) -> list[T | BaseException]:
        """Await calls that are made at the same moment; where one failed, its error stands in place of its result."""
        return await asyncio.gather(*calls, return_exceptions=True)

    async def sleep(self, seconds: float) -> None:
        """Wait before something is asked again."""
        await asyncio.sleep(seconds)

    async def execute(self, *command: Value) -> Reply:
        """Send one command and return its answer, in bytes.

        Raises:
            ConnectionLostError: no answer, after sending it again.
            QueueFullError: the server is at its memory limit.
            StoreError: the server refused the command.
        """
        self.check_loop()
        return await self._batcher.add(encoded(command))

    async def execute_many(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands in one round trip; the first error is raised after all were answered."""
        replies = await self.try_many(commands)
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
        return replies

    async def try_many(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands in one round trip; where one failed, its error stands in place of its answer."""
        self.check_loop()
        futures = [self._batcher.add(command) for command in [encoded(command) for command in commands]]
        return await asyncio.gather(*futures, return_exceptions=True)

    async def run(self, script: Script, keys: Sequence[Value], args: Sequence[Value]) -> Reply:
        """Run a script; it is loaded where the server does not have it (any more)."""
        try:
            return await self.send(script, keys, args)
        except StoreError as error:
            if not is_missing(error):
                raise
        return await self.execute("EVAL", script.source, len(keys), *keys, *args)

    def send(
        self, script: Script, keys: Sequence[Value], args: Sequence[Value], left: Callable[[], None] | None = None
    ) -> asyncio.Future[Reply]:
        """Run a script in the next round trip, if the server has it; `is_missing` tells that error from others.

        Args:
            script: which.
            keys: its keys.
            args: its arguments.
            left: called when the request has left this process, or again when it is sent again.
        """
        self.check_loop()
        command = encoded(("EVALSHA", script.sha, len(keys), *keys, *args))
        return self._batcher.add(command if left is None else _Announced(command, left))

    @asynccontextmanager
    async def dedicated(self) -> AsyncIterator[Dedicated]:
        """A connection for commands that block. Leaving the block while one is under way closes the connection.

        Raises:
            ConnectionLostError: Redis cannot be asked now, or the client may not have one more connection.
        """
        self.check_loop()
        if self._connection is None:  # commands come first: without a connection they could do nothing but fail
            await self.execute("PING")
        try:
            async with asyncio.timeout(REPLY_TIMEOUT):  # a server that hangs takes connections, but does not greet
                connection = await self._take()
        except (redis_errors.RedisError, OSError) as error:
            raise self._map(error) from error
        dedicated = Dedicated(connection, self._map)
        self._dedicated.add(dedicated)
        try:
            yield dedicated
        finally:
            self._dedicated.discard(dedicated)
            await self._pool.release(connection)

    def check_loop(self) -> None:
        """Raise WrongLoopError outside the event loop, and the process, that the connections belong to."""
        if os.getpid() != self._process:
            raise WrongLoopError(
                "this connection belongs to the process that this one was forked from, which would get the answers:"
                " make a client (aiorq.connect) in each process"
            )
        if not self.is_home:
            raise WrongLoopError(
                "this connection belongs to another event loop: make a client (aiorq.connect) in each loop that asks"
            )

    async def _exchange(self, commands: list[Command]) -> list[Reply | AiorqError]:
        for pause in (*RESENDS, None):
            try:
                return await self._round_trip(commands)
            except (redis_errors.ConnectionError, redis_errors.TimeoutError, OSError) as error:
                mapped = self._map(error)
                # A server that does not answer would not answer again, and its caller has waited for long.
                silent = isinstance(error, (redis_errors.TimeoutError, TimeoutError))
                if pause is None or silent or not isinstance(mapped, ConnectionLostError):
                    raise mapped from error
                log.debug("request to %s is sent again: %s", self.where, error)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
            except redis_errors.RedisError as error:
                raise self._map(error) from error
        raise AssertionError("unreachable")

    async def _round_trip(self, commands: list[Command]) -> list[Reply | AiorqError]:
        connection = self._connection
        try:
            async with asyncio.timeout(REPLY_TIMEOUT):
                if connection is None:
                    connection = self._connection = await self._take()
                await _send(connection, connection.pack_commands(commands))
                for command in commands:
                    if type(command) is _Announced:
                        command.left()
                replies = [await self._reply(connection) for _ in commands]
        except BaseException:
            await self._give_back()
            raise
        if connection.should_reconnect():
            await self._give_back()
        if self._demoted:
            self._demoted = False
            for dedicated in tuple(self._dedicated):  # one that waits for a channel would never hear of it
                await dedicated.end()
        return replies

    async def _take(self) -> AbstractConnection:
        connection: AbstractConnection | None = None
        try:
            with _heeding():
                connection = await self._pool.get_connection()
        except BaseException:
            if connection is not None:
                await self._pool.release(connection)
            raise
        return connection

    async def _give_back(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._pool.release(connection)

    async def _reply(self, connection: AbstractConnection) -> Reply | AiorqError:
        try:
            return await connection.read_response(disable_decoding=True, timeout=math.inf)
        except redis_errors.ResponseError as error:
            mapped = self._map(error)
            if isinstance(mapped, ConnectionLostError):
                connection.mark_for_reconnect()  # after a failover the name may lead to another server
            self._demoted = self._demoted or isinstance(error, _DEMOTED)
            mapped.__cause__ = error
            return mapped

    def _map(self, error: BaseException) -> AiorqError:
        return in_our_words(error, self.where)


class _Announced(list[Value]):
    """A command that somebody wants to know has left."""

    def __init__(self, command: Command, left: Callable[[], None]) -> None:
        super().__init__(command)
        self.left = left


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

    @property
    def last_client_id(self) -> int | None:
        """The number that the connection had when it was last known: the server may not have noticed its end yet."""
        return self._client_id

    async def end(self) -> None:
        """Close the connection: what is under way fails with ConnectionLostError, what comes next connects anew."""
        await self._connection.disconnect(nowait=True)

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
                await _send(connection, connection.pack_command(*encoded(command)))
                return await connection.read_response(disable_decoding=True, timeout=math.inf)
        except (redis_errors.RedisError, OSError) as error:
            mapped = self._map(error)
            if isinstance(mapped, ConnectionLostError):
                await connection.disconnect(nowait=True)  # after a failover the name may lead to another server
            raise mapped from error

    async def subscribe(self, channels: Sequence[str], ping: float) -> AsyncGenerator[tuple[bytes, bytes] | None]:
        """The messages of channels, each with the channel that it came from; None first, once all are open.

        After `ping` seconds of silence the server is asked whether it is there; without an answer the connection counts
        as lost.

        Raises:
            ConnectionLostError: the connection is lost.
        """
        connection = self._connection
        try:
            async with asyncio.timeout(REPLY_TIMEOUT):
                await _send(connection, connection.pack_command(*encoded(("SUBSCRIBE", *channels))))
            asked = True
            while True:
                patience = REPLY_TIMEOUT if asked else ping
                reply = await connection.read_response(disable_decoding=True, timeout=patience, push_request=True)
                if reply is None:
                    if asked or not connection.is_connected:  # a new one would not be subscribed
                        raise TimeoutError
                    asked = True
                    await _send(connection, connection.pack_command("PING"))
                    continue
                asked = False
                if isinstance(reply, list) and reply[0] == b"subscribe":
                    if reply[2] == len(channels):
                        yield None
                elif isinstance(reply, list) and reply[0] == b"message":
                    yield reply[1], reply[2]
        except (redis_errors.RedisError, OSError) as error:
            raise self._map(error) from error
        finally:
            await connection.disconnect()  # it is of no use for anything else now


@contextmanager
def _heeding() -> Iterator[None]:
    """Raise a cancellation that came within the block, if it was lost there: whatever waits next would wait for ever.

    With a client that has a `socket_timeout` redis-py sends in `asyncio.wait_for`, which on Python 3.11 forgets a
    cancellation, of a timeout too, that comes when all has just been sent.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
    finally:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError


async def _send(connection: AbstractConnection, packed: Iterable[bytes]) -> None:
    with _heeding():
        await connection.send_packed_command(packed)


_transports: weakref.WeakKeyDictionary[Redis, Transport] = weakref.WeakKeyDictionary()


def transport_of(connection: Redis) -> Transport:
    """The transport that everything on `connection` shares."""
    transport = _transports.get(connection)
    if transport is None:
        transport = _transports[connection] = Transport(connection)
    return transport
