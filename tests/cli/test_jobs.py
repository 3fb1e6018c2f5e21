"""`aiorq jobs`."""

from __future__ import annotations

import json
from collections.abc import Callable

import jobs
import pytest
from redis.asyncio import Redis

from aiorq import Queue
from tests.cli.conftest import Run
from tests.cli.stage import SECRET, damage, everything, fill
from tests.cli.terminal import Terminal

Open = Callable[..., Terminal]


def ids(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines()[1:]]


async def test_all(run: Run, connection: Redis) -> None:
    await fill(connection)
    before = await everything(connection)
    done = run("jobs")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[:5] == ["Job", "State", "Queue", "Function", "When"]
    assert len(ids(done.stdout)) == 12
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "ValueError: the mailbox is full" in lines["failed-1"]
    assert lines["finished-1"].split()[1:4] == ["finished", "shop", "jobs.add"]
    assert "adds up what was sold" in lines["parent"]
    assert SECRET not in done.stdout
    assert await everything(connection) == before


async def test_filters(run: Run, connection: Redis) -> None:
    await fill(connection)
    assert ids(run("jobs", "shop", "--state", "queued", "-s", "deferred").stdout) == [
        *("queued-1", "queued-2", "parent", "child"),
    ]
    assert ids(run("jobs", "-s", "QUEUED", "--newest").stdout)[-3:] == ["parent", "queued-2", "queued-1"]
    assert ids(run("jobs", "mail", "-s", "rate_limited").stdout) == ["limited"]
    assert ids(run("jobs", "--function", "echo").stdout) == ["finished-2"]
    assert ids(run("jobs", "--error", "MAILBOX").stdout) == ["failed-1"]
    nothing = run("jobs", "--error", "nowhere")
    assert (nothing.returncode, nothing.stdout) == (0, "No such jobs.\n")
    assert run("jobs", "never").stdout == "No such jobs.\n"
    await connection.flushall()
    assert run("jobs").stdout == "There are no jobs.\n"


async def test_pages(run: Run, connection: Redis) -> None:
    await fill(connection)
    first = run("jobs", "-s", "queued", "shop", "--limit", "2")
    assert ids(first.stdout) == ["queued-1", "queued-2"]
    assert first.stderr == "1 to 2 of 3; go on with --offset 2\n"
    second = run("jobs", "-s", "queued", "shop", "--limit", "2", "--offset", "2")
    assert (ids(second.stdout), second.stderr) == (["parent"], "")
    search = run("jobs", "shop", "--function", "add", "-s", "queued", "--scan", "2")
    assert search.stdout == "No such jobs.\n"
    assert search.stderr == "Looked at 2 of 3 entries; go on with --offset 2\n"


async def test_json(run: Run, connection: Redis) -> None:
    await fill(connection)
    done = run("jobs", "-s", "failed", "-e", "mailbox", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    (job,) = told.pop("jobs")
    assert told.pop("moment") > job["created_at"]
    assert told == {"total": 2, "offset": 0, "looked_at": 2, "next_offset": None}
    for name in ("created_at", "enqueued_at", "started_at", "ended_at"):
        assert job.pop(name) is not None
    assert job == {
        "id": "failed-1",
        "status": "failed",
        "queue": "shop",
        "function": "jobs.fail",
        "description": None,
        "worker": "simple",
        "timeout": 180,
        "error": "ValueError: the mailbox is full",
        "problem": None,
    }


async def test_damage_is_marked(run: Run, connection: Redis) -> None:
    await fill(connection)
    await damage(connection)
    done = run("jobs", "shop", "-s", "queued")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    for start, text in (
        ("text ", "its key holds a string, not a hash"),
        (r"esc\x1b[2J ", "there is no such job"),
        ("\ufffd\ufffd ", "there is no such job"),
        ("ghost ", "there is no such job (any more)"),
        ("corrupt ", r"its status cannot be read: '\x1b[31mbanana'"),
        ("corrupt ", "its timeout cannot be read: 'abc'"),
        ("queued-1 ", "queued"),
    ):
        assert any(line.startswith(start) and text.replace("\\x", "x") in line.replace("\\", "") for line in lines), (
            start
        )


async def test_a_large_queue_is_paged(run: Run, connection: Redis) -> None:
    queue = Queue("shop", connection)
    await queue.enqueue_many([Queue.prepare_data(jobs.nothing, job_id=f"job-{number}") for number in range(5000)])
    await connection.config_resetstat()
    done = run("jobs", "-s", "queued", "--offset", "4000", "--limit", "3", "--newest")
    assert ids(done.stdout) == ["job-999", "job-998", "job-997"]
    stats = await connection.info("commandstats")
    assert stats["cmdstat_hmget"]["calls"] == 3
    assert "cmdstat_keys" not in stats
    assert "cmdstat_scan" not in stats


async def test_on_a_narrow_terminal_errors_stand_below(terminal: Open, connection: Redis) -> None:
    await fill(connection)
    screen = terminal("jobs", "-s", "failed", columns=60)
    assert screen.end() == 0
    place = next(number for number, row in enumerate(screen.rows) if row.startswith("failed-1"))
    assert screen.rows[place + 1] == "    ValueError: the mailbox is full"
    wide = terminal("jobs", "-s", "failed", columns=200)
    assert wide.end() == 0
    assert any(row.startswith("failed-1") and row.endswith("ValueError: the mailbox is full") for row in wide.rows)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--state", "banana"], "no jobs are listed by the state 'banana'; use one of started, queued"),
        (["--limit", "0"], "limit must be 1 to 1000, not 0"),
        (["--offset", "-1"], "offset must not be negative"),
        (["--scan", "0"], "--scan must be at least 1"),
        (["a,b"], "bad queue name"),
    ],
)
async def test_wrong(run: Run, connection: Redis, arguments: list[str], text: str) -> None:
    done = run("jobs", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr
    assert len(done.stderr.splitlines()) <= 2
