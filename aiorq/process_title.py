"""The titles of aiorq's processes, as `ps` and `top` show them: with setproctitle installed (`aiorq[titles]`) only.

They also keep the command line from sight, with what a `--url` in it may hold.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib.machinery import PathFinder
from typing import Any


def _find() -> Callable[[str], Any] | None:
    # The extension alone: the package around it imports logging, which every horse would pay for.
    package = importlib.util.find_spec("setproctitle")
    folders = None if package is None else package.submodule_search_locations
    spec = PathFinder.find_spec("_setproctitle", folders) if folders else None
    if spec is None or spec.loader is None:
        return None
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError:  # of another Python
        return None
    found: Callable[[str], Any] = module.setproctitle
    return found


set_title = _find()
"""Sets the title of this process; None where setproctitle is not installed."""


def show_title(text: str) -> None:
    """Set the title of this process to `aiorq: ` and the text, if that can be done."""
    if set_title is not None:
        set_title(f"aiorq: {text}")
