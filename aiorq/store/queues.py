"""Queues: what waits in them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from aiorq.keys import check_queue_name
from aiorq.record import decode_date
from aiorq.store.base import AnyPipeline, Store

_EMPTIED_A_CALL: Final = 500
_COMPACTED_A_CALL: Final = 500


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


def remove_into(store: Store, pipeline: AnyPipeline, queue: str, job_id: str) -> None:
    """Add a `remove` to a pipeline of the caller's; the answer is among that one's replies."""
    commands: Any = pipeline  # whose methods only add to it
    commands.lrem(store.keys.queue(queue), 1, job_id)


async def empty(store: Store, queue: str, progress: Callable[[int], None] | None = None) -> int:
    """Delete the jobs that wait, 500 in each atomic step; returns how many entries there were.

    What comes to the queue meanwhile is spared: among it are jobs that had waited for those, or for their rate limit.
    `progress` is told after each step how many entries it took.
    """
    waiting, emptied = await count(store, queue), 0
    while emptied < waiting:
        taken = await store.run("empty", [store.keys.queue(queue)], min(_EMPTIED_A_CALL, waiting - emptied))
        if not taken:
            break
        emptied += taken
        if progress is not None:
            progress(taken)
    return emptied


async def forget(store: Store, queue: str) -> None:
    """Remove the queue's list and its name; the jobs that were in it stay."""
    key = store.keys.queue(queue)
    await store.transport.execute_many([("SREM", store.keys.queues, key), ("DEL", key)])


async def compact(store: Store, queue: str) -> int:
    """Take ids out of the list whose job is gone, so many in each atomic step; returns how many."""
    dropped = start = 0
    while ids := await store.transport.execute("LRANGE", store.keys.queue(queue), start, start + _COMPACTED_A_CALL - 1):
        gone = int(await store.run("compact", [store.keys.queue(queue)], *ids))
        dropped += gone
        start += len(ids) - gone
    return dropped


async def scheduler_pid(store: Store, queue: str) -> int | None:
    """The process id of who has RQ's scheduler lock of a queue, a worker or a scheduler of RQ's; None for nobody."""
    name = await store.transport.execute("GET", store.keys.scheduler_lock(queue))
    pid = name and await store.transport.execute("HGET", store.keys.scheduler(name.decode(errors="replace")), "pid")
    return int(pid) if pid and pid.isdigit() else None


@dataclass(frozen=True, slots=True)
class Pause:
    """Why no worker takes jobs from a queue, and since when."""

    reason: str
    since: datetime | None
    """By the server's clock; None where it cannot be read."""


async def pause(store: Store, queue: str, reason: str) -> Pause:
    """Let no worker take jobs from a queue. One that is paused already stays so since then, with the new reason."""
    return read_pause(await store.run("pause", [store.keys.paused], queue, reason))


async def resume(store: Store, queue: str) -> bool:
    """Let workers take jobs from a queue again; returns whether it was paused."""
    return bool(await store.transport.execute("HDEL", store.keys.paused, queue))


async def paused(store: Store, queue: str) -> Pause | None:
    """Why and since when a queue is paused; None when it is not."""
    raw = await store.transport.execute("HGET", store.keys.paused, queue)
    return None if raw is None else read_pause(raw)


def read_pause(raw: bytes) -> Pause:
    """Why and since when, from what is on record; whatever stands there, the queue is paused."""
    try:
        record = json.loads(raw)
        return Pause(str(record["reason"]), decode_date(str(record["since"])))
    except (ValueError, TypeError, KeyError, RecursionError):
        return Pause("", None)
