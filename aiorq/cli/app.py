"""The commands, each imported when it is used, and what they have in common: help, version, and errors of a line.

A command is a line in `COMMANDS` and a function, or a `Commands` with several, in the module that the line names.
"""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from typing import Annotated, Any, Final, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from aiorq import __version__
from aiorq.cli.mistakes import (
    INTERRUPTED,
    READER_GONE,
    Failure,
    Mistake,
    is_usage_error,
    tell,
    tell_usage,
)
from aiorq.errors import (
    AiorqError,
    ConnectionLostError,
    CronConfigError,
    NoSuchCronJobError,
    SerializationError,
    StoreError,
)

_GIVEN: Final = (
    ValueError,
    TypeError,
    ConnectionLostError,
    StoreError,
    SerializationError,
    CronConfigError,
    NoSuchCronJobError,
)
"""Errors of what was given: options, names, and a server that is not there or lets nobody in."""
RUN: Final = "Run jobs"
LOOK: Final = "Look"
OPERATE: Final = "Operate"


class Listed(NamedTuple):
    """A command, as it stands in the list of commands."""

    place: str
    """Module and name of what is to be called."""
    help: str
    """What it does, in a line; here, so that the list needs no import."""
    panel: str


COMMANDS: Final = {
    "demo": Listed("aiorq.cli.demo:demo", "Count the names in Python's standard library, a job for each file.", RUN),
    "dev": Listed("aiorq.cli.dev:dev", "Start a server of your own and a worker; both stay up until Ctrl-C.", RUN),
    "worker": Listed("aiorq.cli.worker:worker", "Take jobs from queues and run each in a process of its own.", RUN),
    "worker-pool": Listed(
        "aiorq.cli.worker:worker_pool",
        "Run several workers below one process, which starts those that end anew and passes signals on.",
        RUN,
    ),
    "enqueue": Listed("aiorq.cli.enqueue:enqueue", "Put a call on a queue and print the id of its job.", RUN),
    "bench": Listed("aiorq.cli.bench:bench", "Measure how fast jobs are enqueued and run here, in a few seconds.", RUN),
    "cron": Listed("aiorq.cli.cron:app", "Run a cron scheduler, or look after its entries.", RUN),
    "info": Listed(
        "aiorq.cli.info:info", "Show the queues with what they hold, and the workers with what they run.", LOOK
    ),
    "jobs": Listed("aiorq.cli.jobs:jobs", "List jobs by state and queue, a page at a time.", LOOK),
    "job": Listed("aiorq.cli.job:app", "Look at a job, stop, cancel, requeue or delete it, wait for it.", LOOK),
    "workers": Listed("aiorq.cli.info:workers", "Show the workers, with every job that they run.", LOOK),
    "check": Listed("aiorq.cli.check:check", "Say by exit code whether all is as it should be.", LOOK),
    "requeue": Listed("aiorq.cli.requeue:requeue", "Put failed jobs of a queue back on it.", OPERATE),
    "empty": Listed("aiorq.cli.empty:empty", "Delete the jobs that wait in queues.", OPERATE),
    "pause": Listed("aiorq.cli.pausing:pause", "Let no worker take jobs from some queues.", OPERATE),
    "unpause": Listed("aiorq.cli.pausing:unpause", "Let workers take jobs from paused queues again.", OPERATE),
    "suspend": Listed("aiorq.cli.pausing:suspend", "Let no worker take any job.", OPERATE),
    "resume": Listed("aiorq.cli.pausing:resume", "Let suspended workers take jobs again.", OPERATE),
    "drain": Listed("aiorq.cli.stop:drain", "Let workers finish what they run and end, and wait for it.", OPERATE),
    "stop": Listed("aiorq.cli.stop:stop", "Tell workers to end.", OPERATE),
    "doctor": Listed("aiorq.cli.doctor:doctor", "Look for jobs that are lost or stuck, and put them right.", OPERATE),
}
_NEXT: Final = """\
aiorq {version}: job queues in Redis, a process for each job.

  aiorq demo     see it work; it brings a server of its own
  aiorq dev      a server and a worker, to develop with
  aiorq worker   run jobs, from the Redis of --url or AIORQ_REDIS_URL
  aiorq enqueue math.factorial %20 --wait
                 have a job run, and see what it returns
  aiorq info     queues and workers

  aiorq --help   all commands
"""


class _Group(TyperGroup):
    """The commands of `COMMANDS`, of which only the one that is used is imported."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, listed in COMMANDS.items():
            self.add_command(TyperCommand(name, help=listed.help, rich_help_panel=listed.panel))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first argument names, whole."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and load(str(name)), rest


def load(name: str) -> Any:
    """Import a command."""
    from aiorq.cli.spread import Commands

    module, _, attribute = COMMANDS[name].place.partition(":")
    found = getattr(import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        alone = Commands(add_completion=False)
        alone.command(name)(found)
        found = alone
    command = get_command(found)
    command.name = name
    return command


def _version(wanted: bool) -> None:
    if wanted:
        print(f"aiorq {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="aiorq",
    cls=_Group,
    help="RQ for asyncio: job queues in Redis, a process for each job.",
    epilog="Redis is found by --url, else by AIORQ_REDIS_URL. None at hand? `aiorq demo` brings a server of its own.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _options(
    context: typer.Context,
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """RQ for asyncio: job queues in Redis, a process for each job."""
    if context.invoked_subcommand is None:
        print(_NEXT.format(version=__version__), end="", file=sys.stderr)
        raise typer.Exit(2)


def run() -> None:
    """Run the command that the process was started for and end the process; see `mistakes` for the exit codes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.stdout is None:  # closed by who started us
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - it lives as long as the process
    try:
        code = _run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        code = READER_GONE
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == READER_GONE:
        # Whoever read our output has gone, as `head` does: end quietly, and keep Python's own flush at exit quiet too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    for number, argument in enumerate(arguments, 1):
        if any("\ud800" <= character <= "\udfff" for character in argument):
            tell(f"argument {number} is not valid UTF-8")
            return 2
    command = get_command(app)
    if os.environ.get("_AIORQ_COMPLETE"):
        command.main(arguments, prog_name="aiorq")
    try:
        # Not `command.main`, which makes exit code 1 of a reader who has gone.
        with command.make_context("aiorq", arguments) as context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except typer.Abort:
        return INTERRUPTED
    except (Mistake, Failure) as error:
        tell(str(error))
        return 1 if isinstance(error, Failure) else 2
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # what rich makes of it
            return READER_GONE
        raise
    except BrokenPipeError:
        return READER_GONE
    except (AiorqError, ValueError, TypeError) as error:
        tell(str(error))
        if isinstance(error, ConnectionLostError) and " localhost:6379/0 " in str(error):
            tell("name another server with --url or AIORQ_REDIS_URL; none at hand? `aiorq dev` starts one")
        return 2 if isinstance(error, _GIVEN) else 1
    except Exception as error:
        if not is_usage_error(error):
            raise
        from aiorq.cli.spread import origin_of

        tell_usage(error, origin_of(error))
        return 2
    return 0
