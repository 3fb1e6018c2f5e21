"""What Redis says of workers, those of RQ too: who they are, what they do, and what they have done.

A look changes nothing. What cannot be read of one worker's entry hides neither the rest of it nor the others.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

from redis.asyncio import Redis

from aiorq.errors import NoSuchJobError
from aiorq.executions import Execution, read_executions
from aiorq.job import Job
from aiorq.keys import Keys, is_job_id
from aiorq.queue import Queue
from aiorq.record import decode_date
from aiorq.serializers import Serializer, resolve_serializer
from aiorq.store import executions, workers
from aiorq.store.base import Store, store_of

log = logging.getLogger(__name__)

T = TypeVar("T")


class WorkerStatus(str, Enum):
    """The words that workers show as their state."""

    STARTED = "started"
    """Has just been entered; RQ's only."""
    SUSPENDED = "suspended"
    """Takes nothing: all workers are suspended."""
    BUSY = "busy"
    """Runs jobs."""
    IDLE = "idle"
    """Runs none."""

    def __str__(self) -> str:
        return self.value


class WorkerInfo:
    """A worker as its entry showed it when it was last read. Only coroutines ask Redis."""

    def __init__(
        self,
        name: str,
        connection: Redis | str | None = None,
        *,
        job_class: type[Job[Any]] | None = None,
        serializer: object | None = None,
        prefix: str | None = None,
    ) -> None:
        """Name a worker; `refresh` reads what is known of it. `Worker.all()` is the usual way.

        Args:
            name: of the worker.
            connection: a client, a URL, or None for the environment's.
            job_class: what its jobs are read as.
            serializer: that of its queues.
            prefix: of all keys; None for the environment's.
        """
        self.name = name
        self.job_class: type[Job[Any]] = job_class or Job
        self.serializer: Serializer = resolve_serializer(serializer)
        self.state: str = "?"
        """`idle`, `busy`, `suspended` or `started`; `?` where it shows none."""
        self.hostname: str | None = None
        self.ip_address: str | None = None
        self.pid: int | None = None
        self.version: str | None = None
        """Of aiorq, or of RQ."""
        self.python_version: str | None = None
        self.birth_date: datetime | None = None
        self.death_date: datetime | None = None
        self.last_heartbeat: datetime | None = None
        self.shutdown_requested_date: datetime | None = None
        """When it was asked to end while it ran a job; it ends after that."""
        self.successful_job_count: int = 0
        self.failed_job_count: int = 0
        self.total_working_time: float = 0.0
        """Seconds that its jobs have taken together."""
        self._queue_names: list[str] = []
        self._connection = connection
        self._keys = Keys(prefix)

    @property
    def store(self) -> Store:
        """Where the worker is entered. Connects nothing; needs a running event loop."""
        return store_of(self._connection, self._keys.prefix)

    @property
    def key(self) -> str:
        """The key of its hash."""
        return self._keys.worker(self.name)

    @property
    def pubsub_channel_name(self) -> str:
        """The channel on which it hears commands."""
        return self._keys.channel(self.name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WorkerInfo) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)

    def queue_names(self) -> list[str]:
        """The names of its queues, in its order."""
        return list(self._queue_names)

    def queue_keys(self) -> list[str]:
        """The keys of its queues, in its order."""
        return [self._keys.queue(name) for name in self._queue_names]

    @property
    def queues(self) -> list[Queue]:
        """Its queues, in its order; those of RQ whose names aiorq does not take are left out."""
        found = []
        for name in self._queue_names:
            with suppress(ValueError):
                found.append(
                    Queue(
                        name,
                        self._connection,
                        job_class=self.job_class,
                        serializer=self.serializer,
                        prefix=self._keys.prefix,
                    )
                )
        return found

    def get_state(self) -> str:
        """Its state as last read; `?` where it shows none."""
        return self.state

    async def refresh(self) -> bool:
        """Read all attributes anew; False when the worker is gone, and they stay what they were."""
        (fields,) = await workers.fetch_many(self.store, [self.name])
        if fields is not None:
            self._restore(fields)
        return fields is not None

    def restore(self, fields: Mapping[bytes, bytes]) -> list[str]:
        """Take the attributes from the fields of its hash; one that cannot be read counts as unset.

        Returns:
            what cannot be read, in words.
        """
        problems: list[str] = []

        def read(name: str, convert: Callable[[str], T], unset: T) -> T:
            raw = fields.get(name.encode())
            if not raw:
                return unset
            try:
                return convert(raw.decode())
            except ValueError:
                problems.append(f"its {name} cannot be read: {raw[:80]!r}")
                return unset

        self.state = read("state", str, "?")
        self.hostname = read("hostname", _text, None)
        self.ip_address = read("ip_address", _text, None)
        self.pid = read("pid", _integer, None)
        self.version = read("version", _text, None)
        self.python_version = read("python_version", _text, None)
        self._queue_names = read("queues", lambda text: text.split(","), [])
        self.birth_date = read("birth", decode_date, None)
        self.death_date = read("death", decode_date, None)
        self.last_heartbeat = read("last_heartbeat", decode_date, None)
        self.shutdown_requested_date = read("shutdown_requested_date", decode_date, None)
        self.successful_job_count = read("successful_job_count", int, 0)
        self.failed_job_count = read("failed_job_count", int, 0)
        self.total_working_time = read("total_working_time", _seconds, 0.0)
        return problems

    def _restore(self, fields: Mapping[bytes, bytes]) -> None:
        for problem in self.restore(fields):
            log.warning("worker %s: %s", self.name, problem)

    async def current_execution_count(self) -> int:
        """How many jobs it runs now."""
        return await executions.count_of_worker(self.store, self.name)

    async def get_current_executions(self, refresh: bool = False) -> list[Execution]:  # noqa: ARG002
        """The runs that it has now, those that began first at the front; read each time, whatever `refresh` says."""
        store = self.store
        found = await read_executions(store, await executions.of_worker(store, self.name))
        return sorted(found, key=lambda execution: (execution.created_at, execution.id))

    async def get_current_job_id(self) -> str | None:
        """The id of the job that it runs now, of several the one that began first; None when it runs none."""
        current = await self.get_current_executions()
        return current[0].job_id if current else None

    async def get_current_job(self) -> Job[Any] | None:
        """The job that it runs now, as `get_current_job_id`; None when it runs none.

        Raises:
            CorruptJobError: the job cannot be read.
        """
        job_id = await self.get_current_job_id()
        if job_id is None or not is_job_id(job_id):
            return None
        store = self.store
        try:
            return await self.job_class.fetch(job_id, store.connection, self.serializer, prefix=store.keys.prefix)
        except NoSuchJobError:  # it was deleted meanwhile
            return None


