"""What is done to the workers and to their server, and how many jobs were in flight at each blow."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from aiorq.server import EmbeddedServer
from tests.chaos.fleet import QUEUES, Fleet, Worker, children, send, state, until

_KILLS = {"worker": 40, "horse": 34, "zygote": 14, "worker and horse": 12}
_UNHURT = 2  # workers that are up and left alone whenever one is killed or frozen
_MISHAPS = ("restart", "restart", "pause", "connections killed", "scripts flushed")


@dataclass
class Blow:
    """One thing that was done."""

    kind: str
    moment: float
    """In seconds since 1970."""
    worker: str
    in_flight: frozenset[str] = frozenset()
    """The jobs that it may cost a run."""
    horse: int = 0
    """The process id of the horse that was killed."""


@dataclass
class Storm:
    """Deals the blows, one after the other, at random."""

    server: EmbeddedServer
    client: Any
    lease: float
    random: random.Random
    blows: list[Blow] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)
    """When the server did not answer: begin and end (`time.monotonic`)."""
    outages_utc: list[tuple[float, float]] = field(default_factory=list)
    """The same, in seconds since 1970."""
    frozen: list[tuple[str, float, float]] = field(default_factory=list)
    """Workers that were frozen, and when."""
    counts: Counter[str] = field(default_factory=Counter)
    _outage: float | None = None
    _thaws: set[asyncio.Task[None]] = field(default_factory=set)

    def is_reachable(self, since: float) -> bool:
        """Whether the server could be asked all the time since a moment."""
        return self._outage is None and all(end < since for _, end in self.outages)

    def plan(self, kills: int, freezes: int, mishaps: int) -> list[str]:
        """The names of the blows, in their order."""
        kinds = self.random.choices(list(_KILLS), list(_KILLS.values()), k=kills)
        kinds += ["freeze" if index % 3 else "short freeze" for index in range(freezes)]
        kinds += [_MISHAPS[index % len(_MISHAPS)] for index in range(mishaps)]
        self.random.shuffle(kinds)
        return kinds

    async def strike(self, kind: str, fleet: Fleet) -> None:
        """Deal one blow."""
        if kind in _MISHAPS:
            await self._mishap(kind, fleet)
        else:
            if kind == "freeze" and self._thaws:
                kind = "short freeze"
            while True:
                worker, horse = await self._victim(fleet, needs_horse=kind == "horse")
                worker.held = True
                try:
                    if await self._hit(kind, worker, horse):
                        break
                finally:
                    worker.held = kind == "freeze"
        self.counts[kind] += 1

    async def calm(self) -> None:
        """Wait until nothing is frozen any more."""
        if self._thaws:
            await asyncio.wait(self._thaws)

    async def _victim(self, fleet: Fleet, needs_horse: bool) -> tuple[Worker, int]:
        patience = time.monotonic() + 0.3
        while True:
            workers = [worker for worker in fleet.workers.values() if self._is_fit(worker)]
            self.random.shuffle(workers)
            if not needs_horse and len(workers) <= _UNHURT:
                await asyncio.sleep(0.01)
                continue
            busy = [(worker, horses) for worker in workers if (horses := worker.horses)]
            if busy:
                worker, horses = busy[0]
                return worker, self.random.choice(horses)
            if not needs_horse and time.monotonic() > patience:
                return workers[0], 0
            await asyncio.sleep(0.001)

    @staticmethod
    def _is_fit(worker: Worker) -> bool:
        return not worker.held and not worker.doomed and worker.process.poll() is None and worker.is_up

    async def _hit(self, kind: str, worker: Worker, horse: int) -> bool:
        pid, zygote = worker.process.pid, worker.zygote
        if kind == "horse":
            await asyncio.sleep(self.random.uniform(0, 0.02))  # until it has begun, or even ended
            return self._kill_horse(worker, zygote or 0, next(iter(worker.horses), 0))
        if kind == "short freeze":
            victim = self.random.choice([pid for pid in (pid, zygote, horse) if pid])
            send(victim, signal.SIGSTOP)
            await asyncio.sleep(self.random.uniform(0.01, 0.3) * min(self.lease, 2))
            send(victim, signal.SIGCONT)
            return True
        # A frozen worker takes nothing, so that what is counted is what the blow hits.
        send(pid, signal.SIGSTOP)
        await until(lambda: state(pid) in "TXZ")
        in_flight = await self._held_by(worker)
        blow = Blow(kind, time.time(), worker.name, in_flight)
        if kind == "freeze":
            seconds = self.random.uniform(0.3, 1.6) * self.lease
            if seconds > self.lease / 2:
                self.blows.append(blow)
            thaw = asyncio.create_task(self._thaw(worker, seconds))
            self._thaws.add(thaw)
            thaw.add_done_callback(self._thaws.discard)
            return True
        self.blows.append(blow)
        if kind == "zygote":
            send(zygote or 0, signal.SIGKILL)
            send(pid, signal.SIGCONT)
            return True
        worker.doomed = True
        if kind == "worker and horse" and horse in children(zygote or 0):
            send(horse, signal.SIGKILL)
        send(pid, signal.SIGKILL)
        return True

    def _kill_horse(self, worker: Worker, zygote: int, horse: int) -> bool:
        with suppress(OSError):
            descriptor = os.pidfd_open(horse)
            try:
                if horse in children(zygote):  # the id is still its own
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                    self.blows.append(Blow("horse", time.time(), worker.name, frozenset({f"horse {horse}"}), horse))
                    return True
            finally:
                os.close(descriptor)
        return False

    async def _thaw(self, worker: Worker, seconds: float) -> None:
        began = time.time()
        await asyncio.sleep(seconds)
        send(worker.process.pid, signal.SIGCONT)
        self.frozen.append((worker.name, began, time.time()))
        worker.held = False

    async def _held_by(self, worker: Worker) -> frozenset[str]:
        held = await self.client.smembers(f"rq:worker:{worker.name}:executions")
        return frozenset(member.decode().partition(":")[0] for member in held)

    async def _running(self) -> frozenset[str]:
        members: set[str] = set()
        for queue in QUEUES:
            for member in await self.client.zrange(f"rq:wip:{queue}", 0, -1):
                members.add(member.decode().partition(":")[0])
        return frozenset(members)

    async def _mishap(self, kind: str, fleet: Fleet) -> None:
        if kind == "scripts flushed":
            await self.client.script_flush()
            return
        if kind == "connections killed":
            for _ in range(5):
                for killed in ("normal", "pubsub"):
                    await self.client.execute_command("CLIENT", "KILL", "TYPE", killed, "SKIPME", "yes")
                await asyncio.sleep(0.02)
            return
        longest = 1.6 * self.lease if self.lease < 3 else 3.0
        seconds = self.random.uniform(0.2, longest)
        blow = Blow(kind, time.time(), "", await self._running() if seconds > self.lease / 2 else frozenset())
        self.blows.append(blow)
        self._outage = time.monotonic()
        if kind == "restart":
            self.server.kill()
        else:
            self.server.pause()
        await asyncio.sleep(seconds / 2)
        if self.random.random() < 0.5:  # what a worker is to write must wait for the server
            busy = [worker for worker in fleet.workers.values() if self._is_fit(worker) and worker.horses]
            if busy and self._kill_horse(busy[0], busy[0].zygote or 0, next(iter(busy[0].horses), 0)):
                self.counts["horse"] += 1
        await asyncio.sleep(seconds / 2)
        if kind == "restart":
            self.server.start()
        else:
            self.server.resume()
        await answering(self.client)
        self.outages.append((self._outage, time.monotonic()))
        self.outages_utc.append((blow.moment, time.time()))
        self._outage = None


async def answering(client: Any) -> None:
    """Wait until the server answers."""
    while True:
        try:
            await client.ping()
        except (RedisError, OSError):
            await asyncio.sleep(0.01)
        else:
            return


def leftovers(marker: str, wanted: Callable[[int], bool] = lambda pid: True) -> list[int]:
    """The processes that have `marker` in their environment, but for this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if marker.encode() in (entry / "environ").read_bytes() and wanted(int(entry.name)):
                    found.append(int(entry.name))
    return found
