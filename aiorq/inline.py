"""Running a job at once, in the place of the caller who enqueues it: a queue with `is_async=False`.

What happens is what happens in a process of the job's own: the function, within its time, then `on_success` or
`on_failure`; `get_current_job` gives the job. What differs is what a caller can do for one: nothing here can be killed,
and a function that takes long holds up the event loop in which it was called. The timeout of a function is enforced in
the main thread, by an alarm; that of a coroutine everywhere.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import cached_property, partial
from inspect import iscoroutinefunction
from typing import Any, Final, TypeAlias, TypeVar, cast
from urllib.parse import urlsplit

from aiorq.call import import_name, resolve
from aiorq.callback import DEFAULT_TIMEOUT as CALLBACK_TIMEOUT
from aiorq.current import CurrentRun, current_run, here_in_process
from aiorq.ending import encode_result, encode_retry, encode_traceback, retry_of, summarize
from aiorq.errands import Supplies, send_webhook
from aiorq.errors import JobTimeoutException, NoSuchJobError
from aiorq.job import Job
from aiorq.options import DEFAULT_FAILURE_TTL, DEFAULT_RESULT_TTL, DEFAULT_TIMEOUT
from aiorq.outcome import Again, Raised, Returned
from aiorq.placement import PlacedJob
from aiorq.retry import Retry, kinds_of
from aiorq.serializers import serializer_path
from aiorq.status import JobStatus
from aiorq.store import jobs, runs
from aiorq.store.connection import describe
from aiorq.store.runs import Run

log = logging.getLogger(__name__)

R = TypeVar("R")
Ending: TypeAlias = Returned | Again | Raised
Late: TypeAlias = Callable[[], JobTimeoutException]
"""Makes what is raised in user code that takes too long."""
_SHORTEST: Final = 0.001  # seconds; an alarm after 0 is none


@contextmanager
def _alarm(seconds: float, late: Late) -> Iterator[None]:
    """Around a call: an alarm in the main thread, and nothing elsewhere; `seconds` of 0 and less are no limit."""
    armed = False

    def ring(*_: object) -> None:
        if armed:
            raise late()

    if seconds <= 0 or not _may_set_alarm(seconds):
        yield
        return
    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, ring)
    due = interval = 0.0
    try:
        armed = True
        due, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:  # cut short where the alarm, which rings once, rings in here
            armed = False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if due:  # somebody else's, for later
            signal.setitimer(signal.ITIMER_REAL, max(due - (time.monotonic() - began), _SHORTEST), interval)


def _may_set_alarm(seconds: float) -> bool:
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        return False
    # An earlier alarm of somebody else's, such as a test's own timeout, is a limit too, and not ours to put off. A
    # handler that is not Python's (None) could not be set again.
    due, _ = signal.getitimer(signal.ITIMER_REAL)
    return signal.getsignal(signal.SIGALRM) is not None and not 0 < due <= seconds


async def _finish(coroutine: Coroutine[Any, Any, R], seconds: float, late: Late) -> R:
    """Await a coroutine for so long; `seconds` of 0 and less are no limit."""
    scope = asyncio.timeout(seconds if seconds > 0 else None)
    try:
        async with scope:
            return await coroutine
    except TimeoutError:
        if not scope.expired():
            raise
        raise late() from None


async def perform(
    job: PlacedJob, current: Callable[[], CurrentRun], failed: Callable[[BaseException], None] | None = None
) -> Ending:
    """Run a job in this thread and say how it ended.

    Coroutines run in the running event loop; where none runs, each gets one for its time, and this does not wait for
    anything: it can be driven by a single `send(None)`.

    Args:
        job: what to run.
        current: gives the run, as `get_current_job` asks for it.
        failed: is told what the job failed with.

    Raises:
        KeyboardInterrupt: while the job ran; so does whatever else is not for the job, such as the `CancelledError` of
            a caller that is cancelled.
    """
    token = current_run.set(current)
    try:
        return await _Performance(job, current, failed).run()
    finally:
        current_run.reset(token)


class _Performance:
    def __init__(
        self, job: PlacedJob, current: Callable[[], CurrentRun], failed: Callable[[BaseException], None] | None
    ) -> None:
        self._job = job
        self._current = current
        self._failed = failed
        self._status = JobStatus.STARTED
        self._blocks = not isinstance(job, Job)
        """Whether it is a job of the blocking API, whose caller cannot await anything."""

    @cached_property
    def _supplies(self) -> Supplies:
        return Supplies(self._current())

    async def run(self) -> Ending:
        try:
            return await self._run()
        finally:
            if "_supplies" in vars(self):
                self._supplies.close()

    async def _run(self) -> Ending:
        job = self._job
        try:
            value = await self._do("the job", DEFAULT_TIMEOUT if job.timeout is None else job.timeout, self._call)
            asked = retry_of(value)
            if asked is not None:
                return Again(*asked, value=encode_retry(value, job.serializer))
            self._status = JobStatus.FINISHED
            if job.success_callback_name:
                await self._call_back("success", value)
            return Returned(b"") if value is None else Returned(*encode_result(value, job.serializer))
        except BaseException as error:  # whatever user code raises, SystemExit too, fails its job
            if _is_for_the_caller(error):
                raise
            return await self._fail(error)

    async def _fail(self, error: BaseException) -> Raised:
        self._status = JobStatus.FAILED
        if self._job.failure_callback_name:
            try:
                await self._call_back("failure", type(error), error, error.__traceback__)
            except BaseException as other:  # it takes the place of what the function raised (RQ)
                if _is_for_the_caller(other):
                    raise
                error = other
        if self._failed is not None:
            self._failed(error)
        return _as_raised(error)

    def _call(self) -> Any:
        call = self._job.call
        function = resolve(call)
        if "rq.job" in sys.modules:
            self._supplies.tell_rq()
        return function(*call.args, **call.kwargs)

    async def _call_back(self, kind: str, *args: Any) -> None:
        name: str = getattr(self._job, f"{kind}_callback_name")
        seconds: int = getattr(self._job, f"{kind}_callback_timeout") or CALLBACK_TIMEOUT
        callback = cast("Callable[..., Any]", import_name(name))
        supplies = self._supplies

        async def call_async() -> None:  # the job, and its connection, are those of the event loop that this runs in
            job = cast("Job[Any]", supplies.job(self._status, in_loop=True))
            await callback(job, job.connection, *args)

        def call() -> Any:
            return callback(supplies.job(self._status, in_loop=False), supplies.connection(), *args)

        await self._do(f"on_{kind} ({name})", seconds, call_async if iscoroutinefunction(callback) else call)

    async def _do(self, doing: str, seconds: float, call: Callable[[], Any]) -> Any:
        late = partial(JobTimeoutException, f"{doing} ran longer than its timeout of {seconds} seconds")
        with _alarm(seconds, late):
            value = call()
        if not isinstance(value, Coroutine):
            return value
        if asyncio._get_running_loop() is None:
            return asyncio.run(self._finish_and_close(value, seconds, late))
        if not self._blocks:
            return await _finish(value, seconds, late)
        with ThreadPoolExecutor(1) as elsewhere:  # the caller's event loop, as of a notebook, stands still meanwhile
            context = copy_context()
            return elsewhere.submit(context.run, asyncio.run, self._finish_and_close(value, seconds, late)).result()

    async def _finish_and_close(self, coroutine: Coroutine[Any, Any, Any], seconds: float, late: Late) -> Any:
        try:
            return await _finish(coroutine, seconds, late)
        finally:
            await close_handles(self._current())


async def close_handles(run: CurrentRun) -> None:
    """Close the connections that the job objects of a run opened in this event loop, which is about to end."""
    for handle in run.handles.values():
        store = handle._store if isinstance(handle, Job) else None
        if store is not None and store.transport.is_home:
            await store.connection.aclose()


def _is_for_the_caller(error: BaseException) -> bool:
    """Whether an exception that came up in user code was meant for who runs it."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task() if asyncio._get_running_loop() is not None else None
        return task is not None and task.cancelling() > 0
    return isinstance(error, (KeyboardInterrupt, GeneratorExit))


