"""`aiorq worker` and `aiorq worker-pool`: their options, seen from outside."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import jobs
import pytest
from redis.asyncio import Redis

from aiorq import Queue, Retry
from aiorq.suspension import resume, suspend
from tests.cli.conftest import Run, Start
from tests.cli.terminal import Terminal
from tests.cli.test_restart import heard

BOTH = pytest.mark.parametrize("command", ["worker", "worker-pool"])
RQ_LINES = [
    "worker --burst",
    "worker high default low -b",
    "worker -b --name it --results-ttl 100 --worker-ttl 60 --maintenance-interval 60 --job-monitoring-interval 5",
    "worker -b --logging_level DEBUG --log-format %(levelname)s:%(message)s --date-format %Y",
    "worker -b -s --max-jobs 1 --max-idle-time 3",
    "worker -b -v --disable-job-desc-logging -P . --path deep",
    "worker -b -q -d --exception-handler handlers.note --exception-handler handlers.also",
    "worker -b -ds round_robin",
    "worker -b --dequeue-strategy random -w aiorq.Worker -j aiorq.job.Job --queue-class aiorq.Queue",
    "worker -b --pid it.pid -S aiorq.serializers.DefaultSerializer --connection-class redis.Redis",
    "worker-pool -b",
    "worker-pool high default low -b -n 2 --logging-level INFO",
    "worker-pool -b -l WARNING -q --num-workers 1 -w aiorq.SimpleWorker -S pickle",
    "worker-pool -b -v --exception-handler handlers.note --log-format %(message)s --date-format %H -P .",
]
"""Command lines of RQ's, with `rq` replaced."""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path) -> None:
    """What the command lines name."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "below.py").write_text("def answer(): return 42\n")
    (tmp_path / "handlers.py").write_text(
        "import os\ndef note(job, *error): open(job.id + '.txt', 'a').write(f'{error[1]}\\n')\nalso = note\n"
        "def who(): return os.getppid()\n"
    )


@pytest.mark.parametrize("line", RQ_LINES)
async def test_command_lines_of_rq(run: Run, queue: Queue, url: str, line: str) -> None:
    job = await queue.enqueue(jobs.add, 1, 2)
    done = run(*line.split(" "), "-P", os.path.dirname(jobs.__file__), "--url", url, server="")
    assert (done.returncode, done.stdout) == (0, "")
    assert await job.return_value() == 3


class TestOptions:
    @BOTH
    async def test_exception_handlers(self, run: Run, queue: Queue, command: str, tmp_path: Path) -> None:
        job = await queue.enqueue("math.sqrt", -1)
        handlers = ["--exception-handler", "handlers.note", "--exception-handler", "handlers.also"]
        run(command, "-b", *handlers, "--disable-default-exception-handler")
        assert (tmp_path / f"{job.id}.txt").read_text() == "math domain error\n" * 2
        assert await queue.failed_job_registry.get_job_ids() == []
        assert str(await job.get_status()) == "failed"

    async def test_max_jobs(self, run: Run, queue: Queue, jobs_path: str) -> None:
        for _ in range(3):
            await queue.enqueue(jobs.nothing)
        run("worker", "-b", "--max-jobs", "2", "-P", jobs_path)
        assert await queue.count() == 1

    async def test_max_idle_time(self, run: Run, queue: Queue, jobs_path: str) -> None:
        job = await queue.enqueue(jobs.nothing)
        assert run("worker", "--max-idle-time", "1", "-P", jobs_path).returncode == 0
        assert str(await job.get_status()) == "finished"

    async def test_results_ttl(self, run: Run, queue: Queue, connection: Redis, jobs_path: str) -> None:
        job = await queue.enqueue(jobs.nothing)
        run("worker", "-b", "--results-ttl", "77", "-P", jobs_path)
        assert 70 < await connection.ttl(f"rq:job:{job.id}") <= 77

    @BOTH
    async def test_strategy(self, run: Run, connection: Redis, command: str, jobs_path: str) -> None:
        for name in "ab":
            for _ in range(3):
                await Queue(name, connection).enqueue(jobs.nothing)
        told = run(command, "a", "b", "-b", "--dequeue-strategy", "round_robin", "-P", jobs_path).stderr
        taken = re.findall(r"^\S+ ([ab]): jobs.nothing \(", told, re.MULTILINE)
        assert "".join(taken) in ("ababab", "bababa")

    @pytest.mark.parametrize(
        ("options", "levels"),
        [
            ([], ["info", "warning"]),
            (["--verbose"], ["info", "warning"]),
            (["--quiet"], ["warning"]),
            (["--log-level", "error"], []),
            (["--logging_level", "Warning"], ["warning"]),
            (["--logging-level", "INFO"], ["info", "warning"]),
            (["-l", "critical"], []),
        ],
        ids=str,
    )
    async def test_levels(self, run: Run, queue: Queue, options: list[str], levels: list[str]) -> None:
        await queue.enqueue("math.sqrt", -1)
        told = run("worker", "-b", "--log-format", "json", *options).stderr
        assert sorted({json.loads(line)["level"] for line in told.splitlines()} - {"debug"}) == levels

    async def test_formats(self, run: Run, queue: Queue) -> None:
        await queue.enqueue("math.sqrt", -1, job_id="it")
        told = run(
            "worker", "-b", "--log-format", "%(asctime)s|%(levelname)s|%(message)s", "--date-format", "%Y"
        ).stderr
        assert re.search(r"^20\d\d\|INFO\|default: math.sqrt \(it\)$", told, re.MULTILINE)
        assert re.search(r"^20\d\d\|WARNING\|default: math.sqrt failed", told, re.MULTILINE)

    @pytest.mark.parametrize(
        "options",
        [[], ["--verbose"], ["--log-format", "json"], ["--log-job-description", "--disable-job-desc-logging"]],
    )
    async def test_arguments_stay_out_of_the_log(self, run: Run, queue: Queue, options: list[str]) -> None:
        await queue.enqueue("math.sqrt", "canary")
        assert "canary" not in run("worker", "-b", *options).stderr

    async def test_arguments_in_the_log_where_they_are_wanted(self, run: Run, queue: Queue) -> None:
        await queue.enqueue("math.sqrt", "arg\x1bument")
        assert r"math.sqrt('arg\x1bument')" in run("worker", "-b", "--log-job-description").stderr

    @BOTH
    async def test_pid_file(self, start: Start, connection: Redis, url: str, command: str, tmp_path: Path) -> None:
        process = start(command, "--pid", "it.pid", AIORQ_REDIS_URL=url)
        heard(process, "takes jobs from")
        assert (tmp_path / "it.pid").read_text() == str(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert not (tmp_path / "it.pid").exists()

    async def test_work_goes_on_where_it_did_not_end(self, run: Run, queue: Queue, jobs_path: str) -> None:
        job = await queue.enqueue(jobs.fail, retry=Retry(2))
        run("worker", "-b", "-P", jobs_path, "--with-scheduler")
        assert job.id in await queue.failed_job_registry.get_job_ids()
        assert len(await job.attempts()) == 3


class TestBar:
    """A burst on a terminal that logs little shows how far it has come."""

    async def test_bar(self, terminal: Callable[..., Terminal], queue: Queue, jobs_path: str) -> None:
        for _ in range(5):
            await queue.enqueue(jobs.nothing)
        await queue.enqueue(jobs.fail, job_id="bad")
        shown = terminal("worker", "--burst", "--quiet", "-P", jobs_path, columns=100)
        assert shown.end() == 0
        assert b"6/6" in shown.sent
        (line,) = shown.rows  # the bar is gone, and the warning is whole
        assert re.search(r"default: jobs.fail failed after .* \(bad\): ValueError: on purpose$", line)

    async def test_no_bar(self, terminal: Callable[..., Terminal], queue: Queue, jobs_path: str) -> None:
        await queue.enqueue(jobs.nothing)
        shown = terminal("worker", "--burst", "-P", jobs_path)
        assert shown.end() == 0
        assert b"1/1" not in shown.sent
        assert "jobs.nothing finished" in shown.text


class TestSuspension:
    @pytest.mark.parametrize("options", [[], ["--burst"]], ids=str)
    async def test_a_worker_does_not_begin(self, run: Run, queue: Queue, options: list[str]) -> None:
        job = await queue.enqueue("math.sqrt", 4)
        await suspend(queue.connection)
        done = run("worker", *options)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "aiorq: workers are suspended: no job is taken until `aiorq resume`\n"
        assert str(await job.get_status()) == "queued"

    async def test_one_that_starts_anew_waits(self, start: Start, queue: Queue, url: str) -> None:
        worker = start("worker", AIORQ_REDIS_URL=url)
        heard(worker, "takes jobs from")
        await suspend(queue.connection)
        worker.send_signal(signal.SIGHUP)
        heard(worker, "takes jobs from")
        job = await queue.enqueue("math.sqrt", 4)
        await resume(queue.connection)
        result = await job.latest_result(timeout=30)
        assert result is not None
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0

    async def test_a_pool_waits(self, start: Start, queue: Queue, url: str) -> None:
        await suspend(queue.connection)
        job = await queue.enqueue("math.sqrt", 4)
        pool = start("worker-pool", "-n", "2", AIORQ_REDIS_URL=url)
        heard(pool, "takes jobs from")
        await resume(queue.connection)
        assert await job.latest_result(timeout=30) is not None
        pool.send_signal(signal.SIGTERM)
        assert pool.wait(30) == 0


class TestPool:
    async def test_workers_are_replaced(self, start: Start, queue: Queue, url: str) -> None:
        pool = start("worker-pool", "--num-workers", "2", AIORQ_REDIS_URL=url)
        pids = {re.search(r"has pid (\d+)", heard(pool, "has pid"))[1] for _ in range(2)}  # type: ignore[index]
        for _ in range(2):
            heard(pool, "takes jobs from")
        os.kill(int(min(pids)), signal.SIGKILL)
        heard(pool, "exit code -9")
        new = re.search(r"has pid (\d+)", heard(pool, "has pid"))
        assert new is not None
        assert new[1] not in pids
        heard(pool, "takes jobs from")
        pool.send_signal(signal.SIGINT)
        heard(pool, "SIGINT: 2 workers end")
        assert pool.wait(30) == 0

    async def test_jobs_inherit_nothing_of_the_command_line(self, run: Run, queue: Queue) -> None:
        job = await queue.enqueue("sys.modules.__contains__", "typer")
        assert run("worker-pool", "-b").returncode == 0
        assert await job.return_value() is False

    async def test_two_signals(self, start: Start, queue: Queue, url: str, jobs_path: str) -> None:
        job = await queue.enqueue(jobs.sleep, 600)
        pool = start("worker-pool", "-P", jobs_path, AIORQ_REDIS_URL=url)
        heard(pool, "jobs.sleep")
        pool.send_signal(signal.SIGTERM)
        heard(pool, "SIGTERM: 1 workers end: finishing")
        pool.send_signal(signal.SIGTERM)
        assert pool.wait(30) == 1
        assert str(await job.get_status()) == "queued"

    async def test_hangup(self, start: Start, queue: Queue, url: str) -> None:
        pool = start("worker-pool", AIORQ_REDIS_URL=url)
        heard(pool, "takes jobs from")
        pool.send_signal(signal.SIGHUP)
        assert f"(pid {pool.pid})" in heard(pool, " starts 1 workers")
        heard(pool, "takes jobs from")
        pool.send_signal(signal.SIGTERM)
        assert pool.wait(30) == 0


class TestWatch:
    async def test_a_change_starts_the_worker_anew(self, start: Start, queue: Queue, url: str, tmp_path: Path) -> None:
        module = tmp_path / "task.py"
        module.write_text("def answer(): return 'old'\n")
        watched = start("worker", "--watch", "--preload", "task", AIORQ_REDIS_URL=url, PYTHONDONTWRITEBYTECODE="1")

        async def answer() -> object:
            job = await queue.enqueue("task.answer")
            result = await job.latest_result(timeout=30)
            assert result is not None
            return result.return_value

        heard(watched, "takes jobs from")
        assert await answer() == "old"
        module.write_text("def answer(): return 'newer'\n")
        heard(watched, "task.py changed: starting the worker anew")
        heard(watched, "takes jobs from")
        assert await answer() == "newer"
        module.write_text("def answer(: return\n")
        heard(watched, "it is started anew at the next change")
        module.write_text("def answer(): return 'newest'\n")
        heard(watched, "takes jobs from")
        assert await answer() == "newest"
        watched.send_signal(signal.SIGINT)
        assert watched.wait(30) == 0


MISTAKES = [
    (["--concurrency", "0"], "concurrency must be 1 to 1000, not 0"),
    (["--concurrency", "1000000"], "concurrency must be 1 to 1000, not 1000000"),
    (["--lease", "nan"], "lease must be 1 to 600 seconds, not nan"),
    (["--worker-ttl", "0"], "--worker-ttl"),
    (["--results-ttl", "-5"], "default_result_ttl must be -1 or more"),
    (["--stop-grace", "-1"], "stop_grace must be 0 to 3600"),
    (["--shutdown-timeout", "-1"], "shutdown_timeout must be 0 to 86400"),
    (["--max-memory", "many"], "'many'"),
    (["--maintenance-interval", "0"], "--maintenance-interval"),
    (["--job-monitoring-interval", "0"], "--job-monitoring-interval"),
    (["--verbose", "--quiet"], "--verbose and --quiet exclude each other"),
    (["--log-level", "loud"], "'loud' is no level of the log"),
    (["--log-format", "{message}"], "log format '{message}'"),
    (["--log-format", "%(nope)s"], "log format '%(nope)s'"),
    (["--exception-handler", "a b"], "'a b' is not the dotted name of a function"),
    (["--pid", "no/such/folder/it.pid"], "the process id cannot be written to no/such/folder/it.pid: No such file"),
    (["--on-lost", "cry"], "--on-lost"),
    (["--prefix", "a b"], "bad key prefix"),
    (["a" * 101], "a queue name has 1 to 100 characters"),
]


@BOTH
@pytest.mark.parametrize(
    ("options", "text"), MISTAKES, ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else ""
)
async def test_mistakes(run: Run, connection: Redis, command: str, options: list[str], text: str) -> None:
    done = run(command, "--burst", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert "Traceback" not in done.stderr
    assert await connection.keys() == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["-n", "0"], "num_workers must be 1 to 1000, not 0"),
        (["-n", "1001"], "not 1001"),
        (["-n", "x"], "--num-workers"),
    ],
    ids=str,
)
async def test_mistakes_of_pools(run: Run, connection: Redis, options: list[str], text: str) -> None:
    done = run("worker-pool", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr


MISSING = [
    (["--exception-handler", "handlers.nope"], 1, "cannot use handlers.nope as exception_handlers"),
    (["-j", "handlers.Nope"], 1, "cannot use handlers.Nope as job_class"),
    (["--preload", "nope"], 1, "cannot preload nope"),
    (["--cron", "no/such/file.py"], 2, "the cron config 'no/such/file.py' cannot be loaded"),
]


@pytest.mark.parametrize(("options", "code", "text"), MISSING, ids=str)
async def test_what_workers_need_and_do_not_find(
    run: Run, connection: Redis, options: list[str], code: int, text: str
) -> None:
    done = run("worker", "--burst", *options)
    assert (done.returncode, done.stdout) == (code, "")
    assert f"aiorq: {text}" in done.stderr
    assert "Traceback" not in done.stderr
    in_pool = run("worker-pool", "--burst", *options)
    assert (in_pool.returncode, in_pool.stdout) == (1, "")
    assert text in in_pool.stderr
    assert in_pool.stderr.endswith("aiorq: 1 worker of 1 ended with an error\n")
    assert "Traceback" not in in_pool.stderr
