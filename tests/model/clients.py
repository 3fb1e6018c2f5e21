"""Random steps of those who enqueue jobs, and ask for something to become of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import hypothesis.strategies as st
from hypothesis.stateful import precondition

from aiorq.errors import DependencyCycleError, DuplicateJobError, InvalidJobOperation, NoSuchJobError
from aiorq.store import commands, jobs, queues
from aiorq.store.jobs import NewJob
from aiorq.store.runs import Run
from tests.model.ground import IDS, PICKS, QUEUE, Ground, Issued, step
from tests.model.invariants import Life, jobs_of
from tests.model.model import YEAR
from tests.model.shapes import SHAPE_NUMBERS, SHAPES, modelled

_AT_ONCE: Final = 20
"""Seconds of the lease of a run that begins with its enqueue."""
_FEW: Final = st.lists(st.integers(0, 7), min_size=1, max_size=3)
_REFUSALS: Final = {"running", "exists", "cycle"}


class Clients(Ground):
    def make(
        self,
        job_id: str,
        queue: str,
        shape: int,
        *,
        first: bool = False,
        parents: Sequence[str] = (),
        allow: bool = False,
        token: str = "",
    ) -> tuple[NewJob, int]:
        """A job as a queue puts it; without an id it gets a new one."""
        made, fields = SHAPES[shape], self.server.fields(shape, queue)
        nonce = self.nonce() if job_id else ""
        job_id = job_id or f"new{next(self.numbers)}"
        parents = tuple(dict.fromkeys(parent for parent in parents if parent != job_id))
        if parents:
            fields = {**fields, "allow_dependency_failures": int(allow)}
        if first and (made.limit is not None or made.at is not None or made.delay is not None):
            fields = {**fields, "enqueue_at_front": 1}
        new = NewJob(
            job_id,
            queue,
            fields,
            made.fields.get("ttl"),
            first,
            nonce,
            parents=parents,
            allow_failure=allow,
            at=None if made.at is None else self.model.moment + made.at,
            delay=made.delay,
            limit=made.limit,
            group=made.group,
            unique=made.unique,
            run_token=token,
            lease=_AT_ONCE if token else 0.0,
        )
        return new, shape

    def send(self, news: Sequence[tuple[NewJob, int]], *, together: bool) -> str:
        """Returns what became of the last one."""
        words = []
        for new, shape in news:
            known = self.model.jobs.get(new.id)
            job = modelled(new, SHAPES[shape], self.model.moment)
            if new.fields.get("enqueue_at_front") is not None:
                job.first = bool(new.fields["enqueue_at_front"])
            words.append(self.model.enqueue(new.id, job, first=new.at_front))
            if self.model.jobs.get(new.id) is job:
                if known is not None:
                    self.forsake(new.id)
                self.begin_life(new, SHAPES[shape].fields.get("retries_left", 0), job.at)
        try:
            if together:
                placed = self.ask("enqueue_many", jobs.enqueue_many(self.store, [new for new, _ in news]))
                answered = [place.status.value for place in placed]
            else:
                answered = [self.ask("enqueue", jobs.enqueue(self.store, news[0][0])).status.value]
        except DuplicateJobError as error:
            answered = ["running" if "running" in str(error) else "exists"]
        except DependencyCycleError:
            answered = ["cycle"]
        predicted = [word for word in words if word in _REFUSALS][:1] or words
        assert answered == predicted, f"enqueue answered {answered}, not {predicted}"
        for word in answered:
            self.count("enqueue", word)
        return words[-1]

    def begin_life(self, new: NewJob, retries: int, at: float | None) -> None:
        self.sent[new.id] = new
        self.canceled.discard(new.id)
        self.history.come.add(new.id)
        self.history.lives[new.id] = Life(retries, earliest=at or 0.0)
        if new.limit is not None:
            limit, concurrency = new.limit
            self.history.slots[limit] = max(self.history.slots.get(limit, 0), concurrency)
        if self.model.jobs[new.id].status == "started":
            run = Run(new.queue, new.id, new.run_token)
            self.history.tokens.add(run.token)
            self.history.lives[new.id].runs += 1
            self.issued[run.token] = Issued(run, "")

    @step(job_id=st.sampled_from(IDS), queue=QUEUE, shape=SHAPE_NUMBERS, first=st.booleans())
    def enqueue(self, job_id: str, queue: str, shape: int, first: bool) -> None:
        self.send([self.make(job_id, queue, shape, first=first)], together=False)

    @step(queue=QUEUE, shape=SHAPE_NUMBERS)
    def enqueue_new(self, queue: str, shape: int) -> None:
        self.send([self.make("", queue, shape)], together=False)

    def some_parents(self, numbers: Sequence[int]) -> list[str]:
        """Of the jobs that there are, and one that never was."""
        there = [*sorted(self.model.jobs), "nobody"]
        return [there[number % len(there)] for number in numbers]

    @step(
        job_id=st.sampled_from((*IDS, "", "")),
        queue=QUEUE,
        shape=SHAPE_NUMBERS,
        first=st.booleans(),
        parents=_FEW,
        allow=st.booleans(),
    )
    def enqueue_after(self, job_id: str, queue: str, shape: int, first: bool, parents: list[int], allow: bool) -> None:
        """A job that waits for others."""
        new = self.make(job_id, queue, shape, first=first, parents=self.some_parents(parents), allow=allow)
        self.send([new], together=False)

    @step(
        job_ids=st.lists(st.sampled_from(IDS), min_size=2, max_size=3),
        queue=QUEUE,
        shape=SHAPE_NUMBERS,
        chain=st.booleans(),
    )
    def enqueue_many(self, job_ids: list[str], queue: str, shape: int, chain: bool) -> None:
        news = [
            self.make(job_id, queue, shape, parents=job_ids[:index][-1:] if chain else ())
            for index, job_id in enumerate(job_ids)
        ]
        self.send(news, together=True)
        # Of an id that is there twice the first entry would replace the second when the call is sent again.
        if len(set(job_ids)) < len(job_ids):
            self.repeatable = None

    @precondition(lambda self: self.sent)
    @step(number=PICKS)
    def enqueue_again(self, number: int) -> None:
        """The answer of an enqueue is lost, and much happens until it is sent again."""
        new = self.sent[sorted(self.sent)[number % len(self.sent)]]
        known = self.model.jobs.get(new.id)
        if known is None or known.nonce != new.nonce:
            return
        before = self.store.raw
        self.ask("enqueue", jobs.enqueue(self.store, new))
        self.check_unchanged(before, "the same enqueue")
        self.count("enqueue", "again")

    @step(job_id=st.sampled_from((*IDS, "")), queue=QUEUE, shape=SHAPE_NUMBERS, parents=st.one_of(st.just([]), _FEW))
    def run_at_once(self, job_id: str, queue: str, shape: int, parents: list[int]) -> None:
        """A job that whoever enqueues it runs, unless it has to wait for others."""
        if SHAPES[shape].runs_at_once:
            new = self.make(
                job_id, queue, shape, parents=self.some_parents(parents), token=f"{next(self.numbers):032x}"
            )
            self.send([new], together=False)

    @precondition(lambda self: self.model.jobs)
    @step(number=PICKS, enqueue=st.booleans(), forget=st.booleans())
    def cancel(self, number: int, enqueue: bool, forget: bool) -> None:
        self.cancel_one(self.some_job(number), enqueue=enqueue, forget=forget)

    def cancel_one(self, job_id: str, *, enqueue: bool = False, forget: bool = False) -> None:
        if self.model.jobs[job_id].status != "canceled":
            self.forsake(job_id)
            if enqueue:
                self.history.excused.add(job_id)
        predicted = self.model.cancel(job_id, enqueue=enqueue, forget=forget)
        call = jobs.cancel(self.store, job_id, YEAR, enqueue_dependents=enqueue, remove_from_dependencies=forget)
        try:
            enqueued = self.ask("cancel", call)
        except InvalidJobOperation:
            self.expect("cancel", "canceled", predicted)
            return
        assert not isinstance(predicted, str), predicted
        for made in self.store.calls[1:]:
            pairs = [text.decode() for text in made.reply[1:]]
            predicted += zip(pairs[::2], pairs[1::2], strict=True)
        found = [(queue, child) for queue, children in enqueued.items() for child in children]
        assert sorted(found) == sorted(predicted), f"cancel enqueued {found}, not {predicted}"
        self.count("cancel", "ok")
        self.canceled.add(job_id)

    @precondition(lambda self: self.model.jobs)
    @step(number=PICKS, first=st.booleans())
    def requeue(self, number: int, first: bool) -> None:
        ended = [job_id for job_id in sorted(self.model.jobs) if self.model.jobs[job_id].status in _ENDED]
        self.requeue_one(ended[number % len(ended)] if ended else IDS[number % len(IDS)], first=first)

    @step(
        job_id=st.sampled_from(IDS), kind=st.sampled_from(("failed", "finished", "canceled", "deferred", "scheduled"))
    )
    def requeue_from(self, job_id: str, kind: str) -> None:
        """Perhaps it is not there."""
        self.requeue_one(job_id, kind)

    def requeue_one(self, job_id: str, kind: str = "", *, first: bool = False) -> None:
        status = self.model.jobs[job_id].status if job_id in self.model.jobs else ""
        kind = kind or _ENDED.get(status, "failed")
        life = self.history.lives.get(job_id)
        predicted = self.model.requeue(job_id, kind, first=first)
        try:
            answered = self.ask("requeue", jobs.requeue(self.store, job_id, kind, first)).status.value
        except NoSuchJobError:
            answered = "missing"
        except InvalidJobOperation:
            answered = "elsewhere"
        if answered in {"queued", "rate_limited"} and life is not None:
            life.again += kind in {"finished", "failed", "canceled"}
            life.deferred, life.earliest = False, 0.0
            self.canceled.discard(job_id)
        self.expect("requeue", answered, predicted)

    @precondition(lambda self: self.model.jobs)
    @step(number=PICKS, named=st.booleans(), grace=st.sampled_from((None, 0.0, 2.5)))
    def ask_stop(self, number: int, named: bool, grace: float | None) -> None:
        running = self.running()
        if running:
            issued = running[number % len(running)]
            job_id, token = issued.run.job_id, issued.run.token if named else ""
        else:
            job_id, token = IDS[number % len(IDS)], ""
        predicted = self.model.ask_stop(job_id, token, "" if grace is None else repr(grace))
        try:
            asked = self.ask("ask_stop", commands.ask_stop(self.store, job_id, token, grace))
        except NoSuchJobError:
            self.expect("ask_stop", "missing", predicted)
            return
        except InvalidJobOperation:
            self.expect("ask_stop", "refused", "refused" if isinstance(predicted, str) else predicted)
            return
        assert (asked.worker, asked.token, asked.is_answered) == predicted
        self.count("ask_stop", "asked" if asked.is_answered else "unanswered")
        if asked.is_answered:
            self.history.asked.add(asked.token)
        if named:
            self.send_again()

    @step(job_ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=2), number=PICKS, any_job=st.booleans())
    def delete(self, job_ids: list[str], number: int, any_job: bool) -> None:
        if any_job and self.model.jobs:
            job_ids = [*job_ids[1:], self.some_job(number)]
        self.delete_all(job_ids)

    def delete_all(self, job_ids: list[str]) -> None:
        self.history.go.update(job_ids)
        predicted = self.model.delete(job_ids)
        self.expect("delete", self.ask("delete", jobs.delete(self.store, job_ids)), predicted)

    def empty(self, queue: str) -> None:
        waiting = set(self.seen.get(f"queue:{queue}", ((), None))[0])
        known: dict[str, Any] = jobs_of(self.seen)
        self.history.go |= {job_id for job_id in waiting if job_id in known and known[job_id][0].status == "queued"}
        predicted = self.model.empty(queue)
        self.expect("empty", self.ask("empty", queues.empty(self.store, queue)), predicted)
        if self.model.has(f"queue:{queue}"):
            self.repeatable = None


_ENDED: Final = {
    "finished": "finished",
    "failed": "failed",
    "stopped": "failed",
    "canceled": "canceled",
    "scheduled": "scheduled",
    "deferred": "deferred",
}
"""Status -> the registry that a job of it can be requeued from."""


def forged(run: Run) -> Run:
    """A run of that job that never was."""
    return replace(run, token="f" * 32)
