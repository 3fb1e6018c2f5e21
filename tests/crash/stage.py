"""The test's side of a crash: a database of its own, processes that are watched, and a look at what is left at last."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import redis

from aiorq import Job, JobStatus, Queue, Result, connect
from aiorq.doctor import Severity, check
from aiorq.store import audit
from aiorq.store.audit import Snapshot
from tests.crash.points import Point
from tests.execution.processes import LIMIT, Fifo
from tests.scripts.conftest import REGISTRIES, Books

ROOT: Final = Path(__file__).parents[2]
FUNCTIONS: Final = str(Path(__file__).parent / "functions")
LEASE: Final = 3
"""Seconds. Long enough for a machine that is busy with other crashes; the test itself lets it run out."""
REAPS: Final = 0.05
"""Seconds between two looks for what is overdue."""
SHOWN: Final = 20
"""Lines of what a process told that a failed test shows."""
KEPT: Final = {b"rq:queues", b"rq:finished:default", b"rq:failed:default", b"rq:canceled:default"}
"""Keys that stay for ever."""
KEPT_FOR_JOBS: Final = (b"rq:group:", b"rq:groups", b"rq:rl-keys", b"rq:rl:")
"""What keys begin with that stay as long as there are jobs that they speak of, until the next sweep."""
NEVER_LEFT: Final = (
    *(b"rq:wip", b"rq:execution", b"rq:queue:", b"rq:aiorq:inbox"),
    *(b"rq:aiorq:parents", b"rq:aiorq:parting:", b"rq:aiorq:waits:"),
)
"""What the keys begin with that are gone when nothing waits and nothing runs."""
PLACES: Final = ("rq:queue:", "rq:aiorq:inbox:", "rq:wip:", *(f"rq:{name}:" for name in REGISTRIES))
"""What the keys begin with that list jobs."""
LIMITED: Final = re.compile("rq:rl:.*:rate_limited")
"""The keys that list jobs which wait for a slot of their rate limit."""
WAITING: Final = (JobStatus.QUEUED, JobStatus.DEFERRED)
"""What may be left to be as it is: no worker that takes part looks at it."""
_BOOT: Final = "import sys; sys.path[:0] = {path!r}; import deeds; from tests.crash.launcher import main; main()"


class Fate(NamedTuple):
    """What must become of a job."""

    status: JobStatus | None
    """None: nothing is left of it."""
    text: str = ""
    """What its traceback says."""
    starts: int = 1
    """How many times its function may have begun."""
    outcomes: int = 1
    """How many outcomes it has in the end."""
    queue: str = "default"


class Launcher:
    """Forks processes for the tests, and ends with them."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            code = _BOOT.format(path=[str(ROOT), FUNCTIONS])
            command = [sys.executable, "-W", "error", "-c", code, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])

    def fork(self, **request: Any) -> tuple[int, int]:
        """Fork a process that does what is asked for; returns its id, and a descriptor to read what it tells."""
        ours, theirs = os.pipe()
        try:
            socket.send_fds(self._socket, [json.dumps(request).encode()], [theirs])
        finally:
            os.close(theirs)
        return int(self._socket.recv(100)), ours

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


