"""The chaos session in small, and the search for leaks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.chaos.leak import measure

ROOT = Path(__file__).parents[2]


def test_chaos() -> None:
    options = ["--jobs=60", "--kills=8", "--freezes=2", "--redis-faults=3", "--lease=1", "--pace=0.5"]
    command = [sys.executable, "-m", "tests.chaos", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=55, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(180)
async def test_nothing_leaks(connection: Redis, url: str) -> None:
    growth = await measure(url, 500)
    assert growth.is_clean, growth
