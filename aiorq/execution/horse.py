"""The process that runs one job: it is forked by the zygote, runs the function, sends the outcome, and ends.

A horse never talks to Redis about its job: killed at any point, it leaves nothing half written.

Every page of memory that a horse touches first is copied, at 2 to 3 us each, so that Python code costs a new process
many times what it costs an old one: the reset of seven signals 0.3 ms, one `importlib.import_module` of a known module
0.1 ms. Hence the plain code here; hence `Prepared`, which is made in the zygote, before the fork; and hence this module
imports little, since the zygote's size is paid for at every fork too.
"""

from __future__ import annotations

import marshal
import os
import signal
import sys
from collections.abc import Coroutine, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from aiorq.call import inflate, load_call, resolve
from aiorq.current import CurrentRun, current_run
from aiorq.ending import encode_result, encode_retry, encode_traceback, retry_of, summarize
from aiorq.errors import DeserializationError, JobTimeoutException
from aiorq.execution.frames import Kind, pack, unpack
from aiorq.serializers import Serializer

if TYPE_CHECKING:
    import asyncio

_environment: Final = os.environ._data  # type: ignore[attr-defined]
_INFLATED_EARLY: Final = 16 * 1024  # bytes of a call up to which it is inflated before the fork: more would hold up all
WATCHED: Final = (
    *("asyncio", "json", "traceback"),
    *("aiorq.execution.around", "aiorq.errands", "aiorq.job", "aiorq.retry"),
)
"""Modules that are worth importing in the zygote once a horse needed them."""
_DEFINED_BY_CODE: Final = 1 << 9  # of a type's flags: it is not one that is built in, as those of most results are


class Step(NamedTuple):
    """A call beside the function: a callback of the job, or something to do on an errand."""

    kind: str
    """What `around` knows: `on_success`, `on_failure`, `on_stopped`, `exception_handlers`, `webhook` or
    `work_horse_killed_handler`."""
    name: str
    """Dotted; of a webhook where it goes to."""
    seconds: int
    """That it may take; 0 and less for no limit."""
    args: tuple[Any, ...] = ()
    """Plain values, of which it makes its arguments."""


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
    steps: Sequence[Step] = ()
    """The callbacks `on_success` and `on_failure` of the job; of an errand, all that is to be done."""
    errand: bool = False
    """The steps take the place of the function. Then `timeout` is for what goes before the first of them."""

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
        steps = marshal.dumps((self.errand, [tuple(step) for step in self.steps])) if self.steps else b""
        return [*numbers, self.job_id.encode(), self.execution_id.encode(), data, rest, limit, steps]


class Hooks(NamedTuple):
    """What a worker wants to be called around its jobs: dotted names that are found where jobs run, empty for none."""

    on_start: str = ""
    before_job: str = ""
    after_job: str = ""
    on_stop: str = ""
    exception_handlers: tuple[str, ...] = ()
    work_horse_killed_handler: str = ""
    job_class: str = ""
    """Not called: what `get_current_job` makes."""

    def names(self) -> dict[str, str]:
        """Each dotted name, and what it is for."""
        options = zip(self._fields, self, strict=True)
        named = {name: option for option, name in options if name and isinstance(name, str)}
        return named | dict.fromkeys(self.exception_handlers, "exception_handlers")

    @property
    def around_jobs(self) -> bool:
        """Whether there is something to call where a job runs."""
        return bool(self.on_start or self.before_job or self.after_job or self.on_stop or self.exception_handlers)


class Context(NamedTuple):
    """What all runs of a worker have in common."""

    worker_name: str
    serializer: str | None
    prefix: str
    connection: Mapping[str, Any]
    supplies: str = ""
    """The dotted name of what gives callbacks their job and their connection: a class such as `errands.Supplies`."""
    hooks: Hooks = Hooks()


