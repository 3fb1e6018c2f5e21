"""What the tests of applications ask of Redis, below prefixes of their own: their clock, and all that was enqueued."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import NamedTuple

from aiorq.keys import TEST_PREFIX, is_for_tests
from aiorq.store.base import Store


class Found(NamedTuple):
    """A job as a look found it."""

    job_id: str
    fields: Mapping[bytes, bytes]
    due: float | None
    """When it is to be enqueued, in seconds since 1970; None unless that is what it waits for."""


async def move_clock(store: Store, seconds: float, *, stands: bool = False) -> float:
    """Move the time of a test.

    Args:
        store: where; its prefix must begin with `keys.TEST_PREFIX`.
        seconds: how far; 0 for a look at it, negative for back.
        stands: whether time stands still from then on.

    Returns:
        the time then, in seconds since 1970.

    Raises:
        ValueError: the prefix is another one: below it time is the server's.
    """
    if not is_for_tests(store.keys.prefix):
        raise ValueError(
            f"only a prefix that begins with {TEST_PREFIX!r} has a clock that can be moved, not {store.keys.prefix!r}"
        )
    keys = [store.keys.clock, store.keys.queues]
    return float(await store.run("move_clock", keys, seconds, "1" if stands else "0", secrets.token_hex(8)))


async def all_jobs(store: Store) -> list[Found]:
    """Every job below the prefix, in whatever state, in no order."""
    head = store.keys.job("")
    names: set[bytes] = set()
    cursor = b"0"
    while True:
        cursor, page = await store.transport.execute("SCAN", cursor, "MATCH", f"{head}*", "COUNT", 1000)
        # What belongs to a job has a name with one more colon.
        names.update(name for name in page if b":" not in name[len(head) :])
        if int(cursor) == 0:
            break
    raw = await store.transport.try_many([("HGETALL", name) for name in names])
    found = []
    for name, reply in zip(names, raw, strict=True):
        if isinstance(reply, BaseException) or not reply:  # of another type, or gone meanwhile
            continue
        fields = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
        found.append((name[len(head) :].decode(errors="replace"), fields))
    asking = [_due(store, job_id, fields) for job_id, fields in found]
    scores = iter(await store.transport.try_many([command for command in asking if command]))
    return [
        Found(job_id, fields, _moment(next(scores)) if command else None)
        for (job_id, fields), command in zip(found, asking, strict=True)
    ]


def _due(store: Store, job_id: str, fields: Mapping[bytes, bytes]) -> tuple[str, ...]:
    """What to ask for the time that a job waits for; nothing for one that waits for none."""
    if fields.get(b"status") == b"scheduled":
        queue = fields.get(b"origin", b"").decode(errors="replace")
        return "ZSCORE", store.keys.registry("scheduled", queue), job_id
    return ("HGET", store.keys.job(job_id), "aiorq_at") if fields.get(b"status") == b"deferred" else ()


def _moment(reply: object) -> float | None:
    return float(reply) if isinstance(reply, (bytes, float)) else None
