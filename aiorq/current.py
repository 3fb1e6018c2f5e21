"""Which job runs here: set by whoever runs a job, read by `get_current_job`.

Only raw values are kept, so that a job that never asks costs nothing. (Plain classes: the process that forks is kept
small.)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final


class CurrentRun:
    """The run of a job, as the process that runs it was told."""

    __slots__ = (
        "connection",
        "execution_id",
        "fields",
        "handles",
        "job_class",
        "job_id",
        "prefix",
        "serializer",
        "worker_name",
    )

    def __init__(
        self,
        *,
        job_id: str,
        fields: Mapping[bytes, bytes],
        execution_id: str,
        worker_name: str,
        serializer: str | None,
        prefix: str,
        connection: Mapping[str, Any],
        job_class: str = "",
    ) -> None:
        """Describe a run.

        Args:
            job_id: its job.
            fields: the job's hash as it was at its claim.
            execution_id: the run's token.
            worker_name: who runs it.
            serializer: name or dotted path; None for pickle.
            prefix: of all keys.
            connection: how to connect to Redis, should the job want to (`store.connection.describe`).
            job_class: the dotted name of the class of its job objects; empty for `aiorq.Job`.
        """
        self.job_id = job_id
        self.fields = fields
        self.execution_id = execution_id
        self.worker_name = worker_name
        self.serializer = serializer
        self.prefix = prefix
        self.connection = connection
        self.job_class = job_class
        self.handles: dict[object, Any] = {}
        """The job objects that were made for this run, by kind, so that asking twice gives the same one."""

    def keep(self, kind: object, job: Any) -> None:
        """Note a job object. All of a run have one `meta`, so that what is put into it by way of one is in all."""
        for other in self.handles.values():
            job.meta = other.meta
            break
        self.handles[kind] = job


def here_in_loop() -> object:
    """What tells the job object of the async API apart that is to be used here: each event loop has its own."""
    events = sys.modules.get("asyncio.events")  # where nobody has imported it no event loop runs
    return "async", None if events is None else events._get_running_loop()


def here_in_process() -> object:
    """What tells the job object of the blocking API apart: there is one."""
    return "sync"


current_run: Final[ContextVar[Callable[[], CurrentRun] | None]] = ContextVar("aiorq_current_run", default=None)
"""Gives the run, and the same one each time; None outside of one."""