class Prepared:
    """A run on the eve of its process, and its deadline; what nothing may ask for is not made yet."""

    __slots__ = (
        "_current",
        "armed",
        "context",
        "doing",
        "escorted",
        "guarded",
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

    heeds_sigterm: ClassVar[bool] = True
    """Whether its coroutines are cancelled by SIGTERM."""
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
        self.context = context
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
        self.escorted = bool(message[8]) or context.hooks.around_jobs
        """Whether there is more to run than the function."""
        self.armed = False
        self.passed = False
        self.doing = "the job"
        """What the deadline is for."""
        self.guarded = False
        """Whether a coroutine ran, so that SIGTERM is held back while the process forks."""
        self.task: asyncio.Task[Any] | None = None
        """The one to cancel at the deadline, if the function is a coroutine."""

    def enter(self) -> None:
        """Be the run of this process."""
        # What `os.environ` does, without the checks: they cost a process that has just forked 17 pages.
        for name, value in ((b"RQ_JOB_ID", self.message[3]), (b"RQ_EXECUTION_ID", self.message[4])):
            os.putenv(name, value)
            _environment[name] = value
        Prepared.here = self

    def current(self) -> CurrentRun:
        """The run as `get_current_job` asks for it."""
        if self._current is None:
            _, _, count, job_id, execution_id, data, rest, _, _ = self.message
            parts = unpack(rest, int(count))
            self._current = CurrentRun(
                job_id=job_id.decode(),
                fields={b"data": data, **dict(zip(parts[::2], parts[1::2], strict=True))},
                execution_id=execution_id.decode(),
                worker_name=self.context.worker_name,
                serializer=self.context.serializer,
                prefix=self.context.prefix,
                connection=self.context.connection,
                job_class=self.context.hooks.job_class,
            )
        return self._current

    def arm(self, doing: str, seconds: int) -> None:
        """Let what begins now have so many seconds; 0 and less for no limit."""
        self.passed = False
        self.doing = doing
        self.seconds = seconds
        if seconds > 0:
            self.armed = True
            signal.alarm(seconds)

    def disarm(self) -> None:
        """Take note that it has ended."""
        if self.armed:
            self.armed = False
            signal.alarm(0)

    def end_loop(self, runner: asyncio.Runner) -> None:
        """End the event loop of coroutines, with all that still runs in it."""
        runner.close()

    def let_sigterm_end(self) -> None:
        """Have SIGTERM end this process again, where it was to cancel a coroutine that has ended."""
        if signal.getsignal(signal.SIGTERM) is end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def late(self) -> JobTimeoutException:
        """What is raised in the job at its deadline."""
        return JobTimeoutException(f"{self.doing} ran longer than its timeout of {self.seconds} seconds")


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


def perform(run: Prepared) -> tuple[Kind, list[bytes]]:
    """Run a job that has nothing around it in this process under its timeout.

    Returns:
        the kind and the fields of the message to send. For RETURNED: the result as RQ stores it, and a warning. For
        AGAIN: how often, the intervals joined by commas, 1 for the front of the queue, the `Retry` as RQ stores it
        where it is RQ's, and a warning. For RAISED: a line about the exception, the traceback as RQ stores it, the
        names of its classes joined by NUL, and a warning.
    """
    allowed = 0
    try:
        if run.memory_limit:
            allowed = limit_memory(run.memory_limit)
        if run.seconds > 0:
            run.armed = True
            signal.alarm(run.seconds)
        try:
            payload = inflate(run.message[5]) if run.payload is None else run.payload
            call = load_call(payload, run.serializer)
            function = resolve(call)
            if "rq.job" in sys.modules and run.context.supplies:
                tell_rq(run)
            value = function(*call.args, **call.kwargs)
            if value is not None and isinstance(value, Coroutine):  # that look alone costs 25 pages
                value = _run_coroutine_alone(value, run)
        finally:
            if run.armed:
                run.armed = False
                signal.alarm(0)
        if value is None:
            return Kind.RETURNED, [b"", b""]
        return say_returned(value, run)
    except BaseException as error:  # noqa: BLE001 - whatever user code raises, SystemExit too, fails its job
        return say_raised(error, run, allowed)


def tell_rq(run: Prepared) -> None:
    """Have rq, which is imported here, know the job too."""
    from aiorq.call import import_name

    supplies: Any = import_name(run.context.supplies)
    supplies(run.current()).tell_rq()


def say_returned(value: Any, run: Prepared) -> tuple[Kind, list[bytes]]:
    """What `perform` gives for a function that returned `value`, which is not None.

    Raises:
        ValueError: a `Retry` that says nothing that can be done.
        PayloadTooLargeError: more bytes than are kept.
    """
    asked = retry_of(value) if type(value).__flags__ & _DEFINED_BY_CODE else None
    if asked is not None:
        most, intervals, at_front = asked
        waits = b",".join([b"%d" % seconds for seconds in intervals])
        return Kind.AGAIN, [b"%d" % most, waits, b"%d" % at_front, encode_retry(value, run.serializer), b""]
    encoded, warning = encode_result(value, run.serializer)
    return Kind.RETURNED, [encoded, warning.encode(errors="replace")]


def say_raised(error: BaseException, run: Prepared, allowed: int) -> tuple[Kind, list[bytes]]:
    """What `perform` gives for a function that raised; `allowed` is the memory that applied before the job's limit."""
    summary = summarize(error)
    if run.memory_limit:
        limit_memory(allowed)  # to say what happened takes some
        if isinstance(error, MemoryError):
            note = f"its process may have {run.memory_limit} bytes of memory"
            BaseException.add_note(error, note)
            summary = f"{summary} ({note})"
    return Kind.RAISED, [summary.encode(errors="replace"), encode_traceback(error), encode_kinds(type(error)), b""]


def encode_kinds(kind: type[BaseException]) -> bytes:
    """The names of an exception's class and of those that it derives from, joined by NUL."""
    from aiorq.retry import kinds_of  # what succeeds does not need it

    return "\0".join(kinds_of(kind)).encode(errors="replace")


def limit_memory(size: int) -> int:
    """Limit the memory of this process, if the machine does not do that more strictly; return what applied before."""
    import resource

    before, most = resource.getrlimit(resource.RLIMIT_DATA)
    if most != resource.RLIM_INFINITY and not 0 <= size <= most:
        size = most
    resource.setrlimit(resource.RLIMIT_DATA, (size, most))
    return before


def _run_coroutine_alone(coroutine: Coroutine[Any, Any, Any], run: Prepared) -> Any:
    import asyncio

    with asyncio.Runner() as runner:
        return run_coroutine(coroutine, run, runner)


def run_coroutine(coroutine: Coroutine[Any, Any, Any], run: Prepared, runner: asyncio.Runner) -> Any:
    """Run a coroutine, which is cancelled at the deadline and at SIGTERM.

    Raises:
        JobTimeoutException: it was cancelled at the deadline.
    """
    import asyncio

    async def main() -> Any:
        run.task = asyncio.current_task()
        # Where there is another handler, a module of the job's has plans of its own.
        if run.heeds_sigterm and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, end)
            if not run.guarded:
                run.guarded = True
                # While a handler is set, a signal that comes right after a fork would be lost.
                os.register_at_fork(before=_hold_end, after_in_parent=_let_end, after_in_child=_forget_end)
        try:
            return await coroutine
        finally:
            run.task = None

    try:
        return runner.run(main())
    except asyncio.CancelledError:
        if run.passed:
            raise run.late() from None
        raise
