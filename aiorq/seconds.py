"""Durations: whole seconds, as in RQ's format.

A number, a text of digits, or digits with a unit (`90`, `"90"`, `"15m"`, `"2h"`, `"1d"`) is accepted wherever RQ
accepts it.
"""

from __future__ import annotations

import math
import re
from typing import Final, TypeAlias

from aiorq.errors import TimeoutFormatError

MAX_SECONDS: Final = 100 * 365 * 86_400
"""The longest duration accepted: a hundred years. Longer ones are taken for mistakes, or would overflow in Redis."""
Duration: TypeAlias = int | str
"""Seconds, or a text such as `90`, `15m`, `2h`, `1d`."""
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
