"""What the parts of a check have in common: what they look at, how they say what they find, and pieces of repairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeAlias

from aiorq.doctor.books import LISTS, Books, Place
from aiorq.doctor.finding import Finding, Severity
from aiorq.store.audit import AnyRepair, Readmission

Checks: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]
Commands: TypeAlias = tuple[tuple[str, ...], ...]


class Look:
    """One look over the books, for some of the invariants."""

    def __init__(self, books: Books, now: float, overdue: float) -> None:
        """Look at `books`, at the moment `now`; leases are a finding `overdue` seconds after their end."""
        self.books = books
        self.keys = books.keys
        self.now = now
        self.overdue = overdue
        self.found: list[Finding] = []

    def run(self) -> None:
        """Look, and fill `found`."""
        raise NotImplementedError

    def say(
        self,
        rule: str,
        invariant: str,
        severity: Severity,
        subject: str,
        problem: str,
        remedy: str,
        repair: AnyRepair | None = None,
        *,
        jobs: Iterable[str] = (),
        keys: Iterable[str] = (),
    ) -> None:
        """Note a finding; the parameters are its fields."""
        self.found.append(
            Finding(rule, invariant, severity, subject, problem, remedy, repair, frozenset(jobs), frozenset(keys))
        )

    def readmission(self, job_id: str, fields: dict[str, str], parents: Iterable[str]) -> Readmission | None:
        """Queue a job whose `parents` are as they are now; None for one that names no queue."""
        queue = fields.get("origin")
        if not queue:
            return None
        known = tuple((parent, self.books.jobs.get(parent, {}).get("status", "")) for parent in parents)
        return Readmission(job_id, queue, fields.get("status", ""), known)

    def as_found(self, job_id: str, fields: dict[str, str]) -> Checks:
        """The job is in the state, and in the life, in which it was found."""
        names = ("status", "enqueued_at", "started_at")
        return tuple(
            (f"={fields[name]}" if fields.get(name) else "-", ("HGET", self.keys.job(job_id), name)) for name in names
        )

    def absent(self, key: str, member: str) -> Checks:
        """A member is not in a sorted set."""
        return (("-", ("ZSCORE", key, member)),)

    def there(self, place: Place, where: Counter[str]) -> tuple[str, tuple[str, ...]]:
        """An entry is in its place, as often as `where` says of its key."""
        if place.kind in LISTS:
            return f"#{where[place.key]}", ("LPOS", place.key, place.member, "COUNT", "0")
        return "+", ("ZSCORE", place.key, place.member)

    def drop(self, place: Place, places: Iterable[Place], keep: int = 0) -> tuple[Checks, Commands]:
        """Take a member out of a key, all times that `places` name but the first `keep`."""
        key, member = place.key, place.member
        if place.kind in LISTS:
            extra = sum(other.key == key and other.member == member for other in places)
            checks: Checks = ((f"#{extra + keep}", ("LPOS", key, member, "COUNT", "0")),)
            return checks, (("LREM", key, f"{-extra}", member),)
        checks = ((f"={place.score!r}", ("ZSCORE", key, member)),)
        commands: list[tuple[str, ...]] = [("ZREM", key, member)]
        if place.kind == "wip" and place.token:
            job_id = member.partition(":")[0]
            commands += [
                ("DEL", self.keys.execution(job_id, place.token)),
                ("ZREM", self.keys.executions(job_id), place.token),
            ]
            commands += [
                ("SREM", self.keys.worker_executions(worker), member)
                for worker, own in self.books.runs_of.items()
                if member in own
            ]
        return checks, tuple(commands)


def seconds(number: float) -> str:
    """A duration for people."""
    if number < 120:
        return f"{number:.0f} s"
    return f"{number / 60:.0f} min" if number < 7200 else f"{number / 3600:.0f} h"


def shown(text: str) -> str:
    """A text from Redis, which may be anything, short and printable."""
    cut = text if len(text) <= 80 else text[:80] + "..."
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in cut)
