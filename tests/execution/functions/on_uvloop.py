"""A module that puts coroutines on another event loop."""

from __future__ import annotations

import asyncio

import uvloop
from stopping import clean_up  # type: ignore[import-not-found]

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

__all__ = ["clean_up"]
