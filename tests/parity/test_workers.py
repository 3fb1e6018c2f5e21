"""Parity with RQ 3.0: workers."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import chores
import pytest
import redis
import rq
import rq.suspension
import rq.timeouts
import rq.worker
from redis.asyncio import Redis

from aiorq import DequeueStrategy, JobStatus, Queue, Result, Retry, SimpleWorker, SpawnWorker, Worker, connect
from aiorq.errors import AiorqError, JobTimeoutException, WorkerExistsError
from aiorq.suspension import is_suspended, resume, suspend
from aiorq.worker import WorkerInfo, WorkerStatus
from aiorq.worker.logs import set_up_logging
from tests.api.conftest import until
from tests.execution.processes import Fifo
from tests.parity.conftest import MakeWorker, Start, Work
from tests.parity.signatures import assert_taken_alike
from tests.worker.conftest import Log, Script, working

RunScript = Callable[[str], Script]
KEY = "rq:worker:the-worker"
COUNTED = ("successful_job_count", "failed_job_count", "total_working_time")


async def test_classes(queue: Queue, make_worker: MakeWorker, url: str, run_script: RunScript) -> None:
    """2.9, box 1: the kinds of workers that there are, and where each runs its jobs."""
    for kind in (Worker, SpawnWorker, SimpleWorker):
        assert kind.__name__ in dir(rq.worker)
        assert issubclass(kind, Worker)
        job = await queue.enqueue("jobs.pid")
        assert await make_worker(kind=kind).work(burst=True)
        pid = await job.return_value()
        assert (pid == os.getpid()) is (kind is SimpleWorker)
    with pytest.raises(ValueError, match="one job at a time"):
        SimpleWorker(concurrency=2)
    of_main: Any = type("F", (), {"__module__": "__main__", "__call__": lambda self: None})()
    with pytest.raises(ValueError, match="__main__"):
        await queue.enqueue(of_main)
    with pytest.raises(ValueError, match="serializer"):  # one that a process of its own could not find
        make_worker(kind=SpawnWorker, serializer=type("S", (), {"dumps": id, "loads": id})())


async def test_constructor(connection: Redis, client: redis.Redis) -> None:
    """2.9, box 2: what a worker is told; keywords after the fourth, and no descriptions in logs unless asked for."""
    assert_taken_alike(
        Worker,
        rq.Worker,
        without=("prepare_for_work",),
        changed={"log_job_description": False, "maintenance_interval": None, "job_monitoring_interval": None},
    )
    assert (rq.Worker(["a"], connection=client).worker_ttl, Worker(["a"]).options.worker_ttl) == (420, 420)
    assert len(Worker().name) == len(rq.Worker(["a"], connection=client).name) == 32
    assert Worker().name != Worker().name
    given: Any
    for given in ("a", ["a"], Queue("a", connection), [Queue("a", connection), "b"]):
        worker = Worker(given)
        assert worker.queue_names()[0] == "a"
        assert worker.queues[0] == Queue("a")
    assert Worker([Queue("a", connection, prefix="p")]).queues[0].connection is connection
    assert Worker("a", "n", 5, connection).options.default_result_ttl == 5
    assert Worker(worker_ttl=5, maintenance_interval=6, job_monitoring_interval=7).options.worker_ttl == 5


async def test_work(queue: Queue, make_worker: MakeWorker, log: Log) -> None:
    """2.9, box 3: working, and whether any job ran."""
    assert_taken_alike(Worker.work, rq.Worker.work)
    assert_taken_alike(Worker.run, rq.Worker.work)

    def make() -> Worker:
        return make_worker(kind=SimpleWorker)

    assert await make().work(burst=True) is False
    for _ in range(3):
        await queue.enqueue("jobs.nothing")
    assert await make().work(burst=True, max_jobs=2) is True
    assert await queue.count() == 1
    assert await make().work(True, "WARNING", "%H", "%(message)s", 1, 5, True, DequeueStrategy.DEFAULT) is True
    assert await make().work(max_idle_time=0.05) is False
    assert logging.getLogger("aiorq").level == logging.WARNING


async def test_strategies(connection: Redis, tmp_path: Path, work: Work, make_worker: MakeWorker) -> None:
    """2.9, box 4: from which queue the next job is taken."""
    assert {each.value for each in DequeueStrategy} == {each.value for each in rq.worker.DequeueStrategy}
    orders = {"default": "aaabbb", "round_robin": "ababab"}
    path = tmp_path / "order"
    for strategy in (*orders, "random"):
        path.write_text("")
        for name in ("a", "b"):
            for _ in range(3):
                await Queue(name, connection).enqueue("jobs.append", str(path), name)
        await make_worker(["a", "b"], kind=SimpleWorker).work(burst=True, dequeue_strategy=strategy)
        order = path.read_text().replace("\n", "")
        assert order == orders.get(strategy, order)
        assert sorted(order) == list("aaabbb")
    with pytest.raises(ValueError, match="dequeue_strategy"):
        await make_worker().work(burst=True, dequeue_strategy="backwards")


async def test_states(
    queue: Queue, connection: Redis, make_worker: MakeWorker, url: str, told: Fifo, gate: Fifo
) -> None:
    """2.9, box 5: what a worker shows that it does; a short `socket_timeout` of the caller's client does not matter."""
    assert {each.value for each in WorkerStatus} == {each.value for each in rq.worker.WorkerStatus}

    async def shows(status: WorkerStatus) -> bool:
        info = await Worker.find_by_key(KEY, connection)
        return info is not None and info.get_state() == status.value

    short = connect(url)
    short.connection_pool.connection_kwargs["socket_timeout"] = 0.2
    async with short, working(make_worker(name="the-worker", connection=short)):
        await until(lambda: shows(WorkerStatus.IDLE))
        job = await queue.enqueue("waiting.meet", told.path, gate.path)
        await told.pids()
        assert await shows(WorkerStatus.BUSY)
        gate.let()
        assert await job.latest_result(timeout=20) is not None
        await suspend(connection)
        await queue.enqueue("jobs.nothing")
        await until(lambda: shows(WorkerStatus.SUSPENDED))
        await resume(connection)
        await until(lambda: shows(WorkerStatus.IDLE))


