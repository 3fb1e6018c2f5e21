"""The supervisor's end of running jobs in forked processes: start a zygote, order runs, enforce timeouts, hear of ends.

Timeouts and kills are decided here, outside the process that runs the job, and carried out by the zygote, which alone
knows whether a process id still belongs to a horse. When the zygote itself dies, its horses die with it, but not what
their jobs had started: nobody is left who could tell those processes from the application's own. A new zygote is
started.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiorq.errors import AiorqError
from aiorq.execution import frames
from aiorq.execution.frames import Frame, Kind
from aiorq.execution.horse import Order
from aiorq.execution.memory import OomKills, find_counter
from aiorq.execution.running import Running, Runs
from aiorq.execution.zygote import VERSION, Settings, decode_usage, serve
from aiorq.outcome import Again, NotBegun, Outcome, Raised, Returned

log = logging.getLogger(__name__)

TIMEOUT_GRACE: Final = 5.0
"""Seconds that a job may go on after the exception of its timeout before its process group is killed."""
OUT_OF_MEMORY: Final = "out of memory"
"""Why a process is lost that came near its limit, or that the kernel killed for want of memory."""
NOT_OURS: Final = "not sent by the worker"
"""What is known of a signal 9 that has no such reason."""
_NEARLY: Final = 0.95  # of the limit of its memory: a process that dies there died of it
_UNANSWERED: Final = 5.0  # seconds after a kill without the notice of the end: then the zygote itself is stuck
_PATIENCE: Final = 2.0  # seconds that a zygote may take to end
_ZYGOTE_DIED: Final = "the worker's process that forks jobs died"
_BOOT: Final = "import sys; sys.path[:] = {path!r}; from aiorq.execution.zygote import main; main()"


class ZygoteError(AiorqError):
    """The process that forks jobs cannot be used."""


class UpgradedError(ZygoteError):
    """The code of aiorq on disk is of another version than the one that runs, so that no zygote can be started."""


class UnreachableError(ZygoteError):
    """A handler or hook belongs to the script that was started, which no fresh process can import."""


class Zygote(NamedTuple):
    """A zygote that was started: our end of its socket, and what to wait for."""

    sock: socket.socket
    pid: int
    process: subprocess.Popen[bytes] | None
    """None when it was forked from this process."""


def fork_zygote() -> Zygote | None:
    """Fork this process into a zygote, so that horses have every module that was imported here.

    Returns:
        None where that is not safe: this process has further threads, or an event loop runs in it.
    """
    if threading.active_count() > 1 or asyncio._get_running_loop() is not None:
        return None
    ours, theirs = frames.pair()
    supervisor = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        ours.close()
        serve(theirs, supervisor)
    theirs.close()
    return Zygote(ours, pid, None)


def spawn_zygote() -> Zygote:
    """Start a zygote in a fresh interpreter, safe from anywhere, with the module search path of this one."""
    ours, theirs = frames.pair()
    with theirs:
        code = _BOOT.format(path=[entry or str(Path.cwd()) for entry in sys.path])
        command = [sys.executable, *subprocess._args_from_interpreter_flags(), "-c", code]  # type: ignore[attr-defined]
        process = subprocess.Popen(
            [*command, str(theirs.fileno()), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            # Functions of libraries are looked up once, there, and not by each horse that calls one first.
            env=os.environ | {"LD_BIND_NOW": "1"},
            pass_fds=[theirs.fileno()],
            process_group=0,  # out of reach of the terminal's Ctrl-C from the start
        )
    return Zygote(ours, process.pid, process)


class _Running(Running):
    __slots__ = ("limit", "ooms")

    def __init__(self, limit: int, ooms: int) -> None:
        super().__init__()
        self.limit = limit
        """Bytes of memory; 0 for none."""
        self.ooms = ooms
        """How many processes the kernel had killed for want of memory before."""


class ForkExecutor(Runs[_Running]):
    """Runs each job in a process of its own."""

    def __init__(
        self, settings: Settings, zygote: Zygote | None = None, *, timeout_grace: float = TIMEOUT_GRACE
    ) -> None:
        """Prepare; `start` begins.

        Args:
            settings: for the zygote.
            zygote: one that was forked before the event loop existed; None to start one in a fresh interpreter.
            timeout_grace: seconds that a job may go on after the exception of its timeout.
        """
        super().__init__()
        self._settings = settings
        self._grace = timeout_grace
        self._first = zygote
        self._zygote: Zygote | None = None
        self._dead: Zygote | None = None  # and not reaped yet
        self._pidfd = -1
        self._usable = False
        self._ready: asyncio.Future[None] | None = None
        self._buffer = bytearray(frames.BUFFER)
        self._oom_kills = OomKills(find_counter())
        self._outbox: deque[tuple[Kind, Sequence[bytes]]] = deque()
        self._closing = False
        self._broken: ZygoteError | None = None
        self._breaking = asyncio.Event()
        self._restarting: asyncio.Task[None] | None = None

    @property
    def zygote_pid(self) -> int | None:
        """The process id of the zygote while there is one."""
        return None if self._zygote is None else self._zygote.pid

    async def start(self) -> None:
        """Start the zygote and wait until its modules are imported. After a failure there is only `close`.

        Raises:
            UpgradedError: its code is of another version than this one.
            UnreachableError: it is not forked from this process, and a hook is there only.
            ZygoteError: a module cannot be preloaded, or the zygote ended.
        """
        loop = asyncio.get_running_loop()
        if self._first is None:
            _check_reach(self._settings)
        self._ready = loop.create_future()
        zygote, self._first = self._first or spawn_zygote(), None
        self._zygote = zygote
        zygote.sock.setblocking(False)
        loop.add_reader(zygote.sock.fileno(), self._read)
        # A process that a job left behind may hold the socket open after the zygote's end.
        self._pidfd = _open_pidfd(zygote.pid)
        if self._pidfd >= 0:
            loop.add_reader(self._pidfd, self._zygote_ended)
        self._send(Kind.CONFIGURE, self._settings.encode())
        await self._ready
        self._usable = True

    async def broken(self) -> ZygoteError:
        """Wait until no job can be run any more, as no zygote can take the place of one that died, and say why.

        From then on `execute` answers with `NotBegun`, and the worker had better end.
        """
        while self._broken is None:
            await self._breaking.wait()
        return self._broken

    async def execute(self, order: Order) -> Outcome:
        """Run a job in a process of its own and say how it ended.

        A caller that is cancelled leaves it running; see `kill`.
        """
        if not self._usable:
            return NotBegun(str(self._broken or "the process that forks jobs is being started"))
        ooms = self._oom_kills.recent(asyncio.get_running_loop().time())
        running = self._running[order.number] = _Running(order.memory_limit, ooms)
        if order.timeout > 0:
            self._kill_in(order.number, running, order.timeout + self._grace, "timeout")
        self._send(Kind.RUN, order.encode())
        return await asyncio.shield(running.future)

    def _ask_to_end(self, number: int, running: _Running) -> None:  # noqa: ARG002
        """Its process group gets SIGTERM: a coroutine is cancelled, a function ends at once unless it handles it.

        The outcome comes when its process has ended; what it said that was not heard of yet does not count.
        """
        self._send(Kind.KILL, [b"%d" % number, b"%d" % signal.SIGTERM])

    def _force_to_end(self, number: int, running: _Running) -> None:
        """Its process group and all that it started are killed."""
        self._send(Kind.KILL, [b"%d" % number, b"%d" % signal.SIGKILL])
        running.timer = asyncio.get_running_loop().call_later(_UNANSWERED, self._give_up_zygote)

    async def close(self) -> None:
        """Kill what still runs, end the zygote and wait for its end."""
        self._closing = True
        if self._restarting is not None:
            self._restarting.cancel()
            await asyncio.wait([self._restarting])
        if self._first is not None:
            self._first.sock.close()
        patience = _PATIENCE if self._usable else 0.0
        for zygote in (self._disconnect(), self._dead, self._first):
            if zygote is not None:
                await self._wait_for(zygote, patience)
        self._first = self._dead = None
        self._settle_all("the worker ended")

    def _disconnect(self) -> Zygote | None:
        self._usable = False
        zygote, self._zygote = self._zygote, None
        if zygote is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(zygote.sock.fileno())
            loop.remove_writer(zygote.sock.fileno())
            with suppress(OSError):
                zygote.sock.shutdown(socket.SHUT_RDWR)  # also where a process that we do not know of has our end
            zygote.sock.close()
            if self._pidfd >= 0:
                loop.remove_reader(self._pidfd)
                os.close(self._pidfd)
            self._outbox.clear()
        return zygote

    async def _wait_for(self, zygote: Zygote, patience: float = _PATIENCE) -> None:
        # It ends as its socket is closed, after all that the jobs started, but not while it imports modules.
        pause = 0.001
        for seconds in (patience, 60.0):
            end = asyncio.get_running_loop().time() + seconds
            while asyncio.get_running_loop().time() < end:
                if zygote.process is not None:
                    if zygote.process.poll() is not None:
                        return
                else:
                    try:
                        if os.waitpid(zygote.pid, os.WNOHANG)[0]:  # noqa: ASYNC222 - it does not block
                            return
                    except ChildProcessError:
                        return
                await asyncio.sleep(pause)
                pause = min(2 * pause, 0.05)
            os.kill(zygote.pid, signal.SIGKILL)

    def _give_up_zygote(self) -> None:
        if self._zygote is not None:
            log.error("the process that forks jobs (pid %d) does not answer; it is killed", self._zygote.pid)
            os.kill(self._zygote.pid, signal.SIGCONT)
            os.kill(self._zygote.pid, signal.SIGKILL)

    def _send(self, kind: Kind, fields: Sequence[bytes]) -> None:
        if self._zygote is None:
            return
        self._outbox.append((kind, fields))
        if len(self._outbox) == 1:
            self._flush()

    def _flush(self) -> None:
        zygote = self._zygote
        if zygote is None:
            return
        loop = asyncio.get_running_loop()
        try:
            while self._outbox:
                frames.send(zygote.sock, *self._outbox[0])
                self._outbox.popleft()
        except BlockingIOError:
            loop.add_writer(zygote.sock.fileno(), self._flush)
            return
        except OSError as error:  # it is gone; reading says so too
            log.debug("cannot send to the zygote: %s", error)
        loop.remove_writer(zygote.sock.fileno())

    def _read(self) -> bool:
        """Handle one message, and say whether there was one. The event loop asks again while there are more."""
        if self._zygote is None:
            return False
        try:
            frame = frames.receive(self._zygote.sock, self._buffer)
            if frame is not None:
                self._handle(frame)
                return True
        except BlockingIOError:
            return False
        except ValueError as error:
            log.warning("a job wrote to the worker's socket: %s", error)
            return True
        except OSError as error:
            log.debug("cannot read from the zygote: %s", error)
        self._zygote_died()
        return False

    def _zygote_ended(self) -> None:
        while self._read():  # what was sent before the end
            pass
        if self._zygote is not None:
            self._zygote_died()

    def _handle(self, frame: Frame) -> None:
        if frame.kind in (Kind.READY, Kind.UNUSABLE) and frame.fields[-1:] != [VERSION]:
            there = b"".join(frame.fields[-1:]).decode(errors="replace")
            versions = f"{VERSION.decode()} runs, {there} is there"
            self._settle_ready(UpgradedError(f"aiorq was upgraded on disk: restart the worker ({versions})"))
        elif frame.kind == Kind.READY:
            self._settle_ready(None)
        elif frame.kind == Kind.UNUSABLE:
            self._settle_ready(ZygoteError(frame.fields[0].decode(errors="replace")))
        elif frame.kind in (Kind.RETURNED, Kind.AGAIN, Kind.RAISED):
            self._handle_outcome(frame)
        elif frame.kind == Kind.DOING:
            self._handle_doing(*frame.fields)
        elif frame.kind == Kind.REFUSED:
            number, reason = frame.fields
            self._settle(int(number), NotBegun(reason.decode()))
        elif frame.kind == Kind.ENDED:
            fields = frame.fields
            for number, status, peak, details in zip(*(fields[start::4] for start in range(4)), strict=True):
                self._handle_end(int(number), int(status), int(peak), details)
        else:
            raise ValueError(f"a message of kind {frame.kind}")

    def _handle_outcome(self, frame: Frame) -> None:
        number, fresh, *said, warning = frame.fields
        running = self._running.get(int(number))
        if running is not None and not running.stopped:  # the outcome of a stopped run is the end of its process
            self._settle(int(number), outcome_of(frame.kind, said, warning.decode()))
        if fresh:
            self._send(Kind.WARM, fresh.split(b","))

    def _handle_doing(self, number: bytes, seconds: bytes, doing: bytes, told: bytes) -> None:
        running = self._running.get(int(number))
        if running is None:
            return
        running.doing, running.told = doing.decode(), told == b"1"
        if running.is_to_end:
            return
        running.cancel_timer()
        if int(seconds) > 0:
            self._kill_in(int(number), running, int(seconds) + self._grace, "timeout")

    def _handle_end(self, number: int, status: int, peak_kib: int, details: bytes) -> None:
        running = self._running.get(number)
        if running is None:
            return
        why = self._explain(running, status, peak_kib)
        pid, usage = decode_usage(details)
        end: dict[str, Any] = {"peak_kib": peak_kib, "pid": pid, "usage": usage}
        if os.WIFSIGNALED(status):
            lost = running.lost(why, signal=os.WTERMSIG(status), **end)
        else:
            lost = running.lost(why, exit_code=os.waitstatus_to_exitcode(status), **end)
        self._settle(number, lost)

    def _explain(self, running: _Running, status: int, peak_kib: int) -> str:
        if not status or running.why:
            return ""
        if running.limit and 1024 * peak_kib >= _NEARLY * running.limit:
            return OUT_OF_MEMORY
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
            return ""
        return OUT_OF_MEMORY if self._oom_kills.count() > running.ooms else NOT_OURS

    def _settle_ready(self, error: ZygoteError | None) -> None:
        if self._ready is not None and not self._ready.done():
            if error is None:
                self._ready.set_result(None)
            else:
                self._ready.set_exception(error)

    def _zygote_died(self) -> None:
        was_usable = self._usable
        unsent = [int(fields[0]) for kind, fields in self._outbox if kind == Kind.RUN]
        self._dead = self._disconnect()
        self._settle_ready(ZygoteError("the process that forks jobs ended while it started"))
        for number in unsent:
            self._settle(number, NotBegun(_ZYGOTE_DIED))
        self._settle_all(_ZYGOTE_DIED)
        if was_usable:  # otherwise whoever starts it hears of it
            self._restarting = asyncio.get_running_loop().create_task(self._restart(), name="aiorq zygote restart")

    def _settle_all(self, why: str) -> None:
        for number, running in list(self._running.items()):
            self._settle(number, running.lost(why, signal=signal.SIGKILL))

    async def _restart(self) -> None:
        log.error("%s; a new one is started", _ZYGOTE_DIED)
        pause = 0.1
        while True:
            if self._dead is not None:
                await self._wait_for(self._dead)
                self._dead = None
            try:
                await self.start()
                return
            except (UpgradedError, UnreachableError) as error:
                log.error("jobs cannot be run any more: %s", error)  # noqa: TRY400 - the text says all
                self._broken = error
                self._breaking.set()
                self._dead = self._disconnect() or self._dead
                return
            except (ZygoteError, OSError) as error:
                log.error("the process that forks jobs does not start: %s", error)  # noqa: TRY400 - the text says all
            self._dead = self._disconnect() or self._dead
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5.0)


def _check_reach(settings: Settings) -> None:
    for name, option in settings.context.hooks.names().items():
        if name.startswith("__main__."):
            raise UnreachableError(
                f"cannot use {name} as {option}: the process that forks jobs is started afresh and cannot import the "
                f"script that the worker was started from; move {name.removeprefix('__main__.')} to a module"
            )


def outcome_of(kind: int, said: Sequence[bytes], warning: str) -> Outcome:
    """What a horse says of its end; see `horse.perform`."""
    if kind == Kind.RETURNED:
        (value,) = said
        return Returned(value, warning)
    if kind == Kind.AGAIN:
        most, intervals, at_front, value = said
        waits = tuple(int(seconds) for seconds in intervals.split(b","))
        return Again(int(most), waits, at_front == b"1", value, warning)
    summary, traceback, kinds = said
    return Raised(summary.decode(), traceback, tuple(kinds.decode().split("\0")), warning)


def _open_pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # not on Linux, or not allowed
        return -1
