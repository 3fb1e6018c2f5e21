"""No password of a URL, and no argument of a job, comes out of a command that was not asked for arguments."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import jobs
import pytest
from redis.asyncio import Redis

from aiorq import Queue, connect
from aiorq.server import EmbeddedServer
from tests.cli.conftest import Run

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


COMMANDS = [
    ["worker", "shop", "--burst", "--path", FOLDER, "--verbose"],
    ["worker", "shop", "--burst", "--path", FOLDER, "--verbose", "--log-format", "json"],
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
    ["requeue", "--queue", "shop", "unknown"],
    ["job", "cancel", "waits-too"],
    ["job", "requeue", "waits-too"],
    ["pause", "later"],
    ["unpause", "later"],
    ["job", "delete", "waits-too"],
    ["empty", "--all"],
    ["doctor"],
    ["doctor", "--json"],
]


async def test_what_commands_print(run: Run, shop: Redis, guarded: str) -> None:
    for command in COMMANDS:
        for url in ([], ["--url", guarded]) if command[0] == "info" else ([],):
            done = run(*command, *url, server=guarded)
            assert done.returncode in (0, 1), command
            said = done.stdout + done.stderr
            assert PASSWORD not in said, command
            assert ARGUMENT not in said, command
            assert "Traceback" not in done.stderr, command


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
