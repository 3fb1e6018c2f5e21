"""Outcomes of jobs, in RQ's stream of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiorq.store.base import Store
from aiorq.store.waiting import waiter_of

_RETRIED: Final = b"4"  # the type of an outcome that asked for the job to be tried again


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the stream: its id (milliseconds and a number) and its fields."""

    id: str
    fields: Mapping[bytes, bytes]


def _entry(raw: tuple[bytes, list[bytes]]) -> Entry:
    entry_id, flat = raw
    return Entry(entry_id.decode(), dict(zip(flat[::2], flat[1::2], strict=True)))


async def latest(store: Store, job_id: str) -> Entry | None:
    """The newest outcome, or None."""
    entries = await store.transport.execute("XREVRANGE", store.keys.results(job_id), "+", "-", "COUNT", 1)
    return _entry(entries[0]) if entries else None


async def all_of(store: Store, job_id: str) -> list[Entry]:
    """All outcomes that are kept (ten), newest first."""
    return [_entry(raw) for raw in await store.transport.execute("XREVRANGE", store.keys.results(job_id), "+", "-")]


async def count(store: Store, job_id: str) -> int:
    """How many outcomes are kept."""
    return int(await store.transport.execute("XLEN", store.keys.results(job_id)))


async def delete_all(store: Store, job_id: str) -> None:
    """Forget the outcomes."""
    await store.transport.execute("DEL", store.keys.results(job_id))


async def wait(store: Store, job_id: str, seconds: float) -> Entry | None:
    """The newest outcome; where there is none yet, the first that comes within `seconds`, or None.

    An outcome after which the job is tried again does not count. All waits on one store share a connection; nothing
    polls.
    """
    raw = await waiter_of(store).wait(store.keys.results(job_id), seconds, _is_final)
    return None if raw is None else _entry(raw)


def _is_final(fields: Sequence[bytes]) -> bool:
    place = fields.index(b"type") if b"type" in fields else len(fields)
    return fields[place + 1 : place + 2] != [_RETRIED]
