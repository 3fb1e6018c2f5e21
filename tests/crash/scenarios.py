"""What happens while a process is killed: one class each, with the commands that are sent in it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from rq import Retry

import aiorq
from aiorq import Job, JobStatus
from aiorq.store import runs, workers
from tests.crash.points import Point
from tests.crash.stage import Actor, Fate, Stage
from tests.scripts.conftest import begin

FINISHED: Final = Fate(JobStatus.FINISHED)
ABANDONED: Final = Fate(JobStatus.FAILED, "AbandonedJobError: the job was lost with worker 'actor'")

CONNECT: Final = ("HELLO#1", "CLIENT SETINFO#1", "CLIENT SETINFO#2", "SELECT#1")
"""What redis-py sends first over every connection; it does so anew for each, and the first one stands for all."""
ENTER: Final = (*CONNECT, "register#1", "SCRIPT#1", "claim#1", "SUBSCRIBE#1", "renew#1", "overdue#1")
"""What every worker sends; it is killed there in the first scenario only, as nothing else goes on at that time."""
LEAVE: Final = ("release#1", "retire#1")
TIMED: Final = {
    # By time, while a job runs: the one after the subscription and the first one of a running job are waited for.
    "renew": 2,
    # By time, ten times a second: the first one is waited for.
    "overdue": 1,
    # By time, as far as they are not about a job that is due.
    "promote_due": 0,
    "hold_schedules": 0,
    # Once a minute, in steps of which each is whole: what one does not take out, the next one does.
    "SSCAN": 0,
    "sweep": 0,
    "sweep_group": 0,
    "sweep_limit": 0,
    # Each loads a script, which changes nothing: the first one stands for all.
    "SCRIPT": 1,
    # For each connection, of which there are more or fewer.
    "CLIENT SETINFO": 2,
    "SELECT": 1,
    "HELLO": 1,
    # Sent again until a wait has ended.
    "CLIENT UNBLOCK": 1,
}
"""Commands whose number depends on time: as many of each as come in every run."""


class Scenario:
    """A worker runs a job that returns, to the end of the queue."""

    points: ClassVar[tuple[str, ...]] = (*ENTER, "begin#1", "renew#2", "finish#1", "claim#2", *LEAVE)
    """All commands that the process sends."""
    elsewhere: ClassVar[tuple[str, ...]] = ()
    """Those of them at which it is killed in another scenario."""
    steps: ClassVar[tuple[tuple[str, str], ...]] = (
        ("claim#1", "held"),
        ("begin#1", "started"),
        ("finish#1", "finished"),
    )
    """Command -> the state in which it leaves the job."""
    options: ClassVar[dict[str, Any]] = {"burst": True}
    """Of the worker."""
    lost: ClassVar[Fate] = ABANDONED
    """What becomes of a job that had begun and was lost."""
    timed: ClassVar[Mapping[str, int]] = TIMED
    """Commands whose number depends on time here, or of which one stands for all, since they only read."""

    async def prepare(self, stage: Stage) -> None:
        """What is there before."""
        await stage.enqueue("it")

    def start(self, stage: Stage, kill: Point | None) -> Actor:
        """Start the process that is killed."""
        return stage.work("actor", kill, **self.options)

    async def react(self, stage: Stage, actor: Actor) -> None:
        """What goes on around the process; it may die at any moment."""
        await self.settled(actor)
        stage.gate.let()

    async def settled(self, actor: Actor) -> bool:
        """Wait until the job runs and what depends on time has come."""
        for told in (("deed",), ("executed", "renew#2"), ("executed", "overdue#1")):
            if not await actor.tells(*told):
                return False
        return True

    async def look(self, stage: Stage) -> None:
        """See that the books are in order at the instant after the process has gone."""
        await stage.check_places()

    async def expect(self, stage: Stage, actor: Actor) -> None:
        """Look at what was left, and say what must become of it."""
        state = await stage.state("it")
        self.compare(actor, state)
        stage.expected["it"] = self.fate(state)

    async def conclude(self, stage: Stage) -> None:
        """Look at what has become of it all, beyond what was expected of each job, and take it away."""

    def fate(self, state: str) -> Fate:
        """What must become of a job that was left in a state."""
        if state in ("queued", "scheduled", "held"):
            return FINISHED
        return self.lost if state == "started" else Fate(JobStatus(state))

    def compare(self, actor: Actor, state: str) -> None:
        """See that the job was left in the state that the last command has brought it to."""
        expected = "queued"
        for name, left in self.steps:
            done = actor.did(name)
            if done is None:
                return
            if done:
                expected = left
        assert state == expected


class Stalling(Scenario):
    """It takes long until the beginning of a job leaves the worker: nothing of it has happened by then."""

    elsewhere: ClassVar[tuple[str, ...]] = tuple(name for name in Scenario.points if name != "begin#1")

    def start(self, stage: Stage, kill: Point | None) -> Actor:
        return stage.work("actor", kill, hold=("before begin#1", stage.gate.path), **self.options)

    async def react(self, stage: Stage, actor: Actor) -> None:
        if actor.kill == ("begin#1", "before") and await actor.tells("waits"):
            # For as long as another worker takes to start, to look for jobs, and to end: much longer than a fork.
            await stage.work("other", queues="other", burst=True, reap_interval=60).gone()
            assert stage.starts("it") == 0
            stage.gate.let()
        else:
            await super().react(stage, actor)


class Failing(Scenario):
    """The job raises, and has no retries."""

    points: ClassVar[tuple[str, ...]] = (*ENTER, "begin#1", "renew#2", "fail#1", "claim#2", *LEAVE)
    elsewhere: ClassVar[tuple[str, ...]] = ENTER
    steps: ClassVar[tuple[tuple[str, str], ...]] = (("claim#1", "held"), ("begin#1", "started"), ("fail#1", "failed"))

    async def prepare(self, stage: Stage) -> None:
        await stage.enqueue("it", args=[*stage.args("it"), 9])

    def fate(self, state: str) -> Fate:
        return self.lost if state == "started" else Fate(JobStatus.FAILED, "ValueError: on purpose")


class Retrying(Scenario):
    """The job was enqueued by RQ with retries; it raises once."""

    points: ClassVar[tuple[str, ...]] = (
        *ENTER,
        "begin#1",
        "renew#2",
        "fail#1",
        "claim#2",
        "begin#2",
        "finish#1",
        "claim#3",
        *LEAVE,
    )
    elsewhere: ClassVar[tuple[str, ...]] = (*ENTER, *LEAVE)
    steps: ClassVar[tuple[tuple[str, str], ...]] = (
        ("claim#1", "held"),
        ("begin#1", "started"),
        ("fail#1", "queued"),
        ("claim#2", "held"),
        ("begin#2", "started"),
        ("finish#1", "finished"),
    )

    async def prepare(self, stage: Stage) -> None:
        stage.enqueue_by_rq("it", 1, retry=Retry(max=2))

    async def react(self, stage: Stage, actor: Actor) -> None:
        await self.settled(actor)
        stage.gate.let(2)

    async def expect(self, stage: Stage, actor: Actor) -> None:
        left = await stage.connection.hget("rq:job:it", "retries_left")
        if actor.did("fail#1") is not None:
            assert int(left) == 2 - bool(actor.did("fail#1"))
        await super().expect(stage, actor)

    def fate(self, state: str) -> Fate:
        return FINISHED._replace(starts=3)


class Later(Scenario):
    """A job comes to an end and is due for its next run a second later, for which the worker waits."""

    timed: ClassVar[Mapping[str, int]] = TIMED | {"promote_due": 3, "hold_schedules": 1}
    # With a shorter interval it would look for what is due all the time.
    options: ClassVar[dict[str, Any]] = {"max_jobs": 2, "reap_interval": 60}

    async def settled(self, actor: Actor) -> bool:
        return await actor.tells("deed") and await actor.tells("executed", "renew#2")

    def compare(self, actor: Actor, state: str) -> None:
        # On a busy machine the third look may come before the job is due.
        if actor.kill == ("promote_due#3", "after") and state == "scheduled":
            state = "queued"
        super().compare(actor, state)


class RetryingLater(Later, Retrying):
    """The job is aiorq's, and its retry a second later: it is scheduled, promoted, and handed to the waiting worker."""

    points: ClassVar[tuple[str, ...]] = (
        *(name for name in ENTER if name != "overdue#1"),
        *("hold_schedules#1", "promote_due#1", "promote_due#2", "begin#1", "renew#2", "fail#1", "claim#2"),
        *("CLIENT ID#1", "BLMOVE#1", "promote_due#3", "claim#3", "begin#2", "finish#1", *LEAVE),
    )
    steps: ClassVar[tuple[tuple[str, str], ...]] = (
        ("claim#1", "held"),
        ("begin#1", "started"),
        ("fail#1", "scheduled"),
        ("promote_due#3", "queued"),
        ("claim#3", "held"),
        ("begin#2", "started"),
        ("finish#1", "finished"),
    )

    async def prepare(self, stage: Stage) -> None:
        await stage.enqueue("it", args=[*stage.args("it"), 1], retry=aiorq.Retry(max=2, interval=[1, 0]))


