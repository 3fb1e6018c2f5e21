"""A program that was written for RQ does the same with aiorq: only its import lines are others."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from redis import Redis

from aiorq.server import EmbeddedServer

PROGRAM = Path(__file__).with_name("program.py")


def run(api: str, server: EmbeddedServer, folder: Path) -> list[str]:
    """Run the program with `api` in its import lines; returns the lines that it printed."""
    source, changed = re.subn(r"^from rq\b", f"from {api}", PROGRAM.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert changed == 10
    path = folder / api / "program.py"
    path.parent.mkdir()
    path.write_text(source, encoding="utf-8")
    with Redis.from_url(server.url) as client:
        client.flushall()
    command = [sys.executable, "-W", "ignore", "-c", "import program; program.main()"]
    done = subprocess.run(
        [*command, server.url, str(folder / f"marks of {api}")],
        cwd=path.parent,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_same_is_printed(server: EmbeddedServer, tmp_path: Path) -> None:
    theirs, ours = run("rq", server, tmp_path), run("aiorq.sync", server, tmp_path)
    assert len(theirs) > 45
    assert ours == theirs
