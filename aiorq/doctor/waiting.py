"""I10 and I11: who waits for other jobs waits for some that are still to end, and not in a circle."""

from __future__ import annotations

import json
from collections.abc import Iterator

from aiorq.doctor.finding import Severity
from aiorq.doctor.look import Look
from aiorq.store.audit import Repair


class Waiting(Look):
    """Looks at dependencies."""

    def run(self) -> None:
        """Look, and fill `found`."""
        books = self.books
        graph: dict[str, list[str]] = {}
        ended = self._ended()
        for job_id, fields in books.jobs.items():
            if fields.get("status") != "deferred":
                continue
            parents = self._parents(job_id, fields)
            graph[job_id] = parents
            if not ended.isdisjoint(parents):  # a worker is about to look at who waits for these
                continue
            unmet = [parent for parent in parents if not books.is_met(parent, fields)]
            jobs = [job_id, *parents]
            barred = fields.get("aiorq_barred")
            if barred and barred not in books.jobs:
                problem = f"it waits for job {barred}, which failed, was stopped or canceled, and is gone since"
                remedy = "nothing: requeue it from the registry of deferred jobs, cancel it or delete it"
                self.say("waits for ever", "I10", Severity.WARNING, job_id, problem, remedy, jobs=jobs)
                continue
            if not unmet:
                problem = "it waits for other jobs, and " + (
                    "all of them have ended as it asked, or are gone" if parents else "none is named"
                )
                repair = self.readmission(job_id, fields, parents)
                remedy = "queue it" if repair else "nothing: it does not say to which queue it belongs"
                self.say("waits for nothing", "I10", Severity.ERROR, job_id, problem, remedy, repair, jobs=jobs)
                continue
            for parent in unmet:
                key = self.keys.dependents(parent)
                if job_id not in (books.snapshot.members(key) or ()) and parent in books.jobs:
                    self._unknown_child(job_id, fields, parent, jobs)
        for cycle in _cycles(graph):
            problem = f"they wait for each other: {' -> '.join(cycle)}"
            remedy = "nothing: cancel or delete one of them, whichever should not wait"
            self.say("wait for each other", "I11", Severity.ERROR, min(cycle), problem, remedy, jobs=cycle)

    def _unknown_child(self, job_id: str, fields: dict[str, str], parent: str, jobs: list[str]) -> None:
        key = self.keys.dependents(parent)
        ttl_ms = self.books.ttl_ms(self.keys.job(parent))
        commands: list[tuple[str, ...]] = [("SADD", key, job_id)]
        if ttl_ms >= 0:
            commands.append(("EXPIRE", key, f"{ttl_ms // 1000 + 1}"))
        status = self.books.jobs[parent].get("status", "")
        found = ((f"={status}", ("HGET", self.keys.job(parent), "status")),) if status else ()
        problem = f"it waits for job {parent}, which does not know of it and will not release it"
        unknown = ("-", ("SISMEMBER", key, job_id))
        repair = Repair((*self.as_found(job_id, fields), *found, unknown), tuple(commands))
        self.say(
            "not known to its parent",
            "I10",
            Severity.ERROR,
            f"{job_id} of {parent}",
            problem,
            "enter it among the jobs that wait for that one",
            repair,
            jobs=jobs,
        )

    def _ended(self) -> set[str]:
        """The jobs that have ended and whose dependents, set apart, were not looked at yet."""
        books, keys = self.books, self.keys
        parts = books.snapshot.fields(keys.ended_parents) or {}
        for key, name in books.own:
            kind, _, part = name.partition(":")
            if kind == "parting" and part not in parts:
                self._forgotten(key, part)
        return {part.partition(":")[0] for part in parts}

    def _forgotten(self, key: str, part: str) -> None:
        ended = self.keys.ended_parents
        checks = (("=set", ("TYPE", key)), ("-", ("HEXISTS", ended, part)))
        # Those who wait for nothing any more are found so all the same.
        repair = Repair(checks, (("HSET", ended, part, "failed"),))
        problem = f"it holds jobs that wait for one which has ended, and {ended} does not name it: nobody looks at them"
        self.say("set apart and forgotten", "I10", Severity.ERROR, key, problem, "name it", repair, keys=[key, ended])

    def _parents(self, job_id: str, fields: dict[str, str]) -> list[str]:
        parents = self.books.snapshot.members(self.keys.dependencies(job_id))
        if parents is None:
            try:
                named = json.loads(fields.get("dependency_ids") or "[]")
            except (ValueError, RecursionError):
                named = []
            parents = {name for name in named if isinstance(name, str)} if isinstance(named, list) else set()
        return sorted(parents)


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
