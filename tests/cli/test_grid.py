"""Tables that fit any width."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from rich.text import Text

from aiorq.cli.grid import Column, Grid, bar, duration


def drawn(width: int | None, *, ascii_only: bool = False, note: str | None = None) -> list[str]:
    grid = Grid(
        Column("Name", least=6),
        Column("Count", right=True, keep=2),
        Column("Function", keep=1, least=5),
        Column("Host", keep=0),
        width=width,
    )
    grid.add("a-rather-long-name", "7", "shop.orders.send", "host-1", note=note)
    grid.add("b", "1000", "x", "h")
    return [line.plain for line in grid.lines(ascii_only=ascii_only)]


def test_without_a_width_all_is_there() -> None:
    assert drawn(None) == [
        "Name                Count  Function          Host",
        "a-rather-long-name      7  shop.orders.send  host-1",
        "b                    1000  x                 h",
    ]


def test_rules_on_a_terminal() -> None:
    assert drawn(80)[1] == "──────────────────  ─────  ────────────────  ──────"
    assert drawn(80, ascii_only=True)[1] == "------------------  -----  ----------------  ------"


def test_columns_shrink_first_and_then_go() -> None:
    titles = {width: drawn(width)[0].split() for width in range(1, 60)}
    everything = ["Name", "Count", "Function", "Host"]
    # The name may keep a third of the width, the function five columns: 10 + 5 + 5 + 6, and the gaps.
    assert titles[51] == everything
    assert titles[32] == ["Name", "Count", "Func…", "Host"]
    assert titles[31] == ["Name", "Count", "Function"]
    assert titles[16] == ["Name", "Count"]
    assert titles[10] == ["Name"]
    counts = [len(titles[width]) for width in range(10, 60)]
    assert counts == sorted(counts)


@pytest.mark.parametrize("width", range(1, 70))
@pytest.mark.parametrize("note", [None, "a note about what is wrong with it, which is rather long"])
def test_no_line_is_wider_than_the_place(width: int, note: str | None) -> None:
    wide = drawn(width, note=note)
    assert all(cell_len(line) <= max(width, 5) for line in wide)


def test_cut_cells_end_in_an_ellipsis() -> None:
    row = drawn(36)[2]
    assert "…" in row
    assert "~" in drawn(36, ascii_only=True)[2]
    assert drawn(36, ascii_only=True)[2].isascii()


def test_notes_stand_beside_or_below() -> None:
    note = "wrong, in some way or other, and more of that"
    assert drawn(None, note=note)[1].endswith(f"host-1  {note}")
    assert drawn(None, note=note)[0].endswith("Note")
    assert drawn(100, note=note)[2].endswith(f"  {note}")
    assert drawn(60, note=note)[3] == f"    {note}"
    assert "Note" not in drawn(60, note=note)[0]


def test_wide_characters_and_control_characters() -> None:
    grid = Grid(Column("Name", least=4), Column("N", right=True), width=12)
    grid.add("北京北京北京", "1")
    grid.add(Text("a\x1b[31m\n", style="red"), "2")
    lines = [line.plain for line in grid.lines()]
    assert all(cell_len(line) <= 12 for line in lines)
    assert "\x1b" not in "".join(lines)
    assert lines[3].startswith(r"a\x1b[31")


def test_a_row_has_a_cell_for_each_column() -> None:
    grid = Grid(Column("a"), Column("b"))
    with pytest.raises(TypeError, match="2 cells, not 1"):
        grid.add("x")
    assert len(grid) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0ms"),
        (0.0123, "12ms"),
        (0.75, "0.8s"),
        (9.94, "9.9s"),
        (45.9, "45s"),
        (59.99, "59s"),
        (60, "1m00s"),
        (200, "3m20s"),
        (3599, "59m59s"),
        (7500, "2h05m"),
        (86_399, "23h59m"),
        (356_400, "4d03h"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_bar() -> None:
    assert bar(0, 20, 8) == bar(5, 0, 8) == ""
    assert bar(20, 20, 8) == bar(30, 20, 8) == "████████"
    assert bar(10, 20, 8) == "████"
    assert bar(1, 1000, 8) == "▏"
    assert bar(1, 1000, 8, ascii_only=True) == "#"
    assert bar(10, 20, 8, ascii_only=True) == "####"
