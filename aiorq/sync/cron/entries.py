"""The cron entries in Redis: what there is, and what can be done with it."""
# Made of aiorq/cron/entries.py by tests/sync/generate.py: change that one.

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Unpack

from redis import Redis

from aiorq.cron.definition import Definition
from aiorq.cron.entry import CronEntry, CronOptions
from aiorq.errors import CorruptJobError, DuplicateJobError, NoSuchCronJobError, StoreError
from aiorq.options import DEFAULT_RESULT_TTL
from aiorq.seconds import Duration
from aiorq.status import JobStatus
from aiorq.store import crons
from aiorq.store.base import Store
from aiorq.store.blocking import drive, store_of
from aiorq.sync.cron.job import CronJob
from aiorq.sync.job import Job
from aiorq.webhook import Webhook

log = logging.getLogger("aiorq.cron")

_ATTEMPTS: Final = 10  # at a call for a definition that others replace meanwhile


class Cron:
    """The cron entries below one prefix. It needs no scheduler; but only a process that ticks enqueues their jobs."""

    def __init__(self, connection: Redis | str | None = None, *, prefix: str | None = None) -> None:
        """Name the place; nothing is asked.

        Args:
            connection: a `redis.Redis`, a URL, or None for the environment's.
            prefix: of all keys; None for the environment's.
        """
        self._connection = connection
        self._prefix = prefix

    @property
    def store(self) -> Store:
        """Where the entries live. Connects nothing."""
        return store_of(self._connection, self._prefix)

    def set(
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
        """Add an entry, or replace the one of that name, in one atomic step. The parameters are those of `CronJob`.

        An entry that runs at the same times as before keeps its next slot; a paused one stays paused.

        Returns:
            the entry, with what is known of it.

        Raises:
            TypeError, ValueError: something is wrong; the text names it.
            SerializationError: an argument cannot be serialised.
            StoreError, QueueFullError, ConnectionLostError: Redis refuses, or cannot be asked.
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
        put(self.store, job)
        return self.get(job.name)

    def get(self, name: str) -> CronJob:
        """An entry, with its next and its last run.

        Raises:
            NoSuchCronJobError: there is none of that name.
            StoreError: it cannot be read.
        """
        found = drive(crons.read(self.store, [name]))
        if not found:
            raise NoSuchCronJobError(name)
        try:
            return CronJob.from_kept(found[0])
        except ValueError as error:
            raise StoreError(f"the cron entry {name!r} cannot be read: {error}") from error

    def pause(self, name: str) -> bool:
        """Let the slots of an entry pass without a job until `resume`; returns False when it was paused already.

        Raises:
            NoSuchCronJobError: there is none of that name.
        """
        word = drive(crons.pause(self.store, name))
        if word == "missing":
            raise NoSuchCronJobError(name)
        return word == "paused"

    def resume(self, name: str) -> bool:
        """Let an entry run again, from its first slot after now on; returns False when it was not paused.

        Raises:
            NoSuchCronJobError: there is none of that name.
        """
        for _ in range(_ATTEMPTS):
            definition = (self.get(name)).definition
            moment = (drive(crons.look(self.store, 0))).moment
            first = definition.first_after(moment)
            word = drive(crons.resume(self.store, name, definition.version, first, definition.interval))
            if word == "missing":
                raise NoSuchCronJobError(name)
            if word != "changed":
                return word == "resumed"
        raise StoreError(f"the cron entry {name!r} changes all the time; nothing was done")

    def run_now(self, name: str) -> Job[Any]:
        """Enqueue a job of an entry now, whatever the time and even if it is paused; its slots stay as they are.

        Returns:
            the job.

        Raises:
            NoSuchCronJobError: there is none of that name.
            DuplicateJobError: its jobs have one id, and a job of that id is there.
            StoreError, CorruptJobError: a key that it needs is of another type; nothing was enqueued.
        """
        store = self.store
        for _ in range(_ATTEMPTS):
            definition = (self.get(name)).definition
            call = definition.call()
            word, _moment = drive(crons.run(store, name, definition.version, call))
            if word == "missing":
                raise NoSuchCronJobError(name)
            if word == "changed":
                continue
            _check(word, call.id, definition)
            return Job.fetch(call.id, store.connection, prefix=store.keys.prefix)
        raise StoreError(f"the cron entry {name!r} changes all the time; nothing was done")

    def remove(self, name: str) -> bool:
        """Remove an entry; returns whether there was one. Its jobs stay, and what is known of them.

        One that a module registers is there again when that module is loaded the next time.
        """
        return drive(crons.remove(self.store, name))

    def job_ids(self, name: str, start: int = 0, end: int = -1) -> list[str]:
        """The ids of the jobs of an entry, the last thousand, newest first, from `start` to `end`, both included."""
        return drive(crons.history(self.store, name, start, end))

    def names(self) -> list[str]:
        """The names of all entries."""
        return drive(crons.names(self.store))

    def list(self) -> list[CronJob]:
        """All entries, by name; what cannot be read is left out, and logged."""
        return read_all(self.store)


def _check(word: str, job_id: str, definition: Definition) -> None:
    """Raise where no job was enqueued."""
    if word in {status.value for status in JobStatus}:
        return
    if word == "exists":
        raise DuplicateJobError(job_id, "exists already, and is to be the only one of its cron entry")
    if word == "running":
        raise DuplicateJobError(job_id, "is running")
    if word == "unfit":
        raise CorruptJobError(job_id, "", "does not hold a hash, or the fields of its cron entry are gone")
    raise StoreError(
        f"the key of queue {definition.queue!r}, or of a registry of that, is of another type; nothing was enqueued"
    )


def put(store: Store, job: CronEntry) -> str:
    """Put an entry into Redis: `same` when it is there like that, and nothing was changed; `added` or `replaced`."""
    definition = job.definition
    moment = (drive(crons.look(store, 0))).moment
    return drive(
        crons.put(
            store,
            definition.name,
            definition.version,
            definition.recurrence_text,
            definition.encode(),
            job.fields,
            definition.first_after(moment),
            definition.interval,
        )
    )


def put_all(store: Store, jobs: Iterable[CronEntry], source: str) -> dict[str, str]:
    """Put the entries of a module into Redis, and remove those that it registered before and does not any more.

    Any number of processes may do it at the same time, and again at each start: what is there already stays as it is.

    Returns:
        what became of each, by name: `same`, `added`, `replaced` or `removed`.
    """
    words: dict[str, str] = {}
    for job in jobs:
        words[job.name] = put(store, job)
        if words[job.name] != "same":
            log.info("cron entry %s: %s", job.name, words[job.name])
    if source:
        for kept in read_all(store):
            if kept.config == source and kept.name not in words:
                if drive(crons.remove(store, kept.name, kept.definition.version)):
                    log.info("cron entry %s: removed, since %s does not register it any more", kept.name, source)
                words[kept.name] = "removed"
    return words


def read_all(store: Store) -> list[CronJob]:
    """All entries, by name; what cannot be read is left out, and logged."""
    found: list[CronJob] = []
    for kept in drive(crons.read(store, drive(crons.names(store)))):
        try:
            found.append(CronJob.from_kept(kept))
        except ValueError as error:
            log.warning("the cron entry %s cannot be read: %s", kept.name, error)
    return found
