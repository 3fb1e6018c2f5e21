"""What a list shows of a job, read from the first bytes of its fields, whatever stands in them.

The name of the function is the first thing in the bytes of a call. It is taken from there without reading the call: to
read a pickle is to run code of whoever wrote it, and needs the modules of its arguments. The description is shown where
somebody wrote one; the one that RQ makes up is the call itself, with its arguments, which may be secrets.
"""

from __future__ import annotations

import json
import pickletools
import re
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiorq.keys import is_job_id
from aiorq.record import decode_date
from aiorq.status import JobStatus
from aiorq.store.glance import Peeked

UNKNOWN: Final = "?"
"""Stands for the name of a function that cannot be read."""
_STATES: Final = frozenset(status.value for status in JobStatus)
_DATES: Final = ("created_at", "enqueued_at", "started_at", "ended_at")
_JSON_NAME: Final = re.compile(r'\s*\[\s*("(?:[^"\\]|\\.)*")')
_CALL: Final = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*)\(")
_BYTES: Final = 65_536  # of a call, inflated, that are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSummary:
    """A job as lists show it; None for what is unset or cannot be read."""

    id: str
    status: str | None = None
    """A word of `JobStatus`; None where there is no job, or another word stands there."""
    queue: str | None = None
    function: str = UNKNOWN
    """Dotted name of the function, or name of the method; `?` where it cannot be read."""
    description: str | None = None
    """What somebody wrote; None where it is the call."""
    created_at: datetime | None = None
    enqueued_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    worker: str | None = None
    timeout: int | None = None
    """Seconds that it may run; -1 for no limit."""
    error: str | None = None
    """Last line of the traceback of its newest outcome, where that was asked for and is none of a success."""
    problem: str | None = None
    """What is wrong with what Redis holds for it."""


def summarize(job_id: str, peeked: Peeked, error: str | None = None) -> JobSummary:
    """A job from what `store.glance.peek` read of it, and the last line of its traceback."""
    if peeked is None:
        unfit = "" if is_job_id(job_id) else ", nor can there be one of this id"
        return JobSummary(id=job_id, problem=f"there is no such job (any more){unfit}")
    if isinstance(peeked, str):
        return JobSummary(id=job_id, problem=f"its key holds a {peeked}, not a hash")
    reader = _Reader(peeked)
    dates = {name: reader.date(name) for name in _DATES}
    status: str | None = reader.text("status")
    if status not in _STATES:
        reader.complain("status", status or "")
        status = None
    function, description = function_of(peeked.get("data", b""), reader.text("description"))
    if "data" not in peeked:
        reader.problems.append("it has no call")
    return JobSummary(
        id=job_id,
        status=status,
        queue=reader.text("origin") or None,
        function=function,
        description=description,
        worker=reader.text("worker_name") or None,
        timeout=reader.integer("timeout"),
        error=error,
        problem="; ".join(reader.problems) or None,
        **dates,
    )


class _Reader:
    """Reads fields, and notes in place of raising what cannot be read."""

    def __init__(self, fields: Mapping[str, bytes]) -> None:
        self.fields = fields
        self.problems: list[str] = []

    def complain(self, name: str, value: str) -> None:
        self.problems.append(f"its {name} cannot be read: {value[:40]!r}" if value else f"it has no {name}")

    def text(self, name: str) -> str:
        raw = self.fields.get(name, b"")
        try:
            return raw.decode()
        except UnicodeDecodeError:
            text = raw.decode(errors="replace")
            if len(raw) < 1_024:  # otherwise it was cut, perhaps within a character
                self.complain(name, text)
            return text

    def date(self, name: str) -> datetime | None:
        text = self.text(name)
        try:
            return decode_date(text)
        except ValueError:
            self.complain(name, text)
            return None

    def integer(self, name: str) -> int | None:
        text = self.text(name)
        try:
            return int(text) if text else None
        except ValueError:
            self.complain(name, text)
            return None


def function_of(data: bytes, description: str | None) -> tuple[str, str | None]:
    """The name of a job's function, and its description unless that is the call.

    Args:
        data: the call in RQ's bytes, or their beginning.
        description: as the job has it.
    """
    text = description or ""
    name = _name_in(data)
    if name is None:
        call = _CALL.match(text)
        name = UNKNOWN if call is None else call[1]
    # One that was cut has no closing bracket.
    return name, None if text.startswith(f"{name}(") else text or None


def _name_in(data: bytes) -> str | None:
    with suppress(zlib.error):  # RQ takes calls that are not compressed
        data = zlib.decompressobj().decompress(data, _BYTES)
    if data[:1] in (b"[", b" "):
        return _name_in_json(data)
    try:
        for _, value, _ in pickletools.genops(data):
            if isinstance(value, str):
                return value
    except Exception:  # noqa: BLE001 - of bytes that are no pickle it may raise anything
        return None
    return None


def _name_in_json(data: bytes) -> str | None:
    found = _JSON_NAME.match(data.decode(errors="replace"))
    try:
        return None if found is None else str(json.loads(found[1]))
    except ValueError:
        return None
