"""Registries: the jobs of a queue by their state, listed, counted, and requeued.

A look changes nothing. RQ cleans a registry whenever it is looked at, and runs the callbacks of lost jobs where that is
done; here `cleanup=True` only leaves out what has expired. Workers clean all registries about once a minute, and
`cleanup()` does it at once.
"""
# Made of aiorq/registry.py by tests/sync/generate.py: change that one.

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, Final, NoReturn, Protocol

from redis import Redis
from redis.client import Pipeline

from aiorq.errors import CorruptJobError, InvalidJobOperation, NoSuchJobError
from aiorq.keys import Keys, check_queue_name, is_job_id
from aiorq.options import DEFAULT_FAILURE_TTL
from aiorq.rate_limit import RateLimit
from aiorq.serializers import Serializer, resolve_serializer
from aiorq.store import jobs, limits, registries
from aiorq.store.base import Store
from aiorq.store.blocking import drive, store_of
from aiorq.store.connection import place_of
from aiorq.store.registries import Shown
from aiorq.sync.job import Job
from aiorq.sync.operators import Listed

_REQUEUABLE: Final = frozenset({"finished", "failed", "canceled", "deferred", "scheduled"})
_FETCHED: Final = 500
"""Jobs that are read in one round trip."""
_REQUEUED: Final = 100
"""Jobs that are requeued in one round trip."""


class QueueLike(Protocol):
    """A queue, as far as its registries know it."""

    name: str
    serializer: Serializer
    job_class: type[Job[Any]]
    _connection: Redis | str | None
    _prefix: str | None


