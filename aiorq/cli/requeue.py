"""`aiorq requeue`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from aiorq.cli.mistakes import tell
from aiorq.cli.output import number_of, print_json, progress, run, say
from aiorq.cli.parameters import AsJson, Given
from aiorq.cli.settings import client_of, queue_of


def requeue(
    given: Given,
    queue: Annotated[str, typer.Option("--queue", "-q", help="Name of the queue.")],
    job_ids: Annotated[list[str] | None, typer.Argument(help="Ids of the jobs.", metavar="[JOBS]...")] = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Requeue all failed jobs of the queue.")] = False,
    at_front: Annotated[bool, typer.Option("--at-front", help="Put them at the front of the queue.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put failed jobs of a queue back on it. What they have used of their retries stays used.

    Jobs in other states are put back by `aiorq job requeue`. Exits with 1 when one of the ids is no failed job's.
    """

    async def main() -> tuple[int, list[dict[str, str]]]:
        from aiorq.errors import CorruptJobError, InvalidJobOperation, NoSuchJobError
        from aiorq.keys import check_job_id

        async with client_of(given) as client:
            failed = queue_of(given, queue, client).failed_job_registry
            if everything:
                with progress("Requeueing", await failed.count()) as step:
                    told = 0

                    def show(requeued: int) -> None:
                        nonlocal told
                        step(requeued - told)
                        told = requeued

                    return await failed.requeue_all(at_front, show), []
            ids = [check_job_id(job_id) for job_id in dict.fromkeys(job_ids or ())]
            done, refused = 0, []
            for job_id in ids:
                try:
                    await failed.requeue(job_id, at_front)
                except (NoSuchJobError, InvalidJobOperation, CorruptJobError) as error:
                    refused.append({"id": job_id, "error": str(error)})
                else:
                    done += 1
            return done, refused

    nothing = not everything and not job_ids
    done, refused = (0, []) if nothing else run(main)
    if as_json:
        told: dict[str, Any] = {"queue": queue, "requeued": done, "refused": refused}
        print_json(told)
    elif nothing:
        say("Nothing to do: give ids of failed jobs, or --all.")
    else:
        say(f"{number_of(done, 'job')} requeued on {queue}")
        for each in refused:
            tell(each["error"])
    if refused:
        raise typer.Exit(1)
