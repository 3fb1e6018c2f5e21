"""Workers that are replaced one after the other under load, as a deployment does: every job runs once."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiorq import Queue, connect
from aiorq.server import EmbeddedServer
from tests.chaos.fleet import FUNCTIONS, ended, until
from tests.chaos.functions.effects import EFFECTS
from tests.chaos.verdict import read

JOBS = 150
"""Jobs for each restart."""
_KINDS = ("effects.nap", "effects.nap_async", "effects.compute")


@dataclass(frozen=True)
class Rolled:
    """What became of the jobs."""

    jobs: int
    restarts: int
    lost: int
    """Jobs without an outcome."""
    failed: int
    run_twice: int
    exit_codes: tuple[int, ...]
    """Of the workers that were replaced."""

    @property
    def is_clean(self) -> bool:
        """Whether nobody would have noticed."""
        return not (self.lost or self.failed or self.run_twice or any(self.exit_codes))

    def __str__(self) -> str:
        bad = sum(code != 0 for code in self.exit_codes)
        return (
            f"aiorq rolling restart: {self.jobs} jobs, {self.restarts} restarts of two workers:"
            f" {self.lost} lost, {self.failed} failed, {self.run_twice} run twice, {bad} workers that ended badly"
        )


async def roll(url: str, restarts: int) -> Rolled:
    """Replace two workers one after the other, so many times, while jobs run.

    Args:
        url: of an empty server.
        restarts: how many.
    """
    with tempfile.TemporaryDirectory(prefix="aiorq-rolling-") as name:
        folder = Path(name)
        effects = folder / "effects"
        workers: list[subprocess.Popen[bytes]] = []
        try:
            async with connect(url) as client:
                return await _roll(Queue(connection=client), url, restarts, folder, effects, workers)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()


async def _roll(
    queue: Queue, url: str, restarts: int, folder: Path, effects: Path, workers: list[subprocess.Popen[bytes]]
) -> Rolled:
    for number in range(2):
        workers.append(await _launch(url, folder, effects, number))
    jobs: list[Any] = []
    codes = []
    for number in range(restarts):
        ids = [f"job-{JOBS * number + index}" for index in range(JOBS)]
        datas = [
            Queue.prepare_data(_KINDS[index % len(_KINDS)], (job_id, 0.02), job_id=job_id)
            for index, job_id in enumerate(ids)
        ]
        jobs += await queue.enqueue_many(datas)
        workers.append(await _launch(url, folder, effects, number + 2))
        old = workers.pop(0)
        old.send_signal(signal.SIGTERM)
        await ended(old.pid)
        codes.append(old.wait())
    outcomes = [await job.latest_result(timeout=30) for job in jobs]
    starts = Counter(trace.job_id for trace in read(effects) if trace.word == "start")
    return Rolled(
        jobs=len(jobs),
        restarts=restarts,
        lost=outcomes.count(None),
        failed=sum(outcome is not None and outcome.type is not outcome.Type.SUCCESSFUL for outcome in outcomes),
        run_twice=sum(count > 1 for count in starts.values()),
        exit_codes=tuple(codes),
    )


async def _launch(url: str, folder: Path, effects: Path, number: int) -> subprocess.Popen[bytes]:
    log = folder / f"{number}.log"
    command = [sys.executable, "-m", "aiorq", "worker", "--url", url, "--path", str(FUNCTIONS), "--concurrency", "2"]
    with log.open("wb") as output:
        worker = subprocess.Popen(  # noqa: ASYNC220 - it is at once
            ["env", f"{EFFECTS}={effects}", *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    await until(lambda: b"takes jobs from" in log.read_bytes() or worker.poll() is not None)
    return worker


def main(restarts: int) -> int:
    """Restart on a server of its own and report; returns the exit code."""
    with EmbeddedServer() as server:
        rolled = asyncio.run(roll(server.url, restarts))
    print(rolled)
    return int(not rolled.is_clean)
