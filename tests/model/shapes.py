"""What the jobs of the random steps are made with, besides id, queue and parents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import hypothesis.strategies as st

from aiorq.store.jobs import NewJob
from tests.model.model import Job

LOST: Final = "aiorq.errors.AbandonedJobError"
"""The exception of a job that was lost with its worker."""
RAISED: Final = "builtins.ValueError"
"""The exception of a job that fails otherwise, unless it has none."""


@dataclass(frozen=True)
class Shape:
    fields: dict[str, Any] = field(default_factory=dict)
    """Attributes of the job."""
    limit: tuple[str, int] | None = None
    at: float | None = None
    """Seconds from now, as a moment."""
    delay: int | None = None
    """Seconds from now, by the server's clock."""
    group: str = ""
    unique: bool = False

    @property
    def runs_at_once(self) -> bool:
        """Whether a job so made can be run by whoever enqueues it."""
        return self.limit is None and self.at is None and self.delay is None


def _shape(**fields: Any) -> Shape:
    wishes = {name: fields.pop(name) for name in ("limit", "at", "delay", "group", "unique") if name in fields}
    if "limit" in wishes:
        fields["rate_limit_key"], fields["rate_limit_concurrency"] = wishes["limit"]
    if "group" in wishes:
        fields["group_id"] = wishes["group"]
    return Shape(fields, **wishes)


SHAPES: Final[Sequence[Shape]] = (
    _shape(),
    _shape(ttl=20),
    _shape(ttl=100, failure_ttl=-1),
    _shape(failure_ttl=0),
    _shape(failure_ttl=30, on_lost="fail"),
    _shape(on_lost="requeue"),
    _shape(on_lost="requeue", retries_left=1, group="g"),
    _shape(retries_left=1),
    _shape(retries_left=2, retry_intervals=[5, 10], ttl=60),
    _shape(retries_left=2, enqueue_at_front_on_retry=True, ttl=100),
    _shape(retries_left=2, retry_intervals=[5], failure_ttl=-1),
    _shape(retries_left=3, retry_intervals=[0, 20, 5], enqueue_at_front=True, ttl=60),
    _shape(retries_left=2, retry_on=[RAISED]),
    _shape(retries_left=1, never_retry=[RAISED], failure_ttl=0),
    _shape(limit=("k", 1)),
    _shape(limit=("k", 2), group="h", ttl=20),
    _shape(limit=("k", 1), ttl=20, failure_ttl=0),
    _shape(limit=("m", 1), retries_left=1),
    _shape(limit=("m", 1), retries_left=2, retry_intervals=[5], enqueue_at_front=True, on_lost="requeue"),
    _shape(limit=("m", 1), delay=5),
    _shape(at=5.0),
    _shape(at=-5.0),
    _shape(at=20.0, enqueue_at_front=True, ttl=100),
    _shape(delay=20, ttl=5),
    _shape(repeats_left=1, repeat_intervals=[0], group="g"),
    _shape(repeats_left=2, repeat_intervals=[5, 20], ttl=60),
    _shape(repeats_left=1, repeat_intervals=[0], limit=("k", 1)),
    _shape(repeats_left=2, repeat_intervals=[5], limit=("m", 1), retries_left=1, failure_ttl=30),
    _shape(unique=True),
)
MORTAL: Final = 1
"""The one of them that waits for 20 seconds."""
GROUPED: Final = 15
"""One with a group and a rate limit that waits for 20 seconds."""
LIMITED: Final = 17
"""One with a rate limit that lets one job through."""
SHAPE_NUMBERS: Final = st.integers(0, len(SHAPES) - 1)


def modelled(new: NewJob, shape: Shape, moment: float) -> Job:
    """The job as the model has it; `moment` is now."""
    fields = shape.fields
    repeats = fields.get("repeat_intervals")
    return Job(
        queue=new.queue,
        nonce=new.nonce,
        waits=fields.get("ttl"),
        kept=fields.get("failure_ttl"),
        retries=fields.get("retries_left"),
        intervals=fields.get("retry_intervals", []),
        first_on_retry=fields.get("enqueue_at_front_on_retry", False),
        only=frozenset(fields.get("retry_on", ())),
        never=frozenset(fields.get("never_retry", ())),
        first=fields.get("enqueue_at_front"),
        on_lost=fields.get("on_lost"),
        repeats=fields.get("repeats_left"),
        repeat_intervals=None if repeats is None else list(repeats),
        limit=new.limit,
        group=new.group,
        parents=tuple(new.parents),
        allow=new.allow_failure if new.parents else None,
        at=new.at if new.delay is None else moment + new.delay,
        unique=new.unique,
        token=new.run_token,
        lease=int(new.lease),
    )
