"""Running jobs inside of this process, without a fork: for tests and debuggers, where nothing must hold against a job.

A job runs in a thread beside the event loop that looks after it: in one of its own, or, where the event loop has left
it free, in the main thread. It is told to end by an exception: of its timeout, or `JobStopped`. In another thread than
the main one that comes between two instructions of Python, and so not while it sleeps, or waits in C code; in the main
thread a signal ends the waiting.

What does not end by that cannot be killed. It is left to itself: its outcome does not count any more, but what it does
goes on. Nor is its memory limited.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from queue import SimpleQueue
from types import FrameType
from typing import Any, ClassVar, Final, NoReturn, Protocol

from aiorq.call import import_name
from aiorq.current import CurrentRun, current_run
from aiorq.ending import summarize
from aiorq.errors import AiorqError, JobTimeoutException
from aiorq.execution.around import perform_escorted
from aiorq.execution.forking import TIMEOUT_GRACE, outcome_of
from aiorq.execution.frames import Kind
from aiorq.execution.horse import Order, Prepared, say_raised
from aiorq.execution.running import Running, Runs
from aiorq.execution.zygote import Settings
from aiorq.outcome import NotBegun, Outcome
from aiorq.serializers import Serializer, resolve_serializer

log = logging.getLogger(__name__)

_LAST_GRACE: Final = 1.0
"""Seconds that a job has to end after it was killed; then it is left to itself."""
_AGAIN: Final = 0.05
"""Seconds after which a signal that had no effect is sent again."""
_SOON: Final = 0.002
"""Seconds after which a thread is looked at again that could not be interrupted."""
_SHARES_ID: Final = sys.version_info < (3, 12)
"""Whether a thread has the id of the one that starts it until it begins. It would get the exception of that one, die,
and be waited for, for ever."""
_SKIPPED: Final = ("the job", "on_success", "on_failure", "the exception handler")
"""What does not begin any more in a job that is to end; the hooks that clean up do."""
_raise_in_thread: Final = ctypes.pythonapi.PyThreadState_SetAsyncExc
_raise_in_thread.argtypes = (ctypes.c_ulong, ctypes.py_object)
_NOTHING: Final[Any] = ctypes.py_object()  # a null pointer; None would be raised


class ThreadExecutorError(AiorqError):
    """Jobs cannot be run in this process."""


class JobStopped(BaseException):
    """Raised in a function that is told to end, where there is no process to be killed."""


class Place(Protocol):
    """Where jobs run."""

    def begin(self, call: Callable[[], None], name: str) -> None:
        """Have `call` called there, soon."""

    def interrupt(self, thread: int, error: type[BaseException]) -> None:
        """Have an exception raised in the code that runs in that thread."""

    def calm(self, thread: int) -> None:
        """Forget an exception that was not raised yet; called in that thread."""

    def leave(self, name: str) -> None:
        """Do not wait any more for the end of the call of that name."""

    def close(self) -> None:
        """Wait until all calls that were not left have ended; each has said that it ends."""


class OwnThreads:
    """Each job in a thread of its own."""

    def __init__(self) -> None:
        """Start with none."""
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._pending: dict[int, type[BaseException]] = {}

    def begin(self, call: Callable[[], None], name: str) -> None:
        """Start the thread."""
        self._threads = {known: thread for known, thread in self._threads.items() if thread.is_alive()}
        # One that cannot be interrupted must not hold up the end of the process.
        thread = self._threads[name] = threading.Thread(target=call, name=name, daemon=True)
        thread.start()

    def interrupt(self, thread: int, error: type[BaseException]) -> None:
        """Raise it at the thread's next instruction, or soon."""
        with self._lock:
            self._pending[thread] = error
        self._raise(thread)

    def calm(self, thread: int) -> None:
        """Take it back."""
        with self._lock:
            self._pending.pop(thread, None)
            _raise_in_thread(thread, _NOTHING)

    def leave(self, name: str) -> None:
        """Forget the thread."""
        self._threads.pop(name, None)

    def close(self) -> None:
        """Wait for the ends of the others."""
        for thread in self._threads.values():
            thread.join()
        self._threads.clear()

    def _raise(self, thread: int) -> None:
        with self._lock:
            if thread not in self._pending:
                return
            if _SHARES_ID and _starts_another(thread):
                asyncio.get_running_loop().call_later(_SOON, self._raise, thread)
            else:
                _raise_in_thread(thread, self._pending.pop(thread))


