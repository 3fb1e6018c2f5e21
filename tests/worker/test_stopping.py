"""How a worker ends: what runs is finished or handed back, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from aiorq import Job, JobStatus, Queue, Worker
from aiorq.execution.forking import ForkExecutor
from aiorq.execution.horse import Context
from aiorq.execution.zygote import Settings
from aiorq.server import EmbeddedServer
from aiorq.store import runs
from aiorq.store.base import store_of
from aiorq.store.runs import Claimed
from aiorq.worker import run
from aiorq.worker.options import WorkerOptions
from aiorq.worker.run import Runner
from aiorq.worker.state import State, Stop
from tests.execution.processes import LIMIT, Fifo, Process
from tests.worker.conftest import WAITING, Log, Monitor, Script, Started, result_of, working

RunScript = Callable[[str], Script]
KEY = "rq:worker:the-worker"


def script_of(url: str, **options: Any) -> str:
    return (
        f"worker = Worker('default', 'the-worker', connection={url!r}, **{options!r})\n"
        "ran = worker.run()\n"
        "print('ran' if ran else 'idle', 'cold' if worker.cold else 'warm')\n"
    )


async def assert_nothing_runs(queue: Queue) -> None:
    connection = queue.connection
    expected = ("rq:job:", "rq:queue", "rq:results:", KEY, "rq:finished:default", "rq:suspended")
    assert [key for key in await connection.keys() if not str(key).removeprefix("b'").startswith(expected)] == []
    assert await connection.hexists(KEY, "death")


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_the_first_lets_jobs_finish(
        self, url: str, queue: Queue, run_script: RunScript, told: Fifo, gate: Fifo, number: int
    ) -> None:
        job = await queue.enqueue("waiting.meet", told.path, gate.path)
        waiting = await queue.enqueue("jobs.nothing")
        script = run_script(script_of(url))
        await told.pids()
        os.kill(script.process.pid, number)
        await script.line("waiting for 1 jobs to end")
        assert await queue.get_job_ids() == [waiting.id]
        gate.let()
        assert await script.end() == (0, "ran warm")
        assert (await result_of(job)).type.name == "SUCCESSFUL"
        assert await queue.get_job_ids() == [waiting.id]
        await assert_nothing_runs(queue)

    @pytest.mark.parametrize("numbers", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)])
    async def test_the_second_puts_jobs_back(
        self, url: str, queue: Queue, run_script: RunScript, told: Fifo, gate: Fifo, numbers: tuple[int, int]
    ) -> None:
        jobs = [await queue.enqueue("waiting.meet", told.path, gate.path) for _ in range(2)]
        waiting = await queue.enqueue("jobs.nothing")
        script = run_script(script_of(url, concurrency=2))
        horses = await told.pids(2)
        os.kill(script.process.pid, numbers[0])
        await script.line("waiting for 2 jobs to end")
        os.kill(script.process.pid, numbers[1])
        assert await script.end() == (0, "ran cold")
        for horse in horses:
            assert await horse.ended()
        ids = await queue.get_job_ids()
        assert {*ids[:2]} == {job.id for job in jobs}
        assert ids[2:] == [waiting.id]
        for job in jobs:
            assert await job.get_status() == JobStatus.QUEUED
            assert await job.latest_result() is None
            await job.refresh()
            assert not job.worker_name
            assert job.started_at is None
        await assert_nothing_runs(queue)
        assert await queue.connection.zcard("rq:failed:default") == 0

    async def test_ctrl_c_in_a_terminal(
        self, url: str, queue: Queue, run_script: RunScript, told: Fifo, gate: Fifo
    ) -> None:
        """It goes to the whole process group, and reaches no job."""
        job = await queue.enqueue("waiting.meet", told.path, gate.path)
        script = run_script(script_of(url))
        await told.pids()
        os.killpg(script.process.pid, signal.SIGINT)
        await script.line("waiting for 1 jobs to end")
        gate.let()
        assert await script.end() == (0, "ran warm")
        assert (await result_of(job)).type.name == "SUCCESSFUL"

    async def test_of_an_idle_worker(self, url: str, queue: Queue, run_script: RunScript, monitor: Monitor) -> None:
        script = run_script(script_of(url))
        await monitor.seen('"BLMOVE"')
        os.kill(script.process.pid, signal.SIGTERM)
        assert await script.end() == (0, "idle warm")
        job = await queue.enqueue("jobs.nothing")
        assert await queue.get_job_ids() == [job.id]
        await assert_nothing_runs(queue)

    @pytest.mark.parametrize("fork", [True, False])
    async def test_sigkill_ends_all(
        self, url: str, queue: Queue, run_script: RunScript, told: Fifo, fork: bool
    ) -> None:
        """The run stays leased: it is for others to say what becomes of the job."""
        job = await queue.enqueue("leftovers.leave_tree", told.path)
        script = run_script(f"Worker(connection={url!r}).run(fork={fork})\n")
        processes = await told.pids(5)
        script.process.kill()
        async with asyncio.timeout(2):
            for process in processes:
                assert await process.ended()
        assert await job.get_status() == JobStatus.STARTED
        assert await queue.connection.zcard("rq:wip:default") == 1

    async def test_of_a_suspended_worker(self, url: str, queue: Queue, run_script: RunScript) -> None:
        await queue.connection.set("rq:suspended", 1)
        script = run_script(script_of(url))
        await script.line("workers are suspended")
        os.kill(script.process.pid, signal.SIGTERM)
        assert await script.end() == (0, "idle warm")

    async def test_while_modules_are_imported(
        self, url: str, queue: Queue, run_script: RunScript, told: Fifo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TOLD", told.path)
        script = run_script(script_of(url, preload="stuck"))
        [zygote] = await told.pids()
        os.kill(script.process.pid, signal.SIGTERM)
        assert await script.end() == (0, "idle warm")
        assert not zygote.alive
        await assert_nothing_runs(queue)

    async def test_while_the_server_is_away(
        self, own_server: tuple[EmbeddedServer, Redis], run_script: RunScript
    ) -> None:
        server, _ = own_server
        async with Monitor(server) as monitor:
            script = run_script(script_of(server.url))
            await monitor.seen('"BLMOVE"')
            server.kill()
        await script.line("cannot take jobs")
        os.kill(script.process.pid, signal.SIGTERM)
        assert await script.end() == (0, "idle warm")
        await script.line("cannot sign off")


class TestRun:
    async def test_what_the_script_imported_is_warm(self, url: str, queue: Queue, run_script: RunScript) -> None:
        job = await queue.enqueue("warm.imported_by")
        script = run_script(f"import warm\nWorker(connection={url!r}).run(burst=True)\n")
        assert await script.end() == (0, "")
        assert (await result_of(job)).return_value[0] == script.process.pid

    async def test_without_a_fork_of_the_script(self, url: str, queue: Queue, run_script: RunScript) -> None:
        job = await queue.enqueue("warm.imported_by")
        script = run_script(f"import warm\nWorker(connection={url!r}, preload='warm').run(burst=True, fork=False)\n")
        assert await script.end() == (0, "")
        imported_by, horse = (await result_of(job)).return_value
        assert imported_by not in (script.process.pid, horse)

    async def test_bad_settings_fork_nothing(self, url: str, run_script: RunScript) -> None:
        script = run_script(
            "import os, pathlib\n"
            "try:\n"
            f"    Worker(connection={url!r}).run(max_jobs=0)\n"
            "except ValueError:\n"
            "    print(pathlib.Path(f'/proc/self/task/{os.getpid()}/children').read_text())\n"
        )
        assert await script.end() == (0, "")

    async def test_in_another_thread(self, url: str, queue: Queue, jobs_path: str) -> None:
        """An event loop in a thread of an application; signals are left alone."""
        job = await queue.enqueue("jobs.add", 1)
        outcomes: list[bool] = []

        def work() -> None:
            async def main() -> bool:
                from aiorq import connect

                client = connect(url)
                try:
                    return await Worker(connection=client, path=jobs_path).work(burst=True)
                finally:
                    await client.aclose()

            outcomes.append(asyncio.run(main()))

        thread = threading.Thread(target=work)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert outcomes == [True]
        assert await job.return_value() == 2

    async def test_signals_belong_to_the_main_thread(self, url: str) -> None:
        def work() -> None:
            with pytest.raises(ValueError, match="main thread"):
                asyncio.run(Worker(connection=url).work(burst=True, handle_signals=True))

        await asyncio.to_thread(work)


class TestRequests:
    async def test_warm(self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo, gate: Fifo) -> None:
        job = await queue.enqueue("waiting.meet", told.path, gate.path)
        await queue.enqueue("jobs.nothing")
        worker = make_worker()
        task = asyncio.create_task(worker.work())
        await told.pids()
        worker.request_stop()
        gate.let()
        assert await task
        assert await job.get_status() == JobStatus.FINISHED
        assert await queue.count() == 1

    async def test_cold(self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo, gate: Fifo) -> None:
        job = await queue.enqueue("waiting.meet", told.path, gate.path)
        await queue.enqueue("jobs.nothing")
        worker = make_worker()
        async with working(worker) as task:
            [horse] = await told.pids()
            worker.request_stop(cold=True)
            await task
        assert not horse.alive
        assert (await queue.get_job_ids())[0] == job.id

    async def test_before_the_start(self, queue: Queue, make_worker: Callable[..., Worker]) -> None:
        await queue.enqueue("jobs.nothing")
        worker = make_worker()
        worker.request_stop()
        assert not await worker.work()
        assert await queue.count() == 1

    async def test_a_job_that_had_not_begun_is_handed_back(self, queue: Queue, log: Log) -> None:
        """The worker is told to stop between the claim and the start of the job."""
        job = await queue.enqueue("jobs.nothing", ttl=100)
        await queue.enqueue("jobs.nothing")
        store = store_of(queue.connection)
        state = State(WorkerOptions(queues=("default",), name="the-worker"), store)
        executor = ForkExecutor(Settings(Context("the-worker", "pickle", "rq", {}), [], []))
        claimed = await runs.claim(store, "the-worker", ["default"], 1, 15)
        assert claimed is not None
        assert await job.get_status() == JobStatus.STARTED
        async with asyncio.TaskGroup() as tasks:
            Runner(state, executor, tasks).take(claimed, time.monotonic())
            assert state.busy == 1
            state.request_stop(Stop.WARM)
        assert (state.running, state.busy) == ({}, 0)
        assert (await queue.get_job_ids())[0] == job.id
        assert await job.get_status() == JobStatus.QUEUED
        assert await queue.connection.ttl(job.key) > 0
        assert await queue.connection.exists("rq:wip:default") == 0
        assert log.count("is put back") == 1


class TestClaimedAhead:
    """Of two jobs that were claimed for one place, the second waits for its turn."""

    @pytest.fixture
    async def state(self, queue: Queue, told: Fifo, gate: Fifo, monkeypatch: pytest.MonkeyPatch) -> State:
        monkeypatch.setattr(run, "_AHEAD", LIMIT)  # the second is not put back before the test is through
        for _ in range(2):
            await queue.enqueue("waiting.meet", told.path, gate.path)
        return State(WorkerOptions(queues=("default",), name="the-worker"), store_of(queue.connection))

    @pytest.fixture
    async def executor(self) -> AsyncIterator[ForkExecutor]:
        executor = ForkExecutor(Settings(Context("the-worker", "pickle", "rq", {}), [WAITING], []))
        await executor.start()
        yield executor
        await executor.close()

    async def claim(self, state: State) -> list[Claimed]:
        claimed = await runs.claim(state.store, "the-worker", ["default"], 2, 15)
        assert claimed is not None
        return claimed

    async def test_the_worker_is_cancelled(self, state: State, executor: ForkExecutor, told: Fifo, log: Log) -> None:
        """Both are left to be handed back."""
        claimed = await self.claim(state)

        async def work() -> None:
            async with asyncio.TaskGroup() as tasks:
                Runner(state, executor, tasks).take(claimed, time.monotonic())
                await asyncio.Event().wait()

        working = asyncio.create_task(work())
        await told.pids()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert [active.run for active in state.running.values()] == [claim.run for claim in claimed]
        assert log.count("not recorded") == 0

    async def test_the_one_that_waits_is_stopped(
        self, queue: Queue, state: State, executor: ForkExecutor, told: Fifo, gate: Fifo
    ) -> None:
        first, second = await self.claim(state)
        async with asyncio.TaskGroup() as tasks:
            runner = Runner(state, executor, tasks)
            runner.take([first, second], time.monotonic())
            runner.stop(second.run.token, None)
            assert state.free == 0
            job = await Job.fetch(second.run.job_id, queue.connection)
            assert (await result_of(job)).type.name == "STOPPED"
            await told.pids()
            gate.let()
        assert told.rest() == ""
        assert await Job(first.run.job_id, queue.connection).get_status() == JobStatus.FINISHED


class TestCancellation:
    """An application that ends cancels the task that its worker runs in."""

    async def test_jobs_are_handed_back(
        self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo, gate: Fifo
    ) -> None:
        jobs = [await queue.enqueue("waiting.meet", told.path, gate.path) for _ in range(3)]
        working = asyncio.create_task(make_worker(name="the-worker", concurrency=2).work())
        horses = await told.pids(2)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert not any(horse.alive for horse in horses)
        assert await queue.get_job_ids() == [job.id for job in jobs]
        assert {await job.get_status() for job in jobs} == {JobStatus.QUEUED}
        await assert_nothing_runs(queue)

    async def test_by_a_cancel_scope(
        self, queue: Queue, make_worker: Callable[..., Worker], told: Fifo, gate: Fifo
    ) -> None:
        import anyio

        job = await queue.enqueue("waiting.meet", told.path, gate.path)
        horses: list[Process] = []
        async with anyio.create_task_group() as group:
            group.start_soon(make_worker(name="the-worker").work)
            horses += await told.pids()
            group.cancel_scope.cancel()
        assert not horses[0].alive
        assert await queue.get_job_ids() == [job.id]
        await assert_nothing_runs(queue)

    async def test_while_it_starts(self, queue: Queue, make_worker: Callable[..., Worker], me: Process) -> None:
        job = await queue.enqueue("jobs.nothing")
        for steps in range(0, 40, 4):
            task = asyncio.create_task(make_worker(name="the-worker").work())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            assert me.children() == []
        assert await queue.get_job_ids() == [job.id]

    async def test_the_worker_can_work_again(
        self, queue: Queue, make_worker: Callable[..., Worker], start: Started
    ) -> None:
        worker = make_worker()
        task = asyncio.create_task(worker.work())
        await result_of(await queue.enqueue("jobs.nothing"))
        task.cancel()
        await asyncio.wait([task])
        await start(worker=worker)
        await result_of(await queue.enqueue("jobs.nothing"))
