"""How a test is told of jobs that failed."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from aiorq.errors import AiorqError
from aiorq.placement import PlacedJob
from aiorq.record import decode_traceback


@dataclass(frozen=True, slots=True)
class Failure:
    """A job that failed for good."""

    job: PlacedJob
    summary: str
    """Type and message of what it raised, on one line."""
    raw: bytes
    """Its traceback, as RQ stores it."""
    error: BaseException | None
    """What it raised, where that was in this process."""

    @property
    def traceback(self) -> str:
        """The traceback as text."""
        return decode_traceback(base64.b64decode(self.raw)) if self.raw else ""


class JobFailed(AssertionError):  # noqa: N818 - it says what happened, as pytest's own outcomes do
    """A job failed for good that a test has run. Its cause is what the job raised, if it ran in this process."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        """Tell of the first failure, and how many more there are."""
        self.failures = list(failures)
        """All of them, in order."""
        first = failures[0]
        more = f" (and {len(failures) - 1} more jobs failed)" if len(failures) > 1 else ""
        text = f"{_call_of(first.job)} failed: {first.summary}{more}"
        if first.error is None and first.traceback:
            text += f"\n\n{first.traceback.rstrip()}"
        super().__init__(f"{text}\n(pass raises=False where that is what is tested)")

    @property
    def job(self) -> PlacedJob:
        """The job that failed first."""
        return self.failures[0].job


def raise_first(failures: Sequence[Failure]) -> None:
    """Raise `JobFailed` if there are any failures."""
    __tracebackhide__ = True
    if failures:
        raise JobFailed(failures) from failures[0].error


def _call_of(job: PlacedJob) -> str:
    try:
        return f"job {job.id}, {job.call} on {job.origin},"
    except AiorqError:
        return f"job {job.id} on {job.origin}"
