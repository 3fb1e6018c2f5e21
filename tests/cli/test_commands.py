"""What the commands do, seen from outside."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jobs
import pytest
from redis.asyncio import Redis

from aiorq import Queue, __version__, connect

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]


def test_version(run: Run) -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"aiorq {__version__}\n")


@pytest.mark.parametrize("command", [[], ["worker"], ["enqueue"], ["demo"], ["dev"]])
def test_help(run: Run, command: list[str]) -> None:
    done = run(*command, "-h")
    assert done.returncode == 0
    assert "Usage: aiorq" in done.stdout


def test_no_arguments_say_what_to_do_next(run: Run) -> None:
    done = run()
    assert "aiorq demo" in " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["abc"], (("abc",), {})),
        (["abc=def"], ((), {"abc": "def"})),
        (['{"json": "abc"}'], (('{"json": "abc"}',), {})),
        ([':{"json": "abc"}'], (({"json": "abc"},), {})),
        (['key:={"json": "abc"}'], ((), {"key": {"json": "abc"}})),
        (["%1, 2"], (((1, 2),), {})),
        (["%None"], ((None,), {})),
        (["%True"], ((True,), {})),
        (["key%=(1, 2)"], ((), {"key": (1, 2)})),
        (['key%={"foo": True}'], ((), {"key": {"foo": True}})),
        (["@data.json"], (('{"in": "file"}',), {})),
        (["key=@data.json"], ((), {"key": '{"in": "file"}'})),
        ([":@data.json"], (({"in": "file"},), {})),
        (["key:=@data.json"], ((), {"key": {"in": "file"}})),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
async def test_arguments(
    run: Run, queue: Queue, tmp_path: Path, arguments: list[str], expected: tuple[Any, dict[str, Any]]
) -> None:
    (tmp_path / "data.json").write_text('{"in": "file"}')
    done = run("enqueue", "jobs.echo", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    job = await queue.fetch_job(done.stdout.strip())
    assert job is not None
    assert (job.func_name, (job.args, job.kwargs)) == ("jobs.echo", expected)


async def test_options_of_enqueue(run: Run, connection: Redis) -> None:
    options = ["--queue=low", "--timeout=2h", "--result-ttl=10", "--ttl=1d", "--failure-ttl=-1"]
    assert run("enqueue", "jobs.nothing", *options, "--description=mine", "--job-id=it").stdout == "it\n"
    assert run("enqueue", "jobs.nothing", "--queue", "low", "--job-id", "first", "--at-front", "--quiet").stdout == ""
    first, job = await Queue("low", connection).get_jobs()
    assert first.id == "first"
    assert (job.timeout, job.result_ttl, job.ttl, job.failure_ttl) == (7200, 10, 86_400, -1)
    assert job.description == "mine"


async def test_worker_runs_what_is_queued(run: Run, queue: Queue, jobs_path: str) -> None:
    added, failed = await queue.enqueue(jobs.add, 1, 2), await queue.enqueue(jobs.fail)
    done = run("worker", "--burst", "--path", jobs_path, "--log-format", "json", "--name", "it", "--concurrency", "2")
    assert (done.returncode, done.stdout) == (0, "")
    assert await added.return_value() == 3
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert all({"ts", "level", "logger", "msg"} <= line.keys() for line in lines)
    of_failed = [line for line in lines if line.get("job_id") == failed.id]
    assert [line["level"] for line in of_failed] == ["info", "warning"]
    assert "ValueError: on purpose" in of_failed[-1]["msg"]
    assert of_failed[-1] | {"worker": "it", "queue": "default"} == of_failed[-1]


async def test_worker_finds_modules_in_its_folder(run: Run, queue: Queue, tmp_path: Path) -> None:
    (tmp_path / "here.py").write_text("def answer():\n    return 42\n")
    job = await queue.enqueue("here.answer")
    assert run("worker", "--burst", "--quiet").stderr == ""
    assert await job.return_value() == 42


async def test_worker_preloads(run: Run, queue: Queue, tmp_path: Path) -> None:
    (tmp_path / "heavy.py").write_text("import os\nwho = os.getpid()\n\n\ndef imported_by():\n    return who\n")
    made = [await queue.enqueue("heavy.imported_by") for _ in range(2)]
    assert run("worker", "--burst", "--quiet", "--preload", "heavy").returncode == 0
    first, second = [await job.return_value() for job in made]
    assert first == second


async def test_dev_serves_until_it_is_interrupted(start: Start, jobs_path: str) -> None:
    process = start("dev", "--path", jobs_path)
    assert process.stdout is not None
    url = process.stdout.readline().strip().removeprefix("export AIORQ_REDIS_URL=")
    async with connect(url) as client:
        job = await Queue(connection=client).enqueue(jobs.add, 1, 2)
        result = await job.latest_result(timeout=30)
    assert result is not None
    assert result.return_value == 3
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0
    assert not Path(url.removeprefix("unix://")).parent.exists()


WRONG = [
    (["nonsense"], 2, "No such command 'nonsense'"),
    (["worker", "--nonsense"], 2, "No such option: --nonsense"),
    (["worker", "--concurrency", "0"], 2, "concurrency must be 1 to 1000, not 0"),
    (["worker", "--concurrency", "1000000"], 2, "concurrency must be 1 to 1000, not 1000000"),
    (["worker", "--max-jobs", "-1", "--burst"], 2, "max_jobs must be at least 1, not -1"),
    (["worker", "--max-idle-time", "nan"], 2, "max_idle_time must be more than 0 seconds, not nan"),
    (["worker", "--lease", "0.5"], 2, "lease must be 1 to 600 seconds, not 0.5"),
    (["worker", "--name", "with space"], 2, "bad worker name 'with space'"),
    (["worker", "--name", "esc\x1b[31m"], 2, r"bad worker name 'esc\x1b[31m'"),
    (["worker", "a,b"], 2, "bad queue name 'a,b'"),
    (["worker", "a", "a"], 2, "a queue is named twice"),
    (["worker", "--serializer", "nonsense"], 2, "no serializer 'nonsense'"),
    (["worker", "--preload", "no_such_module", "--burst"], 1, "cannot preload no_such_module"),
    (["enqueue"], 2, "Missing argument"),
    (["enqueue", "jobs.add", ":not json"], 2, "argument 1 is not JSON"),
    (["enqueue", "jobs.add", "%not literal"], 2, "argument 1 is not a Python literal"),
    (["enqueue", "jobs.add", "a=1", "a=2"], 2, "the keyword a is given twice"),
    (["enqueue", "jobs.add", "@no/such/file"], 2, "argument 1: the file no/such/file cannot be read"),
    (["enqueue", "jobs.add", "--timeout", "1x"], 2, "job_timeout: '1x' is not a duration"),
    (["enqueue", "jobs.add", "--timeout", "0"], 2, "job_timeout: '0' is not allowed"),
    (["enqueue", "jobs.add", "--ttl", "-5"], 2, "ttl: '-5' is not allowed"),
    (["enqueue", "jobs.add", "--job-id", "a b"], 2, "bad job id 'a b'"),
    (["enqueue", "jobs.add", "--queue", ""], 2, "a queue name has 1 to 100 characters, not 0"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "text"), WRONG, ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else ""
)
async def test_mistakes_get_a_line(run: Run, connection: Redis, arguments: list[str], code: int, text: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert text in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert await connection.keys("rq:job:*") == await connection.keys("rq:queue*") == []


@pytest.mark.parametrize("command", [["worker", "--burst"], ["enqueue", "jobs.add"]], ids=["worker", "enqueue"])
@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://h", "the scheme http"),
        ("redis://h:canary@h:text/0", "port"),
        ("redis://h/notadb", "database"),
        ("redis://:canary/w@h/0", "port"),
        ("redis://:can@ary/w@h/0", "database"),
        ("unix:///no/such/socket", "cannot be asked now"),
        ("redis://127.0.0.1:1/0", "cannot be asked now"),
    ],
)
def test_wrong_servers(run: Run, command: list[str], url: str, text: str) -> None:
    done = run(*command, server=url)
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert "canary" not in done.stderr
    assert "Traceback" not in done.stderr