class Requeueing(Scenario):
    """The worker's jobs go back to the queue when it is lost."""

    elsewhere: ClassVar[tuple[str, ...]] = (*ENTER, *LEAVE)
    options: ClassVar[dict[str, Any]] = {"burst": True, "on_lost": "requeue"}
    lost = FINISHED._replace(starts=2)


class Handed(Scenario):
    """The job is handed to a worker that waits; afterwards the worker is told to end while it waits again."""

    points: ClassVar[tuple[str, ...]] = (
        *ENTER,
        *("CLIENT ID#1", "BLMOVE#1", "claim#2", "begin#1", "renew#2", "finish#1", "claim#3", "BLMOVE#2"),
        *("CLIENT UNBLOCK#1", *LEAVE),
    )
    elsewhere: ClassVar[tuple[str, ...]] = ENTER
    steps: ClassVar[tuple[tuple[str, str], ...]] = (
        ("claim#2", "held"),
        ("begin#1", "started"),
        ("finish#1", "finished"),
    )
    options: ClassVar[dict[str, Any]] = {}

    async def prepare(self, stage: Stage) -> None:
        return

    async def react(self, stage: Stage, actor: Actor) -> None:
        await actor.tells("sent", "BLMOVE#1")
        await stage.enqueue("it")
        await super().react(stage, actor)
        if await actor.tells("sent", "BLMOVE#2"):
            actor.end()


