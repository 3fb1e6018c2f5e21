"""The worker, one duty in each file.

`worker` puts them together, `fetch` claims, `wake` waits for work, `run` follows one job, `leases` keeps what runs, and
`state` is what they share.
"""

from __future__ import annotations

from aiorq.worker.options import WorkerOptions
from aiorq.worker.worker import Worker

__all__ = ["Worker", "WorkerOptions"]
