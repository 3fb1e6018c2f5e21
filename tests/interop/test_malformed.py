"""What a `rq worker` ends at does not end a worker of aiorq: a job that cannot be read fails alone and says why."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import redis
import rq
from rq.job import JobStatus
from rq.registry import FailedJobRegistry

from aiorq import Job, Queue, Worker
from aiorq.errors import CorruptJobError
from aiorq.serializers import PickleSerializer

MakeWorker = Callable[..., Worker]

DATES = ("created_at", "enqueued_at", "started_at", "ended_at", "last_heartbeat")
INTEGERS = (
    "timeout",
    "result_ttl",
    "failure_ttl",
    "ttl",
    "success_callback_timeout",
    "failure_callback_timeout",
    "stopped_callback_timeout",
    "retries_left",
    "number_of_retries",
    "repeats_left",
    "rate_limit_concurrency",
)
FLAGS = ("allow_dependency_failures", "enqueue_at_front", "enqueue_at_front_on_retry")
LISTS = ("dependency_ids", "retry_intervals", "repeat_intervals")
TEXTS = ("description", "worker_name", "group_id", "success_callback_name", "dependency_id", "rate_limit_key")

UNREADABLE: dict[str, tuple[str, bytes]] = {
    "status, no such word": ("status", b"banana"),
    "status, not UTF-8": ("status", b"\xff"),
    **{f"{field}, no date": (field, b"yesterday") for field in DATES},
    "created_at, another form": ("created_at", b"2026-01-02T03:04:05+00:00"),
    "enqueued_at, a number": ("enqueued_at", b"1767322800.5"),
    **{f"{field}, no number": (field, b"abc") for field in (*INTEGERS, *FLAGS)},
    "timeout, a fraction": ("timeout", b"1.5"),
    "timeout, with a unit": ("timeout", b"1h"),
    **{f"{field}, no JSON": (field, b"[1, ") for field in LISTS},
    **{f"{field}, no list": (field, b"1") for field in LISTS},
    "retry_intervals, no numbers": ("retry_intervals", b'["a"]'),
    **{f"{field}, not UTF-8": (field, b"\xff\xfe") for field in TEXTS},
}
"""Fields with a value at which RQ's reader raises."""

EXTREME: dict[str, tuple[str, bytes]] = {
    "origin, not UTF-8": ("origin", b"\xff\xfe"),
    "dependency_ids, nested too deep": ("dependency_ids", b"[" * 100_000),
    "retry_intervals, infinite": ("retry_intervals", b"[Infinity]"),
    "repeat_intervals, infinite": ("repeat_intervals", b"[1e999]"),
    "result_ttl, more than Redis takes": ("result_ttl", b"9" * 18),
    "result_ttl, more than a machine's integer": ("result_ttl", b"9" * 30),
}
"""Values that fail later, or with other errors, than the rest."""

HARMLESS: dict[str, tuple[str, bytes]] = {
    **{f"{field}, empty": (field, b"") for field in (*DATES, *INTEGERS, *FLAGS, *LISTS)},
    "status, empty": ("status", b""),
    "meta, garbage": ("meta", b"\xff\x00garbage"),
    "webhooks, garbage": ("webhooks", b"[{"),
    "result, garbage": ("result", b"\xff"),
    "exc_info, garbage": ("exc_info", b"\xff"),
    "an unknown field": ("\x00unknown", b"\xff"),
}
"""Fields with a value that says nothing, though RQ's reader raises at some of them."""


async def value_of(job_id: str, queue: Queue) -> Any:
    job: Job[Any] = Job(job_id, queue.connection)
    return await job.return_value()


def traceback_of(job_id: str, client: redis.Redis) -> str:
    result = rq.job.Job(job_id, client).latest_result()
    assert result is not None
    assert result.type is result.Type.FAILED
    return result.exc_string or ""


async def test_unreadable_fields(
    queue: Queue, rq_queue: rq.Queue, client: redis.Redis, make_worker: MakeWorker
) -> None:
    for number, (field, value) in enumerate(UNREADABLE.values()):
        rq_queue.enqueue("jobs.add", 1, job_id=f"bad-{number}")
        client.hset(f"rq:job:bad-{number}", field, value)
        rq_queue.enqueue("jobs.add", number, job_id=f"good-{number}")
    await make_worker().work(burst=True)
    tracebacks = {name: traceback_of(f"bad-{number}", client) for number, name in enumerate(UNREADABLE)}
    assert {
        name: text
        for name, text in tracebacks.items()
        if "CorruptJobError" not in text or name.split(",")[0] not in text
    } == {}
    for number in range(len(UNREADABLE)):
        assert client.hget(f"rq:job:bad-{number}", "status") == b"failed"
        assert await value_of(f"good-{number}", queue) == number + 1
    assert FailedJobRegistry(queue=rq_queue).count == len(UNREADABLE)
    assert client.keys("rq:execution*") == []
    assert client.zcard("rq:wip:default") == 0


