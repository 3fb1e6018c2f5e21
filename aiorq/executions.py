"""The runs of a job while they go on: which there are, since when, and on what worker."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis

from aiorq.keys import Keys, check_job_id
from aiorq.record import JobRecord
from aiorq.store import executions, registries
from aiorq.store.base import Store, store_of
from aiorq.store.executions import Entry, RunId

log = logging.getLogger(__name__)

_PAGE = 500


class Execution:
    """One run of a job. What it shows is what was last read; making one reads nothing."""

    def __init__(
        self,
        id: str,  # noqa: A002 - RQ's name
        job_id: str,
        connection: Redis | str | None = None,
        worker_name: str = "",
        *,
        job: JobRecord | None = None,
        prefix: str | None = None,
    ) -> None:
        """Name an execution; `Execution.fetch` and `job.get_executions()` are the usual ways.

        Args:
            id: of the execution.
            job_id: of its job.
            connection: a client, a URL, or None for the environment's.
            worker_name: who runs it.
            job: the job, where the caller has it.
            prefix: of all keys; None for the environment's.
        """
        self.id = id
        self.job_id = job_id
        self.worker_name = worker_name
        self.job: Any = job
        """The job, where the execution was found through it; else None: `Job.fetch(execution.job_id)` reads it."""
        self.created_at: datetime = datetime.now(UTC)
        """When the run began."""
        self.last_heartbeat: datetime = self.created_at
        """When its worker was last heard of."""
        self._connection = connection
        self._keys = Keys(prefix)

    @property
    def composite_key(self) -> str:
        """`<job id>:<execution id>`, as registries list it."""
        return f"{self.job_id}:{self.id}"

    @property
    def key(self) -> str:
        """The key of the execution's hash."""
        return self._keys.execution(self.job_id, self.id)

    @property
    def _store(self) -> Store:
        return store_of(self._connection, self._keys.prefix)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, {self.job_id!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Execution) and (other.id, other.job_id) == (self.id, self.job_id)

    def __hash__(self) -> int:
        return hash((self.id, self.job_id))

    @classmethod
    async def fetch(
        cls,
        id: str,  # noqa: A002 - RQ's name
        job_id: str,
        connection: Redis | str | None = None,
        *,
        prefix: str | None = None,
    ) -> Execution:
        """Read an execution.

        Raises:
            ValueError: there is none: it was never, or has ended.
            CorruptJobError: what Redis holds for it cannot be read.
        """
        execution = cls(id, check_job_id(job_id), connection, prefix=prefix)
        await execution.refresh()
        return execution

    @classmethod
    def from_composite_key(
        cls, composite_key: str, connection: Redis | str | None = None, *, prefix: str | None = None
    ) -> Execution:
        """Name the execution that a registry lists as `<job id>:<execution id>`; nothing is read.

        Raises:
            ValueError: it is no such text.
        """
        run = executions.split(composite_key.encode())
        if run is None or ":" in run[1]:
            raise ValueError(f"{composite_key!r} is not the id of a job, a colon and the id of an execution")
        return cls(run[1], run[0], connection, prefix=prefix)

    async def refresh(self) -> None:
        """Read all attributes anew.

        Raises:
            ValueError: the execution has ended, or never was.
            CorruptJobError: what Redis holds for it cannot be read.
        """
        (entry,) = await executions.fetch_many(self._store, [(self.job_id, self.id)])
        if entry is None:
            raise ValueError(f"no execution {self.id!r} of job {self.job_id!r}: it has ended, or never was")
        if not isinstance(entry, Entry):
            raise entry
        self._restore(entry)

    def _restore(self, entry: Entry) -> None:
        self.created_at, self.last_heartbeat = entry.created_at, entry.last_heartbeat
        self.worker_name = entry.worker_name


class ExecutionRegistry:
    """The runs of one job that go on: one, or none; more than one only while a run that was lost is not reaped yet."""

    def __init__(self, job_id: str, connection: Redis | str | None = None, *, prefix: str | None = None) -> None:
        """Look at the runs of the job of that id.

        Args:
            job_id: of the job.
            connection: a client, a URL, or None for the environment's.
            prefix: of all keys; None for the environment's.

        Raises:
            TypeError, ValueError: a bad id or prefix.
        """
        self.job_id = check_job_id(job_id)
        self._connection = connection
        self._keys = Keys(prefix)

    @property
    def key(self) -> str:
        """The key of the registry."""
        return self._keys.executions(self.job_id)

    @property
    def _store(self) -> Store:
        return store_of(self._connection, self._keys.prefix)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.job_id!r})"

    async def count(self) -> int:
        """How many there are."""
        return await registries.count(self._store, self.key, shown="live")

    async def get_execution_ids(self, start: int = 0, end: int = -1) -> list[str]:
        """Their ids, the one whose lease ends first at the front; those that have expired are left out.

        Args:
            start: the first index; negative ones count from the end.
            end: the last index, included.
        """
        return await registries.members(self._store, self.key, start, end, shown="live")

    async def get_executions(self, start: int = 0, end: int = -1) -> list[Execution]:
        """As `get_execution_ids`, read; what has ended meanwhile, and what cannot be read, is left out."""
        ids = await self.get_execution_ids(start, end)
        return await read_executions(self._store, [(self.job_id, execution_id) for execution_id in ids])

    async def contains(self, execution_or_id: Execution | str) -> bool:
        """Whether the execution goes on, as far as is known."""
        wanted = execution_or_id if isinstance(execution_or_id, str) else execution_or_id.id
        return wanted in await self.get_execution_ids()

    async def cleanup(self, timestamp: float | None = None) -> int:
        """Take out what has expired; returns how many those were.

        Args:
            timestamp: seconds since 1970 that count as now; None for the server's time.
        """
        return await registries.clean(self._store, self.key, "expired", timestamp)


async def read_executions(store: Store, runs: Sequence[RunId], job: JobRecord | None = None) -> list[Execution]:
    """The executions of these ids; what has ended, and what cannot be read, is left out."""
    found = []
    for start in range(0, len(runs), _PAGE):
        part = runs[start : start + _PAGE]
        for (job_id, token), entry in zip(part, await executions.fetch_many(store, part), strict=True):
            if isinstance(entry, Entry):
                execution = Execution(token, job_id, store.connection, job=job, prefix=store.keys.prefix)
                execution._restore(entry)
                found.append(execution)
            elif entry is not None:
                log.warning("%s; it is left out", entry, extra={"job_id": job_id})
    return found


async def get_executions(store: Store, job_id: str, job: JobRecord | None = None) -> list[Execution]:
    """The runs of a job that go on; `job` becomes their attribute of that name."""
    ids = await registries.members(store, store.keys.executions(job_id), shown="live")
    return await read_executions(store, [(job_id, execution_id) for execution_id in ids], job)
