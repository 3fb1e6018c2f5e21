"""Jobs that wait for others: every form of `depends_on`, many at once, and what a job says of those around it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from aiorq import Job, JobStatus, Queue
from aiorq.dependency import Dependency
from aiorq.errors import DependencyCycleError, DuplicateJobError, InvalidJobOperation, NoSuchJobError
from aiorq.queue import EnqueueData
from tests.api.conftest import FakeWorker

jobs: Any = importlib.import_module("jobs")


@pytest.fixture
async def parents(queue: Queue) -> list[Job[Any]]:
    """Two jobs of another queue, which run when a test says so."""
    other = Queue("parents", queue.connection)
    return [await other.enqueue("jobs.add", number, job_id=f"p{number}") for number in range(2)]


FORMS: dict[str, Callable[[Job[Any], Job[Any]], Any]] = {
    "job": lambda one, _: one,
    "id": lambda one, _: one.id,
    "Dependency": lambda one, _: Dependency(one),
    "Dependency of ids": lambda one, other: Dependency([one.id, other.id]),
    "list of jobs": lambda one, other: [one, other],
    "list of both": lambda one, other: [one, other.id],
    "tuple": lambda one, other: (one, other),
    "generator": lambda one, other: (each for each in (one, other)),
    "list with a Dependency": lambda one, other: [one, Dependency([other])],
    "Dependency of both": lambda one, other: Dependency((one, other.id)),
    "the same one twice": lambda one, other: [one, one.id, Dependency([one, other]), other],
}


class TestForms:
    @pytest.mark.parametrize("form", FORMS)
    async def test_waits_for_all(
        self, queue: Queue, connection: Redis, worker: FakeWorker, parents: list[Job[Any]], form: str
    ) -> None:
        job = await queue.enqueue("jobs.add", 1, depends_on=FORMS[form](*parents))
        named = 1 if form in {"job", "id", "Dependency"} else 2
        assert (job.status, job.enqueued_at) == (JobStatus.DEFERRED, None)
        assert job.dependency_ids == ["p0", "p1"][:named]
        same = await Job.fetch(job.id, connection)
        assert (same.status, same.dependency_ids) == (JobStatus.DEFERRED, job.dependency_ids)
        for parent in parents[:named]:
            assert await job.get_status() == "deferred"
            await worker.do(parent)
        assert await job.get_status() == "queued"
        assert await queue.get_job_ids() == [job.id]

    @pytest.mark.parametrize("nothing", [None, [], ()])
    async def test_nothing(self, queue: Queue, nothing: Any) -> None:
        job = await queue.enqueue("jobs.add", 1, depends_on=nothing)
        assert (job.status, job.dependency_ids) == (JobStatus.QUEUED, [])

    async def test_one_that_is_unknown_or_has_finished(
        self, queue: Queue, worker: FakeWorker, parents: list[Job[Any]]
    ) -> None:
        await worker.do(parents[0])
        job = await queue.enqueue("jobs.add", 1, depends_on=["unknown", parents[0]])
        assert (job.status, job.dependency_ids) == (JobStatus.QUEUED, ["unknown", "p0"])
        assert job.enqueued_at is not None

    @pytest.mark.parametrize("allow", [True, False])
    async def test_one_that_fails(self, queue: Queue, worker: FakeWorker, parents: list[Job[Any]], allow: bool) -> None:
        before = await queue.enqueue("jobs.add", 1, depends_on=Dependency(parents[0], allow_failure=allow))
        (run,) = await worker.take(1, "parents")
        await worker.fail(run)
        after = await queue.enqueue("jobs.add", 1, depends_on=Dependency(parents[0], allow_failure=allow))
        assert await before.get_status() == await after.get_status() == ("queued" if allow else "deferred")

    async def test_one_of_several_says_something_for_all(
        self, queue: Queue, worker: FakeWorker, parents: list[Job[Any]]
    ) -> None:
        first = await queue.enqueue("jobs.add", 1)
        waits = [Dependency(parents[0], allow_failure=True), Dependency(parents[1], enqueue_at_front=True)]
        job = await queue.enqueue("jobs.add", 1, depends_on=waits)
        assert (job.allow_dependency_failures, job.enqueue_at_front) == (True, True)
        for run in await worker.take(2, "parents"):
            await worker.fail(run)
        assert await queue.get_job_ids() == [job.id, first.id]

    async def test_at_the_front_when_it_goes_on(
        self, queue: Queue, worker: FakeWorker, parents: list[Job[Any]]
    ) -> None:
        """RQ forgets that it was asked for."""
        first = await queue.enqueue("jobs.add", 1)
        job = await queue.enqueue("jobs.add", 1, depends_on=parents[0], at_front=True)
        await worker.do(parents[0])
        assert await queue.get_job_ids() == [job.id, first.id]

    async def test_of_enqueue_call_create_and_create_job(
        self, queue: Queue, connection: Redis, parents: list[Job[Any]]
    ) -> None:
        one = await queue.enqueue_call("jobs.add", depends_on=parents)
        two = await queue.enqueue_job(queue.create_job("jobs.add", depends_on=parents))
        made = Job.create("jobs.add", depends_on=Dependency(parents, allow_failure=True), connection=connection)
        three = await queue.enqueue_job(made)
        four = await queue.options(depends_on=parents).enqueue(jobs.add, 1)
        for job in (one, two, three, four):
            assert (job.status, job.dependency_ids) == (JobStatus.DEFERRED, ["p0", "p1"])
        assert made.allow_dependency_failures is True


class TestCycles:
    async def test_of_two(self, queue: Queue, connection: Redis, parents: list[Job[Any]]) -> None:
        await queue.enqueue("jobs.add", job_id="b", depends_on=parents[0])
        await queue.enqueue("jobs.add", job_id="a", depends_on="b")
        before = await connection.hgetall("rq:job:b")
        with pytest.raises(DependencyCycleError, match="'b' would wait for itself, or for a job that waits for it"):
            await queue.enqueue("jobs.add", job_id="b", depends_on="a")
        assert await connection.hgetall("rq:job:b") == before

    async def test_of_itself_through_an_attribute(self, queue: Queue, connection: Redis) -> None:
        job = await queue.enqueue("jobs.add", job_id="a")
        job.dependency_ids = ["a"]
        with pytest.raises(ValueError, match="would wait"):
            await queue.enqueue_job(job)
        assert await queue.get_job_ids() == ["a"]


def datas(**waits: list[str]) -> list[EnqueueData]:
    """One job for each name, which waits for the others of these names."""
    return [Queue.prepare_data("jobs.add", (1,), job_id=name, depends_on=after) for name, after in waits.items()]


class TestMany:
    @pytest.mark.parametrize("order", ["abcde", "edcba", "caebd", "bcdea"], ids=lambda order: f"order {order}")
    async def test_in_any_order(self, queue: Queue, worker: FakeWorker, order: str) -> None:
        waits: dict[str, list[str]] = {"a": [], "b": ["a"], "c": ["a", "b"], "d": [], "e": ["c", "d"]}
        made = await queue.enqueue_many(datas(**{name: waits[name] for name in order}))
        assert [job.id for job in made] == sorted(order, key=lambda name: (bool(waits[name]), order.index(name)))
        for job in made:
            assert job.status is (JobStatus.DEFERRED if waits[job.id] else JobStatus.QUEUED)
            assert await job.get_status() == job.status
            assert job.dependency_ids == waits[job.id]
        done: list[str] = []
        while ids := await queue.get_job_ids():
            (run,) = await worker.take()
            assert set(waits[run.job_id]) <= set(done)
            await worker.finish(run)
            done.append(ids[0])
        assert sorted(done) == sorted(order)

    async def test_order_is_that_of_rq(self, queue: Queue, worker: FakeWorker) -> None:
        """Without dependencies, then those that wait, then those whose dependencies are met."""
        await worker.do(await queue.enqueue("jobs.add", 1, job_id="done"))
        made = await queue.enqueue_many(datas(met=["done"], w1=["x"], x=[], free=[], met2=["unknown"], w2=["free"]))
        assert [job.id for job in made] == ["x", "free", "w1", "w2", "met", "met2"]
        assert [job.status for job in made] == ["queued", "queued", "deferred", "deferred", "queued", "queued"]
        assert await queue.get_job_ids() == ["x", "free", "met", "met2"]

    async def test_cycle_among_them(self, queue: Queue, connection: Redis) -> None:
        with pytest.raises(DependencyCycleError):
            await queue.enqueue_many(datas(free=[], a=["b"], b=["c"], c=["a"]))
        assert await connection.keys("*") == []

    async def test_cycle_with_one_that_is_there(self, queue: Queue, parents: list[Job[Any]]) -> None:
        await queue.enqueue_many(datas(b=["p0"], a=["b"]))
        with pytest.raises(DependencyCycleError):
            await queue.enqueue_many(datas(free=[], b=["a"]))
        assert await queue.get_job_ids() == ["free"]

    async def test_a_long_chain(self, queue: Queue) -> None:
        """Over several steps, the last one first."""
        waits = {f"job-{number}": [f"job-{number - 1}"] if number else [] for number in reversed(range(450))}
        told: list[int] = []
        made = await queue.enqueue_many(datas(**waits), progress=told.append)
        assert told == [100, 200, 300, 400, 450]
        assert [job.id for job in made if job.status is JobStatus.QUEUED] == ["job-0"]
        assert await queue.deferred_job_registry.count() == 449

    async def test_as_a_group(self, queue: Queue, connection: Redis) -> None:
        made = await queue.enqueue_many(datas(a=[], b=["a"]), group_id="g")
        assert {job.group_id for job in made} == {"g"}
        assert await connection.smembers("rq:group:g") == {b"a", b"b"}

    async def test_unique_ones(self, queue: Queue) -> None:
        """RQ's `prepare_data` does not know of it; what was said is not forgotten."""
        await queue.enqueue("jobs.add", 1, job_id="a")
        many = [queue.options(job_id=name, unique=True).prepare(jobs.add, 2) for name in "ab"]
        with pytest.raises(DuplicateJobError, match="'a' exists already"):
            await queue.enqueue_many(many)
        assert await queue.get_job_ids() == ["a", "b"]
        assert (await Job.fetch("a", queue.connection)).args == (1,)

    async def test_in_a_pipeline(self, queue: Queue, connection: Redis) -> None:
        async with connection.pipeline() as pipeline:
            made = await queue.enqueue_many(datas(b=["a"], a=[]), pipeline)
            assert [(job.id, job.status) for job in made] == [("a", "queued"), ("b", "deferred")]
            assert await connection.keys("*") == []
            await pipeline.execute()
        assert await queue.get_job_ids() == ["a"]
        assert await made[1].get_status() == "deferred"


