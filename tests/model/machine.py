"""Random steps: clients, workers that live and die, a reaper, a clock that runs and jumps, and lost replies."""

from __future__ import annotations

from typing import Final

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import precondition

from aiorq.errors import WorkerExistsError
from aiorq.store import queues, runs, workers
from tests.model.clients import forged as a_forgery
from tests.model.ground import IDS, KEPT, LEASE, PICKS, QUEUES, WORKER_TTL, Server, Tally, step
from tests.model.model import YEAR, Entry
from tests.model.schedules import Schedules
from tests.model.shapes import GROUPED, LIMITED, MORTAL, SHAPE_NUMBERS, SHAPES
from tests.model.sight import PREFIX
from tests.model.upkeep import MEANWHILE

__all__ = ["Machine", "Server", "Tally"]

_ENDS: Final = ("finish", "fail", "retry", "stop", "release", "begin", "renew")
_CLOCK: Final = (1, 5, LEASE, LEASE + 1, 20, 61, 80, 600, 90_000, YEAR + 1, -3600)
_SUFFERINGS: Final = (
    *("lost twice", "tried again", "begun late", "listed twice", "listed and limited", "handed over and requeued"),
    *("asks again", "repeats", "over its time"),
)
_PARENT_ENDS: Final = ("finish", "fail", "gone", "stop", "ask", "cancel", "delete", "empty", "lose", "expire")


