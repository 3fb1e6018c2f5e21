"""`aiorq check`: the exit code for health checks."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from aiorq.cli.mistakes import Mistake, without_secrets
from aiorq.cli.output import print_json, run, say
from aiorq.cli.parameters import AsJson, Given
from aiorq.cli.settings import client_of

if TYPE_CHECKING:
    from aiorq.inspection.health import Verdict


def check(
    given: Given,
    queues: Annotated[list[str] | None, typer.Argument(help="Only these queues.", show_default="all")] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="So many workers are alive on each of the queues, or in all where none is named.", min=0),
    ] = None,
    worker: Annotated[
        list[str] | None, typer.Option(help="The worker of this name is alive; may be given several times.")
    ] = None,
    heartbeat: Annotated[
        float,
        typer.Option(help="Seconds without a heartbeat after which a worker does not count; one of RQ's is spared."),
    ] = 60.0,
    max_age: Annotated[
        str | None, typer.Option(help="No job at the front of a queue has waited longer: 90, 15m, 2h, 1d.")
    ] = None,
    max_queued: Annotated[int | None, typer.Option(help="No more jobs wait in a queue.", min=0)] = None,
    max_failed: Annotated[int | None, typer.Option(help="No queue has more failed jobs.", min=0)] = None,
    timeout: Annotated[float, typer.Option(help="Seconds in which the server has to answer.")] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Look whether the server answers, and whether all is as the options say. Nothing is changed.

    Exits with 0 when it is, with 1 when it is not, and with 2 when the command line cannot be read.
    """
    from aiorq.seconds import parse_seconds

    for name, value in (("--timeout", timeout), ("--heartbeat", heartbeat)):
        if not 0 < value < 86_400:
            raise Mistake(f"{name} must be more than 0 seconds and less than a day, not {value:g}")
    age = None if max_age is None else parse_seconds(max_age, "--max-age")
    if age is not None and age < 0:
        raise Mistake(f"--max-age must not be negative, as {max_age} is")
    found = run(_verdicts, given, queues or [], workers, worker or [], heartbeat, age, max_queued, max_failed, timeout)
    ok = all(verdict.ok for verdict in found)
    if as_json:
        print_json({"ok": ok, "checks": [asdict(verdict) for verdict in found]})
    else:
        for verdict in found:
            style = "" if verdict.ok else "red"
            say(f"{'ok' if verdict.ok else 'not ok'}: {verdict.message}", style=style)
    if not ok:
        raise typer.Exit(1)


async def _verdicts(
    given: Given,
    queues: list[str],
    workers: int | None,
    named: list[str],
    heartbeat: float,
    max_age: float | None,
    max_queued: int | None,
    max_failed: int | None,
    timeout: float,
) -> list[Verdict]:
    import asyncio

    from aiorq.errors import ConnectionLostError, StoreError
    from aiorq.inspection.health import Bounds, Verdict, judge
    from aiorq.inspection.overview import look

    bounds = Bounds(
        workers=workers,
        named=named,
        heartbeat=heartbeat,
        max_age=max_age,
        max_queued=max_queued,
        max_failed=max_failed,
    )
    async with client_of(given) as client:
        try:
            async with asyncio.timeout(timeout):
                seen = await look(client, queues, prefix=given.prefix)
        except TimeoutError:
            return [Verdict("server", None, False, None, timeout, f"the server does not answer within {timeout:g} s")]
        except (ConnectionLostError, StoreError) as error:
            return [Verdict("server", None, False, None, None, without_secrets(str(error)))]
    return judge(seen, bounds, queues)
