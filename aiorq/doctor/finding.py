"""What a look over the books finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from aiorq.store.audit import AnyRepair


class Severity(str, Enum):
    """How bad a finding is."""

    ERROR = "error"
    """A job may be lost, run twice or never run, or a reader may fail."""
    WARNING = "warning"
    """Something that is left over, or not as it should be, and harms no job."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    rule: str
    """The kind of thing, a word or two: the same for all findings of one kind."""
    invariant: str
    """The invariant that does not hold, `I1` to `I18`, or `server`."""
    severity: Severity
    subject: str
    """The id of a job, or a key."""
    problem: str
    """What is wrong, a sentence for people."""
    remedy: str
    """What a repair does, or why there is none."""
    repair: AnyRepair | None = field(default=None, compare=False)
    """The repair; None where only a person can decide."""
    jobs: frozenset[str] = field(default=frozenset(), compare=False)
    """Ids of the jobs to look at again to see whether it is still so."""
    keys: frozenset[str] = field(default=frozenset(), compare=False)
    """Further keys to look at for it."""

    @property
    def identity(self) -> tuple[str, str]:
        """Two findings of two looks with the same identity are the same thing."""
        return self.rule, self.subject
