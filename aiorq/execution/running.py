"""The runs under way of an executor, and how they are told to end: asked first, and killed when that took too long.

What it takes to ask and to kill is each executor's own. When either is done and which reason counts, of several that
come one after the other, is the same in all of them.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from aiorq.outcome import Lost, NotBegun, Outcome


class Running:
    """A run that has not ended."""

    __slots__ = ("doing", "future", "killed", "stopped", "timer", "told", "why")

    def __init__(self) -> None:
        """One that begins now."""
        self.future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.timer: asyncio.TimerHandle | None = None
        """Of the next step: the kill, then what is done where that has no effect."""
        self.stopped = False
        self.killed = False
        self.why = ""
        self.doing = ""
        """What runs beside the function, if anything was heard of."""
        self.told = False
        """Whether the callbacks of a failure have their turn."""

    @property
    def is_to_end(self) -> bool:
        """Whether it was told to, so that no outcome of its own counts."""
        return self.stopped or self.killed

    def cancel_timer(self) -> None:
        """Nothing happens to it by the clock any more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def lost(self, why: str = "", **end: Any) -> Lost:
        """Its outcome where none of its own counts; `why` is the reason where none was given before."""
        return Lost(why=self.why or why, stopped=self.stopped, doing=self.doing, told=self.told, **end)


R = TypeVar("R", bound=Running)


class Runs(ABC, Generic[R]):
    """The part of an executor that knows its runs by their numbers, and ends them. See `Executor` for its methods."""

    def __init__(self) -> None:
        """Without any run."""
        self._running: dict[int, R] = {}
        self._last_number = 0

    @abstractmethod
    def _ask_to_end(self, number: int, running: R) -> None:
        """Tell a run to end, which it may do in its own way."""

    @abstractmethod
    def _force_to_end(self, number: int, running: R) -> None:
        """End a run, and set its timer for the case that it does not."""

    def next_number(self) -> int:
        """A number for an `Order`."""
        self._last_number += 1
        return self._last_number

    def stop(self, number: int, why: str, grace: float) -> None:
        """Tell a run to end, and `kill` it when it has not ended in time; see `Executor`."""
        running = self._running.get(number)
        if running is None:
            return
        told = running.stopped
        if not told:
            running.stopped = True
            running.why = why
        if running.killed:
            return
        if grace <= 0:
            self.kill(number, why)
            return
        if not told:
            self._ask_to_end(number, running)
        self._kill_in(number, running, grace, why)

    def kill(self, number: int, why: str) -> None:
        """End a run now; see `Executor`."""
        running = self._running.get(number)
        if running is None or running.killed:
            return
        running.killed = True
        running.why = running.why or why
        running.cancel_timer()
        self._force_to_end(number, running)

    def kill_all(self, why: str) -> None:
        """`kill` every run."""
        for number in list(self._running):
            self.kill(number, why)

    def _kill_in(self, number: int, running: R, seconds: float, why: str) -> None:
        """Have a run killed after so many seconds, where it is not sooner anyway."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        if running.timer is None or end < running.timer.when():
            running.cancel_timer()
            running.timer = loop.call_at(end, self.kill, number, why)

    def _settle(self, number: int, outcome: Outcome) -> None:
        """A run has ended so."""
        running = self._running.pop(number, None)
        if running is None:
            return
        running.cancel_timer()
        if isinstance(outcome, NotBegun) and running.stopped:
            outcome = running.lost()
        if not running.future.done():
            running.future.set_result(outcome)
