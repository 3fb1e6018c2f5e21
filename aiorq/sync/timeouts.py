"""What is raised in a job that runs too long. What enforces it in RQ has no counterpart: the worker's process does."""

from __future__ import annotations

from aiorq.errors import JobTimeoutException

__all__ = [
    "JobTimeoutException",
]
