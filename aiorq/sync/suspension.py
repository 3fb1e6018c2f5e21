"""Suspension: no worker takes a job, from any queue, until they are resumed. What runs goes on to its end.

One queue alone is paused with `queue.pause()`.
"""
# Made of aiorq/suspension.py by tests/sync/generate.py: change that one.

from __future__ import annotations

from redis import Redis

from aiorq.store import workers
from aiorq.store.blocking import drive, store_of
from aiorq.store.queues import Pause

__all__ = ["Pause", "is_suspended", "resume", "suspend"]


def suspend(connection: Redis | str | None = None, ttl: int | None = None, *, prefix: str | None = None) -> None:
    """Let no worker take a job, workers of RQ's included, until `resume`.

    Args:
        connection: a client, a URL, or None for the environment's.
        ttl: seconds, 1 and more, after which they are resumed; None for ever. Of a suspension that lasts already, it
            is counted from now.
        prefix: of all keys; None for the environment's.

    Raises:
        ValueError: a ttl that is no whole number of seconds, 1 and more.
    """
    if ttl is not None and not (type(ttl) is int and 1 <= ttl <= workers.MAX_SUSPENSION):
        raise ValueError(f"ttl must be None or whole seconds from 1 to {workers.MAX_SUSPENSION}, not {ttl!r}")
    drive(workers.suspend(store_of(connection, prefix), ttl))


def resume(connection: Redis | str | None = None, *, prefix: str | None = None) -> bool:
    """Let workers take jobs again; returns whether they were suspended."""
    return drive(workers.resume(store_of(connection, prefix)))


def is_suspended(connection: Redis | str | None = None, *, prefix: str | None = None) -> bool:
    """Whether workers are suspended."""
    return drive(workers.are_suspended(store_of(connection, prefix)))
