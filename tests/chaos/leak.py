"""Many forked jobs on one worker: what it has more of at the end than at the start."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis

from aiorq import Job, Queue, connect
from aiorq.server import EmbeddedServer
from tests.chaos.fleet import FUNCTIONS, children, state
from tests.chaos.functions.effects import EFFECTS

WARM_UP = 100
"""Jobs before the first look: modules are imported, buffers and pools have their size."""
GROWTH = 5 << 20
"""Bytes of memory that a process may have more."""


@dataclass(frozen=True)
class Look:
    """What one process has."""

    descriptors: int
    zombies: int
    memory: int
    """Bytes of it that are in memory and of no file."""

    @classmethod
    def at(cls, pid: int) -> Look:
        """Look at a process."""
        zombies = sum(state(child) == "Z" for child in children(pid))
        pages = Path(f"/proc/{pid}/statm").read_text().split()
        resident = (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")
        return cls(len(os.listdir(f"/proc/{pid}/fd")), zombies, resident)


@dataclass(frozen=True)
class Growth:
    """A worker's processes before and after so many jobs."""

    jobs: int
    before: dict[str, Look]
    after: dict[str, Look]

    @property
    def is_clean(self) -> bool:
        """Whether nothing has leaked."""
        return all(
            look.descriptors <= self.before[name].descriptors
            and look.zombies == 0
            and look.memory - self.before[name].memory < GROWTH
            for name, look in self.after.items()
        )

    def __str__(self) -> str:
        lines = [f"aiorq leaks: {self.jobs} jobs on one worker"]
        for name, look in self.after.items():
            before = self.before[name]
            lines.append(
                f"{name:12} descriptors {before.descriptors} -> {look.descriptors}, zombies {look.zombies},"
                f" memory {(look.memory - before.memory) / 1e6:+.1f} MB"
            )
        return "\n".join(lines)


async def measure(url: str, jobs: int) -> Growth:
    """Run so many jobs on a worker in a process of its own, some of which fail or end their process.

    Args:
        url: of an empty server.
        jobs: how many.
    """
    command = [sys.executable, "-m", "aiorq", "worker", "--quiet", "--url", url, "--path", str(FUNCTIONS)]
    process = subprocess.Popen(  # noqa: ASYNC220 - it is at once
        [*command, "--concurrency", "2"], env=os.environ | {EFFECTS: os.devnull}, stderr=subprocess.DEVNULL
    )
    try:
        async with connect(url) as client:
            await _run(client, WARM_UP)
            [zygote] = children(process.pid)
            processes = {"supervisor": process.pid, "zygote": zygote}
            before = {name: await _settled(pid) for name, pid in processes.items()}
            await _run(client, jobs)
            return Growth(jobs, before, {name: await _settled(pid) for name, pid in processes.items()})
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


async def _run(client: Redis, jobs: int) -> None:
    queue = Queue(connection=client)
    last: list[Job[object]] = []
    for begin in range(0, jobs, 500):
        names = ["fail" if number % 20 == 0 else "nap" for number in range(begin, min(begin + 500, jobs))]
        datas = [Queue.prepare_data(f"effects.{name}", ("job", 0.0)) for name in names]
        last = await queue.enqueue_many(datas)
    assert await last[-1].latest_result(timeout=300) is not None
    while await client.zcard("rq:wip:default"):  # noqa: ASYNC110 - Redis tells of no such thing
        await asyncio.sleep(0.01)


async def _settled(pid: int) -> Look:
    """Look once the last horses are reaped, which takes the zygote some milliseconds."""
    look = Look.at(pid)
    for _ in range(100):
        if not look.zombies and all(not children(child) for child in children(pid)):
            break
        await asyncio.sleep(0.02)
        look = Look.at(pid)
    return look


def main(jobs: int) -> int:
    """Measure on a server of its own and report; returns the exit code."""
    with EmbeddedServer() as server:
        growth = asyncio.run(measure(server.url, jobs))
    print(growth)
    return int(not growth.is_clean)
