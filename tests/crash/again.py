"""Scenarios of jobs that run again, by a retry or a repeat, or one after the other; and of what is called then."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any, ClassVar, Final, Literal

from aiorq import Callback, JobStatus, RateLimit, Repeat, Retry, Webhook
from tests.crash.dependents import all_but
from tests.crash.scenarios import ENTER, FINISHED, LEAVE, Failing, Later, Scenario
from tests.crash.stage import Actor, Fate, Stage


class Again(Scenario):
    """The job returns a request to be tried again, once."""

    points: ClassVar[tuple[str, ...]] = (
        *(*ENTER, "begin#1", "renew#2", "retry#1", "claim#2", "begin#2", "finish#1", "claim#3", *LEAVE),
    )
    elsewhere: ClassVar[tuple[str, ...]] = all_but(points, "retry#1", "claim#2", "finish#1")
    steps: ClassVar[tuple[tuple[str, str], ...]] = (
        ("claim#1", "held"),
        ("begin#1", "started"),
        ("retry#1", "queued"),
        ("claim#2", "held"),
        ("begin#2", "started"),
        ("finish#1", "finished"),
    )

    async def prepare(self, stage: Stage) -> None:
        await stage.enqueue("it", function="deeds.deed_again", args=[*stage.args("it"), 1])

    async def react(self, stage: Stage, actor: Actor) -> None:
        await self.settled(actor)
        stage.gate.let(2)

    async def expect(self, stage: Stage, actor: Actor) -> None:
        await super().expect(stage, actor)
        asked = actor.did("retry#1") is True
        assert await stage.connection.xlen("rq:results:it") == asked + (await stage.state("it") == "finished")
        tried = await stage.connection.hget("rq:job:it", "number_of_retries")
        assert int(tried or 0) == asked
        # Its first run may have been lost, of which nothing is left but its line.
        more = asked or await stage.state("it") in ("queued", "held")
        stage.expected["it"] = stage.expected["it"]._replace(starts=2, outcomes=1 + more)


class Repeating(Scenario):
    """The job runs again after it has succeeded, at once."""

    interval: ClassVar[int] = 0
    points: ClassVar[tuple[str, ...]] = (
        *(*ENTER, "begin#1", "renew#2", "finish#1", "claim#2", "begin#2", "finish#2", "claim#3", *LEAVE),
    )
    elsewhere: ClassVar[tuple[str, ...]] = all_but(points, "finish#1", "begin#2", "finish#2")
    steps: ClassVar[tuple[tuple[str, str], ...]] = (
        ("claim#1", "held"),
        ("begin#1", "started"),
        ("finish#1", "queued"),
        ("claim#2", "held"),
        ("begin#2", "started"),
        ("finish#2", "finished"),
    )

    async def prepare(self, stage: Stage) -> None:
        await stage.enqueue("it", repeat=Repeat(1, interval=self.interval))

    async def react(self, stage: Stage, actor: Actor) -> None:
        await self.settled(actor)
        stage.gate.let(2)

    async def expect(self, stage: Stage, actor: Actor) -> None:
        await super().expect(stage, actor)
        repeats = int(await stage.connection.hget("rq:job:it", "repeats_left"))
        outcomes = await stage.connection.xlen("rq:results:it")
        state = await stage.state("it")
        assert (repeats, outcomes) == (1 - (outcomes > 0), 1 - repeats + (state == "finished"))
        assert (await stage.connection.zscore("rq:finished:default", "it") is not None) == (outcomes > 0)
        # A run that is lost ends it all.
        to_come = 0 if state == "finished" else 1 if state == "started" else 1 + repeats
        stage.expected["it"] = stage.expected["it"]._replace(starts=2, outcomes=outcomes + to_come)


class RepeatingLater(Later, Repeating):
    """The job runs again a second after it has succeeded."""

    interval = 1
    points: ClassVar[tuple[str, ...]] = (
        *(*all_but(ENTER, "overdue#1"), "hold_schedules#1", "promote_due#1", "promote_due#2", "begin#1", "renew#2"),
        *("finish#1", "claim#2", "CLIENT ID#1", "BLMOVE#1", "promote_due#3", "claim#3", "begin#2", "finish#2", *LEAVE),
    )
    elsewhere: ClassVar[tuple[str, ...]] = all_but(points, "finish#1", "promote_due#3")
    steps: ClassVar[tuple[tuple[str, str], ...]] = (
        ("claim#1", "held"),
        ("begin#1", "started"),
        ("finish#1", "scheduled"),
        ("promote_due#3", "queued"),
        ("claim#3", "held"),
        ("begin#2", "started"),
        ("finish#2", "finished"),
    )


class Limited(Scenario):
    """Of three jobs one may run at a time, and the worker has room for all of them."""

    names: ClassVar[tuple[str, ...]] = ("it", "second", "third")
    points: ClassVar[tuple[str, ...]] = (*ENTER, "begin#1", "renew#2", "finish#1", *LEAVE)
    elsewhere: ClassVar[tuple[str, ...]] = all_but(points, "claim#1", "begin#1", "finish#1")
    options: ClassVar[dict[str, Any]] = {"concurrency": 3, "max_jobs": 1}

    async def prepare(self, stage: Stage) -> None:
        stage.limits["api"] = 1
        for name in self.names:
            args = [*stage.args(name, gate=name == "it"), stage.effects("lock")]
            await stage.enqueue(
                name, function="deeds.deed_alone", args=args, rate_limit=RateLimit("api", 1), **self.wishes(name)
            )

    def wishes(self, name: str) -> dict[str, Any]:
        """Further options of a job."""
        return {}

    async def expect(self, stage: Stage, actor: Actor) -> None:
        await super().expect(stage, actor)
        passed_on = await stage.state("it") in ("finished", "scheduled")
        states = [await stage.state(name) for name in self.names[1:]]
        assert states == ["queued" if passed_on else "rate_limited", "rate_limited"]
        stage.expected |= dict.fromkeys(self.names[1:], FINISHED)


class LimitedAndTriedAgain(Limited):
    """The job that has the only slot is tried again later: the next one gets it meanwhile."""

    points: ClassVar[tuple[str, ...]] = (*ENTER, "begin#1", "renew#2", "fail#1", *LEAVE)
    elsewhere: ClassVar[tuple[str, ...]] = all_but(points, "fail#1")
    steps: ClassVar[tuple[tuple[str, str], ...]] = (
        ("claim#1", "held"),
        ("begin#1", "started"),
        ("fail#1", "scheduled"),
    )

    def wishes(self, name: str) -> dict[str, Any]:
        return {"retry": Retry(1, interval=1)} if name == "it" else {}

    async def react(self, stage: Stage, actor: Actor) -> None:
        """Kill the first run of the job."""
        if await self.settled(actor):
            os.kill(int(actor.told("deed")[0][1]), signal.SIGKILL)
        stage.gate.let()

    def fate(self, state: str) -> Fate:
        return FINISHED._replace(starts=2)


class CallingBack(Scenario):
    """The job has a callback for its success, and a webhook: what is called is called again only where the run is."""

    points: ClassVar[tuple[str, ...]] = (*ENTER, "begin#1", "renew#2", "finish#1", *LEAVE)
    elsewhere: ClassVar[tuple[str, ...]] = all_but(points, "finish#1")
    options: ClassVar[dict[str, Any]] = {"max_jobs": 1}
    wish: ClassVar[str] = "on_success"
    status: ClassVar[Literal["finished", "failed"]] = "finished"
    fails: ClassVar[int] = 0

    async def prepare(self, stage: Stage) -> None:
        requests = stage.memory["requests"] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            writer.close()

        server = stage.memory["server"] = await asyncio.start_server(answer, "127.0.0.1", 0)
        hook = Webhook(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", self.status)
        options: Any = {self.wish: Callback("deeds.call_back")}
        await stage.enqueue("it", args=[*stage.args("it"), self.fails], webhooks=[hook], **options)

    async def expect(self, stage: Stage, actor: Actor) -> None:
        await super().expect(stage, actor)
        assert stage.starts("it-called") == 1, "it is called before the outcome is recorded"
        assert len(stage.memory["requests"]) == (actor.kill is None), "it is made when the outcome is recorded"

    async def conclude(self, stage: Stage) -> None:
        lost = stage.expected["it"] is self.lost
        assert stage.starts("it-called") == 1 + (lost and self.wish == "on_failure")
        assert len(stage.memory["requests"]) == self.made(stage)
        stage.memory["server"].close()
        await stage.memory["server"].wait_closed()

    def made(self, stage: Stage) -> int:
        """How many requests there have been in the end."""
        return len(stage.memory["requests"][:1]) if stage.expected["it"] is not self.lost else 0


class CallingBackOfFailure(CallingBack):
    """The same of a failure, which also ends what was lost: of that its callback hears, and the request is made."""

    points: ClassVar[tuple[str, ...]] = (*ENTER, "begin#1", "renew#2", "fail#1", *LEAVE)
    elsewhere: ClassVar[tuple[str, ...]] = all_but(points, "fail#1")
    steps: ClassVar[tuple[tuple[str, str], ...]] = Failing.steps
    wish = "on_failure"
    status = "failed"
    fails = 9

    def fate(self, state: str) -> Fate:
        return self.lost if state == "started" else Fate(JobStatus.FAILED, "ValueError: on purpose")

    def made(self, stage: Stage) -> int:
        return 1 if stage.expected["it"] is self.lost else len(stage.memory["requests"][:1])


SCENARIOS: Final = {
    "return a retry": Again(),
    "repeat": Repeating(),
    "repeat later": RepeatingLater(),
    "limit": Limited(),
    "limit and retry later": LimitedAndTriedAgain(),
    "call back": CallingBack(),
    "call back after a failure": CallingBackOfFailure(),
}
