"""Blocking clients with the settings that suit aiorq."""

from __future__ import annotations

from aiorq.store.connection import connect_blocking as connect

__all__ = ["connect"]
