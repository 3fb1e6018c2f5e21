"""I14: a slot of a rate limit is held by a job that is queued or runs, and nobody waits for one that is free."""

from __future__ import annotations

from aiorq.doctor.books import Books
from aiorq.doctor.finding import Severity
from aiorq.doctor.look import Look, shown
from aiorq.store.audit import Repair, SlotRepair

_HOLDS = frozenset({"queued", "started"})


class Limits(Look):
    """Looks at rate limits."""

    def run(self) -> None:
        """Look, and fill `found`."""
        known = self.books.snapshot.members(self.keys.limits) or set()
        for limit, config in self.books.limits.items():
            allowed, limited = self.keys.allowed(limit), self.keys.limited(limit)
            held = self.books.snapshot.scores(allowed) or {}
            waiting = self.books.snapshot.scores(limited) or {}
            keys = [self.keys.limits, self.keys.limit(limit), allowed, limited]
            if limit not in known:
                self._unlisted(limit, keys)
            for job_id in held:
                if not self._belongs(job_id):
                    self._stale(limit, job_id, keys, blocks=bool(waiting))
            self._free(limit, config, len(held), waiting, keys)

    def _belongs(self, job_id: str) -> bool:
        """Whether a job may hold a slot; one that RQ canceled or deleted runs on."""
        books = self.books
        if not _is_gone(books, job_id) and books.jobs.get(job_id, {}).get("status") in _HOLDS:
            return True
        return any(until > self.now for until in books.executions_of.get(job_id, {}).values())

    def _stale(self, limit: str, job_id: str, keys: list[str], *, blocks: bool) -> None:
        status = self.books.jobs.get(job_id, {}).get("status")
        state = "is gone" if _is_gone(self.books, job_id) else f"is {status or 'created'}"
        self.say(
            "slot of nobody",
            "I14",
            Severity.ERROR if blocks else Severity.WARNING,
            f"{shown(job_id)} in {self.keys.allowed(limit)}",
            f"it {state} and holds a slot" + (", for which others wait" if blocks else ""),
            "free the slot",
            SlotRepair(limit, job_id),
            jobs=[job_id],
            keys=keys,
        )

    def _free(self, limit: str, config: dict[str, str], held: int, waiting: dict[str, float], keys: list[str]) -> None:
        concurrency = config.get("concurrency", "")
        if concurrency.isdecimal() and held >= int(concurrency):
            return
        jobs = [job_id for job_id in waiting if self.books.jobs.get(job_id, {}).get("status") == "rate_limited"]
        if jobs:
            first = min(jobs, key=lambda job_id: (waiting[job_id], job_id))
            problem = f"{len(jobs)} wait for a slot, of which {held} are held and {shown(concurrency) or '?'} are there"
            repair = SlotRepair(limit, "")
            remedy = "queue those for whom there is one"
            key = self.keys.limit(limit)
            self.say("slot is free", "I14", Severity.ERROR, key, problem, remedy, repair, jobs=[first], keys=keys)

    def _unlisted(self, limit: str, keys: list[str]) -> None:
        there = [key for key in keys[1:] if key in self.books.snapshot.entries]
        checks = (("-", ("SISMEMBER", self.keys.limits, limit)), ("+", ("EXISTS", *there)))
        repair = Repair(checks, (("SADD", self.keys.limits, limit),))
        problem = f"{self.keys.limits} does not name this rate limit, and nobody looks after it"
        key = self.keys.limit(limit)
        self.say("unlisted rate limit", "I15", Severity.WARNING, key, problem, "name it", repair, keys=keys)


def _is_gone(books: Books, job_id: str) -> bool:
    return job_id not in books.jobs and books.keys.job(job_id) not in books.snapshot.entries
