"""`aiorq enqueue`, beside `rq enqueue`: what the one puts into Redis the other does too."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jobs
import pytest
from redis.asyncio import Redis

from aiorq import Queue
from tests.cli.conftest import Run, Start

FORMS = [
    (["abc"], ("abc",), {}),
    (["abc=def"], (), {"abc": "def"}),
    (['{"json": "abc"}'], ('{"json": "abc"}',), {}),
    (['key={"json": "abc"}'], (), {"key": '{"json": "abc"}'}),
    ([':{"json": "abc"}'], ({"json": "abc"},), {}),
    (['key:={"json": "abc"}'], (), {"key": {"json": "abc"}}),
    (["%1, 2"], ((1, 2),), {}),
    (["%None"], (None,), {}),
    (["%True"], (True,), {}),
    (["key%=(1, 2)"], (), {"key": (1, 2)}),
    (['key%={"foo": True}'], (), {"key": {"foo": True}}),
    (["@path/to/file"], ("text in a file\n",), {}),
    (["key=@path/to/file"], (), {"key": "text in a file\n"}),
    ([":@path/to/file.json"], ({"in": ["a", "file"]},), {}),
    (["key:=@path/to/file.json"], (), {"key": {"in": ["a", "file"]}}),
    (["%@path/to/literal"], ((1, None),), {}),
    (["a", ":1", "%2", "b=3", "c:=4", "d%=5"], ("a", 1, 2), {"b": "3", "c": 4, "d": 5}),
    ([], (), {}),
    (["", "=", "a=", ": 1"], ("", "=", 1), {"a": ""}),
]
"""Every form that RQ's documentation of `rq enqueue` shows, and what RQ makes of it. For two JSON texts without a colon
the page says that they are read; RQ itself passes them on as text."""
ONE_BY_ONE = """
import importlib
run = importlib.import_module("{module}.cli.app")._run if "{module}" == "aiorq" else None
main = None if run else importlib.import_module("rq.cli").main
for line in {lines!r}:
    assert not (run(line) if run else main(line, standalone_mode=False))
"""
"""Command lines in one process: most of what each costs alone is imports."""
RQ = [str(Path(sys.executable).with_name("rq"))]


@pytest.fixture
def rq_enqueue(url: str, tmp_path: Path) -> Callable[..., str]:
    """Run `rq enqueue`; gives the id of the job."""

    def run_rq(*arguments: str) -> str:
        command = [*RQ, "enqueue", "--url", url, *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip().rpartition("'.")[0].rpartition("'")[2]

    return run_rq


@pytest.fixture
def files(tmp_path: Path) -> None:
    """The files of the forms."""
    folder = tmp_path / "path" / "to"
    folder.mkdir(parents=True)
    (folder / "file").write_text("text in a file\n")
    (folder / "file.json").write_text('{"in": ["a", "file"]}')
    (folder / "literal").write_text("1, None")


@pytest.mark.usefixtures("files")
async def test_forms_of_arguments(connection: Redis, url: str, tmp_path: Path) -> None:
    lines = [["enqueue", "--queue", str(number), "path.to.func", *form] for number, (form, _, _) in enumerate(FORMS)]
    for module in ("rq", "aiorq"):
        program = ONE_BY_ONE.format(module=module, lines=lines)
        environment = os.environ | {"RQ_REDIS_URL": url}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, check=False)  # noqa: ASYNC221
        assert (done.returncode, done.stderr) == (0, b"")
    redis: Any = connection
    for number, (_, args, kwargs) in enumerate(FORMS):
        theirs, ours = await redis.lrange(f"rq:queue:{number}", 0, -1)
        stored = [await redis.hmget(b"rq:job:" + job_id, "data", "description") for job_id in (theirs, ours)]
        assert [call_in(data) for data, _ in stored] == [("path.to.func", None, args, kwargs)] * 2
        assert stored[0][1] == stored[1][1]


def call_in(
    data: Any, loads: Callable[[bytes], Any] = pickle.loads
) -> tuple[str, Any, tuple[Any, ...], dict[str, Any]]:
    """A call as it stands in Redis. RQ's has a list of arguments where ours has a tuple."""
    func_name, instance, args, kwargs = loads(zlib.decompress(data))
    return func_name, instance, tuple(args), kwargs


