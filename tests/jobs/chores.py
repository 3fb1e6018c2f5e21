"""Functions, callbacks and handlers for the tests of parity; callbacks leave a line in the list `lines`."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import aiorq
from aiorq import Retry, get_current_job

LINES = "lines"


class OwnJob(aiorq.Job[Any]):
    """A job class of an application's own."""


class OwnQueue(aiorq.Queue):
    """A queue class of an application's own."""


class Adder:
    """Its methods are called on the object that was enqueued."""

    def __init__(self, left: int) -> None:
        self.left = left

    def add(self, right: int) -> int:
        return self.left + right

    @staticmethod
    def double(value: int) -> int:
        return 2 * value

    def __call__(self, right: int) -> int:
        return 10 * self.left + right


def succeed(value: Any = None) -> Any:
    return value


def fail(text: str = "on purpose") -> None:
    raise ValueError(text)


async def succeed_async(value: Any = None) -> Any:
    await asyncio.sleep(0)
    return value


def fail_until(attempt: int) -> int:
    job = get_current_job()
    assert job is not None
    if job.attempt < attempt:
        raise ConnectionError(f"attempt {job.attempt}")
    return job.attempt


def ask_again(times: int) -> Retry:
    return Retry(max=times)


def die() -> None:
    os.abort()


def environment() -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in ("RQ_WORKER_ID", "RQ_JOB_ID", "RQ_EXECUTION_ID")}


def class_of_the_job() -> str:
    return type(get_current_job()).__name__


def unserializable() -> object:
    return lambda: None


# Callbacks and handlers.


def on_success(job: Any, connection: Any, result: Any) -> None:
    waiting = sorted(key.decode() for key in connection.keys("*:queue:*"))
    connection.rpush(LINES, f"{job.id} success {result} {job.get_call_string()} {waiting}")


async def on_success_async(job: Any, connection: Any, result: Any) -> None:
    await connection.rpush(LINES, f"{job.id} success {result}")


def on_success_raising(job: Any, connection: Any, result: Any) -> None:
    raise RuntimeError("of the callback")


def on_failure(job: Any, connection: Any, kind: Any, value: Any, traceback: Any) -> None:
    there = "with" if traceback else "without"
    connection.rpush(LINES, f"{job.id} failure {kind.__name__} {value} {there} a traceback")


def on_failure_raising(job: Any, connection: Any, kind: Any, value: Any, traceback: Any) -> None:
    raise LookupError("instead of it") from value


def on_stopped(job: Any, connection: Any) -> None:
    connection.rpush(LINES, f"{job.id} stopped {connection.hget(job.key, 'status').decode()}")


def on_stopped_raising(job: Any, connection: Any) -> None:
    raise RuntimeError("of the callback")


def _say(job: Any, text: str) -> None:
    path = os.environ["PARITY_LINES"]
    with Path(path).open("a") as file:
        file.write(f"{job.id} {text}\n")


def handle_first(job: Any, kind: Any, value: Any, traceback: Any) -> None:
    _say(job, f"first {kind.__name__} {value} {traceback is not None}")


def handle_last(job: Any, kind: Any, value: Any, traceback: Any) -> bool:
    _say(job, "last")
    return False


def handle_never(job: Any, kind: Any, value: Any, traceback: Any) -> None:
    _say(job, "never")


def handle_killed(job: Any, pid: Any, status: Any, usage: Any) -> None:
    _say(job, f"killed {pid > 1} {os.WTERMSIG(status)} {usage is not None}")


def start() -> None:
    job = get_current_job()
    _say(job, "start")


def before(job: Any) -> None:
    _say(job, "before")


def after(job: Any, error: BaseException | None) -> None:
    _say(job, f"after {error!r}")


def stop() -> None:
    job = get_current_job()
    _say(job, "stop")
