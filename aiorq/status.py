"""The states of a job and who moves it from one to the next.

A job is in exactly one state, and its id in exactly one place, at every instant; every edge of `TRANSITIONS` is one
Lua script of the same name in `aiorq/lua/`. The scripts that end a job also let those go on that wait for it, and those
that free a slot of a rate limit give it to the next job, in the same step.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple


class JobStatus(str, Enum):
    """The words that RQ 3.0 stores in the `status` field of a job's hash; no other word may stand there."""

    CREATED = "created"
    """Nowhere: made by `Job.create`, not enqueued yet."""
    QUEUED = "queued"
    """In the list of its queue."""
    STARTED = "started"
    """Claimed by a worker, which holds a lease on it."""
    FINISHED = "finished"
    """The function returned; the result is stored."""
    FAILED = "failed"
    """The function raised, ran over its time, or its process ended, and no retry is left."""
    DEFERRED = "deferred"
    """Waits for the jobs that it depends on."""
    SCHEDULED = "scheduled"
    """Waits for its time."""
    STOPPED = "stopped"
    """Was stopped while it ran; stands in the registry of failed jobs."""
    CANCELED = "canceled"
    """Was canceled; it does not run."""
    RATE_LIMITED = "rate_limited"
    """Waits for a slot of its rate limit."""
    READY_TO_ENQUEUE = "ready_to_enqueue"
    """Between deferred and queued, in RQ only; aiorq reads it and never writes it."""

    def __str__(self) -> str:
        return self.value


class Edge(NamedTuple):
    """A script that moves a job from `before` (None: the job does not exist) to `after`."""

    script: str
    before: JobStatus | None
    after: JobStatus | None


_WAITING: Final = (JobStatus.QUEUED, JobStatus.SCHEDULED, JobStatus.RATE_LIMITED)
_ENDED: Final = (JobStatus.FINISHED, JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED)
_AGAIN: Final = (JobStatus.QUEUED, JobStatus.SCHEDULED)
_AFTER_FAILURE: Final = (JobStatus.FAILED, *_AGAIN, None)
TRANSITIONS: Final = (
    Edge("save", None, JobStatus.CREATED),
    *(
        Edge("enqueue", before, after)
        for before in (None, *JobStatus)
        if before is not JobStatus.STARTED
        for after in (*_WAITING, JobStatus.DEFERRED, JobStatus.STARTED)
    ),
    *(Edge("cron_tick", None, after) for after in _WAITING),
    *(Edge("cron_run", None, after) for after in (JobStatus.QUEUED, JobStatus.RATE_LIMITED)),
    *(Edge("enqueue_dependents", JobStatus.DEFERRED, after) for after in _WAITING),
    *(Edge("sweep", JobStatus.DEFERRED, after) for after in _WAITING),
    Edge("sweep_limit", JobStatus.RATE_LIMITED, JobStatus.QUEUED),
    Edge("claim", JobStatus.QUEUED, JobStatus.STARTED),
    Edge("release", JobStatus.STARTED, JobStatus.QUEUED),
    Edge("retire", JobStatus.STARTED, JobStatus.QUEUED),
    *(Edge("finish", JobStatus.STARTED, after) for after in (JobStatus.FINISHED, *_AGAIN, None)),
    *(Edge("retry", JobStatus.STARTED, after) for after in _AFTER_FAILURE),
    *(
        Edge("requeue", before, after)
        for before in (*_ENDED, JobStatus.DEFERRED, JobStatus.SCHEDULED)
        for after in (JobStatus.QUEUED, JobStatus.RATE_LIMITED)
    ),
    *(Edge("fail", JobStatus.STARTED, after) for after in _AFTER_FAILURE),
    *(Edge("reap", JobStatus.STARTED, after) for after in _AFTER_FAILURE),
    *(Edge("recover", JobStatus.QUEUED, after) for after in _AFTER_FAILURE),
    Edge("stop", JobStatus.STARTED, JobStatus.STOPPED),
    Edge("stop", JobStatus.STARTED, None),
    *(Edge("cancel", before, JobStatus.CANCELED) for before in JobStatus if before is not JobStatus.CANCELED),
    *(
        Edge("promote", before, after)
        for before in (JobStatus.SCHEDULED, JobStatus.READY_TO_ENQUEUE)
        for after in (JobStatus.QUEUED, JobStatus.RATE_LIMITED)
    ),
    *(Edge("promote_due", JobStatus.SCHEDULED, after) for after in (JobStatus.QUEUED, JobStatus.RATE_LIMITED)),
    *(Edge("delete", before, None) for before in JobStatus),
    Edge("empty", JobStatus.QUEUED, None),
    Edge("free_slot", JobStatus.RATE_LIMITED, JobStatus.QUEUED),
    *(
        Edge("readmit", before, after)
        for before in (JobStatus.CREATED, JobStatus.DEFERRED, JobStatus.READY_TO_ENQUEUE, JobStatus.RATE_LIMITED)
        for after in _WAITING
    ),
)
"""Every change of state that aiorq makes, with the script that makes it."""
