"""Functions for the tests of the executor: jobs that take their time."""

from __future__ import annotations

import asyncio
import os
import signal
import time


def tell(path: str, text: object) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    os.write(descriptor, f"{text}\n".encode())
    os.close(descriptor)


def pass_gate(path: str) -> None:
    """Take a byte out of a fifo, waiting until there is one."""
    with open(path, "rb", buffering=0) as gate:
        gate.read(1)


def meet(told: str, gate: str) -> int:
    """Tell the process id, wait at the gate, and tell it as a result, too."""
    tell(told, os.getpid())
    pass_gate(gate)
    return os.getpid()


def hang(told: str | None = None) -> None:
    if told:
        tell(told, os.getpid())
    while True:
        signal.pause()


def spin() -> None:
    while True:
        pass


def block() -> None:
    """A single call of a C function."""
    time.sleep(3600)


async def hang_async(told: str | None = None) -> None:
    if told:
        tell(told, os.getpid())
    await asyncio.Event().wait()


async def clean_up(told: str) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.sleep(0)
        tell(told, "cleaned up")
        raise


async def block_async() -> None:
    block()


async def block_child_task() -> None:
    async def child() -> None:
        await asyncio.sleep(0)
        block()

    await asyncio.create_task(child())


def run_loop() -> None:
    """A sync function with an event loop of its own."""
    asyncio.run(hang_async())


def ignore_timeout(told: str) -> None:
    tell(told, os.getpid())
    while True:
        try:
            time.sleep(3600)
        except Exception:  # noqa: BLE001 - what a job should not do
            tell(told, "ignored")


def ignore_alarm(told: str) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    tell(told, os.getpid())
    while True:
        time.sleep(3600)


def catch_timeout() -> str:
    try:
        time.sleep(3600)
    except Exception as error:  # noqa: BLE001 - what a job should not do
        return type(error).__name__
    return ""


def stop_self(told: str) -> None:
    tell(told, os.getpid())
    os.kill(os.getpid(), signal.SIGSTOP)
