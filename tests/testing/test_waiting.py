"""Waits with a limit, and what they say when it is over."""

from __future__ import annotations

import time

import jobs
import posts
import pytest

from aiorq import JobStatus, Retry
from aiorq.testing import Sandbox, WaitTimeout
from tests.execution.conftest import gate, told  # noqa: F401 - fixtures
from tests.execution.processes import Fifo


class TestStatus:
    async def test_that_is_there(self, box: Sandbox) -> None:
        job = await box.queue().enqueue(posts.stamp, "Ada")
        assert await box.wait_for_status(job, "queued", timeout=0) is JobStatus.QUEUED
        await box.work()
        assert await box.wait_for_status(job, JobStatus.FINISHED) is JobStatus.FINISHED
        assert job.is_finished

    def test_that_is_there_without_a_loop(self, box: Sandbox) -> None:
        job = box.sync.queue().enqueue(posts.stamp, "Ada")
        assert box.sync.wait_for_status(job, ["queued", "started"]) == "queued"

    async def test_that_comes(self, box: Sandbox, told: Fifo, gate: Fifo) -> None:  # noqa: F811
        async with box.worker(forks=True):
            job = await box.queue().enqueue("letters.wait_at", told.path, gate.path)
            assert await box.wait_for_status(job, "started") == "started"
            await told.pids()
            gate.let()
            assert await box.wait_for_status(job, {"finished", "failed"}) == "finished"

    async def test_of_another_run(self, box: Sandbox) -> None:
        """The outcome that is there is that of a former one."""
        job = await box.queue().enqueue(posts.stamp, "Ada", job_id="letter")
        await box.work()
        job = await box.queue().enqueue(posts.lose, "Ada", job_id="letter")
        async with box.worker():
            assert await box.wait_for_status(job, "failed") == "failed"

    async def test_that_does_not_come(self, box: Sandbox) -> None:
        await box.queue().enqueue(posts.stamp, "Bob")
        job = await box.queue().enqueue(posts.stamp, "Ada")
        began = time.monotonic()
        with pytest.raises(WaitTimeout) as caught:
            await box.wait_for_status(job, "finished", timeout=0.1)
        assert 0.1 <= time.monotonic() - began < 5
        assert str(caught.value) == (
            f"job {job.id}, posts.stamp('Ada'), which is queued, on queue default behind 1 others, "
            "with no workers on default, was to be finished and did not come to it within 0.1 s; seen: queued"
        )

    def test_that_does_not_come_without_a_loop(self, box: Sandbox) -> None:
        job = box.sync.queue().enqueue(posts.stamp, "Ada")
        with pytest.raises(WaitTimeout, match=r"queue default at its head, .* was to be failed or finished .* 0\.05 s"):
            box.sync.wait_for_status(job, ["finished", "failed"], timeout=0.05)

    async def test_that_cannot_come_any_more(self, box: Sandbox) -> None:
        job = await box.queue().enqueue(posts.lose, "Ada")
        async with box.worker():
            with pytest.raises(WaitTimeout, match=r"'LookupError: Ada has moved', was to be finished and has ended"):
                await box.wait_for_status(job, "finished", timeout=60)

    @pytest.mark.parametrize("options", [{"result_ttl": 0}, {}])
    async def test_of_a_job_that_goes(self, box: Sandbox, options: dict[str, int]) -> None:
        job = await box.queue().enqueue(posts.stamp, "Ada", **options)
        async with box.worker():
            with pytest.raises(WaitTimeout, match=r"seen: queued( -> started)? -> (gone|finished)$"):
                await box.wait_for_status(job, "failed", timeout=60)

    async def test_of_a_job_that_is_canceled_meanwhile(self, box: Sandbox) -> None:
        job = await box.queue().enqueue(posts.stamp, "Ada")
        async with box.worker("other"):
            await box.queue("other").enqueue("posts.cancel", job.id)
            with pytest.raises(WaitTimeout, match=r"seen: queued -> canceled$"):
                await box.wait_for_status(job, "finished", timeout=60)

    async def test_unknown_word(self, box: Sandbox) -> None:
        job = await box.queue().enqueue(posts.stamp, "Ada")
        with pytest.raises(ValueError, match="'done' is not a valid JobStatus"):
            await box.wait_for_status(job, "done")


class TestResult:
    async def test_comes(self, box: Sandbox) -> None:
        async with box.worker():
            job = await box.queue().enqueue(posts.third_time, "Ada", retry=Retry(max=2))
            assert (await box.wait_for_result(job)).return_value == "Ada"

    def test_comes_without_a_loop(self, box: Sandbox) -> None:
        with box.sync.worker():
            job = box.sync.queue().enqueue(jobs.add, 2, 3)
            assert box.sync.wait_for_result(job).return_value == 5

    async def test_does_not_come(self, box: Sandbox) -> None:
        job = await box.queue().enqueue(posts.stamp, "Ada", ttl=None)
        with pytest.raises(WaitTimeout, match=r"which is queued, .* had no result within 0\.05 s"):
            await box.wait_for_result(job, timeout=0.05)
        with pytest.raises(WaitTimeout, match=r"had no result within 0\.05 s"):
            box.sync.wait_for_result(box.sync.queue().enqueue(posts.stamp, "Bob"), timeout=0.05)
