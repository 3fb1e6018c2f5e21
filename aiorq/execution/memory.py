"""Whether the kernel killed a process for want of memory: it counts that for each control group.

The counter says how many, not which ones, and is that of the worker's whole group. A worker outside of any group, or
not on Linux, never hears of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_STALE: Final = 1.0  # seconds for which a count is good enough for the beginning of a run


class OomKills:
    """Counts the processes of the worker's control group that were killed for want of memory."""

    def __init__(self, path: Path | None) -> None:
        """Count.

        Args:
            path: a file with a line `oom_kill <count>`; None where there is none.
        """
        self._path = path
        self._count = 0
        self._until = float("-inf")

    def count(self) -> int:
        """How many there were up to now."""
        if self._path is not None:
            try:
                for line in self._path.read_text(encoding="ascii").splitlines():
                    if line.startswith("oom_kill "):
                        self._count = int(line.split()[1])
            except (OSError, ValueError):  # the group was removed, or it is something else
                self._path = None
        return self._count

    def recent(self, now: float) -> int:
        """How many there were up to a second before `now`, on a clock that never goes back."""
        if now >= self._until:
            self._until = now + _STALE
            self.count()
        return self._count


def find_counter(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> Path | None:
    """The file in which the kernel counts for this process, of either version of control groups."""
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:
            path = root / group.lstrip("/") / "memory.events"
        elif "memory" in controllers.split(","):
            path = root / "memory" / group.lstrip("/") / "memory.oom_control"
        else:
            continue
        if path.exists():
            return path
    return None
