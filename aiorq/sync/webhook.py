"""Webhooks: as `aiorq.webhook`."""

from __future__ import annotations

from aiorq.webhook import Webhook

__all__ = ["Webhook"]
