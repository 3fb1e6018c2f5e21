"""What random steps found once, in as few steps as it takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aiorq.store import commands, jobs, overdue, queues, registries, runs, workers
from aiorq.store.overdue import Finding
from aiorq.store.runs import Failed, Run
from tests.scripts.conftest import NOON, Books, ClockedStore, Desk, begin


async def expire_execution(books: Books, run: Run) -> None:
    """As a minute after the end of its lease."""
    await books.connection.delete(f"rq:executions:{run.job_id}", f"rq:execution:{run.job_id}:{run.token}")


async def reap(store: ClockedStore, finding: Finding, *, requeue_lost: bool = False) -> str:
    return await overdue.reap(
        store, finding, requeue_lost=requeue_lost, most=3, traceback=b"lost", poisoned=b"poisoned", kept=500
    )


async def test_late_begin_makes_no_execution(store: ClockedStore, desk: Desk, books: Books) -> None:
    """Half a hash stayed for ever, with nothing of what RQ's readers need."""
    run = await desk.start("a")
    await expire_execution(books, run)
    assert await begin(store, "w", run)
    assert await books.ttl(f"rq:execution:a:{run.token}") == -2
    assert "aiorq_held" not in await books.job("a")


async def test_finish_of_a_run_that_the_reaper_failed(store: ClockedStore, desk: Desk, books: Books) -> None:
    """The worker that slept was told that its outcome was recorded."""
    run = await desk.start("a")
    assert await begin(store, "w", run)
    await store.set_clock(NOON + 15)
    assert await reap(store, Finding("lease", "default", f"a:{run.token}", "w")) == "failed"
    assert not await runs.finish(store, "w", run, b"value", 500)
    assert not await runs.stop(store, "w", run, b"stopped", 500)
    assert await books.status("a") == "failed"


@pytest.mark.parametrize(("intervals", "became"), [(None, Failed.QUEUED), ([5], Failed.SCHEDULED)])
async def test_lost_reply_of_a_failure(
    store: ClockedStore, desk: Desk, intervals: list[int] | None, became: Failed
) -> None:
    """The second answer said that the job had failed for good."""
    await desk.enqueue("a", retries_left=1, retry_intervals=intervals)
    (claim,) = await desk.claim() or []
    assert await runs.fail(store, "w", claim.run, b"trouble", 500) is became
    assert await runs.fail(store, "w", claim.run, b"trouble", 500) is became
    assert not await runs.finish(store, "w", claim.run, b"value", 500)


async def test_outcome_of_a_canceled_job(store: ClockedStore, desk: Desk, books: Books) -> None:
    """An outcome that was to be kept for ever was, though its job was not."""
    run = await desk.start("a")
    await runs.finish(store, "w", run, b"value", -1)
    await jobs.cancel(store, "a", 500)
    assert 0 < await books.ttl("rq:results:a") <= await books.ttl("rq:job:a") <= 500


async def test_canceled_job_that_is_kept_for_ever(store: ClockedStore, desk: Desk, books: Books) -> None:
    """It was gone when the time was over that it might have waited."""
    await desk.enqueue("a", ttl=100, failure_ttl=-1)
    await jobs.cancel(store, "a", 500)
    assert await books.ttl("rq:job:a") == -1


async def test_late_reaper_answers(store: ClockedStore, desk: Desk, books: Books) -> None:
    """Nobody knew whose run it was: the stop request was not answered, and the set of the worker kept the run."""
    await workers.register(store, "w", "boot", ["default"], {}, 480)
    run = await desk.start("a")
    await commands.ask_stop(store, "a")
    await expire_execution(books, run)
    await store.set_clock(NOON + 100)
    (finding,) = await overdue.look(store, "other", 5) or []
    assert finding.worker == ""
    assert await reap(store, finding) == "returned"
    answers = await books.connection.xrange(f"rq:aiorq:answer:{run.token}")
    assert [fields for _, fields in answers] == [{b"outcome": b"queued"}]
    assert await books.runs("a") == []


async def test_entry_of_a_former_life(store: ClockedStore, desk: Desk, books: Books) -> None:
    """The time of a job was over while it waited, and its id was enqueued anew: it ran once for each entry."""
    await desk.enqueue("a", ttl=100)
    await books.connection.delete("rq:job:a")  # as when its time is over
    await desk.enqueue("a")
    (claim,) = await desk.claim() or []
    await runs.finish(store, "w", claim.run, b"value", 500)
    assert await desk.claim() == []
    assert await books.status("a") == "finished"
    assert await books.connection.hgetall("rq:aiorq:dropped") == {b"default": b"1"}


