"""The slots of a rate limit: held by jobs that are queued or run, and given on in the same step that frees them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import pytest

from aiorq.store import jobs, queues, runs
from aiorq.store.runs import Failed, Run
from tests.scripts.conftest import NOON, TRACEBACK, Books, ClockedStore, Desk

Step: TypeAlias = Callable[[ClockedStore, Desk], Coroutine[Any, Any, None]]
STAMP = "2026-01-02T12:01:40.250000Z"
"""When the steps are done."""


async def _run(store: ClockedStore, desk: Desk, **fields: Any) -> Run:
    connection: Any = store.connection
    if fields:
        await connection.hset("rq:job:a", mapping=fields)
    run = await desk.take("a", begun=True)
    await store.set_clock(NOON + 100)
    return run


async def finish(store: ClockedStore, desk: Desk) -> None:
    assert await runs.finish(store, "w", await _run(store, desk), b"", 500)


async def finish_unkept(store: ClockedStore, desk: Desk) -> None:
    assert await runs.finish(store, "w", await _run(store, desk), b"", 0)


async def repeat_later(store: ClockedStore, desk: Desk) -> None:
    run = await _run(store, desk, repeats_left=1, repeat_intervals="[60]")
    assert await runs.finish(store, "w", run, b"", 500)


async def fail(store: ClockedStore, desk: Desk) -> None:
    assert await runs.fail(store, "w", await _run(store, desk), b"", 500) is Failed.FOR_GOOD


async def fail_unkept(store: ClockedStore, desk: Desk) -> None:
    assert await runs.fail(store, "w", await _run(store, desk), b"", 0) is Failed.FOR_GOOD


async def retry_later(store: ClockedStore, desk: Desk) -> None:
    run = await _run(store, desk, retries_left=1, retry_intervals="[60]")
    assert await runs.fail(store, "w", run, b"", 500) is Failed.SCHEDULED


async def ask_for_later(store: ClockedStore, desk: Desk) -> None:
    run = await _run(store, desk)
    assert await runs.retry(store, "w", run, most=3, intervals=[60], at_front=False, failure_ttl=5) is Failed.SCHEDULED


async def stop(store: ClockedStore, desk: Desk) -> None:
    assert await runs.stop(store, "w", await _run(store, desk), TRACEBACK, 500)


async def reap(store: ClockedStore, desk: Desk) -> None:
    assert await desk.reap(await _run(store, desk)) == "failed"


async def reap_for_later(store: ClockedStore, desk: Desk) -> None:
    assert await desk.reap(await _run(store, desk, retries_left=1, retry_intervals="[60]")) == "retried"


async def recover(store: ClockedStore, desk: Desk) -> None:
    connection: Any = store.connection
    await connection.lmove("rq:queue:default", "rq:queue:default:intermediate", "LEFT", "RIGHT")
    assert await desk.recover("a") == "waits"
    await store.set_clock(NOON + 100)
    assert await desk.recover("a") == "failed"


async def cancel(store: ClockedStore, desk: Desk) -> None:
    await store.set_clock(NOON + 100)
    await jobs.cancel(store, "a", 500)


async def cancel_running(store: ClockedStore, desk: Desk) -> None:
    await _run(store, desk)
    await jobs.cancel(store, "a", 500)


async def delete(store: ClockedStore, desk: Desk) -> None:
    await store.set_clock(NOON + 100)
    await jobs.delete(store, ["a"])


async def delete_running(store: ClockedStore, desk: Desk) -> None:
    await _run(store, desk)
    await jobs.delete(store, ["a"])


async def empty(store: ClockedStore, desk: Desk) -> None:
    await store.set_clock(NOON + 100)
    await queues.empty(store, "default")


async def replace(store: ClockedStore, desk: Desk) -> None:
    await store.set_clock(NOON + 100)
    await desk.enqueue("a")


async def claim(store: ClockedStore, desk: Desk) -> None:
    await _run(store, desk)


async def release(store: ClockedStore, desk: Desk) -> None:
    await runs.release(store, "w", [], [await _run(store, desk)])


async def retry_at_once(store: ClockedStore, desk: Desk) -> None:
    run = await _run(store, desk, retries_left=1)
    assert await runs.fail(store, "w", run, b"", 500) is Failed.QUEUED


async def ask_for_now(store: ClockedStore, desk: Desk) -> None:
    run = await _run(store, desk)
    assert await runs.retry(store, "w", run, most=3, intervals=[0], at_front=False, failure_ttl=5) is Failed.QUEUED


async def repeat_at_once(store: ClockedStore, desk: Desk) -> None:
    run = await _run(store, desk, repeats_left=1, repeat_intervals="[0]")
    assert await runs.finish(store, "w", run, b"", 500)


async def repeat_in_no_time_at_all(store: ClockedStore, desk: Desk) -> None:
    run = await _run(store, desk, repeats_left=1, repeat_intervals="[-5]")
    assert await runs.finish(store, "w", run, b"", 500)


async def lose(store: ClockedStore, desk: Desk) -> None:
    assert await desk.reap(await _run(store, desk), requeue_lost=True) == "requeued"


async def reap_at_once(store: ClockedStore, desk: Desk) -> None:
    assert await desk.reap(await _run(store, desk, retries_left=1)) == "retried"


FREES: list[Step] = [
    *(finish, finish_unkept, repeat_later, fail, fail_unkept, retry_later, ask_for_later, stop, reap, reap_for_later),
    *(recover, cancel, cancel_running, delete, delete_running, empty, replace),
]
KEEPS: list[Step] = [
    *(claim, release, retry_at_once, ask_for_now, repeat_at_once, repeat_in_no_time_at_all, lose, reap_at_once),
]


@pytest.fixture(autouse=True)
async def waiting(desk: Desk) -> None:
    """Job `a` holds the only slot; `b` and `c` wait for it."""
    for job_id, queue in (("a", "default"), ("b", "other"), ("c", "default")):
        await desk.place(job_id, queue, limit=("api", 1))


@pytest.mark.parametrize("step", FREES, ids=lambda step: step.__name__)
async def test_goes_to_the_next_one(store: ClockedStore, desk: Desk, books: Books, step: Step) -> None:
    before = await books.job("b")
    await step(store, desk)
    assert await books.slots() == {"b"}
    assert (await books.places("b"), await books.places("c")) == (["rq:queue:other"], ["rq:rl:api:rate_limited"])
    assert await books.job("b") == {**before, "status": "queued", "enqueued_at": STAMP}
    assert await books.registry("rl", "api:allowed") == {"b": NOON + 100}


@pytest.mark.parametrize("step", FREES, ids=lambda step: step.__name__)
async def test_once_though_the_call_is_sent_twice(store: ClockedStore, desk: Desk, books: Books, step: Step) -> None:
    await step(store, desk)
    before = await books.slots(), await books.places("c")
    await store.again()
    assert (await books.slots(), await books.places("c")) == before


@pytest.mark.parametrize("step", KEEPS, ids=lambda step: step.__name__)
async def test_stays_with_the_job(store: ClockedStore, desk: Desk, books: Books, step: Step) -> None:
    await step(store, desk)
    assert await books.slots() == {"a"}
    assert await books.places("b") == ["rq:rl:api:rate_limited"]
    assert await books.status("a") in {"queued", "started"}


@pytest.mark.parametrize("deed", [cancel, delete, replace], ids=lambda deed: deed.__name__)
async def test_who_waits_leaves_without_one(store: ClockedStore, desk: Desk, books: Books, deed: Step) -> None:
    """The same deeds, done to a job that has none."""
    await desk.place("x", "x", limit=("other", 1))
    await desk.place("a", limit=("other", 1))  # which frees the first one
    assert (await books.slots(), await books.places("a")) == ({"b"}, ["rq:rl:other:rate_limited"])
    await deed(store, desk)
    assert (await books.slots(), await books.slots("other")) == ({"b"}, {"x"})
    assert await books.registry("rl", "other:rate_limited") == {}


@pytest.mark.parametrize("step", [retry_later, ask_for_later, reap_for_later], ids=lambda step: step.__name__)
async def test_delayed_retry_queues_up_when_it_is_due(
    store: ClockedStore, desk: Desk, books: Books, step: Step
) -> None:
    await step(store, desk)
    await store.set_clock(NOON + 160)
    assert await desk.promote("a") == "rate_limited"
    assert await books.places("a") == ["rq:rl:api:rate_limited"]
    await desk.finish("b", "other")
    await desk.finish("c")
    assert await books.queue() == ["a"]


async def test_slot_comes_with_as_many_as_the_limit_says_now(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.place("d", limit=("api", 3))
    assert await books.slots() == {"a", "b", "c"}
    await books.connection.hset("rq:rl:api", "concurrency", 1)
    await desk.finish("a")
    assert await books.slots() == {"b", "c"}
    await desk.finish("b", "other")
    await desk.finish("c")
    assert await books.slots() == {"d"}


@pytest.mark.parametrize("concurrency", [None, "", "abc", "nan", "-5", "0"])
async def test_limit_that_is_none(store: ClockedStore, desk: Desk, books: Books, concurrency: str | None) -> None:
    """The job ends all the same; who waits is let in by the sweep, or by the next one that comes."""
    await books.connection.hdel("rq:rl:api", "concurrency")
    if concurrency is not None:
        await books.connection.hset("rq:rl:api", "concurrency", concurrency)
    await finish(store, desk)
    assert await books.places("a") == ["rq:finished:default"]
    assert len(await books.slots()) <= 1
    await desk.place("d", limit=("api", 1))
    assert await books.slots() == {"b"}


@pytest.mark.parametrize("key", ["rq:rl:api", "rq:rl:api:allowed", "rq:rl:api:rate_limited", "rq:rl-keys"])
@pytest.mark.parametrize("step", FREES, ids=lambda step: step.__name__)
async def test_keys_of_a_wrong_type(store: ClockedStore, desk: Desk, books: Books, key: str, step: Step) -> None:
    """They stand in nobody's way."""
    await books.connection.delete(key)
    await books.connection.set(key, "text")
    await step(store, desk)
    gone = step in (finish_unkept, delete, delete_running, empty)
    assert len(await books.places("a")) == (0 if gone else 2 if step is repeat_later else 1)


async def test_queue_is_known_again(store: ClockedStore, desk: Desk, books: Books) -> None:
    await queues.forget(store, "other")
    await finish(store, desk)
    assert await books.queue("other") == ["b"]
    assert await books.members("rq:queues") == {"rq:queue:default", "rq:queue:other"}


async def test_who_waits_has_expired(store: ClockedStore, desk: Desk, books: Books) -> None:
    await books.connection.delete("rq:job:b")
    await finish(store, desk)
    assert (await books.slots(), await books.queue()) == ({"c"}, ["c"])
