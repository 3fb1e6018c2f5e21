"""What the jobs of the crash tests do: leave a line outside of Redis for every start, and wait if told to."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from pathlib import Path
from typing import Any

import aiorq
from tests.crash.points import report


def deed(effects: str, gate: str = "", fails: int = 0) -> str:
    """Leave a line in `effects`, wait for a byte from the fifo `gate`, and raise the first `fails` times."""
    file = os.open(effects, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    os.write(file, b"%d\n" % os.getpid())
    starts = os.pread(file, 100_000, 0).count(b"\n")
    os.close(file)
    report("deed", str(os.getpid()))
    if gate:
        with open(gate, "rb", buffering=0) as fifo:
            fifo.read(1)
    if starts <= fails:
        raise ValueError("on purpose")
    return "done"


def deed_again(effects: str, gate: str, times: int) -> str | aiorq.Retry:
    """A deed that asks the first `times` times to be done again, by what it returns."""
    done = deed(effects, gate)
    return done if len(Path(effects).read_text().splitlines()) > times else aiorq.Retry(times, interval=0)


def deed_alone(effects: str, gate: str, lock: str) -> str:
    """A deed during which no other one with the same `lock` may be done."""
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return deed(effects, gate)


def call_back(job: aiorq.Job[Any], *_: object) -> None:
    """A callback that leaves a line beside those of its job's starts."""
    with open(f"{job.args[0]}-called", "a") as file:
        file.write(f"{os.getpid()}\n")


def deed_with_meta(effects: str, gate: str) -> str:
    """A deed that saves meta, over a connection of its own process."""

    async def save() -> None:
        job = aiorq.get_current_job()
        assert job is not None
        job.meta["saved"] = True
        await job.save_meta()
        await job.connection.aclose()

    done = deed(effects, gate)
    asyncio.run(save())
    return done


def deed_that_dies(effects: str, _: str) -> None:
    """A deed whose process is killed in the middle."""
    deed(effects)
    os.kill(os.getpid(), signal.SIGKILL)
