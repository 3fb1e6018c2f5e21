"""Commands to workers, in RQ's words. Workers of RQ's obey them too."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from aiorq.keys import check_job_id
from aiorq.store import commands
from aiorq.store.base import store_of


async def send_command(
    connection: Redis | str | None, worker_name: str, command: str, *, prefix: str | None = None, **kwargs: Any
) -> int:
    """Send a command to a worker.

    Returns:
        how many listened: 0 when there is no such worker, or it is not connected now.
    """
    return await commands.send(store_of(connection, prefix), worker_name, command, **kwargs)


async def send_shutdown_command(
    connection: Redis | str | None, worker_name: str, *, now: bool = False, prefix: str | None = None
) -> int:
    """Tell a worker to end as at a first SIGTERM: what runs ends, nothing new is taken. Returns as `send_command`.

    Args:
        connection: a client, a URL, or None for the environment's.
        worker_name: of the worker.
        now: as at a second SIGTERM: what runs is killed and put back on its queue. RQ's workers take it for the first
            kind, and kill what they run at a second command that comes a second later or more.
        prefix: of all keys; None for the environment's.
    """
    words = {"aiorq_now": True} if now else {}
    return await send_command(connection, worker_name, "shutdown", prefix=prefix, **words)


async def send_kill_horse_command(
    connection: Redis | str | None, worker_name: str, *, prefix: str | None = None
) -> int:
    """Kill the processes of all jobs that a worker runs: they fail, or are tried again. Returns as `send_command`."""
    return await send_command(connection, worker_name, "kill-horse", prefix=prefix)


async def send_stop_job_command(
    connection: Redis | str | None,
    job_id: str,
    serializer: object | None = None,  # noqa: ARG001 - RQ's parameter
    *,
    prefix: str | None = None,
) -> None:
    """Stop a job that runs, without waiting for its end; `Job.stop` waits.

    The request is kept: a worker that cannot be reached now obeys when it can.

    Args:
        connection: a client, a URL, or None for the environment's.
        job_id: which.
        serializer: accepted as in RQ; nothing of the job is deserialised.
        prefix: of all keys.

    Raises:
        NoSuchJobError: it does not exist.
        InvalidJobOperation: it does not run.
    """
    await commands.ask_stop(store_of(connection, prefix), check_job_id(job_id))


async def send_stop_execution_command(
    connection: Redis | str | None, job_id: str, execution_id: str, *, prefix: str | None = None
) -> None:
    """Stop one run of a job, if it is the one that runs; otherwise as `send_stop_job_command`."""
    await commands.ask_stop(store_of(connection, prefix), check_job_id(job_id), execution_id)
