"""Each invariant broken by hand: found, put right where that can be done, and nothing else touched."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from aiorq.doctor import Finding, mend
from tests.doctor.conftest import Look, Ward, of_books
from tests.scripts.conftest import Books

Break = Callable[[Ward], Awaitable[None]]


@dataclass
class Case:
    """Something that is broken."""

    damage: Break
    findings: Sequence[tuple[str, str, str]]
    """Invariant, rule and severity of what is found."""
    places: Mapping[str, list[str]]
    """Where jobs are when it is put right."""
    cured: bool


CASES: dict[str, Case] = {}


def case(*findings: tuple[str, str, str], cured: bool = True, **places: str) -> Callable[[Break], Break]:
    """A case: what is found, and the places of jobs afterwards, separated by spaces."""

    def enter(damage: Break) -> Break:
        wanted = {job_id: [f"rq:{place}" for place in text.split()] for job_id, text in places.items()}
        CASES[damage.__name__] = Case(damage, findings, wanted, cured)
        return damage

    return enter


# I1: in one place, and once


@case(("I1", "listed nowhere", "error"), a="queue:default")
async def queued_in_no_list(ward: Ward) -> None:
    await ward.enqueue("a")
    await ward.client.delete("rq:queue:default")


@case(("I1", "listed nowhere", "error"), a="queue:other", b="queue:other")
async def queued_in_no_list_of_a_queue_that_nobody_knows(ward: Ward) -> None:
    await ward.enqueue("a", "b", queue="other")
    await ward.client.lrem("rq:queue:other", 1, "a")
    await ward.client.delete("rq:queues")
    await ward.client.sadd("rq:queues", "rq:queue:other")


@case(("I1", "listed nowhere", "error"), a="wip:default")
async def started_without_a_lease(ward: Ward) -> None:
    run = await ward.start("a")
    await ward.client.zrem("rq:wip:default", f"a:{run.token}")


@case(("I1", "listed nowhere", "error"), a="deferred:default", p="queue:default")
async def deferred_in_no_registry(ward: Ward) -> None:
    await ward.enqueue("p")
    await ward.defer("a", "p")
    await ward.client.delete("rq:deferred:default")


@case(("I1", "listed nowhere", "error"), a="scheduled:default")
async def scheduled_in_no_registry(ward: Ward) -> None:
    await ward.put("a", "scheduled")
    await ward.client.delete("rq:scheduled:default")


@case(("I1", "listed nowhere", "warning"), a="finished:default")
async def finished_in_no_registry(ward: Ward) -> None:
    await ward.put("a", "finished")
    await ward.client.delete("rq:finished:default")


@case(*[("I1", "listed nowhere", "warning")] * 3, a="failed:default", b="failed:default", c="canceled:default")
async def ended_otherwise_in_no_registry(ward: Ward) -> None:
    await ward.put("a", "failed")
    await ward.put("b", "stopped")
    await ward.put("c", "canceled")
    await ward.client.delete("rq:failed:default", "rq:canceled:default")


@case(("I1", "listed nowhere", "error"), a="queue:default")
async def rate_limited_and_not_waiting(ward: Ward) -> None:
    await ward.put("a", "rate_limited")
    await ward.set("a", rate_limit_key="k")


@case(("I1", "listed nowhere", "error"), a="queue:default", b="rl:k:rate_limited")
async def rate_limited_and_not_waiting_for_a_slot_that_another_has(ward: Ward) -> None:
    await ward.limit("a", "b")
    await ward.client.zrem("rq:rl:k:rate_limited", "b")


@case(("I1", "listed nowhere", "error"), cured=False)
async def rate_limited_and_nobody_knows_how(ward: Ward) -> None:
    await ward.put("a", "rate_limited")


@case(("I2", "listed elsewhere", "error"), a="queue:default", b="rl:k:rate_limited")
async def rate_limited_and_in_its_queue(ward: Ward) -> None:
    await ward.limit("a", "b")
    await ward.client.zrem("rq:rl:k:rate_limited", "b")
    await ward.client.rpush("rq:queue:default", "b")


@case(("I1", "listed more than once", "error"), a="queue:default")
async def queued_and_waiting_for_a_slot(ward: Ward) -> None:
    await ward.limit("a")
    await ward.client.zadd("rq:rl:k:rate_limited", {"a": 1})


@case(("I1", "listed nowhere", "error"), cured=False)
async def queued_in_an_unknown_queue(ward: Ward) -> None:
    await ward.enqueue("a")
    await ward.client.delete("rq:queue:default")
    await ward.client.hdel("rq:job:a", "origin")


@case(("I1", "listed more than once", "error"), a="queue:default", b="queue:default")
async def queued_three_times(ward: Ward) -> None:
    await ward.enqueue("a", "b")
    await ward.client.rpush("rq:queue:default", "a", "a")


@case(("I1", "listed more than once", "error"), a="queue:default")
async def queued_in_two_queues(ward: Ward) -> None:
    await ward.enqueue("a")
    await ward.enqueue("b", queue="other")
    await ward.client.rpush("rq:queue:other", "a")


@case(("I1", "listed more than once", "error"), a="queue:default")
async def queued_and_handed_to_a_worker(ward: Ward) -> None:
    await ward.register()
    await ward.enqueue("a")
    await ward.client.rpush("rq:aiorq:inbox:w:default", "a")


@case(("I1", "listed more than once", "error"), a="finished:default")
async def finished_and_listed(ward: Ward) -> None:
    await ward.put("a", "finished")
    await ward.enqueue("b")
    await ward.client.rpush("rq:queue:default", "a")


@case(("I1", "listed more than once", "error"), a="queue:default")
async def queued_and_failed(ward: Ward) -> None:
    await ward.enqueue("a")
    await ward.client.zadd("rq:failed:default", {"a": time.time() + 500})


@case(("I1", "listed more than once", "error"), a="queue:default")
async def queued_and_running(ward: Ward) -> None:
    await ward.start("a")
    await ward.set("a", status="queued")
    await ward.client.rpush("rq:queue:default", "a")


@case(("I1", "listed more than once", "error"), a="wip:default")
async def running_twice(ward: Ward) -> None:
    await ward.start("a")
    await ward.client.zadd("rq:wip:default", {"a:other": time.time() + 100})


@case(("I1", "stuck in ready", "error"), a="queue:default")
async def ready_and_left_by_rq(ward: Ward) -> None:
    await ward.put("a", "ready_to_enqueue")


@case(("I1", "stuck in between", "error"), a="queue:default", b="queue:default")
async def in_between_and_left_by_rq(ward: Ward) -> None:
    await ward.enqueue("a", "b")
    await ward.client.lmove("rq:queue:default", "rq:queue:default:intermediate", "LEFT", "RIGHT")


@case(("I1", "stuck in between", "error"), a="queue:default")
async def in_between_for_long(ward: Ward) -> None:
    await ward.register("rqs")
    await ward.enqueue("a")
    await ward.client.lmove("rq:queue:default", "rq:queue:default:intermediate", "LEFT", "RIGHT")
    await ward.client.set("rq:queue:default:intermediate:first_seen:a", repr(time.time() - 100), ex=500)


@case(("I1", "inbox of nobody", "error"), a="queue:default", b="queue:default", c="queue:default")
async def inbox_of_a_worker_that_is_gone(ward: Ward) -> None:
    await ward.enqueue("a", "b", "c")
    for _ in range(2):
        await ward.client.lmove("rq:queue:default", "rq:aiorq:inbox:gone:default", "LEFT", "RIGHT")


# I2: the place that the status names


@case(("I2", "listed elsewhere", "error"), a="finished:default")
async def finished_and_only_in_a_list(ward: Ward) -> None:
    await ward.enqueue("a")
    await ward.set("a", status="finished")


@case(("I2", "listed elsewhere", "error"), a="queue:default")
async def queued_and_only_among_the_failed(ward: Ward) -> None:
    await ward.put("a", "failed")
    await ward.set("a", status="queued")


@case(("I2", "listed elsewhere", "error"), a="queue:default")
async def queued_and_its_run_lost(ward: Ward) -> None:
    run = await ward.start("a")
    await ward.set("a", status="queued")
    await ward.client.zadd("rq:wip:default", {f"a:{run.token}": time.time() - 1})


@case(("I2", "listed elsewhere", "error"), a="wip:default", cured=False)
async def queued_and_perhaps_running(ward: Ward) -> None:
    await ward.start("a")
    await ward.set("a", status="queued")


@case(("I2", "listed elsewhere", "error"), a="queue:default")
async def created_and_in_its_list(ward: Ward) -> None:
    await ward.enqueue("a")
    await ward.set("a", status="created")


@case(("I2", "listed elsewhere", "error"), a="failed:default", cured=False)
async def created_and_among_the_failed(ward: Ward) -> None:
    await ward.put("a", "failed")
    await ward.set("a", status="created")


@case(("I2", "no such status", "error"), cured=False)
async def of_no_status(ward: Ward) -> None:
    await ward.enqueue("a")
    await ward.set("a", status="banana")


@case(*[("I2", "job is gone", "warning")] * 5, z="queue:default")
async def gone_and_listed(ward: Ward) -> None:
    await ward.enqueue("a", "z")
    await ward.client.delete("rq:job:a")
    for kind in ("deferred", "scheduled", "canceled"):
        await ward.client.zadd(f"rq:{kind}:default", {kind: time.time()})
    await ward.client.zadd("rq:failed:default", {"failed": -1})


@case(*[("I2", "no id of a job", "error")] * 3, a="queue:default")
async def listed_and_no_id(ward: Ward) -> None:
    await ward.enqueue("a")
    await ward.client.rpush("rq:queue:default", "a:b", b"\xff\xfe", "")


# I3, I4: runs


@case(("I3", "run half there", "warning"), a="wip:default")
async def run_without_its_hash(ward: Ward) -> None:
    run = await ward.start("a")
    await ward.client.delete(f"rq:execution:a:{run.token}")


@case(("I3", "run half there", "warning"), a="wip:default")
async def run_without_its_set(ward: Ward) -> None:
    await ward.start("a")
    await ward.client.delete("rq:executions:a")


@case(("I3", "run half there", "warning"), a="wip:default")
async def run_that_its_worker_does_not_know(ward: Ward) -> None:
    await ward.register()
    await ward.start("a")
    await ward.client.delete("rq:worker:w:executions")


@case(("I3", "run is over", "warning"))
async def run_that_only_its_worker_knows(ward: Ward) -> None:
    await ward.register()
    await ward.client.sadd("rq:worker:w:executions", "a:token")
    await ward.client.expire("rq:worker:w:executions", 480)


@case(("I3", "run is over", "warning"), a="queue:default")
async def run_that_only_its_set_knows(ward: Ward) -> None:
    await ward.enqueue("a")
    await ward.client.zadd("rq:executions:a", {"token": time.time() + 500})
    await ward.client.expire("rq:executions:a", 500)


@case(("I3", "no run", "error"), a="queue:default")
async def run_of_two_colons(ward: Ward) -> None:
    await ward.enqueue("a")
    await ward.client.zadd("rq:wip:default", {"x:y:z": time.time() + 5})


@case(("I4", "token used twice", "error"), a="wip:default", b="wip:default", cured=False)
async def one_token_for_two(ward: Ward) -> None:
    for job_id in "ab":
        run = await ward.start(job_id)
        await ward.client.delete("rq:wip:default", f"rq:execution:{job_id}:{run.token}", "rq:worker:w:executions")
        mapping = {"id": "t", "job_id": job_id, "created_at": "1", "last_heartbeat": "1"}
        await ward.client.hset(f"rq:execution:{job_id}:t", mapping=mapping)
        await ward.client.expire(f"rq:execution:{job_id}:t", 60)
        await ward.client.delete(f"rq:executions:{job_id}")
        await ward.client.zadd(f"rq:executions:{job_id}", {"t": time.time() + 90})
        await ward.client.expire(f"rq:executions:{job_id}", 90)
    await ward.client.zadd("rq:wip:default", {"a:t": time.time() + 15, "b:t": time.time() + 15})


# I9: leases


@case(("I9", "overdue", "error"), a="wip:default", cured=False)
async def overdue_while_a_worker_lives(ward: Ward) -> None:
    await ward.register()
    run = await ward.start("a")
    await ward.client.zadd("rq:wip:default", {f"a:{run.token}": time.time() - 40})


@case(("I9", "overdue", "warning"), a="wip:default", cured=False)
async def overdue_while_no_worker_lives(ward: Ward) -> None:
    run = await ward.start("a")
    await ward.client.zadd("rq:wip:default", {f"a:{run.token}": time.time() - 40})


@case(("I9", "endless lease", "error"), a="wip:default")
async def lease_without_end(ward: Ward) -> None:
    run = await ward.start("a")
    await ward.client.zadd("rq:wip:default", {f"a:{run.token}": float("inf")})


# I10, I11: dependencies


@case(("I10", "waits for nothing", "error"), a="queue:default", p="finished:default", q="failed:default")
async def parents_ended(ward: Ward) -> None:
    await ward.put("p", "finished")
    await ward.put("q", "failed")
    await ward.defer("a", "p", "q", "gone", allow_dependency_failures="1")
    await ward.client.expire("rq:job:gone:dependents", 60)


@case(("I10", "waits for nothing", "error"), a="queue:default")
async def parents_gone_that_only_the_job_names(ward: Ward) -> None:
    await ward.defer("a", dependency_ids='["gone"]')


@case(("I10", "not known to its parent", "error"), a="deferred:default", p="queue:default")
async def parent_that_does_not_know(ward: Ward) -> None:
    await ward.enqueue("p")
    await ward.defer("a", "p")
    await ward.client.delete("rq:job:p:dependents")


@case(("I10", "waits for nothing", "error"), a="scheduled:default", b="rl:k:rate_limited", c="queue:default")
async def parents_ended_of_those_who_asked_for_more(ward: Ward) -> None:
    """One is to run later, and one has a rate limit, whose only slot another has."""
    await ward.limit("c")
    await ward.enqueue("p")
    await ward.wait("a", "p")
    await ward.set("a", aiorq_at="4102444800.000000")
    await ward.set("p", status="finished")
    await ward.client.delete("rq:queue:default")
    await ward.client.rpush("rq:queue:default", "c")
    await ward.client.zadd("rq:finished:default", {"p": time.time() + 500})
    await ward.limit("b")


@case(("I10", "set apart and forgotten", "error"), a="deferred:default", b="deferred:default")
async def dependents_that_nobody_looks_at(ward: Ward) -> None:
    await ward.enqueue("q", queue="other")
    await ward.put("p", "finished")
    for job_id in "ab":
        await ward.defer(job_id, "p", "q")
    await ward.client.rename("rq:job:p:dependents", "rq:aiorq:parting:p:1.000000")


@case(("I11", "wait for each other", "error"), a="deferred:default", b="deferred:default", cured=False)
async def circle(ward: Ward) -> None:
    await ward.defer("a", "b")
    await ward.defer("b", "c")
    await ward.defer("c", "a")


@case(("I11", "wait for each other", "error"), a="deferred:default", cured=False)
async def waits_for_itself(ward: Ward) -> None:
    await ward.defer("a", "a")


# I14: rate limits


@case(("I14", "slot of nobody", "warning"), b="queue:default")
async def slot_of_a_job_that_is_gone(ward: Ward) -> None:
    await ward.limit("a", "b", concurrency=2)
    await ward.client.delete("rq:job:a")
    await ward.client.lrem("rq:queue:default", 1, "a")


@case(("I14", "slot of nobody", "error"), a="finished:default", b="queue:default", c="rl:k:rate_limited")
async def slot_of_a_job_that_has_finished_while_others_wait(ward: Ward) -> None:
    await ward.limit("a", "b", "c")
    await ward.set("a", status="finished")
    await ward.client.lrem("rq:queue:default", 1, "a")
    await ward.client.zadd("rq:finished:default", {"a": time.time() + 500})


@case(("I14", "slot is free", "error"), a="queue:default", b="rl:k:rate_limited")
async def slot_that_nobody_gave_away(ward: Ward) -> None:
    """As when a worker of RQ's ends between two steps."""
    await ward.limit("gone", "a", "b")
    await ward.client.delete("rq:job:gone")
    await ward.client.lrem("rq:queue:default", 1, "gone")
    await ward.client.zrem("rq:rl:k:allowed", "gone")


