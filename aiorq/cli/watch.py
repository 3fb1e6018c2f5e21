"""`--watch`: a worker that is started anew when its source changes. For development.

The files are looked at, twice a second, rather than watched: that needs no library and no thread, and it also works on
the file systems of containers and networks, of whose changes the kernel tells nobody.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

log = logging.getLogger("aiorq.watch")

_PAUSE: Final = 0.5
_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})
_STOPS: Final = (signal.SIGINT, signal.SIGTERM)


def keep_fresh(folders: Iterable[str]) -> int:
    """Run this command without `--watch`, anew whenever a Python file in the folders changes.

    A worker that ends by itself, since its modules cannot be imported for example, is started at the next change. The
    signals that end a worker are passed on and end this too. Returns the exit code of the last worker.
    """
    command = [sys.executable, *(argument for argument in sys.orig_argv[1:] if argument != "--watch")]
    stops: list[int] = []
    process: subprocess.Popen[bytes] | None = None

    def stop(number: int, _: Any) -> None:
        stops.append(number)
        if process is not None:
            with suppress(ProcessLookupError):
                process.send_signal(number)

    for number in _STOPS:
        signal.signal(number, stop)
    while True:
        seen = dict(_files(folders))
        log.info("watching %d files", len(seen))
        # Out of reach of the terminal's Ctrl-C, which comes by way of this process.
        process = subprocess.Popen(command, process_group=0)
        if stops:  # it came just before
            process.send_signal(stops[-1])
        changed = _wait_for_change(folders, seen, stops, process)
        if changed:
            log.info("%s changed: starting the worker anew", changed)
            process.terminate()
        code = process.wait()
        if stops:
            return code if code >= 0 else 128 - code


def _wait_for_change(
    folders: Iterable[str], seen: Mapping[str, int], stops: list[int], process: subprocess.Popen[bytes]
) -> str:
    """Wait until a file has changed, and return its name; or until the end was asked for."""
    told = False
    while not stops:
        time.sleep(_PAUSE)
        now = dict(_files(folders))
        if now != seen:
            return sorted(set(now.items()) ^ set(seen.items()))[0][0]
        if not told and process.poll() is not None:
            told = True
            log.warning(
                "the worker has ended with exit code %d; it is started anew at the next change", process.returncode
            )
    return ""


def _files(folders: Iterable[str]) -> Iterator[tuple[str, int]]:
    for folder in folders:
        for where, inside, names in os.walk(folder):
            inside[:] = [name for name in inside if name not in _SKIPPED and not name.startswith(".")]
            for name in names:
                if name.endswith(".py"):
                    path = os.path.join(where, name)
                    with suppress(OSError):
                        yield path, os.stat(path).st_mtime_ns
