"""The Lua scripts: one file, one object and one name for each change of state.

A file under `lua/` opens with `#!lua` and its flags, says in its header what it does, its KEYS and ARGV, what it
returns and from which state to which it moves a job, and pulls in shared pieces from `lua/lib/` with lines
`-- @include name`. The pieces are put in here, once, when the script is first asked for, without the functions that it
does not use.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Final

_WORD: Final = re.compile(r"\w+")
_FUNCTION: Final = re.compile(r"^local function (\w+)\((?:.*\bend|.*\n(?:(?:[ \t].*)?\n)*end)\n", re.MULTILINE)
_INCLUDE: Final = re.compile(r"^-- @include (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A script as the server gets it."""

    name: str
    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        """Compute the name by which the server knows the script."""
        object.__setattr__(self, "sha", hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest())


@cache
def load(name: str, clock: str = "clock") -> Script:
    """Read `lua/<name>.lua` with its pieces put in.

    Args:
        name: the script.
        clock: the piece that stands for `clock`; tests that move the time give `clock_virtual`.

    Raises:
        FileNotFoundError: there is no such script or piece.
    """
    folder = files("aiorq").joinpath("lua")
    source = folder.joinpath(f"{name}.lua").read_text(encoding="utf-8")

    def piece(match: re.Match[str]) -> str:
        wanted = clock if match[1] == "clock" else match[1]
        return folder.joinpath("lib", f"{wanted}.lua").read_text(encoding="utf-8").rstrip()

    return Script(name, _without_unused(_INCLUDE.sub(piece, source)))


def _without_unused(source: str) -> str:
    """Leave out the functions that a script does not use: Lua makes each of them anew at every call, 0.5 us apiece."""
    words = Counter(_WORD.findall(source))
    kept = [(function[1], function[0], Counter(_WORD.findall(function[0]))) for function in _FUNCTION.finditer(source)]
    unused = True
    while unused:
        unused = [entry for entry in kept if words[entry[0]] == entry[2][entry[0]]]
        for entry in unused:  # what it used may be unused then
            kept.remove(entry)
            words -= entry[2]
            source = source.replace(entry[1], "", 1)
    return source


def names() -> list[str]:
    """The names of all scripts, sorted."""
    entries = files("aiorq").joinpath("lua").iterdir()
    return sorted(entry.name.removesuffix(".lua") for entry in entries if entry.name.endswith(".lua"))
