"""The clock that tests move."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import anyio
import letters
import posts
import pytest

from aiorq import Job, Repeat, Retry
from aiorq.cron import Cron, CronScheduler
from aiorq.store.base import store_of
from aiorq.store.sandbox import move_clock
from aiorq.sync.cron import CronScheduler as SyncCronScheduler
from aiorq.testing import Sandbox
from tests.execution.conftest import gate, told  # noqa: F401 - fixtures
from tests.execution.processes import Fifo


def near(moment: datetime, other: datetime) -> bool:
    return abs(moment - other) < timedelta(seconds=5)


class TestMoves:
    def test_goes_on(self, box: Sandbox) -> None:
        assert near(box.clock.now(), datetime.now(UTC))
        assert near(box.clock.move(hours=1, minutes=30), datetime.now(UTC) + timedelta(hours=1.5))
        first = box.clock.move(timedelta(days=2), hours=1)
        assert near(first, datetime.now(UTC) + timedelta(days=2, hours=2.5))
        assert box.clock.now() > first
        assert near(box.clock.move(timedelta(days=-2)), datetime.now(UTC) + timedelta(hours=2.5))
        assert repr(box.clock).startswith(f"<Clock {box.clock.now():%Y-%m-%dT%H:}")

    def test_to_a_moment(self, box: Sandbox) -> None:
        night = datetime(2040, 3, 25, 1, 59, 30, tzinfo=ZoneInfo("Europe/Berlin"))
        assert near(box.clock.move_to(night), night)
        past = datetime(2020, 1, 1, tzinfo=UTC)
        assert near(box.clock.move_to(past), past)
        local = datetime(2035, 1, 1, 12)
        assert near(box.clock.move_to(local), local.astimezone())

    def test_stands_still(self, box: Sandbox) -> None:
        moment = box.clock.stop()
        assert box.clock.now() == moment == box.clock.now()
        assert box.clock.move(hours=1) == moment + timedelta(hours=1) == box.clock.now()
        assert box.clock.move(hours=-1) == moment

    async def test_of_no_test(self, url: str) -> None:
        store = store_of(url, "rq")
        with pytest.raises(ValueError, match="only a prefix that begins with 'aiorq-test:' has a clock"):
            await move_clock(store, 1)
        await store.connection.aclose()


class TestWhatIsDue:
    async def test_scheduled(self, box: Sandbox) -> None:
        await posts.remind("Ada")
        await box.queue().enqueue_at(datetime.now(UTC) + timedelta(days=365), posts.stamp, "Bob")
        box.clock.move(minutes=59)
        assert await box.work() == []
        box.clock.move(minutes=1)
        assert [job.args for job in await box.work()] == [("Ada",)]
        box.clock.move(days=365)
        assert [job.args for job in await box.work()] == [("Bob",)]

    def test_scheduled_without_a_loop(self, box: Sandbox) -> None:
        queue = box.sync.queue()
        queue.enqueue_in(timedelta(hours=1), posts.stamp, "Ada")
        assert box.sync.work() == []
        box.clock.move(hours=1)
        (job,) = box.sync.work()
        assert job.return_value() == "Ada, stamped"
        assert job.ended_at is not None
        assert near(job.ended_at, box.clock.now())

    async def test_retries_with_intervals(self, box: Sandbox) -> None:
        job = await box.queue().enqueue(posts.third_time, "Ada", retry=Retry(max=2, interval=[60, 600]))
        seen = []
        for seconds in (0, 59, 1, 599, 1):
            box.clock.move(seconds=seconds)
            seen.append([ran.status.value for ran in await box.work()])
        assert seen == [["scheduled"], [], ["scheduled"], [], ["finished"]]
        assert await job.return_value() == "Ada"

    async def test_repeats(self, box: Sandbox) -> None:
        await box.queue().enqueue(posts.stamp, "Ada", repeat=Repeat(times=2, interval=3600))
        ran = [len(await box.work())]
        for _ in range(3):
            box.clock.move(hours=1)
            ran.append(len(await box.work()))
        assert ran == [1, 1, 1, 0]

    async def test_cron(self, box: Sandbox) -> None:
        night = datetime(2040, 3, 24, 12, tzinfo=ZoneInfo("Europe/Berlin"))
        box.clock.move_to(night)
        scheduler = CronScheduler(prefix=box.prefix)
        scheduler.register(posts.write, "mail", ("nightly",), cron="30 2 * * *", timezone="Europe/Berlin", name="n")
        await scheduler.put()
        assert await box.work() == []
        box.clock.move_to(datetime(2040, 3, 25, 3, 0, 1, tzinfo=ZoneInfo("Europe/Berlin")))  # there is no 2:30 that day
        assert [job.args for job in await box.work()] == [("nightly",)]
        (entry,) = await Cron(prefix=box.prefix).list()
        assert entry.next_enqueue_time == datetime(2040, 3, 26, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))

    def test_cron_without_a_loop(self, box: Sandbox) -> None:
        scheduler = SyncCronScheduler(box.sync.connection, prefix=box.prefix)
        scheduler.register(posts.stamp, "mail", ("hourly",), interval=3600)
        scheduler.put()
        assert len(box.sync.work()) == 1
        box.clock.move(minutes=59)
        assert box.sync.work() == []
        box.clock.move(minutes=1)
        assert len(box.sync.work()) == 1

    async def test_in_other_processes(self, box: Sandbox, jobs_path: str) -> None:
        """A command that the test starts goes by the same clock."""
        await posts.remind("Ada")
        command = [sys.executable, "-m", "aiorq", "worker", "--burst", "--quiet", "--path", jobs_path, "mail"]
        await anyio.run_process(command)
        box.assert_enqueued(posts.write)
        (job,) = [await Job.fetch(call.job_id, box.url, prefix=box.prefix) for call in box.calls()]
        assert job.is_scheduled
        box.clock.move(hours=1)
        await anyio.run_process(command)
        assert await job.get_status() == "finished"


class TestWhatExpires:
    async def test_results(self, box: Sandbox) -> None:
        kept = await box.queue().enqueue(posts.stamp, "Ada", result_ttl=-1)
        gone = await box.queue().enqueue(posts.stamp, "Bob", result_ttl=3600)
        await box.work()
        box.clock.move(minutes=59)
        assert await gone.return_value() == "Bob, stamped"
        assert 0 < await box.connection.ttl(gone.key) <= 60
        box.clock.move(minutes=2)
        assert await gone.get_status(refresh=False) == "queued"
        assert not await Job.exists(gone.id, box.url, prefix=box.prefix)
        assert await gone.latest_result() is None
        assert await kept.return_value() == "Ada, stamped"
        box.assert_enqueued(posts.stamp, args=["Bob"])

    async def test_time_that_a_job_may_wait(self, box: Sandbox) -> None:
        await box.queue().enqueue(posts.stamp, "Ada", ttl=60)
        box.clock.move(seconds=61)
        assert await box.work() == []
        assert await box.queue().count() == 0


@pytest.mark.parametrize("hours", [1, -1])
async def test_what_runs_meanwhile_runs_on(box: Sandbox, told: Fifo, gate: Fifo, hours: int) -> None:  # noqa: F811
    """Its worker keeps its lease, and is not taken for dead."""
    async with box.worker(forks=True, lease=1.0, reap_interval=0.05):
        job = await box.queue().enqueue(letters.wait_at, told.path, gate.path)
        await told.pids()
        box.clock.move(hours=hours)
        # Who looks after dead workers has looked when a job of that time has run.
        async with box.worker("other", reap_interval=0.05):
            await box.wait_for_status(await box.queue("other").enqueue(posts.stamp, "Ada"), "finished")
        assert await job.get_status() == "started"
        gate.let()
        assert await box.wait_for_status(job, "finished") == "finished"
    assert [attempt.outcome for attempt in await job.attempts()] == ["successful"]