OPTIONS = [
    [],
    ["--queue", "low"],
    ["-q", "low", "--at-front"],
    ["--timeout", "2h", "--result-ttl", "10", "--ttl", "1d", "--failure-ttl", "-1"],
    ["--timeout", "90"],
    ["--description", "mine", "--job-id", "it"],
    ["--depends-on", "first", "--depends-on", "second"],
    ["--retry-max", "3"],
    ["--retry-max", "3", "--retry-interval", "5", "--retry-interval", "10"],
    ["--retry-max", "0", "--retry-interval", "5"],
    ["--schedule-in", "5m"],
    ["--schedule-in", "10", "--at-front"],
    ["--schedule-at", "2050-05-27T21:45:00"],
    ["--schedule-at", "2050-01-27T21:45:00", "--retry-max", "2", "--timeout", "7s"],
    ["-S", "json"],
    ["-w", "{library}.Worker", "-j", "{library}.job.Job", "--queue-class", "{library}.Queue", "-P", "."],
]
OF_THE_MOMENT = {b"created_at", b"enqueued_at"}


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
async def test_options(run: Run, rq_enqueue: Callable[..., str], connection: Redis, options: list[str]) -> None:
    async def put(enqueue: Callable[..., Any], library: str) -> tuple[dict[bytes, Any], dict[bytes, Any]]:
        """What stands in Redis after it: the job, and the lists and sets of queues."""
        redis: Any = connection  # its annotations say little of what it returns
        await redis.flushall()
        for name in ("first", "second"):  # what is waited for
            await Queue("other", connection).enqueue(jobs.nothing, job_id=name, description=name)
        before = time.time()
        enqueue(*(option.format(library=library) for option in options), "jobs.add", "%1", "b:=2")
        (key,) = {key for key in await redis.keys("rq:job:*") if key.count(b":") == 2} - {
            b"rq:job:first",
            b"rq:job:second",
        }
        job = await redis.hgetall(key)
        places: dict[bytes, Any] = {}
        for kind in ("queue:*", "scheduled:*", "deferred:*", "job:*:dependents"):
            for place in await redis.keys(f"rq:{kind}"):
                of_type = await redis.type(place)
                if of_type == b"list":
                    places[place] = [each == key.split(b":")[2] for each in await redis.lrange(place, 0, -1)]
                elif of_type == b"zset":
                    moments = [score for _, score in await redis.zrange(place, 0, -1, withscores=True)]
                    relative = "schedule-in" in " ".join(options) or b"deferred" in place
                    places[place] = [round(moment - before, -1) if relative else moment for moment in moments]
                else:
                    places[place] = len(await redis.smembers(place))
        told: dict[bytes, Any] = {name: value for name, value in job.items() if name not in OF_THE_MOMENT}
        told[b"data"] = call_in(job[b"data"], json.loads if "json" in options else pickle.loads)
        return told, places

    theirs, their_places = await put(rq_enqueue, "rq")

    def ours_enqueue(*arguments: str) -> None:
        done = run("enqueue", *arguments)
        assert (done.returncode, done.stderr) == (0, "")

    ours, our_places = await put(ours_enqueue, "rq")
    assert {name: value for name, value in ours.items() if not name.startswith(b"aiorq_")} == theirs
    assert our_places == their_places


async def test_json(run: Run, queue: Queue) -> None:
    told = json.loads(run("enqueue", "jobs.nothing", "--json", "--job-id", "it", "--schedule-in", "1h").stdout)
    assert told == {"id": "it", "queue": "default", "func_name": "jobs.nothing", "status": "scheduled"}
    assert run("enqueue", "jobs.nothing", "--quiet").stdout == ""


async def test_moments_with_an_offset(run: Run, queue: Queue) -> None:
    at = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    text = at.astimezone().astimezone(tz=None).isoformat()
    job_id = run("enqueue", "jobs.nothing", "--schedule-at", text).stdout.strip()
    assert await queue.scheduled_job_registry.get_scheduled_time(job_id) == at


async def test_unique(run: Run, queue: Queue) -> None:
    assert run("enqueue", "jobs.nothing", "--job-id", "it", "--unique").returncode == 0
    done = run("enqueue", "jobs.nothing", "--job-id", "it", "--unique")
    assert (done.returncode, done.stdout) == (1, "")
    assert "aiorq: job 'it'" in done.stderr
    assert await queue.count() == 1


async def test_a_file_from_stdin(connection: Redis, url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "aiorq", "enqueue", "jobs.echo", ":@-", "--job-id", "it"]
    environment = os.environ | {"AIORQ_REDIS_URL": url}
    subprocess.run(command, env=environment, cwd=tmp_path, input=b'{"a": 1}', check=True, capture_output=True)  # noqa: ASYNC221
    job = await Queue(connection=connection).fetch_job("it")
    assert job is not None
    assert job.args == ({"a": 1},)


