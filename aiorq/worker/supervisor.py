"""The supervisor of a worker: it puts the parts together, starts them, and ends them in order.

    supervisor   this process: asks Redis, keeps leases, enforces timeouts, records outcomes; never runs user code
    zygote       forks a horse for each job
    horse        runs one job

Each part is a file; see the package's docstring.
"""

from __future__ import annotations

import asyncio
import os
import platform
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Final, TypeVar, cast

import anyio
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from aiorq import __version__, errands
from aiorq.call import import_name
from aiorq.errors import AiorqError
from aiorq.execution.executor import Executor
from aiorq.execution.forking import ForkExecutor, Zygote, fork_zygote
from aiorq.execution.horse import Context, Hooks
from aiorq.execution.zygote import Settings
from aiorq.keys import Keys
from aiorq.options import DEFAULT_RESULT_TTL
from aiorq.record import JobRecord
from aiorq.serializers import Serializer, resolve_serializer, serializer_path
from aiorq.store import runs, workers
from aiorq.store.base import Store, store_of
from aiorq.store.connection import AnyRedis, connect_as, describe
from aiorq.worker.commands import obey
from aiorq.worker.cron import look_after_entries, register_entries
from aiorq.worker.errands import Errands
from aiorq.worker.fetch import fetch
from aiorq.worker.leases import Leases
from aiorq.worker.logs import DATE_FORMAT, LOG_FORMAT, set_up_logging
from aiorq.worker.options import (
    STOP_GRACE,
    WORKER_TTL,
    AnyQueue,
    DequeueStrategy,
    NamedQueue,
    WorkerOptions,
    as_names,
    as_queues,
    as_strategy,
    hook_name,
    random_name,
)
from aiorq.worker.outcomes import KILLED_AT_STOP
from aiorq.worker.reap import look_after
from aiorq.worker.run import Runner
from aiorq.worker.schedule import Schedule
from aiorq.worker.service import ServiceManager, keep_informed
from aiorq.worker.state import State, Stop, log

Q = TypeVar("Q")
Hook = Callable[..., Any] | str
"""A function at the top level of a module, sync or async, or its dotted name."""
_SIGN_OFF: Final = (0.1, 0.3, 0.6, 1.0)
"""Seconds between attempts to sign off."""


