"""Where nothing is wrong nothing is found: while jobs run, in every state, and with the real rq at work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import jobs as functions
import pytest
import redis
import rq
from redis.asyncio import Redis
from rq.group import Group
from rq.job import Dependency
from rq.rate_limit import RateLimit

import aiorq
from aiorq import Queue
from aiorq.doctor import check, examine
from aiorq.store import audit, jobs, queues, runs
from aiorq.store.base import store_of
from tests.doctor.conftest import Look, Ward, of_books
from tests.execution.processes import LIMIT
from tests.interop.conftest import Command, Gate, client, make_gate, rq_command, rq_queue  # noqa: F401 - fixtures
from tests.scripts.conftest import NOON, ClockedStore, Desk
from tests.scripts.conftest import store as clocked  # noqa: F401 - a fixture
from tests.worker.conftest import Started, make_worker, start  # noqa: F401 - fixtures


async def test_nothing_there(look: Look) -> None:
    report = await look()
    assert (report.keys, report.jobs, of_books(report), report.unseen) == (0, 0, [], 0)


async def test_every_state_of_ours(ward: Ward, look: Look) -> None:
    await ward.register()
    await ward.enqueue("queued", "waited")
    for job_id, status in (("f", "finished"), ("x", "failed"), ("s", "stopped"), ("c", "canceled"), ("t", "scheduled")):
        await ward.put(job_id, status)
    await ward.defer("d", "waited", "x")
    await ward.put("created", "created")
    await ward.start("run", "other")
    finished = await ward.start("finish", "other")
    failed = await ward.start("fail", "other")
    await runs.finish(ward.store, "w", finished, b"", 500)
    await runs.fail(ward.store, "w", failed, b"", -1)
    report = await look()
    assert of_books(report) == []
    assert report.jobs == 12
    assert report.where.startswith("unix://")


async def test_dependents_that_a_worker_is_about_to_look_at(queue: Queue, look: Look) -> None:
    """Their parent is gone, and they were too many to be enqueued in that step."""
    parent = await queue.enqueue("jobs.add", 1)
    await queue.enqueue_many([Queue.prepare_data("jobs.add", (1,), depends_on=parent) for _ in range(101)])
    await parent.delete()
    assert await queue.deferred_job_registry.count() == 101
    assert of_books(await look()) == []


async def test_what_jobs_may_ask_for(ward: Ward, look: Look) -> None:
    """Dependencies, schedules, rate limits, groups, repeats, attempts, pauses, and jobs that their enqueuer runs."""
    store = ward.store
    await ward.register()
    await ward.enqueue("parent", "other-parent")
    await ward.wait("waits", "parent", "other-parent")
    await ward.wait("allows", "parent", allow=True)
    await ward.group("of-a-group", "gone-of-a-group")
    await ward.client.delete("rq:job:gone-of-a-group")
    await ward.client.lrem("rq:queue:default", 1, "gone-of-a-group")
    await jobs.enqueue(store, replace(ward.new("scheduled"), delay=500.0))
    await jobs.enqueue(store, replace(ward.new("here"), run_token="t" * 32, lease=100.0))
    await ward.limit("first", "second", "third", concurrency=2)
    await queues.pause(store, "paused", "for a while")

    repeats = await ward.start("repeats", "other", repeats_left=2, repeat_intervals=[0, 500])
    await runs.finish(store, "w", repeats, b"", 500)
    for claim in await ward.claim("other") or []:
        await runs.finish(store, "w", claim.run, b"", -1)
    again = await ward.start("again", "other", retries_left=2, retry_intervals=[500])
    await runs.fail(store, "w", again, b"", 500)
    asks = await ward.start("asks", "other")
    await runs.retry(store, "w", asks, most=1, intervals=[500], at_front=False, failure_ttl=500)
    unlisted = await ward.start("unlisted", "other")
    await runs.fail(store, "w", unlisted, b"", -1, listed=False)
    await ward.enqueue("canceled")
    await jobs.cancel(store, "canceled", 500)
    assert of_books(await look()) == []


async def test_many_that_wait(ward: Ward, look: Look) -> None:
    """While dependents are set apart nobody has looked at them, and nothing is wrong."""
    run = await ward.start("parent")
    many = [replace(ward.new(f"child-{number}"), parents=["parent"]) for number in range(150)]
    await jobs.enqueue_many(ward.store, many)
    keys = [ward.store.keys.job("parent")]
    said = await ward.store.run("finish", keys, "w", "default", "parent", run.token, b"", 500)
    assert said.startswith(b"ok parent:")
    assert of_books(await look()) == []
    await jobs.enqueue_dependents(ward.store, said.decode().partition(" ")[2])
    assert await queues.count(ward.store, "default") == 150
    assert of_books(await look()) == []


async def test_what_expired_is_left_to_the_next_cleanup(ward: Ward, look: Look) -> None:
    await ward.client.zadd("rq:finished:default", {"a": 1})
    await ward.client.zadd("rq:failed:default", {"b": 1})
    assert of_books(await look()) == []


async def test_what_expired_of_a_former_life_is_left_to_the_next_cleanup(ward: Ward, queue: Queue, look: Look) -> None:
    await queue.enqueue("jobs.add", 1, job_id="a")
    await ward.client.zadd("rq:failed:default", {"a": 1})
    assert of_books(await look()) == []


async def test_each_step_of_a_life(clocked: ClockedStore) -> None:  # noqa: F811
    """At one instant nothing is wrong, whatever was done before: no second look is needed."""
    desk = Desk(clocked)

    async def fit() -> None:
        snapshot = await audit.look(clocked)
        assert snapshot.now == NOON
        assert check(snapshot) == []

    await fit()
    await desk.enqueue("a", "b")
    await fit()
    claimed = await desk.claim(most=2) or []
    await fit()
    await runs.release(clocked, "w", ["default"], [claimed[0].run])
    await fit()
    await runs.finish(clocked, "w", claimed[1].run, b"", 0)
    await fit()
    run = (await desk.claim() or [])[0].run
    await runs.fail(clocked, "w", run, b"", 500)
    await fit()
    overdue = check(await audit.look(clocked), now=NOON + 500)
    assert overdue == []


@pytest.mark.parametrize("now", [0.0, 15.0, 44.0])
async def test_a_lease_is_overdue_only_after_a_while(clocked: ClockedStore, now: float) -> None:  # noqa: F811
    await Desk(clocked).start("a", lease=15.0)
    snapshot = await audit.look(clocked)
    assert check(snapshot, now=NOON + now) == []
    assert [finding.rule for finding in check(snapshot, now=NOON + 46)] == ["overdue"]
    assert [finding.rule for finding in check(snapshot, now=NOON + 16, overdue=0.5)] == ["overdue"]


async def test_while_jobs_run(start: Started, queue: Queue, connection: Redis) -> None:  # noqa: F811
    await start(["default", "other"], concurrency=3)
    other, limit = Queue("other", connection), aiorq.RateLimit("k", 2)

    async def feed() -> None:
        for number in range(150):
            chosen = (queue, other)[number % 2]
            await chosen.enqueue(
                functions.nothing,
                job_id=f"job-{number}",
                result_ttl=number % 3 - 1,
                at_front=number % 5 == 0,
                rate_limit=limit if number % 4 == 0 else None,
                depends_on=[f"job-{number - 1}", f"job-{number - 2}"] if number % 3 == 0 else None,
            )

    feeding = asyncio.create_task(feed())
    looks = 0
    async with asyncio.timeout(LIMIT):
        while looks < 3 or not feeding.done() or await queue.count() or await other.count():
            assert of_books(await examine(connection, settle=0.0)) == []
            looks += 1
        await feeding


async def test_real_rq_in_every_state(
    client: redis.Redis,  # noqa: F811
    rq_queue: rq.Queue,  # noqa: F811
    rq_command: Command,  # noqa: F811
    make_gate: Callable[[], Gate],  # noqa: F811
    look: Look,
) -> None:
    finished = rq_queue.enqueue("jobs.add", 1)
    failed = rq_queue.enqueue("jobs.fail")
    rq_queue.enqueue("jobs.fail", retry=rq.Retry(max=2, interval=600))
    rq_queue.enqueue("jobs.add", 1, repeat=rq.Repeat(times=2, interval=600))
    rq_queue.enqueue("jobs.add", 1, result_ttl=0)
    rq_queue.enqueue("jobs.add", 1, result_ttl=-1)
    rq_queue.enqueue("jobs.fail", failure_ttl=-1)
    rq_queue.enqueue("jobs.add", 1, depends_on=finished)
    rq_queue.enqueue("jobs.add", 1, depends_on=failed)
    rq_queue.enqueue("jobs.add", 1, depends_on=Dependency([failed], allow_failure=True))
    again = rq_queue.enqueue("jobs.fail")
    Group.create(client).enqueue_many(rq_queue, [rq.Queue.prepare_data("jobs.add", (1,))])
    assert of_books(await look()) == []
    await rq_command.work("default")
    assert of_books(await look()) == []

    again.requeue()
    waited = rq_queue.enqueue("jobs.add", 2)
    rq_queue.enqueue("jobs.add", 1, depends_on=waited)
    rq_queue.enqueue_in(timedelta(hours=1), "jobs.add", 1)
    rq_queue.enqueue("jobs.add", 1).cancel()
    rq_queue.enqueue("jobs.add", 1).delete()
    rq_queue.enqueue("jobs.add", 1, unique=True, job_id="unique")
    for _ in range(3):
        rq.Queue("limited", connection=client).enqueue("jobs.add", 1, rate_limit=RateLimit("k", 1))
    rq.Queue("sync", connection=client, is_async=False).enqueue(functions.add, 1)
    assert of_books(await look()) == []

    limited = rq.Queue("limited", connection=client)
    limited.enqueue("jobs.fail", rate_limit=RateLimit("k", 1), retry=rq.Retry(max=1))
    limited.enqueue("jobs.fail", rate_limit=RateLimit("k", 1), retry=rq.Retry(max=1, interval=600))
    limited.enqueue("jobs.add", 1, rate_limit=RateLimit("k", 1)).cancel()
    await rq_command.work("limited")
    assert of_books(await look()) == []
    for job_id in limited.failed_job_registry.get_job_ids():
        limited.failed_job_registry.requeue(job_id)
    first, second = (limited.enqueue("jobs.add", 1) for _ in range(2))
    limited.enqueue("jobs.add", 1, depends_on=[first, second])
    first.cancel(enqueue_dependents=True)
    second.delete()
    assert [finding.rule for finding in of_books(await look())] == []
    await rq_command.work("limited")
    assert of_books(await look()) == []

    gate = make_gate()
    rq.Queue("gated", connection=client).enqueue("jobs.touch_and_wait", *gate.args)
    working = asyncio.create_task(rq_command.work("gated"))
    await gate.reached()
    assert of_books(await look()) == []
    await gate.open()
    await working
    assert of_books(await look()) == []


async def test_while_a_real_rq_worker_works(
    rq_queue: rq.Queue,  # noqa: F811
    rq_command: Command,  # noqa: F811
    connection: Redis,
) -> None:
    for _ in range(40):
        rq_queue.enqueue("jobs.add", 1)
    working = asyncio.create_task(rq_command.work("default"))
    while not working.done():
        assert of_books(await examine(connection)) == []
    await working


async def test_a_snapshot_in_steps_is_the_one_of_an_instant(ward: Ward, connection: Redis) -> None:
    await ward.enqueue(*(f"job-{number}" for number in range(1200)))
    await ward.client.zadd("rq:failed:default", {f"gone-{number}": number + 0.25 for number in range(1200)})
    await ward.client.sadd("rq:group:g", *range(1200))
    await ward.client.xadd("rq:results:job-1", {"type": 1})
    await ward.client.set(b"rq:mine:\xff", b"\xfe")
    store = store_of(connection)
    steps, instant = await audit.survey(store), await audit.look(store)
    assert {key: entry._replace(ttl_ms=-1) for key, entry in steps.entries.items()} == instant.entries
    assert len(instant.entries) > 1200
    assert len(instant.ids("rq:queue:default") or ()) == len(instant.scores("rq:failed:default") or ()) == 1200


async def test_another_prefix(ward: Ward, connection: Redis) -> None:
    await ward.enqueue("a")
    await ward.client.delete("rq:queue:default")
    await ward.client.set("[r]q:mine", 1)
    report = await examine(connection, "{app}", settle=0.01)
    assert (report.keys, of_books(report), report.prefix) == (0, [], "{app}")
    assert (await examine(connection, "[rq]".strip("[]"), settle=0.01)).keys == 2
