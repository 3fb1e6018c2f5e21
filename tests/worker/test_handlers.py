"""Exception handlers, and the one of lost processes: where they are called, in which order, and what they change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from aiorq import JobStatus, Queue, Worker
from aiorq.execution.forking import ZygoteError
from aiorq.retry import Retry
from aiorq.server import EmbeddedServer
from aiorq.store import runs
from aiorq.store.base import store_of
from tests.execution.processes import Fifo
from tests.worker.conftest import Log, Script, result_of, working

HANDLE = "companions.handle"
LATER = "companions.handle_async"
LAST = "companions.handle_last"
FAILING = "companions.handle_failing"


class TestHandlers:
    @pytest.mark.parametrize(
        ("handlers", "expected"),
        [
            (HANDLE, ["handled ValueError on purpose with traceback"]),
            ([HANDLE, LATER], ["handled ValueError on purpose with traceback", "handled later ValueError"]),
            ([LAST, HANDLE], ["handled last"]),
            ((LATER, LAST, HANDLE), ["handled later ValueError", "handled last"]),
        ],
    )
    async def test_their_order(
        self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo, handlers: Any, expected: list[str]
    ) -> None:
        """A value that is false and not None ends the chain."""
        job = await queue.enqueue("companions.fail", told.path)
        await make_worker(exception_handlers=handlers).work(burst=True)
        assert told.rest().splitlines() == expected
        assert "ValueError: on purpose" in ((await result_of(job)).exc_string or "")
        assert await queue.connection.zscore("rq:failed:default", job.id) is not None

    async def test_a_job_that_succeeds(self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo) -> None:
        job = await queue.enqueue("companions.work", told.path, 3)
        await make_worker(exception_handlers=[HANDLE]).work(burst=True)
        assert await job.return_value() == 3
        assert told.rest() == ""

    async def test_after_the_callback(self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo) -> None:
        """With what the callback raised."""
        await queue.enqueue("companions.fail", told.path, on_failure="companions.failure_failing", retry=Retry(max=1))
        await make_worker(exception_handlers=[HANDLE]).work(burst=True)
        expected = ["failure", "handled RuntimeError instead of it with traceback"]
        assert told.rest().splitlines() == 2 * expected

    async def test_what_one_raises_is_logged(
        self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo, log: Log
    ) -> None:
        job = await queue.enqueue("companions.fail", told.path)
        await make_worker(exception_handlers=[FAILING, HANDLE]).work(burst=True)
        said = f"({job.id}): the exception handler {FAILING} raised LookupError: of the handler"
        assert log.count(said) == 1
        assert told.rest() == "handled ValueError on purpose with traceback\n"
        assert "ValueError: on purpose" in ((await result_of(job)).exc_string or "")

    async def test_a_lost_process(self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo) -> None:
        await queue.enqueue("companions.leave", told.path, 3, on_failure="companions.failure")
        await make_worker(exception_handlers=[FAILING, HANDLE]).work(burst=True)
        text = "the process that ran the job exited with code 3 before the job had ended without traceback"
        assert told.rest().splitlines() == [
            f"failure failed aiorq.errors.HorseTerminatedError {text}",
            f"handled HorseTerminatedError {text}",
        ]

    async def test_a_lost_worker(
        self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo, connection: Redis
    ) -> None:
        await queue.enqueue("companions.work", told.path)
        store = store_of(connection)
        [claimed] = await runs.claim(store, "lost", ["default"], 1, 1) or []
        await runs.begins(store, "lost", claimed.run, runs.send_begin(store, "lost", claimed.run, lambda: None))
        async with working(make_worker(reap_interval=0.05, exception_handlers=[HANDLE])):
            assert (await told.line()).startswith("handled AbandonedJobError the job was lost with worker 'lost'")

    async def test_push_and_pop(self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo) -> None:
        worker = make_worker(exception_handlers=[LAST])
        worker.push_exc_handler(HANDLE)
        assert worker.pop_exc_handler() == HANDLE
        assert worker.pop_exc_handler() == LAST
        with pytest.raises(IndexError):
            worker.pop_exc_handler()
        worker.push_exc_handler(LATER)
        await queue.enqueue("companions.fail", told.path)
        await worker.work(burst=True)
        assert told.rest() == "handled later ValueError\n"

    async def test_not_listed(self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo) -> None:
        jobs = [await queue.enqueue(f"companions.{name}", told.path) for name in ("fail", "die")]
        await make_worker(disable_default_exception_handler=True).work(burst=True)
        for job in jobs:
            assert await job.get_status() is JobStatus.FAILED
        assert await queue.connection.exists("rq:failed:default") == 0


class TestNames:
    @pytest.mark.parametrize(
        ("handler", "error", "text"),
        [
            (lambda *_: None, ValueError, "has no name by which"),
            (Log().count, ValueError, "has no name by which"),
            ("no name", ValueError, "is not the dotted name"),
            (3, TypeError, "must be a function or its dotted name"),
        ],
    )
    def test_what_nobody_could_find(self, handler: Any, error: type[Exception], text: str) -> None:
        with pytest.raises(error, match=text):
            Worker(exception_handlers=[handler])
        with pytest.raises(error, match="before_job.*" + text):
            Worker(before_job=handler)

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("companions.nobody", "cannot use companions.nobody as exception_handlers: FunctionNotFoundError"),
            ("companions.POOL", "cannot use companions.POOL as exception_handlers: TypeError: it is a dict"),
            ("__main__.handle", "cannot use __main__.handle as exception_handlers: the process that forks jobs"),
        ],
    )
    async def test_what_is_not_there(
        self, queue: Queue, make_worker: Callable[..., Worker], name: str, text: str
    ) -> None:
        with pytest.raises(ZygoteError, match=text):
            await make_worker(exception_handlers=name).work(burst=True)

    async def test_a_function_of_the_script(
        self, queue: Queue, url: str, run_script: Callable[[str], Script], told: Fifo
    ) -> None:
        """It is there in the processes that are forked from the script's own."""
        await queue.enqueue("companions.fail", told.path)
        script = run_script(
            "from companions import tell\n"
            "def handle(job, kind, value, traceback):\n"
            "    tell(job, f'{__name__} {kind.__name__}')\n"
            f"Worker(connection={url!r}, exception_handlers=[handle]).run(burst=True)\n"
        )
        assert await told.line() == "__main__ ValueError"
        assert (await script.end())[0] == 0

    async def test_a_function_of_the_script_is_gone(
        self, queue: Queue, server: EmbeddedServer, run_script: Callable[[str], Script], told: Fifo
    ) -> None:
        """A new process that forks jobs would not have it: the worker ends rather than do without."""
        await queue.enqueue("companions.tell_parent", told.path)
        script = run_script(
            "def handle(job, kind, value, traceback):\n"
            "    pass\n"
            f"Worker(connection={server.url!r}, exception_handlers=[handle]).run()\n"
        )
        [zygote] = await told.pids()
        await script.line("finished")
        zygote.kill()
        await script.line("jobs cannot be run any more: cannot use __main__.handle as exception_handlers")
        code, printed = await script.end()
        assert code == 1
        assert "UnreachableError" in printed


