"""What goes before and after a job's function, in its process, and what is to be done on an errand, in one of its own.

    on_start, before_job, the function   within the job's timeout; if one of them raises, the job fails
    on_success                           within its own timeout; if it raises, the job fails
    on_failure                           within its own timeout, if one of the above raised; if it raises, that counts
    exception handlers                   60 seconds each, if one of the above raised
    after_job, on_stop                   60 seconds each, if before_job, on_start went well

The job has ended when all that has: only then its outcome is sent. What goes wrong with the callbacks of the last two
lines is told along with the outcome, and changes nothing. All coroutines of a process run in one event loop, so that
what one opened the others can use.

The supervisor hears of each of them before it begins, since it enforces the time that it may take. Only processes with
something of this kind to do import this module.
"""

from __future__ import annotations

import marshal
import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

from aiorq.call import import_name, inflate, load_call, resolve
from aiorq.current import CurrentRun
from aiorq.ending import summarize
from aiorq.execution.frames import Kind
from aiorq.execution.horse import Hooks, Prepared, Step, limit_memory, run_coroutine, say_raised, say_returned

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")
AFTERWARDS: Final = 60
"""Seconds for each exception handler and each hook that is called after the job."""
_LISTED: Final = 50  # troubles of one process that are told


class Announce(Protocol):
    """Tells the supervisor what begins."""

    def __call__(self, doing: str, seconds: int, told: bool, /) -> None:
        """Tell it.

        Args:
            doing: what.
            seconds: that it may take; 0 and less for no limit.
            told: whether the callbacks of a failure have their turn by now.
        """


class Supplies(Protocol):
    """What gives callbacks their arguments; it is made with the `CurrentRun`, at the first callback."""

    def job(self, status: str, *, in_loop: bool) -> Any:
        """The job with this status: for a coroutine as those get it who ask for the current one here, else blocking."""

    def connection(self) -> Any:
        """A blocking client."""

    def send_webhook(self, job: Any, *args: Any) -> None:
        """Make an HTTP request."""

    def tell_rq(self) -> None:
        """Have rq, which is imported here, know the job too."""

    def close(self) -> None:
        """Close what was opened."""


def perform_escorted(run: Prepared, announce: Announce | None = None) -> tuple[Kind, list[bytes]]:
    """Run a job with all that goes around it, or an errand, in this process; returns what `horse.perform` does.

    Args:
        run: what to run.
        announce: hears of each step before it begins; None where nobody is interested.
    """
    escort = _Escort(run, announce)
    kind, fields = escort.run_errand() if escort.errand else escort.run_job()
    escort.close()
    *said, warning = fields
    return kind, [*said, "\n".join([*filter(None, [warning.decode()]), *escort.troubles]).encode(errors="replace")]


