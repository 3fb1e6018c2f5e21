"""Functions for the tests of the executor: jobs that need memory."""

from __future__ import annotations

import os
import resource
import signal
import threading
from pathlib import Path


def need(mib: int) -> int:
    """Have so much memory, and give it back."""
    return len(b"x" * (mib << 20))


async def need_async(mib: int) -> int:
    return need(mib)


def give(mib: int) -> bytes:
    """Something that takes as much again to be serialised."""
    return b"x" * (mib << 20)


def fill(step: int) -> None:
    """Take memory, bit by bit, until there is none, and hold it."""
    held = []
    while True:
        held.append(b"x" * step)


def fill_and_abort() -> None:
    """What a library does that does not expect to be refused."""
    held = []
    try:
        while True:
            held.append(b"x" * (1 << 20))
    except MemoryError:
        os.abort()


def fill_and_exit() -> None:
    held = []
    try:
        while True:
            held.append(b"x" * (1 << 20))
    except MemoryError:
        os._exit(3)


def fill_in_child() -> int:
    """The exit code of a child that asks for more than the limit; the job itself has enough."""
    pid = os.fork()
    if pid == 0:
        try:
            need(512)
        except MemoryError:
            os._exit(7)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def start_threads(count: int) -> str:
    done = threading.Event()
    for _ in range(count):
        threading.Thread(target=done.wait, daemon=True).start()
    done.set()
    return "started"


def find_limits() -> dict[str, tuple[int, int]]:
    return {
        "data": resource.getrlimit(resource.RLIMIT_DATA),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
    }


def find_score() -> int:
    return int(Path("/proc/self/oom_score_adj").read_text())


def be_chosen(counter: str, count: int) -> None:
    """Die as the kernel has processes die when memory runs out, having written down that it did so."""
    Path(counter).write_text(f"low 0\noom 3\noom_kill {count}\noom_group_kill 0\n")
    os.kill(os.getpid(), signal.SIGKILL)
