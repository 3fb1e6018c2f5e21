"""Random steps: clients, workers that live and die, a reaper, a clock that runs and jumps, and lost replies."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

import hypothesis.strategies as st
import pytest
from hypothesis import note
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from aiorq import Job as Handle
from aiorq import connect
from aiorq.call import make_call
from aiorq.errors import DuplicateJobError, InvalidJobOperation, NoSuchJobError, WorkerExistsError
from aiorq.keys import Keys
from aiorq.options import JobOptions
from aiorq.store import commands, jobs, overdue, queues, runs, workers
from aiorq.store.jobs import NewJob
from aiorq.store.overdue import Finding
from aiorq.store.runs import Run
from tests.model import invariants
from tests.model.invariants import LISTS, History, Life
from tests.model.model import MOST_LOSSES, YEAR, Entry, Job, Model, Picture
from tests.model.sight import PREFIX, Raw, Sight, WatchedStore
from tests.scripts.conftest import NOON, begin

T = TypeVar("T")

_IDS: Final = ("j0", "j1", "j2", "j3")
_QUEUES: Final = ("a", "b")
_QUEUE: Final = st.sampled_from(_QUEUES)
_ENDS: Final = ("finish", "fail", "stop", "release", "begin", "renew")
_ORDERS: Final = (["a"], ["b"], ["a", "b"], ["b", "a"])
_LEASE: Final = 15
_WORKER_TTL: Final = 480
_LEADS: Final = 5
_SHAPES: Final[Sequence[dict[str, Any]]] = (
    {},
    {"ttl": 20},
    {"ttl": 100, "failure_ttl": -1},
    {"failure_ttl": 0},
    {"failure_ttl": 30, "on_lost": "fail"},
    {"on_lost": "requeue"},
    {"on_lost": "requeue", "retries_left": 1},
    {"retries_left": 1},
    {"retries_left": 2, "retry_intervals": [5, 10], "ttl": 60},
    {"retries_left": 2, "enqueue_at_front_on_retry": True, "ttl": 100},
    {"retries_left": 2, "retry_intervals": [5], "failure_ttl": -1},
    {"retries_left": 3, "retry_intervals": [0, 20, 5], "enqueue_at_front": True, "ttl": 60},
)
"""What jobs are made with, besides queue and id."""
_MORTAL: Final = 1
"""The one of them that waits for 20 seconds."""
_CLOCK: Final = (1, 5, _LEASE, _LEASE + 1, 20, 61, 80, 600, 90_000, YEAR + 1, -3600)
_SHAPE_NUMBERS: Final = st.integers(0, len(_SHAPES) - 1)
_PICKS: Final = st.integers(0, 7)
_MEANWHILE: Final = st.sampled_from(("renew", "back", ""))
"""What happens between a look for what is overdue and dealing with it."""
_KEPT: Final = st.sampled_from((500, 20, -1, 0))


@dataclass
class Tally:
    """What the examples of a test did, taken together."""

    steps: int = 0
    words: Counter[str] = field(default_factory=Counter)
    """Answers of scripts, as `fail queued`."""


@dataclass(frozen=True)
class Issued:
    """A run, and the worker that got it."""

    run: Run
    worker: str


@dataclass(frozen=True)
class LastClaim:
    """What a worker would send again if the answer was lost."""

    queues: list[str]
    most: int
    nonce: str
    taken: list[Run]


class Server:
    """An event loop and a client that stay from one example to the next."""

    def __init__(self, loop: asyncio.AbstractEventLoop, url: str) -> None:
        self.loop = loop
        self.store: WatchedStore = loop.run_until_complete(self._open(url))
        self._fields = {
            (number, queue): self._write(shape, queue) for number, shape in enumerate(_SHAPES) for queue in _QUEUES
        }

    async def _open(self, url: str) -> WatchedStore:
        return WatchedStore(connect(url), Keys(PREFIX))

    def close(self) -> None:
        self.loop.run_until_complete(self.store.connection.aclose())

    def _write(self, shape: dict[str, Any], queue: str) -> dict[str, bytes | int]:
        """The fields of a job as a queue writes them, and as RQ does where aiorq has no option for them yet."""
        job: Handle[Any] = Handle("id", self.store.connection)
        job.set_call(make_call("jobs.add", (1,)), JobOptions(ttl=shape.get("ttl")), default_timeout=180)
        for name, value in shape.items():
            setattr(job, name, value)
        return job.fields_to_enqueue(queue)

    def new(self, job_id: str, queue: str, shape: int, nonce: str, *, first: bool = False) -> NewJob:
        return NewJob(job_id, queue, self._fields[shape, queue], _SHAPES[shape].get("ttl"), first, nonce)


def _modelled(new: NewJob, shape: dict[str, Any]) -> Job:
    return Job(
        queue=new.queue,
        nonce=new.nonce,
        waits=shape.get("ttl"),
        kept=shape.get("failure_ttl"),
        retries=shape.get("retries_left"),
        intervals=shape.get("retry_intervals", []),
        first_on_retry=shape.get("enqueue_at_front_on_retry", False),
        first=shape.get("enqueue_at_front"),
        on_lost=shape.get("on_lost"),
    )


def step(**draws: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """A rule that counts as a step, after which the server is held against the model and the invariants."""

    def decorate(act: Callable[..., None]) -> Any:
        @functools.wraps(act)
        def counted(self: Machine, **drawn: Any) -> None:
            act(self, **drawn)
            self.check()
            self.tally.steps += 1

        return rule(**draws)(counted)  # type: ignore[call-overload]

    return decorate


while_jobs_run = precondition(lambda self: bool(self.running()))
"""There is a run that a living worker has."""


class Machine(RuleBasedStateMachine):
    def __init__(self, server: Server, tally: Tally) -> None:
        super().__init__()
        self.server, self.store, self.tally = server, server.store, tally
        self.model, self.history, self.sight = Model(), History(), Sight()
        self.seen: Picture = {}
        self.numbers = itertools.count(1)
        """For nonces, names and boots, none of which may come twice."""
        self.boots: dict[str, str] = {}
        """The workers that live, and what tells their processes apart."""
        self.issued: dict[str, Issued] = {}
        """By token: every run that there ever was."""
        self.sent: dict[str, tuple[NewJob, int]] = {}
        """The last enqueue of each id, and its shape."""
        self.claims: dict[str, LastClaim] = {}
        self.canceled: set[str] = set()
        self.inboxes: dict[tuple[str, str], str] = {}
        """The first id in each inbox when the reaper last looked."""
        self.overdue: list[Finding] = []
        """What a reaper found and did not come to deal with."""
        self.can_repeat = False
        """Whether the last call of a script may be sent again now."""
        self.run(self._begin())
        for _ in range(2):
            self.come_up()
        self.can_repeat = False
        self.check()

    async def _begin(self) -> None:
        await self.store.connection.flushall()
        await self.store.set_clock(NOON)
        await self.store.look()

    def run(self, call: Awaitable[T]) -> T:
        return self.server.loop.run_until_complete(asyncio.ensure_future(call, loop=self.server.loop))

    def ask(self, script: str, call: Awaitable[T]) -> T:
        """Call the store, which looks at everything in the same round trip."""
        self.can_repeat = True
        answer = self.run(call)
        note(f"    {script} -> {answer}")
        return answer

    def expect(self, script: str, answer: object, predicted: object) -> None:
        assert answer == predicted, f"{script} answered {answer!r}, not {predicted!r}"
        self.count(script, answer)

    def count(self, script: str, word: object) -> None:
        self.tally.words[f"{script} {word}"] += 1

    def check(self) -> None:
        """Hold what is on the server against the model, and against what must hold of anything."""
        self.seen = self.sight.picture(self.store.raw)
        predicted = self.model.picture()
        if self.seen != predicted:
            lines = [
                f"  {key}: is {self.seen.get(key)}, should be {predicted.get(key)}"
                for key in sorted(self.seen.keys() | predicted.keys())
                if self.seen.get(key) != predicted.get(key)
            ]
            raise AssertionError("\n".join(["Redis is not as predicted:", *lines]))
        self.history.latest = max(self.history.latest, self.model.moment)
        invariants.check(self.seen, self.history)
        self.history.come, self.history.go = set(), set()

    def check_unchanged(self, before: Raw, what: str, *but: str) -> None:
        now = self.store.raw
        changed = {name for name in now.keys() | before.keys() if now.get(name) != before.get(name)}
        changed -= {f"{PREFIX}:{name}".encode() for name in but}
        assert not changed, f"{what} changed {sorted(changed)}"

    def nonce(self) -> str:
        return f"{next(self.numbers):028x}"

    # What there is to choose from

    def worker(self, number: int) -> str:
        names = list(self.boots)
        return names[number % len(names)]

    def running(self) -> list[Issued]:
        """The runs of the workers that live, the newest first."""
        found = [self.issued[token] for token in self.model.runs]
        return [issued for issued in reversed(found) if issued.worker in self.boots]

    def runs_of(self, worker: str) -> list[Run]:
        """In the order of their claims."""
        return [self.issued[token].run for token in self.model.runs if self.issued[token].worker == worker]

    def choose(self, number: int) -> Issued:
        candidates = self.running()
        return candidates[number % len(candidates)]

    def forsake(self, job_id: str) -> None:
        """The job is to leave its place, but no script looks for it in inboxes."""
        for key, (members, _) in self.seen.items():
            if key.startswith("aiorq:inbox:"):
                self.history.strays[LISTS, job_id] += members.count(job_id)

    # Clients

    def send(self, news: Sequence[tuple[NewJob, int]], *, together: bool) -> None:
        words = []
        for new, shape in news:
            known = self.model.jobs.get(new.id)
            word = self.model.enqueue(new.id, _modelled(new, _SHAPES[shape]), first=new.at_front)
            words.append(word)
            if word == "queued" and self.model.jobs[new.id] is not known:
                if known is not None:
                    self.forsake(new.id)
                self.sent[new.id] = new, shape
                self.canceled.discard(new.id)
                self.history.come.add(new.id)
                self.history.lives[new.id] = Life(_SHAPES[shape].get("retries_left", 0))
        try:
            if together:
                self.ask("enqueue_many", jobs.enqueue_many(self.store, [new for new, _ in news]))
            else:
                self.ask("enqueue", jobs.enqueue(self.store, news[0][0]))
            answered = "queued"
        except DuplicateJobError:
            answered = "running"
        self.expect("enqueue", answered, "running" if "running" in words else "queued")

    @step(job_id=st.sampled_from(_IDS), queue=_QUEUE, shape=_SHAPE_NUMBERS, first=st.booleans())
    def enqueue(self, job_id: str, queue: str, shape: int, first: bool) -> None:
        self.send([(self.server.new(job_id, queue, shape, self.nonce(), first=first), shape)], together=False)

    @step(queue=_QUEUE, shape=_SHAPE_NUMBERS)
    def enqueue_new(self, queue: str, shape: int) -> None:
        job_id = f"new{next(self.numbers)}"
        self.send([(self.server.new(job_id, queue, shape, ""), shape)], together=False)

    @step(job_ids=st.lists(st.sampled_from(_IDS), min_size=2, max_size=3), queue=_QUEUE, shape=_SHAPE_NUMBERS)
    def enqueue_many(self, job_ids: list[str], queue: str, shape: int) -> None:
        self.send([(self.server.new(job_id, queue, shape, self.nonce()), shape) for job_id in job_ids], together=True)
        # Of an id that is there twice the first entry would replace the second when the call is sent again.
        self.can_repeat = len(set(job_ids)) == len(job_ids)

    @precondition(lambda self: self.sent)
    @step(number=_PICKS)
    def enqueue_again(self, number: int) -> None:
        """The answer of an enqueue is lost, and much happens until it is sent again."""
        new, _ = self.sent[sorted(self.sent)[number % len(self.sent)]]
        known = self.model.jobs.get(new.id)
        if known is None or known.nonce != new.nonce:
            return
        before = self.store.raw
        self.ask("enqueue", jobs.enqueue(self.store, new))
        self.check_unchanged(before, "the same enqueue")
        self.count("enqueue", "again")

    @precondition(lambda self: self.model.jobs)
    @step(number=_PICKS)
    def cancel(self, number: int) -> None:
        job_id = sorted(self.model.jobs)[number % len(self.model.jobs)]
        if self.model.jobs[job_id].status != "canceled":
            self.forsake(job_id)
        predicted = self.model.cancel(job_id)
        try:
            self.ask("cancel", jobs.cancel(self.store, job_id, YEAR))
            answered = "ok"
        except InvalidJobOperation:
            answered = "canceled"
        self.expect("cancel", answered, predicted)
        self.canceled.add(job_id)

    @precondition(lambda self: self.model.jobs)
    @step(number=_PICKS, named=st.booleans(), grace=st.sampled_from((None, 0.0, 2.5)))
    def ask_stop(self, number: int, named: bool, grace: float | None) -> None:
        running = self.running()
        if running:
            issued = running[number % len(running)]
            job_id, token = issued.run.job_id, issued.run.token if named else ""
        else:
            job_id, token = _IDS[number % len(_IDS)], ""
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

    @step(job_ids=st.lists(st.sampled_from(_IDS), min_size=1, max_size=2))
    def delete(self, job_ids: list[str]) -> None:
        self.history.go.update(job_ids)
        predicted = self.model.delete(job_ids)
        self.expect("delete", self.ask("delete", jobs.delete(self.store, job_ids)), predicted)

    def empty(self, queue: str) -> None:
        waiting = set(self.seen.get(f"queue:{queue}", ((), None))[0])
        self.history.go |= {
            job_id for job_id in waiting if job_id in self.model.jobs and self.seen[f"job:{job_id}"][0][0] == "queued"
        }
        predicted = self.model.empty(queue)
        self.expect("empty", self.ask("empty", queues.empty(self.store, queue)), predicted)

    # Workers

    def come_up(self) -> None:
        self.enter(f"w{next(self.numbers)}")

    def enter(self, worker: str) -> None:
        boot = self.boots.setdefault(worker, f"boot{next(self.numbers)}")
        predicted = self.model.register(worker, boot, list(_QUEUES), _WORKER_TTL)
        call = workers.register(self.store, worker, boot, _QUEUES, {"state": "started"}, _WORKER_TTL)
        self.ask("register", call)
        self.expect("register", "ok", predicted)
        self.claims.pop(worker, None)

    def take(self, worker: str, order: list[str], most: int, *, requeue_lost: bool) -> list[Run]:
        nonce = self.nonce()
        call = runs.claim(self.store, worker, order, most, _LEASE, nonce, requeue_lost=requeue_lost)
        claimed = self.ask("claim", call)
        predicted = self.model.claim(worker, order, most, _LEASE, nonce, "requeue" if requeue_lost else "")
        if claimed is None or predicted is None:
            self.expect("claim", claimed, predicted)
            return []
        taken = [claim.run for claim in claimed]
        found = [(run.token, run.queue, run.job_id) for run in taken]
        assert found == predicted, f"claim took {found}, not {predicted}"
        self.count("claim", len(taken))
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
        number=_PICKS,
        order=st.sampled_from(_ORDERS),
        most=st.integers(1, 3),
        requeue_lost=st.booleans(),
        begins=st.booleans(),
    )
    def claim(self, number: int, order: list[str], most: int, requeue_lost: bool, begins: bool) -> None:
        worker = self.worker(number)
        for run in self.take(worker, order, most, requeue_lost=requeue_lost):
            if begins:
                self.check()
                self.go(worker, run)

    @step(number=_PICKS, job_id=st.sampled_from((*_IDS, "")), shape=_SHAPE_NUMBERS, begins=st.booleans())
    def start(self, number: int, job_id: str, shape: int, begins: bool) -> None:
        """A job goes all the way to its run, which few examples would bring about step by step."""
        self.bring_to_run(number, job_id, shape, begins=begins)

    def bring_to_run(self, number: int, job_id: str, shape: int, *, begins: bool) -> list[Run]:
        nonce = self.nonce() if job_id else ""
        job_id = job_id or f"new{next(self.numbers)}"
        self.send([(self.server.new(job_id, "a", shape, nonce, first=True), shape)], together=False)
        self.check()
        worker = self.worker(number)
        taken = self.take(worker, ["a"], 1, requeue_lost=False)
        for run in taken if begins else []:
            self.check()
            self.go(worker, run)
        self.check()
        return taken

    @step(
        number=_PICKS,
        shape=_SHAPE_NUMBERS,
        what=st.sampled_from(("lost twice", "tried again", "begun late", "listed twice")),
        meanwhile=_MEANWHILE,
    )
    def suffer(self, number: int, shape: int, what: str, meanwhile: str) -> None:
        """What happens to a job only after much else did."""
        job_id = _IDS[0] if what == "listed twice" else ""
        if job_id:
            self.send([(self.server.new(job_id, "a", _MORTAL, self.nonce(), first=True), _MORTAL)], together=False)
            self.check()
            self.pass_time(_SHAPES[_MORTAL]["ttl"])
            self.check()
        for run in self.bring_to_run(number, job_id, shape, begins=what != "begun late"):
            worker = self.worker(number)
            if what == "lost twice":
                self.look(number, _LEASE + 1, 99, requeue_lost=True)
                for again in self.take(worker, ["a"], 1, requeue_lost=True):
                    self.check()
                    self.go(worker, again)
                self.check()
                self.look(number, _LEASE + 1, 99, requeue_lost=True)
            elif what == "begun late":
                self.pass_time(_LEASE + 61)
                self.check()
                self.go(worker, run)
            else:
                self.end_badly(self.issued[run.token], 500)
                self.check()
                if what == "listed twice":
                    self.take(worker, ["a"], 1, requeue_lost=False)
                    continue
                self.look(number, _LEASE + 1, 0, requeue_lost=False)
                self.deal_late(meanwhile, requeue_lost=False)

    @precondition(lambda self: self.claims)
    @step(number=_PICKS)
    def claim_again(self, number: int) -> None:
        """The answer of a claim is lost, and much happens until it is sent again."""
        worker = sorted(self.claims)[number % len(self.claims)]
        if not self.model.has(f"worker:{worker}"):
            return
        last, before = self.claims[worker], self.store.raw
        call = runs.claim(self.store, worker, last.queues, last.most, _LEASE, last.nonce)
        claimed = self.ask("claim", call)
        assert claimed is not None
        assert [claim.run for claim in claimed] == [run for run in last.taken if run.token in self.model.runs]
        self.check_unchanged(before, "the same claim")
        self.count("claim", "again")

    @step(number=_PICKS, queue=_QUEUE)
    def hand_over(self, number: int, queue: str) -> None:
        """What a worker waits for comes to its inbox."""
        worker = self.worker(number)
        if not (self.model.has(f"worker:{worker}") and self.model.has(f"queue:{queue}")):
            return
        self.can_repeat = False
        keys = self.store.keys
        command = ("LMOVE", keys.queue(queue), keys.inbox(worker, queue), "LEFT", "RIGHT")
        self.run(self.store.transport.execute(*command))
        self.run(self.store.look())
        self.model.hand_over(worker, queue)
        self.tally.words["hand_over"] += 1

    def go(self, worker: str, run: Run) -> None:
        self.expect("begin", self.ask("begin", self._begun(worker, run)), self.model.begin(run.token))

    @while_jobs_run
    @step(number=_PICKS)
    def begin(self, number: int) -> None:
        issued = self.choose(number)
        self.go(issued.worker, issued.run)

    @step(number=_PICKS, begun=st.booleans())
    def renew(self, number: int, begun: bool) -> None:
        """A worker renews what it thinks that it has."""
        self.keep(self.worker(number), begun=begun)

    def keep(self, worker: str, *, begun: bool) -> None:
        boot = self.boots[worker]
        mine = [issued.run for issued in self.issued.values() if issued.worker == worker][-4:]
        stops = dict(self.seen.get(f"aiorq:stops:{worker}", ({}, None))[0])
        lost = [run for run in mine if run.token not in self.model.runs]
        known = self.model.renew(worker, boot, {run.token: begun for run in mine}, _LEASE, _WORKER_TTL)
        call = runs.renew(self.store, worker, boot, dict.fromkeys(mine, begun), _LEASE, _WORKER_TTL)
        answer = self.ask("renew", call)
        assert answer.lost == lost
        assert answer.stops == {token: float(grace) if grace else None for token, grace in stops.items()}
        self.expect("renew", answer.known, known)
        if not known:
            self.check()
            self.enter(worker)

    @while_jobs_run
    @step(number=_PICKS, ttl=_KEPT)
    def finish(self, number: int, ttl: int) -> None:
        issued = self.choose(number)
        if ttl == 0:
            self.history.go.add(issued.run.job_id)
        self.model.finish(issued.worker, issued.run.token, ttl)
        done = self.ask("finish", runs.finish(self.store, issued.worker, issued.run, b"value", ttl))
        self.expect("finish", done, True)

    @while_jobs_run
    @step(number=_PICKS, ttl=_KEPT)
    def fail(self, number: int, ttl: int) -> None:
        self.end_badly(self.choose(number), ttl)

    def end_badly(self, issued: Issued, ttl: int) -> None:
        predicted = self.model.fail(issued.worker, issued.run.token, ttl)
        if ttl == 0 and predicted == "failed":
            self.history.go.add(issued.run.job_id)
        became = self.ask("fail", runs.fail(self.store, issued.worker, issued.run, b"trouble", ttl))
        self.expect("fail", became.value, predicted)

    @while_jobs_run
    @step(number=_PICKS, ttl=_KEPT)
    def stop(self, number: int, ttl: int) -> None:
        issued = self.choose(number)
        if ttl == 0:
            self.history.go.add(issued.run.job_id)
        self.model.stop(issued.worker, issued.run.token, ttl)
        self.expect("stop", self.ask("stop", runs.stop(self.store, issued.worker, issued.run, b"stopped", ttl)), True)

    @step(number=_PICKS, order=st.sampled_from(_ORDERS), most=st.integers(0, 2))
    def release(self, number: int, order: list[str], most: int) -> None:
        worker = self.worker(number)
        back = self.runs_of(worker)[:most]
        predicted = self.model.release(worker, order, [run.token for run in back])
        self.expect("release", self.ask("release", runs.release(self.store, worker, order, back)), predicted)
        for run in back:
            self.history.lives[run.job_id].runs -= 1

    def die(self, worker: str) -> None:
        """A worker is killed; another one comes up."""
        del self.boots[worker]
        self.come_up()

    def retire(self, worker: str) -> None:
        """A worker ends as it should, and comes up again under its name."""
        back = self.runs_of(worker)
        self.model.release(worker, list(_QUEUES), [run.token for run in back])
        self.ask("release", runs.release(self.store, worker, _QUEUES, back))
        for run in back:
            self.history.lives[run.job_id].runs -= 1
        self.check()
        boot = self.boots.pop(worker)
        for token in self.model.unheard(worker):
            self.history.lives[self.model.runs[token].job_id].runs -= 1
        predicted = self.model.retire(worker, boot, list(_QUEUES))
        self.ask("retire", workers.retire(self.store, worker, boot, _QUEUES))
        self.expect("retire", "ok", predicted)
        self.check()
        self.enter(worker)

    def usurp(self, worker: str) -> None:
        """A second process wants the name of a worker that is there."""
        if not self.model.has(f"worker:{worker}") or "boot" not in self.model.keys[f"worker:{worker}"].value:
            return
        before = self.store.raw
        with pytest.raises(WorkerExistsError):
            self.ask("register", workers.register(self.store, worker, "another", _QUEUES, {}, _WORKER_TTL))
        self.check_unchanged(before, "a worker of a name that is taken")
        self.count("register", "taken")

    # Looking after what is overdue

    @step(
        number=_PICKS,
        seconds=st.sampled_from((_LEASE + 1, 0, _LEASE, 80)),
        most=st.sampled_from((99, 99, 1, 0)),
        requeue_lost=st.booleans(),
    )
    def look_after(self, number: int, seconds: int, most: int, requeue_lost: bool) -> None:
        """Some time later a worker looks for what is overdue and deals with all of it, or is gone after `most`."""
        self.look(number, seconds, most, requeue_lost=requeue_lost)

    @precondition(lambda self: any(job.status in {"started", "scheduled"} for job in self.model.jobs.values()))
    @step(number=_PICKS, requeue_lost=st.booleans())
    def lose_all(self, number: int, requeue_lost: bool) -> None:
        """All leases end, and short delays."""
        self.look(number, _LEASE + 1, 99, requeue_lost=requeue_lost)

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
                for queue in _QUEUES
                for member, score in self.seen.get(f"wip:{queue}", ({}, None))[0].items()
                if score <= self.model.moment
            ]
            assert not late, f"I9: {late} were left"

    @precondition(lambda self: self.overdue)
    @step(meanwhile=_MEANWHILE, requeue_lost=st.booleans())
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
            job = self.model.jobs.get(job_id)
            if job is not None and job.kept == 0:
                self.history.go.add(job_id)
            wish = "requeue" if requeue_lost else ""
            predicted = self.model.reap(finding.subject, finding.worker, wish, 500)
            call = overdue.reap(
                self.store,
                finding,
                requeue_lost=requeue_lost,
                most=MOST_LOSSES,
                traceback=b"lost",
                poisoned=b"poisoned",
                kept=500,
            )
            if predicted == "returned":
                self.history.lives[job_id].runs -= 1
            self.expect("reap", self.ask("reap", call), predicted)
            if predicted == "held" and finding.subject.partition(":")[2] in self.model.runs:
                self.tally.words["reap renewed"] += 1
        elif finding.kind == "due":
            predicted = self.model.promote(finding.queue, job_id)
            self.expect("promote", self.ask("promote", overdue.promote(self.store, finding)), predicted)
        self.check()

    # Time, and what goes wrong

    @step(seconds=st.sampled_from(_CLOCK))
    def move_clock(self, seconds: int) -> None:
        self.pass_time(seconds)

    def pass_time(self, seconds: int) -> None:
        now = self.model.now + seconds
        self.history.went_back |= seconds < 0
        self.can_repeat = False
        self.history.go |= {
            key.removeprefix("job:")
            for key, (_, expires) in self.seen.items()
            if key.startswith("job:") and expires is not None and expires <= now
        }
        self.model.set_clock(now)
        self.run(self.store.set_clock(NOON + now))
        self.run(self.store.look())

    @precondition(lambda self: self.can_repeat)
    @step()
    def again(self) -> None:
        """The answer of the last script is lost, and it is sent again."""
        before = self.store.raw
        self.run(self.store.again())
        script = self.store.last[0]
        self.check_unchanged(before, f"the same {script}")
        self.count(script, "again")

    @precondition(lambda self: self.issued)
    @step(number=st.integers(0, 40), how=st.sampled_from(_ENDS), forged=st.booleans(), ttl=_KEPT)
    def outdated(self, number: int, how: str, forged: bool, ttl: int) -> None:
        """A worker that lost a run, or never had it, speaks of it."""
        issued = list(self.issued.values())[-1 - number % len(self.issued)]
        worker, run = issued.worker, issued.run
        if forged:
            run = replace(run, token="f" * 32)
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
        elif how == "stop":
            answer = self.ask(how, runs.stop(self.store, worker, run, b"late", ttl))
            predicted = recorded == "stopped"
        elif how == "begin":
            answer = self.ask(how, self._begun(worker, run))
            predicted = False
        elif how == "release":
            answer = self.ask(how, runs.release(self.store, worker, [], [run]))
            predicted = self.model.release(worker, [], [run.token])
            allowed = [f"worker:{worker}"]
        else:
            renewed = self.ask(how, runs.renew(self.store, worker, "another", {run: True}, _LEASE, _WORKER_TTL))
            answer, predicted = renewed.lost, [run]
            self.model.renew(worker, "another", {run.token: True}, _LEASE, _WORKER_TTL)
            allowed = [f"worker:{worker}:executions"]
        assert answer == predicted, f"{how} of a run that is over answered {answer!r}, not {predicted!r}"
        self.check_unchanged(before, f"I5: {how} of a run that is over", *allowed)
        self.count(how, "outdated")

    async def _begun(self, worker: str, run: Run) -> bool:
        return await begin(self.store, worker, run)

    def suspend(self) -> None:
        """Or go on, if workers are suspended."""
        suspended = not self.model.has("suspended")
        self.can_repeat = False
        command = ("SET", f"{PREFIX}:suspended", "1") if suspended else ("DEL", f"{PREFIX}:suspended")
        self.run(self.store.transport.execute(*command))
        self.run(self.store.look())
        if suspended:
            self.model.keys["suspended"] = Entry("1")
        else:
            self.model.keys.pop("suspended", None)

    @step(number=_PICKS, what=st.sampled_from(("die", "retire", "enter", "usurp", "empty", "suspend", "flush")))
    def disturb(self, number: int, what: str) -> None:
        """What is rare."""
        if what == "suspend":
            self.suspend()
        elif what == "empty":
            self.empty(_QUEUES[number % 2])
        elif what == "flush":
            self.run(self.store.transport.execute("SCRIPT", "FLUSH"))
        else:
            {"die": self.die, "retire": self.retire, "enter": self.enter, "usurp": self.usurp}[what](
                self.worker(number)
            )
