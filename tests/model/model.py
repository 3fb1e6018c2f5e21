"""What must be in Redis, without Redis: every script as a method on a few dicts.

Seconds are counted from the beginning of an example. A `picture` is all keys with the part of their content that the
model knows, and the second of their expiry; `sight.py` gives the same of the server.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tests.scripts.conftest import NOON

Picture: TypeAlias = dict[str, tuple[Any, int | None]]
YEAR = 31_536_000
MOST_LOSSES = 1


@dataclass
class Entry:
    """A key that is neither a job nor a run."""

    value: Any
    expires: int | None = None


@dataclass(kw_only=True)
class Job:
    queue: str
    nonce: str
    waits: int | None = None
    """Seconds that it may wait (`ttl`)."""
    kept: int | None = None
    """Seconds that it is kept after a failure (`failure_ttl`)."""
    retries: int | None = None
    asked: int | None = None
    """How many retries there were at first, once one was used."""
    intervals: list[int] = field(default_factory=list)
    first_on_retry: bool = False
    first: bool | None = None
    on_lost: str | None = None
    losses: int | None = None
    status: str = "queued"
    worker: str = ""
    held: str | None = None
    """The token of the claim whose run has not begun."""
    expires: int | None = None


@dataclass
class Run:
    job_id: str
    queue: str
    worker: str
    on_lost: str
    books: int | None
    """Second at which the keys of the execution expire; None once they did."""


class Model:
    def __init__(self) -> None:
        self.now = 0
        self.jobs: dict[str, Job] = {}
        self.runs: dict[str, Run] = {}
        self.keys: dict[str, Entry] = {}
        self.reaped: set[str] = set()
        """The runs whose jobs the reaper has failed for good."""

    # Keys

    @property
    def moment(self) -> float:
        return NOON + self.now

    def at(self, key: str, kind: type) -> Any:
        """The value of a key, made where it is missing; one that is empty counts as missing."""
        entry = self.keys.get(key)
        if entry is None or not entry.value:
            entry = self.keys[key] = Entry(kind())
        return entry.value

    def has(self, key: str) -> bool:
        return key in self.keys and bool(self.keys[key].value)

    def expire(self, key: str, seconds: int) -> None:
        if self.has(key):
            self.keys[key].expires = self.now + seconds

    def after(self, seconds: int) -> int | None:
        return self.now + seconds if seconds > 0 else None

    def set_clock(self, now: int) -> None:
        self.now = now
        for key in [key for key, entry in self.keys.items() if entry.expires is not None and entry.expires <= now]:
            del self.keys[key]
        for job_id in [job_id for job_id, job in self.jobs.items() if job.expires is not None and job.expires <= now]:
            del self.jobs[job_id]
        for run in self.runs.values():
            if run.books is not None and run.books <= now:
                run.books, run.on_lost = None, ""

    def picture(self) -> Picture:
        seen: Picture = {key: (entry.value, entry.expires) for key, entry in self.keys.items() if entry.value}
        for job_id, job in self.jobs.items():
            fields = (
                job.status,
                job.queue,
                job.worker,
                job.nonce,
                job.retries,
                job.asked,
                job.losses,
                job.held,
            )
            seen[f"job:{job_id}"] = fields, job.expires
        for token, run in self.runs.items():
            if run.books is not None:
                seen[f"execution:{run.job_id}:{token}"] = (run.worker, run.on_lost), run.books
                seen[f"executions:{run.job_id}"] = {token: NOON + run.books}, run.books
        return seen

    # What scripts have in common

    def token_of(self, job_id: str) -> str | None:
        return next((token for token, run in self.runs.items() if run.job_id == job_id), None)

    def is_on_books(self, job_id: str) -> bool:
        token = self.token_of(job_id)
        return token is not None and self.runs[token].books is not None

    def wait(self, job: Job) -> None:
        if job.waits is not None:
            job.expires = self.now + job.waits

    def end_run(self, token: str, worker: str, word: str) -> None:
        run = self.runs.pop(token)
        member = f"{run.job_id}:{token}"
        del self.at(f"wip:{run.queue}", dict)[member]
        self.at(f"worker:{worker}:executions", set).discard(member)
        stops = self.at(f"aiorq:stops:{worker}", dict)
        if token in stops:
            del stops[token]
            self.at(f"aiorq:answer:{token}", list).append(word)
            self.expire(f"aiorq:answer:{token}", 60)

    def leave_place(self, job_id: str, word: str) -> None:
        job = self.jobs[job_id]
        if job.status == "queued":
            queue = self.at(f"queue:{job.queue}", list)
            if job_id in queue:
                queue.remove(job_id)
        elif job.status == "started":
            token = self.token_of(job_id)
            if token is not None:
                self.end_run(token, job.worker, word)
        else:
            kind = "failed" if job.status == "stopped" else job.status
            self.at(f"{kind}:{job.queue}", dict).pop(job_id, None)

    def delete_job(self, job_id: str) -> None:
        del self.jobs[job_id]
        self.keys.pop(f"results:{job_id}", None)

    def give_back(self, worker: str, queue: str) -> None:
        inbox = self.at(f"aiorq:inbox:{worker}:{queue}", list)
        self.at(f"queue:{queue}", list)[:0] = inbox
        inbox.clear()

    def put_back(self, job_id: str) -> None:
        job = self.jobs[job_id]
        self.at(f"queue:{job.queue}", list).insert(0, job_id)
        job.status, job.worker, job.held = "queued", "", None
        self.wait(job)

    def idle(self, worker: str) -> None:
        if self.has(f"worker:{worker}") and not self.has(f"worker:{worker}:executions"):
            self.keys[f"worker:{worker}"].value["state"] = "idle"

    def recorded(self, token: str) -> str | None:
        """How a run ended that left no outcome, while that is remembered. An outcome is told by its text."""
        return str(self.keys[f"aiorq:ended:{token}"].value) if self.has(f"aiorq:ended:{token}") else None

    def retry(self, job_id: str) -> str | None:
        job = self.jobs[job_id]
        if not job.retries:
            return None
        job.asked = job.asked or job.retries
        used = job.asked - job.retries
        interval = job.intervals[min(used, len(job.intervals) - 1)] if job.intervals else 0
        job.retries -= 1
        if interval:
            self.at(f"scheduled:{job.queue}", dict)[job_id] = self.moment + interval
        else:
            queue = self.at(f"queue:{job.queue}", list)
            queue.insert(0 if job.first_on_retry else len(queue), job_id)
        job.status = "scheduled" if interval else "queued"
        self.wait(job)
        return job.status

    def end_job(self, job_id: str, token: str, status: str, ttl: int) -> None:
        """The run is off the books, and the job has its final outcome."""
        job = self.jobs[job_id]
        if ttl == 0:
            self.delete_job(job_id)
            self.keys[f"aiorq:gone:{job_id}"] = Entry(f"={job.nonce}", self.now + 60)
            if token not in self.reaped:
                self.keys[f"aiorq:ended:{token}"] = Entry(status, self.now + 60)
            return
        kind = "finished" if status == "finished" else "failed"
        never = math.inf if status == "finished" else -1
        self.at(f"{kind}:{job.queue}", dict)[job_id] = math.floor(self.moment) + ttl if ttl > 0 else never
        job.status, job.expires = status, self.after(ttl)
        number = {"finished": "1", "failed": "2", "stopped": "3"}[status]
        self.at(f"results:{job_id}", list).append((number, token))
        self.keys[f"results:{job_id}"].expires = self.after(ttl)

    # Scripts

    def enqueue(self, job_id: str, job: Job, *, first: bool) -> str:
        old = self.jobs.get(job_id)
        if old is not None and job.nonce in {"", old.nonce}:
            return "queued"
        if (
            old is None
            and self.has(f"aiorq:gone:{job_id}")
            and self.keys[f"aiorq:gone:{job_id}"].value == f"={job.nonce}"
        ):
            return "queued"
        if old is not None and old.status == "started" and self.is_on_books(job_id):
            return "running"
        self.at("queues", set).add(f"queue:{job.queue}")
        if old is not None:
            self.leave_place(job_id, "replaced")
            self.keys.pop(f"results:{job_id}", None)
        self.jobs[job_id] = job
        self.wait(job)
        queue = self.at(f"queue:{job.queue}", list)
        queue.insert(0 if first else len(queue), job_id)
        return "queued"

    def claim(
        self, worker: str, queues: list[str], most: int, lease: int, nonce: str, on_lost: str
    ) -> list[tuple[str, str, str]] | None:
        """Returns token, queue and id of each job that is taken."""
        if self.has("suspended"):
            for queue in queues:
                self.give_back(worker, queue)
            return None
        taken: list[tuple[str, str, str]] = []
        for queue in queues:
            inbox, waiting = self.at(f"aiorq:inbox:{worker}:{queue}", list), self.at(f"queue:{queue}", list)
            while len(taken) < most and (inbox or waiting):
                job_id = (inbox or waiting).pop(0)
                job = self.jobs.get(job_id)
                if job is None or self.is_ghost(job_id, job):
                    self.at("aiorq:dropped", Counter)[queue] += 1
                    continue
                if job.status != "queued":
                    self.leave_place(job_id, "replaced")
                token = f"{nonce}{len(taken) + 1:04x}"
                taken.append((token, job.queue, job_id))
                self.runs[token] = Run(job_id, job.queue, worker, on_lost, self.now + lease + 60)
                self.at(f"wip:{job.queue}", dict)[f"{job_id}:{token}"] = self.moment + lease
                self.at(f"worker:{worker}:executions", set).add(f"{job_id}:{token}")
                job.status, job.worker, job.held, job.expires = "started", worker, token, None
            self.give_back(worker, queue)
        if taken:
            self.at(f"worker:{worker}", dict)["state"] = "busy"
            self.expire(f"worker:{worker}", 480)
            self.expire(f"worker:{worker}:executions", 480)
        return taken

    def is_ghost(self, job_id: str, job: Job) -> bool:
        """Whether an entry in a queue is not that of the job as it is."""
        if job.status == "started":
            return self.is_on_books(job_id)
        return job.status == "canceled" or (bool(job.nonce) and job.status != "queued")

    def hand_over(self, worker: str, queue: str) -> None:
        self.at(f"aiorq:inbox:{worker}:{queue}", list).append(self.at(f"queue:{queue}", list).pop(0))

    def begin(self, token: str) -> bool:
        run = self.runs.get(token)
        if run is not None and self.jobs[run.job_id].held == token:
            self.jobs[run.job_id].held = None
        return run is not None

    def renew(self, worker: str, boot: str, runs: dict[str, bool], lease: int, ttl: int) -> bool:
        """`runs`: tokens and whether they have begun. Returns whether the worker is known."""
        entry = self.keys.get(f"worker:{worker}")
        known = entry is not None and entry.value.get("boot") == boot
        own = f"worker:{worker}:executions"
        if known:
            self.expire(f"worker:{worker}", ttl)
        for token, begun in runs.items():
            run = self.runs.get(token)
            if run is None:
                continue
            run.worker = worker if run.books is None else run.worker
            run.books = self.now + lease + 60
            self.at(f"wip:{run.queue}", dict)[f"{run.job_id}:{token}"] = self.moment + lease
            if begun:
                self.begin(token)
            self.at(own, set).add(f"{run.job_id}:{token}")
        self.expire(own, ttl)
        return known

    def finish(self, worker: str, token: str, ttl: int) -> None:
        self._end(worker, token, "finished", ttl)

    def fail(self, worker: str, token: str, ttl: int) -> str:
        run = self.runs[token]
        place = self.retry(run.job_id)
        if place is None:
            self._end(worker, token, "failed", ttl)
            return "failed"
        self.keys[f"aiorq:ended:{token}"] = Entry(place, self.now + 60)
        self.end_run(token, worker, place)
        self.idle(worker)
        return place

    def stop(self, worker: str, token: str, ttl: int) -> None:
        self._end(worker, token, "stopped", ttl)

    def _end(self, worker: str, token: str, status: str, ttl: int) -> None:
        job_id = self.runs[token].job_id
        self.end_run(token, worker, status)
        self.end_job(job_id, token, status, ttl)
        self.idle(worker)

    def release(self, worker: str, queues: list[str], tokens: list[str]) -> int:
        """`tokens` in the order of their claim."""
        handed = 0
        for token in reversed(tokens):
            if token in self.runs:
                self.put_back(self.runs[token].job_id)
                self.end_run(token, worker, "queued")
                handed += 1
        for queue in queues:
            self.give_back(worker, queue)
        self.idle(worker)
        return handed

    def cancel(self, job_id: str) -> str:
        job = self.jobs.get(job_id)
        if job is None:
            return "missing"
        if job.status == "canceled":
            return "canceled"
        self.leave_place(job_id, "canceled")
        self.at(f"canceled:{job.queue}", dict)[job_id] = math.floor(self.moment)
        job.status, job.held, job.expires = "canceled", None, self.after(job.kept or YEAR)
        if self.has(f"results:{job_id}"):
            self.keys[f"results:{job_id}"].expires = job.expires
        return "ok"

    def ask_stop(self, job_id: str, token: str, grace: str) -> tuple[str, str, bool] | str:
        """Returns the worker, the token, and whether it answers; or a word: why not."""
        job = self.jobs.get(job_id)
        if job is None:
            return "missing"
        newest = self.token_of(job_id) if self.is_on_books(job_id) else None
        token = token or newest or ""
        run = self.runs.get(token)
        if run is None or run.job_id != job_id:
            return job.status
        worker = run.worker if run.books is not None else job.worker
        entry = self.keys.get(f"worker:{worker}")
        answers = entry is not None and "boot" in entry.value
        if answers:
            self.at(f"aiorq:stops:{worker}", dict)[token] = grace
            self.expire(f"aiorq:stops:{worker}", 86400)
        return worker, token, answers

    def delete(self, job_ids: list[str]) -> int:
        known = [job_id for job_id in dict.fromkeys(job_ids) if job_id in self.jobs]
        for job_id in known:
            self.leave_place(job_id, "deleted")
            self.delete_job(job_id)
        return len(known)

    def empty(self, queue: str) -> int:
        waiting = self.at(f"queue:{queue}", list)
        for job_id in waiting:
            if job_id in self.jobs and self.jobs[job_id].status == "queued":
                self.delete_job(job_id)
        taken = len(waiting)
        waiting.clear()
        return taken

    def look(self, worker: str, leads: int) -> set[tuple[str, str, str, str]] | None:
        leader = self.keys.get("aiorq:leader")
        if leader is not None and leader.value != worker:
            return None
        self.keys["aiorq:leader"] = Entry(worker, self.now + leads)
        workers, inboxes = self.at("workers", set), self.at("aiorq:inboxes", set)
        dead = {key for key in workers if not self.has(key)}
        workers -= dead
        queues = [key.removeprefix("queue:") for key in self.at("queues", set)]
        found = set()
        for queue in queues:
            self.at(f"workers:{queue}", set).difference_update(dead)
            for member, score in self.at(f"wip:{queue}", dict).items():
                if score <= self.moment:
                    run = self.runs[member.partition(":")[2]]
                    found.add(("lease", queue, member, run.worker if run.books is not None else ""))
            for job_id, score in self.at(f"scheduled:{queue}", dict).items():
                if score <= self.moment:
                    found.add(("due", queue, job_id, ""))
        for inbox in sorted(inboxes):
            name, _, queue = inbox.partition(":")
            if self.has(f"aiorq:inbox:{inbox}"):
                found.add(("inbox", queue, self.at(f"aiorq:inbox:{inbox}", list)[0], name))
            elif not self.has(f"worker:{name}"):
                inboxes.discard(inbox)
                self.at(f"workers:{queue}", set).discard(f"worker:{name}")
        return found

    def reap(self, member: str, worker: str, on_lost: str, kept: int) -> str:
        job_id, _, token = member.partition(":")
        run = self.runs.get(token)
        if run is None or self.at(f"wip:{run.queue}", dict)[member] > self.moment:
            return "held"
        job = self.jobs[job_id]
        worker = worker or job.worker
        if job.held == token:
            self.put_back(job_id)
            self.end_run(token, worker, "queued")
            return "returned"
        wish = job.on_lost or run.on_lost or on_lost
        losses = job.losses or 0
        if wish == "requeue" and losses < MOST_LOSSES:
            self.put_back(job_id)
            job.losses = losses + 1
            self.end_run(token, worker, "queued")
            return "requeued"
        place = None if wish == "requeue" else self.retry(job_id)
        self.end_run(token, worker, place or "failed")
        if place is not None:
            return "retried"
        self.reaped.add(token)
        self.end_job(job_id, token, "failed", kept if job.kept is None else job.kept)
        return "poisoned" if wish == "requeue" else "failed"

    def promote(self, queue: str, job_id: str) -> str:
        scheduled = self.at(f"scheduled:{queue}", dict)
        if job_id not in scheduled:
            return "dropped"
        if scheduled[job_id] > self.moment:
            return "early"
        del scheduled[job_id]
        job = self.jobs.get(job_id)
        if job is None or job.status != "scheduled":
            return "dropped"
        waiting = self.at(f"queue:{queue}", list)
        waiting.insert(0 if job.first else len(waiting), job_id)
        job.status = "queued"
        self.wait(job)
        return "queued"

    def register(self, worker: str, boot: str, queues: list[str], ttl: int) -> str:
        key = f"worker:{worker}"
        known = self.at(key, dict)
        if known.get("boot") not in {None, boot}:
            if "dead" not in known:
                return "taken"
            known.clear()
            self.keys.pop(f"{key}:executions", None)
        known.update(boot=boot, state="started")
        self.expire(key, ttl)
        self.at("workers", set).add(key)
        for queue in queues:
            self.at(f"workers:{queue}", set).add(key)
            self.at("aiorq:inboxes", set).add(f"{worker}:{queue}")
        return "ok"

    def unheard(self, worker: str) -> list[str]:
        """The runs on a worker's books that have not begun, the last claimed first."""
        tokens = [member.partition(":")[2] for member in self.at(f"worker:{worker}:executions", set)]
        return sorted(
            (token for token in tokens if token in self.runs and self.jobs[self.runs[token].job_id].held == token),
            reverse=True,
        )

    def retire(self, worker: str, boot: str, queues: list[str]) -> str:
        key = f"worker:{worker}"
        known = self.at(key, dict)
        if known.get("boot") not in {None, boot}:
            return "taken"
        for token in self.unheard(worker):
            self.put_back(self.runs[token].job_id)
            self.end_run(token, worker, "queued")
        self.at("workers", set).discard(key)
        for queue in queues:
            self.at(f"workers:{queue}", set).discard(key)
            if not self.has(f"aiorq:inbox:{worker}:{queue}"):
                self.at("aiorq:inboxes", set).discard(f"{worker}:{queue}")
        if self.has("aiorq:leader") and self.keys["aiorq:leader"].value == worker:
            del self.keys["aiorq:leader"]
        if "boot" in known and "dead" not in known:
            known["dead"] = True
            self.expire(key, 60)
        self.keys.pop(f"{key}:executions", None)
        return "ok"
