"""How a run ended, as data. Whoever ran it says what happened; what follows from it is decided elsewhere."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Returned:
    """The function returned."""

    value: bytes
    """The result as RQ stores it; empty for None."""
    warning: str = ""
    """What went wrong and changes nothing: why the result was replaced by RQ's placeholder, what a hook raised."""


@dataclass(frozen=True, slots=True)
class Again:
    """The function returned a `Retry`: the job is to run again, so many times at most."""

    max: int
    """How many times in all; 1 and more."""
    intervals: tuple[int, ...]
    """Seconds before each; the last one repeats."""
    enqueue_at_front: bool
    value: bytes = b""
    """The `Retry` as RQ stores it, where it is RQ's own; empty for ours, which RQ's readers could not read."""
    warning: str = ""
    """As that of `Returned`."""


@dataclass(frozen=True, slots=True)
class Raised:
    """The function raised, or there was no function to run."""

    summary: str
    """Type and message of the exception, on one line."""
    traceback: bytes
    """As RQ stores it."""
    kinds: tuple[str, ...] = ()
    """The dotted names of the exception's class and of all that it derives from (`retry.kinds_of`)."""
    warning: str = ""
    """What else went wrong, and changes nothing."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The process that ran the job ended without an outcome, or what it said does not count."""

    exit_code: int | None = None
    signal: int | None = None
    why: str = ""
    """What is known beyond code and signal: `timeout`, `out of memory`, `not sent by the worker`, or a
    reason that `stop` or `kill` was given."""
    peak_kib: int = 0
    """The most memory that it had, in KiB."""
    stopped: bool = False
    """It was told to end, and `why` says what for; the job may have cleaned up before."""
    doing: str = ""
    """What ran when it ended, if it was not the function itself: a callback or a hook."""
    told: bool = False
    """The attempt had failed before, and the callbacks of the failure had their turn, or have begun."""
    pid: int | None = None
    """The process's; None where it is not known."""
    usage: tuple[float, ...] | None = None
    """What it used, in the order of `resource.struct_rusage`; None where it is not known."""

    def __str__(self) -> str:
        """What happened to the process, in words."""
        return f"the process that ran the job {self.how}"

    @property
    def how(self) -> str:
        """What happened to it, to go on after its name."""
        if self.signal is not None:
            try:
                name = f"signal {self.signal} ({signal.Signals(self.signal).name})"
            except ValueError:
                name = f"signal {self.signal}"
            how = f"was killed by {name}"
        elif self.stopped:
            how = "was told to end"
        elif self.exit_code is not None:
            how = f"exited with code {self.exit_code} before the job had ended"
        else:
            how = "is gone"
        during = f" during {self.doing}" if self.doing else ""
        return f"{how}{during}" + (f": {self.why}" if self.why else "")


@dataclass(frozen=True, slots=True)
class NotBegun:
    """The run never began: no process could be made for it."""

    reason: str


Outcome: TypeAlias = Returned | Again | Raised | Lost | NotBegun
