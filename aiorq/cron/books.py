"""The books of a cron scheduler: what it has registered, and how it shows itself and the entries to others."""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Self, Unpack

from redis.asyncio import Redis

from aiorq.cron.config import config_name, load_config
from aiorq.cron.entries import put_all, read_all
from aiorq.cron.entry import CronEntry, CronOptions
from aiorq.cron.job import CronJob
from aiorq.cron.ticker import ENQUEUED, LOOK, Ticker
from aiorq.errors import SchedulerNotFound
from aiorq.options import DEFAULT_RESULT_TTL
from aiorq.record import decode_date, encode_date
from aiorq.seconds import Duration
from aiorq.store import crons
from aiorq.store.base import Store, store_of
from aiorq.webhook import Webhook

log = logging.getLogger("aiorq.cron")


class SchedulerBooks:
    """A cron scheduler without what makes it run."""

    def __init__(
        self,
        connection: Redis | str | None = None,
        logging_level: str | int | None = None,  # noqa: ARG002 - RQ's parameter
        name: str = "",
        *,
        prefix: str | None = None,
    ) -> None:
        """Describe a scheduler; `start` or `run` starts it.

        Args:
            connection: a `redis.asyncio.Redis`, a URL, or None for the environment's.
            logging_level: accepted as in RQ; whoever runs it sets up logging.
            name: unlike that of any other live scheduler; empty for `host:pid:6 hexadecimal digits`.
            prefix: of all keys; None for the environment's.
        """
        self._connection = connection
        self._prefix = prefix
        self.hostname = socket.gethostname()
        self.pid = os.getpid()
        self.name = name or f"{self.hostname}:{self.pid}:{secrets.token_hex(3)}"
        self.config_file = ""
        self.created_at = datetime.now(UTC)
        self._boot = secrets.token_hex(8)
        self._jobs: list[CronJob] = []
        self._configs: dict[str, list[CronJob]] = {}
        self._beaten = self._shown = 0.0
        self._stale = False

    def take_after(self, other: Any) -> None:
        """Take over what another scheduler has registered and says of itself."""
        self.hostname, self.pid, self.name = other.hostname, other.pid, other.name
        self.config_file, self.created_at = other.config_file, other.created_at
        self._jobs = [CronJob.like(job) for job in other._jobs]
        self._configs = {source: [CronJob.like(job) for job in jobs] for source, jobs in other._configs.items()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SchedulerBooks) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def store(self) -> Store:
        """Where the entries live. Connects nothing; needs a running event loop."""
        return store_of(self._connection, self._prefix)

    def register(
        self,
        func: Callable[..., Any] | str,
        queue_name: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        interval: int | None = None,
        cron: str | None = None,
        job_timeout: Duration | None = None,
        result_ttl: Duration | None = DEFAULT_RESULT_TTL,
        ttl: Duration | None = None,
        failure_ttl: Duration | None = None,
        meta: Mapping[str, Any] | None = None,
        webhooks: Sequence[Webhook] | None = None,
        name: str = "",
        **options: Unpack[CronOptions],
    ) -> CronJob:
        """Add an entry, which is put into Redis when the scheduler starts. The parameters are those of `CronJob`.

        It stays there until it is removed (`Cron.remove`); those of a module go when the module has them no more.

        Raises:
            TypeError, ValueError: something is wrong; the text names it.
            SerializationError: an argument cannot be serialised.
        """
        job = CronJob(
            queue_name,
            func,
            None,
            args,
            kwargs,
            interval,
            cron,
            job_timeout,
            result_ttl,
            ttl,
            failure_ttl,
            meta,
            webhooks,
            name,
            **options,
        )
        self.add(job)
        return job

    def add(self, job: CronEntry) -> None:
        """Add an entry that was made; a name that another one has of its function gets a number."""
        names = {known.name for known in self.get_jobs()}
        name, number = job.name, 1
        while name in names:
            if job.has_own_name:
                raise ValueError(f"name: {name!r} is registered twice")
            number += 1
            name = f"{job.name}#{number}"
        if name != job.name:
            job.rename(name, job.config)
        self._jobs.append(CronJob.like(job))

    def get_jobs(self) -> list[CronJob]:
        """The entries that were registered with this scheduler; `Cron.list` gives all that there are."""
        return [*self._jobs, *(job for jobs in self._configs.values() for job in jobs)]

    def load_config_from_file(self, config_path: str) -> None:
        """Import a module whose calls of `cron.register` are to be entries.

        Args:
            config_path: dotted name, path of a file below a folder in which modules are found, or absolute path.

        Raises:
            CronConfigError: it cannot be imported (an ImportError too).
        """
        jobs = [CronJob.like(entry) for entry in load_config(config_path)]
        self.config_file = config_path
        self._configs[config_name(config_path)] = jobs
        log.info("%d cron entries in %s", len(jobs), config_path)

    async def put(self) -> dict[str, str]:
        """Put the registered entries into Redis; what became of each: `same`, `added`, `replaced` or `removed`."""
        words = await put_all(self.store, self._jobs, "")
        for source, jobs in self._configs.items():
            words |= await put_all(self.store, jobs, source)
        return words

    async def enqueue_jobs(self) -> list[CronJob]:
        """Put the registered entries into Redis and deal once with everything that is due.

        Returns:
            the entries of which this scheduler enqueued a job.
        """
        await self.put()
        done, _ = await Ticker(self.store).tick()
        names = {ticked.name for ticked in done if ticked.word in ENQUEUED}
        return [job for job in await read_all(self.store) if job.name in names]

    async def calculate_sleep_interval(self) -> float:
        """Seconds to the next slot of any entry, 60 at most; 0 when one is due."""
        agenda = await crons.look(self.store, 1)
        if agenda.due:
            return 0.0
        return LOOK if agenda.later is None else min(LOOK, agenda.later - agenda.moment)

    async def heartbeat(self) -> None:
        """Show that the scheduler is alive, and the entries with their next and last runs, as RQ does."""
        await self._beat(begins=False)

    save = heartbeat  # RQ's name for a part of it

    async def register_birth(self) -> None:
        """Enter the scheduler among those that are alive.

        Raises:
            DuplicateSchedulerError: another one of that name is.
        """
        await self._beat(begins=True)

    async def register_death(self) -> None:
        """Take the scheduler out of those that are alive."""
        await crons.leave(self.store, self.name)

    async def last_heartbeat(self) -> datetime | None:
        """When it last showed that it is alive; None when it is not among those that are."""
        moment = await crons.last_heartbeat(self.store, self.name)
        return None if moment is None else datetime.fromtimestamp(moment, UTC)

    async def _beat(self, *, begins: bool) -> None:
        jobs = await read_all(self.store)
        fields: dict[str, str | int] = {
            "hostname": self.hostname,
            "pid": self.pid,
            "name": self.name,
            "created_at": encode_date(self.created_at),
            "config_file": self.config_file,
            "cron_jobs": json.dumps([job.to_dict() for job in jobs]),
        }
        await crons.beat(self.store, self.name, self._boot, fields, begins=begins)
        self._beaten = self._shown = time.monotonic()
        self._stale = False

    @classmethod
    async def fetch(cls, name: str, connection: Redis | str | None = None, *, prefix: str | None = None) -> Self:
        """A scheduler that is alive, RQ's too: its name, host, pid, config and begin.

        Raises:
            SchedulerNotFound: there is none of that name.
        """
        made = cls(connection, name=name, prefix=prefix)
        fields = await crons.scheduler(made.store, name)
        if not fields:
            raise SchedulerNotFound(f"no cron scheduler {name!r} is alive")
        made.hostname, made.config_file = fields.get("hostname", ""), fields.get("config_file", "")
        made.pid = int(fields["pid"]) if fields.get("pid", "").isdecimal() else 0
        with suppress(ValueError):
            made.created_at = decode_date(fields.get("created_at", "")) or made.created_at
        return made

    @classmethod
    async def all(
        cls, connection: Redis | str | None = None, cleanup: bool = True, *, prefix: str | None = None
    ) -> list[Self]:
        """All schedulers that are alive, RQ's too; with `cleanup` those that died are taken out of the books first."""
        store = store_of(connection, prefix)
        found = []
        for name in await crons.schedulers(store, cleanup=cleanup):
            with suppress(SchedulerNotFound):
                found.append(await cls.fetch(name, store.connection, prefix=store.keys.prefix))
        return found
