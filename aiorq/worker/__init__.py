"""The worker, one duty in each file.

`worker` puts them together, `fetch` claims, `wake` waits for work, `run` gives each job its turn, `outcomes` records
how it ended, `leases` keeps what runs, `reap` looks after what others left, `commands` obeys, and `state` is what they
share.
"""

from __future__ import annotations

from aiorq.worker.options import WorkerOptions
from aiorq.worker.worker import Worker

__all__ = ["Worker", "WorkerOptions"]
