"""Running the command line as a person does: as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]
AIORQ = [sys.executable, "-m", "aiorq"]


@pytest.fixture
def run(url: str, tmp_path: Path) -> Run:
    """Run a command to its end, on the server of the tests unless told otherwise, in an empty folder."""

    def run_command(*arguments: str, server: str = url, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"AIORQ_REDIS_URL": server, "COLUMNS": "100"} | settings
        return subprocess.run(
            [*AIORQ, *arguments],
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    return run_command


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a command; what still runs at the end of the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def start_command(*arguments: str, **settings: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*AIORQ, *arguments],
            env=os.environ | settings,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start_command
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
