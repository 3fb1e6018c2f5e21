"""A worker that stood still past its lease has lost its jobs, and finds that out before it does harm."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

from aiorq import JobStatus, Queue, RateLimit, Retry
from aiorq.store import runs
from aiorq.worker.options import WorkerOptions
from aiorq.worker.reap import _Reaper
from aiorq.worker.state import State
from tests.execution.processes import LIMIT, Fifo
from tests.promise.conftest import Launch, begun, outcome_of


async def test_its_horse_is_killed(queue: Queue, launch: Launch, told: Fifo, tmp_path: Path) -> None:
    frozen = await launch("frozen")
    job = await queue.enqueue("faults.hang_once", told.path, str(tmp_path / "marker"), on_lost="requeue")
    [horse] = await told.pids()
    await begun(job)
    frozen.process.kill(signal.SIGSTOP)
    other = await launch("other")
    [second] = await told.pids()
    result = await outcome_of(job)
    assert (result.return_value, result.worker_name) == ("the second run", "other")
    before = await stored(queue, job.id)
    assert horse.alive
    frozen.process.kill(signal.SIGCONT)
    assert await horse.ended()
    await frozen.line(f"job {job.id} is killed")
    await works_on(queue, other, frozen)
    assert await stored(queue, job.id) == before
    assert frozen.count(job.id) == 2  # its start and its end
    assert await job.get_status() == JobStatus.FINISHED
    second.close()


async def test_what_waits_for_its_job_runs_once(queue: Queue, launch: Launch, told: Fifo, tmp_path: Path) -> None:
    """The job is tried again elsewhere, and the end of that run is the one that counts."""
    lines = tmp_path / "lines"
    frozen = await launch("frozen", "--lease", "3")
    job = await queue.enqueue(
        "faults.hang_once", told.path, str(tmp_path / "marker"), retry=Retry(1), rate_limit=RateLimit("api", 1)
    )
    [horse] = await told.pids()
    await begun(job)
    child = await queue.enqueue("jobs.append", str(lines), "child", depends_on=job)
    limited = await queue.enqueue("jobs.append", str(lines), "limited", rate_limit=RateLimit("api", 1))
    frozen.process.kill(signal.SIGSTOP)
    other = await launch("other", "--lease", "3")
    [second] = await told.pids()
    for each in (job, child, limited):
        await outcome_of(each)
    assert horse.alive
    before = [await stored(queue, each.id) for each in (job, child, limited)]
    frozen.process.kill(signal.SIGCONT)
    assert await horse.ended()
    await frozen.line(f"job {job.id} is killed")
    await works_on(queue, other, frozen)
    assert [await stored(queue, each.id) for each in (job, child, limited)] == before
    assert sorted(lines.read_text().split()) == ["child", "limited"]
    assert [attempt.outcome for attempt in await job.attempts()] == ["lost", "successful"]
    assert await queue.connection.keys("rq:rl:*:*") == []
    second.close()


async def test_what_its_job_returned_meanwhile_is_refused(queue: Queue, launch: Launch, told: Fifo, gate: Fifo) -> None:
    frozen = await launch("frozen")
    job = await queue.enqueue("waiting.meet", told.path, gate.path, on_lost="requeue")
    [horse] = await told.pids()
    await begun(job)
    frozen.process.kill(signal.SIGSTOP)
    other = await launch("other")
    [second] = await told.pids()
    gate.let(2)
    result = await outcome_of(job)
    assert (result.return_value, result.worker_name) == (second.pid, "other")
    assert await horse.ended()
    before = await stored(queue, job.id)
    frozen.process.kill(signal.SIGCONT)
    await works_on(queue, other, frozen)
    assert await stored(queue, job.id) == before
    assert frozen.count(job.id) == 2


async def test_a_worker_that_stood_still_for_less_has_lost_nothing(
    queue: Queue, launch: Launch, told: Fifo, gate: Fifo
) -> None:
    frozen = await launch("frozen", "--lease", "60")
    job = await queue.enqueue("waiting.meet", told.path, gate.path)
    [horse] = await told.pids()
    other = await launch("other")
    frozen.process.kill(signal.SIGSTOP)
    gate.let()
    assert await horse.ended()
    assert (await outcome_of(await queue.enqueue("jobs.add", 1))).worker_name == "other"
    frozen.process.kill(signal.SIGCONT)
    result = await outcome_of(job)
    assert (result.return_value, result.worker_name) == (horse.pid, "frozen")
    assert other.count(job.id) == 0


async def test_it_does_not_keep_others_from_looking_after_the_lost(queue: Queue) -> None:
    """It cannot know whether it stood still or Redis did, and lets every lease be for a while; the others know."""
    job = await queue.enqueue("jobs.add", 1)
    claimed = await runs.claim(queue.store, "the-lost-one", ["default"], 1, 0.01)
    assert claimed is not None
    woken, other = (
        _Reaper(State(WorkerOptions(queues=("default",), name=name, lease=600), queue.store), lambda *_: None)
        for name in ("woken", "other")
    )
    woken._looked -= 601
    async with asyncio.timeout(LIMIT):
        while await job.get_status() != JobStatus.QUEUED:
            await woken.look()
            assert await job.get_status() == JobStatus.STARTED
            while await queue.connection.exists("rq:aiorq:leader"):
                pass
            await other.look()


async def stored(queue: Queue, job_id: str) -> Any:
    """All that Redis holds of a job."""
    connection: Any = queue.connection
    keys = sorted(await connection.keys(f"*{job_id}*"))
    return keys, await connection.hgetall(f"rq:job:{job_id}"), await connection.xrange(f"rq:results:{job_id}")


async def works_on(queue: Queue, other: Any, woken: Any) -> None:
    """See that a worker runs a job, without the other one's help."""
    other.process.kill(signal.SIGTERM)
    assert await other.end() == 0
    result = await outcome_of(await queue.enqueue("jobs.add", 1))
    assert (result.return_value, result.worker_name) == (2, woken.name)
