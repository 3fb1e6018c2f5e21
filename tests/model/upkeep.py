"""Random steps of a worker that looks after what nobody looks after: what is overdue, and what is stale."""

from __future__ import annotations

from typing import Final

import hypothesis.strategies as st
from hypothesis.stateful import precondition

from aiorq.store import groups, jobs, limits, overdue, registries, runs
from aiorq.store.overdue import Finding
from tests.model.ground import LEASE, PICKS, QUEUE, QUEUES, step
from tests.model.invariants import jobs_of
from tests.model.model import MOST_LOSSES
from tests.model.shapes import LOST
from tests.model.workers import Workers

_LEADS: Final = 5
MEANWHILE: Final = st.sampled_from(("renew", "back", ""))
"""What happens between a look for what is overdue and dealing with it."""
_SWEPT: Final = ("finished", "failed", "deferred", "deferred", "scheduled", "canceled")


class Upkeep(Workers):
    @step(
        number=PICKS,
        seconds=st.sampled_from((LEASE + 1, 0, LEASE, 80)),
        most=st.sampled_from((99, 99, 1, 0)),
        requeue_lost=st.booleans(),
    )
    def look_after(self, number: int, seconds: int, most: int, requeue_lost: bool) -> None:
        """Some time later a worker looks for what is overdue and deals with all of it, or is gone after `most`."""
        self.look(number, seconds, most, requeue_lost=requeue_lost)

    @precondition(lambda self: any(job.status in {"started", "scheduled"} for job in self.model.jobs.values()))
    @step(number=PICKS, requeue_lost=st.booleans())
    def lose_all(self, number: int, requeue_lost: bool) -> None:
        """All leases end, and short delays."""
        self.look(number, LEASE + 1, 99, requeue_lost=requeue_lost)

    def look(self, number: int, seconds: int, most: int, *, requeue_lost: bool) -> None:
        if seconds:
            self.pass_time(seconds)
            self.check()
        worker = self.worker(number)
        predicted = self.model.look(worker, _LEADS)
        found = self.ask("overdue", overdue.look(self.store, worker, _LEADS))
        if found is None or predicted is None:
            self.expect("overdue", found, predicted)
            return
        said = {(finding.kind, finding.queue, finding.subject, finding.worker) for finding in found}
        assert said == predicted, f"overdue said {said}, not {predicted}"
        self.check()
        for finding in found[:most]:
            self.deal_with(finding, requeue_lost=requeue_lost)
        self.overdue = found[most:]
        inboxes = {(finding.worker, finding.queue): finding.subject for finding in found if finding.kind == "inbox"}
        for (owner, queue), first in inboxes.items():
            if self.inboxes.get((owner, queue)) == first and most:
                self.model.release(owner, [queue], [])
                self.ask("release", runs.release(self.store, owner, [queue]))
                self.count("release", "inbox")
                self.check()
        self.inboxes = inboxes
        if not self.overdue:
            late = [
                member
                for queue in QUEUES
                for member, score in self.seen.get(f"wip:{queue}", ({}, None))[0].items()
                if score <= self.model.moment
            ]
            assert not late, f"I9: {late} were left"

    @precondition(lambda self: self.overdue)
    @step(meanwhile=MEANWHILE, requeue_lost=st.booleans())
    def look_late(self, meanwhile: str, requeue_lost: bool) -> None:
        """What was found is dealt with long after, when it may be so no more."""
        self.deal_late(meanwhile, requeue_lost=requeue_lost)

    def deal_late(self, meanwhile: str, *, requeue_lost: bool) -> None:
        if meanwhile == "back":
            self.pass_time(-3600)
            self.check()
        for worker in list(self.boots) if meanwhile == "renew" else []:
            self.keep(worker, begun=True)
            self.check()
        for finding in self.overdue:
            self.deal_with(finding, requeue_lost=requeue_lost)
        self.overdue = []

    def deal_with(self, finding: Finding, *, requeue_lost: bool) -> None:
        job_id = finding.subject.partition(":")[0]
        if finding.kind == "lease":
            self.reap(finding, job_id, requeue_lost=requeue_lost)
        elif finding.kind == "due":
            predicted = self.model.promote(finding.queue, job_id)
            self.expect("promote", self.ask("promote", overdue.promote(self.store, finding)), predicted)
        elif finding.kind == "parent":
            self.ask("enqueue_dependents", jobs.enqueue_dependents(self.store, finding.subject))
        self.check()

    def reap(self, finding: Finding, job_id: str, *, requeue_lost: bool) -> None:
        job = self.model.jobs.get(job_id)
        kept = None if job is None else job.kept
        wish = "requeue" if requeue_lost else ""
        predicted = self.model.reap(finding.subject, finding.worker, wish, 500, (LOST,))
        self.expect_gone(job_id, kept)
        call = overdue.reap(
            self.store,
            finding,
            requeue_lost=requeue_lost,
            most=MOST_LOSSES,
            traceback=b"lost",
            poisoned=b"poisoned",
            kept=500,
            kinds=(LOST,),
        )
        if predicted == "returned":
            self.history.lives[job_id].runs -= 1
        elif predicted == "retried":
            self.note_retry(job_id, -1, self.model.jobs[job_id].status)
        self.expect("reap", self.ask("reap", call), predicted)
        if predicted == "held" and finding.subject.partition(":")[2] in self.model.runs:
            self.tally.words["reap renewed"] += 1

    # What is stale

    @step(kind=st.sampled_from(_SWEPT), queue=QUEUE)
    def sweep(self, kind: str, queue: str) -> None:
        self.sweep_registry(kind, queue)

    def sweep_registry(self, kind: str, queue: str) -> None:
        key = self.store.keys.registry(kind, queue)
        predicted = self.model.sweep(kind, queue)
        left = self.ask("sweep", registries.clean(self.store, key, registries.STALE[kind]))
        self.expect("sweep", left, predicted)
        self.check()
        if kind != "deferred":
            return
        found = jobs_of(self.seen)
        for job_id in self.seen.get(f"deferred:{queue}", ((), None))[0]:
            assert job_id in found, f"I2: {job_id} is gone and deferred"
            assert found[job_id][0].status == "deferred", f"I2: {job_id} is not deferred"
            parents = self.seen.get(f"job::{job_id}:dependencies", ((), None))[0]
            unmet = [parent for parent in parents if parent in found and found[parent][0].status != "finished"]
            barred = found[job_id][0].barred
            unmet += [parent for parent in (barred,) if parent is not None and parent not in found]
            assert unmet, f"I10: {job_id} waits for nothing, and no sweep finds it"

    @step(limit=st.sampled_from(("k", "m")))
    def sweep_limit(self, limit: str) -> None:
        self.clean_limit(limit)

    def clean_limit(self, limit: str) -> None:
        predicted = self.model.sweep_limit(limit)
        self.expect("sweep_limit", self.ask("sweep_limit", limits.clean(self.store, limit)), predicted)
        self.check()
        found = jobs_of(self.seen)
        for side in ("allowed", "rate_limited"):
            stale = [job_id for job_id in self.seen.get(f"rl:{limit}:{side}", ((), None))[0] if job_id not in found]
            assert not stale, f"I14: {stale} are gone and {side}"

    @step(group=st.sampled_from(("g", "h")))
    def sweep_group(self, group: str) -> None:
        self.clean_group(group)

    def clean_group(self, group: str) -> None:
        predicted = self.model.sweep_group(group)
        self.expect("sweep_group", self.ask("sweep_group", groups.clean(self.store, group)), predicted)
