"""What aiorq leaves in Redis equals what rq leaves for the same calls, for every option, ending and operation of jobs.

The scenarios (`scenarios.py`) are played by both libraries at the same time, under two prefixes of one database. A
difference that is meant gets a row in the table of allowed ones, with its reason; a row that covers nothing fails.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest
import rq.suspension
from redis.asyncio import Redis

from aiorq import Queue, Worker, __version__, connect
from aiorq.suspension import resume
from tests.interop.conftest import Pair, Side
from tests.interop.scenarios import SCENARIOS
from tests.interop.sides import WORKER, Ours, Theirs, done, names_of, play_all
from tests.interop.snapshot import Allowed, Snapshot, of_names, of_worker, unexplained, unused

TOLERANCE = 45.0
"""Seconds by which two TTLs may differ, at most: a worker of rq's is slower. The scenarios' own differ by more."""
YEAR = 31_536_000.0

# Where aiorq differs from RQ on purpose, in the words of the table of such differences.
EVERY_KEY = (
    "in RQ the result stream of a failed job never expires and canceled jobs live forever; in aiorq every key has a "
    "TTL or a cap, or belongs to a job that has"
)
STOPPED = "in RQ a stopped job's result says FAILED; in aiorq STOPPED"
CANCEL = (
    "in RQ a running job that is canceled goes on and ends finished, in two registries; in aiorq its process is "
    "killed, and the job is canceled, in one registry"
)
REFUSED = "in RQ a worker overwrites what became of a job that was taken from it; in aiorq it is refused by the token"
REPLACED = (
    "in RQ the same explicit job id enqueued twice is in two places; in aiorq a queued, deferred or scheduled job of "
    "that id is replaced, one entry"
)
CIRCLE = "RQ accepts self-dependency and cycles; aiorq raises a ValueError at enqueue"
INTERVALS = (
    "RQ aligns the retry intervals of a job that raises to the end of the list; aiorq to the start, the last repeats"
)

GONE = (
    "an unknown dependency counts as met, since a finished parent expires: so does one that is not known any more; in "
    "RQ its children wait for ever"
)
BARRED = (
    "a child of a failed parent stays deferred, and runs when the parent has succeeded after all: so it is known to a "
    "job of its parent's id that comes later"
)
# In the words of the list of RQ's behaviours that are not copied.
GHOST = (
    "in RQ expiry removes the hash of a queued job only, and a ghost id stays in the list: here of a job that has the "
    "TTL of an end which it has had before, or has not had yet; in aiorq what waits for its run is not lost"
)

# What neither names, and why it is so nevertheless.
RELEASED = (
    "UNNAMED: a dependent is let go on every path that ends its last parent, whichever library's worker ends that: so "
    "none is left that waits for a canceled parent whose children are to go on; in RQ those that have another parent, "
    "too, wait for ever"
)
STALE = (
    "UNNAMED: what is written is what changes; when RQ's worker has killed a process it saves the whole job from a "
    "copy of before its start, and who ran it, and when, is gone"
)
LATER = (
    "UNNAMED: dependencies are honoured with a schedule, too, as is asked of aiorq; RQ takes no notice of them there"
)

ALLOWED: list[Allowed] = [
    Allowed("rq:worker:* | version", __version__, "the version of the library that the worker runs"),
    Allowed(
        "rq:worker:* | ip_address", "unknown", "RQ's word where the address is not known, which aiorq does not look up"
    ),
    Allowed(
        "rq:clean_groups | *", None, "the mark of RQ's maintenance, which runs at the start of each of its workers"
    ),
    # Outcomes of failed jobs.
    *(
        Allowed(f"rq:results:{name} | (ttl)", YEAR, EVERY_KEY)
        for name in (
            "at-once-with-*",
            "asked-again-for-the-front_*",
            "asked-again-with-retries_job",
            "canceled-after-the-end_failed",
            "failed-parent-requeued_parent",
            "group-run_two",
            "on-failure*_job",
            "on-success*",
            "parent-asking-again_parent",
            "parent-failed-and-finished_one",
            "parent-failed-before_parent",
            "parent-stopped_parent",
            "parent-whose-callback-raises_parent",
            "rate-limit-*_one",
            "removed-from-registries_failed",
            "repeated-failed_job",
            "requeued*",
        )
    ),
    Allowed("rq:job:parent-failed-before_parent:dependents | (ttl)", YEAR, EVERY_KEY),
    *(
        Allowed(
            f"rq:results:repeated-{name}_job | (ttl)",
            900.0,
            f"{EVERY_KEY}: the outcomes of a job belong to it, and go with it when its time to wait is over",
        )
        for name in ("and-kept-for-ever", "with-a-short-time")
    ),
    # Canceled jobs.
    *(
        Allowed(f"rq:job:{name} | (ttl)", YEAR, EVERY_KEY)
        for name in (
            "canceled-child-of-a-finished-parent_child",
            "canceled-deferred_child",
            "canceled-deferred_child:dependents",
            "canceled-deferred-and-forgotten_child",
            "canceled-retry_job",
            "canceled-running_job",
            "canceled-scheduled_job",
            "in-a-pipeline_parent",
            "parent-canceled_parent",
            "parent-canceled_parent:dependents",
            "parent-canceled-for-its-children_parent",
            "rate-limit-*-canceled_*",
        )
    ),
    Allowed("rq:job:canceled-queued_job | (ttl)", 900.0, EVERY_KEY),
    Allowed("rq:job:registered_canceled | (ttl)", 900.0, EVERY_KEY),
    Allowed("rq:job::canceled-*_child:dependencies | (ttl)", YEAR, EVERY_KEY),
    # Keys that belong to no job (any more).
    Allowed("rq:job::emptied-of-a-child_child:dependencies | *", None, EVERY_KEY),
    Allowed("rq:job:*_missing:dependents | *", None, EVERY_KEY),
    Allowed("rq:job::many-with-dependencies_met:dependencies | *", None, EVERY_KEY),
    Allowed(
        "rq:job::parent-missing_mixed:dependencies | (members)",
        ["parent-missing_parent"],
        f"{EVERY_KEY}: thus the parent that is missing has no set of those that wait for it",
    ),
    # Stopped and canceled runs.
    Allowed("rq:results:*stopped_* | 0 type", "3", STOPPED),
    Allowed("rq:results:*stopped_* | 0 exc_string", "the job was stopped, as somebody had asked", STOPPED),
    Allowed("rq:results:*stopped_* | 0 execution_ended_at", "<epoch>", STALE),
    Allowed("rq:job:*stopped_* | worker_name", WORKER, STALE),
    Allowed("rq:job:*stopped_* | last_heartbeat", "<date>", STALE),
    Allowed("rq:job:*stopped_* | ended_at", "<date>", STALE),
    Allowed("rq:job:canceled-running_job | status", "canceled", CANCEL),
    Allowed("rq:job:canceled-running_job | ended_at", "", CANCEL),
    Allowed("rq:finished:canceled-running | *", None, CANCEL),
    Allowed("rq:results:canceled-running_job | *", None, CANCEL),
    Allowed("rq:finished:deleted-running | *", None, REFUSED),
    Allowed("rq:job:deleted-running_job | *", None, REFUSED),
    Allowed("rq:results:deleted-running_job | *", None, REFUSED),
    # Ids that are enqueued again, and circles.
    Allowed("rq:deferred:enqueued-again-while-it-waits | *", None, REPLACED),
    Allowed("rq:scheduled:enqueued-again-while-it-waits | *", None, REPLACED),
    Allowed("rq:job::enqueued-again-while-it-waits_deferred:dependencies | *", None, REPLACED),
    Allowed("rq:job:enqueued-again-while-it-waits_deferred | dependency_id*", None, REPLACED),
    Allowed("rq:job:waiting-for-itself_job | *", None, CIRCLE),
    Allowed("rq:queue:waiting-for-itself | (items)", ["waiting-for-itself_other"], CIRCLE),
    Allowed("rq:job::waiting-in-a-circle_one:dependencies | (members)", ["waiting-in-a-circle_parent"], CIRCLE),
    Allowed("rq:job:waiting-in-a-circle_one | dependency_id", "waiting-in-a-circle_parent", CIRCLE),
    Allowed("rq:job:waiting-in-a-circle_one | dependency_ids", ["waiting-in-a-circle_parent"], CIRCLE),
    Allowed("rq:job:waiting-in-a-circle_two:dependents | *", None, CIRCLE),
    # Retries.
    Allowed(
        "rq:scheduled:retried-by-a-list-that-is-too-long | retried-by-a-list-that-is-too-long_job", 300.0, INTERVALS
    ),
    Allowed("rq:job:retried-by-a-list-that-is-too-short_job | retries_left", "2", INTERVALS),
    # Jobs that wait and have ended before, or are listed as if they had.
    Allowed("rq:job:requeued*_* | (ttl)", "none", GHOST),
    Allowed("rq:job:rate-limit-and-a-requeue*_one | (ttl)", "none", GHOST),
    Allowed("rq:job:failed-parent-requeued_parent* | (ttl)", "none", GHOST),
    Allowed("rq:job:registered_job | (ttl)", "none", GHOST),
    # Parents that are gone.
    *(
        row
        for name, queue, child in (
            ("parent-deleted", "", "child"),
            ("emptied", "_idle", "child"),
            ("failed-parent-not-kept", "_idle", "allowing"),
        )
        for row in (
            Allowed(f"rq:deferred:{name}{queue} | *", None, GONE),
            Allowed(f"rq:job:{name}_{child} | status", "queued", GONE),
            Allowed(f"rq:job:{name}_{child} | enqueued_at", "<date>", GONE),
            Allowed(f"rq:queue:{name}{queue} | (items)", [f"{name}_{child}"], GONE),
            Allowed(f"rq:queue:{name}{queue} | (t*)", "*", GONE),
        )
    ),
    Allowed("rq:job:failed-parent-not-kept-strict_parent:dependents | (type)", "set", BARRED),
    Allowed("rq:job:failed-parent-not-kept-strict_parent:dependents | (ttl)", YEAR, BARRED),
    Allowed(
        "rq:job:failed-parent-not-kept-strict_parent:dependents | (members)",
        ["failed-parent-not-kept-strict_strict"],
        BARRED,
    ),
    # A canceled parent whose children are to go on.
    Allowed("rq:job:parent-canceled-for-its-children_parent:dependents | *", None, RELEASED),
    Allowed(
        "rq:job::parent-canceled-for-its-children_mixed:dependencies | (members)",
        ["parent-canceled-for-its-children_other"],
        RELEASED,
    ),
    # Scheduled jobs.
    Allowed("rq:scheduled:scheduled-and-deferred | *", None, LATER),
    Allowed("rq:deferred:scheduled-and-deferred | (t*)", "*", LATER),
    Allowed("rq:deferred:scheduled-and-deferred | scheduled-and-deferred_child", 0.0, LATER),
    Allowed("rq:job:scheduled-and-deferred_child | status", "deferred", LATER),
    Allowed("rq:job:scheduled-and-deferred_parent:dependents | (t*)", "*", LATER),
    Allowed("rq:job:scheduled-and-deferred_parent:dependents | (members)", ["scheduled-and-deferred_child"], LATER),
    Allowed("rq:job::scheduled-and-deferred_child:dependencies | (t*)", "*", LATER),
    Allowed("rq:job::scheduled-and-deferred_child:dependencies | (members)", ["scheduled-and-deferred_parent"], LATER),
]


@pytest.fixture(scope="module")
async def left(
    anyio_backend: str, pair: Pair, jobs: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Snapshot, Snapshot]:
    """What rq and what aiorq left of all scenarios."""
    connection = connect(pair.ours.url)
    path, folder = str(Path(str(jobs.__file__)).parent), tmp_path_factory.mktemp("told")
    theirs, ours = Theirs(pair.theirs, path, folder), Ours(pair.ours, path, folder, connection)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(play_all, theirs, SCENARIOS)
        tasks.start_soon(play_all, ours, SCENARIOS)
    # What has no time left leaves with the next cleanup, which comes sooner to a queue in one library than in another.
    for library in theirs, ours:
        client: Any = library.side.client
        for key in client.smembers(f"{library.side.prefix}:queues"):
            name = key.decode().removeprefix(f"{library.side.prefix}:queue:")
            await done(library.queue(name).failed_job_registry.cleanup())
    await connection.aclose()
    return pair.theirs.take(), pair.ours.take()


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str, left: tuple[Snapshot, Snapshot]) -> None:
    theirs, ours = (of_names(snapshot, names_of(name)) for snapshot in left)
    assert theirs
    assert unexplained(theirs, ours, ALLOWED, TOLERANCE) == []


def test_worker(left: tuple[Snapshot, Snapshot]) -> None:
    theirs, ours = (of_worker(snapshot, WORKER) for snapshot in left)
    assert unexplained(theirs, ours, ALLOWED, TOLERANCE) == []


def test_nothing_else_is_left(left: tuple[Snapshot, Snapshot]) -> None:
    assert unexplained(*left, ALLOWED, TOLERANCE) == []


def test_every_allowed_difference_is_there(left: tuple[Snapshot, Snapshot]) -> None:
    assert unused(*left, ALLOWED, TOLERANCE) == []


class Watch:
    """Waits for what a worker shows of its state, by the server's notes of changes."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.key = f"{side.prefix}:worker:{WORKER}"

    async def until(self, state: bytes) -> None:
        """Wait until the worker shows a state."""
        with anyio.fail_after(20):
            async with Redis.from_url(self.side.url) as client, client.pubsub() as notes:
                await notes.subscribe(f"__keyspace@1__:{self.key}")
                async for _ in notes.listen():
                    if await client.hget(self.key, "state") == state:
                        return


