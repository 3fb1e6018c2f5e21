"""A place for commands that show or measure something: a prefix of their own, which they leave empty, and a worker.

It is on the Redis that is meant or, where nothing says which one that is, on a server of its own.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from aiorq.cli.parameters import Given
from aiorq.cli.settings import client_of, names_server

if TYPE_CHECKING:
    from aiorq.store.base import Store
    from aiorq.worker import Worker


@asynccontextmanager
async def workplace(given: Given, name: str) -> AsyncIterator[Store]:
    """A store below a prefix that begins with `name` and that nobody else has; what is in it goes with it."""
    from aiorq.server import EmbeddedServer
    from aiorq.store.base import store_of, wipe

    with nullcontext() if names_server(given) else EmbeddedServer() as server:
        async with client_of(given if server is None else replace(given, url=server.url)) as client:
            store = store_of(client, f"{name}-{os.urandom(4).hex()}")
            try:
                yield store
            finally:
                await wipe(store)


@asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[None]:
    """Have a worker work, in this event loop."""
    task = asyncio.create_task(worker.work())
    try:
        yield
    finally:
        worker.request_stop(cold=sys.exc_info()[0] is not None)
        await task


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """The 50th and the 99th, rounded; nothing of fewer than two values."""
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1)}