def _as_raised(error: BaseException) -> Raised:
    return Raised(summarize(error), encode_traceback(error), tuple(kinds_of(type(error))))


async def run_sync(job: PlacedJob, token: str) -> None:
    """Run a job that was put straight into `started`, in the caller's place, and record how it ended.

    It runs once, as in RQ: it is neither tried again nor repeated, and one that returns a `Retry` has finished with
    that as its value. What it raises is recorded and not raised.

    Args:
        job: its `origin` is the queue that it was put on.
        token: the execution id of its run, whose lease must hold as long as the job may take.

    Raises:
        AiorqError: the outcome cannot be recorded.
        KeyboardInterrupt, asyncio.CancelledError: while it ran; it is recorded as a failure.
    """
    job.status = JobStatus.STARTED
    try:
        outcome = await perform(job, RunHere(job, token))
    except BaseException as error:
        await _record(job, token, _as_raised(error))
        raise
    await _record(job, token, outcome)
    await send_webhooks(job, outcome)


class RunHere:
    """Describes the run of a job in its caller's place when it is first asked for."""

    def __init__(
        self, job: PlacedJob, token: str, fields: Mapping[bytes, bytes] | None = None, worker: str = ""
    ) -> None:
        """Describe a run.

        Args:
            job: its job.
            token: its execution id.
            fields: the job's hash; None for what the object would write.
            worker: the name of the worker that runs it, if it is one.
        """
        self._job = job
        self._token = token
        self._fields = fields
        self._worker = worker
        self._run: CurrentRun | None = None
        self._home: object = asyncio._get_running_loop()

    def __call__(self) -> CurrentRun:
        """The run, the same one each time."""
        if self._run is None:
            job, store = self._job, self._job.store
            fields = self._fields
            if fields is None:
                values = {name.encode(): value for name, value in job.encode().items()}
                fields = {name: b"%d" % value if isinstance(value, int) else value for name, value in values.items()}
            self._run = CurrentRun(
                job_id=job.id,
                fields=fields,
                execution_id=self._token,
                worker_name=self._worker,
                serializer=serializer_path(job.serializer),
                prefix=store.keys.prefix,
                connection=describe(store.connection),
            )
            self._run.handles[("async", self._home) if isinstance(job, Job) else here_in_process()] = job
        return self._run


