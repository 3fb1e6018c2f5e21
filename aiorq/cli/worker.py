"""`aiorq worker` and `aiorq worker-pool`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aiorq.cli.logs import bar_of_jobs, configure
from aiorq.cli.mistakes import Failure, Mistake
from aiorq.cli.output import is_terminal, number_of, run
from aiorq.cli.parameters import Given, Logging, Queues, Working
from aiorq.cli.settings import class_of, make_client, own_class, serializer_of
from aiorq.cli.spread import Setting

if TYPE_CHECKING:
    from aiorq.worker import Worker

_ANEW: Final = "_AIORQ_STARTED_ANEW"
"""Set for the program that takes the place of this one at SIGHUP."""


def worker(
    given: Given,
    working: Working,
    logging: Logging,
    queues: Queues = None,
    name: Annotated[
        str | None,
        typer.Option("--name", "-n", help="Name of the worker.", show_default="random"),
        Setting("name"),
    ] = None,
    max_jobs: Annotated[int | None, typer.Option(help="End after that many jobs."), Setting("max_jobs")] = None,
    max_idle_time: Annotated[
        float | None, typer.Option(help="End after that many seconds without a job."), Setting("max_idle_time")
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="For development: start the worker anew whenever a Python file below --path changes."
        ),
    ] = False,
) -> None:
    """Take jobs from queues and run each in a process of its own.

    The first SIGINT (Ctrl-C) or SIGTERM lets the jobs that run finish; the second kills them and puts them back. SIGHUP
    lets them finish and starts the worker anew, in the same process, from what is installed then. Exits with 1 when it
    was stopped by a second signal, and at once while workers are suspended. With --burst and --quiet a terminal shows
    a bar.
    """
    anew = os.environ.pop(_ANEW, "")
    configure(logging, given)
    if watch:
        from aiorq.cli.watch import keep_fresh

        raise typer.Exit(keep_fresh(given.folders))
    kind = _worker_class(given)
    client = make_client(given)
    made: Worker = kind(queues or ["default"], name, connection=client, **_options(given, working))
    suspended, waiting = run(_look, given, made.queue_names())
    # As in RQ. One that ran before SIGHUP came goes on waiting for the end of the suspension.
    if suspended and not anew:
        raise Failure("workers are suspended: no job is taken until `aiorq resume`")
    shows = working.burst and logging.level == "WARNING" and is_terminal(sys.stderr)
    with _pid_file(working.pid), bar_of_jobs(waiting) if shows else nullcontext():
        # This process has imported the command line: the one that forks jobs starts afresh and stays small.
        made.run(
            working.burst,
            max_jobs=max_jobs,
            max_idle_time=max_idle_time,
            dequeue_strategy=working.dequeue_strategy.value,
            with_scheduler=working.with_scheduler,
            fork=False,
        )
    if made.cold:
        raise typer.Exit(1)
    if made.restart_requested:
        _start_anew()


def worker_pool(
    given: Given,
    working: Working,
    logging: Logging,
    queues: Queues = None,
    num_workers: Annotated[
        int, typer.Option("--num-workers", "-n", help="How many workers, 1 to 1000."), Setting("num_workers")
    ] = 1,
) -> None:
    """Run several workers below one process, which starts those that end anew and passes signals on.

    The first SIGINT (Ctrl-C) or SIGTERM lets the jobs that run finish; the second kills them and puts them back. SIGHUP
    lets them finish and starts the pool anew, from what is installed then. With --burst it exits with 1 when a worker
    ended with an error.
    """
    from aiorq.worker import WorkerPool

    os.environ.pop(_ANEW, None)
    configure(logging, given)
    kind = _worker_class(given)
    options = _options(given, working)
    pool = WorkerPool(queues or ["default"], make_client(given), num_workers, kind, **options)
    # If Redis cannot be asked that is said once, here, and not by every worker again and again.
    run(_look, given, [])
    with _pid_file(working.pid):
        pool.start(working.burst, None, dequeue_strategy=working.dequeue_strategy.value, fork=False)
    if pool.cold:
        raise typer.Exit(1)
    if working.burst and pool.failures:
        raise Failure(f"{number_of(pool.failures, 'worker')} of {num_workers} ended with an error")
    if pool.restart_requested:
        _start_anew()


def _worker_class(given: Given) -> Any:
    from aiorq.worker import Worker

    kind = class_of(given.worker_class, given, "worker class", Worker)
    if not issubclass(kind, Worker):
        raise Mistake(f"the worker class {given.worker_class!r} is not derived from aiorq.Worker")
    return kind


def _options(given: Given, working: Working) -> dict[str, Any]:
    from aiorq.options import parse_memory

    return {
        "concurrency": working.concurrency,
        "preload": working.preload or (),
        "path": [os.path.abspath(folder) for folder in given.folders],
        "lease": working.lease,
        "default_result_ttl": working.results_ttl,
        "worker_ttl": working.worker_ttl,
        "serializer": serializer_of(given),
        "prefix": given.prefix,
        "on_lost": working.on_lost.value,
        "stop_grace": working.stop_grace,
        "shutdown_timeout": working.shutdown_timeout,
        "reap_interval": working.reap_interval,
        "max_memory": parse_memory(working.max_memory) or 0,
        "cron": working.cron or (),
        "exception_handlers": working.exception_handlers or (),
        "disable_default_exception_handler": working.disable_default_exception_handler,
        "log_job_description": working.log_job_description and not working.disable_job_desc_logging,
        "job_class": own_class(given.job_class),
        "queue_class": own_class(given.queue_class),
    }


async def _look(given: Given, queues: Sequence[str]) -> tuple[bool, int]:
    """Whether workers are suspended, and how many jobs wait."""
    from aiorq.cli.settings import client_of
    from aiorq.queue import Queue
    from aiorq.suspension import is_suspended

    async with client_of(given) as client:
        counts = [await Queue(name, client, prefix=given.prefix).count() for name in queues]
        return await is_suspended(client, prefix=given.prefix), sum(counts)


@contextmanager
def _pid_file(path: str | None) -> Iterator[None]:
    """Have the process id in a file while this lasts."""
    if path is None:
        yield
        return
    file = Path(path).expanduser()
    pid = str(os.getpid())
    try:
        file.write_text(pid, encoding="ascii")
    except OSError as error:
        raise Mistake(f"the process id cannot be written to {path}: {error.strerror}") from None
    try:
        yield
    finally:
        with suppress(OSError):
            if file.read_text(encoding="ascii") == pid:  # else another one has taken it over
                file.unlink()


def _start_anew() -> None:
    """Be this very command again, from what is on the disk now."""
    os.environ[_ANEW] = "1"
    os.execv(sys.executable, [sys.executable, *_arguments()])  # noqa: S606 - this very command


def _arguments() -> Sequence[str]:
    return sys.orig_argv[1:]
