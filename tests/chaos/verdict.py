"""What became of the jobs, held against what was promised."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from aiorq import Job, RateLimit
from aiorq.result import ResultType
from tests.chaos.fleet import QUEUES
from tests.chaos.storm import Blow, Storm

PLACES = ("wip", "scheduled", "deferred", "finished", "failed", "canceled")
FINAL = ("finished", "failed", "canceled")
LIMIT = RateLimit("chaos", 2)
"""The rate limit of some jobs."""
_CLOCK = 0.002  # seconds by which an outcome's date, in whole milliseconds, may differ


class Trace(NamedTuple):
    """A line of the file of effects."""

    word: str
    job_id: str
    pid: int
    worker: str
    moment: float


def read(path: Path) -> list[Trace]:
    """All traces, in the order in which they were left."""
    traces = []
    for line in path.read_text().splitlines():
        word, job_id, pid, worker, moment = line.split()
        traces.append(Trace(word, job_id, int(pid), worker, float(moment)))
    return traces


@dataclass
class Ends:
    """Where the jobs are in Redis, and with what outcomes."""

    places: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Job -> every place that lists it."""
    statuses: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, list[tuple[ResultType, float, str]]] = field(default_factory=dict)
    """Job -> its outcomes: type, when (seconds since 1970), traceback."""
    slots: list[str] = field(default_factory=list)
    """The jobs that have a slot of the rate limit."""
    parts: list[str] = field(default_factory=list)
    """Dependents of ended jobs that nobody has looked at yet."""


class Wait(NamedTuple):
    """What a job waits for."""

    parent: str
    lenient: bool
    """Whether the parent may fail."""


async def is_settled(client: Any, job_ids: Sequence[str], waits: Mapping[str, Wait]) -> bool:
    """Whether every job has ended, or waits for one that failed.

    Looking at the places instead would miss a job on its way from one to another.
    """
    pipeline = client.pipeline(transaction=False)
    for job_id in job_ids:
        pipeline.hget(f"rq:job:{job_id}", "status")
    statuses = dict(zip(job_ids, await pipeline.execute(), strict=True))
    return all(
        status is not None
        and (status.decode() in FINAL or (status == b"deferred" and statuses[waits[job_id].parent] == b"failed"))
        for job_id, status in statuses.items()
    )


async def collect(client: Any, job_ids: Sequence[str]) -> Ends:
    """Ask Redis for all jobs."""
    ends = Ends()
    for queue in QUEUES:
        for listed in await client.lrange(f"rq:queue:{queue}", 0, -1):
            ends.places[listed.decode()].append(f"queue {queue}")
        for place in PLACES:
            for member in await client.zrange(f"rq:{place}:{queue}", 0, -1):
                ends.places[member.decode().partition(":")[0]].append(f"{place} {queue}")
    for member in await client.zrange(f"rq:rl:{LIMIT.key}:rate_limited", 0, -1):
        ends.places[member.decode()].append("rate_limited")
    ends.slots = [member.decode() for member in await client.zrange(f"rq:rl:{LIMIT.key}:allowed", 0, -1)]
    ends.parts = [part.decode() for part in await client.hkeys("rq:aiorq:parents")]
    async for key in client.scan_iter("rq:aiorq:inbox:*"):
        for listed in await client.lrange(key, 0, -1):
            ends.places[listed.decode()].append("inbox")
    for job_id in job_ids:
        status = await client.hget(f"rq:job:{job_id}", "status")
        ends.statuses[job_id] = status.decode() if status else ""
        job: Job[Any] = Job(job_id, client)
        ends.outcomes[job_id] = [
            (result.type, result.created_at.timestamp(), result.exc_string or "")
            for result in reversed(await job.results())
        ]
    return ends


@dataclass
class Recovery:
    """Seconds until something went on, after each blow of a kind."""

    seconds: list[float] = field(default_factory=list)

    @property
    def most(self) -> float:
        return max(self.seconds, default=0.0)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds) if self.seconds else 0.0


@dataclass
class Verdict:
    """All figures of a run."""

    outcomes: Counter[str]
    lost: list[str]
    twice: list[str]
    stuck: list[str]
    not_run: list[str]
    """Jobs that are said to have finished and did not."""
    askew: list[str]
    """Jobs whose status is not that of the place that lists them."""
    early: list[str]
    """Jobs that ran before the one that they waited for had ended as they asked."""
    left: list[str]
    """Slots of the rate limit, and dependents, that are left behind."""
    reruns: int
    allowed: int
    after_worker: Recovery
    after_horse: Recovery
    after_outage: Recovery


