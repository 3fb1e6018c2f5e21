"""Functions for the tests of the executors: jobs that are busy in Python."""

from __future__ import annotations

import threading
import time

from waiting import pass_gate, tell  # type: ignore[import-not-found]


def count_for(seconds: float) -> int:
    """Be busy in Python for that time."""
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        count += 1
    return count


def count_for_ever(told: str) -> None:
    tell(told, "begun")
    count_for(3600)


def start_threads(told: str) -> None:
    """Start threads, one after the other, for ever."""
    tell(told, "begun")
    while True:
        threading.Thread(target=int).start()


def endure(told: str, gate: str) -> None:
    """Wait at the gate, whatever is raised meanwhile; what is raised there has it wait again."""
    steps = [lambda: pass_gate(gate), lambda: tell(told, "begun")]
    while steps:
        try:
            steps.pop()()
        except BaseException:  # noqa: BLE001 - what a job should not do
            steps = steps or [lambda: pass_gate(gate)]
