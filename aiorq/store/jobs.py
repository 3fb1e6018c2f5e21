"""Jobs: putting them on queues, reading, writing and deleting them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from aiorq.errors import CorruptJobError, DuplicateJobError, InvalidJobOperation, NoSuchJobError, StoreError
from aiorq.record import decode_date
from aiorq.store.base import Store
from aiorq.store.transport import Batcher, Value

_JOBS_A_CALL: Final = 100
"""Jobs in one call of a script: enough to share the round trip, few enough to keep the server free for others."""
_BYTES_A_CALL: Final = 1024 * 1024
"""Bytes of the jobs in one call, beyond which no further job joins it: Redis refuses a call of more than 1 GiB."""

Fields = Mapping[str, bytes | int]


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that is to be put on its queue."""

    id: str
    queue: str
    fields: Fields
    ttl: int | None
    at_front: bool
    nonce: str
    """Empty for an id that was made at random for this very call; otherwise a text that no other call has."""

    @property
    def size(self) -> int:
        """About how many bytes it takes to send."""
        return sum(len(value) for value in self.fields.values() if isinstance(value, bytes))


def _cut(jobs: Sequence[NewJob]) -> int:
    """How many of these jobs, from the first, share a call of the script."""
    size = 0
    for index, job in enumerate(jobs[:_JOBS_A_CALL]):
        size += job.size
        if size > _BYTES_A_CALL:
            return max(index, 1)
    return min(len(jobs), _JOBS_A_CALL)


async def enqueue(store: Store, job: NewJob) -> datetime:
    """Put a job on its queue, atomically; calls made at the same moment travel together.

    Returns:
        the time of the enqueue, by the server's clock.

    Raises:
        DuplicateJobError: a job of that id runs.
        CorruptJobError: the key of that id holds something else; nothing was written.
        StoreError: the key of the queue holds something else; nothing was written.
        QueueFullError: the server is at its memory limit; nothing was written.
    """
    batcher = store.batchers.get("enqueue")
    if batcher is None:

        async def run(jobs: list[NewJob]) -> Sequence[datetime | BaseException]:
            return await _enqueue_batch(store, jobs)

        batcher = store.batchers["enqueue"] = Batcher(run, _cut)
    store.transport.check_loop()
    return await batcher.add(job)  # type: ignore[no-any-return]


async def enqueue_many(store: Store, jobs: Sequence[NewJob]) -> list[datetime]:
    """Put jobs on their queues, in order, up to a hundred in each atomic step.

    Raises:
        DuplicateJobError: a job of one of the ids runs; the others are enqueued.
        CorruptJobError: the key of one of the ids holds something else; the others are enqueued.
    """
    outcomes: list[datetime | BaseException] = []
    while len(outcomes) < len(jobs):
        start = len(outcomes)
        waiting = jobs[start : start + _JOBS_A_CALL]
        outcomes += await _enqueue_batch(store, waiting[: _cut(waiting)])
    times = [outcome for outcome in outcomes if isinstance(outcome, datetime)]
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return times


async def _enqueue_batch(store: Store, jobs: Sequence[NewJob]) -> Sequence[datetime | BaseException]:
    args: list[Value] = []
    for job in jobs:
        ttl: Value = "" if job.ttl is None else job.ttl
        fields = [part for item in job.fields.items() for part in item]
        args += [job.id, job.queue, job.nonce, "1" if job.at_front else "0", ttl, len(fields), *fields]
    stamp, *words = await store.run("enqueue", [store.keys.queues], *args)
    moment = decode_date(stamp.decode())

    def outcome(job: NewJob, word: bytes) -> datetime | BaseException:
        if word == b"queued" and moment is not None:
            return moment
        if word == b"running":
            return DuplicateJobError(job.id, "is running")
        if word == b"unfit":
            return CorruptJobError(job.id, "", "does not hold a hash; nothing was enqueued")
        return StoreError(f"{store.keys.queue(job.queue)!r} does not hold a list; nothing was enqueued")

    return [outcome(job, word) for job, word in zip(jobs, words, strict=True)]


