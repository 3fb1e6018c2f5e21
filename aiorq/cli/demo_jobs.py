"""The functions that `aiorq demo` runs: plain functions, as any project has them."""

from __future__ import annotations

import ast
import os
import signal
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypedDict

_KEPT: Final = 50


class Count(TypedDict):
    """What is in a file."""

    lines: int
    words: int
    names: dict[str, int]
    """The most frequent names with their numbers."""


def count(path: str) -> Count:
    """Count the lines, words and names (variables, attributes, functions, classes, parameters) of a Python file."""
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    names = Counter(_names(text))
    return Count(lines=text.count("\n"), words=len(text.split()), names=dict(names.most_common(_KEPT)))


def _names(source: str) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the file's own, such as invalid escapes
            tree = ast.parse(source)
    except (SyntaxError, ValueError):  # the standard library's tests have files that are wrong on purpose
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name


def overrun() -> None:
    """Go on for longer than any timeout of the demo."""
    time.sleep(3600)


def kill_itself() -> None:
    """End the process that runs this, as a crash in a C library would."""
    os.kill(os.getpid(), signal.SIGKILL)
