"""Modules that register cron entries: calls of `cron.register` in a module that a scheduler or a worker loads."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Final

from aiorq.cron.entry import CronEntry
from aiorq.errors import AiorqError, CronConfigError

_registered: list[CronEntry] = []
_FILE_MODULE: Final = "aiorq_cron_config_"


def add_registered(job: CronEntry) -> None:
    """Keep an entry for whoever loads the module that registers it.

    Raises:
        ValueError: its function is one that no worker could import.
    """
    if job.func is not None and str(getattr(job.func, "__module__", "")).startswith(_FILE_MODULE):
        raise ValueError(
            f"func: {job.func_name!r} is defined in a file that was given by its path, where no worker could import it;"
            " move it to a module"
        )
    _registered.append(job)


def take_registered() -> list[CronEntry]:
    """The entries that were registered since this was last asked."""
    taken = _registered[:]
    _registered.clear()
    return taken


def config_name(config: str) -> str:
    """What a config is known as: the absolute path of a file, or the dotted name of a module (RQ's rule).

    Raises:
        ValueError: it is neither.
    """
    if os.path.isabs(config):
        return os.path.normpath(config)
    name = config.removesuffix(".py") if os.sep in config or config.endswith(".py") else config
    name = os.path.normpath(name).replace(os.sep, ".") if os.sep in name else name
    if not name or not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"{config!r} is neither the dotted name of a module nor the path of a file below this folder")
    return name


def load_config(config: str) -> list[CronEntry]:
    """Import a module and take the entries that it registers.

    Args:
        config: dotted name; path of a file below a folder that modules are found in; or absolute path.

    Raises:
        CronConfigError: it cannot be imported; the text says why. One of its entries may be wrong.
    """
    take_registered()
    try:
        name = config_name(config)
        if os.path.isabs(name):
            _run_file(name)
        elif name in sys.modules:
            importlib.reload(sys.modules[name])
        else:
            importlib.import_module(name)
        jobs = _with_names(take_registered(), name)
    except Exception as error:
        take_registered()
        kind = "" if isinstance(error, (ImportError, AiorqError)) else f"{type(error).__name__}: "
        raise CronConfigError(f"the cron config {config!r} cannot be loaded: {kind}{error}") from error
    return jobs


def _run_file(path: str) -> None:
    name = _FILE_MODULE + "".join(letter if letter.isalnum() else "_" for letter in Path(path).stem)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except FileNotFoundError:
        raise ImportError(f"there is no file {path}") from None
    finally:
        del sys.modules[name]


def _with_names(jobs: list[CronEntry], source: str) -> list[CronEntry]:
    """The same entries, as of that module. A function that is registered twice without a name gets a number."""
    names: set[str] = {job.name for job in jobs if job.has_own_name}
    if len(names) != sum(job.has_own_name for job in jobs):
        twice = next(name for name in names if sum(job.has_own_name and job.name == name for job in jobs) > 1)
        raise ValueError(f"name: {twice!r} is registered twice")
    for job in jobs:
        name, number = job.name, 1
        while not job.has_own_name and name in names:
            number += 1
            name = f"{job.name}#{number}"
        names.add(name)
        job.rename(name, source)
    return jobs
