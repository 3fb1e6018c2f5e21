"""Reading everything below a prefix, and putting right what is wrong in it; what that is, `aiorq.doctor` knows.

Two ways to read. `survey` walks over all keys with SCAN in steps that each keep the server for a few milliseconds: for
databases of any size, in which things move meanwhile. `look` reads some keys, or all of a small prefix, at one instant.
Text is bytes decoded with `surrogateescape`, so that what is no UTF-8 comes through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from redis.exceptions import NoPermissionError

from aiorq.errors import StoreError
from aiorq.store.base import Store
from aiorq.store.replies import Value

FIELDS: Final = (
    "status",
    "origin",
    "worker_name",
    "enqueued_at",
    "started_at",
    "dependency_ids",
    "allow_dependency_failures",
    "repeat_intervals",
    "rate_limit_key",
    "concurrency",
    "group_id",
    "ttl",
    "job_id",
    "birth",
    "death",
    "aiorq_boot",
    "aiorq_unlisted",
    "aiorq_barred",
)
"""The fields that are read of hashes, of jobs, executions, workers and rate limits alike: none of them is large. Of the
one that tells whose dependents are set apart all are read."""

_SCAN_COUNT: Final = 500
_KEYS_A_CALL: Final = 100
_ENTRIES_A_CALL: Final = 500
"""Of each key; a hundred keys with as many take the server 10 ms."""

Content: TypeAlias = "dict[str, str] | dict[str, float] | list[str] | set[str] | str | None"


class Entry(NamedTuple):
    """A key: its type, milliseconds to live (-1 for ever), and what it holds."""

    type: str
    ttl_ms: int
    content: Content


@dataclass(slots=True)
class Snapshot:
    """What was below a prefix."""

    prefix: str
    now: float
    """Seconds since 1970 by the server's clock."""
    entries: dict[str, Entry] = field(default_factory=dict)

    def fields(self, key: str) -> dict[str, str] | None:
        """The fields that were read of a hash; None when the key is not there or is none."""
        return self._content(key, "hash")  # type: ignore[no-any-return]

    def members(self, key: str) -> set[str] | None:
        """The members of a set, as for `fields`."""
        return self._content(key, "set")  # type: ignore[no-any-return]

    def scores(self, key: str) -> dict[str, float] | None:
        """The members of a sorted set with their scores, as for `fields`."""
        return self._content(key, "zset")  # type: ignore[no-any-return]

    def ids(self, key: str) -> list[str] | None:
        """The entries of a list, as for `fields`."""
        return self._content(key, "list")  # type: ignore[no-any-return]

    def _content(self, key: str, kind: str) -> Any:
        entry = self.entries.get(key)
        return entry.content if entry is not None and entry.type == kind else None


async def look(
    store: Store, whole: Sequence[str] | None = None, part: Sequence[str] = (), entries: Sequence[str] = ()
) -> Snapshot:
    """Read keys at one instant.

    Args:
        store: where.
        whole: keys to read with all that they hold; None for every key below the prefix. The server does nothing else
            meanwhile: for small prefixes, about 10,000 keys and entries.
        part: keys of lists and sorted sets of which only `entries` are read.
        entries: see there.
    """
    if whole is not None and not whole and not part:
        return Snapshot(store.keys.prefix, await _time(store))
    reply = await _run(store, whole or (), part, entries, -1)
    return _read(store, reply)[0]


async def survey(store: Store) -> Snapshot:
    """Read every key below the prefix, step by step: nothing in it is of one instant."""
    merged = Snapshot(store.keys.prefix, 0.0)
    cursor = b"0"
    while True:
        cursor, names = await store.transport.execute("SCAN", cursor, "MATCH", _pattern(store), "COUNT", _SCAN_COUNT)
        for start in range(0, len(names), _KEYS_A_CALL):
            reply = await _run(
                store, [_text(name) for name in names[start : start + _KEYS_A_CALL]], (), (), _ENTRIES_A_CALL
            )
            read, large = _read(store, reply)
            for key, (kind, ttl_ms) in large.items():
                content = await _pages(store, key, kind)
                if content is not None:
                    read.entries[key] = Entry(kind, ttl_ms, content)
            merged.entries.update(read.entries)
            merged.now = read.now
        if int(cursor) == 0:
            break
    if not merged.now:
        merged.now = await _time(store)
    return merged


async def sizes(store: Store, lists: Sequence[str]) -> int:
    """How many entries lists have together; what is no list counts as none."""
    replies = await store.transport.try_many([("LLEN", _raw(key)) for key in lists])
    return sum(reply for reply in replies if isinstance(reply, int))


