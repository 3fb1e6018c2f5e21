"""The worker that runs jobs in its own process."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import here
import pytest
from redis.asyncio import Redis

from aiorq import Job, JobStatus, Queue
from aiorq.callback import Callback
from aiorq.result import ResultType
from aiorq.retry import Repeat, Retry
from aiorq.worker import SimpleWorker, Worker
from tests.execution.processes import Fifo
from tests.execution.test_conformance import job_threads
from tests.worker.conftest import WAITING, Log, Monitor, Script, result_of, working

RunScript = Callable[[str], Script]


@pytest.fixture(autouse=True)
def calls() -> Iterator[list[Any]]:
    here.calls.clear()
    yield here.calls
    here.calls.clear()


@pytest.fixture
def simple(connection: Redis) -> SimpleWorker:
    return SimpleWorker("default", "the-worker", connection=connection, path=WAITING)


async def last_line(job: Job[Any]) -> str:
    result = await job.latest_result()
    assert result is not None
    assert result.exc_string is not None
    return result.exc_string.strip().splitlines()[-1]


class TestBurst:
    """As tests of applications use it."""

    async def test_jobs_run_in_this_process(self, queue: Queue, simple: SimpleWorker) -> None:
        jobs = [await queue.enqueue(here.add, number, 1) for number in range(5)]
        process = await queue.enqueue(os.getpid)
        assert await simple.work(burst=True)
        assert here.calls == [("add", number, 1) for number in range(5)]
        assert [await job.return_value() for job in jobs] == [1, 2, 3, 4, 5]
        assert await process.return_value() == os.getpid()
        assert not await simple.work(burst=True)

    async def test_functions_run_outside_of_any_event_loop(self, queue: Queue, simple: SimpleWorker) -> None:
        thread = await queue.enqueue("threading.get_ident")
        loops = await queue.enqueue(here.leave_notes)
        coroutine = await queue.enqueue(here.add_async, 1)
        await simple.work(burst=True)
        assert await thread.return_value() != threading.get_ident()
        assert await loops.get_meta() == {"first": True, "second": True}  # both loops have jobs with one meta
        assert await coroutine.return_value() == 2

    async def test_the_current_job(self, queue: Queue, simple: SimpleWorker) -> None:
        job = await queue.enqueue(here.who)
        note = await queue.enqueue(here.leave_note, "key", 1)
        await simple.work(burst=True)
        assert (await job.return_value() or ())[:3] == (job.id, "started", os.getpid())
        assert await note.get_meta() == {"key": 1}

    async def test_failures(self, queue: Queue, simple: SimpleWorker) -> None:
        jobs = {
            "ValueError: on purpose": await queue.enqueue(here.fail),
            "SystemExit: 3": await queue.enqueue(here.leave, 3),
            "KeyboardInterrupt": await queue.enqueue(here.interrupt),
            "TimeoutError": await queue.enqueue(here.time_out_itself),
        }
        await simple.work(burst=True)
        assert {line: await job.get_status() for line, job in jobs.items()} == dict.fromkeys(jobs, JobStatus.FAILED)
        assert {line: await last_line(job) for line, job in jobs.items()} == {line: line for line in jobs}

    async def test_callbacks(self, queue: Queue, simple: SimpleWorker) -> None:
        good = await queue.enqueue(here.add, 1, on_success=here.on_success)
        bad = await queue.enqueue(here.fail, on_failure=here.on_failure_async)
        broken = await queue.enqueue(here.add, 2, on_success=here.break_callback)
        slow = await queue.enqueue(here.add, 3, on_success=Callback(here.sleep_callback_async, 1))
        await simple.work(burst=True)
        assert here.calls == [
            ("add", 1, 1),
            ("on_success", good.id, "finished", True, 2),
            "fail",
            ("on_failure", bad.id, "failed", True, "on purpose", True),
            ("add", 2, 1),
            "broken",
            ("add", 3, 1),
        ]
        assert await last_line(broken) == "RuntimeError: the callback is broken"
        assert "JobTimeoutException" in await last_line(slow)

    async def test_hooks(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue(here.fail)
        worker = SimpleWorker(
            [queue], connection=connection, exception_handlers=[here.handle_exception], before_job=here.before_job
        )
        await worker.work(burst=True)
        assert here.calls == [("before_job", job.id), "fail", ("handled", job.id, "on purpose")]

    async def test_jobs_that_run_again(self, queue: Queue, simple: SimpleWorker) -> None:
        failed = await queue.enqueue(here.fail, retry=Retry(2))
        repeated = await queue.enqueue(here.add, 1, repeat=Repeat(2))
        asked = await queue.enqueue(here.ask_again, 1)
        child = await queue.enqueue(here.add, 2, depends_on=repeated)
        await simple.work(burst=True)
        assert sorted(map(str, here.calls)) == sorted(
            [*["fail"] * 3, *["('add', 1, 1)"] * 3, "ask_again", "ask_again", "('add', 2, 1)"]
        )
        assert await failed.get_status() is JobStatus.FAILED
        assert (await result_of(asked)).type is ResultType.MAX_RETRIES_EXCEEDED
        assert await child.get_status() is JobStatus.FINISHED

    async def test_nothing_is_left(self, queue: Queue, simple: SimpleWorker, connection: Redis) -> None:
        await simple.work(burst=True)
        before = len(await connection.client_list())
        for _ in range(3):
            await queue.enqueue(here.leave_note, "key", 1, on_success=here.on_success_async)
        await simple.work(burst=True)
        assert len(here.calls) == 3
        assert job_threads() == []
        assert len(await connection.client_list()) <= before  # one of an earlier test may have ended since
        assert await connection.hexists("rq:worker:the-worker", "death")


class TestLongJobs:
    async def test_leases_are_renewed_meanwhile(
        self, queue: Queue, connection: Redis, told: Fifo, gate: Fifo, monitor: Monitor
    ) -> None:
        worker = SimpleWorker(queue, connection=connection, lease=2, path=WAITING)
        job = await queue.enqueue("waiting.meet", told.path, gate.path)
        async with working(worker):
            await told.line()
            await monitor.seen('"ZADD" "rq:wip:default" "XX"', 3)
            gate.let()
            assert (await result_of(job)).type is ResultType.SUCCESSFUL

    @pytest.mark.parametrize("function", ["precise.count_for_ever", "waiting.hang_async"])
    async def test_stopping_one(self, queue: Queue, simple: SimpleWorker, told: Fifo, function: str) -> None:
        job = await queue.enqueue(function, told.path, on_stopped=here.on_stopped)
        async with working(simple):
            await told.line()
            assert await job.stop() is JobStatus.STOPPED
            assert (await result_of(job)).type is ResultType.STOPPED
            after = await queue.enqueue(here.add, 1)
            await result_of(after)
        assert here.calls == [("on_stopped", job.id, "stopped", True), ("add", 1, 1)]

    async def test_a_timeout(self, queue: Queue, simple: SimpleWorker, told: Fifo) -> None:
        job = await queue.enqueue("precise.count_for_ever", told.path, job_timeout=1)
        await simple.work(burst=True)
        assert await last_line(job) == (
            "aiorq.errors.JobTimeoutException: the job ran longer than its timeout of 1 seconds"
        )

    async def test_a_cold_stop_puts_back_what_ends_by_it(self, queue: Queue, simple: SimpleWorker, told: Fifo) -> None:
        job = await queue.enqueue("precise.count_for_ever", told.path)
        async with working(simple):
            await told.line()
        assert await queue.get_job_ids() == [job.id]
        assert job_threads() == []

    async def test_what_cannot_be_interrupted_goes_on(
        self, queue: Queue, simple: SimpleWorker, told: Fifo, gate: Fifo, log: Log
    ) -> None:
        job = await queue.enqueue("precise.endure", told.path, gate.path)
        async with working(simple):
            await told.line()
            assert await job.stop(grace=0) is JobStatus.STOPPED
            assert log.count(f"job {job.id} cannot be interrupted") == 1
        (thread,) = job_threads()
        gate.let(2)
        await asyncio.to_thread(thread.join, 20)
        assert not thread.is_alive()
        assert await job.get_status() is JobStatus.STOPPED


class TestRun:
    """`run` has the main thread run the jobs."""

    HEAD = "import os, threading\nfrom aiorq.worker import SimpleWorker\n"

    async def test_jobs_run_in_the_main_thread(self, url: str, queue: Queue, run_script: RunScript) -> None:
        thread = await queue.enqueue("threading.get_ident")
        process = await queue.enqueue("os.getpid")
        script = run_script(
            self.HEAD + f"print(SimpleWorker('default', connection={url!r}).run(burst=True), threading.get_ident())"
        )
        code, printed = await script.end()
        assert code == 0, printed
        assert printed == f"True {await thread.return_value()}"
        assert await process.return_value() == script.process.pid

    async def test_a_timeout_ends_what_waits_in_the_system(self, url: str, queue: Queue, run_script: RunScript) -> None:
        job = await queue.enqueue("waiting.block", job_timeout=1)
        script = run_script(self.HEAD + f"print(SimpleWorker('default', connection={url!r}).run(burst=True))")
        assert await script.end() == (0, "True")
        assert await last_line(job) == (
            "aiorq.errors.JobTimeoutException: the job ran longer than its timeout of 1 seconds"
        )

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_signals(
        self, url: str, queue: Queue, run_script: RunScript, told: Fifo, gate: Fifo, number: int
    ) -> None:
        first = await queue.enqueue("waiting.meet", told.path, gate.path)
        second = await queue.enqueue("waiting.meet", told.path, gate.path)
        body = self.HEAD + f"worker = SimpleWorker('default', connection={url!r})\nworker.run()\nprint(worker.cold)"
        script = run_script(body)
        await told.line()
        os.kill(script.process.pid, number)
        await script.line("waiting for 1 jobs to end")
        gate.let()
        assert await script.end() == (0, "False")
        assert (await result_of(first)).type is ResultType.SUCCESSFUL
        assert await queue.get_job_ids() == [second.id]

    async def test_a_second_signal(self, url: str, queue: Queue, run_script: RunScript, told: Fifo, gate: Fifo) -> None:
        job = await queue.enqueue("waiting.meet", told.path, gate.path)
        body = self.HEAD + f"worker = SimpleWorker('default', connection={url!r})\nworker.run()\nprint(worker.cold)"
        script = run_script(body)
        await told.line()
        os.kill(script.process.pid, signal.SIGTERM)
        await script.line("waiting for 1 jobs to end")
        os.kill(script.process.pid, signal.SIGTERM)
        assert await script.end() == (0, "True")
        assert await queue.get_job_ids() == [job.id]

    async def test_a_server_that_is_not_there(self, run_script: RunScript) -> None:
        body = self.HEAD + (
            "from aiorq.errors import ConnectionLostError\n"
            "try:\n"
            "    SimpleWorker('default', connection='unix:///no/such/socket').run(burst=True)\n"
            "except ConnectionLostError:\n"
            "    print('not there')\n"
        )
        assert await run_script(body).end() == (0, "not there")

    async def test_in_another_thread(self, url: str) -> None:
        def run() -> None:
            SimpleWorker("default", connection=url).run(burst=True)

        with pytest.raises(RuntimeError, match="main thread"):
            await asyncio.to_thread(run)


async def test_it_is_a_worker_with_the_options_of_one(connection: Redis) -> None:
    assert issubclass(SimpleWorker, Worker)
    with pytest.raises(ValueError, match="one job at a time"):
        SimpleWorker("default", connection=connection, concurrency=2)
    with pytest.raises(ValueError, match="lease must be"):
        SimpleWorker("default", connection=connection, lease=0)
