"""I15: a group is known, so that it is cleaned and goes with its last job; and its jobs are in it."""

from __future__ import annotations

from aiorq.doctor.finding import Severity
from aiorq.doctor.look import Look, shown
from aiorq.store.audit import Repair


class Groups(Look):
    """Looks at groups. That one still names jobs which are gone is as it should be: the next cleanup takes them out."""

    def run(self) -> None:
        """Look, and fill `found`."""
        books, keys = self.books, self.keys
        known = books.snapshot.members(keys.groups) or set()
        for key, group in books.groups.items():
            if group not in known:
                checks = (("=set", ("TYPE", key)), ("-", ("SISMEMBER", keys.groups, group)))
                repair = Repair(checks, (("SADD", keys.groups, group),))
                problem = f"{keys.groups} does not name this group, and nobody takes jobs out of it that are gone"
                self.say(
                    "unlisted group",
                    "I15",
                    Severity.WARNING,
                    shown(group),
                    problem,
                    "name it",
                    repair,
                    keys=[key, keys.groups],
                )
        for job_id, fields in books.jobs.items():
            name = fields.get("group_id")
            if name and job_id not in (books.snapshot.members(keys.group(name)) or ()):
                self._missing(job_id, fields, name)

    def _missing(self, job_id: str, fields: dict[str, str], group: str) -> None:
        keys = self.keys
        key = keys.group(group)
        checks = (
            *self.as_found(job_id, fields),
            (f"={group}", ("HGET", keys.job(job_id), "group_id")),
            ("-", ("SISMEMBER", key, job_id)),
        )
        repair = Repair(checks, (("SADD", key, job_id), ("SADD", keys.groups, group)))
        problem = f"it is of group {shown(group)}, and {key} does not name it"
        self.say(
            "missing in its group",
            "I15",
            Severity.WARNING,
            job_id,
            problem,
            "name it there",
            repair,
            jobs=[job_id],
            keys=[key, keys.groups],
        )
