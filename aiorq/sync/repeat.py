"""Repetitions: RQ's name for a part of `aiorq.retry`."""

from __future__ import annotations

from aiorq.retry import Repeat

__all__ = ["Repeat"]
