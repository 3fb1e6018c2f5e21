"""Rate limits: `aiorq.rate_limit`, and their registry, which RQ has here."""

from __future__ import annotations

from aiorq.rate_limit import RateLimit
from aiorq.sync.registry import RateLimitRegistry

__all__ = ["RateLimit", "RateLimitRegistry"]
