"""All about one job: its state, its life, what it waits for, how it ended.

What cannot be read of it stands among its problems; the rest is shown. The arguments, the keywords and `meta` are read
only when they are asked for: that runs code of whoever enqueued the job where it was pickled, and they may be secrets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from redis.asyncio import Redis

from aiorq.attempt import Attempt
from aiorq.errors import AiorqError, ConnectionLostError, CorruptJobError, DeserializationError, NoSuchJobError
from aiorq.inspection.summary import JobSummary, summarize
from aiorq.inspection.traceback import traceback_of
from aiorq.job import Job
from aiorq.keys import is_job_id
from aiorq.status import JobStatus
from aiorq.store import glance, registries
from aiorq.store.base import store_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What a job was given."""

    args: Sequence[Any]
    kwargs: dict[str, Any]
    meta: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDetails:
    """A job."""

    moment: datetime
    """When it was looked at, by the server's clock."""
    summary: JobSummary
    problems: Sequence[str]
    """What is wrong with what Redis holds for it."""
    position: int | None = None
    """Its index in the queue, 0 for the front; None where it does not wait there."""
    scheduled_for: datetime | None = None
    """When it may run at the earliest, where it waits for its time."""
    last_heartbeat: datetime | None = None
    result_ttl: int | None = None
    failure_ttl: int | None = None
    ttl: int | None = None
    retries_left: int | None = None
    retry_intervals: Sequence[int] | None = None
    repeats_left: int | None = None
    on_lost: str | None = None
    memory_limit: int | None = None
    rate_limit: str | None = None
    """The key of its rate limit."""
    rate_limit_concurrency: int | None = None
    group: str | None = None
    waits_for: Sequence[str] = ()
    """The jobs that it was told to wait for."""
    dependents: Sequence[str] = ()
    """The jobs that wait for it."""
    attempts: Sequence[Attempt] = ()
    """What has ended, in order; of a long life about the last thirty."""
    traceback: str | None = None
    """Of its newest outcome."""
    payload: Payload | None = None
    """Where it was asked for and can be read."""


async def tell(
    connection: Redis | str | None,
    job_id: str,
    *,
    payload: bool = False,
    serializer: object | None = None,
    prefix: str | None = None,
) -> JobDetails:
    """Look at a job. Nothing is changed.

    Args:
        connection: a client, a URL, or None for the environment's.
        job_id: of the job.
        payload: read its arguments and `meta` too.
        serializer: of its queue.
        prefix: of all keys; None for the environment's.

    Raises:
        NoSuchJobError: there is none.
        ConnectionLostError, StoreError: the server cannot be asked, or lets nobody in.
    """
    store = store_of(connection, prefix)
    (peeked,), now = await asyncio.gather(glance.peek(store, [job_id]), registries.server_time(store))
    moment = datetime.fromtimestamp(now, UTC)
    if peeked is None:
        raise NoSuchJobError(job_id)
    job: Job[Any] = Job(job_id if is_job_id(job_id) else None, store.connection, serializer, prefix=store.keys.prefix)
    (outcome,) = await glance.last_outcomes(store, [job_id])
    summary = summarize(job_id, peeked)
    problems = [summary.problem] if summary.problem else []
    if not is_job_id(job_id):
        problems.append("its id is none that can be enqueued")
    elif isinstance(peeked, dict):
        try:
            await job.refresh()
        except CorruptJobError as error:
            if not any(f"its {error.field} " in problem for problem in problems):
                problems.append(f"{error.field or 'its key'} {error.reason}")
    if not is_job_id(job_id) or not isinstance(peeked, dict):
        return JobDetails(moment=moment, summary=summary, problems=problems, traceback=traceback_of(outcome))
    position, dependents, attempts, due = await asyncio.gather(
        _or(job.get_position(), None, problems),
        _or(job.dependent_ids(), [], problems),
        _or(job.attempts(), [], problems),
        _or(registries.score(store, store.keys.registry("scheduled", job.origin), job_id), None, problems),
    )
    return JobDetails(
        moment=moment,
        summary=summary,
        problems=problems,
        position=position,
        scheduled_for=None if due is None or summary.status != JobStatus.SCHEDULED else registries.as_moment(due),
        last_heartbeat=job.last_heartbeat,
        result_ttl=job.result_ttl,
        failure_ttl=job.failure_ttl,
        ttl=job.ttl,
        retries_left=job.retries_left,
        retry_intervals=job.retry_intervals,
        repeats_left=job.repeats_left,
        on_lost=job.on_lost,
        memory_limit=job.memory_limit,
        rate_limit=job.rate_limit_key,
        rate_limit_concurrency=job.rate_limit_concurrency,
        group=job.group_id or None,
        waits_for=job.dependency_ids,
        dependents=dependents,
        attempts=attempts,
        traceback=traceback_of(outcome),
        payload=_payload(job, problems) if payload else None,
    )


async def _or(call: Awaitable[T], otherwise: T, problems: list[str]) -> T:
    try:
        return await call
    except ConnectionLostError:
        raise
    except AiorqError as error:
        problems.append(str(error))
        return otherwise


def _payload(job: Job[Any], problems: list[str]) -> Payload | None:
    try:
        return Payload(args=job.args, kwargs=job.kwargs, meta=job.meta)
    except DeserializationError as error:
        problems.append(str(error))
        return None
