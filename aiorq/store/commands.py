"""Commands to workers: sent as RQ does, over a channel of each worker; stop requests are kept as well, and answered."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from aiorq.errors import CorruptJobError, InvalidJobOperation, NoSuchJobError, StopTimeoutError
from aiorq.status import JobStatus
from aiorq.store import jobs
from aiorq.store.base import Store
from aiorq.store.schedule import Due, read_due
from aiorq.store.waiting import waiter_of

MAX_GRACE: Final = 3600.0
"""The longest time, in seconds, that a job may be given to end by itself."""
DROPPED: Final = "aiorq-dropped"
"""The command that the scripts send for a run whose job was canceled, deleted or replaced; RQ's workers ignore it."""
_LOOK: Final = 0.1  # seconds between two looks at a job whose worker does not answer
_PING: Final = 20.0  # seconds of silence after which a channel is asked whether it is there


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to stop a run that was sent and is kept until the run has ended."""

    worker: str
    token: str
    """The execution id of the run."""
    is_answered: bool
    """Whether the worker answers: one of RQ's does not."""


async def ask_stop(store: Store, job_id: str, token: str = "", grace: float | None = None) -> Asked:
    """Ask the worker of a job to stop it.

    Args:
        store: where.
        job_id: which.
        token: the execution id of the run; empty for the one that runs.
        grace: seconds that the run has to end by itself; None for as many as the worker thinks fit.

    Raises:
        NoSuchJobError: there is none.
        InvalidJobOperation: it does not run.
        CorruptJobError: its key holds something else.
    """
    seconds = "" if grace is None else repr(float(grace))
    nonce = secrets.token_hex(8)
    word, *rest = await store.run("ask_stop", [store.keys.job(job_id)], job_id, token, seconds, nonce)
    if word == b"missing":
        raise NoSuchJobError(job_id)
    if word == b"unfit":
        raise CorruptJobError(job_id, "", "does not hold a hash")
    if not rest:
        which = f"run {token!r} of job {job_id!r}" if token else f"job {job_id!r}"
        raise InvalidJobOperation(f"{which} cannot be stopped: it does not run, the job is {word.decode()}")
    worker, running, ours = rest
    return Asked(worker.decode(), running.decode(), bool(ours))


async def stop_job(
    store: Store, job_id: str, token: str, grace: float | None, timeout: float | None
) -> JobStatus | None:
    """Ask for a job to be stopped, and wait for its end unless `timeout` is None; parameters as for `ask_stop`.

    Returns:
        the state that the job then had; None when it is gone, and when not waiting.

    Raises:
        NoSuchJobError, InvalidJobOperation, CorruptJobError: as `ask_stop`.
        StopTimeoutError: it did not end in `timeout` seconds beyond its grace.
    """
    asked = await ask_stop(store, job_id, token, grace)
    if timeout is None:
        return None
    seconds = timeout + (grace or 0.0)
    if not asked.is_answered:
        return await _wait_for_status(store, job_id, asked, seconds)
    word = await _wait_for_end(store, job_id, asked, seconds)
    return JobStatus(word) if word in {status.value for status in JobStatus} else None


async def _wait_for_end(store: Store, job_id: str, asked: Asked, seconds: float) -> str:
    """Wait until a run that was asked to stop has ended, and say how.

    Returns:
        the status that its job then had, or `deleted`, `replaced` or `lost`.

    Raises:
        StopTimeoutError: it did not end in time.
    """
    raw = await waiter_of(store).wait(store.keys.answer(asked.token), seconds)
    if raw is None:
        raise _late(job_id, asked, seconds)
    return str(raw[1][1].decode())


async def _wait_for_status(store: Store, job_id: str, asked: Asked, seconds: float) -> JobStatus | None:
    # A worker of RQ's does not answer, but it adds an outcome; where there is one of an earlier run, only time tells.
    end = time.monotonic() + seconds
    while True:
        await waiter_of(store).wait(store.keys.results(job_id), max(0.0, end - time.monotonic()))
        status = await jobs.field(store, job_id, "status")
        if status != b"started":
            words = {word.value: word for word in JobStatus}
            return words.get((status or b"").decode(errors="replace"))
        if time.monotonic() >= end:
            raise _late(job_id, asked, seconds)
        await store.transport.sleep(_LOOK)


def _late(job_id: str, asked: Asked, seconds: float) -> StopTimeoutError:
    return StopTimeoutError(
        f"job {job_id!r} was asked to stop and did not end within {seconds:g} s: its worker {asked.worker!r} is gone "
        "or cannot be reached; the request stands"
    )


async def send(store: Store, worker: str, command: str, **details: Any) -> int:
    """Send a command to a worker; returns how many heard it, 0 when the worker is gone or not connected."""
    text = json.dumps({"command": command, **details})
    return int(await store.transport.execute("PUBLISH", store.keys.channel(worker), text))


async def listen(store: Store, worker: str) -> AsyncGenerator[dict[str, Any] | Due | None]:
    """The commands to a worker, and what is scheduled to be the next job of any queue, as they come.

    None comes first, once the channels are open: whoever sent before was not heard. What is no command is passed over
    as an empty one.

    Raises:
        ConnectionLostError: the connection is lost; listen anew.
    """
    channels = store.keys.channel(worker), store.keys.due
    async with store.transport.dedicated() as connection, aclosing(connection.subscribe(channels, _PING)) as messages:
        async for message in messages:
            if message is None:
                yield None
            elif message[0] == store.keys.due.encode():
                yield read_due(message[1])
            else:
                yield _read(message[1])


def _read(message: bytes) -> dict[str, Any]:
    try:
        command = json.loads(message[:65_536])
    except (ValueError, RecursionError):
        return {}
    return command if isinstance(command, dict) else {}
