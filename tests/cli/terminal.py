"""A command in a pseudo-terminal, and what its screen shows."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pyte

AIORQ = [sys.executable, "-m", "aiorq"]
LIMIT = 40.0


class Terminal:
    """A terminal with a command that runs in it."""

    def __init__(self, folder: Path, url: str, *arguments: str, columns: int = 80, lines: int = 50, **settings: str):
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.sent = b""
        """All that the command has written."""
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        environment = {
            name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")
        }
        self.process = subprocess.Popen(
            [*AIORQ, *arguments],
            env=environment | {"AIORQ_REDIS_URL": url, "TERM": "xterm-256color"} | settings,
            cwd=folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)

    @property
    def rows(self) -> list[str]:
        """The screen, without what is empty of it."""
        return [row.rstrip() for row in self._screen.display if row.strip()]

    @property
    def text(self) -> str:
        """The screen in one."""
        return "\n".join(self.rows)

    def shows(self, text: str) -> None:
        """Wait until the screen shows a text."""
        end = time.monotonic() + LIMIT
        while text not in self.text:
            assert time.monotonic() < end, f"no {text!r} in:\n{self.text}"
            assert self._read(end), f"the command ended without {text!r} in:\n{self.text}"

    def read(self) -> None:
        """Wait for something to be written."""
        assert self._read(time.monotonic() + LIMIT), f"the command ended:\n{self.text}"

    def interrupt(self) -> None:
        """As Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """Wait for the end of the command; its exit code."""
        end = time.monotonic() + LIMIT
        while self._read(end):
            assert time.monotonic() < end, self.text
        return self.process.wait(LIMIT)

    def close(self) -> None:
        """End what still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)

    def _read(self, end: float) -> bool:
        """Take in what the command has written; False at its end."""
        if not select.select([self._ours], [], [], max(0.0, end - time.monotonic()))[0]:
            return True
        try:
            data = os.read(self._ours, 65_536)
        except OSError:  # Linux says so of a terminal that nobody has open
            return False
        self.sent += data
        self._stream.feed(data)
        return bool(data)
