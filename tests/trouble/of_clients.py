"""What clients call: they are told at once, with nothing changed, or it is done, and done once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

import pytest

from aiorq import Job, JobStatus, Queue, RateLimit, Worker
from aiorq.doctor import Finding, Report, examine, mend
from aiorq.errors import InvalidJobOperation
from aiorq.group import Group
from aiorq.keys import TEST_PREFIX
from aiorq.registry import RateLimitRegistry
from aiorq.store import glance, jobs, runs, sandbox, workers
from aiorq.store.base import store_of
from tests.scripts.conftest import told as commands_to
from tests.trouble.cases import Case, Scenario
from tests.worker.conftest import working


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


async def enqueue_with_wishes(case: Case, script: str) -> None:
    """All that a job asks for is there, and once; or nothing is, and it can be asked for again."""
    parent = await case.real_queue.enqueue("jobs.add", 1)
    waits: dict[str, Any] = {"depends_on": parent}
    limited = {"rate_limit": RateLimit("api", 1)}
    data = Queue.prepare_data("jobs.add", (1,), job_id="member")
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "child": lambda: case.queue.enqueue("jobs.add", 1, job_id="child", **waits),
        "later": lambda: case.queue.enqueue_in(timedelta(hours=1), "jobs.add", 1, job_id="later"),
        "first": lambda: case.queue.enqueue("jobs.add", 1, job_id="first", **limited),
        "second": lambda: case.queue.enqueue("jobs.add", 1, job_id="second", **limited),
        "unique": lambda: case.queue.enqueue("jobs.add", 1, job_id="unique", unique=True),
        "member": lambda: Group(case.client, "mail").enqueue_many(case.queue, [data]),
    }
    for name, call in calls.items():
        before = set(await case.real.keys("*"))
        fault = case.arm(script)
        if not await case.call(call):
            assert set(await case.real.keys("*")) == before, name
            await call()
        assert fault.hits == 1
    waiting = [b"first", b"unique", b"member"]
    assert await case.real.lrange("rq:queue:default", 0, -1) == [parent.id.encode(), *waiting]
    assert await case.real.zrange("rq:deferred:default", 0, -1) == [b"child"]
    assert await case.real.smembers(f"rq:job:{parent.id}:dependents") == {b"child"}
    assert await case.real.zrange("rq:scheduled:default", 0, -1) == [b"later"]
    assert await case.real.zrange("rq:rl:api:allowed", 0, -1) == [b"first"]
    assert await case.real.zrange("rq:rl:api:rate_limited", 0, -1) == [b"second"]
    assert await case.real.smembers("rq:group:mail") == {b"member"}


async def enqueue_all(case: Case, script: str) -> None:
    await enqueue_with_wishes(case, script)
    await case.real.flushdb()
    await enqueue(case, script)


async def save(case: Case, script: str) -> None:
    job = await case.ledger.enqueue(case.queue)
    fault = case.arm(script)
    job.description = "new"
    saved = await case.call(job.save)
    assert fault.hits == 1
    assert await case.real.hget(job.key, "description") == (b"new" if saved else b"line-0")
    assert await case.real.lrange("rq:queue:default", 0, -1) == [job.id.encode()]


async def delete(case: Case, script: str) -> None:
    """All of it is there, or nothing; what waits for it is let go once."""
    job = await case.real_queue.enqueue("jobs.add", 1)
    child = await case.real_queue.enqueue("jobs.add", 1, depends_on=job)
    fault = case.arm(script)
    deleted = await case.call(job_of(case, job).delete)
    assert fault.hits == 1
    assert await case.real.exists(job.key) == (not deleted)
    assert await case.real_queue.get_job_ids() == [child.id if deleted else job.id]
    assert await case.real_queue.deferred_job_registry.get_job_ids() == ([] if deleted else [child.id])


async def requeue(case: Case, script: str) -> None:
    """It is back in its queue, once, or where it was."""
    job = await case.real_queue.enqueue("jobs.add", 1)
    await runs.fail(store_of(case.real), case.other, await case.take(60), b"", 500)
    before = await case.real.hgetall(job.key)
    fault = case.arm(script)
    requeued = await case.call(job_of(case, job).requeue)
    assert fault.hits == 1
    if not requeued:
        assert await case.real.hgetall(job.key) == before
        assert await case.real.zrange("rq:failed:default", 0, -1) == [job.id.encode()]
        await job.requeue()
    assert await case.real_queue.get_job_ids() == [job.id]
    assert await case.real.exists("rq:failed:default") == 0
    with pytest.raises(InvalidJobOperation):
        await job.requeue()


async def enqueue_dependents(case: Case, script: str) -> None:
    """A client that cancels, or a worker's finish, is followed by it: all are enqueued once, by whoever comes to it."""
    queue = case.real_queue
    parent = await queue.enqueue("jobs.add", 1)
    children = await queue.enqueue_many([Queue.prepare_data("jobs.add", (1,), depends_on=parent)] * 150)
    fault = case.arm(script, passes=1)
    done = await case.call(lambda: job_of(case, parent).cancel(enqueue_dependents=True))
    assert fault.hits == 1
    assert await parent.get_status() is JobStatus.CANCELED
    assert await queue.count() == (150 if done else 100)
    for part in await case.real.hkeys("rq:aiorq:parents"):  # as whoever leads the workers does
        await jobs.enqueue_dependents(store_of(case.real), part.decode())
    assert sorted(await queue.get_job_ids()) == sorted(child.id for child in children)
    assert await case.real.keys("rq:aiorq:par*") == []
    assert await case.real.exists("rq:deferred:default") == 0
    await case.real.flushdb()
    await let_go_by_a_worker(case, script)


