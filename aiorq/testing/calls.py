"""What a test enqueued: a list of calls in order, and assertions that show it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiorq.call import Call, as_args, make_call
from aiorq.errors import AiorqError
from aiorq.record import JobRecord
from aiorq.serializers import Serializer
from aiorq.store.base import Store
from aiorq.store.blocking import drive
from aiorq.store.sandbox import Found, all_jobs, move_clock
from aiorq.testing.reading import read_record

_EXACT: Final = 0.001
"""Seconds by which a moment may be missed: Redis keeps microseconds, in numbers with 53 bits."""
_ABOUT: Final = 1.0
"""Seconds by which a time from the enqueue may be missed, of which nobody keeps the very moment."""


@dataclass(frozen=True, slots=True)
class EnqueuedCall:
    """A call as it was enqueued."""

    func_name: str
    """The dotted name of the function; of a method its name alone; empty where the call cannot be read."""
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    queue: str
    job_id: str
    at: datetime | None
    """When it was to run at the earliest, in UTC; None for at once."""
    status: str
    """The state of its job when it was first seen."""
    enqueued_at: datetime
    """When its job was made, by the clock of the test, within some milliseconds; in UTC."""
    instance: object | None = None
    """The object whose method it is."""

    def __str__(self) -> str:
        if not self.func_name:
            return f"a call that cannot be read ({self.job_id}), on {self.queue}"
        at = "" if self.at is None else f", at {self.at.isoformat(timespec='milliseconds')}"
        status = "" if self.status in ("queued", "scheduled") else f", {self.status}"
        on = "" if self.instance is None else f"{type(self.instance).__name__}."
        return f"{on}{Call(self.func_name, None, self.args, dict(self.kwargs))} on {self.queue}{at}{status}"


class Calls(list[EnqueuedCall]):
    """Calls that were enqueued, the first one first."""

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
        """Fail unless such a call was enqueued. What is None does not matter.

        Args:
            func: the function, or its dotted name.
            args: all of its positional arguments, as they were given; one text alone is one argument.
            kwargs: all of its keyword arguments, as they were given.
            queue: the name of its queue.
            at: when it may run at the earliest: a moment, or the time from its enqueue, within a second.
            count: how many such calls there must be, 1 and more; None for any number.

        Returns:
            the first one.

        Raises:
            AssertionError: there is none, or another number; it shows what there is.
            ValueError: a `count` of 0: that is `assert_nothing_enqueued`.
        """
        __tracebackhide__ = True
        if count is not None and count < 1:
            raise ValueError(f"count must be at least 1, not {count}; assert_nothing_enqueued is for none")
        wish = _wish(func, args, kwargs, queue, at)
        found = [call for call in self if wish.fits(call)]
        if found and count in (None, len(found)):
            return found[0]
        many = "no such call was" if not found else f"{len(found)} such calls were"
        wanted = "" if count is None else f", not {count}"
        raise AssertionError(f"{many} enqueued{wanted}: {wish}\n{self._shown()}")

    def assert_nothing_enqueued(
        self,
        func: Callable[..., Any] | str | None = None,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None,
        at: datetime | timedelta | None = None,
    ) -> None:
        """Fail if such a call was enqueued; without parameters, which are those of `assert_enqueued`, if anything was.

        Raises:
            AssertionError: it shows what there is.
        """
        __tracebackhide__ = True
        wish = _wish(func, args, kwargs, queue, at)
        if any(wish.fits(call) for call in self):
            raise AssertionError(f"this should not have been enqueued: {wish}\n{self._shown()}")

    def _shown(self) -> str:
        if not self:
            return "nothing was enqueued"
        lines = [f"  {number}. {call}" for number, call in enumerate(self, 1)]
        return "\n".join(["enqueued, in order:", *lines])


@dataclass(frozen=True, slots=True)
class _Wish:
    call: Call | None
    args: tuple[Any, ...] | None
    kwargs: dict[str, Any] | None
    queue: str | None
    at: datetime | timedelta | None

    def fits(self, call: EnqueuedCall) -> bool:
        return (
            (self.call is None or self._is_same(call))
            and (self.args is None or call.args == self.args)
            and (self.kwargs is None or call.kwargs == self.kwargs)
            and (self.queue is None or call.queue == self.queue)
            and (self.at is None or self._is_then(call, self.at))
        )

    def _is_same(self, call: EnqueuedCall) -> bool:
        # An object is another one when it comes back: what it is equal to is up to its class.
        wanted = self.call
        return (
            wanted is not None and call.func_name == wanted.func_name and type(call.instance) is type(wanted.instance)
        )

    @staticmethod
    def _is_then(call: EnqueuedCall, at: datetime | timedelta) -> bool:
        if call.at is None:
            return False
        if isinstance(at, timedelta):
            return abs((call.at - call.enqueued_at - at).total_seconds()) <= _ABOUT
        return abs(call.at.timestamp() - at.timestamp()) <= _EXACT

    def __str__(self) -> str:
        said = [] if self.call is None else [f"a call of {self.call.func_name}"]
        for name in ("args", "kwargs", "queue", "at"):
            value = getattr(self, name)
            if value is not None:
                said.append(f"{name}={value!r}" if not isinstance(value, datetime) else f"{name}={value.isoformat()}")
        return ", ".join(said) or "anything"


def _wish(
    func: Callable[..., Any] | str | None,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    queue: str | None,
    at: datetime | timedelta | None,
) -> _Wish:
    return _Wish(
        None if func is None else make_call(func),
        None if args is None else as_args(args),
        None if kwargs is None else dict(kwargs),
        queue,
        at,
    )


class Journal:
    """Remembers what was enqueued below one prefix, by looks at what is in Redis.

    A job that is gone before the first look at it is not seen. All who make jobs go look: in-process runs and moves of
    the clock are preceded by one.
    """

    def __init__(self, store: Store, serializer: Serializer | None) -> None:
        """Look by way of a store whose client blocks.

        Args:
            store: where.
            serializer: of all calls; None where it is pickle or JSON.
        """
        self._store = store
        self._serializer = serializer
        self._seen: dict[tuple[str, bytes], EnqueuedCall] = {}
        self._ahead = 0.0
        """Seconds by which the clock of the test was ahead at the last look."""

    def look(self) -> Calls:
        """All calls, in the order in which their jobs were made."""
        jobs = drive(all_jobs(self._store))
        self._ahead = drive(move_clock(self._store, 0.0)) - time.time()
        self._note(jobs, self._ahead)
        return Calls(self._seen.values())

    def note(self, job_id: str, fields: Mapping[bytes, bytes]) -> None:
        """Take note of a job that somebody has read just now."""
        self._note([Found(job_id, fields, None)], self._ahead)

    def _note(self, jobs: Sequence[Found], ahead: float) -> None:
        new = [job for job in jobs if (job.job_id, job.fields.get(b"created_at", b"")) not in self._seen]
        read = [(found, self._read(found, ahead)) for found in new]
        for found, call in sorted(read, key=lambda pair: pair[1].enqueued_at):
            self._seen[found.job_id, found.fields.get(b"created_at", b"")] = call

    def _read(self, found: Found, ahead: float) -> EnqueuedCall:
        record, call = JobRecord(found.job_id, check=False), None
        try:
            record = read_record(found.job_id, found.fields, self._serializer)
            call = record.call
        except AiorqError:
            record.origin = found.fields.get(b"origin", b"").decode(errors="replace")
        made = record.created_at
        if b"aiorq_cron" not in found.fields:  # whose jobs are made by the server, and thus by the clock of the test
            made += timedelta(seconds=ahead)
        return EnqueuedCall(
            call.func_name if call else "",
            call.args if call else (),
            call.kwargs if call else {},
            record.origin,
            found.job_id,
            None if found.due is None else datetime.fromtimestamp(found.due, UTC),
            record.status.value,
            made,
            call.instance if call else None,
        )
