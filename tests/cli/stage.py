"""A database with jobs in every state, and a look at all that is in a database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import jobs
from redis.asyncio import Redis

from aiorq import Queue, RateLimit, SimpleWorker

SECRET = "canary-argument"
STATES = {
    "queued": 3,
    "started": 0,
    "finished": 2,
    "failed": 2,
    "deferred": 1,
    "scheduled": 1,
    "canceled": 1,
    "ready_to_enqueue": 0,
}
"""How many jobs `fill` leaves on the queue `shop`; one more waits behind a rate limit."""


async def fill(connection: Redis) -> Queue:
    """Jobs in every state that needs no worker, with a secret among their arguments where they have any."""
    queue = Queue("shop", connection)
    await queue.enqueue(jobs.fail, "the mailbox is full", job_id="failed-1")
    await queue.enqueue(jobs.fail, "no such address", job_id="failed-2")
    await queue.enqueue(jobs.add, 1, 2, job_id="finished-1")
    await queue.enqueue(jobs.echo, {"sum": 3}, job_id="finished-2")
    await SimpleWorker(queue, "simple", connection=connection).work(burst=True)
    for number in (1, 2):
        await queue.enqueue(jobs.nothing, SECRET, job_id=f"queued-{number}")
    await queue.enqueue(jobs.add, 3, job_id="parent", description="adds up what was sold")
    await queue.enqueue(jobs.nothing, SECRET, job_id="child", depends_on="parent")
    await queue.enqueue_in(timedelta(hours=1), jobs.nothing, SECRET, job_id="later")
    canceled = await queue.enqueue(jobs.nothing, SECRET, job_id="canceled")
    await canceled.cancel()
    limit = RateLimit("mail", 1)
    other = Queue("mail", connection)
    await other.enqueue(jobs.nothing, SECRET, job_id="allowed", rate_limit=limit)
    await other.enqueue(jobs.nothing, SECRET, job_id="limited", rate_limit=limit)
    return queue


async def damage(connection: Redis) -> None:
    """Entries and jobs of which something is wrong, at the front of the queue `shop` and among its failed jobs."""
    await Queue("shop", connection).enqueue(jobs.nothing, SECRET, job_id="corrupt", at_front=True)
    await connection.hset("rq:job:corrupt", mapping={"timeout": "abc", "created_at": "zzz", "status": "\x1b[31mbanana"})
    await connection.set("rq:job:text", "not a hash")
    await connection.lpush("rq:queue:shop", "ghost", b"\xff\xfe", "esc\x1b[2J", "text")
    await connection.zadd("rq:failed:shop", {"ghost": 4_102_444_800})
    await connection.set("rq:finished:mail", "not a sorted set")
    await connection.sadd("rq:queues", "rq:queue:esc\x1b[31m,", b"rq:queue:\xff")
    await connection.sadd("rq:workers", "rq:worker:gone", "rq:worker:esc\x1b[31m", "rq:worker:text", "nonsense")
    await connection.hset("rq:worker:esc\x1b[31m", mapping={"state": "\x1b[5m", "pid": "\x1b[6m", "birth": b"\xff"})
    await connection.set("rq:worker:text", "not a hash")


async def everything(connection: Redis) -> dict[Any, Any]:
    """What every key holds."""
    return {key: await connection.dump(key) for key in await connection.keys()}
