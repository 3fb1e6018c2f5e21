"""What must be in Redis, without Redis: every script as a method on a few dicts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final

from tests.model.shelf import Entry, Fields, Job, Picture, Run, Shelf
from tests.scripts.conftest import NOON

__all__ = ["MANY_DEPENDENTS", "MANY_PARENTS", "MOST_LOSSES", "YEAR", "Entry", "Fields", "Job", "Model", "Picture"]

YEAR: Final = 31_536_000
DAY: Final = 86_400
MOST_LOSSES: Final = 1
MANY_DEPENDENTS: Final = 2
"""More dependents than these are set apart when a job ends; in earnest they are a hundred."""
MANY_PARENTS: Final = 1
"""Of a job that waits for more than these they are kept in a list of their own; in earnest they are 16."""
_WAITING: Final = frozenset({"queued", "deferred", "scheduled", "rate_limited", "started"})


class Model(Shelf):
    # Keys of a job

    def expire_job(self, job_id: str, seconds: int) -> None:
        self.jobs[job_id].expires = self.now + seconds
        for key in (f"job:{job_id}:dependents", f"job::{job_id}:dependencies", f"aiorq:attempts:{job_id}"):
            self.expire(key, seconds)

    def keep_job(self, job_id: str, seconds: int) -> None:
        self.jobs[job_id].expires = self.after(seconds)
        for key in (f"job:{job_id}:dependents", f"job::{job_id}:dependencies", f"aiorq:attempts:{job_id}"):
            if key in self.keys:
                self.keys[key].expires = self.after(seconds)
        if seconds > 0:
            self.limit_results(job_id, seconds)

    def limit_results(self, job_id: str, seconds: int) -> None:
        """Outcomes go with their job at the latest."""
        entry = self.keys.get(f"results:{job_id}")
        if entry is not None and (entry.expires is None or entry.expires > self.now + seconds):
            entry.expires = self.now + seconds

    def wait(self, job_id: str) -> None:
        """Its time to wait begins now."""
        seconds = self.jobs[job_id].waits
        if seconds is not None:
            self.expire_job(job_id, seconds)
            self.limit_results(job_id, seconds)

    def delete_job(self, job_id: str) -> None:
        job = self.jobs.pop(job_id, None)
        if job is not None and job.group:
            self.at(f"group:{job.group}", set).discard(job_id)
        for key in (
            f"job::{job_id}:dependencies",
            f"results:{job_id}",
            f"aiorq:attempts:{job_id}",
            f"aiorq:waits:{job_id}",
        ):
            self.drop(key)
        if self.has(f"job:{job_id}:dependents"):
            self.keys[f"job:{job_id}:dependents"].expires = self.now + YEAR

    def push(self, job_id: str, *, first: bool) -> None:
        job = self.jobs[job_id]
        queue = self.at(f"queue:{job.queue}", list)
        queue.insert(0 if first else len(queue), job_id)
        job.status = "queued"

    # Runs

    def token_of(self, job_id: str) -> str | None:
        return next((token for token, run in self.runs.items() if run.job_id == job_id), None)

    def is_on_books(self, job_id: str) -> bool:
        token = self.token_of(job_id)
        return token is not None and self.runs[token].books is not None

    def enter_run(self, job_id: str, token: str, worker: str, lease: int, on_lost: str) -> None:
        queue = self.jobs[job_id].queue
        self.runs[token] = Run(job_id, queue, worker, on_lost, self.now + lease + 60)
        self.at(f"wip:{queue}", dict)[f"{job_id}:{token}"] = self.moment + lease
        if worker:
            self.at(f"worker:{worker}:executions", set).add(f"{job_id}:{token}")

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

    def put_back(self, job_id: str) -> None:
        job = self.jobs[job_id]
        self.push(job_id, first=True)
        job.worker, job.held = "", None
        self.wait(job_id)

    def idle(self, worker: str) -> None:
        if self.has(f"worker:{worker}") and not self.has(f"worker:{worker}:executions"):
            self.keys[f"worker:{worker}"].value["state"] = "idle"

    def recorded(self, token: str) -> str | None:
        """How a run ended that left no outcome, while that is remembered. An outcome is told by its text."""
        return str(self.keys[f"aiorq:ended:{token}"].value) if self.has(f"aiorq:ended:{token}") else None

    def remember(self, token: str, word: str) -> None:
        self.keys[f"aiorq:ended:{token}"] = Entry(word, self.now + 60)

    def record_result(self, job_id: str, token: str, number: str, ttl: int) -> None:
        results = self.at(f"results:{job_id}", list)
        results.append((number, token))
        del results[:-10]
        self.keys[f"results:{job_id}"].expires = self.after(ttl)

    def note_attempt(self, job_id: str, token: str, how: str) -> None:
        job = self.jobs[job_id]
        job.attempts = (job.attempts or 0) + 1
        self.at(f"aiorq:attempts:{job_id}", list).append((job.attempts, how, token))
        self.keys[f"aiorq:attempts:{job_id}"].expires = self.now + YEAR if job.expires is None else job.expires

    def forget_attempts(self, job_id: str) -> None:
        self.jobs[job_id].attempts = None
        self.drop(f"aiorq:attempts:{job_id}")

    # Places

    def place_job(self, job_id: str, *, first: bool, at: float | None) -> str:
        job = self.jobs[job_id]
        if at is not None and at > self.moment:
            self.at(f"scheduled:{job.queue}", dict)[job_id] = at
            job.status = "scheduled"
        elif job.limit is not None:
            limit, concurrency = job.limit
            self.at(f"rl:{limit}:rate_limited", dict)[job_id] = self.moment
            self.at("rl-keys", set).add(limit)
            self.at(f"rl:{limit}", dict)["concurrency"] = str(concurrency)
            job.status = "rate_limited"
            job.first = True if first else job.first
            self.admit(limit)
        else:
            self.push(job_id, first=first)
        return job.status

    def admit(self, limit: str) -> None:
        waiting, held = self.at(f"rl:{limit}:rate_limited", dict), self.at(f"rl:{limit}:allowed", dict)
        while waiting and len(held) < int(self.at(f"rl:{limit}", dict)["concurrency"]):
            job_id = min(waiting, key=lambda entry: (waiting[entry], entry))
            del waiting[job_id]
            job = self.jobs.get(job_id)
            if job is not None and job.status == "rate_limited" and job.limit is not None and job.limit[0] == limit:
                self.push(job_id, first=bool(job.first))
                self.at(f"rl:{limit}:allowed", dict)[job_id] = self.moment
                held = self.at(f"rl:{limit}:allowed", dict)

    def release_slot(self, job_id: str) -> None:
        limit = self.jobs[job_id].limit
        if limit is not None:
            self.at(f"rl:{limit[0]}:rate_limited", dict).pop(job_id, None)
            if self.at(f"rl:{limit[0]}:allowed", dict).pop(job_id, None) is not None:
                self.admit(limit[0])

    def place_again(self, job_id: str, interval: int, *, first: bool) -> str:
        job = self.jobs[job_id]
        if interval:
            self.at(f"scheduled:{job.queue}", dict)[job_id] = self.moment + interval
            job.status = "scheduled"
        else:
            self.push(job_id, first=first)
        self.wait(job_id)
        if interval:
            self.release_slot(job_id)
        return job.status

    def leave_place(self, job_id: str, word: str) -> None:
        job = self.jobs[job_id]
        self.release_slot(job_id)
        if job.status == "queued":
            queue = self.at(f"queue:{job.queue}", list)
            if job_id in queue:
                queue.remove(job_id)
        elif job.status == "started":
            token = self.token_of(job_id)
            if token is not None:
                self.end_run(token, job.worker, word)
        elif job.status != "rate_limited":
            kind = "failed" if job.status == "stopped" else job.status
            self.at(f"{kind}:{job.queue}", dict).pop(job_id, None)
        if job.repeat_intervals is not None and job.status != "finished":
            self.at(f"finished:{job.queue}", dict).pop(job_id, None)

    def give_back(self, worker: str, queue: str) -> None:
        inbox = self.at(f"aiorq:inbox:{worker}:{queue}", list)
        self.at(f"queue:{queue}", list)[:0] = inbox
        inbox.clear()

    # Dependencies

    def is_met(self, parent: str, allow: bool | None) -> bool:
        job = self.jobs.get(parent)
        return job is None or job.status == "finished" or (bool(allow) and job.status == "failed")

    def closes_cycle(self, job_id: str, parents: Collection[str]) -> bool:
        """Whether a job is among those that these wait for."""
        seen: set[str] = set()
        left = list(parents)
        while left:
            parent = left.pop()
            if parent == job_id:
                return True
            if parent not in seen:
                seen.add(parent)
                if parent in self.jobs and self.jobs[parent].status == "deferred":
                    left += self.read(f"job::{parent}:dependencies")
        return False

    def defer(self, job_id: str, *, first: bool) -> bool:
        job = self.jobs[job_id]
        unmet = [parent for parent in job.parents if not self.is_met(parent, job.allow)]
        if not unmet:
            return False
        self.at(f"deferred:{job.queue}", dict)[job_id] = math.floor(self.moment)
        self.drop(f"job::{job_id}:dependencies")
        for parent in job.parents:
            if parent in self.jobs:
                self.at(f"job::{job_id}:dependencies", set).add(parent)
                self.at(f"job:{parent}:dependents", set).add(job_id)
                if self.jobs[parent].expires is not None:
                    self.keys[f"job:{parent}:dependents"].expires = self.jobs[parent].expires
        self.keep_unmet(job_id, unmet)
        job.status, job.let_go_first, job.let_go_at = "deferred", first, job.at
        return True

    def keep_unmet(self, job_id: str, unmet: Sequence[str]) -> None:
        self.drop(f"aiorq:waits:{job_id}")
        if len(unmet) > MANY_PARENTS:
            self.keys[f"aiorq:waits:{job_id}"] = Entry([*unmet, ""], self.now + DAY)

    def is_waiting(self, job_id: str, ended: str) -> bool:
        allow = self.jobs[job_id].allow
        known = self.at(f"aiorq:waits:{job_id}", list)
        while known:
            if known[0] == "":
                return False
            if known[0] != ended and not self.is_met(known[0], allow):
                return True
            known.pop(0)
        parents = self.members(f"job::{job_id}:dependencies")
        unmet = [parent for parent in parents if parent != ended and not self.is_met(parent, allow)]
        self.keep_unmet(job_id, unmet)
        return bool(unmet)

    def let_go(self, job_id: str, ended: str, how: str) -> str:
        job = self.jobs.get(job_id)
        if job is None or job.status != "deferred":
            return "canceled" if job is not None and job.status == "canceled" else "elsewhere"
        if how == "stopped" or (how == "failed" and not job.allow):
            if ended not in self.read(f"job::{job_id}:dependencies"):
                return "elsewhere"
            job.barred = ended
            return "waits"
        if job.barred == ended and how != "gone":
            job.barred = None
        elif job.barred is not None and (job.barred == ended or job.barred not in self.jobs):
            return "waits"
        if self.is_waiting(job_id, ended):
            if how not in {"gone", "passed"} or not ended:
                return "waits"
            self.at(f"job::{job_id}:dependencies", set).discard(ended)
            known = self.at(f"aiorq:waits:{job_id}", list)
            known[:] = [parent for parent in known if parent != ended]
            return "elsewhere"
        self.at("queues", set).add(f"queue:{job.queue}")
        self.place_job(job_id, first=bool(job.first) or job.let_go_first, at=job.let_go_at)
        self.at(f"deferred:{job.queue}", dict).pop(job_id, None)
        self.drop(f"aiorq:waits:{job_id}")
        job.barred = None
        self.wait(job_id)
        return "enqueued"

    @staticmethod
    def stays_named(became: str, how: str) -> bool:
        """Whether a job is named among the dependents of one that has ended so."""
        return became == "waits" or (became == "canceled" and how in {"finished", "failed"})

    def end_parent(self, job_id: str, how: str) -> list[tuple[str, str]]:
        """Returns queue and id of each job that is enqueued now."""
        key = f"job:{job_id}:dependents"
        children = self.members(key)
        if len(children) > MANY_DEPENDENTS:
            part = f"{job_id}:{self.moment:.6f}"
            self.at(f"aiorq:parting:{part}", set).update(children)
            self.at("aiorq:parents", dict)[part] = how
            self.drop(key)
            return []
        enqueued = []
        for child in children:
            became = self.let_go(child, job_id, how)
            if how != "stopped" and not self.stays_named(became, how):
                self.at(key, set).discard(child)
            if became == "enqueued":
                enqueued.append((self.jobs[child].queue, child))
        return enqueued

    def enqueue_dependents(self, part: str, popped: set[str], first: Sequence[str]) -> tuple[bool, list[str]]:
        """`popped` are those that the script took, `first` those of them that it enqueued.

        Returns whether some are left, and who is enqueued.
        """
        parents, left = self.at("aiorq:parents", dict), self.at(f"aiorq:parting:{part}", set)
        if part not in parents:
            return False, []
        how, parent = parents[part], part.partition(":")[0]
        if parent in self.jobs and self.jobs[parent].status == "finished":
            how = "finished"
        enqueued = []
        for child in [*first, *sorted(popped.difference(first))]:
            left.remove(child)
            became = self.let_go(child, parent, how)
            if became == "enqueued":
                enqueued.append(child)
            elif self.stays_named(became, how):
                self.at(f"job:{parent}:dependents", set).add(child)
        expires = self.jobs[parent].expires if parent in self.jobs else self.now + YEAR
        if expires is not None and self.has(f"job:{parent}:dependents"):
            self.keys[f"job:{parent}:dependents"].expires = expires
        if not left:
            del parents[part]
        return bool(left), enqueued

    # Ends of runs

    def retry_job(self, job_id: str, kinds: Collection[str]) -> str | None:
        job = self.jobs[job_id]
        if not job.retries or not job.never.isdisjoint(kinds) or (job.only and job.only.isdisjoint(kinds)):
            return None
        job.asked = job.asked or job.retries
        used = job.asked - job.retries
        interval = job.intervals[min(used, len(job.intervals) - 1)] if job.intervals else 0
        place = self.place_again(job_id, interval, first=job.first_on_retry)
        job.retries -= 1
        return place

    def enter(self, job_id: str, kind: str, ttl: int) -> None:
        """Enter a job among those that have ended so, before anything else."""
        if ttl != 0 or kind == "failed":
            never = math.inf if kind == "finished" else -1
            queue = self.jobs[job_id].queue
            self.at(f"{kind}:{queue}", dict)[job_id] = math.floor(self.moment) + ttl if ttl >= 0 else never

    def delete_ended(self, job_id: str) -> None:
        nonce = self.jobs[job_id].nonce
        self.delete_job(job_id)
        self.keys[f"aiorq:gone:{job_id}"] = Entry(f"={nonce}", self.now + 60)
        self.keys["aiorq:gone"] = Entry("1", self.now + 60)

    def leave_failed(self, job_id: str, token: str, status: str, number: str, ttl: int) -> None:
        """The run is off the books, and the job is not tried again."""
        job = self.jobs[job_id]
        job.status, job.ended = status, True
        self.release_slot(job_id)
        if job.repeat_intervals is not None:
            self.at(f"finished:{job.queue}", dict).pop(job_id, None)
        self.end_parent(job_id, status)
        if ttl == 0:
            self.delete_ended(job_id)
            return
        self.record_result(job_id, token, number, ttl)
        if ttl > 0:
            self.expire_job(job_id, ttl)

    # Scripts

    def enqueue(self, job_id: str, job: Job, *, first: bool) -> str:
        old = self.jobs.get(job_id)
        if old is not None and job.nonce in {"", old.nonce}:
            return old.status if old.status in _WAITING and (old.status != "started" or job.token) else "queued"
        gone = self.keys.get(f"aiorq:gone:{job_id}")
        if old is None and gone is not None and gone.value == f"={job.nonce}":
            return "queued"
        if old is not None and job.unique:
            return "exists"
        if old is not None and old.status == "started" and self.is_on_books(job_id):
            return "running"
        if job.nonce and self.closes_cycle(job_id, job.parents):
            return "cycle"
        self.at("queues", set).add(f"queue:{job.queue}")
        if old is not None:
            self.leave_place(job_id, "replaced")
            if old.group:
                self.at(f"group:{old.group}", set).discard(job_id)
            self.drop(f"job::{job_id}:dependencies")
            self.drop(f"results:{job_id}")
        if job.nonce:
            self.persist(f"job:{job_id}:dependents")
            self.drop(f"aiorq:attempts:{job_id}")
        self.jobs[job_id] = job
        if job.group:
            self.at(f"group:{job.group}", set).add(job_id)
            self.at("groups", set).add(job.group)
        if not (job.parents and self.defer(job_id, first=first)):
            if job.token:
                self.enter_run(job_id, job.token, "", job.lease, "")
                job.status = "started"
            else:
                self.place_job(job_id, first=first, at=job.at)
        if job.waits is not None and job.status != "started":
            self.expire_job(job_id, job.waits)
        return job.status

    def claim(
        self, worker: str, queues: list[str], most: int, lease: int, nonce: str, on_lost: str, *, in_turn: bool
    ) -> list[tuple[str, str, str]] | None:
        """Returns token, queue and id of each job that is taken."""
        if self.has("suspended"):
            for queue in queues:
                self.give_back(worker, queue)
            return None
        taken: list[tuple[str, str, str]] = []

        def take(queue: str) -> bool:
            found = self.take(worker, queue)
            if found is not None:
                token = f"{nonce}{len(taken) + 1:04x}"
                taken.append((token, self.jobs[found].queue, found))
                self.start(found, token, worker, lease, on_lost)
            return found is not None

        left = [queue for queue in queues if queue not in self.read("aiorq:paused")]
        while left and len(taken) < most:
            more = []
            for queue in left:
                if len(taken) < most and take(queue):
                    if in_turn:
                        more.append(queue)
                    while not in_turn and len(taken) < most and take(queue):
                        pass
            left = more
        for queue in queues:
            self.give_back(worker, queue)
        if taken:
            self.at(f"worker:{worker}", dict)["state"] = "busy"
            self.expire(f"worker:{worker}", 480)
            self.expire(f"worker:{worker}:executions", 480)
        return taken

    def take(self, worker: str, queue: str) -> str | None:
        """The next id of a queue whose job may run."""
        inbox, waiting = self.at(f"aiorq:inbox:{worker}:{queue}", list), self.at(f"queue:{queue}", list)
        while inbox or waiting:
            job_id: str = (inbox or waiting).pop(0)
            job = self.jobs.get(job_id)
            if job is not None and not self.is_ghost(job_id, job):
                return job_id
            self.at("aiorq:dropped", Counter)[queue] += 1
        return None

    def start(self, job_id: str, token: str, worker: str, lease: int, on_lost: str) -> None:
        job = self.jobs[job_id]
        if job.status != "queued":
            self.leave_place(job_id, "replaced")
        self.enter_run(job_id, token, worker, lease, on_lost)
        job.status, job.worker, job.held, job.expires = "started", worker, token, None
        if job.waits is not None:
            self.persist(f"job:{job_id}:dependents")
            self.persist(f"aiorq:attempts:{job_id}")

    def is_ghost(self, job_id: str, job: Job) -> bool:
        """Whether an entry in a queue is not that of the job as it is."""
        if job.status == "started" and (self.is_on_books(job_id) or job.limit is None):
            return self.is_on_books(job_id)
        return job.status == "canceled" or (bool(job.nonce or job.requeued) and job.status != "queued")

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
        job_id = self.runs[token].job_id
        job = self.jobs[job_id]
        interval = job.repeat_intervals[0] if job.repeats and job.repeat_intervals else 0
        self.enter(job_id, "finished", ttl)
        self.end_run(token, worker, "finished")
        self.idle(worker)
        if not job.repeats or interval:
            self.release_slot(job_id)
        job.status, job.ended = "finished", True
        self.end_parent(job_id, "passed" if ttl == 0 and not job.repeats else "finished")
        if ttl == 0 or job.repeats:
            self.remember(token, "finished")
        if ttl == 0 and not job.repeats:
            self.delete_ended(job_id)
            return
        if ttl != 0:
            self.record_result(job_id, token, "1", ttl)
        if job.repeats:
            self.forget_attempts(job_id)
            job.repeats -= 1
            if job.repeat_intervals is not None and len(job.repeat_intervals) > 1:
                job.repeat_intervals = job.repeat_intervals[1:]
            self.place_again(job_id, interval, first=False)
        elif ttl > 0:
            self.expire_job(job_id, ttl)

    def fail(self, worker: str, token: str, ttl: int, kinds: Collection[str] = (), *, listed: bool = True) -> str:
        job_id = self.runs[token].job_id
        place = self.retry_job(job_id, kinds)
        if place is None and listed:
            self.enter(job_id, "failed", ttl)
        self.end_run(token, worker, place or "failed")
        self.idle(worker)
        if place is not None:
            self.jobs[job_id].ended = True
            self.remember(token, place)
            self.note_attempt(job_id, token, "failed")
            return place
        self.jobs[job_id].listed = listed
        self.leave_failed(job_id, token, "failed", "2", ttl)
        if ttl == 0:
            self.remember(token, "failed")
        return "failed"

    def retry(self, worker: str, token: str, most: int, intervals: list[int], ttl: int, *, first: bool) -> str:
        job_id = self.runs[token].job_id
        job = self.jobs[job_id]
        tried = job.tried or 0
        if tried >= most:
            self.enter(job_id, "failed", ttl)
            place = "failed"
        else:
            interval = intervals[min(tried, len(intervals) - 1)]
            place = self.place_again(job_id, interval, first=first or job.first_on_retry)
        self.end_run(token, worker, place)
        self.idle(worker)
        self.remember(token, place)
        if place == "failed":
            self.leave_failed(job_id, token, "failed", "5", ttl)
            return place
        self.record_result(job_id, token, "4", ttl or YEAR)
        self.wait(job_id)
        job.tried, job.attempts, job.ended = tried + 1, (job.attempts or 0) + 1, True
        job.first_on_retry |= first
        return place

    def stop(self, worker: str, token: str, ttl: int) -> None:
        job_id = self.runs[token].job_id
        self.enter(job_id, "failed", ttl)
        self.end_run(token, worker, "stopped")
        self.idle(worker)
        self.leave_failed(job_id, token, "stopped", "3", ttl)
        if ttl == 0:
            self.remember(token, "stopped")

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

    def cancel(self, job_id: str, *, enqueue: bool, forget: bool) -> str | list[tuple[str, str]]:
        """Returns why not, or queue and id of each job that is enqueued."""
        job = self.jobs.get(job_id)
        if job is None:
            return "missing"
        if job.status == "canceled":
            return "canceled"
        self.leave_place(job_id, "canceled")
        self.at(f"canceled:{job.queue}", dict)[job_id] = math.floor(self.moment)
        if job.status not in {"finished", "failed", "stopped"} or job.expires is None:
            self.keep_job(job_id, job.kept or YEAR)
        job.status, job.held, job.listed = "canceled", None, True
        for parent in list(self.read(f"job::{job_id}:dependencies")) if forget else ():
            self.at(f"job:{parent}:dependents", set).discard(job_id)
        return self.end_parent(job_id, "passed" if enqueue else "stopped")

    def requeue(self, job_id: str, kind: str, *, first: bool) -> str:
        job = self.jobs.get(job_id)
        if job is None:
            return "missing"
        fits = job.status == kind or (kind == "failed" and job.status == "stopped")
        if not fits or job_id not in self.read(f"{kind}:{job.queue}"):
            return "elsewhere"
        if job.limit is not None:
            job.first = first
        self.place_job(job_id, first=first, at=None)
        del self.at(f"{kind}:{job.queue}", dict)[job_id]
        job.losses, job.barred, job.requeued, job.ended = None, None, True, False
        self.forget_attempts(job_id)
        self.drop(f"aiorq:waits:{job_id}")
        self.keep_job(job_id, -1 if job.waits is None else job.waits)
        return job.status

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
        if not worker:
            return job.status
        entry = self.keys.get(f"worker:{worker}")
        answers = entry is not None and "boot" in entry.value
        if answers:
            self.at(f"aiorq:stops:{worker}", dict)[token] = grace
            self.expire(f"aiorq:stops:{worker}", DAY)
        return worker, token, answers

    def delete(self, job_ids: list[str]) -> int:
        deleted = 0
        for job_id in job_ids:
            known = job_id in self.jobs
            if known:
                self.leave_place(job_id, "deleted")
            self.delete_job(job_id)
            deleted += known
        for job_id in job_ids:
            self.end_parent(job_id, "gone")
        return deleted

    def empty(self, queue: str) -> int:
        """Those that come to the queue meanwhile are spared."""
        waiting = list(self.at(f"queue:{queue}", list))
        self.at(f"queue:{queue}", list).clear()
        doomed = [job_id for job_id in waiting if job_id not in self.jobs or self.jobs[job_id].status == "queued"]
        for job_id in doomed:
            job = self.jobs.get(job_id)
            if job is not None:
                self.release_slot(job_id)
                if job.repeat_intervals is not None:
                    self.at(f"finished:{job.queue}", dict).pop(job_id, None)
            self.end_parent(job_id, "gone")
            self.delete_job(job_id)
        return len(waiting)

    def look(self, worker: str, leads: int) -> set[tuple[str, str, str, str]] | None:
        leader = self.keys.get("aiorq:leader")
        if leader is not None and leader.value != worker:
            return None
        self.keys["aiorq:leader"] = Entry(worker, self.now + leads)
        workers, inboxes = self.at("workers", set), self.at("aiorq:inboxes", set)
        dead = {key for key in workers if not self.has(key)}
        workers -= dead
        queues = [key.removeprefix("queue:") for key in self.at("queues", set)]
        found = {("parent", "", part, "") for part in self.read("aiorq:parents")}
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

    def reap(self, member: str, worker: str, on_lost: str, kept: int, kinds: Collection[str] = ()) -> str:
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
            self.note_attempt(job_id, token, "lost")
            return "requeued"
        place = None if wish == "requeue" else self.retry_job(job_id, kinds)
        ttl = kept if job.kept is None else job.kept
        if place is None:
            self.enter(job_id, "failed", ttl)
        self.end_run(token, worker, place or "failed")
        if place is not None:
            job.ended = True
            self.note_attempt(job_id, token, "lost")
            return "retried"
        self.leave_failed(job_id, token, "failed", "2", ttl)
        return "poisoned" if wish == "requeue" else "failed"

    def promote(self, queue: str, job_id: str) -> str:
        scheduled = self.at(f"scheduled:{queue}", dict)
        if job_id not in scheduled:
            return "dropped"
        if scheduled[job_id] > self.moment:
            return "early"
        del scheduled[job_id]
        job = self.jobs.get(job_id)
        if job is None or job.status != "scheduled" or job.queue != queue:
            return "dropped"
        self.place_job(job_id, first=bool(job.first) or (job.first_on_retry and job.ended), at=None)
        self.wait(job_id)
        return job.status

    # Sweeping

    def sweep(self, kind: str, queue: str) -> int:
        """Returns how many entries have left a registry."""
        key = f"{kind}:{queue}"
        entries = self.at(key, dict)
        left = 0
        for job_id, score in sorted(entries.items(), key=lambda item: (item[1], item[0])):
            job = self.jobs.get(job_id)
            if kind in {"finished", "failed"}:
                leaves = 0 <= score <= self.moment
            elif job is None:
                leaves = True
            elif kind == "canceled":
                leaves = self.moment - score > YEAR and (job.status != "canceled" or job.expires is not None)
            else:
                leaves = kind == "deferred" and self.let_go(job_id, "", "gone") != "waits"
            if leaves:
                entries.pop(job_id, None)
                left += 1
        return left

    def sweep_limit(self, limit: str) -> int:
        """Both sides, those that wait first."""
        left = 0
        for side, fit in (("rate_limited", {"rate_limited"}), ("allowed", {"queued", "started"})):
            entries = self.at(f"rl:{limit}:{side}", dict)
            for job_id in list(entries):
                job = self.jobs.get(job_id)
                if (job is None or job.status not in fit) and not (side == "allowed" and self.runs_on(job_id)):
                    del entries[job_id]
                    left += 1
            if self.has(f"rl:{limit}"):
                self.admit(limit)
            if not self.has(f"rl:{limit}:allowed") and not self.has(f"rl:{limit}:rate_limited"):
                self.at("rl-keys", set).discard(limit)
                self.drop(f"rl:{limit}")
        return left

    def runs_on(self, job_id: str) -> bool:
        """Whether a run of a job that is elsewhere is on the books; RQ lets such go on."""
        token = self.token_of(job_id)
        books = None if token is None else self.runs[token].books
        return books is not None and NOON + books >= self.moment

    def sweep_group(self, group: str) -> int:
        members = self.at(f"group:{group}", set)
        gone = {job_id for job_id in members if job_id not in self.jobs}
        members -= gone
        if not members:
            self.at("groups", set).discard(group)
        return len(gone)

    # Workers

    def register(self, worker: str, boot: str, queues: list[str], ttl: int) -> str:
        key = f"worker:{worker}"
        known = self.at(key, dict)
        if known.get("boot") not in {None, boot}:
            if "dead" not in known:
                return "taken"
            known.clear()
            self.drop(f"{key}:executions")
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
        self.drop(f"{key}:executions")
        return "ok"