class TestAround:
    """What a job says of those that it waits for, and that wait for it."""

    async def test_parents(self, queue: Queue, connection: Redis, parents: list[Job[Any]]) -> None:
        job = await queue.enqueue("jobs.add", 1, depends_on=["p1", "p0"])
        assert [parent.id for parent in await job.fetch_dependencies()] == ["p1", "p0"]
        first = await job.dependency()
        assert first is not None
        assert (first.id, first.status) == ("p1", JobStatus.QUEUED)
        await parents[1].delete()
        assert [parent.id for parent in await job.fetch_dependencies()] == ["p0"]
        assert await job.dependency() is None
        alone = await queue.enqueue("jobs.add", 1)
        assert (await alone.dependency(), await alone.fetch_dependencies()) == (None, [])

    async def test_children(self, queue: Queue, parents: list[Job[Any]]) -> None:
        for job_id in ("a", "b"):
            await queue.enqueue("jobs.add", 1, job_id=job_id, depends_on=parents[0])
        assert await parents[0].dependent_ids() == ["a", "b"]
        assert [job.id for job in await parents[0].dependents()] == ["a", "b"]
        assert (await parents[1].dependent_ids(), await parents[1].dependents()) == ([], [])

    @pytest.mark.parametrize("allow", [True, False])
    async def test_met(self, queue: Queue, worker: FakeWorker, parents: list[Job[Any]], allow: bool) -> None:
        waits = Dependency([*parents, "unknown"], allow_failure=allow)
        job = await queue.enqueue("jobs.add", 1, depends_on=waits)
        assert not await job.dependencies_are_met()
        await worker.do(parents[0])
        assert not await job.dependencies_are_met()
        (run,) = await worker.take(1, "parents")
        await worker.fail(run)
        assert await job.dependencies_are_met() == allow
        await parents[1].delete()
        assert await job.dependencies_are_met() == allow

    async def test_deleting_with_those_that_wait(
        self, queue: Queue, connection: Redis, parents: list[Job[Any]]
    ) -> None:
        one = await queue.enqueue("jobs.add", 1, depends_on=parents[0])
        two = await queue.enqueue("jobs.add", 1, depends_on=one)
        kept = await queue.enqueue("jobs.add", 1, depends_on=parents[1])
        await parents[0].delete(delete_dependents=True)
        assert [await Job.exists(job.id, connection) for job in (parents[0], one, two, kept)] == [False] * 3 + [True]
        await parents[1].delete_dependents()
        assert await Job.exists(parents[1].id, connection)
        assert not await Job.exists(kept.id, connection)

    async def test_deleting_lets_them_go_on(self, queue: Queue, parents: list[Job[Any]]) -> None:
        job = await queue.enqueue("jobs.add", 1, depends_on=parents[0])
        await parents[0].delete()
        assert await job.get_status() == "queued"

    async def test_emptying_the_queue_lets_them_go_on(self, queue: Queue, parents: list[Job[Any]]) -> None:
        job = await queue.enqueue("jobs.add", 1, depends_on=parents)
        assert await Queue("parents", queue.connection).empty() == 2
        assert await job.get_status() == "queued"


