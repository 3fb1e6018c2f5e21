"""What functions, callbacks, handlers and hooks are given: what RQ gives them, unless they are coroutine functions."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import eitherway
import letters
import pytest
import rq
from redis import Redis

import aiorq
from aiorq.server import EmbeddedServer
from aiorq.sync import Job, Queue, SimpleWorker, Worker, get_current_job
from tests.conftest import JOBS
from tests.execution.processes import Fifo
from tests.sync.workers import AtWork, notes

SYNC: Final = "aiorq.sync.job.Job"
ASYNC: Final = "aiorq.job.Job"
CLIENTS: Final = {SYNC: "redis.client.Redis", ASYNC: "redis.asyncio.client.Redis"}
LEFT: Final = {
    eitherway.nothing: ("nothing", {}),
    eitherway.with_sync: (SYNC, {"left by": "sync"}),
    eitherway.with_async: (ASYNC, {"left by": "async"}),
    eitherway.with_rq: ("rq.job.Job", {"left by": "rq"}),
    eitherway.sync_in_a_coroutine: (f"{SYNC} started", {"left by": "sync, in a coroutine"}),
}
"""What each function returns, and leaves in the `meta` of its job."""
Run = Callable[..., None]


def of_process(redis: Redis, **options: Any) -> None:
    """Has a worker with a process for each job run what is queued; a thread of its own, as pytest may have others."""
    with ThreadPoolExecutor(1) as apart:
        worker = Worker("default", connection=redis, path=str(JOBS), **options)
        assert apart.submit(worker.work, burst=True).result(50)


def in_process(redis: Redis, **options: Any) -> None:
    assert SimpleWorker("default", connection=redis, **options).work(burst=True)


@pytest.fixture(autouse=True)
def where(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIORQ_REDIS_URL", server.url)


@pytest.fixture(params=[of_process, in_process])
def run(request: pytest.FixtureRequest) -> Run:
    """Both kinds of workers."""
    found: Run = request.param
    return found


def expected(job: Job[Any], kind: str, meta: dict[str, Any], result: object) -> str:
    return f"{job.id} {kind} {CLIENTS[kind]} {meta} {result}"


class TestCallbacks:
    def test_of_success(self, redis: Redis, run: Run) -> None:
        queue = Queue(connection=redis)
        said = []
        for function, (result, meta) in LEFT.items():
            for callback, kind in ((eitherway.success, SYNC), (eitherway.success_async, ASYNC)):
                said.append(expected(queue.enqueue(function, on_success=callback), kind, meta, result))
        run(redis)
        assert notes(redis, len(said)) == said

    def test_of_queues_without_workers(self, redis: Redis) -> None:
        queue = Queue(connection=redis, is_async=False)
        for function, (result, meta) in LEFT.items():
            for callback, kind in ((eitherway.success, SYNC), (eitherway.success_async, ASYNC)):
                job = queue.enqueue(function, on_success=callback)
                assert job.return_value() == result
                assert notes(redis, 1) == [expected(job, kind, meta, result)]
        assert [get_current_job(), aiorq.get_current_job(), rq.get_current_job()] == [None, None, None]

    def test_of_failure(self, redis: Redis, run: Run) -> None:
        queue = Queue(connection=redis)
        said = []
        for function, left in ((eitherway.fail_with_sync, "sync"), (eitherway.fail_with_async, "async")):
            for callback, kind in ((eitherway.failure, SYNC), (eitherway.failure_async, ASYNC)):
                job = queue.enqueue(function, on_failure=callback)
                said.append(expected(job, kind, {"left by": left}, "ValueError on purpose"))
        run(redis)
        assert notes(redis, len(said)) == said

    def test_of_a_stop(self, redis: Redis, at_work: AtWork, told: Fifo, gate: Fifo) -> None:
        queue = Queue(connection=redis)
        with at_work(queue):
            for callback, kind in ((eitherway.stopped, SYNC), (eitherway.stopped_async, ASYNC)):
                job = queue.enqueue(letters.wait_at, told.path, gate.path, on_stopped=callback, meta={"a": 1})
                told.line_now()
                assert job.stop() == "stopped"
                assert notes(redis, 1) == [expected(job, kind, {"a": 1}, "stopped")]


class TestWorkers:
    def test_handlers_and_hooks(self, redis: Redis, run: Run) -> None:
        queue = Queue(connection=redis)
        for suffix, kind in (("", SYNC), ("_async", ASYNC)):
            hooks = {name: getattr(eitherway, f"{name}{suffix}") for name in ("before", "after", "handler")}
            job = queue.enqueue(eitherway.fail_with_sync)
            options = {"before_job": hooks["before"], "after_job": hooks["after"]}
            run(redis, **options, exception_handlers=[eitherway.handler, eitherway.handler_async])
            meta = {"before": 1}
            left = meta | {"left by": "sync"}
            assert notes(redis, 4) == [
                f"{job.id} before {kind} {meta}",
                f"{job.id} handler {SYNC} {left}",
                f"{job.id} handler {ASYNC} {left}",
                f"{job.id} after {kind} {left}",
            ]

    @pytest.mark.parametrize(("name", "kind"), [("killed", SYNC), ("killed_async", ASYNC)])
    def test_a_process_that_dies(self, redis: Redis, name: str, kind: str) -> None:
        callback = eitherway.failure if kind == SYNC else eitherway.failure_async
        job = Queue(connection=redis).enqueue(eitherway.die, meta={"a": 1}, on_failure=callback)
        of_process(redis, work_horse_killed_handler=getattr(eitherway, name))
        first, second = notes(redis, 2)
        assert first == f"{job.id} killed {kind} {{'a': 1}}"
        assert second.startswith(expected(job, kind, {"a": 1}, "HorseTerminatedError"))

    @pytest.mark.parametrize("own", [eitherway.SyncJob, eitherway.AsyncJob])
    def test_job_classes_of_either_api(self, redis: Redis, run: Run, own: type[Any]) -> None:
        """Who wants the other kind gets the plain one."""
        kinds = {SYNC: SYNC, ASYNC: ASYNC, (SYNC if own is eitherway.SyncJob else ASYNC): f"eitherway.{own.__name__}"}
        queue = Queue(connection=redis)
        functions: tuple[Callable[..., Any], ...] = (eitherway.with_sync, eitherway.with_async)
        said = []
        for function, asked in zip(functions, (SYNC, ASYNC), strict=True):
            for callback, kind in ((eitherway.success, SYNC), (eitherway.success_async, ASYNC)):
                job = queue.enqueue(function, on_success=callback)
                meta = LEFT[function][1]
                said.append(f"{job.id} {kinds[kind]} {CLIENTS[kind]} {meta} {kinds[asked]}")
        run(redis, job_class=own)
        assert notes(redis, len(said)) == said
