"""Which job runs here: set by whoever runs a job, read by `get_current_job`.

Only raw values are kept, so that a job that never asks costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(slots=True)
class CurrentRun:
    """The run of a job, as the process that runs it was told."""

    job_id: str
    fields: Mapping[bytes, bytes]
    """The job's hash at its claim."""
    execution_id: str
    worker_name: str
    serializer: str | None
    """Name or dotted path; None for one that has none, then pickle."""
    prefix: str
    connection: Mapping[str, Any]
    """How to connect to Redis, should the job want to."""
    handles: dict[str, Any] = field(default_factory=dict)
    """The job objects that were made for this run, by kind, so that asking twice gives the same one."""


current_run: Final[ContextVar[CurrentRun | None]] = ContextVar("aiorq_current_run", default=None)
