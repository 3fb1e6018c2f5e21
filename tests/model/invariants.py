"""What must hold of any picture, and from one to the next; written without a look at the model.

The numbers are those of the project's list of invariants.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from tests.model.model import MOST_LOSSES, Picture

REGISTRIES: Final = {
    "finished": "finished",
    "failed": "failed",
    "stopped": "failed",
    "canceled": "canceled",
    "scheduled": "scheduled",
}
LISTS: Final = "lists"
"""The queues and the inboxes, taken together."""
_FINAL: Final = {"finished": "1", "failed": "2", "stopped": "3"}
_FOR_EVER: Final = ("queue:", "wip:", "finished:", "failed:", "canceled:", "scheduled:", "aiorq:inbox:", "workers:")
_ALSO_FOR_EVER: Final = {"queues", "workers", "aiorq:inboxes", "aiorq:dropped", "suspended"}


@dataclass
class Life:
    """What was seen of a job since it was enqueued."""

    retries: int
    runs: int = 0
    """Claims, but for those whose run did not begin."""


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
    jobs: set[str] = field(default_factory=set)
    come: set[str] = field(default_factory=set)
    """Ids that this step may bring into being."""
    go: set[str] = field(default_factory=set)
    """Ids that this step may remove."""


def check(seen: Picture, history: History) -> None:
    jobs = {key[4:]: held for key, held in seen.items() if key.startswith("job:")}
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
    _check_stops(seen, running, history)
    _check_keys(seen, jobs)


def _check_conservation(jobs: dict[str, Any], history: History) -> None:
    came, went = jobs.keys() - history.jobs, history.jobs - jobs.keys()
    assert came <= history.come, f"I8: {came - history.come} came from nowhere"
    assert went <= history.go, f"I8: {went - history.go} were lost"
    history.jobs = set(jobs)


def _check_places(seen: Picture, jobs: dict[str, Any], history: History) -> None:
    entries: Counter[tuple[str, str]] = Counter()
    listed: set[tuple[str, str]] = set()
    for key, (members, _) in seen.items():
        kind, _, rest = key.partition(":")
        if kind == "queue" or rest.startswith("inbox:"):
            entries.update((LISTS, job_id) for job_id in members)
            listed |= {(rest.rpartition(":")[2], job_id) for job_id in members}
        elif kind in REGISTRIES.values():
            entries.update((key, job_id) for job_id in members)
    strays = history.strays
    for entry in list(strays):
        strays[entry] = min(strays[entry], entries[entry])
    for job_id, (fields, _) in jobs.items():
        status, queue = fields[:2]
        if status == "queued":
            assert (queue, job_id) in listed, f"I1, I2: {job_id} is queued, and not there"
            assert entries[LISTS, job_id] <= 1 + strays[LISTS, job_id], f"I1: {job_id} is listed twice"
        elif status != "started":
            assert entries[f"{REGISTRIES[status]}:{queue}", job_id], f"I1, I2: {job_id} is {status}, and not there"
    for (place, job_id), count in entries.items():
        if job_id not in jobs:
            strays[place, job_id] = count  # the job's time was over, or it is in an inbox; who finds it there drops it
            continue
        status, queue = jobs[job_id][0][:2]
        if status in REGISTRIES and place == f"{REGISTRIES[status]}:{queue}":
            strays.pop((place, job_id), None)  # what was left there of a former life is this one's now
        elif place != LISTS or status != "queued":
            assert count <= strays[place, job_id], f"I1, I2: {job_id} is {status}, and in {place}"


def _check_runs(seen: Picture, jobs: dict[str, Any], running: dict[str, tuple[str, float]], history: History) -> None:
    started = {job_id for job_id, (fields, _) in jobs.items() if fields[0] == "started"}
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
        assert jobs[job_id][0][1] == queue, f"I3: {job_id} runs in another queue than its own"
        assert token in history.tokens, f"I4: nobody claimed {token}"
        assert token not in history.over, f"I4: {token} is used again"
        if score + 60 > history.latest and not history.went_back:
            assert member in held, f"I3: {member} has no execution"
            assert held[member][0] == jobs[job_id][0][2], f"I3: {member} has two workers"
        if score > history.latest and not history.went_back:
            assert own.get(member) == jobs[job_id][0][2], f"I3: {member} is not in the set of its worker"
        assert jobs[job_id][1] is None, f"I15: {job_id} may expire while it runs"
    history.over |= history.tokens - {member.partition(":")[2] for member in running}
    for job_id, life in history.lives.items():
        assert life.runs <= 1 + life.retries + MOST_LOSSES, f"I6: {job_id} ran {life.runs} times"


def _check_outcomes(seen: Picture, jobs: dict[str, Any], history: History) -> None:
    for job_id, (fields, _) in jobs.items():
        outcomes, _ = seen.get(f"results:{job_id}", ([], None))
        assert len(outcomes) <= 1, f"I7: {job_id} has {len(outcomes)} outcomes"
        if fields[0] in _FINAL:
            assert [kind for kind, _ in outcomes] == [_FINAL[fields[0]]], f"I7: the outcome of {job_id}"
        elif fields[0] != "canceled":
            assert not outcomes, f"I7: {job_id} is {fields[0]} and has an outcome"
        for _, token in outcomes:
            assert token in history.over, f"I7: an outcome of {job_id}, whose run goes on"


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


def _check_keys(seen: Picture, jobs: dict[str, Any]) -> None:
    for key, (_, expires) in seen.items():
        if expires is None and not key.startswith(_FOR_EVER) and key not in _ALSO_FOR_EVER:
            kind, _, job_id = key.partition(":")
            assert kind in {"job", "results"}, f"I15, I18: {key} stays for ever"
            assert job_id in jobs, f"I15: {key} stays for ever, and its job is gone"
        if key.startswith("results:"):
            assert key[8:] in jobs, f"I15: {key} outlives its job"
            until = jobs[key[8:]][1]
            assert until is None or (expires is not None and expires <= until), f"I15: {key} outlives its job"
