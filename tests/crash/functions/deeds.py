"""What the jobs of the crash tests do: leave a line outside of Redis for every start, and wait if told to."""

from __future__ import annotations

import asyncio
import os
import signal

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