async def fetch(store: Store, job_id: str) -> dict[bytes, bytes]:
    """The fields of a job.

    Raises:
        NoSuchJobError: there is none.
        CorruptJobError: its key holds something else.
    """
    fields = (await fetch_many(store, [job_id]))[0]
    if fields is None:
        raise NoSuchJobError(job_id)
    return fields


async def fetch_many(store: Store, job_ids: Sequence[str]) -> list[dict[bytes, bytes] | None]:
    """The fields of jobs, None for those that do not exist, in one round trip."""
    replies = await store.transport.try_many([("HGETALL", store.keys.job(job_id)) for job_id in job_ids])
    return [_fields(job_id, reply) or None for job_id, reply in zip(job_ids, replies, strict=True)]


def _fields(job_id: str, reply: Any) -> dict[bytes, bytes]:
    if isinstance(reply, BaseException):
        raise _as_corrupt(job_id, reply)
    if isinstance(reply, dict):  # RESP3
        return reply
    return dict(zip(reply[::2], reply[1::2], strict=True))


def _as_corrupt(job_id: str, error: BaseException) -> BaseException:
    """The error of a command on the key of a job, in the job's terms."""
    if isinstance(error, StoreError) and "WRONGTYPE" in str(error):
        corrupt = CorruptJobError(job_id, "", "does not hold a hash")
        corrupt.__cause__ = error
        return corrupt
    return error


async def exists(store: Store, job_id: str) -> bool:
    """Whether there is a job of that id."""
    return bool(await store.transport.execute("EXISTS", store.keys.job(job_id)))


async def field(store: Store, job_id: str, name: str) -> bytes | None:
    """One field of a job; None when it is unset, or there is no such job.

    Raises:
        CorruptJobError: its key holds something else.
    """
    (value,) = await store.transport.try_many([("HGET", store.keys.job(job_id), name)])
    if isinstance(value, BaseException):
        raise _as_corrupt(job_id, value)
    return value if isinstance(value, bytes) else None


async def save(store: Store, job_id: str, fields: Fields, *, create: Fields | None = None) -> bool:
    """Write these fields and no other.

    Args:
        store: where.
        job_id: of which job.
        fields: what to write; an empty `meta` is removed.
        create: what a job that does not exist has besides; None not to create one.

    Returns:
        False when the job does not exist and `create` is None.

    Raises:
        CorruptJobError: its key holds something else.
    """
    flat: list[Value] = [part for item in fields.items() for part in item]
    more: list[Value] = [part for item in (create or {}).items() for part in item]
    mode: Value = "" if create is None else len(more)
    try:
        return bool(await store.run("save", [store.keys.job(job_id)], mode, *more, *flat))
    except StoreError as error:
        raise _as_corrupt(job_id, error) from error.__cause__


async def cancel(store: Store, job_id: str, kept: int) -> None:
    """Cancel a job in whatever state it is; the process of a run is killed by its worker.

    Args:
        store: where.
        job_id: which.
        kept: seconds to keep it, where it does not say how long it is kept after a failure.

    Raises:
        NoSuchJobError: there is none.
        InvalidJobOperation: it is canceled already.
        CorruptJobError: its key holds something else.
    """
    word = await store.run("cancel", [store.keys.job(job_id)], job_id, kept, secrets.token_hex(8))
    if word == b"missing":
        raise NoSuchJobError(job_id)
    if word == b"unfit":
        raise CorruptJobError(job_id, "", "does not hold a hash")
    if word == b"canceled":
        raise InvalidJobOperation(f"job {job_id!r} cannot be canceled: it is canceled already")


async def delete(store: Store, job_ids: Sequence[str]) -> int:
    """Delete jobs in whatever state they are, each completely; returns how many there were."""
    deleted = 0
    for start in range(0, len(job_ids), _JOBS_A_CALL):
        deleted += await store.run("delete", [store.keys.queues], *job_ids[start : start + _JOBS_A_CALL])
    return deleted
