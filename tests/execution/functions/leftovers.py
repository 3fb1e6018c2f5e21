"""Functions for the tests of the executor: what a job may leave behind or break."""

from __future__ import annotations

import os
import random
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from waiting import pass_gate, tell  # type: ignore[import-not-found]


def _child(told: str, *, session: bool = False) -> int:
    """Fork a process that never ends by itself."""
    pid = os.fork()
    if pid == 0:
        if session:
            os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        tell(told, os.getpid())
        while True:
            signal.pause()
    return pid


def leave_children(told: str, gate: str | None) -> None:
    """Leave a child in the group, one in a session of its own, and a grandchild whose parent is gone."""
    _child(told)
    _child(told, session=True)
    middle = os.fork()
    if middle == 0:
        os.setsid()
        _child(told, session=True)
        os._exit(0)
    os.waitpid(middle, 0)
    if gate is not None:
        pass_gate(gate)


def leave_tree(told: str) -> None:
    """A child in a session of its own that has a child in another one, and so on; then wait for ever."""
    for _ in range(4):
        if os.fork():
            break
        os.setsid()
    tell(told, os.getpid())
    while True:
        signal.pause()


def leave_group(told: str) -> None:
    """Go to another process group, where a kill of the own one does not reach."""
    os.setpgid(0, os.getppid())
    tell(told, os.getpid())
    while True:
        signal.pause()


def leave_thread() -> str:
    threading.Thread(target=time.sleep, args=(3600,), daemon=False).start()
    return "returned"


def change_process(folder: str) -> str:
    os.chdir(folder)
    os.umask(0o077)
    os.environ["CHANGED"] = "yes"
    sys.path.insert(0, folder)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    return os.getcwd()


def describe_process() -> dict[str, Any]:
    mask = os.umask(0)
    os.umask(mask)
    return {
        "cwd": os.getcwd(),
        "umask": mask,
        "changed": os.environ.get("CHANGED"),
        "path": sys.path[0],
        "stdin": os.path.samestat(os.fstat(0), os.stat(os.devnull)),
        "handlers": {number: str(signal.getsignal(number)) for number in (1, 2, 13, 14, 15, 17)},
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "group": os.getpgid(0) == os.getpid(),
        "environment": [os.environ.get(name) for name in ("RQ_WORKER_ID", "RQ_JOB_ID")],
    }


def read_stdin() -> str:
    return sys.stdin.read()


def print_megabytes(count: int) -> str:
    for _ in range(count):
        print("x" * (1 << 20))
    sys.stderr.write("the end\n")
    return "printed"


def draw() -> float:
    return random.random()


def write_junk(*messages: bytes) -> str:
    """Write to the sockets that this process has, one of which leads to the worker."""
    for sock in _sockets():
        for message in messages:
            sock.send(message)
    return "written"


def pass_descriptors(count: int) -> str:
    """Send descriptors to the worker without being asked."""
    null = os.open(os.devnull, os.O_RDONLY)
    for sock in _sockets():
        socket.send_fds(sock, [b"junk"], [null] * count)
    return "passed"


def _sockets() -> Iterator[socket.socket]:
    for name in os.listdir("/proc/self/fd"):
        try:
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            sock = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        if sock.family == socket.AF_UNIX and sock.type == socket.SOCK_SEQPACKET:
            yield sock
