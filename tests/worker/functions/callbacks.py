"""Callbacks that say what they were called with."""

from __future__ import annotations

from typing import Any

from waiting import tell

from aiorq import get_current_job


def sync_stopped(job: Any, connection: Any) -> None:
    note(job, connection.hget(job.key, "status"))


async def async_stopped(job: Any, connection: Any) -> None:
    note(job, await connection.hget(job.key, "status"))


def failing(job: Any, connection: Any) -> None:
    note(job, connection.hget(job.key, "status"))
    raise ValueError("the callback failed")


def note(job: Any, status: bytes) -> None:
    current = get_current_job()
    assert current is not None
    assert current.id == job.id
    tell(job.args[0], f"{job.id} {job.func_name} {status.decode()} {job.meta}")
