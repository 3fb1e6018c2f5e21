"""URLs that cannot be read, and servers that are not there or let nobody in: one line, exit code 2, within seconds."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from aiorq.server import EmbeddedServer
from tests.cli.conftest import Run

PORT = "27382"
COMMANDS = [
    ["worker", "--burst"],
    ["worker-pool", "--burst"],
    ["enqueue", "math.sqrt"],
    ["info"],
    ["bench", "--jobs", "10"],
    ["demo", "--jobs", "1"],
    ["cron", "list"],
]


@pytest.fixture(scope="module")
def strict_server() -> Iterator[EmbeddedServer]:
    """A server on TCP with a password, and users who may do little."""
    options = [
        ("port", PORT),
        ("bind", "127.0.0.1"),
        ("requirepass", "open"),
        ("user", ("reader", "on", ">canary", "~*", "+@read", "+@connection", "+select")),
        ("user", ("elsewhere", "on", ">canary", "~app:*", "+@all")),
        ("databases", "4"),
    ]
    with EmbeddedServer(options=options) as server:
        yield server


def refused(run: Run, command: list[str], url: str, text: str) -> None:
    began = time.monotonic()
    done = run(*command, server=url)
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert "canary" not in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 20  # 5 s, and what starting a process takes on a busy machine


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nobody_there(run: Run, command: list[str]) -> None:
    refused(run, command, "redis://:canary@127.0.0.1:1/0", "127.0.0.1:1/0 cannot be asked now")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_wrong_password(run: Run, strict_server: EmbeddedServer, command: list[str]) -> None:
    refused(run, command, f"redis://:canary@127.0.0.1:{PORT}/0", f"127.0.0.1:{PORT}/0")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://:canary@h", "the Redis URL has the scheme http; use one of redis://"),
        ("canary", "the Redis URL has the scheme none"),
        ("redis://h:canary/0", "the port of the Redis URL is not a number"),
        ("redis://:canary@h:99999/0", "the port of the Redis URL is not a number from 0 to 65535"),
        ("redis://:canary@h/notadb", "the database in the Redis URL is not a number"),
        ("redis://:canary/w@h/0", "percent-encode"),
        ("redis://:can@ary/w@h/0", "percent-encode"),
        ("redis://:canary#w@h/0", "percent-encode"),
        ("redis://:canary@[::1/0", "the host of the Redis URL cannot be read"),
        ("redis://[::1]:1/0", "::1:1/0 cannot be asked now"),
        ("unix:///no/such/socket", "unix:///no/such/socket cannot be asked now"),
        ("unix://", "names no socket"),
        ("redis://canary.invalid/0?no_such_setting=1", "unfit"),
        (f"redis://127.0.0.1:{PORT}/0", "authenticated"),
        (f"redis://:open@127.0.0.1:{PORT}/9", "out of range"),
        (f"rediss://:canary@127.0.0.1:{PORT}/0", "cannot be asked now"),
        (f"redis://reader:canary@127.0.0.1:{PORT}/0", "permission"),
        (f"redis://elsewhere:canary@127.0.0.1:{PORT}/0", "permission"),
    ],
)
def test_places(run: Run, strict_server: EmbeddedServer, url: str, text: str) -> None:
    refused(run, ["enqueue", "math.sqrt"], url, text)
    if "canary.invalid" not in url:
        refused(run, ["worker", "--burst"], url, text)


def test_nowhere_named(run: Run) -> None:
    with socket.socket() as client:
        if client.connect_ex(("localhost", 6379)) == 0:
            pytest.skip("a server runs where Redis is looked for")
    done = run("info", server="")
    assert (done.returncode, done.stdout) == (2, "")
    first, second = done.stderr.splitlines()
    assert "localhost:6379/0 cannot be asked now" in first
    assert "AIORQ_REDIS_URL" in second
    assert "aiorq dev" in second
