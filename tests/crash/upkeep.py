"""The scenario of a sweep: what expired, or leads nowhere, leaves the books, and what waits in vain goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from aiorq import Queue, RateLimit
from aiorq.group import Group
from tests.crash.dependents import all_but
from tests.crash.scenarios import ENTER, FINISHED, LEAVE, TIMED, Scenario
from tests.crash.stage import Actor, Stage


class Sweeping(Scenario):
    """A worker of another queue sweeps."""

    sweeps: ClassVar[tuple[str, ...]] = (
        *(f"sweep#{number}" for number in range(1, 7)),
        *("sweep_group#1", "sweep_limit#1", "sweep_limit#2"),
    )
    points: ClassVar[tuple[str, ...]] = (
        *(*ENTER, "CLIENT ID#1", "BLMOVE#1", "SSCAN#1", *sweeps, "CLIENT UNBLOCK#1", *LEAVE),
    )
    elsewhere: ClassVar[tuple[str, ...]] = all_but(points, "SSCAN#1", *sweeps)
    timed: ClassVar[Mapping[str, int]] = TIMED | {"SSCAN": 1, "sweep": 6, "sweep_group": 1, "sweep_limit": 2}
    options: ClassVar[dict[str, Any]] = {"queues": "other"}

    async def prepare(self, stage: Stage) -> None:
        """A parent, and a job with the slot for which another one waits, are gone as only RQ lets them go."""
        connection = stage.connection
        await stage.enqueue("parent")
        await stage.enqueue("child", gate=False, depends_on="parent")
        await stage.enqueue("strict", gate=False, depends_on=["parent", "held-up"])
        for name in ("first", "second"):
            await stage.enqueue(name, gate=False, rate_limit=RateLimit("api", 1))
        await Group(stage.connection, "mail").enqueue_many(
            stage.queue, [Queue.prepare_data("deeds.deed", stage.args("member"), job_id="member")]
        )
        for name in ("parent", "first", "member"):
            await connection.lrem("rq:queue:default", 1, name)
            await connection.delete(*await connection.keys(f"rq:job:*{name}*"))
        for kind in ("finished", "failed"):
            await connection.zadd(f"rq:{kind}:default", {f"old-{kind}": 1})
        for kind in ("deferred", "canceled", "scheduled"):
            await connection.zadd(f"rq:{kind}:default", {"gone": 4e9})

    async def look(self, stage: Stage) -> None:
        return  # they are in order only afterwards

    async def react(self, stage: Stage, actor: Actor) -> None:
        for name in ("renew#1", *self.sweeps):
            await actor.tells("executed", name)
        await actor.tells("sent", "BLMOVE#1")
        actor.end()

    async def expect(self, stage: Stage, actor: Actor) -> None:
        state = await stage.state("child")
        assert await stage.books.places("child") == [{"queued": "rq:queue:default"}.get(state, "rq:deferred:default")]
        state = await stage.state("second")
        slots = await stage.connection.zrange("rq:rl:api:allowed", 0, -1)
        assert (state, slots) in (("rate_limited", [b"first"]), ("rate_limited", []), ("queued", [b"second"]))
        if actor.kill is None:
            assert [await stage.state(name) for name in ("child", "second")] == ["queued", "queued"]
        stage.expected |= dict.fromkeys(("child", "second", "strict"), FINISHED)

    async def conclude(self, stage: Stage) -> None:
        kinds = ("finished", "failed", "deferred", "canceled", "scheduled")
        left = {kind: await stage.books.registry(kind) for kind in kinds}
        assert {kind: {*names} for kind, names in left.items() if names} == {"finished": {*stage.expected}}
        assert await stage.connection.exists("rq:groups", "rq:group:mail", "rq:rl:api:allowed") == 0


SCENARIOS: Final = {"sweep": Sweeping()}
