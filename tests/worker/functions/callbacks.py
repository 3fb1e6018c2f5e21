"""Callbacks that say what they were called with."""

from __future__ import annotations

import os
import signal
from typing import Any

from aiorq import get_current_job


def sync_stopped(job: Any, connection: Any) -> None:
    note(job, connection.hget(job.key, "status"))


async def async_stopped(job: Any, connection: Any) -> None:
    note(job, await connection.hget(job.key, "status"))


def failing(job: Any, connection: Any) -> None:
    note(job, connection.hget(job.key, "status"))
    raise ValueError("the callback failed")


def never_ending(job: Any, connection: Any) -> None:
    with open(job.args[0], "w") as told:
        told.write(f"{os.getpid()}\n")
    while True:
        signal.pause()


def note(job: Any, status: bytes) -> None:
    current = get_current_job()
    assert current is not None
    assert current.id == job.id
    with open(job.args[0], "w") as told:
        told.write(f"{job.id} {job.func_name} {status.decode()} {job.meta}\n")