@case(("I14", "slot is free", "error"), a="queue:default")
async def limit_without_its_number(ward: Ward) -> None:
    await ward.limit("gone", "a")
    await ward.client.delete("rq:job:gone", "rq:rl:k", "rq:rl:k:allowed")
    await ward.client.lrem("rq:queue:default", 1, "gone")


@case(("I15", "unlisted rate limit", "warning"), a="queue:default")
async def limit_that_nobody_knows(ward: Ward) -> None:
    await ward.limit("a")
    await ward.client.delete("rq:rl-keys")


# I15: what is left over


@case(("I15", "unlisted group", "warning"), a="queue:default")
async def group_that_nobody_knows(ward: Ward) -> None:
    await ward.group("a")
    await ward.client.delete("rq:groups")


@case(("I15", "missing in its group", "warning"), a="queue:default", b="queue:default")
async def group_that_does_not_know(ward: Ward) -> None:
    await ward.group("a", "b")
    await ward.client.srem("rq:group:g", "a")


@case(*[("I15", "missing in its group", "warning")] * 2, a="queue:default", b="queue:default")
async def group_that_is_gone(ward: Ward) -> None:
    await ward.group("a", "b")
    await ward.client.delete("rq:group:g", "rq:groups")


@case(*[("I15", "kept for ever", "warning")] * 2)
async def notes_of_a_job_that_is_gone(ward: Ward) -> None:
    await ward.client.rpush("rq:aiorq:attempts:a", "{}")
    await ward.client.rpush("rq:aiorq:waits:a", "b", "")


