"""Functions and callbacks for jobs that rq and aiorq run alike: each finds out which of the two runs it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import rq
import rq.suspension
from rq.command import send_stop_job_command

import aiorq
import aiorq.suspension


def _job() -> Any:
    return aiorq.get_current_job() or rq.get_current_job()


def _theirs() -> Any:
    """The job of a worker of rq's; aiorq's lets `rq.get_current_job` find the job, too."""
    return rq.get_current_job() if aiorq.get_current_job() is None else None


def tell_of_my_job() -> tuple[str, str, str]:
    """What rq knows of the job that runs here, which leaves a note with it."""
    job: Any = rq.get_current_job()
    assert type(job).__module__ == "rq.job"
    job.meta["noted"] = job.func_name
    job.save_meta()
    return job.id, job.origin, job.get_status()


async def tell_of_my_job_async() -> tuple[str, str, str]:
    """As `tell_of_my_job`."""
    return tell_of_my_job()


def _trace(job: Any, connection: Any, line: str) -> None:
    """Leave a line beside the job, under the prefix of the library that runs it."""
    connection.rpush(job.key.replace(":job:", ":trace:"), line)


def fail_while_retries_are_left(value: int) -> int:
    if _job().retries_left:
        raise ValueError("not yet")
    return value


def fail_unless_told(folder: str) -> str:
    """Fail unless there is a file of the job's name."""
    if not Path(folder, _job().key).exists():
        raise ValueError("not told")
    return "told"


def ask_again(times: int, interval: Any = 0, at_front: bool = False) -> rq.Retry:
    return rq.Retry(times, interval, at_front)


def ask_again_once(value: int) -> Any:
    return value if _job().number_of_retries else rq.Retry(5)


def die_once() -> str:
    """End the process of the first attempt."""
    if _job().retries_left:
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def suspend(ttl: int) -> None:
    """Suspend all workers."""
    theirs = _theirs()
    if theirs is not None:
        rq.suspension.suspend(theirs.connection, ttl)
    else:
        asyncio.run(_suspend(ttl))


async def _suspend(ttl: int) -> None:
    job = aiorq.get_current_job()
    assert job is not None
    await aiorq.suspension.suspend(job.connection, ttl, prefix=job.key.partition(":")[0])
    await job.connection.aclose()


async def _ask(method: str, **options: Any) -> None:
    job = aiorq.get_current_job()
    assert job is not None
    await getattr(job, method)(**options)
    await job.connection.aclose()


def stop_myself() -> None:
    """Have the job that runs here stopped, and wait for that."""
    theirs = _theirs()
    if theirs is not None:
        send_stop_job_command(theirs.connection, theirs.id)
    else:
        asyncio.run(_ask("stop", timeout=None))
    time.sleep(60)


def cancel_myself() -> str:
    """Cancel the job that runs here; RQ's goes on."""
    theirs = _theirs()
    if theirs is not None:
        theirs.cancel()
    else:
        asyncio.run(_ask("cancel"))
        time.sleep(60)
    return "went on"


def delete_myself() -> str:
    """Delete the job that runs here; RQ's goes on."""
    theirs = _theirs()
    if theirs is not None:
        theirs.delete()
    else:
        asyncio.run(_ask("delete"))
        time.sleep(60)
    return "went on"


def on_success(job: Any, connection: Any, result: Any) -> None:
    _trace(job, connection, f"success: {result!r}")


def on_failure(job: Any, connection: Any, kind: type[BaseException], value: BaseException, traceback: Any) -> None:
    _trace(job, connection, f"failure: {kind.__name__}: {value}, {'with' if traceback else 'without'} a traceback")


def on_stopped(job: Any, connection: Any) -> None:
    _trace(job, connection, "stopped")


def on_success_raising(job: Any, connection: Any, result: Any) -> None:
    _trace(job, connection, f"success, and raises: {result!r}")
    raise RuntimeError("the callback's own")


def on_failure_raising(job: Any, connection: Any, *_: Any) -> None:
    _trace(job, connection, "failure, and raises")
    raise RuntimeError("the callback's own")
