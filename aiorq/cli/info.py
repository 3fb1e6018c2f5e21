"""`aiorq info` and `aiorq workers`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aiorq.cli.mistakes import Mistake, printable
from aiorq.cli.output import console, is_terminal, print_json, run, width
from aiorq.cli.parameters import AsJson, Given
from aiorq.cli.settings import client_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from aiorq.inspection.overview import Overview, Rates

_SHORTEST: Final = 0.1
"""Seconds between two looks."""
_LONGEST: Final = 86_400.0

Queues = Annotated[list[str] | None, typer.Argument(help="Only these queues.", show_default="all")]


def info(
    given: Given,
    queues: Queues = None,
    interval: Annotated[
        float | None, typer.Option("--interval", "-i", help="Look again every so many seconds, and show rates.")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", "-r", help="Print RQ's plain lines, for scripts.")] = False,
    only_queues: Annotated[bool, typer.Option("--only-queues", "-Q", help="Show the queues only.")] = False,
    only_workers: Annotated[bool, typer.Option("--only-workers", "-W", help="Show the workers only.")] = False,
    by_queue: Annotated[bool, typer.Option("--by-queue", "-R", help="Show the workers of each queue.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the queues with what they hold, and the workers with what they run. Nothing is changed.

    With --interval the view stays up until Ctrl-C and leaves its last state on the terminal. Where stdout is no
    terminal, it looks twice, that far apart, and prints once; --json prints a line for each look until Ctrl-C.
    """
    if interval is not None and not _SHORTEST <= interval <= _LONGEST:
        raise Mistake(f"--interval must be {_SHORTEST:g} to {_LONGEST:g} seconds, not {interval:g}")
    if only_queues and only_workers:
        only_workers = False  # as in RQ

    def draw(seen: Overview, rates: Rates | None, trouble: str = "") -> RenderableType:
        from rich.text import Text

        from aiorq.cli.info_view import View, raw_lines, stacked

        troubled: list[RenderableType] = [Text(printable(trouble), style="red")] if trouble else []
        if raw:
            lines = raw_lines(seen, queues=not only_workers, workers=not only_queues, by_queue=by_queue)
            return stacked(troubled, [Text(printable(line)) for line in lines])
        view = View(seen, rates, width=_width(), ascii_only=console().options.ascii_only, asked=queues or ())
        parts = [troubled, view.head()]
        if not only_workers:
            parts += [view.queues(), view.limits()]
        if not only_queues:
            parts.append(view.workers_by_queue() if by_queue else view.workers())
        return stacked(*parts)

    def show(seen: Overview, rates: Rates | None) -> None:
        if as_json:
            print_json(as_fields(seen, rates))
        else:
            console().print(draw(seen, rates), soft_wrap=not is_terminal())

    run(_watch, given, queues or [], interval, show, draw, as_json)


def workers(given: Given, queues: Queues = None, as_json: AsJson = False) -> None:
    """Show the workers, with every job that they run. Nothing is changed."""

    async def main() -> Overview:
        from aiorq.inspection.overview import look

        async with client_of(given) as client:
            return await look(client, queues or (), prefix=given.prefix)

    seen = run(main)
    if as_json:
        print_json({name: as_fields(seen, None)[name] for name in ("server", "prefix", "moment", "workers")})
        return
    from aiorq.cli.info_view import View, stacked

    view = View(seen, None, width=_width(), ascii_only=console().options.ascii_only, asked=queues or ())
    console().print(stacked(view.workers(all_runs=True)), soft_wrap=not is_terminal())


async def _watch(
    given: Given,
    queues: list[str],
    interval: float | None,
    show: Callable[[Overview, Rates | None], None],
    draw: Callable[[Overview, Rates | None, str], RenderableType],
    as_json: bool,
) -> None:
    """Look once, or again and again; an interrupt is the orderly end of that."""
    from aiorq.inspection.overview import look

    async with client_of(given) as client:
        seen = await look(client, queues, prefix=given.prefix)
        if interval is None:
            show(seen, None)
            return
        watch = Watch(lambda: look(client, queues, prefix=given.prefix), seen, interval)
        if as_json:
            print_json(as_fields(seen, None), in_a_line=True)
            while await watch.again():
                if not watch.trouble:
                    print_json(as_fields(watch.seen, watch.rates), in_a_line=True)
            return
        if is_terminal():
            from rich.live import Live

            # On a screen of its own, which leaves the terminal as it was.
            with Live(
                get_renderable=lambda: draw(watch.seen, watch.rates, watch.trouble),
                console=console(),
                screen=True,
                auto_refresh=False,
            ) as live:
                live.refresh()
                while await watch.again():
                    live.refresh()
        else:
            await watch.again()
        show(watch.seen, watch.rates)


class Watch:
    """Looks that follow each other until the process is interrupted, through trouble with Redis too."""

    def __init__(self, look: Callable[[], Awaitable[Overview]], first: Overview, interval: float) -> None:
        """Begin with a look that was taken."""
        self.seen = first
        self.rates: Rates | None = None
        self.trouble = ""
        """Why the last look failed; empty where it did not."""
        self._look = look
        self._interval = interval
        self._interrupted = _interrupts()

    async def again(self) -> bool:
        """Wait, and look again; False after an interrupt."""
        from aiorq.errors import ConnectionLostError
        from aiorq.inspection.overview import rates_between

        with suppress(TimeoutError):
            await asyncio.wait_for(self._interrupted.wait(), self._interval)
        if self._interrupted.is_set():
            return False
        try:
            seen = await self._look()
        except ConnectionLostError as error:
            self.trouble = f"{error}; trying again"
            return True
        self.trouble = ""
        self.rates = rates_between(self.seen, seen)
        self.seen = seen
        return True


def _interrupts() -> asyncio.Event:
    """An event that is set when the process is told to end."""
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)
    return interrupted


def _width() -> int | None:
    return width() if is_terminal() else None


def as_fields(seen: Overview, rates: Rates | None) -> dict[str, Any]:
    """What was seen, as JSON shows it."""
    fields = asdict(seen)
    for queue in fields["queues"]:
        queue["rate"] = None if rates is None else rates.queued.get(queue["name"])
    for worker in fields["workers"]:
        worker["rate"] = None if rates is None else rates.of_workers.get(worker["name"])
    fields["rates"] = None if rates is None else {"seconds": rates.seconds, "ended": rates.ended}
    return fields
