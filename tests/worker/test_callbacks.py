"""The callbacks of jobs: in the process of the job, or, when it is gone, in one of their own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis
import rq
from redis.asyncio import Redis

from aiorq import Job, JobStatus, Queue, Worker
from aiorq.callback import Callback
from aiorq.execution.forking import ForkExecutor
from aiorq.retry import Retry
from aiorq.server import EmbeddedServer
from aiorq.store import runs
from aiorq.store.base import store_of
from tests.execution.processes import Fifo
from tests.worker.conftest import Log, Started, result_of, working


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
        await log.line(f"job {job.id}: on_stopped (callbacks.failing) raised ValueError: the callback failed")
        assert await job.get_status() is JobStatus.STOPPED
    else:
        assert (await result_of(await queue.enqueue("jobs.add", 1))).return_value == 2
        assert log.count("on_stopped") == 0


async def lines(told: Fifo, count: int) -> list[str]:
    return [await told.line() for _ in range(count)]


class TestSuccess:
    @pytest.mark.parametrize("callback", ["success", "success_async"])
    @pytest.mark.parametrize("function", ["work", "work_async"])
    async def test_it_is_called(
        self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo, function: str, callback: str
    ) -> None:
        """Before the outcome is recorded, with the result itself."""
        job = await queue.enqueue(
            f"companions.{function}", told.path, 7, on_success=f"companions.{callback}", meta={"a": 1}
        )
        await make_worker().work(burst=True)
        assert told.rest() == f"success 7 finished started companions.{function} {{'a': 1}}\n"
        assert await job.return_value() == 7
        assert await job.get_status() is JobStatus.FINISHED

    async def test_one_of_rq(
        self, server: EmbeddedServer, make_worker: Callable[..., Worker], told: Fifo, queue: Queue
    ) -> None:
        with redis.Redis(unix_socket_path=str(server.socket_path)) as client:
            callback = rq.Callback("companions.success", timeout=5)
            rq.Queue(connection=client).enqueue("companions.work", told.path, None, on_success=callback)
        await make_worker().work(burst=True)
        assert told.rest() == "success None finished started companions.work {}\n"

    @pytest.mark.parametrize("function", ["set_attribute", "set_attribute_async"])
    async def test_the_job_is_that_of_the_function(
        self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo, function: str
    ) -> None:
        await queue.enqueue(f"companions.{function}", told.path, on_success="companions.success")
        await make_worker().work(burst=True)
        assert told.rest().endswith("{'note': 'of the job'}\n")

    async def test_coroutines_share_an_event_loop(
        self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo
    ) -> None:
        await queue.enqueue(
            "companions.set_attribute_async", told.path, on_success="companions.success_same_loop", job_timeout=5
        )
        await make_worker().work(burst=True)
        assert told.rest() == "True {'note': 'of the job'}\n"

    @pytest.mark.parametrize(
        ("callback", "text"),
        [
            ("companions.success_failing", "KeyError: 'of the callback'"),
            ("companions.nobody", "aiorq.errors.FunctionNotFoundError"),
        ],
    )
    async def test_it_fails(
        self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo, callback: str, text: str
    ) -> None:
        """So does the job, and is told."""
        job = await queue.enqueue("companions.work", told.path, on_success=callback, on_failure="companions.failure")
        await make_worker().work(burst=True)
        result = await result_of(job)
        assert result.type.name == "FAILED"
        assert text in (result.exc_string or "")
        assert told.rest().startswith("failure failed ")

    async def test_its_timeout(self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo) -> None:
        callback = Callback("companions.success_slow", timeout=1)
        job = await queue.enqueue("companions.work", told.path, on_success=callback, job_timeout=-1)
        await make_worker().work(burst=True)
        text = "on_success (companions.success_slow) ran longer than its timeout of 1 seconds"
        assert f"JobTimeoutException: {text}\n" in ((await result_of(job)).exc_string or "")

    async def test_one_that_goes_on_is_killed(
        self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """From outside, in the time that it has itself; the job's own is longer."""
        monkeypatch.setattr(ForkExecutor.__init__, "__kwdefaults__", {"timeout_grace": 0.3})
        callback = Callback("companions.success_stuck", timeout=1)
        job = await queue.enqueue(
            "companions.work", told.path, on_success=callback, on_failure="companions.failure", job_timeout=500
        )
        await make_worker().work(burst=True)
        text = "on_success (companions.success_stuck) ran longer than its timeout and went on after it was told"
        assert f"JobTimeoutException: {text}; its process was killed\n" in ((await result_of(job)).exc_string or "")
        assert await lines(told, 2) == [
            "late",
            f"failure failed aiorq.errors.JobTimeoutException {text}; its process was killed without traceback",
        ]

    async def test_one_that_ends_the_process(
        self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo
    ) -> None:
        job = await queue.enqueue("companions.work", told.path, on_success="companions.success_leaving")
        await make_worker().work(burst=True)
        said = "exited with code 5 before the job had ended during on_success (companions.success_leaving)"
        assert said in ((await result_of(job)).exc_string or "")

    async def test_a_process_that_comes_back_too(
        self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo
    ) -> None:
        """The callback of a job that forks is called once."""
        job = await queue.enqueue("companions.fork_and_return", told.path, on_success="companions.success")
        await make_worker().work(burst=True)
        assert await job.return_value() == "parent"
        assert told.rest().count("success") == 1


