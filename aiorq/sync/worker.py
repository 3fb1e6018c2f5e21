"""Workers for scripts: RQ's `Worker(...).work()`. It is the worker of `aiorq`, started in an event loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any, ClassVar, cast

import anyio
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from aiorq.call import import_name
from aiorq.keys import Keys
from aiorq.record import JobRecord
from aiorq.store.connection import connect_sync_as, describe
from aiorq.sync.job import Job
from aiorq.sync.queue import Queue
from aiorq.sync.worker_info import WorkerInfo, count_workers, find_worker, find_workers, worker_keys
from aiorq.worker.logs import DATE_FORMAT, LOG_FORMAT
from aiorq.worker.options import DequeueStrategy
from aiorq.worker.pool import Pool
from aiorq.worker.simple import InProcess
from aiorq.worker.supervisor import Supervisor
from aiorq.worker_info import WorkerStatus

__all__ = [
    "DequeueStrategy",
    "RandomWorker",
    "RoundRobinWorker",
    "SimpleWorker",
    "SpawnWorker",
    "Worker",
    "WorkerInfo",
    "WorkerPool",
    "WorkerStatus",
]


class Worker(Supervisor):
    """Takes jobs from queues and runs each in a process of its own. It has the options of `aiorq.Worker`."""

    all = staticmethod(find_workers)
    all_keys = staticmethod(worker_keys)
    count = staticmethod(count_workers)
    find_by_key = staticmethod(find_worker)
    _job_kind: ClassVar[type[JobRecord]] = Job
    _strategy: ClassVar[DequeueStrategy] = DequeueStrategy.DEFAULT

    @property
    def queues(self) -> list[Queue]:
        """The queues, in the order that they were given in."""
        return self._make_queues(Queue)

    @property
    def info(self) -> WorkerInfo:
        """What Redis says of it now, as of any worker (`Worker.all`); as long as it works, and for a minute after that.

        What RQ's workers have of this under the same names is asked for in the same way.
        """
        connection, kind = self._connection, self._job_class
        if isinstance(kind, str):
            kind = cast("Any", import_name(kind))
        info = WorkerInfo(
            self.name,
            connect_sync_as(describe(connection)) if isinstance(connection, AsyncRedis) else connection,
            job_class=kind if isinstance(kind, type) and issubclass(kind, Job) else None,
            serializer=self.serializer,
            prefix=self._prefix,
        )
        info.refresh()
        return info

    @property
    def key(self) -> str:
        """The key of its hash."""
        return Keys(self._prefix).worker(self.name)

    def get_state(self) -> str:
        """`idle`, `busy`, `suspended` or `started`; `?` where it does not work."""
        return self.info.get_state()

    def get_current_job_id(self) -> str | None:
        """As `WorkerInfo.get_current_job_id`."""
        return self.info.get_current_job_id()

    def get_current_job(self) -> Job[Any] | None:
        """As `WorkerInfo.get_current_job`."""
        return self.info.get_current_job()

    @property
    def successful_job_count(self) -> int:
        """How many of its jobs have succeeded."""
        return self.info.successful_job_count

    @property
    def failed_job_count(self) -> int:
        """How many of its jobs have failed."""
        return self.info.failed_job_count

    @property
    def total_working_time(self) -> float:
        """Seconds that its jobs have taken together."""
        return self.info.total_working_time

    @property
    def birth_date(self) -> datetime | None:
        """When it began to work; None as long as it has not."""
        return self.info.birth_date

    @property
    def last_heartbeat(self) -> datetime | None:
        """When it was last heard of."""
        return self.info.last_heartbeat

    def work(
        self,
        burst: bool = False,
        logging_level: str | int | None = None,
        date_format: str = DATE_FORMAT,
        log_format: str = LOG_FORMAT,
        max_jobs: int | None = None,
        max_idle_time: float | None = None,
        with_scheduler: bool = False,
        dequeue_strategy: DequeueStrategy | str | None = None,
    ) -> bool:
        """Work until told to stop. SIGINT, SIGTERM and SIGHUP end it, where this is the main thread.

        In another thread, and beside a running event loop as in a notebook, signals are left alone: a job's function
        then finds modules imported afresh, and a burst ends by itself.

        Args:
            burst: end as soon as the queues are empty.
            logging_level: log to the terminal from this level on, unless a handler is set up already; None to leave
                logging alone.
            date_format: of times in that log.
            log_format: of its lines.
            max_jobs: end after that many jobs.
            max_idle_time: end after that many seconds without a job.
            with_scheduler: accepted as in RQ: every worker does what RQ's scheduler does.
            dequeue_strategy: from which queue jobs are taken, as for `aiorq.Worker.work`; None for that of the class.

        Returns:
            whether any job ran.

        Raises:
            ValueError: an unknown strategy, or a limit out of range.
            WorkerExistsError: a live worker has the same name.
            ZygoteError: as for `aiorq.Worker.work`.
            ConnectionLostError: Redis cannot be asked at the start. Later on the worker waits such trouble out.
            RuntimeError: this worker works already.
        """
        options = (burst, logging_level, date_format, log_format, max_jobs, max_idle_time, with_scheduler)
        strategy = dequeue_strategy or self._strategy
        if threading.current_thread() is threading.main_thread() and asyncio._get_running_loop() is None:
            return self.run(*options, strategy)
        main = partial(self._work, *options, strategy, handle_signals=False)
        return _run_apart(partial(anyio.run, main, backend_options={"use_uvloop": True}))


class SpawnWorker(Worker):
    """A `Worker` whose jobs inherit nothing of this process: theirs come from a fresh interpreter (RQ's name)."""

    _forks = False


class SimpleWorker(InProcess, Worker):
    """Takes jobs from queues and runs one at a time in this process, without a fork. It has the options of `Worker`."""


class RoundRobinWorker(Worker):
    """A `Worker` that takes from one queue after the other."""

    _strategy = DequeueStrategy.ROUND_ROBIN


class RandomWorker(Worker):
    """A `Worker` that takes from any of its queues."""

    _strategy = DequeueStrategy.RANDOM


class WorkerPool(Pool):
    """Runs several workers, each in a process of its own; as `aiorq.WorkerPool`."""

    _worker_kind = Worker

    @property
    def queues(self) -> list[Queue]:
        """The queues, in their order."""
        prefix, serializer = self._options.get("prefix"), self._options.get("serializer")
        source = self._source
        connection: Redis | str | None = connect_sync_as(source) if isinstance(source, dict) else source
        return [Queue(name, connection, serializer=serializer, prefix=prefix) for name in self._queue_names]


def _run_apart(call: Callable[[], bool]) -> bool:
    """Call in a thread of its own, where an event loop can run."""
    if asyncio._get_running_loop() is None:
        return call()
    with ThreadPoolExecutor(1) as elsewhere:
        return elsewhere.submit(call).result()
