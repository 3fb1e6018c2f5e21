"""The decorator `job`: functions that are enqueued by themselves."""

from __future__ import annotations

import asyncio
import inspect
import json
import pickle
import zlib
from typing import Any

import decorated
import pytest
import redis
import rq
from redis.asyncio import Redis

from aiorq import Job, JobStatus, Queue, Worker
from aiorq.callback import Callback
from aiorq.decorators import job
from aiorq.errors import DuplicateJobError
from aiorq.rate_limit import RateLimit
from aiorq.store.connection import shared_connection


@pytest.fixture
async def low(connection: Redis, url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The queue of the decorated functions, on the server of the environment."""
    monkeypatch.setenv("AIORQ_REDIS_URL", url)
    yield Queue("low", connection)
    await shared_connection(url).aclose()


class TestFunctions:
    def test_they_stay_what_they_are(self) -> None:
        assert decorated.add(1, 2) == 3
        assert decorated.add.__doc__ == "Add two numbers."
        assert inspect.isfunction(decorated.add)
        assert pickle.loads(pickle.dumps(decorated.add)) is decorated.add
        assert inspect.iscoroutinefunction(decorated.send)
        assert asyncio.run(decorated.send("ada", copy=True)) == ["ada", "ada"]

    def test_how_they_are_enqueued_says_what_they_take(self) -> None:
        enqueue: Any = decorated.add.enqueue
        assert decorated.add.delay is enqueue
        assert inspect.iscoroutinefunction(enqueue)
        assert str(inspect.signature(enqueue)) == "(left: 'int', right: 'int' = 1) -> 'int'"

    async def test_workers_find_them(self, low: Queue, connection: Redis, jobs_path: str) -> None:
        jobs: list[Job[Any]] = [await decorated.add.enqueue(1, right=2), await decorated.send.delay("ada")]
        await Worker(low, connection=connection, path=jobs_path).work(burst=True)
        assert [await each.return_value() for each in jobs] == [3, ["ada"]]

    async def test_so_do_those_of_rq(self, low: Queue, url: str) -> None:
        made = await decorated.add.enqueue(1, 2)
        client = redis.Redis.from_url(url)
        rq.SimpleWorker(["low"], connection=client).work(burst=True, logging_level="ERROR")
        client.close()
        assert await made.return_value() == 3


class TestOptions:
    async def test_defaults(self, low: Queue, connection: Redis) -> None:
        made = await decorated.add.enqueue(1)
        plain = await low.enqueue("decorated.add", 1)
        for field in ("timeout", "result_ttl", "ttl", "failure_ttl", "meta", "retries_left", "dependency_ids"):
            assert getattr(made, field) == getattr(plain, field)
        assert (made.origin, made.description) == ("low", "decorated.add(1)")
        assert await low.get_job_ids() == [made.id, plain.id]

    async def test_given_ones(self, low: Queue, connection: Redis) -> None:
        made = await Job.fetch((await decorated.send.enqueue("ada")).id, connection)
        assert (made.timeout, made.result_ttl, made.ttl, made.failure_ttl) == (120, -1, 3600, 60)
        assert (made.meta, made.description) == ({"kind": "mail"}, "a mail")
        await decorated.add.enqueue(1)
        often = await Job.fetch((await decorated.often.enqueue()).id, connection)
        assert await low.get_job_position(often) == 0
        assert (often.retries_left, often.retry_intervals) == (2, [1, 2])
        assert (often.repeats_left, often.repeat_intervals) == (3, [5])
        told = await Job.fetch((await decorated.told.enqueue()).id, connection)
        assert (told.success_callback_name, told.failure_callback_name) == ("here.on_success", "here.on_failure")
        assert (told.stopped_callback_name, told.on_lost) == ("here.on_stopped", "requeue")

    async def test_of_one_call(self, low: Queue, connection: Redis) -> None:
        first = await decorated.add.enqueue(1)
        made = await decorated.add.enqueue(2, job_id="mine", at_front=True)
        assert made.id == "mine"
        assert (made.args, made.kwargs) == ((2,), {})
        assert await low.get_job_ids() == ["mine", first.id]
        child = await decorated.add.enqueue(3, depends_on=made)
        assert (child.status, child.dependency_ids) == (JobStatus.DEFERRED, ["mine"])
        last = await decorated.often.enqueue(at_front=False)
        assert await low.get_job_position(last) == 2

    async def test_they_never_reach_the_function(self, low: Queue) -> None:
        """As in RQ; what the function itself calls `job_id` is given by position."""
        made = await decorated.after.enqueue(job_id="mine")
        assert (made.id, made.args, made.kwargs) == ("mine", (), {})
        made = await decorated.after.enqueue("by position")
        assert made.args == ("by position",)

    async def test_dependencies(self, low: Queue) -> None:
        await low.enqueue("decorated.add", 1, job_id="the-parent")
        await low.enqueue("decorated.add", 1, job_id="another")
        assert (await decorated.after.enqueue()).dependency_ids == ["the-parent"]
        assert (await decorated.after.enqueue(depends_on=[])).dependency_ids == ["the-parent"]
        assert (await decorated.after.enqueue(depends_on="another")).dependency_ids == ["another"]

    async def test_unique(self, low: Queue) -> None:
        with pytest.raises(ValueError, match="unique needs a job_id"):
            await decorated.single.enqueue(1)
        await decorated.single.enqueue(1, job_id="one")
        with pytest.raises(DuplicateJobError):
            await decorated.single.enqueue(1, job_id="one")
        assert await low.get_job_ids() == ["one"]

    async def test_a_queue_that_is_given(self, queue: Queue) -> None:
        decorator = job(queue, rate_limit=RateLimit("key", 1))
        add = decorator(decorated.another)
        assert (await add.enqueue()).origin == "default"
        assert (await add.enqueue()).status is JobStatus.RATE_LIMITED

    async def test_a_queue_by_name(self, connection: Redis) -> None:
        made: list[Queue] = []

        class OurQueue(Queue):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                made.append(self)

        decorator = job("named", connection, queue_class=OurQueue, serializer="json", prefix="other")
        enqueued = await decorator(decorated.another).enqueue()
        (queue,) = made
        assert (queue.name, queue.connection, queue.key) == ("named", connection, "other:queue:named")
        assert await queue.get_job_ids() == [enqueued.id]
        assert json.loads(zlib.decompress(enqueued.data))[0] == "decorated.another"

    async def test_a_subclass_with_a_queue_class(self) -> None:
        class OurQueue(Queue):
            pass

        class our_job(job):  # noqa: N801
            queue_class = OurQueue

        assert our_job("name").queue_class is OurQueue
        assert our_job("name", queue_class=Queue).queue_class is Queue


class TestMistakes:
    """They are found where the function is decorated."""

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"timeout": 0}, "job_timeout"),
            ({"ttl": -1}, "ttl"),
            ({"retry": 3}, "retry must be a Retry"),
            ({"on_success": 3}, "on_success"),
            ({"unique": True, "depends_on": "one"}, "unique goes neither with"),
            ({"unique": True, "rate_limit": RateLimit("key", 1)}, "unique goes neither with"),
            ({"on_stopped": lambda: None}, "on_stopped"),
        ],
    )
    def test_options(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises((TypeError, ValueError), match=message):
            job("low", **options)

    async def test_what_workers_could_not_find(self, queue: Queue) -> None:
        @job(queue)
        def nested() -> None:
            pass

        with pytest.raises(ValueError, match="defined inside a function"):
            await nested.enqueue()

    def test_callbacks_with_their_own_time(self) -> None:
        assert job("low", on_success=Callback("here.on_success", 5))._options.callbacks()["success"].timeout == 5