class TestFailure:
    @pytest.mark.parametrize("callback", ["failure", "failure_async"])
    @pytest.mark.parametrize("function", ["fail", "fail_async"])
    async def test_it_is_called(
        self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo, function: str, callback: str
    ) -> None:
        job = await queue.enqueue(f"companions.{function}", told.path, on_failure=f"companions.{callback}")
        await make_worker().work(burst=True)
        assert told.rest() == "failure failed builtins.ValueError on purpose with traceback\n"
        assert "ValueError: on purpose" in ((await result_of(job)).exc_string or "")

    async def test_at_every_attempt(self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo) -> None:
        job = await queue.enqueue("companions.fail", told.path, on_failure="companions.failure", retry=Retry(max=2))
        await make_worker().work(burst=True)
        assert told.rest().count("failure failed builtins.ValueError") == 3
        assert await job.get_status() is JobStatus.FAILED

    async def test_it_takes_the_place_of_what_was_raised(
        self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo
    ) -> None:
        """Also for what is tried again."""
        retry = Retry(max=1, retry_on=[ValueError])
        job = await queue.enqueue("companions.fail", told.path, on_failure="companions.failure_failing", retry=retry)
        await make_worker().work(burst=True)
        assert told.rest() == "failure\n"
        text = (await result_of(job)).exc_string or ""
        assert "ValueError: on purpose" in text
        assert text.endswith("RuntimeError: instead of it\n")

    async def test_a_call_that_cannot_be_read(
        self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo, log: Log
    ) -> None:
        job = await queue.enqueue("companions.work", told.path, on_failure="companions.failure")
        await queue.connection.hset(job.key, "data", b"damaged")
        await make_worker().work(burst=True)
        # The arguments, among them the fifo's path, cannot be read by the callback either.
        text = (await result_of(job)).exc_string or ""
        assert text.count("DeserializationError: the call cannot be read") == 2

    @pytest.mark.parametrize(
        ("function", "args", "said"),
        [
            ("leave", [3], "exited with code 3 before the job had ended"),
            ("die", [], "was killed by signal 9 (SIGKILL): not sent by the worker"),
        ],
    )
    @pytest.mark.parametrize("callback", ["failure", "failure_async"])
    async def test_a_lost_process(
        self,
        queue: Queue,
        make_worker: Callable[..., Worker],
        told: Fifo,
        function: str,
        args: list[int],
        said: str,
        callback: str,
    ) -> None:
        """Then in another one."""
        job = await queue.enqueue(
            f"companions.{function}", told.path, *args, on_failure=f"companions.{callback}", retry=Retry(max=1)
        )
        await make_worker().work(burst=True)
        text = f"the process that ran the job {said}"
        expected = f"failure failed aiorq.errors.HorseTerminatedError {text} without traceback"
        assert await lines(told, 2) == [expected, expected]
        assert await job.get_status() is JobStatus.FAILED
        assert told.rest() == ""

    async def test_it_is_not_called_twice(
        self,
        queue: Queue,
        make_worker: Callable[..., Worker],
        told: Fifo,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A callback whose process is killed while it runs has had its turn."""
        monkeypatch.setattr(ForkExecutor.__init__, "__kwdefaults__", {"timeout_grace": 0.3})
        callback = Callback("companions.failure_stuck", timeout=1)
        job = await queue.enqueue("companions.fail", told.path, on_failure=callback)
        await make_worker().work(burst=True)
        assert told.rest() == "failure ValueError\nlate\n"
        text = "on_failure (companions.failure_stuck) ran longer than its timeout and went on"
        assert text in ((await result_of(job)).exc_string or "")

    async def test_what_fails_outside_of_the_job_is_logged(
        self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo, log: Log
    ) -> None:
        job = await queue.enqueue("companions.die", told.path, on_failure="companions.failure_failing")
        await make_worker().work(burst=True)
        said = f"job {job.id}: on_failure (companions.failure_failing) raised RuntimeError: instead of it"
        assert log.count(said) == 1
        assert "not sent by the worker" in ((await result_of(job)).exc_string or "")

    async def test_a_lost_worker(
        self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo, connection: Redis
    ) -> None:
        job = await queue.enqueue("companions.work", told.path, on_failure="companions.failure")
        store = store_of(connection)
        [claimed] = await runs.claim(store, "lost", ["default"], 1, 1) or []
        await runs.begins(store, "lost", claimed.run, runs.send_begin(store, "lost", claimed.run, lambda: None))
        worker = make_worker(reap_interval=0.05)
        async with working(worker):
            line = await told.line()
            assert (await result_of(job)).type.name == "FAILED"
        assert line.startswith("failure failed aiorq.errors.AbandonedJobError the job was lost with worker 'lost'")
        assert line.endswith("its lease ran out without traceback")

    async def test_a_worker_has_not_more_processes_than_jobs(
        self, queue: Queue, start: Started, told: Fifo, gate: Fifo
    ) -> None:
        """While a callback runs in a process of its own, it has the place of the job."""
        first = await queue.enqueue("companions.die", told.path, on_failure="companions.failure_stuck")
        second = await queue.enqueue("companions.meet", told.path, gate.path)
        worker = await start()
        assert await told.line() == "failure HorseTerminatedError"
        assert (await result_of(first)).type.name == "FAILED"
        assert await second.get_status() is JobStatus.QUEUED
        assert worker._state is not None
        assert worker._state.free == 0