async def test_finding(queue: Queue, connection: Redis, start: Start, client: redis.Redis) -> None:
    """2.9, box 6: which workers there are."""
    for name in ("all", "all_keys", "count", "find_by_key"):
        assert_taken_alike(getattr(Worker, name), getattr(rq.Worker, name))
    assert (await Worker.all(connection), await Worker.count(connection)) == ([], 0)
    await start(name="the-worker")
    await start("other", name="another")
    for one in (queue, Queue("other", connection)):

        async def is_served(one: Queue = one) -> bool:
            return await Worker.count(queue=one) == 1

        await until(is_served)
    assert {each.name for each in await Worker.all(connection)} == {"the-worker", "another"}
    assert {each.name for each in rq.Worker.all(client)} == {"the-worker", "another"}
    assert [each.name for each in await Worker.all(queue=queue)] == ["the-worker"]
    assert await Worker.all_keys(queue=queue) == rq.Worker.all_keys(queue=rq.Queue(connection=client)) == [KEY]
    assert await Worker.count(connection) == rq.Worker.count(client) == 2
    found = await Worker.find_by_key(KEY, connection, chores.OwnJob, Queue, "json")
    assert isinstance(found, WorkerInfo)
    assert (found.name, found.job_class) == ("the-worker", chores.OwnJob)
    assert await Worker.find_by_key("rq:worker:none", connection) is None
    with pytest.raises(ValueError, match="key of a worker"):
        await Worker.find_by_key("none", connection)


