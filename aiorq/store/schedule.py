"""The schedules of queues: what is due, what comes next, and RQ's locks, of which one says who looks after a queue."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from aiorq.store.base import Store
from aiorq.store.replies import Value

PROMOTED_A_CALL: Final = 100
"""Entries that one atomic step looks at: about 1 ms of the server's time."""
LOCK_TTL: Final = 61
"""Seconds for which a scheduler holds its locks unless it is heard of again (RQ)."""


class Promoted(NamedTuple):
    """What a step of `promote_due` did."""

    moved: int
    """How many jobs it put on their queues, or behind their rate limits."""
    next_in: float
    """Seconds until the next job of these queues is due, by the server's clock: 0 when more are due now, `math.inf`
    when none is scheduled."""


class Due(NamedTuple):
    """A job that was scheduled is the next one of its queue."""

    queue: str
    seconds: float
    """From now."""


async def promote_due(store: Store, queues: Sequence[str], most: int = PROMOTED_A_CALL) -> Promoted:
    """Put jobs on their queues that are due: of all these queues the earliest first, in one atomic step.

    Args:
        store: where.
        queues: names; one that a scheduler of RQ's looks after is left out.
        most: how many at most.
    """
    keys: list[Value] = [store.keys.queues]
    for queue in queues:
        keys += (store.keys.registry("scheduled", queue), store.keys.queue(queue))
    moved, seconds = await store.run("promote_due", keys, most)
    return Promoted(int(moved), float(seconds or math.inf))


async def hold(store: Store, worker: str, boot: str, queues: Sequence[str], fields: Mapping[str, str | int]) -> int:
    """Hold RQ's scheduler locks of queues for `LOCK_TTL` seconds, where nobody else does; returns how many.

    Args:
        store: where.
        worker: the name of who holds them.
        boot: the text that tells its process from every other one.
        queues: names.
        fields: what is shown of it, as of a scheduler of RQ's.
    """
    locks = [store.keys.scheduler_lock(queue) for queue in queues]
    flat: list[Value] = [part for item in fields.items() for part in item]
    return int(await store.run("hold_schedules", locks, worker, boot, LOCK_TTL, *flat))


def read_due(message: bytes) -> Due:
    """Read a message of the channel `Keys.due`; what cannot be read is a job of no queue."""
    seconds, _, queue = message.partition(b" ")
    try:
        return Due(queue.decode(), float(seconds))
    except ValueError:
        return Due("", math.inf)
