"""Functions for the tests of the executor: every way in which a job can end."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys


def give(value: object) -> object:
    return value


async def give_async(value: object) -> object:
    return value


def give_function() -> object:
    return lambda: None


class HalfText:
    def __reduce__(self) -> str:
        raise ValueError("\ud800 half")


def give_half_text() -> object:
    return HalfText()


class Slow:
    """Its pickling never ends."""

    def __reduce__(self) -> str:
        while True:
            pass


def give_slow() -> object:
    return Slow()


def give_bytes(size: int) -> bytes:
    return bytes(size)


def exit_with(code: int) -> None:
    sys.exit(code)


def leave(code: int) -> None:
    os._exit(code)


def segfault() -> None:
    ctypes.string_at(0)


def signal_self(number: int) -> None:
    os.kill(os.getpid(), number)


def abort() -> None:
    os.abort()


def interrupt() -> None:
    raise KeyboardInterrupt


def recurse() -> None:
    recurse()


def exhaust_memory() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (256 << 20, 256 << 20))
    held = []
    while True:
        held.append(bytes(16 << 20))


def raise_long() -> None:
    raise ValueError("begin " + 20 * 1024 * 1024 * "x " + "end")


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class LeavingError(Exception):
    def __str__(self) -> str:
        raise SystemExit("no text")


def raise_unprintable() -> None:
    raise UnprintableError


def raise_leaving() -> None:
    raise LeavingError


def raise_half_text() -> None:
    raise ValueError("half \udc80 text")


def raise_group() -> None:
    raise ExceptionGroup("many", [ValueError("first"), ExceptionGroup("inner", [KeyError("second")])])


def raise_chain(length: int) -> None:
    error: Exception | None = None
    for number in range(length):
        try:
            raise ValueError(f"link {number}") from error
        except ValueError as link:
            error = link
    assert error is not None
    raise error


def raise_lines() -> None:
    raise ValueError("one\ntwo\r\nthree")


def raise_nothing() -> None:
    raise ValueError


def fork_and_return() -> str:
    """Both processes come back from the function; what the child says does not count."""
    pid = os.fork()
    if pid == 0:
        return "child"
    os.waitpid(pid, 0)
    return "parent"


def fork_and_raise() -> str:
    pid = os.fork()
    if pid == 0:
        sys.exit("child")
    os.waitpid(pid, 0)
    return "parent"


def write_to_closed_pipe() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.write(writing, b"nobody reads this")


def close_descriptors() -> None:
    os.closerange(0, 256)


def die_of(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