class Supervisor:
    """A worker, whatever API it belongs to: takes jobs from queues and runs each in a process of its own."""

    _forks = True
    _job_kind: ClassVar[type[JobRecord]] = JobRecord
    """What jobs are where nothing else is said."""

    def __init__(
        self,
        queues: AnyQueue | Sequence[AnyQueue] = "default",
        name: str | None = None,
        default_result_ttl: int = DEFAULT_RESULT_TTL,
        connection: AnyRedis | str | None = None,
        *,
        concurrency: int = 1,
        preload: str | Sequence[str] = (),
        path: str | Sequence[str] = (),
        lease: float = 15.0,
        worker_ttl: int | None = None,
        default_worker_ttl: int | None = None,
        serializer: object | None = None,
        prefix: str | None = None,
        reap_interval: float | None = None,
        on_lost: str = "fail",
        stop_grace: float = STOP_GRACE,
        shutdown_timeout: float | None = None,
        max_memory: int = 0,
        exception_handlers: Hook | Sequence[Hook] | None = None,
        disable_default_exception_handler: bool = False,
        work_horse_killed_handler: Hook | None = None,
        on_start: Hook | None = None,
        on_stop: Hook | None = None,
        before_job: Hook | None = None,
        after_job: Hook | None = None,
        job_class: type[JobRecord] | str | None = None,
        queue_class: type[NamedQueue] | str | None = None,
        log_job_description: bool = False,
        cron: str | Sequence[str] = (),
        maintenance_interval: int | None = None,  # noqa: ARG002 - RQ's parameter
        job_monitoring_interval: int | None = None,  # noqa: ARG002 - RQ's parameter
    ) -> None:
        """Describe a worker; `work` or `run` starts it.

        Handlers and hooks are functions, sync or `async def`, at the top level of a module, or dotted names. They are
        imported and called where jobs run, never in the worker's own process; those of the script that was started are
        there if the worker is started with `run`, outside of threads and event loops.

        Args:
            queues: names or queue objects; a job of the first is always taken before one of the second, and so on.
            name: unlike that of any other live worker; None for a random one.
            default_result_ttl: seconds that finished jobs are kept which do not say so themselves; -1 for ever.
            connection: a client, a URL, or None: that of the first queue object, else the environment's. Of a blocking
                client the settings are taken over, as far as they are plain values.
            concurrency: how many jobs run at a time, 1 to 1000.
            preload: modules to import once, so that no job has to.
            path: folders to search for modules before all others.
            lease: seconds, 1 to 600, after which the jobs of this worker are taken from it if it is not heard of.
            worker_ttl: seconds without a heartbeat after which the worker counts as dead; None for 420.
            default_worker_ttl: RQ's former name for it.
            serializer: that of the queues; None for that of the first queue object, else pickle.
            prefix: of all keys; None for the environment's.
            reap_interval: seconds between two looks for jobs whose workers are gone, on all queues; None for 2, or half
                a lease where that is less. One worker looks at a time.
            on_lost: what becomes of a job that does not say so itself if this worker is lost while the job runs: `fail`
                (or a retry, where it has any left), or `requeue`, three times at most.
            stop_grace: seconds that a job which is stopped has to end by itself, where the request does not say.
            shutdown_timeout: seconds that jobs may go on once the worker is to end; then they are killed and put back.
                None for as long as they take.
            max_memory: bytes of data that the process of a job may have which does not say so itself; 0 for no limit.
            exception_handlers: called one after the other when an attempt has failed, after the job's `on_failure`,
                with `(job, type, value, traceback)`; one that returns something false other than None is the last.
                They have 60 seconds each. What they raise is logged.
            disable_default_exception_handler: jobs that fail are not put into the registry of failed ones.
            work_horse_killed_handler: called with `(job, pid, wait status, usage)` when the process of a job ended
                without an outcome, in another process; `usage` is a `resource.struct_rusage` with the memory in KiB.
                What is not known is None.
            on_start: called without arguments once when a process that runs jobs begins; with one process for each job
                that is before each. If it raises, the job fails.
            on_stop: the same at its end, if `on_start` went well; it has 60 seconds. What it raises is logged.
            before_job: called with the job before its function, within the job's timeout. If it raises, the job fails.
            after_job: called with the job and with the exception that it failed with, or None, after all callbacks, if
                `before_job` went well; it has 60 seconds. What it raises is logged.
            job_class: what `get_current_job` and callbacks give: a subclass of `Job`, or its dotted name.
            queue_class: what `queues` gives for names: a subclass of `Queue`, or its dotted name.
            log_job_description: log the descriptions of jobs as they begin. As they hold the arguments, which may be
                secrets, this is off unless it is asked for; otherwise the log has the names of functions.
            cron: modules that call `cron.register`, by dotted name or path. A process of its own imports them; the
                worker then looks after all cron entries below its prefix, as any number of others may do.
            maintenance_interval: accepted as in RQ: what is overdue is looked for all the time (`reap_interval`).
            job_monitoring_interval: accepted as in RQ: leases are renewed several times within each (`lease`).

        Raises:
            TypeError: a handler or hook that is no function.
            ValueError: a setting out of range, a queue named twice, a serializer, a handler or a hook that is unknown,
                or that the processes which run jobs could not find by its name.
        """
        given = as_queues(queues)
        first = next((queue for queue in given if not isinstance(queue, str)), None)
        self.options = WorkerOptions(
            queues=tuple(queue if isinstance(queue, str) else queue.name for queue in given),
            name=random_name() if name is None else name,
            concurrency=concurrency,
            lease=lease,
            worker_ttl=worker_ttl or default_worker_ttl or WORKER_TTL,
            default_result_ttl=default_result_ttl,
            preload=as_names(preload),
            path=as_names(path),
            reap_interval=reap_interval,
            on_lost=on_lost,
            stop_grace=stop_grace,
            shutdown_timeout=shutdown_timeout,
            max_memory=max_memory,
            hooks=Hooks(
                on_start=hook_name(on_start, "on_start"),
                before_job=hook_name(before_job, "before_job"),
                after_job=hook_name(after_job, "after_job"),
                on_stop=hook_name(on_stop, "on_stop"),
                work_horse_killed_handler=hook_name(work_horse_killed_handler, "work_horse_killed_handler"),
                job_class="" if job_class is self._job_kind else hook_name(job_class, "job_class"),
            ),
            lists_failures=not disable_default_exception_handler,
            log_job_description=log_job_description,
            cron=as_names(cron),
        )
        self._handlers: list[Hook] = []
        for handler in _as_hooks(exception_handlers):
            self.push_exc_handler(handler)
        self._given = given
        self._job_class, self._queue_class = job_class, queue_class
        self.serializer = resolve_serializer(serializer) if serializer or first is None else first.serializer
        self._connection: AnyRedis | str | None = connection if connection or first is None else first._connection
        self._own: Redis | None = None
        self._prefix = prefix if prefix is not None or first is None else first._prefix
        Keys(self._prefix)
        self._serializer_path = _path_of(self.serializer)
        self._boot = f"{os.getpid()}:{secrets.token_hex(8)}"
        self._state: State | None = None
        self._requested = Stop.NOT
        self._told_cold = False  # by a command
        self._signals = 0
        self._failure: AiorqError | None = None
        self.restart_requested = False
        """Whether SIGHUP came: the worker ends as at a first SIGTERM, and whoever started it is to start it anew."""
        self._check_options()

    def _check_options(self) -> None:
        """Refuse what this kind of worker cannot do.

        Raises:
            ValueError: an option that does not go with it.
        """

    @property
    def name(self) -> str:
        """The worker's name."""
        return self.options.name

    def _make_queues(self, kind: type[Q]) -> list[Q]:
        given = self._queue_class
        make: Any = import_name(given) if isinstance(given, str) else given or kind
        settings = {"job_class": self._job_class, "serializer": self.serializer, "prefix": self._prefix}
        return [
            make(queue, self._connection, **settings) if isinstance(queue, str) else cast("Q", queue)
            for queue in self._given
        ]

    def queue_names(self) -> list[str]:
        """The names of the queues."""
        return list(self.options.queues)

    def queue_keys(self) -> list[str]:
        """The keys of the queues' lists."""
        keys = Keys(self._prefix)
        return [keys.queue(name) for name in self.options.queues]

    def push_exc_handler(self, handler_func: Hook) -> None:
        """Call one more exception handler, after those that there are; for a worker that has not started yet.

        Raises:
            TypeError, ValueError: as for `exception_handlers`.
        """
        names = (*self.options.hooks.exception_handlers, hook_name(handler_func, "exception_handlers"))
        self._set_handlers(names)
        self._handlers.append(handler_func)

    def pop_exc_handler(self) -> Hook:
        """Take back the exception handler that was added last.

        Raises:
            IndexError: there is none.
        """
        handler = self._handlers.pop()
        self._set_handlers(self.options.hooks.exception_handlers[:-1])
        return handler

    def _set_handlers(self, names: tuple[str, ...]) -> None:
        self.options = replace(self.options, hooks=self.options.hooks._replace(exception_handlers=names))

    @property
    def cold(self) -> bool:
        """Whether the worker was told to stop without waiting for its jobs."""
        return self._requested is Stop.COLD or self._told_cold

    def run(
        self,
        burst: bool = False,
        logging_level: str | int | None = None,
        date_format: str = DATE_FORMAT,
        log_format: str = LOG_FORMAT,
        max_jobs: int | None = None,
        max_idle_time: float | None = None,
        with_scheduler: bool = False,
        dequeue_strategy: DequeueStrategy | str = DequeueStrategy.DEFAULT,
        *,
        fork: bool = True,
    ) -> bool:
        """Work until told to stop, in an event loop of its own: the way for scripts. SIGINT, SIGTERM and SIGHUP end it.

        The service manager that the environment names, systemd's way, is told how the worker does; see `service`.

        Must be called from the main thread, outside of any event loop. Where nothing speaks against it this process is
        forked first, so that jobs find every module imported that was imported here.

        Args:
            burst: end as soon as the queues are empty.
            logging_level: as for `work`, and so are all others.
            date_format: of times in the log.
            log_format: of its lines.
            max_jobs: end after that many jobs.
            max_idle_time: end after that many seconds without a job.
            with_scheduler: accepted as in RQ.
            dequeue_strategy: from which queue jobs are taken.
            fork: False to import modules afresh in the process that forks jobs (and `preload` only).

        Returns:
            whether any job ran.
        """
        _check_limits(max_jobs, max_idle_time)
        as_strategy(dequeue_strategy)
        if logging_level is not None:
            set_up_logging(logging_level, date_format, log_format)
        manager = ServiceManager.take()  # before anything is forked that has no part in it
        zygote = fork_zygote() if fork and self._forks else None

        async def main() -> bool:
            try:
                return await self._work(
                    burst,
                    max_jobs=max_jobs,
                    max_idle_time=max_idle_time,
                    handle_signals=True,
                    dequeue_strategy=dequeue_strategy,
                    with_scheduler=with_scheduler,
                    zygote=zygote,
                    manager=manager,
                )
            finally:  # no connection outlives the event loop
                await store_of(self._client(), self._prefix).connection.aclose()
                self._own = None

        try:
            return self._run_in_loop(main)
        finally:
            manager.give_back()

    async def _work(
        self,
        burst: bool,
        logging_level: str | int | None = None,
        date_format: str = DATE_FORMAT,
        log_format: str = LOG_FORMAT,
        max_jobs: int | None = None,
        max_idle_time: float | None = None,
        with_scheduler: bool = False,
        dequeue_strategy: DequeueStrategy | str = DequeueStrategy.DEFAULT,
        *,
        handle_signals: bool,
        zygote: Zygote | None = None,
        manager: ServiceManager | None = None,
    ) -> bool:
        _check_limits(max_jobs, max_idle_time)
        strategy = as_strategy(dequeue_strategy)
        if self._state is not None:
            raise RuntimeError(f"worker {self.name} works already")
        if logging_level is not None:
            set_up_logging(logging_level, date_format, log_format)
        if with_scheduler:
            log.info("with_scheduler is not needed: every worker enqueues what is due")
        store = store_of(self._client(), self._prefix)
        state = self._state = State(self.options, store)
        state.request_stop(self._requested)
        executor = self._make_executor(store, zygote)
        with ExitStack() as signals:
            if handle_signals:
                self._handle_signals(signals)
            entered = True  # unless Redis says no: a request arrives even if who sent it is cancelled
            try:
                try:
                    await self._register(state)
                except AiorqError:
                    entered = False
                    raise
                await self._supervise(
                    state,
                    executor,
                    partial(
                        fetch,
                        burst=burst,
                        max_jobs=max_jobs,
                        max_idle_time=max_idle_time,
                        strategy=strategy,
                    ),
                    shows=not burst,
                    manager=manager,
                )
            finally:
                with anyio.CancelScope(shield=True):
                    await executor.close()
                    if entered:
                        await self._retire(state)
                self._told_cold = state.stop is Stop.COLD
                self._state = None
                if self._own is not None:
                    await self._own.aclose()
                    self._own = None
        return state.claimed > 0

    def _client(self) -> Redis | str | None:
        """The client to work with; a blocking one cannot do."""
        if not isinstance(self._connection, BlockingRedis):
            return self._connection
        if self._own is None:
            self._own = connect_as(describe(self._connection))
        return self._own

    def request_stop(self, cold: bool = False) -> None:
        """Ask the worker to end, from its event loop: after what runs has ended, or, with `cold`, at once.

        Jobs that are killed by a cold stop go back to the head of their queue.
        """
        self._requested = max(self._requested, Stop.COLD if cold else Stop.WARM)
        if self._state is not None:
            self._state.request_stop(self._requested)

    def _make_executor(self, store: Store, zygote: Zygote | None) -> Executor:
        return ForkExecutor(self._settings(store), zygote)

    def _run_in_loop(self, main: Callable[[], Awaitable[bool]]) -> bool:
        return anyio.run(main, backend_options={"use_uvloop": True})

    def _settings(self, store: Store) -> Settings:
        context = Context(
            self.name,
            self._serializer_path,
            store.keys.prefix,
            describe(store.connection),
            errands.NAME,
            self.options.hooks,
        )
        return Settings(context, list(self.options.path), list(self.options.preload))

    async def _supervise(
        self,
        state: State,
        executor: Executor,
        take_jobs: Callable[..., Awaitable[None]],
        *,
        shows: bool,
        manager: ServiceManager | None,
    ) -> None:
        if not await self._start(state, executor):
            return
        await register_entries(state)
        self._greet(state.store)
        async with asyncio.TaskGroup() as group:
            async with asyncio.TaskGroup() as running:
                runner = Runner(state, executor, running)
                leases = Leases(state, runner, self._boot, lambda: self._register(state))
                schedule = Schedule(state, self._boot, shows=shows)
                duties = {
                    "leases": leases.keep(),
                    "fence": leases.fence(),
                    "commands": obey(state, runner, leases, schedule),
                    "schedule": schedule.keep(),
                    "reaper": look_after(state, Errands(state, executor, running).begin),
                    "end": self._end_runs(state, runner),
                    "shutdown": self._show_shutdown(state),
                    "cron": look_after_entries(state),
                    "executor": self._end_if_broken(state, executor),
                }
                if manager is not None:
                    duties["service"] = keep_informed(state, manager, lambda: self.restart_requested)
                tasks = [group.create_task(duty, name=f"aiorq {name}") for name, duty in duties.items()]
                await take_jobs(state, runner, schedule=schedule)
                if state.running:
                    waiting = "waiting for %d jobs to end; a second signal kills them and puts them back"
                    log.info(waiting, len(state.running))
            for task in tasks:
                task.cancel()
        if self._failure is not None:
            raise self._failure

    @staticmethod
    async def _start(state: State, executor: Executor) -> bool:
        """Start what runs jobs; False when the worker is told to stop before the modules are imported."""
        starting = asyncio.ensure_future(executor.start())
        stopping = asyncio.ensure_future(state.pause(None))
        try:
            await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
            return starting.done()
        finally:
            starting.cancel()
            stopping.cancel()
            await asyncio.wait([starting, stopping])

    async def _end_if_broken(self, state: State, executor: Executor) -> None:
        self._failure = await executor.broken()
        log.error("%s; the worker ends", self._failure)
        state.request_stop(Stop.WARM)

    @staticmethod
    async def _show_shutdown(state: State) -> None:
        """Show that the worker is to end, where jobs keep it from that."""
        await state.pause(None)
        if state.running:
            name = state.options.name
            with suppress(AiorqError):
                await state.persist(lambda: workers.show_shutdown(state.store, name), "show the shutdown")

    @staticmethod
    async def _end_runs(state: State, runner: Runner) -> None:
        """Put back what has not begun when the worker is to end, and kill what takes too long."""
        await state.pause(None)
        runner.put_back_waiting()
        await state.pause(state.options.shutdown_timeout, Stop.COLD)
        if state.stop is not Stop.COLD and state.running:
            log.warning("%d jobs did not end in time; they are killed and put back", len(state.running))
        while True:
            changed = state.watch()
            runner.kill_all(KILLED_AT_STOP)
            await changed.wait()

    async def _register(self, state: State) -> None:
        fields: dict[str, str | int] = {
            "queues": ",".join(self.options.queues),
            "pid": os.getpid(),
            "hostname": socket.gethostname(),
            "ip_address": "unknown",
            "version": __version__,
            "python_version": sys.version,
            "state": "busy" if state.running else "idle",
        }
        ttl = self.options.worker_ttl + 60
        await workers.register(state.store, self.name, self._boot, self.options.queues, fields, ttl)
        await runs.prepare(state.store)

    async def _retire(self, state: State) -> None:
        # Runs are left where the worker was cancelled, and where Redis could not be asked in time to put them back;
        # their processes are dead by now.
        left = [active.run for active in state.running.values()]
        for pause in (*_SIGN_OFF, None):
            try:
                await runs.release(state.store, self.name, self.options.queues, left)
                await workers.retire(state.store, self.name, self._boot, self.options.queues)
                break
            except AiorqError as error:
                if pause is None:
                    log.warning("cannot sign off: %s", error)
                else:
                    await asyncio.sleep(pause)
        log.info("worker %s ended", self.name)

    def _greet(self, store: Store) -> None:
        log.info(
            "worker %s (pid %d, aiorq %s, Python %s) takes jobs from %s at %s, %d at a time",
            self.name,
            os.getpid(),
            __version__,
            platform.python_version(),
            ", ".join(self.options.queues),
            store.transport.where,
            self.options.concurrency,
            extra={"worker": self.name},
        )

    def _handle_signals(self, stack: ExitStack) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise ValueError("signals can be handled in the main thread only")
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal, number)
            stack.callback(loop.remove_signal_handler, number)

    def _on_signal(self, number: int, *_: Any) -> None:
        if number == signal.SIGHUP:
            log.warning("SIGHUP: finishing what runs, to start anew then")
            self.restart_requested = True
            self.request_stop()
            return
        self._signals += 1
        cold = self._signals > 1
        how = "jobs that run are killed and put back" if cold else "finishing what runs"
        log.warning("%s: %s", signal.Signals(number).name, how)
        self.request_stop(cold)


def _check_limits(max_jobs: int | None, max_idle_time: float | None) -> None:
    if max_jobs is not None and max_jobs < 1:
        raise ValueError(f"max_jobs must be at least 1, not {max_jobs}")
    if max_idle_time is not None and not max_idle_time > 0:
        raise ValueError(f"max_idle_time must be more than 0 seconds, not {max_idle_time}")


def _as_hooks(hooks: Hook | Sequence[Hook] | None) -> list[Hook]:
    if hooks is None:
        return []
    return [hooks] if isinstance(hooks, str) or callable(hooks) else list(hooks)


def _path_of(serializer: Serializer) -> str:
    path = serializer_path(serializer)
    if path is None or type(resolve_serializer(path)) is not type(serializer):
        raise ValueError(f"the serializer {serializer!r} cannot be found by name where jobs run: give its dotted path")
    return path
