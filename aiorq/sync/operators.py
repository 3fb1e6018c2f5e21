"""What only a blocking API can have: operators and properties that ask Redis, with RQ's names.

The classes that are made of the async ones derive from these.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from aiorq.record import JobRecord
from aiorq.result import ResultType
from aiorq.status import JobStatus
from aiorq.store.base import Store

if TYPE_CHECKING:
    from aiorq.sync.results import Result

R = TypeVar("R")


class Counted:
    """A queue: `len()` is the number of jobs that wait."""

    @property
    def count(self) -> int:
        """How many jobs wait."""
        raise NotImplementedError

    def __len__(self) -> int:
        return self.count

    def __bool__(self) -> bool:
        return True  # an empty queue is one too

    def __iter__(self) -> Iterator[Self]:
        yield self  # RQ: where several queues are expected, one will do


class Listed:
    """A registry: `len()` is the number of its entries, `in` asks for one."""

    contains: Any

    @property
    def count(self) -> int:
        """How many there are."""
        raise NotImplementedError

    def __len__(self) -> int:
        return self.count

    def __bool__(self) -> bool:
        return len(self) > 0  # RQ

    def __contains__(self, item: object) -> bool:
        return bool(self.contains(item))


class OfJob:
    """An execution: it finds its job."""

    job_id: str
    _job: JobRecord | None

    @property
    def _store(self) -> Store:
        raise NotImplementedError

    @property
    def job(self) -> Any:
        """The job whose execution it is, read where it was not found through it.

        Raises:
            NoSuchJobError: it does not exist (any more).
        """
        if self._job is None:
            kind = import_module("aiorq.sync.job").Job  # which is built upon executions
            self._job = kind.fetch(self.job_id, self._store.connection, prefix=self._store.keys.prefix)
        return self._job


class JobStates(Generic[R]):
    """A job: whether it is in a state, and what became of it, asked anew at each look."""

    origin: str
    serializer: Any

    @property
    def store(self) -> Store:
        """Where the job lives."""
        raise NotImplementedError

    def get_status(self, refresh: bool = True) -> JobStatus:
        """The state of the job."""
        raise NotImplementedError

    def latest_result(self, timeout: float = 0) -> Result[R] | None:
        """The newest outcome."""
        raise NotImplementedError

    @property
    def is_queued(self) -> bool:
        """Whether the job waits in its queue."""
        return self.get_status() is JobStatus.QUEUED

    @property
    def is_started(self) -> bool:
        """Whether the job runs."""
        return self.get_status() is JobStatus.STARTED

    @property
    def is_finished(self) -> bool:
        """Whether the job has finished."""
        return self.get_status() is JobStatus.FINISHED

    @property
    def is_failed(self) -> bool:
        """Whether the job has failed."""
        return self.get_status() is JobStatus.FAILED

    @property
    def is_deferred(self) -> bool:
        """Whether the job waits for others."""
        return self.get_status() is JobStatus.DEFERRED

    @property
    def is_scheduled(self) -> bool:
        """Whether the job waits for its time."""
        return self.get_status() is JobStatus.SCHEDULED

    @property
    def is_canceled(self) -> bool:
        """Whether the job was canceled."""
        return self.get_status() is JobStatus.CANCELED

    @property
    def is_stopped(self) -> bool:
        """Whether the job was stopped."""
        return self.get_status() is JobStatus.STOPPED

    @property
    def is_ready_to_enqueue(self) -> bool:
        """Whether RQ is about to put the job, which had waited for others, on its queue."""
        return self.get_status() is JobStatus.READY_TO_ENQUEUE

    @property
    def started_job_registry(self) -> Listed:
        """The jobs of its queue that run."""
        return self._registry("StartedJobRegistry")

    @property
    def finished_job_registry(self) -> Listed:
        """The jobs of its queue that have finished and are kept."""
        return self._registry("FinishedJobRegistry")

    @property
    def failed_job_registry(self) -> Listed:
        """The jobs of its queue that failed or were stopped, and are kept."""
        return self._registry("FailedJobRegistry")

    def _registry(self, name: str) -> Listed:
        kind: Any = getattr(import_module("aiorq.sync.registry"), name)  # which is built upon jobs
        found: Listed = kind(
            self.origin, self.store.connection, type(self), None, self.serializer, prefix=self.store.keys.prefix
        )
        return found

    @property
    def result(self) -> R | None:
        """What the function returned; None where the newest outcome is no success. RQ deprecates it: `return_value()`.

        Raises:
            DeserializationError: the value cannot be read here.
        """
        latest = self.latest_result()
        return latest.return_value if latest is not None and latest.type is ResultType.SUCCESSFUL else None

    @property
    def exc_info(self) -> str | None:
        """The traceback of the newest outcome, if that is a failure. RQ deprecates it: `latest_result().exc_string`."""
        latest = self.latest_result()
        return latest.exc_string if latest is not None and latest.type is ResultType.FAILED else None
