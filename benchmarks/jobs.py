"""What the jobs do."""

import time


def nothing() -> None:
    """Cost nothing, so that what is measured is the queue."""


def moment(*_: object) -> float:
    """When it ran, in seconds since 1970."""
    return time.time()
