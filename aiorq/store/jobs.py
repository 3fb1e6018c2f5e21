"""Jobs: putting them on queues, reading, writing and deleting them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from aiorq.errors import (
    CorruptJobError,
    DependencyCycleError,
    DuplicateJobError,
    InvalidJobOperation,
    NoSuchJobError,
    StoreError,
)
from aiorq.record import decode_date
from aiorq.status import JobStatus
from aiorq.store.base import AnyPipeline, Store
from aiorq.store.replies import Value

_JOBS_A_CALL: Final = 100
"""Jobs in one call of a script: enough to share the round trip, few enough to keep the server free for others."""
_DEPENDENTS_A_CALL: Final = 100
"""Dependents that one call of a script looks at, some 40 us each."""
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
    parents: Sequence[str] = ()
    """Ids of the jobs that must end first."""
    allow_failure: bool = False
    """Whether it does not matter that they fail."""
    at: float | None = None
    """When it may run at the earliest, in seconds since 1970; None for now."""
    delay: float | None = None
    """Seconds from now, by the server's clock, before which it may not run; None for none."""
    limit: tuple[str, int] | None = None
    """The key of its rate limit, and how many jobs that lets through."""
    group: str = ""
    """The name of its group."""
    unique: bool = False
    """Whether it is refused if there is a job of that id."""
    run_token: str = ""
    """The execution id of its run, which begins at once in this process; empty for a job that waits for a worker."""
    lease: float = 0.0
    """Seconds that this run may take."""

    @property
    def size(self) -> int:
        """About how many bytes it takes to send."""
        return sum(len(value) for value in self.fields.values() if isinstance(value, bytes))

    @property
    def wishes(self) -> list[Value]:
        """What it asks for beyond a place in its queue, as enqueue.lua takes it."""
        wishes: list[Value] = [f"p:{parent}" for parent in self.parents]
        if self.parents and self.allow_failure:
            wishes.append("a:")
        if self.at is not None:
            wishes.append(f"t:{self.at:.6f}")
        if self.delay is not None:
            wishes.append(f"d:{self.delay:.6f}")
        if self.limit is not None:
            wishes += [f"l:{self.limit[0]}", f"c:{self.limit[1]}"]
        if self.group:
            wishes.append(f"g:{self.group}")
        if self.unique:
            wishes.append("u:")
        if self.run_token:
            wishes += [f"r:{self.run_token}", f"s:{self.lease}"]
        return wishes


@dataclass(frozen=True, slots=True)
class Placed:
    """Where an enqueue has put a job."""

    status: JobStatus
    moment: datetime
    """By the server's clock."""


def _cut(jobs: Sequence[NewJob]) -> int:
    """How many of these jobs, from the first, share a call of the script."""
    size = 0
    for index, job in enumerate(jobs[:_JOBS_A_CALL]):
        size += job.size
        if size > _BYTES_A_CALL:
            return max(index, 1)
    return min(len(jobs), _JOBS_A_CALL)


async def enqueue(store: Store, job: NewJob) -> Placed:
    """Put a job where it waits for its run, atomically; calls made at the same moment travel together.

    Raises:
        DuplicateJobError: a job of that id runs; or exists, and the new one is to be unique.
        DependencyCycleError: it would wait for a job that waits for it.
        CorruptJobError: the key of that id holds something else; nothing was written.
        StoreError: the key of the queue holds something else; nothing was written.
        QueueFullError: the server is at its memory limit; nothing was written.
    """
    batcher = store.batchers.get("enqueue")
    if batcher is None:

        async def run(jobs: list[NewJob]) -> Sequence[Placed | BaseException]:
            return await _enqueue_batch(store, jobs)

        batcher = store.batchers["enqueue"] = store.transport.batcher(run, _cut)
    store.transport.check_loop()
    return await batcher.add(job)  # type: ignore[no-any-return]


async def enqueue_many(
    store: Store, jobs: Sequence[NewJob], progress: Callable[[int], None] | None = None
) -> list[Placed]:
    """Put jobs where they wait for their runs, in order, up to a hundred in each atomic step.

    Args:
        store: where.
        jobs: which; of two that wait for each other the parent comes first.
        progress: is told after each step how many were sent.

    Raises:
        DuplicateJobError, DependencyCycleError, CorruptJobError: as `enqueue`, of one of them; the others are enqueued.
    """
    outcomes: list[Placed | BaseException] = []
    while len(outcomes) < len(jobs):
        start = len(outcomes)
        waiting = jobs[start : start + _JOBS_A_CALL]
        outcomes += await _enqueue_batch(store, waiting[: _cut(waiting)])
        if progress is not None:
            progress(len(outcomes))
    placed = [outcome for outcome in outcomes if isinstance(outcome, Placed)]
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return placed


