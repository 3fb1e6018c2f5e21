"""A snapshot by what its keys are: jobs, the places that list them, runs, workers, and keys that are none of it."""

from __future__ import annotations

from collections import defaultdict
from typing import Final, NamedTuple

from aiorq.keys import Keys
from aiorq.store.audit import Entry, Snapshot

HOMES: Final = {
    "": (),
    "created": (),
    "queued": ("queue", "inbox", "intermediate"),
    "started": ("wip",),
    "finished": ("finished",),
    "failed": ("failed",),
    "stopped": ("failed",),
    "deferred": ("deferred",),
    "scheduled": ("scheduled",),
    "canceled": ("canceled",),
    "ready_to_enqueue": ("ready",),
    "rate_limited": ("rate_limited",),
}
"""Status -> the kinds of places where a job of that status may be, the proper one first."""
LISTS: Final = frozenset({"queue", "inbox", "intermediate"})
_REGISTRIES: Final = frozenset({"wip", "finished", "failed", "deferred", "scheduled", "canceled", "ready"})
_TYPES: Final = {
    "queues": "set",
    "workers": "set",
    "suspended": "string",
    "results": "stream",
    "execution": "hash",
    "executions": "zset",
    "clean_registries": "string",
    "clean_groups": "string",
    "scheduler-lock": "string",
    "group": "set",
    "groups": "set",
    "rl-keys": "set",
    "cron_schedulers": "zset",
    "cron_scheduler": "hash",
    "cron_jobs": "zset",
    "cron_job": "zset",
    **dict.fromkeys(_REGISTRIES, "zset"),
}
_OWN_TYPES: Final = {"paused": "hash", "parents": "hash", "parting": "set", "attempts": "list", "waits": "list"}
"""Of those of aiorq's own keys that jobs depend on."""
_ANY_TYPE: Final = frozenset({"scheduler"})  # the package rq-scheduler has other keys of that name than RQ


class Place(NamedTuple):
    """Something that lists an id, once."""

    kind: str
    """`queue`, `inbox`, `intermediate`, `rate_limited`, or the kind of a registry."""
    key: str
    queue: str
    """The name of the queue it belongs to; for `rate_limited` the key of the limit."""
    member: str
    score: float

    @property
    def token(self) -> str:
        """The execution id, in `wip`; empty where there is none."""
        return self.member.partition(":")[2]


class Strange(NamedTuple):
    """A key that holds something else than it should: the type it should have, and the one it has."""

    key: str
    expected: str
    found: str


