"""What is wrong in a snapshot, by the invariants."""

from __future__ import annotations

from typing import Final

from aiorq.doctor.books import Books
from aiorq.doctor.finding import Finding
from aiorq.doctor.groups import Groups
from aiorq.doctor.leftovers import Leftovers
from aiorq.doctor.limits import Limits
from aiorq.doctor.places import Places
from aiorq.doctor.runs import Runs
from aiorq.doctor.waiting import Waiting
from aiorq.store.audit import Snapshot

OVERDUE: Final = 30.0
"""Seconds after the end of a lease within which a worker should have dealt with it."""


def check(snapshot: Snapshot, *, now: float | None = None, overdue: float = OVERDUE) -> list[Finding]:
    """Everything that is wrong in a snapshot.

    In a snapshot of one instant (`store.audit.look`) that is what is wrong indeed, as far as aiorq alone is at work: RQ
    takes several steps for one change of state. In one that was read step by step, jobs that move seem wrong too.

    Args:
        snapshot: what was read.
        now: seconds since 1970 by the server's clock; by default when the snapshot was taken.
        overdue: seconds after the end of a lease from which on it is a finding.
    """
    books = Books(snapshot)
    found: list[Finding] = []
    for part in (Places, Runs, Waiting, Limits, Groups, Leftovers):
        look = part(books, snapshot.now if now is None else now, overdue)
        look.run()
        found += look.found
    return found
