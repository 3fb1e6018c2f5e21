"""The commands and what they have in common: help, version, and errors of one line.

Exit codes: 0 done, 1 the operation failed, 2 something given is wrong: an option, a name, a URL, or no server there.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from aiorq import __version__
from aiorq.cli import cron, demo, dev, doctor, enqueue, worker
from aiorq.errors import AiorqError, ConnectionLostError, CronConfigError, NoSuchCronJobError, StoreError

_GIVEN = (ValueError, TypeError, ConnectionLostError, StoreError, CronConfigError, NoSuchCronJobError)
"""Errors of what was given: options, names, and a server that is not there or lets nobody in."""

app = typer.Typer(
    name="aiorq",
    help="RQ for asyncio: job queues in Redis, a process per job.",
    epilog="Redis is found by --url, else by AIORQ_REDIS_URL. None at hand? `aiorq demo` brings a server of its own.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(worker.worker)
app.command()(enqueue.enqueue)
app.command()(demo.demo)
app.command()(dev.dev)
app.command()(doctor.doctor)
app.add_typer(cron.app, name="cron")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aiorq {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """RQ for asyncio: job queues in Redis, a process per job."""


def run() -> None:
    """Run a command and turn what a person can mend into one line on stderr."""
    try:
        app(prog_name="aiorq")
    except (AiorqError, ValueError, TypeError) as error:
        _fail(str(error), 2 if isinstance(error, _GIVEN) else 1)
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does: end quietly, and keep Python's own flush at exit quiet too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _fail(message: str, code: int) -> None:
    line = " ".join(message.split())
    printable = "".join(character if character.isprintable() else repr(character)[1:-1] for character in line)
    typer.echo(f"aiorq: {printable}", err=True)
    sys.exit(code)
