"""An application that writes letters, as the testing kit's users have one: its queues are made when it is imported."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import aiorq
import aiorq.sync
from aiorq import Retry

mail = aiorq.Queue("mail")
mail_of_sync = aiorq.sync.Queue("mail")
tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
tried: list[str] = []


async def write(name: str, greeting: str = "Dear") -> str:
    return f"{greeting} {name}"


def stamp(name: str) -> str:
    return f"{name}, stamped"


async def write_later(name: str) -> None:
    await mail.enqueue(write, name)


def stamp_later(name: str) -> None:
    mail_of_sync.enqueue(stamp, name)


async def forward(name: str) -> None:
    """A job that enqueues another one."""
    await mail.enqueue(write, name)


def forward_of_sync(name: str) -> None:
    mail_of_sync.enqueue(stamp, name)


async def remind(name: str) -> None:
    await mail.enqueue_in(timedelta(hours=1), write, name, greeting="Once more,")


def lose(name: str) -> None:
    raise LookupError(f"{name} has moved")


async def lose_in_loop(name: str) -> None:
    raise LookupError(f"{name} has moved")


def third_time(name: str) -> str:
    job = aiorq.get_current_job()
    assert job is not None
    if job.attempt < 3:
        raise ConnectionError(f"attempt {job.attempt}")
    return name


def ask_again() -> Retry | str:
    tried.append("asked")
    return Retry(max=1) if len(tried) < 2 else "done"


def where() -> int:
    return threading.get_ident()


async def loop_of_job() -> int:
    return id(asyncio.get_running_loop())


def tenant_of_job() -> str:
    return tenant.get()


async def tenant_of_coroutine() -> str:
    return tenant.get()


def run_a_loop() -> str:
    """What may be done in a thread of its own only."""
    return asyncio.run(write("Ada"))


async def linger() -> None:
    await asyncio.sleep(3600)


def done(job: Any, connection: Any, result: Any) -> None:
    connection.set(f"{job.key}:told", result)
    connection.expire(f"{job.key}:told", 60)


class Postman:
    """Has a method to enqueue."""

    def __init__(self, district: str) -> None:
        self.district = district

    def deliver(self, name: str) -> str:
        return f"{name} in {self.district}"


async def cancel(job_id: str) -> None:
    await (await aiorq.Job.fetch(job_id)).cancel()