class Machine(Schedules):
    @step(number=PICKS, shape=SHAPE_NUMBERS, what=st.sampled_from(_SUFFERINGS), meanwhile=MEANWHILE)
    def suffer(self, number: int, shape: int, what: str, meanwhile: str) -> None:
        """What happens to a job only after much else did."""
        if what == "handed over and requeued":
            self.be_listed_elsewhere(number)
            return
        if what == "over its time":
            self.be_over(number)
            return
        job_id = "j0" if what.startswith("listed") else ""
        if job_id:
            self.send([self.make(job_id, "a", MORTAL, first=True)], together=False)
            self.check()
            self.pass_time(SHAPES[MORTAL].fields["ttl"])
            self.check()
        if what == "listed and limited":
            for name in (job_id, job_id, ""):
                self.send([self.make(name, "a", LIMITED)], together=False)
                self.check()
            self.take(self.worker(number), ["a"], 3)
            return
        for run in self.bring_to_run(number, job_id, shape, begins=what != "begun late"):
            worker = self.worker(number)
            if what == "lost twice":
                self.look(number, LEASE + 1, 99, requeue_lost=True)
                for again in self.take(worker, ["a"], 1, requeue_lost=True):
                    self.check()
                    self.go(worker, again)
                self.check()
                self.look(number, LEASE + 1, 99, requeue_lost=True)
            elif what == "begun late":
                self.pass_time(LEASE + 61)
                self.check()
                self.go(worker, run)
            elif what == "asks again":
                self.end_asking(self.issued[run.token], 1, [0], 500, first=True)
                for again in self.take_all(number):
                    self.end_asking(self.issued[again.token], 1, [0], 500)
                    self.check()
            elif what == "repeats":
                self.end_well(self.issued[run.token], 500)
                for again in self.take_all(number):
                    self.end_well(self.issued[again.token], 500)
                    self.check()
            else:
                self.end_badly(self.issued[run.token], 500)
                self.check()
                if what == "listed twice":
                    self.take(worker, ["a"], 1)
                    continue
                self.look(number, LEASE + 1, 0, requeue_lost=False)
                self.deal_late(meanwhile, requeue_lost=False)

    def be_over(self, number: int) -> None:
        """The time of jobs is over that hold slots and are in a group, and one takes an id again."""
        for job_id in (IDS[number % len(IDS)], ""):
            self.send([self.make(job_id, "b", GROUPED)], together=False)
            self.check()
        self.pass_time(SHAPES[GROUPED].fields["ttl"])
        self.check()
        self.clean_group("h")
        self.check()
        self.send([self.make(IDS[number % len(IDS)], "b", GROUPED)], together=False)
        self.check()
        self.clean_limit("k")

    def take_all(self, number: int) -> list[runs.Run]:
        self.check()
        taken = self.take(self.worker(number), ["a"], 3)
        self.check()
        return taken

    def be_listed_elsewhere(self, number: int) -> None:
        """An id that a worker was handed is canceled, requeued and run by another, and then the first one claims."""
        worker = self.worker(number)
        self.send([self.make("", "a", 0, first=True)], together=False)
        self.check()
        job_id = list(self.model.jobs)[-1]
        self.hand(worker, "a")
        self.check()
        self.cancel_one(job_id)
        self.check()
        self.requeue_one(job_id, first=True)
        self.check()
        for run in self.take(self.worker(number + 1), ["a"], 1):
            self.check()
            self.end_well(self.issued[run.token], 500)
        self.check()
        self.take(worker, ["a"], 1)

    @step(
        number=PICKS,
        shapes=st.lists(SHAPE_NUMBERS, min_size=1, max_size=4),
        how=st.sampled_from(_PARENT_ENDS),
        allow=st.booleans(),
        names=st.sampled_from((("",), ("", ""), ("j0",), ("j1", ""))),
        severed=st.sampled_from((None, 0, 1)),
    )
    def end_parent(
        self, number: int, shapes: list[int], how: str, allow: bool, names: tuple[str, ...], severed: int | None
    ) -> None:
        """Jobs end that others wait for, perhaps more than are looked at at once; one with its own id comes again."""
        parents = []
        for name in names:
            self.send([self.make(name, "a", MORTAL, first=True)], together=False)
            self.check()
            parents.append(name or list(self.model.jobs)[-1])
        children = [
            self.make("", QUEUES[index % 2], shape, first=bool(index % 3), parents=parents, allow=allow)
            for index, shape in enumerate(shapes)
        ]
        self.send(children, together=True)
        self.check()
        for parent in parents:
            self.end(parent, how, number, severed)
            self.check()
        if names[0]:
            self.send([self.make(names[0], "a", MORTAL, parents=[children[0][0].id])], together=False)

    def end(self, job_id: str, how: str, number: int, severed: int | None) -> None:
        if how == "cancel":
            self.cancel_one(job_id, enqueue=True)
        elif how == "delete":
            self.delete_all([job_id])
        elif how == "empty":
            self.empty("a")
        elif how == "expire":
            self.pass_time(SHAPES[MORTAL].fields["ttl"])
            self.check()
            for queue in QUEUES:
                self.sweep_registry("deferred", queue)
        else:
            for run in self.take(self.worker(number), ["a"], 1):
                issued = self.issued[run.token]
                self.check()
                self.go(issued.worker, run)
                self.check()
                if how == "finish":
                    self.end_well(issued, 500, severed=severed)
                elif how in {"fail", "gone"}:
                    self.end_badly(issued, 500 if how == "fail" else 0, severed=severed)
                elif how == "stop":
                    self.stop_one(issued, 0)
                elif how == "ask":
                    self.end_asking(issued, 0, [0], 500)
                else:
                    self.look(number, LEASE + 1, 99, requeue_lost=False)

    def die(self, worker: str) -> None:
        """A worker is killed; another one comes up."""
        del self.boots[worker]
        self.come_up()

    def retire(self, worker: str) -> None:
        """A worker ends as it should, and comes up again under its name."""
        back = self.runs_of(worker)
        self.model.release(worker, list(QUEUES), [run.token for run in back])
        self.ask("release", runs.release(self.store, worker, QUEUES, back))
        for run in back:
            self.history.lives[run.job_id].runs -= 1
        self.check()
        boot = self.boots.pop(worker)
        for token in self.model.unheard(worker):
            self.history.lives[self.model.runs[token].job_id].runs -= 1
        predicted = self.model.retire(worker, boot, list(QUEUES))
        self.ask("retire", workers.retire(self.store, worker, boot, QUEUES))
        self.expect("retire", "ok", predicted)
        self.check()
        self.enter(worker)

    def usurp(self, worker: str) -> None:
        """A second process wants the name of a worker that is there."""
        if not self.model.has(f"worker:{worker}") or "boot" not in self.model.keys[f"worker:{worker}"].value:
            return
        before = self.store.raw
        with pytest.raises(WorkerExistsError):
            self.ask("register", workers.register(self.store, worker, "another", QUEUES, {}, WORKER_TTL))
        self.check_unchanged(before, "a worker of a name that is taken")
        self.count("register", "taken")

    # Time, and what goes wrong

    @step(seconds=st.sampled_from(_CLOCK))
    def move_clock(self, seconds: int) -> None:
        self.pass_time(seconds)

    @precondition(lambda self: self.repeatable is not None)
    @step()
    def again(self) -> None:
        """The answer of the last script is lost, and it is sent again."""
        self.send_again()

    @precondition(lambda self: self.issued)
    @step(number=st.integers(0, 40), how=st.sampled_from(_ENDS), forged=st.booleans(), ttl=KEPT)
    def outdated(self, number: int, how: str, forged: bool, ttl: int) -> None:
        """A worker that lost a run, or never had it, speaks of it."""
        issued = list(self.issued.values())[-1 - number % len(self.issued)]
        worker, run = issued.worker, issued.run
        if forged:
            run = a_forgery(run)
        if run.token in self.model.runs:
            return
        recorded, before = self.model.recorded(run.token), self.store.raw
        allowed: list[str] = []
        if how == "finish":
            answer: object = self.ask(how, runs.finish(self.store, worker, run, b"late", ttl))
            predicted: object = recorded == "finished"
        elif how == "fail":
            answer = self.ask(how, runs.fail(self.store, worker, run, b"late", ttl)).value
            predicted = recorded if recorded in {"failed", "queued", "scheduled"} else "lost"
        elif how == "retry":
            call = runs.retry(self.store, worker, run, most=9, intervals=[0], at_front=False, failure_ttl=ttl)
            answer = self.ask(how, call).value
            predicted = recorded if recorded in {"failed", "queued", "scheduled"} else "lost"
        elif how == "stop":
            answer = self.ask(how, runs.stop(self.store, worker, run, b"late", ttl))
            predicted = recorded == "stopped"
        elif how == "begin":
            answer = self.ask(how, self.begun(worker, run))
            predicted = False
        elif how == "release":
            answer = self.ask(how, runs.release(self.store, worker, [], [run]))
            predicted = self.model.release(worker, [], [run.token])
            allowed = [f"worker:{worker}"]
        else:
            renewed = self.ask(how, runs.renew(self.store, worker, "another", {run: True}, LEASE, WORKER_TTL))
            answer, predicted = renewed.lost, [run]
            self.model.renew(worker, "another", {run.token: True}, LEASE, WORKER_TTL)
            allowed = [f"worker:{worker}:executions"]
        assert answer == predicted, f"{how} of a run that is over answered {answer!r}, not {predicted!r}"
        self.check_unchanged(before, f"I5: {how} of a run that is over", *allowed)
        self.count(how, "outdated")

    def suspend(self) -> None:
        """Or go on, if workers are suspended."""
        suspended = not self.model.has("suspended")
        self.repeatable = None
        command = ("SET", f"{PREFIX}:suspended", "1") if suspended else ("DEL", f"{PREFIX}:suspended")
        self.run(self.store.transport.execute(*command))
        self.run(self.store.look())
        if suspended:
            self.model.keys["suspended"] = Entry("1")
        else:
            self.model.keys.pop("suspended", None)

    def pause(self, queue: str) -> None:
        """Or go on, if it is paused."""
        paused = self.model.at("aiorq:paused", set)
        if queue in paused:
            assert self.run(queues.resume(self.store, queue))
            self.run(self.store.look())
            paused.discard(queue)
            self.repeatable = None
        else:
            self.ask("pause", queues.pause(self.store, queue, "why"))
            paused.add(queue)

    @step(number=PICKS, what=st.sampled_from(("die", "retire", "enter", "usurp", "empty", "suspend", "pause", "flush")))
    def disturb(self, number: int, what: str) -> None:
        """What is rare."""
        if what == "suspend":
            self.suspend()
        elif what == "pause":
            self.pause(QUEUES[number % 2])
            self.send_again()
        elif what == "empty":
            self.empty(QUEUES[number % 2])
            self.send_again()
        elif what == "flush":
            self.run(self.store.transport.execute("SCRIPT", "FLUSH"))
        else:
            {"die": self.die, "retire": self.retire, "enter": self.enter, "usurp": self.usurp}[what](
                self.worker(number)
            )