@case(*[("I15", "kept for ever", "warning")] * 3)
async def of_a_job_that_is_gone(ward: Ward) -> None:
    await ward.client.xadd("rq:results:a", {"type": 2})
    await ward.client.sadd("rq:job:a:dependents", "b")
    await ward.client.sadd("rq:job::a:dependencies", "b")


@case(*[("I15", "kept for ever", "warning")] * 2, a="queue:default")
async def runs_that_never_expire(ward: Ward) -> None:
    await ward.enqueue("a")
    await ward.client.hset("rq:execution:a:token", "id", "token")
    await ward.client.zadd("rq:executions:a", {"token": time.time()})


@case(("I15", "kept for ever", "warning"))
async def own_key_that_never_expires(ward: Ward) -> None:
    await ward.client.set("rq:aiorq:ended:token", 1)
    await ward.client.hset("rq:aiorq:dropped", "default", 1)  # has a field for each queue
    await ward.client.hset("rq:aiorq:paused", "default", "{}")


@case(("I15", "kept for ever", "warning"), a="queue:default", cured=False)
async def own_keys_of_another_version(ward: Ward) -> None:
    await ward.enqueue("a")
    await ward.client.set("rq:aiorq:novelty", 1)
    await ward.client.set("rq:aiorq:novelty:a", 1)  # belongs to a job


