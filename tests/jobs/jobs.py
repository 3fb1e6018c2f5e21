"""Functions that the tests enqueue."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any


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
