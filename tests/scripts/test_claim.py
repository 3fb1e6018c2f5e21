"""claim.lua: queued to started."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from aiorq import Queue
from aiorq.errors import StoreError
from aiorq.status import JobStatus
from aiorq.store import runs
from aiorq.store.runs import Claimed, Claims
from tests.scripts.conftest import NOON, Books, ClockedStore, Desk

STAMP = "2026-01-02T12:00:00.250000Z"
WRITTEN = {b"status", b"started_at", b"last_heartbeat", b"worker_name", b"aiorq_held"}
WRONG: dict[str, tuple[Any, ...]] = {
    "string": ("SET", "text"),
    "list": ("RPUSH", "text"),
    "set": ("SADD", "text"),
    "zset": ("ZADD", 1, "text"),
    "hash": ("HSET", "field", "text"),
    "stream": ("XADD", "*", "field", "text"),
}


async def put_wrong(books: Books, key: str, kind: str) -> None:
    command, *rest = WRONG[kind]
    await books.connection.delete(key)
    await books.connection.execute_command(command, key, *rest)


def ids(claimed: list[Claimed] | None) -> list[str]:
    assert claimed is not None
    return [claim.run.job_id for claim in claimed]


async def dropped(books: Books) -> dict[bytes, bytes]:
    counters: dict[bytes, bytes] = await books.connection.hgetall("rq:aiorq:dropped")
    return counters


class TestOneJob:
    async def test_is_started_leased_and_on_the_books(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", ttl=100)
        claimed = await desk.claim(lease=15.5)
        assert claimed is not None
        (claim,) = claimed
        run = claim.run
        assert (run.queue, run.job_id) == ("default", "a")
        assert len(run.token) == 32
        assert int(run.token, 16) >= 0
        member = f"a:{run.token}"

        fields = await books.job("a")
        written = ("status", "started_at", "last_heartbeat", "worker_name", "aiorq_held")
        assert {name: fields[name] for name in written} == {
            "status": "started",
            "started_at": STAMP,
            "last_heartbeat": STAMP,
            "worker_name": "w",
            "aiorq_held": run.token,
        }
        assert await books.places("a") == ["rq:wip:default"]
        assert await books.registry("wip") == {member: NOON + 15.5}
        assert await books.connection.zrange("rq:executions:a", 0, -1, withscores=True) == [
            (run.token.encode(), NOON + 75.5)
        ]
        execution = await books.connection.hgetall(f"rq:execution:a:{run.token}")
        assert execution == {
            b"id": run.token.encode(),
            b"job_id": b"a",
            b"created_at": b"1767355200.250000",
            b"last_heartbeat": b"1767355200.250000",
            b"worker_name": b"w",
        }
        assert await books.connection.smembers("rq:worker:w:executions") == {member.encode()}

    async def test_ttls(self, desk: Desk, books: Books) -> None:
        await books.connection.sadd("rq:job:a:dependents", "x")
        await desk.enqueue("a", ttl=100)
        claimed = await desk.claim(lease=15.5)
        assert claimed is not None
        assert await books.ttl("rq:job:a") == -1
        assert await books.ttl("rq:job:a:dependents") == -1  # RQ lets them be forgotten while it runs
        for key in (f"rq:execution:a:{claimed[0].run.token}", "rq:executions:a"):
            assert 75 <= await books.ttl(key) <= 76  # a minute longer than the lease
        for key in ("rq:worker:w", "rq:worker:w:executions"):
            assert 479 <= await books.ttl(key) <= 480

    async def test_fields_are_those_before_the_claim(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", description="täxt")
        before = await books.connection.hgetall("rq:job:a")
        claimed = await desk.claim()
        assert claimed is not None
        assert claimed[0].fields == before

    async def test_worker_is_busy(self, desk: Desk, books: Books) -> None:
        await desk.claim()
        assert not await books.connection.exists("rq:worker:w")
        await desk.enqueue("a")
        await desk.claim()
        assert await books.connection.hget("rq:worker:w", "state") == b"busy"

    async def test_tokens_are_never_the_same(self, store: ClockedStore, desk: Desk) -> None:
        tokens = set()
        for _ in range(20):
            run = await desk.start("a")
            tokens.add(run.token)
            await runs.finish(store, "w", run, b"", 500)
        await desk.enqueue(*(f"job-{number}" for number in range(20)))
        claimed = await desk.claim(most=20)
        assert claimed is not None
        tokens |= {claim.run.token for claim in claimed}
        assert len(tokens) == 40


class TestOrder:
    async def test_front_first(self, desk: Desk) -> None:
        await desk.enqueue("a", "b", "c")
        await desk.enqueue("d", at_front=True)
        assert ids(await desk.claim(most=3)) == ["d", "a", "b"]
        assert ids(await desk.claim(most=3)) == ["c"]
        assert ids(await desk.claim(most=3)) == []

    @pytest.mark.parametrize(
        ("most", "taken"),
        [(1, ["a1"]), (2, ["a1", "a2"]), (3, ["a1", "a2", "c1"]), (4, ["a1", "a2", "c1", "b1"]), (9, None)],
    )
    async def test_queues_strictly_in_the_order_asked_for(
        self, desk: Desk, books: Books, most: int, taken: list[str] | None
    ) -> None:
        await desk.enqueue("b1", "b2", queue="b")
        await desk.enqueue("a1", "a2", queue="a")
        await desk.enqueue("c1", queue="c")
        await desk.enqueue("x1", queue="x")
        claimed = await desk.claim("a", "empty", "c", "b", most=most)
        assert ids(claimed) == (taken or ["a1", "a2", "c1", "b1", "b2"])
        assert claimed is not None
        assert [claim.run.queue for claim in claimed] == [job_id[0] for job_id in ids(claimed)]
        assert await books.queue("x") == ["x1"]

    async def test_a_job_belongs_to_its_origin(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", queue="home")
        await books.connection.lmove("rq:queue:home", "rq:queue:default", "LEFT", "RIGHT")
        claimed = await desk.claim()
        assert claimed is not None
        assert claimed[0].run.queue == "home"
        assert await books.places("a") == ["rq:wip:home"]

    @pytest.mark.parametrize("origin", [None, b"", b"\xff\xfe"])
    async def test_without_an_origin(self, desk: Desk, books: Books, origin: bytes | None) -> None:
        await desk.enqueue("a")
        if origin is None:
            await books.connection.hdel("rq:job:a", "origin")
        else:
            await books.connection.hset("rq:job:a", "origin", origin)
        claimed = await desk.claim()
        assert claimed is not None
        assert claimed[0].run.queue == "default"


class TestSentTwice:
    async def test_nothing_changes(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", "b", "c")
        await desk.enqueue("d", queue='odd "name" \\ é', description="x")
        first = await desk.claim("default", 'odd "name" \\ é', most=4)
        before = await books.dump()
        again = parsed(await store.again())
        assert first is not None
        assert [claim.run for claim in again] == [claim.run for claim in first]
        assert [without_what_it_wrote(claim) for claim in again] == [without_what_it_wrote(claim) for claim in first]
        assert await books.dump() == before

    async def test_takes_nothing_that_came_meanwhile(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("a")
        await desk.claim(most=5)
        sent = store.last
        await desk.enqueue("b")
        before = await books.dump()
        store.last = sent
        assert [claim.run.job_id for claim in parsed(await store.again())] == ["a"]
        assert await books.dump() == before

    async def test_answers_without_runs_that_have_ended(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", "b", "c")
        claimed = await desk.claim(most=3)
        sent = store.last
        assert claimed is not None
        await runs.finish(store, "w", claimed[0].run, b"", 500)
        await runs.release(store, "w", [], [claimed[2].run])
        before = await books.dump()
        store.last = sent
        assert [claim.run for claim in parsed(await store.again())] == [claimed[1].run]
        assert await books.dump() == before

    async def test_of_two_workers(self, store: ClockedStore, desk: Desk) -> None:
        await desk.enqueue("a", "b")
        assert ids(await desk.claim(worker="one")) == ["a"]
        assert ids(await desk.claim(worker="two")) == ["b"]
        assert [claim.run.job_id for claim in parsed(await store.again())] == ["b"]


def parsed(reply: list[Any]) -> list[Claimed]:
    found = []
    for index in range(2, len(reply), 4):
        token, queue, job_id, fields = reply[index : index + 4]
        run = runs.Run(queue.decode(), job_id.decode(), token.decode())
        found.append(Claimed(run, dict(zip(fields[::2], fields[1::2], strict=True))))
    return found


def without_what_it_wrote(claim: Claimed) -> dict[bytes, bytes]:
    return {name: value for name, value in claim.fields.items() if name not in WRITTEN}


def paused(claimed: list[Claimed] | None) -> set[str]:
    assert isinstance(claimed, Claims)
    return set(claimed.paused)


class TestPaused:
    async def test_is_passed_over(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", queue="one")
        await desk.enqueue("b", queue="two")
        await books.connection.hset("rq:aiorq:paused", mapping={"one": "{}", "three": "anything"})
        claimed = await desk.claim("one", "two", "four", most=5)
        assert (ids(claimed), paused(claimed)) == (["b"], {"one"})
        assert await books.places("a") == ["rq:queue:one"]
        await books.connection.hdel("rq:aiorq:paused", "one")
        claimed = await desk.claim("one", "two")
        assert (ids(claimed), paused(claimed)) == (["a"], set())

    async def test_what_was_handed_out_goes_back(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", "b", "c")
        for _ in range(2):
            await books.connection.lmove("rq:queue:default", "rq:aiorq:inbox:w:default", "LEFT", "RIGHT")
        await books.connection.hset("rq:aiorq:paused", "default", "{}")
        assert ids(await desk.claim()) == []
        assert (await books.queue(), await books.inbox("w")) == (["a", "b", "c"], [])

    async def test_all(self, desk: Desk, books: Books) -> None:
        await books.connection.hset("rq:aiorq:paused", mapping={"one": "", "two": ""})
        await desk.enqueue("a", queue="one")
        before = await books.dump()
        claimed = await desk.claim("one", "two")
        assert (ids(claimed), paused(claimed)) == ([], {"one", "two"})
        assert await books.dump() == before

    async def test_what_runs_goes_on(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await desk.start("a")
        await books.connection.hset("rq:aiorq:paused", "default", "{}")
        assert await runs.finish(store, "w", run, b"", 500)

    @pytest.mark.parametrize("kind", [kind for kind in WRONG if kind != "hash"])
    async def test_key_of_a_wrong_type(self, desk: Desk, books: Books, kind: str) -> None:
        """Then nothing is paused."""
        await put_wrong(books, "rq:aiorq:paused", kind)
        await desk.enqueue("a")
        assert ids(await desk.claim()) == ["a"]


class TestInTurn:
    @pytest.fixture(autouse=True)
    async def queued(self, desk: Desk) -> None:
        await desk.enqueue("a1", "a2", "a3", "a4", queue="a")
        await desk.enqueue("b1", queue="b")
        await desk.enqueue("c1", "c2", queue="c")

    @pytest.mark.parametrize(
        ("most", "taken"),
        [
            (1, "a1"),
            (2, "a1 b1"),
            (3, "a1 b1 c1"),
            (4, "a1 b1 c1 a2"),
            (6, "a1 b1 c1 a2 c2 a3"),
            (9, "a1 b1 c1 a2 c2 a3 a4"),
        ],
    )
    async def test_one_from_each(self, store: ClockedStore, books: Books, most: int, taken: str) -> None:
        claimed = await runs.claim(store, "w", ["a", "b", "empty", "c"], most, 15, in_turn=True)
        assert ids(claimed) == taken.split()
        again = parsed(await store.again())
        assert [claim.run for claim in again] == [claim.run for claim in claimed or []]

    async def test_order_is_that_of_the_call(self, store: ClockedStore) -> None:
        assert ids(await runs.claim(store, "w", ["c", "a"], 3, 15, in_turn=True)) == ["c1", "a1", "c2"]

    async def test_what_was_handed_out_comes_first_and_the_rest_goes_back(
        self, store: ClockedStore, books: Books
    ) -> None:
        for queue in "ac":
            for _ in range(2):
                await books.connection.lmove(f"rq:queue:{queue}", f"rq:aiorq:inbox:w:{queue}", "LEFT", "RIGHT")
        assert ids(await runs.claim(store, "w", ["a", "b", "c"], 2, 15, in_turn=True)) == ["a1", "b1"]
        assert (await books.queue("a"), await books.queue("c")) == (["a2", "a3", "a4"], ["c1", "c2"])
        assert await books.inbox("w", "a") == await books.inbox("w", "c") == []

    async def test_job_that_is_gone_costs_no_turn(self, store: ClockedStore, books: Books) -> None:
        await books.connection.delete("rq:job:a1")
        assert ids(await runs.claim(store, "w", ["a", "b", "c"], 3, 15, in_turn=True)) == ["a2", "b1", "c1"]

    async def test_not_those_that_are_paused(self, store: ClockedStore, books: Books) -> None:
        await books.connection.hset("rq:aiorq:paused", "b", "{}")
        claimed = await runs.claim(store, "w", ["a", "b", "c"], 3, 15, in_turn=True)
        assert (ids(claimed), paused(claimed)) == (["a1", "c1", "a2"], {"b"})


class TestSuspended:
    async def test_nothing_is_taken(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", "b")
        await books.connection.set("rq:suspended", 1)
        before = await books.dump()
        assert await desk.claim(most=2) is None
        assert await books.dump() == before
        await books.connection.delete("rq:suspended")
        assert ids(await desk.claim(most=2)) == ["a", "b"]

    async def test_inboxes_are_given_back(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", "b", "c", "d")
        await to_inbox(books, "w", 2)
        await desk.enqueue("x", queue="other")
        await to_inbox(books, "w", 1, "other")
        await books.connection.set("rq:suspended", 1)
        assert await desk.claim("default", "other", most=2) is None
        assert (await books.queue(), await books.queue("other")) == (["a", "b", "c", "d"], ["x"])
        assert (await books.inbox("w"), await books.inbox("w", "other")) == ([], [])


async def to_inbox(books: Books, worker: str, count: int, queue: str = "default") -> None:
    """Hand ids to a worker as Redis does when the worker waits."""
    for _ in range(count):
        inbox = f"rq:aiorq:inbox:{worker}:{queue}"
        assert await books.connection.blmove(f"rq:queue:{queue}", inbox, 1, "LEFT", "RIGHT")


class TestInbox:
    async def test_goes_first(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", "b", "c")
        await to_inbox(books, "w", 2)
        await desk.enqueue("urgent", at_front=True)
        assert ids(await desk.claim(most=3)) == ["a", "b", "urgent"]
        assert await books.inbox("w") == []

    async def test_what_is_not_taken_returns_to_the_head_in_order(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", "b", "c", "d", "e")
        await to_inbox(books, "w", 4)
        assert ids(await desk.claim(most=1)) == ["a"]
        assert await books.queue() == ["b", "c", "d", "e"]
        assert await books.inbox("w") == []

    async def test_of_all_queues(self, desk: Desk, books: Books) -> None:
        """While it waits on several queues a worker may be handed an id of each, and have room for one."""
        for queue in ("one", "two", "three"):
            await desk.enqueue(f"{queue}1", f"{queue}2", queue=queue)
            await to_inbox(books, "w", 1, queue)
        assert ids(await desk.claim("one", "two", "three", most=1)) == ["one1"]
        assert await books.queue("one") == ["one2"]
        assert await books.queue("two") == ["two1", "two2"]
        assert await books.queue("three") == ["three1", "three2"]

    async def test_of_another_worker_is_left_alone(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", "b")
        await to_inbox(books, "other", 1)
        assert ids(await desk.claim(most=5)) == ["b"]
        assert await books.inbox("other") == ["a"]

    async def test_order_of_queues_is_stricter(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("low", queue="low")
        await to_inbox(books, "w", 1, "low")
        await desk.enqueue("high", queue="high")
        assert ids(await desk.claim("high", "low", most=1)) == ["high"]
        assert await books.queue("low") == ["low"]

    async def test_of_a_wrong_type(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("a")
        await put_wrong(books, "rq:aiorq:inbox:w:default", "string")
        assert ids(await desk.claim(most=1)) == ["a"]


class TestWhatIsNoJob:
    async def test_ghosts_are_dropped_and_counted(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", "b", "c", "d")
        await books.connection.delete("rq:job:a", "rq:job:c")
        assert ids(await desk.claim(most=1)) == ["b"]
        assert ids(await desk.claim(most=1)) == ["d"]
        assert await books.queue() == []
        assert await dropped(books) == {b"default": b"2"}
        assert await books.runs("a") == []

    @pytest.mark.parametrize(
        "job_id", [b"", b"a b", b"a:b", b"a\n", b"{a}", b"*", b"a/b", b"..", b"\xff", "é".encode(), b"a\x00"]
    )
    async def test_bad_ids(self, desk: Desk, books: Books, job_id: bytes) -> None:
        await books.connection.rpush("rq:queue:default", job_id)
        await books.connection.hset(b"rq:job:" + job_id, mapping={"status": "queued", "data": "x"})
        await desk.enqueue("good")
        assert ids(await desk.claim(most=2)) == ["good"]
        assert await dropped(books) == {b"default": b"1"}
        assert await books.queue() == []

    async def test_long_id_with_a_job(self, desk: Desk, books: Books) -> None:
        """RQ takes it, we do not: it fails where RQ shows it."""
        long = "x" * 256
        await desk.enqueue("x" * 255)
        await books.connection.rpush("rq:queue:default", long)
        await books.connection.hset(f"rq:job:{long}", mapping={"status": "queued", "data": "x", "origin": "default"})
        assert ids(await desk.claim(most=2)) == ["x" * 255]
        assert await books.status(long) == "failed"
        assert await books.places(long) == ["rq:failed:default"]
        assert await books.registry("failed") == {long: 1_767_355_200 + 31_536_000}
        assert await books.ttl(f"rq:job:{long}") > 31_000_000

    async def test_huge_id(self, desk: Desk, books: Books) -> None:
        await books.connection.rpush("rq:queue:default", "x" * 10_000_000)
        await desk.enqueue("good")
        assert ids(await desk.claim(most=2)) == ["good"]
        assert await dropped(books) == {b"default": b"1"}

    @pytest.mark.parametrize("kind", [kind for kind in WRONG if kind != "hash"])
    async def test_key_of_a_wrong_type_is_set_aside(self, desk: Desk, books: Books, kind: str) -> None:
        await desk.enqueue("bad", "good")
        await put_wrong(books, "rq:job:bad", kind)
        raw = await books.connection.dump("rq:job:bad")
        assert ids(await desk.claim(most=2)) == ["good"]
        assert await books.places("bad") == ["rq:failed:default"]
        assert await books.connection.dump("rq:job:bad") == raw
        assert await books.runs("bad") == []

    async def test_canceled(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", "b")
        await books.connection.hset("rq:job:a", "status", "canceled")
        assert ids(await desk.claim(most=2)) == ["b"]
        assert await books.status("a") == "canceled"
        assert await dropped(books) == {b"default": b"1"}

    async def test_running_already(self, desk: Desk, books: Books) -> None:
        run = await desk.start("a")
        await books.connection.rpush("rq:queue:default", "a")
        held = await books.connection.hgetall("rq:job:a")
        assert ids(await desk.claim(worker="other")) == []
        assert await books.connection.hgetall("rq:job:a") == held
        assert await books.registry("wip") == {f"a:{run.token}": NOON + 15}

    async def test_listed_twice(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("a")
        await books.connection.rpush("rq:queue:default", "a", "a")
        assert ids(await desk.claim(most=3)) == ["a"]
        assert await dropped(books) == {b"default": b"2"}
        assert await books.places("a") == ["rq:wip:default"]

    @pytest.mark.parametrize(
        "status", [status.value for status in JobStatus if status not in (JobStatus.STARTED, JobStatus.CANCELED)]
    )
    async def test_whatever_is_listed_runs(self, desk: Desk, books: Books, status: str) -> None:
        """As in RQ; but it then stands in one place only."""
        await desk.put("a", status)
        if status != "queued":
            await books.connection.rpush("rq:queue:default", "a")
        assert ids(await desk.claim()) == ["a"]
        assert await books.places("a") == ["rq:wip:default"]

    @pytest.mark.parametrize("status", [b"banana", b"", None])
    async def test_status_that_is_none(self, desk: Desk, books: Books, status: bytes | None) -> None:
        """Whoever runs it says that it is corrupt; the claim must not stumble over it."""
        await desk.enqueue("a")
        if status is None:
            await books.connection.hdel("rq:job:a", "status")
        else:
            await books.connection.hset("rq:job:a", "status", status)
        claimed = await desk.claim()
        assert ids(claimed) == ["a"]
        assert claimed is not None
        assert claimed[0].fields.get(b"status") == status

    async def test_run_that_nobody_reaped(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """Its execution expired; the id was put back by hand. The worker that slept is refused."""
        run = await desk.start("a", worker="sleeper")
        await books.connection.delete("rq:executions:a", f"rq:execution:a:{run.token}")
        await books.connection.rpush("rq:queue:default", "a")
        claimed = await desk.claim()
        assert claimed is not None
        (claim,) = claimed
        assert await books.registry("wip") == {f"a:{claim.run.token}": NOON + 15}
        before = await books.dump()
        assert not await runs.finish(store, "sleeper", run, b"", 500)
        assert await books.dump() == before
        assert await runs.finish(store, "w", claim.run, b"", 500)


class TestWrongTypes:
    """Keys of RQ's books that hold something else: no job is lost, and the other queues go on."""

    @pytest.mark.parametrize("kind", ["string", "set", "hash"])
    async def test_queue(self, desk: Desk, books: Books, kind: str) -> None:
        await desk.enqueue("a", queue="one")
        await desk.enqueue("b", queue="two")
        await put_wrong(books, "rq:queue:bad", kind)
        assert ids(await desk.claim("one", "bad", "two", most=3)) == ["a", "b"]
        assert await books.places("a") == ["rq:wip:one"]

    async def test_registry_of_what_runs(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", queue="one")
        await desk.enqueue("b1", "b2", queue="bad")
        await desk.enqueue("c", queue="two")
        await put_wrong(books, "rq:wip:bad", "string")
        before = await books.connection.hgetall("rq:job:b1")
        assert ids(await desk.claim("one", "bad", "two", most=3)) == ["a", "c"]
        assert await books.queue("bad") == ["b1", "b2"]
        assert await books.connection.hgetall("rq:job:b1") == before
        assert await books.runs("b1") == []

    @pytest.mark.parametrize("key", ["rq:executions:a", "rq:worker:w:executions", "rq:aiorq:dropped"])
    async def test_books_of_our_own(self, desk: Desk, books: Books, key: str) -> None:
        await books.connection.rpush("rq:queue:default", "ghost")
        await desk.enqueue("a", "b")
        await put_wrong(books, key, "string")
        assert ids(await desk.claim(most=2)) == ["a", "b"]
        assert len(await books.registry("wip")) == 2
        assert await books.queue() == []

    async def test_worker(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("a")
        await put_wrong(books, "rq:worker:w", "string")
        before = await books.dump()
        with pytest.raises(StoreError, match="WRONGTYPE"):
            await desk.claim()
        assert await books.dump() == before


async def test_hundred_at_once(desk: Desk, books: Books) -> None:
    wanted = [f"job-{number}" for number in range(100)]
    await desk.enqueue(*wanted)
    assert ids(await desk.claim(most=100)) == wanted
    assert len(await books.registry("wip")) == 100
    assert await books.connection.scard("rq:worker:w:executions") == 100


async def test_clock_moves(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.enqueue("a")
    await store.set_clock(NOON + 0.75)
    run = (await desk.claim(lease=1) or [])[0].run
    assert await books.registry("wip") == {f"a:{run.token}": NOON + 1.75}
    assert (await books.job("a"))["started_at"] == "2026-01-02T12:00:01.000000Z"
    assert datetime.fromtimestamp(NOON + 0.75, UTC).second == 1


async def test_asked_again_because_no_answer_came(queue: Queue) -> None:
    for job_id in ("a", "b"):
        await queue.enqueue("math.sqrt", 4, job_id=job_id)
    nonce = runs.new_nonce()
    first = await runs.claim(queue.store, "w", ["default"], 1, 15, nonce)
    again = await runs.claim(queue.store, "w", ["default"], 1, 15, nonce)
    assert ids(first) == ids(again) == ["a"]
    assert first is not None
    assert again is not None
    assert first[0].run == again[0].run
    assert await queue.get_job_ids() == ["b"]
