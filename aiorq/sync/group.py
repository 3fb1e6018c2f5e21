"""Groups: jobs that are enqueued together under a name, and can be asked for together."""
# Made of aiorq/group.py by tests/sync/generate.py: change that one.

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final
from uuid import uuid4

from redis import Redis
from redis.client import Pipeline

from aiorq.enqueuer import EnqueueData
from aiorq.errors import NoSuchGroupError
from aiorq.group import check_group_name
from aiorq.keys import Keys, is_job_id
from aiorq.serializers import Serializer
from aiorq.status import JobStatus
from aiorq.store import groups
from aiorq.store.base import Store
from aiorq.store.blocking import drive, store_of
from aiorq.sync.job import Job
from aiorq.sync.queue import Queue
from aiorq.sync.registry import read_jobs

_NAME_LENGTH: Final = 255


class Group:
    """Jobs of any queues under one name. It is there as long as one of its jobs is; making the object asks nothing."""

    def __init__(
        self, connection: Redis | str | None = None, name: str | None = None, *, prefix: str | None = None
    ) -> None:
        """Name a group; `Group.create` does the same.

        Args:
            connection: a client, a URL, or None for the environment's.
            name: 1 to 255 printable characters; None for a random one.
            prefix: of all keys; None for the environment's.

        Raises:
            TypeError, ValueError: a bad name or prefix.
        """
        self.name: str = uuid4().hex if name is None else check_group_name(name)
        self._connection = connection
        self._keys = Keys(prefix)

    @property
    def store(self) -> Store:
        """Where the group lives. Connects nothing."""
        return store_of(self._connection, self._keys.prefix)

    @property
    def key(self) -> str:
        """The key of the set of the group's ids."""
        return self._keys.group(self.name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Group) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)

    @classmethod
    def create(
        cls, connection: Redis | str | None = None, name: str | None = None, *, prefix: str | None = None
    ) -> Group:
        """Name a group; it is there once a job is enqueued into it. Parameters as for `Group`."""
        return cls(connection, name, prefix=prefix)

    @classmethod
    def fetch(cls, name: str, connection: Redis | str | None = None, *, prefix: str | None = None) -> Group:
        """The group of that name, which exists.

        Raises:
            NoSuchGroupError: nothing was ever enqueued into it, or all its jobs are gone.
        """
        group = cls(connection, name, prefix=prefix)
        if not drive(groups.existing(group.store, [group.name])):
            raise NoSuchGroupError(f"no group {name!r}: nothing was ever enqueued into it, or all its jobs are gone")
        return group

    @classmethod
    def all(cls, connection: Redis | str | None = None, *, prefix: str | None = None) -> list[Group]:
        """Every group that exists, by name; those of RQ whose names aiorq does not take are left out."""
        store = store_of(connection, prefix)
        found = []
        for name in drive(groups.existing(store, drive(groups.names(store)))):
            try:
                found.append(cls(store.connection, name, prefix=store.keys.prefix))
            except ValueError:
                continue
        return found

    def enqueue_many(
        self,
        queue: Queue,
        job_datas: Iterable[EnqueueData],
        pipeline: Pipeline | None = None,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[Job[Any]]:
        """Put many calls on a queue and into the group, as `Queue.enqueue_many` does with `group_id`.

        Args:
            queue: of the same Redis and prefix.
            job_datas: from `Queue.prepare_data`.
            pipeline: one of the caller's to add the calls to.
            progress: is told after each step how many were sent.

        Returns:
            the jobs, in the same order.
        """
        return queue.enqueue_many(job_datas, pipeline, self.name, progress=progress)

    def count(self) -> int:
        """How many jobs the group has. One that has just expired counts until the next cleanup."""
        return drive(groups.count(self.store, self.name))

    def counts(self) -> dict[JobStatus, int]:
        """How many of its jobs are in each state that one is in; nothing else of them is read."""
        return drive(groups.tally(self.store, self.name))

    def get_job_ids(self) -> list[str]:
        """The ids of its jobs, in no order. The id of one that has just expired is there until the next cleanup."""
        return drive(groups.ids(self.store, self.name))

    def get_jobs(self, serializer: Serializer | str | None = None) -> list[Job[Any]]:
        """Its jobs, in no order; those that are gone are left out.

        Args:
            serializer: that of their queues; None for pickle.

        Raises:
            CorruptJobError: one of them cannot be read; the error names it.
        """
        ids = [job_id for job_id in self.get_job_ids() if is_job_id(job_id)]
        return read_jobs(self.store, ids, Job, serializer)

    def delete_job(self, job_id: str, pipeline: Pipeline | None = None) -> int:
        """Take a job out of the group; the job itself stays. Returns 1, or 0 when it was not in it.

        With a pipeline of the caller's the call is added to that one, which then knows the answer, and 0 is returned.
        """
        if pipeline is not None:
            groups.remove_into(self.store, pipeline, self.name, job_id)
            return 0
        return drive(groups.remove(self.store, self.name, job_id))

    def cleanup(self) -> int:
        """Take out jobs that are gone; returns how many those were. Workers do so about once a minute."""
        return drive(groups.clean(self.store, self.name))

    @classmethod
    def clean_registries(cls, connection: Redis | str | None = None, *, prefix: str | None = None) -> int:
        """`cleanup` of all groups; those without jobs are forgotten. Returns how many jobs were taken out."""
        store = store_of(connection, prefix)
        return sum([drive(groups.clean(store, name)) for name in drive(groups.names(store))])
