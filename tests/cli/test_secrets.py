"""No password of a URL, and no argument of a job, comes out of a command that was not asked for arguments."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import jobs
import pytest
from redis.asyncio import Redis

from aiorq import Queue, connect
from aiorq.server import EmbeddedServer
from tests.cli.conftest import Run, Start

PASSWORD = "canary-password"
ARGUMENT = "canary-argument"
FOLDER = jobs.__file__.rpartition("/")[0]


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """The URL of a server with a password."""
    with EmbeddedServer(options={"requirepass": PASSWORD}, binary=None) as server:
        yield server.url.replace("unix://", f"unix://:{PASSWORD}@")


@pytest.fixture
async def shop(guarded: str) -> AsyncIterator[Redis]:
    """A client of it, with jobs whose arguments are secret."""
    client = connect(guarded)
    await client.flushall()
    queue = Queue("shop", client)
    await queue.enqueue(jobs.echo, ARGUMENT, key=ARGUMENT, job_id="done")
    await queue.enqueue("jobs.add", ARGUMENT, job_id="fails", meta={"key": ARGUMENT})
    await queue.enqueue("no.such.module", ARGUMENT, job_id="unknown")
    later = Queue("later", client)
    await later.enqueue(jobs.nothing, ARGUMENT, job_id="waits")
    await later.enqueue(jobs.nothing, ARGUMENT, job_id="waits-too", depends_on="waits")
    # Of this one nothing but RQ's description tells the function.
    await later.enqueue(jobs.nothing, ARGUMENT, job_id="garbage")
    await client.hset("rq:job:garbage", "data", b"garbage")
    yield client
    await client.aclose()


WORKERS = [
    ["worker", "shop", "--burst", "--path", FOLDER, "--verbose"],
    ["worker", "shop", "--burst", "--path", FOLDER, "--verbose", "--log-format", "json"],
]
LOOKS = [
    ["info"],
    ["info", "--raw"],
    ["info", "--by-queue"],
    ["info", "--json"],
    ["workers"],
    ["jobs"],
    ["jobs", "--json"],
    ["job", "show", "done"],
    ["job", "show", "fails", "--json"],
    ["job", "show", "waits", "--json"],
    ["job", "show", "garbage"],
    ["check"],
    ["check", "--json", "--max-queued", "0"],
    ["doctor"],
    ["doctor", "--json"],
]
CHANGES = [
    ["requeue", "--queue", "shop", "unknown"],
    ["job", "cancel", "waits-too"],
    ["job", "requeue", "waits-too"],
    ["pause", "later"],
    ["unpause", "later"],
    ["job", "delete", "waits-too"],
    ["empty", "--all"],
]


def silent(command: list[str], code: int, said: str) -> None:
    """Neither secret is in what a command has said, nor did it fail on them."""
    assert code in (0, 1), command
    assert PASSWORD not in said, command
    assert ARGUMENT not in said, command
    assert "Traceback" not in said or command[:2] == ["job", "show"], command


async def test_looks(start: Start, shop: Redis, guarded: str) -> None:
    run_once = start(*WORKERS[0], AIORQ_REDIS_URL=guarded)
    said = "".join(run_once.communicate(timeout=50))
    silent(WORKERS[0], run_once.returncode, said)
    looks = [(command, start(*command, AIORQ_REDIS_URL=guarded)) for command in LOOKS]
    looks.append((["info"], start("info", "--url", guarded)))
    for command, process in looks:
        silent(command, 0, "".join(process.communicate(timeout=50)))
        assert process.returncode in (0, 1)


@pytest.mark.parametrize("commands", [WORKERS, CHANGES], ids=["workers", "changes"])
async def test_what_commands_print(run: Run, shop: Redis, guarded: str, commands: list[list[str]]) -> None:
    for command in commands:
        done = run(*command, server=guarded)
        silent(command, done.returncode, done.stdout + done.stderr)


async def test_arguments_where_they_are_asked_for(run: Run, shop: Redis, guarded: str) -> None:
    done = run("job", "show", "fails", "--args", server=guarded)
    assert done.stdout.count(ARGUMENT) == 2
    assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "command", [["info"], ["jobs"], ["job", "show", "a"], ["empty", "-a"], ["suspend"], ["drain", "-a"]]
)
async def test_trouble_with_the_server(run: Run, guarded: str, command: list[str]) -> None:
    wrong = guarded.replace(PASSWORD, "canary-guess")
    for url in (wrong, "redis://:canary-guess@127.0.0.1:1/0", "redis://:canary/guess@h/0"):
        done = run(*command, server=url)
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) <= 2
        assert "canary" not in done.stderr
        assert "Traceback" not in done.stderr
