"""Jobs: putting them on queues, reading, writing and deleting them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiorq.errors import CorruptJobError, DuplicateJobError, NoSuchJobError, StoreError
from aiorq.record import decode_date
from aiorq.store.base import Store
from aiorq.store.transport import Batcher, Value

_JOBS_A_CALL: Final = 100
"""Jobs in one call of a script: enough to share the round trip, few enough to keep the server free for others."""

Fields = Mapping[str, str | bytes | int]


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


async def enqueue(store: Store, job: NewJob) -> datetime:
    """Put a job on its queue, atomically; calls made at the same moment travel together.

    Returns:
        the time of the enqueue, by the server's clock.

    Raises:
        DuplicateJobError: a job of that id runs.
        QueueFullError: the server is at its memory limit; nothing was written.
    """
    batcher = store.batchers.get("enqueue")
    if batcher is None:

        async def run(jobs: list[NewJob]) -> Sequence[datetime | BaseException]:
            return await _enqueue_batch(store, jobs)

        batcher = store.batchers["enqueue"] = Batcher(run, _JOBS_A_CALL)
    store.transport.check_loop()
    return await batcher.add(job)  # type: ignore[no-any-return]


async def enqueue_many(store: Store, jobs: Sequence[NewJob]) -> list[datetime]:
    """Put jobs on their queues, in order, a hundred in each atomic step.

    Raises:
        DuplicateJobError: a job of one of the ids runs; the others are enqueued.
    """
    times: list[datetime] = []
    failure: BaseException | None = None
    for start in range(0, len(jobs), _JOBS_A_CALL):
        for outcome in await _enqueue_batch(store, jobs[start : start + _JOBS_A_CALL]):
            if isinstance(outcome, BaseException):
                failure = failure or outcome
            else:
                times.append(outcome)
    if failure is not None:
        raise failure
    return times


async def _enqueue_batch(store: Store, jobs: Sequence[NewJob]) -> Sequence[datetime | BaseException]:
    args: list[Value] = []
    for job in jobs:
        ttl: Value = "" if job.ttl is None else job.ttl
        fields = [part for item in job.fields.items() for part in item]
        args += [job.id, job.queue, job.nonce, "1" if job.at_front else "0", ttl, len(fields), *fields]
    stamp, *words = await store.run("enqueue", [store.keys.queues], *args)
    moment = decode_date(stamp.decode())
    assert moment is not None
    return [
        moment if word == b"queued" else DuplicateJobError(job.id, "is running")
        for job, word in zip(jobs, words, strict=True)
    ]


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
    commands = [("HGETALL", store.keys.job(job_id)) for job_id in job_ids]
    try:
        replies = await store.transport.execute_many(commands)
    except StoreError as error:
        if "WRONGTYPE" not in str(error):
            raise
        culprit = job_ids[0] if len(job_ids) == 1 else ""
        raise CorruptJobError(culprit, "", "does not hold a hash") from error
    return [_fields(reply) or None for reply in replies]


def _fields(reply: object) -> dict[bytes, bytes]:
    if isinstance(reply, dict):  # RESP3
        return reply
    assert isinstance(reply, list)
    return dict(zip(reply[::2], reply[1::2], strict=True))


async def exists(store: Store, job_id: str) -> bool:
    """Whether there is a job of that id."""
    return bool(await store.transport.execute("EXISTS", store.keys.job(job_id)))


async def field(store: Store, job_id: str, name: str) -> bytes | None:
    """One field of a job; None when it is unset, or there is no such job."""
    value = await store.transport.execute("HGET", store.keys.job(job_id), name)
    return value if isinstance(value, bytes) else None


async def save(store: Store, job_id: str, fields: Fields, *, create: bool = False) -> bool:
    """Write these fields and no other; False when the job does not exist and `create` is not set."""
    flat: list[Value] = [part for item in fields.items() for part in item]
    return bool(await store.run("save", [store.keys.job(job_id)], "1" if create else "0", *flat))


async def delete(store: Store, job_ids: Sequence[str]) -> int:
    """Delete jobs in whatever state they are, each completely; returns how many there were."""
    deleted = 0
    for start in range(0, len(job_ids), _JOBS_A_CALL):
        deleted += await store.run("delete", [store.keys.queues], *job_ids[start : start + _JOBS_A_CALL])
    return deleted
