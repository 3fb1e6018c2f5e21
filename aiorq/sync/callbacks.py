"""Callbacks: RQ's name for `aiorq.callback`."""

from __future__ import annotations

from aiorq.callback import Callback

__all__ = ["Callback"]
