"""`aiorq empty`."""

from __future__ import annotations

from typing import Annotated

import typer

from aiorq.cli.output import number_of, print_json, progress, run, say
from aiorq.cli.parameters import AsJson, Given
from aiorq.cli.settings import client_of, queue_of


def empty(
    given: Given,
    queues: Annotated[list[str] | None, typer.Argument(help="Names of the queues.", show_default="none")] = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Empty all queues.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete the jobs that wait in queues, with all that they hold. Jobs in other states stay.

    It does not ask. What comes to a queue meanwhile is spared.
    """

    async def main() -> dict[str, int]:
        from aiorq.queue import Queue

        async with client_of(given) as client:
            names = list(dict.fromkeys(queues or ()))
            if everything:
                names = [queue.name for queue in await Queue.all(client, prefix=given.prefix)]
            made = [queue_of(given, name, client) for name in names]
            removed = {}
            for queue in made:
                with progress(f"Emptying {queue.name}", await queue.count()) as step:
                    removed[queue.name] = await queue.empty(progress=step)
            return removed

    removed = run(main) if everything or queues else {}
    if as_json:
        print_json([{"queue": name, "removed": number} for name, number in removed.items()])
    elif not removed:
        say("Nothing to do: there are no queues." if everything else "Nothing to do: name queues, or give --all.")
    else:
        for name, number in removed.items():
            say(f"{number_of(number, 'job')} removed from {name} queue")
