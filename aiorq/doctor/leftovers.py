"""I15 and I18: every key is one that RQ or aiorq has, and belongs to something that is there, or expires."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from aiorq.doctor.finding import Severity
from aiorq.doctor.look import Checks, Look, shown
from aiorq.store.audit import Repair

_LEFT: Final = 86_400  # seconds that something which belongs to nobody is kept, in case somebody wants to look at it
_CAPPED: Final = frozenset({"clock", "dropped", "inboxes", "paused"})  # an entry for each queue, of each worker at most
_OF_JOBS: Final = frozenset({"attempts", "waits"})
_PASSING: Final = frozenset({"parents", "parting"})  # a worker looks at what is there, and it is gone


class Leftovers(Look):
    """Looks at keys, and at workers that are gone."""

    def run(self) -> None:
        """Look, and fill `found`."""
        self._leftovers()
        self._workers()
        self._keys()

    def _leftovers(self) -> None:
        books, keys = self.books, self.keys
        for key, job_id in (*books.results, *books.links):
            if job_id not in books.jobs:
                self._expires(key, f"it belongs to job {shown(job_id)}, which is gone, and never expires", [job_id])
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
            if kind == "cron":
                self._cron(key, owners)
            elif kind == "ended":
                self._expires(key, "it should be there for a minute after a run, and never expires")
            elif kind in _OF_JOBS and not owned:
                self._expires(
                    key, f"it belongs to job {shown(owners[0])}, which is gone, and never expires", owners[:1]
                )
            elif not owned and kind not in _CAPPED | _PASSING and books.ttl_ms(key) == -1:
                problem = "it belongs to no job and no worker, and never expires"
                remedy = "nothing: another version of aiorq may know what it is for"
                self.say("kept for ever", "I15", Severity.WARNING, key, problem, remedy, jobs=owners, keys=[key])

    def _cron(self, key: str, parts: list[str]) -> None:
        """What is kept of a cron entry comes and goes with it."""
        keys, name = self.keys, ":".join(parts[1:])
        together = {keys.cron_entries, keys.cron_state(name), keys.cron_fields(name)}
        if parts and parts != ["next"] and not together <= self.books.snapshot.entries.keys():
            self._expires(key, f"it belongs to cron entry {shown(name)}, which is gone, and never expires")

    def _expires(self, key: str, problem: str, gone: Iterable[str] = ()) -> None:
        if self.books.ttl_ms(key) != -1:
            return
        checks = (("=-1", ("PTTL", key)), *(("-", ("EXISTS", self.keys.job(job_id))) for job_id in gone))
        repair = Repair(checks, (("EXPIRE", key, f"{_LEFT}"),))
        self.say(
            "kept for ever",
            "I15",
            Severity.WARNING,
            key,
            problem,
            "let it expire in a day",
            repair,
            jobs=gone,
            keys=[key],
        )

    def _workers(self) -> None:
        books, keys = self.books, self.keys
        head = keys.worker("")
        for key in books.worker_sets:
            for member in sorted(books.snapshot.members(key) or ()):
                name = member.removeprefix(head)
                gone = Repair((("+", ("SISMEMBER", key, member)),), (("SREM", key, member),))
                if name == member:
                    problem = f"{key} names it, which is no worker: every reader of RQ fails at it"
                    self.say(
                        "no worker", "I18", Severity.ERROR, shown(member), problem, "take it out", gone, keys=[key]
                    )
                elif member not in books.snapshot.entries:
                    repair = gone._replace(checks=(*gone.checks, ("-", ("EXISTS", member))))
                    problem = f"{key} names it, and it is dead"
                    self.say(
                        "worker is gone",
                        "I15",
                        Severity.WARNING,
                        f"{shown(name)} in {key}",
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
            problem = f"it holds {_jobs(len(ids))} that {shown(worker)} was given, and that worker is gone"
            remedy = "put them back at the head of their queue"
            self.say(
                "inbox of nobody",
                "I1",
                Severity.ERROR,
                key,
                problem,
                remedy,
                Repair(checks, tuple(commands)) if ids else None,
                jobs=ids[:10],
                keys=[key, keys.worker(worker)],
            )

    def _keys(self) -> None:
        books, keys = self.books, self.keys
        queues = books.snapshot.members(keys.queues) or set()
        for key in queues:
            if not key.startswith(keys.queue("")):
                repair = Repair((("+", ("SISMEMBER", keys.queues, key)),), (("SREM", keys.queues, key),))
                problem = f"{keys.queues} names it, which is no queue: every reader of RQ fails at it"
                self.say("no queue", "I18", Severity.ERROR, shown(key), problem, "take it out", repair, keys=[key])
        for key, (kind, queue) in books.lists.items():
            if kind == "queue" and key not in queues:
                checks: Checks = (("=list", ("TYPE", key)), ("-", ("SISMEMBER", keys.queues, key)))
                repair = Repair(checks, (("SADD", keys.queues, key),))
                problem = f"{keys.queues} does not name this queue, and those who list queues do not see it"
                self.say(
                    "unlisted queue", "I18", Severity.WARNING, shown(queue), problem, "name it", repair, keys=[key]
                )
        for key, expected, found in books.strange:
            problem = f"it holds a {found}, where a {expected} should be"
            remedy = "nothing: rename or delete it, if nobody needs it"
            self.say("wrong type", "I18", Severity.ERROR, key, problem, remedy, keys=[key])
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
            self.say("unknown keys", "I18", Severity.WARNING, name, problem, remedy, keys=sorted(members)[:100])


def _jobs(number: int) -> str:
    return "1 job" if number == 1 else f"{number} jobs"