def enqueue_into(store: Store, pipeline: AnyPipeline, jobs: Sequence[NewJob]) -> None:
    """Add the enqueue of jobs to a pipeline of the caller's; what becomes of them is among that one's replies.

    Raises:
        ValueError: a job with a rate limit: RQ does not do it either.
    """
    if any(job.limit is not None for job in jobs):
        raise ValueError("a job with a rate limit cannot be enqueued in a pipeline")
    start = 0
    while start < len(jobs):
        waiting = jobs[start : start + _JOBS_A_CALL]
        count = _cut(waiting)
        store.run_in(pipeline, "enqueue", [store.keys.queues], *_arguments(waiting[:count]))
        start += count


def _arguments(jobs: Sequence[NewJob]) -> list[Value]:
    args: list[Value] = []
    for job in jobs:
        ttl: Value = "" if job.ttl is None else job.ttl
        fields = [part for item in job.fields.items() for part in item]
        wishes = job.wishes
        front = "1" if job.at_front else "0"
        args += [job.id, job.queue, job.nonce, front, ttl, len(fields), len(wishes), *fields, *wishes]
    return args


_PLACES: Final = {
    status.value.encode(): status
    for status in (
        JobStatus.QUEUED,
        JobStatus.DEFERRED,
        JobStatus.SCHEDULED,
        JobStatus.RATE_LIMITED,
        JobStatus.STARTED,
    )
}


async def _enqueue_batch(store: Store, jobs: Sequence[NewJob]) -> Sequence[Placed | BaseException]:
    stamp, *words = await store.run("enqueue", [store.keys.queues], *_arguments(jobs))
    moment = decode_date(stamp.decode()) or datetime.now(UTC)

    def outcome(job: NewJob, word: bytes) -> Placed | BaseException:
        if word in _PLACES:
            return Placed(_PLACES[word], moment)
        if word == b"running":
            return DuplicateJobError(job.id, "is running")
        if word == b"exists":
            return DuplicateJobError(job.id, "exists already, and was to be unique")
        if word == b"cycle":
            return DependencyCycleError(job.id)
        if word == b"unfit":
            return CorruptJobError(job.id, "", "does not hold a hash; nothing was enqueued")
        unfit = f"{store.keys.queue(job.queue)!r}, or a registry of that queue, is a key of another type"
        return StoreError(f"{unfit}; nothing was enqueued")

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
    try:
        return bool(await store.run("save", [store.keys.job(job_id)], *_save_arguments(fields, create)))
    except StoreError as error:
        raise _as_corrupt(job_id, error) from error.__cause__


def save_into(
    store: Store, pipeline: AnyPipeline, job_id: str, fields: Fields, *, create: Fields | None = None
) -> None:
    """Add a `save` to a pipeline of the caller's; whether there was such a job is among that one's replies."""
    store.run_in(pipeline, "save", [store.keys.job(job_id)], *_save_arguments(fields, create))


def _save_arguments(fields: Fields, create: Fields | None) -> list[Value]:
    flat: list[Value] = [part for item in fields.items() for part in item]
    more: list[Value] = [part for item in (create or {}).items() for part in item]
    return ["" if create is None else len(more), *more, *flat]


async def cancel(
    store: Store, job_id: str, kept: int, *, enqueue_dependents: bool = False, remove_from_dependencies: bool = False
) -> dict[str, list[str]]:
    """Cancel a job in whatever state it is; the process of a run is killed by its worker.

    Args:
        store: where.
        job_id: which.
        kept: seconds to keep it, where it does not say how long it is kept after a failure.
        enqueue_dependents: enqueue what waits for it, as if it had finished.
        remove_from_dependencies: take it out of the sets of those that wait for its parents.

    Returns:
        the ids of the jobs that were enqueued, by queue.

    Raises:
        NoSuchJobError: there is none.
        InvalidJobOperation: it is canceled already.
        CorruptJobError: its key holds something else.
    """
    args = _cancel_arguments(job_id, kept, enqueue_dependents, remove_from_dependencies)
    word, *pairs = await store.run("cancel", [store.keys.job(job_id)], *args)
    if word == b"missing":
        raise NoSuchJobError(job_id)
    if word == b"unfit":
        raise CorruptJobError(job_id, "", "does not hold a hash")
    if word == b"canceled":
        raise InvalidJobOperation(f"job {job_id!r} cannot be canceled: it is canceled already")
    if enqueue_dependents:
        pairs += await enqueue_dependents_of(store, job_id)
    enqueued: dict[str, list[str]] = {}
    for queue, dependent in zip(pairs[::2], pairs[1::2], strict=True):
        enqueued.setdefault(queue.decode(), []).append(dependent.decode())
    return enqueued


def cancel_into(
    store: Store,
    pipeline: AnyPipeline,
    job_id: str,
    kept: int,
    enqueue_dependents: bool,
    remove_from_dependencies: bool,
) -> None:
    """Add a cancel to a pipeline of the caller's; the answer is among that one's replies."""
    args = _cancel_arguments(job_id, kept, enqueue_dependents, remove_from_dependencies)
    store.run_in(pipeline, "cancel", [store.keys.job(job_id)], *args)


def _cancel_arguments(job_id: str, kept: int, enqueue_dependents: bool, remove: bool) -> list[Value]:
    return [job_id, kept, secrets.token_hex(8), "1" if enqueue_dependents else "0", "1" if remove else "0"]


