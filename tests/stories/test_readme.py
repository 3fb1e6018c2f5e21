"""Every snippet of the README runs as it stands and prints what it says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from aiorq.server import EmbeddedServer

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"<!-- (?P<mark>[^>]+) -->\n```(?:python)?\n(?P<text>.*?)```", re.DOTALL)


class Snippet(NamedTuple):
    program: str
    output: str
    mark: str
    """What stands behind `run`."""

    @property
    def needs_worker(self) -> bool:
        return "no worker" not in self.mark


def snippets() -> list[Snippet]:
    found: list[Snippet] = []
    for match in BLOCK.finditer(README):
        mark, text = match["mark"].strip(), match["text"]
        if mark.startswith("run"):
            found.append(Snippet(text, "", mark.removeprefix("run").removeprefix(": ")))
        elif mark == "output":
            found[-1] = found[-1]._replace(output=text)
    return found


def files() -> dict[str, str]:
    return {
        match["mark"].removeprefix("file:").strip(): match["text"]
        for match in BLOCK.finditer(README)
        if match["mark"].startswith("file:")
    }


def project() -> dict[str, str]:
    """The project that tests its jobs."""
    return {
        match["mark"].removeprefix("test:").strip(): match["text"]
        for match in BLOCK.finditer(README)
        if match["mark"].startswith("test:")
    }


def test_every_python_block_is_marked() -> None:
    assert README.count("```python") == len(snippets()) + len(files()) + len(project())
    assert all(snippet.output for snippet in snippets())


def run(program: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a snippet where the modules of the others are."""
    for name, text in files().items():
        (folder / name).write_text(text)
    (folder / "snippet.py").write_text(program)
    command = [sys.executable, "snippet.py"]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=50, check=False)


@pytest.mark.parametrize("snippet", snippets(), ids=lambda snippet: snippet.output.split("\n")[0])
def test_snippet(snippet: Snippet, tmp_path: Path) -> None:
    for name, text in files().items():
        (tmp_path / name).write_text(text)
    with EmbeddedServer() as server:
        environment = os.environ | {"AIORQ_REDIS_URL": server.url, "REDIS_URL": server.url}
        worker = None
        if snippet.needs_worker:
            command = [sys.executable, "-m", "aiorq", "worker", "--quiet", "--concurrency", "2"]
            worker = subprocess.Popen(command, env=environment, cwd=tmp_path)
        try:
            ran = run(snippet.program, tmp_path, environment)
            assert (ran.stdout, ran.stderr, ran.returncode) == (snippet.output, "", 0)
        finally:
            if worker is not None:
                worker.send_signal(signal.SIGTERM)
                assert worker.wait(timeout=20) == 0


def test_project_that_tests_its_jobs(tmp_path: Path) -> None:
    for name, text in project().items():
        (tmp_path / name).write_text(text)
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "pytest_asyncio.plugin", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    assert "6 passed" in ran.stdout, ran.stdout
    assert ran.returncode == 0


@pytest.mark.parametrize("snippet", [snippet for snippet in snippets() if "with rq too" in snippet.mark])
def test_a_script_of_rqs(snippet: Snippet, tmp_path: Path) -> None:
    """It is one, but for its import lines."""
    with EmbeddedServer() as server:
        ran = run(snippet.program.replace("aiorq.sync", "rq"), tmp_path, os.environ | {"REDIS_URL": server.url})
    assert (ran.stdout, ran.returncode) == (snippet.output, 0), ran.stderr
