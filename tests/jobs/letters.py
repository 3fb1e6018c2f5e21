"""What the stories enqueue: small work on letters, and callbacks that leave a line in Redis, in the list `notes`."""

from __future__ import annotations

import os
import pickle
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from aiorq import Retry, get_current_job

NOTES = "notes"


def count_words(text: str) -> int:
    return len(text.split())


def count_words_at(url: str) -> int:
    with urlopen(url, timeout=20) as answer:
        return len(answer.read().split())


def label(text: str, description: str = "", ttl: int = 0) -> str:
    """Has keywords that options have too."""
    return f"{text}: {description}, {ttl}"


def greet() -> str:
    return "good morning"


def add(left: int, right: int) -> int:
    return left + right


def fibonacci(number: int) -> int:
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


def divide_by_zero(number: int) -> float:
    return number / 0


def nothing() -> None:
    return None


def process_id() -> int:
    return os.getpid()


def write(path: str, line: str) -> None:
    with Path(path).open("a") as file:
        file.write(line + "\n")


def read(path: str) -> str:
    return Path(path).read_text()


def wait_at(told: str, gate: str) -> str:
    """Tell the fifo `told` the id of this process, and wait for a byte from the fifo `gate`."""
    Path(told).write_text(f"{os.getpid()}\n")
    with open(gate, "rb", buffering=0) as file:
        file.read(1)
    return "went on"


def linger(seconds: float) -> None:
    time.sleep(seconds)


# The job that runs.


def add_and_tell(left: int, right: int) -> str:
    job = get_current_job()
    assert job is not None
    return f"{job.id}: {left + right}"


async def add_by_hand(left: int, right: int, told: str, gate: str) -> int:
    """Say in `meta` who does it, and since when, before the work is done."""
    job = get_current_job()
    assert job is not None
    job.meta["handled_by"] = socket.gethostname()
    job.meta["since"] = datetime.now(UTC)
    await job.save_meta()
    wait_at(told, gate)
    return left + right


# Asking to be tried again.


def ask_again(most: int = 1, interval: int = 60) -> Retry:
    return Retry(max=most, interval=interval)


def follow(plan: str) -> str | Retry:
    """Do what the first line of a file says, and take it out: `raise`, `again`, or return it."""
    line, *rest = Path(plan).read_text().splitlines()
    Path(plan).write_text("\n".join(rest))
    if line == "raise":
        raise ValueError("as planned")
    return Retry(max=2) if line == "again" else line


# Callbacks.


def report_success(job: Any, connection: Any, result: Any, *args: Any, **kwargs: Any) -> None:
    connection.rpush(NOTES, f"{job.id} succeeded: {result}")


def report_failure(job: Any, connection: Any, type: Any, value: Any, traceback: Any) -> None:  # noqa: A002
    where = traceback.tb_frame.f_code.co_name if traceback else "nowhere"
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
        where = traceback.tb_frame.f_code.co_name
    connection.rpush(NOTES, f"{job.id} failed: {type.__name__}, {value}, in {where}")


def report_stopped(job: Any, connection: Any) -> None:
    connection.rpush(NOTES, f"{job.id} was stopped")


def report_dependents(job: Any, connection: Any, result: Any) -> None:
    """Say what state the job `next` is in when this one has succeeded."""
    status = connection.hget("rq:job:next", "status").decode()
    connection.rpush(NOTES, f"next is {status}")


def reject(job: Any, connection: Any, result: Any) -> None:
    raise ValueError(f"{result} will not do")


def dawdle(job: Any, connection: Any, *args: Any) -> None:
    time.sleep(60)


# A serializer.


class Mirrored:
    """Writes pickles backwards."""

    @staticmethod
    def dumps(value: Any) -> bytes:
        return pickle.dumps(value)[::-1]

    @staticmethod
    def loads(data: bytes) -> Any:
        return pickle.loads(data[::-1])
