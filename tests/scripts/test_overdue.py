"""overdue.lua: what nobody looks after is found, by one worker at a time."""

from __future__ import annotations

from collections import Counter

import pytest

from aiorq.store import overdue
from aiorq.store.overdue import Finding
from tests.scripts.conftest import NOON, POISONED, TRACEBACK, Books, ClockedStore, Desk

LEADER = "rq:aiorq:leader"


class TestLeader:
    async def test_one_at_a_time(self, desk: Desk, books: Books) -> None:
        assert await desk.look("one", leads=1000) == []
        assert await desk.look("two", leads=1000) is None
        assert await desk.look("one", leads=1000) == []
        assert await books.connection.get(LEADER) == b"one"
        assert 999 <= await books.ttl(LEADER) <= 1000

    async def test_another_one_follows(self, desk: Desk, books: Books) -> None:
        await desk.look("one", leads=1000)
        await books.connection.delete(LEADER)  # it has expired
        assert await desk.look("two") == []
        assert await desk.look("one") is None

    async def test_for_parts_of_a_second(self, desk: Desk, books: Books) -> None:
        await desk.look("one", leads=0.5)
        assert 0 <= await books.connection.pttl(LEADER) <= 500 or not await books.connection.exists(LEADER)

    async def test_who_is_led_changes_nothing(self, desk: Desk, books: Books) -> None:
        await books.connection.sadd("rq:workers", "rq:worker:dead")
        await books.connection.set(LEADER, "one", ex=1000)
        before = await books.dump()
        assert await desk.look("two") is None
        assert await books.dump() == before

    async def test_key_of_a_wrong_type(self, desk: Desk, books: Books) -> None:
        await books.connection.rpush(LEADER, "x")
        assert await desk.look("one") == []
        assert await books.connection.get(LEADER) == b"one"
        assert await books.ttl(LEADER) > 0


