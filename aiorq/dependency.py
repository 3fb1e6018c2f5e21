"""What a job waits for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol, TypeAlias

from aiorq.keys import check_job_id

MAX_DEPENDENCIES: Final = 20_000
"""Jobs that one may wait for: they are entered in one step, which takes some 3 us for each."""


class HasId(Protocol):
    """A job, of whatever class."""

    @property
    def id(self) -> str:
        """Its id."""
        ...


JobOrId: TypeAlias = "HasId | str"


class Dependency:
    """Jobs that another one waits for, and how."""

    def __init__(
        self,
        jobs: JobOrId | Iterable[JobOrId],
        allow_failure: bool = False,
        enqueue_at_front: bool = False,
    ) -> None:
        """Name the jobs.

        Args:
            jobs: a job, an id, or several of them.
            allow_failure: a job that failed counts as done too.
            enqueue_at_front: put the one that waited at the front of its queue.

        Raises:
            ValueError: there is none, something else stands among them, or an id is none.
        """
        self.dependencies: list[JobOrId] = _as_list(jobs)
        if not self.dependencies:
            raise ValueError("jobs: a dependency needs at least one job")
        for job in self.dependencies:
            _id_of(job)
        self.allow_failure = bool(allow_failure)
        self.enqueue_at_front = bool(enqueue_at_front)

    def __repr__(self) -> str:
        ids = [_id_of(job) for job in self.dependencies]
        return f"Dependency({ids}, allow_failure={self.allow_failure}, enqueue_at_front={self.enqueue_at_front})"


DependsOn: TypeAlias = "Dependency | JobOrId | Iterable[Dependency | JobOrId]"
"""What `depends_on` takes."""


class Waits(NamedTuple):
    """What `depends_on` says, put together."""

    ids: list[str]
    """In the order given, each once."""
    allow_failure: bool | None = None
    """None where no `Dependency` was given."""
    enqueue_at_front: bool | None = None
    """None where no `Dependency` was given."""


def read_depends_on(depends_on: DependsOn | Waits | None) -> Waits:
    """Put together what a job waits for; of several dependencies, one that allows something does so for all.

    Raises:
        ValueError: something else than jobs, ids and dependencies, or more than `MAX_DEPENDENCIES` of them.
    """
    if depends_on is None:
        return Waits([])
    if isinstance(depends_on, Waits):
        return depends_on
    ids: dict[str, None] = {}
    allow = front = None
    for item in [depends_on] if isinstance(depends_on, Dependency) else _as_list(depends_on):
        if isinstance(item, Dependency):
            allow = bool(allow) or item.allow_failure
            front = bool(front) or item.enqueue_at_front
            ids.update(dict.fromkeys(_id_of(job) for job in item.dependencies))
        else:
            ids[_id_of(item)] = None
    if len(ids) > MAX_DEPENDENCIES:
        raise ValueError(f"depends_on names {len(ids)} jobs; at most {MAX_DEPENDENCIES} are allowed")
    return Waits(list(ids), allow, front)


def _as_list(value: object) -> list:  # type: ignore[type-arg]
    return [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)


def _id_of(job: object) -> str:
    job_id = job if isinstance(job, str) else getattr(job, "id", None)
    if not isinstance(job_id, str):
        raise ValueError(f"depends_on takes jobs, ids and Dependency objects, not {type(job).__name__}")
    return check_job_id(job_id)