@pytest.fixture
def watches(empty_pair: Pair) -> Iterator[list[Watch]]:
    """Those of rq's worker, and of aiorq's."""
    client: Any = empty_pair.ours.client
    before = client.config_get("notify-keyspace-events")["notify-keyspace-events"]
    client.config_set("notify-keyspace-events", "Kh")
    yield [Watch(side) for side in empty_pair]
    client.config_set("notify-keyspace-events", before)


def differences(pair: Pair) -> list[str]:
    """What differs while workers wait, but for schedulers: each worker of aiorq is one, in RQ if told so."""
    ours = {part: value for part, value in pair.ours.take().items() if not part.startswith("rq:scheduler")}
    return unexplained(pair.theirs.take(), ours, ALLOWED, TOLERANCE)


async def test_worker_that_waits_and_is_suspended(
    empty_pair: Pair, our_queue: Queue, watches: list[Watch], jobs_path: str
) -> None:
    theirs, ours = empty_pair
    command = [sys.executable, "-m", "rq.cli", "worker", "--url", theirs.url, "--name", WORKER, "--quiet"]
    command += ["--path", jobs_path]
    worker = Worker(our_queue, WORKER, path=jobs_path)
    async with await anyio.open_process(command) as process, anyio.create_task_group() as tasks:
        try:
            tasks.start_soon(worker.work)
            for watch in watches:
                await watch.until(b"idle")
            assert differences(empty_pair) == []

            for call in ("parity.suspend", 900), ("jobs.add", 1):
                empty_pair.rq_queue().enqueue(*call, job_id=call[0][-3:])
                await our_queue.enqueue(*call, job_id=call[0][-3:])
            for watch in watches:
                await watch.until(b"suspended")
            assert differences(empty_pair) == []
            assert ours.take()["rq:queue:default | (items)"] == ["add"]
        finally:
            process.terminate()
            worker.request_stop()
    assert differences(empty_pair) == []
    assert ours.client.keys(f"{ours.prefix}:scheduler*") == []
    rq.suspension.resume(theirs.client)
    await resume(our_queue.connection, prefix=ours.prefix)
    assert differences(empty_pair) == []
