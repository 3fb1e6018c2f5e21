"""What a worker is told, checked once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from aiorq.keys import check_queue_name
from aiorq.options import DEFAULT_RESULT_TTL

MAX_CONCURRENCY: Final = 1000
_NAME: Final = re.compile(r"[^\s\x00-\x1f\x7f:]{1,200}")


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerOptions:
    """The settings of one worker."""

    queues: tuple[str, ...]
    """Names, in strict order: a job of the first is always taken first."""
    name: str
    """Unlike that of any other live worker."""
    concurrency: int = 1
    """How many jobs run at a time."""
    lease: float = 15.0
    """Seconds after which the jobs of a worker that is not heard of are taken from it; 1 to 600."""
    worker_ttl: int = 420
    """Seconds without a heartbeat after which the worker counts as dead (RQ); its hash lives a minute longer."""
    default_result_ttl: int = DEFAULT_RESULT_TTL
    """Seconds that a finished job is kept which does not say so itself."""
    preload: tuple[str, ...] = ()
    """Modules that are imported once, before jobs are forked."""
    path: tuple[str, ...] = ()
    """Folders that are searched for modules first."""

    def __post_init__(self) -> None:
        """Check every setting."""
        if not self.queues:
            raise ValueError("a worker needs at least one queue")
        for queue in self.queues:
            check_queue_name(queue)
        if len(set(self.queues)) != len(self.queues):
            raise ValueError(f"a queue is named twice: {', '.join(self.queues)}")
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"bad worker name {self.name!r}: 1 to 200 characters, no spaces, colons or control characters"
            )
        if not 1 <= self.concurrency <= MAX_CONCURRENCY:
            raise ValueError(f"concurrency must be 1 to {MAX_CONCURRENCY}, not {self.concurrency}")
        if not 1 <= self.lease <= 600:  # NaN fails too
            raise ValueError(f"lease must be 1 to 600 seconds, not {self.lease}")
        if self.worker_ttl < 1:
            raise ValueError(f"worker_ttl must be at least 1 second, not {self.worker_ttl}")
        if self.default_result_ttl < -1:
            raise ValueError(f"default_result_ttl must be -1 or more, not {self.default_result_ttl}")


def random_name() -> str:
    """A name that no other worker has."""
    return uuid4().hex


def as_names(value: str | Sequence[str]) -> tuple[str, ...]:
    """One name or several, as a tuple."""
    return (value,) if isinstance(value, str) else tuple(value)