class TestWaiting:
    @pytest.fixture
    def worker(self, start: Start, url: str, jobs_path: str) -> subprocess.Popen[str]:
        return start("worker", "--path", jobs_path, "--quiet", AIORQ_REDIS_URL=url)

    async def test_for_a_result(self, run: Run, connection: Redis, worker: subprocess.Popen[str]) -> None:
        done = run("enqueue", "--wait", "--job-id", "it", "jobs.echo", '%{"a": [1]}')
        assert (done.returncode, done.stdout, done.stderr) == (0, "[(({'a': [1]},), {})]"[1:-1] + "\n", "it\n")
        assert run("enqueue", "--wait", "--quiet", "jobs.add", "a\x1b", "b").stdout == "a\\x1bb\n"
        told = json.loads(run("enqueue", "--wait-timeout", "30", "--json", "jobs.add", "%1", "%2").stdout)
        assert (told["status"], told["outcome"], told["value"]) == ("finished", "successful", 3)

    async def test_for_a_failure(self, run: Run, connection: Redis, worker: subprocess.Popen[str]) -> None:
        done = run("enqueue", "--wait", "--quiet", "jobs.fail")
        assert (done.returncode, done.stdout) == (1, "")
        assert "ValueError: on purpose" in done.stderr
        assert done.stderr.splitlines()[-1].startswith("aiorq: job ")
        told = run("enqueue", "--wait", "--json", "jobs.fail")
        assert (told.returncode, json.loads(told.stdout)["outcome"]) == (1, "failed")

    async def test_until_it_is_interrupted(self, start: Start, queue: Queue, url: str) -> None:
        waiting = start("enqueue", "--wait", "jobs.nothing", AIORQ_REDIS_URL=url)
        assert waiting.stderr is not None
        job_id = waiting.stderr.readline().strip()
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(30) == 130
        assert waiting.communicate() == ("", "")
        assert await queue.get_job_ids() == [job_id]

    async def test_not_for_ever(self, run: Run, queue: Queue) -> None:
        done = run("enqueue", "--wait-timeout", "0.2", "--job-id", "it", "jobs.nothing")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.splitlines() == ["it", "aiorq: job it is queued after 0.2 s; it goes on"]
        assert await queue.count() == 1


MISTAKES = [
    (["jobs.add", ":not json"], 2, "argument 1 is not JSON"),
    (["jobs.add", "a", "k:=not json"], 2, "the keyword k is not JSON"),
    (["jobs.add", "%not literal"], 2, "argument 1 is not a Python literal"),
    (["jobs.add", "%" + "(" * 100_000], 2, "argument 1 is not a Python literal"),
    (["jobs.add", "a=1", "a:=2"], 2, "the keyword a is given twice"),
    (["jobs.add", "@no/such/file"], 2, "argument 1: the file no/such/file cannot be read: No such file"),
    (["jobs.add", "@."], 2, "argument 1: the file . cannot be read: Is a directory"),
    (["jobs.add", "k=@bytes"], 2, "the keyword k: the file bytes is not UTF-8"),
    (["jobs.add", "@/dev/zero"], 2, "the file /dev/zero has more than the 67108864 bytes that a job may hold"),
    (["jobs.add", "--schedule-in", "1m", "--schedule-at", "2050-01-01T00:00:00"], 2, "exclude each other"),
    (["jobs.add", "--schedule-in", "soon"], 2, "--schedule-in: 'soon' is not a duration"),
    (["jobs.add", "--schedule-at", "tomorrow"], 2, "--schedule-at: 'tomorrow' is no moment"),
    (["jobs.add", "--retry-max", "-1"], 2, "--retry-max"),
    (["jobs.add", "--retry-max", "2", "--retry-interval", "-5"], 2, "interval"),
    (["jobs.add", "--wait-timeout", "-1"], 2, "--wait-timeout must not be negative"),
    (["jobs.add", "--depends-on", "a b"], 2, "bad job id 'a b'"),
    (["jobs.add", "--job-id", "x", "--depends-on", "x"], 2, "would wait for itself"),
    (["jobs.add", "--unique"], 2, "unique"),
    (["no function"], 2, "'no function' is not the dotted name of a function"),
    ([""], 2, "'' is not the dotted name of a function"),
    (["jobs.add()"], 2, "'jobs.add()' is not the dotted name of a function"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "text"), MISTAKES, ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else ""
)
async def test_mistakes(
    run: Run, connection: Redis, tmp_path: Path, arguments: list[str], code: int, text: str
) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff")
    done = run("enqueue", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert text in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert "Traceback" not in done.stderr
    assert await connection.keys() == []
