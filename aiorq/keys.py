"""The name of every key, in one place.

RQ's keys have RQ's names (RQ 3.0); what aiorq adds is below `<prefix>:aiorq:`. Lua scripts build the same names from
the prefix with `lua/lib/keys.lua`; a test holds the two against each other.
"""

from __future__ import annotations

import os
import re
from typing import Final

_PREFIX: Final = re.compile(r"[A-Za-z0-9_.:{}-]+")
_JOB_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f,\ud800-\udfff]")  # control characters, RQ's separator, no Unicode
_QUEUE_NAME_LENGTH: Final = 100
TEST_PREFIX: Final = "aiorq-test:"
"""What the prefixes of `aiorq.testing` begin with. Below them time can be moved: all processes see it by the name."""


def default_prefix() -> str:
    """The prefix from `AIORQ_KEY_PREFIX`, else from RQ's `RQ_KEY_PREFIX`, else `rq`."""
    return os.environ.get("AIORQ_KEY_PREFIX") or os.environ.get("RQ_KEY_PREFIX") or "rq"


def is_for_tests(prefix: str) -> bool:
    """Whether a prefix is that of a test, whose clock can be moved."""
    return prefix.startswith(TEST_PREFIX)


def is_job_id(text: str) -> bool:
    """Whether `text` is what `check_job_id` takes."""
    return _JOB_ID.fullmatch(text) is not None


def check_job_id(job_id: object) -> str:
    """Return `job_id` if it is one: 1 to 255 letters, digits, `_` or `-`.

    The letters are RQ's rule, the length is ours.

    Raises:
        TypeError: it is not text.
        ValueError: it has another character, or another length.
    """
    if not isinstance(job_id, str):
        raise TypeError(f"a job id must be text, not {type(job_id).__name__}")
    if not is_job_id(job_id):
        shown = job_id if len(job_id) <= 40 else job_id[:40] + "..."
        raise ValueError(f"bad job id {shown!r}: use 1 to 255 letters, digits, underscores or dashes")
    return job_id


def check_queue_name(name: object) -> str:
    """Return `name` if it can name a queue: 1 to 100 characters, no comma (RQ joins names with it), no control ones.

    Raises:
        TypeError: it is not text.
        ValueError: it is empty, too long, or has a comma, a control character or half a surrogate pair.
    """
    if not isinstance(name, str):
        raise TypeError(f"a queue name must be text, not {type(name).__name__}")
    if not 1 <= len(name) <= _QUEUE_NAME_LENGTH:
        raise ValueError(f"a queue name has 1 to {_QUEUE_NAME_LENGTH} characters, not {len(name)}")
    if _UNFIT.search(name):
        raise ValueError(f"bad queue name {name!r}: no commas, no control characters, no lone surrogates")
    return name


