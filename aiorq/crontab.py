"""When something recurs: a cron expression in a timezone, or an interval. Slots are instants; nothing here waits.

The expressions are those of Debian's cron, read by cronsim: five fields, or six with the seconds first, `L`, `5#2`, and
names. Where the clock is put forward, a time that does not exist is the instant right after the gap; where it is put
back, what runs at a certain time runs once, and what runs every so many minutes runs in both hours.
"""

from __future__ import annotations

import contextlib
import os
import re
import zoneinfo
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cronsim import CronSim, CronSimError

from aiorq.seconds import MAX_SECONDS

ALIASES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""What some words stand for, as in cron."""
_LENGTH: Final = 200  # characters of an expression
_FIELD: Final = re.compile(r"Bad ([\w-]+)")
_ZONES: Final = re.compile(r"(?:^|/)zoneinfo/(?:posix/|right/)?(.+)$")
_LAST: Final = datetime(9000, 1, 1, tzinfo=UTC)


class Recurrence:
    """Either a cron expression with its timezone, or an interval."""

    def __init__(self, cron: str | None = None, interval: int | None = None, timezone: str | None = None) -> None:
        """Describe when.

        Args:
            cron: five fields, six with the seconds first, or a word of `ALIASES`.
            interval: seconds, 1 and more.
            timezone: of the expression, as in `Europe/Berlin`; None for the one of this machine (RQ's rule).

        Raises:
            ValueError, TypeError: both or neither; a field that cannot be read, which the text names; an expression
                that never comes true; a timezone that is not known.
        """
        if (cron is None) == (interval is None):
            raise ValueError("give either cron= or interval=")
        self.cron = cron
        self.interval = interval
        self.timezone: str | None = None
        self._zone: zoneinfo.ZoneInfo | None = None
        if interval is not None:
            if type(interval) is not int:
                raise TypeError(f"interval: {interval!r} is not a whole number of seconds")
            if not 1 <= interval <= MAX_SECONDS:
                raise ValueError(f"interval: {interval} is not 1 second to a hundred years")
            if timezone is not None:
                raise ValueError("timezone: an interval has none")
            return
        self.timezone = timezone or local_timezone()
        self._zone = _zone(self.timezone)
        self._expression = _expand(cron)
        if self.next_after(datetime.now(UTC)) is None:
            raise ValueError(f"cron: {cron!r} never comes true")

    def __repr__(self) -> str:
        if self.interval is not None:
            return f"Recurrence(interval={self.interval})"
        return f"Recurrence({self.cron!r}, timezone={self.timezone!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recurrence) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[object, ...]:
        return self.cron, self.interval, self.timezone

    def next_after(self, moment: datetime) -> datetime | None:
        """The first slot after an instant; None when there is none any more.

        Args:
            moment: with a timezone. Of an interval it must be a slot itself, or the begin of all.
        """
        moment = moment.astimezone(UTC)
        if moment >= _LAST:
            return None
        if self.interval is not None:
            return moment + timedelta(seconds=self.interval)
        assert self._zone is not None  # noqa: S101 - an expression has one
        # cronsim walks through local times, and may give the first of two instants with the same local time when it was
        # asked in the second.
        try:
            for found in CronSim(self._expression, moment.astimezone(self._zone)):
                slot = found.astimezone(UTC)
                if slot > moment:
                    return slot
        except (OverflowError, ValueError):
            return None
        return None

    def slots(self, first: datetime, until: datetime) -> Iterator[datetime]:
        """The slots from `first`, which is one, to `until`."""
        slot: datetime | None = first
        while slot is not None and slot <= until:
            yield slot
            slot = self.next_after(slot)

    def first_from(self, slot: datetime, moment: datetime) -> datetime | None:
        """The first slot at an instant or after it.

        Args:
            slot: one that is not after it.
            moment: the instant.
        """
        if slot >= moment:
            return slot
        if self.interval is None:
            return self.next_after(moment - timedelta.resolution)
        every = timedelta(seconds=self.interval)
        return slot + -((slot - moment) // every) * every

    def pass_over(self, slot: datetime, until: datetime, most: int) -> tuple[int, datetime | None]:
        """Pass over slots.

        Args:
            slot: the first one.
            until: the instant before which they lie.
            most: how many of an expression at most, each of which costs some 20 us.

        Returns:
            how many there are, and the slot that follows.
        """
        if self.interval is not None:
            following = self.first_from(slot, until)
            assert following is not None  # noqa: S101 - an interval never ends
            return (following - slot) // timedelta(seconds=self.interval), following
        count, following = 0, slot
        while following is not None and following < until and count < most:
            count, following = count + 1, self.next_after(following)
        return count, following

    def newest(self, slot: datetime, until: datetime, count: int) -> datetime | None:
        """The first one of the last `count` slots before an instant; the first slot from there on for a count of 0.

        Args:
            slot: one before the instant, which none of them precedes.
            until: the instant.
            count: how many, 0 and more.
        """
        if count == 0:
            return self.first_from(slot, until)
        if self.interval is not None:
            behind = self.first_from(slot, until)
            return None if behind is None else max(slot, behind - timedelta(seconds=self.interval * count))
        # From a look at the last minutes on, back to a look at all of the time.
        span = timedelta(seconds=max(60, count))
        while True:
            start = max(slot, until - span)
            found: deque[datetime] = deque(maxlen=count)
            first = self.first_from(slot, start)
            if first is not None:
                found.extend(self.slots(first, until - timedelta.resolution))
            if start == slot or len(found) == count:
                return found[0]
            span *= 4


def _expand(cron: object) -> str:
    if not isinstance(cron, str):
        raise TypeError(f"cron: {cron!r} is not a text")
    text = " ".join(cron.split())
    if len(text) > _LENGTH:
        raise ValueError(f"cron: an expression has at most {_LENGTH} characters")
    if text.startswith("@"):
        if text.lower() not in ALIASES:
            raise ValueError(f"cron: {text!r} is none of {', '.join(ALIASES)}")
        return ALIASES[text.lower()]
    fields = len(text.split(" ")) if text else 0
    if fields not in (5, 6):
        raise ValueError(f"cron: {cron!r} has {fields} fields; five are expected, or six with the seconds first")
    try:
        CronSim(text, datetime.now(UTC))
    except CronSimError as error:
        match = _FIELD.search(str(error))
        what = f"the {match[1]} of" if match else "something in"
        raise ValueError(f"cron: {what} {cron!r} cannot be, or never comes true") from None
    except (ValueError, OverflowError, AssertionError, IndexError):
        raise ValueError(f"cron: {cron!r} cannot be read") from None
    return text


def _zone(name: object) -> zoneinfo.ZoneInfo:
    if not isinstance(name, str):
        raise TypeError(f"timezone: {name!r} is not a text")
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"timezone: {name!r} is not known; use a name such as 'Europe/Berlin' or 'UTC'") from None


def local_timezone() -> str:
    """The name of this machine's timezone: from `TZ`, `/etc/timezone` or `/etc/localtime`; `UTC` where none says."""
    candidates = [os.environ.get("TZ", "").lstrip(":")]
    with contextlib.suppress(OSError, UnicodeDecodeError):
        candidates.append(Path("/etc/timezone").read_text(encoding="utf-8").strip())
    match = _ZONES.search(os.path.realpath("/etc/localtime"))
    if match:
        candidates.append(match[1])
    for name in filter(None, candidates):
        with contextlib.suppress(ValueError):
            return _zone(name).key
    return "UTC"
