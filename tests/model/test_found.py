"""What random steps found once, in as few steps as it takes."""

from __future__ import annotations

import pytest

from aiorq.store import commands, jobs, overdue, runs, workers
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
