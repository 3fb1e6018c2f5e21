"""The outcome of a run, as RQ's stream of results holds it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

from aiorq.call import describe_error
from aiorq.errors import DeserializationError
from aiorq.record import decode_traceback
from aiorq.serializers import Serializer, resolve_serializer
from aiorq.store import results
from aiorq.store.base import Store

R = TypeVar("R")


class HasResults(Protocol):
    """A job, as far as its outcomes are asked for."""

    id: str
    serializer: Serializer

    @property
    def store(self) -> Store:
        """Where the job lives."""
        ...


class ResultType(Enum):
    """How a run ended; the numbers are RQ's."""

    SUCCESSFUL = 1
    FAILED = 2
    STOPPED = 3
    RETRIED = 4
    MAX_RETRIES_EXCEEDED = 5

    def __str__(self) -> str:
        # RQ's text.
        return f"Type.{self.name}"


class Result(Generic[R]):
    """One outcome of a job. Its attributes never ask Redis."""

    Type = ResultType

    def __init__(self, job_id: str, entry_id: str, fields: Mapping[bytes, bytes], serializer: Serializer) -> None:
        """Read an entry of the stream.

        Raises:
            DeserializationError: the entry is not one of RQ's.
        """
        self.id: str = entry_id
        self.job_id: str = job_id
        self._serializer = serializer
        self._raw_value = fields.get(b"return_value")
        try:
            self.type: ResultType = ResultType(int(fields[b"type"]))
            self.created_at: datetime = datetime.fromtimestamp(int(entry_id.partition("-")[0]) / 1000, UTC)
            self.worker_name: str = fields.get(b"worker_name", b"").decode()
            self.attempt: int = int(fields.get(b"aiorq_attempt", b"1"))
            """The number of the attempt that ended so, from 1 on."""
            # Of a job that its enqueuer ran itself RQ keeps nothing of the run; we do, under names of our own.
            run = {name.removeprefix(b"aiorq_"): value for name, value in fields.items()}
            self.execution_id: str | None = run.get(b"execution_id", b"").decode() or None
            self.execution_started_at: datetime | None = _moment(run.get(b"execution_started_at"))
            self.execution_ended_at: datetime | None = _moment(run.get(b"execution_ended_at"))
            text = fields.get(b"exc_string")
            self.exc_string: str | None = None if text is None else decode_traceback(base64.b64decode(text))
            """The traceback of a run that failed."""
        except (ValueError, KeyError, OverflowError, OSError) as error:  # the last two from dates far away
            raise DeserializationError(f"result {entry_id} of job {job_id!r} cannot be read: {error}") from error

    @classmethod
    async def all(cls, job: HasResults, serializer: object | None = None) -> list[Result[Any]]:
        """As `job.results()`; with another serializer than the job's, if one is given."""
        reader = _reader(job, serializer)
        return [cls(job.id, entry.id, entry.fields, reader) for entry in await results.all_of(job.store, job.id)]

    @classmethod
    async def fetch_latest(
        cls, job: HasResults, serializer: object | None = None, timeout: float = 0
    ) -> Result[Any] | None:
        """As `job.latest_result()`; with another serializer than the job's, if one is given."""
        if timeout > 0:
            entry = await results.wait(job.store, job.id, timeout)
        else:
            entry = await results.latest(job.store, job.id)
        return None if entry is None else cls(job.id, entry.id, entry.fields, _reader(job, serializer))

    @classmethod
    async def count(cls, job: HasResults) -> int:
        """How many outcomes of a job are kept."""
        return await results.count(job.store, job.id)

    @classmethod
    async def delete_all(cls, job: HasResults) -> None:
        """Forget the outcomes of a job."""
        await results.delete_all(job.store, job.id)

    @property
    def return_value(self) -> R | None:
        """What the function returned; None where it returned None or did not return.

        Raises:
            DeserializationError: the value was written with another serializer, or needs a module that is missing here.
        """
        if self._raw_value is None:
            return None
        try:
            return self._serializer.loads(base64.b64decode(self._raw_value))  # type: ignore[no-any-return]
        except Exception as error:
            if self.type is not ResultType.SUCCESSFUL:
                return None  # RQ leaves an object of its own with a retry
            reader = type(self._serializer).__name__
            raise DeserializationError(
                f"the result of job {self.job_id!r} cannot be read with {reader}: {describe_error(error)}"
            ) from error

    def __repr__(self) -> str:
        return f"Result(job_id={self.job_id!r}, type={self.type.name}, id={self.id!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Result) and (other.job_id, other.id) == (self.job_id, self.id)

    def __hash__(self) -> int:
        return hash((self.job_id, self.id))


def _reader(job: HasResults, serializer: object | None) -> Serializer:
    return job.serializer if serializer is None else resolve_serializer(serializer)


def _moment(raw: bytes | None) -> datetime | None:
    return datetime.fromtimestamp(float(raw), UTC) if raw else None
