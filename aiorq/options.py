"""What a caller may say about a job, checked once and then unchanging."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from aiorq.callback import AnyCallback, Callback, as_callback
from aiorq.dependency import DependsOn, Waits, read_depends_on
from aiorq.errors import DependencyCycleError
from aiorq.keys import check_job_id
from aiorq.rate_limit import RateLimit
from aiorq.retry import Repeat, Retry
from aiorq.seconds import Duration, parse_kept, parse_timeout, parse_ttl
from aiorq.webhook import Webhook

DEFAULT_TIMEOUT: Final = 180
"""Seconds that a job may run when nothing else is said (RQ)."""
DEFAULT_RESULT_TTL: Final = 500
"""Seconds that a finished job and its result are kept when nothing else is said (RQ)."""
DEFAULT_FAILURE_TTL: Final = 31_536_000
"""Seconds that a failed job is kept when nothing else is said: a year (RQ)."""

ON_LOST: Final = ("fail", "requeue")
"""What may become of a job that is lost with its worker."""
_SIZE: Final = re.compile(r"([0-9]{1,15})([kmg]?)i?b?")
_BYTES: Final = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}
_MAX_MEMORY: Final = 2**50


def check_on_lost(value: str | None) -> str | None:
    """Return `value` if it is `fail`, `requeue` or None.

    Raises:
        ValueError: it is something else.
    """
    if value is not None and value not in ON_LOST:
        raise ValueError(f"on_lost must be 'fail' or 'requeue', not {value!r}")
    return value


def parse_memory(value: object) -> int | None:
    """Bytes: a number, or a text of digits with an optional unit `k`, `m` or `g` (powers of 1024); None stays None.

    Raises:
        ValueError: it is something else, or less than a mebibyte, in which no Python runs.
    """
    if value is None:
        return None
    size: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (match := _SIZE.fullmatch(value.strip().lower())):
        size = int(match[1]) * _BYTES[match[2]]
    if size is None or not 2**20 <= size <= _MAX_MEMORY:
        raise ValueError(f"memory_limit: {value!r} is not allowed; use bytes, or a text such as '512m' or '2g'")
    return size


@dataclass(frozen=True, kw_only=True, slots=True)
class JobOptions:
    """The options of one enqueue, in RQ's words. Checked when made; durations are seconds afterwards."""

    job_timeout: int | None = None
    """Seconds that the job may run; -1 for no limit; None for the queue's default."""
    result_ttl: int | None = None
    """Seconds that a finished job is kept; 0 deletes it, -1 keeps it; None for the worker's default."""
    failure_ttl: int | None = None
    """Seconds that a failed job is kept; -1 keeps it; None for a year."""
    ttl: int | None = None
    """Seconds that the job may wait before it is dropped; None for ever."""
    description: str | None = None
    """A text for people; None for the call as text."""
    job_id: str | None = None
    """The id; None for a random one."""
    at_front: bool = False
    """Put the job at the front of its queue."""
    meta: Mapping[str, Any] | None = None
    """Data of the caller's, kept with the job."""
    on_lost: str | None = None
    """What becomes of the job if its worker is lost while it runs: `fail`, or `requeue`, three times at most; None for
    the worker's setting."""
    memory_limit: int | None = None
    """Bytes of data that the process of the job may have; None for the worker's setting."""
    depends_on: DependsOn | None = None
    """Jobs, ids or `Dependency` objects that must end first; one or several."""
    retry: Retry | None = None
    """How often a failed job is tried again."""
    repeat: Repeat | None = None
    """How often a job that succeeded runs again."""
    on_success: AnyCallback | None = None
    """Called with `(job, connection, result)` when the job has succeeded; if it raises, the job fails."""
    on_failure: AnyCallback | None = None
    """Called with `(job, connection, type, value, traceback)` when an attempt has failed."""
    on_stopped: AnyCallback | None = None
    """Called with `(job, connection)` when the job was stopped."""
    rate_limit: RateLimit | None = None
    """How many jobs with the same key may be queued or run at a time."""
    webhooks: Sequence[Webhook] | None = None
    """HTTP requests to make when the job has ended."""
    unique: bool = False
    """Refuse the job if one of its `job_id` exists, whatever its state."""

    def __post_init__(self) -> None:
        """Check every option, and turn durations into seconds."""
        put = object.__setattr__
        put(self, "depends_on", read_depends_on(self.depends_on))
        for name in ("on_success", "on_failure", "on_stopped"):
            put(self, name, as_callback(getattr(self, name), name))
        for name, kind in (("retry", Retry), ("repeat", Repeat), ("rate_limit", RateLimit)):
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise TypeError(f"{name} must be a {kind.__name__}, not {type(value).__name__}")
        put(self, "webhooks", _webhooks(self.webhooks))
        if self.unique:
            if self.job_id is None:
                raise ValueError("unique needs a job_id")
            if self.waits.ids or self.rate_limit is not None:
                raise ValueError("unique goes neither with depends_on nor with rate_limit")
        put(self, "job_timeout", parse_timeout(self.job_timeout))
        put(self, "result_ttl", parse_kept(self.result_ttl, "result_ttl"))
        put(self, "failure_ttl", parse_kept(self.failure_ttl, "failure_ttl"))
        put(self, "ttl", parse_ttl(self.ttl))
        check_on_lost(self.on_lost)
        put(self, "memory_limit", parse_memory(self.memory_limit))
        if self.job_id is not None:
            check_job_id(self.job_id)
        if self.meta is not None and not isinstance(self.meta, Mapping):
            raise TypeError(f"meta must be a dict, not {type(self.meta).__name__}")
        if self.description is not None and not isinstance(self.description, str):
            raise TypeError(f"description must be text, not {type(self.description).__name__}")
        if self.job_id is not None and self.job_id in self.waits.ids:
            raise DependencyCycleError(self.job_id)

    @property
    def waits(self) -> Waits:
        """What `depends_on` says, put together."""
        return read_depends_on(self.depends_on)

    def callbacks(self) -> dict[str, Callback]:
        """The callbacks that were given, by `success`, `failure` and `stopped`."""
        given = {"success": self.on_success, "failure": self.on_failure, "stopped": self.on_stopped}
        return {name: callback for name, callback in given.items() if isinstance(callback, Callback)}


