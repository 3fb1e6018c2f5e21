"""Options that several commands have, in groups; see `spread`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import typer

from aiorq.cli.config import Config
from aiorq.cli.spread import Setting

COMMON: Final = "Redis and classes"

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, kw_only=True)
class Given:
    """Where Redis is, and with which classes and which serializer its jobs are read."""

    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            "-u",
            help="Where Redis is: redis://, rediss://, valkey:// or unix://. Better set AIORQ_REDIS_URL: command lines "
            "are seen by every user of the machine.",
            show_default="AIORQ_REDIS_URL, else redis://localhost:6379/0",
            rich_help_panel=COMMON,
        ),
        Setting("redis_url", "RQ_REDIS_URL"),
    ] = None
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            "-c",
            help="File with settings: TOML, or a Python module as RQ has it.",
            show_default="AIORQ_CONFIG",
            rich_help_panel=COMMON,
        ),
        Setting("config", "RQ_CONFIG"),
    ] = None
    prefix: Annotated[
        str | None,
        typer.Option(help="Prefix of all keys.", show_default="AIORQ_KEY_PREFIX, else rq", rich_help_panel=COMMON),
        Setting("key_prefix", "RQ_KEY_PREFIX"),
    ] = None
    worker_class: Annotated[
        str | None,
        typer.Option("--worker-class", "-w", help="Dotted path.", show_default="aiorq.Worker", rich_help_panel=COMMON),
        Setting("worker_class", "RQ_WORKER_CLASS"),
    ] = None
    job_class: Annotated[
        str | None,
        typer.Option("--job-class", "-j", help="Dotted path.", show_default="aiorq.Job", rich_help_panel=COMMON),
        Setting("job_class", "RQ_JOB_CLASS"),
    ] = None
    queue_class: Annotated[
        str | None,
        typer.Option("--queue-class", help="Dotted path.", show_default="aiorq.Queue", rich_help_panel=COMMON),
        Setting("queue_class", "RQ_QUEUE_CLASS"),
    ] = None
    connection_class: Annotated[
        str | None,
        typer.Option(
            "--connection-class", help="Dotted path.", show_default="redis.asyncio.Redis", rich_help_panel=COMMON
        ),
        Setting("connection_class", "RQ_CONNECTION_CLASS"),
    ] = None
    path: Annotated[
        list[str] | None,
        typer.Option(
            "--path",
            "-P",
            help="Folder to search for modules; may be given several times.",
            show_default=".",
            rich_help_panel=COMMON,
        ),
        Setting("path", in_environment=False),
    ] = None
    serializer: Annotated[
        str,
        typer.Option(
            "--serializer", "-S", help="pickle, json, or the dotted path of another one.", rich_help_panel=COMMON
        ),
        Setting("serializer"),
    ] = "pickle"
    settings: Config | None = None
    """What the config file says, if there is one."""

    @property
    def folders(self) -> list[str]:
        """Where modules are searched for."""
        return self.path or ["."]