class Stopping(Scenario):
    """Somebody asks for the job to be stopped, and waits for its end."""

    points: ClassVar[tuple[str, ...]] = (*ENTER, "begin#1", "renew#2", "stop#1", "claim#2", *LEAVE)
    elsewhere: ClassVar[tuple[str, ...]] = ENTER
    steps: ClassVar[tuple[tuple[str, str], ...]] = (("claim#1", "held"), ("begin#1", "started"), ("stop#1", "stopped"))

    async def react(self, stage: Stage, actor: Actor) -> None:
        if await self.settled(actor):
            stage.memory["stop"] = asyncio.create_task(stage.jobs["it"].stop())

    async def expect(self, stage: Stage, actor: Actor) -> None:
        await super().expect(stage, actor)
        if "stop" in stage.memory:
            stage.memory["answer"] = stage.expected["it"].status


class Canceling(Scenario):
    """Somebody cancels the job while it runs: nothing is recorded of its end."""

    points: ClassVar[tuple[str, ...]] = (*ENTER, "begin#1", "renew#2", "claim#2", *LEAVE)
    elsewhere: ClassVar[tuple[str, ...]] = (*ENTER, *LEAVE)

    async def react(self, stage: Stage, actor: Actor) -> None:
        if await self.settled(actor):
            await stage.jobs["it"].cancel()
            stage.memory["canceled"] = True

    async def expect(self, stage: Stage, actor: Actor) -> None:
        if "canceled" in stage.memory:
            stage.expected["it"] = Fate(JobStatus.CANCELED)
        else:
            await super().expect(stage, actor)


class PuttingBack(Scenario):
    """The worker is told to end when it has claimed jobs that have not begun: they are put back.

    So is one whose claim it has not heard of: that is left to its last words.
    """

    names: ClassVar[tuple[str, ...]] = ("one", "two", "three")
    points: ClassVar[tuple[str, ...]] = (
        *(name for name in ENTER if name != "overdue#1"),
        *("release#1", "release#2", "release#3", "release#4", "retire#1"),
    )
    elsewhere: ClassVar[tuple[str, ...]] = tuple(name for name in ENTER if name != "claim#1")
    timed: ClassVar[Mapping[str, int]] = TIMED | {"renew": 1}
    options: ClassVar[dict[str, Any]] = {"concurrency": 3, "reap_interval": 60}

    async def prepare(self, stage: Stage) -> None:
        await stage.enqueue("unheard")
        assert await runs.claim(stage.queue.store, "actor", ["default"], 1, 60)
        for name in self.names:
            await stage.enqueue(name)

    def start(self, stage: Stage, kill: Point | None) -> Actor:
        return stage.work("actor", kill, hold=("claim#1", stage.gate.path), **self.options)

    async def react(self, stage: Stage, actor: Actor) -> None:
        if await actor.tells("executed", "claim#1") and await actor.tells("executed", "SUBSCRIBE#1"):
            actor.end()
            await actor.tells("log", "SIGTERM: finishing what runs")
        stage.gate.let()

    async def expect(self, stage: Stage, actor: Actor) -> None:
        for index, name in enumerate(self.names, 1):
            state = await stage.state(name)
            if actor.did(f"release#{index}") is not None:
                is_held = actor.did("claim#1") and not actor.did(f"release#{index}")
                assert state == ("held" if is_held else "queued")
            stage.expected[name] = FINISHED
        assert await stage.state("unheard") == ("queued" if actor.did("retire#1") else "held")
        stage.expected["unheard"] = FINISHED


