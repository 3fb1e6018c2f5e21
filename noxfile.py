# /// script
# requires-python = ">=3.11"
# dependencies = ["nox>=2025.2.9"]
# ///
"""The one way to run anything: `nox` runs the tests, `nox --list` names the rest.

Arguments after `--` go to the tool, in place of its usual ones: `nox -- tests/server -x`. `nox -r` uses the
environments again, which saves most of the time.
"""

from __future__ import annotations

from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["tests"]

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)
# A process for each core, with a server of its own. Neighbours share fixtures and stay together until a process has
# nothing left: then it takes half of what another one has.
PARALLEL = ("--numprocesses=auto", "--dist=worksteal")


def group(name: str) -> tuple[str, ...]:
    """The requirements of a dependency group of `pyproject.toml`."""
    return nox.project.dependency_groups(PROJECT, name)


def run_tests(session: nox.Session) -> None:
    """Test the package as it installs, not the checkout; all tests on all cores, or in one process what is named."""
    session.install(".[server]", *group("test"))
    session.run("pytest", *(session.posargs or PARALLEL))


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests on the running Python."""
    run_tests(session)


@nox.session(python=PYTHONS)
def matrix(session: nox.Session) -> None:
    """Run the tests on every supported Python that is installed."""
    run_tests(session)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format with ruff."""
    session.install(*group("lint"))
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy and pyright."""
    session.install(".", *group("types"))
    session.run("mypy")
    session.run("pyright")


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks."""
    if not Path("benchmarks/__main__.py").exists():
        session.skip("there are no benchmarks yet")
    session.install(".[server]")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """Kill workers, their processes and their server again and again, and count what is lost."""
    session.install(".[server]", *group("test"))
    session.run("python", "-m", "tests.chaos", *session.posargs)


if __name__ == "__main__":
    nox.main()