async def requeue(store: Store, job_id: str, kind: str, at_front: bool = False) -> Placed:
    """Put a job that has ended back on its queue.

    Args:
        store: where.
        job_id: which.
        kind: the registry that it must be in: `failed`, `finished`, `canceled`, `deferred` or `scheduled`.
        at_front: put it at the front.

    Raises:
        NoSuchJobError: there is none.
        InvalidJobOperation: it is not in that registry.
        CorruptJobError: its key holds something else.
        QueueFullError: the server is at its memory limit; nothing was written.
    """
    args = (job_id, kind, "1" if at_front else "0", secrets.token_hex(8))
    word, *rest = await store.run("requeue", [store.keys.job(job_id)], *args)
    if word == b"missing":
        raise NoSuchJobError(job_id)
    if word == b"unfit":
        raise CorruptJobError(job_id, "", "does not hold a hash")
    if word == b"elsewhere":
        raise InvalidJobOperation(f"job {job_id!r} cannot be requeued: it is not among the {kind} jobs of its queue")
    return Placed(_PLACES[word], decode_date(rest[0].decode()) or datetime.now(UTC))


async def enqueue_dependents_of(store: Store, job_id: str) -> list[bytes]:
    """Enqueue what waits for a job that has ended and had more dependents than one step looks at.

    Returns:
        queue and id of each job that was enqueued, in turn.
    """
    enqueued: list[bytes] = []
    for part in await store.transport.execute("HKEYS", store.keys.ended_parents):
        if part.partition(b":")[0] == job_id.encode():
            enqueued += await enqueue_dependents(store, part.decode())
    return enqueued


async def enqueue_dependents(store: Store, part: str) -> list[bytes]:
    """Enqueue what is left of the dependents of a job that has ended, some in each atomic step.

    Args:
        store: where.
        part: which, in the words of enqueue_dependents.lua.

    Returns:
        queue and id of each job that was enqueued, in turn.
    """
    enqueued: list[bytes] = []
    more = 1
    while more:
        more, *pairs = await store.run("enqueue_dependents", [store.keys.ended_parents], part, _DEPENDENTS_A_CALL)
        enqueued += pairs
    return enqueued


async def delete(store: Store, job_ids: Sequence[str], *, with_dependents: bool = False) -> int:
    """Delete jobs in whatever state they are, each completely; returns how many there were.

    Args:
        store: where.
        job_ids: which.
        with_dependents: delete also the jobs that wait for them, and those that wait for these; they go first, so that
            none of them is enqueued because its parent is gone.
    """
    doomed = await _with_dependents(store, job_ids) if with_dependents else list(job_ids)
    deleted = 0
    for start in range(0, len(doomed), _JOBS_A_CALL):
        deleted += await store.run("delete", [store.keys.queues], *doomed[start : start + _JOBS_A_CALL])
    return deleted


def delete_into(store: Store, pipeline: AnyPipeline, job_id: str) -> None:
    """Add a deletion to a pipeline of the caller's."""
    store.run_in(pipeline, "delete", [store.keys.queues], job_id)


async def delete_all_into(store: Store, pipeline: AnyPipeline, job_ids: Sequence[str]) -> None:
    """Add to a pipeline the deletion of jobs, and of those that wait for them now, which go first."""
    for job_id in await _with_dependents(store, job_ids):
        delete_into(store, pipeline, job_id)


async def _with_dependents(store: Store, job_ids: Sequence[str]) -> list[str]:
    found = dict.fromkeys(job_ids)
    level = list(found)
    while level:
        below = await dependents(store, level)
        level = [job_id for job_id in dict.fromkeys(below) if job_id not in found]
        found.update(dict.fromkeys(level))
    return list(found)[::-1]


async def dependents(store: Store, job_ids: Sequence[str]) -> list[str]:
    """The ids of the jobs that are named as waiting for these."""
    return await _members(store, [store.keys.dependents(job_id) for job_id in job_ids])


async def forget_dependents(store: Store, job_id: str, dependent_ids: Sequence[str]) -> None:
    """Take ids out of what is named as waiting for a job."""
    if dependent_ids:
        await store.transport.execute("SREM", store.keys.dependents(job_id), *dependent_ids)


async def dependencies(store: Store, job_id: str) -> list[str]:
    """The ids of the jobs that this one waits for, or waited for when it was enqueued."""
    return await _members(store, [store.keys.dependencies(job_id)])


async def _members(store: Store, keys: Sequence[str]) -> list[str]:
    replies = await store.transport.execute_many([("SMEMBERS", key) for key in keys])
    return [member.decode() for reply in replies for member in sorted(reply)]


async def attempts(store: Store, job_id: str) -> list[dict[str, Any]]:
    """The attempts of a job that were followed by another one, in order, as note_attempt in Lua writes them."""
    return [json.loads(entry) for entry in await store.transport.execute("LRANGE", store.keys.attempts(job_id), 0, -1)]
