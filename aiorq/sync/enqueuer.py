"""Enqueueing with the options said first, so that all that follows is the function's own and can be checked as such.

`queue.enqueue` takes options among the function's keywords, as RQ does, which no type checker can tell apart. Here they
are given to `queue.options(...)`, and mypy and pyright hold the arguments against the function's signature.
"""
# Made of aiorq/enqueuer.py by tests/sync/generate.py: change that one.

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from aiorq.enqueuer import EnqueueData
from aiorq.options import JobOptions
from aiorq.sync.job import Job

P = ParamSpec("P")
R = TypeVar("R")


class Target(Protocol):
    """A queue, as far as jobs are put on it."""

    def enqueue_data(self, data: EnqueueData, when: datetime | timedelta | None = None) -> Job[Any]:
        """Put a job on the queue, now or at a later time."""
        ...


class Enqueuer:
    """Puts calls on a queue, all with the same options; made by `Queue.options`."""

    def __init__(self, queue: Target, options: JobOptions) -> None:
        """Enqueue for `queue`, with `options`."""
        self._queue = queue
        self._options = options

    def __repr__(self) -> str:
        return f"Enqueuer({self._queue!r}, {self._options!r})"

    @overload
    def enqueue(self, f: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> Job[R]: ...
    @overload
    def enqueue(self, f: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Job[R]: ...
    def enqueue(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Put a call of `f` on the queue.

        Args:
            f: a function that workers can import, a method, or a callable object.
            args: its positional arguments.
            kwargs: its keyword arguments, of whatever names.

        Returns:
            the job, queued.

        Raises:
            AiorqError: as `Queue.enqueue`.
        """
        return self._queue.enqueue_data(EnqueueData(f, args, kwargs, self._options))

    @overload
    def enqueue_at(
        self, when: datetime, f: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...
    @overload
    def enqueue_at(self, when: datetime, f: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Job[R]: ...
    def enqueue_at(self, when: datetime, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Have a call of `f` put on the queue at that moment; one without a timezone is local time, as in RQ.

        Otherwise as `enqueue`.
        """
        return self._queue.enqueue_data(EnqueueData(f, args, kwargs, self._options), when)

    @overload
    def enqueue_in(
        self, delta: timedelta, f: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...
    @overload
    def enqueue_in(self, delta: timedelta, f: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Job[R]: ...
    def enqueue_in(self, delta: timedelta, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Have a call of `f` put on the queue after that time. Otherwise as `enqueue`."""
        return self._queue.enqueue_data(EnqueueData(f, args, kwargs, self._options), delta)

    def prepare(self, f: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> EnqueueData:
        """Describe a call of `f` for `enqueue_many`."""
        return EnqueueData(f, args, kwargs, self._options)
