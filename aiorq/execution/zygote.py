"""The process that forks horses: single-threaded, small, without an event loop and without connections.

It imports what the worker was told to preload, freezes it, and then forks on request. A fork costs about 0.5 ms plus 30 us for each
MB of resident memory, and a process with threads or an event loop cannot fork safely at all: that is why the supervisor does not.

Each horse leads a process group and adopts its own orphans, so that whatever a job started can be found and killed when the job
ends: the group before its leader is reaped, and then every orphan that the dead horse passes on to the zygote. The horses die with
the zygote, and the zygote ends when the supervisor's end of the socket is closed.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import select
import signal
import socket
import sys
from typing import Any, Final, NamedTuple, NoReturn

from aiorq.execution.frames import Frame, Kind, receive, send
from aiorq.execution.horse import Context, Order, run_and_exit, summarize

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_LINUX: Final = sys.platform == "linux"
_libc: Final = ctypes.CDLL(None, use_errno=True) if _LINUX else None
_RESET: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Settings(NamedTuple):
    """What the supervisor tells its zygote once."""

    context: Context
    path: list[str]
    """Folders to put in front of `sys.path`."""
    preload: list[str]
    """Modules to import before the first fork."""

    def encode(self) -> list[bytes]:
        """The fields of a CONFIGURE message."""
        import json

        return [json.dumps([list(self.context), self.path, self.preload]).encode()]

    @classmethod
    def decode(cls, fields: list[bytes]) -> Settings:
        """Read a CONFIGURE message."""
        import json

        context, path, preload = json.loads(fields[0])
        return cls(Context(*context), path, preload)


def serve(sock: socket.socket, supervisor: int) -> NoReturn:
    """Be the zygote until the supervisor's end of `sock` is closed.

    Args:
        sock: our end of a `frames.pair`.
        supervisor: the process id that must be our parent.
    """
    code = 1
    try:
        os.setpgid(0, 0)  # signals for the terminal's group reach the supervisor alone
        _die_with_parent(supervisor, signal.SIGTERM)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        with open(os.devnull, "rb") as null:
            os.dup2(null.fileno(), 0)  # a job of a background group that reads the terminal would be stopped
        code = _Zygote(sock).run()
    finally:
        os._exit(code)


class _Zygote:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._context: Context | None = None
        self._runs: dict[int, int] = {}  # process id of a horse -> number of its run
        self._pids: dict[int, int] = {}  # and back
        self._ending = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else _pipe()

    def run(self) -> int:
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _nothing)
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if not self._configure():
            return 1
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while not self._ending:
            for descriptor, _ in poll.poll():
                if descriptor == self._wake_read:
                    os.read(self._wake_read, 512)
                    self._reap()
                elif not self._obey(receive(self._sock)):
                    self._ending = True
        for pid in self._runs:
            _kill_group(pid)
        return 0

    def _configure(self) -> bool:
        frame = receive(self._sock)
        if frame is None:
            return False
        settings = Settings.decode(frame.fields)
        self._context = settings.context
        sys.path[:0] = [folder for folder in settings.path if folder not in sys.path]
        for name in settings.preload:
            try:
                importlib.import_module(name)
            except BaseException as error:  # user code: whatever it raises, the worker must be told
                send(self._sock, Kind.UNUSABLE, [f"cannot preload {name}: {summarize(error)}".encode(errors="replace")])
                return False
        self._freeze()
        send(self._sock, Kind.READY, [])
        return True

    @staticmethod
    def _freeze() -> None:
        gc.collect()
        gc.freeze()

    def _obey(self, frame: Frame | None) -> bool:
        if frame is None:
            return False
        if frame.kind == Kind.RUN:
            self._fork(Order.decode(frame.fields))
        elif frame.kind == Kind.KILL:
            number, which = int(frame.fields[0]), int(frame.fields[1])
            pid = self._pids.get(number)
            if pid is not None:  # not reaped yet, so the id is still its own
                _kill_group(pid, which)
        elif frame.kind == Kind.WARM:
            for name in frame.fields:
                importlib.import_module(name.decode())
            self._freeze()
        return True

    def _fork(self, order: Order) -> None:
        # A signal between the fork and the horse's own handlers would run the zygote's: hold them all back.
        previous = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            zygote = os.getpid()
            pid = os.fork()
            if pid == 0:
                self._become_horse(order, zygote, previous)
            self._runs[pid] = order.number
            self._pids[order.number] = pid
            _set_group(pid)
        except OSError as error:
            send(self._sock, Kind.REFUSED, [b"%d" % order.number, f"cannot fork: {error.strerror}".encode()])
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)

    def _become_horse(self, order: Order, zygote: int, mask: Any) -> NoReturn:
        try:
            assert self._context is not None
            _set_group(0)
            _die_with_parent(zygote, signal.SIGKILL)
            _prctl(_PR_SET_CHILD_SUBREAPER, 1)
            signal.set_wakeup_fd(-1)
            for number in _RESET:
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            os.close(self._wake_read)
            os.close(self._wake_write)
            if "random" in sys.modules:
                sys.modules["random"].seed()
            os.environ["RQ_WORKER_ID"] = self._context.worker_name
            os.environ["RQ_JOB_ID"] = order.job_id
            os.environ["RQ_EXECUTION_ID"] = order.execution_id
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            run_and_exit(self._sock, order, self._context)
        finally:
            os._exit(70)  # EX_SOFTWARE: only a fault of ours comes here

    def _reap(self) -> None:
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                break
            number = self._runs.pop(found.si_pid, None)
            if number is not None:
                _kill_group(found.si_pid)  # before the reaping, while the id cannot have gone to somebody else
            _, status, usage = os.wait4(found.si_pid, 0)
            if number is not None:
                del self._pids[number]
                peak = usage.ru_maxrss if _LINUX else usage.ru_maxrss // 1024
                send(self._sock, Kind.ENDED, [b"%d" % number, b"%d" % status, b"%d" % peak])
        self._kill_orphans()

    def _kill_orphans(self) -> None:
        # Horses adopt their own orphans, so a child of ours that is no horse was left by one that is dead.
        try:
            with open(f"/proc/self/task/{os.getpid()}/children", "rb") as children:
                pids = [int(pid) for pid in children.read().split()]
        except OSError:
            return
        for pid in pids:
            if pid not in self._runs:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    def _end(self, *_: object) -> None:
        self._ending = True


def _nothing(*_: object) -> None:
    """Let the wake-up descriptor do the work."""


def _pipe() -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


def _set_group(pid: int) -> None:
    try:
        os.setpgid(pid, pid)
    except OSError:  # parent and child both do it; the later one may come too late
        pass


def _kill_group(pid: int, number: int = signal.SIGKILL) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _prctl(option: int, value: int) -> None:
    if _libc is not None:
        _libc.prctl(option, value, 0, 0, 0)


def _die_with_parent(parent: int, number: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it ended before the call above
        os._exit(1)


def main() -> NoReturn:
    """Entry of a zygote in a fresh interpreter: arguments are the descriptor of the socket and the supervisor's process id."""
    descriptor, supervisor = int(sys.argv[-2]), int(sys.argv[-1])
    serve(socket.socket(fileno=descriptor), supervisor)
