"""The cron scheduler: a process, or a part of one, that registers entries, looks after all that there are, and is seen.

It keeps nothing to itself: where there are several, or one is killed at any point, each slot is dealt with once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import Any, Final, Unpack

import anyio
from redis.asyncio import Redis

from aiorq.cron.config import config_name, load_config, take_registered
from aiorq.cron.entries import put_all, read_all
from aiorq.cron.job import CronJob, CronOptions
from aiorq.cron.ticker import ENQUEUED, LOOK, Ticked, Ticker
from aiorq.errors import AiorqError, SchedulerNotFound
from aiorq.options import DEFAULT_RESULT_TTL
from aiorq.record import decode_date, encode_date
from aiorq.seconds import Duration
from aiorq.store import crons
from aiorq.store.base import Store, store_of
from aiorq.webhook import Webhook

log = logging.getLogger("aiorq.cron")

_BEAT: Final = 50.0
"""Seconds between two heartbeats; RQ takes a scheduler for dead after 120."""
_SIGN_OFF: Final = 2.0
"""Seconds that a scheduler which ends tries to say so; otherwise it is forgotten after two minutes."""
_SHOW: Final = 5.0
"""Seconds after which the times of entries are shown anew, where they have changed."""


class CronScheduler:
    """Looks after the cron entries in Redis, with RQ's names."""

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
        self._stop = asyncio.Event()
        self._beaten = self._shown = 0.0
        self._stale = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CronScheduler) and other.name == self.name

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

    def add(self, job: CronJob) -> None:
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
        self._jobs.append(job)

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
        jobs = load_config(config_path)
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

    def request_stop(self) -> None:
        """Ask a scheduler that runs to end, from its event loop."""
        self._stop.set()

    async def start(self, *, handle_signals: bool = False) -> None:
        """Register the entries and deal with slots as they come, until told to stop.

        Args:
            handle_signals: end at SIGINT and SIGTERM. Main thread only.

        Raises:
            DuplicateSchedulerError: a live scheduler has the same name.
            ConnectionLostError: Redis cannot be asked at the start. Later on trouble is waited out.
        """
        with ExitStack() as signals:
            if handle_signals:
                self._handle_signals(signals)
            await self.register_birth()
            try:
                await self.put()
                await self.heartbeat()
                log.info("cron scheduler %s looks after the entries at %s", self.name, self.store.transport.where)
                ticking = asyncio.ensure_future(Ticker(self.store).run(self.after))
                stopping = asyncio.ensure_future(self._stop.wait())
                try:
                    await asyncio.wait([ticking, stopping], return_when=asyncio.FIRST_COMPLETED)
                    if ticking.done():
                        await ticking
                finally:
                    ticking.cancel()
                    stopping.cancel()
                    await asyncio.wait([ticking, stopping])
            finally:
                with anyio.move_on_after(_SIGN_OFF, shield=True):
                    try:
                        await self.register_death()
                    except AiorqError as error:
                        log.warning("cannot sign off: %s", error)
                log.info("cron scheduler %s ended", self.name)

    def run(self) -> None:
        """`start` in an event loop of its own: the way for scripts. SIGINT and SIGTERM end it."""

        async def main() -> None:
            try:
                await self.start(handle_signals=True)
            finally:  # no connection outlives the event loop
                await self.store.connection.aclose()

        anyio.run(main, backend_options={"use_uvloop": True})

    def _handle_signals(self, stack: ExitStack) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise ValueError("signals can be handled in the main thread only")
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.request_stop)
            stack.callback(loop.remove_signal_handler, number)

    async def after(self, done: list[Ticked]) -> None:
        """Show what was done, where it is time."""
        self._stale = self._stale or bool(done)
        now = time.monotonic()
        if now - self._beaten >= _BEAT or (self._stale and now - self._shown >= _SHOW):
            await self.heartbeat()

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
    async def fetch(
        cls, name: str, connection: Redis | str | None = None, *, prefix: str | None = None
    ) -> CronScheduler:
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
    ) -> list[CronScheduler]:
        """All schedulers that are alive, RQ's too; with `cleanup` those that died are taken out of the books first."""
        store = store_of(connection, prefix)
        found = []
        for name in await crons.schedulers(store, cleanup=cleanup):
            with suppress(SchedulerNotFound):
                found.append(await cls.fetch(name, store.connection, prefix=store.keys.prefix))
        return found


def create_cron(connection: Redis | str | None = None, *, prefix: str | None = None) -> CronScheduler:
    """A scheduler with all entries that were registered with `cron.register` since this was last called."""
    scheduler = CronScheduler(connection, prefix=prefix)
    for job in take_registered():
        scheduler.add(job)
    return scheduler