class TestCancelling:
    async def test_enqueues_them_if_it_is_to(self, queue: Queue, parents: list[Job[Any]]) -> None:
        job = await queue.enqueue("jobs.add", 1, depends_on=parents[0])
        other = await Queue("other", queue.connection).enqueue("jobs.add", 1, depends_on=parents[0])
        enqueued = await parents[0].cancel(enqueue_dependents=True)
        assert enqueued == {"default": [job.id], "other": [other.id]}
        assert parents[0].status is JobStatus.CANCELED
        assert await job.get_status() == await other.get_status() == "queued"

    async def test_does_not_otherwise(self, queue: Queue, parents: list[Job[Any]]) -> None:
        job = await queue.enqueue("jobs.add", 1, depends_on=parents[0])
        assert await parents[0].cancel() == {}
        assert await job.get_status() == "deferred"
        with pytest.raises(InvalidJobOperation, match="canceled already"):
            await parents[0].cancel(enqueue_dependents=True)

    async def test_one_that_waits(self, queue: Queue, worker: FakeWorker, parents: list[Job[Any]]) -> None:
        job = await queue.enqueue("jobs.add", 1, depends_on=parents[0])
        await job.cancel(remove_from_dependencies=True)
        assert await parents[0].dependent_ids() == []
        await worker.do(parents[0])
        assert await job.get_status() == "canceled"

    async def test_in_a_pipeline(self, queue: Queue, connection: Redis, parents: list[Job[Any]]) -> None:
        job = await queue.enqueue("jobs.add", 1, depends_on=parents[0])
        async with connection.pipeline() as pipeline:
            assert await parents[0].cancel(pipeline, enqueue_dependents=True) == {}
            assert await job.get_status() == "deferred"
            (reply,) = await pipeline.execute()
        assert reply == [b"ok", b"default", job.id.encode()]
        assert await job.get_status() == "queued"


async def test_parent_that_fails_and_is_requeued(queue: Queue, worker: FakeWorker, parents: list[Job[Any]]) -> None:
    job = await queue.enqueue("jobs.add", 1, depends_on=parents[0])
    run, _ = await worker.take(2, "parents")
    await worker.fail(run)
    assert await job.get_status() == "deferred"
    assert await parents[0].requeue() is parents[0]
    await worker.do(parents[0])
    assert await job.get_status() == "queued"


async def test_of_a_job_that_is_gone(connection: Redis) -> None:
    job = Job[Any]("a", connection)
    assert (await job.dependent_ids(), await job.dependents(), await job.fetch_dependencies()) == ([], [], [])
    assert await job.dependencies_are_met()
    with pytest.raises(NoSuchJobError):
        await job.requeue()
