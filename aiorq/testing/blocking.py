"""The side of a sandbox for code that cannot await: `aiorq.sync`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from redis import Redis

from aiorq.serializers import Serializer
from aiorq.status import JobStatus
from aiorq.store import queues as queues_of
from aiorq.store.blocking import drive
from aiorq.sync.job import Job
from aiorq.sync.queue import Queue
from aiorq.sync.results import Result
from aiorq.sync.worker import Worker
from aiorq.testing.calls import Journal
from aiorq.testing.failures import raise_first
from aiorq.testing.forks import Aftermath, running, worker_options
from aiorq.testing.place import Place
from aiorq.testing.running import Burst
from aiorq.testing.waiting import StatusWait, as_statuses, wait_for_outcome
from aiorq.worker import SimpleWorker as AsyncSimpleWorker
from aiorq.worker import Worker as AsyncWorker

R = TypeVar("R")


class SyncSide:
    """What a `Sandbox` has, for `aiorq.sync`: the same names, and nothing is awaited."""

    def __init__(self, place: Place, journal: Journal, serializer: Serializer | None) -> None:
        """Work at a place; `Sandbox.sync` is one."""
        self._place = place
        self._journal = journal
        self._serializer = serializer

    @property
    def connection(self) -> Redis:
        """The client that all tests of this process share."""
        client: Redis = self._place.store.connection
        return client

    def queue(self, name: str = "default", **options: Any) -> Queue:
        """A queue here; the options are those of `aiorq.sync.Queue`."""
        options.setdefault("serializer", self._serializer)
        return Queue(name, self.connection, prefix=self._place.prefix, **options)

    def work(self, *queues: str, max_jobs: int | None = None, raises: bool = True) -> list[Job[Any]]:
        """Run what is queued to its end, in this thread: so jobs see the database transaction of the test.

        Parameters, what comes back and what is raised are as for `Sandbox.work`. In the main thread a timeout of a job
        is enforced.
        """
        __tracebackhide__ = True
        self._journal.look()
        burst = Burst(self._place.store, Job, self._journal, queues, self._serializer)
        drive(burst.run(max_jobs))
        if raises:
            raise_first(burst.failures)
        return burst.ran

    def work_in_forks(self, *queues: str, raises: bool = True, **options: Any) -> list[Job[Any]]:
        """As `work`, by a `Worker`: each job in a process of its own; see `Sandbox.work_in_forks`.

        In the main thread this process is forked for that: what a test has patched is patched there too.
        """
        __tracebackhide__ = True
        after = Aftermath(self._place.store, Job, self._journal, self._serializer)
        while names := drive(after.next(queues)):
            made = worker_options(self._place, self._serializer, options)
            worker = Worker(names, connection=self.connection, **made)
            worker.work(burst=True)
            drive(after.note(worker.name))
        if raises:
            raise_first(after.failures)
        return after.ended

    @contextmanager
    def worker(self, *queues: str, forks: bool = False, **options: Any) -> Iterator[None]:
        """A worker that works in another thread within the block; parameters as for `Sandbox.worker`."""
        names = list(queues) or sorted({*drive(queues_of.names(self._place.store)), "default"})
        made = worker_options(self._place, self._serializer, options)
        begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

        async def main() -> None:
            kind = AsyncWorker if forks else AsyncSimpleWorker
            leave = asyncio.Event()
            async with running(kind(names, connection=self._place.url, **made)):
                begun.set_result((asyncio.get_running_loop(), leave))
                await leave.wait()

        thread = threading.Thread(target=asyncio.run, args=(main(),), name="aiorq worker of a test")
        thread.start()
        loop, leave = begun.result()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(leave.set)
            thread.join()

    def wait_for_status(
        self, job: Job[Any], status: str | JobStatus | Collection[str | JobStatus], timeout: float = 10.0
    ) -> JobStatus:
        """Wait until a job is in a state; parameters, what comes back and what is raised are as for the `Sandbox`'s."""
        __tracebackhide__ = True
        return drive(StatusWait(job, as_statuses(status), timeout).run())

    def wait_for_result(self, job: Job[R], timeout: float = 10.0) -> Result[R]:
        """Wait for the final result of a job, as `Sandbox.wait_for_result`."""
        __tracebackhide__ = True
        entry = drive(wait_for_outcome(job, timeout))
        return Result(job.id, entry.id, entry.fields, job.serializer)
