"""Attempts of a job: those that it asks for itself, those that its exceptions allow, and what is logged of them."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from aiorq import JobStatus, Queue, Result, Worker
from aiorq.retry import Retry
from tests.worker.conftest import Log, result_of


class TestAskedFor:
    @pytest.mark.parametrize("function", ["give_ours", "give_theirs", "give_subclass"])
    async def test_until_it_fails(
        self, queue: Queue, make_worker: Callable[..., Worker], log: Log, function: str
    ) -> None:
        job = await queue.enqueue(f"again.{function}", max=2, interval=0)
        await make_worker().work(burst=True)
        assert (await result_of(job)).type is Result.Type.MAX_RETRIES_EXCEEDED
        assert await job.get_status() is JobStatus.FAILED
        assert log.count("asked for it after") == 2
        assert log.count("it asked to be tried again more than 2 times") == 1
        assert [result.type.name for result in await job.results()] == ["MAX_RETRIES_EXCEEDED", "RETRIED", "RETRIED"]

    async def test_later(self, queue: Queue, make_worker: Callable[..., Worker], log: Log) -> None:
        job = await queue.enqueue("again.give_ours", max=2, interval=[100, 200])
        await make_worker().work(burst=True)
        assert await job.get_status() is JobStatus.SCHEDULED
        assert log.count("it is tried again later") == 1
        seconds, _ = await queue.connection.time()
        score = await queue.connection.zscore("rq:scheduled:default", job.id)
        assert score is not None
        assert seconds + 90 < score <= seconds + 102

    async def test_callbacks_are_not_called(self, queue: Queue, make_worker: Callable[..., Worker], log: Log) -> None:
        job = await queue.enqueue(
            "again.give_ours", max=1, on_success="companions.success_failing", on_failure="companions.failure_failing"
        )
        await make_worker().work(burst=True)
        assert (await result_of(job)).type is Result.Type.MAX_RETRIES_EXCEEDED

    async def test_at_the_front(self, queue: Queue, make_worker: Callable[..., Worker]) -> None:
        job = await queue.enqueue("again.give_ours", max=1, enqueue_at_front=True)
        other = await queue.enqueue("jobs.nothing")
        await make_worker().work(max_jobs=1)
        assert await queue.get_job_ids() == [job.id, other.id]


class TestKinds:
    @pytest.mark.parametrize(
        ("retry", "function", "attempts"),
        [
            (Retry(max=2, retry_on=[ValueError]), "jobs.fail", 3),
            (Retry(max=2, retry_on=[Exception]), "jobs.fail", 3),
            (Retry(max=2, retry_on=[KeyError]), "jobs.fail", 1),
            (Retry(max=2, never=[ValueError]), "jobs.fail", 1),
            (Retry(max=2, retry_on="aiorq.errors.HorseTerminatedError"), "jobs.die", 3),
            (Retry(max=2, never="aiorq.errors.AiorqError"), "jobs.die", 1),
        ],
    )
    async def test_they_decide(
        self, queue: Queue, make_worker: Callable[..., Worker], log: Log, retry: Retry, function: str, attempts: int
    ) -> None:
        job = await queue.enqueue(function, retry=retry)
        await make_worker().work(burst=True)
        assert (await result_of(job)).type is Result.Type.FAILED
        assert log.count(f"{function} failed after") == attempts


async def test_the_number_of_the_attempt_is_logged(
    queue: Queue, make_worker: Callable[..., Worker], log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "aiorq")
    job = await queue.enqueue("jobs.fail", retry=Retry(max=2))
    await make_worker().work(burst=True)
    starts = [line for line in log.lines if line.startswith(f"default: jobs.fail ({job.id})")]
    assert starts == [f"default: jobs.fail ({job.id}){more}" for more in ("", ", attempt 2", ", attempt 3")]
    numbers = [getattr(record, "attempt", "") for record in caplog.records if "failed after" in record.getMessage()]
    assert numbers == ["", "2", "3"]