class Keys:
    """The key names below one prefix."""

    __slots__ = ("prefix",)

    def __init__(self, prefix: str | None = None) -> None:
        """Take `prefix`, or the default one of the environment.

        Raises:
            ValueError: the prefix has a character outside `A-Z a-z 0-9 _ . : { } -` (RQ's rule).
        """
        self.prefix = default_prefix() if prefix is None else prefix
        if not _PREFIX.fullmatch(self.prefix):
            raise ValueError(f"bad key prefix {self.prefix!r}: use letters, digits and any of _ . : {{ }} -")

    def __repr__(self) -> str:
        return f"Keys({self.prefix!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Keys) and other.prefix == self.prefix

    def __hash__(self) -> int:
        return hash(self.prefix)

    @property
    def clock(self) -> str:
        """How far the clock of a test is ahead of the server's, in seconds with a sign; or the moment it stands at."""
        return f"{self.prefix}:aiorq:clock"

    @property
    def queues(self) -> str:
        """Set of the keys of all queues ever used."""
        return f"{self.prefix}:queues"

    def queue(self, name: str) -> str:
        """List of job ids; the left end is the front."""
        return f"{self.prefix}:queue:{name}"

    def queue_name(self, key: str) -> str:
        """The name of the queue whose list is `key`.

        Raises:
            ValueError: `key` is not the key of a queue below this prefix.
        """
        head = f"{self.prefix}:queue:"
        if not key.startswith(head):
            raise ValueError(f"{key!r} is not the key of a queue: it should start with {head!r}")
        return key[len(head) :]

    def job(self, job_id: str) -> str:
        """Hash of a job."""
        return f"{self.prefix}:job:{job_id}"

    def dependents(self, job_id: str) -> str:
        """Set of the ids of the jobs that wait for this one."""
        return f"{self.prefix}:job:{job_id}:dependents"

    def dependencies(self, job_id: str) -> str:
        """Set of the ids of the jobs that this one waits for. The double colon is RQ's."""
        return f"{self.prefix}:job::{job_id}:dependencies"

    def results(self, job_id: str) -> str:
        """Stream of the outcomes of a job, the last ten of them."""
        return f"{self.prefix}:results:{job_id}"

    def executions(self, job_id: str) -> str:
        """Sorted set of the execution ids of a job that runs."""
        return f"{self.prefix}:executions:{job_id}"

    def execution(self, job_id: str, execution_id: str) -> str:
        """Hash of one run."""
        return f"{self.prefix}:execution:{job_id}:{execution_id}"

    def registry(self, kind: str, queue: str) -> str:
        """Sorted set of the jobs of a queue in one state.

        The kinds are `wip`, `finished`, `failed`, `deferred`, `scheduled`, `canceled`, and RQ's `ready`.
        """
        return f"{self.prefix}:{kind}:{queue}"

    @property
    def workers(self) -> str:
        """Set of the keys of all live workers."""
        return f"{self.prefix}:workers"

    def queue_workers(self, queue: str) -> str:
        """Set of the keys of the live workers of a queue."""
        return f"{self.prefix}:workers:{queue}"

    def worker(self, name: str) -> str:
        """Hash of a worker."""
        return f"{self.prefix}:worker:{name}"

    def worker_executions(self, name: str) -> str:
        """Set of `<job id>:<execution id>` that a worker runs."""
        return f"{self.prefix}:worker:{name}:executions"

    def inbox(self, worker: str, queue: str) -> str:
        """List of the ids of a queue that Redis handed to an idle worker as they were pushed; its claim empties it."""
        return f"{self.prefix}:aiorq:inbox:{worker}:{queue}"

    def ended(self, execution_id: str) -> str:
        """How a run ended that left no outcome, for a minute: its job was deleted, or is tried again."""
        return f"{self.prefix}:aiorq:ended:{execution_id}"

    def gone(self, job_id: str) -> str:
        """`=` and the nonce of the call that enqueued a job which ended and was not kept; present for a minute."""
        return f"{self.prefix}:aiorq:gone:{job_id}"

    @property
    def some_gone(self) -> str:
        """Present while there is a `gone` of any job."""
        return f"{self.prefix}:aiorq:gone"

    def intermediate(self, queue: str) -> str:
        """RQ's list of what its workers took from a queue and did not begin yet."""
        return f"{self.prefix}:queue:{queue}:intermediate"

    def first_seen(self, queue: str, job_id: str) -> str:
        """RQ's note of when an id was first seen in `intermediate`."""
        return f"{self.intermediate(queue)}:first_seen:{job_id}"

    def scheduler_lock(self, queue: str) -> str:
        """Name of the scheduler that looks after a queue: one of RQ's, or a worker of ours."""
        return f"{self.prefix}:scheduler-lock:{queue}"

    def scheduler(self, name: str) -> str:
        """Hash of a scheduler of RQ's, or of a worker of ours that holds a lock."""
        return f"{self.prefix}:scheduler:{name}"

    def channel(self, worker: str) -> str:
        """Channel of the commands to a worker."""
        return f"{self.prefix}:pubsub:{worker}"

    @property
    def inboxes(self) -> str:
        """Set of `<worker>:<queue>`, one for each inbox that there may be."""
        return f"{self.prefix}:aiorq:inboxes"

    @property
    def leader(self) -> str:
        """Name of the worker that looks after what is overdue, for some seconds at a time."""
        return f"{self.prefix}:aiorq:leader"

    def stops(self, worker: str) -> str:
        """Hash of the runs that a worker was asked to stop: execution id -> seconds that they have."""
        return f"{self.prefix}:aiorq:stops:{worker}"

    def answer(self, execution_id: str) -> str:
        """Stream of one entry, present for a minute: how a run ended that was asked to stop."""
        return f"{self.prefix}:aiorq:answer:{execution_id}"

    @property
    def limits(self) -> str:
        """Set of the keys of all rate limits in use."""
        return f"{self.prefix}:rl-keys"

    def limit(self, key: str) -> str:
        """Hash of a rate limit, with one field: `concurrency`."""
        return f"{self.prefix}:rl:{key}"

    def allowed(self, key: str) -> str:
        """Sorted set of the jobs that hold a slot of a rate limit."""
        return f"{self.prefix}:rl:{key}:allowed"

    def limited(self, key: str) -> str:
        """Sorted set of the jobs that wait for a slot of a rate limit."""
        return f"{self.prefix}:rl:{key}:rate_limited"

    @property
    def groups(self) -> str:
        """Set of the names of all groups."""
        return f"{self.prefix}:groups"

    def group(self, name: str) -> str:
        """Set of the ids of the jobs of a group."""
        return f"{self.prefix}:group:{name}"

    @property
    def paused(self) -> str:
        """Hash of the queues that no worker takes jobs from: name -> JSON of the reason and the time."""
        return f"{self.prefix}:aiorq:paused"

    def attempts(self, job_id: str) -> str:
        """List of the attempts of a job that were followed by another one, each in JSON; about twenty."""
        return f"{self.prefix}:aiorq:attempts:{job_id}"

    def waits(self, job_id: str) -> str:
        """List of jobs that a job with many parents was last known to wait for; found anew when it is gone."""
        return f"{self.prefix}:aiorq:waits:{job_id}"

    @property
    def ended_parents(self) -> str:
        """Hash of the jobs that ended and have many dependents left to look at: part -> how it ended, and its id."""
        return f"{self.prefix}:aiorq:parents"

    def parting(self, part: str) -> str:
        """Set of the dependents of an ended job that are left to look at."""
        return f"{self.prefix}:aiorq:parting:{part}"

    @property
    def cron_entries(self) -> str:
        """Hash of the entries of cron: name -> definition, in JSON."""
        return f"{self.prefix}:aiorq:cron"

    @property
    def cron_next(self) -> str:
        """Sorted set of the next slots of the entries of cron that are not paused, in seconds."""
        return f"{self.prefix}:aiorq:cron:next"

    @property
    def cron_changed(self) -> str:
        """Channel on which is said that an entry of cron is new, or runs at other times than before."""
        return f"{self.prefix}:aiorq:cron:changed"

    def cron_state(self, name: str) -> str:
        """Hash of what became of an entry of cron so far."""
        return f"{self.prefix}:aiorq:cron:state:{name}"

    def cron_fields(self, name: str) -> str:
        """Hash of the fields that every job of an entry of cron begins with."""
        return f"{self.prefix}:aiorq:cron:fields:{name}"

    @property
    def cron_schedulers(self) -> str:
        """Sorted set of the names of all processes that look after cron, by the time of their last heartbeat."""
        return f"{self.prefix}:cron_schedulers"

    def cron_scheduler(self, name: str) -> str:
        """Hash of a process that looks after cron."""
        return f"{self.prefix}:cron_scheduler:{name}"

    @property
    def cron_jobs(self) -> str:
        """Sorted set of the names of entries of cron, by the time of their last job."""
        return f"{self.prefix}:cron_jobs"

    def cron_history(self, name: str) -> str:
        """Sorted set of the last thousand jobs of an entry of cron, by the time of their enqueue."""
        return f"{self.prefix}:cron_job:{name}:jobs"

    @property
    def due(self) -> str:
        """Channel of the jobs that were scheduled to be the next of their queue: `<seconds from now> <queue>`."""
        return f"{self.prefix}:aiorq:due"

    @property
    def suspended(self) -> str:
        """Present while no worker may take new jobs."""
        return f"{self.prefix}:suspended"

    @property
    def dropped(self) -> str:
        """Hash of counters, a field per queue: ids that were dropped from it because their job was gone."""
        return f"{self.prefix}:aiorq:dropped"
