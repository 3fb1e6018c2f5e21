"""I3, I4 and I9: all that speaks of a run speaks of the same one, and its lease ends in time."""

from __future__ import annotations

import math
from collections import defaultdict

from aiorq.doctor.books import Place
from aiorq.doctor.finding import Severity
from aiorq.doctor.look import Look, seconds, shown
from aiorq.store.audit import Repair


class Runs(Look):
    """Looks at what runs."""

    def run(self) -> None:
        """Look, and fill `found`."""
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
                self.say(
                    "endless lease",
                    "I9",
                    Severity.ERROR,
                    run.member,
                    "its lease never ends",
                    remedy,
                    repair,
                    jobs=[job_id],
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
                self.say("token used twice", "I4", Severity.ERROR, token, problem, remedy, jobs=jobs)
        self._stale_runs()

    def _misshapen_run(self, run: Place) -> None:
        checks, commands = self.drop(run, [run])
        problem = f"{run.key} holds it, which names no run: every reader of RQ fails at it"
        job_id = run.member.partition(":")[0]
        self.say(
            "no run",
            "I3",
            Severity.ERROR,
            shown(run.member),
            problem,
            "take it out",
            Repair(checks, commands),
            jobs=[job_id],
        )

    def _overdue(self, run: Place, worker: str | None) -> None:
        late = seconds(self.now - run.score)
        jobs = [run.member.partition(":")[0]]
        if worker is None:
            problem = f"its lease in {run.key} ended {late} ago, and no worker is alive to deal with it"
            self.say("overdue", "I9", Severity.WARNING, run.member, problem, "nothing: start a worker", jobs=jobs)
        else:
            problem = f"its lease in {run.key} ended {late} ago, and no worker has dealt with it, though one is alive"
            remedy = f"nothing: see why worker {shown(worker)} does not, and restart it"
            self.say("overdue", "I9", Severity.ERROR, run.member, problem, remedy, jobs=jobs)

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
            found = (("+", ("ZSCORE", run.key, run.member)), *self.as_found(job_id, fields))
            repair = Repair((*found, *absent), tuple(commands))
            self.say("run half there", "I3", Severity.WARNING, job_id, problem, "enter it there", repair, jobs=[job_id])

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
                    problem = f"{key} speaks of run {shown(token)}, which does not run"
                    self.say(
                        "run is over",
                        "I3",
                        Severity.WARNING,
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
                self.say(
                    "run is over", "I3", Severity.WARNING, shown(member), problem, "take it out", repair, jobs=[job_id]
                )
