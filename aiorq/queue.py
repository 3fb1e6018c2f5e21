"""A queue: where jobs are put, and what waits in it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import total_ordering
from typing import Any, ParamSpec, TypeVar, cast, overload

from redis.asyncio import Redis

from aiorq.call import make_call
from aiorq.errors import NoSuchJobError
from aiorq.job import Job
from aiorq.keys import Keys, check_queue_name, is_job_id
from aiorq.options import (
    DEFAULT_TIMEOUT,
    JobOptions,
    check_on_lost,
    parse_kept,
    parse_timeout,
    parse_ttl,
    split_options,
)
from aiorq.serializers import resolve_serializer
from aiorq.store import jobs, queues
from aiorq.store.base import Store, store_of

P = ParamSpec("P")
R = TypeVar("R")
Duration = int | str
"""Seconds, or a text such as `90`, `15m`, `2h`, `1d`."""


@dataclass(frozen=True, slots=True)
class EnqueueData:
    """One job for `enqueue_many`; made by `Queue.prepare_data`."""

    func: Callable[..., Any] | str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    options: JobOptions


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
        *,
        job_class: type[Job[Any]] | None = None,
        serializer: object | None = None,
        prefix: str | None = None,
        on_lost: str | None = None,
    ) -> None:
        """Name a queue.

        Args:
            name: 1 to 100 characters without commas and control characters.
            connection: a `redis.asyncio.Redis`, a URL, or None for the environment's (`AIORQ_REDIS_URL`).
            default_timeout: seconds that a job may run unless it says otherwise; None for 180.
            job_class: what its jobs are made as.
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
        self.job_class: type[Job[Any]] = job_class or Job
        self._connection = connection
        self._prefix = prefix
        self._keys = Keys(prefix)
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """Where the queue lives. Connects nothing; needs a running event loop."""
        store = self._store
        # The client of a URL is one for each event loop.
        if store is None or not (isinstance(self._connection, Redis) or store.transport.is_home):
            store = self._store = store_of(self._connection, self._prefix)
        return store

    @property
    def connection(self) -> Redis:
        """The client that the queue uses."""
        return self.store.connection

    @property
    def key(self) -> str:
        """The key of the queue's list."""
        return self._keys.queue(self.name)

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
        cls, connection: Redis | str | None = None, *, serializer: object | None = None, prefix: str | None = None
    ) -> list[Queue]:
        """Every queue that was ever used, by name; those of RQ whose names aiorq does not take are left out."""
        store = store_of(connection, prefix)
        names = await queues.names(store)
        return [cls(name, store.connection, serializer=serializer, prefix=store.keys.prefix) for name in names]

    @classmethod
    def from_queue_key(
        cls,
        queue_key: str,
        connection: Redis | str | None = None,
        *,
        serializer: object | None = None,
        prefix: str | None = None,
    ) -> Queue:
        """The queue whose list is `queue_key`.

        Raises:
            ValueError: it is not the key of a queue.
        """
        name = Keys(prefix).queue_name(queue_key)
        return cls(name, connection, serializer=serializer, prefix=prefix)

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
            kwargs: its keyword arguments, and the options: `job_timeout`, `result_ttl`, `ttl`, `failure_ttl`,
                `description`, `job_id`, `at_front`, `meta`, `on_lost`, `memory_limit` (see `JobOptions`). `args=` and
                `kwargs=` give arguments explicitly, for functions with keywords of those names.

        Returns:
            the job, queued.

        Raises:
            TypeError, ValueError: a bad function or option.
            SerializationError: an argument cannot be serialised; `path` names it.
            DuplicateJobError: the job of this `job_id` runs. One that waits or ended is replaced.
            CorruptJobError: the key of this `job_id` holds no job.
            QueueFullError: Redis is at its memory limit.
            ConnectionLostError: Redis cannot be asked now. The job may be there all the same if the answer was lost.
        """
        options, explicit, rest = split_options(kwargs)
        if explicit is not None:
            if args:
                raise TypeError("give all positional arguments in args=, or none")
            args = explicit
        return await self.enqueue_job(self._make(EnqueueData(f, args, rest, options)), at_front=options.at_front)

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
        job_id: str | None = None,
        at_front: bool = False,
        meta: Mapping[str, Any] | None = None,
        *,
        on_lost: str | None = None,
        memory_limit: int | str | None = None,
    ) -> Job[Any]:
        """As `enqueue`, with the arguments of the function and the options apart."""
        data = self.prepare_data(
            func,
            args,
            kwargs,
            timeout,
            result_ttl,
            ttl,
            failure_ttl,
            description,
            job_id,
            at_front,
            meta,
            on_lost=on_lost,
            memory_limit=memory_limit,
        )
        return await self.enqueue_job(self._make(data), at_front=at_front)

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
        job_id: str | None = None,
        at_front: bool = False,
        meta: Mapping[str, Any] | None = None,
        *,
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
            job_id=job_id,
            at_front=at_front,
            meta=meta,
            on_lost=on_lost,
            memory_limit=cast("int | None", memory_limit),
        )
        return EnqueueData(func, tuple(args or ()), dict(kwargs or {}), options)

    async def enqueue_many(self, job_datas: Sequence[EnqueueData]) -> list[Job[Any]]:
        """Put many calls on the queue, in order, a hundred in each atomic step.

        Args:
            job_datas: from `prepare_data`.

        Returns:
            the jobs, in the same order.

        Raises:
            ValueError: two of them have the same `job_id`; nothing was enqueued.
            DuplicateJobError: the job of one `job_id` runs; all others were enqueued.
            CorruptJobError: the key of one `job_id` holds no job; all others were enqueued.
        """
        explicit = [data.options.job_id for data in job_datas if data.options.job_id is not None]
        if len(set(explicit)) != len(explicit):
            twice = next(job_id for job_id in explicit if explicit.count(job_id) > 1)
            raise ValueError(f"job_id {twice!r} stands twice in one enqueue_many; nothing was enqueued")
        made = [self._make(data) for data in job_datas]
        new = [self._new(job, data.options.at_front) for job, data in zip(made, job_datas, strict=True)]
        for job, moment in zip(made, await jobs.enqueue_many(self.store, new), strict=True):
            job.mark_enqueued(self.name, moment)
        return made

    async def enqueue_job(self, job: Job[R], at_front: bool = False) -> Job[R]:
        """Put a job that was made with `Job.create`, or read, on the queue, in one atomic step.

        It becomes a job of this queue and begins a new life, whatever became of it before.

        Raises:
            ValueError: a duration of the job was set to what is none.
            DuplicateJobError, CorruptJobError, QueueFullError, ConnectionLostError: as for `enqueue`.
        """
        job.timeout = parse_timeout(job.timeout) or self.default_timeout
        job.ttl = parse_ttl(job.ttl)
        job.result_ttl = parse_kept(job.result_ttl, "result_ttl")
        job.failure_ttl = parse_kept(job.failure_ttl, "failure_ttl")
        job.mark_enqueued(self.name, await jobs.enqueue(self.store, self._new(job, at_front)))
        return job

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
        job_id: str | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Job[Any]:
        """Make a job of this queue without enqueueing it; `enqueue_job` does that."""
        data = self.prepare_data(
            func, args, kwargs, timeout, result_ttl, ttl, failure_ttl, description, job_id, meta=meta
        )
        return self._make(data)

    def _make(self, data: EnqueueData) -> Job[Any]:
        job = self.job_class(data.options.job_id, self._connection, self.serializer, prefix=self._prefix)
        job.set_call(make_call(data.func, data.args, data.kwargs), data.options, self.default_timeout)
        job.origin = self.name
        job.on_lost = job.on_lost or self.on_lost
        return job

    def _new(self, job: Job[Any], at_front: bool) -> jobs.NewJob:
        nonce = "" if job.has_fresh_id else secrets.token_hex(8)
        return jobs.NewJob(job.id, self.name, job.fields_to_enqueue(self.name), job.ttl, at_front, nonce)

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

    async def remove(self, job_or_id: Job[Any] | str) -> int:
        """Take the first entry of a job out of the list; the job itself stays. Returns 1, or 0 if it was not there."""
        return await queues.remove(self.store, self.name, _id(job_or_id))

    async def empty(self) -> int:
        """Delete the jobs that wait; returns how many entries the list had. Atomic in steps of 500."""
        return await queues.empty(self.store, self.name)

    async def delete(self, delete_jobs: bool = True) -> None:
        """Remove the queue; with `delete_jobs` False the jobs that wait stay, in no queue."""
        if delete_jobs:
            await self.empty()
        await queues.forget(self.store, self.name)


def _id(job_or_id: Job[Any] | str) -> str:
    return job_or_id if isinstance(job_or_id, str) else job_or_id.id
