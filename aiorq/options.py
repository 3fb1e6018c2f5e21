"""What a caller may say about a job, checked once and then unchanging.

Durations are whole seconds, as in RQ's format. A number, a text of digits, or digits with a unit (`90`, `"90"`,
`"15m"`, `"2h"`, `"1d"`) is accepted wherever RQ accepts it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiorq.errors import TimeoutFormatError
from aiorq.keys import check_job_id

DEFAULT_TIMEOUT: Final = 180
"""Seconds that a job may run when nothing else is said (RQ)."""
DEFAULT_RESULT_TTL: Final = 500
"""Seconds that a finished job and its result are kept when nothing else is said (RQ)."""
DEFAULT_FAILURE_TTL: Final = 31_536_000
"""Seconds that a failed job is kept when nothing else is said: a year (RQ)."""
MAX_SECONDS: Final = 100 * 365 * 86_400
"""The longest duration accepted: a hundred years. Longer ones are taken for mistakes, or would overflow in Redis."""

ON_LOST: Final = ("fail", "requeue")
"""What may become of a job that is lost with its worker."""
_SIZE: Final = re.compile(r"([0-9]{1,15})([kmg]?)i?b?")
_BYTES: Final = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}
_MAX_MEMORY: Final = 2**50
_DURATION: Final = re.compile(r"(-?[0-9]{1,12})([smhd]?)")
_UNIT: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def parse_seconds(value: object, name: str) -> int:
    """Turn a duration into whole seconds; a fraction is cut off, as in RQ, but never so that 0 or -1 comes out of it.

    Args:
        value: an int, a float, or a text of digits with an optional unit `s`, `m`, `h` or `d`.
        name: what the duration is, for the error.

    Raises:
        TimeoutFormatError: it is something else, not finite, less than a second, or longer than `MAX_SECONDS`.
    """
    seconds: int
    if isinstance(value, bool):
        raise TimeoutFormatError(f"{name}: {value!r} is not a duration")
    if isinstance(value, int):
        seconds = value
    elif isinstance(value, float) and math.isfinite(value):
        seconds = int(value)
        if seconds <= 0 and seconds != value:  # 0 and -1 have meanings that a fraction must not get by accident
            raise TimeoutFormatError(f"{name}: {value!r} is not a duration; use whole seconds")
    elif isinstance(value, str) and (match := _DURATION.fullmatch(value.strip().lower())):
        seconds = int(match[1]) * _UNIT[match[2]]
    else:
        shown = value[:40] if isinstance(value, str) else value
        raise TimeoutFormatError(
            f"{name}: {shown!r} is not a duration; use seconds or a text such as '90', '15m', '2h', '1d'"
        )
    if abs(seconds) > MAX_SECONDS:
        raise TimeoutFormatError(f"{name}: that is more than a hundred years")
    return seconds


def parse_timeout(value: object) -> int | None:
    """Seconds that a job may run: 1 and more, or -1 for no limit; None stays None (the queue's default applies).

    Raises:
        ValueError: 0, or below -1; `TimeoutFormatError` when it cannot be read.
    """
    if value is None:
        return None
    seconds = parse_seconds(value, "job_timeout")
    if seconds == 0 or seconds < -1:
        raise ValueError(f"job_timeout: {value!r} is not allowed; use at least one second, or -1 for no limit")
    return seconds


def parse_ttl(value: object) -> int | None:
    """Seconds that a job may wait in its queue: 1 and more; None for ever.

    Raises:
        ValueError: 0 or less; `TimeoutFormatError` when it cannot be read.
    """
    if value is None:
        return None
    seconds = parse_seconds(value, "ttl")
    if seconds <= 0:
        raise ValueError(f"ttl: {value!r} is not allowed; use at least one second, or leave it out")
    return seconds


def parse_kept(value: object, name: str) -> int | None:
    """Seconds that an ended job is kept: 0 deletes it at once, -1 keeps it for ever; None stays None (the default).

    Raises:
        ValueError: below -1; `TimeoutFormatError` when it cannot be read.
    """
    if value is None:
        return None
    seconds = parse_seconds(value, name)
    if seconds < -1:
        raise ValueError(f"{name}: {value!r} is not allowed; use seconds, 0 to delete at once, or -1 to keep for ever")
    return seconds


def check_on_lost(value: str | None) -> str | None:
    """Return `value` if it is `fail`, `requeue` or None.

    Raises:
        ValueError: it is something else.
    """
    if value is not None and value not in ON_LOST:
        raise ValueError(f"on_lost must be 'fail' or 'requeue', not {value!r}")
    return value


def parse_memory(value: object) -> int | None:
    """Bytes: a number, or a text of digits with an optional unit `k`, `m` or `g` (powers of 1024); None stays None.

    Raises:
        ValueError: it is something else, or less than a mebibyte, in which no Python runs.
    """
    if value is None:
        return None
    size: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (match := _SIZE.fullmatch(value.strip().lower())):
        size = int(match[1]) * _BYTES[match[2]]
    if size is None or not 2**20 <= size <= _MAX_MEMORY:
        raise ValueError(f"memory_limit: {value!r} is not allowed; use bytes, or a text such as '512m' or '2g'")
    return size


@dataclass(frozen=True, kw_only=True, slots=True)
class JobOptions:
    """The options of one enqueue, in RQ's words. Checked when made; durations are seconds afterwards."""

    job_timeout: int | None = None
    """Seconds that the job may run; -1 for no limit; None for the queue's default."""
    result_ttl: int | None = None
    """Seconds that a finished job is kept; 0 deletes it, -1 keeps it; None for the worker's default."""
    failure_ttl: int | None = None
    """Seconds that a failed job is kept; -1 keeps it; None for a year."""
    ttl: int | None = None
    """Seconds that the job may wait before it is dropped; None for ever."""
    description: str | None = None
    """A text for people; None for the call as text."""
    job_id: str | None = None
    """The id; None for a random one."""
    at_front: bool = False
    """Put the job at the front of its queue."""
    meta: Mapping[str, Any] | None = None
    """Data of the caller's, kept with the job."""
    on_lost: str | None = None
    """What becomes of the job if its worker is lost while it runs: `fail`, or `requeue`, three times at most; None for
    the worker's setting."""
    memory_limit: int | None = None
    """Bytes of data that the process of the job may have; None for the worker's setting."""

    def __post_init__(self) -> None:
        """Check every option, and turn durations into seconds."""
        put = object.__setattr__
        put(self, "job_timeout", parse_timeout(self.job_timeout))
        put(self, "result_ttl", parse_kept(self.result_ttl, "result_ttl"))
        put(self, "failure_ttl", parse_kept(self.failure_ttl, "failure_ttl"))
        put(self, "ttl", parse_ttl(self.ttl))
        check_on_lost(self.on_lost)
        put(self, "memory_limit", parse_memory(self.memory_limit))
        if self.job_id is not None:
            check_job_id(self.job_id)
        if self.meta is not None and not isinstance(self.meta, Mapping):
            raise TypeError(f"meta must be a dict, not {type(self.meta).__name__}")
        if self.description is not None and not isinstance(self.description, str):
            raise TypeError(f"description must be text, not {type(self.description).__name__}")


RESERVED: Final = frozenset(JobOptions.__dataclass_fields__)
"""The keywords of `enqueue` that are options and not arguments of the function."""
NOT_YET: Final = frozenset(
    {
        "depends_on",
        "on_failure",
        "on_stopped",
        "on_success",
        "pipeline",
        "rate_limit",
        "repeat",
        "retry",
        "unique",
        "webhooks",
    }
)
"""Keywords that RQ reserves and aiorq does not act on yet: they are refused, never swallowed."""


def split_options(kwargs: Mapping[str, Any]) -> tuple[JobOptions, tuple[Any, ...] | None, dict[str, Any]]:
    """Separate RQ's reserved keywords from the function's own.

    Returns:
        the options; the explicit positional arguments given as `args=`, or None; the keyword arguments of the function
        (those of `kwargs=` if it was given, which must then be all of them).

    Raises:
        NotImplementedError: an option of RQ's that aiorq does not have yet.
        TypeError: `args` or `kwargs` of a wrong type, or keywords beside an explicit `kwargs=`.
    """
    rest = dict(kwargs)
    for name in NOT_YET.intersection(rest):
        if rest.pop(name):
            raise NotImplementedError(f"{name}= is not supported yet")
    options = JobOptions(**{name: rest.pop(name) for name in RESERVED.intersection(rest)})
    args = rest.pop("args", None)
    if args is not None and not isinstance(args, (tuple, list)):
        raise TypeError(f"args= must be a tuple or a list, not {type(args).__name__}")
    explicit = rest.pop("kwargs", None)
    if explicit is not None:
        if not isinstance(explicit, Mapping):
            raise TypeError(f"kwargs= must be a dict, not {type(explicit).__name__}")
        if rest:
            beside = ", ".join(sorted(rest))
            raise TypeError(f"give all keyword arguments in kwargs=, or none; {beside} stood beside it")
        rest = dict(explicit)
    return options, None if args is None else tuple(args), rest