async def server_facts(store: Store) -> dict[str, str] | None:
    """What the server says of itself (INFO); None when this user may not ask.

    Raises:
        ConnectionLostError: the server cannot be asked.
        StoreError: it lets nobody in.
    """
    facts: dict[str, str] = {}
    for section in ("server", "memory", "persistence", "replication"):
        try:
            text = await store.transport.execute("INFO", section)
        except StoreError as error:
            if isinstance(error.__cause__, NoPermissionError):
                return None
            raise
        for line in _text(text).splitlines():
            name, found, value = line.partition(":")
            if found:
                facts[name] = value.strip()
    return facts


class Repair(NamedTuple):
    """Commands that are carried out together, provided that checks are answered as they were before."""

    checks: tuple[tuple[str, tuple[str, ...]], ...]
    """What the answer must be, as in `lua/repair.lua`, and a command that reads."""
    commands: tuple[tuple[str, ...], ...]


class Readmission(NamedTuple):
    """A job that is to be queued: see `lua/readmit.lua`."""

    job_id: str
    queue: str
    status: str
    parents: tuple[tuple[str, str], ...]


class SlotRepair(NamedTuple):
    """A slot of a rate limit that is for somebody else: see `lua/free_slot.lua`."""

    limit: str
    job_id: str
    """Who holds it; empty for one that is free."""


AnyRepair: TypeAlias = Repair | Readmission | SlotRepair


async def repair(store: Store, repair: AnyRepair) -> bool:
    """Carry out a repair, atomically; False when something is not as it was found, and nothing was changed."""
    args: list[Value] = []
    if isinstance(repair, SlotRepair):
        keys = [_raw(store.keys.allowed(repair.limit))]
        return bool(await store.run("free_slot", keys, _raw(repair.limit), _raw(repair.job_id)) == b"repaired")
    if isinstance(repair, Readmission):
        for parent, status in repair.parents:
            args += [_raw(parent), _raw(status)]
        key = store.keys.job(repair.job_id)
        word = await store.run(
            "readmit", [_raw(key)], _raw(repair.job_id), _raw(repair.queue), _raw(repair.status), *args
        )
        return bool(word == b"repaired")
    for wanted, command in repair.checks:
        args += [_raw(wanted), len(command), *map(_raw, command)]
    for command in repair.commands:
        args += [len(command), *map(_raw, command)]
    word = await store.run("repair", [_raw(repair.commands[0][1])], len(repair.checks), *args)
    return bool(word == b"repaired")


async def _run(store: Store, whole: Sequence[str], part: Sequence[str], entries: Sequence[str], most: int) -> list[Any]:
    keys = [_raw(key) for key in (*whole, *part)]
    args: list[Value] = [_pattern(store), len(whole), most, len(FIELDS), *FIELDS, *map(_raw, entries)]
    reply: list[Any] = await store.run("look", keys, *args)
    return reply


def _read(store: Store, reply: list[Any]) -> tuple[Snapshot, dict[str, tuple[str, int]]]:
    """The snapshot of a reply, and the keys that have too many entries for one."""
    snapshot = Snapshot(store.keys.prefix, float(reply[0]))
    large = {}
    for index in range(1, len(reply), 4):
        key, kind, ttl_ms, raw = _text(reply[index]), _text(reply[index + 1]), reply[index + 2], reply[index + 3]
        if isinstance(raw, int):
            large[key] = (kind, ttl_ms)
        else:
            whole = key == store.keys.ended_parents and kind == "hash"
            content = dict(zip(map(_text, raw[::2]), map(_text, raw[1::2]), strict=True)) if whole else None
            snapshot.entries[key] = Entry(kind, ttl_ms, content if whole else _content(kind, raw))
    return snapshot, large


def _content(kind: str, raw: Any) -> Content:
    match kind:
        case "hash":
            return {name: _text(value) for name, value in zip(FIELDS, raw, strict=True) if value is not None}
        case "list":
            return [_text(entry) for entry in raw]
        case "set":
            return {_text(member) for member in raw}
        case "zset":
            return {_text(member): float(score) for member, score in zip(raw[::2], raw[1::2], strict=True)}
        case "string":
            return _text(raw)
        case _:
            return None


async def _pages(store: Store, key: str, kind: str) -> Content:
    """A large key, page by page; None when it is gone, or has become something else, meanwhile."""
    raw: list[bytes] = []
    try:
        if kind == "list":
            while page := await store.transport.execute("LRANGE", _raw(key), len(raw), len(raw) + 9_999):
                raw += page
        else:
            cursor = b"0"
            while True:
                command = "ZSCAN" if kind == "zset" else "SSCAN"
                cursor, page = await store.transport.execute(command, _raw(key), cursor, "COUNT", 5_000)
                raw += page
                if int(cursor) == 0:
                    break
    except StoreError:
        return None
    return _content(kind, raw)


async def _time(store: Store) -> float:
    seconds, micros = await store.transport.execute("TIME")
    return int(seconds) + int(micros) / 1_000_000


def _pattern(store: Store) -> str:
    return "".join(f"[{letter}]" for letter in store.keys.prefix) + ":*"


def _text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


def _raw(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
