"""`aiorq drain` and `aiorq stop`: the end of workers, wherever they run.

Both tell workers over Redis what a signal would tell them. `drain` lets jobs finish and waits for it, as before an
upgrade; `stop` only tells, and with `--now` it does not let them finish.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aiorq.cli.mistakes import Failure, Mistake
from aiorq.cli.output import number_of, print_json, progress, run, say
from aiorq.cli.parameters import AsJson, Given
from aiorq.cli.settings import client_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from aiorq.inspection.overview import WorkerView

_LOOK: Final = 0.2
"""Seconds between two looks at whether workers have ended."""
_SECOND: Final = 1.5
"""Seconds after a command to end at which RQ's workers take a second one for the wish to end at once."""

Names = Annotated[list[str] | None, typer.Argument(help="Names of workers.", metavar="[WORKERS]...")]
Everyone = Annotated[bool, typer.Option("--all", "-a", help="All workers.")]
OfQueues = Annotated[
    list[str] | None,
    typer.Option("--queue", "-q", help="The workers that take jobs from this queue; may be given several times."),
]


def drain(
    given: Given,
    workers: Names = None,
    everyone: Everyone = False,
    queue: OfQueues = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", "-t", help="Seconds to wait at most.", show_default="for ever")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let workers finish what they run and end, and wait for that. They take no more jobs from now on.

    Jobs that wait stay in their queues for other workers. What starts workers anew, as systemd or Kubernetes may do, is
    not kept from it: to have nothing run at all, use `aiorq suspend`. Exits with 1 when some still run after --timeout,
    which go on finishing all the same.
    """
    _end(given, workers or [], everyone, queue or [], now=False, timeout=timeout, wait=True, as_json=as_json)


def stop(
    given: Given,
    workers: Names = None,
    everyone: Everyone = False,
    queue: OfQueues = None,
    now: Annotated[
        bool,
        typer.Option(
            "--now",
            help="Kill what they run. Jobs go back to their queues; those of RQ's workers are lost as at a kill.",
        ),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until they have ended.")] = False,
    timeout: Annotated[
        float | None, typer.Option("--timeout", "-t", help="With --wait: seconds to wait at most.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell workers to end: when what they run has finished, or with --now at once."""
    if timeout is not None and not wait:
        raise Mistake("--timeout needs --wait")
    _end(given, workers or [], everyone, queue or [], now=now, timeout=timeout, wait=wait, as_json=as_json)


def _end(
    given: Given,
    names: Sequence[str],
    everyone: bool,
    queues: Sequence[str],
    *,
    now: bool,
    timeout: float | None,
    wait: bool,
    as_json: bool,
) -> None:
    if bool(names) + everyone + bool(queues) != 1:
        raise Mistake("name the workers, or give --all, or --queue: one of the three")
    if timeout is not None and not timeout >= 0:
        raise Mistake(f"--timeout must not be negative, as {timeout:g} is")
    told = run(_tell_and_wait, given, list(dict.fromkeys(names)), queues, now, timeout, wait)
    if as_json:
        print_json(told)
    elif not told:
        say("There are no workers." if everyone else "No worker takes jobs from there.")
    else:
        for each in told:
            say(f"{each['worker']}: {_sentence(each, now)}")
    if not all(each["heard"] and (each["ended"] or not wait) for each in told):
        raise typer.Exit(1)


def _sentence(told: dict[str, Any], now: bool) -> str:
    if told["ended"]:
        return "has ended"
    running = f" (it runs {number_of(told['running'], 'job')})" if told["running"] else ""
    if not told["heard"]:
        return f"cannot be told: it is not connected to Redis, or is gone{running}"
    if told["waited"]:
        return f"has not ended yet{running}; it still will"
    if now or not told["running"]:
        return "ends now"
    return f"ends when what it runs has finished: {number_of(told['running'], 'job')}"


async def _tell_and_wait(
    given: Given, names: Sequence[str], queues: Sequence[str], now: bool, timeout: float | None, wait: bool
) -> list[dict[str, Any]]:
    from aiorq.inspection.overview import look

    async with client_of(given) as client:
        seen = await look(client, queues, prefix=given.prefix)
        known = {worker.name: worker for worker in seen.workers}
        for name in names:
            if name not in known:
                raise Failure(f"no worker {name!r} is alive; `aiorq workers` shows who is")
        chosen = [known[name] for name in names] if names else list(seen.workers)
        heard = {worker.name: await _tell(client, given, worker, now) for worker in chosen}
        waiting = {worker.name: worker for worker in chosen if heard[worker.name]}
        running = {worker.name: worker.running for worker in chosen}
        stubborn = [worker for worker in waiting.values() if now and worker.kind == "rq"]
        if stubborn:
            await asyncio.sleep(_SECOND)
            for worker in stubborn:
                await _tell(client, given, worker, now)
        if wait:
            running |= await _wait(client, given, waiting, timeout)
        return [
            {
                "worker": worker.name,
                "heard": heard[worker.name],
                "waited": wait,
                "ended": wait and heard[worker.name] and worker.name not in waiting,
                "running": running[worker.name],
            }
            for worker in chosen
        ]


async def _tell(client: Redis, given: Given, worker: WorkerView, now: bool) -> bool:
    from aiorq.command import send_shutdown_command

    return bool(await send_shutdown_command(client, worker.name, now=now, prefix=given.prefix))


async def _wait(client: Redis, given: Given, waiting: dict[str, WorkerView], timeout: float | None) -> dict[str, int]:
    """Wait until workers have ended, who leave `waiting`; returns how many jobs each then still ran."""
    from aiorq.inspection.overview import look

    end = None if timeout is None else time.monotonic() + timeout
    running: dict[str, int] = {}
    with progress("Waiting for workers", len(waiting)) as step:
        while True:
            seen = {worker.name: worker for worker in (await look(client, prefix=given.prefix)).workers}
            for name, worker in list(waiting.items()):
                found = seen.get(name)
                # One of the same name that was born later is another one.
                if found is None or found.birth_date != worker.birth_date:
                    del waiting[name]
                    step(1)
                running[name] = 0 if found is None else found.running
            if not waiting or (end is not None and time.monotonic() >= end):
                return running
            await asyncio.sleep(_LOOK if end is None else min(_LOOK, max(0.0, end - time.monotonic())))
