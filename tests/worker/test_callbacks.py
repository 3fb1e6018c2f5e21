"""The callback of a stopped job runs in a process of its own, after the job was recorded as stopped."""

from __future__ import annotations

import pytest
import redis
import rq

from aiorq import Job, JobStatus, Queue
from aiorq.server import EmbeddedServer
from tests.execution.processes import Fifo
from tests.worker.conftest import Log, Started, result_of


async def test_a_cold_stop_kills_callbacks_too(
    server: EmbeddedServer, queue: Queue, start: Started, told: Fifo, gate: Fifo
) -> None:
    with redis.Redis(unix_socket_path=str(server.socket_path)) as client:
        theirs = rq.Queue(connection=client).enqueue(
            "waiting.meet", told.path, gate.path, on_stopped=rq.Callback("callbacks.never_ending")
        )
    job = await Job.fetch(theirs.id, queue.connection)
    worker = await start()
    await told.pids()
    assert await job.stop() is JobStatus.STOPPED
    [callback] = await told.pids()
    worker.request_stop(cold=True)
    assert await callback.ended()
    assert await job.get_status() is JobStatus.STOPPED


@pytest.mark.parametrize("name", ["sync_stopped", "async_stopped", "failing"])
async def test_on_stopped(
    server: EmbeddedServer, queue: Queue, start: Started, told: Fifo, log: Log, name: str
) -> None:
    with redis.Redis(unix_socket_path=str(server.socket_path)) as client:
        callback = rq.Callback(f"callbacks.{name}")
        theirs = rq.Queue(connection=client).enqueue(
            "waiting.hang", told.path, on_stopped=callback, meta={"a": 1}, retry=rq.Retry(max=3)
        )
    job = await Job.fetch(theirs.id, queue.connection)
    await start()
    [horse] = await told.pids()
    assert await job.stop() is JobStatus.STOPPED
    assert not horse.alive
    assert await told.line() == f"{job.id} waiting.hang stopped {{'a': 1}}"
    assert (await result_of(job)).type.name == "STOPPED"
    assert await queue.get_job_ids() == []
    if name == "failing":
        await log.line(f"on_stopped of job {job.id} did not end well: ValueError: the callback failed")
        assert await job.get_status() is JobStatus.STOPPED
    else:
        assert (await result_of(await queue.enqueue("jobs.add", 1))).return_value == 2
        assert log.count("did not end well") == 0
