"""Workers in RQ's books."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from aiorq.errors import QueueFullError, WorkerExistsError
from aiorq.store.base import Store
from aiorq.store.transport import REPLY_TIMEOUT, Dedicated, Value


async def register(
    store: Store, worker: str, boot: str, queues: Sequence[str], fields: Mapping[str, str | int], ttl: int
) -> None:
    """Enter a worker, or enter it anew after its entry was lost.

    Args:
        store: where.
        worker: its name.
        boot: a text that tells this process from every other one.
        queues: the names of its queues.
        fields: what else its hash shows.
        ttl: seconds without a heartbeat after which it counts as dead.

    Raises:
        WorkerExistsError: a live worker has the name.
    """
    keys = [store.keys.worker(worker), store.keys.workers]
    flat: list[Value] = [part for item in fields.items() for part in item]
    word = await store.run("register", keys, worker, ttl, boot, len(queues), *queues, *flat)
    if word == b"taken":
        raise WorkerExistsError(
            f"there is a live worker named {worker!r}; give another --name, or none for a random one"
        )


async def retire(store: Store, worker: str, boot: str, queues: Sequence[str]) -> None:
    """Take a worker out; its hash stays for a minute with the time of its death."""
    await store.run("retire", [store.keys.worker(worker), store.keys.workers], worker, boot, *queues)


async def set_fields(store: Store, worker: str, fields: Mapping[str, str | int]) -> None:
    """Show these fields in the worker's hash, where there is one and the server has room for it."""
    flat: list[Value] = [part for item in fields.items() for part in item]
    with contextlib.suppress(QueueFullError):
        await store.run("save", [store.keys.worker(worker)], "", *flat)


async def wait_for_push(store: Store, connection: Dedicated, worker: str, queue: str, seconds: float) -> bool:
    """Wait until Redis hands an id of a queue to the worker's inbox, at most `seconds`; True when it did.

    Nothing is lost when the caller is cancelled or dies: the id is in the inbox, which the next claim of the worker
    takes from first. Of several workers that wait, one is woken for each id.
    """
    keys = store.keys
    command = ("BLMOVE", keys.queue(queue), keys.inbox(worker, queue), "LEFT", "RIGHT", seconds)
    return await connection.execute(*command, timeout=seconds + REPLY_TIMEOUT) is not None


async def are_suspended(store: Store) -> bool:
    """Whether no worker may take new jobs."""
    return bool(await store.transport.execute("EXISTS", store.keys.suspended))
