"""Workers in RQ's books."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from aiorq.errors import QueueFullError, StoreError, WorkerExistsError
from aiorq.record import encode_date
from aiorq.store.base import Store
from aiorq.store.registries import server_time
from aiorq.store.replies import REPLY_TIMEOUT, Value
from aiorq.store.transport import Dedicated

MAX_SUSPENSION: Final = 10 * 366 * 86_400
"""Seconds."""
_READ: Final = 500
"""Workers that are read in one round trip."""


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


async def show_shutdown(store: Store, worker: str) -> None:
    """Show in the worker's hash that it was asked to end now, by the server's clock."""
    moment = encode_date(datetime.fromtimestamp(await server_time(store), UTC))
    await set_fields(store, worker, {"shutdown_requested_date": moment})


async def suspend(store: Store, ttl: int | None) -> None:
    """Let no worker take new jobs, for so many seconds, or for ever."""
    lasting: tuple[Value, ...] = () if ttl is None else ("EX", ttl)
    await store.transport.execute("SET", store.keys.suspended, 1, *lasting)


async def resume(store: Store) -> bool:
    """Let workers take jobs again; returns whether they were suspended."""
    return bool(await store.transport.execute("DEL", store.keys.suspended))


async def names(store: Store, queue: str | None = None) -> list[str]:
    """The names of all workers, or of those of a queue, sorted; what is none is left out, the dead of late are not."""
    head = store.keys.worker("").encode()
    found = []
    for member in await store.transport.execute("SMEMBERS", _set_of(store, queue)):
        name = member.removeprefix(head).decode(errors="replace")
        if name and head + name.encode() == member:
            found.append(name)
    return sorted(found)


async def count(store: Store, queue: str | None = None) -> int:
    """How many workers there are, or those of a queue; one that has died without a word counts for some seconds."""
    return int(await store.transport.execute("SCARD", _set_of(store, queue)))


async def fetch_many(store: Store, workers: Sequence[str]) -> list[dict[bytes, bytes] | None]:
    """The hashes of workers; None for those that do not exist, or hold something else."""
    found: list[dict[bytes, bytes] | None] = []
    for start in range(0, len(workers), _READ):
        commands = [("HGETALL", store.keys.worker(worker)) for worker in workers[start : start + _READ]]
        found += [_fields(reply) for reply in await store.transport.try_many(commands)]
    return found


def _fields(reply: Any) -> dict[bytes, bytes] | None:
    if isinstance(reply, StoreError) and "WRONGTYPE" in str(reply):
        return None
    if isinstance(reply, BaseException):
        raise reply
    fields: dict[bytes, bytes] = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
    return fields or None


async def drop_dead(store: Store, queue: str | None = None) -> int:
    """Take workers whose hash is gone out of the set of all, or of those of a queue; returns how many those were."""
    return int(await store.run("sweep_workers", [_set_of(store, queue)]))


def _set_of(store: Store, queue: str | None) -> str:
    return store.keys.workers if queue is None else store.keys.queue_workers(queue)
