"""Groups: sets of jobs with a name, which last as long as one of their jobs is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final

from aiorq.status import JobStatus
from aiorq.store.base import AnyPipeline, Store

_STEP: Final = 200
_PAGE: Final = 2_000


async def names(store: Store) -> list[str]:
    """The names of all groups, sorted; what is no UTF-8 is left out. Some may have lost their last job just now."""
    found = []
    for raw in await store.transport.execute("SMEMBERS", store.keys.groups):
        name = raw.decode(errors="replace")
        if name.encode() == raw:
            found.append(name)
    return sorted(found)


async def existing(store: Store, groups: list[str]) -> list[str]:
    """Those of these groups that exist."""
    replies = await store.transport.execute_many([("EXISTS", store.keys.group(name)) for name in groups])
    return [name for name, there in zip(groups, replies, strict=True) if there]


async def count(store: Store, group: str) -> int:
    """How many ids a group has."""
    return int(await store.transport.execute("SCARD", store.keys.group(group)))


async def pages(store: Store, group: str) -> AsyncIterator[list[str]]:
    """The ids of a group, in no order, some thousand in each answer; each of them once."""
    cursor = b"0"
    seen: set[str] = set()
    while True:
        cursor, page = await store.transport.execute("SSCAN", store.keys.group(group), cursor, "COUNT", _PAGE)
        new = [job_id for job_id in (raw.decode(errors="replace") for raw in page) if job_id not in seen]
        seen.update(new)
        if new:
            yield list(dict.fromkeys(new))
        if int(cursor) == 0:
            return


async def ids(store: Store, group: str) -> list[str]:
    """All ids of a group, in no order."""
    return [job_id async for page in pages(store, group) for job_id in page]


async def tally(store: Store, group: str) -> dict[JobStatus, int]:
    """How many jobs of a group are in each state; nothing of the jobs but that is read.

    Jobs that are gone do not count, nor do those whose state is none.
    """
    counts: Counter[JobStatus] = Counter()
    words = {status.value.encode(): status for status in JobStatus}
    cursor = b"0"
    while True:
        cursor, *flat = await store.run("tally", [store.keys.group(group)], cursor, _PAGE)
        for word, number in zip(flat[::2], flat[1::2], strict=True):
            if word in words:
                counts[words[word]] += number
        if cursor == b"0":
            return {status: counts[status] for status in JobStatus if counts[status]}


async def remove(store: Store, group: str, job_id: str) -> int:
    """Take a job out of a group; returns 1, or 0 when it was not in it."""
    return int(await store.transport.execute("SREM", store.keys.group(group), job_id))


def remove_into(store: Store, pipeline: AnyPipeline, group: str, job_id: str) -> None:
    """Add a `remove` to a pipeline of the caller's; the answer is among that one's replies."""
    commands: Any = pipeline  # whose methods only add to it
    commands.srem(store.keys.group(group), job_id)


async def sweep(store: Store, group: str, cursor: bytes = b"0") -> tuple[bytes, int]:
    """Take out jobs that are gone, 200 looked at; returns the next cursor, `0` at the end, and how many those were."""
    keys = [store.keys.group(group), store.keys.groups]
    following, left = await store.run("sweep_group", keys, group, cursor, _STEP)
    return following, int(left)


async def clean(store: Store, group: str) -> int:
    """Take out all jobs that are gone; returns how many those were. A group without jobs is forgotten."""
    cursor, left = b"0", 0
    while True:
        cursor, count = await sweep(store, group, cursor)
        left += count
        if cursor == b"0":
            return left
