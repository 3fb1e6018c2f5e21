"""The process that runs one job: it is forked by the zygote, runs the function, sends the outcome, and ends.

It is imported in the zygote, whose size every fork pays for, so it imports little and what only some jobs need when they need it.
A horse never talks to Redis about its job: killed at any point, it leaves nothing half written.
"""

from __future__ import annotations

import base64
import os
import signal
import socket
import sys
import zlib
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from aiorq.call import decode_call, resolve
from aiorq.current import CurrentRun, current_run
from aiorq.errors import JobTimeoutException
from aiorq.execution.frames import Kind, send
from aiorq.serializers import Serializer, resolve_serializer

if TYPE_CHECKING:
    import asyncio
    from types import FrameType

TRACEBACK_LIMIT: Final = 64 * 1024
"""Characters of a traceback that are kept: the first and the last half of that."""
_SUMMARY_LIMIT: Final = 200
_WATCHED: Final = ("asyncio", "aiorq.job", "traceback")
"""Modules that are worth importing in the zygote once a horse needed them."""
_UNSERIALIZABLE: Final = "Unserializable return value"


class Order(NamedTuple):
    """What the zygote is asked to run."""

    number: int
    """The supervisor's number of the run."""
    job_id: str
    execution_id: str
    timeout: int
    """Seconds that it may run; -1 for no limit."""
    fields: dict[bytes, bytes]
    """The job's hash."""

    def encode(self) -> list[bytes]:
        """The fields of a RUN message."""
        flat = [part for item in self.fields.items() for part in item]
        return [b"%d" % self.number, self.job_id.encode(), self.execution_id.encode(), b"%d" % self.timeout, *flat]

    @classmethod
    def decode(cls, fields: list[bytes]) -> Order:
        """Read a RUN message."""
        number, job_id, execution_id, timeout, *flat = fields
        pairs = dict(zip(flat[::2], flat[1::2], strict=True))
        return cls(int(number), job_id.decode(), execution_id.decode(), int(timeout), pairs)


class Context(NamedTuple):
    """What all runs of a worker have in common."""

    worker_name: str
    serializer: str | None
    prefix: str
    connection: Mapping[str, Any]


def run_and_exit(sock: socket.socket, order: Order, context: Context) -> NoReturn:
    """Run the job of `order`, send its outcome and end the process."""
    loaded = {name for name in _WATCHED if name in sys.modules}
    code = 1
    try:
        kind, fields = perform(order, context)
        fresh = ",".join(name for name in _WATCHED if name in sys.modules and name not in loaded)
        send(sock, kind, [b"%d" % order.number, fresh.encode(), *fields])
        code = 0
    finally:
        # Whatever the job left behind (threads, exit handlers) is not waited for.
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def perform(order: Order, context: Context) -> tuple[Kind, list[bytes]]:
    """Run a job in this process under its timeout.

    Returns:
        the kind and the fields of the message to send: for RETURNED the result as RQ stores it and a warning, for RAISED a line
        about the exception and the traceback as RQ stores it.
    """
    deadline = _Deadline(order.timeout if order.timeout > 0 else None)
    run = CurrentRun(
        job_id=order.job_id,
        fields=order.fields,
        execution_id=order.execution_id,
        worker_name=context.worker_name,
        serializer=context.serializer,
        prefix=context.prefix,
        connection=context.connection,
    )
    current_run.set(run)
    try:
        serializer = resolve_serializer(context.serializer)
        with deadline:
            call = decode_call(order.fields[b"data"], serializer)
            value = _call(resolve(call), call.args, call.kwargs, deadline)
        encoded, warning = _encode(value, serializer)
        return Kind.RETURNED, [encoded, warning.encode()]
    except BaseException as error:  # whatever user code raises, SystemExit and KeyboardInterrupt too, fails its job
        return Kind.RAISED, [summarize(error).encode(errors="replace"), encode_traceback(error)]


class _Deadline:
    """Raises `JobTimeoutException` in the job when its time is over; coroutines are cancelled."""

    def __init__(self, seconds: int | None) -> None:
        self.seconds = seconds
        self.passed = False
        self.task: asyncio.Task[Any] | None = None

    def __enter__(self) -> None:
        if self.seconds is not None:
            signal.signal(signal.SIGALRM, self._ring)
            signal.setitimer(signal.ITIMER_REAL, self.seconds)

    def __exit__(self, *_: object) -> None:
        if self.seconds is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_IGN)

    def error(self) -> JobTimeoutException:
        return JobTimeoutException(f"the job ran longer than its timeout of {self.seconds} seconds")

    def _ring(self, _: int, frame: FrameType | None) -> None:
        self.passed = True
        if self.task is None:
            raise self.error()
        import asyncio

        loop = self.task.get_loop()
        loop.call_soon_threadsafe(self.task.cancel)
        if asyncio.current_task(loop) is not None:  # a task has the processor and may never give it back
            raise self.error()


def _call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], deadline: _Deadline) -> Any:
    value = function(*args, **kwargs)
    if isinstance(value, Coroutine):
        return _run_coroutine(value, deadline)
    return value


def _run_coroutine(coroutine: Coroutine[Any, Any, Any], deadline: _Deadline) -> Any:
    import asyncio

    async def main() -> Any:
        deadline.task = asyncio.current_task()
        try:
            return await coroutine
        finally:
            deadline.task = None

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        if deadline.passed:
            raise deadline.error() from None
        raise


def _encode(value: Any, serializer: Serializer) -> tuple[bytes, str]:
    if value is None:
        return b"", ""
    try:
        return base64.b64encode(serializer.dumps(value)), ""
    except Exception as error:
        warning = f"its result, a {type(value).__name__}, cannot be serialised: {summarize(error)}"
        return base64.b64encode(serializer.dumps(_UNSERIALIZABLE)), warning


def summarize(error: BaseException) -> str:
    """Type and message of an exception on one line, cut to 200 characters; never raises."""
    name = type(error).__name__
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = "<unprintable>"
    line = f"{name}: {text}" if text else name
    return line if len(line) <= _SUMMARY_LIMIT else line[:_SUMMARY_LIMIT] + "..."


def encode_traceback(error: BaseException) -> bytes:
    """The traceback of an exception as RQ stores it, its middle cut out where it is long; never raises."""
    import traceback

    try:
        text = "".join(traceback.format_exception(error))
    except Exception:
        text = f"{type(error).__name__}: <unprintable>\n"
    return encode_text(text)


def encode_text(text: str) -> bytes:
    """A text as RQ stores tracebacks: compressed, in base64; its middle is cut out where it is longer than 64 Ki characters."""
    if len(text) > TRACEBACK_LIMIT:
        half = TRACEBACK_LIMIT // 2
        text = f"{text[:half]}\n... {len(text) - TRACEBACK_LIMIT} characters left out ...\n{text[-half:]}"
    return base64.b64encode(zlib.compress(text.encode(errors="backslashreplace")))
