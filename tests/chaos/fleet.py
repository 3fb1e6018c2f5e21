"""Workers in processes of their own under a keeper, which starts another one wherever one was killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from aiorq.server import EmbeddedServer

FUNCTIONS = Path(__file__).parent / "functions"
QUEUES = ("chaos-one", "chaos-two")


def children(pid: int) -> list[int]:
    """The ids of the children of a process; none when it is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def state(pid: int) -> str:
    """The state letter of a process, `X` when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def send(pid: int, number: int) -> bool:
    """Send a signal; False when the process is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so which no event tells of."""
    while not condition():  # noqa: ASYNC110 - as said
        await asyncio.sleep(0.005)


async def ended(pid: int) -> None:
    """Wait until a child of this process has ended."""
    descriptor = os.pidfd_open(pid)
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_reader(descriptor, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


@dataclass
class Gone:
    """A worker that ended although nobody had asked for it."""

    name: str
    code: int
    log: str


@dataclass
class Worker:
    """One process of a worker."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    started: float = field(default_factory=time.monotonic)
    doomed: bool = False
    """Whether it was killed, or told to end, by this program."""
    held: bool = False
    """Whether something is being done to it now."""

    @property
    def zygote(self) -> int | None:
        """The process that forks jobs, if there is one now."""
        return next(iter(children(self.process.pid)), None)

    @property
    def horses(self) -> list[int]:
        """The processes of its jobs."""
        zygote = self.zygote
        return [] if zygote is None else [pid for pid in children(zygote) if state(pid) not in "XZ"]

    @property
    def is_up(self) -> bool:
        """Whether it has begun to take jobs."""
        return b"takes jobs from" in self.log.read_bytes()


class Fleet:
    """So many workers, always."""

    def __init__(
        self, server: EmbeddedServer, folder: Path, size: int, lease: float, is_reachable: Callable[[float], bool]
    ) -> None:
        """Prepare.

        Args:
            server: theirs.
            folder: for their logs.
            size: how many.
            lease: theirs, in seconds.
            is_reachable: whether the server could be asked all the time since a moment (`time.monotonic`).
        """
        self._server = server
        self._folder = folder
        self._size = size
        self._lease = lease
        self._is_reachable = is_reachable
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False
        self.workers: dict[int, Worker] = {}
        self.started = 0
        self.gone: list[Gone] = []
        self.refused = 0
        """Workers that did not start since the server was away in that moment."""

    def start(self) -> None:
        """Start them."""
        for slot in range(self._size):
            self._tasks.append(asyncio.create_task(self._keep(slot), name=f"keeper {slot}"))

    async def _keep(self, slot: int) -> None:
        generation = 0
        while not self._closing:
            await until(lambda: self._is_reachable(time.monotonic()))
            generation += 1
            worker = self.workers[slot] = self._launch(slot, generation)
            await ended(worker.process.pid)
            code = worker.process.wait()
            if worker.doomed:
                continue
            if not worker.is_up and not self._is_reachable(worker.started):
                self.refused += 1
                continue
            self.gone.append(Gone(worker.name, code, worker.log.read_text(errors="replace")[-2000:]))
            await asyncio.sleep(0.2)

    def _launch(self, slot: int, generation: int) -> Worker:
        name = f"w{slot}-{generation}"
        log = self._folder / f"{name}.log"
        # A queue that comes second everywhere could wait for as long as there is work in the first.
        queues = QUEUES if slot % 2 else QUEUES[::-1]
        command = [sys.executable, "-m", "aiorq", "worker", *queues, "--name", name, "--url", self._server.url]
        command += ["--path", str(FUNCTIONS), "--preload", "effects", "--concurrency", "2"]
        command += ["--lease", f"{self._lease:g}", "--on-lost", "requeue"]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0)
        self.started += 1
        return Worker(name, process, log)

    async def stop(self, seconds: float) -> list[Gone]:
        """Tell all to end as at a first SIGTERM; returns those that did not do so in time, or not with exit code 0."""
        self._closing = True
        workers = list(self.workers.values())
        for worker in workers:
            await until(lambda: worker.is_up or worker.process.poll() is not None)  # noqa: B023 - it is at once
            worker.doomed = True
            send(worker.process.pid, signal.SIGCONT)
            send(worker.process.pid, signal.SIGTERM)
        await asyncio.wait(self._tasks, timeout=seconds)
        bad = []
        for worker in workers:
            code = worker.process.poll()
            if code != 0:
                bad.append(Gone(worker.name, -999 if code is None else code, worker.log.read_text()[-2000:]))
            with suppress(ProcessLookupError):
                worker.process.kill()
        await asyncio.wait(self._tasks)
        return bad

    def kill(self) -> None:
        """Kill all, at the end of a run that failed."""
        for worker in self.workers.values():
            worker.process.kill()
            worker.process.wait()