class OptionWords(TypedDict, total=False):
    """The options of `JobOptions` as keywords, with durations as callers write them."""

    job_timeout: Duration | None
    result_ttl: Duration | None
    failure_ttl: Duration | None
    ttl: Duration | None
    description: str | None
    job_id: str | None
    at_front: bool
    meta: Mapping[str, Any] | None
    on_lost: str | None
    memory_limit: int | str | None
    depends_on: DependsOn | None
    retry: Retry | None
    repeat: Repeat | None
    on_success: AnyCallback | None
    on_failure: AnyCallback | None
    on_stopped: AnyCallback | None
    rate_limit: RateLimit | None
    webhooks: Sequence[Webhook] | None
    unique: bool


def _webhooks(webhooks: Sequence[Webhook] | None) -> tuple[Webhook, ...]:
    given = tuple(webhooks or ())
    for webhook in given:
        if not isinstance(webhook, Webhook):
            raise TypeError(f"webhooks must be Webhook objects, not {type(webhook).__name__}")
    return given


RESERVED: Final = frozenset(JobOptions.__dataclass_fields__)
"""The keywords of `enqueue` that are options and not arguments of the function."""


def split_options(kwargs: Mapping[str, Any]) -> tuple[JobOptions, tuple[Any, ...] | None, dict[str, Any]]:
    """Separate RQ's reserved keywords from the function's own.

    Returns:
        the options; the explicit positional arguments given as `args=`, or None; the keyword arguments of the function
        (those of `kwargs=` if it was given, which must then be all of them).

    Raises:
        TypeError: `args` or `kwargs` of a wrong type, or keywords beside an explicit `kwargs=`.
    """
    rest = dict(kwargs)
    options = JobOptions(**{name: rest.pop(name) for name in RESERVED.intersection(rest)})
    args = rest.pop("args", None)
    if args is not None and not isinstance(args, (tuple, list)):
        raise TypeError(f"args= must be a tuple or a list, not {type(args).__name__}")
    explicit = rest.pop("kwargs", None)
    if explicit is not None:
        if not isinstance(explicit, Mapping):
            raise TypeError(f"kwargs= must be a dict, not {type(explicit).__name__}")
        if rest:
            beside = ", ".join(sorted(rest))
            raise TypeError(f"give all keyword arguments in kwargs=, or none; {beside} stood beside it")
        rest = dict(explicit)
    return options, None if args is None else tuple(args), rest
