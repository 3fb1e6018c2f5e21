"""Scenarios of clients: what they ask for is there entirely or not at all, and what takes several steps goes on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from aiorq import Job, JobStatus, Queue
from aiorq.ending import encode_text
from aiorq.store import jobs, runs
from tests.crash.dependents import IDLE, enqueue_dependents, whereabouts
from tests.crash.points import Point
from tests.crash.scenarios import CONNECT, FINISHED, TIMED, Scenario
from tests.crash.stage import Actor, Fate, Stage


class Client(Scenario):
    """A client does something, and is not waited for."""

    async def react(self, stage: Stage, actor: Actor) -> None:
        return


class Wishing(Client):
    """Jobs are enqueued that wait for others, for a time or for a slot, that belong to a group, or are to be unique."""

    points: ClassVar[tuple[str, ...]] = (*CONNECT, *(f"enqueue#{number}" for number in range(1, 7)))
    elsewhere: ClassVar[tuple[str, ...]] = CONNECT
    places: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("child", "enqueue#1", "deferred"),
        ("later", "enqueue#2", "scheduled"),
        ("first", "enqueue#3", "queued"),
        ("second", "enqueue#4", "rate_limited"),
        ("member-1", "enqueue#5", "queued"),
        ("member-2", "enqueue#5", "queued"),
        ("unique", "enqueue#6", "queued"),
    )

    async def prepare(self, stage: Stage) -> None:
        stage.limits["api"] = 1
        await stage.enqueue("parent", gate=False)

    def start(self, stage: Stage, kill: Point | None) -> Actor:
        return stage.start("enqueue_with_wishes", kill, args=stage.args("any", gate=False))

    async def expect(self, stage: Stage, actor: Actor) -> None:
        connection = stage.connection
        for name, command, state in self.places:
            if actor.did(command):
                assert await stage.state(name) == state, name
                stage.jobs[name], stage.expected[name] = Job(name, connection), FINISHED._replace(starts=7)
                stage.aliases[name] = "any"
            else:
                assert not [key for key in await connection.keys() if name.encode() in key.split(b":")], name
        there = {name.encode() for name in stage.expected}
        assert await connection.smembers("rq:job:parent:dependents") == {b"child"} & there
        assert await connection.scard("rq:job::child:dependencies") == (b"child" in there)
        assert await connection.smembers("rq:group:mail") == {b"member-1", b"member-2"} & there
        assert await connection.smembers("rq:groups") == ({b"mail"} if b"member-1" in there else set())
        assert await connection.smembers("rq:rl-keys") == ({b"api"} if b"first" in there else set())
        stage.expected["parent"] = FINISHED
        if b"later" in there:
            score = await connection.zscore("rq:scheduled:default", "later")
            assert 3500 < score - time.time() <= 3600
            await connection.zadd("rq:scheduled:default", {"later": 1})


class EnqueueingFamily(Client):
    """A job is enqueued in one call with more jobs that wait for it than one step takes."""

    points: ClassVar[tuple[str, ...]] = (*CONNECT, "enqueue#1", "enqueue#2")
    elsewhere: ClassVar[tuple[str, ...]] = CONNECT
    names: ClassVar[tuple[str, ...]] = tuple(f"child-{number}" for number in range(120))

    async def prepare(self, stage: Stage) -> None:
        return

    def start(self, stage: Stage, kill: Point | None) -> Actor:
        return stage.start("enqueue_family", kill, queue=IDLE, args=stage.args("any", gate=False), names=self.names)

    async def expect(self, stage: Stage, actor: Actor) -> None:
        count = 99 * bool(actor.did("enqueue#1")) + 21 * bool(actor.did("enqueue#2"))
        assert await whereabouts(stage) == (["parent"][: bool(count)], sorted(self.names[:count]))
        assert len(await stage.connection.keys("rq:job:*:dependencies")) == count
        assert await stage.connection.scard("rq:job:parent:dependents") == count
        stage.memory["count"] = count
        store = stage.queue.store
        claimed = await runs.claim(store, "of-the-test", [IDLE], 1, 60)
        assert bool(claimed) == bool(count)
        for run in claimed or ():
            assert await runs.finish(store, "of-the-test", run.run, b"", 0)

    async def conclude(self, stage: Stage) -> None:
        assert await whereabouts(stage) == (sorted(self.names[: stage.memory["count"]]), [])
        await Queue(IDLE, stage.connection).empty()


class AskingOfParents(Client):
    """Jobs for which others wait are canceled and deleted, with a few and with many of those; and two are requeued."""

    few: ClassVar[int] = 3
    many: ClassVar[int] = 110
    asked: ClassVar[tuple[tuple[str, str, dict[str, Any]], ...]] = (
        ("cancel-few", "cancel", {"enqueue_dependents": True}),
        ("cancel-many", "cancel", {"enqueue_dependents": True}),
        ("cancel-alone", "cancel", {}),
        ("delete-few", "delete", {}),
        ("delete-many", "delete", {}),
        ("delete-all", "delete", {"delete_dependents": True}),
        ("failed", "requeue", {}),
        ("failed-too", "requeue", {"at_front": True}),
    )
    points: ClassVar[tuple[str, ...]] = (
        *(*CONNECT, "cancel#1", "HKEYS#1", "cancel#2", "HKEYS#2", "enqueue_dependents#1", "enqueue_dependents#2"),
        *("cancel#3", "delete#1", "delete#2", "SMEMBERS#1", "SMEMBERS#2", "delete#3", "delete#4"),
        *("requeue#1", "requeue#2"),
    )
    elsewhere: ClassVar[tuple[str, ...]] = CONNECT
    timed: ClassVar[Mapping[str, int]] = TIMED | {"SMEMBERS": 2}

    def children(self, name: str) -> list[str]:
        """The jobs that wait for a job, sorted."""
        count = self.many if name in ("cancel-many", "delete-many", "delete-all") else self.few
        return sorted(f"{name}-{number}" for number in range(count))

    @property
    def parents(self) -> list[str]:
        return [name for name, method, _ in self.asked if method != "requeue"]

    async def prepare(self, stage: Stage) -> None:
        store = stage.queue.store
        for name in self.parents:
            await stage.enqueue(name, queue=IDLE)
            await enqueue_dependents(stage, name, self.children(name), ())
        for name in ("failed", "failed-too"):
            await stage.enqueue(name, gate=False)
            [claimed] = await runs.claim(store, "of-the-test", ["default"], 1, 60) or []
            await runs.fail(store, "of-the-test", claimed.run, encode_text("on purpose"), 500)

    def start(self, stage: Stage, kill: Point | None) -> Actor:
        return stage.start("ask", kill, asked=self.asked)

    async def expect(self, stage: Stage, actor: Actor) -> None:
        def did(command: str) -> bool:
            return actor.did(command) is True

        states = {
            "cancel-few": (did("cancel#1"), Fate(JobStatus.CANCELED)),
            "cancel-many": (did("cancel#2"), Fate(JobStatus.CANCELED)),
            "cancel-alone": (did("cancel#3"), Fate(JobStatus.CANCELED)),
            "delete-few": (did("delete#1"), Fate(None)),
            "delete-many": (did("delete#2"), Fate(None)),
            "delete-all": (did("delete#4"), Fate(None)),
        }
        for name, (done, fate) in states.items():
            stage.expected[name] = (fate if done else Fate(JobStatus.QUEUED))._replace(queue=IDLE)
            assert await stage.state(name) == (("gone" if fate.status is None else "canceled") if done else "queued")
        gone = self.children("delete-all")[::-1][: 100 * did("delete#3") + 10 * did("delete#4")]
        released = {
            "cancel-few": did("cancel#1") * self.few,
            "cancel-many": 100 * did("enqueue_dependents#1") + 10 * did("enqueue_dependents#2"),
            "delete-few": did("delete#1") * self.few,
        }
        await self._compare(stage, released, gone)
        stage.memory["released"] = released | {
            "cancel-many": did("cancel#2") * self.many,
            "delete-many": did("delete#2") * self.many,
        }
        stage.memory["gone"] = gone
        for name, command in (("failed", "requeue#1"), ("failed-too", "requeue#2")):
            assert await stage.state(name) == ("queued" if did(command) else "failed")
            fate = FINISHED._replace(outcomes=2) if did(command) else Fate(JobStatus.FAILED, "on purpose")
            stage.expected[name] = fate

    async def conclude(self, stage: Stage) -> None:
        await self._compare(stage, stage.memory["released"], stage.memory["gone"])
        await jobs.delete(stage.queue.store, [child for name in self.parents for child in self.children(name)])

    async def _compare(self, stage: Stage, released: dict[str, int], gone: list[str]) -> None:
        """See that so many of each job's dependents are queued, and the others are deferred but for those gone."""
        queued, deferred = await whereabouts(stage)
        waiting = [name for name in self.parents if await stage.state(name) == "queued"]
        children = {child: name for name in self.parents for child in self.children(name)}
        assert sorted({*queued} - {*waiting} | {*deferred} | {*gone}) == sorted(children)
        assert len(queued) + len(deferred) + len(gone) == len(waiting) + len(children)
        counts = Counter(children[child] for child in queued if child in children)
        assert counts == Counter(released)


SCENARIOS: Final = {
    "enqueue with wishes": Wishing(),
    "enqueue a family": EnqueueingFamily(),
    "ask of parents": AskingOfParents(),
}
