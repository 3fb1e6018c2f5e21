"""Projects that use the kit, each with the test runner of its choice, in a process of its own."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aiorq.server import EmbeddedServer
from tests.testing.projects import APP, PLUGIN, PROJECTS, PYTEST

HUNDRED = """
from datetime import timedelta

import app
import pytest


@pytest.mark.parametrize("number", range(50))
@pytest.mark.anyio
async def test_async(aiorq_sandbox, aiorq_worker, aiorq_clock, number):
    await app.sign_up(f"{number}")
    aiorq_sandbox.assert_enqueued(app.greet, args=[f"{number}"], queue="mail")
    assert len(await aiorq_worker()) == 1
    aiorq_clock.move(days=1)
    assert len(await aiorq_worker()) == 1


@pytest.mark.parametrize("number", range(50))
def test_sync(aiorq_sandbox, aiorq_sync_worker, aiorq_clock, number):
    job = app.measure("word" * number)
    app.sync_queue.enqueue_in(timedelta(days=1), app.greet, "Ada")
    aiorq_sandbox.assert_enqueued(app.count, args=["word" * number])
    assert [job.return_value() for job in aiorq_sync_worker()] == [4 * number]
    aiorq_clock.move(days=1)
    assert len(aiorq_sync_worker()) == 1


@pytest.fixture
def anyio_backend():
    return "asyncio"
"""


def run(folder: Path, files: dict[str, str], command: list[str], *, all_plugins: bool = False, **variables: str) -> str:
    """What the tests of a project print, which succeed. Plugins that are installed are not loaded, unless asked for."""
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")} | variables
    if not all_plugins:
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("name", PROJECTS)
def test_project(name: str, tmp_path: Path) -> None:
    project = PROJECTS[name]
    assert project.says in run(tmp_path, project.files, project.command)


def test_on_a_server_that_is_there(server: EmbeddedServer, tmp_path: Path) -> None:
    project = PROJECTS["unittest"]
    assert project.says in run(tmp_path, project.files, project.command, AIORQ_REDIS_URL=server.url)


def test_nothing_is_loaded_that_is_not_asked_for(tmp_path: Path) -> None:
    test = "import sys\n\n\ndef test_it():\n    assert not [name for name in sys.modules if name.startswith('aiorq')]\n"
    assert "1 passed" in run(tmp_path, {"test_it.py": test}, [*PYTEST, "-p", "no:valkey"], all_plugins=True)
    asked = "def test_it(aiorq_sandbox):\n    aiorq_sandbox.assert_nothing_enqueued()\n"
    assert "1 passed" in run(tmp_path, {"test_it.py": asked}, [*PYTEST, "-p", "aiorq.testing.plugin"])


def test_failures_are_short(tmp_path: Path) -> None:
    """What a user sees is the test, and what there was; none of the kit's own lines."""
    test = "import app\n\n\ndef test_it(aiorq_sandbox):\n    app.measure('four')\n"
    test += "    aiorq_sandbox.assert_enqueued(app.greet)\n"
    files = {"app.py": APP, "conftest.py": PLUGIN, "test_it.py": test}
    said = run(tmp_path, files, ["/bin/sh", "-c", '! "$@"', "sh", *PYTEST])
    assert "E       AssertionError: no such call was enqueued: a call of app.greet" in said
    assert "E         1. app.count('four') on mail" in said
    assert "aiorq/testing" not in said


def test_a_hundred_tests(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    said = run(tmp_path, {"app.py": APP, "conftest.py": PLUGIN, "test_app.py": HUNDRED}, [*PYTEST, "-p", "anyio"])
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert re.search(r"100 passed in", said)
    print(f"100 tests with 200 jobs: {wall:.1f} s, {cpu:.1f} s of CPU, Python {sys.version.split()[0]}")
    assert cpu < 10  # the wall clock is that of whoever else runs tests here
