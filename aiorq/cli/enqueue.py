"""`aiorq enqueue`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aiorq.cli.mistakes import Failure, Mistake
from aiorq.cli.output import note, print_json, run
from aiorq.cli.parameters import AsJson, Given
from aiorq.cli.settings import client_of, queue_of

if TYPE_CHECKING:
    from aiorq.job import Job
    from aiorq.result import Result

_WHEN: Final = "When"
_AFTERWARDS: Final = "Afterwards"


def enqueue(
    given: Given,
    function: Annotated[str, typer.Argument(help="Dotted name of the function, as the worker imports it.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            help="Its arguments: text, :JSON or %literal, each also as key=, key:= or key%=; @file reads a file."
        ),
    ] = None,
    queue: Annotated[str, typer.Option("--queue", "-q", help="Name of the queue.")] = "default",
    timeout: Annotated[str | None, typer.Option(help="How long the job may run: 90, 15m, 2h, 1d; -1 for ever.")] = None,
    description: Annotated[str | None, typer.Option(help="A text for people.", show_default="the call")] = None,
    job_id: Annotated[str | None, typer.Option(help="Id of the job.", show_default="random")] = None,
    at_front: Annotated[bool, typer.Option("--at-front", help="Put the job at the front of the queue.")] = False,
    unique: Annotated[
        bool, typer.Option("--unique", help="Refuse the job if there is one of that --job-id already.")
    ] = False,
    depends_on: Annotated[
        list[str] | None,
        typer.Option(help="Id of a job that is to finish first; may be given several times.", rich_help_panel=_WHEN),
    ] = None,
    schedule_in: Annotated[
        str | None, typer.Option(help="Enqueue it after that time: 10s, 5m, 2d.", rich_help_panel=_WHEN)
    ] = None,
    schedule_at: Annotated[
        str | None,
        typer.Option(
            help="Enqueue it then: 2026-05-27T21:45:00 in the time of this machine, or with an offset as in +02:00.",
            rich_help_panel=_WHEN,
        ),
    ] = None,
    ttl: Annotated[
        str | None, typer.Option(help="How long it may wait before it is dropped.", rich_help_panel=_WHEN)
    ] = None,
    retry_max: Annotated[
        int, typer.Option(min=0, help="How often it is tried again when it fails.", rich_help_panel=_AFTERWARDS)
    ] = 0,
    retry_interval: Annotated[
        list[int] | None,
        typer.Option(
            help="Seconds before that; given several times, before each in turn.",
            show_default="0",
            rich_help_panel=_AFTERWARDS,
        ),
    ] = None,
    result_ttl: Annotated[
        str | None, typer.Option(help="How long its result is kept.", rich_help_panel=_AFTERWARDS)
    ] = None,
    failure_ttl: Annotated[
        str | None, typer.Option(help="How long it is kept if it fails.", rich_help_panel=_AFTERWARDS)
    ] = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait",
            help="Wait for its end and print what it returned. The exit code is 1 if it did not finish.",
            rich_help_panel=_AFTERWARDS,
        ),
    ] = False,
    wait_timeout: Annotated[
        float | None,
        typer.Option(
            help="The same, for that many seconds at most.", show_default="for ever", rich_help_panel=_AFTERWARDS
        ),
    ] = None,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Put a call on a queue and print the id of its job.

    Values that begin with a dash go behind `--`. With --wait the id goes to stderr and what the job returned to stdout.
    """
    from aiorq.cli.arguments import parse
    from aiorq.retry import Retry

    if not all(part.isidentifier() for part in function.split(".")):
        raise Mistake(f"{function!r} is not the dotted name of a function, as in package.module.function")
    args, kwargs = parse(arguments or [])
    when = _moment(schedule_in, schedule_at)
    options: dict[str, Any] = {
        "job_timeout": timeout,
        "description": description,
        "job_id": job_id,
        "at_front": at_front,
        "unique": unique,
        "depends_on": depends_on,
        "ttl": ttl,
        "retry": Retry(retry_max, retry_interval or 0) if retry_max else None,
        "result_ttl": result_ttl,
        "failure_ttl": failure_ttl,
    }
    if wait_timeout is not None and not wait_timeout >= 0:
        raise Mistake(f"--wait-timeout must not be negative, as {wait_timeout:g} is")

    async def main() -> tuple[Job[Any], str, Result[Any] | None]:
        async with client_of(given) as client:
            put = queue_of(given, queue, client)
            if when is None:
                job = await put.enqueue(function, args=args, kwargs=kwargs, **options)
            elif isinstance(when, datetime):
                job = await put.enqueue_at(when, function, args=args, kwargs=kwargs, **options)
            else:
                job = await put.enqueue_in(when, function, args=args, kwargs=kwargs, **options)
            if not (wait or wait_timeout is not None):
                return job, str(job.status), None
            if not (quiet or as_json):
                note(job.id)
            status = await _end_of(job, wait_timeout)
            return job, status, await job.latest_result()

    job, status, result = run(main)
    if wait or wait_timeout is not None:
        from aiorq.cli.job import show_result

        show_result(job.id, status, result, as_json)
    elif as_json:
        print_json({"id": job.id, "queue": job.origin, "func_name": job.func_name, "status": status})
    elif not quiet:
        print(job.id)


async def _end_of(job: Job[Any], seconds: float | None) -> str:
    """Wait for the end of a job; returns its state."""
    import asyncio

    from aiorq.cli.job import wait_for_end

    try:
        async with asyncio.timeout(seconds):
            return str(await wait_for_end(job))
    except TimeoutError:
        status = str(await job.get_status())
        raise Failure(f"job {job.id} is {status} after {seconds:g} s; it goes on") from None


def _moment(schedule_in: str | None, schedule_at: str | None) -> datetime | timedelta | None:
    """When the job is to be enqueued; None for now."""
    from aiorq.seconds import parse_seconds

    if schedule_in is not None and schedule_at is not None:
        raise Mistake("--schedule-in and --schedule-at exclude each other")
    if schedule_in is not None:
        return timedelta(seconds=parse_seconds(schedule_in, "--schedule-in"))
    if schedule_at is None:
        return None
    try:
        return datetime.fromisoformat(schedule_at)
    except ValueError:
        raise Mistake(f"--schedule-at: {schedule_at!r} is no moment such as 2026-05-27T21:45:00") from None
