"""Functions and callbacks of jobs that run in the process of the test, which can look at what they did."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import Any

import aiorq
from aiorq.retry import Retry

calls: list[Any] = []
"""What was called, and with what; the tests empty it."""


def add(left: int, right: int = 1) -> int:
    calls.append(("add", left, right))
    return left + right


async def add_async(left: int, right: int = 1) -> int:
    await asyncio.sleep(0)
    return add(left, right)


def fail(message: str = "on purpose") -> None:
    calls.append("fail")
    raise ValueError(message)


async def fail_async(message: str = "on purpose") -> None:
    await asyncio.sleep(0)
    fail(message)


def leave(code: int) -> None:
    raise SystemExit(code)


def interrupt() -> None:
    raise KeyboardInterrupt


async def cancel_itself() -> None:
    raise asyncio.CancelledError("on purpose")


def ask_again(most: int) -> Retry:
    calls.append("ask_again")
    return Retry(most)


def sleep(seconds: float) -> None:
    time.sleep(seconds)


async def sleep_async(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def time_out_itself() -> None:
    async with asyncio.timeout(0):
        await asyncio.sleep(3600)


async def wait_for_ever() -> None:
    calls.append("waits")
    await asyncio.Event().wait()


def who() -> tuple[Any, ...]:
    job = aiorq.get_current_job()
    assert job is not None
    calls.append(job)
    return job.id, job.status.value, os.getpid(), threading.get_ident()


async def who_async() -> tuple[Any, ...]:
    return who()


async def leave_note(key: str, value: Any) -> None:
    job = aiorq.get_current_job()
    assert job is not None
    job.meta[key] = value
    await job.save_meta()


def leave_notes() -> None:
    """Use the job from two event loops, one after the other."""

    async def leave(key: str) -> None:
        await leave_note(key, True)
        job = aiorq.get_current_job()
        assert job is not None
        await job.connection.aclose()

    for key in ("first", "second"):
        asyncio.run(leave(key))


def on_success(job: Any, connection: Any, result: Any) -> None:
    calls.append(("on_success", job.id, job.status.value, connection.ping(), result))


async def on_success_async(job: Any, connection: Any, result: Any) -> None:
    calls.append(("on_success", job.id, job.status.value, await connection.ping(), result))


def on_failure(job: Any, connection: Any, kind: Any, error: Any, traceback: Any) -> None:
    here = traceback is not None and isinstance(error, kind)
    calls.append(("on_failure", job.id, job.status.value, connection.ping(), str(error), here))


async def on_failure_async(job: Any, connection: Any, kind: Any, error: Any, traceback: Any) -> None:
    here = traceback is not None and isinstance(error, kind)
    calls.append(("on_failure", job.id, job.status.value, await connection.ping(), str(error), here))


def on_stopped(job: Any, connection: Any) -> None:
    calls.append(("on_stopped", job.id, job.status.value, connection.ping()))


def break_callback(job: Any, *_: Any) -> None:
    calls.append("broken")
    raise RuntimeError("the callback is broken")


def sleep_callback(*_: Any) -> None:
    time.sleep(3600)


async def enqueue_another(path: str) -> tuple[int | None, str]:
    """Run a job at once from within one that does: afterwards this is the current one again."""
    queue = aiorq.Queue(connection=f"unix://{path}", is_async=False)
    inner = await queue.enqueue(add, 1)
    job = aiorq.get_current_job()
    assert job is not None
    value = await inner.return_value()
    await queue.connection.aclose()
    return value, job.id


async def sleep_callback_async(*_: Any) -> None:
    await asyncio.sleep(3600)


def before_job(job: Any) -> None:
    calls.append(("before_job", job.id))


def handle_exception(job: Any, kind: Any, error: Any, traceback: Any) -> None:
    calls.append(("handled", job.id, str(error)))
