"""Options that several commands have, in groups; see `spread`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Final

import typer

from aiorq.cli.config import Config
from aiorq.cli.mistakes import Mistake
from aiorq.cli.spread import Setting

COMMON: Final = "Redis and classes"
LOG: Final = "Log"
LIMITS: Final = "Limits"
TROUBLE: Final = "When things go wrong"
LIKE_RQ: Final = "Accepted as in RQ"

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Queues = Annotated[
    list[str] | None,
    typer.Argument(help="Queues in strict order: a job of the first is always taken first.", show_default="default"),
    Setting("queues"),
]


class OnLost(str, Enum):
    """What becomes of a job whose worker is lost."""

    FAIL = "fail"
    REQUEUE = "requeue"


class Strategy(str, Enum):
    """From which of its queues a worker takes the next job."""

    DEFAULT = "default"
    ROUND_ROBIN = "round_robin"
    RANDOM = "random"


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


@dataclass(frozen=True, kw_only=True)
class Logging:
    """What is logged to stderr, and how."""

    log_level: Annotated[
        str | None,
        typer.Option(
            "--log-level",
            "--logging-level",
            "--logging_level",
            "-l",
            help="Log from this level on: DEBUG, INFO, WARNING, ERROR, CRITICAL.",
            show_default="INFO",
            rich_help_panel=LOG,
        ),
    ] = None
    log_format: Annotated[
        str,
        typer.Option(
            help="text, json (an object a line), or a format of Python's logging such as '%(levelname)s %(message)s'.",
            rich_help_panel=LOG,
        ),
    ] = "text"
    date_format: Annotated[str, typer.Option(help="Format of times, as of time.strftime.", rich_help_panel=LOG)] = (
        "%H:%M:%S"
    )
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log from DEBUG on.", rich_help_panel=LOG)] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log from WARNING on.", rich_help_panel=LOG)] = False

    @property
    def level(self) -> str | None:
        """The name of the level, in capitals; None if nothing is said of it.

        Raises:
            Mistake: --verbose and --quiet, or a name of no level.
        """
        if self.verbose and self.quiet:
            raise Mistake("--verbose and --quiet exclude each other")
        if self.verbose or self.quiet:
            return "DEBUG" if self.verbose else "WARNING"
        if self.log_level is not None and self.log_level.upper() not in _LEVELS:
            raise Mistake(f"{self.log_level!r} is no level of the log; use one of {', '.join(_LEVELS)}")
        return None if self.log_level is None else self.log_level.upper()


_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, kw_only=True)
class Working:
    """How a worker works, alone or in a pool."""

    burst: Annotated[bool, typer.Option("--burst", "-b", help="End when the queues are empty.")] = False
    concurrency: Annotated[int, typer.Option(help="How many jobs run at a time, 1 to 1000.")] = 1
    preload: Annotated[
        list[str] | None,
        typer.Option(help="Module to import once, so that no job has to; may be given several times."),
    ] = None
    dequeue_strategy: Annotated[
        Strategy,
        typer.Option(
            "--dequeue-strategy",
            "-ds",
            metavar="<name>",
            help="From which queue the next job is taken: default for the first that has any, round_robin, or random.",
        ),
    ] = Strategy.DEFAULT
    cron: Annotated[
        list[str] | None,
        typer.Option(
            help="Module, or path of one, that registers cron entries; may be given several times. The worker then "
            "looks after all cron entries, as any number of others may do.",
            show_default="none",
        ),
    ] = None
    pid: Annotated[
        str | None,
        typer.Option(help="File to write the process id to; it is removed at the end.", show_default="none"),
    ] = None
    results_ttl: Annotated[
        int, typer.Option(help="Seconds that results are kept; -1 for ever.", rich_help_panel=LIMITS)
    ] = 500
    max_memory: Annotated[
        str | None,
        typer.Option(
            help="Memory that a job may have which does not say so itself, in bytes or as in 512m or 2g.",
            show_default="no limit",
            rich_help_panel=LIMITS,
        ),
    ] = None
    stop_grace: Annotated[
        float,
        typer.Option(
            help="Seconds that a job which is stopped has to end by itself before it is killed.",
            rich_help_panel=LIMITS,
        ),
    ] = 2.0
    shutdown_timeout: Annotated[
        float | None,
        typer.Option(
            help="Seconds that jobs may go on after the first signal; then they are killed and put back.",
            show_default="no limit",
            rich_help_panel=LIMITS,
        ),
    ] = None
    exception_handlers: Annotated[
        list[str] | None,
        typer.Option(
            "--exception-handler",
            help="Function to call when a job has failed, by dotted name; may be given several times.",
            show_default="none",
            rich_help_panel=TROUBLE,
        ),
    ] = None
    disable_default_exception_handler: Annotated[
        bool,
        typer.Option(
            "--disable-default-exception-handler",
            "-d",
            help="Keep failed jobs out of the registry of failed ones.",
            rich_help_panel=TROUBLE,
        ),
    ] = False
    on_lost: Annotated[
        OnLost,
        typer.Option(
            help="What becomes of a job that does not say so itself if this worker is lost while it runs: it fails, or "
            "goes back to its queue, three times at most.",
            rich_help_panel=TROUBLE,
        ),
    ] = OnLost.FAIL
    lease: Annotated[
        float,
        typer.Option(
            help="Seconds, 1 to 600, after which the jobs of a worker that is not heard of are taken from it.",
            rich_help_panel=TROUBLE,
        ),
    ] = 15.0
    reap_interval: Annotated[
        float | None,
        typer.Option(
            help="Seconds between two looks for jobs of lost workers.",
            show_default="2, or half a lease",
            rich_help_panel=TROUBLE,
        ),
    ] = None
    worker_ttl: Annotated[
        int,
        typer.Option(
            min=1,
            help="Seconds without a heartbeat after which the worker counts as dead.",
            rich_help_panel=TROUBLE,
        ),
    ] = 420
    log_job_description: Annotated[
        bool,
        typer.Option(
            "--log-job-description",
            help="Log the descriptions of jobs too, which hold their arguments.",
            rich_help_panel=LOG,
        ),
    ] = False
    disable_job_desc_logging: Annotated[
        bool,
        typer.Option(
            "--disable-job-desc-logging",
            help="Do not log the descriptions of jobs, which is so anyway.",
            rich_help_panel=LIKE_RQ,
        ),
    ] = False
    with_scheduler: Annotated[
        bool,
        typer.Option(
            "--with-scheduler",
            "-s",
            help="Every worker does what RQ's scheduler does.",
            rich_help_panel=LIKE_RQ,
        ),
    ] = False
    maintenance_interval: Annotated[
        int,
        typer.Option(min=1, help="What is overdue is looked for all the time.", rich_help_panel=LIKE_RQ),
    ] = 600
    job_monitoring_interval: Annotated[
        int,
        typer.Option(min=1, help="Leases are renewed three times in each.", rich_help_panel=LIKE_RQ),
    ] = 30
