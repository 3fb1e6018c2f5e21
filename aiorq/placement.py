"""What an enqueue says of a job: where it is to go, when, in what order; no I/O."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from graphlib import CycleError, TopologicalSorter
from typing import Final, TypeVar
from uuid import uuid4

from aiorq.callback import DEFAULT_TIMEOUT as CALLBACK_TIMEOUT
from aiorq.errors import DependencyCycleError
from aiorq.options import DEFAULT_TIMEOUT, JobOptions
from aiorq.record import JobRecord
from aiorq.seconds import MAX_SECONDS
from aiorq.status import JobStatus
from aiorq.store.base import Store
from aiorq.store.jobs import NewJob, Placed

J = TypeVar("J", bound="PlacedJob")
_LATEST: Final = 7_258_118_400.0  # 2200-01-01
_RUN: Final = ("started_at", "ended_at", "last_heartbeat", "worker_name")  # the fields that runs write
STATE: Final = ("status", "origin", "enqueued_at", *_RUN)
"""The fields that only a change of state writes."""


class PlacedJob(JobRecord):
    """A job's attributes, and what an enqueue does to them."""

    def __init__(self, id: str | None = None, serializer: object | None = None) -> None:  # noqa: A002 - RQ's name
        """As `JobRecord`."""
        super().__init__(id, serializer)
        self.has_fresh_id: bool = id is None
        """The id was made at random by this object and was not sent to Redis yet."""

    @property
    def store(self) -> Store:
        """Where the job lives."""
        raise NotImplementedError

    def mark_placed(self, queue: str, placed: Placed) -> None:
        """Note where an enqueue has put the job, for a new life."""
        self.origin = queue
        self.status = placed.status
        self.enqueued_at = placed.moment if placed.status in (JobStatus.QUEUED, JobStatus.STARTED) else None
        self.started_at = self.ended_at = self.last_heartbeat = self.worker_name = None
        self.attempts_before = None
        self.has_fresh_id = False

    def fields_to_enqueue(self, queue: str) -> dict[str, bytes | int]:
        """The fields that an enqueue writes, nothing of an old life among them; the script adds `status` and the time.

        Raises:
            SerializationError: an attribute was set to what the field cannot hold.
        """
        fields = self.encode()
        del fields["status"]
        fields.pop("enqueued_at", None)
        fields.update(dict.fromkeys(_RUN, b""), origin=queue.encode())
        return fields


def new_job(
    job: PlacedJob, queue: str, *, at_front: bool, unique: bool, when: datetime | timedelta | None, runs_here: bool
) -> NewJob:
    """Describe a job for the store.

    Args:
        job: which.
        queue: the name of its queue.
        at_front: put it at the front.
        unique: refuse it if there is a job of its id.
        when: the moment, or the time from now, before which it may not run; None for now.
        runs_here: whether the process that enqueues it runs it, at once where `when` does not say otherwise.

    Raises:
        ValueError, TypeError: a moment out of range; a rate limit of a job that runs here.
        SerializationError: an attribute was set to what its field cannot hold.
    """
    limit = None
    if job.rate_limit_key is not None:
        limit = job.rate_limit_key, job.rate_limit_concurrency or 1
        if runs_here:
            raise ValueError("a rate limit does not go with a queue whose jobs run at once (is_async=False)")
    at, delay = _moment_of(when)
    if at_front and (when is not None or limit is not None):
        job.enqueue_at_front = True
    at_once = runs_here and when is None
    return NewJob(
        job.id,
        queue,
        job.fields_to_enqueue(queue),
        job.ttl,
        at_front,
        "" if job.has_fresh_id else secrets.token_hex(8),
        parents=job.dependency_ids,
        allow_failure=bool(job.allow_dependency_failures),
        at=at,
        delay=delay,
        limit=limit,
        group=job.group_id or "",
        unique=unique,
        run_token=uuid4().hex if at_once else "",
        lease=_lease_of(job) if at_once else 0.0,
    )


def _moment_of(when: datetime | timedelta | None) -> tuple[float | None, float | None]:
    """Seconds since 1970, or seconds from now."""
    if when is None:
        return None, None
    if isinstance(when, timedelta):
        seconds = when.total_seconds()
        if seconds > MAX_SECONDS:
            raise ValueError(f"time_delta: {when} is more than a hundred years")
        return None, max(0.0, seconds)
    if not isinstance(when, datetime):
        raise TypeError(f"expected a datetime or a timedelta, not {type(when).__name__}")
    try:
        seconds = when.timestamp()
    except (OverflowError, ValueError, OSError):
        raise ValueError(f"datetime: {when} is out of range") from None
    if seconds > _LATEST:
        raise ValueError(f"datetime: {when} is out of range; jobs can be scheduled up to the year 2200")
    return max(0.0, seconds), None


def _lease_of(job: PlacedJob) -> float:
    """Seconds after which a job that its enqueuer runs counts as lost: nobody renews this lease (RQ's numbers, and the
    time that callbacks may take).
    """
    timeout = DEFAULT_TIMEOUT if job.timeout is None else job.timeout
    callbacks = [
        seconds or CALLBACK_TIMEOUT
        for name, seconds in (
            (job.success_callback_name, job.success_callback_timeout),
            (job.failure_callback_name, job.failure_callback_timeout),
        )
        if name
    ]
    return float((timeout + 60 if timeout > 0 else 420) + sum(callbacks))


def presumed(new: NewJob) -> Placed:
    """Where a job is presumed to come to be whose enqueue the caller sends."""
    waits = JobStatus.SCHEDULED if new.at is not None or new.delay is not None else JobStatus.QUEUED
    return Placed(JobStatus.DEFERRED if new.parents else waits, datetime.now(UTC))


def parents_first(made: list[tuple[J, JobOptions]]) -> list[tuple[J, JobOptions]]:
    """Jobs in such an order that none comes before one that it waits for; otherwise as they stood.

    Raises:
        DependencyCycleError: some of them wait for each other.
    """
    free = [entry for entry in made if not entry[0].dependency_ids]
    waiting = [entry for entry in made if entry[0].dependency_ids]
    if not waiting:
        return made
    ids = {job.id for job, _ in waiting}
    graph = {job.id: ids.intersection(job.dependency_ids) for job, _ in waiting}
    try:
        order = {job_id: index for index, job_id in enumerate(TopologicalSorter(graph).static_order())}
    except CycleError as error:
        raise DependencyCycleError(error.args[1][0]) from None
    return free + sorted(waiting, key=lambda entry: order[entry[0].id])


def order_of_rq(job: PlacedJob) -> int:
    """A key to sort jobs by that were enqueued together: what depends on nothing, what waits, what did not have to."""
    if not job.dependency_ids:
        return 0
    return 1 if job.status is JobStatus.DEFERRED else 2