class Killing(Scenario):
    """The worker is told to end at once: its jobs are killed and put back."""

    names: ClassVar[tuple[str, ...]] = ("one", "two")
    points: ClassVar[tuple[str, ...]] = (
        *ENTER,
        "begin#1",
        "begin#2",
        "renew#2",
        "TIME#1",
        "save#1",
        "release#1",
        "release#2",
        "release#3",
        "retire#1",
    )
    elsewhere: ClassVar[tuple[str, ...]] = (*ENTER, "begin#1", "renew#2")
    options: ClassVar[dict[str, Any]] = {"concurrency": 2}

    async def prepare(self, stage: Stage) -> None:
        for name in self.names:
            await stage.enqueue(name)

    async def react(self, stage: Stage, actor: Actor) -> None:
        await actor.tells("deed", count=2)
        if await self.settled(actor):
            actor.end()
            await actor.tells("log", "SIGTERM: finishing what runs")
            actor.end()

    async def expect(self, stage: Stage, actor: Actor) -> None:
        left = [await stage.state(name) for name in self.names]
        done = [actor.did(f"release#{index}") for index in (1, 2)]
        assert sum(done_ is True for done_ in done) <= left.count("queued") <= sum(done_ is not False for done_ in done)
        for name, state in zip(self.names, left, strict=True):
            # What is held has not begun, and what is queued may have been put back before or after its beginning.
            fates = {"held": FINISHED, "queued": FINISHED._replace(starts=2), "started": ABANDONED}
            stage.expected[name] = fates[state]


class Reaping(Scenario):
    """A worker of another queue looks after all that a dead one, RQ's, and time itself have left."""

    points: ClassVar[tuple[str, ...]] = (
        *ENTER,
        *("CLIENT ID#1", "BLMOVE#1", "reap#1", "reap#2", "reap#3", "reap#4", "promote#1", "recover#1"),
        *("HGETALL#1", "release#1", "CLIENT UNBLOCK#1", "release#2", "retire#1"),
    )
    timed: ClassVar[Mapping[str, int]] = TIMED | {"HGETALL": 1}
    elsewhere: ClassVar[tuple[str, ...]] = tuple(
        name for name in (*ENTER, "CLIENT ID#1", "BLMOVE#1", "retire#1", "CLIENT UNBLOCK#1") if name != "overdue#1"
    )
    options: ClassVar[dict[str, Any]] = {"queues": "other"}

    async def prepare(self, stage: Stage) -> None:
        connection, store = stage.connection, stage.queue.store
        await workers.register(store, "dead", "boot", ["default"], {}, 480)
        for name in ("held", "begun", "requeued"):
            await stage.enqueue(name, gate=False)
            claimed = await runs.claim(store, "dead", ["default"], 1, 3, requeue_lost=name == "requeued")
            assert claimed is not None
            if name != "held":
                await begin(store, "dead", claimed[0].run)
        stage.enqueue_by_rq("retried", retry=Retry(max=1))
        claimed = await runs.claim(store, "dead", ["default"], 1, 3)
        assert claimed is not None
        await begin(store, "dead", claimed[0].run)
        await stage.enqueue("due", gate=False)
        await connection.lrem("rq:queue:default", 1, "due")
        await connection.hset("rq:job:due", "status", "scheduled")
        await connection.zadd("rq:scheduled:default", {"due": 1})
        await stage.enqueue("taken", gate=False)
        await connection.lmove("rq:queue:default", "rq:queue:default:intermediate")
        await connection.set("rq:queue:default:intermediate:first_seen:taken", 1, ex=86400)
        await connection.hset("rq:job:taken", "aiorq_taken", await connection.hget("rq:job:taken", "enqueued_at"))
        await stage.enqueue("handed", gate=False)
        await connection.lmove("rq:queue:default", "rq:aiorq:inbox:dead:default")
        await stage.expire_leases()

    async def look(self, stage: Stage) -> None:
        await stage.check_places(amiss="taken")

    async def react(self, stage: Stage, actor: Actor) -> None:
        for name in ("release#1", "promote#1", "recover#1", "renew#1", *(f"reap#{number}" for number in range(1, 5))):
            await actor.tells("executed", name)
        await actor.tells("sent", "BLMOVE#1")
        actor.end()

    async def expect(self, stage: Stage, actor: Actor) -> None:
        stage.expected |= dict.fromkeys(("held", "requeued", "retried", "due", "handed"), FINISHED)
        stage.expected["begun"] = Fate(JobStatus.FAILED, "AbandonedJobError: the job was lost with worker 'dead'")
        stage.expected["taken"] = Fate(JobStatus.FAILED, "AbandonedJobError: a worker of RQ took the job")