class TestLostProcesses:
    @pytest.mark.parametrize(("function", "args", "status"), [("leave", [3], 3 << 8), ("die", [], 9)])
    async def test_it_is_called(
        self,
        queue: Queue,
        make_worker: Callable[..., Worker],
        told: Fifo,
        function: str,
        args: list[int],
        status: int,
    ) -> None:
        await queue.enqueue(f"companions.{function}", told.path, *args, on_failure="companions.failure")
        await make_worker(work_horse_killed_handler="companions.killed").work(burst=True)
        first, second = told.rest().splitlines()
        assert first == f"killed True {status} True struct_rusage"
        assert second.startswith("failure failed aiorq.errors.HorseTerminatedError")

    async def test_a_job_that_raises(self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo) -> None:
        job = await queue.enqueue("companions.fail", told.path)
        await make_worker(work_horse_killed_handler="companions.killed").work(burst=True)
        assert told.rest() == ""
        assert await job.get_status() is JobStatus.FAILED

    async def test_a_stopped_job(
        self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo, gate: Fifo
    ) -> None:
        job = await queue.enqueue("companions.meet", told.path, gate.path)
        async with working(make_worker(work_horse_killed_handler="companions.killed")):
            await told.pids()
            assert await job.stop() is JobStatus.STOPPED
        assert told.rest() == ""
