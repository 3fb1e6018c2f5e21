"""What is wrong in a snapshot, by the invariants."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from aiorq.doctor.books import HOMES, LISTS, Books, Place
from aiorq.doctor.finding import Finding, Severity
from aiorq.keys import is_job_id
from aiorq.store.audit import Readmission, Repair, Snapshot

OVERDUE: Final = 30.0
"""Seconds after the end of a lease within which a worker should have dealt with it."""
_STUCK: Final = 60.0  # seconds after which RQ, too, gives up an id between a queue and a worker
_LEFT: Final = 86_400  # seconds that something which belongs to nobody is kept, in case somebody wants to look at it
_FOREVER_MS: Final = 2_000  # a job and its entry in a registry do not expire in the same moment
_CAPPED: Final = frozenset({"dropped"})  # a field for each queue
_ENDED: Final = frozenset({"finished", "failed", "stopped", "canceled"})
_ERROR, _WARNING = Severity.ERROR, Severity.WARNING

Checks = tuple[tuple[str, tuple[str, ...]], ...]
Commands = tuple[tuple[str, ...], ...]


def check(snapshot: Snapshot, *, now: float | None = None, overdue: float = OVERDUE) -> list[Finding]:
    """Everything that is wrong in a snapshot.

    In a snapshot of one instant (`store.audit.look`) that is what is wrong indeed, as far as aiorq alone is at work: RQ
    takes several steps for one change of state. In one that was read step by step, jobs that move seem wrong too.

    Args:
        snapshot: what was read.
        now: seconds since 1970 by the server's clock; by default when the snapshot was taken.
        overdue: seconds after the end of a lease from which on it is a finding.
    """
    return _Check(Books(snapshot), snapshot.now if now is None else now, overdue).run()


class _Check:
    """One look over the books."""

    def __init__(self, books: Books, now: float, overdue: float) -> None:
        self.books = books
        self.keys = books.keys
        self.now = now
        self.overdue = overdue
        self.found: list[Finding] = []

    def run(self) -> list[Finding]:
        books = self.books
        # Oldest first, so that what is put back on a queue comes there in its order.
        for job_id, fields in sorted(books.jobs.items(), key=lambda item: item[1].get("enqueued_at", "")):
            self._job(job_id, fields, books.places.get(job_id) or [])
        for job_id in books.places.keys() - books.jobs.keys():
            if not is_job_id(job_id):
                self._no_id(job_id, books.places[job_id])
            elif self.keys.job(job_id) not in books.snapshot.entries:
                self._ghost(job_id, books.places[job_id])
        self._runs()
        self._waiting()
        self._leftovers()
        self._workers()
        self._keys()
        return self.found

    def _say(
        self,
        rule: str,
        invariant: str,
        severity: Severity,
        subject: str,
        problem: str,
        remedy: str,
        repair: Repair | Readmission | None = None,
        *,
        jobs: Iterable[str] = (),
        keys: Iterable[str] = (),
    ) -> None:
        self.found.append(
            Finding(rule, invariant, severity, subject, problem, remedy, repair, frozenset(jobs), frozenset(keys))
        )

    # Places: I1, I2

    def _job(self, job_id: str, fields: dict[str, str], places: list[Place]) -> None:
        status = fields.get("status", "")
        homes = HOMES.get(status)
        if homes is None:
            problem = f"its status is {status!r}, which is no status"
            remedy = "nothing: only a person knows which one is meant"
            self._say("no such status", "I2", _ERROR, job_id, problem, remedy, jobs=[job_id])
            return
        mine = [place for place in places if place.kind in homes]
        others = [place for place in places if place.kind not in homes]
        if others and "repeat_intervals" in fields:  # it stays there while it waits for its next run, as in RQ
            others = [place for place in others if place.kind != "finished"]
        if not mine and not others:
            self._nowhere(job_id, fields, status)
        elif not mine:
            self._misplaced(job_id, fields, status, others)
        elif len(mine) + len(others) > 1:
            self._doubled(job_id, fields, status, mine, others)
        elif mine[0].kind == "intermediate":
            self._in_between(job_id, fields, mine[0])
        elif mine[0].kind == "ready":
            problem = "it is ready to be queued, and the RQ worker that was to queue it has not"
            repair = self._readmission(job_id, fields, ())
            self._say("stuck in ready", "I1", _ERROR, job_id, problem, "queue it", repair, jobs=[job_id])

    def _nowhere(self, job_id: str, fields: dict[str, str], status: str) -> None:
        if status in ("", "created"):
            return
        ttl_ms = self.books.ttl_ms(self.keys.job(job_id))
        if status in _ENDED and 0 <= ttl_ms <= _FOREVER_MS:
            return
        problem = f"it is {status} and nothing lists it"
        severity = _WARNING if status in _ENDED else _ERROR
        remedy, checks, commands = self._entry(job_id, fields, status)
        if not commands:
            self._say("listed nowhere", "I1", severity, job_id, problem, remedy, jobs=[job_id])
            return
        repair = Repair((*self._as_found(job_id, fields), *checks), commands)
        self._say("listed nowhere", "I1", severity, job_id, problem, remedy, repair, jobs=[job_id])

    def _entry(self, job_id: str, fields: dict[str, str], status: str) -> tuple[str, Checks, Commands]:
        """How a job gets where its status says: in words, what must be so for it, and commands (none: it cannot be)."""
        keys, queue, now = self.keys, fields.get("origin", ""), math.floor(self.now)
        if status == "rate_limited":
            limit = fields.get("rate_limit_key", "")
            key = f"{keys.prefix}:rl:{limit}:rate_limited"
            if not limit:
                return "nothing: it does not say to which rate limit it belongs", (), ()
            return "let it wait for its rate limit", self._absent(key, job_id), (("ZADD", key, f"{now}", job_id),)
        if not queue:
            return "nothing: it does not say to which queue it belongs", (), ()
        if status in ("queued", "ready_to_enqueue"):
            status = "queued" if status == "queued" else "ready"
        if status == "queued":
            lists = [key for key, (_, owner) in self.books.lists.items() if owner == queue]
            checks: Checks = (
                *(("#0", ("LPOS", key, job_id, "COUNT", "0")) for key in dict.fromkeys((*lists, keys.queue(queue)))),
                ("-", ("EXISTS", keys.executions(job_id))),
            )
            listed = ("SADD", keys.queues, keys.queue(queue))
            return "put it at the end of its queue", checks, (("RPUSH", keys.queue(queue), job_id), listed)
        if status == "started":
            return self._run_again(job_id, queue)
        kind = "failed" if status == "stopped" else status
        key = keys.registry(kind, queue)
        remedy = f"enter it among the {kind} jobs of its queue"
        ttl_ms = self.books.ttl_ms(keys.job(job_id))
        score = f"{now}"
        if kind in ("finished", "failed"):
            score = f"{now + ttl_ms // 1000}" if ttl_ms >= 0 else "+inf" if kind == "finished" else "-1"
        elif kind == "scheduled":
            remedy += ", due now, since nothing says when it is due"
        return remedy, self._absent(key, job_id), (("ZADD", key, score, job_id),)

    def _run_again(self, job_id: str, queue: str) -> tuple[str, Checks, Commands]:
        """An entry for a run whose lease is over, so that a worker deals with it as with any lost run."""
        keys, wip = self.keys, self.keys.registry("wip", queue)
        tokens = self.books.executions_of.get(job_id) or {"d0c" + "0" * 29: 0.0}
        token = max(tokens, key=lambda token: tokens[token])
        execution, executions = keys.execution(job_id, token), keys.executions(job_id)
        stamp = f"{self.now:.6f}"
        checks = self._absent(wip, f"{job_id}:{token}")
        commands = (
            ("ZADD", wip, stamp, f"{job_id}:{token}"),
            ("HSET", execution, "id", token, "job_id", job_id, "created_at", stamp, "last_heartbeat", stamp),
            ("EXPIRE", execution, "600"),
            ("ZADD", executions, f"{self.now + 600:.6f}", token),
            ("EXPIRE", executions, "600"),
        )
        return "give it a lease that is over: a worker then treats it as lost with its worker", checks, commands

    def _misplaced(self, job_id: str, fields: dict[str, str], status: str, others: list[Place]) -> None:
        found = ", ".join(sorted({place.key for place in others}))
        problem = f"it is {status or 'created'}, but stands in {found}"
        rule, jobs = "listed elsewhere", [job_id]
        if status in ("", "created"):
            if all(place.kind in LISTS for place in others):
                queue = fields.get("origin") or others[0].queue
                drops = [place for place in others if place.key != self.keys.queue(queue)]
                if not drops:
                    readmission = Readmission(job_id, queue, status, ())
                    self._say(rule, "I2", _ERROR, job_id, problem, "make it queued", readmission, jobs=jobs)
                    return
            remedy = "nothing: only a person knows which of the two is right"
            self._say(rule, "I2", _ERROR, job_id, problem, remedy, jobs=jobs)
            return
        lease = max((place.score for place in others if place.kind == "wip"), default=0.0)
        if lease > self.now and status not in _ENDED:
            remedy = f"nothing yet: a worker may be at it, for {_seconds(lease - self.now)} more at least"
            self._say(rule, "I2", _ERROR, job_id, problem, remedy, jobs=jobs)
            return
        remedy, checks, commands = self._entry(job_id, fields, status)
        if not commands:
            self._say(rule, "I2", _ERROR, job_id, problem, remedy, jobs=jobs)
            return
        taken = [self._drop(place, others) for place in others]
        present = {command for _, command in (check for drop, _ in taken for check in drop)}
        entry_checks = [(wanted, command) for wanted, command in checks if command not in present]
        if any(place.kind == "wip" for place in others):
            entry_checks = [pair for pair in entry_checks if pair[1] != ("EXISTS", self.keys.executions(job_id))]
        repair = Repair(
            (*self._as_found(job_id, fields), *entry_checks, *(check for drop, _ in taken for check in drop)),
            (*commands, *(command for _, drop in taken for command in drop)),
        )
        remedy += ", and take it out of the other places"
        self._say(rule, "I2", _ERROR, job_id, problem, remedy, repair, jobs=jobs)

    def _doubled(
        self, job_id: str, fields: dict[str, str], status: str, mine: list[Place], others: list[Place]
    ) -> None:
        homes, queue = HOMES[status], fields.get("origin")
        known = self.books.executions_of.get(job_id, {})
        best = min(
            mine,
            key=lambda place: (place.queue != queue, homes.index(place.kind), place.token not in known, -place.score),
        )
        extra = [place for place in (*mine, *others) if place is not best]
        where = Counter(place.key for place in (*mine, *others))
        found = ", ".join(key if count == 1 else f"{key} ({count} times)" for key, count in sorted(where.items()))
        checks: list[tuple[str, tuple[str, ...]]] = [*self._as_found(job_id, fields), self._there(best, where)]
        commands: list[tuple[str, ...]] = []
        for place in {(place.key, place.member): place for place in extra}.values():
            drop, taken = self._drop(place, extra, keep=1 if place.key == best.key and place.kind in LISTS else 0)
            checks += drop
            commands += taken
        self._say(
            "listed more than once",
            "I1",
            _ERROR,
            job_id,
            f"it is {status} and stands in {found}",
            f"leave it in {best.key}, once, and take it out of the rest",
            Repair(tuple(dict.fromkeys(checks)), tuple(commands)),
            jobs=[job_id],
        )

    def _in_between(self, job_id: str, fields: dict[str, str], place: Place) -> None:
        """An id that a worker of RQ took from its queue and did not start."""
        if not self._is_stuck(job_id, place):
            return
        queue = fields.get("origin") or place.queue
        checks, commands = self._drop(place, [place])
        repair = Repair(
            (*self._as_found(job_id, fields), *checks, ("-", ("EXISTS", self.keys.executions(job_id)))),
            (("LPUSH", self.keys.queue(queue), job_id), *commands),
        )
        problem = "an RQ worker took it from its queue, did not start it and is gone"
        self._say(
            "stuck in between",
            "I1",
            _ERROR,
            job_id,
            problem,
            "put it back at the head of its queue",
            repair,
            jobs=[job_id],
        )

    def _is_stuck(self, job_id: str, place: Place) -> bool:
        seen = self.books.first_seen.get((place.queue, job_id))
        if seen is not None:
            try:
                return float(seen) < self.now - _STUCK
            except ValueError:
                return True
        members = self.books.snapshot.members(self.keys.queue_workers(place.queue)) or ()
        head = self.keys.worker("")
        return not any(self.books.lives(member.removeprefix(head)) for member in members)

    def _ghost(self, job_id: str, places: list[Place]) -> None:
        """An id whose job is gone."""
        for place in {place.key: place for place in places}.values():
            if place.kind in ("finished", "failed") and 0 < place.score <= self.now:
                continue  # as it should be: the next cleanup removes it
            if place.kind == "wip" and place.score > self.now:
                continue
            if place.kind == "intermediate" and not self._is_stuck(job_id, place):
                continue
            checks, commands = self._drop(place, places)
            self._say(
                "job is gone",
                "I2",
                _WARNING,
                f"{job_id} in {place.key}",
                "its job does not exist: it was deleted, has expired, or was lost with a server",
                "take it out",
                Repair((("-", ("EXISTS", self.keys.job(job_id))), *checks), commands),
                jobs=[job_id],
            )

    def _no_id(self, member: str, places: list[Place]) -> None:
        for place in {place.key: place for place in places}.values():
            checks, commands = self._drop(place, places)
            problem = "it is no id of a job, and workers of RQ stop at it"
            self._say(
                "no id of a job",
                "I2",
                _ERROR,
                f"{_shown(member)} in {place.key}",
                problem,
                "take it out",
                Repair(checks, commands),
                jobs=[member],
            )

    # Runs: I3, I4, I9

    def _runs(self) -> None:
        tokens: defaultdict[str, set[str]] = defaultdict(set)
        some_worker = next((name for name in self.books.workers if self.books.lives(name)), None)
        for run in self.books.runs:
            job_id, colon, token = run.member.partition(":")
            fields = self.books.jobs.get(job_id)
            if token:
                tokens[token].add(run.member)
            if ":" in token or (colon and not token):
                self._misshapen_run(run)
            elif run.score == math.inf:
                checks = (("=inf", ("ZSCORE", run.key, run.member)),)
                repair = Repair(checks, (("ZADD", run.key, "XX", f"{self.now:.6f}", run.member),))
                remedy = "end the lease now: its worker takes it again if it is alive"
                self._say(
                    "endless lease", "I9", _ERROR, run.member, "its lease never ends", remedy, repair, jobs=[job_id]
                )
            elif run.score < self.now - self.overdue:
                self._overdue(run, some_worker)
            elif run.score > self.now and fields is not None and fields.get("status") == "started" and token:
                self._run(run, job_id, token, fields)
        for token, members in tokens.items():
            if len(members) > 1:
                problem = f"it is the token of several runs: {', '.join(sorted(members))}"
                remedy = "nothing: which of them is right cannot be told; delete or requeue those jobs"
                jobs = [member.partition(":")[0] for member in members]
                self._say("token used twice", "I4", _ERROR, token, problem, remedy, jobs=jobs)
        self._stale_runs()

    def _misshapen_run(self, run: Place) -> None:
        checks, commands = self._drop(run, [run])
        problem = f"{run.key} holds it, which names no run: every reader of RQ fails at it"
        job_id = run.member.partition(":")[0]
        self._say(
            "no run", "I3", _ERROR, _shown(run.member), problem, "take it out", Repair(checks, commands), jobs=[job_id]
        )

    def _overdue(self, run: Place, worker: str | None) -> None:
        late = _seconds(self.now - run.score)
        jobs = [run.member.partition(":")[0]]
        if worker is None:
            problem = f"its lease in {run.key} ended {late} ago, and no worker is alive to deal with it"
            self._say("overdue", "I9", _WARNING, run.member, problem, "nothing: start a worker", jobs=jobs)
        else:
            problem = f"its lease in {run.key} ended {late} ago, and no worker has dealt with it, though one is alive"
            remedy = f"nothing: see why worker {_shown(worker)} does not, and restart it"
            self._say("overdue", "I9", _ERROR, run.member, problem, remedy, jobs=jobs)

    def _run(self, run: Place, job_id: str, token: str, fields: dict[str, str]) -> None:
        """Whether all that speaks of runs speaks of this one."""
        books, keys = self.books, self.keys
        if sum(place.kind == "wip" for place in books.places[job_id]) > 1:
            return  # which of them is right comes first
        execution, executions = keys.execution(job_id, token), keys.executions(job_id)
        lasting = f"{math.ceil(run.score - self.now) + 60}"
        missing: list[str] = []
        commands: list[tuple[str, ...]] = []
        absent: list[tuple[str, tuple[str, ...]]] = []
        worker = fields.get("worker_name", "")
        if execution not in books.executions:
            missing.append(execution)
            absent.append(("-", ("EXISTS", execution)))
            stamp = f"{self.now:.6f}"
            parts = ("id", token, "job_id", job_id, "created_at", stamp, "last_heartbeat", stamp, "worker_name", worker)
            commands += [("HSET", execution, *parts), ("EXPIRE", execution, lasting)]
        if token not in books.executions_of.get(job_id, {}):
            missing.append(executions)
            absent.append(("-", ("ZSCORE", executions, token)))
            commands += [("ZADD", executions, f"{run.score + 60:.6f}", token), ("EXPIRE", executions, lasting)]
        # Older workers of RQ have no such set.
        if worker in books.workers and "aiorq_boot" in books.workers[worker]:
            own = keys.worker_executions(worker)
            if run.member not in books.runs_of.get(worker, ()):
                missing.append(own)
                absent.append(("-", ("SISMEMBER", own, run.member)))
                commands += [("SADD", own, run.member), ("EXPIRE", own, "480")]
        if missing:
            problem = f"{run.key} says that it runs, and it is missing in {', '.join(missing)}"
            found = (("+", ("ZSCORE", run.key, run.member)), *self._as_found(job_id, fields))
            repair = Repair((*found, *absent), tuple(commands))
            self._say("run half there", "I3", _WARNING, job_id, problem, "enter it there", repair, jobs=[job_id])

    def _stale_runs(self) -> None:
        books = self.books
        members = {run.member: run for run in books.runs}
        for job_id, tokens in books.executions_of.items():
            fields = books.jobs.get(job_id, {})
            running = any(place.kind == "wip" for place in books.places.get(job_id) or ())
            # RQ lets a canceled one run on; one that lost its lease is found elsewhere.
            if fields.get("status") == "canceled" or (fields.get("status") == "started" and not running):
                continue
            for token, until in tokens.items():
                if f"{job_id}:{token}" not in members and until > self.now + 60:
                    key = self.keys.executions(job_id)
                    queue = fields.get("origin", "")
                    wip = self.keys.registry("wip", queue)
                    checks = (("+", ("ZSCORE", key, token)), ("-", ("ZSCORE", wip, f"{job_id}:{token}")))
                    commands = (("ZREM", key, token), ("DEL", self.keys.execution(job_id, token)))
                    problem = f"{key} speaks of run {_shown(token)}, which does not run"
                    self._say(
                        "run is over",
                        "I3",
                        _WARNING,
                        job_id,
                        problem,
                        "take it out",
                        Repair(checks, commands),
                        jobs=[job_id],
                    )
        for worker, own in books.runs_of.items():
            for member in own - members.keys():
                job_id, _, token = member.partition(":")
                if self.keys.execution(job_id, token) in books.executions:
                    continue
                key = self.keys.worker_executions(worker)
                queue = books.jobs.get(job_id, {}).get("origin", "")
                repair = Repair(
                    (
                        ("+", ("SISMEMBER", key, member)),
                        ("-", ("EXISTS", self.keys.execution(job_id, token))),
                        ("-", ("ZSCORE", self.keys.registry("wip", queue), member)),
                    ),
                    (("SREM", key, member),),
                )
                problem = f"{key} says that it runs, and it does not"
                self._say("run is over", "I3", _WARNING, _shown(member), problem, "take it out", repair, jobs=[job_id])

    # Dependencies: I10, I11

    def _waiting(self) -> None:
        books = self.books
        graph: dict[str, list[str]] = {}
        for job_id, fields in books.jobs.items():
            if fields.get("status") != "deferred":
                continue
            parents = self._parents(job_id, fields)
            graph[job_id] = parents
            unmet = [parent for parent in parents if not books.is_met(parent, fields)]
            jobs = [job_id, *parents]
            if not unmet:
                problem = "it waits for other jobs, and " + (
                    "all of them have ended as it asked, or are gone" if parents else "none is named"
                )
                repair = self._readmission(job_id, fields, parents)
                remedy = "queue it" if repair else "nothing: it does not say to which queue it belongs"
                self._say("waits for nothing", "I10", _ERROR, job_id, problem, remedy, repair, jobs=jobs)
                continue
            for parent in unmet:
                key = self.keys.dependents(parent)
                if job_id not in (books.snapshot.members(key) or ()) and parent in books.jobs:
                    self._unknown_child(job_id, fields, parent, jobs)
        for cycle in _cycles(graph):
            problem = f"they wait for each other: {' -> '.join(cycle)}"
            remedy = "nothing: cancel or delete one of them, whichever should not wait"
            self._say("wait for each other", "I11", _ERROR, min(cycle), problem, remedy, jobs=cycle)

    def _unknown_child(self, job_id: str, fields: dict[str, str], parent: str, jobs: list[str]) -> None:
        key = self.keys.dependents(parent)
        ttl_ms = self.books.ttl_ms(self.keys.job(parent))
        commands: list[tuple[str, ...]] = [("SADD", key, job_id)]
        if ttl_ms >= 0:
            commands.append(("EXPIRE", key, f"{ttl_ms // 1000 + 1}"))
        status = self.books.jobs[parent].get("status", "")
        found: Checks = ((f"={status}", ("HGET", self.keys.job(parent), "status")),) if status else ()
        problem = f"it waits for job {parent}, which does not know of it and will not release it"
        unknown = ("-", ("SISMEMBER", key, job_id))
        repair = Repair((*self._as_found(job_id, fields), *found, unknown), tuple(commands))
        self._say(
            "not known to its parent",
            "I10",
            _ERROR,
            f"{job_id} of {parent}",
            problem,
            "enter it among the jobs that wait for that one",
            repair,
            jobs=jobs,
        )

    def _parents(self, job_id: str, fields: dict[str, str]) -> list[str]:
        parents = self.books.snapshot.members(self.keys.dependencies(job_id))
        if parents is None:
            try:
                named = json.loads(fields.get("dependency_ids") or "[]")
            except (ValueError, RecursionError):
                named = []
            parents = {name for name in named if isinstance(name, str)} if isinstance(named, list) else set()
        return sorted(parents)

    def _readmission(self, job_id: str, fields: dict[str, str], parents: Iterable[str]) -> Readmission | None:
        queue = fields.get("origin")
        if not queue:
            return None
        known = tuple((parent, self.books.jobs.get(parent, {}).get("status", "")) for parent in parents)
        return Readmission(job_id, queue, fields.get("status", ""), known)

    # Leftovers: I15

    def _leftovers(self) -> None:
        books, keys = self.books, self.keys
        for key, job_id in (*books.results, *books.links):
            if job_id not in books.jobs:
                self._expires(key, f"it belongs to job {_shown(job_id)}, which is gone, and never expires", [job_id])
        for job_id in books.executions_of:
            self._expires(keys.executions(job_id), "it speaks of runs and never expires")
        for key in books.executions:
            self._expires(key, "it speaks of a run and never expires")
        for worker in books.workers:
            self._expires(keys.worker(worker), "it speaks of a worker and never expires")
        for worker in books.runs_of:
            self._expires(keys.worker_executions(worker), "it speaks of a worker and never expires")
        for key, name in books.own:
            kind, *owners = name.split(":")
            owned = any(owner in books.jobs or owner in books.workers for owner in owners)
            if not owned and kind not in _CAPPED:
                self._expires(key, "it belongs to no job and no worker, and never expires", owners)

    def _expires(self, key: str, problem: str, gone: Iterable[str] = ()) -> None:
        if self.books.ttl_ms(key) != -1:
            return
        checks = (("=-1", ("PTTL", key)), *(("-", ("EXISTS", self.keys.job(job_id))) for job_id in gone))
        repair = Repair(checks, (("EXPIRE", key, f"{_LEFT}"),))
        self._say(
            "kept for ever", "I15", _WARNING, key, problem, "let it expire in a day", repair, jobs=gone, keys=[key]
        )

    # Workers

    def _workers(self) -> None:
        books, keys = self.books, self.keys
        head = keys.worker("")
        for key in books.worker_sets:
            for member in sorted(books.snapshot.members(key) or ()):
                name = member.removeprefix(head)
                gone = Repair((("+", ("SISMEMBER", key, member)),), (("SREM", key, member),))
                if name == member:
                    problem = f"{key} names it, which is no worker: every reader of RQ fails at it"
                    self._say("no worker", "I18", _ERROR, _shown(member), problem, "take it out", gone, keys=[key])
                elif member not in books.snapshot.entries:
                    repair = gone._replace(checks=(*gone.checks, ("-", ("EXISTS", member))))
                    problem = f"{key} names it, and it is dead"
                    self._say(
                        "worker is gone",
                        "I15",
                        _WARNING,
                        f"{_shown(name)} in {key}",
                        problem,
                        "take it out",
                        repair,
                        keys=[key, member],
                    )
        for key, worker, queue in books.inboxes:
            if books.lives(worker):
                continue
            ids = books.snapshot.ids(key) or []
            list_ = keys.queue(queue)
            commands: list[tuple[str, ...]] = [("LMOVE", key, list_, "RIGHT", "LEFT")] * len(ids)
            checks: Checks = (
                (f"#{len(ids)}", ("LRANGE", key, "0", "-1")),
                ("#0", ("LPOS", list_, ids[0] if ids else "", "COUNT", "0")),
            )
            problem = f"it holds {_jobs(len(ids))} that {_shown(worker)} was given, and that worker is gone"
            remedy = "put them back at the head of their queue"
            self._say(
                "inbox of nobody",
                "I1",
                _ERROR,
                key,
                problem,
                remedy,
                Repair(checks, tuple(commands)) if ids else None,
                jobs=ids[:10],
                keys=[key, keys.worker(worker)],
            )

    # Keys: I18

    def _keys(self) -> None:
        books, keys = self.books, self.keys
        queues = books.snapshot.members(keys.queues) or set()
        for key in queues:
            if not key.startswith(keys.queue("")):
                repair = Repair((("+", ("SISMEMBER", keys.queues, key)),), (("SREM", keys.queues, key),))
                problem = f"{keys.queues} names it, which is no queue: every reader of RQ fails at it"
                self._say("no queue", "I18", _ERROR, _shown(key), problem, "take it out", repair, keys=[key])
        for key, (kind, queue) in books.lists.items():
            if kind == "queue" and key not in queues:
                checks: Checks = (("=list", ("TYPE", key)), ("-", ("SISMEMBER", keys.queues, key)))
                repair = Repair(checks, (("SADD", keys.queues, key),))
                problem = f"{keys.queues} does not name this queue, and those who list queues do not see it"
                self._say("unlisted queue", "I18", _WARNING, _shown(queue), problem, "name it", repair, keys=[key])
        for key, expected, found in books.strange:
            problem = f"it holds a {found}, where a {expected} should be"
            remedy = "nothing: rename or delete it, if nobody needs it"
            self._say("wrong type", "I18", _ERROR, key, problem, remedy, keys=[key])
        if books.unknown:
            self._unknown(books.unknown)

    def _unknown(self, unknown: list[str]) -> None:
        groups: defaultdict[str, list[str]] = defaultdict(list)
        cut = len(self.keys.prefix) + 1
        for key in unknown:
            groups[key[:cut] + key[cut:].partition(":")[0]].append(key)
        for name, members in groups.items():
            problem = f"neither RQ nor aiorq has keys of that name; found: {len(members)}"
            remedy = "nothing: whose they are is not known"
            self._say("unknown keys", "I18", _WARNING, name, problem, remedy, keys=sorted(members)[:100])

    # Pieces of repairs

    def _as_found(self, job_id: str, fields: dict[str, str]) -> Checks:
        """The job is in the state, and in the life, in which it was found."""
        names = ("status", "enqueued_at", "started_at")
        return tuple(
            (f"={fields[name]}" if fields.get(name) else "-", ("HGET", self.keys.job(job_id), name)) for name in names
        )

    def _absent(self, key: str, member: str) -> Checks:
        return (("-", ("ZSCORE", key, member)),)

    def _there(self, place: Place, where: Counter[str]) -> tuple[str, tuple[str, ...]]:
        if place.kind in LISTS:
            return f"#{where[place.key]}", ("LPOS", place.key, place.member, "COUNT", "0")
        return "+", ("ZSCORE", place.key, place.member)

    def _drop(self, place: Place, places: Iterable[Place], keep: int = 0) -> tuple[Checks, Commands]:
        """Take a member out of a key, all times that `places` name but the first `keep`."""
        key, member = place.key, place.member
        if place.kind in LISTS:
            extra = sum(other.key == key and other.member == member for other in places)
            checks: Checks = ((f"#{extra + keep}", ("LPOS", key, member, "COUNT", "0")),)
            return checks, (("LREM", key, f"{-extra}", member),)
        checks = ((f"={place.score!r}", ("ZSCORE", key, member)),)
        commands: list[tuple[str, ...]] = [("ZREM", key, member)]
        if place.kind == "wip" and place.token:
            job_id = member.partition(":")[0]
            commands += [
                ("DEL", self.keys.execution(job_id, place.token)),
                ("ZREM", self.keys.executions(job_id), place.token),
            ]
            commands += [
                ("SREM", self.keys.worker_executions(worker), member)
                for worker, own in self.books.runs_of.items()
                if member in own
            ]
        return checks, tuple(commands)


def _cycles(graph: dict[str, list[str]]) -> Iterator[list[str]]:
    """One cycle for each group of nodes that wait for each other, beginning and ending with the same node."""
    done: set[str] = set()
    for start, parents in graph.items():
        if start in done:
            continue
        path = [start]
        on_path = {start: 0}
        stack = [iter(parents)]
        while stack:
            for parent in stack[-1]:
                if parent in on_path:
                    yield [*path[on_path[parent] :], parent]
                elif parent in graph and parent not in done:
                    on_path[parent] = len(path)
                    path.append(parent)
                    stack.append(iter(graph[parent]))
                    break
            else:
                stack.pop()
                done.add(path.pop())
                del on_path[next(reversed(on_path))]


def _seconds(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _jobs(number: int) -> str:
    return "1 job" if number == 1 else f"{number} jobs"


def _shown(text: str) -> str:
    """A text from Redis, which may be anything, short and printable."""
    cut = text if len(text) <= 80 else text[:80] + "..."
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in cut)
