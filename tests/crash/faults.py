"""Deaths of the processes that run jobs, at moments that no test outside of them could hit."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, Final

from aiorq.execution import zygote
from aiorq.execution.frames import Kind, send
from aiorq.execution.zygote import _Zygote
from tests.crash.points import report

OUTCOMES: Final = (Kind.RETURNED, Kind.RAISED, Kind.AGAIN)


def _kill(pid: int) -> None:
    report("felled", str(pid))
    os.kill(pid, signal.SIGKILL)
    signal.pause()  # a horse dies with its zygote


def _at_outcome(whom: Callable[[], int], *, after: bool) -> None:
    def sending(sock: Any, kind: Kind, fields: Any) -> None:
        if after or kind not in OUTCOMES:
            send(sock, kind, fields)
        if kind in OUTCOMES:
            _kill(whom())

    zygote.send = sending  # type: ignore[attr-defined]


def _zygote_at_fork(*, after: bool) -> None:
    fork = _Zygote._fork

    def forking(self: _Zygote, fields: list[bytes]) -> None:
        if after:
            fork(self, fields)
        _kill(os.getpid())

    _Zygote._fork = forking  # type: ignore[method-assign]


def _zygote_at_end(*, after: bool) -> None:
    tell = _Zygote._tell

    def telling(self: _Zygote, kind: Kind, fields: list[bytes]) -> None:
        if after or kind != Kind.ENDED:
            tell(self, kind, fields)
        if kind == Kind.ENDED:
            _kill(os.getpid())

    _Zygote._tell = telling  # type: ignore[method-assign]


FAULTS: dict[str, Callable[[], None]] = {
    "horse before its outcome": lambda: _at_outcome(os.getpid, after=False),
    "horse after its outcome": lambda: _at_outcome(os.getpid, after=True),
    "zygote before an outcome": lambda: _at_outcome(os.getppid, after=False),
    "zygote after an outcome": lambda: _at_outcome(os.getppid, after=True),
    "zygote before a fork": lambda: _zygote_at_fork(after=False),
    "zygote after a fork": lambda: _zygote_at_fork(after=True),
    "zygote before it tells of an end": lambda: _zygote_at_end(after=False),
    "zygote after it told of an end": lambda: _zygote_at_end(after=True),
}


def install(fault: str) -> None:
    """Let it happen to what this process forks."""
    FAULTS[fault]()
