"""A job: its attributes as last read, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from aiorq.attempt import Attempt, attempts_of
from aiorq.call import as_args, import_name, make_call
from aiorq.callback import AnyCallback
from aiorq.current import CurrentRun, current_run, here_in_loop
from aiorq.dependency import Dependency, DependsOn
from aiorq.errors import InvalidJobOperation
from aiorq.executions import Execution, ExecutionRegistry
from aiorq.executions import get_executions as executions_of
from aiorq.keys import Keys, check_job_id, check_queue_name
from aiorq.options import DEFAULT_FAILURE_TTL, JobOptions
from aiorq.placement import STATE, PlacedJob
from aiorq.record import JobRecord
from aiorq.result import Result
from aiorq.retry import Retry
from aiorq.status import JobStatus
from aiorq.store import jobs, queues
from aiorq.store.base import Store, store_of
from aiorq.store.commands import MAX_GRACE, stop_job
from aiorq.store.connection import connect_as
from aiorq.webhook import Webhook

# RQ's names for what is imported from here.
__all__ = [
    "Dependency",
    "Job",
    "JobStatus",
    "Retry",
    "cancel_job",
    "get_current_job",
    "requeue_job",
]

R = TypeVar("R")


class Job(PlacedJob, Generic[R]):
    """A call that is to run, runs or ran in a worker.

    Attributes show what the object last read or was made with and never ask Redis; methods that ask are coroutines.
    """

    def __init__(
        self,
        id: str | None = None,  # noqa: A002 - RQ's name
        connection: Redis | str | None = None,
        serializer: object | None = None,
        *,
        prefix: str | None = None,
    ) -> None:
        """Make a job object without reading anything; `Job.create`, `Job.fetch` and `queue.enqueue` are the usual ways.

        Args:
            id: 1 to 255 letters, digits, `_` or `-`; None for a random one.
            connection: a client, a URL, or None for the environment's.
            serializer: name, dotted path or object with `dumps` and `loads`; None for pickle.
            prefix: of all keys; None for the environment's.
        """
        super().__init__(id, serializer)
        self._connection: Redis | str | Callable[[], Redis] | None = connection
        self._prefix = prefix
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """Where the job lives. Connects nothing; needs a running event loop."""
        store = self._store
        if store is None or store.is_over or not (isinstance(self._connection, Redis) or store.transport.is_home):
            source = self._connection() if callable(self._connection) else self._connection
            store = self._store = store_of(source, self._prefix)
        return store

    def belong_to(self, connection: Redis | str | None, prefix: str | None) -> None:
        """Be a job of where a queue is, as far as this object was not told where its job belongs."""
        if self._connection is None and connection is not None:
            self._connection, self._store = connection, None
        if self._prefix is None and prefix is not None:
            self._prefix, self._store = prefix, None

    @property
    def connection(self) -> Redis:
        """The client that the job uses."""
        client: Redis = self.store.connection
        return client

    @property
    def key(self) -> str:
        """The key of the job's hash."""
        return Keys(self._prefix).job(self.id)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, {self.description!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JobRecord) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    @classmethod
    def create(
        cls,
        func: Callable[..., Any] | str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        connection: Redis | str | None = None,
        result_ttl: int | str | None = None,
        ttl: int | str | None = None,
        status: JobStatus | None = None,
        description: str | None = None,
        depends_on: DependsOn | None = None,
        timeout: int | str | None = None,
        retry: Retry | None = None,
        id: str | None = None,  # noqa: A002 - RQ's name
        origin: str = "",
        meta: Mapping[str, Any] | None = None,
        failure_ttl: int | str | None = None,
        serializer: object | None = None,
        group_id: str | None = None,
        *,
        on_success: AnyCallback | None = None,
        on_failure: AnyCallback | None = None,
        on_stopped: AnyCallback | None = None,
        webhooks: Sequence[Webhook] | None = None,
        prefix: str | None = None,
    ) -> Job[Any]:
        """Make a job without enqueueing it; `queue.enqueue_job` does that. Nothing is written.

        Durations are seconds or texts such as `90`, `15m`, `2h`, `1d`; see `JobOptions` for the meaning of all options.

        Raises:
            TypeError, ValueError: a bad function, id or duration.
            SerializationError: an argument cannot be serialised.
        """
        options = JobOptions(
            job_timeout=cast("int | None", timeout),
            result_ttl=cast("int | None", result_ttl),
            failure_ttl=cast("int | None", failure_ttl),
            ttl=cast("int | None", ttl),
            description=description,
            job_id=id,
            meta=meta,
            depends_on=depends_on,
            retry=retry,
            on_success=on_success,
            on_failure=on_failure,
            on_stopped=on_stopped,
            webhooks=webhooks,
        )
        job: Job[Any] = cls(id, connection, serializer, prefix=prefix)
        job.set_call(make_call(func, as_args(args), kwargs), options)
        job.origin = check_queue_name(origin) if origin else ""
        job.group_id = group_id
        job.status = JobStatus(status or JobStatus.CREATED)
        return job

    @classmethod
    async def exists(cls, job_id: str, connection: Redis | str | None = None, *, prefix: str | None = None) -> bool:
        """Whether there is a job of that id."""
        return await jobs.exists(store_of(connection, prefix), job_id)

    @classmethod
    async def fetch(
        cls,
        id: str,  # noqa: A002 - RQ's name
        connection: Redis | str | None = None,
        serializer: object | None = None,
        *,
        prefix: str | None = None,
    ) -> Job[Any]:
        """Read a job; an id of the form `job:execution` is accepted.

        Raises:
            NoSuchJobError: there is none.
            CorruptJobError: what Redis holds cannot be read; the error names the field.
        """
        job: Job[Any] = cls(_plain_id(id), connection, serializer, prefix=prefix)
        await job.refresh()
        return job

    @classmethod
    async def fetch_many(
        cls,
        job_ids: Sequence[str],
        connection: Redis | str | None = None,
        serializer: object | None = None,
        *,
        prefix: str | None = None,
    ) -> list[Job[Any] | None]:
        """Read jobs in one round trip; None for those that do not exist.

        Raises:
            CorruptJobError: one of them cannot be read.
        """
        store = store_of(connection, prefix)
        ids = [_plain_id(job_id) for job_id in job_ids]
        found: list[Job[Any] | None] = []
        for job_id, fields in zip(ids, await jobs.fetch_many(store, ids), strict=True):
            found.append(None if fields is None else cls.restore(job_id, fields, store, serializer))
        return found

    @classmethod
    def restore(
        cls, job_id: str, fields: Mapping[bytes, bytes], store: Store, serializer: object | None = None
    ) -> Job[Any]:
        """Make a job from the fields of its hash.

        Raises:
            CorruptJobError: a field cannot be read.
        """
        job: Job[Any] = cls(job_id, store.connection, serializer, prefix=store.keys.prefix)
        job.decode(fields)
        return job

    async def refresh(self) -> None:
        """Read all attributes anew.

        Raises:
            NoSuchJobError: the job does not exist (any more).
            CorruptJobError: a field cannot be read.
        """
        self.decode(await jobs.fetch(self.store, self.id))
        self.has_fresh_id = False

    async def get_status(self, refresh: bool = True) -> JobStatus:
        """The state of the job, read from Redis unless `refresh` is False.

        Raises:
            InvalidJobOperation: the job does not exist (any more).
            CorruptJobError: its status is no state.
        """
        if refresh:
            raw = await jobs.field(self.store, self.id, "status")
            if raw is None:
                raise InvalidJobOperation(f"job {self.id!r} has no status: it does not exist (any more)")
            self.status = self.decode_status(raw)
        return self.status

    async def get_meta(self, refresh: bool = True) -> dict[str, Any]:
        """The caller's data, read from Redis unless `refresh` is False."""
        if refresh:
            self.decode_meta(await jobs.field(self.store, self.id, "meta") or b"")
        return self.meta

    async def save_meta(self) -> None:
        """Write `meta` and nothing else.

        Raises:
            InvalidJobOperation: the job does not exist (any more).
            SerializationError: `meta` cannot be serialised.
        """
        if not await jobs.save(self.store, self.id, {"meta": self.encode_meta()}):
            raise InvalidJobOperation(f"the meta of job {self.id!r} cannot be saved: the job does not exist (any more)")

    async def save(
        self,
        pipeline: Pipeline | None = None,
        include_meta: bool = True,
        include_result: bool = True,  # noqa: ARG002 - RQ's parameter: results are kept beside the job
    ) -> None:
        """Write the attributes that the caller may set. The job is put on no queue and changes no state.

        What enqueues and runs write (`status`, `origin`, `worker_name`, the dates) is left to them where the job
        exists. A job that was made with `Job.create` and does not exist yet is created.

        Args:
            pipeline: one of the caller's to add the call to; nothing is written then of a job that does not exist.
            include_meta: write `meta` too.
            include_result: accepted as in RQ.

        Raises:
            InvalidJobOperation: the job was enqueued and does not exist (any more).
            SerializationError: `meta`, or another attribute, cannot be stored.
        """
        fields = self.encode()
        if not include_meta:
            fields.pop("meta", None)
        state: dict[str, bytes | int] = {name: fields.pop(name) for name in STATE if name in fields}
        create = state if self.status is JobStatus.CREATED else None
        if pipeline is not None:
            jobs.save_into(self.store, pipeline, self.id, fields, create=create)
        elif not await jobs.save(self.store, self.id, fields, create=create):
            raise InvalidJobOperation(f"job {self.id!r} cannot be saved: it does not exist (any more)")
        self.has_fresh_id = False

    async def get_position(self) -> int | None:
        """The job's index in its queue, 0 for the front; None when it is not waiting there."""
        return await queues.position(self.store, self.origin, self.id) if self.origin else None

    async def cancel(
        self,
        pipeline: Pipeline | None = None,
        enqueue_dependents: bool = False,
        remove_from_dependencies: bool = False,
    ) -> dict[str, list[str]]:
        """Take the job out of whatever place it is in, so that it does not run (any more).

        The process of a job that runs is killed by its worker, and its outcome is refused. The jobs that wait for it go
        on waiting, unless they are to be enqueued. One atomic step; more than a hundred dependents follow in further
        ones.

        Args:
            pipeline: one of the caller's to add the call to; nothing is known of its outcome then.
            enqueue_dependents: enqueue what waits for it and for nothing else, as if it had finished.
            remove_from_dependencies: take it out of what its parents remember as waiting for them.

        Returns:
            the ids of the jobs that were enqueued, by queue.

        Raises:
            InvalidJobOperation: it is canceled already; or has a rate limit, and a pipeline was given.
            NoSuchJobError: it does not exist (any more).
        """
        enqueued: dict[str, list[str]] = {}
        wishes = {"enqueue_dependents": enqueue_dependents, "remove_from_dependencies": remove_from_dependencies}
        if pipeline is None:
            enqueued = await jobs.cancel(self.store, self.id, DEFAULT_FAILURE_TTL, **wishes)
        elif self.has_rate_limit:
            raise InvalidJobOperation(f"job {self.id!r} has a rate limit and cannot be canceled in a pipeline")
        else:
            jobs.cancel_into(self.store, pipeline, self.id, DEFAULT_FAILURE_TTL, **wishes)
        self.status = JobStatus.CANCELED
        return enqueued

    async def requeue(self, at_front: bool = False) -> Job[R]:
        """Put the job, which failed or was stopped, back on its queue. What it has used of its retries stays used.

        What became of it before stays among its results. One atomic step.

        Args:
            at_front: put it at the front.

        Returns:
            the job itself.

        Raises:
            InvalidJobOperation: it is not among the failed jobs of its queue.
            NoSuchJobError: it does not exist (any more).
        """
        return await self.requeue_from("failed", at_front)

    async def requeue_from(self, kind: str, at_front: bool = False) -> Job[R]:
        """`requeue` a job that must be in that registry of its queue; see `registry.BaseRegistry.requeue`."""
        self.mark_placed(self.origin, await jobs.requeue(self.store, self.id, kind, at_front))
        return self

    async def stop(self, grace: float | None = None, timeout: float | None = 30.0) -> JobStatus | None:
        """Stop the job, which runs, and wait until it has ended.

        A coroutine gets `asyncio.CancelledError`, a function the signal SIGTERM; what has not ended after `grace`
        seconds is killed with all that it started. A stopped job is not tried again.

        Args:
            grace: seconds, 0 and more, that it has to end by itself; None for the worker's own (2, unless set there).
            timeout: seconds to wait beyond that; None not to wait.

        Returns:
            the state that the job then had: `stopped`, or another one where it had come to its end before; None when
            it was deleted, and when not waiting.

        Raises:
            InvalidJobOperation: it does not run.
            NoSuchJobError: it does not exist (any more).
            StopTimeoutError: it did not end in time; the request stands.
            ValueError: a grace below 0, or above an hour.
        """
        if grace is not None and not 0 <= grace <= MAX_GRACE:
            raise ValueError(f"grace must be 0 to {MAX_GRACE:g} seconds, not {grace}")
        return await stop_job(self.store, self.id, "", grace, timeout)

    async def delete(
        self,
        pipeline: Pipeline | None = None,
        remove_from_queue: bool = True,  # noqa: ARG002 - RQ's parameter: a queue lists no job that is not there
        delete_dependents: bool = False,
    ) -> None:
        """Delete the job with its results, in whatever state it is.

        A run of it is ended by its worker, and its outcome is refused. The jobs that wait for it do not wait for it any
        more; those that its failure, stop or cancel keeps waiting do, until a job of its id finishes. One atomic step.

        Args:
            pipeline: one of the caller's to add the call to.
            remove_from_queue: accepted as in RQ.
            delete_dependents: delete also the jobs that wait for it, and those that wait for these, before it.
        """
        if pipeline is None:
            await jobs.delete(self.store, [self.id], with_dependents=delete_dependents)
        elif delete_dependents:
            await jobs.delete_all_into(self.store, pipeline, [self.id])
        else:
            jobs.delete_into(self.store, pipeline, self.id)

    async def delete_dependents(self, pipeline: Pipeline | None = None) -> None:
        """Delete the jobs that wait for this one, and those that wait for these.

        Args:
            pipeline: one of the caller's to add the deletions to; what there is to delete is read at once.
        """
        waiting = await self.dependent_ids()
        if pipeline is not None:
            await jobs.delete_all_into(self.store, pipeline, waiting)
            return
        await jobs.delete(self.store, waiting, with_dependents=True)
        await jobs.forget_dependents(self.store, self.id, waiting)

    async def dependent_ids(self) -> list[str]:
        """The ids of the jobs that wait for this one."""
        return await jobs.dependents(self.store, [self.id])

    async def dependents(self) -> list[Job[Any]]:
        """The jobs that wait for this one; those that are gone are left out."""
        return await self._fetch_all(await self.dependent_ids())

    async def fetch_dependencies(self) -> list[Job[Any]]:
        """The jobs that this one was told to wait for, in order; those that are gone are left out."""
        return await self._fetch_all(self.dependency_ids)

    async def dependency(self) -> Job[Any] | None:
        """The first of the jobs that this one was told to wait for; None when there is none (any more)."""
        return next(iter(await self._fetch_all(self.dependency_ids[:1])), None)

    async def dependencies_are_met(self) -> bool:
        """Whether every job that this one was told to wait for has finished, may have failed, or is gone.

        One that is gone after it ended badly is not met (see `delete`).
        """
        met = {JobStatus.FINISHED, JobStatus.FAILED} if self.allow_dependency_failures else {JobStatus.FINISHED}
        parents = await self.fetch_dependencies()
        barred = await jobs.field(self.store, self.id, "aiorq_barred")
        if barred and barred.decode() not in {job.id for job in parents}:
            return False
        return all([await job.get_status(refresh=False) in met for job in parents])

    async def _fetch_all(self, job_ids: Sequence[str]) -> list[Job[Any]]:
        store = self.store
        found = await type(self).fetch_many(job_ids, store.connection, self.serializer, prefix=store.keys.prefix)
        return [job for job in found if job is not None]

    @property
    def execution_registry(self) -> ExecutionRegistry:
        """The runs of the job that go on."""
        store = self.store
        return ExecutionRegistry(self.id, store.connection, prefix=store.keys.prefix)

    async def get_executions(self) -> list[Execution]:
        """The runs that go on now: one, or none."""
        return await executions_of(self.store, self.id, self)

    async def attempts(self) -> list[Attempt]:
        """Every attempt of the job's present life that has ended, in order, each with its number, worker, times and
        traceback; of many, about the last thirty.
        """
        return await attempts_of(self.store, self.id, self.serializer)

    async def latest_result(self, timeout: float = 0) -> Result[R] | None:
        """The newest outcome.

        Args:
            timeout: seconds to wait for one where there is none yet.

        Returns:
            None when there is none (within that time).
        """
        return await Result.fetch_latest(self, timeout=timeout)

    async def results(self) -> list[Result[R]]:
        """The outcomes that are kept, the last ten, newest first."""
        return await Result.all(self)

    async def return_value(self, refresh: bool = False) -> R | None:  # noqa: ARG002 - RQ's parameter
        """What the function returned, None unless the newest outcome is a success.

        Args:
            refresh: accepted as in RQ; Redis is asked each time.

        Raises:
            DeserializationError: the value cannot be read here.
        """
        result = await self.latest_result()
        return result.return_value if result is not None and result.type is Result.Type.SUCCESSFUL else None


