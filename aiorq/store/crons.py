"""Cron entries: their definitions, when each has its next slot, and the processes that look after them.

A slot is dealt with by whoever first says so: `tick` compares the slot that the caller saw with the one that stands
there, enqueues the job and puts the following slot in its place, all in one script. So it does not matter how many do.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from aiorq.errors import DuplicateSchedulerError, StoreError
from aiorq.record import decode_date
from aiorq.store.base import Store
from aiorq.store.replies import Value

_PING: Final = 20.0  # seconds of silence after which a channel is asked whether it is there
_READ_A_CALL: Final = 100
HEARD_OF: Final = 120
"""Seconds without a heartbeat after which a scheduler counts as dead (RQ)."""


@dataclass(frozen=True, slots=True)
class Due:
    """An entry whose next slot has come."""

    name: str
    slot: float
    definition: bytes


@dataclass(frozen=True, slots=True)
class Agenda:
    """What is due, and what comes after that."""

    moment: float
    """By the server's clock, in seconds since 1970."""
    later: float | None
    """The next slot after that, of whatever entry; None when there is none."""
    due: Sequence[Due]


@dataclass(frozen=True, slots=True)
class CronCall:
    """The job of a slot, but for what is kept with the entry."""

    id: str
    queue: str
    nonce: str
    """Empty for an id that was made at random for this very call."""
    at_front: bool
    ttl: int | None
    at: float | None
    """When it may run at the earliest, in seconds since 1970; None for now."""
    wishes: Sequence[str]
    """What it asks for beyond a place in its queue, as enqueue.lua takes it."""

    @property
    def texts(self) -> list[Value]:
        """As the scripts take it."""
        at = "" if self.at is None else f"{self.at:.6f}"
        front = "1" if self.at_front else "0"
        return [self.id, self.queue, self.nonce, front, "" if self.ttl is None else self.ttl, at, *self.wishes]


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of an entry."""

    name: str
    definition: bytes
    state: Mapping[str, str] = field(default_factory=dict)
    slot: float | None = None
    """Its next slot; None while it is paused, or when there is none."""


async def look(store: Store, most: int) -> Agenda:
    """Look which entries are due, `most` of them at most, the one that is due for longest first."""
    keys = [store.keys.cron_next, store.keys.cron_entries]
    moment, later, *flat = await store.run("cron_look", keys, most)
    due = [
        Due(name.decode(errors="replace"), float(slot), definition)
        for name, slot, definition in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    ]
    return Agenda(float(moment), float(later) if later else None, due)


async def put(
    store: Store,
    name: str,
    version: str,
    recurrence: str,
    definition: str,
    fields: Mapping[str, bytes | int],
    first: float | None,
    interval: int | None,
) -> str:
    """Put an entry into Redis, or in place of the one of that name.

    Args:
        store: where.
        name: of the entry.
        version: a text that no other definition has.
        recurrence: a text that only those have which run at the same times.
        definition: what describes it.
        fields: those that every job of it begins with.
        first: its next slot in seconds since 1970; None for an interval.
        interval: in seconds; None for an expression.

    Returns:
        `same`, when nothing was changed; `added` or `replaced`.

    Raises:
        StoreError: one of its keys holds something else; nothing was written.
        QueueFullError: the server is at its memory limit; nothing was written.
    """
    flat: list[Value] = [part for item in fields.items() for part in item]
    slot = "" if first is None else f"{first:.6f}"
    keys = [store.keys.cron_entries, store.keys.cron_next]
    every = "" if interval is None else interval
    word = await store.run("cron_set", keys, name, version, recurrence, definition, slot, every, *flat)
    if word == b"unfit":
        raise StoreError(f"a key of the cron entry {name!r} is of another type; nothing was written")
    return str(word.decode())


async def tick(
    store: Store,
    name: str,
    version: str,
    token: str,
    slot: float,
    following: float | None,
    *,
    passed: int,
    overlap: str,
    call: CronCall,
) -> str:
    """Deal with a slot of an entry, unless somebody else has.

    Args:
        store: where.
        name: of the entry.
        version: of its definition.
        token: a text that no other call has.
        slot: which, in seconds since 1970.
        following: the one that follows; None when there is none.
        passed: how many slots from that one on are passed over; 0 to enqueue the job.
        overlap: what the last jobs of the entry forbid: `allow` for nothing, `skip`, `queue`.
        call: the job.

    Returns:
        a word of cron_tick.lua.

    Raises:
        QueueFullError: the server is at its memory limit; nothing was written.
    """
    keys = [store.keys.queues, store.keys.cron_next]
    after = "" if following is None else f"{following:.6f}"
    word = await store.run("cron_tick", keys, name, version, token, f"{slot:.6f}", after, passed, overlap, *call.texts)
    return str(word.decode())


async def run(store: Store, name: str, version: str, call: CronCall) -> tuple[str, datetime | None]:
    """Enqueue a job of an entry now; returns a word of cron_run.lua, and when that was by the server's clock."""
    keys = [store.keys.queues, store.keys.cron_entries]
    word, stamp = await store.run("cron_run", keys, name, version, *call.texts)
    return word.decode(), decode_date(stamp.decode())