async def test_inspection(
    queue: Queue, connection: Any, start: Start, told: Fifo, gate: Fifo, client: redis.Redis
) -> None:
    """2.9, box 7: what Redis says of a worker, to us and to RQ."""
    await start(["default", "low"], name="the-worker")
    for function in ("jobs.nothing", "jobs.fail"):
        assert await (await queue.enqueue(function)).latest_result(timeout=20) is not None
    job = await queue.enqueue("waiting.meet", told.path, gate.path)
    await told.pids()
    [info] = await Worker.all(connection)
    [theirs] = rq.Worker.all(client)
    names = "name hostname ip_address pid version python_version birth_date last_heartbeat pubsub_channel_name"
    for name in (*names.split(), *COUNTED):
        assert getattr(info, name) == getattr(theirs, name), name
    assert (info.successful_job_count, info.failed_job_count) == (1, 1)
    assert info.total_working_time > 0
    assert info.queue_names() == theirs.queue_names() == ["default", "low"]
    assert [each.name for each in info.queues] == [each.name for each in theirs.queues] == ["default", "low"]
    assert info.queue_keys() == theirs.queue_keys()
    assert info.get_state() == theirs.get_state() == "busy"
    assert info.death_date is info.shutdown_requested_date is None
    assert await info.current_execution_count() == theirs.current_execution_count == 1
    [execution] = await info.get_current_executions(refresh=True)
    assert (execution.job_id, await info.get_current_job_id()) == (job.id, theirs.get_current_job_id())
    assert await info.get_current_job() == job
    assert info.pid == os.getpid()
    assert info.python_version == sys.version
    gate.let()
    assert await job.latest_result(timeout=20) is not None
    assert await info.get_current_job_id() is None


async def test_birth_and_death(connection: Any, make_worker: MakeWorker) -> None:
    """2.9, box 8: one live worker of a name; how long its entry is kept."""
    first = make_worker(name="the-worker", worker_ttl=100)
    async with working(first):

        async def is_there() -> bool:
            return bool(await connection.exists(KEY))

        await until(is_there)
        with pytest.raises(WorkerExistsError):
            await make_worker(name="the-worker").work(burst=True)
        assert 150 < await connection.ttl(KEY) <= 160
    assert 0 < await connection.ttl(KEY) <= 60
    dead = await Worker.find_by_key(KEY, connection)
    assert dead is not None
    assert dead.death_date is not None
    assert await Worker.all(connection) == []
    await make_worker(name="the-worker").work(burst=True)


async def test_life_of_a_job(queue: Queue, connection: Any, start: Start, told: Fifo, gate: Fifo) -> None:
    """2.9, box 9: from the queue to its result; a lease that is renewed while it runs; all at once at its end."""
    job = await queue.enqueue("waiting.meet", told.path, gate.path)
    child = await Queue("other", connection).enqueue("jobs.nothing", depends_on=job)
    worker = await start(lease=3)
    [horse] = await told.pids()
    assert os.getpgid(horse.pid) == horse.pid
    await job.refresh()
    assert (job.status, job.worker_name) == (JobStatus.STARTED, worker.name)
    assert job.started_at is not None
    [(member, lease)] = await connection.zrange("rq:wip:default", 0, -1, withscores=True)
    [execution] = await job.get_executions()
    assert member.decode() == execution.composite_key
    assert await connection.smembers(f"rq:worker:{worker.name}:executions") == {member}

    async def is_renewed() -> bool:
        return bool((await connection.zscore("rq:wip:default", member) or 0) > lease)

    await until(is_renewed)
    gate.let()
    result = await job.latest_result(timeout=20)
    assert result is not None
    await job.refresh()
    assert (job.status, await child.get_status()) == (JobStatus.FINISHED, JobStatus.QUEUED)
    assert result.execution_id == execution.id
    assert await queue.finished_job_registry.get_job_ids() == [job.id]
    assert 400 < await connection.ttl(job.key) <= 500
    assert await connection.exists("rq:wip:default", f"rq:execution:{member.decode()}") == 0
    assert await connection.hget(f"rq:worker:{worker.name}", "successful_job_count") == b"1"


async def test_timeout(queue: Queue, connection: Redis, make_worker: MakeWorker) -> None:
    """2.9, box 10: a job that runs over its time is told so; one that goes on is killed; -1 is no limit."""
    late = await queue.enqueue("jobs.sleep", 60, job_timeout=1)
    fine = await queue.enqueue("jobs.add", 1, job_timeout=-1)
    late_async = await queue.enqueue("jobs.sleep_async", 60, job_timeout=1)
    await make_worker(concurrency=3).work(burst=True)
    for job in (late, late_async):
        result = await job.latest_result()
        assert result is not None
        assert result.type is Result.Type.FAILED
        assert JobTimeoutException.__name__ in (result.exc_string or "")
    assert await fine.return_value() == 2


