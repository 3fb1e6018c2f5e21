"""How tests deal with other processes: fifos to talk over and descriptors to wait on, so that nothing is slept for."""

from __future__ import annotations

import asyncio
import os
import select
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

LIMIT: Final = 30.0
"""Seconds after which an event that a test waits for will not come."""


async def readable(descriptor: int, seconds: float = LIMIT) -> bool:
    """Wait until something can be read from `descriptor`; False when that did not happen in time."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_reader(descriptor, event.set)
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(descriptor)
    return True


class Fifo:
    """A named pipe between a test and a job. The test holds both ends open, so that no opening ever waits."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = str(path)
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._buffer = b""

    async def line(self) -> str:
        """The next line that somebody wrote."""
        while b"\n" not in self._buffer:
            assert await readable(self._descriptor), f"nobody wrote to {self.path}"
            self._buffer += os.read(self._descriptor, 4096)
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line.decode()

    def line_now(self, seconds: float = LIMIT) -> str:
        """The next line, waited for without an event loop."""
        while b"\n" not in self._buffer:
            assert select.select([self._descriptor], [], [], seconds)[0], f"nobody wrote to {self.path}"
            self._buffer += os.read(self._descriptor, 4096)
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line.decode()

    async def pids(self, count: int = 1) -> list[Process]:
        """The next processes that told their ids, a line each."""
        return [Process(int(await self.line())) for _ in range(count)]

    def rest(self) -> str:
        """All that was written and not read yet."""
        with suppress(BlockingIOError):
            while True:
                self._buffer += os.read(self._descriptor, 4096)
        text, self._buffer = self._buffer, b""
        return text.decode()

    def let(self, count: int = 1) -> None:
        """Let so many readers of a byte go on."""
        os.write(self._descriptor, b"." * count)

    def close(self) -> None:
        os.close(self._descriptor)


class Process:
    """A process that is held by a descriptor: its id may go to another one, the descriptor does not."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)
        self._earlier = frozenset(self._children())

    @property
    def alive(self) -> bool:
        return not select.select([self._descriptor], [], [], 0)[0]

    async def ended(self, seconds: float = LIMIT) -> bool:
        """Wait for its end; False when it lives on."""
        return await readable(self._descriptor, seconds)

    def ended_now(self, seconds: float = LIMIT) -> bool:
        """Wait for its end without giving the event loop a chance to notice anything."""
        return bool(select.select([self._descriptor], [], [], seconds)[0])

    def status(self, field: str) -> str:
        """A line of `/proc/<pid>/status`."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{field}:"))

    def descriptors(self) -> int:
        """How many descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def children(self) -> list[int]:
        """The ids of its children, zombies too, but for those that it had when this object was made."""
        return [pid for pid in self._children() if pid not in self._earlier]

    def _children(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def kill(self, number: int = signal.SIGKILL) -> None:
        signal.pidfd_send_signal(self._descriptor, number)

    def close(self) -> None:
        os.close(self._descriptor)
