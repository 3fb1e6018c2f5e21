"""Jobs that do to their worker what must not happen to it, and jobs that end differently when they run again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from waiting import hang, pass_gate, tell  # type: ignore[import-not-found]


def kill_worker(told: str, gate: str) -> None:
    """End the worker's process: the parent of the one that forked this one."""
    tell(told, os.getpid())
    pass_gate(gate)
    status = Path(f"/proc/{os.getppid()}/stat").read_text()
    os.kill(int(status.rpartition(")")[2].split()[1]), signal.SIGKILL)
    hang()


def hang_once(told: str, marker: str) -> str:
    """Hang in the first run and return in the second."""
    first = not os.path.exists(marker)
    Path(marker).touch()
    tell(told, os.getpid())
    if first:
        hang()
    return "the second run"
