"""The API of aiorq without `await`, with RQ's names, properties and operators.

    from redis import Redis
    from aiorq.sync import Queue

    queue = Queue(connection=Redis())
    job = queue.enqueue(len, [1, 2, 3])

`from rq.X import Y` becomes `from aiorq.sync.X import Y`, and a script needs no other change. Nothing here starts a
thread or an event loop: a call sends what it has to send over the blocking client that it was given, and waits.

Most modules are made of the async ones (`tests/sync/generate.py`), so that they cannot drift apart. Written by hand are
`operators`, what only a blocking API can have; `worker` and `cron`, which start the async ones in an event loop of
their own; and modules that only bear RQ's names.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiorq import __version__
    from aiorq.attempt import Attempt
    from aiorq.callback import Callback
    from aiorq.dependency import Dependency
    from aiorq.options import JobOptions
    from aiorq.rate_limit import RateLimit
    from aiorq.retry import Repeat, Retry
    from aiorq.status import JobStatus
    from aiorq.store.connection import connect_blocking as connect
    from aiorq.sync.group import Group
    from aiorq.sync.job import Job, cancel_job, get_current_job, requeue_job
    from aiorq.sync.queue import Queue
    from aiorq.sync.results import Result
    from aiorq.sync.worker import DequeueStrategy, SimpleWorker, SpawnWorker, Worker, WorkerPool
    from aiorq.webhook import Webhook

_HOMES = {
    "Attempt": "aiorq.attempt",
    "Callback": "aiorq.callback",
    "Dependency": "aiorq.dependency",
    "DequeueStrategy": "aiorq.sync.worker",
    "Group": "aiorq.sync.group",
    "Job": "aiorq.sync.job",
    "JobOptions": "aiorq.options",
    "JobStatus": "aiorq.status",
    "Queue": "aiorq.sync.queue",
    "RateLimit": "aiorq.rate_limit",
    "Repeat": "aiorq.retry",
    "Result": "aiorq.sync.results",
    "Retry": "aiorq.retry",
    "SimpleWorker": "aiorq.sync.worker",
    "SpawnWorker": "aiorq.sync.worker",
    "Webhook": "aiorq.webhook",
    "Worker": "aiorq.sync.worker",
    "WorkerPool": "aiorq.sync.worker",
    "__version__": "aiorq",
    "cancel_job": "aiorq.sync.job",
    "connect": "aiorq.sync.connections",
    "get_current_job": "aiorq.sync.job",
    "requeue_job": "aiorq.sync.job",
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
        raise AttributeError(f"module 'aiorq.sync' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
