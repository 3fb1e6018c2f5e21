"""Config files: TOML, or a Python module as RQ has it.

TOML has lower-case keys, at the top or, where there is such a table, in `[tool.aiorq]`:

    redis_url = "redis://redis.internal:6379/0"
    queues = ["high", "default"]
    concurrency = 4

A Python module has RQ's upper-case names (`REDIS_URL`, `QUEUES`, ...), and every setting under the name of its
environment variable (`AIORQ_CONCURRENCY`). Other names in it are none of ours.
"""

from __future__ import annotations

import importlib
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from aiorq.cli.mistakes import Mistake

REDIS: Final = (
    "redis_host",
    "redis_port",
    "redis_db",
    "redis_password",
    "redis_ssl",
    "redis_ssl_ca_certs",
    "redis_ssl_cert_reqs",
    "redis_ssl_ca_data",
    "redis_ssl_keyfile",
    "redis_ssl_certfile",
)
"""Where Redis is, in parts, which count where no URL is given."""
OF_RQ: Final = ("redis_url", *REDIS, "sentinel", "queues", "name", "dict_config")
"""What RQ reads from a Python module, there in upper case."""
OPTIONS: Final = (
    "key_prefix",
    "worker_class",
    "job_class",
    "queue_class",
    "connection_class",
    "path",
    "serializer",
    "log_level",
    "log_format",
    "date_format",
    "verbose",
    "quiet",
    "burst",
    "concurrency",
    "preload",
    "with_scheduler",
    "dequeue_strategy",
    "max_jobs",
    "max_idle_time",
    "results_ttl",
    "worker_ttl",
    "lease",
    "reap_interval",
    "on_lost",
    "stop_grace",
    "shutdown_timeout",
    "max_memory",
    "cron",
    "exception_handlers",
    "disable_default_exception_handler",
    "log_job_description",
    "disable_job_desc_logging",
    "maintenance_interval",
    "job_monitoring_interval",
    "pid",
    "num_workers",
)
KEYS: Final = frozenset({*OF_RQ, *OPTIONS})


@dataclass(frozen=True)
class Config:
    """What a config file says."""

    path: str
    """As it was given."""
    values: Mapping[str, Any]
    """By lower-case keys, those of `KEYS` only."""


def read_config(path: str, folders: Sequence[str] = (".",)) -> Config:
    """Read a config file.

    Args:
        path: of a TOML file (ending in `.toml`), of a Python file (`.py`), or the dotted name of a Python module.
        folders: where Python modules are looked for too, after all other places.

    Raises:
        Mistake: it cannot be read, or has a key that means nothing; the text names the file and the key.
    """
    return Config(path, _from_toml(path) if path.endswith(".toml") else _from_module(path, folders))


def _from_toml(path: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise Mistake(f"the config file {path} cannot be read: {error.strerror}") from None
    except ValueError as error:  # no UTF-8, or no TOML
        raise Mistake(f"the config file {path} is not TOML: {error}") from None
    table = document
    for name in ("tool", "aiorq"):
        if isinstance(table.get(name), dict):
            table = table[name]
        elif Path(path).name == "pyproject.toml":
            raise Mistake(f"the config file {path} has no table [tool.aiorq]")
    for key in table:
        if key not in KEYS:
            near = get_close_matches(key, KEYS, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise Mistake(f"the config file {path} has the key {key!r}, which means nothing{hint}")
    return table


def _from_module(path: str, folders: Sequence[str]) -> dict[str, Any]:
    add_to_path(folders)
    try:
        if path.endswith(".py"):
            text = Path(path).expanduser().read_bytes()
            names: dict[str, Any] = {"__name__": "aiorq_config", "__file__": path}
            exec(compile(text, path, "exec"), names)  # noqa: S102 - a file of the user's, as modules are
        else:
            names = vars(importlib.import_module(path))
    except OSError as error:
        raise Mistake(f"the config file {path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # noqa: BLE001 - it is the user's code
        raise Mistake(f"the config module {path} cannot be imported: {type(error).__name__}: {error}") from None
    values = {key: names[key.upper()] for key in OF_RQ if names.get(key.upper()) is not None}
    prefix = "AIORQ_"
    ours = {name.removeprefix(prefix).lower(): value for name, value in names.items() if name.startswith(prefix)}
    for key in ours:
        if key not in KEYS:
            near = get_close_matches(key, KEYS, 1)
            hint = f"; did you mean {prefix}{near[0].upper()}?" if near else ""
            raise Mistake(f"the config module {path} has {prefix}{key.upper()}, which means nothing{hint}")
    return {**values, **{key: value for key, value in ours.items() if value is not None}}


def add_to_path(folders: Sequence[str]) -> None:
    """Have Python look for modules in these folders too, after all other places, as RQ does."""
    for folder in map(os.path.abspath, folders):
        if folder not in sys.path:
            sys.path.append(folder)