async def test_death_of_a_process(
    queue: Queue, make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """2.9, box 11: a job whose process dies fails, saying how, unless it has retries; the handler is called first."""
    monkeypatch.setenv("PARITY_LINES", str(tmp_path / "lines"))
    job = await queue.enqueue("jobs.die", retry=Retry(1))
    left = await queue.enqueue("os._exit", 7)
    await make_worker(work_horse_killed_handler=chores.handle_killed).work(burst=True)
    for each, how in ((job, "SIGKILL"), (left, "7")):
        result = await each.latest_result()
        assert result is not None
        assert result.type is Result.Type.FAILED
        assert how in (result.exc_string or "")
    said = (tmp_path / "lines").read_text().splitlines()
    assert said.count(f"{job.id} killed True 9 True") == 2
    assert f"{left.id} killed True 0 True" in said
    assert [attempt.number for attempt in await job.attempts()] == [1, 2]


async def test_signals(url: str, queue: Queue, run_script: RunScript, told: Fifo, gate: Fifo) -> None:
    """2.9, box 12: the first signal lets the job that runs finish, and is shown; the second puts it back."""
    jobs = [await queue.enqueue("waiting.meet", told.path, gate.path) for _ in range(2)]
    script = run_script(f"worker = Worker(connection={url!r}, name='the-worker')\nworker.run()\nprint(worker.cold)\n")
    [horse] = await told.pids()
    os.kill(script.process.pid, signal.SIGINT)
    await script.line("waiting for 1 jobs to end")
    info = await Worker.find_by_key(KEY, queue.connection)
    assert info is not None

    async def is_shown() -> bool:
        _ = await info.refresh()
        return info.shutdown_requested_date is not None

    await until(is_shown)
    assert horse.alive
    os.kill(script.process.pid, signal.SIGTERM)
    assert await script.end() == (0, "True")
    assert await horse.ended()
    assert [await job.get_status() for job in jobs] == [JobStatus.QUEUED] * 2
    assert await queue.get_job_ids() == [job.id for job in jobs]


async def test_ends_of_the_loop(queue: Queue, connection: Redis, make_worker: MakeWorker) -> None:
    """2.9, box 13: what ends a worker; that Redis is away for a while, or a job that cannot be read, does not."""
    endings: list[dict[str, Any]] = [{"burst": True}, {"max_jobs": 1}, {"max_idle_time": 0.05}]
    for options in endings:
        await queue.enqueue("jobs.nothing")
        assert await make_worker(kind=SimpleWorker).work(**options)
    worker = make_worker()
    working_on = asyncio.create_task(worker.work())
    job = await queue.enqueue("jobs.nothing")
    assert await job.latest_result(timeout=20) is not None
    await connection.client_kill_filter(_type="normal", skipme=True)
    bad = await queue.enqueue("jobs.nothing")
    await connection.hset(bad.key, "timeout", "nonsense")
    after = await queue.enqueue("jobs.nothing")
    assert await after.latest_result(timeout=20) is not None
    assert not working_on.done()
    worker.request_stop()
    assert await working_on is True


async def test_suspension(queue: Queue, connection: Redis, work: Work, client: redis.Redis, log: Log) -> None:
    """2.9, box 14: workers that are suspended take nothing, theirs and ours."""
    assert_taken_alike(suspend, rq.suspension.suspend)
    assert_taken_alike(resume, rq.suspension.resume)
    assert_taken_alike(is_suspended, rq.suspension.is_suspended, without=("worker",))
    job = await queue.enqueue("jobs.nothing")
    rq.suspension.suspend(client)
    assert await is_suspended(connection)
    assert await work() is False
    await suspend(connection, ttl=1)
    assert 0 < await connection.pttl("rq:suspended") <= 1000
    assert await resume(connection)
    assert rq.suspension.is_suspended(client) == 0
    await suspend(connection)
    assert rq.suspension.is_suspended(client) == 1
    await resume(connection)
    assert await work() is True
    assert await job.get_status() is JobStatus.FINISHED


async def test_maintenance(queue: Queue, connection: Any, start: Start) -> None:
    """2.9, box 15: registries, the books of workers, groups, and what a worker of RQ took and never began."""
    stuck = await queue.enqueue("jobs.nothing", job_id="stuck")
    await connection.lmove(queue.key, "rq:queue:default:intermediate", "LEFT", "RIGHT")
    await connection.set("rq:queue:default:intermediate:first_seen:stuck", 1)
    await connection.hset(stuck.key, "aiorq_taken", await connection.hget(stuck.key, "enqueued_at"))
    await connection.zadd("rq:finished:default", {"old": 1})
    await connection.sadd("rq:workers", "rq:worker:dead")
    await connection.sadd("rq:groups", "empty")
    await start()

    result = await stuck.latest_result(timeout=20)
    assert result is not None
    assert result.type is Result.Type.FAILED
    assert "did not begin within 60 seconds" in (result.exc_string or "")

    async def is_clean() -> bool:
        left = ("rq:queue:default:intermediate", "rq:finished:default", "rq:groups", "rq:workers:default")
        return bool(await connection.exists(*left) == 1 and await connection.scard("rq:workers") == 1)

    await until(is_clean)


async def test_exception_handlers(
    queue: Queue, make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """2.9, box 16: handlers are called in order until one says that it was the last."""
    monkeypatch.setenv("PARITY_LINES", str(tmp_path / "lines"))
    worker = make_worker(exception_handlers=[chores.handle_first], disable_default_exception_handler=True)
    worker.push_exc_handler(chores.handle_last)
    worker.push_exc_handler(chores.handle_never)
    worker.push_exc_handler("chores.handle_first")
    assert worker.pop_exc_handler() == "chores.handle_first"
    job = await queue.enqueue("jobs.fail")
    await worker.work(burst=True)
    said = (tmp_path / "lines").read_text().splitlines()
    assert said == [f"{job.id} first ValueError on purpose True", f"{job.id} last"]
    assert await job.get_status() is JobStatus.FAILED
    assert await queue.failed_job_registry.count() == 0


async def test_hooks(queue: Queue, make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """2.9, box 17: hooks around processes and jobs, in place of methods to override."""
    monkeypatch.setenv("PARITY_LINES", str(tmp_path / "lines"))
    good, bad = await queue.enqueue("jobs.nothing"), await queue.enqueue("jobs.fail")
    hooks = {"on_start": chores.start, "before_job": chores.before, "after_job": chores.after, "on_stop": chores.stop}
    await make_worker(**hooks).work(burst=True)
    said = (tmp_path / "lines").read_text().splitlines()
    assert said == [
        *(f"{good.id} {line}" for line in ("start", "before", "after None", "stop")),
        *(f"{bad.id} {line}" for line in ("start", "before", "after ValueError('on purpose')", "stop")),
    ]


async def test_time_limits(queue: Queue, connection: Redis, make_worker: MakeWorker) -> None:
    """2.9, box 18: a timeout is an exception in the job, of RQ's name, which code may catch."""
    job = await queue.enqueue("waiting.catch_timeout", job_timeout=1)
    await make_worker().work(burst=True)
    assert await job.return_value() == JobTimeoutException.__name__ == rq.timeouts.JobTimeoutException.__name__
    assert issubclass(JobTimeoutException, Exception)
    assert not issubclass(JobTimeoutException, AiorqError)


def test_logging(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """2.9, box 19: handlers of our own only where nobody has set up any; errors to the other stream."""
    logger = logging.getLogger("aiorq")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "level", logging.NOTSET)
    root = logging.getLogger()
    set_up_logging("INFO")
    assert logger.handlers == []  # there are pytest's
    assert logger.level == logging.INFO
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(logger, "propagate", True)
    set_up_logging("INFO", "%H", "%(asctime)s %(message)s")
    assert (len(logger.handlers), logger.propagate) == (2, False)
    names = ("worker", "job", "queue")
    for name in names:
        logging.getLogger(f"aiorq.{name}").info("of %s", name)
    logging.getLogger("aiorq.worker").error("trouble")
    hour = f"{datetime.now().astimezone():%H}"
    printed = capsys.readouterr()
    assert printed.out == "".join(f"{hour} of {name}\n" for name in names)
    assert printed.err == f"{hour} trouble\n"
