"""What commands print: lines, JSON, progress, and what rich draws; tables are in `grid`.

What came out of Redis goes through `printable`. Into a pipe goes plain text that nothing is cut from.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TextIO, TypeVar

from aiorq.cli.mistakes import printable

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
_REDRAW: Final = 0.1
"""Seconds between two drawings of a progress bar."""


@cache
def console() -> Console:
    """The one for results, on stdout."""
    from rich.console import Console

    return Console(highlight=False, emoji=False, markup=False)


@cache
def error_console() -> Console:
    """The one for what is not a result, on stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, emoji=False, markup=False)


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether a stream, stdout if none is given, is a terminal on which more than lines of text can be shown."""
    stream = sys.stdout if stream is None else stream
    return stream is not None and stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def width() -> int:
    """Columns of the terminal."""
    return shutil.get_terminal_size().columns


def show(drawing: Any) -> None:
    """Print what rich draws, to stdout."""
    console().print(drawing, soft_wrap=not is_terminal())


def place() -> int | None:
    """The width of the place that tables have: that of the terminal; None in a pipe."""
    return width() if is_terminal() else None


def run(function: Callable[..., Awaitable[T]], *arguments: Any, uvloop: bool = False) -> T:
    """Call a coroutine function in an event loop of its own. Errors become exit codes where they arrive: in `app`."""
    import anyio

    return anyio.run(function, *arguments, backend_options={"use_uvloop": True} if uvloop else {})


def say(text: str = "", *, style: str = "") -> None:
    """Print a line to stdout, its control characters escaped; `style` is rich's, and for terminals only."""
    text = printable(text)
    if style and is_terminal():
        console().print(text, style=style, soft_wrap=True)
    else:
        print(text)


def note(text: str) -> None:
    """Print a line to stderr that is not a result, its control characters escaped."""
    if sys.stderr is not None:
        print(printable(text), file=sys.stderr)


def print_json(value: Any, *, in_a_line: bool = False) -> None:
    """Print JSON: in ASCII, so that nothing in it reaches the terminal as a command; moments in ISO 8601.

    In a line, it is one of several, and whoever reads them gets it at once.
    """
    print(json.dumps(value, indent=None if in_a_line else 2, default=_as_json), flush=in_a_line)


@contextmanager
def progress(text: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show how far something has come: gives a function to call with how many more are done.

    A bar on stderr where that is a terminal, nothing elsewhere. It is drawn by whoever calls the function: no thread.
    """
    if not is_terminal(sys.stderr):
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    shown = Progress(
        TextColumn(printable(text), markup=False),
        BarColumn(bar_width=None if width() < 60 else 40),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=error_console(),
        auto_refresh=False,
        transient=True,
    )
    task = shown.add_task("", total=total)
    drawn = 0.0

    def step(number: int = 1) -> None:
        nonlocal drawn
        shown.advance(task, number)
        if time.monotonic() - drawn > _REDRAW:
            drawn = time.monotonic()
            shown.refresh()

    with shown:
        yield step
        shown.refresh()


def moment(when: datetime | None) -> str:
    """A moment for people, in the time zone of the machine."""
    return "never" if when is None else f"{when.astimezone():%Y-%m-%d %H:%M:%S %Z}"


def number_of(number: int, noun: str) -> str:
    """A number with its noun: `1 job`, `2 jobs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return repr(value)
