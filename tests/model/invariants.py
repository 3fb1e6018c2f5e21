"""What must hold of any picture, and from one to the next; written without a look at the model.

The numbers are those of the project's list of invariants.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from tests.model.shelf import Fields, Picture

Jobs: TypeAlias = Mapping[str, tuple[Fields, int | None]]

REGISTRIES: Final = {
    "finished": "finished",
    "failed": "failed",
    "stopped": "failed",
    "canceled": "canceled",
    "scheduled": "scheduled",
    "deferred": "deferred",
}
LISTS: Final = "lists"
"""The queues and the inboxes, taken together."""
MOST_LOSSES: Final = 1
_FINAL: Final = {"finished": {"1"}, "failed": {"2", "5"}, "stopped": {"3"}}
_RETRIED: Final = "4"
_UNDER_WAY: Final = {"queued", "scheduled", "rate_limited", "started"}
_FOR_EVER: Final = (
    *("queue:", "wip:", "finished:", "failed:", "canceled:", "scheduled:", "deferred:", "aiorq:inbox:", "workers:"),
    *("group:", "rl:", "aiorq:parting:"),
)
_ALSO_FOR_EVER: Final = {
    *("queues", "workers", "aiorq:inboxes", "aiorq:dropped", "suspended", "aiorq:paused"),
    *("groups", "rl-keys", "aiorq:parents"),
}


@dataclass
class Life:
    """What was seen of a job since it was enqueued."""

    retries: int
    asked: int = 0
    """How many times a run of it asked to be tried again, and was."""
    again: int = 0
    """How many times it was requeued or repeated, after an outcome of its own."""
    runs: int = 0
    """Claims, but for those whose run did not begin."""
    earliest: float = 0.0
    """When it may run at the earliest."""
    parents: set[str] = field(default_factory=set)
    """Those that it was last seen to wait for, or to have waited for."""
    met: set[str] = field(default_factory=set)
    """The parents that did not stand in the way at some time since it was deferred."""
    deferred: bool = False
    """Whether it waits for its parents."""


@dataclass
class History:
    """What the steps of an example tell the invariants."""

    lives: dict[str, Life] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    """Every token that a claim gave."""
    over: set[str] = field(default_factory=set)
    """Those that lost their place."""
    asked: set[str] = field(default_factory=set)
    """Runs that were asked to stop, by a worker that answers, and have not been seen to answer."""
    answered: set[str] = field(default_factory=set)
    strays: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(registry, or LISTS, and id): how many entries are left there of a former life, whose time was over or which was
    in an inbox when it was replaced or canceled."""
    latest: float = 0.0
    """How late it ever was."""
    went_back: bool = False
    """Whether the clock ever did: a lease then ends later than the keys that tell of it."""
    jobs: dict[str, Fields] = field(default_factory=dict)
    come: set[str] = field(default_factory=set)
    """Ids that this step may bring into being."""
    go: set[str] = field(default_factory=set)
    """Ids that this step may remove."""
    expired: set[str] = field(default_factory=set)
    """Ids whose job's time was over, or who waits for them forgotten, which nobody sees: a sweep finds who waits."""
    excused: set[str] = field(default_factory=set)
    """Parents that were met without being seen so: canceled as if they had finished, repeated at once, or not kept."""
    slots: dict[str, int] = field(default_factory=dict)
    """The greatest concurrency that a job ever asked for of a rate limit."""
    let_go: set[str] = field(default_factory=set)
    """Who was let go in this step."""


def jobs_of(seen: Picture) -> dict[str, tuple[Fields, int | None]]:
    return {key[4:]: held for key, held in seen.items() if key.startswith("job:") and ":" not in key[4:]}


def check(seen: Picture, history: History) -> None:
    jobs = jobs_of(seen)
    running = {
        member: (key[4:], score)
        for key, (members, _) in seen.items()
        if key.startswith("wip:")
        for member, score in members.items()
    }
    _check_conservation(jobs, history)
    _check_places(seen, jobs, history)
    _check_runs(seen, jobs, running, history)
    _check_outcomes(seen, jobs, history)
    _check_dependencies(seen, jobs, history)
    _check_limits(seen, jobs, history)
    _check_groups(seen, jobs, history)
    _check_stops(seen, running, history)
    _check_keys(seen, jobs)
    history.jobs = {job_id: fields for job_id, (fields, _) in jobs.items()}


