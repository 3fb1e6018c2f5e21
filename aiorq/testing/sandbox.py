"""A place for the jobs of one test, and all that a test does with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from functools import cached_property
from types import TracebackType
from typing import Any, Self, TypeVar

from redis.asyncio import Redis

from aiorq.job import Job
from aiorq.queue import Queue
from aiorq.result import Result
from aiorq.serializers import resolve_serializer
from aiorq.status import JobStatus
from aiorq.store import queues as queues_of
from aiorq.store.base import store_of
from aiorq.store.connection import connect_for_loop
from aiorq.testing.blocking import SyncSide
from aiorq.testing.calls import Calls, EnqueuedCall, Journal
from aiorq.testing.clock import Clock
from aiorq.testing.failures import raise_first
from aiorq.testing.forks import Aftermath, running, worker_options
from aiorq.testing.place import Place, server_url
from aiorq.testing.running import Burst
from aiorq.testing.waiting import StatusWait, as_statuses, wait_for_outcome
from aiorq.worker import SimpleWorker, Worker

R = TypeVar("R")


class Sandbox:
    """A place for the jobs of one test: a prefix of its own on a real server, with a clock that can be moved.

        with Sandbox() as sandbox:
            await sandbox.queue("mail").enqueue(send, "Ada")
            sandbox.assert_enqueued(send, args=["Ada"])
            await sandbox.work()

    Within the block whatever goes by the environment is there too: `Queue("mail")` of the code under test, and `aiorq`
    commands that it starts. At its end all that is there is deleted. What must be awaited is a coroutine here, and a
    plain method of `sandbox.sync`; all else is the same for both.
    """

    def __init__(self, url: str | None = None, *, serializer: object | None = None) -> None:
        """Choose a place; `with`, or `start`, makes it that of the environment.

        Args:
            url: of a server; None for that of `AIORQ_REDIS_URL`, else for one that this process starts for all of its
                tests, which is gone with it. Nothing outside of the place is touched.
            serializer: of all queues; None where it is pickle or JSON, which are told apart by their bytes.

        Raises:
            InvalidURLError: the URL cannot be read.
            ServerNotFoundError, ServerStartError: no server can be started.
        """
        self._place = Place(server_url() if url is None else url)
        self._serializer = None if serializer is None else resolve_serializer(serializer)
        self._journal = Journal(self._place.store, self._serializer)
        self.url = self._place.url
        """Of the server."""
        self.prefix = self._place.prefix
        """Of all keys."""
        self.clock = Clock(self._place.store, self._journal.look)
        """Says what is due."""
        self.sync = SyncSide(self._place, self._journal, self._serializer)
        """The same for code that cannot await, over `aiorq.sync`."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.prefix} at {self.url}>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Make this the place of the environment. Returns the sandbox itself."""
        self._place.enter()
        return self

    def stop(self) -> None:
        """Let the environment be as it was before `start`, and delete everything here."""
        self._place.leave()

    @cached_property
    def connection(self) -> Redis:
        """A client, for one event loop, at whose end it is closed."""
        return connect_for_loop(self.url)

    def queue(self, name: str = "default", **options: Any) -> Queue:
        """A queue here; the options are those of `Queue`."""
        options.setdefault("serializer", self._serializer)
        return Queue(name, self.url, prefix=self.prefix, **options)

    def calls(self) -> Calls:
        """All calls that were enqueued here, whoever did that and whatever has become of them, in order.

        A job that is deleted, or not kept after its end, is there if this object has seen it before: it looks before
        it runs anything, and whenever it is asked.
        """
        return self._journal.look()

    @contextmanager
    def enqueued(self) -> Iterator[Calls]:
        """The calls that are enqueued within the block; the list is filled at its end."""
        before = len(self.calls())
        calls = Calls()
        yield calls
        calls += self.calls()[before:]

    def assert_enqueued(
        self,
        func: Callable[..., Any] | str | None = None,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None,
        at: datetime | timedelta | None = None,
        count: int | None = None,
    ) -> EnqueuedCall:
        """Fail unless such a call was enqueued here; see `Calls.assert_enqueued`."""
        __tracebackhide__ = True
        return self.calls().assert_enqueued(func, args=args, kwargs=kwargs, queue=queue, at=at, count=count)

    def assert_nothing_enqueued(
        self,
        func: Callable[..., Any] | str | None = None,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None,
        at: datetime | timedelta | None = None,
    ) -> None:
        """Fail if such a call was enqueued here; see `Calls.assert_nothing_enqueued`."""
        __tracebackhide__ = True
        self.calls().assert_nothing_enqueued(func, args=args, kwargs=kwargs, queue=queue, at=at)

    async def work(self, *queues: str, max_jobs: int | None = None, raises: bool = True) -> list[Job[Any]]:
        """Run what is queued to its end, in this process, one job after the other.

        Coroutines run in this event loop, and functions in a thread beside it. What is due by the clock is run too, as
        are the jobs that those enqueue which run. A timeout of a job is enforced for coroutines only.

        Args:
            queues: names, the first one first; none for all queues.
            max_jobs: end after that many.
            raises: raise if a job fails for good; False to leave it at that, as a worker would.

        Returns:
            the jobs that ran, in order, as their runs left them; one that ran twice is there twice.

        Raises:
            JobFailed: a job failed and has no retry left; its cause is what was raised. All others have run before.
        """
        __tracebackhide__ = True
        self._journal.look()
        burst = Burst(store_of(self.url, self.prefix), Job, self._journal, queues, self._serializer)
        await burst.run(max_jobs)
        if raises:
            raise_first(burst.failures)
        return burst.ran

    async def work_in_forks(self, *queues: str, raises: bool = True, **options: Any) -> list[Job[Any]]:
        """As `work`, by a `Worker`: each job in a process of its own, which can be stopped, time out and crash.

        That takes a tenth of a second to start. The processes import modules anew: what a test has patched is not
        patched there.

        Args:
            queues: as for `work`.
            raises: as for `work`.
            options: of `Worker`.

        Returns:
            the jobs that ended, in the order of their ends; without those that are not kept, or are tried again later.

        Raises:
            JobFailed: as for `work`; what was raised is in its text.
        """
        __tracebackhide__ = True
        store = store_of(self.url, self.prefix)
        after = Aftermath(store, Job, self._journal, self._serializer)
        while names := await after.next(queues):
            worker = Worker(names, connection=self.url, **worker_options(self._place, self._serializer, options))
            await worker.work(burst=True)
            await after.note(worker.name)
        if raises:
            raise_first(after.failures)
        return after.ended

    @asynccontextmanager
    async def worker(self, *queues: str, forks: bool = False, **options: Any) -> AsyncIterator[Worker]:
        """A worker that works beside the test within the block, and is told to end then.

        Args:
            queues: names, the first one first; none for those that there are, and `default`.
            forks: whether each job has a process of its own; otherwise they run in a thread, one at a time.
            options: of `Worker`.
        """
        names = list(queues) or sorted({*await queues_of.names(store_of(self.url, self.prefix)), "default"})
        made = worker_options(self._place, self._serializer, options)
        worker = (Worker if forks else SimpleWorker)(names, connection=self.url, **made)
        async with running(worker):
            yield worker

    async def wait_for_status(
        self, job: Job[Any], status: str | JobStatus | Collection[str | JobStatus], timeout: float = 10.0
    ) -> JobStatus:
        """Wait until a job is in a state, or in one of several.

        Args:
            job: which.
            status: `finished`, or a `JobStatus`, or several.
            timeout: seconds.

        Returns:
            the state.

        Raises:
            WaitTimeout: it did not come to it in time, or has ended otherwise; it says what was seen.
            ValueError: a word that is no state.
        """
        __tracebackhide__ = True
        return await StatusWait(job, as_statuses(status), timeout).run()

    async def wait_for_result(self, job: Job[R], timeout: float = 10.0) -> Result[R]:
        """Wait for the final result of a job, good or bad.

        Raises:
            WaitTimeout: there is none within `timeout` seconds; it says what was seen.
        """
        __tracebackhide__ = True
        entry = await wait_for_outcome(job, timeout)
        return Result(job.id, entry.id, entry.fields, job.serializer)
