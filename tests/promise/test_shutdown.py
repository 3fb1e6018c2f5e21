"""A worker that is told to end takes no job with it."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

from aiorq import JobStatus, Queue
from tests.chaos.verdict import read
from tests.execution.processes import Fifo
from tests.promise.conftest import Launch, outcome_of

RESTARTS = int(os.environ.get("CHAOS_RESTARTS", "5"))


async def test_what_does_not_end_in_time_goes_back(queue: Queue, launch: Launch, told: Fifo, gate: Fifo) -> None:
    worker = await launch("worker", "--concurrency", "2", "--shutdown-timeout", "1")
    jobs = [await queue.enqueue("waiting.meet", told.path, gate.path) for _ in range(2)]
    horses = await told.pids(2)
    waiting = [await queue.enqueue("jobs.add", number) for number in range(20)]
    worker.process.kill(signal.SIGTERM)
    assert await worker.end() == 0
    for horse in horses:
        assert await horse.ended()
    ids = await queue.get_job_ids()
    assert set(ids[:2]) == {job.id for job in jobs}
    assert ids[2:] == [job.id for job in waiting]
    for job in jobs:
        assert await job.get_status() == JobStatus.QUEUED
        assert await job.latest_result() is None
    assert await queue.connection.keys("rq:wip:*") == []
    other = await launch("other", "--concurrency", "2")
    gate.let(2)
    for job in [*jobs, *waiting]:
        result = await outcome_of(job)
        assert (result.type.name, result.worker_name) == ("SUCCESSFUL", other.name)


async def test_what_ends_in_time_is_recorded(queue: Queue, launch: Launch, told: Fifo, gate: Fifo) -> None:
    worker = await launch("worker", "--shutdown-timeout", "60")
    job = await queue.enqueue("waiting.meet", told.path, gate.path)
    await told.pids()
    worker.process.kill(signal.SIGTERM)
    await worker.line("waiting for 1 jobs to end")
    gate.let()
    assert await worker.end() == 0
    assert (await outcome_of(job)).type.name == "SUCCESSFUL"


async def test_the_second_signal_is_heeded_at_once(queue: Queue, launch: Launch, told: Fifo) -> None:
    worker = await launch("worker", "--shutdown-timeout", "600")
    job = await queue.enqueue("waiting.hang", told.path)
    [horse] = await told.pids()
    worker.process.kill(signal.SIGTERM)
    await worker.line("waiting for 1 jobs to end")
    worker.process.kill(signal.SIGTERM)
    assert await worker.end() == 1
    assert await horse.ended()
    assert await queue.get_job_ids() == [job.id]


async def test_a_rolling_restart(queue: Queue, launch: Launch, effects: Path) -> None:
    """Workers are replaced one after the other under load: each job runs once."""
    names = [f"job-{number}" for number in range(100 * RESTARTS)]
    functions = ("effects.nap", "effects.nap_async", "effects.compute")
    datas = [Queue.prepare_data(functions[number % 3], (name, 0.02), job_id=name) for number, name in enumerate(names)]
    workers = [await launch(f"worker-{number}", "--concurrency", "2") for number in range(2)]
    jobs = []
    for number in range(RESTARTS):
        jobs += await queue.enqueue_many(datas[100 * number : 100 * (number + 1)])
        workers.append(await launch(f"worker-{number + 2}", "--concurrency", "2"))
        old = workers.pop(0)
        old.process.kill(signal.SIGTERM)
        assert await old.end() == 0
    kinds: Counter[Any] = Counter()
    for job in jobs:
        kinds[(await outcome_of(job)).type.name] += 1
    assert kinds == {"SUCCESSFUL": len(names)}
    traces = Counter((trace.word, trace.job_id) for trace in read(effects))
    assert traces == Counter({(word, name): 1 for name in names for word in ("start", "end")})
    assert await queue.count() == 0
    assert await queue.connection.keys("rq:wip:*") == []
