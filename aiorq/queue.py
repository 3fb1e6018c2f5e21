"""A queue: where jobs are put, and what waits in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import total_ordering
from typing import Any, ParamSpec, TypeVar, Unpack, cast, overload

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from aiorq.call import as_args, import_name, make_call
from aiorq.callback import AnyCallback
from aiorq.dependency import DependsOn
from aiorq.enqueuer import EnqueueData, Enqueuer
from aiorq.errors import NoSuchJobError
from aiorq.inline import run_sync
from aiorq.job import Job
from aiorq.keys import Keys, check_queue_name, is_job_id
from aiorq.options import DEFAULT_TIMEOUT, JobOptions, OptionWords, check_on_lost, split_options
from aiorq.placement import new_job, order_of_rq, parents_first, presumed
from aiorq.rate_limit import RateLimit
from aiorq.registry import (
    BaseRegistry,
    CanceledJobRegistry,
    DeferredJobRegistry,
    FailedJobRegistry,
    FinishedJobRegistry,
    ReadyJobRegistry,
    ScheduledJobRegistry,
    StartedJobRegistry,
)
from aiorq.retry import Repeat, Retry
from aiorq.seconds import Duration, parse_kept, parse_timeout, parse_ttl
from aiorq.serializers import resolve_serializer
from aiorq.status import JobStatus
from aiorq.store import jobs, queues
from aiorq.store.base import Store, store_of
from aiorq.store.jobs import NewJob
from aiorq.webhook import Webhook

__all__ = ["EnqueueData", "Queue"]

P = ParamSpec("P")
R = TypeVar("R")


@total_ordering
class Queue:
    """A list of jobs in Redis. It needs no declaration: the first enqueue makes it.

    Making a queue object asks nothing of Redis. Queues with the same name are equal.
    """

    DEFAULT_TIMEOUT = DEFAULT_TIMEOUT
    """Seconds that a job may run when neither it nor the queue says otherwise."""

    def __init__(
        self,
        name: str = "default",
        connection: Redis | str | None = None,
        default_timeout: Duration | None = None,
        is_async: bool = True,
        job_class: type[Job[Any]] | str | None = None,
        serializer: object | None = None,
        *,
        prefix: str | None = None,
        on_lost: str | None = None,
    ) -> None:
        """Name a queue.

        Args:
            name: 1 to 100 characters without commas and control characters.
            connection: a `redis.asyncio.Redis`, a URL, or None for the environment's (`AIORQ_REDIS_URL`).
            default_timeout: seconds that a job may run unless it says otherwise; None for 180.
            is_async: False to run each job at once, in the process that enqueues it, in place of a worker: for tests.
                Redis is needed all the same, and keeps what RQ keeps.
            job_class: what its jobs are made as: a class, or its dotted name.
            serializer: `pickle`, `json`, a dotted path or an object with `dumps` and `loads`; workers need the same.
            prefix: of all keys; None for the environment's (`AIORQ_KEY_PREFIX`, else `rq`).
            on_lost: what becomes of jobs that this object enqueues, and which do not say so themselves, if their worker
                is lost while they run: `fail`, or `requeue`, three times at most; None for the worker's setting.

        Raises:
            ValueError, TypeError: a bad name, timeout, serializer, prefix or `on_lost`.
        """
        self.name = check_queue_name(name)
        self.default_timeout: int = parse_timeout(default_timeout) or self.DEFAULT_TIMEOUT
        self.serializer = resolve_serializer(serializer)
        self.on_lost = check_on_lost(on_lost)
        self.is_async = is_async
        self.job_class: type[Job[Any]] = _job_class(job_class)
        self._connection = connection
        self._prefix = prefix
        Keys(prefix)  # says what is wrong with it
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """Where the queue lives. Connects nothing; needs a running event loop."""
        store = self._store
        # The client of a URL is one for each event loop.
        if store is None or store.is_over or not (isinstance(self._connection, Redis) or store.transport.is_home):
            store = self._store = store_of(self._connection, self._prefix)
        return store

    @property
    def connection(self) -> Redis:
        """The client that the queue uses."""
        client: Redis = self.store.connection
        return client

    @property
    def key(self) -> str:
        """The key of the queue's list."""
        return Keys(self._prefix).queue(self.name)

    @property
    def started_job_registry(self) -> StartedJobRegistry:
        """The jobs of the queue that run."""
        return StartedJobRegistry(queue=self)

    @property
    def finished_job_registry(self) -> FinishedJobRegistry:
        """Those that have finished and are kept."""
        return FinishedJobRegistry(queue=self)

    @property
    def failed_job_registry(self) -> FailedJobRegistry:
        """Those that failed or were stopped, and are kept."""
        return FailedJobRegistry(queue=self)

    @property
    def deferred_job_registry(self) -> DeferredJobRegistry:
        """Those that wait for others."""
        return DeferredJobRegistry(queue=self)

    @property
    def ready_job_registry(self) -> ReadyJobRegistry:
        """Those that wait for nothing any more, and which RQ has not put on the queue yet."""
        return ReadyJobRegistry(queue=self)

    @property
    def scheduled_job_registry(self) -> ScheduledJobRegistry:
        """Those that wait for their time."""
        return ScheduledJobRegistry(queue=self)

    @property
    def canceled_job_registry(self) -> CanceledJobRegistry:
        """Those that were canceled and are kept."""
        return CanceledJobRegistry(queue=self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def __str__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Queue):
            raise TypeError("cannot compare queues to other objects")
        return self.name == other.name

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Queue):
            raise TypeError("cannot compare queues to other objects")
        return self.name < other.name

    def __hash__(self) -> int:
        return hash(self.name)

    @classmethod
    async def all(
        cls,
        connection: Redis | str | None = None,
        job_class: type[Job[Any]] | str | None = None,
        serializer: object | None = None,
        *,
        prefix: str | None = None,
    ) -> list[Queue]:
        """Every queue that was ever used, by name; those of RQ whose names aiorq does not take are left out."""
        store = store_of(connection, prefix)
        options = {"job_class": job_class, "serializer": serializer, "prefix": store.keys.prefix}
        return [cls(name, store.connection, **cast("Any", options)) for name in await queues.names(store)]

    @classmethod
    def from_queue_key(
        cls,
        queue_key: str,
        connection: Redis | str | None = None,
        job_class: type[Job[Any]] | str | None = None,
        serializer: object | None = None,
        *,
        prefix: str | None = None,
    ) -> Queue:
        """The queue whose list is `queue_key`.

        Raises:
            ValueError: it is not the key of a queue.
        """
        name = Keys(prefix).queue_name(queue_key)
        return cls(name, connection, job_class=job_class, serializer=serializer, prefix=prefix)

    @overload
    async def enqueue(self, f: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> Job[R]: ...
    @overload
    async def enqueue(self, f: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Job[R]: ...
    @overload
    async def enqueue(self, f: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> Job[Any]: ...
    async def enqueue(self, f: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Put a call of `f` on the queue, in one atomic step; enqueues awaited at the same moment share a round trip.

        Args:
            f: a function that workers can import, a method, a callable object, or the dotted name of a function.
            args: its positional arguments.
            kwargs: its keyword arguments, and the options: all of `JobOptions`, and `pipeline`, one of the caller's to
                add the call to. `args=` and `kwargs=` give arguments explicitly, for functions with keywords of those
                names.

        Returns:
            the job: queued; deferred, where it waits for others; or rate limited. With `is_async` False it has ended.

        Raises:
            TypeError, ValueError: a bad function or option.
            SerializationError: an argument cannot be serialised; `path` names it.
            DuplicateJobError: the job of this `job_id` runs, or exists and `unique` was asked for. Otherwise one that
                waits or ended is replaced.
            DependencyCycleError: it would wait for itself, or for a job that waits for it.
            CorruptJobError: the key of this `job_id` holds no job.
            QueueFullError: Redis is at its memory limit.
            ConnectionLostError: Redis cannot be asked now. The job may be there all the same if the answer was lost.
        """
        return await self._enqueue_call(f, args, kwargs)

    async def enqueue_at(
        self, datetime: datetime, f: Callable[..., Any] | str, /, *args: Any, **kwargs: Any
    ) -> Job[Any]:
        """As `enqueue`, for a later time.

        Args:
            datetime: when the job may run at the earliest; one without a timezone is local time, as in RQ. One that is
                past means now.
            f: as for `enqueue`.
            args: its positional arguments.
            kwargs: as for `enqueue`.

        Returns:
            the job, scheduled, unless it waits for others first.
        """
        return await self._enqueue_call(f, args, kwargs, datetime)

    async def enqueue_in(
        self, time_delta: timedelta, func: Callable[..., Any] | str, /, *args: Any, **kwargs: Any
    ) -> Job[Any]:
        """As `enqueue_at`, for the time that is `time_delta` from now by the server's clock."""
        return await self._enqueue_call(func, args, kwargs, time_delta)

    async def _enqueue_call(
        self,
        f: Callable[..., Any] | str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        when: datetime | timedelta | None = None,
    ) -> Job[Any]:
        pipeline = kwargs.pop("pipeline", None)
        options, explicit, rest = split_options(kwargs)
        if explicit is not None:
            if args:
                raise TypeError("give all positional arguments in args=, or none")
            args = explicit
        return await self.enqueue_data(EnqueueData(f, args, rest, options), when, pipeline)

    async def enqueue_call(
        self,
        func: Callable[..., Any] | str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        timeout: Duration | None = None,
        result_ttl: Duration | None = None,
        ttl: Duration | None = None,
        failure_ttl: Duration | None = None,
        description: str | None = None,
        depends_on: DependsOn | None = None,
        job_id: str | None = None,
        at_front: bool = False,
        meta: Mapping[str, Any] | None = None,
        retry: Retry | None = None,
        repeat: Repeat | None = None,
        on_success: AnyCallback | None = None,
        on_failure: AnyCallback | None = None,
        on_stopped: AnyCallback | None = None,
        rate_limit: RateLimit | None = None,
        pipeline: Pipeline | None = None,
        unique: bool = False,
        webhooks: Sequence[Webhook] | None = None,
        *,
        on_lost: str | None = None,
        memory_limit: int | str | None = None,
    ) -> Job[Any]:
        """As `enqueue`, with the arguments of the function and the options apart."""
        options = JobOptions(
            job_timeout=cast("int | None", timeout),
            result_ttl=cast("int | None", result_ttl),
            ttl=cast("int | None", ttl),
            failure_ttl=cast("int | None", failure_ttl),
            description=description,
            depends_on=depends_on,
            job_id=job_id,
            at_front=at_front,
            meta=meta,
            retry=retry,
            repeat=repeat,
            on_success=on_success,
            on_failure=on_failure,
            on_stopped=on_stopped,
            rate_limit=rate_limit,
            unique=unique,
            webhooks=webhooks,
            on_lost=on_lost,
            memory_limit=cast("int | None", memory_limit),
        )
        return await self.enqueue_data(EnqueueData(func, as_args(args), dict(kwargs or {}), options), None, pipeline)

    def options(self, **options: Unpack[OptionWords]) -> Enqueuer:
        """Say the options first, so that what follows is the function's own and type checkers can check it.

        `await queue.options(job_timeout=30, retry=Retry(3)).enqueue(f, 1, 2)`. The options are those of `JobOptions`.

        Raises:
            TypeError, ValueError: a bad option.
        """
        return Enqueuer(self, JobOptions(**cast("Any", options)))

    @staticmethod
    def prepare_data(
        func: Callable[..., Any] | str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        timeout: Duration | None = None,
        result_ttl: Duration | None = None,
        ttl: Duration | None = None,
        failure_ttl: Duration | None = None,
        description: str | None = None,
        depends_on: DependsOn | None = None,
        job_id: str | None = None,
        at_front: bool = False,
        meta: Mapping[str, Any] | None = None,
        retry: Retry | None = None,
        on_success: AnyCallback | None = None,
        on_failure: AnyCallback | None = None,
        on_stopped: AnyCallback | None = None,
        repeat: Repeat | None = None,
        webhooks: Sequence[Webhook] | None = None,
        *,
        rate_limit: RateLimit | None = None,
        on_lost: str | None = None,
        memory_limit: int | str | None = None,
    ) -> EnqueueData:
        """Describe one job for `enqueue_many`.

        Raises:
            TypeError, ValueError: a bad option.
        """
        options = JobOptions(
            job_timeout=cast("int | None", timeout),
            result_ttl=cast("int | None", result_ttl),
            failure_ttl=cast("int | None", failure_ttl),
            ttl=cast("int | None", ttl),
            description=description,
            depends_on=depends_on,
            job_id=job_id,
            at_front=at_front,
            meta=meta,
            retry=retry,
            repeat=repeat,
            on_success=on_success,
            on_failure=on_failure,
            on_stopped=on_stopped,
            rate_limit=rate_limit,
            webhooks=webhooks,
            on_lost=on_lost,
            memory_limit=cast("int | None", memory_limit),
        )
        return EnqueueData(func, as_args(args), dict(kwargs or {}), options)

    async def enqueue_data(
        self, data: EnqueueData, when: datetime | timedelta | None = None, pipeline: Pipeline | None = None
    ) -> Job[Any]:
        """Put a described job on the queue, now or for a later time; otherwise as `enqueue`.

        Args:
            data: from `prepare_data`, or from `prepare` of `options(...)`.
            when: the moment, or the time from now, before which the job may not run; None for now.
            pipeline: one of the caller's to add the call to.
        """
        job = self._make(data)
        return await self._put(job, data.options.at_front, data.options.unique, when, pipeline)

    async def enqueue_many(
        self,
        job_datas: Iterable[EnqueueData],
        pipeline: Pipeline | None = None,
        group_id: str | None = None,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[Job[Any]]:
        """Put many calls on the queue, in order, a hundred in each atomic step.

        They may depend on each other, in whatever order they stand.

        Args:
            job_datas: from `prepare_data`.
            pipeline: one of the caller's to add the calls to.
            group_id: the name of the group that they are to belong to.
            progress: is told after each step how many were sent.

        Returns:
            the jobs, in RQ's order: first those that depend on nothing, then those that wait for others, then those
            that depended on others and did not have to wait; each of these as they stood.

        Raises:
            ValueError: two of them have the same `job_id`; nothing was enqueued.
            DependencyCycleError: some of them would wait for each other; nothing was enqueued.
            DuplicateJobError: the job of one `job_id` runs, or exists and was to be unique; all others were enqueued.
            CorruptJobError: the key of one `job_id` holds no job; all others were enqueued.
        """
        datas = list(job_datas)
        explicit = [data.options.job_id for data in datas if data.options.job_id is not None]
        if len(set(explicit)) != len(explicit):
            twice = next(job_id for job_id, count in Counter(explicit).items() if count > 1)
            raise ValueError(f"job_id {twice!r} stands twice in one enqueue_many; nothing was enqueued")
        made = [(self._make(data, group_id), data.options) for data in datas]
        ordered = parents_first(made)
        if not self.is_async:
            for job, options in ordered:
                await self._put(job, options.at_front, options.unique, None, pipeline)
            return sorted((job for job, _ in made), key=order_of_rq)
        new = [self._new(job, options.at_front, options.unique) for job, options in ordered]
        if pipeline is not None:
            jobs.enqueue_into(self.store, pipeline, new)
            placed = [presumed(each) for each in new]
        else:
            placed = await jobs.enqueue_many(self.store, new, progress)
        for (job, _), place in zip(ordered, placed, strict=True):
            job.mark_placed(self.name, place)
        return sorted((job for job, _ in made), key=order_of_rq)

    async def enqueue_job(
        self, job: Job[R], pipeline: Pipeline | None = None, at_front: bool = False, unique: bool = False
    ) -> Job[R]:
        """Put a job that was made with `Job.create`, or read, on the queue, in one atomic step.

        It becomes a job of this queue and begins a new life, whatever became of it before. One that was made without a
        connection takes that of the queue.

        Args:
            job: which.
            pipeline: one of the caller's to add the call to.
            at_front: put it at the front.
            unique: refuse it if there is a job of its id.

        Raises:
            ValueError: a duration of the job was set to what is none.
            DuplicateJobError, CorruptJobError, QueueFullError, ConnectionLostError: as for `enqueue`.
        """
        return await self._put(job, at_front, unique, None, pipeline)

    async def schedule_job(
        self, job: Job[R], datetime: datetime, pipeline: Pipeline | None = None, unique: bool = False
    ) -> Job[R]:
        """As `enqueue_job`, for a later time (see `enqueue_at`).

        A job without a timeout gets that of the queue when it is due.
        """
        if job.timeout is None and self.default_timeout != self.DEFAULT_TIMEOUT:
            job.timeout_when_due = self.default_timeout
        return await self._put(job, bool(job.enqueue_at_front), unique, datetime, pipeline, fills=False)

    def create_job(
        self,
        func: Callable[..., Any] | str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        timeout: Duration | None = None,
        result_ttl: Duration | None = None,
        ttl: Duration | None = None,
        failure_ttl: Duration | None = None,
        description: str | None = None,
        depends_on: DependsOn | None = None,
        job_id: str | None = None,
        meta: Mapping[str, Any] | None = None,
        status: JobStatus = JobStatus.QUEUED,
        retry: Retry | None = None,
        repeat: Repeat | None = None,
        *,
        on_success: AnyCallback | None = None,
        on_failure: AnyCallback | None = None,
        on_stopped: AnyCallback | None = None,
        webhooks: Sequence[Webhook] | None = None,
        group_id: str | None = None,
        rate_limit: RateLimit | None = None,
    ) -> Job[Any]:
        """Make a job of this queue without enqueueing it; `enqueue_job` does that."""
        data = self.prepare_data(
            func,
            args,
            kwargs,
            timeout,
            result_ttl,
            ttl,
            failure_ttl,
            description,
            depends_on,
            job_id,
            meta=meta,
            retry=retry,
            repeat=repeat,
            on_success=on_success,
            on_failure=on_failure,
            on_stopped=on_stopped,
            webhooks=webhooks,
            rate_limit=rate_limit,
        )
        job = self._make(data, group_id)
        job.status = JobStatus(status)
        return job

    def _make(self, data: EnqueueData, group_id: str | None = None) -> Job[Any]:
        job = self.job_class(data.options.job_id, self._connection, self.serializer, prefix=self._prefix)
        job.set_call(make_call(data.func, data.args, data.kwargs), data.options, self.default_timeout)
        job.origin = self.name
        job.on_lost = job.on_lost or self.on_lost
        job.group_id = group_id
        return job

    async def _put(
        self,
        job: Job[R],
        at_front: bool,
        unique: bool,
        when: datetime | timedelta | None,
        pipeline: Pipeline | None,
        *,
        fills: bool = True,
    ) -> Job[R]:
        job.belong_to(self._connection, self._prefix)
        job.timeout = parse_timeout(job.timeout)
        if job.timeout is None and fills:
            job.timeout = self.default_timeout
        job.ttl = parse_ttl(job.ttl)
        job.result_ttl = parse_kept(job.result_ttl, "result_ttl")
        job.failure_ttl = parse_kept(job.failure_ttl, "failure_ttl")
        new = self._new(job, at_front, unique, when)
        if new.run_token and pipeline is not None:
            raise ValueError("a queue whose jobs run at once (is_async=False) cannot enqueue them in a pipeline")
        if pipeline is not None:
            jobs.enqueue_into(self.store, pipeline, [new])
            job.mark_placed(self.name, presumed(new))
            return job
        job.mark_placed(self.name, await jobs.enqueue(self.store, new))
        if job.status is JobStatus.STARTED:
            await run_sync(job, new.run_token)
        return job

    def _new(
        self, job: Job[Any], at_front: bool, unique: bool = False, when: datetime | timedelta | None = None
    ) -> NewJob:
        return new_job(job, self.name, at_front=at_front, unique=unique, when=when, runs_here=not self.is_async)

    async def count(self) -> int:
        """How many jobs wait in the queue; deferred and scheduled ones do not count."""
        return await queues.count(self.store, self.name)

    async def is_empty(self) -> bool:
        """Whether no job waits."""
        return await self.count() == 0

    async def get_job_ids(self, offset: int = 0, length: int = -1) -> list[str]:
        """Ids from the front.

        Args:
            offset: the first index.
            length: how many; -1 for all.
        """
        if length == 0:
            return []
        return await queues.job_ids(self.store, self.name, offset, offset + length - 1 if length > 0 else -1)

    async def job_ids(self) -> list[str]:
        """The ids of all jobs that wait, from the front."""
        return await self.get_job_ids()

    async def jobs(self) -> list[Job[Any]]:
        """All jobs that wait, as `get_jobs`."""
        return await self.get_jobs()

    async def get_jobs(self, offset: int = 0, length: int = -1) -> list[Job[Any]]:
        """Jobs from the front; ids whose job is gone, and what is no id, are left out.

        Raises:
            CorruptJobError: one of them cannot be read; the error names it.
        """
        ids = [job_id for job_id in await self.get_job_ids(offset, length) if is_job_id(job_id)]
        store = self.store
        found = await self.job_class.fetch_many(ids, store.connection, self.serializer, prefix=store.keys.prefix)
        return [job for job in found if job is not None]

    async def fetch_job(self, job_id: str) -> Job[Any] | None:
        """Read a job of this queue; None when it is another queue's, or does not exist.

        As in RQ the id of a job that does not exist is taken out of the list.
        """
        store = self.store
        try:
            job = await self.job_class.fetch(job_id, store.connection, self.serializer, prefix=store.keys.prefix)
        except NoSuchJobError:
            await self.remove(job_id)
            return None
        return job if job.origin == self.name else None

    async def get_job_position(self, job_or_id: Job[Any] | str) -> int | None:
        """The index of a job from the front; None when it does not wait here."""
        return await queues.position(self.store, self.name, _id(job_or_id))

    async def remove(self, job_or_id: Job[Any] | str, pipeline: Pipeline | None = None) -> int:
        """Take the first entry of a job out of the list; the job itself stays. Returns 1, or 0 if it was not there.

        With a pipeline of the caller's the call is added to that one, which then knows the answer, and 0 is returned.
        """
        if pipeline is not None:
            queues.remove_into(self.store, pipeline, self.name, _id(job_or_id))
            return 0
        return await queues.remove(self.store, self.name, _id(job_or_id))

    async def compact(self) -> int:
        """Take ids out of the list whose job is gone; returns how many. The order of the others stays."""
        return await queues.compact(self.store, self.name)

    async def scheduler_pid(self) -> int | None:
        """The process id of the worker, or of RQ's scheduler, that looks after what is due; None when there is none."""
        return await queues.scheduler_pid(self.store, self.name)

    async def pause(self, reason: str = "") -> queues.Pause:
        """Let no worker of aiorq take jobs from the queue until `resume`; what runs goes on, and jobs can be enqueued.

        A queue that is paused already stays so since then, with the new reason. Workers of RQ know of suspension only.

        Args:
            reason: for people.

        Returns:
            the reason, and since when the queue is paused by the server's clock.
        """
        return await queues.pause(self.store, self.name, reason)

    async def resume(self) -> bool:
        """Let workers take jobs from the queue again; returns whether it was paused."""
        return await queues.resume(self.store, self.name)

    async def paused(self) -> queues.Pause | None:
        """Why and since when the queue is paused; None when it is not."""
        return await queues.paused(self.store, self.name)

    async def empty(self, *, progress: Callable[[int], None] | None = None) -> int:
        """Delete the jobs that wait, 500 in each atomic step; returns how many entries the list had.

        Args:
            progress: is told after each step how many entries it took.
        """
        return await queues.empty(self.store, self.name, progress)

    async def delete(self, delete_jobs: bool = True) -> None:
        """Remove the queue; with `delete_jobs` False the jobs that wait stay, in no queue."""
        if delete_jobs:
            while await self.empty():  # jobs that had waited for those are let go, and come to the queue now
                continue
        await queues.forget(self.store, self.name)


BaseRegistry.queue_class = Queue  # which is built upon registries, and which they give back


def _job_class(given: type[Job[Any]] | str | None) -> type[Job[Any]]:
    found = import_name(given) if isinstance(given, str) else given or Job
    if not (isinstance(found, type) and issubclass(found, Job)):
        raise TypeError(f"job_class must be a subclass of aiorq.Job, not {given!r}")
    return found


def _id(job_or_id: Job[Any] | str) -> str:
    return job_or_id if isinstance(job_or_id, str) else job_or_id.id
