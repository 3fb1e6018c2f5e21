"""`aiorq jobs`: jobs by queue and state, page by page."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from aiorq.cli.mistakes import Mistake
from aiorq.cli.output import console, is_terminal, note, number_of, print_json, run, say, width
from aiorq.cli.parameters import AsJson, Given
from aiorq.cli.settings import client_of

if TYPE_CHECKING:
    from aiorq.inspection.listing import Listing


def jobs(
    given: Given,
    queues: Annotated[list[str] | None, typer.Argument(help="Only these queues.", show_default="all")] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            "-s",
            help="Only jobs in this state: started, queued, scheduled, deferred, rate_limited, failed (with those that "
            "were stopped), stopped, finished, canceled; may be given several times.",
            show_default="all",
        ),
    ] = None,
    function: Annotated[
        str | None, typer.Option("--function", "-f", help="Only jobs whose function's name has this text in it.")
    ] = None,
    error: Annotated[
        str | None, typer.Option("--error", "-e", help="Only jobs whose last traceback has this text in it.")
    ] = None,
    offset: Annotated[int, typer.Option(help="Pass over so many entries.")] = 0,
    limit: Annotated[int, typer.Option("--limit", "-l", help="Show so many jobs at most, 1 to 1000.")] = 20,
    newest: Annotated[
        bool | None,
        typer.Option(
            "--newest/--oldest",
            help="Which jobs come first.",
            show_default="the next ones of those that wait, the latest of those that ended",
        ),
    ] = None,
    scan: Annotated[int, typer.Option(help="Let --function and --error look at so many entries at most.")] = 10_000,
    as_json: AsJson = False,
) -> None:
    """List jobs by state and queue, a page at a time. Nothing is changed, and no code of a job's is run.

    Arguments are not shown, nor are descriptions that are made up of them: see `aiorq job show --args`.
    """

    async def main() -> Listing:
        from aiorq.inspection.listing import Search, list_jobs

        search = Search(
            queues=queues or (),
            states=[word.lower() for word in state or ()],
            function=function,
            error=error,
            newest=newest,
            offset=offset,
            limit=limit,
            most=scan,
        )
        async with client_of(given) as client:
            return await list_jobs(client, search, prefix=given.prefix)

    if scan < 1:
        raise Mistake(f"--scan must be at least 1, not {scan}")
    found = run(main)
    if as_json:
        print_json(asdict(found))
        return
    _show(found, is_search=function is not None or error is not None, is_part=bool(queues or state))


def _show(found: Listing, *, is_search: bool, is_part: bool) -> None:
    if not found.jobs:
        say("No such jobs." if found.total or is_search or is_part else "There are no jobs.")
    else:
        from aiorq.cli.jobs_view import table_of

        terminal = is_terminal()
        console().print(table_of(found, width() if terminal else None), soft_wrap=not terminal)
    if found.next_offset is not None:
        looked = f"Looked at {found.looked_at} of {number_of(found.total, 'entry')}" if is_search else ""
        shown = looked or f"{found.offset + 1} to {found.offset + found.looked_at} of {found.total}"
        note(f"{shown.replace('entrys', 'entries')}; go on with --offset {found.next_offset}")
