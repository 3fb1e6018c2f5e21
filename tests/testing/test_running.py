"""Running what is queued, in the test's process and in others."""

from __future__ import annotations

import asyncio
import os
import threading
from datetime import timedelta
from typing import Any

import jobs
import posts
import pytest
from redis.asyncio import Redis

from aiorq import Callback, Dependency, RateLimit, Repeat, Retry
from aiorq.suspension import suspend
from aiorq.testing import JobFailed, Sandbox


class TestHere:
    async def test_to_its_end(self, box: Sandbox) -> None:
        await box.queue("b").enqueue(posts.forward, "Ada")
        await box.queue("a").enqueue(posts.forward_of_sync, "Bob")
        ran = await box.work()
        assert [str(job.func_name) for job in ran] == [
            "posts.forward_of_sync",
            "posts.forward",
            "posts.stamp",
            "posts.write",
        ]
        assert all(job.is_finished for job in ran)
        assert [await job.return_value() for job in ran] == [None, None, "Bob, stamped", "Dear Ada"]
        assert await box.work() == []

    def test_to_its_end_without_a_loop(self, box: Sandbox) -> None:
        box.sync.queue("b").enqueue(posts.forward, "Ada")
        box.sync.queue("a").enqueue(posts.forward_of_sync, "Bob")
        ran = box.sync.work()
        assert [job.return_value() for job in ran] == [None, None, "Bob, stamped", "Dear Ada"]
        assert box.sync.work() == []

    async def test_coroutines_run_in_the_loop_of_the_test(self, box: Sandbox) -> None:
        await box.queue().enqueue(posts.loop_of_job)
        (job,) = await box.work()
        assert await job.return_value() == id(asyncio.get_running_loop())

    async def test_functions_run_where_they_may_block(self, box: Sandbox) -> None:
        await box.queue().enqueue(posts.where)
        await box.queue().enqueue(posts.run_a_loop)
        first, second = await box.work()
        assert await first.return_value() != threading.get_ident()
        assert await second.return_value() == "Dear Ada"

    def test_functions_run_in_the_thread_of_the_test(self, box: Sandbox) -> None:
        box.sync.queue().enqueue(posts.where)
        (job,) = box.sync.work()
        assert job.return_value() == threading.get_ident()

    async def test_with_the_context_of_the_test(self, box: Sandbox) -> None:
        token = posts.tenant.set("Ada")
        try:
            await box.queue().enqueue(posts.tenant_of_job)
            await box.queue().enqueue(posts.tenant_of_coroutine)
            assert [await job.return_value() for job in await box.work()] == ["Ada", "Ada"]
        finally:
            posts.tenant.reset(token)

    async def test_with_what_is_patched(self, box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        await posts.write_later("Ada")

        async def write(name: str) -> str:
            return f"no letter for {name}"

        monkeypatch.setattr(posts, "write", write)
        (job,) = await box.work()
        assert await job.return_value() == "no letter for Ada"

    async def test_queues_in_order(self, box: Sandbox) -> None:
        for name in ("a", "b", "c"):
            await box.queue(name).enqueue(posts.stamp, name)
        assert [job.origin for job in await box.work("c", "a")] == ["c", "a"]
        assert [job.origin for job in await box.work()] == ["b"]

    async def test_so_many(self, box: Sandbox) -> None:
        for number in range(3):
            await box.queue().enqueue(posts.stamp, f"{number}")
        assert [job.args for job in await box.work(max_jobs=2)] == [("0",), ("1",)]
        assert len(await box.work()) == 1

    async def test_callbacks(self, box: Sandbox, connection: Redis) -> None:
        job = await box.queue().enqueue(posts.stamp, "Ada", on_success=Callback(posts.done))
        await box.work()
        assert await connection.get(f"{job.key}:told") == b"Ada, stamped"

    async def test_dependencies_across_queues(self, box: Sandbox) -> None:
        parent = await box.queue("a").enqueue(posts.stamp, "Ada")
        await box.queue("b").enqueue(posts.write, "Bob", depends_on=parent)
        await box.queue("a").enqueue(posts.lose, "Eve", job_id="lost")
        await box.queue("c").enqueue(posts.write, "Tom", depends_on=Dependency("lost", allow_failure=True))
        assert [job.args[0] for job in await box.work(raises=False)] == ["Ada", "Eve", "Bob", "Tom"]
        for call in box.calls():
            job = await box.queue(call.queue).fetch_job(call.job_id)
            assert job is not None
            assert job.status.value == ("failed" if call.args == ("Eve",) else "finished")

    async def test_rate_limits(self, box: Sandbox) -> None:
        for _ in range(3):
            await box.queue().enqueue(posts.stamp, "Ada", rate_limit=RateLimit("post", 1))
        assert len(await box.work()) == 3

    async def test_suspended(self, box: Sandbox) -> None:
        await posts.write_later("Ada")
        await suspend(box.connection, prefix=box.prefix)
        assert await box.work() == []

    async def test_timeout(self, box: Sandbox) -> None:
        await box.queue().enqueue(posts.linger, job_timeout=1)
        with pytest.raises(JobFailed, match="the job ran longer than its timeout of 1 seconds"):
            await box.work()

    def test_timeout_in_the_main_thread(self, box: Sandbox) -> None:
        box.sync.queue().enqueue(jobs.sleep, 3600, job_timeout=1)
        with pytest.raises(JobFailed, match="the job ran longer than its timeout of 1 seconds"):
            box.sync.work()

    async def test_function_that_is_not_there(self, box: Sandbox) -> None:
        await box.queue().enqueue("posts.nowhere")
        with pytest.raises(JobFailed, match=r"FunctionNotFoundError: cannot import posts\.nowhere"):
            await box.work()

    async def test_job_that_cannot_be_read(self, box: Sandbox, connection: Redis) -> None:
        job = await posts.mail.enqueue(posts.write, "Ada")
        raw: Any = connection
        await raw.hset(job.key, "timeout", "soon")
        with pytest.raises(JobFailed, match=f"job {job.id}.* failed: CorruptJobError: .*timeout"):
            await box.work()


class TestFailures:
    @pytest.mark.parametrize("function", [posts.lose, posts.lose_in_loop])
    async def test_fail_the_test(self, box: Sandbox, function: Any) -> None:
        job = await box.queue().enqueue(function, "Ada")
        await box.queue().enqueue(posts.lose, "Bob")
        await posts.write_later("Eve")
        with pytest.raises(JobFailed) as caught:
            await box.work()
        name = f"posts.{function.__name__}"
        said = f"job {job.id}, {name}('Ada') on default, failed: LookupError: Ada has moved (and 1 more jobs failed)"
        assert str(caught.value).splitlines()[0] == said
        assert isinstance(caught.value.__cause__, LookupError)
        assert caught.value.job == job
        assert [failure.job.args for failure in caught.value.failures] == [("Ada",), ("Bob",)]
        assert await job.get_status() == "failed"
        assert box.assert_enqueued(posts.write).job_id  # and everything else has run
        assert await box.work() == []

    async def test_that_are_what_is_tested(self, box: Sandbox) -> None:
        await box.queue().enqueue(posts.lose, "Ada")
        (job,) = await box.work(raises=False)
        assert job.is_failed

    def test_without_a_loop(self, box: Sandbox) -> None:
        box.sync.queue().enqueue(posts.lose, "Ada")
        with pytest.raises(JobFailed, match="Ada has moved") as caught:
            box.sync.work()
        assert isinstance(caught.value.__cause__, LookupError)

    async def test_that_are_tried_again(self, box: Sandbox) -> None:
        await box.queue().enqueue(posts.third_time, "Ada", retry=Retry(max=2))
        ran = await box.work()
        assert [job.status.value for job in ran] == ["queued", "queued", "finished"]
        assert await ran[-1].return_value() == "Ada"

    async def test_returned_retry(self, box: Sandbox) -> None:
        posts.tried.clear()
        job = await box.queue().enqueue(posts.ask_again)
        assert len(await box.work()) == 2
        assert await job.return_value() == "done"

    async def test_returned_retry_too_often(self, box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(posts, "ask_again", lambda: Retry(max=1))
        await box.queue().enqueue("posts.ask_again")
        with pytest.raises(JobFailed, match="it asked to be tried again too often"):
            await box.work()

    async def test_not_kept(self, box: Sandbox) -> None:
        await box.queue().enqueue(posts.lose, "Ada", failure_ttl=0)
        (job,) = await box.work(raises=False)
        assert job.is_failed
        assert not await type(job).exists(job.id, box.connection, prefix=box.prefix)


class TestInForks:
    async def test_to_its_end(self, box: Sandbox) -> None:
        await box.queue().enqueue(jobs.pid)
        await box.queue().enqueue(posts.forward, "Ada")
        first, second, third = await box.work_in_forks()
        assert await first.return_value() not in (None, os.getpid())
        assert (second.func_name, third.func_name) == ("posts.forward", "posts.write")
        assert await third.return_value() == "Dear Ada"
        assert await box.work_in_forks("default") == []

    def test_to_its_end_without_a_loop(self, box: Sandbox) -> None:
        box.sync.queue().enqueue(jobs.pid)
        box.sync.queue().enqueue(posts.forward_of_sync, "Ada")
        first, second, third = box.sync.work_in_forks()
        assert first.return_value() not in (None, os.getpid())
        assert (second.func_name, third.return_value()) == ("posts.forward_of_sync", "Ada, stamped")

    async def test_failures(self, box: Sandbox) -> None:
        job = await box.queue().enqueue(posts.lose, "Ada")
        with pytest.raises(JobFailed, match=r"failed: LookupError: Ada has moved\n\nTraceback") as caught:
            await box.work_in_forks()
        assert caught.value.job == job
        await box.queue().enqueue(jobs.fail)
        (again,) = await box.work_in_forks(raises=False)
        assert again.is_failed

    async def test_crash(self, box: Sandbox) -> None:
        await box.queue().enqueue("os._exit", 3)
        with pytest.raises(JobFailed, match="exited with code 3 before the job had ended"):
            await box.work_in_forks()

    async def test_options_of_the_worker(self, box: Sandbox) -> None:
        await box.queue().enqueue(jobs.echo)
        (job,) = await box.work_in_forks(name="postman", default_result_ttl=7)
        assert job.worker_name == "postman"
        assert 0 < await box.connection.ttl(job.key) <= 7


class TestBeside:
    @pytest.mark.parametrize("forks", [False, True])
    async def test_works_within_the_block(self, box: Sandbox, forks: bool) -> None:
        async with box.worker(forks=forks):
            job = await box.queue().enqueue(jobs.pid)
            result = await box.wait_for_result(job)
        assert (result.return_value == os.getpid()) is not forks

    @pytest.mark.parametrize("forks", [False, True])
    def test_works_beside_what_blocks(self, box: Sandbox, forks: bool) -> None:
        with box.sync.worker("mail", forks=forks):
            job = posts.mail_of_sync.enqueue(jobs.pid)
            result = box.sync.wait_for_result(job)
        assert (result.return_value == os.getpid()) is not forks
        assert not [thread for thread in threading.enumerate() if "aiorq" in thread.name]

    async def test_repeats_by_the_clock(self, box: Sandbox) -> None:
        async with box.worker(reap_interval=600) as worker:
            job = await box.queue().enqueue(posts.stamp, "Ada", repeat=Repeat(times=1, interval=3600))
            await box.wait_for_status(job, "scheduled")
            box.clock.move(hours=1)
            await box.wait_for_status(job, "finished")
        assert worker.queue_names() == ["default"]

    async def test_wakes_for_what_is_due(self, box: Sandbox) -> None:
        async with box.worker(reap_interval=600):  # it does not look by itself, but as it begins
            await box.wait_for_result(await box.queue().enqueue(posts.stamp, "Bob"))
            job = await box.queue().enqueue_in(timedelta(days=1), posts.stamp, "Ada")
            box.clock.move(days=1)
            assert await box.wait_for_status(job, "finished") == "finished"
