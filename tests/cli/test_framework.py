"""What all commands have in common: how they start, help, complete, refuse, and end."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest
import typer
from redis.asyncio import Redis

from aiorq import Queue, __version__
from aiorq.cli.app import COMMANDS
from aiorq.cli.config import KEYS
from aiorq.cli.parameters import Given, Logging, Working
from aiorq.cli.spread import settings_of
from tests.cli.conftest import Run
from tests.cli.terminal import AIORQ, Terminal

MODULES = """
import sys
from contextlib import redirect_stdout, suppress
import io
sys.argv = ["aiorq", *{arguments!r}]
with suppress(SystemExit), redirect_stdout(io.StringIO()):
    {code}
print(*sys.modules)
"""
TYPER = """
    import typer
    app = typer.Typer(help="Help.", pretty_exceptions_enable=False)
    app.command()(lambda: None)
    app.command("two")(lambda: None)
    app(prog_name="aiorq")
"""
OURS = """
    from aiorq.cli import main
    main()
"""


def imported(code: str, *arguments: str, **settings: str) -> set[str]:
    """The modules that a command has imported at its end."""
    program = MODULES.format(arguments=list(arguments), code=inspect.cleandoc(code).replace("\n", "\n    "))
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | settings, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


class TestStart:
    def test_help_imports_next_to_nothing_beyond_typer(self) -> None:
        ours = imported(OURS, "--help") - imported(TYPER, "--help")
        assert ours == {"aiorq", "aiorq.cli", "aiorq.cli.app", "aiorq.cli.mistakes", "aiorq.errors", "importlib"} & ours
        assert "aiorq.cli.app" in ours

    @pytest.mark.parametrize("arguments", [(), ("--version",), ("no-such-command",)])
    def test_so_does_what_needs_no_command(self, arguments: tuple[str, ...]) -> None:
        assert not imported(OURS, *arguments) & {"redis", "uvloop", "anyio", "asyncio", "rich.console", "aiorq.queue"}

    @pytest.mark.parametrize("command", ["enqueue", "worker", "cron"])
    def test_help_of_a_command_imports_no_client_and_no_loop(self, command: str) -> None:
        assert not imported(OURS, command, "--help") & {"redis", "uvloop", "anyio", "aiorq.queue", "aiorq.worker"}

    async def test_a_simple_command_imports_no_more_than_it_needs(self, connection: Redis, url: str) -> None:
        modules = imported(OURS, "enqueue", "math.sqrt", "%4", AIORQ_REDIS_URL=url)
        assert await Queue(connection=connection).count() == 1
        assert not modules & {"uvloop", "aiorq.worker", "aiorq.execution", "aiorq.server", "rich.table", "rich.console"}


class TestHelp:
    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_command_is_there_and_explained(self, name: str) -> None:
        module, _, attribute = COMMANDS[name].place.partition(":")
        found = getattr(import_module(module), attribute)
        assert found.info.help if isinstance(found, typer.Typer) else found.__doc__
        assert COMMANDS[name].help.endswith(".")
        assert len(COMMANDS[name].help) < 100

    def test_no_arguments_say_what_to_do_next(self, run: Run) -> None:
        done = run()
        assert (done.returncode, done.stdout) == (2, "")
        for text in (__version__, "aiorq demo", "aiorq worker", "AIORQ_REDIS_URL", "aiorq --help"):
            assert text in done.stderr

    def test_all_commands_are_listed(self, run: Run) -> None:
        done = run("--help", COLUMNS="200")
        assert done.returncode == 0
        for name, listed in COMMANDS.items():
            assert f" {name} " in done.stdout
            assert listed.help in done.stdout

    @pytest.mark.parametrize("columns", ["20", "80", "200"])
    def test_it_fits(self, run: Run, columns: str) -> None:
        for arguments in (["--help"], ["worker", "--help"], ["cron", "add", "-h"]):
            done = run(*arguments, COLUMNS=columns)
            assert (done.returncode, done.stderr) == (0, "")
            assert max(map(len, done.stdout.splitlines())) <= int(columns)

    def test_paragraphs_are_whole(self, run: Run) -> None:
        """The lines of a docstring are no lines of the help."""
        lines = [line.strip() for line in run("worker", "--help", COLUMNS="1000").stdout.splitlines()]
        assert [line for line in lines if line.startswith("The first SIGINT") and "are suspended. With" in line]

    def test_keys_of_config_files_are_all_settings(self) -> None:
        settings = {setting.key for group in (Given, Logging, Working) for setting in settings_of(group).values()}
        apart = {"queues", "name", "dict_config", "sentinel", "max_jobs", "max_idle_time", "num_workers"}
        assert settings | apart | {key for key in KEYS if key.startswith("redis_")} == KEYS | {"config"}
        assert len({field.name for group in (Logging, Working) for field in fields(group)}) > 20


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (["wroker"], "No such command 'wroker'. Did you mean 'worker', 'workers'?"),
            (["cron", "remvoe", "--json"], "No such option: --json"),
            (["job", "shwo"], "Did you mean 'show'?"),
            (["worker", "--concurency", "2"], "No such option: --concurency. Did you mean --concurrency?"),
            (["enqueue", "--shedule-in", "1m", "f.g"], "Did you mean --schedule-in, --schedule-at?"),
            (["worker", "--concurrency", "many"], "Invalid value for '--concurrency'"),
            (["worker", "--dequeue-strategy", "best"], "Invalid value for '--dequeue-strategy'"),
            (["enqueue"], "Missing argument"),
            (["doctor", "redis://user:canary@h"], "Got unexpected extra argument"),
            (["worker", "--max-jobs", "redis://:canary/@w@h"], "Invalid value"),
        ],
    )
    def test_two_lines_with_a_hint(self, run: Run, arguments: list[str], text: str) -> None:
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        first, second = done.stderr.splitlines()
        assert first.startswith("aiorq: ")
        assert text in first
        assert second.endswith("--help` shows what there is.")
        assert "canary" not in done.stderr

    @pytest.mark.parametrize("arguments", [[b"enqueue", b"\xff\xfe"], [b"\xff"], [b"worker", b"--name", b"a\xc3"]])
    def test_arguments_that_are_no_text(self, arguments: list[bytes], url: str) -> None:
        environment = {name.encode(): value.encode() for name, value in os.environ.items()}
        done = subprocess.run([*AIORQ, *arguments], env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"aiorq: argument {len(arguments)} is not valid UTF-8\n"

    def test_control_characters_are_escaped(self, run: Run) -> None:
        done = run("enqueue", "math.sqrt", "--queue", "\x1b[31mred\n", "--depends-on", "a\tb")
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert r"\x1b[31mred\n" in done.stderr
        assert "\x1b" not in done.stderr


def in_shell(line: str, url: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"AIORQ_REDIS_URL": url}
    return subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, check=False)


class TestOutput:
    @pytest.mark.parametrize("command", ["--help", "worker --help", "demo --jobs 3 --json", "doctor", "info"])
    async def test_a_reader_who_goes(self, connection: Redis, url: str, command: str) -> None:
        done = in_shell(f"{' '.join(AIORQ)} {command} | true; exit ${{PIPESTATUS[0]}}", url)
        assert done.returncode in (0, 141)
        assert done.stderr == ""

    @pytest.mark.parametrize("command", ["--help", "--version", "doctor"])
    async def test_no_stdout_at_all(self, connection: Redis, url: str, command: str) -> None:
        done = in_shell(f"{' '.join(AIORQ)} {command} >&-", url)
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.parametrize(
        "settings",
        [
            {"LANG": "C", "LC_ALL": "C"},
            {"PYTHONIOENCODING": "ascii"},
            {"TERM": "dumb"},
            {"NO_COLOR": "1"},
            {"COLUMNS": "20"},
        ],
        ids=str,
    )
    async def test_poor_surroundings(
        self, connection: Redis, run: Run, terminal: Callable[..., Terminal], settings: dict[str, str]
    ) -> None:
        await Queue("wärme \N{SNOWMAN}", connection).enqueue("math.sqrt", 4)
        for arguments in (["--help"], ["info"], ["jobs"], ["nonsense"]):
            done = run(*arguments, **settings)
            assert done.returncode == (2 if arguments == ["nonsense"] else 0)
            assert "Traceback" not in done.stderr
        columns = int(settings.get("COLUMNS", "80"))
        command = ("demo", "--jobs", "3") if columns == 20 else ("info",)
        on_screen = terminal(*command, columns=columns, lines=200, **settings)
        assert on_screen.end() == 0
        assert "\x1b[3" not in on_screen.sent.decode(errors="replace") or not {"TERM", "NO_COLOR"} & settings.keys()


class TestCompletion:
    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ("aiorq wor", {"worker", "worker-pool", "workers"}),
            ("aiorq worker --max-", {"--max-jobs", "--max-memory", "--max-idle-time"}),
            ("aiorq cron re", {"remove", "resume"}),
            ("aiorq enqueue --retry-", {"--retry-max", "--retry-interval"}),
        ],
    )
    def test_bash(self, words: str, expected: set[str]) -> None:
        settings = {
            "_AIORQ_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        }
        done = subprocess.run(AIORQ, env=os.environ | settings, capture_output=True, text=True, check=False)
        assert (set(done.stdout.split()), done.stderr) == (expected, "")

    def test_the_script(self, run: Run) -> None:
        settings = {"_AIORQ_COMPLETE": "source_bash"}
        assert "complete -o default -F" in run(**settings).stdout


def test_installed_command(url: str) -> None:
    """The script that is installed, and both ways of `python -m`."""
    script = Path(sys.executable).with_name("aiorq")
    for command in ([str(script)], [sys.executable, "-m", "aiorq"], [sys.executable, "-m", "aiorq.cli"]):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == f"aiorq {__version__}\n"
