"""Where output goes: pipes that close, terminals that are narrow, dumb or without colours, locales without Unicode."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from aiorq import Queue
from tests.cli.conftest import Run
from tests.cli.stage import damage, fill
from tests.cli.terminal import AIORQ, Terminal

Open = Callable[..., Terminal]
LOOKS = [["info"], ["jobs"], ["workers"], ["job", "show", "failed-1"]]
UNICODE = "läden-北京"
OURS = b"aiorq/cli/"  # stands in a traceback of ours, not in those of jobs


async def stage(connection: Redis) -> None:
    await fill(connection)
    await damage(connection)
    await Queue(UNICODE, connection).enqueue("läden.öffnen", job_id="unicode", description="öffnet die Läden \x1b[5m")


@pytest.mark.parametrize("command", LOOKS, ids=" ".join)
async def test_closed_pipe(connection: Redis, url: str, tmp_path: Path, command: list[str]) -> None:
    await stage(connection)
    run_into_closed_pipe(command, url, tmp_path)


def run_into_closed_pipe(command: list[str], url: str, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [*AIORQ, *command],
        env=os.environ | {"AIORQ_REDIS_URL": url},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=50,
        check=False,
    )
    os.close(write)
    assert process.returncode in (0, 141)
    assert process.stderr == ""


@pytest.mark.parametrize("command", LOOKS, ids=" ".join)
async def test_locale_without_unicode(run: Run, connection: Redis, command: list[str]) -> None:
    await stage(connection)
    settings = {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = run(*command, **settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert "\x1b" not in done.stdout


async def test_terminal_without_unicode(terminal: Open, connection: Redis) -> None:
    await stage(connection)
    settings = {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    for screen in [terminal(*command, **settings) for command in LOOKS]:
        assert screen.end() == 0
        assert screen.sent.isascii()
    screen = terminal("info", **settings)
    assert screen.end() == 0
    assert any(row.split()[:2] == ["shop", "###"] for row in screen.rows)


async def test_dumb_terminal(terminal: Open, connection: Redis) -> None:
    await stage(connection)
    for screen in [terminal(*command, TERM="dumb") for command in LOOKS]:
        assert screen.end() == 0
        assert b"\x1b" not in screen.sent
        assert OURS not in screen.sent


async def test_no_live_view_on_a_dumb_terminal(terminal: Open, connection: Redis) -> None:
    await stage(connection)
    screen = terminal("info", "-i", "0.1", TERM="dumb")
    assert screen.end() == 0  # two looks, one table
    assert screen.sent.count(b"jobs waiting") == 1


async def test_no_colour(terminal: Open, connection: Redis) -> None:
    await stage(connection)
    for coloured, plain in [(terminal(*command), terminal(*command, NO_COLOR="1")) for command in LOOKS]:
        assert (coloured.end(), plain.end()) == (0, 0)
        assert not any(b"\x1b[%dm" % colour in plain.sent for colour in range(30, 38))
        assert b"\x1b[31m" in coloured.sent


async def test_unicode(terminal: Open, run: Run, connection: Redis) -> None:
    await stage(connection)
    assert UNICODE in run("info").stdout
    line = next(line for line in run("jobs", "-s", "queued").stdout.splitlines() if line.startswith("unicode"))
    assert "läden.öffnen" in line
    assert r"öffnet die Läden \x1b[5m" in line
    screen = terminal("info", columns=60)
    assert screen.end() == 0
    assert any(row.startswith("läden-") for row in screen.rows)


@pytest.mark.parametrize("columns", [20, 30, 200])
async def test_narrow_and_wide(terminal: Open, connection: Redis, columns: int) -> None:
    await stage(connection)
    for screen in [terminal(*command, columns=columns, lines=200) for command in LOOKS]:
        assert screen.end() == 0
        assert OURS not in screen.sent
        assert screen.rows
