"""What commands print: lines, tables, JSON, progress.

On a terminal tables have rules and fit its width, or as near as a name can be cut; into a pipe they are plain text, a
line for each row and columns apart by two spaces, whole. What came out of Redis goes through `printable`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TextIO, TypeVar

from aiorq.cli.mistakes import printable

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
_REDRAW: Final = 0.1
"""Seconds between two drawings of a progress bar."""


class Column(NamedTuple):
    """A column of a table."""

    name: str
    right: bool = False
    """Whether it holds numbers, which are aligned at the right."""
    keep: bool = False
    """Whether it is kept whole where the terminal is narrow, and others are cut."""
    style: str = ""


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


def table(columns: Sequence[Column | str], rows: Sequence[Sequence[object]], *, title: str = "") -> None:
    """Print a table; None is shown as `-`, control characters are escaped."""
    described = [column if isinstance(column, Column) else Column(column) for column in columns]
    cells = [["-" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    if is_terminal():
        console().print(rich_table(described, cells, title))
    else:
        _plain(described, cells, title)


def rich_table(columns: Sequence[Column], cells: Sequence[Sequence[str]], title: str = "") -> Any:
    """A table of rich's, for whoever draws it himself, of cells in which control characters are escaped."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, title=title or None, title_justify="left")
    made.title_style = "bold"
    for column in columns:
        made.add_column(
            column.name,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="fold" if column.keep else "ellipsis",
            min_width=max((len(row[len(made.columns)]) for row in cells), default=0) if column.keep else None,
        )
    for row in cells:
        made.add_row(*(Text(cell, style=column.style) for cell, column in zip(row, columns, strict=True)))
    return made


def _plain(columns: Sequence[Column], cells: Sequence[Sequence[str]], title: str) -> None:
    if title:
        print(title)
    rows = [[column.name for column in columns], *cells]
    widths = [max(len(row[number]) for row in rows) for number in range(len(columns))]
    for row in rows:
        shown = (
            cell.rjust(size) if column.right else cell.ljust(size)
            for cell, size, column in zip(row, widths, columns, strict=True)
        )
        print("  ".join(shown).rstrip())


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