async def pause(store: Store, name: str) -> str:
    """Let the slots of an entry pass without a job; returns `paused`, `already` or `missing`."""
    word = await store.run("cron_pause", [store.keys.cron_entries, store.keys.cron_next], name)
    return str(word.decode())


async def resume(store: Store, name: str, version: str, first: float | None, interval: int | None) -> str:
    """Let an entry run again from its first slot after now on; `first` and `interval` are as for `put`.

    Returns:
        `resumed`, `already`, `missing`, or `changed` when there is another definition.
    """
    keys = [store.keys.cron_entries, store.keys.cron_next]
    slot = "" if first is None else f"{first:.6f}"
    word = await store.run("cron_resume", keys, name, version, slot, "" if interval is None else interval)
    return str(word.decode())


async def remove(store: Store, name: str, version: str = "") -> bool:
    """Remove an entry, if it has this version or none is given; returns whether there was one. Its jobs stay."""
    return bool(await store.run("cron_remove", [store.keys.cron_entries, store.keys.cron_next], name, version))


async def names(store: Store) -> list[str]:
    """The names of all entries, sorted; what is no UTF-8 is left out."""
    found = []
    for raw in await store.transport.execute("HKEYS", store.keys.cron_entries):
        name = raw.decode(errors="replace")
        if name.encode() == raw:
            found.append(name)
    return sorted(found)


async def read(store: Store, entries: Sequence[str]) -> list[Kept]:
    """What is known of the entries of these names, in order; those that do not exist are left out."""
    found: list[Kept] = []
    keys = store.keys
    for start in range(0, len(entries), _READ_A_CALL):
        some = entries[start : start + _READ_A_CALL]
        commands: list[Sequence[Value]] = []
        for name in some:
            commands += [
                ("HGET", keys.cron_entries, name),
                ("HGETALL", keys.cron_state(name)),
                ("ZSCORE", keys.cron_next, name),
            ]
        replies = await store.transport.execute_many(commands)
        for name, definition, state, slot in zip(some, replies[::3], replies[1::3], replies[2::3], strict=True):
            if definition is not None:
                found.append(Kept(name, definition, _texts(state), None if slot is None else float(slot)))
    return found


def _texts(reply: Any) -> dict[str, str]:
    if not isinstance(reply, dict):  # RESP2
        reply = dict(zip(reply[::2], reply[1::2], strict=True))
    return {name.decode(errors="replace"): value.decode(errors="replace") for name, value in reply.items()}


async def history(store: Store, name: str, start: int, end: int) -> list[str]:
    """The ids of the jobs of an entry, newest first, from index `start` to `end`, both included."""
    ids = await store.transport.execute("ZREVRANGE", store.keys.cron_history(name), start, end)
    return [job_id.decode(errors="replace") for job_id in ids]


async def job_names(store: Store) -> list[str]:
    """The names of all entries that have a history, RQ's too, the one that was enqueued last at the end."""
    return [
        raw.decode(errors="replace") for raw in await store.transport.execute("ZRANGE", store.keys.cron_jobs, 0, -1)
    ]


async def listen(store: Store) -> AsyncGenerator[None]:
    """Comes once the channel is open, and then whenever entries have changed.

    Raises:
        ConnectionLostError: the connection is lost; listen anew.
    """
    channels = [store.keys.cron_changed]
    async with store.transport.dedicated() as connection, aclosing(connection.subscribe(channels, _PING)) as messages:
        async for _ in messages:
            yield


async def beat(
    store: Store, scheduler: str, token: str, fields: Mapping[str, str | int], *, begins: bool = False
) -> None:
    """Show that a process looks after cron, for two minutes.

    Raises:
        DuplicateSchedulerError: it begins, and another one has that name.
    """
    flat: list[Value] = [part for item in fields.items() for part in item]
    keys = [store.keys.cron_schedulers, store.keys.cron_scheduler(scheduler)]
    word = await store.run("cron_beat", keys, scheduler, token, "1" if begins else "0", *flat)
    if word == b"taken":
        raise DuplicateSchedulerError(f"the cron scheduler {scheduler!r} is alive; choose another name")


async def leave(store: Store, scheduler: str) -> None:
    """Show that a process does not look after cron any more."""
    keys = store.keys
    await store.transport.execute_many(
        [("ZREM", keys.cron_schedulers, scheduler), ("DEL", keys.cron_scheduler(scheduler))]
    )


async def scheduler(store: Store, name: str) -> dict[str, str]:
    """The fields that a process shows which looks after cron; empty when there is none of that name."""
    return _texts(await store.transport.execute("HGETALL", store.keys.cron_scheduler(name)))


async def last_heartbeat(store: Store, name: str) -> float | None:
    """When a process last showed that it looks after cron, in seconds since 1970."""
    score = await store.transport.execute("ZSCORE", store.keys.cron_schedulers, name)
    return None if score is None else float(score)


async def schedulers(store: Store, *, cleanup: bool = True) -> list[str]:
    """The names of the processes that look after cron; with `cleanup` those that died are taken out first."""
    keys = store.keys
    if cleanup:
        moment = (await look(store, 0)).moment
        await store.transport.execute("ZREMRANGEBYSCORE", keys.cron_schedulers, "-inf", f"{moment - HEARD_OF:.6f}")
    found = await store.transport.execute("ZRANGE", keys.cron_schedulers, 0, -1)
    return [name.decode(errors="replace") for name in found]