async def find_workers(
    connection: Redis | str | None = None,
    job_class: type[Job[Any]] | None = None,
    queue_class: type[Queue] | None = None,  # noqa: ARG001 - RQ's parameter
    queue: Queue | str | None = None,
    serializer: object | None = None,
    *,
    cleanup: bool = False,
    prefix: str | None = None,
) -> list[WorkerInfo]:
    """Every worker that is alive, by name.

    Args:
        connection: a client, a URL, or None: the queue's, else the environment's.
        job_class: what their jobs are read as.
        queue_class: accepted as in RQ: of the queues only the names are shown.
        queue: only those that take jobs from this one; an object or a name.
        serializer: that of their queues.
        cleanup: take out of the books those that have died without a word; workers do so every few seconds.
        prefix: of all keys; None for the queue's, else the environment's.
    """
    store, name = _place(connection, queue, prefix)
    if cleanup:
        await workers.drop_dead(store, name)
    names = await workers.names(store, name)
    found = []
    for worker, fields in zip(names, await workers.fetch_many(store, names), strict=True):
        if fields is not None:
            info = WorkerInfo(
                worker, store.connection, job_class=job_class, serializer=serializer, prefix=store.keys.prefix
            )
            info._restore(fields)
            found.append(info)
    return found


async def worker_keys(
    connection: Redis | str | None = None, queue: Queue | str | None = None, *, prefix: str | None = None
) -> list[str]:
    """The keys of all workers, or of those of a queue; one that has died without a word is there for some seconds."""
    store, name = _place(connection, queue, prefix)
    return [store.keys.worker(worker) for worker in await workers.names(store, name)]


async def count_workers(
    connection: Redis | str | None = None, queue: Queue | str | None = None, *, prefix: str | None = None
) -> int:
    """How many workers there are, or those of a queue; one that has died without a word counts for some seconds."""
    store, name = _place(connection, queue, prefix)
    return await workers.count(store, name)


async def find_worker(
    worker_key: str,
    connection: Redis | str | None = None,
    job_class: type[Job[Any]] | None = None,
    queue_class: type[Queue] | None = None,  # noqa: ARG001 - RQ's parameter
    serializer: object | None = None,
    *,
    prefix: str | None = None,
) -> WorkerInfo | None:
    """The worker whose hash is `worker_key`; None when there is none. Parameters as for `find_workers`.

    Raises:
        ValueError: it is not the key of a worker.
    """
    store = store_of(connection, prefix)
    head = store.keys.worker("")
    name = worker_key.removeprefix(head)
    if not name or name == worker_key:
        raise ValueError(f"{worker_key!r} is not the key of a worker: it should start with {head!r}")
    info = WorkerInfo(name, store.connection, job_class=job_class, serializer=serializer, prefix=store.keys.prefix)
    return info if await info.refresh() else None


def _place(connection: Redis | str | None, queue: Queue | str | None, prefix: str | None) -> tuple[Store, str | None]:
    if not isinstance(queue, Queue):
        return store_of(connection, prefix), queue
    if connection is None and prefix is None:
        return queue.store, queue.name
    return store_of(connection or queue.store.connection, prefix or queue.store.keys.prefix), queue.name


def _text(text: str) -> str | None:
    return text


def _integer(text: str) -> int | None:
    return int(text)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not math.isfinite(seconds):
        raise ValueError
    return seconds
