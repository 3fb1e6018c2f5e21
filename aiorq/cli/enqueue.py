"""`aiorq enqueue`."""

from __future__ import annotations

from typing import Annotated

import typer

from aiorq.cli.parameters import Serializer, Url


def enqueue(
    function: Annotated[str, typer.Argument(help="Dotted name of the function, as the worker imports it.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            help="Its arguments: text, :JSON or %literal, each also as key=, key:= or key%=; @file reads a file."
        ),
    ] = None,
    url: Url = None,
    queue: Annotated[str, typer.Option("--queue", "-q", help="Name of the queue.")] = "default",
    timeout: Annotated[str | None, typer.Option(help="How long the job may run: 90, 15m, 2h, 1d; -1 for ever.")] = None,
    result_ttl: Annotated[str | None, typer.Option(help="How long its result is kept.")] = None,
    ttl: Annotated[str | None, typer.Option(help="How long it may wait before it is dropped.")] = None,
    failure_ttl: Annotated[str | None, typer.Option(help="How long it is kept if it fails.")] = None,
    description: Annotated[str | None, typer.Option(help="A text for people.")] = None,
    job_id: Annotated[str | None, typer.Option(help="Id of the job.", show_default="random")] = None,
    at_front: Annotated[bool, typer.Option("--at-front", help="Put the job at the front of the queue.")] = False,
    serializer: Serializer = "pickle",
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Put a call on a queue and print the id of its job.

    Values that begin with a dash go behind `--`.
    """
    import anyio

    from aiorq.cli.arguments import parse
    from aiorq.queue import Queue
    from aiorq.store.connection import connect

    args, kwargs = parse(arguments or [])

    async def main() -> str:
        client = connect(url)
        try:
            made = Queue(queue, client, serializer=serializer)
            job = await made.enqueue_call(
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
        finally:
            await client.aclose()

    enqueued = anyio.run(main)
    if not quiet:
        typer.echo(enqueued)
