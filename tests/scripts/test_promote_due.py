"""promote_due.lua: what is due on some queues is queued, the earliest first, some of it in each step."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from aiorq.store import jobs, schedule
from tests.scripts.conftest import NOON, Books, ClockedStore, Desk, changed

STAMP = "2026-01-02T12:00:30.250000Z"
"""Half a minute after noon."""


@pytest.fixture(autouse=True)
async def queues(books: Books) -> None:
    """The queues are known, as where something was enqueued."""
    await books.connection.sadd("rq:queues", "rq:queue:default", "rq:queue:other")


async def later(desk: Desk, job_id: str, seconds: float, queue: str = "default", **options: object) -> None:
    """A job that is due so many seconds after noon."""
    options.setdefault("wishes", {"at": NOON + seconds})
    assert await desk.place(job_id, queue, **options) == "scheduled"


async def promote(store: ClockedStore, *queues: str, most: int = 100) -> tuple[int, float]:
    moved, seconds = await schedule.promote_due(store, queues or ("default",), most)
    return moved, round(seconds, 6)


async def test_is_queued(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.enqueue("b")
    await later(desk, "a", 30)
    await store.set_clock(NOON + 30)
    before = await books.dump()
    assert await promote(store) == (1, math.inf)
    assert changed(before, await books.dump()) == {
        "rq:job:a": {"status": "queued", "enqueued_at": STAMP},
        "rq:queue:default": [b"b", b"a"],
        "rq:scheduled:default": None,
    }


async def test_nothing_scheduled(store: ClockedStore, books: Books) -> None:
    before = await books.dump()
    assert await promote(store, "default", "other") == (0, math.inf)
    assert await books.dump() == before


class TestTime:
    @pytest.mark.parametrize(
        ("seconds", "answer"),
        [(29.999999, (0, 0.000001)), (30, (1, math.inf)), (31, (1, math.inf)), (-3600, (0, 3630.0))],
    )
    async def test_not_before_its_time(
        self, store: ClockedStore, desk: Desk, books: Books, seconds: float, answer: tuple[int, float]
    ) -> None:
        await later(desk, "a", 30)
        await store.set_clock(NOON + seconds)
        before = await books.dump()
        assert await promote(store) == answer
        assert (await books.dump() == before) == (answer[0] == 0)

    async def test_the_next_one_of_all_queues(self, store: ClockedStore, desk: Desk) -> None:
        await later(desk, "a", 30)
        await later(desk, "b", 20.5, "other")
        await later(desk, "c", 10, "third")
        assert await promote(store, "default", "other") == (0, 20.5)
        assert await promote(store, "default") == (0, 30)
        await store.set_clock(NOON + 25)
        assert await promote(store, "default", "other") == (1, 5)

    async def test_clock_that_steps(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """Forward and back again: what was promoted stays so, and what was not is not due any more."""
        await later(desk, "a", 30)
        await later(desk, "b", 60)
        for seconds, answer, queued in (
            (-1000, (0, 1030.0), []),
            (29, (0, 1.0), []),
            (45, (1, 15.0), ["a"]),
            (-1000, (0, 1060.0), ["a"]),
            (45, (0, 15.0), ["a"]),
            (5000, (1, math.inf), ["a", "b"]),
            (10, (0, math.inf), ["a", "b"]),
            (70, (0, math.inf), ["a", "b"]),
        ):
            await store.set_clock(NOON + seconds)
            assert await promote(store) == answer
            assert await books.queue() == queued

    async def test_scores_that_are_no_time(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        for job_id in ("a", "b", "c"):
            await desk.put(job_id, "scheduled")
        await books.connection.zadd("rq:scheduled:default", {"a": "-inf", "b": "inf", "c": -1})
        assert await promote(store) == (2, math.inf)
        assert (await books.queue(), await books.registry("scheduled")) == (["a", "c"], {"b": math.inf})


class TestOrder:
    async def test_earliest_first_of_all_queues(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """Whatever the order of the queues, a step takes those that are due first."""
        seconds = random.Random(7).sample(range(1, 100), 60)
        for number, second in enumerate(seconds):
            await later(desk, f"j{second}", second, ("default", "other", "third")[number % 3])
        await store.set_clock(NOON + 100)
        seen: list[str] = []
        queued = [0, 0, 0]
        while True:
            moved, left = await promote(store, "other", "default", "third", most=7)
            step = []
            for index, name in enumerate(("default", "other", "third")):
                fresh = (await books.queue(name))[queued[index] :]
                assert fresh == sorted(fresh, key=lambda name: int(name[1:]))
                queued[index] += len(fresh)
                step += fresh
            assert len(step) == moved <= 7
            seen += sorted(step, key=lambda name: int(name[1:]))
            if left:
                break
            assert moved == 7
        assert seen == [f"j{second}" for second in sorted(seconds)]
        assert left == math.inf

    async def test_same_time(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        for job_id in ("c", "a", "b"):
            await later(desk, job_id, 1)
        await store.set_clock(NOON + 1)
        assert await promote(store) == (3, math.inf)
        assert await books.queue() == ["a", "b", "c"]  # as RQ, which reads them in this order

    async def test_many(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """A thousand in steps of a hundred: each once, in order, and the last step says that nothing is left."""
        moments = {f"j{number}": random.Random(number).random() for number in range(1000)}
        await jobs.enqueue_many(
            store, [desk.new(name, wishes={"at": NOON + 1 + second}) for name, second in moments.items()]
        )
        await store.set_clock(NOON + 2)
        answers = []
        for _ in range(20):
            answers.append(await promote(store))
            if answers[-1][1]:
                break
        assert answers == [*[(100, 0.0)] * 9, (100, math.inf)]
        assert await books.queue() == sorted(moments, key=moments.__getitem__)
        assert await books.registry("scheduled") == {}

    async def test_exactly_as_many_as_one_step_takes(self, store: ClockedStore, desk: Desk) -> None:
        for number in range(4):
            await later(desk, f"j{number}", 1 + number)
        await store.set_clock(NOON + 10)
        assert await promote(store, most=4) == (4, math.inf)

    async def test_at_the_front_where_it_says_so(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("x")
        for number, at_front in enumerate((False, True, True), start=1):
            await later(desk, f"j{number}", number)
            await books.connection.hset(f"rq:job:j{number}", "enqueue_at_front", int(at_front))
        await store.set_clock(NOON + 3)
        await promote(store)
        assert await books.queue() == ["j3", "j2", "x", "j1"]

    async def test_retry_that_is_for_the_front(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("x")
        await later(desk, "a", 1)
        await books.connection.hset("rq:job:a", mapping={"enqueue_at_front_on_retry": 1, "ended_at": STAMP})
        await store.set_clock(NOON + 3)
        await promote(store)
        assert await books.queue() == ["a", "x"]


async def test_time_to_wait_counts_from_now(store: ClockedStore, desk: Desk, books: Books) -> None:
    await later(desk, "a", 1, ttl=100)
    await books.connection.expire("rq:job:a", 1000)
    await store.set_clock(NOON + 1)
    await promote(store)
    assert 99 <= await books.ttl("rq:job:a") <= 100


async def test_queue_is_known(store: ClockedStore, desk: Desk, books: Books) -> None:
    await later(desk, "a", 1)
    await books.connection.delete("rq:queues")
    await store.set_clock(NOON + 1)
    assert await promote(store, "default", "other") == (1, math.inf)
    assert await books.members("rq:queues") == {"rq:queue:default"}


async def test_sent_twice(store: ClockedStore, desk: Desk, books: Books) -> None:
    await later(desk, "a", 1)
    await store.set_clock(NOON + 1)
    await promote(store)
    before = await books.dump()
    assert await store.again() == [0, b""]
    assert await books.dump() == before
    await desk.finish("a")
    assert await promote(store) == (0, math.inf)
    assert await books.places("a") == ["rq:finished:default"]


class TestLimit:
    async def test_one_slot(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        for number in (3, 1, 2):
            await later(desk, f"j{number}", number, limit=("api", 1))
        await store.set_clock(NOON + 3)
        assert await promote(store) == (3, math.inf)
        assert (await books.queue(), await books.slots()) == (["j1"], {"j1"})
        assert await books.status("j2") == "rate_limited"
        await desk.finish("j1")
        await desk.finish("j2")
        assert (await books.queue(), await books.slots()) == (["j3"], {"j3"})

    @pytest.mark.parametrize("key", ["rq:rl:api", "rq:rl:api:rate_limited", "rq:rl-keys"])
    async def test_keys_of_a_wrong_type(self, store: ClockedStore, desk: Desk, books: Books, key: str) -> None:
        """The job waits, and nobody asks again and again; what is due behind it does not wait."""
        await later(desk, "a", 1, limit=("api", 1))
        await later(desk, "b", 2)
        await later(desk, "c", 30)
        await books.connection.set(key, "text")
        await store.set_clock(NOON + 10)
        assert await promote(store) == (1, 20)
        assert (await books.queue(), await books.registry("scheduled")) == (["b"], {"a": NOON + 1, "c": NOON + 30})
        await books.connection.delete(key)
        assert await promote(store) == (1, 20)
        assert await books.queue() == ["b", "a"]

    async def test_more_than_a_step_that_cannot_be_placed(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        for number in range(20):
            await later(desk, f"a{number:02}", 1, limit=("api", 1))
        await later(desk, "b", 2)
        await books.connection.set("rq:rl:api", "text")
        await store.set_clock(NOON + 10)
        assert await promote(store, most=5) == (1, math.inf)
        assert await books.queue() == ["b"]


class TestDropped:
    @pytest.mark.parametrize("status", ["queued", "finished", "failed", "canceled", "deferred", "banana", ""])
    async def test_job_that_is_elsewhere(self, store: ClockedStore, desk: Desk, books: Books, status: str) -> None:
        await later(desk, "a", 1)
        await books.connection.hset("rq:job:a", "status", status)
        before = await books.connection.hgetall("rq:job:a")
        await store.set_clock(NOON + 1)
        assert await promote(store) == (0, math.inf)
        assert await books.connection.hgetall("rq:job:a") == before
        assert await books.places("a") == []

    @pytest.mark.parametrize("wrong", [True, False])
    async def test_job_that_is_gone(self, store: ClockedStore, desk: Desk, books: Books, wrong: bool) -> None:
        await later(desk, "a", 1)
        await books.connection.delete("rq:job:a")
        if wrong:
            await books.connection.set("rq:job:a", "text")
        await store.set_clock(NOON + 1)
        assert await promote(store) == (0, math.inf)
        assert await books.places("a") == []
        assert await books.connection.exists("rq:job:a") == wrong

    async def test_many_ghosts(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """They count, so that a step stays short."""
        await later(desk, "z", 1)
        await books.connection.zadd("rq:scheduled:default", {f"g{number}": NOON for number in range(25)})
        await store.set_clock(NOON + 1)
        assert [await promote(store, most=10) for _ in range(3)] == [(0, 0.0), (0, 0.0), (1, math.inf)]
        assert await books.queue() == ["z"]


class TestMeanwhile:
    async def test_canceled_and_deleted(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await later(desk, "a", 1)
        await later(desk, "b", 1)
        await later(desk, "c", 2)
        await jobs.cancel(store, "a", 500)
        await jobs.delete(store, ["b"])
        assert await promote(store) == (0, 2)
        await store.set_clock(NOON + 1.5)
        assert await promote(store) == (0, 0.5)
        assert (await books.places("a"), await books.places("b")) == (["rq:canceled:default"], [])

    async def test_scheduled_anew(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await later(desk, "a", 1)
        await later(desk, "a", 50)
        assert await promote(store) == (0, 50)
        await later(desk, "a", 10, "other")
        assert await promote(store, "default", "other") == (0, 10)
        await store.set_clock(NOON + 60)
        assert await promote(store, "default", "other") == (1, math.inf)
        assert await books.places("a") == ["rq:queue:other"]


class TestSchedulerOfRq:
    @pytest.mark.parametrize("fields", [{}, {"name": "x", "pid": "1"}])
    async def test_its_queues_are_left_out(
        self, store: ClockedStore, desk: Desk, books: Books, fields: dict[str, str]
    ) -> None:
        """RQ 2's have no hash."""
        await later(desk, "a", 1)
        await later(desk, "b", 1, "other")
        await later(desk, "c", 20, "other")
        await books.connection.set("rq:scheduler-lock:default", "x", ex=60)
        if fields:
            await books.connection.hset("rq:scheduler:x", mapping=fields)
        await store.set_clock(NOON + 2)
        assert await promote(store, "default", "other") == (1, 18)
        assert await books.places("a") == ["rq:scheduled:default"]
        await books.connection.delete("rq:scheduler-lock:default")
        assert await promote(store, "default", "other") == (1, 18)

    async def test_a_worker_of_ours_holds_the_lock(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await later(desk, "a", 1)
        assert await schedule.hold(store, "v", "boot", ["default"], {"pid": 1}) == 1
        await store.set_clock(NOON + 2)
        assert await promote(store) == (1, math.inf)

    @pytest.mark.parametrize("key", ["rq:scheduler-lock:default", "rq:scheduler:x"])
    async def test_keys_of_a_wrong_type(self, store: ClockedStore, desk: Desk, books: Books, key: str) -> None:
        await later(desk, "a", 1)
        if key == "rq:scheduler:x":
            await books.connection.set("rq:scheduler-lock:default", "x", ex=60)
        await books.connection.rpush(key, "x")
        await store.set_clock(NOON + 2)
        assert await promote(store) == ((1, math.inf) if key.endswith("default") else (0, math.inf))


class TestWrongTypes:
    async def test_queue(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await later(desk, "a", 1)
        await later(desk, "b", 1, "other")
        await books.connection.set("rq:queue:default", "text")
        await store.set_clock(NOON + 10)
        assert await promote(store, "default", "other") == (1, math.inf)
        assert await books.registry("scheduled") == {"a": NOON + 1}
        await books.connection.delete("rq:queue:default")
        assert await promote(store, "default", "other") == (1, math.inf)
        assert (await books.queue(), await books.queue("other")) == (["a"], ["b"])

    async def test_registry(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await later(desk, "b", 1, "other")
        await books.connection.set("rq:scheduled:default", "text")
        await store.set_clock(NOON + 10)
        assert await promote(store, "default", "other") == (1, math.inf)
        assert await books.queue("other") == ["b"]

    async def test_set_of_queues(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await later(desk, "a", 1)
        await books.connection.delete("rq:queues")
        await books.connection.set("rq:queues", "text")
        await store.set_clock(NOON + 1)
        assert await promote(store) == (1, math.inf)
        assert await books.places("a") == ["rq:queue:default"]


async def test_names_that_are_no_text(store: ClockedStore, desk: Desk, books: Books) -> None:
    await later(desk, "a", 1)
    await books.connection.zadd("rq:scheduled:default", {b"\xff\xfe": 1, b"": 1})
    await store.set_clock(NOON + 1)
    assert await promote(store) == (1, math.inf)
    assert (await books.queue(), await books.registry("scheduled")) == (["a"], {})


async def test_any_number_of_queues(store: ClockedStore, desk: Desk, books: Books) -> None:
    names = [f"q{number}" for number in range(200)]
    for name, second in zip(names, itertools.count(1), strict=False):
        await later(desk, f"a-{name}", second, name)
    await store.set_clock(NOON + 150)
    assert await promote(store, *names) == (100, 0)
    assert await promote(store, *names) == (50, 1)
    assert [name for name in names if await books.queue(name)] == names[:150]


class TestNotice:
    """Who sleeps until a job is due hears of one that is due earlier."""

    async def heard(self, books: Books, *acts: object) -> list[str]:
        async with books.connection.pubsub() as channel:
            await channel.subscribe("rq:aiorq:due")
            assert (await channel.get_message(timeout=10))["type"] == "subscribe"
            for act in acts:
                await act  # type: ignore[misc]
            await books.connection.publish("rq:aiorq:due", "end")
            found: list[str] = []
            async for message in channel.listen():
                if message["data"] == b"end":
                    return found
                found.append(message["data"].decode())
        raise AssertionError("unreachable")

    async def test_of_the_next_one_of_its_queue(self, desk: Desk, books: Books) -> None:
        assert await self.heard(
            books,
            later(desk, "a", 30),
            later(desk, "b", 40),
            later(desk, "c", 20.5),
            later(desk, "d", 50, "a queue"),
            desk.place("e"),
        ) == ["30.000000 default", "20.500000 default", "50.000000 a queue"]

    async def test_behind_one_that_is_due_and_cannot_be_promoted(
        self, store: ClockedStore, desk: Desk, books: Books
    ) -> None:
        await later(desk, "a", 1)
        await store.set_clock(NOON + 10)
        assert await self.heard(books, later(desk, "b", 30)) == ["20.000000 default"]

    async def test_of_retries(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", wishes={}, retries_left=1, retry_intervals=[7])
        assert await self.heard(books, desk.fail("a")) == ["7.000000 default"]

    async def test_of_a_job_that_waited_for_another(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", queue="parents")
        await desk.enqueue("b", parents=["a"], wishes={"at": NOON + 60})
        assert await self.heard(books, desk.finish("a", "parents")) == ["60.000000 default"]

    @pytest.mark.parametrize(
        ("message", "due"),
        [
            (b"1.5 a queue", ("a queue", 1.5)),
            (b"0.000000 ", ("", 0.0)),
            (b"", ("", math.inf)),
            (b"x default", ("", math.inf)),
            (b"1 \xff", ("", math.inf)),
        ],
    )
    async def test_is_read(self, message: bytes, due: tuple[str, float]) -> None:
        assert schedule.read_due(message) == due
