"""Suspension of all workers, and the pause of one queue."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import redis
import rq.suspension
from redis.asyncio import Redis

from aiorq import Queue
from aiorq.store import runs
from aiorq.store.base import store_of
from aiorq.suspension import Pause, is_suspended, resume, suspend


class TestSuspension:
    async def test_for_ever(self, connection: Any) -> None:
        assert not await is_suspended(connection)
        await suspend(connection)
        assert await is_suspended(connection)
        assert await connection.ttl("rq:suspended") == -1
        assert await resume(connection)
        assert not await is_suspended(connection)
        assert not await resume(connection)

    async def test_for_a_time(self, connection: Any) -> None:
        await suspend(connection, 100)
        assert await connection.get("rq:suspended") == b"1"
        assert 90 < await connection.ttl("rq:suspended") <= 100
        await suspend(connection, 200)
        assert await connection.ttl("rq:suspended") > 100
        await suspend(connection)
        assert await connection.ttl("rq:suspended") == -1

    @pytest.mark.parametrize("ttl", [0, -1, 1.5, True, "5", 10**12])
    async def test_bad_times(self, connection: Redis, ttl: Any) -> None:
        with pytest.raises(ValueError, match="ttl must be"):
            await suspend(connection, ttl)
        assert not await is_suspended(connection)

    async def test_of_a_prefix(self, connection: Redis) -> None:
        await suspend(connection, prefix="{app}")
        assert await is_suspended(connection, prefix="{app}")
        assert not await is_suspended(connection)

    async def test_is_that_of_rq(self, connection: Redis, url: str) -> None:
        with redis.Redis.from_url(url) as client:
            await suspend(connection)
            assert rq.suspension.is_suspended(client)
            rq.suspension.resume(client)
            assert not await is_suspended(connection)
            rq.suspension.suspend(client, 100)
            assert await is_suspended(connection)

    async def test_nothing_is_taken(self, connection: Redis, queue: Queue) -> None:
        await queue.enqueue("jobs.add", 1)
        await suspend(connection)
        store = store_of(connection)
        assert await runs.claim(store, "w", ["default"], 1, 15) is None
        await resume(connection)
        claimed = await runs.claim(store, "w", ["default"], 1, 15)
        assert claimed is not None
        assert len(claimed) == 1


class TestPause:
    async def test_pause_and_resume(self, connection: Any, queue: Queue) -> None:
        assert await queue.paused() is None
        before = datetime.fromtimestamp((await connection.time())[0], UTC)
        pause = await queue.pause("the API is down: é")
        assert pause.reason == "the API is down: é"
        assert pause.since is not None
        assert (pause.since - before).total_seconds() < 5
        assert await queue.paused() == pause
        assert await Queue("other", connection).paused() is None
        assert await queue.resume()
        assert await queue.paused() is None
        assert not await queue.resume()
        assert await connection.keys("*") == []

    async def test_twice(self, queue: Queue) -> None:
        first = await queue.pause("one")
        second = await queue.pause()
        assert second == Pause("", first.since)
        assert await queue.paused() == second

    async def test_only_that_queue_is_passed_over(self, connection: Redis, queue: Queue) -> None:
        other = Queue("other", connection)
        await queue.enqueue("jobs.add", 1, job_id="a")
        await other.enqueue("jobs.add", 1, job_id="b")
        await queue.pause()
        store = store_of(connection)
        claims = await runs.claim(store, "w", ["default", "other"], 5, 15)
        assert claims is not None
        assert [claim.run.job_id for claim in claims] == ["b"]
        assert claims.paused == {"default"}
        assert await queue.get_job_ids() == ["a"]
        await queue.resume()
        claims = await runs.claim(store, "w", ["default", "other"], 5, 15)
        assert claims is not None
        assert [claim.run.job_id for claim in claims] == ["a"]
        assert claims.paused == frozenset()

    @pytest.mark.parametrize(
        "junk", [b"", b"\xff", b"[]", b"5", b"{}", b'{"reason": "x"}', b'{"reason": "x", "since": "soon"}', b"[" * 9999]
    )
    async def test_whatever_is_on_record_the_queue_is_paused(self, connection: Any, queue: Queue, junk: bytes) -> None:
        await connection.hset("rq:aiorq:paused", "default", junk)
        assert await queue.paused() == Pause("", None)
        pause = await queue.pause("new")
        assert pause.reason == "new"
        assert pause.since is not None

    async def test_names_of_all_kinds(self, connection: Redis) -> None:
        queue = Queue('a "b" \\ é:c', connection)
        pause = await queue.pause('"why"\n\\')
        assert await queue.paused() == pause
        assert pause.reason == '"why"\n\\'
