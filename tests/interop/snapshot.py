"""What the keys of one prefix hold, in a form in which two prefixes can be compared, without clocks and random ids.

A snapshot maps the parts of all keys to values, so that comparing two is comparing two mappings. Whatever the prefix,
names begin with `rq`. Parts are written `key | part`:

    rq:job:a | (type)                     hash
    rq:job:a | (ttl)                      498.0, or 'none'
    rq:job:a | status                     'finished'
    rq:job:a | data                       the call, decoded
    rq:finished:a | a                     498.0, the score in seconds from now
    rq:results:a | 0 type                 '1', a field of the first entry
    rq:queue:a | (items)                  the list

Numbers (TTLs and scores) are equal when they are within a few seconds; everything else must be the same.
"""

from __future__ import annotations

import base64
import json
import pickle
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, TypeAlias

from redis import Redis
from rq import Retry

TOLERANCE = 5.0
"""Seconds by which two TTLs, or two scores, may differ unless told otherwise: two runs do not take the same time."""
NEAR = 120.0
"""Seconds from now within which a date must be to count as a clock."""

Snapshot: TypeAlias = dict[str, object]

_DATE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_EPOCH = re.compile(rb"\d{10}\.\d+")
_RANDOM = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Difference(NamedTuple):
    """A part that two snapshots do not agree on; None stands for a part that is not there."""

    part: str
    theirs: object
    ours: object

    def __str__(self) -> str:
        return f"{self.part}: RQ has {self.theirs!r}, aiorq has {self.ours!r}"


class Allowed(NamedTuple):
    """A difference that is meant: a pattern of parts, what aiorq has there (a pattern if it is text), and why."""

    pattern: str
    ours: object
    reason: str

    def covers(self, difference: Difference, tolerance: float = TOLERANCE) -> bool:
        """Whether this is the difference that is meant."""
        if not fnmatchcase(difference.part, self.pattern):
            return False
        if isinstance(self.ours, str) and isinstance(difference.ours, str):
            return fnmatchcase(difference.ours, self.ours)
        return _equal(self.ours, difference.ours, tolerance)


def take(connection: Redis, serializer: Any = pickle, prefix: str = "rq") -> Snapshot:
    """All keys of a prefix, but what aiorq alone writes (`rq:aiorq:*`, fields `aiorq_*`)."""
    client: Any = connection
    seconds, micros = client.time()
    reader = _Reader(client, serializer, prefix, float(seconds) + float(micros) / 1e6)
    snapshot: Snapshot = {}
    for raw in client.keys(f"{prefix}:*"):
        name = raw.decode()
        key = reader.text(raw)
        if key.startswith("rq:aiorq:"):
            continue
        assert f"{key} | (type)" not in snapshot, f"two keys look alike: {key}"
        snapshot.update({f"{key} | {part}": value for part, value in reader.parts(name).items()})
    return snapshot


def of_job(snapshot: Snapshot, name: str) -> Snapshot:
    """The parts of a snapshot that belong to one job, which is alone in the queue of the same name."""
    return of_names(snapshot, re.escape(name))


def of_names(snapshot: Snapshot, names: str) -> Snapshot:
    """The parts of a snapshot whose keys belong to jobs, queues and the like of certain names, a regular expression."""
    key = re.compile(rf"rq:[^|]*:({names})(:[^|]*)? \| .*")
    return {part: value for part, value in snapshot.items() if key.fullmatch(part)}


def of_worker(snapshot: Snapshot, name: str) -> Snapshot:
    """The parts of a snapshot that belong to one worker."""
    return {part: value for part, value in snapshot.items() if part.startswith(f"rq:worker:{name}")}


def compare(theirs: Snapshot, ours: Snapshot, tolerance: float = TOLERANCE) -> list[Difference]:
    """Every part on which two snapshots do not agree; `tolerance` is in seconds."""
    parts = sorted(theirs.keys() | ours.keys())
    found = [Difference(part, theirs.get(part), ours.get(part)) for part in parts]
    return [difference for difference in found if not _equal(difference.theirs, difference.ours, tolerance)]


