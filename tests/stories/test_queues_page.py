"""What RQ's page on queues shows of enqueueing, groups, queues themselves, and suspension."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import letters
import pytest
from redis.asyncio import Redis

from aiorq import Group, Job, JobStatus, Queue
from aiorq.decorators import job
from aiorq.errors import NoSuchGroupError
from aiorq.store.base import store_of
from aiorq.suspension import is_suspended, resume, suspend
from tests.execution.processes import Fifo
from tests.stories.conftest import Work, Works
from tests.worker.conftest import Log, result_of

LETTER = "Dear Bob, all is well here"


class TestEnqueueing:
    async def test_a_call_is_delayed(self, connection: Redis, work: Work, address: str) -> None:
        q = Queue(connection=connection)
        assert q.name == "default"

        job = await q.enqueue(letters.count_words_at, address)
        assert await job.return_value() is None
        assert await job.latest_result() is None

        await work(q)
        assert await job.return_value() == 10

    async def test_a_queue_of_any_name(self, connection: Redis, work: Work) -> None:
        """It is there from the first enqueue on."""
        assert await Queue.all(connection) == []
        q = Queue("low", connection=connection)
        job = await q.enqueue(letters.count_words, LETTER)
        assert await Queue.all(connection) == [q]
        assert job.origin == "low"

        assert not await work(Queue(connection=connection))
        assert await job.get_status() is JobStatus.QUEUED
        await work(q)
        assert await job.return_value() == 6

    async def test_arguments_that_are_named_like_options(self, connection: Redis, work: Work) -> None:
        q = Queue("low", connection=connection)
        job = await q.enqueue(
            letters.label, ttl=30, args=(LETTER,), kwargs={"description": "Function description", "ttl": 15}
        )
        assert job.ttl == 30
        assert 29 <= await connection.ttl(job.key) <= 30
        assert job.description == f"letters.label({LETTER!r}, description='Function description', ttl=15)"
        await work(q)
        assert await job.return_value() == f"{LETTER}: Function description, 15"

    async def test_a_function_by_its_name(self, connection: Redis, work: Work, tmp_path: Path) -> None:
        """Which whoever enqueues it cannot import."""
        package = tmp_path / "their_package"
        package.mkdir()
        (package / "their_module.py").write_text("def multiply(left, right):\n    return left * right\n")
        q = Queue("low", connection=connection)
        job = await q.enqueue("their_package.their_module.multiply", 3, 4)
        assert job.func_name == "their_package.their_module.multiply"
        await work(q, path=str(tmp_path))
        assert await job.return_value() == 12

    async def test_functions_of_main_are_refused(self, queue: Queue) -> None:
        def greet() -> None: ...

        greet.__module__ = "__main__"
        with pytest.raises(ValueError, match="__main__"):
            await queue.enqueue(greet)
        assert await queue.is_empty()


class TestOptions:
    @pytest.mark.parametrize(
        ("given", "seconds"), [(2, 2), ("2", 2), ("1h", 3600), ("3m", 180), ("5s", 5), (None, 180), (-1, -1)]
    )
    async def test_job_timeout(self, queue: Queue, given: Any, seconds: int) -> None:
        job = await queue.enqueue(letters.greet, job_timeout=given)
        assert (await Job.fetch(job.id, queue.connection)).timeout == seconds

    async def test_they_are_not_arguments(self, queue: Queue) -> None:
        parent = await queue.enqueue(letters.greet)
        job = await queue.enqueue(
            letters.label,
            LETTER,
            job_timeout=2,
            result_ttl=60,
            ttl=70,
            failure_ttl=80,
            depends_on=parent,
            job_id="an-id",
            at_front=True,
            description="a text for people",
            on_success=letters.report_success,
            on_failure=letters.report_failure,
            on_stopped=letters.report_stopped,
        )
        job = await Job.fetch("an-id", queue.connection)
        assert (job.args, job.kwargs) == ((LETTER,), {})
        assert (job.timeout, job.result_ttl, job.ttl, job.failure_ttl) == (2, 60, 70, 80)
        assert job.description == "a text for people"
        assert job.dependency_ids == [parent.id]
        assert job.success_callback_name == "letters.report_success"
        assert job.failure_callback_name == "letters.report_failure"
        assert job.stopped_callback_name == "letters.report_stopped"

    async def test_at_front(self, queue: Queue) -> None:
        first = await queue.enqueue(letters.greet)
        last = await queue.enqueue(letters.greet)
        urgent = await queue.enqueue(letters.greet, at_front=True)
        assert await queue.get_job_ids() == [urgent.id, first.id, last.id]

    async def test_what_waited_longer_than_its_ttl_is_dropped(self, queue: Queue, work: Work) -> None:
        patient = await queue.enqueue(letters.greet)
        job = await queue.enqueue(letters.greet, ttl=43)
        assert patient.ttl is None
        assert await queue.connection.ttl(patient.key) == -1
        assert 42 <= await queue.connection.ttl(job.key) <= 43

        await queue.connection.pexpireat(job.key, 1)  # its time is over
        await work(queue)
        assert not await Job.exists(job.id, queue.connection)
        assert await queue.is_empty()
        assert await patient.return_value() == "good morning"

    async def test_how_long_jobs_are_kept(self, queue: Queue, work: Work) -> None:
        """500 seconds when they succeed, a year when they fail."""
        done, failed = await queue.enqueue(letters.greet), await queue.enqueue(letters.divide_by_zero, 1)
        await work(queue)
        assert 495 <= await queue.connection.ttl(done.key) <= 500
        assert 365 * 86_400 - 5 <= await queue.connection.ttl(failed.key) <= 365 * 86_400


class TestBulk:
    async def test_many_at_once(self, connection: Redis, work: Work, address: str) -> None:
        q = Queue(connection=connection)
        jobs = await q.enqueue_many(
            [
                Queue.prepare_data(letters.count_words_at, (address,), job_id="my_job_id"),
                Queue.prepare_data(letters.count_words_at, (address,), job_id="my_other_job_id"),
            ]
        )
        assert [job.id for job in jobs] == await q.get_job_ids() == ["my_job_id", "my_other_job_id"]
        await work(q)
        assert [await job.return_value() for job in jobs] == [10, 10]

    async def test_in_a_pipeline_of_the_callers(self, connection: Redis, work: Work) -> None:
        q = Queue(connection=connection)
        async with q.connection.pipeline() as pipe:
            jobs = await q.enqueue_many(
                [
                    Queue.prepare_data(letters.count_words, ("one",), job_id="my_job_id"),
                    Queue.prepare_data(letters.count_words, ("one two",), job_id="my_other_job_id"),
                ],
                pipeline=pipe,
            )
            assert await connection.keys() == []
            await pipe.execute()
        assert [job.id for job in jobs] == await q.get_job_ids() == ["my_job_id", "my_other_job_id"]
        await work(q)
        assert [await job.return_value() for job in jobs] == [1, 2]

    async def test_all_options(self, queue: Queue) -> None:
        parent = await queue.enqueue(letters.greet)
        data = Queue.prepare_data(
            letters.label,
            (LETTER,),
            {"ttl": 1},
            timeout="1m",
            result_ttl=60,
            ttl=70,
            failure_ttl=80,
            description="a text for people",
            depends_on=parent,
            job_id="an-id",
            at_front=True,
            meta={"to": "Bob"},
            on_success=letters.report_success,
            on_failure=letters.report_failure,
            on_stopped=letters.report_stopped,
        )
        await queue.enqueue_many([data])
        job = await Job.fetch("an-id", queue.connection)
        assert (job.args, job.kwargs, job.meta) == ((LETTER,), {"ttl": 1}, {"to": "Bob"})
        assert (job.timeout, job.result_ttl, job.ttl, job.failure_ttl) == (60, 60, 70, 80)
        assert (job.description, job.dependency_ids) == ("a text for people", [parent.id])
        assert job.success_callback_name == "letters.report_success"
        assert job.failure_callback_name == "letters.report_failure"
        assert job.stopped_callback_name == "letters.report_stopped"


class TestGroups:
    async def test_jobs_of_a_group(self, connection: Redis) -> None:
        group = Group.create(connection=connection)
        jobs = await group.enqueue_many(
            queue=Queue("my_queue", connection=connection),
            job_datas=[
                Queue.prepare_data(letters.count_words, (LETTER,), job_id="my_job_id"),
                Queue.prepare_data(letters.count_words, (LETTER,), job_id="my_other_job_id"),
            ],
        )
        assert await Queue("my_queue", connection=connection).get_job_ids() == ["my_job_id", "my_other_job_id"]
        assert set(await group.get_jobs()) == set(jobs) == {Job("my_job_id"), Job("my_other_job_id")}
        assert {job.group_id for job in await group.get_jobs()} == {group.name}

    async def test_an_existing_group(self, connection: Redis) -> None:
        with pytest.raises(NoSuchGroupError):
            await Group.fetch("my_group", connection=connection)
        made = Group.create(connection=connection, name="my_group")
        [job] = await made.enqueue_many(Queue(connection=connection), [Queue.prepare_data(letters.greet)])
        group = await Group.fetch("my_group", connection=connection)
        assert await group.get_jobs() == [job]

    async def test_a_group_without_jobs_is_gone(self, queue: Queue, work: Work) -> None:
        """Once all of them have been deleted, have expired, or were not to be kept."""
        group = Group.create(connection=queue.connection, name="my_group")
        deleted, expired, _ = await group.enqueue_many(
            queue, [Queue.prepare_data(letters.greet, result_ttl=result_ttl) for result_ttl in (500, 500, 0)]
        )
        await work(queue)
        await deleted.delete()
        assert await Group.all(queue.connection) == [group]
        await queue.connection.pexpireat(expired.key, 1)
        await Group.clean_registries(queue.connection)
        assert await Group.all(queue.connection) == []
        assert not await queue.connection.exists(group.key)
        with pytest.raises(NoSuchGroupError):
            await Group.fetch("my_group", connection=queue.connection)


class TestQueues:
    async def test_what_can_be_asked_of_a_queue(self, connection: Redis) -> None:
        q = Queue(connection=connection)
        first = await q.enqueue(letters.greet, job_id="my_id")
        second = await q.enqueue(letters.greet)
        await q.enqueue(letters.greet, depends_on=first)

        assert await q.count() == 2  # the deferred one is not among them

        assert await q.get_job_ids() == ["my_id", second.id]
        assert await q.get_jobs() == [first, second]
        assert await q.fetch_job("my_id") == first
        assert await q.fetch_job("another-id") is None

    async def test_emptying_and_deleting(self, connection: Redis, work: Work) -> None:
        q = Queue(connection=connection)
        jobs = [await q.enqueue(letters.greet) for _ in range(2)]
        await q.empty()
        assert await q.count() == 0
        assert await Job.fetch_many([job.id for job in jobs], connection) == [None, None]
        assert await Queue.all(connection) == [q]

        job = await q.enqueue(letters.greet)
        await q.delete(delete_jobs=True)
        assert not await Job.exists(job.id, connection)
        assert await Queue.all(connection) == []

        again = await q.enqueue(letters.greet)
        assert await Queue.all(connection) == [q]
        await work(q)
        assert await again.return_value() == "good morning"

    async def test_the_decorator(self, connection: Redis, work: Work) -> None:
        add = job("low", connection=connection, timeout=5)(letters.add)
        assert add(3, 4) == 7

        added = await add.delay(3, 4)
        assert (added.origin, added.timeout, added.args) == ("low", 5, (3, 4))
        await work(Queue("low", connection=connection))
        assert await added.return_value() == 7

    async def test_without_workers(self, connection: Redis) -> None:
        q = Queue("low", is_async=False, connection=connection)
        job = await q.enqueue(letters.fibonacci, 8)
        assert await job.return_value() == 21

        job = await q.enqueue(letters.process_id)
        assert await job.return_value() == os.getpid()

        job = await Job.fetch(job.id, connection)
        assert job.is_finished
        assert await q.finished_job_registry.contains(job)
        assert await q.count() == 0


class TestSuspension:
    async def test_no_worker_takes_jobs_until_they_resume(
        self, connection: Redis, at_work: Works, told: Fifo, gate: Fifo, log: Log
    ) -> None:
        """From whatever queue; what runs goes on to its end."""
        high, low = Queue("high", connection=connection), Queue("low", connection=connection)
        async with at_work(high, low, concurrency=2):
            running = await high.enqueue(letters.wait_at, told.path, gate.path)
            await told.line()

            await suspend(connection)
            assert await is_suspended(connection)
            jobs = [await queue.enqueue(letters.greet) for queue in (high, low)]
            await log.line("workers are suspended")
            gate.let()
            assert (await result_of(running)).return_value == "went on"
            assert [await job.get_status() for job in jobs] == [JobStatus.QUEUED] * 2

            await resume(connection)
            assert not await is_suspended(connection)
            assert [(await result_of(job)).return_value for job in jobs] == ["good morning"] * 2

    async def test_for_some_time(self, queue: Queue, at_work: Works, log: Log) -> None:
        await suspend(queue.connection, 300)
        assert 299 <= await queue.connection.ttl(store_of(queue.connection).keys.suspended) <= 300

        await suspend(queue.connection, 1)
        job = await queue.enqueue(letters.greet)
        async with at_work(queue):
            await log.line("workers are suspended")
            assert await job.get_status() is JobStatus.QUEUED
            assert (await result_of(job)).return_value == "good morning"
        assert not await is_suspended(queue.connection)