@case(*[("I15", "worker is gone", "warning")] * 2)
async def worker_that_died(ward: Ward) -> None:
    await ward.register()
    await ward.client.delete("rq:worker:w")


# I18: shapes of keys


@case(*[("I18", "no worker", "error")] * 1, ("I18", "no queue", "error"))
async def members_of_another_shape(ward: Ward) -> None:
    await ward.client.sadd("rq:workers", "w")
    await ward.client.sadd("rq:queues", b"default\xff")


@case(("I18", "unlisted queue", "warning"), a="queue:default")
async def queue_that_nobody_knows(ward: Ward) -> None:
    await ward.enqueue("a")
    await ward.client.delete("rq:queues")


@case(("I18", "unknown keys", "warning"), cured=False)
async def keys_of_somebody_else(ward: Ward) -> None:
    await ward.client.set("rq:mine:a", 1)
    await ward.client.set(b"rq:mine:\xff", 1)


@case(*[("I18", "wrong type", "error")] * 22, cured=False)
async def keys_of_another_type(ward: Ward) -> None:
    names = ["queue:q", "job:a", "job:b:dependents", "job::b:dependencies", "executions:c", "execution:c:t", "wip:q"]
    names += ["finished:q", "worker:w", "worker:w:executions", "workers", "queues", "aiorq:inbox:w:q", "results:e"]
    names += ["rl:k", "rl:k:allowed", "rl:k:rate_limited", "aiorq:paused", "aiorq:parents", "aiorq:parting:p:1"]
    names += ["aiorq:attempts:f", "aiorq:waits:f"]
    for name in names:
        await ward.client.set(f"rq:{name}", "text", ex=100)


