"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        "-u",
        help="Where Redis is: redis://, rediss://, valkey:// or unix://. Better set AIORQ_REDIS_URL: command lines are "
        "seen by every user of the machine.",
        show_default="AIORQ_REDIS_URL, else redis://localhost:6379/0",
    ),
]
Path = Annotated[
    list[str] | None,
    typer.Option("--path", "-P", help="Folder to search for modules; may be given several times.", show_default="."),
]
Concurrency = Annotated[int, typer.Option(help="How many jobs run at a time.")]
Serializer = Annotated[str, typer.Option("--serializer", "-S", help="pickle, json, or the dotted path of another one.")]
