"""`aiorq cron CONFIG`, and `aiorq cron list`, `add`, `pause`, `resume`, `run` and `remove` for the entries."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from typer.core import TyperGroup

from aiorq.cli.logs import configure
from aiorq.cli.mistakes import printable
from aiorq.cli.output import moment, number_of, print_json
from aiorq.cli.output import run as run_in_loop
from aiorq.cli.parameters import AsJson, Given, Logging
from aiorq.cli.settings import client_of, make_client, serializer_of
from aiorq.cli.spread import Commands

if TYPE_CHECKING:
    from aiorq.cron import Cron, CronJob

T = TypeVar("T")
_START: Final = "CONFIG"

Name = Annotated[str, typer.Argument(help="Name of the entry.")]


class Misfire(str, Enum):
    """What becomes of slots that were missed."""

    SKIP = "skip"
    ONCE = "once"
    ALL = "all"


class Overlap(str, Enum):
    """What becomes of a slot while a job of its entry is not over."""

    ALLOW = "allow"
    SKIP = "skip"
    QUEUE = "queue"


class _Group(TyperGroup):
    """What is none of the commands is a module of entries, with options before or behind it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "-h", "--help"}:
            args = [_START, *args]
        return super().parse_args(ctx, args)


app = Commands(
    cls=_Group,
    add_completion=False,  # the whole command has it
    no_args_is_help=True,
    help="Run a cron scheduler for the entries that a module registers: `aiorq cron CONFIG`; or look after entries.",
    subcommand_metavar="CONFIG | COMMAND [ARGS]...",
)


@app.command(_START)
def start(
    modules: Annotated[
        list[str],
        typer.Argument(
            metavar="CONFIG...", help="Module that calls cron.register: dotted name, or path. There may be several."
        ),
    ],
    given: Given,
    logging: Logging,
    name: Annotated[
        str, typer.Option("--name", "-n", help="Name of the scheduler.", show_default="host:pid:random")
    ] = "",
) -> None:
    """Put the entries of CONFIG into Redis and enqueue the jobs of all entries when their times come.

    Any number may run at the same time: each slot has one job. SIGINT (Ctrl-C) and SIGTERM end it.
    """
    from aiorq.cron import CronScheduler

    configure(logging, given)
    client = make_client(given)  # what is wrong with the URL is said before modules are imported
    sys.path[:0] = [os.path.abspath(folder) for folder in given.folders]
    scheduler = CronScheduler(client, name=name, prefix=given.prefix)
    for each in modules:
        if each in _COMMANDS:
            raise ValueError(f"{each!r} is a command of its own; its options go behind it: aiorq cron {each} ...")
        scheduler.load_config_from_file(each)
    scheduler.run()


@app.command("list")
def show(
    given: Given,
    as_json: AsJson = False,
) -> None:
    """Show all entries, with their next and their last runs."""
    jobs = _do(given, lambda cron: cron.list())
    if as_json:
        print_json([_as_json(job) for job in jobs])
        return
    if not jobs:
        print("There are no cron entries.")
        return
    for job in jobs:
        when = f"every {job.interval} s" if job.interval is not None else f"{job.cron} {job.timezone}"
        print(printable(f"{job.name}: {when}, {job.func_name} on {job.queue_name}"))
        following = "paused" if job.paused else f"next {moment(job.next_enqueue_time)}"
        last = f"last {moment(job.latest_enqueue_time)}"
        if job.last_job_id is not None:
            last += f" as job {job.last_job_id}"
        counts = [f"{number_of(job.enqueued, 'job')} so far"]
        counts += [f"{number} {what}" for what, number in _passed(job).items() if number]
        print(printable(f"    {following}; {last}; {', '.join(counts)}"))


