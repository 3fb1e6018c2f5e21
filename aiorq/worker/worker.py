"""The workers of the async API; `supervisor` is what they are made of."""

from __future__ import annotations

from typing import ClassVar

from aiorq.job import Job
from aiorq.queue import Queue
from aiorq.record import JobRecord
from aiorq.worker.logs import DATE_FORMAT, LOG_FORMAT
from aiorq.worker.options import DequeueStrategy
from aiorq.worker.supervisor import Supervisor
from aiorq.worker_info import count_workers, find_worker, find_workers, worker_keys


class Worker(Supervisor):
    """Takes jobs from queues and runs each in a process of its own."""

    all = staticmethod(find_workers)
    all_keys = staticmethod(worker_keys)
    count = staticmethod(count_workers)
    find_by_key = staticmethod(find_worker)
    _job_kind: ClassVar[type[JobRecord]] = Job

    @property
    def queues(self) -> list[Queue]:
        """The queues, in the order that they were given in."""
        return self._make_queues(Queue)

    async def work(
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
        handle_signals: bool = False,
    ) -> bool:
        """Work until told to stop, in the running event loop.

        Args:
            burst: end as soon as the queues are empty.
            logging_level: log to the terminal from this level on, unless a handler is set up already; None to leave
                logging alone.
            date_format: of times in that log.
            log_format: of its lines.
            max_jobs: end after that many jobs.
            max_idle_time: end after that many seconds without a job.
            with_scheduler: accepted as in RQ: every worker does what RQ's scheduler does.
            dequeue_strategy: `default` for the queues in strict order; `round_robin` for one after the other, the one
                that was served last at the end; `random` for any. Of several jobs that are taken at once, the last two
                take one from each queue in turn.
            handle_signals: end at SIGINT and SIGTERM: warm at the first, cold at the second; and warm at SIGHUP, with
                `restart_requested` set. Main thread only.

        Returns:
            whether any job ran.

        Raises:
            ValueError: an unknown strategy, or a limit out of range.
            WorkerExistsError: a live worker has the same name.
            ZygoteError: a module cannot be preloaded; or aiorq was upgraded on the disk, and the process that forks
                jobs, which died, cannot be started anew: the worker has ended in order, and is to be started again.
            ConnectionLostError: Redis cannot be asked at the start. Later on the worker waits such trouble out.
            RuntimeError: this worker works already.
        """
        return await self._work(
            burst,
            logging_level,
            date_format,
            log_format,
            max_jobs,
            max_idle_time,
            with_scheduler,
            dequeue_strategy,
            handle_signals=handle_signals,
        )


class SpawnWorker(Worker):
    """A `Worker` whose jobs inherit nothing of this process: theirs come from a fresh interpreter (RQ's name)."""

    _forks = False