def _check_conservation(jobs: Jobs, history: History) -> None:
    came, went = jobs.keys() - history.jobs.keys(), history.jobs.keys() - jobs.keys()
    assert came <= history.come, f"I8: {came - history.come} came from nowhere"
    assert went <= history.go, f"I8: {went - history.go} were lost"
    for job_id, (fields, _) in jobs.items():
        before = history.jobs.get(job_id)
        due = before is not None and before.status == "scheduled" and fields.status in {"queued", "rate_limited"}
        if due and job_id not in history.come:
            assert history.lives[job_id].earliest <= history.latest, f"I12: {job_id} is queued before its time"


def _check_places(seen: Picture, jobs: Jobs, history: History) -> None:
    entries: Counter[tuple[str, str]] = Counter()
    listed: set[tuple[str, str]] = set()
    for key, (members, _) in seen.items():
        kind, _, rest = key.partition(":")
        if kind == "queue" or rest.startswith("inbox:"):
            entries.update((LISTS, job_id) for job_id in members)
            listed |= {(rest.rpartition(":")[2], job_id) for job_id in members}
        elif kind in REGISTRIES.values() or (kind == "rl" and rest.endswith(":rate_limited")):
            entries.update((key, job_id) for job_id in members)
    strays = history.strays
    for entry in list(strays):
        strays[entry] = min(strays[entry], entries[entry])
    for job_id, (fields, _) in jobs.items():
        if fields.status == "queued":
            assert (fields.queue, job_id) in listed, f"I1, I2: {job_id} is queued, and not there"
            assert entries[LISTS, job_id] <= 1 + strays[LISTS, job_id], f"I1: {job_id} is listed twice"
        elif fields.status != "started" and fields.listed:
            assert entries[_home(fields), job_id], f"I1, I2: {job_id} is {fields.status}, and not there"
    for (place, job_id), count in entries.items():
        if job_id not in jobs:
            strays[place, job_id] = count  # the job's time was over, or it is in an inbox; who finds it there drops it
            continue
        fields = jobs[job_id][0]
        if fields.status not in {"queued", "started"} and place == _home(fields):
            strays.pop((place, job_id), None)  # what was left there of a former life is this one's now
        elif place == f"finished:{fields.queue}" and fields.repeats is not None and fields.status in _UNDER_WAY:
            assert count == 1, f"I1: {job_id} repeats, and is there twice"
        elif place != LISTS or fields.status != "queued":
            assert count <= strays[place, job_id], f"I1, I2: {job_id} is {fields.status}, and in {place}"


def _home(fields: Fields) -> str:
    if fields.status == "rate_limited":
        return f"rl:{fields.limit}:rate_limited"
    return f"{REGISTRIES[fields.status]}:{fields.queue}"


def _check_runs(seen: Picture, jobs: Jobs, running: dict[str, tuple[str, float]], history: History) -> None:
    started = {job_id for job_id, (fields, _) in jobs.items() if fields.status == "started"}
    assert Counter(member.partition(":")[0] for member in running) == Counter(started), "I1, I3: a run for each"
    own = {
        member: key.split(":")[1]
        for key, (members, _) in seen.items()
        if key.startswith("worker:") and key.endswith(":executions")
        for member in members
    }
    held = {key.removeprefix("execution:"): fields for key, (fields, _) in seen.items() if key.startswith("execution:")}
    listed = {
        f"{key.partition(':')[2]}:{token}"
        for key, (tokens, _) in seen.items()
        if key.startswith("executions:")
        for token in tokens
    }
    assert own.keys() <= running.keys(), "I3: the set of a worker names a run that is none"
    assert held.keys() == listed, "I3: the hash of an execution, and the job's set of them"
    assert listed <= running.keys(), "I3: an execution of a run that is none"
    for member, (queue, score) in running.items():
        job_id, _, token = member.partition(":")
        fields, expires = jobs[job_id]
        assert fields.queue == queue, f"I3: {job_id} runs in another queue than its own"
        assert token in history.tokens, f"I4: nobody claimed {token}"
        assert token not in history.over, f"I4: {token} is used again"
        if score + 60 > history.latest and not history.went_back:
            assert member in held, f"I3: {member} has no execution"
            assert held[member][0] == fields.worker, f"I3: {member} has two workers"
        if score > history.latest and not history.went_back:
            assert own.get(member, "") == fields.worker, f"I3: {member} is not in the set of its worker"
        assert expires is None, f"I15: {job_id} may expire while it runs"
    history.over |= history.tokens - {member.partition(":")[2] for member in running}
    for job_id, life in history.lives.items():
        most = (1 + MOST_LOSSES) * (1 + life.again) + life.retries + life.asked
        assert life.runs <= most, f"I6: {job_id} ran {life.runs} times"