def judge(
    job_ids: Sequence[str], waits: Mapping[str, Wait], traces: Sequence[Trace], ends: Ends, storm: Storm
) -> Verdict:
    """Hold what is found against what was promised."""
    history: dict[str, list[Trace]] = defaultdict(list)
    for trace in traces:
        history[trace.job_id].append(trace)
    finished = {
        job_id for job_id in job_ids if any(kind is ResultType.SUCCESSFUL for kind, _, _ in ends.outcomes[job_id])
    }
    ran = {trace.job_id for trace in traces if trace.word == "end"}
    final = {job_id: [place for place in ends.places[job_id] if place.startswith(FINAL)] for job_id in job_ids}
    in_vain = {job_id for job_id, wait in waits.items() if not wait.lenient and wait.parent not in finished}
    return Verdict(
        outcomes=Counter(
            "left waiting" if job_id in in_vain and not ends.outcomes[job_id] else _describe(ends.outcomes[job_id])
            for job_id in job_ids
        ),
        lost=[job_id for job_id in job_ids if not ends.outcomes[job_id] and not ends.places[job_id]],
        twice=[job_id for job_id in job_ids if len(ends.outcomes[job_id]) > 1 or len(ends.places[job_id]) > 1],
        stuck=[
            job_id
            for job_id in job_ids
            if ends.places[job_id]
            and not final[job_id]
            and not (job_id in in_vain and ends.statuses[job_id] == "deferred")
        ],
        not_run=sorted(finished - ran),
        askew=[
            job_id
            for job_id in job_ids
            if [place.partition(" ")[0] for place in final[job_id]] != [ends.statuses[job_id]]
            and ends.places[job_id] == final[job_id]
        ],
        early=[
            job_id
            for job_id, wait in waits.items()
            if job_id in history
            and (job_id in in_vain or history[job_id][0].moment < _ended(ends.outcomes[wait.parent]) - _CLOCK)
        ],
        left=[*ends.slots, *ends.parts],
        reruns=sum(_reruns(lines) for lines in history.values()),
        allowed=sum(len(blow.in_flight) for blow in storm.blows),
        after_worker=_after_workers(storm, history, ends),
        after_horse=_after_horses(storm, traces, history, ends),
        after_outage=_after_outages(storm, traces),
    )


def _ended(outcomes: Sequence[tuple[ResultType, float, str]]) -> float:
    """When a job came to its end; never, where that is not known."""
    return outcomes[-1][1] if outcomes else float("inf")


def _describe(outcomes: Sequence[tuple[ResultType, float, str]]) -> str:
    if not outcomes:
        return "none"
    kind, _, text = outcomes[-1]
    if kind is not ResultType.FAILED:
        return {ResultType.SUCCESSFUL: "finished"}.get(kind, kind.name.lower())
    if "ValueError: on purpose" in text:
        return "failed on purpose"
    if "HorseTerminatedError" in text:
        return "failed, process killed"
    if "AbandonedJobError" in text:
        return "failed, lost four times"
    return "failed otherwise"


def _reruns(lines: Sequence[Trace]) -> int:
    """Runs beyond the first that no failure of the job's own asked for."""
    starts = [index for index, trace in enumerate(lines) if trace.word == "start"]
    last = starts[-1] if starts else 0
    return max(0, len(starts) - 1 - sum(trace.word == "fail" for trace in lines[:last]))


def _next_event(job_id: str, after: float, history: dict[str, list[Trace]], ends: Ends) -> float | None:
    events = [trace.moment for trace in history[job_id] if trace.word == "start"]
    events += [moment for _, moment, _ in ends.outcomes.get(job_id, [])]
    return min((moment for moment in events if moment > after), default=None)


def _without(outages: Iterable[tuple[float, float]], begin: float, end: float) -> float:
    """The seconds between two moments in which the server answered."""
    return end - begin - sum(max(0.0, min(end, until) - max(begin, since)) for since, until in outages)


def _after_workers(storm: Storm, history: dict[str, list[Trace]], ends: Ends) -> Recovery:
    """From the kill of a worker to the next start or end of each job that it had, the server's outages not counted."""
    recovery = Recovery()
    for blow in storm.blows:
        if blow.kind not in ("worker", "worker and horse"):
            continue
        for job_id in blow.in_flight:
            moment = _next_event(job_id, blow.moment, history, ends)
            if moment is not None:
                recovery.seconds.append(_without(storm.outages_utc, blow.moment, moment))
    return recovery


def _after_horses(storm: Storm, traces: Sequence[Trace], history: dict[str, list[Trace]], ends: Ends) -> Recovery:
    """From the kill of a horse to the recorded failure of its job, where nothing else was done to its worker then."""
    jobs = {(trace.pid, trace.worker): trace.job_id for trace in traces if trace.word == "start"}
    recovery = Recovery()
    for blow in storm.blows:
        job_id = jobs.get((blow.horse, blow.worker))
        if blow.kind != "horse" or job_id is None:
            continue
        moment = _next_event(job_id, blow.moment, history, ends)
        if moment is None or not any(when == moment for _, when, _ in ends.outcomes[job_id]):
            continue  # it has retries, and is tried again
        if not _is_disturbed(storm, blow, moment):
            recovery.seconds.append(moment - blow.moment)
    return recovery


def _is_disturbed(storm: Storm, blow: Blow, until: float) -> bool:
    spans = [(name, begin, end) for name, begin, end in storm.frozen if name == blow.worker]
    spans += [("", begin, end + 1.0) for begin, end in storm.outages_utc]
    spans += [
        (other.worker, other.moment - 1.0, other.moment)
        for other in storm.blows
        if other is not blow and other.worker == blow.worker
    ]
    return any(begin < until and end > blow.moment for _, begin, end in spans)


def _after_outages(storm: Storm, traces: Sequence[Trace]) -> Recovery:
    """From the server's answer to the next start of any job."""
    starts = [trace.moment for trace in traces if trace.word == "start"]
    recovery = Recovery()
    for _, end in storm.outages_utc:
        following = [moment for moment in starts if moment > end]
        if following:
            recovery.seconds.append(following[0] - end)
    return recovery
