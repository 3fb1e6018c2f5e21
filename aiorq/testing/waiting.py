"""Waiting for what workers do, with a limit; whoever waits in vain is told what there was to see."""

from __future__ import annotations

import base64
import time
from collections.abc import Collection
from typing import Final

from aiorq.errors import AiorqError
from aiorq.placement import PlacedJob
from aiorq.record import decode_traceback
from aiorq.status import JobStatus
from aiorq.store import jobs, queues, results, workers
from aiorq.store.base import Store
from aiorq.store.results import Entry

_ENDS: Final = frozenset({JobStatus.FINISHED, JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED})
_WITH_OUTCOME: Final = _ENDS - {JobStatus.CANCELED}
"""Those that an outcome comes with, which can be waited for without looking again and again."""
_LOOK: Final = 0.005
"""Seconds between two looks at a state that comes without an outcome."""
_SLICE: Final = 0.5
"""Seconds of a wait for an outcome, after which it is seen that there will be none: the job is canceled or gone."""
GONE: Final = "gone"
"""What is seen of a job that does not exist (any more)."""


class WaitTimeout(AssertionError):  # noqa: N818 - it says what happened
    """What a test waited for did not come in time, or cannot come any more; the text says what was seen."""


class StatusWait:
    """A wait for a job to come to a state, over either API."""

    def __init__(self, job: PlacedJob, statuses: frozenset[JobStatus], timeout: float) -> None:
        """Describe it; `timeout` is in seconds."""
        self._job = job
        self._store: Store = job.store
        self._wanted = statuses
        self._timeout = timeout
        self._end = time.monotonic() + timeout
        self._seen: list[str] = []

    async def run(self) -> JobStatus:
        """Wait, and return the state.

        Raises:
            WaitTimeout: it does not come.
        """
        __tracebackhide__ = True
        streams = True
        while True:
            status = await self._look()
            if status is not None and status in self._wanted:
                self._job.status = status
                return status
            left = self._end - time.monotonic()
            if left <= 0:
                raise WaitTimeout(await self._explain(f"did not come to it within {self._timeout:g} s"))
            if status is None and len(self._seen) > 1:
                raise WaitTimeout(await self._explain("does not come to it any more"))
            if status in _ENDS and self._wanted <= _ENDS:
                raise WaitTimeout(await self._explain("has ended otherwise"))
            if streams and status is not None and self._wanted <= _WITH_OUTCOME:
                # An outcome that is there already is that of a former run.
                streams = await results.latest(self._store, self._job.id) is None
                if streams:
                    await results.wait(self._store, self._job.id, min(left, _SLICE))
                continue
            await self._store.transport.sleep(min(_LOOK, left))

    async def _look(self) -> JobStatus | None:
        raw = await jobs.field(self._store, self._job.id, "status")
        status = None if raw is None else JobStatus(raw.decode())
        word = GONE if status is None else status.value
        if self._seen[-1:] != [word]:
            self._seen.append(word)
        return status

    async def _explain(self, what: str) -> str:
        wanted = " or ".join(sorted(status.value for status in self._wanted))
        return f"{await describe(self._job)} was to be {wanted} and {what}; seen: {' -> '.join(self._seen)}"


async def wait_for_outcome(job: PlacedJob, timeout: float) -> Entry:
    """The final outcome of a job.

    Raises:
        WaitTimeout: there is none within `timeout` seconds.
    """
    __tracebackhide__ = True
    entry = await results.wait(job.store, job.id, timeout)
    if entry is None:
        raise WaitTimeout(f"{await describe(job)} had no result within {timeout:g} s")
    return entry


async def describe(job: PlacedJob) -> str:
    """What Redis says of a job, for people."""
    store, queue = job.store, job.origin
    name = f"job {job.id}"
    try:
        name += f", {job.call},"
    except AiorqError:
        name += ","
    raw = await jobs.field(store, job.id, "status")
    if raw is None:
        return f"{name} which is gone"
    said = [f"which is {raw.decode(errors='replace')}"]
    if raw == b"queued":
        place = await queues.position(store, queue, job.id)
        ahead = "" if place is None else f" behind {place} others" if place else " at its head"
        said.append(f"on queue {queue}{ahead}")
    if raw in (b"queued", b"scheduled", b"deferred"):
        number = await workers.count(store, queue)
        said.append(f"with {number or 'no'} worker{'s' if number != 1 else ''} on {queue}")
    newest = await results.latest(store, job.id)
    if newest is not None and b"exc_string" in newest.fields:
        lines = decode_traceback(base64.b64decode(newest.fields[b"exc_string"])).strip().splitlines()
        said.append(f"with {lines[-1]!r}" if lines else "without a traceback")
    return f"{name} {', '.join(said)},"


def as_statuses(status: str | JobStatus | Collection[str | JobStatus]) -> frozenset[JobStatus]:
    """The states that are waited for.

    Raises:
        ValueError: a word that is none.
    """
    given = [status] if isinstance(status, str) else status
    return frozenset(JobStatus(word) for word in given)
