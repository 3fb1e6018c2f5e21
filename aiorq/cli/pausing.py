"""`aiorq suspend` and `resume`, which hold all workers; `aiorq pause` and `unpause`, which hold single queues."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from aiorq.cli.mistakes import Mistake
from aiorq.cli.output import moment, note, print_json, run, say
from aiorq.cli.parameters import AsJson, Given
from aiorq.cli.settings import client_of, queue_of

Names = Annotated[list[str], typer.Argument(help="Names of the queues.", metavar="QUEUES...")]


def suspend(
    given: Given,
    duration: Annotated[
        int | None,
        typer.Option(help="Seconds, 1 and more, after which they go on by themselves.", show_default="for ever"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let no worker take any job, workers of RQ's included, until `aiorq resume`. What runs goes on to its end."""
    if duration is not None and duration < 1:
        raise Mistake(f"--duration must be whole seconds, 1 and more, not {duration}")

    async def main() -> None:
        from aiorq.suspension import suspend as hold

        async with client_of(given) as client:
            await hold(client, duration, prefix=given.prefix)

    run(main)
    if as_json:
        print_json({"suspended": True, "for": duration})
    elif duration is None:
        say("All workers are suspended: no job is started until `aiorq resume`; what runs goes on to its end.")
    else:
        say(f"All workers are suspended for {duration} s: no job is started; what runs goes on to its end.")


def resume(given: Given, as_json: AsJson = False) -> None:
    """Let workers that are suspended take jobs again. Queues that are paused stay so: see `aiorq unpause`."""

    async def main() -> bool:
        from aiorq.suspension import resume as release

        async with client_of(given) as client:
            return await release(client, prefix=given.prefix)

    were_suspended = run(main)
    if as_json:
        print_json({"suspended": False, "changed": were_suspended})
    else:
        say("Workers take jobs again." if were_suspended else "The workers were not suspended.")


def pause(
    given: Given,
    queues: Names,
    reason: Annotated[str, typer.Option(help="Why, for people: `aiorq info` shows it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Let no worker of aiorq take jobs from some queues, until `aiorq unpause`. What runs goes on to its end.

    Jobs can be enqueued meanwhile. Workers of RQ do not know of it: they know `aiorq suspend`.
    """

    async def main() -> tuple[list[dict[str, Any]], list[str]]:
        from aiorq.queue import Queue

        async with client_of(given) as client:
            made = [queue_of(given, name, client) for name in dict.fromkeys(queues)]
            known = {queue.name for queue in await Queue.all(client, prefix=given.prefix)}
            paused = []
            for queue in made:
                held = await queue.pause(reason)
                paused.append({"queue": queue.name, "paused": True, "reason": held.reason, "since": held.since})
            return paused, [queue.name for queue in made if queue.name not in known]

    paused, unknown = run(main)
    for name in unknown:
        note(f"aiorq: no job was ever enqueued on {name}; it is paused all the same")
    if as_json:
        print_json(paused)
        return
    for each in paused:
        why = f": {each['reason']}" if each["reason"] else ""
        say(f"{each['queue']}: paused since {moment(each['since'])}{why}")


def unpause(given: Given, queues: Names, as_json: AsJson = False) -> None:
    """Let workers take jobs from queues that are paused."""

    async def main() -> list[dict[str, Any]]:
        async with client_of(given) as client:
            made = [queue_of(given, name, client) for name in dict.fromkeys(queues)]
            return [{"queue": queue.name, "paused": False, "changed": await queue.resume()} for queue in made]

    unpaused = run(main)
    if as_json:
        print_json(unpaused)
        return
    for each in unpaused:
        say(f"{each['queue']}: {'workers take jobs from it again' if each['changed'] else 'was not paused'}")
