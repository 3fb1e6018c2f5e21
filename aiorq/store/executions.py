"""Executions: what is on the books of each run while it goes on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from aiorq.errors import CorruptJobError, StoreError
from aiorq.store.base import Store

RunId: TypeAlias = tuple[str, str]
"""The id of a job and that of one of its executions."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The hash of an execution."""

    created_at: datetime
    last_heartbeat: datetime
    worker_name: str


async def fetch_many(store: Store, runs: Sequence[RunId]) -> list[Entry | CorruptJobError | None]:
    """What is on the books of these executions, in one round trip.

    Returns:
        for each of them None when it is not there (any more), and an error when it cannot be read.
    """
    commands = [("HGETALL", store.keys.execution(job_id, token)) for job_id, token in runs]
    replies = await store.transport.try_many(commands)
    return [_entry(run, reply) for run, reply in zip(runs, replies, strict=True)]


async def of_worker(store: Store, worker: str) -> list[RunId]:
    """The executions of a worker, as its books say; some may have ended just now."""
    members = await store.transport.execute("SMEMBERS", store.keys.worker_executions(worker))
    return sorted(run for run in map(split, members) if run is not None)


async def count_of_worker(store: Store, worker: str) -> int:
    """How many executions a worker has."""
    return int(await store.transport.execute("SCARD", store.keys.worker_executions(worker)))


def split(member: bytes) -> RunId | None:
    """Job and execution of a member `<job id>:<execution id>`; None when it is none."""
    job_id, colon, token = member.decode(errors="replace").partition(":")
    return (job_id, token) if colon and job_id and token else None


def _entry(run: RunId, reply: Any) -> Entry | CorruptJobError | None:
    job_id, token = run
    if isinstance(reply, BaseException):
        if isinstance(reply, StoreError) and "WRONGTYPE" in str(reply):
            return CorruptJobError(job_id, "", f"of execution {token!r} does not hold a hash")
        raise reply
    fields: dict[bytes, bytes] = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
    if not fields:
        return None
    try:
        created_at, last_heartbeat = (_moment(fields, name) for name in (b"created_at", b"last_heartbeat"))
    except ValueError as error:
        return CorruptJobError(job_id, str(error), f"of execution {token!r} is no time")
    return Entry(created_at, last_heartbeat, fields.get(b"worker_name", b"").decode(errors="replace"))


def _moment(fields: dict[bytes, bytes], name: bytes) -> datetime:
    try:
        seconds = float(fields[name])
        if not math.isfinite(seconds):
            raise OverflowError
        return datetime.fromtimestamp(seconds, UTC)
    except (KeyError, ValueError, OverflowError, OSError):
        raise ValueError(name.decode()) from None
