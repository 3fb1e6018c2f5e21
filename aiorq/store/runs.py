"""Runs: claiming jobs, keeping their leases, and recording how they ended. Only workers call these."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from aiorq.store.base import Store
from aiorq.store.transport import Value


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


def new_nonce() -> str:
    """What tells one claim from all others: 28 hex digits."""
    return secrets.token_hex(14)


async def claim(
    store: Store, worker: str, queues: Sequence[str], most: int, lease: float, nonce: str | None = None
) -> list[Claimed] | None:
    """Take up to `most` jobs, from the first queue first; they come back started and leased.

    Args:
        store: where.
        worker: the name of the worker.
        queues: names, in strict order.
        most: 1 and more.
        lease: seconds.
        nonce: from `new_nonce`, the same when the claim is asked for again because its answer did not come: it then
            gives what the first one took. None for a claim that is asked for once.

    Returns:
        what was taken, or None while all workers are suspended.
    """
    keys = store.keys
    pairs = [key for queue in queues for key in (keys.inbox(worker, queue), keys.queue(queue))]
    reply = await store.run("claim", pairs, worker, lease, nonce or new_nonce(), most)
    if reply == b"suspended":
        return None
    claimed = []
    for index in range(1, len(reply), 4):
        token, queue, job_id, fields = reply[index : index + 4]
        pairs_of_fields = dict(zip(fields[::2], fields[1::2], strict=True))
        claimed.append(Claimed(Run(queue.decode(), job_id.decode(), token.decode()), pairs_of_fields))
    return claimed


async def renew(
    store: Store, worker: str, runs: Sequence[Run], lease: float, worker_ttl: int
) -> tuple[bool, list[Run]]:
    """Renew the leases of all runs of a worker and its own heartbeat, in one call.

    Returns:
        whether Redis still knows the worker, and the runs that were taken from it.
    """
    args: list[Value] = [part for run in runs for part in (run.queue, run.job_id, run.token)]
    known, *held = await store.run("renew", [store.keys.worker(worker)], worker, lease, worker_ttl, *args)
    return known == b"known", [run for run, holds in zip(runs, held, strict=True) if not holds]


async def finish(store: Store, worker: str, run: Run, value: bytes, result_ttl: int) -> bool:
    """Record that a run returned.

    Args:
        store: where.
        worker: the name of the worker.
        run: which.
        value: the result in RQ's encoding; empty for None.
        result_ttl: seconds to keep the job; 0 deletes it, negative keeps it for ever.

    Returns:
        False when the run had lost its place: nothing was changed.
    """
    return await _end(store, "finish", worker, run, value, result_ttl)


async def fail(store: Store, worker: str, run: Run, traceback: bytes, failure_ttl: int) -> bool:
    """Record that a run failed for good; parameters and answer as for `finish`."""
    return await _end(store, "fail", worker, run, traceback, failure_ttl)


async def _end(store: Store, script: str, worker: str, run: Run, text: bytes, ttl: int) -> bool:
    keys = [store.keys.job(run.job_id)]
    word = await store.run(script, keys, worker, run.queue, run.job_id, run.token, text, ttl)
    return bool(word == b"ok")


async def release(store: Store, worker: str, queues: Sequence[str], runs: Sequence[Run] = ()) -> int:
    """Hand back runs that did not begin, and what is in the worker's inboxes, to the heads of their queues.

    Returns:
        how many runs were handed back.
    """
    keys = store.keys
    pairs = [key for queue in queues for key in (keys.inbox(worker, queue), keys.queue(queue))]
    args = [part for run in reversed(runs) for part in (run.queue, run.job_id, run.token)]
    return int(await store.run("release", pairs, worker, *args))
