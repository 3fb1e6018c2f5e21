"""Parity with RQ 3.0: the package, its constants, what it reads from the environment, serializers and exceptions."""

from __future__ import annotations

import inspect
import os
import pickle
import sys
import uuid
import warnings
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import anyio
import jobs
import pytest
import redis
import rq
import rq.defaults
import rq.exceptions
import rq.serializers
import rq.timeouts
import rq.utils
from redis.asyncio import Redis
from redis.crc import key_slot

import aiorq
import aiorq.callback
import aiorq.errors
import aiorq.options
import aiorq.registry
import aiorq.seconds
import aiorq.webhook
import aiorq.worker.logs
import aiorq.worker.options
from aiorq import Job, Queue, SpawnWorker, Worker
from aiorq.keys import Keys
from aiorq.serializers import (
    UNSERIALIZABLE,
    DefaultSerializer,
    JSONSerializer,
    PickleSerializer,
    Serializer,
    resolve_serializer,
    serializer_path,
)
from aiorq.store.connection import default_url
from tests.parity.conftest import MakeWorker, Work

HOMES = {
    "aiorq.command": (
        "send_command send_kill_horse_command send_shutdown_command send_stop_execution_command send_stop_job_command"
    ),
    "aiorq.decorators": "job",
    "aiorq.executions": "Execution ExecutionRegistry",
    "aiorq.group": "Group",
    "aiorq.job": "Dependency Job JobStatus Retry cancel_job get_current_job requeue_job",
    "aiorq.queue": "EnqueueData Queue",
    "aiorq.rate_limit": "RateLimit",
    "aiorq.registry": (
        "BaseRegistry CanceledJobRegistry DeferredJobRegistry FailedJobRegistry FinishedJobRegistry RateLimitRegistry "
        "ReadyJobRegistry ScheduledJobRegistry StartedJobRegistry clean_registries"
    ),
    "aiorq.serializers": "DefaultSerializer JSONSerializer PickleSerializer Serializer resolve_serializer",
    "aiorq.suspension": "is_suspended resume suspend",
    "aiorq.webhook": "Webhook",
    "aiorq.worker": "DequeueStrategy SimpleWorker SpawnWorker Worker WorkerStatus",
}
"""RQ's modules whose names are in a module of the same name here."""
MOVED = {
    "rq.callbacks": ("aiorq.callback", "Callback"),
    "rq.repeat": ("aiorq.retry", "Repeat"),
    "rq.results": ("aiorq.result", "Result"),
    "rq.worker_pool": ("aiorq.worker", "WorkerPool"),
}
"""RQ's modules of which the names that users need are elsewhere."""
DURATIONS = (5, "5", "90", "4s", "3m", "2h", "1d", "1D", "-1", -1, 0, "0", 2.7, None)
NO_DURATIONS = ("", "h", "1w", "abc", "1.5h", "1 h 5")
GONE = ("DequeueTimeout", "ShutDownImminentException", "StopRequested", "SchedulerNotFound", "DuplicateSchedulerError")
NEVER_RAISED = ("InvalidJobDependency", "InvalidJobOperationError")


class Reversed:
    """A serializer of an application's own."""

    @staticmethod
    def dumps(value: Any) -> bytes:
        return PickleSerializer.dumps(value)[::-1]

    @staticmethod
    def loads(data: bytes) -> Any:
        return PickleSerializer.loads(data[::-1])


def test_exports() -> None:
    """2.1, box 1: what RQ exports is exported, and so is the version."""
    assert set(rq.__all__) <= set(aiorq.__all__)
    for name in rq.__all__:
        kind = getattr(aiorq, name)
        assert kind.__name__ == getattr(rq, name).__name__
        assert kind.__module__.startswith("aiorq.")
    assert isinstance(aiorq.__version__, str)


def test_documented_paths() -> None:
    """2.1, box 2: names are found at RQ's documented paths, or where the README says."""
    for module, names in HOMES.items():
        theirs, ours = import_module(module.replace("aiorq", "rq", 1)), import_module(module)
        for name in names.split():
            assert hasattr(theirs, name), name
            assert hasattr(ours, name), name
            assert name in getattr(ours, "__all__", [name]), f"{name} is not exported"
    for module, (home, name) in MOVED.items():
        assert hasattr(import_module(module), name)
        assert hasattr(import_module(home), name)
        assert find_spec(module.replace("rq", "aiorq", 1)) is None


