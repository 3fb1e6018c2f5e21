"""Jobs by queue and state, page by page, all or those of a function or an error.

A listing is what several places list, one after the other: the runs of each queue, its failed jobs, what waits in it,
and so on. An offset counts through all of them. Only the entries of a page are read, and of a search as many as it is
told to look at, so that it costs the same of ten jobs and of ten millions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from redis.asyncio import Redis

from aiorq.inspection.overview import REGISTRIES
from aiorq.inspection.summary import JobSummary, summarize
from aiorq.inspection.traceback import last_line, traceback_of
from aiorq.keys import check_queue_name
from aiorq.status import JobStatus
from aiorq.store import glance, limits, queues, registries
from aiorq.store.base import Store, store_of

STATES: Final = (
    *("started", "queued", "scheduled", "deferred", "ready_to_enqueue", "rate_limited"),
    *("failed", "stopped", "finished", "canceled"),
)
"""The states that are listed, in their order. Made by `Job.create` and not enqueued: such jobs are listed nowhere."""
MOST: Final = 1_000
"""Jobs on a page."""
SEARCHED: Final = 10_000
"""Jobs that a search looks at when nothing else is said."""
_ENDED: Final = frozenset({"failed", "stopped", "finished", "canceled"})
_EXPIRING: Final = frozenset(glance.EXPIRING)
_KINDS: Final = {state: kind for kind, state in REGISTRIES.items()} | {"stopped": "failed"}
_LOST: Final = "its lease has expired: its worker is lost, and another one will deal with it"
_STEP: Final = 200
"""Jobs that a search looks at in one step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What to list."""

    queues: Sequence[str] = ()
    """None for all."""
    states: Sequence[str] = ()
    """Words of `STATES`, in the order in which to list them; none for all. Stopped jobs are among the failed ones, and
    can be searched for alone."""
    function: str | None = None
    """A part of the names of functions, large or small letters alike."""
    error: str | None = None
    """A part of tracebacks, likewise."""
    newest: bool | None = None
    """Last ones first, or first ones first; None for what is next first where jobs wait or run, and the last ones first
    where they have ended."""
    offset: int = 0
    """How many entries to pass over, those that are not what is searched for among them."""
    limit: int = 20
    """How many jobs to list at most; 1 to 1,000."""
    most: int = SEARCHED
    """How many entries a search looks at."""

    @property
    def is_filter(self) -> bool:
        """Whether not all jobs that are listed are wanted."""
        return self.function is not None or self.error is not None or "stopped" in self.states


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of jobs."""

    moment: datetime
    """When it was read, by the server's clock."""
    total: int
    """How many entries there are, whether they are what is searched for or not."""
    offset: int
    looked_at: int
    """How many entries, from the offset on."""
    next_offset: int | None
    """Where the next page begins; None at the end."""
    jobs: Sequence[JobSummary]


@dataclass(frozen=True, slots=True)
class _Place:
    """A key that lists jobs."""

    key: str
    state: str
    newest: bool
    shown: registries.Shown = "all"
    is_list: bool = False
    problem: str | None = None
    """What is wrong with all that it lists."""

    async def size(self, store: Store) -> int:
        if self.is_list:
            return int(await store.transport.execute("LLEN", self.key))
        return await registries.count(store, self.key, shown=self.shown)

    async def page(self, store: Store, first: int, last: int) -> list[bytes]:
        if not self.is_list:
            page = await registries.browse(store, self.key, first, last, shown=self.shown, desc=self.newest)
            return page.members
        if not self.newest:
            found: list[bytes] = await store.transport.execute("LRANGE", self.key, first, last)
            return found
        reverse: list[bytes] = await store.transport.execute("LRANGE", self.key, -1 - last, -1 - first)
        return reverse[::-1]


async def list_jobs(connection: Redis | str | None, search: Search, *, prefix: str | None = None) -> Listing:
    """List jobs. Nothing is changed.

    Raises:
        ValueError: a name, a state or a number that is none.
        ConnectionLostError, StoreError: the server cannot be asked, or lets nobody in.
    """
    store = store_of(connection, prefix)
    _check(search)
    places = await _places(store, search)
    sizes = await asyncio.gather(*(_size(store, place) for place in places))
    total = sum(sizes)
    moment = datetime.fromtimestamp(await registries.server_time(store), UTC)
    found: list[JobSummary] = []
    at = search.offset
    end = min(total, at + search.most) if search.is_filter else min(total, at + search.limit)
    while at < end and len(found) < search.limit:
        step = min(_STEP, end - at)
        entries = await _entries(store, places, sizes, at, at + step)
        if not entries:  # there are fewer by now
            break
        for index, job in enumerate(await _read(store, entries, search), 1):
            if job is not None:
                found.append(job)
            if len(found) == search.limit:
                step = index
                break
        at += step
    at = min(at, total)
    return Listing(moment, total, search.offset, max(0, at - search.offset), at if at < total else None, found)


