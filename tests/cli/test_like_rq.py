"""RQ's command lines with the word replaced: they run, and leave behind what they leave behind there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jobs
import pytest
from redis.asyncio import Redis

from aiorq import Queue, SimpleWorker
from tests.cli.conftest import Run, Start
from tests.cli.stage import fill

Both = Callable[..., tuple["subprocess.CompletedProcess[str]", "subprocess.CompletedProcess[str]"]]


@pytest.fixture
def run_rq(url: str) -> Run:
    """Run a command of RQ's to its end."""

    def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "rq.cli", *arguments, "--url", url],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    return run_command


async def keys(connection: Redis, pattern: str) -> list[bytes]:
    found: list[Any] = await connection.keys(pattern)
    return sorted(found)


async def books(connection: Redis) -> dict[str, Any]:
    """Where jobs are, and in what state."""
    found: dict[str, Any] = {}
    for key in await keys(connection, "rq:queue:*") + await keys(connection, "rq:failed:*"):
        kind = await connection.type(key)
        found[key.decode()] = (
            await connection.lrange(key, 0, -1) if kind == b"list" else sorted(await connection.zrange(key, 0, -1))
        )
    for key in await keys(connection, "rq:job:*"):
        if await connection.type(key) == b"hash":
            found[key.decode()] = await connection.hget(key, "status")
    found["suspended"] = await connection.exists("rq:suspended"), await connection.ttl("rq:suspended")
    return found


async def stage(connection: Redis) -> None:
    await connection.flushall()
    queue = Queue("shop", connection)
    for name in ("failed-1", "failed-2", "failed-3"):
        await queue.enqueue(jobs.fail, job_id=name)
    await SimpleWorker(queue, "simple", connection=connection).work(burst=True)
    for name in ("shop", "mail"):
        for number in range(3):
            await Queue(name, connection).enqueue(jobs.nothing, job_id=f"{name}-{number}")


@pytest.mark.parametrize(
    "arguments",
    [
        ["requeue", "--queue", "shop", "failed-2"],
        ["requeue", "--queue", "shop", "failed-3", "failed-1"],
        ["requeue", "--queue", "shop", "--all"],
        ["requeue", "--queue", "shop", "-a"],
        ["requeue", "--queue", "shop"],
        ["requeue", "--queue", "shop", "ghost"],
        ["empty", "shop"],
        ["empty", "shop", "mail"],
        ["empty", "--all"],
        ["empty", "-a"],
        ["empty"],
        ["suspend"],
        ["suspend", "--duration", "100"],
        ["resume"],
    ],
    ids=" ".join,
)
async def test_same_outcome(run: Run, run_rq: Run, connection: Redis, arguments: list[str]) -> None:
    await stage(connection)
    theirs = run_rq(*arguments)
    expected = await books(connection)
    await stage(connection)
    ours = run(*arguments)
    assert await books(connection) == expected
    assert ours.returncode == theirs.returncode


async def test_resume_after_suspend(run: Run, run_rq: Run, connection: Redis) -> None:
    run("suspend")
    run_rq("resume")
    assert not await connection.exists("rq:suspended")
    run_rq("suspend", "--duration", "50")
    run("resume")
    assert not await connection.exists("rq:suspended")


@pytest.mark.parametrize(
    "options",
    [["--raw"], ["-r", "-Q"], ["-r", "--only-workers"], ["-r", "-Q", "shop"], ["-r", "-W", "-R"], ["-r", "mail"]],
    ids=" ".join,
)
async def test_raw_info(run: Run, run_rq: Run, start: Start, connection: Redis, url: str, options: list[str]) -> None:
    await fill(connection)
    start("worker", "shop", "mail", "--url", url, "--name", "ours", "--path", jobs.__file__.rpartition("/")[0])
    theirs = start("worker", "mail", "--url", url, "--name", "theirs", module="rq.cli")
    for name in ("ours", "theirs"):
        while await connection.hget(f"rq:worker:{name}", "state") != b"idle" or await connection.llen("rq:queue:shop"):
            assert theirs.poll() is None

    def lines(done: subprocess.CompletedProcess[str]) -> list[str]:
        assert done.returncode == 0
        return sorted(done.stdout.splitlines())

    # Theirs cleans registries as it looks, and has no order.
    assert lines(run("info", *options)) == lines(run_rq("info", *options))


async def test_info_shows_the_same_numbers(run: Run, run_rq: Run, connection: Redis) -> None:
    await stage(connection)
    theirs = run_rq("info", "-Q").stdout
    assert "shop         |███ 3, 0 executing, 0 finished, 3 failed" in theirs
    ours = run("info", "-Q").stdout.splitlines()
    (titles,), (shop,) = ([line.split() for line in ours if line.startswith(word)] for word in ("Queue", "shop"))
    told = dict(zip(titles, shop, strict=False))
    assert (told["Waiting"], told["Running"], told["Finished"], told["Failed"]) == ("3", "0", "0", "3")
