"""Looks at many keys in few round trips, for people: what queues and rate limits hold, who works, how jobs stand.

Nothing is changed, nothing is read whole that may be large, and a key that holds something else than it should hides
nothing but itself. Names are bytes here: RQ takes any, also those that are no text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from aiorq.errors import StoreError
from aiorq.store.base import Store
from aiorq.store.executions import RunId, split
from aiorq.store.queues import Pause, read_pause
from aiorq.store.replies import Command, Reply

FRONT: Final = 10
"""Ids that are read from the front of each queue."""
EXPIRING: Final = ("wip", "finished", "failed")
"""The registries whose entries count until the time that is their score."""
LASTING: Final = ("deferred", "scheduled", "canceled", "ready")
"""Those whose entries stay until they are taken out."""
_COMMANDS: Final = 1_000
"""Commands in one round trip."""
_PEEKED: Final = 200
"""Jobs in one call of the script, whose first bytes are 0.4 MB at most."""
_BYTES: Final = 1_024
"""Of each field: enough for the name of the function, which stands at the beginning of a call."""
_RUNS: Final = 100
"""Runs of one worker that are looked at."""

FIELDS: Final = (
    "status",
    "origin",
    "description",
    "data",
    "created_at",
    "enqueued_at",
    "started_at",
    "ended_at",
    "worker_name",
    "timeout",
)
"""What is read of jobs."""

Peeked: TypeAlias = "Mapping[str, bytes] | str | None"
"""Fields of a job, each cut to 1,024 bytes; the type of its key where that is no hash; None where there is none."""


@dataclass(frozen=True, slots=True)
class Everything:
    """What is known of the whole at one moment."""

    moment: float
    """Seconds since 1970 by the server's clock."""
    queues: Sequence[bytes]
    """The names of all queues that were ever used, sorted."""
    workers: Sequence[str]
    """The names of all workers, sorted; those that died of late among them."""
    limits: Sequence[bytes]
    """The keys of all rate limits in use, sorted."""
    paused: Mapping[bytes, Pause]
    is_suspended: bool
    suspended_for: float | None
    """Seconds until all workers are resumed; None for ever, and when they are not suspended."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a queue holds."""

    queued: int | None
    """None where the key holds something else; so below."""
    front: Sequence[bytes]
    registries: Mapping[str, int | None]
    """Number of entries by the kind of the registry, those that have expired not among them."""
    lost: int
    """How many runs have a lease that has expired."""


@dataclass(frozen=True, slots=True)
class Holders:
    """How a rate limit is used."""

    concurrency: int
    allowed: int
    waiting: int


async def everything(store: Store) -> Everything:
    """Who and what there is, in one round trip."""
    keys = store.keys
    time, queues, workers, limits, paused, ttl = await _ask(
        store,
        [
            ("TIME",),
            ("SMEMBERS", keys.queues),
            ("SMEMBERS", keys.workers),
            ("SMEMBERS", keys.limits),
            ("HGETALL", keys.paused),
            ("PTTL", keys.suspended),
        ],
    )
    head = keys.worker("").encode()
    names = [member.removeprefix(head) for member in workers or () if member.startswith(head) and member != head]
    remaining = -2 if ttl is None else int(ttl)
    return Everything(
        int(time[0]) + int(time[1]) / 1_000_000,
        _below(keys.queue(""), queues),
        sorted(name.decode(errors="replace") for name in names),
        sorted(limits or ()),
        {name: read_pause(raw) for name, raw in _pairs(paused).items()},
        remaining != -2,
        remaining / 1000 if remaining >= 0 else None,
    )


async def sizes(store: Store, queues: Sequence[bytes], moment: float) -> list[Sizes]:
    """What queues hold at a moment, a hundred of them in a round trip."""
    now = f"{moment:.6f}"
    commands: list[Command] = []
    for queue in queues:
        key = _key(store.keys.queue(""), queue)
        commands += [("LLEN", key), ("LRANGE", key, 0, FRONT - 1)]
        for kind in EXPIRING:
            key = _key(store.keys.registry(kind, ""), queue)
            commands += [("ZCARD", key), ("ZCOUNT", key, 0, now)]
        commands += [("ZCARD", _key(store.keys.registry(kind, ""), queue)) for kind in LASTING]
    replies = await _ask(store, commands)
    width = len(commands) // len(queues) if queues else 1
    return [_sizes(replies[start : start + width]) for start in range(0, len(replies), width)]


