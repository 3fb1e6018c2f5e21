"""`aiorq doctor`, seen from outside."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import jobs
import pytest
from redis.asyncio import Redis

from aiorq import Queue

Run = Callable[..., "subprocess.CompletedProcess[str]"]


async def lose(queue: Queue, connection: Redis, count: int = 1) -> None:
    """Jobs that are queued and in no list."""
    await queue.enqueue_many([Queue.prepare_data(jobs.nothing, job_id=f"lost-{number}") for number in range(count)])
    await connection.delete("rq:queue:default")


async def test_nothing_wrong(run: Run, queue: Queue) -> None:
    await queue.enqueue(jobs.nothing)
    done = run("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    first, *_, last = done.stdout.splitlines()
    assert first.endswith(", prefix rq: 3 keys, 1 job.")
    assert last == "0 errors, 1 warning."  # the server keeps nothing
    assert "appendonly" in done.stdout


async def test_what_is_wrong_is_said_and_not_changed(run: Run, queue: Queue, connection: Redis) -> None:
    await lose(queue, connection)
    done = run("doctor")
    assert (done.returncode, done.stderr) == (1, "")
    assert "error I1  lost-0: it is queued and nothing lists it" in done.stdout
    assert "--fix would: put it at the end of its queue" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 error, 1 warning."
    assert await queue.get_job_ids() == []


async def test_fix(run: Run, queue: Queue, connection: Redis) -> None:
    await lose(queue, connection)
    done = run("doctor", "--fix")
    assert (done.returncode, done.stderr) == (0, "")
    assert "repaired: put it at the end of its queue" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 repaired; left: 0 errors, 1 warning."
    assert await queue.get_job_ids() == ["lost-0"]


async def test_what_only_a_person_can_mend_stays_an_error(run: Run, queue: Queue, connection: Redis) -> None:
    await lose(queue, connection)
    await connection.hset("rq:job:lost-0", "status", "\x1b[31mbanana")
    done = run("doctor", "--fix")
    assert done.returncode == 1
    assert "no repair: only a person knows" in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stdout.splitlines()[-1] == "0 repaired; left: 1 error, 1 warning."


async def test_json(run: Run, queue: Queue, connection: Redis) -> None:
    await lose(queue, connection)
    await connection.rpush("rq:queue:default", b"\xff")
    for options, code in (([], 1), (["--fix"], 0), (["--fix"], 0)):
        done = run("doctor", "--json", *options)
        assert (done.returncode, done.stderr) == (code, "")
    told = json.loads(run("doctor", "--json").stdout)
    assert {name: told[name] for name in ("prefix", "jobs", "errors", "warnings", "repaired", "unseen")} == {
        "prefix": "rq",
        "jobs": 1,
        "errors": 0,
        "warnings": 1,
        "repaired": 0,
        "unseen": 0,
    }
    (finding,) = told["findings"]
    assert finding["rule"] == "persistence"
    assert finding["repairable"] is finding["repaired"] is False


async def test_many_of_a_kind_are_cut(run: Run, queue: Queue, connection: Redis) -> None:
    await lose(queue, connection, 30)
    done = run("doctor")
    assert done.stdout.count("--fix would") == 10
    assert "... and 20 more of the kind: listed nowhere" in done.stdout
    assert done.stdout.splitlines()[-1] == "30 errors, 1 warning."


async def test_prefix(run: Run, queue: Queue, connection: Redis) -> None:
    await lose(queue, connection)
    assert "prefix other: 0 keys, 0 jobs." in run("doctor", "--prefix", "other").stdout
    done = run("doctor", "--prefix", "white space")
    assert (done.returncode, done.stdout) == (2, "")
    assert "bad key prefix" in done.stderr


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--url", "http://h"], ["--url", "redis://127.0.0.1:1/0"]])
def test_mistakes_get_a_line(run: Run, arguments: list[str]) -> None:
    done = run("doctor", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_help(run: Run) -> None:
    done = run("doctor", "-h")
    assert done.returncode == 0
    assert "--fix" in done.stdout
