"""`aiorq worker`."""

from __future__ import annotations

import logging
import os
import sys
from enum import Enum
from typing import Annotated

import typer

from aiorq.cli.logs import LogFormat, configure
from aiorq.cli.parameters import Given
from aiorq.cli.settings import make_client, serializer_of


class OnLost(str, Enum):
    """What becomes of a job whose worker is lost."""

    FAIL = "fail"
    REQUEUE = "requeue"


def worker(
    given: Given,
    queues: Annotated[
        list[str] | None,
        typer.Argument(
            help="Queues in strict order: a job of the first is always taken first.", show_default="default"
        ),
    ] = None,
    burst: Annotated[bool, typer.Option("--burst", "-b", help="End when the queues are empty.")] = False,
    concurrency: Annotated[int, typer.Option(help="How many jobs run at a time.")] = 1,
    name: Annotated[str | None, typer.Option("--name", "-n", help="Name of the worker.", show_default="random")] = None,
    preload: Annotated[
        list[str] | None,
        typer.Option(help="Module to import once, so that no job has to; may be given several times."),
    ] = None,
    with_scheduler: Annotated[
        bool,
        typer.Option("--with-scheduler", "-s", help="Accepted as in RQ: every worker does what RQ's scheduler does."),
    ] = False,
    max_jobs: Annotated[int | None, typer.Option(help="End after that many jobs.")] = None,
    max_idle_time: Annotated[float | None, typer.Option(help="End after that many seconds without a job.")] = None,
    results_ttl: Annotated[int, typer.Option(help="Seconds that results are kept; -1 for ever.")] = 500,
    worker_ttl: Annotated[
        int, typer.Option(help="Seconds without a heartbeat after which the worker counts as dead.")
    ] = 420,
    lease: Annotated[
        float,
        typer.Option(
            help="Seconds, 1 to 600, after which the jobs of a worker that is not heard of are taken from it."
        ),
    ] = 15.0,
    on_lost: Annotated[
        OnLost,
        typer.Option(
            help="What becomes of a job that does not say so itself if this worker is lost while it runs: it fails, or "
            "goes back to its queue, three times at most."
        ),
    ] = OnLost.FAIL,
    stop_grace: Annotated[
        float, typer.Option(help="Seconds that a job which is stopped has to end by itself before it is killed.")
    ] = 2.0,
    shutdown_timeout: Annotated[
        float | None,
        typer.Option(
            help="Seconds that jobs may go on after the first signal; then they are killed and put back.",
            show_default="no limit",
        ),
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(
            help="Memory that a job may have which does not say so itself, in bytes or as in 512m or 2g.",
            show_default="no limit",
        ),
    ] = None,
    reap_interval: Annotated[
        float | None,
        typer.Option(help="Seconds between two looks for jobs of lost workers.", show_default="2, or half a lease"),
    ] = None,
    cron: Annotated[
        list[str] | None,
        typer.Option(
            help="Module, or path of one, that registers cron entries; may be given several times. The worker then "
            "looks after all cron entries, as any number of others may do.",
            show_default="none",
        ),
    ] = None,
    log_format: Annotated[LogFormat, typer.Option(help="How log lines look.")] = LogFormat.TEXT,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log warnings only.")] = False,
) -> None:
    """Take jobs from queues and run each in a process of its own.

    The first SIGINT (Ctrl-C) or SIGTERM lets the jobs that run finish; the second kills them and puts them back. SIGHUP
    lets them finish and starts the worker anew, in the same process, from what is installed then.
    """
    from aiorq.options import parse_memory
    from aiorq.worker import Worker

    configure(log_format, logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
    made = Worker(
        queues or ["default"],
        name,
        connection=make_client(given),
        concurrency=concurrency,
        preload=preload or (),
        path=[os.path.abspath(folder) for folder in given.folders],
        lease=lease,
        default_result_ttl=results_ttl,
        worker_ttl=worker_ttl,
        serializer=serializer_of(given),
        prefix=given.prefix,
        on_lost=on_lost.value,
        stop_grace=stop_grace,
        shutdown_timeout=shutdown_timeout,
        reap_interval=reap_interval,
        max_memory=parse_memory(max_memory) or 0,
        cron=cron or (),
    )
    # This process has imported the command line: the one that forks jobs starts afresh and stays small.
    made.run(burst, max_jobs=max_jobs, max_idle_time=max_idle_time, with_scheduler=with_scheduler, fork=False)
    if made.cold:
        raise typer.Exit(1)
    if made.restart_requested:  # from what is on the disk now
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this very command
