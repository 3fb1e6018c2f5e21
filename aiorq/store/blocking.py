"""The same functions over a blocking client: no event loop, no thread, nothing that a fork could leave behind.

What asks Redis is written once, as coroutines. Over a blocking client they come to a halt at one place only, where they
hand out the commands of a round trip, and `drive` takes them from there: it makes the round trip and sends them the
answers. So calls of one function that are made together still travel together (`gather`), and a call costs little more
than the round trip itself.

Each round trip takes a connection from the client's pool and gives it back. Threads thus share a client as they do
with redis-py, and in a forked process the pool begins anew.
"""

from __future__ import annotations

import logging
import math
import os
import random
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, Final, NoReturn, TypeVar, cast

from redis import Redis
from redis import exceptions as redis_errors
from redis.client import Pipeline
from redis.connection import AbstractConnection

from aiorq.errors import AiorqError, ConnectionLostError, StoreError
from aiorq.keys import Keys
from aiorq.scripts import Script
from aiorq.store.base import Store, kept_store
from aiorq.store.connection import connect_blocking, default_url, where
from aiorq.store.replies import REPLY_TIMEOUT, RESENDS, Command, Reply, Value, encoded, in_our_words, is_missing
from aiorq.store.transport import Batcher, Transport

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

_BLOCK: Final = 5.0  # seconds of one XREAD
_BACKOFF: Final = (0.05, 0.1, 0.2, 0.5, 1.0)


