"""Runs: claiming jobs, beginning and keeping them, and recording how they ended. Only workers call these."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import secrets
from asyncio import Future
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from aiorq.errors import AiorqError, StoreError
from aiorq.scripts import load
from aiorq.store.base import Store
from aiorq.store.commands import MAX_GRACE
from aiorq.store.jobs import enqueue_dependents
from aiorq.store.replies import Value, is_missing

_ENDINGS: Final = ("finish", "fail", "retry", "stop", "release")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a job: who holds it is told by the token."""

    queue: str
    job_id: str
    token: str
    """The execution id, never used before."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A run that a claim began, with the fields of its job."""

    run: Run
    fields: dict[bytes, bytes]


async def prepare(store: Store) -> None:
    """Have the server know the scripts that end runs.

    The next claim leaves with the outcome before it. Were the script of that to be loaded first, the claim would come
    before it, and not see what it puts at the front of the queue.
    """
    with contextlib.suppress(StoreError):  # who may not load scripts may still run them
        await store.transport.execute_many([("SCRIPT", "LOAD", load(name).source) for name in _ENDINGS])


def new_nonce() -> str:
    """What tells one claim from all others: 28 hex digits."""
    return secrets.token_hex(14)


class Claims(list[Claimed]):
    """What a claim took, in order."""

    paused: frozenset[str] = frozenset()
    """The queues, of those asked for, that were passed over since somebody has paused them."""


class Failed(str, Enum):
    """What became of a job whose run failed."""

    FOR_GOOD = "failed"
    QUEUED = "queued"
    """It has a retry left, and is in its queue again."""
    SCHEDULED = "scheduled"
    """It has a retry left, for later."""
    LOST = "lost"
    """The run had lost its place: nothing was changed."""


async def claim(
    store: Store,
    worker: str,
    queues: Sequence[str],
    most: int,
    lease: float,
    nonce: str | None = None,
    *,
    requeue_lost: bool = False,
    in_turn: bool = False,
) -> Claims | None:
    """Take up to `most` jobs, from the first queue first; they come back started and leased, but not begun.

    Args:
        store: where.
        worker: the name of the worker.
        queues: names, in strict order.
        most: 1 and more.
        lease: seconds.
        nonce: from `new_nonce`, the same when the claim is asked for again because its answer did not come: it then
            gives what the first one took. None for a claim that is asked for once.
        requeue_lost: whether jobs that do not say so themselves go back to their queues if the worker is lost.
        in_turn: take one job from each queue in turn, beginning with the first, in place of strict order.

    Returns:
        what was taken, or None while all workers are suspended.
    """
    keys = store.keys
    pairs = [key for queue in queues for key in (keys.inbox(worker, queue), keys.queue(queue))]
    on_lost = "requeue" if requeue_lost else ""
    turns = "1" if in_turn else "0"
    reply = await store.run("claim", pairs, worker, lease, nonce or new_nonce(), most, on_lost, turns)
    if reply == b"suspended":
        return None
    claimed = Claims()
    claimed.paused = frozenset(queue.decode() for queue in reply[1])
    for index in range(2, len(reply), 4):
        token, queue, job_id, fields = reply[index : index + 4]
        pairs_of_fields = dict(zip(fields[::2], fields[1::2], strict=True))
        claimed.append(Claimed(Run(queue.decode(), job_id.decode(), token.decode()), pairs_of_fields))
    return claimed


def send_begin(store: Store, worker: str, run: Run, left: Callable[[], None]) -> Future[list[int]]:
    """Say that a run begins: if its worker is lost from now on, so is the run.

    Args:
        store: where.
        worker: its name.
        run: which.
        left: called when the words have left this process, with all else that is said at this moment: from then on
            Redis hears them even if the worker is killed.

    Returns:
        what `begins` understands.
    """
    return store.send("begin", [store.keys.worker(worker)], run.queue, run.job_id, run.token, left=left)


async def begins(store: Store, worker: str, run: Run, answer: Future[list[int]]) -> bool:
    """Whether a run that begins holds its place; it must not go on if it does not.

    Args:
        store: where.
        worker: its name.
        run: which.
        answer: from `send_begin`; asked for again where the server did not have the script.
    """
    try:
        held = await answer
    except StoreError as error:
        if not is_missing(error):
            raise
        return await begin(store, worker, run)
    return bool(held[0])


async def begin(store: Store, worker: str, run: Run) -> bool:
    """Say that a run begins, and wait for the answer: whether it holds its place."""
    held = await store.run("begin", [store.keys.worker(worker)], run.queue, run.job_id, run.token)
    return bool(held[0])


@dataclass(frozen=True, slots=True)
class Renewed:
    """What a worker hears when it renews its leases."""

    known: bool
    """Whether Redis still knows the worker."""
    lost: list[Run]
    """The runs that were taken from it."""
    stops: dict[str, float | None]
    """The execution ids that it was asked to stop, with the seconds that they have; None for the worker's own."""


