"""`aiorq check`, the exit code for health checks."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Awaitable, Callable

import jobs
import pytest
from redis.asyncio import Redis

from aiorq import Queue
from aiorq.server import EmbeddedServer
from tests.cli.conftest import Run
from tests.cli.stage import fill
from tests.interop.conftest import Gate

Busy = Callable[..., Awaitable[tuple["subprocess.Popen[str]", Gate]]]


async def test_the_server_answers(run: Run, connection: Redis) -> None:
    done = run("check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ok: unix://")
    assert done.stdout.endswith(" answers\n")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--max-queued", "3"], 0, "ok: shop: 3 queued jobs"),
        (["--max-queued", "2"], 1, "not ok: shop: 3 queued jobs, should be at most 2"),
        (["mail", "--max-queued", "2"], 0, "ok: mail: 1 queued job"),
        (["--max-failed", "2"], 0, "ok: shop: 2 failed jobs"),
        (["shop", "--max-failed", "0"], 1, "not ok: shop: 2 failed jobs, should be at most 0"),
        (["--max-age", "1h"], 0, "ok: shop: the oldest job has waited"),
        (["--max-age", "0"], 1, "not ok: shop: the oldest job has waited"),
        (["never", "--max-age", "0"], 0, "ok: never: no job waits"),
        (["--workers", "1"], 1, "not ok: 0 workers alive, should be at least 1"),
        (["shop", "mail", "--workers", "1"], 1, "not ok: 0 workers alive on mail, should be at least 1"),
        (["--worker", "nobody"], 1, "not ok: worker nobody is not alive"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_bounds(run: Run, connection: Redis, arguments: list[str], code: int, text: str) -> None:
    await fill(connection)
    done = run("check", *arguments)
    assert (done.returncode, done.stderr) == (code, "")
    assert any(line.startswith(text) for line in done.stdout.splitlines())


async def test_json(run: Run, connection: Redis) -> None:
    await fill(connection)
    done = run("check", "shop", "--max-queued", "2", "--max-failed", "5", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (1, False)
    server, queued, failed = told["checks"]
    assert (server["check"], server["ok"], server["subject"]) == ("server", True, None)
    assert queued == {
        "check": "queued",
        "subject": "shop",
        "ok": False,
        "value": 3,
        "bound": 2,
        "message": "shop: 3 queued jobs, should be at most 2",
    }
    assert (failed["check"], failed["ok"]) == ("failed", True)


async def test_workers(run: Run, busy: Busy, connection: Redis) -> None:
    worker, _ = await busy("worker-1")
    assert run("check", "shop", "--workers", "1", "--worker", "worker-1").returncode == 0
    assert run("check", "shop", "other", "--workers", "1").returncode == 1
    # One that died without a word is in the books for minutes, but is not heard of any more.
    worker.kill()
    worker.wait(30)
    await connection.hset("rq:worker:worker-1", "last_heartbeat", "2026-01-02T03:04:05.000006Z")
    dead = run("check", "shop", "--workers", "1", "--worker", "worker-1")
    assert dead.returncode == 1
    assert "not ok: worker worker-1 is not alive" in dead.stdout


async def test_an_idle_worker_of_rq_is_spared(run: Run, busy: Busy, connection: Redis) -> None:
    await busy("theirs", module="rq.cli")
    await connection.hset("rq:worker:theirs", "last_heartbeat", "2026-01-02T03:04:05.000006Z")
    assert run("check", "--worker", "theirs").returncode == 0


async def test_age_of_a_job_that_waits(run: Run, queue: Queue, connection: Redis) -> None:
    job = await queue.enqueue(jobs.nothing)
    await connection.hset(job.key, "enqueued_at", "2020-01-02T03:04:05.000006Z")
    done = run("check", "--max-age", "1d", "--json")
    assert done.returncode == 1
    age = json.loads(done.stdout)["checks"][1]
    assert (age["check"], age["bound"], age["ok"]) == ("age", 86_400, False)
    assert age["value"] > 86_400


@pytest.mark.parametrize("where", ["unix:///no/such/socket", "redis://:canary@127.0.0.1:1/0"])
def test_no_server(run: Run, where: str) -> None:
    done = run("check", "--json", server=where)
    told = json.loads(done.stdout)
    assert (done.returncode, done.stderr, told["ok"]) == (1, "", False)
    assert told["checks"][0]["check"] == "server"
    assert "canary" not in done.stdout


def test_a_server_that_hangs(run: Run) -> None:
    with EmbeddedServer() as server:
        server.pause()
        done = run("check", "--timeout", "0.5", server=server.url)
        server.resume()
    assert (done.returncode, done.stdout) == (1, "not ok: the server does not answer within 0.5 s\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--workers", "-1"],
        ["--max-age", "soon"],
        ["--max-age", "-5"],
        ["--timeout", "0"],
        ["--heartbeat", "nan"],
        ["a,b"],
    ],
)
def test_wrong(run: Run, arguments: list[str]) -> None:
    done = run("check", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) <= 2
