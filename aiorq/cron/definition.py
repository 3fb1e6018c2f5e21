"""What a cron entry is in Redis: when it runs, what its jobs ask for, and what becomes of slots that were missed.

The fields of its jobs, and so the call, are kept beside it and are not read here: whoever deals with a slot needs none
of the user's code.
"""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any, Final
from uuid import uuid4

from aiorq.crontab import Recurrence
from aiorq.store.crons import CronCall

MISFIRE: Final = ("skip", "once", "all")
"""What may become of slots that were missed."""
OVERLAP: Final = ("allow", "skip", "queue")
"""What may become of a slot whose predecessor's job is not over."""
_PASSED_AT_ONCE: Final = 200  # slots of an expression that one step passes over, some 5 ms
_FORMAT: Final = 1
_MOST: Final = 2**53


@dataclass(frozen=True, slots=True)
class Step:
    """What is to become of a slot, or of several that follow each other."""

    slot: datetime
    following: datetime | None
    passed: int
    """How many slots are passed over from that one on; 0 where its job is to be enqueued."""


@dataclass(frozen=True, kw_only=True)
class Definition:
    """One entry. It was checked when it was registered."""

    name: str
    queue: str
    func_name: str
    cron: str | None = None
    interval: int | None = None
    timezone: str | None = None
    misfire: str = "skip"
    misfire_limit: int = 100
    misfire_grace: float = 30.0
    overlap: str = "allow"
    jitter: float = 0.0
    at_front: bool = False
    ttl: int | None = None
    job_id: str | None = None
    """The id of all its jobs; None for random ones."""
    wishes: tuple[str, ...] = ()
    """What its jobs ask for beyond a place in their queue, as enqueue.lua takes it."""
    source: str = ""
    """The module that registered it; empty for what was added by hand."""
    shown: Mapping[str, Any] = field(default_factory=dict)
    """What else RQ shows of it."""
    version: str = ""

    @cached_property
    def recurrence(self) -> Recurrence:
        """When it runs."""
        return Recurrence(self.cron, self.interval, self.timezone)

    @property
    def recurrence_text(self) -> str:
        """A text that only entries have which run at the same times."""
        return json.dumps([self.cron, self.interval, self.timezone])

    def encode(self) -> str:
        """As Redis keeps it."""
        return json.dumps({"format": _FORMAT, **asdict(self)})

    @classmethod
    def decode(cls, raw: bytes) -> Definition:
        """Read what Redis keeps.

        Raises:
            ValueError: it is no definition, or one of a later version of aiorq.
        """
        return _decode(raw)

    def first_after(self, moment: float) -> float | None:
        """The first slot of an expression after an instant, in seconds since 1970; None for an interval."""
        if self.interval is not None:
            return None
        found = self.recurrence.next_after(datetime.fromtimestamp(moment, UTC))
        return None if found is None else found.timestamp()

    def steps(self, slot: float, moment: float) -> Iterator[Step]:
        """What is to become of the slots from the next one, which is due, to a moment; both in seconds since 1970.

        A slot that is late by no more than the grace is run. Of the later ones the newest are run, as many as the
        policy says, and the older ones are passed over.
        """
        recurrence, now = self.recurrence, datetime.fromtimestamp(moment, UTC)
        following: datetime | None = datetime.fromtimestamp(slot, UTC)
        late = now - timedelta(seconds=self.misfire_grace)
        if following is not None and following < late:
            kept = {"skip": 0, "once": 1}.get(self.misfire, self.misfire_limit)
            first = recurrence.newest(following, late, kept)
            while following is not None and (first is None or following < first):
                current = following
                passed, following = recurrence.pass_over(current, first or late, _PASSED_AT_ONCE)
                yield Step(current, following, passed)
        while following is not None and following <= now:
            current, following = following, recurrence.next_after(following)
            yield Step(current, following, 0)

    def call(self, slot: float | None = None) -> CronCall:
        """The job of a slot, or of none."""
        at = None
        if slot is not None and self.jitter > 0:
            at = slot + random.uniform(0, self.jitter)  # noqa: S311 - not a secret
        nonce = "" if self.job_id is None else secrets.token_hex(8)
        job_id = str(uuid4()) if self.job_id is None else self.job_id
        return CronCall(job_id, self.queue, nonce, self.at_front, self.ttl, at, self.wishes)


@lru_cache(maxsize=1024)
def _decode(raw: bytes) -> Definition:
    try:
        data = json.loads(raw)
        if data.pop("format") != _FORMAT:
            raise ValueError("it was written by another version of aiorq")
        definition = Definition(**{**data, "wishes": tuple(data["wishes"])})
        _check(definition)
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is no definition: {error}") from error
    return definition


def _check(definition: Definition) -> None:
    """Raise where a definition was not written by aiorq, and cannot be used."""
    texts: tuple[object, ...] = (
        definition.name,
        definition.queue,
        definition.func_name,
        definition.source,
        definition.version,
    )
    lists = (*definition.wishes, *([definition.job_id] if definition.job_id is not None else ()))
    if not all(isinstance(text, str) for text in (*texts, *lists)) or not isinstance(definition.shown, dict):
        raise ValueError("something in it is of a wrong type")
    if definition.misfire not in MISFIRE or definition.overlap not in OVERLAP:
        raise ValueError("it has a policy that is not known")
    whole: tuple[object, ...] = (definition.misfire_limit, definition.ttl or 0)
    numbers: tuple[object, ...] = (*whole, definition.misfire_grace, definition.jitter)
    if not all(isinstance(number, int) for number in whole):
        raise ValueError("a number in it is not whole")
    if not all(isinstance(number, (int, float)) and 0 <= number <= _MOST for number in numbers):
        raise ValueError("a number in it is out of range")
    definition.recurrence  # noqa: B018 - raises where it cannot be read
