"""Tables that fit: columns apart by two spaces, of which those that matter least go when a terminal is narrow.

A column that may shrink gives way first, with an ellipsis at the end of its cells; then whole columns are left out, the
least important ones first. The first column always stays, and keeps a third of the width if it needs it. Notes are a
last column where there is room, and otherwise stand below their rows over the whole width. Without a width, as in a
pipe, nothing is cut and nothing left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from aiorq.cli.mistakes import printable

_GAP: Final = 2
_INDENT: Final = 4
_ROOM: Final = 40
"""Columns for notes, below which they stand under their rows."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    right: bool = False
    """Whether it is aligned to the right, as numbers are."""
    keep: int = 0
    """Columns with the lowest number are left out first."""
    least: int | None = None
    """The narrowest that it may become; None where its cells must not be cut."""


class Grid:
    """Rows of cells under columns; a renderable of rich's."""

    def __init__(self, *columns: Column, width: int | None = None, notes: str = "Note") -> None:
        """Begin a table.

        Args:
            columns: from left to right.
            width: of the place for it; None for as much as it takes.
            notes: the title of the notes, where they are a column.
        """
        self._columns = columns
        self._width = width
        self._notes = notes
        self._rows: list[tuple[list[Text], Text | None]] = []

    def add(self, *cells: Text | str, note: Text | str | None = None) -> None:
        """Add a row, whose texts may come from anywhere: control characters in them are escaped."""
        if len(cells) != len(self._columns):
            raise TypeError(f"a row has {len(self._columns)} cells, not {len(cells)}")
        self._rows.append(([_cell(cell) for cell in cells], None if note is None else _cell(note)))

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        yield from self.lines(ascii_only=options.ascii_only)

    def lines(self, *, ascii_only: bool = False) -> Iterator[Text]:
        """The table line by line, its titles first."""
        widths = self._widths()
        shown = [index for index, width in enumerate(widths) if width]
        ellipsis, rule = ("~", "-") if ascii_only else ("…", "─")
        beside = self._room_beside(sum(widths) + _GAP * len(shown))
        heads = [([Text(column.title, style="bold") for column in self._columns], Text(self._notes, style="bold"))]
        if self._width is not None:
            heads.append(([Text(rule * width, style="dim") for width in widths], Text(rule * beside, style="dim")))
        for number, (cells, note) in enumerate([*heads, *self._rows]):
            line = Text(no_wrap=True, overflow="ignore")
            for index in shown:
                cell = _fit(cells[index], widths[index], ellipsis)
                rest = " " * (widths[index] - cell_len(cell.plain))
                line.append_text(Text(rest) + cell if self._columns[index].right else cell + rest)
                line.append(" " * _GAP)
            if beside and note is not None:
                line.append_text(_fit(note, beside, ellipsis))
            line.rstrip()
            yield line
            if not beside and note is not None and number >= len(heads):
                below = Text(" " * _INDENT, no_wrap=True, overflow="ignore")
                yield below.append_text(_fit(note, max(1, (self._width or 0) - _INDENT), ellipsis))

    def _room_beside(self, taken: int) -> int:
        """How wide the column of the notes is; 0 where there is no room for it."""
        longest = max((cell_len(note.plain) for _, note in self._rows if note is not None), default=0)
        if longest == 0:
            return 0
        longest = max(longest, len(self._notes))
        room = longest if self._width is None else self._width - taken
        return min(longest, room) if room >= min(longest, _ROOM) else 0

    def _widths(self) -> list[int]:
        """How wide each column is; 0 for one that is left out."""
        wanted = [
            max([cell_len(column.title), *(cell_len(cells[index].plain) for cells, _ in self._rows)])
            for index, column in enumerate(self._columns)
        ]
        if self._width is None:
            return wanted
        order = sorted(range(1, len(wanted)), key=lambda index: (self._columns[index].keep, -index))
        shown = list(range(len(wanted)))
        while True:
            widths = self._shrunk(wanted, shown, self._width)
            if widths is not None:
                return widths
            if len(shown) == 1:
                return [min(wanted[0], self._width), *[0] * (len(wanted) - 1)]
            shown.remove(order.pop(0))

    def _shrunk(self, wanted: Sequence[int], shown: Sequence[int], room: int) -> list[int] | None:
        """The widths with some columns alone; None where these do not fit however much they shrink."""
        widths = [width if index in shown else 0 for index, width in enumerate(wanted)]
        least = [column.least or width for column, width in zip(self._columns, widths, strict=True)]
        if self._columns[0].least is not None:
            least[0] = max(least[0], room // 3)
        over = sum(widths) + _GAP * (sum(map(bool, widths)) - 1) - room
        while over > 0:
            able = [index for index in shown if widths[index] > least[index]]
            if not able:
                return None
            widest = max(able, key=lambda index: widths[index])
            widths[widest] -= 1
            over -= 1
        return widths


def _cell(cell: Text | str) -> Text:
    if isinstance(cell, str):
        return Text(printable(cell))
    if cell.plain.isprintable():
        return cell
    return Text(printable(cell.plain), style=cell.style)


def _fit(cell: Text, width: int, ellipsis: str) -> Text:
    if cell_len(cell.plain) <= width:
        return cell
    cut = cell.copy()
    cut.truncate(max(0, width - 1), overflow="crop")
    cut.append(ellipsis)
    return cut


def bar(value: int, most: int, width: int, *, ascii_only: bool = False) -> str:
    """A bar for a value of `most`, `width` characters long at most; anything above 0 shows."""
    if value <= 0 or most <= 0:
        return ""
    eighths = max(1, round(8 * width * min(value, most) / most))
    if ascii_only:
        return "#" * max(1, round(eighths / 8))
    whole, part = divmod(eighths, 8)
    return "█" * whole + (" ▏▎▍▌▋▊▉"[part] if part else "")


def duration(seconds: float | None) -> str:
    """A duration in few characters: `12ms`, `0.8s`, `45s`, `3m20s`, `2h05m`, `4d03h`; `-` for none."""
    if seconds is None:
        return "-"
    if seconds < 0.1:
        return f"{1000 * seconds:.0f}ms"
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    for size, smaller, units in ((3600, 60, "ms"), (86_400, 3600, "hm")):
        if whole < size:
            return f"{whole // smaller}{units[0]}{whole % smaller // (smaller // 60):02}{units[1]}"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02}h"