class BaseRegistry(Listed):
    """The jobs of one queue that are in one state. Making one asks nothing of Redis."""

    kind: ClassVar[str] = ""
    """The word in its key: `<prefix>:<kind>:<name of the queue>`."""
    expires: ClassVar[bool] = False
    """Whether an entry counts until the time that is its score."""
    queue_class: ClassVar[type[Any] | None] = None
    """The class that `get_queue` makes; `aiorq.sync.queue`, which is built upon this module, says which."""

    def __init__(
        self,
        name: str = "default",
        connection: Redis | str | None = None,
        job_class: type[Job[Any]] | None = None,
        queue: QueueLike | None = None,
        serializer: object | None = None,
        *,
        prefix: str | None = None,
    ) -> None:
        """Name a registry; `queue.failed_job_registry` and its like are the usual ways.

        Args:
            name: of its queue.
            connection: a client, a URL, or None for the environment's.
            job_class: what its jobs are read as.
            queue: the queue itself, in place of all else but `job_class`.
            serializer: that of the queue.
            prefix: of all keys; None for the environment's.

        Raises:
            ValueError, TypeError: a bad name, serializer or prefix.
        """
        self.name: str = queue.name if queue else check_queue_name(name)
        self.serializer: Serializer = queue.serializer if queue else resolve_serializer(serializer)
        self.job_class: type[Job[Any]] = job_class or (queue.job_class if queue else Job)
        self._queue = queue
        self._connection = queue._connection if queue else connection
        self._keys = Keys(queue._prefix if queue else prefix)

    @property
    def store(self) -> Store:
        """Where the registry lives. Connects nothing."""
        return store_of(self._connection, self._keys.prefix)

    @property
    def connection(self) -> Redis:
        """The client that the registry uses."""
        client: Redis = self.store.connection
        return client

    @property
    def key(self) -> str:
        """The key of the registry."""
        return self._keys.registry(self.kind, self.name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def __eq__(self, other: object) -> bool:
        """Whether it is the same registry: its kind, queue, prefix, and place."""
        return (
            isinstance(other, BaseRegistry)
            and other.key == self.key
            and place_of(other._connection) == place_of(self._connection)
        )

    def __hash__(self) -> int:
        return hash(self.key)

    def get_queue(self) -> Any:
        """The `Queue` that the registry belongs to.

        Raises:
            RuntimeError: it was not made by a queue, and nobody has imported `aiorq.sync.queue`.
        """
        if self._queue is not None:
            return self._queue
        if self.queue_class is None:
            raise RuntimeError(f"{self!r} cannot make its queue: import aiorq.sync.queue first")
        return self.queue_class(
            self.name,
            self._connection,
            job_class=self.job_class,
            serializer=self.serializer,
            prefix=self._keys.prefix,
        )

    @staticmethod
    def parse_job_id(entry: str) -> str:
        """The id of the job that an entry stands for."""
        return entry

    def _shown(self, cleanup: bool) -> Shown:
        return "live" if cleanup and self.expires else "all"

    @property
    def count(self) -> int:
        """How many jobs there are, those that have expired not among them."""
        return self.get_job_count()

    def get_job_count(self, cleanup: bool = True) -> int:
        """How many jobs there are.

        Args:
            cleanup: leave out what has expired. Unlike in RQ, nothing is removed.
        """
        return drive(registries.count(self.store, self.key, shown=self._shown(cleanup)))

    def get_job_ids(self, start: int = 0, end: int = -1, desc: bool = False, cleanup: bool = True) -> list[str]:
        """Ids in the order of their scores: what expires, is due, or came in first at the front.

        Args:
            start: the first index; negative ones count from the end.
            end: the last index, included.
            desc: turn the order round.
            cleanup: leave out what has expired. Unlike in RQ, nothing is removed.
        """
        shown = self._shown(cleanup)
        entries = drive(registries.members(self.store, self.key, start, end, shown=shown, desc=desc))
        return [self.parse_job_id(entry) for entry in entries]

    def get_jobs(self, start: int = 0, end: int = -1, desc: bool = False) -> list[Job[Any]]:
        """As `get_job_ids`, read; ids whose job is gone, and what is no id, are left out.

        Raises:
            CorruptJobError: one of them cannot be read; the error names it.
        """
        ids = [job_id for job_id in self.get_job_ids(start, end, desc) if is_job_id(job_id)]
        return read_jobs(self.store, ids, self.job_class, self.serializer)

    def contains(self, job_or_id: Job[Any] | str) -> bool:
        """Whether a job is listed."""
        return drive(registries.score(self.store, self.key, id_of(job_or_id))) is not None

    def get_expired_job_ids(self, timestamp: float | None = None) -> list[str]:
        """The ids whose score has been reached, which is when they expire, are due, or came in.

        Args:
            timestamp: seconds since 1970 that count as now; None for the server's time.
        """
        entries = drive(registries.members(self.store, self.key, shown="expired", moment=timestamp))
        return [self.parse_job_id(entry) for entry in entries]

    def get_expiration_time(self, job: Job[Any] | str) -> datetime | None:
        """Until when a job is listed, where the registry is one that forgets; None for ever.

        Raises:
            NoSuchJobError: it is not listed.
        """
        return registries.as_moment(self._score(job))

    def _score(self, job_or_id: Job[Any] | str) -> float:
        score = drive(registries.score(self.store, self.key, id_of(job_or_id)))
        if score is None:
            raise NoSuchJobError(id_of(job_or_id))
        return score

    def add(self, job: Job[Any] | str, ttl: int = 0) -> int:
        """List a job, which changes neither its state nor where else it is listed.

        Args:
            job: the job, or its id.
            ttl: seconds from now that become its score; a negative one for ever.

        Returns:
            1, or 0 when it was listed before and has a new score.
        """
        return self._add(job, ttl, "+inf")

    def _add(self, job: Job[Any] | str, ttl: int, for_ever: float | str) -> int:
        score: float | str = for_ever
        if ttl >= 0:
            score = int(drive(registries.server_time(self.store))) + ttl
        return drive(registries.add(self.store, self.key, id_of(job), score))

    def remove(self, job: Job[Any] | str, pipeline: Pipeline | None = None, delete_job: bool = False) -> int:
        """Take a job off the list, which does not change its state.

        Args:
            job: the job, or its id.
            pipeline: one of the caller's to add the calls to.
            delete_job: delete the job, completely, wherever it is.

        Returns:
            1, or 0 when it was not listed, or where a pipeline was given, which then knows the answer.
        """
        if pipeline is not None:
            registries.remove_into(pipeline, self.key, id_of(job))
            if delete_job:
                jobs.delete_into(self.store, pipeline, id_of(job))
            return 0
        removed = drive(registries.remove(self.store, self.key, id_of(job)))
        if delete_job:
            drive(jobs.delete(self.store, [id_of(job)]))
        return removed

    def requeue(self, job_or_id: Job[Any] | str, at_front: bool = False) -> Job[Any]:
        """Put a job that is listed here on its queue, in one atomic step, whether it has ended or waits for something.

        Args:
            job_or_id: which.
            at_front: put it at the front.

        Returns:
            the job.

        Raises:
            InvalidJobOperation: it is not in this registry, or what is in it runs.
            NoSuchJobError: it does not exist (any more).
        """
        store = self.store
        self._check_requeuable(f"job {id_of(job_or_id)!r}")
        job = job_or_id
        if isinstance(job, str):
            job = self.job_class.fetch(job, store.connection, self.serializer, prefix=store.keys.prefix)
        if job.origin != self.name:
            raise InvalidJobOperation(f"job {job.id!r} cannot be requeued: it is of queue {job.origin!r}, not {self!r}")
        return job.requeue_from(self.kind, at_front)

    def requeue_all(self, at_front: bool = False, progress: Callable[[int], None] | None = None) -> int:
        """Put the jobs that are listed now back on their queue, a hundred in each round trip, each in one atomic step.

        A job that fails again meanwhile is not requeued again and again: it ends after as many as were listed at first.

        Args:
            at_front: put them at the front, in the same order.
            progress: is told after each round trip how many were requeued.

        Returns:
            how many were requeued. Those that are gone, or cannot be read, stay where they are.

        Raises:
            InvalidJobOperation: what is in this registry runs.
        """
        store = self.store
        self._check_requeuable("jobs")
        left, passed, requeued = self.count, 0, 0
        while left > 0:
            # What is requeued leaves the list, and the next ones move up. From the end when each goes before the last.
            page = drive(
                registries.browse(
                    store, self.key, passed, passed + min(left, _REQUEUED) - 1, shown=self._shown(True), desc=at_front
                )
            )
            if not page.members:
                break
            entries = [registries.as_text(member) for member in page.members]
            calls = [jobs.requeue(store, self.parse_job_id(entry), self.kind, at_front) for entry in entries]
            for outcome in drive(store.transport.gather(calls)):
                if isinstance(outcome, (NoSuchJobError, InvalidJobOperation, CorruptJobError)):
                    passed += 1
                elif isinstance(outcome, BaseException):
                    raise outcome
                else:
                    requeued += 1
            left -= len(entries)
            if progress is not None:
                progress(requeued)
        return requeued

    def _check_requeuable(self, what: str) -> None:
        if self.kind not in _REQUEUABLE:
            raise InvalidJobOperation(f"{what} cannot be requeued from {self!r}")

    def cleanup(self, timestamp: float | None = None) -> int:
        """Take out what has no place here any more; workers do so about once a minute.

        Args:
            timestamp: seconds since 1970 that count as now; None for the server's time.

        Returns:
            how many entries have left.
        """
        return drive(registries.clean(self.store, self.key, registries.STALE[self.kind], timestamp))


class StartedJobRegistry(BaseRegistry):
    """The jobs that run. Its entries are runs, `<job id>:<execution id>`, and their scores the ends of their leases."""

    kind = "wip"
    expires = True

    @staticmethod
    def parse_job_id(entry: str) -> str:
        """The id of the job whose run an entry stands for."""
        return entry.partition(":")[0]

    def get_job_and_execution_ids(
        self, start: int = 0, end: int = -1, desc: bool = False, cleanup: bool = True
    ) -> list[tuple[str, str]]:
        """As `get_job_ids`, each with the id of the execution."""
        shown = self._shown(cleanup)
        found = []
        for entry in drive(registries.members(self.store, self.key, start, end, shown=shown, desc=desc)):
            job_id, _, execution_id = entry.partition(":")
            found.append((job_id, execution_id))
        return found

    def contains(self, job_or_id: Job[Any] | str) -> bool:
        """Whether a run of a job is listed."""
        return bool(drive(registries.runs_of(self.store, self.key, id_of(job_or_id))))

    def _score(self, job_or_id: Job[Any] | str) -> float:
        for entry in drive(registries.runs_of(self.store, self.key, id_of(job_or_id))):
            score = drive(registries.score(self.store, self.key, entry))
            if score is not None:
                return score
        raise NoSuchJobError(id_of(job_or_id))

    def add(self, job: Job[Any] | str, ttl: int = 0) -> NoReturn:
        """Not possible, as in RQ: a job is listed here by the worker that runs it."""
        raise NotImplementedError("a job is listed as running by the worker that runs it")

    def remove(self, job: Job[Any] | str, pipeline: Pipeline | None = None, delete_job: bool = False) -> NoReturn:
        """Not possible, as in RQ: a run leaves at its end; `job.stop()`, `job.cancel()` and `job.delete()` end it."""
        raise NotImplementedError("a run leaves this registry at its end: stop, cancel or delete the job")

    def cleanup(self, timestamp: float | None = None) -> int:  # noqa: ARG002
        """Nothing: runs whose lease has expired are ended by the workers, which any of them does within seconds."""
        return 0


class FinishedJobRegistry(BaseRegistry):
    """The jobs that have finished, until their results expire."""

    kind = "finished"
    expires = True


class FailedJobRegistry(BaseRegistry):
    """The jobs that have failed, or were stopped."""

    kind = "failed"
    expires = True

    def add(self, job: Job[Any] | str, ttl: int | None = None) -> int:
        """As in other registries; `ttl` is a year unless given. A job that has ended is kept as long, as in RQ."""
        kept = DEFAULT_FAILURE_TTL if ttl is None else ttl
        return drive(registries.list_failed(self.store, self.key, id_of(job), kept))


class _Waiting(BaseRegistry):
    """A registry whose scores are the times at which its jobs came in."""

    def add(self, job: Job[Any] | str, ttl: int = 0) -> int:  # noqa: ARG002 - RQ's parameter
        """As in other registries; the score is the present time."""
        return self._add(job, 0, 0)

    def get_expiration_time(self, job: Job[Any] | str) -> datetime | None:
        """None: these jobs do not leave by the clock.

        Raises:
            NoSuchJobError: it is not listed.
        """
        self._score(job)
        return None


class DeferredJobRegistry(_Waiting):
    """The jobs that wait for others; those that have waited longest at the front."""

    kind = "deferred"


class ReadyJobRegistry(_Waiting):
    """The jobs that wait for no other any more and that RQ has not put on their queue yet; workers do it in seconds."""

    kind = "ready"


class ScheduledJobRegistry(BaseRegistry):
    """The jobs that wait for their time, which is the score; what is due first at the front."""

    kind = "scheduled"

    def schedule(self, job: Job[Any] | str, scheduled_datetime: datetime) -> int:
        """List a job for that moment, or for another one than before; `queue.enqueue_at` is what makes one wait for it.

        Args:
            job: the job, or its id.
            scheduled_datetime: to the microsecond; without a timezone it is local time, as in RQ.

        Returns:
            1, or 0 when it was listed before.
        """
        return drive(registries.add(self.store, self.key, id_of(job), scheduled_datetime.timestamp()))

    def get_scheduled_time(self, job_or_id: Job[Any] | str) -> datetime:
        """When a job is due.

        Raises:
            NoSuchJobError: it is not scheduled.
        """
        moment = registries.as_moment(self._score(job_or_id))
        if moment is None:
            raise NoSuchJobError(id_of(job_or_id))
        return moment

    def get_jobs_to_schedule(self, timestamp: float | None = None, chunk_size: int = 1000) -> list[str]:
        """The ids of the jobs that are due, those that have been for longest first.

        Args:
            timestamp: seconds since 1970 that count as now; None for the server's time.
            chunk_size: how many at most.
        """
        return drive(registries.members(self.store, self.key, 0, chunk_size - 1, shown="expired", moment=timestamp))

    def get_jobs_to_enqueue(self, timestamp: float | None = None) -> list[str]:
        """The ids of all jobs that are due."""
        return self.get_expired_job_ids(timestamp)


class CanceledJobRegistry(_Waiting):
    """The jobs that were canceled; those that were first at the front. They are listed for a year at most."""

    kind = "canceled"

    def get_expired_job_ids(self, timestamp: float | None = None) -> NoReturn:
        """Not possible, as in RQ: the score is when a job was canceled."""
        raise NotImplementedError("the scores of canceled jobs do not say when they expire")


REGISTRIES: Final[tuple[type[BaseRegistry], ...]] = (
    StartedJobRegistry,
    FinishedJobRegistry,
    FailedJobRegistry,
    DeferredJobRegistry,
    ReadyJobRegistry,
    ScheduledJobRegistry,
    CanceledJobRegistry,
)
"""All registries that a queue has."""


class RateLimitRegistry:
    """The jobs of a rate limit: those that hold a slot, since they are queued or run, and those that wait for one."""

    def __init__(self, key: str, connection: Redis | str | None = None, *, prefix: str | None = None) -> None:
        """Name a rate limit.

        Args:
            key: that of its `RateLimit`.
            connection: a client, a URL, or None for the environment's.
            prefix: of all keys; None for the environment's.

        Raises:
            TypeError, ValueError: a bad key or prefix.
        """
        self.key: str = RateLimit(key, 1).key
        self._connection = connection
        self._keys = Keys(prefix)

    @property
    def store(self) -> Store:
        """Where the rate limit lives. Connects nothing."""
        return store_of(self._connection, self._keys.prefix)

    @property
    def allowed_key(self) -> str:
        """The key of the registry of the jobs that hold a slot."""
        return self._keys.allowed(self.key)

    @property
    def rate_limited_key(self) -> str:
        """The key of the registry of the jobs that wait for a slot."""
        return self._keys.limited(self.key)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key!r})"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, RateLimitRegistry)
            and other.allowed_key == self.allowed_key
            and place_of(other._connection) == place_of(self._connection)
        )

    def __hash__(self) -> int:
        return hash(self.allowed_key)

    @classmethod
    def all(cls, connection: Redis | str | None = None, *, prefix: str | None = None) -> list[RateLimitRegistry]:
        """Every rate limit that has jobs, by its key; those of RQ whose keys aiorq does not take are left out."""
        store = store_of(connection, prefix)
        found = []
        for name in drive(limits.names(store)):
            try:
                found.append(cls(name, store.connection, prefix=store.keys.prefix))
            except ValueError:
                continue
        return found

    @property
    def concurrency(self) -> int:
        """How many jobs may hold a slot, as the latest enqueue said; 0 where no job uses the rate limit."""
        return drive(limits.concurrency(self.store, self.key))

    def get_allowed_job_ids(self, start: int = 0, end: int = -1) -> list[str]:
        """The ids of the jobs that hold a slot, those that have held theirs for longest first."""
        return drive(registries.members(self.store, self.allowed_key, start, end))

    def get_allowed_job_count(self) -> int:
        """How many jobs hold a slot."""
        return drive(registries.count(self.store, self.allowed_key))

    def get_rate_limited_job_ids(self, start: int = 0, end: int = -1) -> list[str]:
        """The ids of the jobs that wait for a slot, those that have waited longest first."""
        return drive(registries.members(self.store, self.rate_limited_key, start, end))

    def get_rate_limited_job_count(self) -> int:
        """How many jobs wait for a slot."""
        return drive(registries.count(self.store, self.rate_limited_key))

    def cleanup(self) -> int:
        """Take slots from jobs that are neither queued nor run, and let those in that wait; workers do so every minute.

        Returns:
            how many jobs were taken out.
        """
        return drive(limits.clean(self.store, self.key))


def clean_registries(queue: QueueLike) -> int:
    """Clean all registries of a queue, and all rate limits; returns how many entries have left."""
    left = 0
    for kind in REGISTRIES:
        left += kind(queue=queue).cleanup()
    for limit in RateLimitRegistry.all(queue._connection, prefix=queue._prefix):
        left += limit.cleanup()
    return left


def read_jobs(
    store: Store, job_ids: list[str], job_class: type[Job[Any]], serializer: Serializer | str | None
) -> list[Job[Any]]:
    """Jobs by their ids, 500 in each round trip; those that are gone are left out.

    Raises:
        CorruptJobError: one of them cannot be read; the error names it.
    """
    found = []
    for start in range(0, len(job_ids), _FETCHED):
        part = job_ids[start : start + _FETCHED]
        read = job_class.fetch_many(part, store.connection, serializer, prefix=store.keys.prefix)
        found += [job for job in read if job is not None]
    return found


def id_of(job_or_id: Job[Any] | str) -> str:
    """The id of a job."""
    return job_or_id if isinstance(job_or_id, str) else job_or_id.id
