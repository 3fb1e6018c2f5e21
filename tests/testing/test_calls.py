"""What was enqueued: lists and assertions."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import posts
import pytest
from redis.asyncio import Redis

from aiorq import Queue
from aiorq.cron import CronScheduler
from aiorq.testing import Calls, Sandbox


def names(calls: Calls) -> list[str]:
    return [call.func_name for call in calls]


async def test_what_the_code_under_test_enqueues(box: Sandbox) -> None:
    await posts.write_later("Ada")
    posts.stamp_later("Bob")
    call = box.assert_enqueued(posts.write, args=["Ada"], kwargs={}, queue="mail")
    assert (call.func_name, call.args, call.kwargs, call.queue, call.at) == ("posts.write", ("Ada",), {}, "mail", None)
    assert box.assert_enqueued("posts.stamp", args="Bob", count=1).status == "queued"
    assert names(box.calls()) == ["posts.write", "posts.stamp"]


@pytest.mark.parametrize(
    "wish",
    [
        {"func": posts.stamp},
        {"args": ["Bob"]},
        {"args": []},
        {"args": ["Ada", "Bob"]},
        {"kwargs": {"greeting": "Dear"}},
        {"queue": "default"},
        {"at": timedelta(hours=1)},
        {"count": 2},
    ],
)
async def test_what_is_not_there(box: Sandbox, wish: dict[str, Any]) -> None:
    await posts.write_later("Ada")
    with pytest.raises(AssertionError, match=r"such calls? w(as|ere) enqueued") as caught:
        box.assert_enqueued(**wish)
    assert str(caught.value).endswith("enqueued, in order:\n  1. posts.write('Ada') on mail")


def test_message_says_what_was_asked_for(box: Sandbox) -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    asked = (
        "a call of posts.write, args=('Ada',), kwargs={'greeting': 'Hi'}, queue='mail', at=2030-01-01T00:00:00+00:00"
    )
    said = f"no such call was enqueued: {asked}\nnothing was enqueued"
    with pytest.raises(AssertionError, match=f"^{re.escape(said)}$"):
        box.assert_enqueued(posts.write, args=["Ada"], kwargs={"greeting": "Hi"}, queue="mail", at=moment)
    with pytest.raises(ValueError, match="assert_nothing_enqueued"):
        box.assert_enqueued(count=0)


async def test_wrong_number(box: Sandbox) -> None:
    for _ in range(3):
        await posts.write_later("Ada")
    box.assert_enqueued(posts.write, count=3)
    with pytest.raises(AssertionError, match=r"3 such calls were enqueued, not 2: a call of posts\.write\n"):
        box.assert_enqueued(posts.write, count=2)


async def test_nothing(box: Sandbox) -> None:
    box.assert_nothing_enqueued()
    await posts.write_later("Ada")
    box.assert_nothing_enqueued(posts.stamp)
    box.assert_nothing_enqueued(posts.write, args=["Bob"])
    box.assert_nothing_enqueued(queue="default")
    wishes: list[dict[str, Any]] = [{}, {"func": posts.write}, {"queue": "mail"}, {"args": ["Ada"]}]
    for wish in wishes:
        with pytest.raises(
            AssertionError, match=r"should not have been enqueued: .*\nenqueued, in order:\n  1\. posts"
        ):
            box.assert_nothing_enqueued(**wish)


async def test_block(box: Sandbox) -> None:
    await posts.write_later("before")
    with box.enqueued() as calls:
        posts.stamp_later("first")
        await posts.write_later("second")
    await posts.write_later("after")
    assert [call.args for call in calls] == [("first",), ("second",)]
    calls.assert_enqueued(posts.stamp)
    calls.assert_nothing_enqueued(args=["before"])
    with box.enqueued() as none:
        pass
    none.assert_nothing_enqueued()


class TestTime:
    async def test_from_now(self, box: Sandbox) -> None:
        await posts.remind("Ada")
        call = box.assert_enqueued(posts.write, at=timedelta(hours=1), kwargs={"greeting": "Once more,"})
        assert call.at is not None
        assert f"at {call.at.isoformat(timespec='milliseconds')}" in str(call)
        for other in (timedelta(hours=1, seconds=2), timedelta(minutes=59), call.at + timedelta(seconds=0.01)):
            with pytest.raises(AssertionError):
                box.assert_enqueued(at=other)

    async def test_moment(self, box: Sandbox) -> None:
        moment = datetime(2040, 2, 29, 12, 0, 0, 250_000, UTC)
        await box.queue().enqueue_at(moment, posts.write, "Ada")
        box.assert_enqueued(posts.write, at=moment)
        box.assert_enqueued(posts.write, at=moment.astimezone().replace(tzinfo=None))

    async def test_from_now_after_a_move(self, box: Sandbox) -> None:
        box.clock.move(days=3)
        await posts.remind("Ada")
        box.assert_enqueued(at=timedelta(hours=1))

    async def test_of_what_waits_for_others(self, box: Sandbox) -> None:
        queue = box.queue()
        parent = await queue.enqueue(posts.stamp, "Ada")
        moment = datetime(2040, 1, 1, tzinfo=UTC)
        await queue.enqueue_at(moment, posts.write, "Ada", depends_on=parent)
        assert box.assert_enqueued(posts.write, at=moment).status == "deferred"


class TestOrder:
    async def test_over_a_move_of_the_clock(self, box: Sandbox) -> None:
        """Jobs of cron have the time of the clock, others that of the machine."""
        scheduler = CronScheduler(prefix=box.prefix)
        scheduler.register(posts.write, "mail", ("hourly",), interval=3600)
        await scheduler.put()
        await box.work()
        await posts.write_later("between")
        box.clock.move(hours=1)
        await box.work()
        await posts.write_later("last")
        assert [call.args[0] for call in box.calls()] == ["hourly", "between", "hourly", "last"]

    async def test_of_many(self, box: Sandbox) -> None:
        datas = [Queue.prepare_data(posts.write, (f"{number}",)) for number in range(50)]
        await box.queue().enqueue_many(datas)
        assert [call.args[0] for call in box.calls()] == [f"{number}" for number in range(50)]


class TestWhatBecameOfThem:
    async def test_ran(self, box: Sandbox) -> None:
        await posts.write_later("Ada")
        await box.work()
        assert box.assert_enqueued(posts.write).status == "queued"

    async def test_not_kept(self, box: Sandbox) -> None:
        await box.queue().enqueue(posts.forward, "Ada", result_ttl=0)
        await box.work()
        assert names(box.calls()) == ["posts.forward", "posts.write"]
        await box.queue().enqueue(posts.write, "Bob", result_ttl=0)
        await box.work()
        assert names(box.calls()) == ["posts.forward", "posts.write", "posts.write"]

    async def test_same_id_again(self, box: Sandbox) -> None:
        for name in ("Ada", "Bob"):
            await box.queue().enqueue(posts.write, name, job_id="letter")
            await box.work()
        assert [call.args for call in box.calls()] == [("Ada",), ("Bob",)]

    async def test_requeued_is_no_new_call(self, box: Sandbox) -> None:
        job = await box.queue().enqueue(posts.lose, "Ada")
        await box.work(raises=False)
        await job.requeue()
        box.assert_enqueued(posts.lose, count=1)

    async def test_of_queues_that_run_at_once(self, box: Sandbox) -> None:
        await box.queue(is_async=False).enqueue(posts.write, "Ada")
        assert box.assert_enqueued(posts.write).status == "finished"


class TestKinds:
    async def test_method(self, box: Sandbox) -> None:
        await box.queue().enqueue(posts.Postman("the north").deliver, "Ada")
        call = box.assert_enqueued(posts.Postman("anywhere").deliver, args=["Ada"])
        assert str(call) == "Postman.deliver('Ada') on default"
        box.assert_nothing_enqueued("deliver")

    async def test_json(self, box: Sandbox) -> None:
        await box.queue(serializer="json").enqueue(posts.write, "Ada")
        await box.queue().enqueue(posts.write, "Bob")
        box.assert_enqueued(posts.write, args=["Ada"])
        assert [job.return_value for job in await box.work()]
        results = [await box.wait_for_result(job) for job in await self._jobs(box)]
        assert [result.return_value for result in results] == ["Dear Ada", "Dear Bob"]

    @staticmethod
    async def _jobs(box: Sandbox) -> list[Any]:
        return [
            await box.queue(serializer=kind).fetch_job(call.job_id)
            for kind, call in zip(("json", "pickle"), box.calls(), strict=True)
        ]

    async def test_that_cannot_be_read(self, box: Sandbox, connection: Redis) -> None:
        job = await box.queue().enqueue(posts.write, "Ada")
        raw: Any = connection
        await raw.hset(job.key, "data", b"\x80rubbish")
        with pytest.raises(AssertionError, match=f"1. a call that cannot be read \\({job.id}\\), on default"):
            box.assert_nothing_enqueued()

    async def test_what_is_no_job(self, box: Sandbox, connection: Redis) -> None:
        await connection.set(f"{box.prefix}:job:text", "no hash")
        await posts.write_later("Ada")
        box.assert_enqueued(count=1)