def _sizes(replies: Sequence[Any]) -> Sizes:
    queued, front, *rest = replies
    registries: dict[str, int | None] = {}
    for index, kind in enumerate(EXPIRING):
        size, expired = rest[2 * index : 2 * index + 2]
        registries[kind] = None if size is None or expired is None else size - expired
    registries |= dict(zip(LASTING, rest[2 * len(EXPIRING) :], strict=True))
    return Sizes(queued, front or (), registries, rest[1] or 0)


async def holders(store: Store, limits: Sequence[bytes]) -> list[Holders]:
    """How rate limits are used."""
    commands: list[Command] = []
    for limit in limits:
        key = _key(store.keys.limit(""), limit)
        commands += [("HGET", key, "concurrency"), ("ZCARD", key + b":allowed"), ("ZCARD", key + b":rate_limited")]
    replies = await _ask(store, commands)
    found = []
    for start in range(0, len(replies), 3):
        concurrency, allowed, waiting = replies[start : start + 3]
        most = int(concurrency) if concurrency is not None and concurrency.isdigit() else 0
        found.append(Holders(most, allowed or 0, waiting or 0))
    return found


async def of_workers(store: Store, workers: Sequence[str]) -> list[tuple[dict[bytes, bytes], int, list[RunId]]]:
    """The fields of workers, how many runs each has, and some of these; no fields for one that is gone."""
    commands: list[Command] = []
    for worker in workers:
        runs = store.keys.worker_executions(worker)
        commands += [
            ("HGETALL", store.keys.worker(worker)),
            ("SCARD", runs),
            ("SRANDMEMBER", runs, _RUNS),
        ]
    replies = await _ask(store, commands)
    found = []
    for start in range(0, len(replies), 3):
        fields, count, members = replies[start : start + 3]
        runs_of = sorted(run for run in map(split, members or ()) if run is not None)
        found.append((_pairs(fields), count or 0, runs_of))
    return found


async def peek(store: Store, job_ids: Sequence[bytes | str]) -> list[Peeked]:
    """Some fields of jobs (`FIELDS`), the first bytes of each, 200 jobs in each call of the script."""
    calls = []
    for start in range(0, len(job_ids), _PEEKED):
        keys = [_key(store.keys.job(""), job_id) for job_id in job_ids[start : start + _PEEKED]]
        calls.append(await store.run("peek", keys, _BYTES, *FIELDS))
    return [_peeked(reply) for replies in calls for reply in replies]


def _peeked(reply: Any) -> Peeked:
    if isinstance(reply, bytes):
        return reply.decode()
    if not reply:
        return None
    return {name: value for name, value in zip(FIELDS, reply, strict=True) if value is not None}


async def last_outcomes(store: Store, job_ids: Sequence[str]) -> list[dict[bytes, bytes] | None]:
    """The newest outcome of each job; None where there is none, or none that can be read."""
    replies = await _ask(store, [("XREVRANGE", store.keys.results(job_id), "+", "-", "COUNT", 1) for job_id in job_ids])
    return [_pairs(reply[0][1]) if reply else None for reply in replies]


async def times(store: Store, job_ids: Sequence[bytes]) -> list[tuple[bytes | None, bytes | None]]:
    """When jobs were enqueued, and when they were made, in RQ's texts."""
    commands: list[Command] = [
        ("HMGET", _key(store.keys.job(""), job_id), "enqueued_at", "created_at") for job_id in job_ids
    ]
    return [(None, None) if reply is None else (reply[0], reply[1]) for reply in await _ask(store, commands)]


async def _ask(store: Store, commands: Sequence[Command]) -> list[Any]:
    """The answers, so many in each round trip; None in place of that of a key of another type."""
    found: list[Any] = []
    for start in range(0, len(commands), _COMMANDS):
        replies = await store.transport.try_many(commands[start : start + _COMMANDS])
        found += [_unless_unfit(reply) for reply in replies]
    return found


def _unless_unfit(reply: Reply) -> Any:
    if isinstance(reply, StoreError) and "WRONGTYPE" in str(reply):
        return None
    if isinstance(reply, BaseException):
        raise reply
    return reply


def _key(head: str, tail: bytes | str) -> bytes:
    return head.encode() + (tail.encode() if isinstance(tail, str) else tail)


def _below(head: str, members: Sequence[bytes] | None) -> list[bytes]:
    start = head.encode()
    return sorted(member.removeprefix(start) for member in members or () if member.startswith(start))


def _pairs(reply: Any) -> dict[bytes, bytes]:
    if not reply:
        return {}
    if isinstance(reply, dict):  # RESP3
        return reply
    return dict(zip(reply[::2], reply[1::2], strict=True))