async def _record(job: PlacedJob, token: str, outcome: Ending) -> None:
    run = Run(job.origin, job.id, token)
    where = job.origin, job.id
    if outcome.warning:
        log.warning("%s: job %s: %s", *where, outcome.warning, extra={"job_id": job.id})
    if isinstance(outcome, Again):
        asked = Retry(outcome.max, outcome.intervals, outcome.enqueue_at_front)
        outcome = Returned(outcome.value) if outcome.value else Returned(*encode_result(asked, job.serializer))
    # There may be nobody who would run it again: what it has left stays for a worker that runs it after a requeue (RQ).
    left: dict[str, bytes | int] = {
        name: getattr(job, name) for name in ("retries_left", "repeats_left") if getattr(job, name)
    }
    if left:
        await jobs.save(job.store, job.id, dict.fromkeys(left, 0))
    if isinstance(outcome, Returned):
        ttl = DEFAULT_RESULT_TTL if job.result_ttl is None else job.result_ttl
        held = await runs.finish(job.store, "", run, outcome.value, ttl)
    else:
        ttl = DEFAULT_FAILURE_TTL if job.failure_ttl is None else job.failure_ttl
        failed = await runs.fail(job.store, "", run, outcome.traceback, ttl, kinds=outcome.kinds)
        held = failed is not runs.Failed.LOST
    if held:
        await jobs.save(job.store, job.id, {"worker_name": b"sync", **left})
    else:
        log.warning(
            "%s: the outcome of job %s is not recorded: its lease ran out, or it was canceled or deleted", *where
        )
    try:
        job.decode(await jobs.fetch(job.store, job.id))
    except NoSuchJobError:  # it was to be kept for 0 seconds
        job.status = JobStatus.FINISHED if isinstance(outcome, Returned) else JobStatus.FAILED


async def send_webhooks(job: PlacedJob, outcome: Ending) -> None:
    """Make the requests that tell of a job's end, which `job` shows; what goes wrong is logged."""
    traceback = outcome.traceback if isinstance(outcome, Raised) else b""
    ended_at = time.time() if job.ended_at is None else job.ended_at.timestamp()
    for webhook in job.webhooks:
        if webhook.job_status != job.status.value:
            continue
        send = partial(send_webhook, job, webhook.to_dict(), ended_at, traceback)
        try:
            if asyncio._get_running_loop() is None or not isinstance(job, Job):
                send()
            else:
                await asyncio.to_thread(send)
        except Exception as error:  # noqa: BLE001 - the job has ended, whatever becomes of it
            text = "%s: job %s: its webhook to %s failed: %s"
            where = urlsplit(webhook.url).hostname
            log.warning(text, job.origin, job.id, where, summarize(error), extra={"job_id": job.id})
