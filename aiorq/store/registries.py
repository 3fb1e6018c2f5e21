"""Registries: the sorted sets that list the jobs of a queue by their state, and what keeps them clean.

Looking at one changes nothing: what has expired is left out by its score. Only `clean` and `sweep` take entries out, a
bounded number in each step, and they remove none that stands for a job somebody could still ask for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from aiorq.store.base import AnyPipeline, Store
from aiorq.store.replies import Value

Shown: TypeAlias = Literal["all", "live", "expired"]
"""Entries to look at: all, those that have not expired, or those that have."""
STALE: Final = {
    "finished": "expired",
    "failed": "expired",
    "deferred": "deferred",
    "ready": "gone",
    "scheduled": "gone",
    "canceled": "canceled",
}
"""What has no place in a registry of that kind any more, in the words of sweep.lua; no run is taken out here."""
_PAGE: Final = 5_000
"""Entries in one answer: 2 ms of the server's time."""
_STEP: Final = 200
"""Entries that one step of a sweep looks at: 0.6 ms of the server's time where all of them leave."""
_DEFERRED_STEP: Final = 50
"""The same of jobs that wait for others, each of which are looked at."""
_LAST: Final = 253_402_300_799.0
"""The last second of the year 9999; what is kept beyond it is kept for ever."""


class Page(NamedTuple):
    """A part of a registry."""

    moment: float
    """What counted as now, in seconds since 1970."""
    size: int
    """How many entries there are in all."""
    first: int
    """The index of the first one of the page."""
    members: list[bytes]


async def browse(
    store: Store,
    key: str,
    start: int,
    end: int,
    *,
    shown: Shown = "all",
    desc: bool = False,
    moment: float | None = None,
) -> Page:
    """The entries from index `start` to `end`, both included, in one answer; negative indices count from the end.

    Args:
        store: where.
        key: of a sorted set.
        start: the first index.
        end: the last index.
        shown: which entries there are at all.
        desc: last ones first.
        moment: what counts as now, in seconds since 1970; None for the server's time.
    """
    now: Value = "" if moment is None else repr(moment)
    reply = await store.run("browse", [key], shown, start, end, int(desc), now)
    return Page(float(reply[0]), int(reply[1]), int(reply[2]), reply[3:])


async def count(store: Store, key: str, *, shown: Shown = "all") -> int:
    """How many entries there are."""
    return (await browse(store, key, 1, 0, shown=shown)).size


async def pages(
    store: Store,
    key: str,
    start: int = 0,
    end: int = -1,
    *,
    shown: Shown = "all",
    desc: bool = False,
    moment: float | None = None,
) -> AsyncIterator[list[str]]:
    """The entries from index `start` to `end`, 5,000 in each answer; parameters as for `browse`.

    What counts as now is the same for all pages, so that what expires meanwhile moves nothing.
    """
    until = start + _PAGE - 1 if start >= 0 else min(start + _PAGE - 1, -1)
    if (start < 0) == (end < 0):
        until = min(until, end)
    page = await browse(store, key, start, until, shown=shown, desc=desc, moment=moment)
    last = min(end if end >= 0 else page.size + end, page.size - 1)
    index, members = page.first, page.members
    while index <= last:
        if members:
            yield [as_text(member) for member in members[: last - index + 1]]
        index += len(members)
        if index > last:
            return
        until = min(index + _PAGE - 1, last)
        members = (await browse(store, key, index, until, shown=shown, desc=desc, moment=page.moment)).members
        if not members:  # the registry has become shorter meanwhile
            return


async def members(
    store: Store,
    key: str,
    start: int = 0,
    end: int = -1,
    *,
    shown: Shown = "all",
    desc: bool = False,
    moment: float | None = None,
) -> list[str]:
    """As `pages`, all in one list."""
    found: list[str] = []
    async for page in pages(store, key, start, end, shown=shown, desc=desc, moment=moment):
        found += page
    return found


async def score(store: Store, key: str, member: str) -> float | None:
    """The score of an entry; None when it is not there."""
    found = await store.transport.execute("ZSCORE", key, member)
    return None if found is None else float(found)


async def runs_of(store: Store, key: str, job_id: str) -> list[str]:
    """The entries `<job id>:<execution id>` of a job in the registry of what runs; more than one only by RQ's doing.

    It is looked for page by page, since what else lists the runs of a job expires before their entries do.
    """
    found: set[str] = set()
    cursor = b"0"
    while True:
        cursor, page = await store.transport.execute("ZSCAN", key, cursor, "MATCH", f"{job_id}*", "COUNT", _PAGE)
        found |= {member for member in map(as_text, page[::2]) if member.partition(":")[0] == job_id}
        if int(cursor) == 0:
            return sorted(found)


async def server_time(store: Store) -> float:
    """The time of the server, in seconds since 1970."""
    seconds, micros = await store.transport.execute("TIME")
    return int(seconds) + int(micros) / 1_000_000


async def add(store: Store, key: str, job_id: str, score: float | str) -> int:
    """List a job, or give its entry another score; returns 1 when it was not listed before, else 0."""
    return int(await store.transport.execute("ZADD", key, score if isinstance(score, str) else repr(score), job_id))


async def list_failed(store: Store, key: str, job_id: str, ttl: int) -> int:
    """List a job among the failed ones of a queue; one that neither waits nor runs is kept as long, all in one step.

    Args:
        store: where.
        key: of that registry.
        job_id: which.
        ttl: seconds from now; negative for ever.

    Returns:
        1, or 0 when it was listed before and has another score now.
    """
    return int(await store.run("list_failed", [key, store.keys.job(job_id)], job_id, ttl))


async def remove(store: Store, key: str, member: str) -> int:
    """Take an entry out; returns 1, or 0 when it was not there."""
    return int(await store.transport.execute("ZREM", key, member))


def remove_into(pipeline: AnyPipeline, key: str, member: str) -> None:
    """Add a `remove` to a pipeline of the caller's; the answer is among that one's replies."""
    commands: Any = pipeline  # whose methods only add to it
    commands.zrem(key, member)


async def clean(store: Store, key: str, stale: str, moment: float | None = None) -> int:
    """Take out what has no place in a registry any more, in steps that are atomic; returns how many entries have left.

    Args:
        store: where.
        key: of the registry.
        stale: what has no place there, as in `STALE`.
        moment: what counts as now, in seconds since 1970; None for the server's time.
    """
    cursor, left = b"0", 0
    while True:
        cursor, count = await sweep(store, key, stale, cursor, moment)
        left += count
        if cursor == b"0":
            return left


async def sweep(
    store: Store, key: str, stale: str, cursor: bytes = b"0", moment: float | None = None
) -> tuple[bytes, int]:
    """One step of `clean` from `cursor` on; returns the next one, `0` at the end, and how many entries have left."""
    now: Value = "" if moment is None else repr(moment)
    step = _DEFERRED_STEP if stale == "deferred" else _STEP
    following, left = await store.run("sweep", [key], stale, cursor, step, now)
    return following, int(left)


def as_text(raw: bytes) -> str:
    """An entry as text; what is no UTF-8 is no id either."""
    return raw.decode(errors="replace")


def as_moment(score: float) -> datetime | None:
    """The moment of a score; None for ever."""
    return datetime.fromtimestamp(score, UTC) if 0 <= score <= _LAST else None
