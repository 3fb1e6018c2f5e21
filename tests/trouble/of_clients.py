"""What clients call: they are told at once, with nothing changed, or it is done, and done once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from aiorq import JobStatus, Queue, Worker
from aiorq.doctor import Finding, Report, examine, mend
from aiorq.errors import InvalidJobOperation
from aiorq.group import Group
from aiorq.registry import RateLimitRegistry
from aiorq.store import workers
from aiorq.store.base import store_of
from tests.scripts.conftest import told as commands_to
from tests.trouble.cases import Case, Scenario


async def enqueue(case: Case, script: str) -> None:
    for options in ({}, {"job_id": "chosen"}):
        before = set(await case.real.keys("*"))
        fault = case.arm(script)
        if not await case.call(lambda options=options: case.ledger.enqueue(case.queue, **options)):  # type: ignore[misc]
            assert set(await case.real.keys("*")) == before
            await case.ledger.enqueue(case.queue, **options)
        assert fault.hits == 1
    made = [job.id.encode() for job in case.ledger.jobs.values()]
    assert await case.real.lrange("rq:queue:default", 0, -1) == made
    assert set(await case.real.keys("rq:job:*")) == {b"rq:job:" + job_id for job_id in made}


async def save(case: Case, script: str) -> None:
    job = await case.ledger.enqueue(case.queue)
    fault = case.arm(script)
    job.description = "new"
    saved = await case.call(job.save)
    assert fault.hits == 1
    assert await case.real.hget(job.key, "description") == (b"new" if saved else b"line-0")
    assert await case.real.lrange("rq:queue:default", 0, -1) == [job.id.encode()]


async def delete(case: Case, script: str) -> None:
    """All of it is there, or nothing."""
    job = await case.queue.enqueue("jobs.add", 1)
    fault = case.arm(script)
    deleted = await case.call(job.delete)
    assert fault.hits == 1
    assert await case.real.exists(job.key) == (not deleted)
    assert await case.real.lrange("rq:queue:default", 0, -1) == ([] if deleted else [job.id.encode()])


async def empty(case: Case, script: str) -> None:
    made = [await case.queue.enqueue("jobs.add", 1) for _ in range(3)]
    fault = case.arm(script)
    emptied = await case.call(case.queue.empty)
    assert fault.hits == 1
    assert await case.real.llen("rq:queue:default") == (0 if emptied else 3)
    assert await case.real.exists(*[job.key for job in made]) == (0 if emptied else 3)


async def cancel(case: Case, script: str) -> None:
    """A job that waits and one that runs, whose worker is told once."""
    for place in ("rq:queue:default", "rq:wip:default"):
        job = await case.queue.enqueue("jobs.add", 1)
        if place == "rq:wip:default":
            await case.take(60)
        fault = case.arm(script)
        async with commands_to(case.real, case.other) as commands:
            canceled = await case.call(job.cancel)
        assert fault.hits == 1
        assert len(commands) == (canceled and place == "rq:wip:default")
        assert await case.real.exists(place) == (not canceled)
        assert (await case.real.zscore("rq:canceled:default", job.id) is not None) == canceled
        if not canceled:
            await job.cancel()
        assert await case.real.hget(job.key, "status") == b"canceled"
        assert await case.real.exists(place) == 0
        with pytest.raises(InvalidJobOperation):
            await job.cancel()


async def ask_stop(case: Case, script: str) -> None:
    """The request is kept, and its worker is told once."""
    await workers.register(store_of(case.real), case.other, "boot", ["default"], {"state": "idle"}, 480)
    job = await case.queue.enqueue("jobs.add", 1)
    run = await case.take(60)
    fault = case.arm(script)
    async with commands_to(case.real, case.other) as commands:
        asked = await case.call(lambda: job.stop(timeout=None))
    assert fault.hits == 1
    assert len(commands) == asked
    assert await case.real.hexists(job.key, "aiorq_stop") == asked
    assert await case.real.exists(f"rq:aiorq:stops:{case.other}") == asked
    if not asked:
        await job.stop(timeout=None)
    assert await case.real.hkeys(f"rq:aiorq:stops:{case.other}") == [run.token.encode()]


async def look(case: Case, script: str) -> None:
    """The first call finds out whether scripts may be run at all, the others read the books."""
    await case.real_queue.enqueue("jobs.add", 1)
    await case.real.delete("rq:queue:default")
    for passes in range(2):
        fault = case.arm(script, passes)
        if case.name == "ERR" and passes == 0:
            report = await examine(case.client, settle=0.01)
            assert "something that nobody expected" in str(report.errors)
        else:
            await case.call(lambda: examine(case.client, settle=0.01))
        assert fault.hits == 1
        [finding] = of_books(await examine(case.client, settle=0.01))
        assert finding.rule == "listed nowhere"


async def repair(case: Case, script: str) -> None:
    """A job that is in no list is listed again."""
    await mended(case, script, lambda job: case.real.delete("rq:queue:default"))


async def readmit(case: Case, script: str) -> None:
    """A job that is listed and whose status says that it is not becomes queued."""
    await mended(case, script, lambda job: case.real.hset(job.key, "status", "created"))


async def mended(case: Case, script: str, damage: Callable[[Any], Any]) -> None:
    job = await case.real_queue.enqueue("jobs.add", 1)
    sound = await books(case)
    await damage(job)
    damaged = await books(case)
    assert damaged != sound
    report = await examine(case.real, settle=0.01)
    assert len(of_books(report)) == 1
    fault = case.arm(script)
    done = await case.call(lambda: mend(report, case.client))
    assert fault.hits == 1
    assert await books(case) == (sound if done else damaged)
    if not done:
        await mend(report, case.client)
        assert of_books(report) == report.repaired
    assert await books(case) == sound
    assert of_books(await examine(case.real, settle=0.01)) == []


async def browse(case: Case, script: str) -> None:
    await case.real.zadd("rq:scheduled:default", {"a": 1, "b": 2})
    fault = case.arm(script)
    await case.call(case.queue.scheduled_job_registry.get_job_ids)
    assert fault.hits == 1
    assert await case.queue.scheduled_job_registry.get_job_ids() == ["a", "b"]


async def sweep(case: Case, script: str) -> None:
    await case.real.zadd("rq:failed:default", {"a": 1, "b": 2})
    await swept(case, script, case.queue.failed_job_registry.cleanup, "rq:failed:default")


async def sweep_group(case: Case, script: str) -> None:
    await case.real.sadd("rq:group:mail", "gone")
    await case.real.sadd("rq:groups", "mail")
    await swept(case, script, Group(case.client, "mail").cleanup, "rq:group:mail", "rq:groups")


async def sweep_limit(case: Case, script: str) -> None:
    await case.real.zadd("rq:rl:api:allowed", {"gone": 1})
    await case.real.sadd("rq:rl-keys", "api")
    await swept(case, script, RateLimitRegistry("api", case.client).cleanup, "rq:rl:api:allowed", "rq:rl-keys")


async def sweep_workers(case: Case, script: str) -> None:
    await case.real.sadd("rq:workers", "rq:worker:dead")
    await swept(case, script, lambda: Worker.all(case.client, cleanup=True), "rq:workers")


async def swept(case: Case, script: str, clean: Callable[[], Awaitable[Any]], *keys: str) -> None:
    """All of it is gone, or it is when it is tried again."""
    fault = case.arm(script)
    done = await case.call(clean)
    assert fault.hits == 1
    if not done:
        await clean()
    assert await case.real.exists(*keys) == 0


async def tally(case: Case, script: str) -> None:
    group = Group(case.client, "mail")
    await group.enqueue_many(case.queue, [Queue.prepare_data("jobs.add", (1,)) for _ in range(3)])
    fault = case.arm(script)
    await case.call(group.counts)
    assert fault.hits == 1
    assert await group.counts() == {JobStatus.QUEUED: 3}


async def pause(case: Case, script: str) -> None:
    """A pause that is asked for twice lasts since the first time."""
    fault = case.arm(script)
    done = await case.call(lambda: case.queue.pause("why"))
    assert fault.hits == 1
    pause = await case.queue.paused()
    assert (pause is not None) == done
    if pause is not None:
        assert pause.reason == "why"
        assert await case.queue.pause("why") == pause


async def books(case: Case) -> tuple[Any, ...]:
    """What is queued, and the statuses of all jobs."""
    jobs = await case.real.keys("rq:job:*")
    return await case.real.lrange("rq:queue:default", 0, -1), [await case.real.hget(key, "status") for key in jobs]


def of_books(report: Report) -> list[Finding]:
    """The findings that are not of the server: the one of the tests saves nothing."""
    return [finding for finding in report.findings if finding.invariant != "server"]


SCENARIOS: Final[dict[str, Scenario]] = {
    "ask_stop": ask_stop,
    "browse": browse,
    "cancel": cancel,
    "delete": delete,
    "empty": empty,
    "enqueue": enqueue,
    "look": look,
    "pause": pause,
    "readmit": readmit,
    "repair": repair,
    "save": save,
    "sweep": sweep,
    "sweep_group": sweep_group,
    "sweep_limit": sweep_limit,
    "sweep_workers": sweep_workers,
    "tally": tally,
}
"""What each script is put through."""
