"""What the service manager is told, by the protocol of systemd (`Type=notify`): ready, stopping, alive, and a status.

It gives the name of a datagram socket in `NOTIFY_SOCKET`. With `WatchdogSec=` in the unit there is `WATCHDOG_USEC` too:
a service that does not say within that time that it is alive is killed and started anew. A worker says so from its
event loop, so that one which hangs there is noticed; jobs have no part in it.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Final

from aiorq.process_title import set_title, show_title
from aiorq.worker.state import State, Stop, log

_VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_STATUS: Final = 1.0
"""Seconds between two looks at what has become of the status, at least."""


class ServiceManager:
    """The service manager that waits to hear of this process; without one, nothing is told to nobody."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Use `take` instead, which also keeps children from it."""
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._status = ""
        self.seconds: float | None = None
        """How often to say that the process is alive: half of the time after which it is killed; None for never."""
        usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        if self._address and usec.isdecimal() and int(usec) > 0 and pid in ("", str(os.getpid())):
            self.seconds = int(usec) / 2_000_000
        self._taken = {name: environment[name] for name in _VARIABLES if name in environment}

    @classmethod
    def take(cls) -> ServiceManager:
        """The one that the environment names, which is taken out of it: it is no business of jobs."""
        manager = cls(os.environ)
        for name in manager._taken:
            del os.environ[name]
        return manager

    def give_back(self) -> None:
        """Put it back into the environment, for a program that takes the place of this one."""
        os.environ.update(self._taken)

    @property
    def listens(self) -> bool:
        """Whether there is one."""
        return bool(self._address)

    def tell(self, *lines: str) -> None:
        """Tell it something, such as `READY=1`. What cannot be sent is lost: that is no reason to end."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0)) as sock:
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            log.debug("the service manager cannot be told: %s", error)

    def ready(self, status: str) -> None:
        """Say that the service works."""
        self._status = status
        self.tell("READY=1", f"STATUS={status}")

    def alive(self) -> None:
        """Say that the process is alive, where that is asked for."""
        if self.seconds is not None:
            self.tell("WATCHDOG=1")

    def show(self, status: str) -> None:
        """Show what the service does, if that has changed."""
        if status != self._status:
            self._status = status
            self.tell(f"STATUS={status}")

    def stopping(self, status: str) -> None:
        """Say that the service is about to end."""
        self._status = status
        self.tell("STOPPING=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that the service is about to start anew, in the same process."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


async def keep_informed(state: State, manager: ServiceManager, restarts: Callable[[], bool]) -> None:
    """Tell the service manager, and the title of the process, how a worker does, until cancelled.

    Args:
        state: of the worker.
        manager: to be told.
        restarts: whether the worker, once it is to end, is started anew in the same process.
    """
    if not manager.listens and set_title is None:
        return
    manager.ready(_describe(state))
    told = False
    try:
        while True:
            manager.alive()
            if state.stop is not Stop.NOT and not told:
                told = True
                if restarts():
                    manager.reloading()
                else:
                    manager.stopping(_describe(state))
            status = _describe(state)
            manager.show(status)
            show_title(f"worker {state.options.name}: {status}")
            if state.stop is Stop.COLD:
                return  # what is left takes seconds, for which the manager has a limit of its own
            await state.pause(min(manager.seconds or _STATUS, _STATUS), Stop.COLD if told else Stop.WARM)
    finally:
        if not told:  # it ends by itself
            manager.stopping(_describe(state))


def _describe(state: State) -> str:
    running = len(state.running)
    jobs = f"{running} job{'' if running == 1 else 's'}"
    if state.stop is not Stop.NOT:
        return f"ending, {jobs} to go"
    return f"{jobs} running, {state.claimed} taken, from {', '.join(state.options.queues)}"
