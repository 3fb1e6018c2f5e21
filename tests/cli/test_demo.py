"""`aiorq demo`: it does what it shows, and leaves nothing behind however it ends."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def test_report(run: Run) -> None:
    done = run("demo", "--jobs", "25", "--concurrency", "2", "--json", server="")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["jobs"] == 28
    assert report["outcomes"] == {
        "finished": 25,
        "failed, then finished when tried again": 1,
        "failed: ran over its timeout": 1,
        "failed: its process was killed": 1,
    }
    assert report["unexpected"] == []
    assert 0 < report["to_start_ms"]["p50"] <= report["to_start_ms"]["p99"]
    assert report["to_start_ms"]["p50"] < report["to_result_ms"]["p50"]
    assert len(report["names"]) == 10
    assert not Path(report["server"].removeprefix("unix://")).parent.exists()


def test_table(run: Run) -> None:
    done = run("demo", "--jobs", "5", server="")
    assert (done.returncode, done.stderr) == (0, "")
    for text in (
        "8 jobs in",
        "jobs/s",
        "Jobs by outcome",
        "failed: its process was killed",
        "to start",
        "Most frequent names",
    ):
        assert text in done.stdout


async def test_a_server_of_the_users_is_left_as_it_was(run: Run, connection: Redis) -> None:
    await connection.set("mine", "1")
    done = run("demo", "--jobs", "5", "--json")
    assert done.returncode == 0
    assert await connection.keys() == [b"mine"]


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs descriptors of processes")
def test_nothing_outlives_a_killed_demo(run: Run, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIORQ")}
    process = subprocess.Popen(
        [sys.executable, "-m", "aiorq", "demo"],
        env=environment | {"TERM": "xterm", "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    try:
        os.close(theirs)
        shown = b""
        while b"1/" not in shown:  # the bar has begun to move: jobs run
            assert select.select([ours], [], [], 30)[0]
            shown += os.read(ours, 4096)
        pids = descendants(process.pid)
        assert len(pids) >= 3  # a server, what watches it, a zygote
        watched = [os.pidfd_open(pid) for pid in pids if Path(f"/proc/{pid}").exists()]
        process.send_signal(signal.SIGKILL)
        end = time.monotonic() + 2
        for descriptor in watched:
            assert select.select([descriptor], [], [], max(0.0, end - time.monotonic()))[0]
            os.close(descriptor)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
