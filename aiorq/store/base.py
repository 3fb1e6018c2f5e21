"""A transport and the key names below one prefix: what every function of this package works on."""

from __future__ import annotations

import weakref
from asyncio import Future
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.client import Pipeline as BlockingPipeline

from aiorq.keys import Keys, is_for_tests
from aiorq.scripts import load
from aiorq.store.connection import shared_connection
from aiorq.store.replies import Value
from aiorq.store.transport import Batcher, Transport, transport_of

AnyPipeline: TypeAlias = Pipeline | BlockingPipeline
"""A pipeline of the caller's, of the same kind as the client of the store."""


class Store:
    """One prefix on one server, by way of one client. Stores of the same client share its connections."""

    def __init__(self, connection: Any, keys: Keys, transport: Transport | None = None) -> None:
        """Use `store_of` instead: it gives the same store for the same client and prefix.

        Args:
            connection: a `redis.asyncio.Redis`, or a `redis.Redis` where the transport is a blocking one.
            keys: below the prefix.
            transport: of that client; None for that of a `redis.asyncio.Redis`.
        """
        self.connection = connection
        self.keys = keys
        self.transport: Transport = transport or transport_of(connection)
        self.clock = "clock"
        """The piece that tells the scripts the time."""
        self.is_over = False
        """Whether the test whose keys these are is over: who goes by the environment has another prefix now."""
        if is_for_tests(keys.prefix):
            self.clock = "clock_virtual"
            _of_tests.add(self)
        self.batchers: dict[str, Batcher[Any, Any]] = {}
        """What gathers the calls of one kind that are made at the same moment; see `jobs.enqueue`."""
        self.waiter: Any = None
        """The `waiting.Waiter` of this store, once somebody waited."""

    async def run(self, script: str, keys: Sequence[Value], *args: Value) -> Any:
        """Run the script of that name with the prefix as its first argument."""
        return await self.transport.run(load(script, self.clock), keys, (self.keys.prefix, *args))

    def run_in(self, pipeline: AnyPipeline, script: str, keys: Sequence[Value], *args: Value) -> None:
        """Add a call of the script to a pipeline of the caller's, who executes it; the answer is among its replies."""
        kind = self.transport.pipeline_class
        if not isinstance(pipeline, kind):
            package = kind.__module__.removesuffix(".client")
            raise TypeError(f"pipeline must be one of {package}, not {type(pipeline).__name__}")
        commands: Any = pipeline  # whose methods take bytes too, and only add to it
        commands.eval(load(script, self.clock).source, len(keys), *keys, self.keys.prefix, *args)

    def send(self, script: str, keys: Sequence[Value], *args: Value, left: Callable[[], None]) -> Future[Any]:
        """As `run`, but what the server answers is not waited for; it may be that it does not have the script.

        The call leaves with the commands of all who ask at this moment, in the same round trip; `left` is called then.
        """
        return self.transport.send(load(script, self.clock), keys, (self.keys.prefix, *args), left)


_of_tests: weakref.WeakSet[Store] = weakref.WeakSet()


def end_stores(prefix: str) -> None:
    """Note that the test whose prefix this was is over."""
    for store in [store for store in _of_tests if store.keys.prefix == prefix]:
        store.is_over = True
        store.connection.__dict__.get("_aiorq_stores", {}).pop(prefix, None)


def store_of(connection: Redis | str | None = None, prefix: str | None = None) -> Store:
    """The store for a client, a URL or the environment's default, below `prefix` or the environment's.

    Raises:
        InvalidURLError: a URL that cannot be read.
        ValueError: a bad prefix.
        TypeError: something that is none of them.
    """
    if connection is None or isinstance(connection, str):
        connection = shared_connection(connection)
    elif not isinstance(connection, Redis):
        hint = "; aiorq.sync takes that one" if isinstance(connection, BlockingRedis) else ""
        kind = f"{type(connection).__module__}.{type(connection).__name__}"
        raise TypeError(f"connection must be a redis.asyncio.Redis, a URL or None, not {kind}{hint}")
    return kept_store(connection, prefix, Store)


def kept_store(connection: Any, prefix: str | None, make: Callable[[Any, Keys], Store]) -> Store:
    """The store of a client and a prefix, made when it is first asked for."""
    keys = Keys(prefix)
    # With the client and not in a table here: a store refers to its client, which a table would keep for ever.
    stores: dict[str, Store] = connection.__dict__.setdefault("_aiorq_stores", {})
    store = stores.get(keys.prefix)
    if store is None:
        store = stores[keys.prefix] = make(connection, keys)
    return store


async def wipe(store: Store) -> int:
    """Delete every key below the prefix, in steps; returns how many there were. For prefixes of one's own only."""
    pattern = "".join(f"[{letter}]" for letter in store.keys.prefix) + ":*"
    deleted, cursor = 0, b"0"
    while True:
        cursor, names = await store.transport.execute("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
        if names:
            deleted += await store.transport.execute("UNLINK", *names)
        if int(cursor) == 0:
            return deleted
