"""Functions that the tests enqueue."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import aiorq


def add(left: int, right: int = 1) -> int:
    return left + right


def echo(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


def nothing(*_: Any) -> None:
    return None


def fail(message: str = "on purpose") -> None:
    raise ValueError(message)


def sleep(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


async def add_async(left: int, right: int = 1) -> int:
    await asyncio.sleep(0)
    return left + right


async def sleep_async(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slept"


def pid() -> int:
    return os.getpid()


def append(path: str, line: str) -> None:
    """Leave a trace outside Redis, in one write."""
    with Path(path).open("a") as file:
        file.write(line + "\n")


def touch_and_wait(path: str, gate: str) -> str:
    """Say that the job runs by making `path` (a fifo's reader is told by it), then wait until `gate` can be opened."""
    Path(path).write_text(str(os.getpid()))
    with Path(gate).open("rb") as fifo:
        fifo.read()
    return "let through"


class Greeter:
    """Every way in which a job can be a method."""

    def __init__(self, greeting: str = "hello") -> None:
        self.greeting = greeting

    def greet(self, name: str) -> str:
        return f"{self.greeting} {name}"

    async def greet_async(self, name: str) -> str:
        await asyncio.sleep(0)
        return f"{self.greeting} {name}, later"

    @staticmethod
    def shout(name: str) -> str:
        return f"HELLO {name}"

    @classmethod
    def by_class(cls, name: str) -> str:
        return f"{cls.__name__} greets {name}"

    def __call__(self, name: str) -> str:
        return f"called {name}"


class AsyncGreeter:
    """A callable object whose call is a coroutine."""

    async def __call__(self, name: str) -> str:
        await asyncio.sleep(0)
        return f"called {name}, later"


def unserializable() -> object:
    return lambda: None


def die() -> None:
    """End the process that runs the job, from inside."""
    os.kill(os.getpid(), signal.SIGKILL)


async def note(key: str, value: Any) -> None:
    """Change the job's meta while it runs; for workers of aiorq."""
    from aiorq import get_current_job

    job = get_current_job()
    assert job is not None
    job.meta[key] = value
    await job.save_meta()
    await job.connection.aclose()


def append_pid(path: str) -> int:
    append(path, str(os.getpid()))
    return os.getpid()


class TracedPickle:
    """Leaves the id of every process that unpickles it, and becomes that number."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return append_pid, (self.path,)


def save_meta_twice() -> str:
    """Use the job from two event loops, one after the other, as a sync function does."""
    job = aiorq.get_current_job()
    assert job is not None
    for step in ("first", "second"):
        job.meta[step] = True
        asyncio.run(job.save_meta())
    return job.id
