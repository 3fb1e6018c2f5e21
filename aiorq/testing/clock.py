"""The clock of a test, which alone says what is due."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from aiorq.store.base import Store
from aiorq.store.blocking import drive
from aiorq.store.sandbox import move_clock


class Clock:
    """Shows what time it is for the jobs of a test, and moves it.

    It goes for everything that Redis decides: what is due of scheduled jobs, retries with intervals, repeats and cron
    entries, how long jobs and results are kept. `datetime.now()` goes on as ever, for jobs too.
    """

    def __init__(self, store: Store, before: Callable[[], object]) -> None:
        """Move the clock of the prefix of `store`, whose client blocks; `before` is called before each move."""
        self._store = store
        self._before = before

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.now().isoformat()}>"

    def now(self) -> datetime:
        """The time, in UTC."""
        return self._move(0.0)

    def move(self, delta: timedelta | None = None, **units: float) -> datetime:
        """Move the time on; what is due then is run by whoever works, as in `work()`.

        A move does not wait for anything: what is due at several times until then is due all at once, and jobs that
        become due run as they would if no worker had been there before.

        Args:
            delta: how far; negative for back.
            units: the same in the words of `timedelta`: `move(hours=1, minutes=30)`.

        Returns:
            the time then.
        """
        return self._move(((delta or timedelta()) + timedelta(**units)).total_seconds())

    def move_to(self, moment: datetime) -> datetime:
        """Move the time to a moment; one without a timezone is local time, as for `enqueue_at`. Returns it, or a little
        later, as time goes on.
        """
        return self._move(moment.timestamp() - self._look(0.0))

    def stop(self) -> datetime:
        """Let time stand still, until the clock is moved and from then on again. Returns the time."""
        return self._move(0.0, stands=True)

    def _move(self, seconds: float, *, stands: bool = False) -> datetime:
        return datetime.fromtimestamp(self._look(seconds, stands=stands), UTC)

    def _look(self, seconds: float, *, stands: bool = False) -> float:
        if seconds or stands:
            self._before()
        return drive(move_clock(self._store, seconds, stands=stands))
