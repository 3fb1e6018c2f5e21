"""Looking at what lives: a finding counts when it is still there at a second and a third look.

While the keys are read one after the other, jobs move, and RQ takes several steps for one change of state. So what
seems wrong is read again a moment later, all that it takes at one instant, twice; what moved or mended itself is
dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from redis.asyncio import Redis

from aiorq.doctor.check import OVERDUE, check
from aiorq.doctor.finding import Finding, Severity
from aiorq.doctor.server import check_server, no_scripts, unknown_server
from aiorq.errors import StoreError
from aiorq.store import audit
from aiorq.store.audit import Snapshot
from aiorq.store.base import Store, store_of

SETTLE: Final = 0.5
"""Seconds between two looks."""
MOST: Final = 10_000
"""Findings that are followed up; when there are more, repair these and look again."""
_LOOKS: Final = 2
_FINDINGS_A_LOOK: Final = 100
_REGISTRIES: Final = ("finished", "failed", "deferred", "scheduled", "canceled", "ready")
_COMPARED_A_LOOK: Final = 1_000_000  # entries of lists that one look makes the server compare: about 10 ms


@dataclass(slots=True)
class Report:
    """What a look over the books found."""

    where: str
    prefix: str
    keys: int = 0
    """How many keys there were below the prefix."""
    jobs: int = 0
    findings: list[Finding] = field(default_factory=list)
    """Of the server first, then by severity."""
    repaired: list[Finding] = field(default_factory=list)
    """Those of them that `mend` put right."""
    unseen: int = 0
    """How many more there seemed to be than are followed up."""

    @property
    def errors(self) -> list[Finding]:
        """The errors that are not repaired."""
        return [finding for finding in self._open if finding.severity is Severity.ERROR]

    @property
    def warnings(self) -> list[Finding]:
        """The warnings that are not repaired."""
        return [finding for finding in self._open if finding.severity is Severity.WARNING]

    @property
    def _open(self) -> list[Finding]:
        done = {id(finding) for finding in self.repaired}
        return [finding for finding in self.findings if id(finding) not in done]


async def examine(
    connection: Redis | str | None = None,
    prefix: str | None = None,
    *,
    overdue: float = OVERDUE,
    settle: float = SETTLE,
) -> Report:
    """Look over everything below a prefix, and at the server. Nothing is changed, and workers may go on.

    Args:
        connection: a client, a URL, or None for the URL of the environment.
        prefix: by default that of the environment.
        overdue: seconds after the end of a lease from which on it is a finding.
        settle: seconds to wait before what seems wrong is looked at again.

    Raises:
        ConnectionLostError: the server cannot be asked.
        StoreError: the server lets nobody in.
    """
    store = store_of(connection, prefix)
    report = Report(store.transport.where, store.keys.prefix)
    facts = await audit.server_facts(store)
    report.findings = [unknown_server()] if facts is None else check_server(facts)
    try:
        await audit.look(store, [store.keys.queues])
    except StoreError as error:
        report.findings.append(no_scripts(str(error.__cause__ or error)))
        return report
    snapshot = await audit.survey(store)
    report.keys = len(snapshot.entries)
    head = store.keys.job("")
    report.jobs = sum(key.startswith(head) and ":" not in key[len(head) :] for key in snapshot.entries)
    suspects = {finding.identity: finding for finding in check(snapshot, overdue=overdue)}
    suspects = await _unmoved(store, snapshot, suspects)
    report.unseen = max(0, len(suspects) - MOST)
    found = list(suspects.values())[:MOST]
    for _ in range(_LOOKS):
        if not found:
            break
        await asyncio.sleep(settle)
        found = await _still(store, snapshot, found, overdue)
    found.sort(key=lambda finding: (finding.severity is not Severity.ERROR, finding.invariant, finding.rule))
    report.findings += found
    return report


async def mend(report: Report, connection: Redis | str | None = None) -> None:
    """Carry out the repairs of a report; `report.repaired` tells of them.

    A repair is one atomic step, and is left out where something is not as it was found.

    Args:
        report: from `examine`.
        connection: as it was given there.

    Raises:
        ConnectionLostError: the server cannot be asked.
        StoreError: it refuses a repair.
    """
    store = store_of(connection, report.prefix)
    for finding in report.findings:
        if finding.repair is not None and await audit.repair(store, finding.repair):
            report.repaired.append(finding)


async def _unmoved(
    store: Store, snapshot: Snapshot, suspects: dict[tuple[str, str], Finding]
) -> dict[tuple[str, str], Finding]:
    """The findings of whose jobs none has changed since it was read: that one has moved on is a sign of health."""
    ids = sorted({job_id for finding in suspects.values() for job_id in finding.jobs})
    moved: set[str] = set()
    for start in range(0, len(ids), 1000):
        part = ids[start : start + 1000]
        keys = [store.keys.job(job_id) for job_id in part]
        again = await audit.look(store, keys)
        moved.update(
            job_id
            for job_id, key in zip(part, keys, strict=True)
            if snapshot.fields(key) != again.fields(key) or (key in snapshot.entries) != (key in again.entries)
        )
    return {identity: finding for identity, finding in suspects.items() if not finding.jobs & moved}


async def _still(store: Store, snapshot: Snapshot, found: Sequence[Finding], overdue: float) -> list[Finding]:
    """What of these findings is still there, as it is now."""
    still: list[Finding] = []
    scope = _Scope(store, snapshot)
    for chunk in _chunks(found, await audit.sizes(store, scope.part)):
        ids = {job_id for finding in chunk for job_id in finding.jobs}
        whole = scope.whole | {key for finding in chunk for key in finding.keys}
        for job_id in ids:
            whole |= scope.keys_of(job_id)
        part = [key for key in scope.part if key not in whole]
        again = check(await audit.look(store, sorted(whole), part, sorted(ids)), overdue=overdue)
        identities = {finding.identity for finding in chunk}
        still += {finding.identity: finding for finding in again if finding.identity in identities}.values()
    return still


class _Scope:
    """Which keys a look at some jobs takes in."""

    def __init__(self, store: Store, snapshot: Snapshot) -> None:
        """Find them in a survey."""
        self._keys = keys = store.keys
        self._snapshot = snapshot
        self.whole = {keys.queues, keys.ended_parents}
        """All that speaks of runs, of workers and of jobs whose dependents are set apart; there is not much of it."""
        part: set[str] = set()
        wip, workers = keys.registry("wip", ""), f"{keys.prefix}:worker"
        lists = keys.queue(""), f"{keys.prefix}:aiorq:inbox:"
        self._tokens: dict[str, set[str]] = {}
        for key, entry in snapshot.entries.items():
            if key.startswith((wip, workers)):
                self.whole.add(key)
            elif key.startswith(lists) or (entry.type == "zset" and not key.startswith(keys.executions(""))):
                part.add(key)
            if key.startswith(wip):
                for member in snapshot.scores(key) or ():
                    job_id, _, token = member.partition(":")
                    self._tokens.setdefault(job_id, set()).add(token)
        # What moves meanwhile may be in a key that was not there before.
        for key in snapshot.members(keys.queues) or ():
            if key.startswith(lists[0]):
                queue = keys.queue_name(key)
                self.whole.add(keys.registry("wip", queue))
                part.update({key, f"{key}:intermediate", *(keys.registry(kind, queue) for kind in _REGISTRIES)})
        self.part = sorted(part - self.whole)
        """Lists of queues and registries, which may be long."""

    def keys_of(self, job_id: str) -> set[str]:
        """The keys of one job."""
        keys, snapshot = self._keys, self._snapshot
        executions = keys.executions(job_id)
        found = {keys.job(job_id), keys.dependents(job_id), keys.dependencies(job_id), keys.results(job_id), executions}
        for token in {*self._tokens.get(job_id, ()), *(snapshot.scores(executions) or ())}:
            found.add(keys.execution(job_id, token))
        queue = (snapshot.fields(keys.job(job_id)) or {}).get("origin")
        if queue:
            found.add(keys.registry("wip", queue))
        return found


def _chunks(found: Sequence[Finding], entries: int) -> Iterator[list[Finding]]:
    chunk: list[Finding] = []
    ids: set[str] = set()
    for finding in found:
        if chunk and (len(chunk) >= _FINDINGS_A_LOOK or len(ids | finding.jobs) * max(entries, 1) > _COMPARED_A_LOOK):
            yield chunk
            chunk, ids = [], set()
        chunk.append(finding)
        ids |= finding.jobs
    if chunk:
        yield chunk
