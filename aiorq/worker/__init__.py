"""The worker, one duty in each file.

`worker` puts them together, `fetch` claims, `wake` waits for work, `run` gives each job its turn, `outcomes` records
how it ended, `errands` does what is left to do then, `leases` keeps what runs, `reap` looks after what others left,
`commands` obeys, and `state` is what they share. `simple` is a worker without processes, `pool` several in one.
"""

from __future__ import annotations

from aiorq.worker.options import DequeueStrategy, WorkerOptions
from aiorq.worker.pool import WorkerPool
from aiorq.worker.simple import SimpleWorker
from aiorq.worker.worker import SpawnWorker, Worker
from aiorq.worker_info import WorkerInfo, WorkerStatus

__all__ = [
    "DequeueStrategy",
    "SimpleWorker",
    "SpawnWorker",
    "Worker",
    "WorkerInfo",
    "WorkerOptions",
    "WorkerPool",
    "WorkerStatus",
]
