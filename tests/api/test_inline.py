"""A queue with `is_async=False`: jobs run at once, in their caller's place, and leave what workers leave of them."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import here
import pytest
from redis.asyncio import Redis

from aiorq import Job, JobStatus, Queue
from aiorq.callback import Callback
from aiorq.errors import DuplicateJobError, SerializationError
from aiorq.inline import perform, run_sync
from aiorq.outcome import Again, Raised, Returned
from aiorq.rate_limit import RateLimit
from aiorq.result import ResultType
from aiorq.retry import Repeat, Retry
from aiorq.status import JobStatus as Status
from aiorq.store import jobs
from aiorq.webhook import Webhook
from tests.api.conftest import until
from tests.worker.conftest import Log, log  # noqa: F401 - a fixture


@pytest.fixture(autouse=True)
def calls() -> Iterator[list[Any]]:
    here.calls.clear()
    yield here.calls
    here.calls.clear()


@pytest.fixture
def at_once(connection: Redis) -> Queue:
    return Queue(connection=connection, is_async=False)


async def last_line(job: Job[Any]) -> str:
    """The end of the traceback that is kept."""
    result = await job.latest_result()
    assert result is not None
    assert result.exc_string is not None
    return result.exc_string.strip().splitlines()[-1]


class TestSuccess:
    @pytest.mark.parametrize("function", [here.add, here.add_async])
    async def test_it_has_finished(self, at_once: Queue, connection: Redis, function: Any) -> None:
        job = await at_once.enqueue(function, 1, right=2)
        assert job.status is JobStatus.FINISHED
        assert here.calls == [("add", 1, 2)]
        assert await job.return_value() == 3
        assert job.enqueued_at is not None
        assert job.worker_name == "sync"
        assert job.started_at is not None
        assert job.ended_at is not None
        assert job.enqueued_at <= job.started_at <= job.ended_at
        result = await job.latest_result()
        assert result is not None
        assert (result.type, result.worker_name) == (ResultType.SUCCESSFUL, "")
        assert await job.get_status() is JobStatus.FINISHED
        assert sorted(await connection.keys()) == [
            b"rq:finished:default",
            f"rq:job:{job.id}".encode(),
            b"rq:queues",
            f"rq:results:{job.id}".encode(),
        ]
        assert 490 < await connection.ttl(job.key) <= 500

    async def test_ttls_of_results(self, at_once: Queue, connection: Redis) -> None:
        kept = await at_once.enqueue(here.add, 1, result_ttl=-1)
        assert await connection.ttl(kept.key) == -1
        gone = await at_once.enqueue(here.add, 1, result_ttl=0)
        assert gone.status is JobStatus.FINISHED
        assert not await Job.exists(gone.id, connection)

    async def test_the_current_job_is_the_callers_object(self, at_once: Queue) -> None:
        for function in (here.who, here.who_async):
            job = await at_once.enqueue(function)
            assert here.calls[-1] is job
            assert await job.return_value() == (job.id, "started", os.getpid(), threading.get_ident())

    async def test_what_it_saves(self, at_once: Queue, connection: Redis) -> None:
        job = await at_once.enqueue(here.leave_note, "done", [1])
        assert job.meta == {"done": [1]}
        assert (await Job.fetch(job.id, connection)).meta == {"done": [1]}

    @pytest.mark.parametrize("callback", [here.on_success, here.on_success_async])
    async def test_callbacks(self, at_once: Queue, callback: Any) -> None:
        job = await at_once.enqueue(here.add, 1, on_success=callback, on_failure=here.on_failure)
        assert here.calls == [("add", 1, 1), ("on_success", job.id, "finished", True, 2)]
        assert job.is_finished

    async def test_a_callback_that_raises_fails_the_job(self, at_once: Queue) -> None:
        job = await at_once.enqueue(here.add, 1, on_success=here.break_callback, on_failure=here.on_failure)
        assert job.is_failed
        assert await last_line(job) == "RuntimeError: the callback is broken"
        assert here.calls[2:] == [("on_failure", job.id, "failed", True, "the callback is broken", True)]

    async def test_a_result_that_cannot_be_serialised(self, at_once: Queue, log: Log) -> None:  # noqa: F811
        job = await at_once.enqueue("jobs.unserializable")
        assert job.is_finished
        assert await job.return_value() == "Unserializable return value"
        assert log.count("cannot be serialised") == 1

    async def test_one_after_the_other(self, at_once: Queue) -> None:
        """The second one finds the first one finished, and so does not wait for it."""
        parent = await at_once.enqueue(here.add, 1)
        child = await at_once.enqueue(here.add, 2, depends_on=parent)
        assert child.is_finished
        assert here.calls == [("add", 1, 1), ("add", 2, 1)]

    async def test_many(self, at_once: Queue) -> None:
        made = await at_once.enqueue_many([Queue.prepare_data(here.add, (number,)) for number in range(3)])
        assert [job.status for job in made] == [JobStatus.FINISHED] * 3
        assert [await job.return_value() for job in made] == [1, 2, 3]

    async def test_several_at_once(self, at_once: Queue) -> None:
        made = await asyncio.gather(*(at_once.enqueue(here.add_async, number) for number in range(20)))
        assert [await job.return_value() for job in made] == list(range(1, 21))

    async def test_from_within_a_job_that_runs_at_once(self, at_once: Queue) -> None:
        outer = await at_once.enqueue(
            "here.enqueue_another", at_once.connection.connection_pool.connection_kwargs["path"]
        )
        assert outer.is_finished
        assert await outer.return_value() == (2, outer.id)


class TestFailure:
    @pytest.mark.parametrize("function", [here.fail, here.fail_async])
    async def test_it_is_recorded_and_not_raised(self, at_once: Queue, connection: Redis, function: Any) -> None:
        job = await at_once.enqueue(function)
        assert job.is_failed
        assert await last_line(job) == "ValueError: on purpose"
        assert await connection.zscore("rq:failed:default", job.id) is not None
        assert await connection.ttl(job.key) > 31_000_000

    @pytest.mark.parametrize(
        ("function", "args", "line"),
        [
            (here.leave, (3,), "SystemExit: 3"),
            (here.cancel_itself, (), "asyncio.exceptions.CancelledError: on purpose"),
            (here.time_out_itself, (), "TimeoutError"),
            (here.add, (), "TypeError: add() missing 1 required positional argument: 'left'"),
        ],
    )
    async def test_whatever_it_raises(self, at_once: Queue, function: Any, args: tuple[Any, ...], line: str) -> None:
        job = await at_once.enqueue(function, *args)
        assert job.is_failed
        assert await last_line(job) == line

    async def test_a_function_that_is_not_there(self, at_once: Queue) -> None:
        job = await at_once.enqueue("no_such_module.function")
        assert (await last_line(job)).startswith("aiorq.errors.FunctionNotFoundError: cannot import no_such_module")

    @pytest.mark.parametrize("callback", [here.on_failure, here.on_failure_async])
    async def test_callbacks(self, at_once: Queue, callback: Any) -> None:
        job = await at_once.enqueue(here.fail, on_failure=callback, on_success=here.on_success)
        assert here.calls == ["fail", ("on_failure", job.id, "failed", True, "on purpose", True)]

    async def test_a_callback_that_raises_takes_its_place(self, at_once: Queue) -> None:
        job = await at_once.enqueue(here.fail, on_failure=here.break_callback)
        assert here.calls == ["fail", "broken"]
        assert await last_line(job) == "RuntimeError: the callback is broken"
        result = await job.latest_result()
        assert result is not None
        assert "ValueError: on purpose" in (result.exc_string or "")

    async def test_it_is_not_tried_again(self, at_once: Queue) -> None:
        """As in RQ: there may be no worker that would."""
        for retry in (Retry(3), Retry(3, 10)):
            job = await at_once.enqueue(here.fail, retry=retry)
            assert job.is_failed
            assert job.retries_left == 3
        assert here.calls == ["fail", "fail"]
        assert await at_once.get_job_ids() == []

    async def test_one_that_asks_to_run_again_has_finished(self, at_once: Queue) -> None:
        job = await at_once.enqueue(here.ask_again, 3)
        assert job.is_finished
        assert await job.return_value() == Retry(3)
        assert here.calls == ["ask_again"]

    async def test_nor_is_it_repeated(self, at_once: Queue) -> None:
        job = await at_once.enqueue(here.add, 1, repeat=Repeat(2))
        assert job.is_finished
        assert here.calls == [("add", 1, 1)]
        assert await at_once.get_job_ids() == []


class TestTimeouts:
    @pytest.mark.parametrize("function", [here.sleep, here.sleep_async])
    async def test_of_jobs(self, at_once: Queue, function: Any) -> None:
        began = time.monotonic()
        job = await at_once.enqueue(function, 3600, job_timeout=1)
        assert 0.9 < time.monotonic() - began < 20
        assert job.is_failed
        assert await last_line(job) == (
            "aiorq.errors.JobTimeoutException: the job ran longer than its timeout of 1 seconds"
        )

    async def test_of_callbacks(self, at_once: Queue) -> None:
        job = await at_once.enqueue(here.add, 1, on_success=Callback(here.sleep_callback, 1))
        doing = "on_success (here.sleep_callback)"
        assert await last_line(job) == (
            f"aiorq.errors.JobTimeoutException: {doing} ran longer than its timeout of 1 seconds"
        )

    async def test_no_limit(self, at_once: Queue) -> None:
        job = await at_once.enqueue(here.sleep, 0, job_timeout=-1)
        assert job.is_finished

    async def test_alarms_of_others_are_left_alone(self, at_once: Queue) -> None:
        before = signal.getsignal(signal.SIGALRM)
        due, interval = signal.getitimer(signal.ITIMER_REAL)  # the test's own
        rang: list[float] = []
        began = time.monotonic()
        try:
            signal.signal(signal.SIGALRM, lambda *_: rang.append(time.monotonic() - began))
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            # Its own alarm would ring later than the other one, and so does not take its place.
            await at_once.enqueue(here.sleep, 0.4, job_timeout=30)
            assert len(rang) == 1
            # It comes first here, and the other one afterwards, when it is due.
            began = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, 1.5)
            assert (await at_once.enqueue(here.sleep, 3600, job_timeout=1)).is_failed
            assert len(rang) == 1
            while len(rang) == 1:
                signal.pause()
            assert rang[1] == pytest.approx(1.5, abs=0.2)
        finally:
            signal.signal(signal.SIGALRM, before)
            signal.setitimer(signal.ITIMER_REAL, due, interval)

    async def test_in_another_thread_coroutines_have_limits_only(self, url: str) -> None:
        async def enqueue() -> list[Status]:
            queue = Queue(connection=url, is_async=False)
            made = [
                await queue.enqueue(here.sleep, 1.1, job_timeout=1),
                await queue.enqueue(here.sleep_async, 1.1, job_timeout=1),
            ]
            await queue.connection.aclose()
            return [job.status for job in made]

        found = await asyncio.to_thread(lambda: asyncio.run(enqueue()))
        assert found == [JobStatus.FINISHED, JobStatus.FAILED]


class TestCallers:
    async def test_a_caller_who_is_cancelled(self, at_once: Queue, connection: Redis) -> None:
        task = asyncio.create_task(at_once.enqueue(here.wait_for_ever, job_id="the-job", on_failure=here.on_failure))

        async def waits() -> bool:
            await asyncio.sleep(0)
            return here.calls == ["waits"]

        await until(waits)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        job = await Job.fetch("the-job", connection)
        assert job.is_failed
        assert await last_line(job) == "asyncio.exceptions.CancelledError"
        assert here.calls == ["waits"]

    async def test_an_interrupt(self, at_once: Queue, connection: Redis) -> None:
        with pytest.raises(KeyboardInterrupt):
            await at_once.enqueue(here.interrupt, job_id="the-job")
        job = await Job.fetch("the-job", connection)
        assert job.is_failed
        assert await last_line(job) == "KeyboardInterrupt"

    async def test_no_job_runs_afterwards(self, at_once: Queue) -> None:
        from aiorq import get_current_job

        await at_once.enqueue(here.fail)
        assert get_current_job() is None

    async def test_what_cannot_be_enqueued(self, at_once: Queue, connection: Redis) -> None:
        with pytest.raises(SerializationError):
            await at_once.enqueue(here.add, lambda: None)
        with pytest.raises(ValueError, match="rate limit"):
            await at_once.enqueue(here.add, 1, rate_limit=RateLimit("key", 1))
        await at_once.enqueue(here.add, 1, job_id="one", unique=True)
        with pytest.raises(DuplicateJobError):
            await at_once.enqueue(here.add, 1, job_id="one", unique=True)
        assert here.calls == [("add", 1, 1)]

    async def test_an_id_is_used_again(self, at_once: Queue) -> None:
        first = await at_once.enqueue(here.add, 1, job_id="one")
        second = await at_once.enqueue(here.add, 2, job_id="one")
        assert first == second
        assert await second.return_value() == 3
        assert len(await second.results()) == 1

    async def test_jobs_for_later_are_for_workers(self, at_once: Queue, queue: Queue) -> None:
        from datetime import timedelta

        later = await at_once.enqueue_in(timedelta(hours=1), here.add, 1)
        parent = await queue.enqueue(here.add, 1)
        child = await at_once.enqueue(here.add, 1, depends_on=parent, retry=Retry(2))
        assert (later.status, child.status) == (JobStatus.SCHEDULED, JobStatus.DEFERRED)
        assert child.retries_left == 2
        assert here.calls == []

    async def test_jobs_that_wait_for_it_go_on(self, at_once: Queue, queue: Queue) -> None:
        await queue.enqueue(here.add, 1, job_id="parent")
        child = await queue.enqueue(here.add, 2, depends_on="parent")
        await at_once.enqueue(here.add, 1, job_id="parent")
        assert await child.get_status() is JobStatus.QUEUED
        assert await queue.get_job_ids() == [child.id]


class TestWithoutAnEventLoop:
    """As the sync facade drives it: nothing is waited for, and coroutines get an event loop each."""

    def drive(self, connection: Redis, job: Job[Any]) -> Any:
        """What `perform` gives, without a running event loop."""
        from aiorq.current import CurrentRun
        from aiorq.store.connection import describe

        current = CurrentRun(
            job_id=job.id,
            fields={name.encode(): b"%d" % v if isinstance(v, int) else v for name, v in job.encode().items()},
            execution_id="an-execution",
            worker_name="",
            serializer=None,
            prefix="rq",
            connection=describe(connection),
        )
        found: list[Any] = []

        def run() -> None:
            try:
                perform(job, lambda: current).send(None)
            except StopIteration as stop:
                found.append(stop.value)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return found[0]

    async def test_outcomes(self, connection: Redis) -> None:
        def job_of(function: Any, *args: Any, **options: Any) -> Job[Any]:
            return Job.create(function, args, connection=connection, **options)

        assert isinstance(self.drive(connection, job_of(here.add, 1)), Returned)
        assert isinstance(self.drive(connection, job_of(here.add_async, 1)), Returned)
        assert self.drive(connection, job_of(here.ask_again, 2)) == Again(2, (0,), False)
        raised = self.drive(connection, job_of(here.fail_async))
        assert isinstance(raised, Raised)
        assert (raised.summary, raised.kinds[0]) == ("ValueError: on purpose", "ValueError")
        late = self.drive(connection, job_of(here.sleep_async, 3600, timeout=1))
        assert late.summary == "JobTimeoutException: the job ran longer than its timeout of 1 seconds"

    async def test_connections_of_its_event_loops_are_closed(self, connection: Redis) -> None:
        job = Job.create(here.leave_note, ("key", 1), connection=connection, on_success=here.on_success_async)
        await job.save()
        before = len(await connection.client_list())
        assert isinstance(self.drive(connection, job), Returned)
        assert await job.get_meta() == {"key": 1}
        assert here.calls == [("on_success", job.id, "finished", True, None)]
        assert len(await connection.client_list()) <= before  # one of an earlier test may have ended since


class Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps what it is sent."""

    received: list[tuple[str, Any]] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, json.loads(body)))
        self.send_response(200 if self.path != "/broken" else 500)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def receiver() -> Iterator[str]:
    """The URL of a server that keeps what it is sent."""
    Receiver.received.clear()
    with http.server.HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class TestWebhooks:
    async def test_the_end_is_told(self, at_once: Queue, receiver: str) -> None:
        webhooks = [
            Webhook(f"{receiver}/finished", "finished", method="POST"),
            Webhook(f"{receiver}/failed", "failed", method="POST"),
        ]
        job = await at_once.enqueue(here.add, 1, webhooks=webhooks)
        ((path, body),) = Receiver.received
        assert path == "/finished"
        assert (body["job_id"], body["func_name"], body["status"]) == (job.id, "here.add", "finished")
        assert body["ended_at"] == job.ended_at.isoformat() if job.ended_at else False
        Receiver.received.clear()
        job = await at_once.enqueue(here.fail, webhooks=webhooks)
        ((path, body),) = Receiver.received
        assert path == "/failed"
        assert body["exc_info"].endswith("ValueError: on purpose\n")

    async def test_trouble_changes_nothing(self, at_once: Queue, receiver: str, log: Log) -> None:  # noqa: F811
        hook = Webhook(f"{receiver}/broken", "finished", method="POST")
        job = await at_once.enqueue(here.add, 1, webhooks=[hook])
        assert job.is_finished
        assert log.count("its webhook to 127.0.0.1 failed: HTTPError") == 1


async def test_a_run_that_lost_its_place(connection: Redis, log: Log) -> None:  # noqa: F811
    """What was reaped meanwhile stays as it is."""
    queue = Queue(connection=connection)
    job = queue.create_job(here.add, (1,))
    new = queue._new(job, False)
    placed = await jobs.enqueue(queue.store, new)
    job.mark_placed("default", placed)
    await run_sync(job, "0" * 32)
    assert (job.status, job.worker_name) == (JobStatus.QUEUED, None)
    assert await job.latest_result() is None
    assert log.count("is not recorded") == 1