class Exchange:
    """A round trip that a coroutine waits for; whoever drives the coroutine makes it."""

    __slots__ = ("commands", "transport")

    def __init__(self, transport: BlockingTransport, commands: Sequence[Command]) -> None:
        """Ask for `commands` to be sent."""
        self.transport = transport
        self.commands = commands

    def __await__(self) -> Generator[Exchange, list[Reply | AiorqError], list[Reply | AiorqError]]:
        return (yield self)

    def perform(self) -> list[Reply | AiorqError]:
        """Make the round trip; where a command failed, its error stands in place of its answer.

        Raises:
            AiorqError: the round trip failed.
        """
        return self.transport.exchange(self.commands)


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of this package over a blocking client to its end, in this thread; return what it returns."""
    try:
        request = coroutine.send(None)
        while True:
            try:
                replies = request.perform()
            except BaseException as error:  # noqa: BLE001 - for the coroutine, also where a signal interrupts it
                request = coroutine.throw(error)
            else:
                request = coroutine.send(replies)
    except StopIteration as end:
        return cast("T", end.value)


class Alone:
    """Runs each item by itself: the counterpart of `Batcher`."""

    def __init__(self, run: Callable[[list[Any]], Awaitable[Sequence[Any]]]) -> None:
        """Run items with `run`, which answers a list of items with as many results or errors."""
        self._run = run

    async def add(self, item: Any) -> Any:
        """Run `item`, and give its result or raise its error."""
        (outcome,) = await self._run([item])
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class BlockingTransport(Transport):
    """The way to the server of one blocking client."""

    pipeline_class: ClassVar[type[Any]] = Pipeline

    def __init__(self, connection: Redis) -> None:
        """Use the connections of `connection`'s pool, one for each round trip."""
        self._client = connection
        self._pool: Any = connection.connection_pool
        retry = self._pool.connection_kwargs.get("retry")
        self._client_retries: bool = retry is not None and retry.get_retries() > 0
        self.where = where(connection)

    @property
    def is_home(self) -> bool:
        """True: a blocking client can be used anywhere."""
        return True

    @property
    def blocks(self) -> bool:
        """True: whoever asks waits."""
        return True

    def check_loop(self) -> None:
        """Nothing: a blocking client can be used anywhere."""

    def batcher(self, run: Callable[[list[T]], Awaitable[Sequence[R | BaseException]]], cut: object) -> Batcher[T, R]:  # noqa: ARG002
        """What runs each item by itself: nothing else is asked at the same moment."""
        return cast("Batcher[T, R]", Alone(run))

    async def gather(self, calls: Sequence[Coroutine[Any, Any, T]]) -> list[T | BaseException]:
        """Run calls side by side; what they send at the same step travels together."""
        outcomes: dict[int, T | BaseException] = {}
        going: list[tuple[int, Callable[[], Any]]] = [
            (number, partial(call.send, None)) for number, call in enumerate(calls)
        ]
        while going:
            asking: list[tuple[int, Exchange]] = []
            for number, go_on in going:
                try:
                    asking.append((number, go_on()))
                except StopIteration as end:
                    outcomes[number] = end.value
                except Exception as error:  # noqa: BLE001 - it stands in place of the result
                    outcomes[number] = error
            going = []
            if asking:
                answers: Iterator[Reply | AiorqError] | None = None
                try:
                    answers = iter(await Exchange(self, [command for _, asked in asking for command in asked.commands]))
                except AiorqError as error:
                    going = [(number, partial(calls[number].throw, error)) for number, _ in asking]
                if answers is not None:
                    for number, asked in asking:
                        replies = [next(answers) for _ in asked.commands]
                        going.append((number, partial(calls[number].send, cast("None", replies))))
        return [outcomes[number] for number in range(len(calls))]

    async def sleep(self, seconds: float) -> None:
        """Wait before something is asked again."""
        time.sleep(seconds)  # noqa: ASYNC251 - no event loop runs this

    async def execute(self, *command: Value) -> Reply:
        """Send one command and return its answer, in bytes; raises as `Transport.execute`."""
        (reply,) = await Exchange(self, [encoded(command)])
        if isinstance(reply, AiorqError):
            raise reply
        return reply

    async def try_many(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands in one round trip; where one failed, its error stands in place of its answer."""
        return await Exchange(self, [encoded(command) for command in commands]) if commands else []

    async def run(self, script: Script, keys: Sequence[Value], args: Sequence[Value]) -> Reply:
        """Run a script; it is loaded where the server does not have it (any more)."""
        try:
            return await self.execute("EVALSHA", script.sha, len(keys), *keys, *args)
        except StoreError as error:
            if not is_missing(error):
                raise
        return await self.execute("EVAL", script.source, len(keys), *keys, *args)

    def send(
        self,
        script: Script,
        keys: Sequence[Value],
        args: Sequence[Value],
        left: Callable[[], None] | None = None,
    ) -> NoReturn:
        """Not possible: a blocking client has no round trip that others join."""
        raise NotImplementedError("a blocking client sends nothing that it does not wait for")

    def dedicated(self) -> NoReturn:
        """Not possible: who listens all the time has an event loop."""
        raise NotImplementedError("a blocking client has no connection that listens")

    def exchange(self, commands: Sequence[Command], timeout: float = REPLY_TIMEOUT) -> list[Reply | AiorqError]:
        """Send commands in one round trip, again where the connection was lost.

        Args:
            commands: in bytes.
            timeout: seconds to wait for an answer.

        Returns:
            the answers; where a command failed, its error.

        Raises:
            AiorqError: there is no answer.
        """
        for pause in (*RESENDS, None):
            connected = False
            try:
                with self._borrowed() as connection:
                    connected = True
                    return self._ask(connection, commands, timeout)
            except (redis_errors.ConnectionError, redis_errors.TimeoutError, OSError) as error:
                mapped = in_our_words(error, self.where)
                # A server that does not answer would not answer again, and its caller has waited for long. So he has
                # where the client itself tries to connect several times, as redis-py's do by default.
                patient = isinstance(error, (redis_errors.TimeoutError, TimeoutError)) or (
                    self._client_retries and not connected
                )
                if pause is None or patient or not isinstance(mapped, ConnectionLostError):
                    raise mapped from error
                log.debug("request to %s is sent again: %s", self.where, error)
                time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
            except redis_errors.RedisError as error:
                raise in_our_words(error, self.where) from error
        raise AssertionError("unreachable")

    def _ask(
        self, connection: AbstractConnection, commands: Sequence[Command], timeout: float
    ) -> list[Reply | AiorqError]:
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            return [self._answer(connection, timeout) for _ in commands]
        except BaseException:
            connection.disconnect()  # answers that were not read are nobody else's
            raise

    @contextmanager
    def _borrowed(self) -> Iterator[AbstractConnection]:
        own = self._client.connection
        # Of a client that was made with `single_connection_client`; in a forked process it is still the parent's.
        if own is not None and own.pid == os.getpid():
            with self._client.single_connection_lock:
                yield own
            return
        connection = self._pool.get_connection()
        try:
            yield connection
        finally:
            self._pool.release(connection)

    def _answer(self, connection: AbstractConnection, timeout: float) -> Reply | AiorqError:
        try:
            return connection.read_response(disable_decoding=True, timeout=timeout)
        except redis_errors.ResponseError as error:
            mapped = in_our_words(error, self.where)
            if isinstance(mapped, ConnectionLostError):
                connection.mark_for_reconnect()  # after a failover the name may lead to another server
            mapped.__cause__ = error
            return mapped


class BlockingWaiter:
    """Waits for entries of streams, each wait over a connection of its own."""

    def __init__(self, transport: BlockingTransport) -> None:
        """Wait over `transport`."""
        self._transport = transport

    async def wait(self, key: str, seconds: float, fits: Callable[[list[bytes]], bool] | None = None) -> Any | None:
        """The newest entry of the stream `key`, now or within `seconds`; None after that. See `waiting.Waiter.wait`."""
        end = time.monotonic() + seconds
        since, failures = b"0-0", 0
        while True:
            block = max(0.001, min(_BLOCK, end - time.monotonic()))
            command = encoded(("XREAD", "BLOCK", math.ceil(block * 1000), "STREAMS", key, since))
            try:
                (reply,) = self._transport.exchange([command], block + REPLY_TIMEOUT)
                if isinstance(reply, AiorqError):
                    raise reply
                failures = 0
            except ConnectionLostError as error:
                log.debug("waiting for %s goes on: %s", key, error)
                reply = None
                time.sleep(min(_BACKOFF[min(failures, len(_BACKOFF) - 1)], max(0.0, end - time.monotonic())))  # noqa: ASYNC251 - as above
                failures += 1
            for _, entries in (reply.items() if isinstance(reply, dict) else reply) or ():
                newest = entries[-1]
                if fits is None or fits(newest[1]):
                    return newest
                since = newest[0]
            if time.monotonic() >= end:
                return None


class BlockingStore(Store):
    """One prefix on one server, by way of a blocking client."""

    def __init__(self, connection: Redis, keys: Keys) -> None:
        """Use `store_of` instead: it gives the same store for the same client and prefix."""
        transport = BlockingTransport(connection)
        super().__init__(connection, keys, transport)
        self.waiter = BlockingWaiter(transport)


_shared: dict[str, Redis] = {}
_sharing = threading.Lock()


def shared_connection(url: str | None = None) -> Redis:
    """The client for a URL, or for that of the environment, that everything in this process shares.

    Raises:
        InvalidURLError: the URL cannot be read.
    """
    url = url or default_url()
    with _sharing:
        client = _shared.get(url)
        if client is None:
            client = _shared[url] = connect_blocking(url)
        return client


def store_of(connection: Redis | str | None = None, prefix: str | None = None) -> Store:
    """The store for a blocking client, a URL or the environment's default, below `prefix` or the environment's.

    Raises:
        InvalidURLError: a URL that cannot be read.
        ValueError: a bad prefix.
        TypeError: something that is none of them.
    """
    if connection is None or isinstance(connection, str):
        connection = shared_connection(connection)
    elif not isinstance(connection, Redis):
        kind = f"{type(connection).__module__}.{type(connection).__name__}"
        raise TypeError(f"connection must be a redis.Redis, a URL or None, not {kind}; `aiorq` takes those of asyncio")
    return kept_store(connection, prefix, BlockingStore)
