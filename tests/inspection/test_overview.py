"""The whole at a glance."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import jobs
import pytest
from redis.asyncio import Redis

from aiorq import Queue
from aiorq.inspection.details import tell
from aiorq.inspection.health import Bounds, judge
from aiorq.inspection.listing import Search, list_jobs
from aiorq.inspection.overview import Overview, WorkerView, look, rates_between
from aiorq.suspension import suspend
from tests.cli.stage import STATES, damage, everything, fill


async def calls(connection: Redis) -> dict[str, int]:
    """How often each command was called since the last time."""
    stats: Any = await connection.info("commandstats")
    await connection.config_resetstat()
    counts = {name.removeprefix("cmdstat_"): int(stat["calls"]) for name, stat in stats.items()}
    return {name: count for name, count in counts.items() if name not in ("config|resetstat", "info")}


async def test_counts(connection: Redis) -> None:
    await fill(connection)
    seen = await look(connection)
    assert {queue.name: queue.counts["queued"] for queue in seen.queues} == {"shop": 3, "mail": 1}
    (shop,) = (queue for queue in seen.queues if queue.name == "shop")
    assert shop.counts == STATES
    assert 0 <= (shop.oldest or -1) < 60
    (limit,) = seen.limits
    assert (limit.key, limit.concurrency, limit.allowed, limit.waiting) == ("mail", 1, 1, 1)
    assert (seen.workers, seen.suspended, seen.prefix) == ([], False, "rq")


async def test_chosen_queues(connection: Redis) -> None:
    await fill(connection)
    seen = await look(connection, ["mail", "never", "mail"])
    assert [queue.name for queue in seen.queues] == ["mail", "never"]
    assert seen.queues[1].counts == dict.fromkeys(STATES, 0)
    assert seen.queues[1].oldest is None


async def test_expired_entries_do_not_count(connection: Redis) -> None:
    queue = await fill(connection)
    await connection.zadd("rq:finished:shop", {"finished-1": 1, "finished-2": -1})
    await connection.zadd("rq:wip:shop", {"a:b": 1})
    (shop,) = (await look(connection, ["shop"])).queues
    counts = shop.counts
    assert (counts["finished"], counts["started"], shop.lost) == (1, 0, 1)
    assert counts["finished"] == await queue.finished_job_registry.count()


async def test_the_oldest_is_not_the_first(connection: Redis) -> None:
    queue = Queue("shop", connection)
    await queue.enqueue(jobs.nothing, job_id="old")
    await connection.hset("rq:job:old", "enqueued_at", "2026-01-02T03:04:05.000006Z")
    await queue.enqueue(jobs.nothing, at_front=True)
    seen = await look(connection)
    assert (seen.queues[0].oldest or 0) == pytest.approx((seen.moment.timestamp() - 1_767_323_045.000006), abs=0.01)


async def test_pauses_and_suspension(connection: Redis) -> None:
    queue = Queue("shop", connection)
    await queue.enqueue(jobs.nothing)
    pause = await queue.pause("the provider is down")
    await suspend(connection, 30)
    seen = await look(connection)
    assert (seen.queues[0].paused, seen.queues[0].pause_reason) == (True, "the provider is down")
    assert seen.queues[0].paused_since == pause.since
    assert seen.suspended
    assert 29 < (seen.suspended_for or 0) <= 30
    await suspend(connection)
    seen = await look(connection)
    assert (seen.suspended, seen.suspended_for) == (True, None)


async def test_damage_hides_nothing_else(connection: Redis) -> None:
    await fill(connection)
    await damage(connection)
    seen = await look(connection)
    queues = {queue.name: queue for queue in seen.queues}
    assert set(queues) == {"shop", "mail", "esc\x1b[31m,", "\ufffd"}
    assert queues["shop"].problem is None
    assert queues["shop"].counts == STATES | {"queued": 8, "failed": 3}
    assert "finished" in (queues["mail"].problem or "")
    assert queues["mail"].counts["queued"] == 1
    assert "no text" in (queues["\ufffd"].problem or "")
    (worker,) = seen.workers
    assert (worker.name, worker.state, worker.pid, worker.birth_date) == ("esc\x1b[31m", "\x1b[5m", None, None)
    assert worker.problem == r"its pid cannot be read: b'\x1b[6m'; its birth cannot be read: b'\xff'"


@pytest.mark.parametrize("kind", ["look", "list", "search", "tell"])
async def test_looks_change_nothing(connection: Redis, kind: str) -> None:
    await fill(connection)
    await damage(connection)
    before = await everything(connection)
    match kind:
        case "look":
            await look(connection)
        case "list":
            assert (await list_jobs(connection, Search(limit=1000))).jobs
        case "search":
            assert (await list_jobs(connection, Search(error="mailbox"))).jobs
        case _:
            for job_id in ("failed-1", "corrupt", "text", "queued-1", "child"):
                await tell(connection, job_id, payload=True)
    assert await everything(connection) == before


async def test_the_number_of_jobs_costs_nothing(connection: Redis) -> None:
    queue = Queue("shop", connection)
    costs = []
    for number in (20, 3000):
        await queue.enqueue_many([Queue.prepare_data(jobs.nothing) for _ in range(number)])
        await calls(connection)
        await look(connection)
        costs.append(await calls(connection))
    assert costs[0] == costs[1]
    assert sum(costs[0].values()) < 60
    await list_jobs(connection, Search(states=["queued"], limit=20))
    listed = await calls(connection)
    assert listed["hmget"] == 20
    assert sum(listed.values()) < 60


async def test_rates(connection: Redis) -> None:
    def worker(name: str, ended: int, born: int = 0) -> WorkerView:
        birth = before.moment + timedelta(seconds=born)
        host, pid, version = (None, None), None, (None, None)
        return WorkerView(name, "aiorq", "idle", *host, pid, *version, [], birth, None, None, ended, 0, 0.0, 0, [])

    queue = await fill(connection)
    before = await look(connection)
    await queue.enqueue_many([Queue.prepare_data(jobs.nothing) for _ in range(10)])
    after = replace(await look(connection), moment=before.moment + timedelta(seconds=2))
    before = replace(before, workers=[worker("old", 100, -9), worker("again", 50, -9), worker("gone", 7, -9)])
    after = replace(after, workers=[worker("old", 120, -9), worker("again", 4, 1), worker("hidden", 80, -5)])
    rates = rates_between(before, after)
    assert rates is not None
    assert rates.of_workers == {"old": 10.0, "again": 2.0}
    assert (rates.ended, rates.seconds) == (12.0, 2.0)
    assert rates.queued == {"shop": 5.0, "mail": 0.0}
    assert rates_between(before, before) is None


class TestHealth:
    async def seen(self, connection: Redis) -> Overview:
        await fill(connection)
        return await look(connection)

    async def test_nothing_asked(self, connection: Redis) -> None:
        (verdict,) = judge(await self.seen(connection), Bounds())
        assert (verdict.check, verdict.ok) == ("server", True)

    @pytest.mark.parametrize(
        ("bounds", "bad"),
        [
            (Bounds(max_queued=3, max_failed=2, max_age=3600, workers=0), set()),
            (Bounds(max_queued=2), {("queued", "shop")}),
            (Bounds(max_queued=0), {("queued", "shop"), ("queued", "mail")}),
            (Bounds(max_failed=1), {("failed", "shop")}),
            (Bounds(max_age=0), {("age", "shop"), ("age", "mail")}),
            (Bounds(workers=1), {("workers", None)}),
            (Bounds(named=["w"]), {("worker", "w")}),
        ],
    )
    async def test_bounds(self, connection: Redis, bounds: Bounds, bad: set[tuple[str, str | None]]) -> None:
        verdicts = judge(await self.seen(connection), bounds)
        assert {(verdict.check, verdict.subject) for verdict in verdicts if not verdict.ok} == bad
