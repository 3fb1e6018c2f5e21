"""The scripts that clean: what has no place in a registry, a group or a rate limit any more leaves it."""

from __future__ import annotations

from typing import Any

import pytest

from aiorq.errors import StoreError
from aiorq.keys import Keys
from aiorq.store import groups, limits, registries
from aiorq.store.sweep import Sweep
from tests.scripts.conftest import NOON, YEAR, Books, ClockedStore, Desk


async def clean(store: ClockedStore, kind: str, queue: str = "default") -> int:
    return await registries.clean(store, store.keys.registry(kind, queue), registries.STALE[kind])


async def defer(books: Books, desk: Desk, job_id: str, *parents: str, queue: str = "default", **fields: Any) -> None:
    """A job that waits for others, as RQ leaves it."""
    await desk.put(job_id, "deferred", queue)
    if fields:
        await books.connection.hset(f"rq:job:{job_id}", mapping=fields)
    for parent in parents:
        await books.connection.sadd(f"rq:job::{job_id}:dependencies", parent)
        await books.connection.sadd(f"rq:job:{parent}:dependents", job_id)


class TestExpired:
    @pytest.mark.parametrize("kind", ["finished", "failed"])
    async def test_only_what_has_expired_leaves(self, store: ClockedStore, books: Books, kind: str) -> None:
        scores = {"past": NOON - 1, "now": NOON, "zero": 0, "later": NOON + 0.001, "ever": float("inf"), "rqs-ever": -1}
        await books.connection.zadd(f"rq:{kind}:default", scores)
        assert await clean(store, kind) == 3
        assert await books.registry(kind) == {"later": NOON + 0.001, "ever": float("inf"), "rqs-ever": -1}
        assert await store.again() == [b"0", 0]

    async def test_in_steps(self, store: ClockedStore, books: Books) -> None:
        await books.connection.zadd("rq:failed:default", {f"old-{number}": number for number in range(1234)})
        await books.connection.zadd("rq:failed:default", {"new": NOON + 5})
        key = "rq:failed:default"
        assert await registries.sweep(store, key, "expired") == (b"1", 200)
        assert await registries.clean(store, key, "expired") == 1034
        assert await books.registry("failed") == {"new": NOON + 5}

    async def test_another_time_that_counts_as_now(self, store: ClockedStore, books: Books) -> None:
        await books.connection.zadd("rq:failed:default", {"a": 10, "b": 20.5, "c": 30})
        assert await registries.clean(store, "rq:failed:default", "expired", 20.5) == 2
        assert await books.registry("failed") == {"c": 30}