def _check(search: Search) -> None:
    for state in search.states:
        if state not in STATES:
            raise ValueError(f"no jobs are listed by the state {state!r}; use one of {', '.join(STATES)}")
    if not 1 <= search.limit <= MOST:
        raise ValueError(f"limit must be 1 to {MOST}, not {search.limit}")
    if search.offset < 0:
        raise ValueError(f"offset must not be negative, as {search.offset} is")
    if search.most < 1:
        raise ValueError(f"a search must look at 1 job at least, not at {search.most}")


async def _places(store: Store, search: Search) -> list[_Place]:
    names = [check_queue_name(name) for name in dict.fromkeys(search.queues)] or await queues.names(store)
    keys = store.keys
    found = []
    for state in dict.fromkeys(search.states or STATES):
        newest = state in _ENDED if search.newest is None else search.newest
        if state == "queued":
            found += [_Place(keys.queue(name), state, newest, is_list=True) for name in names]
        elif state == "rate_limited":
            found += [_Place(keys.limited(limit), state, newest) for limit in await limits.names(store)]
        elif state != "stopped" or (search.states and "failed" not in search.states):  # not twice
            kind = _KINDS[state]
            shown: registries.Shown = "live" if kind in _EXPIRING else "all"
            found += [_Place(keys.registry(kind, name), state, newest, shown) for name in names]
            if state == "started":
                lost = [keys.registry(kind, name) for name in names]
                found += [_Place(key, state, newest, "expired", problem=_LOST) for key in lost]
    return found


async def _size(store: Store, place: _Place) -> int:
    try:
        return await place.size(store)
    except Exception as error:
        if "WRONGTYPE" in str(error):  # `overview` tells of it
            return 0
        raise


async def _entries(
    store: Store, places: Sequence[_Place], sizes: Sequence[int], start: int, end: int
) -> list[tuple[_Place, str]]:
    """Place and id of the entries from index `start` to `end` of all places."""
    calls, chosen = [], []
    before = 0
    for place, size in zip(places, sizes, strict=True):
        first, last = max(start - before, 0), min(end - before, size) - 1
        if first <= last:
            calls.append(place.page(store, first, last))
            chosen.append(place)
        before += size
    pages = await asyncio.gather(*calls)
    entries = []
    for place, page in zip(chosen, pages, strict=True):
        for member in page:
            text = member.decode(errors="replace")
            entries.append((place, text.partition(":")[0] if place.state == "started" else text))
    return entries


async def _read(store: Store, entries: Sequence[tuple[_Place, str]], search: Search) -> list[JobSummary | None]:
    """The jobs of entries; None in place of those that are not what is searched for."""
    ids = [job_id for _, job_id in entries]
    failed = {job_id for place, job_id in entries if place.state in {"failed", "stopped"} or search.error is not None}
    asked = sorted(failed)
    peeked, outcomes = await asyncio.gather(glance.peek(store, ids), glance.last_outcomes(store, asked))
    tracebacks = dict(zip(asked, map(traceback_of, outcomes), strict=True))
    found: list[JobSummary | None] = []
    for (place, job_id), fields in zip(entries, peeked, strict=True):
        text = tracebacks.get(job_id)
        job = summarize(job_id, fields, None if text is None else last_line(text))
        if place.problem is not None:
            job = replace(job, problem="; ".join(filter(None, (place.problem, job.problem))))
        found.append(job if _fits(job, place.state, text, search) else None)
    return found


def _fits(job: JobSummary, state: str, traceback: str | None, search: Search) -> bool:
    if search.queues and state == "rate_limited" and job.queue not in search.queues:
        return False
    if state == "stopped" and job.status != JobStatus.STOPPED:
        return False
    if search.function is not None and search.function.casefold() not in job.function.casefold():
        return False
    return search.error is None or search.error.casefold() in (traceback or "").casefold()