def _check_outcomes(seen: Picture, jobs: Jobs, history: History) -> None:
    for job_id, (fields, _) in jobs.items():
        outcomes, _ = seen.get(f"results:{job_id}", ([], None))
        finals = [kind for kind, _ in outcomes if kind != _RETRIED]
        ended = fields.status in _FINAL
        life = history.lives[job_id]
        if ended:
            assert outcomes, f"I7: {job_id} is {fields.status} and has no outcome"
            assert outcomes[-1][0] in _FINAL[fields.status], f"I7: the outcome of {job_id}"
        if fields.status != "canceled":
            assert len(finals) <= life.again + ended, f"I7: {job_id} has {len(finals)} outcomes"
        assert len(finals) <= life.again + 1, f"I7: {job_id} has {len(finals)} outcomes"
        assert len(outcomes) - len(finals) <= life.asked, f"I7: {job_id} was not tried again that often"
        assert len({token for _, token in outcomes}) == len(outcomes), f"I7: two outcomes of a run of {job_id}"
        for _, token in outcomes:
            assert token in history.over, f"I7: an outcome of {job_id}, whose run goes on"


def _check_dependencies(seen: Picture, jobs: Jobs, history: History) -> None:
    ended: dict[str, str] = seen.get("aiorq:parents", ({}, None))[0]
    parting = {key.removeprefix("aiorq:parting:"): ids for key, (ids, _) in seen.items() if ":parting:" in key}
    assert ended.keys() == parting.keys(), "I10: dependents that are set apart, and the note of it"
    apart: dict[str, list[tuple[str, str]]] = {}
    for part, ids in parting.items():
        for child in ids:
            apart.setdefault(child, []).append((part.partition(":")[0], ended[part]))
    history.let_go.clear()
    graph: dict[str, set[str]] = {}
    for job_id, (fields, _) in jobs.items():
        life, before = history.lives[job_id], history.jobs.get(job_id)
        if fields.status != "deferred":
            was = before is not None and before.status == "deferred" and job_id not in history.come
            if life.deferred and was and fields.status in {"queued", "scheduled", "rate_limited"}:
                early = life.parents - life.met - history.excused - history.expired
                assert not [parent for parent in early if not _is_met(jobs, parent, fields)], (
                    f"I10: {job_id} goes early"
                )
                barred = before.barred if before is not None else None
                # Whoever allows failures may be let go by the last thing that is heard of it.
                fit = barred is None or barred in jobs or barred in history.excused or fields.allow
                assert fit, f"I10: {job_id} goes after all"
                history.let_go.add(job_id)
            life.deferred = False
            continue
        assert life.deferred or job_id in history.come, f"I10: {job_id} is deferred again"
        life.deferred = True
        parents: set[str] = seen.get(f"job::{job_id}:dependencies", (set(), None))[0]
        met = {parent for parent in parents if _is_met(jobs, parent, fields)}
        life.parents, life.met = parents, life.met | met
        waited = parents - met
        # Who let it go and has not come to it yet.
        left = any(
            how in {"finished", "gone", "passed"} or (how == "failed" and fields.allow) or _is_met(jobs, parent, fields)
            for parent, how in apart.get(job_id, ())
        )
        known = history.expired.isdisjoint(parents)
        assert waited or left or not known, f"I10: {job_id} waits for nothing"
        graph[job_id] = waited - history.expired
        for parent in waited - history.expired:
            children = seen.get(f"job:{parent}:dependents", ((), None))[0]
            told = job_id in children or any(owner == parent for owner, _ in apart.get(job_id, ()))
            assert told, f"I10: {parent} does not know that {job_id} waits for it"
    for cycle in _cycles(graph):
        raise AssertionError(f"I11: {cycle} wait for each other")


def _is_met(jobs: Jobs, parent: str, child: Fields) -> bool:
    if parent not in jobs:
        return child.barred != parent
    status = jobs[parent][0].status
    return status == "finished" or (status == "failed" and bool(child.allow))


