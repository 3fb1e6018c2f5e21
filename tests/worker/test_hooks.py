"""What a worker has called around its jobs, in their processes, and what is known of jobs and queues there."""

from __future__ import annotations

import asyncio
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiorq import Job, JobStatus, Queue, Worker
from aiorq.callback import Callback
from aiorq.keys import Keys
from aiorq.worker.logs import set_up_logging
from tests.conftest import JOBS
from tests.execution.processes import Fifo
from tests.worker.conftest import FUNCTIONS, Log, result_of

SYNC = {"on_start": "start", "on_stop": "stop", "before_job": "before", "after_job": "after"}
ASYNC = {name: f"{hook}_async" for name, hook in SYNC.items()}


def hooks(names: dict[str, str]) -> dict[str, Any]:
    return {name: f"companions.{hook}" for name, hook in names.items()}


class TestAround:
    async def test_their_order(self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo) -> None:
        job = await queue.enqueue("companions.work", told.path, 5, on_success="companions.success")
        await make_worker(**hooks(SYNC)).work(burst=True)
        assert told.rest().splitlines() == [
            "start True",
            "before started",
            "success 5 finished started companions.work {}",
            "after finished None",
            "stop",
        ]
        assert await job.return_value() == 5

    async def test_around_a_failure(self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo) -> None:
        await queue.enqueue("companions.fail", told.path, on_failure="companions.failure")
        await make_worker(**hooks(SYNC), exception_handlers="companions.handle_last").work(burst=True)
        assert told.rest().splitlines() == [
            "start True",
            "before started",
            "failure failed builtins.ValueError on purpose with traceback",
            "handled last",
            "after failed ValueError('on purpose')",
            "stop",
        ]

    async def test_coroutines_share_an_event_loop(
        self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo
    ) -> None:
        """What one opened the job uses, and another one closes."""
        job = await queue.enqueue("companions.put_into_pool", told.path)
        await make_worker(**hooks(ASYNC)).work(burst=True)
        assert told.rest().splitlines() == ["start", "before started", "after finished None", "stop 1"]
        assert await job.get_status() is JobStatus.FINISHED

    @pytest.mark.parametrize(
        ("broken", "expected"),
        [
            ("on_start", ["failure failed builtins.OSError of the hook with traceback"]),
            ("before_job", ["start True", "failure failed builtins.OSError of the hook with traceback", "stop"]),
        ],
    )
    async def test_one_that_fails_before(
        self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo, broken: str, expected: list[str]
    ) -> None:
        """The job fails, and what was not entered is not left."""
        job = await queue.enqueue("companions.work", told.path, on_failure="companions.failure")
        await make_worker(**hooks({**SYNC, broken: "broken"})).work(burst=True)
        assert told.rest().splitlines() == expected
        assert "OSError: of the hook" in ((await result_of(job)).exc_string or "")

    async def test_the_timeout_of_the_job_holds_before(
        self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo
    ) -> None:
        job = await queue.enqueue("companions.work", told.path, job_timeout=1)
        await make_worker(**hooks({"before_job": "slow"})).work(burst=True)
        assert "the job ran longer than its timeout of 1 seconds" in ((await result_of(job)).exc_string or "")

    @pytest.mark.parametrize("function", ["work", "fail"])
    async def test_those_that_fail_afterwards(
        self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo, log: Log, function: str
    ) -> None:
        job = await queue.enqueue(f"companions.{function}", told.path)
        await make_worker(**hooks({"after_job": "broken", "on_stop": "broken"})).work(burst=True)
        for hook in ("after_job", "on_stop"):
            assert log.count(f"({job.id}): {hook} (companions.broken) raised OSError: of the hook") == 1
        await job.refresh()
        assert job.status is (JobStatus.FINISHED if function == "work" else JobStatus.FAILED)

    async def test_not_on_errands(self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo) -> None:
        await queue.enqueue("companions.die", told.path, on_failure=Callback("companions.failure"))
        await make_worker(**hooks(SYNC)).work(burst=True)
        assert [line.split()[0] for line in told.rest().splitlines()] == ["start", "before", "failure"]


class OwnQueue(Queue):
    """The class of an application's own."""


