"""The jobs of the chaos run. Each leaves its traces in a file outside Redis: a line for its start and one for its end.

A line is one write at the end of the file: `start|end|fail <job> <process id> <worker> <seconds since 1970>`.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

EFFECTS = "CHAOS_EFFECTS"
"""The variable of the environment that names the file."""


def note(word: str, job_id: str) -> None:
    line = f"{word} {job_id} {os.getpid()} {os.environ.get('RQ_WORKER_ID', '-')} {time.time():.6f}\n"
    descriptor = os.open(os.environ[EFFECTS], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def nap(job_id: str, seconds: float) -> str:
    note("start", job_id)
    time.sleep(seconds)
    note("end", job_id)
    return job_id


async def nap_async(job_id: str, seconds: float) -> str:
    note("start", job_id)
    await asyncio.sleep(seconds)
    note("end", job_id)
    return job_id


def compute(job_id: str, seconds: float) -> str:
    note("start", job_id)
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    note("end", job_id)
    return job_id


def fail(job_id: str, seconds: float) -> None:
    note("start", job_id)
    time.sleep(seconds)
    note("fail", job_id)
    raise ValueError("on purpose")


def fail_once(job_id: str, seconds: float) -> str:
    """Fail, and come to an end when tried again."""
    note("start", job_id)
    time.sleep(seconds)
    if f"fail {job_id} " in Path(os.environ[EFFECTS]).read_text():
        note("end", job_id)
        return job_id
    note("fail", job_id)
    raise ValueError("on purpose")
