"""The decorator that lets a function be enqueued by itself: `add.enqueue(1, 2)`."""
# Made of aiorq/decorators.py by tests/sync/generate.py: change that one.

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from redis import Redis

from aiorq.callback import AnyCallback
from aiorq.dependency import DependsOn, read_depends_on
from aiorq.enqueuer import EnqueueData
from aiorq.options import JobOptions
from aiorq.rate_limit import RateLimit
from aiorq.retry import Repeat, Retry
from aiorq.seconds import Duration
from aiorq.sync.job import Job
from aiorq.sync.queue import Queue
from aiorq.webhook import Webhook

P = ParamSpec("P")
R = TypeVar("R")
C_co = TypeVar("C_co", covariant=True)


class Enqueue(Protocol[P, R]):
    """How a decorated function is enqueued."""

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]: ...
    # With one of these, the rest of the arguments cannot be told from options and are not checked.
    @overload
    def __call__(self, *args: Any, job_id: str, **kwargs: Any) -> Job[R]: ...
    @overload
    def __call__(self, *args: Any, depends_on: DependsOn, **kwargs: Any) -> Job[R]: ...
    @overload
    def __call__(self, *args: Any, at_front: bool, **kwargs: Any) -> Job[R]: ...


class JobFunction(Protocol[P, C_co, R]):
    """A decorated function: what it was, and two names for one way to enqueue it."""

    enqueue: Enqueue[P, R]
    delay: Enqueue[P, R]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C_co:
        """Call the function itself, here and now."""
        ...


class job:  # noqa: N801 - RQ's name
    """Gives a function the methods `enqueue` and `delay`, which put a call of it on a queue.

        @job("mail", timeout="5m", retry=Retry(3))
        def send(address: str) -> None: ...

        send.enqueue("ada@example.com")

    The function itself stays what it is: workers, those of RQ too, find it by its name. The keywords `job_id`,
    `depends_on` and `at_front` of `enqueue` are options of that one job, and never reach the function.
    """

    queue_class: type[Queue] = Queue

    def __init__(
        self,
        queue: Queue | str,
        connection: Redis | str | None = None,
        timeout: Duration | None = None,
        result_ttl: Duration | None = None,
        ttl: Duration | None = None,
        queue_class: type[Queue] | None = None,
        depends_on: DependsOn | None = None,
        at_front: bool = False,
        meta: Mapping[str, Any] | None = None,
        description: str | None = None,
        failure_ttl: Duration | None = None,
        retry: Retry | None = None,
        on_failure: AnyCallback | None = None,
        on_success: AnyCallback | None = None,
        on_stopped: AnyCallback | None = None,
        webhooks: Sequence[Webhook] | None = None,
        *,
        repeat: Repeat | None = None,
        rate_limit: RateLimit | None = None,
        unique: bool = False,
        on_lost: str | None = None,
        memory_limit: int | str | None = None,
        serializer: object | None = None,
        prefix: str | None = None,
    ) -> None:
        """Say how calls of the function are enqueued.

        Args:
            queue: a queue, or the name of one, which is made when it is used.
            connection: for a queue that is given by name: a client, a URL, or None for the environment's.
            timeout: seconds that a job may run; see `JobOptions`, also for all others.
            result_ttl: seconds that a finished job is kept.
            ttl: seconds that a job may wait.
            queue_class: of a queue that is given by name.
            depends_on: jobs that must end first.
            at_front: put jobs at the front of the queue.
            meta: data of the caller's, kept with each job.
            description: a text for people.
            failure_ttl: seconds that a failed job is kept.
            retry: how often a failed job is tried again.
            on_failure: called when an attempt has failed.
            on_success: called when a job has succeeded.
            on_stopped: called when a job was stopped.
            webhooks: requests to make when a job has ended.
            repeat: how often a job that succeeded runs again.
            rate_limit: how many jobs with the same key may be queued or run at a time.
            unique: refuse a job if one of its `job_id` exists; each call then needs a `job_id`.
            on_lost: what becomes of a job that is lost with its worker.
            memory_limit: bytes of data that the process of a job may have.
            serializer: of a queue that is given by name.
            prefix: likewise, of all keys.

        Raises:
            TypeError, ValueError: an option that is not allowed.
        """
        self.queue = queue
        self.queue_class = queue_class or type(self).queue_class
        self.connection = connection
        self._serializer = serializer
        self._prefix = prefix
        self._unique = unique
        self._options = JobOptions(
            job_timeout=cast("int | None", timeout),
            result_ttl=cast("int | None", result_ttl),
            ttl=cast("int | None", ttl),
            failure_ttl=cast("int | None", failure_ttl),
            depends_on=depends_on,
            at_front=at_front,
            meta=meta,
            description=description,
            retry=retry,
            on_failure=on_failure,
            on_success=on_success,
            on_stopped=on_stopped,
            webhooks=webhooks,
            repeat=repeat,
            rate_limit=rate_limit,
            on_lost=on_lost,
            memory_limit=cast("int | None", memory_limit),
        )
        if unique:
            replace(self._options, unique=True, job_id="any")  # says what does not go with it

    @overload
    def __call__(self, f: Callable[P, Coroutine[Any, Any, R]], /) -> JobFunction[P, Coroutine[Any, Any, R], R]: ...
    @overload
    def __call__(self, f: Callable[P, R], /) -> JobFunction[P, R, R]: ...
    def __call__(self, f: Callable[..., Any], /) -> Any:
        """Give `f` the methods `enqueue` and `delay`; returns `f` itself."""

        @wraps(f)
        def enqueue(
            *args: Any,
            job_id: str | None = None,
            depends_on: DependsOn | None = None,
            at_front: bool | None = None,
            **kwargs: Any,
        ) -> Job[Any]:
            options = self._options_of(job_id, depends_on, at_front)
            return self._queue().enqueue_data(EnqueueData(f, args, kwargs, options))

        decorated: Any = f
        decorated.enqueue = decorated.delay = enqueue
        return f

    def _queue(self) -> Queue:
        if isinstance(self.queue, Queue):
            return self.queue
        return self.queue_class(self.queue, self.connection, serializer=self._serializer, prefix=self._prefix)

    def _options_of(self, job_id: str | None, depends_on: DependsOn | None, at_front: bool | None) -> JobOptions:
        changed: dict[str, Any] = {}
        if self._unique:
            changed["unique"] = True
        if job_id is not None:
            changed["job_id"] = job_id
        if depends_on is not None and (waits := read_depends_on(depends_on)).ids:
            changed["depends_on"] = waits
        if at_front is not None:
            changed["at_front"] = at_front
        return replace(self._options, **changed) if changed else self._options
