"""The keys of the model: what they hold, when they expire, and the picture that they make.

Seconds are counted from the beginning of an example. A `picture` is all keys with the part of their content that the
model knows, and the second of their expiry; `sight.py` gives the same of the server.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from tests.scripts.conftest import NOON

Picture: TypeAlias = dict[str, tuple[Any, int | None]]


@dataclass
class Entry:
    """A key that is neither a job nor a run."""

    value: Any
    expires: int | None = None


class Fields(NamedTuple):
    """What the model knows of the hash of a job."""

    status: str
    queue: str
    worker: str
    nonce: str
    retries: int | None
    asked: int | None
    losses: int | None
    held: str | None
    tried: int | None
    attempts: int | None
    repeats: int | None
    intervals: str | None
    """Of its repeats, in JSON."""
    first: bool | None
    let_go_first: bool
    let_go_at: float | None
    limit: str | None
    group: str
    allow: bool | None
    barred: str | None
    listed: bool


@dataclass(kw_only=True)
class Job:
    queue: str
    nonce: str
    waits: int | None = None
    """Seconds that it may wait (`ttl`)."""
    kept: int | None = None
    """Seconds that it is kept after a failure (`failure_ttl`)."""
    retries: int | None = None
    asked: int | None = None
    """How many retries there were at first, once one was used."""
    intervals: list[int] = field(default_factory=list)
    first_on_retry: bool = False
    only: frozenset[str] = frozenset()
    """The exceptions that alone are tried again; empty for all."""
    never: frozenset[str] = frozenset()
    first: bool | None = None
    on_lost: str | None = None
    losses: int | None = None
    repeats: int | None = None
    repeat_intervals: list[int] | None = None
    limit: tuple[str, int] | None = None
    group: str = ""
    parents: tuple[str, ...] = ()
    """Only those that it asked for: what it still waits for is in its set of dependencies."""
    allow: bool | None = None
    at: float | None = None
    """When it asked to be run."""
    unique: bool = False
    token: str = ""
    """Of the run that it asked to begin at once."""
    lease: int = 0
    let_go_first: bool = False
    let_go_at: float | None = None
    barred: str | None = None
    """A parent that failed, was stopped or canceled, and has not finished since."""
    tried: int | None = None
    attempts: int | None = None
    requeued: bool = False
    ended: bool = False
    """Whether a run of it has ended, since it was enqueued or requeued."""
    listed: bool = True
    status: str = "queued"
    worker: str = ""
    held: str | None = None
    """The token of the claim whose run has not begun."""
    expires: int | None = None

    def fields(self) -> Fields:
        intervals = None if self.repeat_intervals is None else str(self.repeat_intervals)
        return Fields(
            self.status,
            self.queue,
            self.worker,
            self.nonce,
            self.retries,
            self.asked,
            self.losses,
            self.held,
            self.tried,
            self.attempts,
            self.repeats,
            intervals,
            self.first,
            self.let_go_first,
            self.let_go_at,
            self.limit and self.limit[0],
            self.group,
            self.allow,
            self.barred,
            self.listed,
        )


@dataclass
class Run:
    job_id: str
    queue: str
    worker: str
    on_lost: str
    books: int | None
    """Second at which the keys of the execution expire; None once they did."""


class Shelf:
    """Jobs, runs and other keys, and a clock."""

    def __init__(self, order: Callable[[str], list[str]] | None = None) -> None:
        """`order` tells how the server lists the members of a set."""
        self.now = 0
        self.jobs: dict[str, Job] = {}
        self.runs: dict[str, Run] = {}
        self.keys: dict[str, Entry] = {}
        self._order = order or (lambda _: [])

    @property
    def moment(self) -> float:
        return NOON + self.now

    def at(self, key: str, kind: type) -> Any:
        """The value of a key, made where it is missing; one that is empty counts as missing."""
        entry = self.keys.get(key)
        if entry is None or not entry.value:
            entry = self.keys[key] = Entry(kind())
        return entry.value

    def read(self, key: str) -> Collection[Any]:
        """The value of a key that may be missing."""
        entry = self.keys.get(key)
        return () if entry is None else entry.value

    def has(self, key: str) -> bool:
        return key in self.keys and bool(self.keys[key].value)

    def members(self, key: str) -> list[str]:
        """Those of a set, in the order in which the server has them."""
        there = self.read(key)
        if len(there) < 2:
            return list(there)
        known = [member for member in self._order(key) if member in there]
        return known + sorted(set(there).difference(known))

    def drop(self, key: str) -> None:
        self.keys.pop(key, None)

    def expire(self, key: str, seconds: int) -> None:
        if self.has(key):
            self.keys[key].expires = self.now + seconds

    def persist(self, key: str) -> None:
        if key in self.keys:
            self.keys[key].expires = None

    def after(self, seconds: int) -> int | None:
        return self.now + seconds if seconds > 0 else None

    def set_clock(self, now: int) -> None:
        self.now = now
        for key in [key for key, entry in self.keys.items() if entry.expires is not None and entry.expires <= now]:
            del self.keys[key]
        for job_id in [job_id for job_id, job in self.jobs.items() if job.expires is not None and job.expires <= now]:
            del self.jobs[job_id]
        for run in self.runs.values():
            if run.books is not None and run.books <= now:
                run.books, run.on_lost = None, ""

    def picture(self) -> Picture:
        seen: Picture = {key: (entry.value, entry.expires) for key, entry in self.keys.items() if entry.value}
        for job_id, job in self.jobs.items():
            seen[f"job:{job_id}"] = job.fields(), job.expires
        for token, run in self.runs.items():
            if run.books is not None:
                seen[f"execution:{run.job_id}:{token}"] = (run.worker, run.on_lost), run.books
                seen[f"executions:{run.job_id}"] = {token: NOON + run.books}, run.books
        return seen
