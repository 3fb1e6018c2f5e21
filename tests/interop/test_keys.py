"""What aiorq leaves in Redis equals what rq leaves, key by key: the same calls under two prefixes, then a comparison.

To add a scenario that ends, add a row to `ENDED`. A difference that is meant gets a row in the table of allowed ones,
with its reason; a row that covers nothing fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import anyio
import pytest
import rq

from aiorq import Queue, Worker, __version__, connect
from tests.interop.callables import callables
from tests.interop.conftest import Command, Gate, Pair
from tests.interop.snapshot import Allowed, Snapshot, compare, of_job, of_worker, unexplained, unused

YEAR = 31_536_000.0
LEASE = 15.0
WORKER = "one-worker"


class Call(NamedTuple):
    """A call of `enqueue`."""

    function: str
    args: tuple[Any, ...] = ()
    options: Mapping[str, Any] = {}

    def on(self, queue: Any, **more: Any) -> Any:
        """Enqueue on a queue of rq's (gives the job) or of aiorq's (gives a coroutine)."""
        return queue.enqueue(self.function, *self.args, **self.options, **more)


ALL_OPTIONS = {
    "job_timeout": "2m",
    "result_ttl": 700,
    "failure_ttl": "1h",
    "ttl": 900,
    "description": "a description",
    "meta": {"caller": "me", "number": 1},
}

ENDED = {
    "finished": Call("jobs.add", (1,), {"right": 2}),
    "finished-all-options": Call("jobs.add", (1,), ALL_OPTIONS),
    "finished-async": Call("jobs.add_async", (1,)),
    "finished-none": Call("jobs.nothing"),
    "finished-unserialisable": Call("jobs.unserializable"),
    "finished-builtin": Call("len", ("abc",)),
    "finished-no-timeout": Call("jobs.add", (1,), {"job_timeout": -1}),
    "finished-result-ttl-60": Call("jobs.add", (1,), {"result_ttl": 60}),
    "finished-result-ttl-forever": Call("jobs.add", (1,), {"result_ttl": -1}),
    "finished-result-ttl-forever-ttl-60": Call("jobs.add", (1,), {"result_ttl": -1, "ttl": 60}),
    "finished-result-ttl-0": Call("jobs.add", (1,), {"result_ttl": 0, "ttl": 60}),
    "failed": Call("jobs.fail"),
    "failed-all-options": Call("jobs.fail", (), ALL_OPTIONS),
    "failed-timeout": Call("jobs.sleep", (600,), {"job_timeout": 1}),
    "failed-import-name": Call("jobs.no_such"),
    "failed-import-module": Call("no_such_module.function"),
    "failed-killed": Call("jobs.die"),
    "failed-failure-ttl-60": Call("jobs.fail", (), {"failure_ttl": 60}),
    "failed-failure-ttl-forever": Call("jobs.fail", (), {"failure_ttl": -1, "ttl": 60}),
    "failed-failure-ttl-0": Call("jobs.fail", (), {"failure_ttl": 0}),
}
"""Jobs that a worker runs to their end, each alone on a queue of its own name, which is also its id."""

TEXT = "the words of a library's own errors are its own; what a job's function raises is the same in both"
ALLOWED_ALWAYS = [
    Allowed("rq:worker:* | version", __version__, "the version of the library that the worker runs"),
    Allowed(
        "rq:worker:* | ip_address", "unknown", "RQ's word where the address is not known, which aiorq does not look up"
    ),
    Allowed(
        "rq:clean_groups | *", None, "the mark of RQ's maintenance, which runs at the start of each of its workers"
    ),
]
ALLOWED_AT_THE_END = [
    Allowed(
        "rq:results:failed* | (ttl)",
        YEAR,
        "RQ keeps the outcome of a failed job for ever unless the job has a failure_ttl, long after the job itself is "
        "gone; aiorq keeps it as long as the job, so that every key has a TTL or belongs to something that has",
    ),
    Allowed(
        "rq:results:failed-timeout | 0 exc_string",
        "Traceback *aiorq.errors.JobTimeoutException: the job ran longer *",
        TEXT,
    ),
    Allowed(
        "rq:results:failed-import-* | 0 exc_string", "Traceback *aiorq.errors.FunctionNotFoundError: *no_such*", TEXT
    ),
    Allowed(
        "rq:results:failed-killed | 0 exc_string",
        "aiorq.errors.HorseTerminatedError: *(SIGKILL): not sent by the worker",
        TEXT,
    ),
    Allowed("rq:job:failed-killed | worker_name", WORKER, "RQ forgets which worker lost the job; aiorq keeps it"),
    Allowed(
        "rq:job:failed-killed | last_heartbeat",
        "<date>",
        "RQ saves a copy of the job from before its start; aiorq does not",
    ),
    *ALLOWED_ALWAYS,
]


@pytest.fixture(scope="module")
async def ended(anyio_backend: str, pair: Pair, jobs: ModuleType) -> tuple[Snapshot, Snapshot]:
    """What rq and what aiorq left of the jobs of `ENDED` and of the worker that ran them."""
    path = str(Path(str(jobs.__file__)).parent)
    for name, call in ENDED.items():
        call.on(pair.rq_queue(name), job_id=name)
    await Command("rq.cli", pair.theirs.url, path).work("--name", WORKER, *ENDED)
    theirs = pair.theirs.take()  # before the others run, or what expires would have less time left
    client = connect(pair.ours.url)
    for name, call in ENDED.items():
        await call.on(Queue(name, client, prefix=pair.ours.prefix), job_id=name)
    await Worker(list(ENDED), WORKER, connection=client, path=path, prefix=pair.ours.prefix).work(burst=True)
    await client.aclose()
    return theirs, pair.ours.take()


@pytest.mark.parametrize("name", ENDED)
def test_ended(name: str, ended: tuple[Snapshot, Snapshot]) -> None:
    theirs, ours = (of_job(snapshot, name) for snapshot in ended)
    assert unexplained(theirs, ours, ALLOWED_AT_THE_END) == []
    status = ours.get(f"rq:job:{name} | status")
    assert status == (None if name.endswith("-ttl-0") else name.partition("-")[0])


def test_worker_that_ended(ended: tuple[Snapshot, Snapshot]) -> None:
    theirs, ours = (of_worker(snapshot, WORKER) for snapshot in ended)
    assert unexplained(theirs, ours, ALLOWED_AT_THE_END) == []
    assert ours[f"rq:worker:{WORKER} | death"] == "<date>"


def test_nothing_else_is_left(ended: tuple[Snapshot, Snapshot]) -> None:
    assert unexplained(*ended, ALLOWED_AT_THE_END) == []


def test_every_allowed_difference_is_there(ended: tuple[Snapshot, Snapshot]) -> None:
    assert unused(*ended, ALLOWED_AT_THE_END) == []


LEASES = "a lease of aiorq is shorter, so that the jobs of a worker that died are dealt with within seconds"
ALLOWED_WHILE_IT_RUNS = [
    Allowed("rq:wip:default | runs:<random>", LEASE, LEASES),
    Allowed(
        "rq:execution:runs:<random> | (ttl)",
        LEASE + 60,
        f"{LEASES}; the execution outlives its lease by a minute, as long as the set that lists it: RQ's readers "
        "trip over one that is listed and gone",
    ),
    Allowed("rq:executions:runs | (ttl)", LEASE + 60, LEASES),
    Allowed("rq:executions:runs | <random>", LEASE + 60, LEASES),
    Allowed(
        f"rq:worker:{WORKER}* | (ttl)",
        480.0,
        "an idle worker that is silent lives on for that long in both, in RQ a busy one for a lease only; what "
        "counts for its jobs is their own leases",
    ),
    *ALLOWED_ALWAYS,
]


async def test_started(
    empty_pair: Pair, our_queue: Queue, make_gate: Callable[[], Gate], rq_command: Command, jobs_path: str
) -> None:
    gate = make_gate()
    call = Call("jobs.touch_and_wait", gate.args, {"job_id": "runs", "ttl": 60, "meta": {"caller": "me"}})
    call.on(empty_pair.rq_queue())
    theirs: Snapshot = {}
    ours: Snapshot = {}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(rq_command.work, "--name", WORKER, url=empty_pair.theirs.url))
        await gate.reached()
        theirs = empty_pair.theirs.take()
        await gate.open()
    await call.on(our_queue)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(Worker(our_queue, WORKER, path=jobs_path).work, burst=True))
        await gate.reached()
        ours = empty_pair.ours.take()
        await gate.open()
    assert unexplained(theirs, ours, ALLOWED_WHILE_IT_RUNS) == []
    assert unused(theirs, ours, ALLOWED_WHILE_IT_RUNS) == []
    assert ours["rq:job:runs | (ttl)"] == "none"


QUEUED = {
    "minimal": [Call("jobs.add", (1,))],
    "all options": [Call("jobs.add", (1,), {**ALL_OPTIONS, "job_id": "an-id"})],
    "no limits": [Call("jobs.add", (1,), {"job_id": "an-id", "job_timeout": -1, "result_ttl": -1, "failure_ttl": -1})],
    "zeros": [Call("jobs.add", (1,), {"job_id": "an-id", "result_ttl": 0, "failure_ttl": 0})],
    "in order": [Call("jobs.add", (1,), {"job_id": name}) for name in ("first", "second", "third")],
    "at the front": [Call("jobs.add", (1,), {"job_id": name, "at_front": True}) for name in ("last", "first")],
    "arguments": [Call("jobs.echo", (), {"job_id": "an-id", "args": ([1, None], "text"), "kwargs": {"timeout": 1}})],
    "long description": [Call("jobs.echo", ("x" * 100,), {"job_id": "an-id", "b": "y" * 100, "a": {"z": 1}})],
    "function by name": [Call("no_such_module.function", (), {"job_id": "an-id"})],
    "twice": [Call("jobs.add", (1,), {"job_id": "an-id"}), Call("jobs.add", (2,), {"job_id": "an-id"})],
}
"""Calls that wait in a queue."""
ALLOWED_IN_THE_QUEUE = {
    "twice": [
        Allowed(
            "rq:queue:default | (items)",
            ["an-id"],
            "RQ lists an id that is enqueued again while it waits twice, and runs the job twice; aiorq replaces the "
            "one that waits",
        )
    ]
}


@pytest.mark.parametrize("name", QUEUED)
async def test_queued(name: str, empty_pair: Pair, our_queue: Queue) -> None:
    for call in QUEUED[name]:
        call.on(empty_pair.rq_queue())
        await call.on(our_queue)
    theirs, ours = empty_pair.theirs.take(), empty_pair.ours.take()
    allowed = ALLOWED_IN_THE_QUEUE.get(name, [])
    assert unexplained(theirs, ours, allowed) == []
    assert unused(theirs, ours, allowed) == []


async def test_queued_json(empty_pair: Pair, our_queue: Queue) -> None:
    call = Call("jobs.echo", (1, [2]), {"job_id": "an-id", "key": None, "meta": {"a": 1}})
    call.on(rq.Queue(connection=empty_pair.theirs.client, serializer="json"))
    await call.on(Queue(connection=our_queue.connection, serializer="json", prefix=empty_pair.ours.prefix))
    assert compare(empty_pair.theirs.take(json), empty_pair.ours.take(json)) == []


async def test_queued_many(empty_pair: Pair, our_queue: Queue) -> None:
    options: list[dict[str, Any]] = [{"job_id": "a"}, {"job_id": "b", "timeout": 5, "ttl": 60, "meta": {"c": 1}}]
    options += [{"job_id": "front", "at_front": True, "description": "text"}]
    empty_pair.rq_queue().enqueue_many([rq.Queue.prepare_data("jobs.add", (1,), **each) for each in options])
    await our_queue.enqueue_many([Queue.prepare_data("jobs.add", (1,), **each) for each in options])
    assert compare(empty_pair.theirs.take(), empty_pair.ours.take()) == []


async def test_payloads_are_the_same_bytes(empty_pair: Pair, our_queue: Queue, jobs: ModuleType) -> None:
    forms = callables(jobs)
    for number, (form, _) in enumerate(forms.values()):
        empty_pair.rq_queue().enqueue(form, "you", job_id=str(number), meta={"form": number})
        await our_queue.enqueue(form, "you", job_id=str(number), meta={"form": number})
    for number, name in enumerate(forms):
        for field in ("data", "meta", "description"):
            theirs, ours = (side.client.hget(f"{side.prefix}:job:{number}", field) for side in empty_pair)
            assert theirs == ours, (name, field)


NEW_LIFE = "an id that is enqueued again begins a new life in aiorq"
ALLOWED_IN_A_NEW_LIFE = [
    Allowed("rq:finished:default | *", None, f"{NEW_LIFE}: the job is in its queue, and in no registry beside it"),
    Allowed("rq:results:an-id | *", None, f"{NEW_LIFE}: who waits for its result does not get that of the old one"),
    Allowed(
        "rq:job:an-id | (ttl)", "none", f"{NEW_LIFE}: it does not vanish from its queue when the old one would have"
    ),
    *ALLOWED_ALWAYS,
]


async def test_queued_again_after_the_end(
    empty_pair: Pair, our_queue: Queue, rq_command: Command, jobs_path: str
) -> None:
    first, second = (Call("jobs.add", (number,), {"job_id": "an-id"}) for number in range(2))
    first.on(empty_pair.rq_queue())
    await first.on(our_queue)
    await rq_command.work("--name", WORKER, url=empty_pair.theirs.url)
    await Worker(our_queue, WORKER, path=jobs_path).work(burst=True)
    second.on(empty_pair.rq_queue())
    await second.on(our_queue)
    theirs, ours = empty_pair.theirs.take(), empty_pair.ours.take()
    assert unexplained(theirs, ours, ALLOWED_IN_A_NEW_LIFE) == []
    assert unused(theirs, ours, ALLOWED_IN_A_NEW_LIFE) == []
