"""Functions for the tests of the worker: jobs that look at themselves."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

from aiorq import Job, Queue, get_current_job


def current() -> Job[Any]:
    job = get_current_job()
    assert job is not None
    return job


def describe(*_: object) -> dict[str, Any]:
    job = current()
    assert current() is job
    return {
        "id": job.id,
        "origin": job.origin,
        "status": str(job.status.value),
        "worker_name": job.worker_name,
        "args": job.args,
        "func_name": job.func_name,
        "meta": job.meta,
        "timeout": job.timeout,
        "environment": [os.environ[name] for name in ("RQ_WORKER_ID", "RQ_JOB_ID")],
    }


async def describe_async(*args: object) -> dict[str, Any]:
    await asyncio.sleep(0)
    return describe(*args)


async def save_meta_async() -> str:
    job = current()
    job.meta["step"] = 1
    await job.save_meta()
    job.meta["step"] += 1
    await job.save_meta()
    return str(await job.get_status())


def save_meta() -> str:
    job = current()
    job.meta["step"] = 1
    asyncio.run(job.save_meta())
    return "saved"


def outside() -> bool:
    """Whether there is no job in a thread of its own, as in RQ."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(get_current_job()))
    thread.start()
    thread.join()
    return found == [None]


async def enqueue_next(left: int) -> None:
    if left:
        job = current()
        await Queue(job.origin, connection=job.connection).enqueue("inside.enqueue_next", left - 1)


class Trap:
    """Leaves a trace of the process that unpickles it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return spring, (self.path,)


def spring(path: str) -> int:
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    return os.getpid()
