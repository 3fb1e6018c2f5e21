"""enqueue.lua: jobs that ask for more than a place in their queue."""

from __future__ import annotations

from typing import Any

import pytest

from aiorq.errors import DependencyCycleError, DuplicateJobError, QueueFullError, StoreError
from aiorq.status import JobStatus
from aiorq.store import jobs, runs
from tests.scripts.conftest import NOON, Books, ClockedStore, Desk, changed

STAMP = "2026-01-02T12:00:00.250000Z"
STATES = [status.value for status in JobStatus]
MET = {"finished"}
WISHES: dict[str, dict[str, Any]] = {
    "parents": {"parents": ["parent"]},
    "at": {"wishes": {"at": NOON + 60}},
    "delay": {"wishes": {"delay": 60.0}},
    "limit": {"limit": ("api", 1)},
    "group": {"wishes": {"group": "g"}},
    "run": {"wishes": {"run_token": "f" * 32, "lease": 60.0}},
}
"""A wish of each kind; the job of this id is there, and waits in another queue."""


class TestParents:
    async def test_waits_for_one(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("parent", queue="other")
        before = await books.dump()
        assert await desk.place("a", parents=["parent"]) == "deferred"
        fields = await books.job("a")
        assert (fields["status"], fields["origin"]) == ("deferred", "default")
        assert "enqueued_at" not in fields
        assert changed(before, await books.dump()).keys() == {
            "rq:queues",
            "rq:job:a",
            "rq:deferred:default",
            "rq:job:parent:dependents",
            "rq:job::a:dependencies",
        }
        assert await books.registry("deferred") == {"a": int(NOON)}
        assert await books.members("rq:job:parent:dependents") == {"a"}
        assert await books.members("rq:job::a:dependencies") == {"parent"}
        assert await books.members("rq:queues") == {"rq:queue:default", "rq:queue:other"}

    @pytest.mark.parametrize("allow", [True, False])
    @pytest.mark.parametrize("status", STATES)
    async def test_state_of_the_parent(self, desk: Desk, books: Books, status: str, allow: bool) -> None:
        if status == "started":
            await desk.start("parent", queue="other")
        else:
            await desk.put("parent", status, "other")
        met = status in (MET | {"failed"} if allow else MET)
        assert await desk.place("a", parents=["parent"], allow_failure=allow) == ("queued" if met else "deferred")
        assert await books.places("a") == ["rq:queue:default" if met else "rq:deferred:default"]
        assert await books.connection.exists("rq:job:parent:dependents", "rq:job::a:dependencies") == (0 if met else 2)

    @pytest.mark.parametrize("wrong", [True, False])
    async def test_parent_that_is_no_job_counts_as_met(self, desk: Desk, books: Books, wrong: bool) -> None:
        if wrong:
            await books.connection.set("rq:job:parent", "text")
        before = await books.dump()
        assert await desk.place("a", parents=["parent"]) == "queued"
        assert changed(before, await books.dump()).keys() == {"rq:queues", "rq:job:a", "rq:queue:default"}

    async def test_parent_without_a_status_does_not(self, desk: Desk, books: Books) -> None:
        await books.connection.hset("rq:job:parent", "data", "x")
        assert await desk.place("a", parents=["parent"]) == "deferred"

    async def test_several_of_which_some_are_met(self, desk: Desk, books: Books) -> None:
        """All that are there are entered: one that has finished may be enqueued once more."""
        await desk.enqueue("waits", queue="other")
        await desk.put("ended", "finished", "other")
        assert await desk.place("a", parents=["ended", "missing", "waits"]) == "deferred"
        assert await books.members("rq:job::a:dependencies") == {"ended", "waits"}
        for parent, entered in (("ended", 1), ("waits", 1), ("missing", 0)):
            assert await books.connection.sismember(f"rq:job:{parent}:dependents", "a") == entered

    async def test_what_is_known_of_a_parent_goes_with_it(self, desk: Desk, books: Books) -> None:
        """Nobody would ever delete it."""
        await desk.enqueue("soon", queue="other", ttl=100)
        await desk.enqueue("later", queue="other")
        await desk.put("ended", "finished", "other")
        await books.connection.expire("rq:job:ended", 50)
        await desk.place("a", parents=["soon", "ended", "later", "missing"])
        assert 99 <= await books.ttl("rq:job:soon:dependents") <= 100
        assert 49 <= await books.ttl("rq:job:ended:dependents") <= 50
        assert await books.ttl("rq:job:later:dependents") == -1
        assert not await books.connection.exists("rq:job:missing:dependents")

    async def test_ttl_covers_what_it_waits_for(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("parent", queue="other")
        await desk.place("a", parents=["parent"], ttl=100)
        for key in ("rq:job:a", "rq:job::a:dependencies"):
            assert 99 <= await books.ttl(key) <= 100

    async def test_what_another_job_of_that_id_left(self, desk: Desk, books: Books) -> None:
        """RQ's `empty` leaves what the jobs waited for."""
        await books.connection.sadd("rq:job::a:dependencies", "theirs")
        await desk.enqueue("parent", queue="other")
        await desk.place("a", parents=["parent"])
        assert await books.members("rq:job::a:dependencies") == {"parent"}
        await books.connection.delete("rq:job:a", "rq:job::a:dependencies")
        await books.connection.set("rq:job::a:dependencies", "text")
        await desk.place("a", parents=["parent"])
        assert await books.members("rq:job::a:dependencies") == {"parent"}

    async def test_parents_key_of_a_wrong_type(self, desk: Desk, books: Books) -> None:
        """It is found by the sweep then."""
        await desk.enqueue("parent", queue="other")
        await books.connection.set("rq:job:parent:dependents", "text")
        assert await desk.place("a", parents=["parent"]) == "deferred"
        assert await books.members("rq:job::a:dependencies") == {"parent"}

    async def test_many(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """What it waits for is kept in a list besides, so that the end of each costs one look."""
        parents = [f"parent-{number}" for number in range(1500)]
        await desk.enqueue("parent-7", queue="other")
        assert await desk.place("a", parents=parents) == "deferred"
        assert not await books.connection.exists("rq:aiorq:waits:a")  # it waits for one of them
        await jobs.enqueue_many(store, [desk.new(parent, "other") for parent in parents])
        assert await desk.place("a", parents=parents) == "deferred"
        assert await books.connection.lrange("rq:aiorq:waits:a", 0, -1) == [*map(str.encode, parents), b""]
        assert 86_399 <= await books.ttl("rq:aiorq:waits:a") <= 86_400

    async def test_at_the_front_and_at_its_time_later_on(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("parent", queue="other")
        await desk.place("a", parents=["parent"], at_front=True, wishes={"at": NOON + 60})
        fields = await books.job("a")
        assert (fields["aiorq_at_front"], float(fields["aiorq_at"])) == ("1", NOON + 60)


class TestCycles:
    async def test_of_two(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("first", queue="other")
        await desk.enqueue("b", parents=["first"])
        await desk.enqueue("a", parents=["b"])
        before = await books.dump()
        with pytest.raises(DependencyCycleError, match="'b' would wait") as caught:
            await desk.enqueue("b", parents=["a"])
        assert caught.value.job_id == "b"
        assert await books.dump() == before

    @pytest.mark.parametrize("before", ["nothing", "queued", "finished", "deferred", "named"])
    async def test_with_itself(self, desk: Desk, books: Books, before: str) -> None:
        await desk.enqueue("first", queue="other")
        if before == "named":
            await desk.enqueue("a", parents=["first"])
            await desk.enqueue("b", parents=["a"])
        elif before != "nothing":
            await desk.put("a", before)
        look = await books.dump()
        with pytest.raises(DependencyCycleError):
            await desk.enqueue("a", parents=["first", "a"])
        assert await books.dump() == look

    async def test_of_a_thousand(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("first", queue="other")
        chain = [desk.new(f"job-{n}", parents=[f"job-{n - 1}" if n else "first"]) for n in range(1000)]
        await jobs.enqueue_many(store, chain)
        assert len(await books.registry("deferred")) == 1000
        before = await books.job("job-0")
        with pytest.raises(DependencyCycleError):
            await desk.enqueue("job-0", parents=["job-999"])
        assert await books.job("job-0") == before
        assert await books.places("job-0") == ["rq:deferred:default"]
        assert await desk.place("job-999", parents=["job-0"]) == "deferred"

    async def test_graph_that_is_none(self, desk: Desk) -> None:
        """Two ways lead to the same job."""
        await desk.enqueue("first", queue="other")
        for job_id in ("left", "right"):
            await desk.enqueue(job_id, parents=["first"])
        assert await desk.place("last", parents=["left", "right"]) == "deferred"
        assert await desk.place("left", parents=["right"]) == "deferred"

    @pytest.mark.parametrize("status", [state for state in STATES if state not in ("deferred", "started")])
    async def test_parent_that_does_not_wait_closes_none(self, desk: Desk, books: Books, status: str) -> None:
        await desk.enqueue("b", parents=[])
        await desk.enqueue("a", parents=["b"])
        await books.connection.zrem("rq:deferred:default", "a")
        await desk.put("a", status)
        assert await desk.place("b", parents=["a"]) == ("queued" if status == "finished" else "deferred")

    async def test_through_dependents_that_were_set_apart(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """They wait for the job although nothing of it says so."""
        await desk.enqueue("p")
        await jobs.enqueue_many(store, [desk.new(f"child-{n}", parents=["p"]) for n in range(101)])
        await desk.end_apart("fail", await desk.take("p"))
        assert not await books.connection.exists("rq:job:p:dependents")
        with pytest.raises(DependencyCycleError):
            await desk.enqueue("p", parents=["child-7"])

    async def test_others_of_the_call_are_enqueued(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("first", queue="other")
        await desk.enqueue("b", parents=["first"])
        await desk.enqueue("a", parents=["b"])
        with pytest.raises(DependencyCycleError):
            await jobs.enqueue_many(store, [desk.new("x"), desk.new("b", parents=["a"]), desk.new("y")])
        assert await books.queue() == ["x", "y"]


class TestTime:
    @pytest.mark.parametrize("wishes", [{"at": NOON + 60}, {"delay": 60.0}], ids=["at", "delay"])
    async def test_scheduled(self, desk: Desk, books: Books, wishes: dict[str, Any]) -> None:
        assert await desk.place("a", wishes=wishes) == "scheduled"
        assert await books.registry("scheduled") == {"a": NOON + 60}
        assert await books.places("a") == ["rq:scheduled:default"]
        fields = await books.job("a")
        assert fields["status"] == "scheduled"
        assert "enqueued_at" not in fields
        assert await books.members("rq:queues") == {"rq:queue:default"}

    @pytest.mark.parametrize("wishes", [{"at": NOON}, {"at": NOON - 1e6}, {"at": 0.0}, {"delay": 0.0}])
    async def test_past_means_now(self, desk: Desk, books: Books, wishes: dict[str, Any]) -> None:
        assert await desk.place("a", wishes=wishes) == "queued"
        assert await books.places("a") == ["rq:queue:default"]
        assert (await books.job("a"))["enqueued_at"] == STAMP

    async def test_time_to_wait(self, desk: Desk, books: Books) -> None:
        await desk.place("a", ttl=100, wishes={"delay": 60.0})
        assert 99 <= await books.ttl("rq:job:a") <= 100


class TestLimit:
    async def test_free_slot(self, desk: Desk, books: Books) -> None:
        assert await desk.place("a", limit=("api", 1)) == "queued"
        assert await books.places("a") == ["rq:queue:default"]
        fields = await books.job("a")
        assert (fields["status"], fields["enqueued_at"]) == ("queued", STAMP)
        assert (fields["rate_limit_key"], fields["rate_limit_concurrency"]) == ("api", "1")
        assert await books.registry("rl", "api:allowed") == {"a": NOON}
        assert await books.members("rq:rl-keys") == {"api"}
        assert await books.connection.hgetall("rq:rl:api") == {b"concurrency": b"1"}

    async def test_no_free_slot(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.place("a", limit=("api", 1))
        await store.set_clock(NOON + 1)
        assert await desk.place("b", limit=("api", 1)) == "rate_limited"
        assert await books.places("b") == ["rq:rl:api:rate_limited"]
        assert await books.registry("rl", "api:rate_limited") == {"b": NOON + 1}
        fields = await books.job("b")
        assert fields["status"] == "rate_limited"
        assert "enqueued_at" not in fields
        assert (await books.queue(), await books.slots()) == (["a"], {"a"})

    async def test_keys_apart(self, desk: Desk, books: Books) -> None:
        assert await desk.place("a", limit=("api", 1)) == "queued"
        assert await desk.place("b", limit=("api:x", 1)) == "queued"
        assert await desk.place("c", "other", limit=("api", 1)) == "rate_limited"

    async def test_who_waits_longer_comes_first(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        """A higher number lets in who waits, not who brings it."""
        for number, job_id in enumerate("abc"):
            await store.set_clock(NOON + number)
            await desk.place(job_id, limit=("api", 1))
        await store.set_clock(NOON + 5)
        assert await desk.place("d", limit=("api", 2)) == "rate_limited"
        assert (await books.queue(), await books.slots()) == (["a", "b"], {"a", "b"})
        assert list(await books.registry("rl", "api:rate_limited")) == ["c", "d"]

    async def test_entries_that_lead_nowhere_take_no_slot(self, desk: Desk, books: Books) -> None:
        await desk.put("finished", "finished", "other")
        await books.connection.set("rq:job:text", "text")
        await books.connection.zadd("rq:rl:api:rate_limited", {"gone": 1, "finished": 2, "text": 3})
        assert await desk.place("a", limit=("api", 1)) == "queued"
        assert await books.slots() == {"a"}
        assert await books.registry("rl", "api:rate_limited") == {}
        assert await books.places("finished") == ["rq:finished:other"]

    async def test_queue_of_who_waits_is_of_a_wrong_type(self, desk: Desk, books: Books) -> None:
        await desk.place("a", "other", limit=("api", 1))
        await desk.place("b", "bad", limit=("api", 1))
        await books.connection.delete("rq:queue:bad")
        await books.connection.set("rq:queue:bad", "text")
        await desk.finish("a", "other")
        assert (await books.status("b"), await books.slots()) == ("rate_limited", set())
        assert await books.places("b") == ["rq:rl:api:rate_limited"]
        await books.connection.delete("rq:queue:bad")
        assert await desk.place("c", limit=("api", 1)) == "rate_limited"
        assert await books.places("b") == ["rq:queue:bad"]

    async def test_at_the_front(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("x")
        await desk.place("a", limit=("api", 1), at_front=True)
        assert await books.queue() == ["a", "x"]
        await desk.place("b", limit=("api", 1), at_front=True)
        await desk.finish("a")
        assert await books.queue() == ["b", "x"]

    async def test_slots_of_a_wrong_type(self, desk: Desk, books: Books) -> None:
        """Nobody knows what is free."""
        await books.connection.set("rq:rl:api:allowed", "text")
        assert await desk.place("a", limit=("api", 1)) == "rate_limited"
        assert await books.places("a") == ["rq:rl:api:rate_limited"]

    async def test_replacing_a_job_frees_its_slot(self, desk: Desk, books: Books) -> None:
        await desk.place("a", limit=("api", 1))
        await desk.place("b", limit=("api", 1))
        assert await desk.place("a", limit=("api", 1)) == "rate_limited"
        assert (await books.queue(), await books.slots()) == (["b"], {"b"})
        await desk.place("b")
        assert (await books.queue(), await books.slots()) == (["a", "b"], {"a"})

    async def test_only_once_its_parents_have_ended(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("parent")
        await desk.place("a", parents=["parent"], limit=("api", 1))
        assert await books.slots() == set()
        assert await desk.place("b", limit=("api", 1)) == "queued"

    async def test_only_once_it_is_due(self, desk: Desk, books: Books) -> None:
        assert await desk.place("a", limit=("api", 1), wishes={"delay": 60.0}) == "scheduled"
        assert await books.slots() == set()
        assert await books.places("a") == ["rq:scheduled:default"]


class TestGroup:
    async def test_is_in_it(self, desk: Desk, books: Books) -> None:
        assert await desk.place("a", wishes={"group": "g"}) == "queued"
        assert (await books.members("rq:groups"), await books.members("rq:group:g")) == ({"g"}, {"a"})
        assert (await books.job("a"))["group_id"] == "g"

    async def test_also_while_it_waits(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("parent")
        await desk.place("a", parents=["parent"], wishes={"group": "g"})
        assert await books.members("rq:group:g") == {"a"}

    async def test_leaves_the_old_one(self, desk: Desk, books: Books) -> None:
        await desk.place("a", wishes={"group": "old"})
        await desk.place("b", wishes={"group": "old"})
        await desk.place("a", wishes={"group": "new"})
        assert (await books.members("rq:group:old"), await books.members("rq:group:new")) == ({"b"}, {"a"})
        await desk.place("b")
        assert not await books.connection.exists("rq:group:old")


class TestUnique:
    @pytest.mark.parametrize("status", STATES)
    async def test_refused_whatever_became_of_the_other(self, desk: Desk, books: Books, status: str) -> None:
        await (desk.start("a") if status == "started" else desk.put("a", status))
        before = await books.dump()
        with pytest.raises(DuplicateJobError, match="'a' exists already") as caught:
            await desk.place("a", wishes={"unique": True})
        assert caught.value.job_id == "a"
        assert await books.dump() == before

    async def test_the_only_one(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        assert await desk.place("a", wishes={"unique": True}) == "queued"
        before = await books.dump()
        assert await store.again() == [STAMP.encode(), b"queued"]
        assert await books.dump() == before
        await desk.finish("a", ttl=0)
        assert await desk.place("a", wishes={"unique": True}) == "queued"

    async def test_scheduled(self, desk: Desk) -> None:
        assert await desk.place("a", wishes={"unique": True, "delay": 60.0}) == "scheduled"
        with pytest.raises(DuplicateJobError):
            await desk.place("a", wishes={"unique": True, "delay": 60.0})


class TestRunAtOnce:
    async def test_is_started(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        token = "f" * 32
        assert await desk.place("a", ttl=100, wishes={"run_token": token, "lease": 240.0}) == "started"
        fields = await books.job("a")
        started = ("status", "enqueued_at", "started_at", "last_heartbeat", "worker_name")
        assert [fields[name] for name in started] == ["started", STAMP, STAMP, STAMP, ""]
        assert await books.places("a") == ["rq:wip:default"]
        assert await books.registry("wip") == {f"a:{token}": NOON + 240}
        assert await books.runs("a") == [f"rq:execution:a:{token}", "rq:executions:a"]
        assert await books.ttl("rq:job:a") == -1
        assert await runs.finish(store, "", runs.Run("default", "a", token), b"", 500)
        assert await books.places("a") == ["rq:finished:default"]
        assert await books.runs("a") == []

    async def test_nobody_else_takes_it(self, desk: Desk) -> None:
        await desk.place("a", wishes=WISHES["run"]["wishes"])
        assert await desk.claim() == []
        with pytest.raises(DuplicateJobError, match="is running"):
            await desk.place("a")

    async def test_not_while_it_waits(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("parent")
        assert await desk.place("a", parents=["parent"], wishes=WISHES["run"]["wishes"]) == "deferred"
        assert await books.runs("a") == []

    async def test_lease_that_ran_out(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.place("a", wishes=WISHES["run"]["wishes"])
        await store.set_clock(NOON + 61)
        assert await desk.reap("a:" + "f" * 32, worker="") == "failed"
        assert await books.places("a") == ["rq:failed:default"]


class TestSentTwice:
    @pytest.fixture(autouse=True)
    async def parent(self, desk: Desk) -> None:
        await desk.enqueue("parent", queue="other")

    @pytest.mark.parametrize("nonce", ["", "nonce"])
    @pytest.mark.parametrize("wish", WISHES)
    async def test_nothing_changes(self, store: ClockedStore, desk: Desk, books: Books, wish: str, nonce: str) -> None:
        status = await desk.place("a", nonce=nonce, **WISHES[wish])
        before = await books.dump()
        await store.set_clock(NOON + 5)
        assert (await store.again())[1] == status.encode()
        assert await books.dump() == before

    @pytest.mark.parametrize("nonce", ["", "nonce"])
    @pytest.mark.parametrize("wish", ["parents", "at", "limit", "group"])
    @pytest.mark.parametrize("end", ["finished", "failed", "canceled", "gone"])
    async def test_after_the_job_moved_on(
        self, store: ClockedStore, desk: Desk, books: Books, wish: str, nonce: str, end: str
    ) -> None:
        await desk.place("a", nonce=nonce, **WISHES[wish])
        sent = store.last
        await self.let_go(store, desk, wish)
        if end == "failed":
            await desk.fail("a")
        elif end == "canceled":
            await jobs.cancel(store, "a", 500)
        else:
            await desk.finish("a", ttl=0 if end == "gone" else 500)
        before = await books.dump()
        store.last = sent
        assert (await store.again())[1] == b"queued"
        assert await books.dump() == before

    async def let_go(self, store: ClockedStore, desk: Desk, wish: str) -> None:
        if wish == "parents":
            await desk.finish("parent", "other")
        elif wish == "at":
            await store.set_clock(NOON + 60)
            assert await desk.promote("a") == "queued"

    async def test_a_run_that_has_ended_does_not_begin_again(
        self, store: ClockedStore, desk: Desk, books: Books
    ) -> None:
        await desk.place("a", **WISHES["run"])
        sent = store.last
        assert await runs.finish(store, "", runs.Run("default", "a", "f" * 32), b"", 0)
        before = await books.dump()
        store.last = sent
        assert (await store.again())[1] == b"queued"
        assert await books.dump() == before


class TestWrongTypes:
    """Each job is written and has its place, or is not there at all."""

    @pytest.mark.parametrize(
        ("wish", "key"),
        [
            *((wish, "rq:queue:default") for wish in WISHES),
            ("parents", "rq:deferred:default"),
            ("at", "rq:scheduled:default"),
            ("delay", "rq:scheduled:default"),
            ("limit", "rq:rl:api:rate_limited"),
            ("limit", "rq:rl:api"),
            ("limit", "rq:rl-keys"),
            ("group", "rq:group:g"),
            ("group", "rq:groups"),
            ("run", "rq:wip:default"),
        ],
    )
    @pytest.mark.parametrize("known", [True, False])
    async def test_nothing_is_changed(self, desk: Desk, books: Books, wish: str, key: str, known: bool) -> None:
        await desk.enqueue("parent", queue="other")
        if known:
            await desk.put("a", "finished")
        await books.connection.set(key, "text")
        before = await books.dump()
        with pytest.raises(StoreError, match=r"'rq:queue:default', or a registry of that queue, is a key of another"):
            await desk.place("a", **WISHES[wish])
        assert await books.dump() == before
        await books.connection.delete(key)
        await desk.place("a", **WISHES[wish])
        assert len(await books.places("a")) == 1

    @pytest.mark.parametrize("key", ["rq:executions:a", "rq:execution:a:" + "f" * 32])
    async def test_books_of_our_own(self, desk: Desk, books: Books, key: str) -> None:
        if key == "rq:executions:a":
            await books.connection.set(key, "text")
        assert await desk.place("a", **WISHES["run"]) == "started"
        assert await books.places("a") == ["rq:wip:default"]

    async def test_neighbours_do_not_suffer(self, store: ClockedStore, desk: Desk, books: Books) -> None:
        await desk.enqueue("parent", queue="other")
        await books.connection.set("rq:deferred:default", "text")
        with pytest.raises(StoreError):
            await jobs.enqueue_many(store, [desk.new("a"), desk.new("b", parents=["parent"]), desk.new("c")])
        assert (await books.queue(), await books.status("b")) == (["a", "c"], None)


class TestNewLife:
    """The same id again, while others are about it."""

    async def test_of_a_parent_keeps_who_waits_for_it(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("parent", ttl=100)
        await desk.place("a", "other", parents=["parent"])
        await desk.enqueue("parent")
        assert await books.ttl("rq:job:parent:dependents") == -1
        await desk.finish("parent")
        assert await books.places("a") == ["rq:queue:other"]

    async def test_of_a_child_with_other_parents(self, desk: Desk, books: Books) -> None:
        for parent in ("one", "two"):
            await desk.enqueue(parent, queue=parent)
        await desk.place("a", parents=["one"])
        await desk.place("a", parents=["two"])
        assert await books.members("rq:job::a:dependencies") == {"two"}
        await desk.finish("one", "one")
        assert await books.places("a") == ["rq:deferred:default"]
        await desk.finish("two", "two")
        assert await books.places("a") == ["rq:queue:default"]

    async def test_of_a_child_that_waits_for_nothing(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("one", queue="one")
        await desk.place("a", parents=["one"])
        await desk.place("a")
        assert await books.places("a") == ["rq:queue:default"]
        assert not await books.connection.exists("rq:job::a:dependencies")
        await desk.finish("one", "one")
        assert await books.places("a") == ["rq:queue:default"]

    async def test_attempts_are_those_of_one_life(self, desk: Desk, books: Books) -> None:
        await desk.enqueue("a", retries_left=1)
        await desk.fail("a")
        assert len(await books.attempts("a")) == 1
        await desk.enqueue("a")
        assert await books.attempts("a") == []
        assert "aiorq_attempts" not in await books.job("a")


async def test_refused_at_the_memory_limit(desk: Desk, books: Books) -> None:
    await desk.enqueue("parent")
    before = await books.dump()
    await books.connection.config_set("maxmemory", 1)
    try:
        for options in WISHES.values():
            with pytest.raises(QueueFullError):
                await desk.place("a", **options)
    finally:
        await books.connection.config_set("maxmemory", 0)
    assert await books.dump() == before
