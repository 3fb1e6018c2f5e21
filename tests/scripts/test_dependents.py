"""The end of a job, by whatever script, and the jobs that wait for it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import pytest

from aiorq.store import jobs, queues, registries, runs
from aiorq.store.runs import Failed, Run
from tests.scripts.conftest import NOON, TRACEBACK, YEAR, Books, ClockedStore, Desk, begin, changed

STAMP = "2026-01-02T12:01:40.250000Z"
"""When the parents end."""
End: TypeAlias = Callable[[ClockedStore, Desk], Coroutine[Any, Any, None]]


async def _run(store: ClockedStore, desk: Desk, **fields: Any) -> Run:
    connection: Any = store.connection
    if fields:
        await connection.hset("rq:job:p", mapping=fields)
    run = await desk.take("p", "parents", begun=True)
    await store.set_clock(NOON + 100)
    return run


async def finish(store: ClockedStore, desk: Desk) -> None:
    assert await runs.finish(store, "w", await _run(store, desk), b"", 500)


async def finish_unkept(store: ClockedStore, desk: Desk) -> None:
    assert await runs.finish(store, "w", await _run(store, desk), b"", 0)


async def repeat(store: ClockedStore, desk: Desk) -> None:
    run = await _run(store, desk, repeats_left=2, repeat_intervals="[5]")
    assert await runs.finish(store, "w", run, b"", 500)


async def fail(store: ClockedStore, desk: Desk) -> None:
    assert await runs.fail(store, "w", await _run(store, desk), b"", 500) is Failed.FOR_GOOD


async def fail_unlisted(store: ClockedStore, desk: Desk) -> None:
    assert await runs.fail(store, "w", await _run(store, desk), b"", 500, listed=False) is Failed.FOR_GOOD


async def fail_unkept(store: ClockedStore, desk: Desk) -> None:
    assert await runs.fail(store, "w", await _run(store, desk), b"", 0) is Failed.FOR_GOOD


async def reap(store: ClockedStore, desk: Desk) -> None:
    assert await desk.reap(await _run(store, desk)) == "failed"


async def reap_unkept(store: ClockedStore, desk: Desk) -> None:
    assert await desk.reap(await _run(store, desk, failure_ttl=0)) == "failed"


async def reap_poison(store: ClockedStore, desk: Desk) -> None:
    assert await desk.reap(await _run(store, desk, aiorq_losses=3), requeue_lost=True) == "poisoned"


async def recover(store: ClockedStore, desk: Desk) -> None:
    connection: Any = store.connection
    await connection.lmove("rq:queue:parents", "rq:queue:parents:intermediate", "LEFT", "RIGHT")
    assert await desk.recover("p", "parents") == "waits"
    await store.set_clock(NOON + 100)
    assert await desk.recover("p", "parents") == "failed"


async def exhausted(store: ClockedStore, desk: Desk) -> None:
    run = await _run(store, desk, number_of_retries=3)
    assert await runs.retry(store, "w", run, most=3, intervals=[0], at_front=False, failure_ttl=500) is Failed.FOR_GOOD


async def stop(store: ClockedStore, desk: Desk) -> None:
    assert await runs.stop(store, "w", await _run(store, desk), TRACEBACK, 500)


async def stop_unkept(store: ClockedStore, desk: Desk) -> None:
    assert await runs.stop(store, "w", await _run(store, desk), TRACEBACK, 0)


async def cancel(store: ClockedStore, desk: Desk) -> None:
    await store.set_clock(NOON + 100)
    assert await jobs.cancel(store, "p", 500) == {}


async def cancel_and_enqueue(store: ClockedStore, desk: Desk) -> None:
    await store.set_clock(NOON + 100)
    await jobs.cancel(store, "p", 500, enqueue_dependents=True)


async def delete(store: ClockedStore, desk: Desk) -> None:
    await store.set_clock(NOON + 100)
    assert await jobs.delete(store, ["p"]) == 1


async def delete_running(store: ClockedStore, desk: Desk) -> None:
    await _run(store, desk)
    assert await jobs.delete(store, ["p"]) == 1


async def empty(store: ClockedStore, desk: Desk) -> None:
    await store.set_clock(NOON + 100)
    assert await queues.empty(store, "parents") == 1


async def retried(store: ClockedStore, desk: Desk) -> None:
    run = await _run(store, desk, retries_left=1)
    assert await runs.fail(store, "w", run, b"", 500) is Failed.QUEUED


async def asked_again(store: ClockedStore, desk: Desk) -> None:
    run = await _run(store, desk)
    assert await runs.retry(store, "w", run, most=3, intervals=[9], at_front=False, failure_ttl=0) is Failed.SCHEDULED


async def lost(store: ClockedStore, desk: Desk) -> None:
    assert await desk.reap(await _run(store, desk), requeue_lost=True) == "requeued"


async def released(store: ClockedStore, desk: Desk) -> None:
    assert await runs.release(store, "w", [], [await _run(store, desk)]) == 1


LETS_GO: list[End] = [finish, finish_unkept, repeat, cancel_and_enqueue, delete, delete_running, empty]
"""Ends after which nobody waits for the parent any more."""
FAILS: list[End] = [fail, fail_unlisted, reap, reap_poison, recover, exhausted]
"""Ends after which those go on that allow for failures."""
UNKEPT: list[End] = [fail_unkept, reap_unkept, stop_unkept]
"""Ends after which the parent is gone."""
STOPS: list[End] = [stop, stop_unkept, cancel]
"""Ends that are good enough for nobody."""
HOLDS: list[End] = [retried, asked_again, lost, released]
"""No ends: everybody goes on waiting."""


@pytest.fixture(autouse=True)
async def parent(desk: Desk) -> None:
    await desk.enqueue("p", queue="parents")


class TestOneParent:
    @pytest.mark.parametrize("allow", [True, False])
    @pytest.mark.parametrize("end", [*LETS_GO, *FAILS, *UNKEPT, stop, cancel, *HOLDS], ids=lambda end: end.__name__)
    async def test_goes_on_or_waits(self, store: ClockedStore, desk: Desk, books: Books, end: End, allow: bool) -> None:
        await desk.place("a", parents=["p"], allow_failure=allow)
        before = await books.job("a")
        await end(store, desk)
        goes = end in LETS_GO or (allow and end in (*FAILS, fail_unkept, reap_unkept))
        assert await books.places("a") == ["rq:queue:default" if goes else "rq:deferred:default"]
        barred = {} if end in HOLDS else {"aiorq_barred": "p"}
        assert await books.job("a") == {**before, **({"status": "queued", "enqueued_at": STAMP} if goes else barred)}
        left = await books.members("rq:job:p:dependents")
        assert left == (set() if goes else {"a"})
        assert await books.members("rq:job::a:dependencies") == {"p"}
        if goes:
            await desk.finish("a")
            assert await books.places("a") == ["rq:finished:default"]

    @pytest.mark.parametrize("end", FAILS, ids=lambda end: end.__name__)
    async def test_waits_until_the_parent_was_requeued_and_finishes(
        self, store: ClockedStore, desk: Desk, books: Books, end: End
    ) -> None:
        await desk.place("a", parents=["p"])
        await end(store, desk)
        if end is fail_unlisted:
            await desk.enqueue("p", queue="parents")  # nothing lists it that it could be requeued from
        else:
            await jobs.requeue(store, "p", "failed")
        assert await books.ttl("rq:job:p:dependents") == -1
        await desk.finish("p", "parents")
        assert await books.places("a") == ["rq:queue:default"]

    @pytest.mark.parametrize("end", [stop, cancel], ids=lambda end: end.__name__)
    async def test_waits_for_what_is_over_until_it_has_run_again(
        self, store: ClockedStore, desk: Desk, books: Books, end: End
    ) -> None:
        await desk.place("a", parents=["p"], allow_failure=True)
        await end(store, desk)
        await jobs.requeue(store, "p", "failed" if end is stop else "canceled")
        await desk.finish("p", "parents")
        assert await books.places("a") == ["rq:queue:default"]

    @pytest.mark.parametrize("end", [fail, stop, cancel], ids=lambda end: end.__name__)
    async def test_deleted_after_it_ended_badly(self, store: ClockedStore, desk: Desk, books: Books, end: End) -> None:
        """Nobody takes it for one that finished: not who deletes it, who sweeps, or who ends another parent well."""
        await desk.enqueue("q", queue="others")
        await desk.place("a", parents=["p", "q"])
        await end(store, desk)
        await jobs.delete(store, ["p"])
        assert YEAR - 1 <= await books.ttl("rq:job:p:dependents") <= YEAR
        await registries.clean(store, "rq:deferred:default", registries.STALE["deferred"])
        await desk.finish("q", "others")
        assert await books.places("a") == ["rq:deferred:default"]

    @pytest.mark.parametrize("end", [fail, stop, cancel, fail_unkept], ids=lambda end: end.__name__)
    async def test_new_life_of_one_that_ended_badly(
        self, store: ClockedStore, desk: Desk, books: Books, end: End
    ) -> None:
        await desk.place("a", parents=["p"])
        await end(store, desk)
        await desk.enqueue("p", queue="parents")
        assert await books.places("a") == ["rq:deferred:default"]
        assert await books.ttl("rq:job:p:dependents") == -1
        await desk.finish("p", "parents")
        assert await books.places("a") == ["rq:queue:default"]
        assert "aiorq_barred" not in await books.job("a")

    async def test_long_run_of_a_job_with_a_time_to_wait(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """It says how long the job may wait; those that wait for it are not forgotten while it runs."""
        await desk.enqueue("p", queue="parents", ttl=100)
        await desk.place("a", parents=["p"])
        assert await books.ttl("rq:job:p:dependents") >= 99
        run = await desk.take("p", "parents")
        assert await books.ttl("rq:job:p:dependents") == -1
        await runs.release(store, "w", [], [run])
        assert await books.ttl("rq:job:p:dependents") >= 99


class TestNextPlace:
    @pytest.mark.parametrize("options", [{"at_front": True}, {"enqueue_at_front": True}], ids=str)
    async def test_at_the_front(self, store: ClockedStore, desk: Desk, books: Books, options: dict[str, Any]) -> None:
        await desk.enqueue("x")
        await desk.place("a", parents=["p"], **options)
        await finish(store, desk)
        assert await books.queue() == ["a", "x"]

    async def test_its_own_queue_which_is_known_again(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.place("a", "theirs", parents=["p"])
        await queues.forget(store, "theirs")
        await finish(store, desk)
        assert await books.queue("theirs") == ["a"]
        assert await books.members("rq:queues") == {"rq:queue:parents", "rq:queue:theirs"}

    @pytest.mark.parametrize(
        ("wishes", "due"),
        [({"at": NOON + 600}, NOON + 600), ({"delay": 600.0}, NOON + 600), ({"at": NOON + 50}, None)],
    )
    async def test_its_time(
        self, store: ClockedStore, desk: Desk, books: Books, wishes: dict[str, float], due: float | None
    ) -> None:
        await desk.place("a", parents=["p"], wishes=wishes)
        await finish(store, desk)
        if due is None:
            assert await books.places("a") == ["rq:queue:default"]
            return
        assert await books.registry("scheduled") == {"a": due}
        assert (await books.places("a"), await books.status("a")) == (["rq:scheduled:default"], "scheduled")
        await store.set_clock(due)
        assert await desk.promote("a") == "queued"

    async def test_behind_its_rate_limit(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        for job_id in ("a", "b"):
            await desk.place(job_id, parents=["p"], limit=("api", 1))
        await finish(store, desk)
        (first,) = await books.queue()
        other = {"a": "b", "b": "a"}[first]
        assert await books.slots() == {first}
        assert (await books.status(other), await books.places(other)) == ("rate_limited", ["rq:rl:api:rate_limited"])
        await desk.finish(first)
        assert await books.queue() == [other]

    async def test_time_to_wait_counts_from_then(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.place("a", parents=["p"], ttl=1000)
        await books.connection.expire("rq:job:a", 5)
        await finish(store, desk)
        assert 999 <= await books.ttl("rq:job:a") <= 1000

    @pytest.mark.parametrize("end", [finish, fail, delete, reap], ids=lambda end: end.__name__)
    @pytest.mark.parametrize(
        ("key", "options"),
        [
            ("rq:queue:default", {}),
            ("rq:scheduled:default", {"wishes": {"delay": 600.0}}),
            ("rq:rl:api", {"limit": ("api", 1)}),
            ("rq:rl-keys", {"limit": ("api", 1)}),
            ("rq:rl:api:rate_limited", {"limit": ("api", 1)}),
        ],
    )
    async def test_of_a_wrong_type(
        self, store: ClockedStore, desk: Desk, books: Books, end: End, key: str, options: dict[str, Any]
    ) -> None:
        """The parent ends all the same, and the child goes on waiting; the sweep finds it once the place is fit."""
        await desk.place("a", parents=["p"], allow_failure=True, **options)
        await desk.place("b", "other", parents=["p"], allow_failure=True)
        await books.connection.delete(key)
        await books.connection.set(key, "text")
        before = await books.job("a")
        await end(store, desk)
        assert (await books.job("a"), await books.places("a")) == (before, ["rq:deferred:default"])
        assert await books.places("b") == ["rq:queue:other"]
        left = {"finish": ["rq:finished:parents"], "delete": []}
        assert await books.places("p") == left.get(end.__name__, ["rq:failed:parents"])

    @pytest.mark.parametrize("concurrency", ["abc", "", "0", "-5", "nan", None])
    async def test_rate_limit_that_is_none(
        self, store: ClockedStore, desk: Desk, books: Books, concurrency: str | None
    ) -> None:
        await desk.place("a", parents=["p"], limit=("api", 5))
        await books.connection.hdel("rq:job:a", "rate_limit_concurrency")
        if concurrency is not None:
            await books.connection.hset("rq:job:a", "rate_limit_concurrency", concurrency)
        await finish(store, desk)
        assert (await books.places("a"), await books.slots()) == (["rq:queue:default"], {"a"})


class TestSeveralParents:
    @pytest.mark.parametrize("order", [["p", "q"], ["q", "p"]])
    async def test_the_last_one_counts(self, desk: Desk, books: Books, order: list[str]) -> None:
        await desk.enqueue("q", queue="q")
        await desk.place("a", parents=["p", "q"])
        first, last = [(job_id, {"p": "parents", "q": "q"}[job_id]) for job_id in order]
        await desk.finish(*first)
        assert await books.places("a") == ["rq:deferred:default"]
        assert await books.members(f"rq:job:{first[0]}:dependents") == {"a"}
        await desk.finish(*last)
        assert await books.places("a") == ["rq:queue:default"]

    async def test_once(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """It stays in the set of the one that ended first, which may end again."""
        await desk.enqueue("q", queue="q")
        await desk.place("a", parents=["p", "q"])
        await desk.finish("p", "parents")
        await desk.finish("q", "q")
        await jobs.requeue(store, "p", "finished")
        await desk.finish("p", "parents")
        assert await books.queue() == ["a"]
        assert await books.members("rq:job:p:dependents") == set()

    @pytest.mark.parametrize("end", [fail, delete, cancel, stop], ids=lambda end: end.__name__)
    async def test_one_fails_and_the_other_finishes(
        self, store: ClockedStore, desk: Desk, books: Books, end: End
    ) -> None:
        await desk.enqueue("q", queue="q")
        for job_id, allow in (("strict", False), ("lax", True)):
            await desk.place(job_id, job_id, parents=["p", "q"], allow_failure=allow)
        await end(store, desk)
        await desk.finish("q", "q")
        for job_id in ("strict", "lax"):
            goes = end is delete or (job_id == "lax" and end is fail)
            assert await books.places(job_id) == [f"rq:{'queue' if goes else 'deferred'}:{job_id}"]

    async def test_parent_that_expired(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("q", queue="q")
        await desk.place("a", parents=["p", "q"])
        await books.connection.delete("rq:job:p", "rq:job:p:dependents")
        await desk.finish("q", "q")
        assert await books.places("a") == ["rq:queue:default"]

    async def test_parent_that_was_enqueued_again_meanwhile(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("q", queue="q")
        await desk.place("a", parents=["p", "q"])
        await desk.finish("p", "parents")
        await desk.enqueue("p", queue="parents")
        await desk.finish("q", "q")
        assert await books.places("a") == ["rq:deferred:default"]
        await desk.finish("p", "parents")
        assert await books.places("a") == ["rq:queue:default"]

    @pytest.mark.parametrize("count", [16, 17, 40])
    async def test_many(self, store: ClockedStore, desk: Desk, books: Books, count: int) -> None:
        parents = [f"parent-{number}" for number in range(count)]
        await jobs.enqueue_many(store, [desk.new(job_id, "many") for job_id in parents])
        await desk.place("a", parents=parents)
        assert await books.connection.exists("rq:aiorq:waits:a") == (count > 16)
        for parent in parents[::-1]:
            run = await desk.start(parent, "again")  # enqueued anew elsewhere, in another order
            assert await books.places("a") == ["rq:deferred:default"]
            assert await runs.finish(store, "w", run, b"", 500)
        assert await books.places("a") == ["rq:queue:default"]
        assert not await books.connection.exists("rq:aiorq:waits:a")

    async def test_list_of_many_that_expired(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        parents = [f"parent-{number}" for number in range(20)]
        await desk.enqueue(*parents, queue="many")
        await desk.place("a", parents=parents)
        await desk.finish("parent-0", "many")
        await books.connection.delete("rq:aiorq:waits:a")
        await desk.finish("parent-1", "many")
        known = await books.connection.lrange("rq:aiorq:waits:a", 0, -1)
        assert {parent.decode() for parent in known} == {*parents[2:], ""}
        for parent in parents[2:]:
            await desk.finish(parent, "many")
        assert await books.places("a") == ["rq:queue:default"]

    async def test_list_of_many_of_a_former_life(self, desk: Desk, books: Books) -> None:
        parents = [f"parent-{number}" for number in range(20)]
        await desk.enqueue(*parents, queue="many")
        await desk.place("a", parents=parents)
        await desk.place("a", parents=["p"])
        await desk.finish("p", "parents")
        assert await books.places("a") == ["rq:queue:default"]


class TestElsewhere:
    """A job that waited once, and is somewhere else when its parent ends."""

    @pytest.mark.parametrize("status", ["queued", "finished", "failed", "canceled", "scheduled", "banana", ""])
    async def test_is_left_there(self, store: ClockedStore, desk: Desk, books: Books, status: str) -> None:
        await desk.place("a", parents=["p"])
        await books.connection.zrem("rq:deferred:default", "a")
        await desk.put("a", status)
        before = await books.job("a"), await books.places("a")
        await finish(store, desk)
        assert (await books.job("a"), await books.places("a")) == before
        assert await books.members("rq:job:p:dependents") == ({"a"} if status == "canceled" else set())

    async def test_canceled(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.place("a", parents=["p"])
        await jobs.cancel(store, "a", 500)
        await finish(store, desk)
        assert await books.places("a") == ["rq:canceled:default"]
        # It is still named, as in RQ, as long as the parent is kept.
        assert await books.members("rq:job:p:dependents") == {"a"}
        assert 0 < await books.ttl("rq:job:p:dependents") <= await books.ttl("rq:job:p")

    async def test_canceled_and_the_parent_is_not_kept(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.place("a", parents=["p"])
        await jobs.cancel(store, "a", 500)
        await finish_unkept(store, desk)
        assert not await books.connection.exists("rq:job:p:dependents")

    async def test_runs(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.place("a", parents=["p"])
        await jobs.cancel(store, "a", 500)
        await jobs.requeue(store, "a", "canceled")
        run = await desk.take("a")
        await finish(store, desk)
        assert await books.places("a") == ["rq:wip:default"]
        assert await runs.finish(store, "w", run, b"", 500)

    @pytest.mark.parametrize("wrong", [True, False])
    async def test_gone(self, store: ClockedStore, desk: Desk, books: Books, wrong: bool) -> None:
        await desk.place("a", parents=["p"])
        await books.connection.delete("rq:job:a")
        if wrong:
            await books.connection.set("rq:job:a", "text")
        await finish(store, desk)
        assert await books.queue() == []
        assert await books.connection.exists("rq:job:a") == wrong

    async def test_without_an_origin(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.place("a", parents=["p"])
        await books.connection.hdel("rq:job:a", "origin")
        await finish(store, desk)
        assert await books.status("a") == "deferred"

    @pytest.mark.parametrize("end", LETS_GO, ids=lambda end: end.__name__)
    async def test_set_of_a_wrong_type(self, store: ClockedStore, desk: Desk, books: Books, end: End) -> None:
        await desk.place("a", parents=["p"])
        await books.connection.set("rq:job:p:dependents", "text")
        await end(store, desk)
        assert await books.places("a") == ["rq:deferred:default"]


async def test_what_they_leave(store: ClockedStore, desk: Desk, books: Books) -> None:
    before = await books.dump()
    await desk.place("a", "parents", parents=["p"], ttl=1000)
    await finish(store, desk)
    await desk.finish("a", "parents", ttl=0)
    await jobs.delete(store, ["p"])
    left = {key for key, (_, expires) in (await books.dump()).items() if not expires}
    assert left <= {key for key in before if key != b"rq:queue:parents"} | {b"rq:queues"}


async def test_changes_nothing_else(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.enqueue("x")
    await desk.place("a", parents=["p"])
    run = await desk.take("p", "parents")
    assert await begin(store, "w", run)
    before = await books.dump()
    await runs.finish(store, "w", run, b"", 500)
    theirs = {f"rq:{name}:p" for name in ("job", "results", "executions")} | {f"rq:execution:p:{run.token}"}
    child = {key for key in changed(before, await books.dump()) if key not in theirs and "worker" not in key}
    places = {"rq:queue:default", "rq:deferred:default", "rq:wip:parents", "rq:finished:parents"}
    assert child == {"rq:job:a", "rq:job:p:dependents"} | places
