"""`aiorq enqueue`."""

from __future__ import annotations

from typing import Annotated

import typer

from aiorq.cli.output import run
from aiorq.cli.parameters import Given
from aiorq.cli.settings import client_of, queue_of


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
    result_ttl: Annotated[str | None, typer.Option(help="How long its result is kept.")] = None,
    ttl: Annotated[str | None, typer.Option(help="How long it may wait before it is dropped.")] = None,
    failure_ttl: Annotated[str | None, typer.Option(help="How long it is kept if it fails.")] = None,
    description: Annotated[str | None, typer.Option(help="A text for people.")] = None,
    job_id: Annotated[str | None, typer.Option(help="Id of the job.", show_default="random")] = None,
    at_front: Annotated[bool, typer.Option("--at-front", help="Put the job at the front of the queue.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Put a call on a queue and print the id of its job.

    Values that begin with a dash go behind `--`.
    """
    from aiorq.cli.arguments import parse

    args, kwargs = parse(arguments or [])

    async def main() -> str:
        async with client_of(given) as client:
            job = await queue_of(given, queue, client).enqueue_call(
                function,
                args,
                kwargs,
                timeout,
                result_ttl,
                ttl,
                failure_ttl,
                description,
                job_id=job_id,
                at_front=at_front,
            )
            return job.id

    enqueued = run(main)
    if not quiet:
        print(enqueued)