@pytest.mark.parametrize("name", EXTREME)
async def test_extreme_fields(name: str, rq_queue: rq.Queue, client: redis.Redis, make_worker: MakeWorker) -> None:
    field, value = EXTREME[name]
    rq_queue.enqueue("jobs.add", 1, job_id="bad")
    client.hset("rq:job:bad", field, value)
    good = rq_queue.enqueue("jobs.add", 1)
    await make_worker().work(burst=True)
    assert good.return_value() == 2
    assert field in traceback_of("bad", client)
    assert client.hget("rq:job:bad", "status") == b"failed"
    registries: Any = client.keys("rq:failed:*")
    assert [client.zrange(key, 0, -1) for key in registries] == [[b"bad"]]
    assert client.keys("rq:execution*") == []


async def test_huge_failure_ttl(rq_queue: rq.Queue, client: redis.Redis, make_worker: MakeWorker) -> None:
    rq_queue.enqueue("jobs.fail", job_id="bad")
    client.hset("rq:job:bad", "failure_ttl", "9" * 30)
    good = rq_queue.enqueue("jobs.add", 1)
    await make_worker().work(burst=True)
    assert good.return_value() == 2
    assert client.hget("rq:job:bad", "status") == b"failed"
    assert "failure_ttl" in traceback_of("bad", client)


async def test_long_ttl_that_redis_takes(rq_queue: rq.Queue, client: redis.Redis, make_worker: MakeWorker) -> None:
    job = rq_queue.enqueue("jobs.add", 1, result_ttl=10**12)
    await make_worker().work(burst=True)
    assert job.return_value() == 2
    assert client.ttl(job.key) == 10**12


async def test_timeout_beyond_every_clock(rq_queue: rq.Queue, client: redis.Redis, make_worker: MakeWorker) -> None:
    job = rq_queue.enqueue("jobs.add", 1, job_timeout=10**30)
    good = rq_queue.enqueue("jobs.add", 1)
    await make_worker().work(burst=True)
    assert good.return_value() == 2
    assert job.get_status() in (JobStatus.FINISHED, JobStatus.FAILED)


async def test_worker_reads_no_pickles_itself(
    rq_queue: rq.Queue, client: redis.Redis, make_worker: MakeWorker, tmp_path: Path, jobs: ModuleType
) -> None:
    """Reading a pickle runs its writer's code: only the process that runs the job does so."""
    trace = tmp_path / "pids"
    job = rq_queue.enqueue("jobs.echo", jobs.TracedPickle(str(trace)))
    client.hset(job.key, "meta", PickleSerializer.dumps({"traced": jobs.TracedPickle(str(trace))}))
    await make_worker().work(burst=True)
    assert job.get_status() is JobStatus.FINISHED
    pids = {int(pid) for pid in trace.read_text().split()}
    assert pids
    assert os.getpid() not in pids


async def test_harmless_fields(rq_queue: rq.Queue, client: redis.Redis, queue: Queue, make_worker: MakeWorker) -> None:
    for number, (field, value) in enumerate(HARMLESS.values()):
        rq_queue.enqueue("jobs.add", number, job_id=f"job-{number}")
        client.hset(f"rq:job:job-{number}", field, value)
    await make_worker().work(burst=True)
    returned = {name: await value_of(f"job-{number}", queue) for number, name in enumerate(HARMLESS)}
    assert returned == {name: number + 1 for number, name in enumerate(HARMLESS)}


def packed(value: object) -> bytes:
    return zlib.compress(PickleSerializer.dumps(value))


CALLS: dict[str, bytes | None] = {
    "missing": None,
    "empty": b"",
    "garbage": b"\xff\x00garbage",
    "truncated": packed(("jobs.add", None, (1,), {}))[:-5],
    "three parts": packed(("jobs.add", None, (1,))),
    "five parts": packed(("jobs.add", None, (1,), {}, None)),
    "no arguments": packed(("jobs.add", None, 1, {})),
    "no keywords": packed(("jobs.add", None, (1,), 1)),
    "no name": packed((None, None, (1,), {})),
    "empty name": packed(("", None, (1,), {})),
    "a module that is missing": zlib.compress(b"cno_such_module\nfunction\n."),
}
"""What may stand in `data` that is no call."""