async def test_entry_of_a_former_life_while_a_retry_waits(store: ClockedStore, desk: Desk, books: Books) -> None:
    """It cut the interval short."""
    await desk.enqueue("a", ttl=100)
    await books.connection.delete("rq:job:a")
    await desk.enqueue("a", retries_left=1, retry_intervals=[60])
    (claim,) = await desk.claim() or []
    assert await runs.fail(store, "w", claim.run, b"trouble", 500) is Failed.SCHEDULED
    assert await desk.claim() == []
    assert await books.registry("scheduled") == {"a": NOON + 60}


async def test_set_of_a_worker_that_claimed_before_it_renewed(store: ClockedStore, desk: Desk, books: Books) -> None:
    """Its set had expired, and the claim made it anew: the older run was missing in it from then on."""
    await workers.register(store, "w", "boot", ["default"], {}, 480)
    old = await desk.start("a")
    await books.connection.delete("rq:worker:w:executions")
    new = await desk.start("b")
    renewed = await runs.renew(store, "w", "boot", {old: True, new: False}, 15, 480)
    assert renewed.lost == []
    own = await books.connection.smembers("rq:worker:w:executions")
    assert own == {f"a:{old.token}".encode(), f"b:{new.token}".encode()}
    assert 0 < await books.ttl("rq:worker:w:executions") <= 480


async def put(store: ClockedStore, desk: Desk, job_id: str, queue: str = "default", **wishes: Any) -> str:
    """Enqueue a job that asks for more than a queue; returns its status."""
    attributes = wishes.pop("attributes", {})
    placed = await jobs.enqueue(store, replace(desk.new(job_id, queue, **attributes), **wishes))
    return placed.status.value


def limited(key: str = "k") -> dict[str, Any]:
    return {"attributes": {"rate_limit_key": key, "rate_limit_concurrency": 1}, "limit": (key, 1)}


async def test_entry_of_a_former_life_behind_a_rate_limit(store: ClockedStore, desk: Desk, books: Books) -> None:
    """It ran without a slot."""
    await desk.enqueue("a", ttl=100)
    await books.connection.delete("rq:job:a")  # as when its time is over
    assert await put(store, desk, "first", **limited()) == "queued"
    assert await put(store, desk, "a", **limited()) == "rate_limited"
    assert [claim.run.job_id for claim in await desk.claim(most=3) or []] == ["first"]
    assert await books.registry("rl:k", "allowed") == {"first": NOON}


async def test_entry_of_a_former_life_while_a_run_behind_a_rate_limit_is_lost(
    store: ClockedStore, desk: Desk, books: Books
) -> None:
    """The job ran again, without a slot."""
    await desk.enqueue("a", ttl=100)
    await books.connection.delete("rq:job:a")
    assert await put(store, desk, "a", **limited()) == "queued"
    (claim,) = await desk.claim() or []
    await expire_execution(books, claim.run)
    assert await desk.claim() == []
    assert list(await books.registry("rl:k", "allowed")) == ["a"]
    assert await books.status("a") == "started"


async def test_entry_of_a_former_life_behind_another_rate_limit(store: ClockedStore, desk: Desk, books: Books) -> None:
    """The job was queued when that one had a free slot, and did not wait for its own."""
    assert await put(store, desk, "holder", **limited()) == "queued"
    assert await put(store, desk, "a", **limited()) == "rate_limited"
    await books.connection.delete("rq:job:a")
    assert await put(store, desk, "other", **limited("m")) == "queued"
    assert await put(store, desk, "a", **limited("m")) == "rate_limited"
    await jobs.cancel(store, "holder", 500)
    assert await books.status("a") == "rate_limited"
    assert await books.places("a") == ["rq:rl:m:rate_limited"]
    assert await books.registry("rl:k", "allowed") == {}


async def test_entry_in_an_inbox_of_a_job_that_was_requeued(store: ClockedStore, desk: Desk, books: Books) -> None:
    """It ran a second time."""
    await desk.enqueue("a", nonce="")
    await books.connection.lmove("rq:queue:default", "rq:aiorq:inbox:w:default", "LEFT", "RIGHT")
    await jobs.cancel(store, "a", 500)
    await jobs.requeue(store, "a", "canceled")
    (claim,) = await desk.claim(worker="other") or []
    await runs.finish(store, "other", claim.run, b"value", 500)
    assert await desk.claim() == []
    assert await books.status("a") == "finished"


async def test_parent_that_is_not_waited_for_any_more(store: ClockedStore, desk: Desk, books: Books) -> None:
    """The job waited for the canceled one for ever, once another one had ended."""
    await desk.enqueue("p", queue="other")
    run = await desk.start("q")
    assert await put(store, desk, "a", parents=["p", "q"]) == "deferred"
    assert await jobs.cancel(store, "p", 500, enqueue_dependents=True) == {}
    assert await runs.finish(store, "w", run, b"value", 500)
    assert await books.queue() == ["a"]


