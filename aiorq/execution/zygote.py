"""The process that forks horses: single-threaded, small, without an event loop and without connections.

It imports what the worker was told to preload, freezes it, and then forks on request. A fork costs about 0.5 ms plus
30 us for each MB of resident memory, and a process with threads or an event loop cannot fork safely at all: that is why
the supervisor does not.

Each horse leads a process group and adopts its own orphans, so that whatever a job started can be found and killed when
the job ends: the group before its leader is reaped, and then every orphan that the dead horse passes on to the zygote.
The horses die with the zygote, and the zygote ends when the supervisor's end of the socket is closed.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import importlib.util
import marshal
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Any, Final, NamedTuple, NoReturn

from aiorq import __version__
from aiorq.call import import_name
from aiorq.ending import encode_traceback, summarize
from aiorq.execution.frames import BUFFER, Frame, Kind, NoMemoryError, receive, send
from aiorq.execution.horse import WATCHED, Context, Hooks, Prepared, encode_kinds, perform, settle
from aiorq.process_title import set_title
from aiorq.serializers import PickleSerializer, Serializer, resolve_serializer

VERSION: Final = __version__.encode()
"""Of the code that runs here: an upgrade replaces it under a worker, whose next zygote then is of another one."""
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_RLIMIT_CORE: Final = 4
_LINUX: Final = sys.platform == "linux"
_libc: Final = ctypes.CDLL(None, use_errno=True) if _LINUX else None
# Looked up once: each look costs a page or two of a process that has just forked.
_RUN: Final = int(Kind.RUN)
_SIGKILL: Final = int(signal.SIGKILL)
_ENDED: Final = os.WEXITED | os.WNOHANG | os.WNOWAIT
_call_prctl: Final = None if _libc is None else _libc.prctl
_SOON_MS: Final = 5
_LATE_MS: Final = 80
_ENDS_AT_ONCE: Final = 64
_SACRIFICE: Final = 100  # thousandths of the machine's memory that a horse seems to have more when memory runs out
_BUSY: Final = 0.2  # seconds after which ends are told and orphans are looked for although messages keep coming
_FRESH: Final[dict[int, Any]] = {
    **dict.fromkeys((signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2), signal.SIG_DFL),
    signal.SIGINT: signal.default_int_handler,
    signal.SIGPIPE: signal.SIG_IGN,
}
"""How a fresh Python handles signals."""


class Settings(NamedTuple):
    """What the supervisor tells its zygote once."""

    context: Context
    path: list[str]
    """Folders to put in front of `sys.path`."""
    preload: list[str]
    """Modules to import before the first fork."""

    def encode(self) -> list[bytes]:
        """The fields of a CONFIGURE message, of which the first is the version of the code that wrote it."""
        context, hooks = self.context[:-1], self.context.hooks
        return [VERSION, marshal.dumps([[*context, list(hooks)], self.path, self.preload])]

    @classmethod
    def decode(cls, fields: list[bytes]) -> Settings:
        """Read a CONFIGURE message of this `VERSION`."""
        context, path, preload = marshal.loads(fields[1])  # noqa: S302 - the supervisor's own, over a private socket
        given = Context(*context)
        return cls(given._replace(hooks=Hooks(*given.hooks)), path, preload)


def serve(sock: socket.socket, supervisor: int) -> NoReturn:
    """Be the zygote until the supervisor's end of `sock` is closed.

    Args:
        sock: our end of a `frames.pair`.
        supervisor: the process id that must be our parent.
    """
    code = 1
    try:
        sock.set_inheritable(False)
        _set_group(0)  # signals for the terminal's group reach the supervisor alone
        die_with_parent(supervisor, signal.SIGTERM)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        with open(os.devnull, "rb") as null:
            os.dup2(null.fileno(), 0)  # a job of a background group that reads the terminal would be stopped
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # ends it in the middle of an import that hangs, too
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _dump_no_core()
        _offer_as_victim()
        code = _Zygote(sock, supervisor).run()
    except Exception:  # noqa: BLE001 - nothing above this prints it
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


class _Zygote:
    def __init__(self, sock: socket.socket, supervisor: int) -> None:
        self._sock = sock
        self._buffer = bytearray(BUFFER)
        self._supervisor = supervisor
        self._context = Context("", None, "", {})  # until it is configured
        self._serializer: Serializer = PickleSerializer()
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._pids: dict[int, int] = {}  # number of a run -> process id of its horse
        self._children: dict[int, int | None] = {}  # process id -> number of its run; None for what a horse left
        self._patience = _SOON_MS
        self._loaded: frozenset[str] = frozenset()
        self._look_for_orphans = False
        self._ended: list[bytes] = []  # what the next ENDED message says
        self._spared: frozenset[int] = frozenset()  # children that preloaded modules started
        self._ending = False

    def run(self) -> int:
        if not self._configure():
            return 1
        self._spared = frozenset(_children())
        for number, handler in _FRESH.items():  # what horses are to begin with, and what a preload may have changed
            signal.signal(number, handler)
        settle()
        # From here on the end of the supervisor is noticed below, and answered by ending all that jobs have started.
        supervisor = _watch(self._supervisor)
        if supervisor >= 0:
            self._poll.register(supervisor, select.POLLIN)
            _prctl(_PR_SET_PDEATHSIG, 0)
        self._freeze()
        self._tell(Kind.READY, [VERSION])
        looked = 0.0
        while not self._ending:
            busy = self._children or self._ended or self._look_for_orphans
            events = self._poll.poll(self._patience if busy else None)
            for descriptor, _ in events:
                try:
                    if descriptor == supervisor or not self._obey(receive(self._sock, self._buffer)):
                        self._ending = True
                        break
                except NoMemoryError as error:
                    self._fail(error)
            self._patience = _SOON_MS if events else min(2 * self._patience, _LATE_MS)
            if self._children:
                self._reap()
            if not events or time.monotonic() - looked > _BUSY:
                looked = time.monotonic()
                self._tell_ends()
                if self._look_for_orphans:
                    self._kill_orphans()
        self._end_all()
        return 0

    def _configure(self) -> bool:
        frame = receive(self._sock, self._buffer)
        if frame is None:
            return False
        if frame.fields[0] != VERSION:  # what else it says may mean something else
            return self._refuse("another version of aiorq runs")
        settings = Settings.decode(frame.fields)
        self._context = settings.context
        sys.path[:0] = [folder for folder in settings.path if folder not in sys.path]
        os.environ["RQ_WORKER_ID"] = settings.context.worker_name
        os.environ.pop("LD_BIND_NOW", None)  # was meant for this process alone
        for name in settings.preload:
            try:
                importlib.import_module(name)
            except BaseException as error:  # noqa: BLE001 - user code: whatever it raises, the worker must be told
                return self._refuse(f"cannot preload {name}: {summarize(error)}")
        try:
            self._serializer = resolve_serializer(settings.context.serializer)
        except BaseException as error:  # noqa: BLE001 - as above
            return self._refuse(f"cannot use the serializer {settings.context.serializer}: {summarize(error)}")
        hooks = settings.context.hooks
        for name, option in hooks.names().items():
            try:
                found = import_name(name)
                if not callable(found):
                    raise TypeError(f"it is a {type(found).__name__}")
            except BaseException as error:  # noqa: BLE001 - as above
                return self._refuse(f"cannot use {name} as {option}: {summarize(error)}")
        if hooks.around_jobs:
            importlib.import_module("aiorq.execution.around")
        if set_title is not None:
            set_title(f"aiorq: jobs of worker {settings.context.worker_name}")
        return True

    def _refuse(self, reason: str) -> bool:
        self._tell(Kind.UNUSABLE, [reason.encode(errors="replace"), VERSION])
        return False

    def _freeze(self) -> None:
        # Look for a module that nobody has: the contents of the folders on the path are then known to all horses, each
        # of which would read them for its first import.
        importlib.util.find_spec("_aiorq_no_such_module")
        self._loaded = frozenset(name for name in WATCHED if name in sys.modules)
        gc.collect()
        gc.freeze()

    def _obey(self, frame: Frame | None) -> bool:
        if frame is None:
            return False
        if frame.kind == _RUN:
            self._fork(frame.fields)
        elif frame.kind == Kind.KILL:
            number, which = int(frame.fields[0]), int(frame.fields[1])
            pid = self._pids.get(number)
            if pid is not None:  # not reaped yet, so the id is still its own
                _kill_group(pid, which)
        elif frame.kind == Kind.WARM:
            for name in frame.fields:
                try:
                    importlib.import_module(name.decode())
                except Exception:  # noqa: BLE001, S112 - a module of the user's has the name; the jobs will say so
                    continue
            self._freeze()
        return True

    def _fork(self, fields: list[bytes]) -> None:
        prepared = Prepared(fields, self._context, self._serializer, self._loaded)
        prepared.enter()
        zygote = os.getpid()
        try:
            # No handler of the zygote's own is set, so a signal that comes right after the fork does what it does to a
            # fresh Python.
            pid = os.fork()
        except OSError as error:
            self._tell(Kind.REFUSED, [b"%d" % prepared.number, f"cannot fork: {error.strerror}".encode()])
            return
        if pid == 0:
            _become_horse(self._sock, prepared, zygote)
        self._pids[prepared.number] = pid
        self._children[pid] = prepared.number

    def _fail(self, error: NoMemoryError) -> None:
        if error.kind == Kind.RUN:  # as the horse would, had it come to one
            text = b"MemoryError: the job is too large for the worker"
            told = [error.first, b"", text, encode_traceback(error), encode_kinds(MemoryError), b""]
            self._tell(Kind.RAISED, told)
            self._tell(Kind.ENDED, [error.first, b"0", b"0", b""])

    def _reap(self) -> None:
        """Take note of the horses that have ended.

        They are looked for after each message and, while there is none, after some milliseconds: an outcome comes by
        itself, and to be woken for each end as well would cost a tenth of a fork. Crashes are noticed a moment later.
        """
        while self._children:
            ended = os.waitid(os.P_ALL, 0, _ENDED)
            if ended is None:
                return
            if ended.si_pid in self._children:
                self._bury(ended.si_pid)
                continue
            for pid in list(self._children):  # the one found belongs to a preloaded module, which will ask for it
                if os.waitid(os.P_PID, pid, _ENDED) is not None:
                    self._bury(pid)
            return

    def _bury(self, pid: int) -> None:
        number = self._children.pop(pid)
        if number is not None:
            del self._pids[number]
            try:  # noqa: SIM105 - a context manager costs a process that has just forked more
                os.killpg(pid, _SIGKILL)  # before the reaping, while the id cannot have gone to somebody else
            except OSError:  # nobody else is in the group
                pass
        _, status, usage = os.wait4(pid, 0)
        if number is not None:
            peak = usage.ru_maxrss if _LINUX else usage.ru_maxrss // 1024
            details = encode_usage(pid, usage) if status else b""
            self._ended += (b"%d" % number, b"%d" % status, b"%d" % peak, details)
            # An ordinary end follows an outcome, which says all that is urgent.
            if status or len(self._ended) >= 4 * _ENDS_AT_ONCE:
                self._tell_ends()
        self._look_for_orphans = True

    def _kill_orphans(self) -> None:
        self._look_for_orphans = False
        # Horses adopt their own orphans, so a child of ours that we did not fork was left by a horse that is dead.
        for pid in _children():
            if pid not in self._children and pid not in self._spared:
                os.kill(pid, signal.SIGKILL)  # not reaped yet, so the id is still its own
                self._children[pid] = None

    def _tell(self, kind: Kind, fields: list[bytes]) -> None:
        try:
            send(self._sock, kind, fields)
        except OSError:  # the supervisor is gone
            self._ending = True

    def _tell_ends(self) -> None:
        if self._ended:
            self._tell(Kind.ENDED, self._ended)
            self._ended = []

    def _end_all(self) -> None:
        for pid, number in self._children.items():
            if number is not None:
                _kill_group(pid)
        self._kill_orphans()  # of a horse that was buried just now
        while self._children:
            self._bury(next(iter(self._children)))
            self._kill_orphans()


def encode_usage(pid: int, usage: Any) -> bytes:
    """The id of a process that ended and what it used (a `resource.struct_rusage`), the memory in KiB on any system."""
    numbers = list(usage)
    if not _LINUX:
        numbers[2] //= 1024
    return marshal.dumps((pid, *numbers))


def decode_usage(details: bytes) -> tuple[int | None, tuple[float, ...] | None]:
    """Read what `encode_usage` wrote; nothing is known where it is empty."""
    if not details:
        return None, None
    pid, *numbers = marshal.loads(details)  # noqa: S302 - the zygote's own, over a private socket
    return pid, tuple(numbers)


def _become_horse(sock: socket.socket, prepared: Prepared, zygote: int) -> NoReturn:
    try:
        # What `_set_group` and `die_with_parent` do, without their cost to a process that has just been forked.
        try:  # noqa: SIM105
            os.setpgid(0, 0)
        except OSError:
            pass
        if _call_prctl is not None:
            _call_prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
            _call_prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        if os.getppid() != zygote:  # it ended before the call above
            os._exit(1)
        if set_title is not None:
            set_title("aiorq: job " + prepared.message[3].decode())
        _run_and_exit(sock, prepared)
    finally:
        os._exit(70)  # EX_SOFTWARE: only a fault of ours comes here


def _run_and_exit(sock: socket.socket, run: Prepared) -> NoReturn:
    """Run the job, send its outcome and end the process."""
    horse = os.getpid()
    code = 1
    try:
        if run.escorted:
            kind, fields = _perform_escorted(sock, run)
        else:
            kind, fields = perform(run)
        if os.getpid() == horse:  # a process that the job forked may come back here, whose end is not the job's
            fresh = b""
            if len(sys.modules) != run.modules:
                fresh = ",".join(name for name in WATCHED if name in sys.modules and name not in run.loaded).encode()
            send(sock, kind, [run.message[0], fresh, *fields])
        code = 0
    finally:
        # Whatever the job left behind (threads, exit handlers) is not waited for.
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _perform_escorted(sock: socket.socket, run: Prepared) -> tuple[Kind, list[bytes]]:
    def announce(doing: str, seconds: int, told: bool) -> None:
        send(sock, Kind.DOING, [run.message[0], b"%d" % seconds, doing.encode(errors="replace"), b"%d" % told])

    from aiorq.execution.around import perform_escorted

    return perform_escorted(run, announce)


def _watch(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # not on Linux, not allowed, or too many files are open
        return -1


def _set_group(pid: int) -> None:
    try:
        os.setpgid(pid, pid)
    except OSError:  # parent and child both do it, so that the group is there for both; the later one may be too late
        return


def _kill_group(pid: int, number: int = signal.SIGKILL) -> None:
    try:
        os.killpg(pid, number)
        reached = True
    except (ProcessLookupError, PermissionError):  # it has not made its group yet
        reached = False
    with suppress(ProcessLookupError):
        # A horse that left its group; its id is its own until it is reaped.
        if not reached or number == signal.SIGKILL or os.getpgid(pid) != pid:
            os.kill(pid, number)


def _children() -> list[int]:
    try:
        file = os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY)
    except OSError:  # not on Linux
        return []
    try:
        listed = b""
        while chunk := os.read(file, 4096):
            listed += chunk
        return [int(pid) for pid in listed.split()]
    finally:
        os.close(file)


def _prctl(option: int, value: int) -> None:
    if _call_prctl is not None:
        _call_prctl(option, value, 0, 0, 0)


def _dump_no_core() -> None:
    # Horses inherit it. Not by the module `resource`, whose shared library every fork would pay for.
    if _libc is not None:
        limits = (ctypes.c_ulong * 2)()  # what applies, and up to what a job may raise that
        if _libc.getrlimit(_RLIMIT_CORE, limits) == 0:
            limits[0] = 0
            _libc.setrlimit(_RLIMIT_CORE, limits)


def _offer_as_victim() -> None:
    # Horses inherit it: when memory runs out they go before the supervisor, or the Redis beside it. The biggest goes
    # first, which is rarely the zygote; to set horses apart from it would cost each of them three system calls.
    with suppress(OSError, ValueError), open("/proc/self/oom_score_adj", "r+b", buffering=0) as file:
        file.write(b"%d" % min(int(file.read()) + _SACRIFICE, 1000))


def die_with_parent(parent: int, number: int) -> None:
    """Have this process get a signal when its parent ends (on Linux), and end now if that is not its parent any more.

    Args:
        parent: the process id that must be our parent.
        number: the signal.
    """
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it ended before the call above
        os._exit(1)


def main() -> NoReturn:
    """Be a zygote in a fresh interpreter; the arguments are the socket's descriptor and the supervisor's process id."""
    descriptor, supervisor = int(sys.argv[-2]), int(sys.argv[-1])
    serve(socket.socket(fileno=descriptor), supervisor)
