"""RQ for asyncio: a job queue on Redis or Valkey whose jobs can be timed out, stopped and trusted.

Names are imported when they are first used, so that `import aiorq` costs a worker's processes nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiorq.job import Job, get_current_job
    from aiorq.options import JobOptions
    from aiorq.queue import Queue
    from aiorq.result import Result
    from aiorq.status import JobStatus
    from aiorq.store.connection import connect
    from aiorq.worker import Worker

__version__ = "0.1.0"

_HOMES = {
    "Job": "aiorq.job",
    "JobOptions": "aiorq.options",
    "JobStatus": "aiorq.status",
    "Queue": "aiorq.queue",
    "Result": "aiorq.result",
    "Worker": "aiorq.worker",
    "connect": "aiorq.store.connection",
    "get_current_job": "aiorq.job",
}

__all__ = [
    "Job",
    "JobOptions",
    "JobStatus",
    "Queue",
    "Result",
    "Worker",
    "__version__",
    "connect",
    "get_current_job",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'aiorq' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
