"""`aiorq.sync` where RQ's users call it: in threads, in forked processes, in a notebook's event loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jobs
import pytest
from redis import Redis

from aiorq.server import EmbeddedServer
from aiorq.sync import Job, JobStatus, Queue, SimpleWorker, SpawnWorker, Worker, WorkerPool, get_current_job
from tests.conftest import JOBS

SHARING = Path(__file__).with_name("sharing.py")


def share(server: EmbeddedServer, *args: object) -> str:
    command = [sys.executable, "-W", "error", str(SHARING), server.url, *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=55, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


class TestShared:
    def test_one_queue_object_in_threads_and_forks(self, redis: Redis, server: EmbeddedServer) -> None:
        """Ten thousand jobs from five processes with eight threads each: all are there, and each once."""
        assert share(server, 4, 8, 250).split() == [str(len(Queue(connection=redis)))] == ["10001"]
        ids = Queue(connection=redis).job_ids
        expected = {
            f"{process}-{thread}-{number}" for process in range(5) for thread in range(8) for number in range(250)
        }
        assert len(ids) == 10_001
        assert set(ids) == expected | {"preloaded"}
        assert len(redis.keys("rq:job:*")) == 10_001
        assert Job.fetch("3-7-249", redis).args == ("3-7", 249)

    def test_a_client_with_a_single_connection(self, redis: Redis, server: EmbeddedServer) -> None:
        """In a forked process it is the parent's, and the answers would be mixed up."""
        assert share(server, 2, 2, 100, "single") == "601\n"
        assert len(set(Queue(connection=redis).job_ids)) == 601

    def test_no_thread_is_started(self, redis: Redis) -> None:
        before = threading.enumerate()
        queue = Queue(connection=redis)
        job = queue.enqueue(jobs.nothing)
        assert job.latest_result(timeout=0.01) is None
        assert queue.failed_job_registry.requeue_all() == 0
        assert threading.enumerate() == before

    def test_workers_in_threads(self, redis: Redis) -> None:
        """Signals are left alone, and each worker runs its jobs."""
        queues = [Queue(name, connection=redis) for name in "ab"]
        made = [[queue.enqueue(jobs.add, number) for number in range(3)] for queue in queues]
        with ThreadPoolExecutor(2) as threads:
            working = [threads.submit(Worker([queue], path=str(JOBS)).work, burst=True) for queue in queues]
            assert [each.result(40) for each in working] == [True, True]
        assert [[job.result for job in each] for each in made] == [[1, 2, 3]] * 2


class TestInALoop:
    """Everything is called from within a coroutine, as a cell of a notebook is."""

    async def test_queues_and_jobs(self, redis: Redis) -> None:
        queue = Queue(connection=redis)
        job = queue.enqueue(jobs.add, 1)
        assert (len(queue), job in queue.jobs, job.get_status(), job.get_position()) == (1, True, JobStatus.QUEUED, 0)
        assert job.latest_result(timeout=0.05) is None
        assert Job.fetch_many([job.id, "none"], redis) == [job, None]
        job.cancel()
        assert job in queue.canceled_job_registry

    @pytest.mark.parametrize("kind", [Worker, SpawnWorker, SimpleWorker])
    async def test_workers(self, redis: Redis, kind: type[Worker]) -> None:
        queue = Queue(connection=redis)
        made = [queue.enqueue(function, 4) for function in (jobs.add, jobs.add_async)]
        failing = queue.enqueue(jobs.fail)
        worker = kind([queue], path=str(JOBS))
        assert worker.work(burst=True) is True
        assert worker.work(burst=True) is False
        assert [job.result for job in made] == [5, 5]
        assert failing.is_failed
        assert asyncio._get_running_loop() is not None

    async def test_without_workers(self, redis: Redis) -> None:
        """Coroutine functions run too, while the caller's event loop stands still."""
        queue = Queue(connection=redis, is_async=False)
        assert [queue.enqueue(function, 4).result for function in (jobs.add, jobs.add_async)] == [5, 5]
        assert queue.enqueue(jobs.fail).is_failed
        assert str(queue.enqueue("somewhere.add_and_tell", 3, 4).result).endswith(", 7")
        assert get_current_job() is None

    def test_without_workers_nor_a_loop(self, redis: Redis) -> None:
        queue = Queue(connection=redis, is_async=False)
        assert [queue.enqueue(function, 4).result for function in (jobs.add, jobs.add_async)] == [5, 5]


def test_a_pool(redis: Redis, server: EmbeddedServer) -> None:
    """In a script of its own, since a pool forks its workers."""
    queue = Queue(connection=redis)
    made: list[Job[Any]] = [queue.enqueue(jobs.add, number) for number in range(10)]
    script = (
        "import sys; from redis import Redis; from aiorq.sync import WorkerPool\n"
        "pool = WorkerPool(['default'], Redis.from_url(sys.argv[1]), num_workers=2)\n"
        "pool.start(burst=True, logging_level='CRITICAL'); print(pool.status.name, [q.name for q in pool.queues])"
    )
    command = [sys.executable, "-W", "error", "-c", script, server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, cwd=JOBS, check=False)
    assert (done.stdout, done.stderr) == ("STOPPED ['default']\n", "")
    assert [job.result for job in made] == [*range(1, 11)]
    assert WorkerPool(["default"], redis).queues == [queue]
