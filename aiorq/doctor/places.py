"""I1 and I2: every job is in one place, once, and it is the one that its status names."""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

from aiorq.doctor.books import HOMES, LISTS, Place
from aiorq.doctor.finding import Severity
from aiorq.doctor.look import Checks, Commands, Look, seconds, shown
from aiorq.keys import is_job_id
from aiorq.store.audit import Readmission, Repair

_STUCK: Final = 60.0  # seconds after which RQ, too, gives up an id between a queue and a worker
_SAME_MS: Final = 2_000  # a job and its entry in a registry do not expire in the same moment
_ENDED: Final = frozenset({"finished", "failed", "stopped", "canceled"})


class Places(Look):
    """Looks at jobs, and at what lists them."""

    def run(self) -> None:
        """Look, and fill `found`."""
        books = self.books
        # Oldest first, so that what is put back on a queue comes there in its order.
        for job_id, fields in sorted(books.jobs.items(), key=lambda item: item[1].get("enqueued_at", "")):
            self._job(job_id, fields, books.places.get(job_id) or [])
        for job_id in books.places.keys() - books.jobs.keys():
            if not is_job_id(job_id):
                self._no_id(job_id, books.places[job_id])
            elif self.keys.job(job_id) not in books.snapshot.entries:
                self._ghost(job_id, books.places[job_id])

    def _job(self, job_id: str, fields: dict[str, str], places: list[Place]) -> None:
        status = fields.get("status", "")
        homes = HOMES.get(status)
        if homes is None:
            problem = f"its status is {status!r}, which is no status"
            remedy = "nothing: only a person knows which one is meant"
            self.say("no such status", "I2", Severity.ERROR, job_id, problem, remedy, jobs=[job_id])
            return
        mine = [place for place in places if place.kind in homes]
        others = [place for place in places if place.kind not in homes]
        if mine:  # what is left of a former life whose time is over leaves with the next cleanup
            others = [place for place in others if not self._is_over(place)]
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
            repair = self.readmission(job_id, fields, ())
            self.say("stuck in ready", "I1", Severity.ERROR, job_id, problem, "queue it", repair, jobs=[job_id])

    def _is_over(self, place: Place) -> bool:
        return place.kind in ("finished", "failed") and 0 < place.score <= self.now

    def _nowhere(self, job_id: str, fields: dict[str, str], status: str) -> None:
        if status in ("", "created"):
            return
        ttl_ms = self.books.ttl_ms(self.keys.job(job_id))
        if status in _ENDED and 0 <= ttl_ms <= _SAME_MS:
            return
        if status == "failed" and "aiorq_unlisted" in fields:  # its worker was told not to list failures
            return
        problem = f"it is {status} and nothing lists it"
        severity = Severity.WARNING if status in _ENDED else Severity.ERROR
        if status == "rate_limited" and fields.get("rate_limit_key") and fields.get("origin"):
            remedy = "let it wait for its rate limit, or queue it"
            readmission = self.readmission(job_id, fields, ())
            self.say("listed nowhere", "I1", severity, job_id, problem, remedy, readmission, jobs=[job_id])
            return
        remedy, checks, commands = self._entry(job_id, fields, status)
        if not commands:
            self.say("listed nowhere", "I1", severity, job_id, problem, remedy, jobs=[job_id])
            return
        repair = Repair((*self.as_found(job_id, fields), *checks), commands)
        self.say("listed nowhere", "I1", severity, job_id, problem, remedy, repair, jobs=[job_id])

    def _entry(self, job_id: str, fields: dict[str, str], status: str) -> tuple[str, Checks, Commands]:
        """How a job gets where its status says: in words, what must be so for it, and commands (none: it cannot be)."""
        keys, queue, now = self.keys, fields.get("origin", ""), math.floor(self.now)
        if status == "rate_limited":
            limit = fields.get("rate_limit_key", "")
            if not limit:
                return "nothing: it does not say to which rate limit it belongs", (), ()
            key = keys.limited(limit)
            commands = (("ZADD", key, f"{now}", job_id), ("SADD", keys.limits, limit))
            return "let it wait for its rate limit", self.absent(key, job_id), commands
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
        return remedy, self.absent(key, job_id), (("ZADD", key, score, job_id),)

    def _run_again(self, job_id: str, queue: str) -> tuple[str, Checks, Commands]:
        """An entry for a run whose lease is over, so that a worker deals with it as with any lost run."""
        keys, wip = self.keys, self.keys.registry("wip", queue)
        tokens = self.books.executions_of.get(job_id) or {"d0c" + "0" * 29: 0.0}
        token = max(tokens, key=lambda token: tokens[token])
        execution, executions = keys.execution(job_id, token), keys.executions(job_id)
        stamp = f"{self.now:.6f}"
        checks = self.absent(wip, f"{job_id}:{token}")
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
                    self.say(rule, "I2", Severity.ERROR, job_id, problem, "make it queued", readmission, jobs=jobs)
                    return
            remedy = "nothing: only a person knows which of the two is right"
            self.say(rule, "I2", Severity.ERROR, job_id, problem, remedy, jobs=jobs)
            return
        lease = max((place.score for place in others if place.kind == "wip"), default=0.0)
        if lease > self.now and status not in _ENDED:
            remedy = f"nothing yet: a worker may be at it, for {seconds(lease - self.now)} more at least"
            self.say(rule, "I2", Severity.ERROR, job_id, problem, remedy, jobs=jobs)
            return
        remedy, checks, commands = self._entry(job_id, fields, status)
        if not commands:
            self.say(rule, "I2", Severity.ERROR, job_id, problem, remedy, jobs=jobs)
            return
        taken = [self.drop(place, others) for place in others]
        present = {command for _, command in (check for drop, _ in taken for check in drop)}
        entry_checks = [(wanted, command) for wanted, command in checks if command not in present]
        if any(place.kind == "wip" for place in others):
            entry_checks = [pair for pair in entry_checks if pair[1] != ("EXISTS", self.keys.executions(job_id))]
        repair = Repair(
            (*self.as_found(job_id, fields), *entry_checks, *(check for drop, _ in taken for check in drop)),
            (*commands, *(command for _, drop in taken for command in drop)),
        )
        remedy += ", and take it out of the other places"
        self.say(rule, "I2", Severity.ERROR, job_id, problem, remedy, repair, jobs=jobs)

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
        checks: list[tuple[str, tuple[str, ...]]] = [*self.as_found(job_id, fields), self.there(best, where)]
        commands: list[tuple[str, ...]] = []
        for place in {(place.key, place.member): place for place in extra}.values():
            drop, taken = self.drop(place, extra, keep=1 if place.key == best.key and place.kind in LISTS else 0)
            checks += drop
            commands += taken
        self.say(
            "listed more than once",
            "I1",
            Severity.ERROR,
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
        checks, commands = self.drop(place, [place])
        repair = Repair(
            (*self.as_found(job_id, fields), *checks, ("-", ("EXISTS", self.keys.executions(job_id)))),
            (("LPUSH", self.keys.queue(queue), job_id), *commands),
        )
        problem = "an RQ worker took it from its queue, did not start it and is gone"
        self.say(
            "stuck in between",
            "I1",
            Severity.ERROR,
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
            if self._is_over(place):
                continue  # as it should be: the next cleanup removes it
            if place.kind == "wip" and place.score > self.now:
                continue
            if place.kind == "intermediate" and not self._is_stuck(job_id, place):
                continue
            checks, commands = self.drop(place, places)
            self.say(
                "job is gone",
                "I2",
                Severity.WARNING,
                f"{job_id} in {place.key}",
                "its job does not exist: it was deleted, has expired, or was lost with a server",
                "take it out",
                Repair((("-", ("EXISTS", self.keys.job(job_id))), *checks), commands),
                jobs=[job_id],
            )

    def _no_id(self, member: str, places: list[Place]) -> None:
        for place in {place.key: place for place in places}.values():
            checks, commands = self.drop(place, places)
            problem = "it is no id of a job, and workers of RQ stop at it"
            self.say(
                "no id of a job",
                "I2",
                Severity.ERROR,
                f"{shown(member)} in {place.key}",
                problem,
                "take it out",
                Repair(checks, commands),
                jobs=[member],
            )
