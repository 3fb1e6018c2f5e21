"""Scenarios of jobs that others wait for: of a few, which go on in the step of the end, and of many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

from aiorq import Dependency, JobStatus, Queue, Retry
from aiorq.store import jobs, runs, workers
from tests.crash.scenarios import ABANDONED, ENTER, FINISHED, LEAVE, TIMED, Scenario
from tests.crash.stage import Actor, Fate, Stage
from tests.scripts.conftest import begin

IDLE: Final = "idle"
"""A queue that no worker works on."""
DEFERRED: Final = Fate(JobStatus.DEFERRED)
A_STEP: Final = 100
"""Dependents that are looked at in one step."""


def all_but(points: Iterable[str], *names: str) -> tuple[str, ...]:
    """The points at which a scenario does not kill that is about some of them."""
    return tuple(point for point in points if point not in names)


class Releasing(Scenario):
    """Jobs wait for the one that runs: in its queue and in another one, for others too, or however it ends."""

    fails: ClassVar[int] = 0
    """How many times it raises."""
    points: ClassVar[tuple[str, ...]] = (*ENTER, "begin#1", "renew#2", "finish#1", *LEAVE)
    elsewhere: ClassVar[tuple[str, ...]] = all_but(points, "finish#1")
    options: ClassVar[dict[str, Any]] = {"max_jobs": 1}
    children: ClassVar[tuple[str, ...]] = ("next", "across", "lenient", "both", "below")

    async def prepare(self, stage: Stage) -> None:
        stage.queues = ["default", "other"]
        await stage.enqueue("held-up", queue=IDLE)
        await stage.enqueue("it", args=[*stage.args("it"), self.fails], **self.wishes())
        await stage.enqueue("next", gate=False, depends_on="it")
        await stage.enqueue("across", gate=False, depends_on=["it", "unknown"], queue="other")
        await stage.enqueue("lenient", gate=False, depends_on=Dependency("it", allow_failure=True))
        await stage.enqueue("both", gate=False, depends_on=["it", "held-up"])
        await stage.enqueue("below", gate=False, depends_on="next", queue="other")

    def wishes(self) -> dict[str, Any]:
        """Options of the job that the others wait for."""
        return {}

    async def expect(self, stage: Stage, actor: Actor) -> None:
        await super().expect(stage, actor)
        state = await stage.state("it")
        released = {"finished": {"next", "across", "lenient"}, "failed": {"lenient"}}.get(state, set())
        states = {name: await stage.state(name) for name in self.children}
        assert states == {name: "queued" if name in released else "deferred" for name in self.children}
        succeeds = stage.expected["it"].status is JobStatus.FINISHED
        stage.expected |= {
            **dict.fromkeys(("next", "below"), FINISHED if succeeds else DEFERRED),
            "across": FINISHED if succeeds else DEFERRED,
            "lenient": FINISHED,
            "both": DEFERRED,
            "held-up": Fate(JobStatus.QUEUED),
        }
        for name, queue in (("across", "other"), ("below", "other"), ("held-up", IDLE)):
            stage.expected[name] = stage.expected[name]._replace(queue=queue)


class ReleasingLenient(Releasing):
    """The job fails: only those go on that do not mind."""

    fails = 9
    points: ClassVar[tuple[str, ...]] = (*ENTER, "begin#1", "renew#2", "fail#1", *LEAVE)
    elsewhere: ClassVar[tuple[str, ...]] = all_but(points, "fail#1")
    steps: ClassVar[tuple[tuple[str, str], ...]] = (("claim#1", "held"), ("begin#1", "started"), ("fail#1", "failed"))

    def fate(self, state: str) -> Fate:
        return self.lost if state == "started" else Fate(JobStatus.FAILED, "ValueError: on purpose")


class ReleasingAtLast(Releasing):
    """The job fails and is tried again: the others wait until that has ended, too."""

    fails = 1
    points: ClassVar[tuple[str, ...]] = (
        *(*ENTER, "begin#1", "renew#2", "fail#1", "claim#2", "begin#2", "finish#1", *LEAVE),
    )
    elsewhere: ClassVar[tuple[str, ...]] = all_but(points, "fail#1", "finish#1")
    steps: ClassVar[tuple[tuple[str, str], ...]] = (
        ("claim#1", "held"),
        ("begin#1", "started"),
        ("fail#1", "queued"),
        ("claim#2", "held"),
        ("begin#2", "started"),
        ("finish#1", "finished"),
    )
    options: ClassVar[dict[str, Any]] = {"max_jobs": 2}

    def wishes(self) -> dict[str, Any]:
        return {"retry": Retry(2, enqueue_at_front=True)}

    async def react(self, stage: Stage, actor: Actor) -> None:
        await self.settled(actor)
        stage.gate.let(2)

    async def expect(self, stage: Stage, actor: Actor) -> None:
        await super().expect(stage, actor)
        assert await stage.connection.llen("rq:aiorq:attempts:it") == (actor.did("fail#1") is True)

    def fate(self, state: str) -> Fate:
        return FINISHED._replace(starts=3)


class ReleasingMany(Scenario):
    """More jobs wait for the one that runs than are looked at in one step."""

    strict: ClassVar[tuple[str, ...]] = tuple(f"strict-{number}" for number in range(200))
    lenient: ClassVar[tuple[str, ...]] = tuple(f"lenient-{number}" for number in range(50))
    points: ClassVar[tuple[str, ...]] = (
        *all_but(ENTER, "overdue#1"),
        *("begin#1", "renew#2", "finish#1", *(f"enqueue_dependents#{number}" for number in (1, 2, 3)), *LEAVE),
    )
    elsewhere: ClassVar[tuple[str, ...]] = all_but(points, *points[-6:-2])
    options: ClassVar[dict[str, Any]] = {"max_jobs": 1, "reap_interval": 60}

    async def prepare(self, stage: Stage) -> None:
        await stage.enqueue("it")
        await enqueue_dependents(stage, "it", self.strict, self.lenient)

    async def settled(self, actor: Actor) -> bool:
        return await actor.tells("deed") and await actor.tells("executed", "renew#2")

    async def expect(self, stage: Stage, actor: Actor) -> None:
        await super().expect(stage, actor)
        steps = sum(actor.did(f"enqueue_dependents#{number}") is True for number in (1, 2, 3))
        queued, deferred = await whereabouts(stage)
        assert len(queued) == min(A_STEP * steps, 250)
        assert sorted([*queued, *deferred]) == sorted(self.strict + self.lenient)

    async def conclude(self, stage: Stage) -> None:
        queued, deferred = await whereabouts(stage)
        finished = stage.expected["it"].status is JobStatus.FINISHED
        assert sorted(queued) == sorted(self.strict + self.lenient if finished else self.lenient)
        assert deferred == ([] if finished else sorted(self.strict))
        await jobs.delete(stage.queue.store, [*queued, *deferred])


class AbandoningParents(Scenario):
    """A worker of another queue finds the jobs of a dead one, for which others wait: a few, and many."""

    lenient: ClassVar[tuple[str, ...]] = tuple(f"lenient-{number}" for number in range(130))
    strict: ClassVar[tuple[str, ...]] = tuple(f"strict-{number}" for number in range(30))
    points: ClassVar[tuple[str, ...]] = (
        *(*ENTER, "CLIENT ID#1", "BLMOVE#1", "HGETALL#1", "reap#1", "reap#2"),
        *("enqueue_dependents#1", "enqueue_dependents#2", "CLIENT UNBLOCK#1", *LEAVE),
    )
    elsewhere: ClassVar[tuple[str, ...]] = all_but(
        points, "reap#1", "reap#2", "enqueue_dependents#1", "enqueue_dependents#2"
    )
    timed: ClassVar[Mapping[str, int]] = TIMED | {"HGETALL": 1}
    options: ClassVar[dict[str, Any]] = {"queues": "other"}

    async def prepare(self, stage: Stage) -> None:
        store = stage.queue.store
        await workers.register(store, "dead", "boot", ["default"], {}, 480)
        for name in ("of-few", "of-many"):
            await stage.enqueue(name)
            claimed = await runs.claim(store, "dead", ["default"], 1, 3)
            assert claimed is not None
            await begin(store, "dead", claimed[0].run)
        await stage.enqueue("lenient", gate=False, depends_on=Dependency("of-few", allow_failure=True))
        await stage.enqueue("strict", gate=False, depends_on="of-few")
        await enqueue_dependents(stage, "of-many", self.strict, self.lenient)
        await stage.expire_leases()

    async def react(self, stage: Stage, actor: Actor) -> None:
        await actor.tells("executed", "renew#1")
        await actor.tells("executed", "enqueue_dependents#2")
        await actor.tells("sent", "BLMOVE#1")
        actor.end()

    async def expect(self, stage: Stage, actor: Actor) -> None:
        lost = ABANDONED._replace(text=ABANDONED.text.replace("actor", "dead"), starts=0)
        stage.expected |= {"of-few": lost, "of-many": lost, "lenient": FINISHED, "strict": DEFERRED}
        failed = await stage.state("of-few") == "failed"
        assert await stage.state("lenient") == ("queued" if failed else "deferred")
        queued, deferred = await whereabouts(stage)  # by a sweep, where that comes first
        assert set(queued) <= set(self.lenient)
        assert sorted([*queued, *deferred]) == sorted(self.strict + self.lenient)

    async def conclude(self, stage: Stage) -> None:
        assert await whereabouts(stage) == (sorted(self.lenient), sorted(self.strict))
        await jobs.delete(stage.queue.store, [*self.strict, *self.lenient])


async def enqueue_dependents(stage: Stage, parent: str, strict: Iterable[str], lenient: Iterable[str]) -> None:
    """Enqueue jobs of the idle queue that wait for `parent`; the lenient ones do not mind how it ends."""
    waits = [
        *((name, Dependency(parent)) for name in strict),
        *((name, Dependency(parent, allow_failure=True)) for name in lenient),
    ]
    datas = [Queue.prepare_data("deeds.deed", stage.args(name), job_id=name, depends_on=wait) for name, wait in waits]
    await Queue(IDLE, stage.connection).enqueue_many(datas)


async def whereabouts(stage: Stage) -> tuple[list[str], list[str]]:
    """The jobs of the idle queue that are queued, once for each time that they are listed, and those deferred."""
    queue = Queue(IDLE, stage.connection)
    return sorted(await queue.get_job_ids()), sorted(await queue.deferred_job_registry.get_job_ids())


SCENARIOS: Final = {
    "release dependents": Releasing(),
    "release lenient dependents": ReleasingLenient(),
    "release dependents after a retry": ReleasingAtLast(),
    "release many dependents": ReleasingMany(),
    "abandon parents": AbandoningParents(),
}