async def test_removed_and_deprecated(client: redis.Redis) -> None:
    """2.1, box 3: what RQ removed or has deprecated is not here, or is taken without a warning."""
    import rq.registry

    for name in ("Connection", "push_connection", "pop_connection"):
        assert not hasattr(rq, name)
        assert not hasattr(aiorq, name)
    for name in ("result", "exc_info"):
        assert inspect.getattr_static(rq.job.Job, name)
        assert not hasattr(Job, name)
    assert "remove_jobs" in vars(rq.registry.ScheduledJobRegistry)
    assert not hasattr(aiorq.registry.ScheduledJobRegistry, "remove_jobs")
    theirs = rq.job.Job.create(jobs.nothing, connection=client)
    with pytest.warns(DeprecationWarning, match=r"job\.result is deprecated"):
        _ = theirs.result
    with pytest.warns(DeprecationWarning, match="on_success"):
        rq.job.Job.create(jobs.nothing, connection=client, on_success=jobs.nothing)
    with pytest.warns(DeprecationWarning, match="worker_ttl"):
        rq.Worker(["default"], connection=client, default_worker_ttl=77)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Worker(default_worker_ttl=77).options.worker_ttl == 77
        job = Job.create(jobs.nothing, on_success=jobs.nothing, on_failure="jobs.nothing", on_stopped=jobs.nothing)
    assert job.success_callback is job.failure_callback is job.stopped_callback is jobs.nothing


async def test_prefix(connection: Any, monkeypatch: pytest.MonkeyPatch, work: Work) -> None:
    """2.2, box 1: every key begins with the prefix of the environment, which may have braces."""
    monkeypatch.setenv("RQ_KEY_PREFIX", "{rq}")
    queue = Queue(connection=connection)
    assert queue.key == "{rq}:queue:default"
    first = await queue.enqueue("jobs.add", 1)
    await queue.enqueue("jobs.fail", depends_on=first, retry=aiorq.Retry(1))
    await queue.enqueue_at(datetime(2100, 1, 1), "jobs.nothing")
    await queue.enqueue("jobs.nothing", rate_limit=aiorq.RateLimit("a", 1))
    await queue.enqueue_many([Queue.prepare_data("jobs.nothing")], group_id="a")
    assert await work()
    keys = await connection.keys()
    assert len(keys) > 10
    assert {key.partition(b"}")[0] for key in keys} == {b"{rq"}
    assert len({key_slot(key) for key in keys}) == 1  # of a cluster
    monkeypatch.delenv("RQ_KEY_PREFIX")
    assert Keys().prefix == rq.defaults.RQ_KEY_PREFIX == "rq"
    for bad in ("a b", "a*", "a\n", "ä", "%s"):
        with pytest.raises(ValueError, match="prefix"):
            Queue(prefix=bad)
        monkeypatch.setenv("RQ_KEY_PREFIX", bad)
        with pytest.raises(ValueError, match="prefix"):
            Queue(connection=connection)
        monkeypatch.delenv("RQ_KEY_PREFIX")


def test_constants() -> None:
    """2.2, box 2: numbers that stand for what nobody said are RQ's."""
    assert aiorq.worker.options.WORKER_TTL == rq.defaults.DEFAULT_WORKER_TTL == 420
    assert aiorq.options.DEFAULT_RESULT_TTL == rq.defaults.DEFAULT_RESULT_TTL == 500
    assert aiorq.options.DEFAULT_FAILURE_TTL == rq.defaults.DEFAULT_FAILURE_TTL == 31_536_000
    assert aiorq.callback.DEFAULT_TIMEOUT == rq.defaults.CALLBACK_TIMEOUT == 60
    assert Queue.DEFAULT_TIMEOUT == aiorq.options.DEFAULT_TIMEOUT == rq.Queue.DEFAULT_TIMEOUT == 180
    assert (Worker().options.worker_ttl, Worker().options.default_result_ttl) == (420, 500)
    assert Queue().default_timeout == 180


def test_texts() -> None:
    """2.2, box 3: how log lines look, and what stands for a result that cannot be stored."""
    assert aiorq.worker.logs.LOG_FORMAT == rq.defaults.DEFAULT_LOGGING_FORMAT == "%(asctime)s %(message)s"
    assert aiorq.worker.logs.DATE_FORMAT == rq.defaults.DEFAULT_LOGGING_DATE_FORMAT == "%H:%M:%S"
    assert UNSERIALIZABLE == rq.defaults.UNSERIALIZABLE_RETURN_VALUE_PAYLOAD == "Unserializable return value"