class TestLeases:
    async def test_expired_ones(self, store: ClockedStore, desk: Desk) -> None:
        run = await desk.start("a")
        other = await desk.start("b", "other", lease=10)
        await desk.start("c", lease=100)
        await store.set_clock(NOON + 10)
        assert await desk.look() == [Finding("lease", "other", f"b:{other.token}", "w", NOON)]
        await store.set_clock(NOON + 15)
        found = await desk.look() or []
        assert sorted(found, key=lambda finding: finding.queue) == [
            Finding("lease", "default", f"a:{run.token}", "w", NOON),
            Finding("lease", "other", f"b:{other.token}", "w", NOON),
        ]

    async def test_of_an_execution_that_expired(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        run = await desk.start("a")
        await books.connection.delete(f"rq:execution:a:{run.token}")
        await store.set_clock(NOON + 100)
        assert await desk.look() == [Finding("lease", "default", f"a:{run.token}")]

    @pytest.mark.parametrize("heard", [b"abc", b"", b"nan", b"inf", b"-inf", b"1e300", b"-1", b"\xff"])
    async def test_heartbeat_that_is_none(self, store: ClockedStore, desk: Desk, books: Books, heard: bytes) -> None:
        run = await desk.start("a")
        await books.connection.hset(f"rq:execution:a:{run.token}", "last_heartbeat", heard)
        await store.set_clock(NOON + 100)
        assert await desk.look() == [Finding("lease", "default", f"a:{run.token}", "w")]

    async def test_of_rq(self, store: ClockedStore, desk: Desk) -> None:
        run = await desk.start_at_rq("a")
        await store.set_clock(NOON + 100)
        assert await desk.look() == [Finding("lease", "default", f"a:{run.token}", "rqw", NOON)]

    async def test_without_an_execution_id(self, desk: Desk, books: Books) -> None:
        await books.connection.sadd("rq:queues", "rq:queue:default")
        await books.connection.zadd("rq:wip:default", {"a": NOON - 1})
        assert await desk.look() == [Finding("lease", "default", "a")]


class TestDueAndReady:
    async def test_what_is_due(self, store: ClockedStore, desk: Desk) -> None:
        await desk.put("a", "scheduled")
        assert await desk.look() == []
        await store.set_clock(NOON + 499.999)
        assert await desk.look() == []
        await store.set_clock(NOON + 500)
        assert await desk.look() == [Finding("due", "default", "a")]

    async def test_what_is_ready(self, desk: Desk) -> None:
        await desk.put("a", "ready_to_enqueue")
        assert await desk.look() == [Finding("ready", "default", "a")]

    async def test_a_scheduler_of_rq_is_there(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.put("a", "scheduled")
        await desk.put("b", "ready_to_enqueue")
        await desk.put("c", "scheduled", "other")
        await store.set_clock(NOON + 500)
        await books.connection.set("rq:scheduler-lock:default", "pid", ex=60)
        assert await desk.look() == [Finding("due", "other", "c")]


class TestIntermediate:
    async def test_each(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("x")
        await books.connection.rpush("rq:queue:default:intermediate", "a", "b")
        assert await desk.look() == [
            Finding("intermediate", "default", "a"),
            Finding("intermediate", "default", "b"),
        ]


class TestInboxes:
    async def test_first_of_each(self, desk: Desk, books: Books) -> None:
        await desk.register("w", "one", "two", "a:b")
        await books.connection.rpush("rq:aiorq:inbox:w:one", "a", "b")
        await books.connection.rpush("rq:aiorq:inbox:w:a:b", "c")
        found = await desk.look() or []
        assert sorted(found, key=lambda finding: finding.subject) == [
            Finding("inbox", "one", "a", "w"),
            Finding("inbox", "a:b", "c", "w"),
        ]

    async def test_are_forgotten_with_their_worker(self, desk: Desk, books: Books) -> None:
        await desk.register("w", "one", "two")
        await desk.register("dead", "one", "two")
        await books.connection.rpush("rq:aiorq:inbox:dead:two", "a")
        await books.connection.delete("rq:worker:dead")
        assert await desk.look() == [Finding("inbox", "two", "a", "dead")]
        assert await books.connection.smembers("rq:aiorq:inboxes") == {b"w:one", b"w:two", b"dead:two"}
        await books.connection.delete("rq:aiorq:inbox:dead:two")
        assert await desk.look() == []
        assert await books.connection.smembers("rq:aiorq:inboxes") == {b"w:one", b"w:two"}

    async def test_of_a_wrong_type(self, desk: Desk, books: Books) -> None:
        await desk.register("w", "one")
        await books.connection.set("rq:aiorq:inbox:w:one", "text")
        assert await desk.look() == []
        assert await books.connection.smembers("rq:aiorq:inboxes") == {b"w:one"}

    async def test_what_is_none(self, desk: Desk, books: Books) -> None:
        await books.connection.sadd("rq:aiorq:inboxes", "text", b"\xff", "", ":")
        assert await desk.look() == []
        assert not await books.connection.exists("rq:aiorq:inboxes")


class TestDeadWorkers:
    async def test_leave_the_sets(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("x")
        await desk.register("alive")
        await desk.register("dead")
        await books.connection.delete("rq:worker:dead")
        assert await desk.look() == []
        for key in ("rq:workers", "rq:workers:default"):
            assert await books.connection.smembers(key) == {b"rq:worker:alive"}

    async def test_of_rq(self, desk: Desk, books: Books) -> None:
        await desk.start_at_rq("a")
        await books.connection.sadd("rq:workers", "rq:worker:gone")
        await desk.look()
        assert await books.connection.smembers("rq:workers") == {b"rq:worker:rqw"}


async def test_nothing_else_is_changed(store: ClockedStore, desk: Desk, books: Books) -> None:
    await desk.register()
    await desk.start("a")
    await desk.put("b", "scheduled")
    await desk.put("c", "ready_to_enqueue")
    await books.connection.rpush("rq:queue:default:intermediate", "d")
    await store.set_clock(NOON + 1000)
    before = await books.dump()
    assert len(await desk.look() or []) == 4
    after = await books.dump()
    assert after.pop(LEADER.encode()) == (b"w", True)
    assert after == before


class TestForeignBytes:
    async def test_names_that_are_no_text(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """They neither end the look nor hide what else there is."""
        await books.connection.sadd("rq:queues", b"rq:queue:\xff", "short", "", "rq:queue:default")
        for queue in (b"\xff", b"default"):
            await books.connection.zadd(b"rq:wip:" + queue, {b"\xfe:\xfd": NOON - 1})
            await books.connection.zadd(b"rq:scheduled:" + queue, {b"\xfe": NOON - 1})
            await books.connection.zadd(b"rq:ready:" + queue, {b"\xfe": NOON - 1})
            await books.connection.rpush(b"rq:queue:" + queue + b":intermediate", b"\xfe")
        await books.connection.hset(b"rq:execution:\xfe:\xfd", mapping={"worker_name": b"\xfc", "last_heartbeat": "1"})
        await books.connection.sadd("rq:aiorq:inboxes", b"\xfb:default")
        await books.connection.rpush(b"rq:aiorq:inbox:\xfb:default", b"\xfe")
        found = await desk.look() or []
        assert Counter(finding.kind for finding in found) == {
            "lease": 2,
            "due": 2,
            "ready": 2,
            "intermediate": 2,
            "inbox": 1,
        }
        for finding in found:
            if finding.kind == "lease":
                await overdue.reap(
                    store, finding, requeue_lost=False, most=3, traceback=TRACEBACK, poisoned=POISONED, kept=500
                )
            elif finding.kind == "intermediate":
                await overdue.recover(store, finding, patience=60, traceback=TRACEBACK, kept=500)
            elif finding.kind != "inbox":
                await overdue.promote(store, finding)
        assert not await books.connection.exists("rq:wip:default", "rq:scheduled:default", "rq:ready:default")
        assert not await books.connection.exists("rq:queue:default:intermediate")

    @pytest.mark.parametrize(
        "key",
        [
            "rq:queues",
            "rq:workers",
            "rq:workers:default",
            "rq:wip:default",
            "rq:scheduled:default",
            "rq:ready:default",
            "rq:queue:default:intermediate",
            "rq:aiorq:inboxes",
        ],
    )
    async def test_keys_of_a_wrong_type(self, store: ClockedStore, desk: Desk, books: Books, key: str) -> None:
        await desk.register()
        run = await desk.start("a", "good")
        await desk.put("b", "scheduled")
        await books.connection.sadd("rq:workers", "rq:worker:dead")
        await books.connection.delete(key)
        await books.connection.set(key, "text")
        await store.set_clock(NOON + 1000)
        found = await desk.look() or []
        if key == "rq:queues":
            assert found == []
        else:
            assert Finding("lease", "good", f"a:{run.token}", "w", NOON) in found


class TestMany:
    async def test_queues(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """Redis gives them in pages; none is missed."""
        names = [f"q{number}" for number in range(1500)]
        await books.connection.sadd("rq:queues", *[f"rq:queue:{name}" for name in names])
        async with books.connection.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.zadd(f"rq:wip:{name}", {"a:t": NOON - 1})
            await pipe.execute()
        await desk.register()
        await books.connection.rpush("rq:aiorq:inbox:w:default", "x")
        found = await desk.look() or []
        assert {finding.queue for finding in found if finding.kind == "lease"} == set(names)
        assert [finding for finding in found if finding.kind == "inbox"] == [Finding("inbox", "default", "x", "w")]

    async def test_of_one_queue(self, desk: Desk, books: Books) -> None:
        """A look takes a part, the earliest first; the next one takes the rest."""
        await books.connection.sadd("rq:queues", "rq:queue:default")
        await books.connection.zadd("rq:wip:default", {f"j{number}:t": NOON - 1000 + number for number in range(700)})
        seen: list[str] = []
        while found := await desk.look():
            seen += [finding.subject for finding in found]
            for finding in found:
                assert await desk.reap(finding.subject, worker="") == "dropped"
        assert seen == [f"j{number}:t" for number in range(700)]