async def renew(
    store: Store, worker: str, boot: str, runs: Mapping[Run, bool], lease: float, worker_ttl: int
) -> Renewed:
    """Renew the leases of all runs of a worker and its own heartbeat, in one call.

    Args:
        store: where.
        worker: its name.
        boot: the text that tells its process from every other one.
        runs: what it holds, and whether each has begun.
        lease: seconds.
        worker_ttl: seconds without a heartbeat after which it counts as dead.
    """
    args: list[Value] = []
    for run, begun in runs.items():
        args += [run.queue, run.job_id, run.token, int(begun)]
    keys = [store.keys.worker(worker)]
    known, stops, *held = await store.run("renew", keys, worker, boot, lease, worker_ttl, *args)
    asked = dict(zip(stops[::2], stops[1::2], strict=True))
    graces = {token.decode(errors="replace"): _grace(grace) for token, grace in asked.items()}
    return Renewed(known == b"known", [run for run, holds in zip(runs, held, strict=True) if not holds], graces)


def _grace(raw: bytes) -> float | None:
    # Anybody may have written it: what is no time to end in is as good as none given.
    try:
        seconds = float(raw)
    except ValueError:
        return None
    return seconds if 0 <= seconds <= MAX_GRACE else None


async def finish(store: Store, worker: str, run: Run, value: bytes, result_ttl: int, *, repeats: bool = False) -> bool:
    """Record that a run returned; the jobs that wait for this one go on.

    Args:
        store: where.
        worker: the name of the worker.
        run: which.
        value: the result in RQ's encoding; empty for None.
        result_ttl: seconds to keep the job; 0 deletes it, negative keeps it for ever.
        repeats: whether the job is to be repeated, and RQ leaves the result in its hash, too.

    Returns:
        False when the run had lost its place: nothing was changed.
    """
    return await _end(store, "finish", worker, run, value, result_ttl, _plain(value) if repeats else b"") == "ok"


def _plain(value: bytes) -> bytes:
    """A result as RQ leaves it in the hash of a job that goes on."""
    return base64.b64decode(value)


async def fail(
    store: Store,
    worker: str,
    run: Run,
    traceback: bytes,
    failure_ttl: int,
    *,
    kinds: Sequence[str] = (),
    listed: bool = True,
) -> Failed:
    """Record that a run failed; a job with retries left gets another. Parameters as for `finish`, and:

    Args:
        store: where.
        worker: the name of the worker.
        run: which.
        traceback: as RQ stores it.
        failure_ttl: seconds to keep the job; 0 deletes it, negative keeps it for ever.
        kinds: the dotted names of the exception's class and of those that it derives from.
        listed: whether a job that fails for good enters the registry of failed ones.
    """
    names, flag = ",".join(kinds), "1" if listed else "0"
    return Failed(await _end(store, "fail", worker, run, traceback, failure_ttl, names, chance(), flag))


async def retry(
    store: Store,
    worker: str,
    run: Run,
    *,
    most: int,
    intervals: Sequence[int],
    at_front: bool,
    failure_ttl: int,
    value: bytes = b"",
) -> Failed:
    """Record that a run returned a request to be tried again.

    Args:
        store: where.
        worker: the name of the worker.
        run: which.
        most: how many times the job may be tried again for having asked; then it fails.
        intervals: seconds before each time; the last one repeats.
        at_front: put it at the front of its queue.
        failure_ttl: seconds to keep a job that fails; 0 deletes it, negative keeps it for ever.
        value: the request in RQ's encoding; empty where RQ could not read it.
    """
    keys = [store.keys.job(run.job_id)]
    wait = json.dumps(list(intervals))
    args: list[Value] = [worker, run.queue, run.job_id, run.token, most, wait, "1" if at_front else "0", failure_ttl]
    return Failed((await store.run("retry", keys, *args, value, _plain(value))).decode())


def chance() -> float:
    """A random number from 0 to 1, for the jitter of an interval."""
    return random.random()  # noqa: S311 - not a secret


async def stop(store: Store, worker: str, run: Run, traceback: bytes, failure_ttl: int) -> bool:
    """Record that a run was stopped, as somebody asked for; parameters and answer as for `finish`."""
    return await _end(store, "stop", worker, run, traceback, failure_ttl) == "ok"


async def _end(store: Store, script: str, worker: str, run: Run, text: bytes, ttl: int, *more: Value) -> str:
    keys = [store.keys.job(run.job_id)]
    said: bytes = await store.run(script, keys, worker, run.queue, run.job_id, run.token, text, ttl, *more)
    word, _, part = said.decode().partition(" ")
    if part:
        # The outcome is recorded. Whatever goes wrong now, the worker that looks after what is overdue goes on with it.
        with contextlib.suppress(AiorqError):
            await enqueue_dependents(store, part)
    return word


async def release(store: Store, worker: str, queues: Sequence[str], runs: Sequence[Run] = ()) -> int:
    """Hand back runs that did not begin, and what is in the worker's inboxes, to the heads of their queues.

    Returns:
        how many runs were handed back.
    """
    keys = store.keys
    pairs = [key for queue in queues for key in (keys.inbox(worker, queue), keys.queue(queue))]
    args = [part for run in reversed(runs) for part in (run.queue, run.job_id, run.token)]
    return int(await store.run("release", pairs, worker, *args))
