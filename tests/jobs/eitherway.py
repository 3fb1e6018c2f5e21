"""Functions, callbacks, handlers and hooks that say what they are given; each leaves a line in the list `notes`.

The functions leave a word in the `meta` of their job, by way of whichever library.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import rq

import aiorq
import aiorq.sync
from aiorq.store.connection import connect_blocking


class SyncJob(aiorq.sync.Job[Any]):
    """A job class of an application's own."""


class AsyncJob(aiorq.Job[Any]):
    """Another one."""


def kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__name__}"


# What is enqueued.


def nothing() -> str:
    return "nothing"


def with_sync() -> str:
    job = aiorq.sync.get_current_job()
    assert job is not None
    job.meta["left by"] = "sync"
    return kind(job)


async def with_async() -> str:
    job = aiorq.get_current_job()
    assert job is not None
    job.meta["left by"] = "async"
    await job.save_meta()
    return kind(job)


def with_rq() -> str:
    job = rq.get_current_job()
    assert job is not None
    job.meta["left by"] = "rq"
    job.save_meta()  # type: ignore[no-untyped-call]
    return kind(job)


async def sync_in_a_coroutine() -> str:
    """Blocks, as whoever does so wants it."""
    job = aiorq.sync.get_current_job()
    assert job is not None
    job.meta["left by"] = "sync, in a coroutine"
    job.save_meta()
    return f"{kind(job)} {job.get_status().value}"


def fail_with_sync() -> None:
    with_sync()
    raise ValueError("on purpose")


async def fail_with_async() -> None:
    await with_async()
    raise ValueError("on purpose")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# Callbacks.


def success(job: Any, connection: Any, result: Any) -> None:
    connection.rpush("notes", f"{job.id} {kind(job)} {kind(connection)} {job.meta} {result}")


async def success_async(job: Any, connection: Any, result: Any) -> None:
    await connection.rpush("notes", f"{job.id} {kind(job)} {kind(connection)} {job.meta} {result}")


def failure(job: Any, connection: Any, type: Any, value: Any, traceback: Any) -> None:  # noqa: A002
    success(job, connection, f"{type.__name__} {value}")


async def failure_async(job: Any, connection: Any, type: Any, value: Any, traceback: Any) -> None:  # noqa: A002
    await success_async(job, connection, f"{type.__name__} {value}")


def stopped(job: Any, connection: Any) -> None:
    success(job, connection, "stopped")


async def stopped_async(job: Any, connection: Any) -> None:
    await success_async(job, connection, "stopped")


# Handlers and hooks, which are given no connection.


def _note(what: str, job: Any) -> None:
    with connect_blocking() as connection:
        connection.rpush("notes", f"{job.id} {what} {kind(job)} {job.meta}")


def handler(job: Any, *_: Any) -> None:
    _note("handler", job)


async def handler_async(job: Any, *_: Any) -> None:
    _note("handler", job)


def killed(job: Any, *_: Any) -> None:
    _note("killed", job)


async def killed_async(job: Any, *_: Any) -> None:
    _note("killed", job)


def before(job: Any) -> None:
    job.meta["before"] = 1
    _note("before", job)


async def before_async(job: Any) -> None:
    job.meta["before"] = 1
    _note("before", job)


def after(job: Any, error: Any) -> None:
    _note("after", job)


async def after_async(job: Any, error: Any) -> None:
    _note("after", job)