class SavingMeta(Scenario):
    """The job's own process talks to Redis, and is killed there: the worker goes on."""

    points: ClassVar[tuple[str, ...]] = (*Scenario.points, *(f"horse {name}" for name in CONNECT), "horse save#1")
    elsewhere: ClassVar[tuple[str, ...]] = Scenario.points
    lost = Fate(JobStatus.FAILED, "HorseTerminatedError: the process that ran the job was killed by signal 9")

    async def prepare(self, stage: Stage) -> None:
        await stage.enqueue("it", function="deeds.deed_with_meta")

    def compare(self, actor: Actor, state: str) -> None:
        assert state == ("failed" if actor.kill else "finished")

    def fate(self, state: str) -> Fate:
        return self.lost if state == "failed" else FINISHED


class Enqueueing(Scenario):
    """Jobs are enqueued, one with an id that was made up and one with a given one."""

    points: ClassVar[tuple[str, ...]] = (*CONNECT, "enqueue#1", "enqueue#2")

    async def prepare(self, stage: Stage) -> None:
        return

    def start(self, stage: Stage, kill: Point | None) -> Actor:
        calls = [{"args": stage.args("given", gate=False), "job_id": "given"}, {"args": stage.args("any", gate=False)}]
        return stage.start("enqueue", kill, calls=calls)

    async def react(self, stage: Stage, actor: Actor) -> None:
        return

    async def expect(self, stage: Stage, actor: Actor) -> None:
        ids = await stage.queue.get_job_ids()
        assert {f"rq:job:{job_id}".encode() for job_id in ids} == {*await stage.connection.keys("rq:job:*")}
        assert len(ids) == sum(actor.did(f"enqueue#{number}") is True for number in (1, 2))
        assert ids[:1] == ["given"][: len(ids)]
        for job_id in ids:
            stage.jobs[job_id] = Job(job_id, stage.connection)
            stage.aliases[job_id] = "given" if job_id == "given" else "any"
            stage.expected[job_id] = FINISHED


class EnqueueingMany(Enqueueing):
    """More jobs than one step takes."""

    points: ClassVar[tuple[str, ...]] = (*CONNECT, "enqueue#1", "enqueue#2")
    elsewhere: ClassVar[tuple[str, ...]] = CONNECT
    count = 120

    def start(self, stage: Stage, kill: Point | None) -> Actor:
        return stage.start("enqueue_many", kill, count=self.count, args=stage.args("any", gate=False))

    async def expect(self, stage: Stage, actor: Actor) -> None:
        jobs = await stage.queue.get_jobs()
        assert len(jobs) == 100 * bool(actor.did("enqueue#1")) + 20 * bool(actor.did("enqueue#2"))
        assert len(await stage.connection.keys("rq:job:*")) == len(jobs)
        await stage.queue.empty()


