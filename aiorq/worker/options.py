"""What a worker is told, checked once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MethodType
from typing import Any, Final, Protocol, TypeAlias, cast
from uuid import uuid4

from aiorq.cron.config import config_name
from aiorq.execution.horse import Hooks
from aiorq.keys import check_queue_name
from aiorq.options import DEFAULT_RESULT_TTL, check_on_lost
from aiorq.serializers import Serializer

MAX_CONCURRENCY: Final = 1000
WORKER_TTL: Final = 420
"""Seconds without a heartbeat after which a worker counts as dead when nothing else is said (RQ)."""
STOP_GRACE: Final = 2.0
"""Seconds that a job has to end by itself when it is stopped and nothing else is said."""
REAP_INTERVAL: Final = 2.0
"""Seconds between two looks for expired leases, at most; half a lease where that is less."""
_NAME: Final = re.compile(r"[^\s\x00-\x1f\x7f:]{1,200}")


class DequeueStrategy(str, Enum):
    """From which of its queues a worker takes the next job."""

    DEFAULT = "default"
    """The first one that has any."""
    ROUND_ROBIN = "round_robin"
    """The one after that which was served last; it goes to the end."""
    RANDOM = "random"
    """Any one, drawn anew each time."""


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
    worker_ttl: int = WORKER_TTL
    """Seconds without a heartbeat after which the worker counts as dead (RQ); its hash lives a minute longer."""
    default_result_ttl: int = DEFAULT_RESULT_TTL
    """Seconds that a finished job is kept which does not say so itself."""
    preload: tuple[str, ...] = ()
    """Modules that are imported once, before jobs are forked."""
    path: tuple[str, ...] = ()
    """Folders that are searched for modules first."""
    reap_interval: float | None = None
    """Seconds between two looks for expired leases; None for 2, or half a lease where that is less."""
    on_lost: str = "fail"
    """What becomes of a job that does not say so itself if its worker is lost while it runs: `fail`, or `requeue`,
    three times at most. One that has not begun always goes back."""
    stop_grace: float = STOP_GRACE
    """Seconds that a job has to end by itself when it is stopped and the request does not say."""
    shutdown_timeout: float | None = None
    """Seconds that jobs may go on after the first request to end; then they are killed and put back. None for ever."""
    max_memory: int = 0
    """Bytes of data that the process of a job may have which does not say so itself; 0 for no limit."""
    hooks: Hooks = field(default_factory=Hooks)
    """What is called around jobs, and when they fail."""
    lists_failures: bool = True
    """Whether jobs that fail are kept in the registry of failed ones."""
    cron: tuple[str, ...] = ()
    """Modules of cron entries that the worker registers; it then looks after all entries."""
    log_job_description: bool = False
    """Whether the log shows the descriptions of jobs, which hold their arguments, and not only their functions."""

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
        if self.reap_interval is not None and not 0.05 <= self.reap_interval <= 600:
            raise ValueError(f"reap_interval must be 0.05 to 600 seconds, not {self.reap_interval}")
        check_on_lost(self.on_lost)
        for config in self.cron:
            config_name(config)
        if not 0 <= self.stop_grace <= 3600:
            raise ValueError(f"stop_grace must be 0 to 3600 seconds, not {self.stop_grace}")
        if self.shutdown_timeout is not None and not 0 <= self.shutdown_timeout <= 86_400:
            raise ValueError(f"shutdown_timeout must be 0 to 86400 seconds, not {self.shutdown_timeout}")
        if self.max_memory < 0:
            raise ValueError(f"max_memory must be a number of bytes, not {self.max_memory}")
        if self.worker_ttl < 1:
            raise ValueError(f"worker_ttl must be at least 1 second, not {self.worker_ttl}")
        if self.default_result_ttl < -1:
            raise ValueError(f"default_result_ttl must be -1 or more, not {self.default_result_ttl}")

    @property
    def requeues_lost(self) -> bool:
        """Whether jobs that do not say so themselves are put back if this worker is lost."""
        return self.on_lost == "requeue"

    @property
    def seconds_between_reaps(self) -> float:
        """How often expired leases are looked for."""
        return min(REAP_INTERVAL, self.lease / 2) if self.reap_interval is None else self.reap_interval


def random_name() -> str:
    """A name that no other worker has."""
    return uuid4().hex


class NamedQueue(Protocol):
    """A queue of either API, as far as a worker knows it."""

    name: str
    serializer: Serializer
    _connection: Any
    _prefix: str | None


AnyQueue: TypeAlias = NamedQueue | str
"""A queue object, or the name of a queue."""


def as_queues(value: AnyQueue | Iterable[AnyQueue]) -> list[AnyQueue]:
    """One queue or several, as a list.

    Raises:
        TypeError: something else.
    """
    alone = isinstance(value, str) or not isinstance(value, Iterable) or hasattr(value, "serializer")
    queues = cast("list[AnyQueue]", [value] if alone else list(cast("Iterable[AnyQueue]", value)))
    for queue in queues:
        if not (isinstance(queue, str) or (hasattr(queue, "name") and hasattr(queue, "serializer"))):
            raise TypeError(f"queues: {type(queue).__name__} is neither a queue nor the name of one")
    return queues


def as_names(value: str | Sequence[str]) -> tuple[str, ...]:
    """One name or several, as a tuple."""
    return (value,) if isinstance(value, str) else tuple(value)


def hook_name(hook: Callable[..., Any] | str | None, option: str) -> str:
    """The dotted name by which a hook is found where jobs run; empty for None.

    Args:
        hook: a function at the top level of a module, or of a class there, or its dotted name.
        option: what it is for, for the error.

    Raises:
        TypeError: it is no function.
        ValueError: it has no such name.
    """
    if hook is None:
        return ""
    if isinstance(hook, str):
        if not all(part.isidentifier() for part in hook.split(".")):
            raise ValueError(f"{option}: {hook!r} is not the dotted name of a function")
        return hook
    module, name = getattr(hook, "__module__", ""), getattr(hook, "__qualname__", "")
    if not (module and name):
        raise TypeError(f"{option} must be a function or its dotted name, not {hook!r}")
    if "<" in name or (isinstance(hook, MethodType) and not isinstance(hook.__self__, type)):
        raise ValueError(
            f"{option}: {hook!r} has no name by which the processes that run jobs could find it; "
            f"use a function at the top level of a module"
        )
    return f"{module}.{name}"


def as_strategy(strategy: DequeueStrategy | str | None) -> DequeueStrategy:
    """A strategy, or the one of that name; None for the default.

    Raises:
        ValueError: there is none of that name.
    """
    try:
        return DequeueStrategy.DEFAULT if strategy is None else DequeueStrategy(strategy)
    except ValueError:
        known = ", ".join(repr(member.value) for member in DequeueStrategy)
        raise ValueError(f"dequeue_strategy must be one of {known}, not {strategy!r}") from None