async def test_unreadable_calls(rq_queue: rq.Queue, client: redis.Redis, queue: Queue, make_worker: MakeWorker) -> None:
    for number, data in enumerate(CALLS.values()):
        rq_queue.enqueue("jobs.add", 1, job_id=f"bad-{number}")
        if data is None:
            client.hdel(f"rq:job:bad-{number}", "data")
        else:
            client.hset(f"rq:job:bad-{number}", "data", data)
    # Uncompressed is fine, in RQ too.
    rq_queue.enqueue("jobs.add", 1, job_id="raw")
    client.hset("rq:job:raw", "data", PickleSerializer.dumps(("jobs.add", None, [1], {"right": 2})))
    await make_worker().work(burst=True)
    tracebacks = {name: traceback_of(f"bad-{number}", client) for number, name in enumerate(CALLS)}
    assert all(tracebacks.values()), tracebacks
    assert "data" in tracebacks["missing"]
    assert "data" in tracebacks["empty"]
    assert {text.strip().splitlines()[-1].split(":")[0].rpartition(".")[2] for text in tracebacks.values()} <= {
        "CorruptJobError",
        "DeserializationError",
        "FunctionNotFoundError",
    }
    assert await value_of("raw", queue) == 3


@pytest.mark.parametrize("job_id", ["a.b", "a/b", "a:b", "a b", "a\nb", "{a}", "*", "", "ä", b"\xff\xfe"])
async def test_id_that_is_none(
    job_id: str | bytes, rq_queue: rq.Queue, client: redis.Redis, make_worker: MakeWorker
) -> None:
    raw = job_id if isinstance(job_id, bytes) else job_id.encode()
    client.rpush("rq:queue:default", raw)
    client.hset(b"rq:job:" + raw, mapping={"status": "queued", "data": packed(("jobs.add", None, (1,), {}))})
    good = rq_queue.enqueue("jobs.add", 1)
    await make_worker().work(burst=True)
    assert good.return_value() == 2
    assert client.llen("rq:queue:default") == 0
    assert client.keys("rq:execution*") == []
    assert client.hget("rq:aiorq:dropped", "default") == b"1"


async def test_long_id(rq_queue: rq.Queue, client: redis.Redis, make_worker: MakeWorker) -> None:
    """RQ knows no limit to the length of an id."""
    long = rq_queue.enqueue("jobs.add", 1, job_id="x" * 300)
    good = rq_queue.enqueue("jobs.add", 1)
    await make_worker().work(burst=True)
    assert good.return_value() == 2
    assert not client.keys("rq:execution*")
    assert client.zcard("rq:wip:default") == 0
    assert long.get_status() in (JobStatus.FINISHED, JobStatus.FAILED)


@pytest.mark.parametrize("kind", ["string", "list", "set", "zset", "stream"])
async def test_key_that_is_no_hash(
    kind: str, rq_queue: rq.Queue, client: redis.Redis, connection: Any, make_worker: MakeWorker
) -> None:
    rq_queue.enqueue("jobs.add", 1, job_id="bad")
    client.delete("rq:job:bad")
    write: dict[str, tuple[str | int, ...]] = {
        "string": ("SET", "rq:job:bad", "text"),
        "list": ("RPUSH", "rq:job:bad", "text"),
        "set": ("SADD", "rq:job:bad", "text"),
        "zset": ("ZADD", "rq:job:bad", 1, "text"),
        "stream": ("XADD", "rq:job:bad", "*", "field", "text"),
    }
    client.execute_command(*write[kind])
    good = rq_queue.enqueue("jobs.add", 1)
    await make_worker().work(burst=True)
    assert good.return_value() == 2
    assert client.zscore("rq:failed:default", "bad") is not None
    assert client.llen("rq:queue:default") == 0
    with pytest.raises(CorruptJobError, match="bad"):
        await Job.fetch("bad", connection)


async def test_job_without_a_queue(
    rq_queue: rq.Queue, client: redis.Redis, queue: Queue, make_worker: MakeWorker
) -> None:
    """Without `origin` RQ leaves the name of the queue empty; the job belongs to the queue that it was taken from."""
    job = rq_queue.enqueue("jobs.add", 1, job_id="an-id")
    client.hdel(job.key, "origin")
    await make_worker().work(burst=True)
    assert await value_of("an-id", queue) == 2
    assert client.zscore("rq:finished:default", "an-id") is not None


async def test_job_in_the_list_of_another_queue(
    rq_queue: rq.Queue, client: redis.Redis, queue: Queue, make_worker: MakeWorker
) -> None:
    job = rq.Queue("other", connection=client).enqueue("jobs.add", 1)
    client.lmove("rq:queue:other", "rq:queue:default")
    await make_worker().work(burst=True)
    assert job.return_value() == 2
    assert client.zscore("rq:finished:other", job.id) is not None
    assert client.keys("rq:wip:*") == []


async def test_id_that_is_listed_twice(rq_queue: rq.Queue, client: redis.Redis, make_worker: MakeWorker) -> None:
    """RQ lists an id once more when it is enqueued again while it waits."""
    job = rq_queue.enqueue("jobs.add", 1, job_id="an-id")
    rq_queue.enqueue("jobs.add", 2, job_id="an-id")
    assert rq_queue.count == 2
    await make_worker(concurrency=2).work(burst=True)
    assert job.get_status() is JobStatus.FINISHED
    assert job.return_value() == 3
    assert client.keys("rq:execution*") == []
    assert client.llen("rq:queue:default") == 0
