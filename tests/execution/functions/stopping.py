"""Functions for the tests of the executor: jobs that are told to stop. Each tells its process id first."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import signal
import time
from collections import deque

from waiting import pass_gate, tell  # type: ignore[import-not-found]


def spin(told: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: tell(told, "handled"))
    tell(told, os.getpid())
    while True:
        pass


def ignore(told: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tell(told, os.getpid())
    while True:
        time.sleep(3600)


def hold(told: str) -> None:
    """A single call of a C function that neither gives up the interpreter's lock nor looks for signals."""
    signal.signal(signal.SIGTERM, lambda *_: tell(told, "handled"))
    tell(told, os.getpid())
    deque(itertools.repeat(None), maxlen=0)


def handle(told: str) -> str:
    """End in a handler of its own."""

    def end(*_: object) -> None:
        raise InterruptedError("told to stop")

    signal.signal(signal.SIGTERM, end)
    try:
        tell(told, os.getpid())
        time.sleep(3600)
    except InterruptedError:
        tell(told, "handled")
    return "returned"


def leave_daemons(told: str) -> None:
    """Children in other sessions that ignore SIGTERM, and one whose parent is gone; then wait for ever."""
    for _ in range(2):
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if os.fork():
                os._exit(0)
            os.setsid()
            break
    tell(told, os.getpid())
    while True:
        signal.pause()


async def leave_daemons_async(told: str) -> None:
    leave_daemons(told)


async def clean_up(told: str, gate: str | None = None) -> str:
    """Tell of each cancellation; go on until the gate opens, if there is one."""
    tell(told, os.getpid())
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        tell(told, "cancelled")
        if gate is None:
            raise
        await asyncio.to_thread(pass_gate, gate)
        tell(told, "cleaned up")
    return "returned"


async def swallow(told: str) -> None:
    tell(told, os.getpid())
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            tell(told, "swallowed")


async def block(told: str) -> None:
    tell(told, os.getpid())
    while True:
        time.sleep(3600)  # noqa: ASYNC251 - what a coroutine should not do


async def handle_async(told: str) -> None:
    """Deal with the signal itself."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, tell, told, "handled")
    tell(told, os.getpid())
    await asyncio.Event().wait()


async def leave_task(told: str) -> None:
    """A task beside the job that cleans up when the loop ends."""

    async def beside() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            tell(told, "cleaned up")

    task = asyncio.create_task(beside())
    await asyncio.sleep(0)
    tell(told, os.getpid())
    await task


async def terminate_children(count: int) -> list[int | None]:
    """What SIGTERM does to forked children of a coroutine, at once."""
    codes = []
    for _ in range(count):
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(3600,))
        child.start()
        child.terminate()
        child.join()
        codes.append(child.exitcode)
    return codes


def find_handler() -> str:
    return str(signal.getsignal(signal.SIGTERM))