class Books:
    """What a snapshot says."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Sort the keys of `snapshot`."""
        self.snapshot = snapshot
        self.keys = Keys(snapshot.prefix)
        self.jobs: dict[str, dict[str, str]] = {}
        """Id -> the fields that were read."""
        self.places: defaultdict[str, list[Place]] = defaultdict(list)
        """Id -> everything that lists it."""
        self.lists: dict[str, tuple[str, str]] = {}
        """Key of a list of ids -> kind, queue."""
        self.inboxes: list[tuple[str, str, str]] = []
        """Key, worker, queue."""
        self.runs: list[Place] = []
        """All of `wip`."""
        self.executions: dict[str, tuple[str, str]] = {}
        """Key of the hash of a run -> id of its job, token."""
        self.executions_of: dict[str, dict[str, float]] = {}
        """Id -> what its set of executions says."""
        self.workers: dict[str, dict[str, str]] = {}
        """Name -> fields."""
        self.runs_of: dict[str, set[str]] = {}
        """Name of a worker -> what its set of executions says."""
        self.results: list[tuple[str, str]] = []
        """Key, id."""
        self.links: list[tuple[str, str]] = []
        """Key of a set of dependencies or dependents, id of the job that it belongs to."""
        self.limits: dict[str, dict[str, str]] = {}
        """Key of a rate limit -> fields; empty where only its jobs are there."""
        self.groups: dict[str, str] = {}
        """Key of the set of a group -> its name."""
        self.first_seen: dict[tuple[str, str], str] = {}
        """Queue and id -> when RQ's maintenance first saw it in between."""
        self.worker_sets: list[str] = []
        """Keys of the set of all workers, and of those by queue."""
        self.own: list[tuple[str, str]] = []
        """Key, and what is behind `aiorq:`, of those of aiorq's own keys that are no inboxes."""
        self.unknown: list[str] = []
        self.strange: list[Strange] = []
        cut = len(snapshot.prefix) + 1
        for key, entry in snapshot.entries.items():
            kind, _, rest = key[cut:].partition(":")
            self._sort(key, kind, rest, entry)

    def is_met(self, parent: str, child: dict[str, str]) -> bool:
        """Whether a job that depends on `parent` need not wait for it (any more)."""
        fields = self.jobs.get(parent)
        if fields is None:
            return self.keys.job(parent) not in self.snapshot.entries
        status = fields.get("status")
        return status == "finished" or (status == "failed" and child.get("allow_dependency_failures") == "1")

    def lives(self, worker: str) -> bool:
        """Whether a worker is alive as far as the books know."""
        fields = self.workers.get(worker)
        return fields is not None and "birth" in fields and "death" not in fields

    def ttl_ms(self, key: str) -> int:
        """Milliseconds that a key lives; -1 for ever, -2 for one that is not there."""
        entry = self.snapshot.entries.get(key)
        return -2 if entry is None else entry.ttl_ms

    def _sort(self, key: str, kind: str, rest: str, entry: Entry) -> None:
        if kind == "queue":
            self._sort_queue(key, rest, entry)
        elif kind == "job":
            self._sort_job(key, rest, entry)
        elif kind == "worker":
            self._sort_worker(key, rest, entry)
        elif kind == "aiorq":
            self._sort_own(key, rest, entry)
        elif kind == "rl":
            self._sort_limit(key, rest, entry)
        elif kind in _TYPES:
            if self._has_type(key, entry, _TYPES[kind]):
                self._sort_plain(key, kind, rest)
        elif kind not in _ANY_TYPE:
            self.unknown.append(key)

    def _has_type(self, key: str, entry: Entry, expected: str) -> bool:
        if entry.type == expected:
            return True
        self.strange.append(Strange(key, expected, entry.type))
        return False

    def _sort_plain(self, key: str, kind: str, rest: str) -> None:
        snapshot = self.snapshot
        if kind in _REGISTRIES:
            for member, score in (snapshot.scores(key) or {}).items():
                place = Place(kind, key, rest, member, score)
                self.places[member.partition(":")[0] if kind == "wip" else member].append(place)
                if kind == "wip":
                    self.runs.append(place)
        elif kind == "execution":
            job_id, _, token = rest.partition(":")
            self.executions[key] = (job_id, token)
        elif kind == "executions":
            self.executions_of[rest] = snapshot.scores(key) or {}
        elif kind == "results":
            self.results.append((key, rest))
        elif kind == "workers":
            self.worker_sets.append(key)
        elif kind == "group":
            self.groups[key] = rest

    def _sort_queue(self, key: str, rest: str, entry: Entry) -> None:
        kind, queue = "queue", rest
        if rest.startswith("_compact:"):  # RQ holds ids there for a moment
            return
        between, found, job_id = rest.rpartition(":intermediate:first_seen:")
        if found:
            if self._has_type(key, entry, "string"):
                self.first_seen[between, job_id] = str(entry.content)
            return
        queues = self.snapshot.members(self.keys.queues) or ()
        if rest.endswith(":intermediate") and key not in queues:
            kind, queue = "intermediate", rest.removesuffix(":intermediate")
        if self._has_type(key, entry, "list"):
            self._list(kind, key, queue)

    def _list(self, kind: str, key: str, queue: str) -> None:
        self.lists[key] = (kind, queue)
        for member in self.snapshot.ids(key) or ():
            self.places[member].append(Place(kind, key, queue, member, 0.0))

    def _sort_job(self, key: str, rest: str, entry: Entry) -> None:
        head, found, tail = rest.partition(":")
        if not found:
            if self._has_type(key, entry, "hash"):
                self.jobs[rest] = self.snapshot.fields(key) or {}
        elif tail == "dependents" and head:
            if self._has_type(key, entry, "set"):
                self.links.append((key, head))
        elif not head and tail.endswith(":dependencies"):
            if self._has_type(key, entry, "set"):
                self.links.append((key, tail.removesuffix(":dependencies")))
        else:
            self.unknown.append(key)

    def _sort_worker(self, key: str, rest: str, entry: Entry) -> None:
        if entry.type == "set" and rest.endswith(":executions"):
            self.runs_of[rest.removesuffix(":executions")] = self.snapshot.members(key) or set()
        elif self._has_type(key, entry, "set" if rest.endswith(":executions") else "hash"):
            self.workers[rest] = self.snapshot.fields(key) or {}

    def _sort_own(self, key: str, rest: str, entry: Entry) -> None:
        kind, _, name = rest.partition(":")
        if kind != "inbox":
            if kind not in _OWN_TYPES or self._has_type(key, entry, _OWN_TYPES[kind]):
                self.own.append((key, rest))
        elif self._has_type(key, entry, "list"):
            worker, _, queue = name.partition(":")
            self.inboxes.append((key, worker, queue))
            self._list("inbox", key, queue)

    def _sort_limit(self, key: str, rest: str, entry: Entry) -> None:
        limit, _, part = rest.rpartition(":")
        if limit and part in ("allowed", "rate_limited"):
            if not self._has_type(key, entry, "zset"):
                return
            self.limits.setdefault(limit, {})
            for member, score in (self.snapshot.scores(key) or {}).items() if part == "rate_limited" else ():
                self.places[member].append(Place("rate_limited", key, limit, member, score))
        elif self._has_type(key, entry, "hash"):
            self.limits[rest] = self.snapshot.fields(key) or {}