class Actor:
    """A process that takes part in a scenario, and all that it forks."""

    def __init__(self, launcher: Launcher, **request: Any) -> None:
        self.kill = request["kill"]
        self.pid, self._pipe = launcher.fork(**{"hold": None, "fault": "", **request})
        os.set_blocking(self._pipe, False)
        self._rest = b""
        self._came = asyncio.Event()
        self.lines: list[list[str]] = []
        self.is_gone = False
        asyncio.get_running_loop().add_reader(self._pipe, self._read)

    def _read(self) -> None:
        data = os.read(self._pipe, 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.lines += [line.decode().split("\t") for line in lines]
        if not data:
            self.is_gone = True
            self.close()
        self._came.set()
        self._came = asyncio.Event()

    def told(self, *words: str) -> list[list[str]]:
        """The lines that begin with these words."""
        return [line for line in self.lines if line[: len(words)] == list(words)]

    async def until(self, condition: Callable[[], Any]) -> bool:
        """Wait for a condition on what was told; False when all processes went before it was met."""
        try:
            async with asyncio.timeout(LIMIT):
                while not condition():
                    if self.is_gone:
                        return False
                    await self._came.wait()
        except TimeoutError:
            raise TimeoutError(f"waited in vain; the last that was told:\n{self.last_words}") from None
        return True

    async def tells(self, *words: str, count: int = 1) -> bool:
        """Wait for so many lines that begin with these words; False when the process went without them."""
        return await self.until(lambda: len(self.told(*words)) >= count)

    async def gone(self) -> None:
        """Wait for the end of the process and of all that it forked."""
        assert not await self.until(lambda: False), self.last_words

    @property
    def last_words(self) -> str:
        """The end of what it told, for people."""
        return "\n".join(["..."[: len(self.lines) - SHOWN], *("  ".join(line) for line in self.lines[-SHOWN:])])

    @property
    def was_hit(self) -> bool:
        """Whether it died where it was meant to."""
        return self.told("killed") == [["killed", *self.kill]]

    @property
    def names(self) -> list[str]:
        """All commands that it sent or was about to send, in order."""
        return [line[1] for line in self.lines if line[0] == "sent"]

    def did(self, name: str) -> bool | None:
        """Whether the server has executed a command; None when that is not known."""
        if self.told("executed", name):
            return True
        return None if self.told("sent", name) else False

    def end(self, number: int = signal.SIGTERM) -> None:
        """Tell it to end, unless it has."""
        if not self.is_gone and not self.told("killed"):
            os.kill(self.pid, number)

    def close(self) -> None:
        if self._pipe >= 0:
            asyncio.get_running_loop().remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = -1


def places(snapshot: Snapshot) -> dict[str, list[str]]:
    """Job -> every queue and registry that lists it, once for each time that it is listed there."""
    found: dict[str, list[str]] = defaultdict(list)
    for key, entry in sorted(snapshot.entries.items()):
        if (key.startswith(PLACES) or LIMITED.fullmatch(key)) and not isinstance(entry.content, str | None):
            for member in entry.content:
                found[member.partition(":")[0]].append(key)
    return found


def runs(snapshot: Snapshot) -> dict[str, list[str]]:
    """Job -> every key that speaks of runs of it."""
    found: dict[str, list[str]] = defaultdict(list)
    for key, entry in sorted(snapshot.entries.items()):
        if key.startswith(("rq:executions:", "rq:execution:")):
            found[key.split(":")[2]].append(key)
        elif key.startswith("rq:worker:") and key.endswith(":executions"):
            assert isinstance(entry.content, set), key
            for member in entry.content:
                found[member.partition(":")[0]].append(key)
    return found


class Stage:
    """A database, its jobs, and the processes that work on them."""

    def __init__(self, launcher: Launcher, url: str, folder: Path) -> None:
        """Use an empty database and an empty folder."""
        self._launcher = launcher
        self.url = url
        folder.mkdir()
        self.gate = Fifo(folder / "gate")
        self._folder = folder
        self.connection: Any = connect(url)
        self.queue = Queue(connection=self.connection)
        self.books = Books(self.connection)
        self.jobs: dict[str, Job[Any]] = {}
        self.expected: dict[str, Fate] = {}
        """What must become of each job."""
        self.aliases: dict[str, str] = {}
        """Id of a job -> the name by which its starts are counted, where that is another one."""
        self._actors: list[Actor] = []
        self.memory: dict[str, Any] = {}
        """What a scenario wants to know later."""
        self.queues = ["default"]
        """Those that the rescuer works on."""
        self.limits: dict[str, int] = {}
        """Key of a rate limit -> how many jobs it lets through."""

    async def __aenter__(self) -> Self:
        await self.connection.flushdb()
        return self

    async def __aexit__(self, *_: object) -> None:
        for actor in self._actors:
            actor.end(signal.SIGKILL)
            actor.close()
        await self.connection.aclose()
        self.gate.close()

    def effects(self, name: str) -> str:
        """The file in which the starts of a job are counted."""
        return str(self._folder / f"effects-{name}")

    def starts(self, name: str) -> int:
        """How many times the user's code of a job began."""
        path = Path(self.effects(self.aliases.get(name, name)))
        return path.read_text().count("\n") if path.exists() else 0

    def args(self, name: str, *, gate: bool = True) -> list[str]:
        """The arguments of `deeds.deed`."""
        return [self.effects(name), self.gate.path if gate else ""]

    async def enqueue(
        self, name: str, *, function: str = "deeds.deed", gate: bool = True, queue: str = "default", **options: Any
    ) -> Job[Any]:
        """Enqueue a job, to be known by a name."""
        options = {"args": self.args(name, gate=gate), **options}
        job: Job[Any] = await Queue(queue, self.connection).enqueue(function, job_id=name, **options)
        self.jobs[name] = job
        return job

    def enqueue_by_rq(self, name: str, *args: Any, **options: Any) -> None:
        """Have RQ enqueue a job."""
        import rq

        with redis.Redis.from_url(self.url) as client:
            args = (*self.args(name), *args)
            rq.Queue(connection=client).enqueue("deeds.deed", args=args, job_id=name, **options)
        self.jobs[name] = Job(name, self.connection)

    def work(self, name: str, kill: Point | None = None, *, fault: str = "", **options: Any) -> Actor:
        """Start a worker."""
        run = {key: options.pop(key) for key in ("burst", "max_jobs") if key in options}
        hold = options.pop("hold", None)
        options = {"lease": LEASE, "reap_interval": REAPS, "queues": "default", "name": name, **options}
        return self.start("work", kill, options=options, run=run, hold=hold, fault=fault)

    def start(self, role: str, kill: Point | None = None, **given: Any) -> Actor:
        """Start a process."""
        actor = Actor(self._launcher, role=role, kill=kill, url=self.url, **given)
        self._actors.append(actor)
        return actor

    async def state(self, name: str) -> str:
        """The status of a job, `held` when it is started but has not begun, `gone` when there is none."""
        status, held = await self.connection.hmget(f"rq:job:{name}", ["status", "aiorq_held"])
        if status is None:
            return "gone"
        return "held" if status == b"started" and held is not None else str(status.decode())

    async def expire_leases(self) -> None:
        """Let the time of all leases pass."""
        for key in await self.connection.keys("rq:wip:*"):
            for member in await self.connection.zrange(key, 0, -1):
                await self.connection.zadd(key, {member: 1})

    async def rescue(self, **options: Any) -> None:
        """Have another worker set all right, and see that nothing is left of those that are gone."""
        await self.expire_leases()
        self.gate.let(20)
        rescuer = self.work("rescuer", **{"concurrency": 2, "queues": self.queues, **options})
        for name, fate in self.expected.items():
            if fate.status not in (None, JobStatus.CANCELED, *WAITING):
                result = await self.jobs[name].latest_result(timeout=LIMIT)
                state = await self.state(name)
                assert result is not None, f"{name} has no outcome, it is {state}:\n{rescuer.last_words}"
            if fate.outcomes > 1:
                await self._all_outcomes(name, fate.outcomes)
        dead = [key for key in await self.connection.keys("rq:worker:*") if key != b"rq:worker:rescuer"]
        if dead:
            await self.connection.delete(*dead)
        looks = sum(line[1].startswith("overdue") for line in rescuer.told("executed"))
        # The look that may be under way, one that finds what is left, and one after which that was dealt with.
        await rescuer.until(
            lambda: sum(line[1].startswith("overdue") for line in rescuer.told("executed")) >= looks + 3
        )
        rescuer.end()
        await rescuer.gone()
        assert rescuer.told("raised") == []

    async def _all_outcomes(self, name: str, count: int) -> None:
        """Wait until a job has so many outcomes."""
        since = "0"
        while count > 0:
            streams = await self.connection.xread({f"rq:results:{name}": since}, block=int(LIMIT * 1000))
            assert streams, f"{name} is {await self.state(name)}, and lacks {count} outcomes"
            [(_, entries)] = streams
            count, since = count - len(entries), entries[-1][0]

    async def check_places(self, amiss: str = "") -> None:
        """At every instant a job is in the one place that its state names, and has a run if it is started.

        Args:
            amiss: a job of which the doctor may say that it is not in order.
        """
        # One look: other workers may go on.
        snapshot = await audit.look(self.queue.store)
        listed, running = places(snapshot), runs(snapshot)
        for key, entry in snapshot.entries.items():
            name = key.removeprefix("rq:job:")
            if name == key or ":" in name:
                continue
            assert isinstance(entry.content, dict), key
            status = entry.content["status"]
            place = {"started": "wip", "stopped": "failed"}.get(str(status), status)
            fits = {"queued": ("rq:queue:", "rq:aiorq:inbox:"), "rate_limited": ("rq:rl:",)}
            fit = fits.get(str(status), (f"rq:{place}:",))
            found = listed[name]
            if status != "finished" and entry.content.get("repeat_intervals"):
                found = [key for key in found if not key.startswith("rq:finished:")]
            assert len(found) == 1, f"{name} is {status}: {found}"
            assert found[0].startswith(fit), f"{name} is {status}: {found}"
            assert len(running[name]) == (3 if status == "started" else 0), f"{name} is {status}: {running[name]}"
        self._check_limits(snapshot)
        for finding in check(snapshot, overdue=math.inf):
            is_wrong = finding.severity is Severity.ERROR and finding.subject != amiss
            assert not is_wrong, f"{finding.subject}: {finding.problem}"

    def _check_limits(self, snapshot: Snapshot) -> None:
        """The jobs that are queued or run are the ones with slots, and none waits while there is a free one."""
        for limit, concurrency in self.limits.items():
            of_limit = {
                key.removeprefix("rq:job:"): entry.content["status"]
                for key, entry in snapshot.entries.items()
                if isinstance(entry.content, dict) and entry.content.get("rate_limit_key") == limit
            }
            active = {name for name, status in of_limit.items() if status in ("queued", "started")}
            allowed = set(snapshot.scores(f"rq:rl:{limit}:allowed") or ())
            assert allowed == active, f"{allowed} have a slot: {of_limit}"
            waiting = set(snapshot.scores(f"rq:rl:{limit}:rate_limited") or ())
            assert len(allowed) == min(concurrency, len(allowed | waiting)), f"{waiting} wait: {of_limit}"

    async def check(self) -> None:
        """Each job is where it should be, and nowhere else; and there is nothing that nobody will remove."""
        for name, fate in self.expected.items():
            await self._check_job(name, fate)
        kept = KEPT | {
            key.encode()
            for name, fate in self.expected.items()
            for key in (
                f"rq:{'queue' if fate.status is JobStatus.QUEUED else fate.status}:{fate.queue}",
                *((f"rq:job:{name}", f"rq:job::{name}:dependencies") if fate.status in WAITING else ()),
                *((f"rq:job:{name}:dependents",) if fate.status in WAITING else ()),
            )
        }
        for key in await self.connection.keys("*"):
            if key not in kept and not key.startswith(KEPT_FOR_JOBS):
                assert await self.connection.ttl(key) > 0, f"{key} stays for ever"
            if b":intermediate:first_seen:" not in key and key not in kept:  # RQ's
                assert not key.startswith(NEVER_LEFT), key
            assert not key.endswith((b":allowed", b":rate_limited")), key
            assert b":executions" not in key, key

    async def _check_job(self, name: str, fate: Fate) -> None:
        places = await self.books.places(name)
        assert self.starts(name) <= fate.starts, f"{name} began {self.starts(name)} times"
        if fate.status is None:
            assert [key for key in await self.connection.keys() if name.encode() in key.split(b":")] == []
            assert places == [], name
            return
        assert await self.state(name) == fate.status, name
        registry = "failed" if fate.status is JobStatus.STOPPED else fate.status.value
        registry = "queue" if fate.status is JobStatus.QUEUED else registry
        assert places == [f"rq:{registry}:{fate.queue}"], name
        results = await self.jobs[name].results()
        if fate.status in (JobStatus.CANCELED, *WAITING):
            assert results == [], name
            assert fate.status is JobStatus.CANCELED or self.starts(name) == 0, name
            return
        assert len(results) == fate.outcomes, name
        if fate.status is JobStatus.FINISHED:
            assert results[0].type is Result.Type.SUCCESSFUL, name
            assert results[0].return_value == "done", name
            assert self.starts(name) > 0, name
        else:
            assert fate.text in (results[0].exc_string or ""), name