def _cycles(graph: dict[str, set[str]]) -> Iterator[set[str]]:
    """What is left when all are taken away, again and again, that wait for none of the others."""
    left = dict(graph)
    while free := [job_id for job_id, parents in left.items() if parents.isdisjoint(left)]:
        for job_id in free:
            del left[job_id]
    if left:
        yield set(left)


def _check_limits(seen: Picture, jobs: Jobs, history: History) -> None:
    names: set[str] = seen.get("rl-keys", (set(), None))[0]
    for key, (members, _) in seen.items():
        kind, _, rest = key.partition(":")
        if kind != "rl":
            continue
        limit, _, side = rest.partition(":")
        assert limit in names, f"I15: nobody knows of {key}"
        if not side:
            held, waiting = (seen.get(f"{key}:{part}", ({}, None))[0] for part in ("allowed", "rate_limited"))
            assert len(held) <= history.slots[limit], f"I14: {sorted(held)} hold slots of {limit}"
            if len(held) < int(members["concurrency"]):
                assert not waiting, f"I14: {sorted(waiting)} wait for slots of {limit} that are free"
        elif side == "allowed":
            for job_id in members:
                if job_id in jobs:
                    fields = jobs[job_id][0]
                    fit = fields.limit == limit and fields.status in {"queued", "started"}
                    assert fit or job_id in history.expired, f"I14: {job_id} is {fields.status} and holds a slot"
                else:
                    assert job_id in history.expired, f"I14: {job_id} is gone and holds a slot"
    for job_id, (fields, _) in jobs.items():
        if fields.limit is not None and fields.status in {"queued", "started"}:
            held = seen.get(f"rl:{fields.limit}:allowed", ({}, None))[0]
            assert job_id in held, f"I14: {job_id} is {fields.status} and holds no slot"


def _check_groups(seen: Picture, jobs: Jobs, history: History) -> None:
    names: set[str] = seen.get("groups", (set(), None))[0]
    for key, (members, _) in seen.items():
        if key.startswith("group:"):
            assert key[6:] in names, f"nobody knows of {key}"
            for job_id in members - history.expired:
                assert job_id in jobs, f"{job_id} is gone and in {key}"
                assert jobs[job_id][0].group == key[6:], f"{job_id} is not of {key}"
    for job_id, (fields, _) in jobs.items():
        if fields.group:
            assert job_id in seen.get(f"group:{fields.group}", ((), None))[0], f"{job_id} is missing in its group"


def _check_stops(seen: Picture, running: dict[str, tuple[str, float]], history: History) -> None:
    requests = {token for key, (tokens, _) in seen.items() if key.startswith("aiorq:stops:") for token in tokens}
    tokens = {member.partition(":")[2] for member in running}
    assert requests <= tokens, "a request to stop a run that is over"
    for key, (words, _) in seen.items():
        if key.startswith("aiorq:answer:"):
            token = key.removeprefix("aiorq:answer:")
            assert len(words) == 1, f"answered {len(words)} times"
            assert token in history.asked | history.answered, "an answer to nobody"
    for token in [token for token in history.asked if token not in tokens]:
        assert f"aiorq:answer:{token}" in seen, "the request to stop a run was not answered"
        history.answered.add(token)
    history.asked &= requests  # a day after it was made a request is forgotten


def _check_keys(seen: Picture, jobs: Jobs) -> None:
    for key, (_, expires) in seen.items():
        if key.startswith(_FOR_EVER) or key in _ALSO_FOR_EVER:
            continue
        owner = _owner(key)
        if expires is None:
            assert owner, f"I15, I18: {key} stays for ever"
            assert owner in jobs, f"I15: {key} stays for ever, and its job is gone"
        if key.startswith("results:"):
            assert owner in jobs, f"I15: {key} outlives its job"
            until = jobs[owner][1]
            assert until is None or (expires is not None and expires <= until), f"I15: {key} outlives its job"
        elif key.endswith(":dependents") and owner in jobs:
            # Or nobody would know who waits for a job that is still there.
            assert expires == jobs[owner][1], f"I10, I15: {key} does not go with its job"


def _owner(key: str) -> str:
    """The id of the job that a key belongs to; empty for none."""
    kind, _, rest = key.partition(":")
    if kind == "job":
        return rest.removeprefix(":").partition(":")[0]
    if kind == "results":
        return rest
    return rest.removeprefix("attempts:") if rest.startswith("attempts:") else ""
