"""Queues: what waits in them."""

from __future__ import annotations

import contextlib
from typing import Final

from aiorq.keys import check_queue_name
from aiorq.store.base import Store

_EMPTIED_A_CALL: Final = 500


async def names(store: Store) -> list[str]:
    """The names of all queues ever used, sorted; names that `keys.check_queue_name` does not take are left out."""
    found = []
    for member in await store.transport.execute("SMEMBERS", store.keys.queues):
        with contextlib.suppress(ValueError):
            found.append(check_queue_name(store.keys.queue_name(member.decode())))
    return sorted(found)


async def count(store: Store, queue: str) -> int:
    """How many ids are in the queue."""
    return int(await store.transport.execute("LLEN", store.keys.queue(queue)))


async def job_ids(store: Store, queue: str, start: int = 0, end: int = -1) -> list[str]:
    """Ids from the front, from index `start` to `end`, both included."""
    ids = await store.transport.execute("LRANGE", store.keys.queue(queue), start, end)
    return [job_id.decode(errors="replace") for job_id in ids]


async def position(store: Store, queue: str, job_id: str) -> int | None:
    """The index of an id from the front; None when it is not in the queue."""
    index = await store.transport.execute("LPOS", store.keys.queue(queue), job_id)
    return None if index is None else int(index)


async def remove(store: Store, queue: str, job_id: str) -> int:
    """Take the first entry of an id out of the queue; returns 1, or 0 when it was not there."""
    return int(await store.transport.execute("LREM", store.keys.queue(queue), 1, job_id))


async def empty(store: Store, queue: str) -> int:
    """Delete the jobs that wait, 500 in each atomic step; returns how many entries there were."""
    emptied = 0
    while taken := await store.run("empty", [store.keys.queue(queue)], _EMPTIED_A_CALL):
        emptied += taken
    return emptied


async def forget(store: Store, queue: str) -> None:
    """Remove the queue's list and its name; the jobs that were in it stay."""
    key = store.keys.queue(queue)
    await store.transport.execute_many([("SREM", store.keys.queues, key), ("DEL", key)])
