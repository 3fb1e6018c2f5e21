"""`aiorq cron`, seen from outside."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from aiorq import Job
from aiorq.cron import Cron, CronScheduler
from tests.cli.conftest import run, start  # noqa: F401 - fixtures

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]
CONFIG = """
import math
from aiorq import cron
cron.register(math.factorial, "default", (5,), interval=3600, name="first")
cron.register("math.factorial", "default", (6,), cron="@daily", timezone="UTC", name="second")
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "entries.py").write_text(CONFIG)
    return "entries"


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    """Read the log of a process up to a line with that text in it."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return
    raise AssertionError(lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_scheduler(
    start: Start,  # noqa: F811
    config: str,
    url: str,
    connection: Redis,
    number: signal.Signals,
) -> None:
    process = start("cron", config, "-l", "debug", AIORQ_REDIS_URL=url)
    wait_for(process, "of cron entry first")
    (scheduler,) = await CronScheduler.all(connection)
    assert (scheduler.pid, scheduler.config_file) == (process.pid, "entries")
    process.send_signal(number)
    assert process.wait(30) == 0
    assert await CronScheduler.all(connection) == []
    (job_id,) = await Cron(connection).job_ids("first")
    assert (await Job.fetch(job_id, connection)).args == (5,)
    assert [job.config for job in await Cron(connection).list()] == ["entries", "entries"]


async def test_two_with_one_name(run: Run, config: str, connection: Redis) -> None:  # noqa: F811
    await CronScheduler(connection, name="it").register_birth()
    done = run("cron", config, "--name", "it", "--logging-level", "warning")
    assert (done.returncode, done.stderr) == (1, "aiorq: the cron scheduler 'it' is alive; choose another name\n")


async def test_commands(run: Run, connection: Redis) -> None:  # noqa: F811
    """An entry from its begin to its end."""
    assert run("cron", "list").stdout == "There are no cron entries.\n"
    options = ("--cron", "0 3 * * *", "--timezone", "Europe/Berlin", "-q", "nightly", "--misfire", "once")
    more = ("--overlap", "queue", "--jitter", "5", "--timeout", "2m", "--unique", "--at-front", "--misfire-limit", "7")
    done = run("cron", "add", "it", "math.factorial", ":5", *options, *more)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("it: next 20")
    (entry,) = json.loads(run("cron", "list", "--json").stdout)
    expected = {
        "name": "it",
        "func_name": "math.factorial",
        "queue_name": "nightly",
        "args": [5],
        "cron": "0 3 * * *",
        "timezone": "Europe/Berlin",
        "misfire": "once",
        "misfire_limit": 7,
        "overlap": "queue",
        "jitter": 5.0,
        "paused": False,
        "enqueued": 0,
    }
    assert {name: entry[name] for name in expected} == expected
    assert run("cron", "pause", "it").stdout == "it: paused\n"
    assert run("cron", "pause", "it").stdout == "it: paused already\n"
    assert "paused; last never; 0 jobs so far" in run("cron", "list").stdout
    assert run("cron", "run", "it").stdout == "cron-it\n"
    assert run("cron", "resume", "it").stdout.startswith("it: next 20")
    assert "1 job so far" in run("cron", "list").stdout
    job = await Job.fetch("cron-it", connection)
    assert (job.origin, job.timeout, job.args) == ("nightly", 120, (5,))
    assert run("cron", "remove", "it").stdout == "it: removed\n"
    assert await Cron(connection).list() == []


@pytest.mark.parametrize("command", ["pause", "resume", "run", "remove"])
def test_entry_that_is_not_there(run: Run, command: str) -> None:  # noqa: F811
    done = run("cron", command, "nope")
    assert done.returncode == 2
    assert done.stderr == "aiorq: no cron entry 'nope': it was never registered, or was removed\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["no_such_module"], "No module named 'no_such_module'"),
        (["a b"], "neither the dotted name"),
        (["entries", "-l", "loud"], "'loud' is no level"),
        (["-l", "info", "list"], "its options go behind it"),
        (["entries", "-u", "http://x"], "scheme http"),
        (["add", "x", "math.factorial"], "either cron= or interval="),
        (["add", "x", "math.factorial", "--cron", "61 * * * *"], "the minute of '61 * * * *'"),
        (["add", "x", "math.factorial", "--cron", "* * 31 2 *"], "never comes true"),
        (["add", "x", "math.factorial", "--cron", "@daily", "--timezone", "Moon/Sea"], "timezone: 'Moon/Sea'"),
        (["add", "x", "math.factorial", "--every", "-5"], "interval: -5"),
        (["add", "x", "math.factorial", "--every", "soon"], "--every"),
        (["add", "x", "math.factorial", "--every", "5", "--misfire", "never"], "never"),
        (["add", "x", "math.factorial", "--every", "5", "--misfire-grace", "0"], "misfire_grace"),
        (["add", "x", "math.factorial", ":{", "--every", "5"], "JSON"),
        (["add", "x"], "function"),
        (["list", "--nope"], "nope"),
    ],
)
def test_bad_input(run: Run, config: str, arguments: list[str], text: str) -> None:  # noqa: F811
    done = run("cron", *arguments)
    assert done.returncode == 2
    assert text in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_broken_config(run: Run, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "entries.py").write_text(CONFIG.replace("@daily", "61 * * * *"))
    done = run("cron", "entries")
    assert done.returncode == 2
    assert done.stderr.startswith("aiorq: the cron config 'entries' cannot be loaded: ")
    assert "the minute of '61 * * * *'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help(run: Run, arguments: list[str]) -> None:  # noqa: F811
    done = run("cron", *arguments)
    text = " ".join((done.stdout + done.stderr).split())
    assert "CONFIG | COMMAND" in text
    for command in ("list", "add", "pause", "resume", "run", "remove"):
        assert f"│ {command} " in text


async def test_worker(start: Start, config: str, url: str, connection: Redis, tmp_path: Path) -> None:  # noqa: F811
    process = start("worker", "--cron", config, "--burst", AIORQ_REDIS_URL=url)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    (job_id,) = await Cron(connection).job_ids("first")
    result: Any = await (await Job.fetch(job_id, connection)).latest_result()
    assert result.return_value == 120


def test_worker_with_a_broken_config(run: Run) -> None:  # noqa: F811
    done = run("worker", "--cron", "no_such_module", "-q")
    assert done.returncode == 2
    assert done.stderr.endswith(
        "aiorq: the cron config 'no_such_module' cannot be loaded: No module named 'no_such_module'\n"
    )
