"""Workers with processes, as tests have them: their settings, and what they leave."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from aiorq.cron.ticker import Ticker
from aiorq.placement import PlacedJob
from aiorq.serializers import Serializer
from aiorq.status import JobStatus
from aiorq.store import queues, results
from aiorq.store.base import Store
from aiorq.store.sandbox import Found, all_jobs
from aiorq.testing.calls import Journal
from aiorq.testing.failures import Failure
from aiorq.testing.place import Place
from aiorq.testing.reading import serializer_of
from aiorq.worker.worker import Worker

J = TypeVar("J", bound=PlacedJob)


def worker_options(place: Place, serializer: Serializer | None, given: dict[str, Any]) -> dict[str, Any]:
    """The options of a worker of a test, as far as they are not given."""
    return {"prefix": place.prefix, "serializer": serializer, "path": [part for part in sys.path if part], **given}


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[None]:
    """A worker that works within the block; at its end it kills what runs, and ends.

    Raises:
        AiorqError: it could not start.
    """
    task = asyncio.ensure_future(worker.work())
    try:
        yield
    finally:
        worker.request_stop(cold=True)
        await task


class Aftermath(Generic[J]):
    """What workers that run everything have run, and whether there is more."""

    def __init__(self, store: Store, kind: type[J], journal: Journal, serializer: Serializer | None) -> None:
        """Look by way of a store of either API; jobs are made as `kind`, that of the same API."""
        self._store = store
        self._kind = kind
        self._journal = journal
        self._serializer = serializer
        self._worked: set[str] = set()
        self.ended: list[J] = []
        """The jobs that ended, in the order of their ends."""
        self.failures: list[Failure] = []
        """What failed for good."""

    async def next(self, given: Sequence[str]) -> list[str]:
        """The queues for the next worker: those that were given, once, else all while there are jobs in new ones."""
        self._journal.look()
        if not self._worked:
            await Ticker(self._store).tick()
        names = list(given) or await queues.names(self._store)
        if self._worked and (given or not [name for name in names if name not in self._worked]):
            return []
        self._worked.update(names)
        return names

    async def note(self, worker: str) -> None:
        """Take note of what a worker has run, which has ended."""
        found = [job for job in await all_jobs(self._store) if job.fields.get(b"worker_name") == worker.encode()]
        for job in sorted((self._make(entry) for entry in found), key=lambda job: job.ended_at or job.created_at):
            self.ended.append(job)
            if job.status is JobStatus.FAILED:
                entry = await results.latest(self._store, job.id)
                raw = b"" if entry is None else entry.fields.get(b"exc_string", b"")
                failure = Failure(job, "", raw, None)
                lines = failure.traceback.strip().splitlines()
                self.failures.append(Failure(job, lines[-1] if lines else "it left no traceback", raw, None))

    def _make(self, found: Found) -> J:
        make: Any = self._kind  # the classes of both APIs are made alike
        serializer = serializer_of(found.fields, self._serializer)
        job: J = make(found.job_id, self._store.connection, serializer, prefix=self._store.keys.prefix)
        job.decode(found.fields)
        return job
