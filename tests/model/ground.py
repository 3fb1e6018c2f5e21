"""What all random steps stand on: a server, the model beside it, and holding the one against the other."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import hypothesis.strategies as st
from hypothesis import note
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from aiorq import Job as Handle
from aiorq import connect, doctor
from aiorq.call import make_call
from aiorq.keys import Keys
from aiorq.options import JobOptions
from aiorq.store import audit, workers
from aiorq.store.jobs import NewJob
from aiorq.store.overdue import Finding
from aiorq.store.runs import Run
from tests.model import invariants
from tests.model.invariants import LISTS, History
from tests.model.model import Model, Picture
from tests.model.shapes import SHAPES, Shape
from tests.model.sight import PREFIX, Call, Raw, Sight, WatchedStore
from tests.scripts.conftest import NOON

T = TypeVar("T")

IDS: Final = ("j0", "j1", "j2", "j3")
QUEUES: Final = ("a", "b")
QUEUE: Final = st.sampled_from(QUEUES)
ORDERS: Final = (["a"], ["b"], ["a", "b"], ["b", "a"])
LEASE: Final = 15
WORKER_TTL: Final = 480
PICKS: Final = st.integers(0, 7)
_LEFT: Final = frozenset({"overdue", "worker is gone", "inbox of nobody", "waits for ever"})
"""What the doctor finds that steps leave to be dealt with."""
KEPT: Final = st.sampled_from((500, 20, -1, 0))


@dataclass
class Tally:
    """What the examples of a test did, taken together."""

    steps: int = 0
    words: Counter[str] = field(default_factory=Counter)
    """Answers of scripts, as `fail queued`."""


@dataclass(frozen=True)
class Issued:
    """A run, and the worker that got it; nobody for one of whoever enqueued it."""

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
            (number, queue): self._write(shape, queue) for number, shape in enumerate(SHAPES) for queue in QUEUES
        }

    async def _open(self, url: str) -> WatchedStore:
        return WatchedStore(connect(url), Keys(PREFIX))

    def close(self) -> None:
        self.loop.run_until_complete(self.store.connection.aclose())

    def _write(self, shape: Shape, queue: str) -> dict[str, bytes | int]:
        """The fields of a job as a queue writes them."""
        job: Handle[Any] = Handle("id", self.store.connection)
        job.set_call(make_call("jobs.add", (1,)), JobOptions(ttl=shape.fields.get("ttl")), default_timeout=180)
        for name, value in shape.fields.items():
            setattr(job, name, value)
        return job.fields_to_enqueue(queue)

    def fields(self, shape: int, queue: str) -> dict[str, bytes | int]:
        return self._fields[shape, queue]


def step(**draws: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """A rule that counts as a step, after which the server is held against the model and the invariants."""

    def decorate(act: Callable[..., None]) -> Any:
        @functools.wraps(act)
        def counted(self: Ground, **drawn: Any) -> None:
            self.is_sound = False
            act(self, **drawn)
            self.check()
            self.is_sound = True
            self.tally.steps += 1

        return rule(**draws)(counted)  # type: ignore[call-overload]

    return decorate


while_jobs_run = precondition(lambda self: bool(self.running()))
"""There is a run that a living worker has, or whoever enqueued it."""


_SAME_ANSWER: Final = frozenset({"requeue", "cancel", "finish", "fail", "retry", "stop", "pause"})


def _word(reply: Any) -> Any:
    """What an answer says first; a second one does not tell again who was enqueued."""
    return reply[0] if isinstance(reply, list) else reply.split(b" ")[0]


class Ground(RuleBasedStateMachine):
    def __init__(self, server: Server, tally: Tally) -> None:
        super().__init__()
        self.server, self.store, self.tally = server, server.store, tally
        self.model, self.history, self.sight = Model(self.order), History(), Sight()
        self.seen: Picture = {}
        self.script = ""
        """The last that was called."""
        self.numbers = itertools.count(1)
        """For nonces, names and boots, none of which may come twice."""
        self.boots: dict[str, str] = {}
        """The workers that live, and what tells their processes apart."""
        self.issued: dict[str, Issued] = {}
        """By token: every run that there ever was."""
        self.sent: dict[str, NewJob] = {}
        """The last enqueue of each id."""
        self.claims: dict[str, LastClaim] = {}
        self.canceled: set[str] = set()
        self.inboxes: dict[tuple[str, str], str] = {}
        """The first id in each inbox when the reaper last looked."""
        self.overdue: list[Finding] = []
        """What a reaper found and did not come to deal with."""
        self.is_sound = True
        """Whether the last step held."""
        self.repeatable: Call | None = None
        """The last call of a script, where it may be sent again now."""
        self.run(self._begin())
        for _ in range(2):
            self.come_up()
        self.repeatable = None
        self.check()

    async def _begin(self) -> None:
        await self.store.connection.flushall()
        await self.store.set_clock(NOON)
        await self.store.look()
        self.store.calls, self.store.severed = [], None

    def run(self, call: Awaitable[T]) -> T:
        return self.server.loop.run_until_complete(asyncio.ensure_future(call, loop=self.server.loop))

    def ask(self, script: str, call: Awaitable[T]) -> T:
        """Call the store, which looks at everything in the same round trip."""
        self.store.calls.clear()
        try:
            answer = self.run(call)
            note(f"    {script} -> {answer}")
        finally:  # it may raise what a script answered
            self.repeatable = self.store.calls[0] if self.store.calls else None
        for made in self.store.calls:
            self.script = made.script
            if made.script == "enqueue_dependents":
                self.follow(made)
        return answer

    def follow(self, made: Call) -> None:
        """Which of those that were set apart the script looks at is up to it."""
        part = str(made.args[0])
        key = f"{PREFIX}:aiorq:parting:{part}".encode()
        before, after = (set(raw[key][2]) if key in raw else set() for raw in (made.before, made.after))
        more, *pairs = made.reply
        enqueued = [child.decode() for child in pairs[1::2]]
        popped = {child.decode() for child in before - after}
        assert len(popped) == min(len(before), int(made.args[1]))
        predicted = self.model.enqueue_dependents(part, popped, enqueued)
        assert (bool(more), enqueued) == predicted, f"enqueue_dependents answered {made.reply}, not {predicted}"
        self.count("enqueue_dependents", more)

    def order(self, key: str) -> list[str]:
        """How the server lists the members of a set."""
        held = self.store.raw.get(f"{PREFIX}:{key}".encode())
        return [] if held is None else [member.decode() for member in held[2]]

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
        if self.history.let_go:
            self.count("let go by", self.script)

    def teardown(self) -> None:
        """The doctor sees nothing wrong either, where nothing was left of a job whose time was over, or in an inbox."""
        history = self.history
        if not self.is_sound or history.went_back or history.expired or any(history.strays.values()):
            return
        findings = doctor.check(self.run(audit.look(self.store)))
        wrong = [finding for finding in findings if finding.rule not in _LEFT]
        assert not wrong, f"the doctor says: {wrong}"
        self.tally.words["doctor"] += 1

    def check_unchanged(self, before: Raw, what: str, *but: str) -> None:
        now = self.store.raw
        changed = {name for name in now.keys() | before.keys() if now.get(name) != before.get(name)}
        changed -= {f"{PREFIX}:{name}".encode() for name in but}
        assert not changed, f"{what} changed {[(name, before.get(name), now.get(name)) for name in sorted(changed)]}"

    def send_again(self) -> None:
        call, before = self.repeatable, self.store.raw
        if call is None:
            return
        reply = self.run(self.store.repeat(call))
        self.check_unchanged(before, f"the same {call.script}")
        if call.script in _SAME_ANSWER:
            assert _word(reply) == _word(call.reply), f"the same {call.script} answered {reply!r}, not {call.reply!r}"
        self.count(call.script, "again")

    def nonce(self) -> str:
        return f"{next(self.numbers):028x}"

    # What there is to choose from

    def worker(self, number: int) -> str:
        names = list(self.boots)
        return names[number % len(names)]

    def running(self) -> list[Issued]:
        """The runs of the workers that live, and of nobody, the newest first."""
        found = [self.issued[token] for token in self.model.runs]
        return [issued for issued in reversed(found) if not issued.worker or issued.worker in self.boots]

    def runs_of(self, worker: str) -> list[Run]:
        """In the order of their claims."""
        return [self.issued[token].run for token in self.model.runs if self.issued[token].worker == worker]

    def choose(self, number: int) -> Issued:
        candidates = self.running()
        return candidates[number % len(candidates)]

    def some_job(self, number: int) -> str:
        """One that there is, those with ids of their own first."""
        return sorted(self.model.jobs)[number % len(self.model.jobs)]

    def forsake(self, job_id: str) -> None:
        """The job is to leave its place, but no script looks for it in inboxes."""
        for key, (members, _) in self.seen.items():
            if key.startswith("aiorq:inbox:"):
                self.history.strays[LISTS, job_id] += members.count(job_id)

    def expect_gone(self, job_id: str, ttl: int | None) -> None:
        """A job that is kept for 0 seconds, unless it runs again, is gone after this step."""
        if ttl == 0:
            self.history.go.add(job_id)

    # Workers that come and go

    def come_up(self) -> None:
        self.enter(f"w{next(self.numbers)}")

    def enter(self, worker: str) -> None:
        boot = self.boots.setdefault(worker, f"boot{next(self.numbers)}")
        predicted = self.model.register(worker, boot, list(QUEUES), WORKER_TTL)
        call = workers.register(self.store, worker, boot, QUEUES, {"state": "started"}, WORKER_TTL)
        self.ask("register", call)
        self.expect("register", "ok", predicted)
        self.claims.pop(worker, None)

    # Time

    def pass_time(self, seconds: int) -> None:
        now = self.model.now + seconds
        self.history.went_back |= seconds < 0
        self.repeatable = None
        over = {
            job_id
            for job_id, (_, expires) in invariants.jobs_of(self.seen).items()
            if expires is not None and expires <= now
        }
        self.history.go |= over
        # A year after it is gone, nobody knows any more who still waits for another job of that id.
        forgotten = {
            key.split(":")[1]
            for key, (_, expires) in self.seen.items()
            if key.startswith("job:") and key.endswith(":dependents") and expires is not None and expires <= now
        }
        self.history.expired |= over | forgotten
        self.model.set_clock(now)
        self.run(self.store.set_clock(NOON + now))
        self.run(self.store.look())
        self.script = ""