def facts(findings: Sequence[Finding]) -> list[tuple[str, str, str]]:
    return sorted((finding.invariant, finding.rule, finding.severity.value) for finding in findings)


@pytest.mark.parametrize("name", CASES)
async def test_broken(name: str, ward: Ward, look: Look, books: Books, connection: Redis) -> None:
    tried = CASES[name]
    await tried.damage(ward)
    jobs = {key for key in await books.dump() if re.fullmatch(rb"rq:job:[^:]*", key)}
    before = await books.dump()
    report = await look()
    assert facts(of_books(report)) == sorted(tried.findings)
    assert await books.dump() == before  # looking changes nothing

    await mend(report, connection)
    after = await look()
    assert facts(of_books(after)) == ([] if tried.cured else sorted(tried.findings))
    assert len(report.repaired) == (len(tried.findings) if tried.cured else 0)
    assert {job_id: await books.places(job_id) for job_id in tried.places} == tried.places
    assert jobs <= (await books.dump()).keys()
    if not tried.cured:
        assert await books.dump() == before
        assert all(finding.remedy.startswith("nothing") for finding in of_books(report))


async def test_what_was_running_comes_to_a_worker_that_knows_it_as_lost(ward: Ward, look: Look, books: Books) -> None:
    run = await ward.start("a")
    await ward.client.zrem("rq:wip:default", f"a:{run.token}")
    await mend(await look(), ward.client)
    ((member, lease),) = (await books.registry("wip")).items()
    assert member == f"a:{run.token}"
    assert lease <= time.time()
    assert await books.status("a") == "started"
    assert 0 < await books.ttl(f"rq:execution:a:{run.token}") <= 600


