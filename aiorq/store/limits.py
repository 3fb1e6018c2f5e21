"""Rate limits: the jobs that hold a slot of one, and those that wait for one."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from aiorq.store.base import Store

_STEP: Final = 200

Side: TypeAlias = Literal["allowed", "rate_limited"]
"""The jobs of a rate limit that hold a slot, or those that wait for one."""
SIDES: Final[tuple[Side, Side]] = ("rate_limited", "allowed")


async def names(store: Store) -> list[str]:
    """The keys of all rate limits in use, sorted; what is no UTF-8 is left out."""
    found = []
    for raw in await store.transport.execute("SMEMBERS", store.keys.limits):
        name = raw.decode(errors="replace")
        if name.encode() == raw:
            found.append(name)
    return sorted(found)


def key_of(store: Store, limit: str, side: Side) -> str:
    """The key of one side of a rate limit."""
    return store.keys.allowed(limit) if side == "allowed" else store.keys.limited(limit)


async def concurrency(store: Store, limit: str) -> int:
    """How many jobs may hold a slot at a time; 0 where that is not on record."""
    raw = await store.transport.execute("HGET", store.keys.limit(limit), "concurrency")
    return int(raw) if raw is not None and raw.isdigit() else 0


async def sweep(store: Store, limit: str, side: Side, cursor: bytes = b"0") -> tuple[bytes, int]:
    """Take out jobs that have no place on one side of a rate limit any more; at the end others get the free slots.

    Returns:
        the next cursor, `0` at the end, and how many ids were taken out.
    """
    keys = [key_of(store, limit, side), store.keys.limits]
    following, left = await store.run("sweep_limit", keys, limit, side, cursor, _STEP)
    return following, int(left)


async def clean(store: Store, limit: str) -> int:
    """Sweep both sides of a rate limit; returns how many ids were taken out. One that holds no job is forgotten."""
    left = 0
    for side in SIDES:
        cursor = b"0"
        while True:
            cursor, count = await sweep(store, limit, side, cursor)
            left += count
            if cursor == b"0":
                break
    return left
