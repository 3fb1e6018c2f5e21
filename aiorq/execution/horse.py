"""The process that runs one job: it is forked by the zygote, runs the function, sends the outcome, and ends.

A horse never talks to Redis about its job: killed at any point, it leaves nothing half written.

Every page of memory that a horse touches first is copied, at 2 to 3 us each, so that Python code costs a new process
many times what it costs an old one: the reset of seven signals 0.3 ms, one `importlib.import_module` of a known module
0.1 ms. Hence the plain code here; hence `Prepared`, which is made in the zygote, before the fork; and hence this module
imports little, since the zygote's size is paid for at every fork too.
"""

from __future__ import annotations

import base64
import os
import signal
import socket
import sys
import zlib
from collections.abc import Coroutine, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, NoReturn

from aiorq.call import MAX_PAYLOAD, inflate, load_call, resolve
from aiorq.current import CurrentRun, current_run
from aiorq.errors import DeserializationError, JobTimeoutException, PayloadTooLargeError
from aiorq.execution.frames import Kind, pack, send, unpack
from aiorq.serializers import UNSERIALIZABLE, Serializer

if TYPE_CHECKING:
    import asyncio

TRACEBACK_LIMIT: Final = 64 * 1024
"""Characters of a traceback that are kept: the first and the last half of that."""
_SUMMARY_LIMIT: Final = 200
_environment: Final = os.environ._data  # type: ignore[attr-defined]
_INFLATED_EARLY: Final = 16 * 1024  # bytes of a call up to which it is inflated before the fork: more would hold up all
WATCHED: Final = ("asyncio", "aiorq.job", "json", "traceback")
"""Modules that are worth importing in the zygote once a horse needed them."""


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
    memory_limit: int = 0
    """Bytes of memory that its process may have; 0 for no limit.

    It is for the process's data segment in all (Linux's RLIMIT_DATA): what it was born with, some 10 MB and what is
    preloaded, all that it asks for whether it uses it or not, and 8 MB for each thread. What it shares with others and
    files that it maps do not count. Each process that the job starts has the same limit for itself. A job that asks for
    more gets a MemoryError. It can raise the limit: this guards against mistakes, not against malice.
    """

    def encode(self) -> list[bytes]:
        """The fields of a RUN message: what each run needs, then in one piece what only `get_current_job` does."""
        data = self.fields.get(b"data", b"")
        rest = pack([part for item in self.fields.items() if item[0] != b"data" for part in item])
        numbers = (
            b"%d" % self.number,
            b"%d" % self.timeout,
            b"%d" % (2 * (len(self.fields) - (b"data" in self.fields))),
        )
        limit = b"%d" % self.memory_limit
        return [*numbers, self.job_id.encode(), self.execution_id.encode(), data, rest, limit]


class Context(NamedTuple):
    """What all runs of a worker have in common."""

    worker_name: str
    serializer: str | None
    prefix: str
    connection: Mapping[str, Any]


class Prepared:
    """A run on the eve of its process, and its deadline; what nothing may ask for is not made yet."""

    __slots__ = (
        "_context",
        "_current",
        "armed",
        "loaded",
        "memory_limit",
        "message",
        "modules",
        "number",
        "passed",
        "payload",
        "seconds",
        "serializer",
        "task",
    )

    here: ClassVar[Prepared | None] = None
    """The run of this process, or of the next one that is forked from it."""

    def __init__(self, message: Sequence[bytes], context: Context, serializer: Serializer, loaded: Set[str]) -> None:
        """Do what a run needs and no code of the user's takes part in.

        Args:
            message: the fields of the RUN message.
            context: of the worker.
            serializer: the one that `context` names.
            loaded: the modules of `WATCHED` that are imported already.
        """
        self.message = message
        self._context = context
        self._current: CurrentRun | None = None
        self.number = int(message[0])
        self.seconds = int(message[1])
        self.memory_limit = int(message[7])
        if self.memory_limit:
            import resource  # noqa: F401 - here rather than in each horse
        self.serializer = serializer
        self.loaded = loaded
        self.modules = len(sys.modules)
        self.payload: bytes | None = None
        """The call, inflated; None where that is left to the horse."""
        if len(message[5]) <= _INFLATED_EARLY:
            try:
                self.payload = inflate(message[5])
            except (DeserializationError, MemoryError):
                self.payload = None  # the horse will meet it too, and say so
        self.armed = False
        self.passed = False
        self.task: asyncio.Task[Any] | None = None
        """The one to cancel at the deadline, if the function is a coroutine."""
        # What `os.environ` does, without the checks: they cost a process that has just forked 17 pages.
        os.putenv(b"RQ_JOB_ID", message[3])
        _environment[b"RQ_JOB_ID"] = message[3]
        Prepared.here = self

    def current(self) -> CurrentRun:
        """The run as `get_current_job` asks for it."""
        if self._current is None:
            _, _, count, job_id, execution_id, data, rest, _ = self.message
            parts = unpack(rest, int(count))
            self._current = CurrentRun(
                job_id=job_id.decode(),
                fields={b"data": data, **dict(zip(parts[::2], parts[1::2], strict=True))},
                execution_id=execution_id.decode(),
                worker_name=self._context.worker_name,
                serializer=self._context.serializer,
                prefix=self._context.prefix,
                connection=self._context.connection,
            )
        return self._current

    def late(self) -> JobTimeoutException:
        """What is raised in the job at its deadline."""
        return JobTimeoutException(f"the job ran longer than its timeout of {self.seconds} seconds")


def _current() -> CurrentRun:
    if Prepared.here is None:
        raise LookupError("no job runs here")
    return Prepared.here.current()