def unexplained(
    theirs: Snapshot, ours: Snapshot, allowed: Iterable[Allowed], tolerance: float = TOLERANCE
) -> list[str]:
    """The differences that no row of `allowed` covers, as text."""
    rows = list(allowed)
    found = compare(theirs, ours, tolerance)
    return [str(difference) for difference in found if not any(row.covers(difference, tolerance) for row in rows)]


def unused(theirs: Snapshot, ours: Snapshot, allowed: Iterable[Allowed], tolerance: float = TOLERANCE) -> list[str]:
    """The rows of `allowed` that cover nothing: what does not differ any more must not be allowed to."""
    found = compare(theirs, ours, tolerance)
    return [row.pattern for row in allowed if not any(row.covers(difference, tolerance) for difference in found)]


def _equal(one: object, other: object, tolerance: float) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= tolerance
    return type(one) is type(other) and one == other


class _Reader(NamedTuple):
    client: Any
    serializer: Any
    prefix: str
    now: float

    def text(self, raw: bytes) -> str:
        text = raw.decode()
        if text.startswith(f"{self.prefix}:"):
            text = f"rq{text.removeprefix(self.prefix)}"
        return _RANDOM.sub("<random>", text)

    def parts(self, name: str) -> dict[str, object]:
        client = self.client
        kind = client.type(name).decode()
        ttl = client.pttl(name)
        parts: dict[str, object] = {"(type)": kind, "(ttl)": "none" if ttl < 0 else ttl / 1000}
        if kind == "string":
            parts["(value)"] = self._value("", client.get(name))
        elif kind == "list":
            parts["(items)"] = [self.text(item) for item in client.lrange(name, 0, -1)]
        elif kind == "set":
            parts["(members)"] = sorted(self.text(item) for item in client.smembers(name))
        elif kind == "zset":
            for member, score in client.zrange(name, 0, -1, withscores=True):
                is_moment = score > 0 and score != float("inf")
                parts[self.text(member)] = score - self.now if is_moment else str(score)
        elif kind == "hash":
            parts.update(self._mapping(client.hgetall(name)))
        elif kind == "stream":
            for index, (_, fields) in enumerate(client.xrange(name)):
                parts.update({f"{index} {field}": value for field, value in self._mapping(fields).items()})
        return parts

    def _mapping(self, fields: Mapping[bytes, bytes]) -> dict[str, object]:
        return {
            name.decode(): self._value(name.decode(), value)
            for name, value in fields.items()
            if not name.startswith(b"aiorq_")
        }

    def _value(self, name: str, raw: bytes) -> object:
        decode = _DECODERS.get(name)
        if decode is not None and raw:
            try:
                return decode(raw, self.serializer)
            except Exception:  # noqa: BLE001 - what cannot be read is compared as it is
                return raw
        if _DATE.fullmatch(raw):
            moment = datetime.strptime(raw.decode(), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp()
            return "<date>" if abs(self.now - moment) < NEAR else raw
        if _EPOCH.fullmatch(raw):
            return "<epoch>" if abs(self.now - float(raw)) < NEAR else raw
        return self.text(raw) if raw.isascii() else raw


def _call(raw: bytes, serializer: Any) -> object:
    return serializer.loads(zlib.decompress(raw))


def _traceback(raw: bytes, _: Any) -> object:
    lines = zlib.decompress(base64.b64decode(raw)).decode().splitlines()
    return lines[0] if len(lines) == 1 else f"{lines[0]} ... {lines[-1]}"


def _value_of_job(value: object) -> object:
    return repr(value) if isinstance(value, Retry) else value


_DECODERS: dict[str, Callable[[bytes, Any], object]] = {
    "data": _call,
    "meta": lambda raw, serializer: serializer.loads(raw),
    "return_value": lambda raw, serializer: _value_of_job(serializer.loads(base64.b64decode(raw))),
    "exc_string": _traceback,
    "dependency_ids": lambda raw, _: json.loads(raw),
    "exc_info": lambda raw, _: zlib.decompress(raw).decode(),
    "result": lambda raw, serializer: _value_of_job(serializer.loads(raw)),
    # Clocks, and what tells one process from another.
    "total_working_time": lambda raw, _: f"<{type(float(raw)).__name__}>",
    "pid": lambda raw, _: f"<{type(int(raw)).__name__}>",
}