class MainThread:
    """One job after the other in the main thread, while the event loop runs in another one."""

    def __init__(self) -> None:
        """Wait for `serve`."""
        self._calls: SimpleQueue[tuple[Callable[[], None], str] | None] = SimpleQueue()
        self._pending: type[BaseException] | None = None
        self._busy = False
        self._before: Any = signal.SIG_DFL

    def begin(self, call: Callable[[], None], name: str) -> None:
        """Hand it to the main thread."""
        self._calls.put((call, name))

    def interrupt(self, thread: int, error: type[BaseException]) -> None:
        """Raise it by a signal, which ends what the main thread waits for."""
        self._pending = error
        self._ring_for(thread)

    def calm(self, thread: int) -> None:  # noqa: ARG002 - there is one
        """Take it back."""
        self._pending = None

    def leave(self, name: str) -> None:
        """Nothing: there is nobody else who could run what comes next."""

    def close(self) -> None:
        """Nothing: `serve` returns when all has ended."""

    def serve(self) -> None:
        """Run what is handed over, in the main thread, until `end`."""
        self._before = signal.signal(signal.SIGALRM, self._ring)
        try:
            while (entry := self._calls.get()) is not None:
                self._busy = True
                entry[0]()
                self._busy = False
        finally:
            signal.signal(signal.SIGALRM, self._before)

    def end(self) -> None:
        """Let `serve` return; from whatever thread."""
        self._calls.put(None)

    def _ring_for(self, thread: int) -> None:
        if self._pending is not None:
            signal.pthread_kill(thread, signal.SIGALRM)
            # One that comes in the moment before a system call has no effect on that.
            asyncio.get_running_loop().call_later(_AGAIN, self._ring_for, thread)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        error, self._pending = self._pending, None
        if error is not None:
            if self._busy:
                raise error
        elif callable(self._before):  # an alarm of somebody else's
            self._before(number, frame)


class _Run(Prepared):
    """A run in a thread of this process. What is called there says so; all else is called in the event loop."""

    __slots__ = ("_executor", "_inside", "_lock", "_loop", "_place", "_step", "_stopped", "_thread")

    heeds_sigterm: ClassVar[bool] = False

    def __init__(
        self, order: Order, settings: Settings, serializer: Serializer, place: Place, executor: ThreadExecutor
    ) -> None:
        super().__init__(order._replace(memory_limit=0).encode(), settings.context, serializer, frozenset())
        self._executor = executor
        self._place = place
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._thread = 0
        self._inside = False  # user code is
        self._step = 0
        self._stopped = False

    def main(self) -> None:
        """Run the job, in its thread."""
        self._thread = threading.get_ident()
        worker = os.getpid()
        token = current_run.set(self.current)
        try:
            kind, fields = perform_escorted(self, self._announce)
        except BaseException as error:  # noqa: BLE001 - one that was meant for user code came a moment too late
            kind, fields = say_raised(error, self, 0)
        finally:
            if os.getpid() != worker:  # a process that the job forked came back here
                os._exit(0)
            current_run.reset(token)
        self._tell(self._executor.on_end, self.number, kind, fields)

    def arm(self, doing: str, seconds: int) -> None:
        """Let user code begin, in the job's thread; `seconds` of 0 and less are no limit."""
        with self._lock:
            if self._stopped and doing.startswith(_SKIPPED):
                raise JobStopped("the job is to end")
            self.passed = False
            self.doing = doing
            self.seconds = seconds
            self._step += 1
            self._inside = True
        if seconds > 0:
            self._tell(self._executor.on_begin, self.number, self._step, seconds)

    def disarm(self) -> None:
        """Take note that it has ended, in the job's thread."""
        with self._lock:
            self._inside = False
            self._place.calm(self._thread)
        self._tell(self._executor.on_pause, self.number)

    def end_loop(self, runner: asyncio.Runner) -> None:
        """End an event loop, after closing what the job opened in it: this process goes on."""
        try:
            if self._executor.tidy is not None:
                runner.run(self._executor.tidy(self.current()))
        finally:
            runner.close()

    def let_sigterm_end(self) -> None:
        """Nothing: the signal is for the worker."""

    def ring(self, step: int) -> None:
        """End what runs, unless another step has begun, since its time is over."""
        with self._lock:
            if self._inside and self._step == step:
                self.passed = True
                task = self.task
                # A task that has the processor may never give it back.
                busy = task is not None and asyncio.current_task(task.get_loop()) is not None
                self._interrupt(_speaking(JobTimeoutException, str(self.late())), hard=busy)

    def stop(self, hard: bool = False) -> None:
        """End what runs, and let nothing else begin; with `hard` a coroutine too that keeps its event loop busy."""
        with self._lock:
            self._stopped = True
            if self._inside:
                self._interrupt(JobStopped, hard)

    def _interrupt(self, error: type[BaseException], hard: bool = False) -> None:
        task = self.task
        if task is None or hard:
            self._place.interrupt(self._thread, error)
        if task is not None:
            with suppress(RuntimeError):  # its event loop has just ended
                task.get_loop().call_soon_threadsafe(task.cancel)

    def _announce(self, doing: str, seconds: int, told: bool) -> None:  # noqa: ARG002 - `arm` says it
        self._tell(self._executor.on_step, self.number, doing, told)

    def _tell(self, call: Callable[..., None], *args: Any) -> None:
        with suppress(RuntimeError):  # the event loop has ended, and nobody waits for this job any more
            self._loop.call_soon_threadsafe(call, *args)


def _starts_another(thread: int) -> bool:
    frame = sys._current_frames().get(thread)
    while frame is not None:
        if frame.f_code is threading.Thread.start.__code__ and frame.f_locals["self"].ident is None:
            return True
        frame = frame.f_back
    return False