def settle() -> None:
    """Set in the zygote what all horses need: how a job asks for itself, and how its deadline rings."""
    current_run.set(_current)
    signal.signal(signal.SIGALRM, ring)


def ring(*_: object) -> None:
    """Raise `JobTimeoutException` in the job, or cancel its coroutine: the handler of SIGALRM, set in the zygote."""
    run = Prepared.here
    if run is None or not run.armed:
        return
    run.passed = True
    if run.task is None:
        raise run.late()
    import asyncio

    loop = run.task.get_loop()
    loop.call_soon_threadsafe(run.task.cancel)
    if asyncio.current_task(loop) is not None:  # a task has the processor and may never give it back
        raise run.late()


def end(*_: object) -> None:
    """Cancel the job's coroutine: the handler of SIGTERM while one runs. A function is ended by the signal itself."""
    run = Prepared.here
    if run is not None and run.task is not None:
        run.task.get_loop().call_soon_threadsafe(run.task.cancel)


def _hold_end() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def _let_end() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def _forget_end() -> None:
    if signal.getsignal(signal.SIGTERM) is end:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _let_end()


def run_and_exit(sock: socket.socket, run: Prepared) -> NoReturn:
    """Run the job, send its outcome and end the process."""
    horse = os.getpid()
    code = 1
    try:
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


def perform(run: Prepared) -> tuple[Kind, list[bytes]]:
    """Run a job in this process under its timeout.

    Returns:
        the kind and the fields of the message to send: for RETURNED the result as RQ stores it and a warning,
        for RAISED a line about the exception and the traceback as RQ stores it.
    """
    allowed = 0
    try:
        if run.memory_limit:
            allowed = _limit_memory(run.memory_limit)
        if run.seconds > 0:
            run.armed = True
            signal.alarm(run.seconds)
        try:
            payload = inflate(run.message[5]) if run.payload is None else run.payload
            call = load_call(payload, run.serializer)
            value = resolve(call)(*call.args, **call.kwargs)
            if value is not None and isinstance(value, Coroutine):  # that look alone costs 25 pages
                value = _run_coroutine(value, run)
        finally:
            if run.armed:
                run.armed = False
                signal.alarm(0)
        if value is None:
            return Kind.RETURNED, [b"", b""]
        encoded, warning = _encode(value, run.serializer)
        return Kind.RETURNED, [encoded, warning.encode(errors="replace")]
    except BaseException as error:  # noqa: BLE001 - whatever user code raises, SystemExit too, fails its job
        summary = summarize(error)
        if run.memory_limit:
            _limit_memory(allowed)  # to say what happened takes some
            if isinstance(error, MemoryError):
                note = f"its process may have {run.memory_limit} bytes of memory"
                BaseException.add_note(error, note)
                summary = f"{summary} ({note})"
        return Kind.RAISED, [summary.encode(errors="replace"), encode_traceback(error)]


def _limit_memory(size: int) -> int:
    """Limit the memory of this process, if the machine does not do that more strictly; return what applied before."""
    import resource

    before, most = resource.getrlimit(resource.RLIMIT_DATA)
    if most != resource.RLIM_INFINITY and not 0 <= size <= most:
        size = most
    resource.setrlimit(resource.RLIMIT_DATA, (size, most))
    return before


def _run_coroutine(coroutine: Coroutine[Any, Any, Any], run: Prepared) -> Any:
    import asyncio

    async def main() -> Any:
        run.task = asyncio.current_task()
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # otherwise a module of the job's has plans of its own
            signal.signal(signal.SIGTERM, end)
            # While a handler is set, a signal that comes right after a fork would be lost.
            os.register_at_fork(before=_hold_end, after_in_parent=_let_end, after_in_child=_forget_end)
        try:
            return await coroutine
        finally:
            run.task = None

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        if run.passed:
            raise run.late() from None
        raise


def _encode(value: Any, serializer: Serializer) -> tuple[bytes, str]:
    warning = ""
    try:
        raw = serializer.dumps(value)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - user code
        warning = f"its result, a {type(value).__name__}, cannot be serialised: {summarize(error)}"
        raw = serializer.dumps(UNSERIALIZABLE)
    if len(raw) > MAX_PAYLOAD:
        raise PayloadTooLargeError(f"the result has {len(raw)} bytes, more than {MAX_PAYLOAD}")
    return base64.b64encode(raw), warning


def summarize(error: BaseException) -> str:
    """Type and message of an exception on one line, cut to 200 characters; never raises."""
    name = type(error).__name__
    try:
        text = " ".join(str(error)[: 4 * _SUMMARY_LIMIT].split())
    except BaseException:  # noqa: BLE001 - user code
        text = "<unprintable>"
    line = f"{name}: {text}" if text else name
    return line if len(line) <= _SUMMARY_LIMIT else line[:_SUMMARY_LIMIT] + "..."


def encode_traceback(error: BaseException) -> bytes:
    """The traceback of an exception as RQ stores it, its middle cut out where it is long; never raises."""
    import traceback

    try:
        text = "".join(traceback.format_exception(error))
    except BaseException:  # noqa: BLE001 - user code
        text = f"{type(error).__name__}: <unprintable>\n"
    return encode_text(text)


def encode_text(text: str) -> bytes:
    """A text as RQ stores tracebacks: compressed, in base64; of more than 64 Ki characters the middle is cut out."""
    if len(text) > TRACEBACK_LIMIT:
        half = TRACEBACK_LIMIT // 2
        text = f"{text[:half]}\n... {len(text) - TRACEBACK_LIMIT} characters left out ...\n{text[-half:]}"
    return base64.b64encode(zlib.compress(text.encode(errors="backslashreplace")))