@app.command()
def add(
    given: Given,
    name: Name,
    function: Annotated[str, typer.Argument(help="Dotted name of the function, as the worker imports it.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            help="Its arguments: text, :JSON or %literal, each also as key=, key:= or key%=; @file reads a file."
        ),
    ] = None,
    expression: Annotated[
        str | None,
        typer.Option("--cron", help="When: five fields, six with the seconds first, or @hourly and the like."),
    ] = None,
    every: Annotated[int | None, typer.Option("--every", "-e", help="In its place: seconds between two jobs.")] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Of the expression, as in Europe/Berlin.", show_default="that of this machine")
    ] = None,
    queue: Annotated[str, typer.Option("--queue", "-q", help="Name of the queue.")] = "default",
    misfire: Annotated[
        Misfire, typer.Option(help="What becomes of slots that were missed: skip them, run once for all, or run all.")
    ] = Misfire.SKIP,
    misfire_limit: Annotated[int, typer.Option(help="How many of them are run at most.")] = 100,
    misfire_grace: Annotated[float, typer.Option(help="Seconds by which a slot may be late and is simply run.")] = 30.0,
    overlap: Annotated[
        Overlap,
        typer.Option(
            help="What becomes of a slot while a job of the entry is not over: it runs all the same, is skipped, or "
            "queues up if none waits already."
        ),
    ] = Overlap.ALLOW,
    jitter: Annotated[float, typer.Option(help="Seconds by which jobs are put off at most, at random.")] = 0.0,
    timeout: Annotated[str | None, typer.Option(help="How long a job may run: 90, 15m, 2h, 1d; -1 for ever.")] = None,
    result_ttl: Annotated[str, typer.Option(help="How long its result is kept.")] = "500",
    ttl: Annotated[str | None, typer.Option(help="How long it may wait before it is dropped.")] = None,
    failure_ttl: Annotated[str | None, typer.Option(help="How long it is kept if it fails.")] = None,
    at_front: Annotated[bool, typer.Option("--at-front", help="Put jobs at the front of the queue.")] = False,
    unique: Annotated[
        bool, typer.Option("--unique", help="Give all jobs one id, so that there is one at most.")
    ] = False,
) -> None:
    """Add an entry, or replace the one of that name. Values that begin with a dash go behind `--`."""
    from aiorq.cli.arguments import parse

    args, kwargs = parse(arguments or [])

    async def put(cron: Cron) -> CronJob:
        return await cron.set(
            function,
            queue,
            args,
            kwargs,
            every,
            expression,
            timeout,
            result_ttl,
            ttl,
            failure_ttl,
            name=name,
            timezone=timezone,
            misfire=misfire.value,
            misfire_limit=misfire_limit,
            misfire_grace=misfire_grace,
            overlap=overlap.value,
            jitter=jitter,
            at_front=at_front,
            unique=unique,
            serializer=serializer_of(given),
        )

    job = _do(given, put)
    following = "it is paused" if job.paused else f"next {moment(job.next_enqueue_time)}"
    print(printable(f"{job.name}: {following}"))


@app.command()
def pause(given: Given, name: Name) -> None:
    """Let the slots of an entry pass without a job until it is resumed."""
    done = _do(given, lambda cron: cron.pause(name))
    print(printable(f"{name}: paused{'' if done else ' already'}"))


@app.command()
def resume(given: Given, name: Name) -> None:
    """Let an entry run again, from its first slot after now on."""

    async def resumed(cron: Cron) -> tuple[bool, CronJob]:
        return await cron.resume(name), await cron.get(name)

    done, job = _do(given, resumed)
    print(printable(f"{name}: {'' if done else 'not paused; '}next {moment(job.next_enqueue_time)}"))


@app.command()
def run(given: Given, name: Name) -> None:
    """Enqueue a job of an entry now and print its id; the slots of the entry stay as they are."""
    print(_do(given, lambda cron: cron.run_now(name)).id)


@app.command()
def remove(given: Given, name: Name) -> None:
    """Remove an entry; its jobs stay. One that a module registers comes back when that module is loaded again."""
    from aiorq.errors import NoSuchCronJobError

    if not _do(given, lambda cron: cron.remove(name)):
        raise NoSuchCronJobError(name)
    print(printable(f"{name}: removed"))


_COMMANDS: Final = frozenset({"list", "add", "pause", "resume", "run", "remove"})


def _do(given: Given, what: Callable[[Cron], Awaitable[T]]) -> T:
    async def main() -> T:
        from aiorq.cron import Cron

        async with client_of(given) as client:
            return await what(Cron(client, prefix=given.prefix))

    return run_in_loop(main)


def _passed(job: CronJob) -> dict[str, int]:
    return {"missed": job.missed, "overlapped": job.overlapped, "refused": job.refused}


def _as_json(job: CronJob) -> dict[str, Any]:
    moments = {
        "next_enqueue_time": job.next_enqueue_time,
        "latest_enqueue_time": job.latest_enqueue_time,
        "latest_slot": job.latest_slot,
        "paused_since": job.paused_since,
    }
    return {
        "name": job.name,
        "func_name": job.func_name,
        "queue_name": job.queue_name,
        "args": job.args,
        "kwargs": job.kwargs,
        "cron": job.cron,
        "interval": job.interval,
        "timezone": job.timezone,
        "misfire": job.misfire,
        "misfire_limit": job.misfire_limit,
        "misfire_grace": job.misfire_grace,
        "overlap": job.overlap,
        "jitter": job.jitter,
        "config": job.config,
        "paused": job.paused,
        **{name: None if moment is None else moment.isoformat() for name, moment in moments.items()},
        "last_job_id": job.last_job_id,
        "enqueued": job.enqueued,
        **_passed(job),
    }
