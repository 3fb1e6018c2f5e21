"""A transport and the key names below one prefix: what every function of this package works on."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from aiorq.keys import Keys
from aiorq.scripts import load
from aiorq.store.connection import shared_connection
from aiorq.store.transport import Batcher, Transport, Value, transport_of


class Store:
    """One prefix on one server, in one event loop. Stores of the same client share its connections."""

    def __init__(self, connection: Redis, keys: Keys) -> None:
        """Use `store_of` instead: it gives the same store for the same client and prefix."""
        self.connection = connection
        self.keys = keys
        self.transport: Transport = transport_of(connection)
        self.batchers: dict[str, Batcher[Any, Any]] = {}
        """What gathers the calls of one kind that are made at the same moment; see `jobs.enqueue`."""
        self.waiter: Any = None
        """The `waiting.Waiter` of this store, once somebody waited."""

    async def run(self, script: str, keys: Sequence[Value], *args: Value) -> Any:
        """Run the script of that name with the prefix as its first argument."""
        return await self.transport.run(load(script), keys, (self.keys.prefix, *args))

    def run_in(self, pipeline: Pipeline, script: str, keys: Sequence[Value], *args: Value) -> None:
        """Add a call of the script to a pipeline of the caller's, who executes it; the answer is among its replies."""
        if not isinstance(pipeline, Pipeline):
            raise TypeError(f"pipeline must be one of redis.asyncio, not {type(pipeline).__name__}")
        commands: Any = pipeline  # whose methods take bytes too, and only add to it
        commands.eval(load(script).source, len(keys), *keys, self.keys.prefix, *args)

    def send(self, script: str, keys: Sequence[Value], *args: Value, left: Callable[[], None]) -> Future[Any]:
        """As `run`, but what the server answers is not waited for; it may be that it does not have the script.

        The call leaves with the commands of all who ask at this moment, in the same round trip; `left` is called then.
        """
        return self.transport.send(load(script), keys, (self.keys.prefix, *args), left)


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
        raise TypeError(f"connection must be a redis.asyncio.Redis, a URL or None, not {type(connection).__name__}")
    keys = Keys(prefix)
    # With the client and not in a table here: a store refers to its client, which a table would keep for ever.
    stores: dict[str, Store] = connection.__dict__.setdefault("_aiorq_stores", {})
    store = stores.get(keys.prefix)
    if store is None:
        store = stores[keys.prefix] = Store(connection, keys)
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
