"""Several workers: RQ's place for `WorkerPool`."""

from __future__ import annotations

from aiorq.sync.worker import WorkerPool

__all__ = ["WorkerPool"]
