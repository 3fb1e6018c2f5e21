"""A cron scheduler for scripts: that of `aiorq.cron`, started in an event loop of its own."""

from __future__ import annotations

from redis import Redis

from aiorq.cron import scheduler
from aiorq.cron.config import take_registered
from aiorq.store.connection import connect_as, describe
from aiorq.sync.cron.books import SchedulerBooks


class CronScheduler(SchedulerBooks):
    """Looks after the cron entries in Redis, with RQ's names."""

    def start(self) -> None:
        """Register the entries and deal with slots as they come, until SIGINT or SIGTERM. Main thread only.

        Raises:
            DuplicateSchedulerError: a live scheduler has the same name.
            ConnectionLostError: Redis cannot be asked at the start. Later on trouble is waited out.
        """
        source = self._connection
        connection = connect_as(describe(source)) if isinstance(source, Redis) else source
        running = scheduler.CronScheduler(connection, name=self.name, prefix=self._prefix)
        running.take_after(self)
        running.run()


def create_cron(connection: Redis | str | None = None, *, prefix: str | None = None) -> CronScheduler:
    """A scheduler with all entries that were registered with `cron.register` since this was last called."""
    made = CronScheduler(connection, prefix=prefix)
    for job in take_registered():
        made.add(job)
    return made