async def test_parent_of_a_former_life_that_is_canceled(store: ClockedStore, desk: Desk, books: Books) -> None:
    """The job, which did not wait for it any more, was kept from its queue for good."""
    await desk.enqueue("old", queue="other")
    run = await desk.start("new")
    assert await put(store, desk, "a", parents=["old"]) == "deferred"
    assert await put(store, desk, "a", parents=["new"]) == "deferred"
    await jobs.cancel(store, "old", 500)
    await jobs.delete(store, ["old"])
    assert await runs.finish(store, "w", run, b"value", 500)
    assert await books.queue() == ["a"]


@pytest.mark.parametrize("how", ["deleted", "not kept"])
async def test_parent_that_is_gone_and_comes_again(store: ClockedStore, desk: Desk, books: Books, how: str) -> None:
    """The job waited for the new one, which did not know of it; and if that was to wait for it, both did for ever."""
    await desk.enqueue("q", queue="other")
    run = await desk.start("p")
    assert await put(store, desk, "a", parents=["p", "q"]) == "deferred"
    if how == "deleted":
        assert await jobs.delete(store, ["p"]) == 1
    else:
        assert await runs.finish(store, "w", run, b"value", 0)
    assert await put(store, desk, "p", parents=["a"]) == "deferred"
    (claim,) = await desk.claim("other") or []
    assert await runs.finish(store, "w", claim.run, b"value", 500)
    assert await books.queue() == ["a"]


async def test_outcome_of_a_job_that_repeats(store: ClockedStore, desk: Desk, books: Books) -> None:
    """It was taken for that of the next job of the same id."""
    run = await desk.start("a", ttl=100, repeats_left=1, repeat_intervals=[50])
    assert await runs.finish(store, "w", run, b"value", 500)
    assert 0 < await books.ttl("rq:results:a") <= await books.ttl("rq:job:a") <= 100


async def test_outcome_of_a_job_that_asks_to_be_tried_again(store: ClockedStore, desk: Desk, books: Books) -> None:
    """It stayed for long after its job, whose time to wait was over."""
    run = await desk.start("a", ttl=100)
    became = await runs.retry(store, "w", run, most=1, intervals=[50], at_front=False, failure_ttl=500)
    assert became is Failed.SCHEDULED
    assert 0 < await books.ttl("rq:results:a") <= await books.ttl("rq:job:a") <= 100


@pytest.mark.parametrize("count", [1, 501])
async def test_emptying_spares_what_waited_for_it(store: ClockedStore, desk: Desk, books: Books, count: int) -> None:
    """Those that were let go came to the queue and were deleted as well."""
    await jobs.enqueue_many(store, [desk.new(f"p{number}") for number in range(count)])
    assert await put(store, desk, "a", parents=["p0"]) == "deferred"
    assert await queues.empty(store, "default") == count
    assert await books.queue() == ["a"]


async def test_emptying_spares_what_has_an_entry_of_a_former_life(
    store: ClockedStore, desk: Desk, books: Books
) -> None:
    """The job was let go by the one before that entry, and deleted at once."""
    await desk.enqueue("p")
    await desk.enqueue("a", ttl=100)
    await books.connection.delete("rq:job:a")
    assert await put(store, desk, "a", parents=["p"]) == "deferred"
    assert await queues.empty(store, "default") == 2
    assert await books.status("a") == "queued"
    assert await books.queue() == ["a"]


async def test_due_entry_of_a_former_life_in_another_queue(store: ClockedStore, desk: Desk, books: Books) -> None:
    """The new job was put on the queue of the old one, before its time."""
    assert await put(store, desk, "a", "other", delay=10.0) == "scheduled"
    await books.connection.delete("rq:job:a")
    assert await put(store, desk, "a", delay=1000.0) == "scheduled"
    await store.set_clock(NOON + 20)
    assert await desk.promote("a", queue="other") == "dropped"
    assert await books.places("a") == ["rq:scheduled:default"]


async def test_deferred_entry_of_a_former_life(store: ClockedStore, desk: Desk, books: Books) -> None:
    """It stayed as long as jobs of that id."""
    await desk.enqueue("p")
    assert await put(store, desk, "a", "other", parents=["p"]) == "deferred"
    await books.connection.delete("rq:job:a")
    await desk.enqueue("a")
    assert await registries.clean(store, "rq:deferred:other", "deferred") == 1
    assert await books.places("a") == ["rq:queue:default"]
