"""Jobs by queue and state, page by page."""

from __future__ import annotations

import jobs
import pytest
from redis.asyncio import Redis

from aiorq import Queue
from aiorq.inspection.listing import STATES, Search, list_jobs
from tests.cli.stage import damage, fill


async def ids(connection: Redis, **search: object) -> list[str]:
    found = await list_jobs(connection, Search(**search))  # type: ignore[arg-type]
    return [job.id for job in found.jobs]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("queued", ["queued-1", "queued-2", "parent"]),
        ("scheduled", ["later"]),
        ("deferred", ["child"]),
        ("rate_limited", []),
        ("failed", ["failed-2", "failed-1"]),
        ("finished", ["finished-2", "finished-1"]),
        ("canceled", ["canceled"]),
        ("stopped", []),
        ("started", []),
        ("ready_to_enqueue", []),
    ],
)
async def test_state(connection: Redis, state: str, expected: list[str]) -> None:
    await fill(connection)
    found = await list_jobs(connection, Search(queues=["shop"], states=[state]))
    listed = [job.id for job in found.jobs]
    # Two jobs that ended in the same second stand in the order of their ids.
    assert listed == expected if state not in ("failed", "finished") else sorted(listed) == sorted(expected)
    assert {job.status for job in found.jobs} <= {state}


async def test_rate_limited(connection: Redis) -> None:
    await fill(connection)
    assert await ids(connection, states=["rate_limited"]) == ["limited"]
    assert await ids(connection, states=["rate_limited"], queues=["mail"]) == ["limited"]


async def test_all_states_and_queues(connection: Redis) -> None:
    await fill(connection)
    found = await list_jobs(connection, Search())
    assert len(found.jobs) == found.total == found.looked_at == 12
    assert found.next_offset is None
    order = [STATES.index(job.status or "") for job in found.jobs]
    assert order == sorted(order)


async def test_states_in_the_order_asked_for(connection: Redis) -> None:
    await fill(connection)
    assert await ids(connection, states=["scheduled", "canceled", "deferred"]) == ["later", "canceled", "child"]


async def test_pages_join(connection: Redis) -> None:
    await fill(connection)
    whole = await ids(connection)
    for limit in (1, 2, 5):
        paged: list[str] = []
        offset: int | None = 0
        while offset is not None:
            page = await list_jobs(connection, Search(offset=offset, limit=limit))
            paged += [job.id for job in page.jobs]
            offset = page.next_offset
        assert paged == whole
    beyond = await list_jobs(connection, Search(offset=10_000))
    assert (beyond.jobs, beyond.looked_at, beyond.next_offset) == ([], 0, None)


@pytest.mark.parametrize("state", ["queued", "scheduled"])
async def test_newest_and_oldest(connection: Redis, state: str) -> None:
    queue = Queue("shop", connection)
    for number in range(450):
        if state == "queued":
            await queue.enqueue(jobs.nothing, job_id=f"{number}")
    if state == "scheduled":
        await connection.zadd("rq:scheduled:shop", {f"{number}": 2_000_000_000 + number for number in range(450)})
        await connection.sadd("rq:queues", "rq:queue:shop")
    names = [f"{number}" for number in range(450)]
    where = {"states": [state], "limit": 1000}
    assert await ids(connection, **where) == await ids(connection, newest=False, **where) == names
    assert await ids(connection, newest=True, **where) == names[::-1]
    assert await ids(connection, newest=True, states=[state], offset=199, limit=3) == ["250", "249", "248"]
    assert await ids(connection, newest=False, states=[state], offset=448, limit=9) == ["448", "449"]


async def test_function(connection: Redis) -> None:
    await fill(connection)
    assert await ids(connection, function="ADD") == ["parent", "finished-1"]
    assert await ids(connection, function="jobs.echo") == ["finished-2"]
    assert await ids(connection, function="jobs.ad", states=["finished"]) == ["finished-1"]
    assert await ids(connection, function="nowhere") == []


async def test_error(connection: Redis) -> None:
    await fill(connection)
    assert await ids(connection, error="mailbox") == ["failed-1"]
    assert sorted(await ids(connection, error="VALUEERROR")) == ["failed-1", "failed-2"]
    (job,) = (await list_jobs(connection, Search(error="address"))).jobs
    assert job.error == "ValueError: no such address"


async def test_a_search_is_bounded_and_goes_on(connection: Redis) -> None:
    queue = Queue("shop", connection)
    await queue.enqueue_many([Queue.prepare_data(jobs.nothing) for _ in range(700)])
    await queue.enqueue(jobs.add, 1, job_id="wanted")
    found = await list_jobs(connection, Search(function="add", most=300))
    assert (found.jobs, found.looked_at, found.next_offset, found.total) == ([], 300, 300, 701)
    found = await list_jobs(connection, Search(function="add", most=500, offset=300))
    assert [job.id for job in found.jobs] == ["wanted"]
    assert (found.looked_at, found.next_offset) == (401, None)


async def test_a_full_page_of_a_search_ends_behind_its_last_job(connection: Redis) -> None:
    queue = Queue("shop", connection)
    for number in range(12):
        await queue.enqueue(jobs.add if number % 3 == 0 else jobs.nothing, 1, job_id=f"{number}")
    first = await list_jobs(connection, Search(function="add", limit=2))
    assert ([job.id for job in first.jobs], first.next_offset) == (["0", "3"], 4)
    second = await list_jobs(connection, Search(function="add", limit=2, offset=4))
    assert ([job.id for job in second.jobs], second.next_offset) == (["6", "9"], 10)


async def test_stopped_jobs_are_among_the_failed_ones(connection: Redis) -> None:
    await fill(connection)
    await connection.hset("rq:job:failed-1", "status", "stopped")
    assert await ids(connection, states=["stopped"]) == ["failed-1"]
    assert sorted(await ids(connection, states=["failed"])) == ["failed-1", "failed-2"]
    assert sorted(await ids(connection, states=["failed", "stopped"])) == ["failed-1", "failed-2"]


async def test_damage_is_marked(connection: Redis) -> None:
    await fill(connection)
    await damage(connection)
    found = await list_jobs(connection, Search(limit=1000))
    problems = {job.id: job.problem for job in found.jobs if job.problem}
    assert set(problems) == {"ghost", "\ufffd\ufffd", "esc\x1b[2J", "text", "corrupt"}
    assert problems["text"] == "its key holds a string, not a hash"
    assert len(found.jobs) == found.total == 18


async def test_runs_that_were_lost_are_marked(connection: Redis) -> None:
    await fill(connection)
    await connection.zadd("rq:wip:shop", {"queued-1:run": 1, "queued-2:run": 4_102_444_800})
    found = await list_jobs(connection, Search(states=["started"]))
    assert [(job.id, job.problem is None) for job in found.jobs] == [("queued-2", True), ("queued-1", False)]
    assert "its worker is lost" in (found.jobs[1].problem or "")


@pytest.mark.parametrize(
    ("search", "text"),
    [
        (Search(states=["banana"]), "no jobs are listed by the state 'banana'"),
        (Search(limit=0), "limit must be 1 to 1000, not 0"),
        (Search(limit=1001), "limit must be 1 to 1000, not 1001"),
        (Search(offset=-1), "offset must not be negative"),
        (Search(most=0), "must look at 1 job at least"),
        (Search(queues=["a,b"]), "bad queue name"),
    ],
)
async def test_what_cannot_be_listed(connection: Redis, search: Search, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        await list_jobs(connection, search)
