"""Every exception of aiorq, in one tree.

    AiorqError
    ├── ConnectionLostError            Redis cannot be asked at the moment
    │   └── WrongLoopError             the connection belongs to another event loop
    ├── QueueFullError                 Redis is at `maxmemory` and refuses new work
    ├── StoreError                     Redis refused a command for a reason that waiting does not cure
    ├── InvalidURLError (ValueError)   a Redis URL that cannot be read
    ├── NoSuchJobError                 the job does not exist (any more)
    ├── DuplicateJobError              a job of that id is running, or exists and `unique` was asked for
    ├── DependencyCycleError (ValueError)  jobs would wait for each other
    ├── NoSuchGroupError               the group does not exist (any more)
    ├── InvalidJobOperation            the job's state does not allow the call
    ├── CorruptJobError                what Redis holds for the job cannot be read
    ├── SerializationError             a value cannot be turned into bytes
    │   ├── UnserializableFunctionError (ValueError)
    │   └── PayloadTooLargeError
    ├── DeserializationError           bytes cannot be turned back into a value
    ├── FunctionNotFoundError          the name of a job's function leads nowhere
    ├── TimeoutFormatError (ValueError)  a duration that cannot be read
    ├── WorkerExistsError (ValueError) a live worker has that name
    ├── HorseTerminatedError           the process that ran a job ended without an outcome
    ├── AbandonedJobError              the worker of a job disappeared
    ├── StopTimeoutError (TimeoutError)  a job that was asked to stop did not end in time
    ├── NoSuchCronJobError             there is no cron entry of that name
    ├── CronConfigError (ImportError)  a module of cron entries cannot be imported
    ├── SchedulerNotFound              no cron scheduler of that name is alive
    ├── DuplicateSchedulerError        a live cron scheduler has that name
    ├── ServerNotFoundError            there is no server binary to start
    └── ServerStartError               the embedded server did not start

`JobTimeoutException` stands outside: it is raised inside user code, which may well catch `Exception`s of ours by the
root. Names that RQ has are RQ's.
"""

from __future__ import annotations


class AiorqError(Exception):
    """The root of the errors that aiorq raises."""


class ConnectionLostError(AiorqError):
    """Redis cannot be asked now: no connection, no answer in time, loading, read-only, failing over.

    Nothing is known to be wrong with the request: it can be sent again, and every request of aiorq may be sent twice.
    """


class WrongLoopError(ConnectionLostError):
    """A connection that was used in one event loop is used in another one."""


class QueueFullError(AiorqError):
    """Redis is at its `maxmemory` and refused new work; nothing was written."""


class StoreError(AiorqError):
    """Redis refused a command, and sending it again would not help (no permission, wrong password, wrong key type)."""


class InvalidURLError(AiorqError, ValueError):
    """A Redis URL that cannot be read. The text names the part and never shows a password."""


class NoSuchJobError(AiorqError):
    """The job does not exist: never enqueued, deleted, or expired."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"no job {job_id!r}: it was never enqueued, was deleted, or has expired")
        self.job_id = job_id

    def __reduce__(self) -> tuple[type[NoSuchJobError], tuple[str]]:
        return type(self), (self.job_id,)


class DuplicateJobError(AiorqError):
    """A job of that id exists and cannot be replaced."""

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(f"job {job_id!r} {reason}; nothing was enqueued")
        self.job_id = job_id
        self.reason = reason

    def __reduce__(self) -> tuple[type[DuplicateJobError], tuple[str, str]]:
        return type(self), (self.job_id, self.reason)


class DependencyCycleError(AiorqError, ValueError):
    """A job would wait for itself, or for one that waits for it."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id!r} would wait for itself, or for a job that waits for it; nothing was enqueued")
        self.job_id = job_id

    def __reduce__(self) -> tuple[type[DependencyCycleError], tuple[str]]:
        return type(self), (self.job_id,)


class NoSuchGroupError(AiorqError):
    """The group does not exist: nothing was ever enqueued into it, or all its jobs are gone."""


class InvalidJobOperation(AiorqError):  # noqa: N818 - RQ's name
    """The job's state does not allow the call."""


class CorruptJobError(AiorqError):
    """What Redis holds for a job cannot be read; `field` names the part (empty for the whole key)."""

    def __init__(self, job_id: str, field: str, reason: str) -> None:
        where = f"field {field!r}" if field else "its key"
        super().__init__(f"job {job_id!r} is corrupt: {where} {reason}")
        self.job_id = job_id
        self.field = field
        self.reason = reason

    def __reduce__(self) -> tuple[type[CorruptJobError], tuple[str, str, str]]:
        return type(self), (self.job_id, self.field, self.reason)


class SerializationError(AiorqError):
    """A value cannot be turned into bytes; `path` says which one, for example `kwargs['f']`."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class UnserializableFunctionError(SerializationError, ValueError):
    """A function that a worker could not import by name: a lambda, a nested function, one of `__main__`."""


class PayloadTooLargeError(SerializationError):
    """A call is larger, in bytes, than a queue accepts."""


class DeserializationError(AiorqError):
    """Bytes in Redis cannot be turned back into a value: other serializer, missing module, damage."""


class FunctionNotFoundError(AiorqError):
    """The name of a job's function cannot be imported by the worker, or is not callable."""


class TimeoutFormatError(AiorqError, ValueError):
    """A duration that is neither whole seconds nor a text such as `90`, `15m`, `2h` or `1d`."""


class WorkerExistsError(AiorqError, ValueError):
    """A worker of that name is alive."""


class HorseTerminatedError(AiorqError):
    """The process that ran a job ended without an outcome. The text says how: exit code, signal, out of memory."""


class AbandonedJobError(AiorqError):
    """The worker that ran a job disappeared and its lease ran out."""


class StopTimeoutError(AiorqError, TimeoutError):
    """A job was asked to stop and did not end in time; it may still."""


class NoSuchCronJobError(AiorqError):
    """There is no cron entry of that name: it was never registered, or was removed."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no cron entry {name!r}: it was never registered, or was removed")
        self.name = name

    def __reduce__(self) -> tuple[type[NoSuchCronJobError], tuple[str]]:
        return type(self), (self.name,)


class CronConfigError(AiorqError, ImportError):
    """A module of cron entries cannot be imported, or one of its entries is wrong."""


class SchedulerNotFound(AiorqError):  # noqa: N818 - RQ's name
    """No cron scheduler of that name is alive."""


class DuplicateSchedulerError(AiorqError):
    """A cron scheduler of that name is alive."""


class ServerNotFoundError(AiorqError):
    """There is no Redis or Valkey server binary on this machine."""


class ServerStartError(AiorqError):
    """The embedded server did not come up."""


class JobTimeoutException(Exception):  # noqa: N818 - RQ's name
    """Raised inside a job's function at the deadline of the job."""
