"""Running a job again: after it failed (`Retry`), or after it succeeded (`Repeat`).

A job may also return a `Retry`, so this module is one that processes which run jobs import: they are kept small.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from aiorq.seconds import MAX_SECONDS

MAX_TIMES: Final = 1_000_000
"""The most retries, or repeats, that may be asked for."""
_LISTED: Final = 100  # intervals that a backoff is written out to; the last one repeats


class Retry:
    """How often, and after what time, a job that failed is tried again.

    The first interval is for the first retry, and the last one repeats. RQ's workers read the same fields and align a
    list that is shorter than `max` to the end.
    """

    def __init__(
        self,
        max: int,  # noqa: A002 - RQ's name
        interval: int | Iterable[int] = 0,
        enqueue_at_front: bool = False,
        *,
        backoff: float | None = None,
        max_interval: int | None = None,
        jitter: float = 0.0,
        retry_on: type[BaseException] | str | Sequence[type[BaseException] | str] = (),
        never: type[BaseException] | str | Sequence[type[BaseException] | str] = (),
    ) -> None:
        """Describe retries.

        Args:
            max: how many, 1 to 1,000,000.
            interval: seconds before each, whole numbers; one for all, or one after the other.
            enqueue_at_front: put the job at the front of its queue.
            backoff: factor, 1 and more, by which the (one) interval grows from retry to retry; None for no growth.
            max_interval: seconds that an interval grows to at most; None for a day.
            jitter: share of an interval, 0 to 1, by which it is made longer or shorter at random, so that jobs which
                failed together do not come back together.
            retry_on: only exceptions of these types are tried again; classes or their dotted names. A subclass counts.
            never: exceptions of these types are not.

        Raises:
            ValueError, TypeError: something is out of range or of another type.
        """
        self.max = _times(max, "max")
        self.intervals = _intervals(interval, "interval")
        self.enqueue_at_front = bool(enqueue_at_front)
        if not 0 <= jitter <= 1:
            raise ValueError(f"jitter must be 0 to 1, not {jitter!r}")
        self.jitter = float(jitter)
        self.retry_on = _names(retry_on, "retry_on")
        self.never = _names(never, "never")
        if backoff is not None:
            self.intervals = _grown(self.intervals, backoff, 86_400 if max_interval is None else max_interval, self.max)
        elif max_interval is not None:
            raise ValueError("max_interval goes with backoff")

    def __repr__(self) -> str:
        interval = self.intervals[0] if len(self.intervals) == 1 else self.intervals
        return f"Retry(max={self.max}, interval={interval}, enqueue_at_front={self.enqueue_at_front})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Retry) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.max, tuple(self.intervals)))


class Repeat:
    """How often, and after what time, a job that succeeded runs again."""

    def __init__(self, times: int, interval: int | Iterable[int] = 0) -> None:
        """Describe repeats.

        Args:
            times: how many after the first run, 1 to 1,000,000.
            interval: seconds before each, whole numbers; one for all, or several, of which the last repeats.

        Raises:
            ValueError, TypeError: something is out of range or of another type.
        """
        self.times = _times(times, "times")
        self.intervals = _intervals(interval, "interval")

    def __repr__(self) -> str:
        return f"Repeat(times={self.times}, interval={self.intervals})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Repeat) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.times, tuple(self.intervals)))


def qualified_name(kind: type) -> str:
    """The dotted name of a class; of a builtin the bare one."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def kinds_of(kind: type[BaseException]) -> list[str]:
    """The dotted names of an exception's class and of all that it derives from, for `retry_on` and `never`."""
    return [qualified_name(base) for base in kind.__mro__[:-1]]


def _times(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if not 1 <= value <= MAX_TIMES:
        raise ValueError(f"{name} must be 1 to {MAX_TIMES}, not {value}")
    return value


def _intervals(value: object, name: str) -> list[int]:
    given = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    if not given:
        raise ValueError(f"{name} must not be an empty list")
    return [_interval(seconds, name) for seconds in given]


def _interval(seconds: object, name: str) -> int:
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        raise TypeError(f"{name} must be whole seconds, not {seconds!r}")
    if not 0 <= seconds <= MAX_SECONDS:
        raise ValueError(f"{name} must be 0 seconds to a hundred years, not {seconds}")
    return seconds


def _grown(intervals: list[int], backoff: float, most: int, times: int) -> list[int]:
    if len(intervals) != 1 or not intervals[0]:
        raise ValueError("backoff needs one interval to grow from, of at least a second")
    if not 1 <= backoff <= 100:
        raise ValueError(f"backoff must be a factor of 1 to 100, not {backoff!r}")
    if not intervals[0] <= most <= MAX_SECONDS:
        raise ValueError(f"max_interval must be {intervals[0]} seconds to a hundred years, not {most!r}")
    grown: list[int] = []
    seconds = float(intervals[0])
    while len(grown) < min(times, _LISTED) and (not grown or grown[-1] < most or backoff == 1):
        grown.append(round(min(seconds, most)))
        seconds *= backoff
    return grown


def _names(value: object, name: str) -> list[str]:
    given: Sequence[object] = value if isinstance(value, (list, tuple, set, frozenset)) else [value]  # type: ignore[assignment]
    names = []
    for kind in given:
        if isinstance(kind, type) and issubclass(kind, BaseException):
            names.append(qualified_name(kind))
        elif isinstance(kind, str) and all(part.isidentifier() for part in kind.split(".")):
            names.append(kind.removeprefix("builtins."))
        else:
            raise TypeError(f"{name} must be exception classes or their dotted names, not {kind!r}")
    return names