class _Escort:
    def __init__(self, run: Prepared, announce: Announce | None) -> None:
        self.errand, steps = marshal.loads(run.message[8]) if run.message[8] else (False, [])  # noqa: S302 - our own
        self.troubles: list[str] = []
        """What went wrong and changes nothing, a line each."""
        self._run = run
        self._announce = announce
        self._hooks: Hooks = run.context.hooks
        self._steps = [Step(*step) for step in steps]
        self._pid = os.getpid()
        self._status = "started"
        self._told = False
        self._runner: asyncio.Runner | None = None
        self._supplies: Supplies | None = None

    @property
    def _is_stray(self) -> bool:
        """Whether this is a process that the job forked, and which came back from its function: nothing is its own."""
        return os.getpid() != self._pid

    def run_job(self) -> tuple[Kind, list[bytes]]:
        run = self._run
        error: BaseException | None = None
        allowed = limit_memory(run.memory_limit) if run.memory_limit else 0
        begun: list[str] = []
        try:
            run.arm("the job", run.seconds)
            try:
                self._enter("on_start", begun)
                self._enter("before_job", begun)
                value = self._call_function()
            finally:
                run.disarm()
            kind, fields = (Kind.RETURNED, [b"", b""]) if value is None else say_returned(value, run)
            if kind is Kind.RETURNED and not self._is_stray:
                self._status = "finished"
                self._succeed(value)
        except BaseException as raised:  # noqa: BLE001 - whatever user code raises, SystemExit too, fails its job
            error = raised
            kind, fields = say_raised(raised, run, allowed)
            if not self._is_stray:
                self._status, self._told = "failed", True
                try:
                    self._fail(raised)
                except BaseException as other:  # noqa: BLE001 - it takes the place of what the function raised
                    error = other
                    kind, fields = say_raised(other, run, allowed)
                self._handle_exception(type(error), error, error.__traceback__)
        if not self._is_stray:
            if "before_job" in begun:
                self._leave("after_job", error)
            if "on_start" in begun:
                self._leave("on_stop")
        return kind, fields

    def run_errand(self) -> tuple[Kind, list[bytes]]:
        for step in self._steps:
            if step.kind == "exception_handlers":
                self._status = "failed"
                self._handle_exception(*_exception(*step.args))
            else:
                doing = f"{step.kind} ({step.name})"
                self._try(doing, step.seconds, lambda step=step: self._take(step))  # type: ignore[misc]
        return Kind.RETURNED, [b"", b""]

    def close(self) -> None:
        """End the event loop with all that still runs in it."""
        if self._is_stray:
            return
        if self._runner is not None:
            runner = self._runner
            self._try("the end of the event loop", AFTERWARDS, lambda: self._run.end_loop(runner))
        if self._supplies is not None:
            self._supplies.close()

    def _call_function(self) -> Any:
        run = self._run
        payload = inflate(run.message[5]) if run.payload is None else run.payload
        call = load_call(payload, run.serializer)
        function = resolve(call)
        if "rq.job" in sys.modules and self._run.context.supplies:
            self._supply().tell_rq()
        value = function(*call.args, **call.kwargs)
        return self._wait(value) if isinstance(value, Coroutine) else value

    def _enter(self, hook: str, begun: list[str]) -> None:
        name = getattr(self._hooks, hook)
        if name:
            self._invoke(import_name(name), with_job=hook == "before_job")
        begun.append(hook)

    def _leave(self, hook: str, *args: Any) -> None:
        name = getattr(self._hooks, hook)
        if name:
            call = lambda: self._invoke(import_name(name), *args, with_job=hook == "after_job")  # noqa: E731
            self._try(f"{hook} ({name})", AFTERWARDS, call)

    def _succeed(self, value: Any) -> None:
        for step in self._steps:
            if step.kind == "on_success":
                call = lambda name=step.name: self._call_back(name, value)  # noqa: E731
                self._within(f"on_success ({step.name})", step.seconds, call)

    def _fail(self, error: BaseException) -> None:
        for step in self._steps:
            if step.kind == "on_failure":
                args = (type(error), error, error.__traceback__)
                call = lambda name=step.name, args=args: self._call_back(name, *args)  # noqa: E731
                self._within(f"on_failure ({step.name})", step.seconds, call)

    def _handle_exception(self, kind: type[BaseException], error: BaseException, traceback: Any) -> None:
        """Call the exception handlers, until one says that it shall end here: by a value that is false and not None."""
        for name in self._hooks.exception_handlers:

            def goes_on(name: str = name) -> bool:
                answer = self._invoke(import_name(name), kind, error, traceback, with_job=True)
                return answer is None or bool(answer)

            if self._try(f"the exception handler {name}", AFTERWARDS, goes_on) is False:
                return

    def _take(self, step: Step) -> None:
        """Do a part of an errand."""
        if step.kind == "on_stopped":
            self._status = "stopped"
            self._call_back(step.name)
        elif step.kind == "on_failure":
            self._status = "failed"
            self._call_back(step.name, *_exception(*step.args))
        elif step.kind == "work_horse_killed_handler":
            pid, status, usage = step.args
            self._invoke(import_name(step.name), pid, status, _usage(usage), with_job=True)
        elif step.kind == "webhook":
            supplies = self._supply()
            supplies.send_webhook(supplies.job(self._status, in_loop=True), *step.args)
        else:
            raise ValueError(f"nobody knows how to do {step.kind}")

    def _within(self, doing: str, seconds: int, call: Callable[[], T]) -> T:
        if self._announce is not None:
            self._announce(doing, seconds, self._told)
        self._run.arm(doing, seconds)
        try:
            return call()
        finally:
            self._run.disarm()

    def _try(self, doing: str, seconds: int, call: Callable[[], T]) -> T | None:
        """Call it, and take note of what it raises."""
        try:
            return self._within(doing, seconds, call)
        except BaseException as error:  # noqa: BLE001 - user code, and its job has ended
            if len(self.troubles) < _LISTED:
                self.troubles.append(f"{doing} raised {summarize(error)}")
            return None

    def _call_back(self, name: str, *args: Any) -> Any:
        """Call a callback with the job, a connection and `args`."""
        return self._invoke(import_name(name), *args, with_job=True, with_connection=True)

    def _invoke(self, func: Any, *args: Any, with_job: bool = False, with_connection: bool = False) -> Any:
        from inspect import iscoroutinefunction  # each process that comes here has it, by way of the job or of asyncio

        if iscoroutinefunction(func):

            async def call() -> Any:  # here, where the job and its connection are those of the event loop
                return await func(*self._given(with_job, with_connection, in_loop=True), *args)

            return self._wait(call())
        value = func(*self._given(with_job, with_connection, in_loop=False), *args)
        return self._wait(value) if isinstance(value, Coroutine) else value

    def _given(self, with_job: bool, with_connection: bool, *, in_loop: bool) -> list[Any]:
        if not with_job:
            return []
        job = self._supply().job(self._status, in_loop=in_loop)
        if not with_connection:
            return [job]
        return [job, job.connection if in_loop else self._supply().connection()]

    def _supply(self) -> Supplies:
        if self._supplies is None:
            make = cast("Callable[[CurrentRun], Supplies]", import_name(self._run.context.supplies))
            self._supplies = make(self._run.current())
        return self._supplies

    def _wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        import asyncio

        if self._runner is None:
            self._runner = asyncio.Runner()
        try:
            return run_coroutine(coroutine, self._run, self._runner)
        finally:
            self._run.let_sigterm_end()


def _exception(kind: str, text: str) -> tuple[type[BaseException], BaseException, None]:
    found: Any = import_name(kind)
    return found, found(text), None


def _usage(numbers: tuple[float, ...] | None) -> object:
    if numbers is not None:
        with suppress(ImportError, TypeError):
            from resource import struct_rusage

            return struct_rusage(numbers)
    return None
