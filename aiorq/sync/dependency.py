"""What a job waits for: as `aiorq.dependency`."""

from __future__ import annotations

from aiorq.dependency import Dependency

__all__ = ["Dependency"]
