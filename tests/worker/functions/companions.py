"""Callbacks, handlers, hooks and jobs that say what they were called with, in lines that they write to a fifo."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

import aiorq.errors
from aiorq import get_current_job

POOL: dict[str, Any] = {}


class OwnJob(aiorq.Job[Any]):
    """The class of an application's own."""


def tell(job: Any, text: str) -> None:
    """Write a line to the fifo that is the job's first argument."""
    say(job.args[0], text)


def say(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    os.write(descriptor, f"{text}\n".encode())
    os.close(descriptor)


def told() -> str:
    job = get_current_job()
    assert job is not None
    return str(job.args[0])


# Jobs.


def work(told: str, value: object = None) -> object:
    return value


async def work_async(told: str, value: object = None) -> object:
    return value


def fail(told: str, text: str = "on purpose") -> None:
    raise ValueError(text)


async def fail_async(told: str) -> None:
    raise ValueError("on purpose")


def tell_parent(told: str) -> None:
    say(told, str(os.getppid()))


def leave(told: str, code: int) -> None:
    os._exit(code)


def die(told: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleep_on(told: str) -> None:
    """Go on after the timeout."""
    while True:
        try:
            time.sleep(60)
        except aiorq.errors.JobTimeoutException:
            say(told, "late")


def fork_and_return(told: str) -> str:
    """Both processes come back from the function."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    return "parent" if pid else "child"


def meet(told: str, gate: str) -> None:
    say(told, str(os.getpid()))
    with open(gate, "rb", buffering=0) as file:
        file.read(1)


def set_attribute(told: str) -> None:
    job = get_current_job()
    assert job is not None
    job.meta["note"] = "of the job"


async def set_attribute_async(told: str) -> None:
    POOL["loop"] = asyncio.get_running_loop()
    set_attribute(told)


def describe(told: str) -> str:
    return f"{type(get_current_job()).__name__}"


# Callbacks.


def success(job: Any, connection: Any, result: Any) -> None:
    current = get_current_job()
    assert current is not None
    assert current.id == job.id
    status = connection.hget(job.key, "status").decode()
    tell(job, f"success {result} {job.status.value} {status} {job.func_name} {job.meta}")


async def success_async(job: Any, connection: Any, result: Any) -> None:
    same = get_current_job() is job
    assert same
    status = (await connection.hget(job.key, "status")).decode()
    tell(job, f"success {result} {job.status.value} {status} {job.func_name} {job.meta}")


async def success_same_loop(job: Any, connection: Any, result: Any) -> None:
    tell(job, f"{asyncio.get_running_loop() is POOL['loop']} {job.meta}")


async def success_slow(job: Any, connection: Any, result: Any) -> None:
    await asyncio.sleep(60)


def success_stuck(job: Any, connection: Any, result: Any) -> None:
    sleep_on(job.args[0])


def success_failing(job: Any, connection: Any, result: Any) -> None:
    raise KeyError("of the callback")


def success_leaving(job: Any, connection: Any, result: Any) -> None:
    os._exit(5)


def failure(job: Any, connection: Any, kind: Any, value: Any, traceback: Any) -> None:
    there = "with" if traceback is not None else "without"
    connection.ping()
    tell(job, f"failure {job.status.value} {kind.__module__}.{kind.__name__} {value} {there} traceback")


async def failure_async(job: Any, connection: Any, kind: Any, value: Any, traceback: Any) -> None:
    await connection.ping()
    there = "with" if traceback is not None else "without"
    tell(job, f"failure {job.status.value} {kind.__module__}.{kind.__name__} {value} {there} traceback")


def failure_failing(job: Any, connection: Any, kind: Any, value: Any, traceback: Any) -> None:
    tell(job, "failure")
    raise RuntimeError("instead of it")


def failure_stuck(job: Any, connection: Any, kind: Any, value: Any, traceback: Any) -> None:
    tell(job, f"failure {kind.__name__}")
    sleep_on(job.args[0])


# Exception handlers, and the one of lost processes.


def handle(job: Any, kind: Any, value: Any, traceback: Any) -> None:
    there = "with" if traceback is not None else "without"
    tell(job, f"handled {kind.__name__} {value} {there} traceback")


async def handle_async(job: Any, kind: Any, value: Any, traceback: Any) -> bool:
    tell(job, f"handled later {kind.__name__}")
    return True


def handle_last(job: Any, kind: Any, value: Any, traceback: Any) -> bool:
    tell(job, "handled last")
    return False


def handle_failing(job: Any, kind: Any, value: Any, traceback: Any) -> bool:
    raise LookupError("of the handler")


def killed(job: Any, pid: Any, status: Any, usage: Any) -> None:
    tell(job, f"killed {pid > 1} {status} {usage.ru_maxrss > 1000} {type(usage).__name__}")


# Hooks.


def start() -> None:
    say(told(), f"start {os.environ['RQ_JOB_ID'] != ''}")


async def start_async() -> None:
    POOL["loop"] = asyncio.get_running_loop()
    POOL["queue"] = asyncio.Queue()
    say(told(), "start")


def stop() -> None:
    say(told(), "stop")


async def stop_async() -> None:
    assert asyncio.get_running_loop() is POOL["loop"]
    say(told(), f"stop {POOL['queue'].qsize()}")


def before(job: Any) -> None:
    tell(job, f"before {job.status.value}")


async def before_async(job: Any) -> None:
    assert asyncio.get_running_loop() is POOL["loop"]
    tell(job, f"before {job.status.value}")


def after(job: Any, error: Any) -> None:
    tell(job, f"after {job.status.value} {error!r}")


async def after_async(job: Any, error: Any) -> None:
    tell(job, f"after {job.status.value} {error!r}")


async def put_into_pool(told: str) -> None:
    assert asyncio.get_running_loop() is POOL["loop"]
    await POOL["queue"].put(1)


def broken(*args: Any) -> None:
    raise OSError("of the hook")


def slow(*args: Any) -> None:
    time.sleep(60)
