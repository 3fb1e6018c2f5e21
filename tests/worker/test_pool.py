"""Several workers under one process: they start, are replaced, and end with it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from aiorq import JobStatus, Queue
from aiorq.worker import WorkerPool
from tests.execution.processes import Fifo, Process
from tests.worker.conftest import Script, result_of

RunScript = Callable[[str], Script]


def pool_script(url: str, *, count: int = 2, burst: bool = False, options: str = "") -> str:
    """A script whose pool prints what became of it; `STARTED` stands in its log once the workers are there."""
    return (
        "from aiorq.worker import SimpleWorker, WorkerPool\n"
        f"pool = WorkerPool(['default'], {url!r}, {count}, {options})\n"
        f"pool.start(burst={burst})\n"
        "print(pool.status.name, 'cold' if pool.cold else 'warm', pool.number_of_active_workers, end=' ')\n"
        "print('again' if pool.restart_requested else 'for good')\n"
    )


async def workers_of(told: Fifo, count: int) -> list[Process]:
    """The workers whose jobs told their process ids."""
    return [worker_of(horse) for horse in await told.pids(count)]


def worker_of(horse: Process) -> Process:
    """The worker whose zygote forked a horse."""
    zygote = Process(int(horse.status("PPid")))
    return Process(int(zygote.status("PPid")))


class TestBurst:
    async def test_workers_share_the_jobs_and_end(self, url: str, queue: Queue, run_script: RunScript) -> None:
        jobs = [await queue.enqueue("os.getppid") for _ in range(20)]
        script = run_script(pool_script(url, burst=True))
        assert await script.end() == (0, "STOPPED warm 0 for good")
        zygotes = {await job.return_value() for job in jobs}
        assert len(zygotes) in (1, 2)  # one may have been quicker
        assert None not in zygotes
        assert script.process.pid not in zygotes

    async def test_workers_run_at_the_same_time(
        self, url: str, queue: Queue, run_script: RunScript, told: Fifo, gate: Fifo
    ) -> None:
        for _ in range(2):
            await queue.enqueue("waiting.meet", told.path, gate.path)
        script = run_script(pool_script(url, burst=True))
        workers = await workers_of(told, 2)
        assert len({worker.pid for worker in workers}) == 2
        assert {int(worker.status("PPid")) for worker in workers} == {script.process.pid}
        gate.let(2)
        assert await script.end() == (0, "STOPPED warm 0 for good")

    async def test_jobs_find_what_the_script_has_imported(self, url: str, queue: Queue, run_script: RunScript) -> None:
        job = await queue.enqueue("preset.answer")
        body = "import types\nsys.modules['preset'] = types.ModuleType('preset')\n"
        body += "exec('def answer(): return 42', vars(sys.modules['preset']))\n"
        script = run_script(body + pool_script(url, count=1, burst=True))
        assert (await script.end())[0] == 0
        assert await job.return_value() == 42

    async def test_other_workers(self, url: str, queue: Queue, run_script: RunScript) -> None:
        job = await queue.enqueue("os.getppid")
        script = run_script(pool_script(url, count=1, burst=True, options="SimpleWorker"))
        assert (await script.end())[0] == 0
        assert await job.return_value() == script.process.pid

    async def test_a_client_of_the_script(self, url: str, queue: Queue, run_script: RunScript) -> None:
        job = await queue.enqueue("os.getpid")
        body = (
            "from aiorq import Queue, connect\n"
            "from aiorq.worker import WorkerPool\n"
            f"pool = WorkerPool(Queue(connection=connect({url!r})))\n"
            "pool.start(burst=True)\n"
            "print([queue.name for queue in pool.queues])\n"
        )
        assert await run_script(body).end() == (0, "['default']")
        assert await job.get_status() is JobStatus.FINISHED


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    async def test_the_first_lets_jobs_finish(
        self, url: str, queue: Queue, run_script: RunScript, told: Fifo, gate: Fifo, number: int
    ) -> None:
        job = await queue.enqueue("waiting.meet", told.path, gate.path)
        script = run_script(pool_script(url))
        (worker,) = await workers_of(told, 1)
        os.kill(script.process.pid, number)
        await script.line("waiting for 1 jobs to end")
        gate.let()
        assert await script.end() == (0, "STOPPED warm 0 for good")
        assert await worker.ended()
        assert (await result_of(job)).type.name == "SUCCESSFUL"

    async def test_the_second_puts_jobs_back(
        self, url: str, queue: Queue, run_script: RunScript, told: Fifo, gate: Fifo
    ) -> None:
        jobs = [await queue.enqueue("waiting.meet", told.path, gate.path) for _ in range(2)]
        script = run_script(pool_script(url))
        await told.pids(2)
        os.kill(script.process.pid, signal.SIGTERM)
        await script.line("waiting for 1 jobs to end")
        os.kill(script.process.pid, signal.SIGTERM)
        assert await script.end() == (0, "STOPPED cold 0 for good")
        assert sorted(await queue.get_job_ids()) == sorted(job.id for job in jobs)

    async def test_both_at_once_put_jobs_back(
        self, url: str, queue: Queue, run_script: RunScript, told: Fifo, gate: Fifo
    ) -> None:
        job = await queue.enqueue("waiting.meet", told.path, gate.path)
        script = run_script(pool_script(url))
        await told.pids()
        os.kill(script.process.pid, signal.SIGTERM)
        os.kill(script.process.pid, signal.SIGINT)
        assert await script.end() == (0, "STOPPED cold 0 for good")
        assert await queue.get_job_ids() == [job.id]

    async def test_hangup_ends_it_to_be_started_anew(self, url: str, run_script: RunScript) -> None:
        script = run_script(pool_script(url))
        for _ in range(2):
            await script.line("takes jobs from")
        os.kill(script.process.pid, signal.SIGHUP)
        assert await script.end() == (0, "STOPPED warm 0 again")

    async def test_the_terminals_signal_reaches_workers_once(
        self, url: str, queue: Queue, run_script: RunScript, told: Fifo, gate: Fifo
    ) -> None:
        """Ctrl-C is sent to the whole group of the pool; a second signal would kill the job."""
        job = await queue.enqueue("waiting.meet", told.path, gate.path)
        script = run_script(pool_script(url))
        await told.pids()
        os.killpg(script.process.pid, signal.SIGINT)
        await script.line("waiting for 1 jobs to end")
        gate.let()
        assert await script.end() == (0, "STOPPED warm 0 for good")
        assert (await result_of(job)).type.name == "SUCCESSFUL"


class TestReplacing:
    async def test_a_worker_that_is_killed(
        self, url: str, queue: Queue, run_script: RunScript, told: Fifo, gate: Fifo
    ) -> None:
        await queue.enqueue("waiting.meet", told.path, gate.path)
        script = run_script(pool_script(url, count=1))
        (horse,) = await told.pids()
        worker = worker_of(horse)
        worker.kill()
        assert await horse.ended()  # or it would go through the gate in place of the next one
        await script.line("takes jobs from")  # of the first one
        await script.line("ended after")
        await script.line("takes jobs from")
        later = await queue.enqueue("waiting.meet", told.path, gate.path)
        (other,) = await workers_of(told, 1)
        assert other.pid != worker.pid
        gate.let()
        assert (await result_of(later)).type.name == "SUCCESSFUL"
        os.kill(script.process.pid, signal.SIGTERM)
        assert await script.end() == (0, "STOPPED warm 0 for good")

    async def test_the_pause_grows_while_workers_cannot_start(self, url: str, run_script: RunScript) -> None:
        """The first is replaced at once, the next ones after half a second, a second, and so on."""
        script = run_script(pool_script(url, count=3, options="preload='no_such_module'"))
        began = time.monotonic()
        for _ in range(9):
            await script.line("ended after")
        assert 0.4 < time.monotonic() - began < 20
        await script.line("has pid")
        assert time.monotonic() - began > 1.4
        os.kill(script.process.pid, signal.SIGTERM)
        assert (await script.end())[1] == "STOPPED warm 0 for good"
        assert sum("pid" in line and "has" in line for line in script.lines) <= 13

    async def test_none_after_the_end(self, url: str, run_script: RunScript) -> None:
        script = run_script(pool_script(url, count=1))
        await script.line("takes jobs from")
        os.kill(script.process.pid, signal.SIGTERM)
        assert (await script.end())[0] == 0
        assert sum(" has pid " in line for line in script.lines) == 1


async def test_workers_do_not_outlive_a_pool_that_is_killed(
    url: str, queue: Queue, run_script: RunScript, told: Fifo, gate: Fifo
) -> None:
    jobs = [await queue.enqueue("waiting.meet", told.path, gate.path) for _ in range(2)]
    script = run_script(pool_script(url))
    horses = await told.pids(2)
    workers = [worker_of(horse) for horse in horses]
    script.process.kill()
    for process in (*workers, *horses):
        assert await process.ended()
    assert sorted(await queue.get_job_ids()) == sorted(job.id for job in jobs)


async def test_by_hand(url: str, run_script: RunScript) -> None:
    """The steps of `start`, for those who have a loop of their own."""
    body = (
        "import time\n"
        "from aiorq.worker import WorkerPool\n"
        f"pool = WorkerPool('default', {url!r}, 2)\n"
        "print(pool.status.name, pool.number_of_active_workers, end=' ')\n"
        "pool.start_workers()\n"
        "known = all(data.name == name and data.pid for name, data in pool.worker_dict.items())\n"
        "print(pool.number_of_active_workers, known, end=' ')\n"
        "pool.stop_workers()\n"
        "while pool.worker_dict:\n"
        "    pool.reap_workers()\n"
        "pool.check_workers()\n"
        "print(pool.number_of_active_workers, end=' ')\n"
        "pool.request_stop()\n"
        "while pool.worker_dict:\n"
        "    pool.check_workers()\n"
        "print(pool.status.name)\n"
    )
    script = run_script(body)
    assert await script.end() == (0, "IDLE 0 2 True 2 STOPPED")


class TestMistakes:
    @pytest.mark.parametrize("count", [0, -1, 1001])
    def test_number_of_workers(self, count: int) -> None:
        with pytest.raises(ValueError, match="num_workers must be 1 to 1000"):
            WorkerPool("default", None, count)

    def test_options_of_workers_are_checked_at_once(self) -> None:
        with pytest.raises(ValueError, match="lease must be"):
            WorkerPool("default", lease=0.5)
        with pytest.raises(ValueError, match="at least one queue"):
            WorkerPool([])

    def test_connection(self) -> None:
        with pytest.raises(TypeError, match="connection must be"):
            WorkerPool("default", 6379)  # type: ignore[arg-type]

    async def test_within_an_event_loop(self, url: str) -> None:
        with pytest.raises(RuntimeError, match="within an event loop"):
            WorkerPool("default", url).start()

    def test_in_another_thread(self, url: str) -> None:
        raised: list[BaseException] = []

        def start() -> None:
            try:
                WorkerPool("default", url).start()
            except RuntimeError as error:
                raised.append(error)

        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
        assert "main thread only" in str(raised[0])
