"""`aiorq bench`: figures, and nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Callable

from redis.asyncio import Redis

from aiorq.server import EmbeddedServer
from tests.cli.conftest import Run
from tests.cli.terminal import Terminal


async def test_figures(run: Run, connection: Redis, server: EmbeddedServer) -> None:
    await connection.set("mine", "1")
    done = run("bench", "--jobs", "20", "--concurrency", "2", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["server"], told["jobs"], told["concurrency"]) == (server.url, 20, 2)
    assert told["enqueue_together_per_second"] > told["enqueue_one_by_one_per_second"] > 0
    assert told["drain_per_second"] > 0
    assert 0 < told["to_start_ms"]["p50"] <= told["to_start_ms"]["p99"]
    assert told["to_start_ms"]["p50"] < told["to_result_ms"]["p50"] <= told["to_result_ms"]["p99"]
    assert await connection.keys() == [b"mine"]


def test_a_server_of_its_own(run: Run) -> None:
    done = run("bench", "--jobs", "10", server="")
    assert (done.returncode, done.stderr) == (0, "")
    assert "run 10 that wait" in done.stdout
    assert "/aiorq-" in done.stdout.splitlines()[0]


async def test_a_terminal(terminal: Callable[..., Terminal], connection: Redis) -> None:
    shown = terminal("bench", "--jobs", "10", columns=30)
    assert shown.end() == 0
    assert max(map(len, shown.rows)) <= 30
    assert "measuring" not in shown.text  # the bar is gone
    assert b"measuring" in shown.sent


def test_mistakes(run: Run) -> None:
    for options in (["--jobs", "0"], ["--concurrency", "0"], ["--url", "http://h"], ["--url", "redis://127.0.0.1:1/0"]):
        done = run("bench", *options, server="")
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) <= 2