def _name(number: int) -> str:
    return f"aiorq job {number}"


def _speaking(kind: type[BaseException], text: str) -> type[BaseException]:
    """A class that is `kind` to all who look, and whose text is there although only the class can be handed over."""

    def make(self: BaseException, *args: object) -> None:
        kind.__init__(self, *(args or (text,)))

    names = {"__init__": make, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind.__name__, (kind,), names)


class _Running(Running):
    __slots__ = ("alarm", "run")

    def __init__(self, run: _Run) -> None:
        super().__init__()
        self.run = run
        self.alarm: asyncio.TimerHandle | None = None
        """Of its timeout, before the kill."""

    def cancel_alarm(self) -> None:
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None


class ThreadExecutor(Runs[_Running]):
    """Runs each job in a thread of this process; see the module for what it cannot do. An `Executor`."""

    def __init__(
        self,
        settings: Settings,
        place: Place | None = None,
        *,
        tidy: Callable[[CurrentRun], Coroutine[Any, Any, None]] | None = None,
        timeout_grace: float = TIMEOUT_GRACE,
    ) -> None:
        """Prepare; `start` begins.

        Args:
            settings: as for the process that forks jobs.
            place: where jobs run; None for threads of their own.
            tidy: closes what a run opened in an event loop, at the loop's end.
            timeout_grace: seconds that a job may go on after the exception of its timeout.
        """
        super().__init__()
        self._settings = settings
        self._place = place or OwnThreads()
        self.tidy = tidy
        self._grace = timeout_grace
        self._serializer: Serializer | None = None

    async def start(self) -> None:
        """Import what is to be preloaded.

        Raises:
            ThreadExecutorError: something cannot be imported.
        """
        settings = self._settings
        sys.path[:0] = [folder for folder in settings.path if folder not in sys.path]
        wanted = dict.fromkeys(settings.preload, "a module") | settings.context.hooks.names()
        for name, what in wanted.items():
            try:
                if what == "a module":
                    importlib.import_module(name)
                elif not callable(import_name(name)):
                    raise TypeError("it cannot be called")
            except Exception as error:
                raise ThreadExecutorError(f"cannot use {name} as {what}: {summarize(error)}") from error
        self._serializer = resolve_serializer(settings.context.serializer)

    async def broken(self) -> NoReturn:
        """Wait for ever: there is nothing that could break."""
        await asyncio.Event().wait()
        raise AssertionError

    async def execute(self, order: Order) -> Outcome:
        """Run a job and say how it ended. A caller that is cancelled leaves it running; see `kill`."""
        if self._serializer is None:
            return NotBegun("nothing runs jobs (any more)")
        run = _Run(order, self._settings, self._serializer, self._place, self)
        running = self._running[order.number] = _Running(run)
        try:
            self._place.begin(run.main, _name(order.number))
        except RuntimeError as error:  # no thread can be started
            del self._running[order.number]
            return NotBegun(str(error))
        return await asyncio.shield(running.future)

    def _ask_to_end(self, number: int, running: _Running) -> None:  # noqa: ARG002
        running.cancel_alarm()
        running.run.stop()

    def _force_to_end(self, number: int, running: _Running) -> None:
        """It is left to itself when it has not ended within a second."""
        running.cancel_alarm()
        running.run.stop(hard=True)
        running.timer = asyncio.get_running_loop().call_later(_LAST_GRACE, self._abandon, number)

    async def close(self) -> None:
        """Kill what still runs, and wait until it has ended or is left to itself."""
        self._serializer = None
        self.kill_all("the worker ended")
        if self._running:
            await asyncio.wait([running.future for running in self._running.values()])
        self._place.close()

    def on_step(self, number: int, doing: str, told: bool) -> None:
        """Hear of what a run does next beside its function."""
        running = self._running.get(number)
        if running is not None:
            running.doing, running.told = doing, told

    def on_begin(self, number: int, step: int, seconds: int) -> None:
        """Hear that user code begins which has so many seconds."""
        running = self._running.get(number)
        if running is None or running.is_to_end:
            return
        self.on_pause(number)
        running.alarm = asyncio.get_running_loop().call_later(seconds, running.run.ring, step)
        self._kill_in(number, running, seconds + self._grace, "timeout")

    def on_pause(self, number: int) -> None:
        """Hear that user code has ended."""
        running = self._running.get(number)
        if running is not None and not running.is_to_end:
            running.cancel_alarm()
            running.cancel_timer()

    def on_end(self, number: int, kind: Kind, fields: list[bytes]) -> None:
        """Hear that a run has ended."""
        running = self._running.get(number)
        if running is None:
            return
        running.cancel_alarm()
        if running.is_to_end:
            self._settle(number, running.lost())
        else:
            *said, warning = fields
            self._settle(number, outcome_of(kind, said, warning.decode()))

    def _abandon(self, number: int) -> None:
        running = self._running[number]
        self._place.leave(_name(number))
        log.error(
            "job %s cannot be interrupted (%s): what it does goes on, but does not count any more",
            running.run.current().job_id,
            running.why,
        )
        self._settle(number, running.lost())