async def cancel_job(
    job_id: str,
    connection: Redis | str | None = None,
    serializer: object | None = None,  # noqa: ARG001 - RQ's parameter
    enqueue_dependents: bool = False,
    *,
    prefix: str | None = None,
) -> dict[str, list[str]]:
    """`Job.cancel` for the job of an id.

    Raises:
        InvalidJobOperation: it is canceled already.
        NoSuchJobError: there is none.
    """
    store, job_id = store_of(connection, prefix), check_job_id(job_id)
    return await jobs.cancel(store, job_id, DEFAULT_FAILURE_TTL, enqueue_dependents=enqueue_dependents)


async def requeue_job(
    job_id: str,
    connection: Redis | str | None = None,
    serializer: object | None = None,
    *,
    prefix: str | None = None,
) -> Job[Any]:
    """`Job.requeue` for the job of an id.

    Raises:
        InvalidJobOperation: it is not among the failed jobs of its queue.
        NoSuchJobError: there is none.
    """
    job: Job[Any] = await Job.fetch(job_id, connection, serializer, prefix=prefix)
    return await job.requeue()


def _plain_id(job_id: object) -> str:
    """The id of the job in `job` or `job:execution`."""
    return check_job_id(job_id.partition(":")[0] if isinstance(job_id, str) else job_id)


def get_current_job() -> Job[Any] | None:
    """The job whose function or callback runs here, None outside of one.

    It shows the attributes that the job had when it was claimed; its methods connect to Redis when they are first used.
    """
    current = current_run.get()
    if current is None:
        return None
    return current_job_of(current())


def current_job_of(run: CurrentRun) -> Job[Any]:
    """The job of a run, the same each time it is asked for in one place."""
    job = run.handles.get(here_in_loop())
    if job is None:
        job = _current(run)
        run.keep(here_in_loop(), job)
    return cast("Job[Any]", job)


def _current(run: CurrentRun) -> Job[Any]:
    kind = import_name(run.job_class) if run.job_class else Job
    if not (isinstance(kind, type) and issubclass(kind, JobRecord)):
        raise TypeError(f"the worker's job_class, {run.job_class}, is no subclass of aiorq.Job")
    if not issubclass(kind, Job):  # it is of the other API
        kind = Job
    job: Job[Any] = kind(run.job_id, None, run.serializer, prefix=run.prefix)
    job._connection = lambda: connect_as(dict(run.connection))  # anew in each event loop that the job's function runs
    job.decode(run.fields)
    job.status = JobStatus.STARTED
    job.worker_name = run.worker_name
    return job