async def let_go_by_a_worker(case: Case, script: str) -> None:
    """It goes on with it when it next looks after what is overdue."""
    parent = await case.real_queue.enqueue("jobs.add", 1)
    idle = Queue("idle", case.real)
    children = await idle.enqueue_many([Queue.prepare_data("jobs.add", (1,), depends_on=parent)] * 150)
    fault = case.arm(script)

    async def all_are_let_go() -> bool:
        return not await case.real.exists("rq:deferred:idle", "rq:aiorq:parents")

    async with working(case.worker(reap_interval=0.1)):
        await case.until(all_are_let_go)
        assert fault.hits == 1
        await case.ledger.enqueue()
        await case.ledger.settled()
    assert sorted(await idle.get_job_ids()) == sorted(child.id for child in children)
    assert await case.real.keys("rq:aiorq:parting:*") == []
    assert await case.real.xlen(f"rq:results:{parent.id}") == 1
    assert case.log.count("is not recorded") == case.log.count("cannot deal with") == 0


async def compact(case: Case, script: str) -> None:
    """Entries of jobs that are gone leave, the others stay."""
    made = [await case.real_queue.enqueue("jobs.add", 1) for _ in range(3)]
    await case.real.delete(made[1].key)
    fault = case.arm(script)
    done = await case.call(case.queue.compact)
    assert fault.hits == 1
    left = [made[0].id, made[2].id] if done else [job.id for job in made]
    assert await case.real_queue.get_job_ids() == left


async def empty(case: Case, script: str) -> None:
    made = [await case.queue.enqueue("jobs.add", 1) for _ in range(3)]
    fault = case.arm(script)
    emptied = await case.call(case.queue.empty)
    assert fault.hits == 1
    assert await case.real.llen("rq:queue:default") == (0 if emptied else 3)
    assert await case.real.exists(*[job.key for job in made]) == (0 if emptied else 3)