async def test_environment_of_the_command_line(url: str, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """2.2, box 4: RQ_REDIS_URL is where Redis is, where AIORQ_REDIS_URL is not set; the others: cli/test_settings."""
    monkeypatch.setenv("RQ_REDIS_URL", url)
    assert default_url() == url
    command = [sys.executable, "-m", "aiorq", "enqueue", "jobs.add", "--job-id", "a", "%1"]
    done = await anyio.run_process(command, check=False)
    assert done.returncode == 0, done.stderr
    assert await queue.get_job_ids() == ["a"]
    monkeypatch.setenv("AIORQ_REDIS_URL", "redis://elsewhere")
    assert default_url() == "redis://elsewhere"


async def test_environment_of_a_job(queue: Queue, make_worker: MakeWorker) -> None:
    """2.2, box 5: a job's process is told its worker, its job and its execution."""
    for kind in (Worker, SpawnWorker):
        job = await queue.enqueue("chores.environment")
        await make_worker(name="the-worker", kind=kind).work(burst=True)
        result = await job.latest_result()
        assert result is not None
        assert result.return_value == {
            "RQ_WORKER_ID": "the-worker",
            "RQ_JOB_ID": job.id,
            "RQ_EXECUTION_ID": result.execution_id,
        }
        assert result.execution_id


async def test_durations(queue: Queue) -> None:
    """2.2, box 6: a duration is a number, its digits, or digits and a unit."""
    for duration in DURATIONS:
        expected = rq.utils.parse_timeout(duration)
        assert (None if duration is None else aiorq.seconds.parse_seconds(duration, "it")) == expected
    for bad in NO_DURATIONS:
        with pytest.raises(rq.exceptions.TimeoutFormatError):
            rq.utils.parse_timeout(bad)
        with pytest.raises(aiorq.errors.TimeoutFormatError, match="job_timeout"):
            await queue.enqueue("jobs.nothing", job_timeout=bad)
    job = await queue.enqueue("jobs.nothing", job_timeout="2h", result_ttl="-1", failure_ttl="1d", ttl="3m")
    assert (job.timeout, job.result_ttl, job.failure_ttl, job.ttl) == (7200, -1, 86_400, 180)
    assert (await queue.enqueue("jobs.nothing", job_timeout=-1)).timeout == -1
    assert Queue(default_timeout="15m").default_timeout == 900


async def test_serializers(connection: Redis, client: redis.Redis, work: Work) -> None:
    """2.13, box 1: pickle, JSON, their names, dotted paths and objects with both methods."""
    value = {"a": [1, None, "ä"]}
    for ours, theirs in (
        (PickleSerializer, rq.serializers.PickleSerializer),
        (JSONSerializer, rq.serializers.JSONSerializer),
    ):
        assert ours.dumps(value) == theirs.dumps(value)
        assert ours.loads(theirs.dumps(value)) == value
    assert DefaultSerializer is PickleSerializer
    assert PickleSerializer.dumps(1)[:2] == bytes([0x80, pickle.HIGHEST_PROTOCOL])
    for name, kind in (("json", JSONSerializer), ("pickle", PickleSerializer), (None, PickleSerializer)):
        assert isinstance(resolve_serializer(name), kind)
    for given in (Reversed, Reversed(), f"{__name__}.Reversed", pickle, "pickle"):
        made = resolve_serializer(given)
        assert isinstance(made, Serializer)
        assert made.loads(made.dumps(value)) == value
    for bad in (object(), 5, PickleSerializer.dumps):
        with pytest.raises(NotImplementedError):
            rq.serializers.resolve_serializer(bad)  # type: ignore[arg-type]
        with pytest.raises(NotImplementedError):
            Queue(serializer=bad)
    queue = Queue("j", connection, serializer="json")
    assert serializer_path(queue.serializer) == "json"
    job = await queue.enqueue("jobs.echo", *value)
    assert rq.job.Job.fetch(job.id, client, serializer="json").args == ["a"]
    with pytest.raises(aiorq.errors.DeserializationError):
        _ = (await Job.fetch(job.id, connection)).args
    await work(queue)
    assert await job.return_value() == [["a"], {}]


async def test_exceptions(queue: Queue, connection: Redis) -> None:
    """2.13, box 2: errors have RQ's names, but for those of what is not here, and those that RQ never raises."""
    theirs = {
        name
        for name, kind in vars(rq.exceptions).items()
        if isinstance(kind, type) and issubclass(kind, BaseException) and kind.__module__ == "rq.exceptions"
    }
    for name in sorted(theirs.difference(GONE, NEVER_RAISED)):
        assert issubclass(getattr(aiorq.errors, name), aiorq.errors.AiorqError)
    for name in (*NEVER_RAISED, "DequeueTimeout", "ShutDownImminentException", "StopRequested"):
        assert name in theirs
        assert not hasattr(aiorq.errors, name)
    assert issubclass(aiorq.errors.JobTimeoutException, Exception)
    assert rq.timeouts.JobTimeoutException.__name__ == aiorq.errors.JobTimeoutException.__name__
    with pytest.raises(aiorq.errors.NoSuchJobError):
        await Job.fetch(str(uuid.uuid4()), connection)
    with pytest.raises(aiorq.errors.NoSuchGroupError):
        await aiorq.Group.fetch("none", connection)
    job = await queue.enqueue("jobs.nothing", job_id="a")
    with pytest.raises(aiorq.errors.InvalidJobOperation):
        await job.requeue()
    with pytest.raises(aiorq.errors.DuplicateJobError):
        await queue.enqueue("jobs.nothing", job_id="a", unique=True)
    assert os.environ.get("RQ_JOB_ID") is None