class Asking(Scenario):
    """Jobs that wait, run and have ended are deleted, stopped and canceled, while their worker lives."""

    points: ClassVar[tuple[str, ...]] = (
        *(*CONNECT, "delete#1", "delete#2", "delete#3", "cancel#1", "cancel#2", "ask_stop#1"),
        *("CLIENT ID#1", "XREAD#1"),
    )
    elsewhere: ClassVar[tuple[str, ...]] = CONNECT
    asked: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("ended", "delete", "delete#1"),
        ("running", "delete", "delete#2"),
        ("waiting", "delete", "delete#3"),
        ("to-cancel", "cancel", "cancel#1"),
        ("cancel-me", "cancel", "cancel#2"),
        ("to-stop", "stop", "ask_stop#1"),
    )

    async def prepare(self, stage: Stage) -> None:
        worker = stage.memory["worker"] = stage.work("bystander", concurrency=3)
        await worker.tells("executed", "renew#1")
        ended = await stage.enqueue("ended", gate=False)
        await ended.latest_result(timeout=20)
        for name in ("running", "to-cancel", "to-stop", "waiting", "cancel-me"):
            await stage.enqueue(name)
        await worker.tells("deed", count=4)

    def start(self, stage: Stage, kill: Point | None) -> Actor:
        return stage.start("ask", kill, asked=[(*ask[:2], {}) for ask in self.asked])

    async def react(self, stage: Stage, actor: Actor) -> None:
        return

    async def expect(self, stage: Stage, actor: Actor) -> None:
        fates = {"delete": Fate(None), "cancel": Fate(JobStatus.CANCELED), "stop": Fate(JobStatus.STOPPED)}
        for name, what, command in self.asked:
            stage.expected[name] = fates[what] if actor.did(command) else FINISHED
        worker: Actor = stage.memory["worker"]
        if actor.did("ask_stop#1"):  # its end must not be a matter of the gate
            await stage.jobs["to-stop"].latest_result(timeout=20)
        stage.gate.let(20)
        for name, fate in stage.expected.items():
            if fate.status not in (None, JobStatus.CANCELED):
                await stage.jobs[name].latest_result(timeout=20)
        worker.end()
        await worker.gone()


class Mending(Scenario):
    """The doctor puts right what is wrong on the books: a job that no queue lists, and two that wait for nothing."""

    points: ClassVar[tuple[str, ...]] = (
        *(*CONNECT, "INFO#1", "look#1", "SCAN#1", "look#2", "look#3", "LLEN#1", "look#4", "look#5"),
        *("repair#1", "readmit#1", "free_slot#1"),
    )
    elsewhere: ClassVar[tuple[str, ...]] = CONNECT
    timed: ClassVar[Mapping[str, int]] = TIMED | {"INFO": 1, "LLEN": 1}

    async def prepare(self, stage: Stage) -> None:
        for name in ("well", "unlisted", "deferred"):
            await stage.enqueue(name, gate=False)
        await stage.connection.lrem("rq:queue:default", 1, "unlisted")
        await stage.connection.lrem("rq:queue:default", 1, "deferred")
        await stage.connection.hset("rq:job:deferred", "status", "deferred")
        await stage.connection.zadd("rq:deferred:default", {"deferred": 1})
        for name in ("forgotten", "limited"):
            await stage.enqueue(name, gate=False, rate_limit=aiorq.RateLimit("api", 1))
        await stage.connection.lrem("rq:queue:default", 1, "forgotten")
        await stage.connection.delete("rq:job:forgotten")

    def start(self, stage: Stage, kill: Point | None) -> Actor:
        return stage.start("mend", kill)

    async def react(self, stage: Stage, actor: Actor) -> None:
        return

    async def look(self, stage: Stage) -> None:
        return  # they are in order only afterwards

    async def expect(self, stage: Stage, actor: Actor) -> None:
        found = [await stage.books.places(name) for name in ("well", "unlisted", "deferred", "limited")]
        listed = ["rq:queue:default"]
        assert found[0] == listed
        assert found[1] == (listed if actor.did("repair#1") else [])
        assert found[2] == (listed if actor.did("readmit#1") else ["rq:deferred:default"])
        assert found[3] == (listed if actor.did("free_slot#1") else ["rq:rl:api:rate_limited"])
        again = stage.start("mend")
        await again.gone()
        assert again.told("raised") == []
        await stage.check_places()
        stage.expected |= dict.fromkeys(("well", "unlisted", "deferred", "limited"), FINISHED)


SCENARIOS: Final = {
    "run": Scenario(),
    "stall": Stalling(),
    "fail": Failing(),
    "retry": Retrying(),
    "retry later": RetryingLater(),
    "requeue when lost": Requeueing(),
    "handed to a waiting worker": Handed(),
    "stop": Stopping(),
    "cancel": Canceling(),
    "put back": PuttingBack(),
    "kill and put back": Killing(),
    "reap": Reaping(),
    "save meta": SavingMeta(),
    "enqueue": Enqueueing(),
    "enqueue many": EnqueueingMany(),
    "ask": Asking(),
    "mend": Mending(),
}
