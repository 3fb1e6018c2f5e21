"""What the stories of the blocking API enqueue: with `rq` in the place of `aiorq.sync` it is a module of RQ's users.

What needs neither of the two is in `letters`.
"""

from __future__ import annotations

import socket
from typing import Any

import letters

from aiorq.sync import Retry, get_current_job


def add_and_tell(x: int, y: int) -> str:
    job = get_current_job()
    assert job is not None
    return f"Current job: {job.id}, {x + y}"


def add_by_hand(x: int, y: int, told: str, gate: str) -> int:
    job = get_current_job()
    assert job is not None
    job.meta["handled_by"] = socket.gethostname()
    job.save_meta()

    # do more work
    letters.wait_at(told, gate)
    return x + y


def return_retry(max: int = 1, interval: int = 60) -> Retry:  # noqa: A002 - as on the page
    return Retry(max=max, interval=interval)


def note_success(job: Any, connection: Any, result: Any, *args: Any, **kwargs: Any) -> None:
    """Notes besides what its job carries."""
    connection.rpush(letters.NOTES, f"{job.id}, {job.meta}: {result}")
