"""What workers call: the state is right, each job runs once, and the worker goes on."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any, Final

from aiorq import Job, JobStatus, Queue
from aiorq.store.base import store_of
from tests.execution.processes import LIMIT
from tests.scripts.conftest import begin as begin_run
from tests.trouble.cases import Case, Scenario
from tests.trouble.proxy import Fault, calls_of
from tests.worker.conftest import result_of, working

LEASE: Final = 6.0
"""Seconds that are renewed soon, and long for a busy machine."""
LOST: Final = 0.1
"""Seconds of a lease that nobody renews."""
INTERVAL: Final = 0.1
"""Seconds between looks for what is overdue."""


async def taken_and_ended(case: Case, script: str) -> None:
    """What a worker calls for each job: every job runs once, and the worker goes on."""
    async with working(case.worker(concurrency=2)):
        await case.ledger.enqueue()
        await case.ledger.settled()
        fault = case.arm(script)
        for _ in range(5):
            await case.ledger.enqueue()
        await case.ledger.settled()
        assert fault.hits == 1
        await case.noticed()
        await case.ledger.enqueue()
        await case.ledger.check()
    assert case.log.count("is not recorded") == case.log.count("was lost with worker") == 0


async def fail(case: Case, script: str) -> None:
    async with working(case.worker()):
        fault = case.arm(script)
        job = await case.queue.enqueue("jobs.fail")
        assert (await result_of(job)).type.name == "FAILED"
        assert fault.hits == 1
        await case.noticed()
        assert await case.real.xlen(f"rq:results:{job.id}") == 1
        assert await case.real.zrange("rq:failed:default", 0, -1) == [job.id.encode()]
        await case.ledger.enqueue()
        await case.ledger.check()
    assert case.log.count("is not recorded") == 0


async def retry(case: Case, script: str) -> None:
    """A job that asks to be tried again, once, is; when it asks once more it fails. Both are recorded once."""
    async with working(case.worker()):
        for passes in (0, 1):
            fault = case.arm(script, passes)
            job = await case.real_queue.enqueue("again.give_ours", max=1)
            await case.until(lambda job=job: has_outcomes(case, job, 2))  # type: ignore[misc]
            assert fault.hits == 1
            assert [result.type.name for result in await job.results()] == ["MAX_RETRIES_EXCEEDED", "RETRIED"]
            assert await case.real.hget(job.key, "number_of_retries") == b"1"
            assert await job.get_status() is JobStatus.FAILED
        await case.ledger.enqueue()
        await case.ledger.check()
    assert await case.real.zcard("rq:failed:default") == 2
    assert case.log.count("is not recorded") == 0
    assert case.log.count("trying again until") == 2 * (case.error is not None)


async def has_outcomes(case: Case, job: Job[Any], count: int) -> bool:
    return bool(await case.real.xlen(f"rq:results:{job.id}") == count)


async def renew(case: Case, script: str) -> None:
    """The lease is kept; the job runs on."""
    job = await case.queue.enqueue("waiting.meet", case.told.path, case.gate.path)
    async with working(case.worker(lease=LEASE)):
        await case.told.pids()
        fault = case.arm(script)
        async with asyncio.timeout(LIMIT):
            await fault.struck.wait()
        await case.noticed()
        renewed = case.proxy.arm(Fault(calls_of(script), gate=asyncio.Event()))
        assert renewed.gate is not None
        renewed.gate.set()
        async with asyncio.timeout(LIMIT):
            await renewed.struck.wait()
        case.gate.let()
        assert (await result_of(job)).type.name == "SUCCESSFUL"
        assert case.log.count("killed") == 0


async def register(case: Case, script: str) -> None:
    """At the start it is told at once. A worker that was forgotten is entered anew."""
    fault = case.arm(script)
    starting = case.worker()
    await case.call(lambda: starting.work(burst=True))
    assert fault.hits == 1
    assert await case.real.smembers("rq:workers") == set()
    job = await case.queue.enqueue("waiting.meet", case.told.path, case.gate.path)
    worker = case.worker(lease=LEASE)
    async with working(worker):
        await case.told.pids()
        fault = case.arm(script)
        await case.real.delete(f"rq:worker:{worker.name}")
        async with asyncio.timeout(LIMIT):
            await fault.struck.wait()
        await case.noticed()
        async with asyncio.timeout(LIMIT):
            while not await case.real.hexists(f"rq:worker:{worker.name}", "birth"):
                pass
        case.gate.let()
        assert (await result_of(job)).type.name == "SUCCESSFUL"
        assert case.log.count("killed") == 0


async def release(case: Case, script: str) -> None:
    """A job that was taken while the worker was told to stop is put back, not lost and not run."""
    worker = case.worker()
    async with working(worker) as work:
        await case.ledger.enqueue()
        await case.ledger.settled()
        held = case.proxy.arm(Fault(calls_of("claim"), gate=asyncio.Event()))
        job = await case.ledger.enqueue()
        async with asyncio.timeout(LIMIT):
            await held.struck.wait()
            fault = case.arm(script)
            worker.request_stop()
            assert held.gate is not None
            held.gate.set()
            await work
    assert fault.hits == 1
    await case.noticed()
    assert await case.real.lrange("rq:queue:default", 0, -1) == [job.id.encode()]
    assert await case.real.hget(job.key, "status") == b"queued"
    assert await case.ledger.remains() == [b"rq:queue:default"]
    assert set(case.ledger.runs) == {"line-0"}


async def retire(case: Case, script: str) -> None:
    """The worker tries again to sign off."""
    await case.ledger.enqueue()
    worker = case.worker()
    fault = case.arm(script)
    await worker.work(burst=True)
    assert fault.hits == 1
    await case.ledger.check()
    assert case.log.count("cannot sign off") == 0
    assert await case.real.hexists(f"rq:worker:{worker.name}", "death")
    assert 0 < await case.real.ttl(f"rq:worker:{worker.name}") <= 60
    for place in ("rq:workers", "rq:workers:default", "rq:aiorq:inboxes"):
        assert await case.real.exists(place) == 0


async def begin(case: Case, script: str) -> None:
    """The job runs once; that it has begun is known, by the next renewal at the latest."""
    fault = case.arm(script)
    job = await case.real_queue.enqueue("waiting.meet", case.told.path, case.gate.path)
    async with working(case.worker(lease=LEASE)):
        [horse] = await case.told.pids()

        async def known() -> bool:
            return not await case.real.hexists(job.key, "aiorq_held")

        await case.until(known)
        case.gate.let()
        assert (await result_of(job)).return_value == horse.pid
        assert fault.hits == 1
        assert case.told.rest() == ""
        assert await case.real.xlen(f"rq:results:{job.id}") == 1
        assert case.log.count("killed") == 0
        await case.real.zrem("rq:finished:default", job.id)
        await case.ledger.enqueue()
        await case.ledger.check()


async def stop(case: Case, script: str) -> None:
    """Who asked hears of the stop, which is recorded once."""
    job = await case.real_queue.enqueue("waiting.hang", case.told.path)
    async with working(case.worker()):
        await case.told.pids()
        fault = case.arm(script)
        assert await job.stop(grace=0, timeout=LIMIT) is JobStatus.STOPPED
        assert fault.hits == 1
        await case.noticed()
        await case.failed_once(job)
        assert case.told.rest() == ""
        assert await case.real.keys("rq:aiorq:stops:*") == []
        await case.ledger.enqueue()
        await case.ledger.check()
    assert case.log.count("is not recorded") == 0


async def lost(case: Case, script: str) -> None:
    """Of a worker that is gone, a job that had begun fails, and one that had not runs; each once."""
    begun = await case.real_queue.enqueue("jobs.add", 1)
    run = await case.take(LEASE)
    assert await begin_run(store_of(case.real), case.other, run)
    await case.real.zadd("rq:wip:default", {f"{run.job_id}:{run.token}": time.time() - 1}, xx=True)
    await case.ledger.enqueue()
    await case.take(LOST)
    fault = case.arm(script)
    async with working(case.worker(reap_interval=INTERVAL)):
        await abandoned(case, begun)
        await case.ledger.check()
        assert fault.hits == 1
    assert case.log.count("cannot deal with") == 0


async def promote(case: Case, script: str) -> None:
    """A job that is due is promoted once, also one of a queue that nobody works on."""
    job = await Queue("idle", case.real).enqueue_in(timedelta(hours=1), "jobs.add", 1)
    await case.real.zadd("rq:scheduled:idle", {job.id: time.time() - 1})
    fault = case.arm(script)

    async def promoted() -> bool:
        return bool(await case.real.llen("rq:queue:idle"))

    async with working(case.worker(reap_interval=INTERVAL)):
        await case.until(promoted)
        assert fault.hits == 1
        await case.ledger.enqueue()
        await case.ledger.settled()
    assert await case.real.lrange("rq:queue:idle", 0, -1) == [job.id.encode()]
    assert await job.get_status() is JobStatus.QUEUED
    assert await case.real.exists("rq:scheduled:idle") == 0
    assert case.log.count("cannot deal with") == 0


async def promote_due(case: Case, script: str) -> None:
    """A job that is due runs once."""
    job = await case.ledger.enqueue()
    await case.real.delete("rq:queue:default")
    await case.real.hset(job.key, "status", "scheduled")
    await case.real.zadd("rq:scheduled:default", {job.id: time.time() - 1})
    fault = case.arm(script)
    async with working(case.worker(reap_interval=INTERVAL)):
        await case.ledger.check()
        assert fault.hits == 1
        assert await case.real.exists("rq:scheduled:default") == 0
    assert case.log.count("cannot") == 0


async def hold_schedules(case: Case, script: str) -> None:
    """The worker shows as the scheduler of its queue, soon; what is due is promoted meanwhile."""
    fault = case.arm(script)
    worker = case.worker(reap_interval=INTERVAL)
    async with working(worker):
        await case.ledger.enqueue()
        await case.ledger.settled()
        assert fault.hits == 1
        held = await case.real.get("rq:scheduler-lock:default")
        assert held == (worker.name.encode() if case.error is None else None)
        job = await case.real_queue.enqueue_in(timedelta(seconds=0.1), "jobs.add", 1)
        assert (await result_of(job)).return_value == 2
    assert await case.real.exists("rq:scheduler-lock:default", f"rq:scheduler:{worker.name}") == 0


async def recover(case: Case, script: str) -> None:
    """A job that a worker of RQ's took long ago and did not begin fails once."""
    job = await case.real_queue.enqueue("jobs.add", 1)
    taken = "rq:queue:default:intermediate"
    await case.real.lmove("rq:queue:default", taken, "LEFT", "RIGHT")
    await case.real.set(f"{taken}:first_seen:{job.id}", time.time() - 61)
    await case.real.hset(job.key, "aiorq_taken", await case.real.hget(job.key, "enqueued_at"))
    fault = case.arm(script)
    async with working(case.worker(reap_interval=INTERVAL)):
        await abandoned(case, job)
        assert fault.hits == 1
        await case.ledger.enqueue()
        await case.ledger.check()
    assert case.log.count("cannot deal with") == 0


async def abandoned(case: Case, job: Job[Any]) -> None:
    assert "AbandonedJobError" in (await result_of(job)).exc_string
    await case.failed_once(job)


SCENARIOS: Final[dict[str, Scenario]] = {
    "begin": begin,
    "claim": taken_and_ended,
    "fail": fail,
    "finish": taken_and_ended,
    "overdue": lost,
    "hold_schedules": hold_schedules,
    "promote": promote,
    "promote_due": promote_due,
    "reap": lost,
    "recover": recover,
    "register": register,
    "release": release,
    "renew": renew,
    "retire": retire,
    "retry": retry,
    "stop": stop,
}
"""What each script is put through."""
