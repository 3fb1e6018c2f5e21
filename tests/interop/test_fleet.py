"""A `rq worker` and an aiorq worker on one queue at the same time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import redis
import rq

from aiorq import JobStatus, Queue, Worker
from tests.interop.conftest import Command, Gate

JOBS = 200


async def test_two_workers_share_a_queue(
    queue: Queue,
    rq_queue: rq.Queue,
    client: redis.Redis,
    make_worker: Callable[..., Worker],
    make_gate: Callable[[], Gate],
    rq_command: Command,
    jobs: ModuleType,
    tmp_path: Path,
) -> None:
    trace = tmp_path / "trace"
    gates = make_gate(), make_gate()
    # Each worker is held in a job until both are there.
    async with anyio.create_task_group() as tasks:
        rq_queue.enqueue(jobs.touch_and_wait, *gates[0].args, job_id="held-by-rq")
        tasks.start_soon(partial(rq_command.work, "--name", "rq-worker"))
        await gates[0].reached()
        await queue.enqueue(jobs.touch_and_wait, *gates[1].args, job_id="held-by-aiorq")
        tasks.start_soon(partial(make_worker(name="aiorq-worker").work, burst=True))
        await gates[1].reached()
        for number in range(0, JOBS, 2):
            await queue.enqueue(jobs.append, str(trace), str(number), job_id=f"job-{number}")
            rq_queue.enqueue(jobs.append, str(trace), str(number + 1), job_id=f"job-{number + 1}")
        assert await queue.count() == JOBS
        for gate in gates:
            await gate.open()

    assert sorted(map(int, trace.read_text().split())) == list(range(JOBS))
    ids = [f"job-{number}" for number in range(JOBS)]
    fetched = rq.job.Job.fetch_many(ids, client)
    assert all(job is not None and job.is_finished for job in fetched)
    workers: Counter[str] = Counter()
    for job_id in [*ids, "held-by-rq", "held-by-aiorq"]:
        (result,) = await queue.job_class(job_id, queue.connection).results()
        assert result.type is result.Type.SUCCESSFUL
        workers[result.worker_name] += 1
    assert workers["rq-worker"] > 1
    assert workers["aiorq-worker"] > 1
    assert workers.total() == JOBS + len(gates)
    for name in ("rq-worker", "aiorq-worker"):
        buried = rq.Worker.find_by_key(f"rq:worker:{name}", client)
        assert buried is not None
        assert buried.successful_job_count == workers[name]

    assert client.zcard("rq:finished:default") == JOBS + len(gates)
    keys: Any = client.keys("*")
    left = {key.decode() for key in keys}
    left -= {f"rq:{kind}:{job_id}" for kind in ("job", "results") for job_id in [*ids, "held-by-rq", "held-by-aiorq"]}
    left -= {"rq:finished:default", "rq:queues", "rq:worker:rq-worker", "rq:worker:aiorq-worker"}
    # RQ's note of a job that its maintenance happened to find between the queue and the worker; it expires.
    left -= {key for key in left if key.startswith("rq:queue:default:intermediate:first_seen:")}
    assert left == {"rq:clean_groups"}


async def test_job_goes_from_one_to_the_other(
    queue: Queue, rq_queue: rq.Queue, make_worker: Callable[..., Worker], rq_command: Command, jobs: ModuleType
) -> None:
    """Failed under rq, put back by rq, failed under aiorq, put back by rq, failed under rq."""
    job = await queue.enqueue(jobs.fail, job_id="an-id")
    theirs = rq.job.Job.fetch("an-id", rq_queue.connection)
    await rq_command.work("--name", "first")
    theirs.requeue()
    await make_worker(name="second").work(burst=True)
    theirs.requeue()
    assert await job.get_status() is JobStatus.QUEUED
    await rq_command.work("--name", "third")
    assert [result.worker_name for result in await job.results()] == ["third", "second", "first"]
    assert [result.worker_name for result in theirs.results()] == ["third", "second", "first"]
    assert await job.get_status() is JobStatus.FAILED