async def test_jobs_come_back_to_their_queue_in_the_order_of_their_enqueueing(
    ward: Ward, look: Look, books: Books
) -> None:
    ids = [f"job-{number}" for number in range(20)]
    await ward.enqueue(*ids)
    await ward.client.delete("rq:queue:default")
    await mend(await look(), ward.client)
    assert await books.queue() == ids


async def test_the_run_that_is_known_stays(ward: Ward, look: Look, books: Books) -> None:
    run = await ward.start("a")
    await ward.client.zadd("rq:wip:default", {"a:other": time.time() + 100})
    await mend(await look(), ward.client)
    assert list(await books.registry("wip")) == [f"a:{run.token}"]
    assert await books.runs("a") == sorted(["rq:executions:a", f"rq:execution:a:{run.token}", "rq:worker:w:executions"])


async def test_what_an_inbox_held_goes_to_the_head_in_order(ward: Ward, look: Look, books: Books) -> None:
    await ward.enqueue("a", "b", "c", "d")
    for _ in range(2):
        await ward.client.lmove("rq:queue:default", "rq:aiorq:inbox:gone:default", "LEFT", "RIGHT")
    await mend(await look(), ward.client)
    assert await books.queue() == ["a", "b", "c", "d"]


async def test_the_first_of_two_entries_stays(ward: Ward, look: Look, books: Books) -> None:
    await ward.enqueue("a", "b", "c")
    await ward.client.rpush("rq:queue:default", "a", "b")
    await mend(await look(), ward.client)
    assert await books.queue() == ["a", "b", "c"]


