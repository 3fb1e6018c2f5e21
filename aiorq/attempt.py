"""The attempts of a job: each run that has ended, also those that were followed by another one.

RQ keeps nothing of an attempt that is tried again. Such ones are kept beside the results, in a list of our own; the
last one of a life is among the results, as is one that asked to be tried again.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiorq.record import decode_traceback
from aiorq.result import Result
from aiorq.serializers import Serializer
from aiorq.store import jobs, results
from aiorq.store.base import Store


@dataclass(frozen=True, slots=True)
class Attempt:
    """A run of a job that has ended."""

    number: int
    """From 1 on, in the present life of the job."""
    outcome: str
    """`successful`, `failed`, `stopped`, `lost` (with its worker), `retried` (it asked for that) or
    `max_retries_exceeded`."""
    worker_name: str
    execution_id: str | None
    started_at: datetime | None
    ended_at: datetime | None
    exc_string: str | None
    """The traceback, of which the middle is cut out where it is long; None where nothing was raised."""


async def attempts_of(store: Store, job_id: str, serializer: Serializer) -> list[Attempt]:
    """The attempts of a job that have ended, in order."""
    found = {}
    since = _seconds(await jobs.field(store, job_id, "aiorq_since"))
    for entry in await results.all_of(store, job_id):
        result: Result[Any] = Result(job_id, entry.id, entry.fields, serializer)
        ended = result.execution_ended_at
        if ended is not None and ended.timestamp() <= since:
            break  # of a former life: before the job was requeued, or repeated
        found[result.attempt] = Attempt(
            result.attempt,
            result.type.name.lower(),
            result.worker_name,
            result.execution_id,
            result.execution_started_at,
            result.execution_ended_at,
            result.exc_string,
        )
        if result.attempt == 1:  # what is older is of a former life too, where RQ has requeued or repeated the job
            break
    for kept in await jobs.attempts(store, job_id):
        found[kept["number"]] = _read(kept)
    return [found[number] for number in sorted(found)]


def _seconds(text: bytes | None) -> float:
    """When the present life of a job began, where it had another one before."""
    try:
        return float(text or b"0")
    except ValueError:
        return 0.0


def _read(kept: dict[str, Any]) -> Attempt:
    text = kept["exc_string"]
    return Attempt(
        int(kept["number"]),
        kept["outcome"],
        kept["worker_name"],
        kept["execution_id"] or None,
        datetime.fromtimestamp(float(kept["started_at"]), UTC),
        datetime.fromtimestamp(float(kept["ended_at"]), UTC),
        decode_traceback(base64.b64decode(text)) if text else None,
    )
