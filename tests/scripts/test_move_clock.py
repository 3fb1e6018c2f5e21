"""Moving the time of a test."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from redis.asyncio import Redis

from aiorq.keys import TEST_PREFIX, Keys
from aiorq.store.base import Store
from aiorq.store.sandbox import all_jobs, move_clock

KEYS = Keys(f"{TEST_PREFIX}a")


@pytest.fixture
async def store(connection: Redis) -> Store:
    return Store(connection, KEYS)


async def server_time(connection: Any) -> float:
    seconds, micros = await connection.time()
    return float(seconds + micros / 1_000_000)


async def test_is_ahead_of_the_server(store: Store, connection: Redis) -> None:
    before = await server_time(connection)
    moments = [await move_clock(store, seconds) for seconds in (0, 3600, 0, 60.5, 0, -3660.5, 0)]
    after = await server_time(connection)
    for moment, ahead in zip(moments, (0, 3600, 3600, 3660.5, 3660.5, 0, 0), strict=True):
        assert before - 0.001 <= moment - ahead <= after + 0.001


async def test_stands_still(store: Store) -> None:
    moment = await move_clock(store, 0, stands=True)
    assert [await move_clock(store, seconds) - moment for seconds in (0, 3600, 0, -7200, 0)] == pytest.approx(
        [0, 3600, 3600, -3600, -3600], abs=1e-5
    )


@pytest.mark.parametrize("key", [KEYS.job("a"), KEYS.results("a"), KEYS.attempts("a"), KEYS.dependents("a")])
async def test_what_expires_then_is_gone(store: Store, connection: Redis, key: str) -> None:
    await connection.set(key, "text", ex=100)
    await move_clock(store, 60)
    assert 38_000 < await connection.pttl(key) <= 40_000
    await move_clock(store, -60)
    assert 98_000 < await connection.pttl(key) <= 100_000
    await move_clock(store, 101)
    assert await connection.exists(key) == 0


@pytest.mark.parametrize("key", [KEYS.worker("a"), KEYS.leader, "rq:job:a", f"{TEST_PREFIX}ab:job:a"])
async def test_what_is_none_of_its_business_stays(store: Store, connection: Redis, key: str) -> None:
    await connection.set(key, "text", ex=100)
    await move_clock(store, 3600)
    assert await connection.ttl(key) > 90


async def test_what_does_not_expire_stays(store: Store, connection: Redis) -> None:
    await connection.set(KEYS.job("a"), "text")
    await move_clock(store, 3600)
    assert await connection.ttl(KEYS.job("a")) == -1


async def test_leases_are_as_long_as_before(store: Store, connection: Redis) -> None:
    raw: Any = connection
    await raw.sadd(KEYS.queues, KEYS.queue("q"), KEYS.queue("unused"))
    await raw.zadd(KEYS.registry("wip", "q"), {"a:1": 100.5, "b:2": 200.0})
    await raw.zadd(KEYS.registry("scheduled", "q"), {"c": 300.0})
    await move_clock(store, 3600)
    assert await raw.zrange(KEYS.registry("wip", "q"), 0, -1, withscores=True) == [(b"a:1", 3700.5), (b"b:2", 3800.0)]
    assert await raw.zscore(KEYS.registry("scheduled", "q"), "c") == 300.0


async def messages(connection: Redis, *channels: str) -> AsyncGenerator[tuple[str, bytes]]:
    async with connection.pubsub() as channel:
        await channel.subscribe(*channels)
        for _ in channels:
            begun: Any = await channel.get_message(timeout=10)
            assert begun["type"] == "subscribe"
        yield "", b""
        while True:
            said: Any = await channel.get_message(timeout=10)
            yield said["channel"].decode(), said["data"]


async def test_who_waits_is_told(store: Store, connection: Redis) -> None:
    raw: Any = connection
    await raw.sadd(KEYS.queues, KEYS.queue("q"))
    async with aclosing(messages(connection, KEYS.due, KEYS.cron_changed)) as heard:
        await anext(heard)
        await move_clock(store, 0)
        await move_clock(store, 1)
        assert [await anext(heard), await anext(heard)] == [(KEYS.due, b"0 q"), (KEYS.cron_changed, b"")]


async def test_jobs_that_there_are(store: Store, connection: Redis) -> None:
    raw: Any = connection
    await raw.hset(KEYS.job("a"), mapping={"status": "queued", "origin": "q"})
    await raw.hset(KEYS.job("b"), mapping={"status": "scheduled", "origin": "q"})
    await raw.hset(KEYS.job("c"), mapping={"status": "deferred", "origin": "q", "aiorq_at": "70.5"})
    await raw.hset(KEYS.job("d"), mapping={"status": "scheduled", "origin": "elsewhere"})
    await raw.zadd(KEYS.registry("scheduled", "q"), {"b": 60.5})
    await raw.sadd(KEYS.dependents("a"), "c")
    await raw.set(KEYS.job("e"), "text")
    await raw.hset("rq:job:f", mapping={"status": "queued"})
    found = {job.job_id: job.due for job in await all_jobs(store)}
    assert found == {"a": None, "b": 60.5, "c": 70.5, "d": None}