async def test_a_job_that_waited_is_queued_as_it_asked(ward: Ward, look: Look, books: Books) -> None:
    await ward.put("p", "finished")
    await ward.enqueue("first")
    await ward.defer("a", "p", enqueue_at_front="1", ttl="100")
    await mend(await look(), ward.client)
    assert await books.queue() == ["a", "first"]
    assert (await books.job("a"))["enqueued_at"] > (await books.job("first"))["enqueued_at"]
    assert 0 < await books.ttl("rq:job:a") <= 100
    assert await ward.client.smembers("rq:job:p:dependents") == set()


async def test_ends_of_entries_that_are_put_back(ward: Ward, look: Look, books: Books) -> None:
    for job_id, status in (("f", "finished"), ("x", "failed"), ("F", "finished"), ("X", "failed")):
        await ward.put(job_id, status)
    for job_id in "fx":
        await ward.client.expire(f"rq:job:{job_id}", 100)
    await ward.client.delete("rq:finished:default", "rq:failed:default")
    await mend(await look(), ward.client)
    finished, failed = await books.registry("finished"), await books.registry("failed")
    assert (finished["F"], failed["X"]) == (float("inf"), -1.0)  # as RQ keeps them for ever
    assert abs(finished["f"] - time.time() - 100) < 10
    assert abs(failed["x"] - time.time() - 100) < 10


@pytest.mark.parametrize("name", [name for name, tried in CASES.items() if tried.cured])
async def test_what_changed_meanwhile_is_left_alone(
    name: str, ward: Ward, look: Look, books: Books, connection: Redis
) -> None:
    """The whole damage is gone when the repair comes: somebody else was faster."""
    await CASES[name].damage(ward)
    first, second = await look(), await look()
    await mend(first, connection)
    before = await books.dump()
    await mend(second, connection)
    assert second.repaired == []
    assert await books.dump() == before


async def test_repair_of_a_job_that_was_taken_meanwhile(ward: Ward, look: Look, books: Books) -> None:
    await ward.enqueue("a", "b")
    await ward.client.rpush("rq:queue:default", "a")
    report = await look()
    await ward.claim()
    before = await books.dump()
    await mend(report, ward.client)
    assert report.repaired == []
    assert await books.dump() == before


async def test_repair_that_needs_a_key_of_another_type(ward: Ward, look: Look, books: Books) -> None:
    await queued_in_no_list(ward)
    report = await look()
    await ward.client.set("rq:queue:default", "text")
    before = await books.dump()
    await mend(report, ward.client)
    assert report.repaired == []
    assert await books.dump() == before
