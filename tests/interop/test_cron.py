"""Cron beside RQ: what its readers see of our entries and schedulers, and what ours see of its."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import jobs
import pytest
import redis
import rq.cron
import rq.cron_job_registry
import rq.cron_scheduler_registry
from redis.asyncio import Redis
from rq import Queue as RQQueue
from rq import SimpleWorker as RQSimpleWorker
from rq.exceptions import DuplicateSchedulerError as TheirError
from rq.job import Job as RQJob

from aiorq import Job, SimpleWorker, Webhook
from aiorq.cron import Cron, CronScheduler, get_cron_job_ids, get_cron_job_names
from aiorq.cron.ticker import Ticker
from aiorq.errors import DuplicateSchedulerError


@pytest.fixture
def theirs(connection: Redis, url: str) -> Any:
    """A client for RQ."""
    client = redis.Redis.from_url(url)
    yield client
    client.close()


async def test_scheduler_and_entries(connection: Redis, theirs: Any) -> None:
    scheduler = CronScheduler(connection, name="ours")
    scheduler.register(
        jobs.add,
        "default",
        (1, 2),
        {"k": [1]},
        interval=60,
        job_timeout=5,
        meta={"m": 1},
        webhooks=[Webhook("https://example.org", "failed")],
        name="first",
    )
    scheduler.register(jobs.add, "other", (object(),), cron="0 3 * * *", timezone="UTC", ttl=9, failure_ttl=8)
    before = datetime.now(UTC)
    await scheduler.register_birth()
    await scheduler.enqueue_jobs()
    await scheduler.heartbeat()

    (found,) = rq.cron.CronScheduler.all(theirs)
    assert found == rq.cron.CronScheduler.fetch("ours", theirs)
    assert (found.name, found.hostname, found.pid) == ("ours", scheduler.hostname, scheduler.pid)
    assert found.created_at == scheduler.created_at
    assert found.last_heartbeat is not None
    assert found.last_heartbeat >= before
    first, second = sorted(found.get_jobs(), key=lambda job: job.name)
    assert (first.name, first.func_name, first.queue_name) == ("first", "jobs.add", "default")
    assert (first.args, first.kwargs, first.interval, first.cron) == ((1, 2), {"k": [1]}, 60, None)
    options = dict(first.job_options)
    assert [hook.url for hook in options.pop("webhooks")] == ["https://example.org"]
    assert options == {"job_timeout": 5, "result_ttl": 500, "meta": {"m": 1}}
    assert first.latest_enqueue_time is not None
    assert first.next_enqueue_time is not None
    assert 59 <= (first.next_enqueue_time - first.latest_enqueue_time).total_seconds() <= 61
    shown: Any = second.args
    assert (second.cron, shown, second.latest_enqueue_time) == ("0 3 * * *", "<not JSON serializable>", None)
    assert second.job_options == {"result_ttl": 500, "ttl": 9, "failure_ttl": 8}

    assert rq.cron_job_registry.get_names(theirs) == ["first"]
    assert first.get_job_ids(theirs) == await Cron(connection).job_ids("first")
    assert rq.cron.get_cron_job_ids("first", theirs) == await Cron(connection).job_ids("first")

    await scheduler.register_death()
    assert rq.cron.CronScheduler.all(theirs) == []


async def test_same_keys_as_rq(connection: Redis, theirs: Any) -> None:
    """Both write the same fields, but for one of ours, and keys of the same types and lives."""
    cron_of_rq = rq.cron.CronScheduler(theirs, name="theirs")
    cron_of_rq.register(jobs.add, "default", args=(1, 2), interval=60, name="of-rq")
    cron_of_rq.register_birth()
    cron_of_rq.enqueue_jobs()
    cron_of_rq.save()
    ours = CronScheduler(connection, name="ours")
    ours.register(jobs.add, "default", (1, 2), interval=60, name="of-us")
    await ours.register_birth()
    await ours.enqueue_jobs()
    await ours.heartbeat()
    here, there = theirs.hgetall("rq:cron_scheduler:ours"), theirs.hgetall("rq:cron_scheduler:theirs")
    assert here.keys() - there.keys() == {b"aiorq_boot"}
    assert there.keys() <= here.keys()
    assert [theirs.ttl(f"rq:cron_scheduler:{name}") for name in ("ours", "theirs")] == [120, 120]
    histories = [f"rq:cron_job:{name}:jobs" for name in ("of-us", "of-rq")]
    assert {(theirs.type(key), theirs.ttl(key)) for key in histories} == {(b"zset", 31_536_000)}
    assert set(theirs.zrange("rq:cron_jobs", 0, -1)) == {b"of-us", b"of-rq"}
    scores = [score for _, score in theirs.zrange("rq:cron_jobs", 0, -1, withscores=True)]
    assert all(abs(time.time() - score) < 60 for score in scores)

    assert {each.name for each in await CronScheduler.all(connection)} == {"ours", "theirs"}
    fetched = await CronScheduler.fetch("theirs", connection)
    assert (fetched.pid, fetched.created_at) == (cron_of_rq.pid, cron_of_rq.created_at)
    assert await get_cron_job_names(connection) == ["of-rq", "of-us"]
    assert await get_cron_job_ids("of-rq", connection) == cron_of_rq.get_jobs()[0].get_job_ids(theirs)


async def test_rq_runs_our_jobs(connection: Redis, theirs: Any) -> None:
    entries = Cron(connection)
    await entries.set(jobs.add, "default", (1, 2), interval=60, name="entry")
    await Ticker(entries.store).tick()
    (job_id,) = await entries.job_ids("entry")
    job = RQJob.fetch(job_id, connection=theirs)
    assert (job.func_name, job.args, job.origin, job.timeout) == ("jobs.add", (1, 2), "default", 180)
    assert job.created_at == job.enqueued_at
    RQSimpleWorker([RQQueue(connection=theirs)], connection=theirs).work(burst=True)
    assert await (await Job.fetch(job_id, connection)).return_value() == 3


async def test_we_run_their_jobs(connection: Redis, theirs: Any, jobs_path: str) -> None:
    cron_of_rq = rq.cron.CronScheduler(theirs)
    made = cron_of_rq.register(jobs.add, "default", args=(3, 4), interval=60)
    cron_of_rq.enqueue_jobs()
    (job_id,) = made.get_job_ids(theirs)
    await SimpleWorker("default", connection=connection, path=jobs_path).work(burst=True)
    assert RQJob.fetch(job_id, connection=theirs).return_value() == 7


async def test_a_name_that_rq_has(connection: Redis, theirs: Any) -> None:
    """A scheduler of RQ's that is alive keeps its name, and ours theirs."""
    rq.cron.CronScheduler(theirs, name="it").register_birth()
    with pytest.raises(DuplicateSchedulerError):
        await CronScheduler(connection, name="it").register_birth()
    await CronScheduler(connection, name="ours").register_birth()
    with pytest.raises(TheirError):
        rq.cron_scheduler_registry.register(rq.cron.CronScheduler(theirs, name="ours"))