class TestGone:
    @pytest.mark.parametrize("kind", ["ready", "scheduled", "deferred", "canceled"])
    async def test_ids_without_a_job_leave(self, store: ClockedStore, desk: Desk, books: Books, kind: str) -> None:
        status = "ready_to_enqueue" if kind == "ready" else kind
        await desk.put("parent", "scheduled", "other")
        await desk.put("here", status)
        await books.connection.sadd("rq:job::here:dependencies", "parent")
        await books.connection.expire("rq:job:here", 100)
        before = await books.dump()
        await books.connection.zadd(f"rq:{kind}:default", {"gone": 5, "no id\xff": NOON})
        assert await clean(store, kind) == 2
        assert await books.dump() == before

    async def test_a_key_of_another_type_is_no_missing_job(self, store: ClockedStore, books: Books) -> None:
        await books.connection.set("rq:job:odd", "text")
        for kind in ("scheduled", "deferred", "canceled"):
            await books.connection.zadd(f"rq:{kind}:default", {"odd": NOON})
            assert await clean(store, kind) == 0
            assert await books.registry(kind) == {"odd": NOON}

    async def test_many(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await books.connection.zadd("rq:scheduled:default", {f"gone-{number}": NOON for number in range(3000)})
        await desk.put("here", "scheduled")
        assert await clean(store, "scheduled") == 3000
        assert list(await books.registry("scheduled")) == ["here"]


class TestCanceled:
    async def cancel(self, books: Books, desk: Desk, job_id: str, age: float, ttl: int | None, **fields: Any) -> None:
        """A job that was canceled so long ago and expires in `ttl` seconds."""
        await desk.put(job_id, "canceled")
        await books.connection.zadd("rq:canceled:default", {job_id: NOON - age})
        if fields:
            await books.connection.hset(f"rq:job:{job_id}", mapping=fields)
        if ttl is not None:
            await books.connection.expire(f"rq:job:{job_id}", ttl)

    async def test_one_of_rqs_is_kept_for_a_year(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await self.cancel(books, desk, "new", 100, None)
        await self.cancel(books, desk, "old", 2 * YEAR, None)
        assert await clean(store, "canceled") == 0
        assert await books.ttl("rq:job:new") == pytest.approx(YEAR - 100, abs=5)
        assert 0 <= await books.ttl("rq:job:old") <= 1
        assert await books.registry("canceled") == {"new": NOON - 100, "old": NOON - 2 * YEAR}

    async def test_one_with_an_end_keeps_it(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await self.cancel(books, desk, "a", 100, 50)
        await self.cancel(books, desk, "b", YEAR + 100, 50)
        assert await clean(store, "canceled") == 1
        assert await books.registry("canceled") == {"a": NOON - 100}
        assert await books.ttl("rq:job:a") <= 50

    async def test_one_that_is_to_be_kept_for_ever(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await self.cancel(books, desk, "a", 5 * YEAR, None, failure_ttl=-1)
        assert await clean(store, "canceled") == 0
        assert await books.ttl("rq:job:a") == -1
        assert list(await books.registry("canceled")) == ["a"]

    async def test_one_that_ended_elsewhere(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """RQ's stay listed when their run goes on and finishes."""
        await self.cancel(books, desk, "a", 100, None, status="finished")
        await self.cancel(books, desk, "b", YEAR + 1, None, status="finished")
        assert await clean(store, "canceled") == 1
        assert list(await books.registry("canceled")) == ["a"]
        assert await books.ttl("rq:job:a") == await books.ttl("rq:job:b") == -1


class TestDeferred:
    @pytest.mark.parametrize("parents", [(), ("gone",), ("gone", "also-gone"), ("finished",), ("gone", "finished")])
    async def test_one_that_waits_for_nothing_is_enqueued(
        self, store: ClockedStore, desk: Desk, books: Books, parents: tuple[str, ...]
    ) -> None:
        await desk.put("finished", "finished", "other")
        await defer(books, desk, "a", *parents)
        assert await clean(store, "deferred") == 1
        assert await books.places("a") == ["rq:queue:default"]
        assert (await books.job("a"))["status"] == "queued"
        assert (await books.job("a"))["enqueued_at"] == "2026-01-02T12:00:00.250000Z"
        assert await store.again() == [b"0", 0]

    @pytest.mark.parametrize("status", ["queued", "scheduled", "failed", "canceled", "stopped", "deferred"])
    async def test_one_that_waits_goes_on_waiting(
        self, store: ClockedStore, desk: Desk, books: Books, status: str
    ) -> None:
        await desk.put("parent", status, "other")
        await books.connection.expire("rq:job:parent", 100)
        await defer(books, desk, "a", "gone", "parent")
        before = await books.dump()
        assert await clean(store, "deferred") == 0
        assert await books.dump() == before

    async def test_a_failure_that_is_allowed(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.put("parent", "failed", "other")
        await defer(books, desk, "a", "parent", allow_dependency_failures=1, enqueue_at_front=1)
        await desk.enqueue("first")
        assert await clean(store, "deferred") == 1
        assert await books.queue() == ["a", "first"]

    async def test_one_with_a_rate_limit(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        for name in ("a", "b"):
            await defer(books, desk, name, "gone", rate_limit_key="api", rate_limit_concurrency=1)
        assert await clean(store, "deferred") == 2
        assert await books.status("a") == "queued"
        assert await books.status("b") == "rate_limited"
        assert await books.registry("deferred") == {}

    async def test_its_queue_is_no_list(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await defer(books, desk, "a", "gone")
        await books.connection.set("rq:queue:default", "text")
        before = await books.dump()
        assert await clean(store, "deferred") == 0
        assert await books.dump() == before

    async def test_ids_that_are_listed_and_not_deferred_leave(
        self, store: ClockedStore, desk: Desk, books: Books
    ) -> None:
        """They are of a former life, whose time was over."""
        await desk.enqueue("a")
        await books.connection.zadd("rq:deferred:default", {"a": NOON})
        assert await clean(store, "deferred") == 1
        assert await books.places("a") == ["rq:queue:default"]


class TestGroups:
    async def group(self, books: Books, name: str, *job_ids: str) -> None:
        await books.connection.sadd("rq:groups", name)
        await books.connection.sadd(f"rq:group:{name}", *job_ids)

    async def test_jobs_that_are_gone_leave(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", "b")
        await self.group(books, "mail", "a", "b", "gone")
        assert await groups.clean(store, "mail") == 1
        assert await books.connection.smembers("rq:group:mail") == {b"a", b"b"}
        assert await books.connection.smembers("rq:groups") == {b"mail"}
        assert await store.again() == [b"0", 0]

    async def test_one_without_jobs_is_forgotten(self, store: ClockedStore, books: Books) -> None:
        await self.group(books, "mail", *(f"gone-{number}" for number in range(1500)))
        await books.connection.sadd("rq:groups", "never")
        assert await groups.clean(store, "mail") == 1500
        assert await groups.clean(store, "never") == 0
        assert await books.dump() == {}

    async def test_a_group_of_another_type(self, store: ClockedStore, books: Books) -> None:
        await books.connection.set("rq:group:mail", "text")
        with pytest.raises(StoreError, match="WRONGTYPE"):
            await groups.clean(store, "mail")


class TestRateLimits:
    async def limit(self, books: Books, concurrency: int | None = 2) -> None:
        await books.connection.sadd("rq:rl-keys", "api")
        if concurrency is not None:
            await books.connection.hset("rq:rl:api", "concurrency", concurrency)

    async def job(self, books: Books, desk: Desk, job_id: str, status: str, side: str = "", score: float = 1) -> None:
        await desk.put(job_id, status)
        fields = {"rate_limit_key": "api", "rate_limit_concurrency": 2}
        await books.connection.hset(f"rq:job:{job_id}", mapping=fields)
        if side:
            await books.connection.zadd(f"rq:rl:api:{side}", {job_id: score})

    async def allowed(self, books: Books) -> list[str]:
        return [member.decode() for member in await books.connection.zrange("rq:rl:api:allowed", 0, -1)]

    async def limited(self, books: Books) -> list[str]:
        return [member.decode() for member in await books.connection.zrange("rq:rl:api:rate_limited", 0, -1)]

    async def test_slots_of_jobs_that_need_none_go_to_those_that_wait(
        self, store: ClockedStore, desk: Desk, books: Books
    ) -> None:
        await self.limit(books)
        await self.job(books, desk, "ended", "finished", "allowed")
        await books.connection.zadd("rq:rl:api:allowed", {"gone": 1})
        for number in range(3):
            await self.job(books, desk, f"waits-{number}", "rate_limited", "rate_limited", number)
        assert await limits.clean(store, "api") == 2
        assert await self.allowed(books) == ["waits-0", "waits-1"]
        assert await self.limited(books) == ["waits-2"]
        assert await books.queue() == ["waits-0", "waits-1"]
        assert [await books.status(f"waits-{number}") for number in range(3)] == ["queued", "queued", "rate_limited"]
        before = await books.dump()
        await store.again()
        assert await books.dump() == before

    async def test_slots_of_jobs_that_need_them_stay(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await self.limit(books)
        await self.job(books, desk, "queued", "queued", "allowed")
        await self.job(books, desk, "runs", "started", "allowed")
        await self.job(books, desk, "waits", "rate_limited", "rate_limited")
        before = await books.dump()
        assert await limits.clean(store, "api") == 0
        assert await books.dump() == before

    async def test_a_run_that_goes_on_after_rq_canceled_its_job_keeps_the_slot(
        self, store: ClockedStore, desk: Desk, books: Books
    ) -> None:
        await self.limit(books, 1)
        await self.job(books, desk, "a", "canceled", "allowed")
        await self.job(books, desk, "waits", "rate_limited", "rate_limited")
        await books.connection.zadd("rq:executions:a", {"exec": NOON + 60})
        assert await limits.clean(store, "api") == 0
        await store.set_clock(NOON + 61)
        assert await limits.clean(store, "api") == 1
        assert await self.allowed(books) == ["waits"]

    async def test_those_that_wait_and_are_elsewhere_leave(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await self.limit(books, 1)
        await self.job(books, desk, "runs", "started", "allowed")
        await self.job(books, desk, "canceled", "canceled", "rate_limited")
        await books.connection.zadd("rq:rl:api:rate_limited", {"gone": 1})
        assert await limits.clean(store, "api") == 2
        assert await self.allowed(books) == ["runs"]
        assert await self.limited(books) == []

    async def test_a_limit_without_jobs_is_forgotten(self, store: ClockedStore, books: Books) -> None:
        await self.limit(books)
        await books.connection.zadd("rq:rl:api:allowed", {"gone": 1})
        assert await limits.clean(store, "api") == 1
        assert await books.dump() == {}

    async def test_a_limit_that_has_lost_its_number_takes_that_of_a_job(
        self, store: ClockedStore, desk: Desk, books: Books
    ) -> None:
        await self.limit(books, None)
        for number in range(3):
            await self.job(books, desk, f"waits-{number}", "rate_limited", "rate_limited", number)
        assert await limits.clean(store, "api") == 0
        assert await self.allowed(books) == ["waits-0", "waits-1"]


class TestPass:
    async def test_everything_is_swept(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        for queue in ("a", "b:c"):
            await books.connection.sadd("rq:queues", f"rq:queue:{queue}")
        before = await books.dump()
        for queue in ("a", "b:c"):
            for kind in ("finished", "failed", "scheduled", "canceled", "deferred", "ready"):
                await books.connection.zadd(f"rq:{kind}:{queue}", {f"{kind}-gone": 5})
        await books.connection.sadd("rq:groups", "mail")
        await books.connection.sadd("rq:group:mail", "gone")
        await books.connection.sadd("rq:rl-keys", "api")
        await books.connection.zadd("rq:rl:api:allowed", {"gone": 5})
        sweep = Sweep(store)
        while await sweep.step():
            pass
        assert sweep.left == 14
        assert await books.dump() == before
        assert not await sweep.step()

    async def test_in_steps_that_are_short(self, store: ClockedStore, books: Books) -> None:
        await books.connection.sadd("rq:queues", "rq:queue:default")
        await books.connection.zadd("rq:failed:default", {f"old-{number}": number for number in range(20_000)})
        sweep, steps = Sweep(store), 1
        while await sweep.step():
            steps += 1
            assert sweep.left <= steps * 200
        assert sweep.left == 20_000
        assert steps > 40

    async def test_what_stands_in_the_way_stops_nothing(self, store: ClockedStore, books: Books) -> None:
        for junk in (b"\xff", b"rq:queue:bad", b"rq:job:x", b"rq:queue:\xff"):
            await books.connection.sadd("rq:queues", junk)
        await books.connection.sadd("rq:groups", "odd", b"\xff")
        for key in ("rq:failed:bad", "rq:group:odd", "rq:rl-keys"):
            await books.connection.set(key, "text")
        before = await books.dump()
        await books.connection.zadd("rq:finished:bad", {"gone": 5})
        sweep = Sweep(store)
        while await sweep.step():
            pass
        assert await books.dump() == before

    async def test_of_its_prefix_only(self, books: Books) -> None:
        store = ClockedStore(books.connection, Keys("{app}"))
        await books.connection.sadd("rq:queues", "rq:queue:default")
        await books.connection.zadd("rq:failed:default", {"old": 5})
        before = await books.dump()
        sweep = Sweep(store)
        while await sweep.step():
            pass
        assert await books.dump() == before