async def cancel(case: Case, script: str) -> None:
    """A job that waits and one that runs, whose worker is told once; what waits for it is let go once."""
    for place in ("rq:queue:default", "rq:wip:default"):
        job = await case.queue.enqueue("jobs.add", 1)
        if place == "rq:wip:default":
            await case.take(60)
        child = await case.real_queue.enqueue("jobs.add", 1, depends_on=job)
        fault = case.arm(script)
        async with commands_to(case.real, case.other) as commands:
            canceled = await case.call(lambda: job.cancel(enqueue_dependents=True))  # noqa: B023 - it is awaited here
        assert fault.hits == 1
        assert len(commands) == (canceled and place == "rq:wip:default")
        assert await case.real_queue.deferred_job_registry.get_job_ids() == ([] if canceled else [child.id])
        assert (await case.real.zscore("rq:canceled:default", job.id) is not None) == canceled
        if not canceled:
            await job.cancel(enqueue_dependents=True)
        assert await case.real.hget(job.key, "status") == b"canceled"
        assert await case.real_queue.get_job_ids() == [child.id]
        assert await case.real_queue.deferred_job_registry.get_job_ids() == []
        await child.delete()
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


async def free_slot(case: Case, script: str) -> None:
    """A job that waits for the slot of one that is gone gets it."""
    gone, waiting = [await case.real_queue.enqueue("jobs.add", 1, rate_limit=RateLimit("api", 1)) for _ in range(2)]
    await case.real.lrem("rq:queue:default", 1, gone.id)
    await case.real.delete(gone.key)
    report = await examine(case.real, settle=0.01)
    assert len(of_books(report)) == 1
    fault = case.arm(script)
    done = await case.call(lambda: mend(report, case.client))
    assert fault.hits == 1
    if not done:
        assert await waiting.get_status() is JobStatus.RATE_LIMITED
        await mend(report, case.real)
    assert await case.real.zrange("rq:rl:api:allowed", 0, -1) == [waiting.id.encode()]
    assert await case.real_queue.get_job_ids() == [waiting.id]
    assert of_books(await examine(case.real, settle=0.01)) == []


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


async def list_failed(case: Case, script: str) -> None:
    job = await case.real_queue.enqueue("jobs.add", 1, failure_ttl=100)
    await job.cancel()
    fault = case.arm(script)
    listed = await case.call(lambda: case.queue.failed_job_registry.add(job.id, 900))
    assert fault.hits == 1
    assert (await case.real.zscore("rq:failed:default", job.id) is not None) == listed
    assert (await case.real.ttl(job.key) > 100) == listed


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


async def peek(case: Case, script: str) -> None:
    job = await case.real_queue.enqueue("jobs.add", 1)
    fault = case.arm(script)
    await case.call(lambda: glance.peek(store_of(case.client), [job.id]))
    assert fault.hits == 1
    (fields,) = await glance.peek(store_of(case.client), [job.id])
    assert isinstance(fields, dict)
    assert fields["status"] == b"queued"


async def move_clock(case: Case, script: str) -> None:
    """The time of a test is moved once, or not at all."""
    store = store_of(case.client, f"{TEST_PREFIX}a")
    begin = await sandbox.move_clock(store, 0, stands=True)
    fault = case.arm(script)
    done = await case.call(lambda: sandbox.move_clock(store, 3600))
    assert fault.hits == 1
    assert await sandbox.move_clock(store, 0) - begin == pytest.approx(3600 if done else 0)


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


def job_of(case: Case, job: Job[Any]) -> Job[Any]:
    """The job, asked for through the proxy."""
    return Job(job.id, case.client)


def of_books(report: Report) -> list[Finding]:
    """The findings that are not of the server: the one of the tests saves nothing."""
    return [finding for finding in report.findings if finding.invariant != "server"]


SCENARIOS: Final[dict[str, Scenario]] = {
    "ask_stop": ask_stop,
    "browse": browse,
    "cancel": cancel,
    "compact": compact,
    "delete": delete,
    "empty": empty,
    "enqueue": enqueue_all,
    "enqueue_dependents": enqueue_dependents,
    "free_slot": free_slot,
    "list_failed": list_failed,
    "look": look,
    "move_clock": move_clock,
    "pause": pause,
    "peek": peek,
    "readmit": readmit,
    "repair": repair,
    "requeue": requeue,
    "save": save,
    "sweep": sweep,
    "sweep_group": sweep_group,
    "sweep_limit": sweep_limit,
    "sweep_workers": sweep_workers,
    "tally": tally,
}
"""What each script is put through."""
