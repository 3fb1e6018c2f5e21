"""Cron in a worker: modules of entries are imported by a process of their own, never by this one; then their slots are
dealt with here, as any cron scheduler does it.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any, Final

from aiorq.cron.scheduler import CronScheduler
from aiorq.cron.ticker import Ticker
from aiorq.errors import AiorqError, ConnectionLostError, CronConfigError, QueueFullError, StoreError
from aiorq.store.connection import describe
from aiorq.worker.state import State, Stop, log

_KINDS: Final[dict[str, type[AiorqError]]] = {
    kind.__name__: kind for kind in (ConnectionLostError, CronConfigError, QueueFullError, StoreError)
}
MAX_ANSWER: Final = 4096
"""Bytes that the process which imports modules may say of how it went: what a pipe takes at once."""


async def register_entries(state: State) -> None:
    """Have the modules of the worker imported, put the entries that they register into Redis, and enqueue what is due.

    Trouble with Redis is waited out, until the worker is to end.

    Raises:
        CronConfigError: a module cannot be imported.
    """
    if not state.options.cron:
        return

    async def register() -> None:
        await _import_apart(state)
        await Ticker(state.store).tick()

    try:
        await state.persist(register, "register cron entries", until=Stop.WARM)
    except (ConnectionLostError, QueueFullError, StoreError) as error:  # only if the worker is to end
        log.debug("the worker ends before its cron entries are registered: %s", error)


async def look_after_entries(state: State) -> None:
    """Deal with the slots of cron entries as they come, until cancelled; do nothing for a worker without modules."""
    if not state.options.cron:
        return
    scheduler = CronScheduler(state.store.connection, prefix=state.store.keys.prefix)
    scheduler.config_file = ", ".join(state.options.cron)
    await state.persist(scheduler.start, "look after cron")


async def _import_apart(state: State) -> None:
    """Run `aiorq.worker.cron_child` to its end, or until the worker is to end."""
    loop = asyncio.get_running_loop()
    answers, answer = os.pipe()
    os.set_blocking(answers, False)
    process = None
    said = bytearray()
    ended = asyncio.Event()

    def hear() -> None:
        part = os.read(answers, MAX_ANSWER)
        said.extend(part)
        if not part or part.endswith(b"\n"):  # what its modules have started may hold the pipe for ever
            loop.remove_reader(answers)
            ended.set()

    try:
        try:
            process = _start(state, answer)
        finally:
            os.close(answer)
        loop.add_reader(answers, hear)
        waiting = [asyncio.ensure_future(ended.wait()), asyncio.ensure_future(state.pause(None))]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
    finally:
        loop.remove_reader(answers)
        os.close(answers)
        if process is not None:
            process.kill()  # it has said what it had to say
            process.wait()
    if ended.is_set():
        kind, _, text = said.decode(errors="replace").rstrip("\n").partition(" ")
        if kind != "ok":
            raise _KINDS.get(kind, CronConfigError)(text or "the process that imports cron configs died")


def _start(state: State, answer: int) -> subprocess.Popen[bytes]:
    told: dict[str, Any] = {
        "connection": describe(state.store.connection),
        "prefix": state.store.keys.prefix,
        "path": [*state.options.path, *sys.path],
        "configs": list(state.options.cron),
        "answer": answer,
        "parent": os.getpid(),
    }
    # What it is told goes through a pipe: it may hold a password, and command lines are seen by every user.
    process = subprocess.Popen(
        [sys.executable, "-m", "aiorq.worker.cron_child"],
        stdin=subprocess.PIPE,
        pass_fds=[answer],
        process_group=0,  # the terminal's Ctrl-C is for the worker
    )
    assert process.stdin is not None  # noqa: S101 - it was asked for
    with process.stdin:
        process.stdin.write(repr(told).encode())
    return process
