"""A thousand jobs enqueued and awaited at once by one asyncio program, over a handful of connections."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

import jobs
from redis.asyncio import Redis

from aiorq import Queue, connect

NUMBER = 1000


async def connections_of(connection: Redis, name: str) -> int:
    clients = await connection.client_list()
    return sum(client["name"] == name for client in clients)


async def test_a_thousand_at_once(connection: Redis, url: str, jobs_path: str) -> None:
    command = [sys.executable, "-m", "aiorq", "worker", "--quiet", "--url", url, "--path", jobs_path]
    worker = subprocess.Popen([*command, "--concurrency", "2", "--preload", "jobs"])  # noqa: ASYNC220 - it is at once
    try:
        async with connect(url, client_name="program") as client:
            queue = Queue(connection=client)
            enqueued = await asyncio.gather(*(queue.enqueue(jobs.add, number) for number in range(NUMBER)))
            waits = [asyncio.ensure_future(job.latest_result(timeout=60)) for job in enqueued]
            most = 0
            for wait in asyncio.as_completed(waits):
                await wait
                if sum(done.done() for done in waits) % 100 == 0:
                    most = max(most, await connections_of(connection, "program"))
            results = [wait.result() for wait in waits]
            assert [result.return_value for result in results if result] == [number + 1 for number in range(NUMBER)]
            assert 1 <= most <= 4
    finally:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=20) == 0
