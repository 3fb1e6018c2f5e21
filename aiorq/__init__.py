"""RQ for asyncio: a job queue on Redis or Valkey whose jobs can be timed out, stopped and trusted.

Names are imported when they are first used, so that `import aiorq` costs a worker's processes nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiorq.attempt import Attempt
    from aiorq.callback import Callback
    from aiorq.dependency import Dependency
    from aiorq.group import Group
    from aiorq.job import Job, cancel_job, get_current_job, requeue_job
    from aiorq.options import JobOptions
    from aiorq.queue import Queue
    from aiorq.rate_limit import RateLimit
    from aiorq.result import Result
    from aiorq.retry import Repeat, Retry
    from aiorq.status import JobStatus
    from aiorq.store.connection import connect
    from aiorq.webhook import Webhook
    from aiorq.worker import DequeueStrategy, SimpleWorker, SpawnWorker, Worker, WorkerPool

__version__ = "0.1.0"

_HOMES = {
    "Attempt": "aiorq.attempt",
    "Callback": "aiorq.callback",
    "Dependency": "aiorq.dependency",
    "DequeueStrategy": "aiorq.worker",
    "Group": "aiorq.group",
    "Job": "aiorq.job",
    "JobOptions": "aiorq.options",
    "JobStatus": "aiorq.status",
    "Queue": "aiorq.queue",
    "RateLimit": "aiorq.rate_limit",
    "Repeat": "aiorq.retry",
    "Result": "aiorq.result",
    "Retry": "aiorq.retry",
    "SimpleWorker": "aiorq.worker",
    "SpawnWorker": "aiorq.worker",
    "Webhook": "aiorq.webhook",
    "Worker": "aiorq.worker",
    "WorkerPool": "aiorq.worker",
    "cancel_job": "aiorq.job",
    "connect": "aiorq.store.connection",
    "get_current_job": "aiorq.job",
    "requeue_job": "aiorq.job",
}

__all__ = [
    "Attempt",
    "Callback",
    "Dependency",
    "DequeueStrategy",
    "Group",
    "Job",
    "JobOptions",
    "JobStatus",
    "Queue",
    "RateLimit",
    "Repeat",
    "Result",
    "Retry",
    "SimpleWorker",
    "SpawnWorker",
    "Webhook",
    "Worker",
    "WorkerPool",
    "__version__",
    "cancel_job",
    "connect",
    "get_current_job",
    "requeue_job",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'aiorq' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
