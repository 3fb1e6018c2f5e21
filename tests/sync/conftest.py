"""A blocking client of an empty server, workers in processes of their own, and a page to count the words of."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from redis import Redis

from aiorq.server import EmbeddedServer
from tests.conftest import JOBS
from tests.execution.conftest import gate, told  # noqa: F401 - fixtures
from tests.stories.conftest import PAGE
from tests.sync.workers import AtWork, at_work


@pytest.fixture
def redis(server: EmbeddedServer) -> Iterator[Redis]:
    """A client of an empty server, made as RQ's users make theirs."""
    with Redis.from_url(server.url) as client:
        client.flushall()
        yield client


@pytest.fixture(name="at_work")
def at_work_fixture(server: EmbeddedServer) -> AtWork:
    """Has a worker in a process of its own take jobs from queues within a block."""
    return partial(at_work, "aiorq.sync", server.url, [JOBS])


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a page with ten words; a process serves it, as a thread would be in the way of forks."""
    folder: Path = tmp_path_factory.mktemp("pages")
    (folder / "letter").write_text(PAGE)
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        said = server.stdout.readline()
        port = re.search(r"port (\d+)", said)
        assert port is not None, said
        yield f"http://127.0.0.1:{port[1]}/letter"
        server.kill()
