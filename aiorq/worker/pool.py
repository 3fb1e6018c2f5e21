"""Several workers under one process, which starts them, starts anew the ones that end, and stops them together.

    pool      this process: single-threaded, no event loop, no connection
    workers   forked from it, so that each has every module that was imported here; see `Worker.run`

Each worker leads a process group: the terminal's Ctrl-C reaches the pool alone, which then decides what its workers are
told. On Linux they end with the pool, however it ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from enum import Enum
from typing import Any, ClassVar, Final, NamedTuple, NoReturn

from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from aiorq.errors import AiorqError
from aiorq.execution.zygote import die_with_parent
from aiorq.process_title import show_title
from aiorq.queue import Queue
from aiorq.record import JobRecord
from aiorq.store.connection import AnyRedis, connect_as, describe
from aiorq.worker.logs import DATE_FORMAT, LOG_FORMAT, set_up_logging
from aiorq.worker.options import AnyQueue, DequeueStrategy, NamedQueue, as_queues, as_strategy, random_name
from aiorq.worker.service import ServiceManager
from aiorq.worker.supervisor import Hook, Supervisor
from aiorq.worker.worker import Worker

log = logging.getLogger(__name__)

MAX_WORKERS: Final = 1000
_SETTLED: Final = 5.0
"""Seconds that a worker must have lived for its end to be no sign that the next one will fail too."""
_PAUSE: Final = 0.5
"""Seconds before workers that ended sooner than that are started for the second time; then twice as long each time."""
_LONGEST_PAUSE: Final = 30.0
_STOPS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_HEEDED: Final = (*_STOPS, signal.SIGCHLD)
_ORPHANED: Final = signal.SIGUSR2
"""What a worker gets when the pool has died: it then stops cold."""
_ENDED: Final = os.WEXITED | os.WNOHANG | os.WNOWAIT


class WorkerData(NamedTuple):
    """A worker of a pool."""

    name: str
    pid: int
    started: float
    """When it was forked (`time.monotonic`)."""


class Pool:
    """Runs several workers, each in a process of its own, whatever API they belong to."""

    _worker_kind: ClassVar[type[Supervisor]] = Supervisor

    class Status(Enum):
        """What a pool does."""

        IDLE = 1
        """It was not started yet."""
        STARTED = 2
        STOPPED = 3
        """It was told to stop, or has ended."""

    def __init__(
        self,
        queues: AnyQueue | Iterable[AnyQueue],
        connection: AnyRedis | str | None = None,
        num_workers: int = 1,
        worker_class: type[Supervisor] | None = None,
        serializer: object | None = None,
        job_class: type[JobRecord] | str | None = None,
        queue_class: type[NamedQueue] | str | None = None,
        exception_handlers: Hook | Sequence[Hook] | None = None,
        *,
        prefix: str | None = None,
        **options: Any,
    ) -> None:
        """Describe a pool; `start` starts it.

        Args:
            queues: names or queue objects, in the order in which each worker takes jobs from them.
            connection: a URL, or None: that of the first queue object, else the environment's. Of a client the
                settings are taken over, as far as they are plain values; each worker makes connections of its own.
            num_workers: how many workers, 1 to 1000.
            worker_class: a class derived from `Worker`; None for that.
            serializer: of the queues; None for that of the first queue object, else pickle.
            job_class: as for `Worker`.
            queue_class: as for `Worker`.
            exception_handlers: as for `Worker`.
            prefix: of all keys; None for that of the first queue object, else the environment's.
            options: further options of `worker_class`: `concurrency`, `lease`, `preload` and so on.

        Raises:
            ValueError, TypeError: an option that `worker_class` refuses, or a number of workers out of range.
        """
        if not 1 <= num_workers <= MAX_WORKERS:
            raise ValueError(f"num_workers must be 1 to {MAX_WORKERS}, not {num_workers}")
        given = as_queues(queues)
        first = next((queue for queue in given if not isinstance(queue, str)), None)
        source: object = first._connection if connection is None and first is not None else connection
        if not isinstance(source, (Redis, BlockingRedis, str, type(None))):
            raise TypeError(f"connection must be a client of redis-py's, a URL or None, not {type(source).__name__}")
        # A client belongs to the event loop that used it, and its sockets to this process.
        self._source = describe(source) if isinstance(source, (Redis, BlockingRedis)) else source
        self._queue_names = [queue if isinstance(queue, str) else queue.name for queue in given]
        if first is not None:
            serializer = serializer or first.serializer
            prefix = first._prefix if prefix is None else prefix
        named = {
            "serializer": serializer,
            "job_class": job_class,
            "queue_class": queue_class,
            "exception_handlers": exception_handlers,
            "prefix": prefix,
        }
        self._options = {**options, **{name: value for name, value in named.items() if value is not None}}
        self.name = random_name()
        self.num_workers = num_workers
        self.worker_class = worker_class or self._worker_kind
        self.status = self.Status.IDLE
        self.worker_dict: dict[str, WorkerData] = {}
        """The workers that are not known to have ended, by name."""
        self.failures = 0
        """How many workers have ended otherwise than they should."""
        self.restart_requested = False
        """Whether SIGHUP came: the pool ends as at a first SIGTERM, and whoever started it is to start it anew."""
        self._signals = 0
        self._heard: deque[str] = deque()
        self._told_end = False
        self._strategy = DequeueStrategy.DEFAULT
        self._fork = True
        self._burst = False
        self._pause = 0.0
        self._not_before = 0.0
        self._judged = 0.0
        self._make(random_name())  # so that a bad option is refused here and not in each worker

    @property
    def number_of_active_workers(self) -> int:
        """How many workers are not known to have ended."""
        return len(self.worker_dict)

    @property
    def cold(self) -> bool:
        """Whether the pool was told to stop without waiting for jobs."""
        return self._signals > 1

    def start(
        self,
        burst: bool = False,
        logging_level: str | int | None = "INFO",
        *,
        date_format: str = DATE_FORMAT,
        log_format: str = LOG_FORMAT,
        dequeue_strategy: DequeueStrategy | str = DequeueStrategy.DEFAULT,
        fork: bool = True,
    ) -> None:
        """Run the workers until told to stop: the way for scripts.

        SIGINT and SIGTERM let all workers finish what runs; a second one has what runs killed and put back. SIGHUP does
        as the first, with `restart_requested` set. Workers that end are started anew, after a pause that grows where
        they end within seconds.

        Must be called from the main thread, outside of any event loop, and best before any thread was started.

        Args:
            burst: each worker ends once the queues are empty, and is not started anew; end with the last one.
            logging_level: log to the terminal from this level on, unless a handler is set up already; None to leave
                logging alone.
            date_format: of times in that log.
            log_format: of its lines.
            dequeue_strategy: from which queue each worker takes jobs; as for `Worker.work`.
            fork: False to import modules afresh in the processes that fork jobs; as for `Worker.run`.

        Raises:
            ValueError: an unknown strategy.
            RuntimeError: called from another thread, or within an event loop.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a pool of workers can be started in the main thread only")
        if asyncio._get_running_loop() is not None:
            raise RuntimeError("a pool of workers cannot be started within an event loop: it forks its process")
        self._strategy, self._fork = as_strategy(dequeue_strategy), fork
        if logging_level is not None:
            set_up_logging(logging_level, date_format, log_format)
        if threading.active_count() > 1:
            others = ", ".join(thread.name for thread in threading.enumerate() if thread.name != "MainThread")
            log.warning("this process is forked although it has threads (%s): what they hold stays locked", others)
        log.info("pool %s (pid %d) starts %d workers", self.name, os.getpid(), self.num_workers)
        self._burst, self._signals, self.restart_requested, self._told_end = burst, 0, False, False
        self.status = self.Status.STARTED
        manager = ServiceManager.take()
        with ExitStack() as stack:
            stack.callback(manager.give_back)
            woken = self._handle_signals(stack)
            stack.callback(self._abandon)
            self.start_workers(burst)
            manager.ready(self._describe())
            while True:
                self._tell_heard()
                self.check_workers(respawn=not burst)
                self._inform(manager)
                if not self.worker_dict and (burst or self.status is self.Status.STOPPED):
                    break
                self._wait(woken, manager.seconds)
        self.status = self.Status.STOPPED
        self._tell_heard()
        log.info("pool %s ended", self.name)

    def start_workers(self, burst: bool = False) -> None:
        """Start `num_workers` workers."""
        for _ in range(self.num_workers):
            self.start_worker(burst)

    def start_worker(self, burst: bool = False) -> None:
        """Start one more worker, unless the pool was told to stop."""
        name = random_name()
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal that comes meanwhile is heard by this process once the worker is known to it, and by the worker once
        # it can tell what the signal means.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEEDED)
        try:
            if self.status is self.Status.STOPPED:
                return
            pool, started = os.getpid(), time.monotonic()
            pid = os.fork()
            if pid == 0:
                self._be_worker(name, pool, burst, before)
            with suppress(OSError):  # the worker does it too: who is later may be too late
                os.setpgid(pid, pid)
            self.worker_dict[name] = WorkerData(name, pid, started)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        log.info("worker %s has pid %d", name, pid)

    def stop_workers(self, cold: bool = False) -> None:
        """Tell all workers to end: after what runs has ended, or, with `cold`, at once, and put it back."""
        # Two signals of one kind are one if the worker has not heard of the first yet.
        number = signal.SIGINT if cold else signal.SIGTERM
        for data in list(self.worker_dict.values()):
            with suppress(ProcessLookupError):
                os.kill(data.pid, number)

    def request_stop(self, cold: bool = False) -> None:
        """Tell all workers to end, as `stop_workers` does, and the pool with them."""
        self.status = self.Status.STOPPED
        self.stop_workers(cold)

    def reap_workers(self) -> None:
        """Take note of the workers that have ended."""
        for data in list(self.worker_dict.values()):
            try:
                if os.waitid(os.P_PID, data.pid, _ENDED) is None:
                    continue
                # First out of the table: from the reaping on the id may be somebody else's.
                del self.worker_dict[data.name]
                _, status = os.waitpid(data.pid, 0)
            except ChildProcessError:  # somebody else has reaped it
                self.worker_dict.pop(data.name, None)
                status = 0
            self._judge(data, os.waitstatus_to_exitcode(status))

    def check_workers(self, respawn: bool = True) -> None:
        """Take note of the workers that have ended, and start as many anew, if it is time."""
        self.reap_workers()
        while respawn and self._may_start():
            self.start_worker(self._burst)

    def _may_start(self) -> bool:
        missing = len(self.worker_dict) < self.num_workers and self.status is not self.Status.STOPPED
        return missing and time.monotonic() >= self._not_before

    def _judge(self, data: WorkerData, code: int) -> None:
        now = time.monotonic()
        lived = now - data.started
        expected = self.status is self.Status.STOPPED or (self._burst and code == 0)
        self.failures += code != 0
        text = "worker %s (pid %d) ended after %.1f s with exit code %d"
        log.log(logging.INFO if expected else logging.WARNING, text, data.name, data.pid, lived, code)
        if lived >= _SETTLED:
            self._pause = 0.0
        elif data.started >= self._judged:  # of workers that were started together, one end is judged
            self._judged = now
            self._not_before = now + self._pause
            self._pause = min(max(2 * self._pause, _PAUSE), _LONGEST_PAUSE)

    def _describe(self) -> str:
        ending = "ending, " if self.status is self.Status.STOPPED else ""
        return f"{ending}{len(self.worker_dict)} of {self.num_workers} workers, for {', '.join(self._queue_names)}"

    def _inform(self, manager: ServiceManager) -> None:
        """Tell the service manager, and the title of the process, how the pool does."""
        manager.alive()
        if self.status is self.Status.STOPPED and not self._told_end:
            self._told_end = True
            if self.restart_requested:
                manager.reloading()
            else:
                manager.stopping(self._describe())
        manager.show(self._describe())
        show_title(f"pool {self.name}: {self._describe()}")

    def _wait(self, woken: int, seconds: float | None) -> None:
        """Wait for a signal, the end of a worker or the end of a pause, so many seconds at most (None for ever)."""
        if not self._burst and self.status is self.Status.STARTED and len(self.worker_dict) < self.num_workers:
            pause = max(0.0, self._not_before - time.monotonic())
            seconds = pause if seconds is None else min(pause, seconds)
        if select.select([woken], [], [], seconds)[0]:
            os.read(woken, 4096)

    def _handle_signals(self, stack: ExitStack) -> int:
        """Hear signals until the stack is closed; returns a descriptor that can be read once one has come."""
        woken, waker = os.pipe()
        stack.callback(os.close, woken)
        stack.callback(os.close, waker)
        os.set_blocking(woken, False)
        os.set_blocking(waker, False)
        stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(waker, warn_on_full_buffer=False))
        for number in _HEEDED:
            handler = self._on_child if number == signal.SIGCHLD else self._on_signal
            stack.callback(signal.signal, number, signal.signal(number, handler) or signal.SIG_DFL)
        return woken

    @staticmethod
    def _on_child(*_: Any) -> None:
        """Nothing: that there is a handler wakes the pool."""

    def _on_signal(self, number: int, *_: Any) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGHUP:
            self.restart_requested = True
            if self.status is not self.Status.STOPPED:
                self._heard.append(f"{name}: {len(self.worker_dict)} workers finish what runs, to be started anew then")
                self.request_stop()
            return
        self._signals += 1
        how = "what runs is killed and put back" if self.cold else "finishing what runs"
        self._heard.append(f"{name}: {len(self.worker_dict)} workers end: {how}")
        self.request_stop(self.cold)

    def _tell_heard(self) -> None:
        """Log what signals have said: they may come in the middle of another line."""
        while self._heard:
            log.warning("%s", self._heard.popleft())

    def _abandon(self) -> None:
        """Kill what is left where `start` ends by an error."""
        for data in list(self.worker_dict.values()):
            with suppress(OSError):
                os.kill(data.pid, signal.SIGKILL)
                os.waitpid(data.pid, 0)
        self.worker_dict.clear()

    def _connection(self) -> Redis | str | None:
        return connect_as(self._source) if isinstance(self._source, dict) else self._source

    def _make(self, name: str) -> Supervisor:
        return self.worker_class(self._queue_names, name=name, connection=self._connection(), **self._options)

    def _be_worker(self, name: str, pool: int, burst: bool, mask: Iterable[int]) -> NoReturn:
        code = 1
        try:
            with suppress(OSError):
                os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            worker = self._make(name)
            signal.signal(_ORPHANED, lambda *_: worker.request_stop(cold=True))
            die_with_parent(pool, _ORPHANED)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            worker.run(burst=burst, dequeue_strategy=self._strategy, fork=self._fork)
            code = 0
        except AiorqError as error:  # whose text says all there is to know
            log.error("worker %s: %s", name, error)  # noqa: TRY400 - no traceback
        except Exception:  # nothing above this says it
            log.exception("worker %s", name)
        finally:
            # What the script has planned for its own end is not for its workers to do.
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)


class WorkerPool(Pool):
    """Runs several workers, each in a process of its own."""

    _worker_kind = Worker

    @property
    def queues(self) -> list[Queue]:
        """The queues, in their order."""
        prefix, serializer = self._options.get("prefix"), self._options.get("serializer")
        return [Queue(name, self._connection(), serializer=serializer, prefix=prefix) for name in self._queue_names]