class TestClasses:
    async def test_of_jobs(self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo) -> None:
        job = await queue.enqueue("companions.describe", told.path)
        await make_worker(job_class="companions.OwnJob").work(burst=True)
        assert await job.return_value() == "OwnJob"

    async def test_the_usual_one(self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo) -> None:
        job = await queue.enqueue("companions.describe", told.path)
        await make_worker(job_class=Job).work(burst=True)
        assert await job.return_value() == "Job"

    async def test_one_that_is_none(self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo) -> None:
        job = await queue.enqueue("companions.describe", told.path)
        await make_worker(job_class="companions.work").work(burst=True)
        assert "companions.work, is no subclass of aiorq.Job" in ((await result_of(job)).exc_string or "")

    @pytest.mark.parametrize("dotted", [False, True])
    async def test_of_queues(self, queue: Queue, make_worker: Callable[..., Worker], dotted: bool) -> None:
        name = f"{OwnQueue.__module__}.{OwnQueue.__qualname__}"
        worker = make_worker([queue, "other"], queue_class=name if dotted else OwnQueue)
        first, second = worker.queues
        assert first is queue
        assert (type(second).__name__, second.name, second.serializer) == ("OwnQueue", "other", queue.serializer)
        assert worker.queue_names() == ["default", "other"]
        assert worker.queue_keys() == [Keys(None).queue("default"), "rq:queue:other"]

    def test_jobs_of_queues(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(FUNCTIONS)
        [queue] = Worker("other", job_class="companions.OwnJob").queues
        assert queue.job_class.__name__ == "OwnJob"


class TestLog:
    async def test_arguments_are_not_shown(self, queue: Queue, make_worker: Callable[..., Worker], log: Log) -> None:
        await queue.enqueue("jobs.echo", "password")
        await make_worker().work(burst=True)
        assert log.count("password") == 0
        assert log.count("default: jobs.echo (") == 1

    async def test_descriptions_are_if_asked_for(
        self, queue: Queue, make_worker: Callable[..., Worker], log: Log
    ) -> None:
        await queue.enqueue("jobs.echo", "word")
        await make_worker(log_job_description=True).work(burst=True)
        assert log.count("default: jobs.echo('word') (") == 1


class TestParameters:
    """Names of RQ's that change nothing here, or something else."""

    def test_they_are_taken(self) -> None:
        worker = Worker(default_worker_ttl=77, maintenance_interval=5, job_monitoring_interval=5)
        assert worker.options.worker_ttl == 77
        assert Worker(worker_ttl=66, default_worker_ttl=77).options.worker_ttl == 66
        assert Worker().options.worker_ttl == 420

    async def test_no_scheduler_is_needed(self, queue: Queue, make_worker: Callable[..., Worker], log: Log) -> None:
        await make_worker().work(burst=True, with_scheduler=True)
        assert log.count("with_scheduler is not needed") == 1

    @pytest.mark.parametrize(("level", "lines"), [("INFO", 4), ("warning", 1)])
    async def test_logging(self, queue: Queue, url: str, tmp_path: Path, level: str, lines: int) -> None:
        """A script that sets up no logging has it on the terminal."""
        await queue.enqueue("jobs.fail")
        body = (
            "import sys\n"
            f"sys.path.insert(0, {str(JOBS)!r})\n"
            "from aiorq import Worker\n"
            f"formats = {{'date_format': '%Y', 'log_format': '%(asctime)s: %(message)s'}}\n"
            f"Worker(connection={url!r}).run(burst=True, logging_level={level!r}, **formats)\n"
        )
        script = tmp_path / "script.py"
        script.write_text(body)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", str(script)), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = await process.communicate()
        assert err == b""
        assert len(out.splitlines()) == lines
        assert re.search(rb"^\d{4}: default: jobs.fail failed after", out, re.MULTILINE)

    async def test_logging_that_is_set_up(self, queue: Queue, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is left as it is, but for the level."""
        handlers = list(logging.getLogger("aiorq").handlers)
        set_up_logging("WARNING")
        assert logging.getLogger("aiorq").handlers == handlers
        assert logging.getLogger("aiorq").level == logging.WARNING
        with pytest.raises(ValueError, match="NONE"):
            set_up_logging("none")
