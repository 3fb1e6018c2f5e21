"""Slots of rate limits that are for others: the script behind that repair, call by call."""

from __future__ import annotations

import pytest

from aiorq.store import audit, runs
from aiorq.store.audit import SlotRepair
from tests.doctor.conftest import Look, Ward, of_books
from tests.scripts.conftest import Books


async def free(ward: Ward, job_id: str = "") -> bool:
    return await audit.repair(ward.store, SlotRepair("k", job_id))


async def test_the_next_one_gets_the_slot_of_one_that_is_gone(ward: Ward, books: Books) -> None:
    await ward.limit("a", "b", "c")
    await ward.client.delete("rq:job:a", "rq:queue:default")
    assert await free(ward, "a")
    assert await books.queue() == ["b"]
    assert list(await books.registry("rl:k", "allowed")) == ["b"]
    assert list(await books.registry("rl:k", "rate_limited")) == ["c"]


@pytest.mark.parametrize("runs_on", [False, True])
async def test_who_needs_the_slot_keeps_it(ward: Ward, books: Books, runs_on: bool) -> None:
    """Also while a run goes on of a job that RQ has canceled."""
    await ward.limit("a", "b")
    if runs_on:
        await ward.claim()
        await ward.set("a", status="canceled")
    before = await books.dump()
    assert not await free(ward, "a")
    assert not await free(ward, "nobody")
    assert not await free(ward)
    assert await books.dump() == before


async def test_nobody_waits(ward: Ward, books: Books) -> None:
    await ward.limit("a")
    await ward.client.delete("rq:job:a", "rq:queue:default")
    assert await free(ward, "a")
    assert await books.registry("rl:k", "allowed") == {}
    assert not await free(ward)


async def test_a_slot_of_a_run_that_another_worker_has_is_none_of_the_doctors(ward: Ward, look: Look) -> None:
    await ward.limit("a", "b")
    (claim,) = await ward.claim() or []
    assert of_books(await look()) == []
    assert await runs.finish(ward.store, "w", claim.run, b"", 500)
    assert of_books(await look()) == []
