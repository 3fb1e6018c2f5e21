"""Random steps of workers: taking jobs, and saying how their runs ended."""

from __future__ import annotations

from typing import Final

import hypothesis.strategies as st
from hypothesis.stateful import precondition

from aiorq.store import runs
from aiorq.store.runs import Run
from tests.model.clients import Clients
from tests.model.ground import (
    IDS,
    KEPT,
    LEASE,
    ORDERS,
    PICKS,
    QUEUE,
    WORKER_TTL,
    Issued,
    LastClaim,
    step,
    while_jobs_run,
)
from tests.model.shapes import RAISED, SHAPE_NUMBERS
from tests.scripts.conftest import begin

_KINDS: Final = st.sampled_from(((), (RAISED, "builtins.Exception")))
_SEVERED: Final = st.sampled_from((None, 0, 1))
"""After how many calls a worker dies that looks at dependents which were set apart."""


class Workers(Clients):
    def take(
        self, worker: str, order: list[str], most: int, *, requeue_lost: bool = False, in_turn: bool = False
    ) -> list[Run]:
        nonce = self.nonce()
        paused = set(order).intersection(self.model.read("aiorq:paused"))
        suspended = self.model.has("suspended")
        call = runs.claim(self.store, worker, order, most, LEASE, nonce, requeue_lost=requeue_lost, in_turn=in_turn)
        claimed = self.ask("claim", call)
        wish = "requeue" if requeue_lost else ""
        predicted = self.model.claim(worker, order, most, LEASE, nonce, wish, in_turn=in_turn)
        if claimed is None or predicted is None:
            self.expect("claim", claimed, predicted)
            return []
        taken = [claim.run for claim in claimed]
        found = [(run.token, run.queue, run.job_id) for run in taken]
        assert found == predicted, f"claim took {found}, not {predicted}"
        assert suspended or claimed.paused == paused, f"claim passed over {claimed.paused}"
        self.count("claim", len(taken))
        if paused:
            self.count("claim", "paused")
        for run in taken:
            assert run.token not in self.history.tokens, f"I4: {run.token} was there before"
            assert run.job_id not in self.canceled, f"I16: {run.job_id} was canceled"
            self.history.tokens.add(run.token)
            self.history.lives[run.job_id].runs += 1
            self.issued[run.token] = Issued(run, worker)
        if taken:
            self.claims[worker] = LastClaim(order, most, nonce, taken)
        return taken

    @step(
        number=PICKS,
        order=st.sampled_from(ORDERS),
        most=st.integers(1, 3),
        requeue_lost=st.booleans(),
        in_turn=st.booleans(),
        begins=st.booleans(),
    )
    def claim(self, number: int, order: list[str], most: int, requeue_lost: bool, in_turn: bool, begins: bool) -> None:
        worker = self.worker(number)
        for run in self.take(worker, order, most, requeue_lost=requeue_lost, in_turn=in_turn):
            if begins:
                self.check()
                self.go(worker, run)

    @step(number=PICKS, job_id=st.sampled_from((*IDS, "")), shape=SHAPE_NUMBERS, begins=st.booleans())
    def start(self, number: int, job_id: str, shape: int, begins: bool) -> None:
        """A job goes all the way to its run, which few examples would bring about step by step."""
        self.bring_to_run(number, job_id, shape, begins=begins)

    def bring_to_run(self, number: int, job_id: str, shape: int, *, begins: bool) -> list[Run]:
        self.send([self.make(job_id, "a", shape, first=True)], together=False)
        self.check()
        worker = self.worker(number)
        taken = self.take(worker, ["a"], 1)
        for run in taken if begins else []:
            self.check()
            self.go(worker, run)
        self.check()
        return taken

    @precondition(lambda self: self.claims)
    @step(number=PICKS)
    def claim_again(self, number: int) -> None:
        """The answer of a claim is lost, and much happens until it is sent again."""
        worker = sorted(self.claims)[number % len(self.claims)]
        if not self.model.has(f"worker:{worker}"):
            return
        last, before = self.claims[worker], self.store.raw
        call = runs.claim(self.store, worker, last.queues, last.most, LEASE, last.nonce)
        claimed = self.ask("claim", call)
        assert claimed is not None
        assert [claim.run for claim in claimed] == [run for run in last.taken if run.token in self.model.runs]
        self.check_unchanged(before, "the same claim")
        self.count("claim", "again")

    @step(number=PICKS, queue=QUEUE)
    def hand_over(self, number: int, queue: str) -> None:
        """What a worker waits for comes to its inbox."""
        self.hand(self.worker(number), queue)

    def hand(self, worker: str, queue: str) -> None:
        if not (self.model.has(f"worker:{worker}") and self.model.has(f"queue:{queue}")):
            return
        self.repeatable = None
        keys = self.store.keys
        command = ("LMOVE", keys.queue(queue), keys.inbox(worker, queue), "LEFT", "RIGHT")
        self.run(self.store.transport.execute(*command))
        self.run(self.store.look())
        self.model.hand_over(worker, queue)
        self.tally.words["hand_over"] += 1

    def go(self, worker: str, run: Run) -> None:
        self.expect("begin", self.ask("begin", self.begun(worker, run)), self.model.begin(run.token))

    async def begun(self, worker: str, run: Run) -> bool:
        return await begin(self.store, worker, run)

    @while_jobs_run
    @step(number=PICKS)
    def begin(self, number: int) -> None:
        issued = self.choose(number)
        self.go(issued.worker, issued.run)

    @step(number=PICKS, begun=st.booleans())
    def renew(self, number: int, begun: bool) -> None:
        """A worker renews what it thinks that it has."""
        self.keep(self.worker(number), begun=begun)

    def keep(self, worker: str, *, begun: bool) -> None:
        boot = self.boots[worker]
        mine = [issued.run for issued in self.issued.values() if issued.worker == worker][-4:]
        stops = dict(self.seen.get(f"aiorq:stops:{worker}", ({}, None))[0])
        lost = [run for run in mine if run.token not in self.model.runs]
        known = self.model.renew(worker, boot, {run.token: begun for run in mine}, LEASE, WORKER_TTL)
        call = runs.renew(self.store, worker, boot, dict.fromkeys(mine, begun), LEASE, WORKER_TTL)
        answer = self.ask("renew", call)
        assert answer.lost == lost
        assert answer.stops == {token: float(grace) if grace else None for token, grace in stops.items()}
        self.expect("renew", answer.known, known)
        if not known:
            self.check()
            self.enter(worker)

    @while_jobs_run
    @step(number=PICKS, ttl=KEPT, severed=_SEVERED)
    def finish(self, number: int, ttl: int, severed: int | None) -> None:
        self.end_well(self.choose(number), ttl, severed=severed)

    def end_well(self, issued: Issued, ttl: int, *, severed: int | None = None) -> None:
        job_id = issued.run.job_id
        interval = (self.model.jobs[job_id].repeat_intervals or [0])[0]
        self.model.finish(issued.worker, issued.run.token, ttl)
        if job_id not in self.model.jobs:
            self.history.go.add(job_id)
            self.history.excused.add(job_id)
        elif self.model.jobs[job_id].status != "finished":
            self.history.lives[job_id].again += 1
            self.history.lives[job_id].earliest = self.model.moment + interval
            self.history.excused.add(job_id)
            self.count("finish", "repeated")
        self.store.severed = severed
        done = self.ask("finish", runs.finish(self.store, issued.worker, issued.run, b"value", ttl))
        self.store.severed = None
        self.expect("finish", done, True)

    @while_jobs_run
    @step(number=PICKS, ttl=KEPT, kinds=_KINDS, listed=st.sampled_from((True, True, True, False)), severed=_SEVERED)
    def fail(self, number: int, ttl: int, kinds: tuple[str, ...], listed: bool, severed: int | None) -> None:
        self.end_badly(self.choose(number), ttl, kinds, listed=listed, severed=severed)

    def end_badly(
        self,
        issued: Issued,
        ttl: int,
        kinds: tuple[str, ...] = (),
        *,
        listed: bool = True,
        severed: int | None = None,
    ) -> None:
        predicted = self.model.fail(issued.worker, issued.run.token, ttl, kinds, listed=listed)
        self.note_retry(issued.run.job_id, ttl, predicted)
        self.store.severed = severed
        call = runs.fail(self.store, issued.worker, issued.run, b"trouble", ttl, kinds=kinds, listed=listed)
        became = self.ask("fail", call)
        self.store.severed = None
        self.expect("fail", became.value, predicted)

    def note_retry(self, job_id: str, ttl: int, became: str) -> None:
        if became == "failed":
            self.expect_gone(job_id, ttl)
        elif became == "scheduled":
            self.history.lives[job_id].earliest = self.model.at(f"scheduled:{self.model.jobs[job_id].queue}", dict)[
                job_id
            ]

    @while_jobs_run
    @step(
        number=PICKS,
        most=st.sampled_from((1, 2)),
        intervals=st.sampled_from(([0], [5], [0, 20])),
        first=st.booleans(),
        ttl=KEPT,
    )
    def retry(self, number: int, most: int, intervals: list[int], first: bool, ttl: int) -> None:
        """A run asks to be tried again."""
        self.end_asking(self.choose(number), most, intervals, ttl, first=first)

    def end_asking(self, issued: Issued, most: int, intervals: list[int], ttl: int, *, first: bool = False) -> None:
        job_id = issued.run.job_id
        predicted = self.model.retry(issued.worker, issued.run.token, most, intervals, ttl, first=first)
        self.note_retry(job_id, ttl, predicted)
        if predicted != "failed":
            self.history.lives[job_id].asked += 1
        call = runs.retry(
            self.store, issued.worker, issued.run, most=most, intervals=intervals, at_front=first, failure_ttl=ttl
        )
        self.expect("retry", self.ask("retry", call).value, predicted)

    @while_jobs_run
    @step(number=PICKS, ttl=KEPT)
    def stop(self, number: int, ttl: int) -> None:
        self.stop_one(self.choose(number), ttl)

    def stop_one(self, issued: Issued, ttl: int) -> None:
        self.expect_gone(issued.run.job_id, ttl)
        self.model.stop(issued.worker, issued.run.token, ttl)
        self.expect("stop", self.ask("stop", runs.stop(self.store, issued.worker, issued.run, b"stopped", ttl)), True)

    @step(number=PICKS, order=st.sampled_from(ORDERS), most=st.integers(0, 2))
    def release(self, number: int, order: list[str], most: int) -> None:
        worker = self.worker(number)
        back = self.runs_of(worker)[:most]
        predicted = self.model.release(worker, order, [run.token for run in back])
        self.expect("release", self.ask("release", runs.release(self.store, worker, order, back)), predicted)
        for run in back:
            self.history.lives[run.job_id].runs -= 1
