"""`aiorq dev`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from aiorq.cli.logs import configure
from aiorq.cli.parameters import Logging

Path = Annotated[
    list[str] | None,
    typer.Option("--path", "-P", help="Folder to search for modules; may be given several times.", show_default="."),
]


def dev(
    logging: Logging,
    queues: Annotated[list[str] | None, typer.Argument(help="Queues in strict order.", show_default="default")] = None,
    concurrency: Annotated[int, typer.Option(help="How many jobs run at a time.")] = 2,
    path: Path = None,
    folder: Annotated[
        str | None, typer.Option(help="Keep the data in this folder.", show_default="data ends with the command")
    ] = None,
) -> None:
    """Start a server of your own and a worker; both stay up until Ctrl-C.

    It prints the URL under which other programs find the server.
    """
    from aiorq.server import EmbeddedServer
    from aiorq.worker import Worker

    configure(logging)
    with EmbeddedServer(folder=folder, append_only=folder is not None) as server:
        typer.echo(f"export AIORQ_REDIS_URL={server.url}")
        typer.echo("Enqueue from another terminal with that line first, for example: aiorq enqueue math.factorial %20")
        made = Worker(
            queues or ["default"],
            connection=server.url,
            concurrency=concurrency,
            path=[os.path.abspath(each) for each in path or ["."]],
        )
        made.run(fork=False)
