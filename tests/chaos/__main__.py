"""Workers under kill -9, SIGSTOP and a server that comes and goes; ends with 1 when a promise is broken.

python -m tests.chaos [--jobs 2000] [--kills 150] [--lease 15] [--workers 4] [--redis-faults 6] [--seed N]
python -m tests.chaos --leak
python -m tests.chaos --rolling 20
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import redis
import rq
from redis.asyncio import Redis

from aiorq import Dependency, Queue, Retry, connect
from aiorq.errors import AiorqError
from aiorq.server import EmbeddedServer
from tests.chaos import leak, rolling
from tests.chaos.fleet import QUEUES, Fleet, Gone, until
from tests.chaos.functions.effects import EFFECTS
from tests.chaos.storm import Storm, answering, leftovers
from tests.chaos.verdict import LIMIT, Recovery, Verdict, Wait, collect, is_settled, judge, read

LIMITED, WAITED_FOR = 0.1, 0.15
"""Shares of the jobs that have a rate limit, and for which another one waits."""
FUNCTIONS = {"nap": 45, "nap_async": 20, "compute": 15, "fail": 8, "fail_once": 12}
QUIET = 10.0
"""Seconds beyond a lease after which all must have ended once nothing is done to the workers any more."""


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="aiorq under repeated kill -9.")
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=150, help="of workers, horses and zygotes, by SIGKILL")
    parser.add_argument("--freezes", type=int, help="SIGSTOPs; a tenth of the kills unless given")
    parser.add_argument("--redis-faults", type=int, default=6, help="restarts, pauses, lost connections and scripts")
    parser.add_argument("--lease", type=float, default=15.0, help="seconds")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--pace", type=float, default=0.8, help="seconds from one blow to the next")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--keep", action="store_true", help="keep the folder of logs and effects")
    parser.add_argument("--leak", action="store_true", help="run 5,000 jobs on one worker instead, and look for leaks")
    parser.add_argument("--rolling", type=int, metavar="N", help="replace workers N times under load instead")
    options = parser.parse_args()
    if options.leak:
        return leak.main(5000)
    if options.rolling:
        return rolling.main(options.rolling)
    return asyncio.run(Run(options).main())


class Run:
    """One run."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Prepare."""
        self.options = options
        self.random = random.Random(options.seed)
        self.job_ids: list[str] = []
        self.waits: dict[str, Wait] = {}
        self.resent = 0
        self.most_slots = 0
        self.began = time.monotonic()

    async def main(self) -> int:
        """Run and report; returns the exit code."""
        options = self.options
        folder = Path(tempfile.mkdtemp(prefix="aiorq-chaos-"))
        effects = folder / "effects"
        effects.touch()
        os.environ[EFFECTS] = str(effects)
        try:
            with EmbeddedServer(append_only=True) as server:
                async with connect(server.url) as client, connect(server.url) as producer:
                    storm = Storm(server, client, options.lease, self.random)
                    fleet = Fleet(server, folder, options.workers, options.lease, storm.is_reachable)
                    try:
                        watch = asyncio.create_task(self._watch_limit(client))
                        calm = await self._storm(server, producer, storm, fleet)
                        watch.cancel()
                        ends = await collect(client, self.job_ids)
                        bad = await fleet.stop(20)
                    finally:
                        fleet.kill()
            left = leftovers(str(effects))
            verdict = judge(self.job_ids, self.waits, read(effects), ends, storm)
            broken = self._report(verdict, storm, fleet, bad, left, calm, _complaints(folder))
            if broken or options.keep:
                (folder / "blows").write_text("\n".join(map(str, storm.blows)) + "\n")
                print(f"logs and effects: {folder}")
                options.keep = True
            return int(broken)
        finally:
            if not options.keep:
                shutil.rmtree(folder)

    async def _storm(self, server: EmbeddedServer, producer: Redis, storm: Storm, fleet: Fleet) -> float:
        """Enqueue and strike; returns how long the workers then took to end all jobs."""
        options = self.options
        freezes = options.kills // 10 if options.freezes is None else options.freezes
        plan = storm.plan(options.kills, freezes, options.redis_faults)
        shares = [options.jobs // len(plan) + (index < options.jobs % len(plan)) for index in range(len(plan))]
        fleet.start()
        await until(lambda: all(slot in fleet.workers and fleet.workers[slot].is_up for slot in range(options.workers)))
        self.began = time.monotonic()
        enqueueing: list[asyncio.Task[None]] = []
        with redis.Redis.from_url(server.url) as theirs:
            for index, (kind, share) in enumerate(zip(plan, shares, strict=True)):
                enqueueing.append(asyncio.create_task(self._enqueue(share, producer, theirs, storm)))
                await asyncio.sleep(self.random.uniform(0, 0.06))
                try:
                    await asyncio.wait_for(storm.strike(kind, fleet), 5)
                except TimeoutError:  # all jobs had ended, or too few workers were up
                    await storm.strike("worker", fleet)
                pause = self.began + (index + 1) * options.pace - time.monotonic()
                await asyncio.sleep(max(0.0, pause))
            await asyncio.gather(*enqueueing)
        await storm.calm()
        quiet = time.monotonic()
        while not await is_settled(storm.client, self.job_ids, self.waits):
            if time.monotonic() - quiet > options.lease + QUIET:
                break
            await asyncio.sleep(0.05)
        return time.monotonic() - quiet

    async def _watch_limit(self, client: Any) -> None:
        """See how many jobs ever have a slot of the rate limit at the same time."""
        while True:
            with suppress(redis.RedisError, OSError):
                self.most_slots = max(self.most_slots, await client.zcard(f"rq:rl:{LIMIT.key}:allowed"))
            await asyncio.sleep(0.01)

    async def _enqueue(self, share: int, producer: Redis, theirs: redis.Redis, storm: Storm) -> None:
        """Enqueue jobs: some are RQ's, some share a rate limit, and for some another one waits."""
        for _ in range(share):
            job_id = f"job-{len(self.job_ids)}"
            self.job_ids.append(job_id)
            name = self.random.choices(list(FUNCTIONS), list(FUNCTIONS.values()))[0]
            queue, seconds = self.random.choice(QUEUES), self.random.uniform(0.005, 0.05)
            options: dict[str, Any] = {"retry": Retry(2)} if name == "fail_once" else {}
            if self.random.random() < LIMITED:
                options["rate_limit"] = LIMIT
            if name == "fail_once" and self.random.random() < 0.5:
                await self._insist(job_id, storm, partial(_enqueue_with_rq, theirs, queue, job_id, seconds))
            else:
                await self._insist(job_id, storm, partial(_enqueue, producer, queue, name, job_id, seconds, **options))
            if self.random.random() < WAITED_FOR:
                child = f"{job_id}-child"
                self.waits[child] = Wait(job_id, self.random.random() < 0.5)
                self.job_ids.append(child)
                options = {"depends_on": Dependency(job_id, allow_failure=self.waits[child].lenient)}
                queue = self.random.choice(QUEUES)
                await self._insist(child, storm, partial(_enqueue, producer, queue, "nap", child, seconds, **options))

    async def _insist(self, job_id: str, storm: Storm, enqueue: Callable[[], Awaitable[object]]) -> None:
        """Enqueue a job as a program does that must."""
        while True:
            try:
                await enqueue()
                break
            except (AiorqError, redis.RedisError, OSError):
                self.resent += 1
                await answering(storm.client)
                if await storm.client.exists(f"rq:job:{job_id}"):
                    break

    def _report(
        self,
        verdict: Verdict,
        storm: Storm,
        fleet: Fleet,
        bad: Sequence[Gone],
        left: Sequence[int],
        calm: float,
        complaints: Sequence[str],
    ) -> bool:
        options = self.options
        blows = ", ".join(f"{count} {kind}" for kind, count in sorted(storm.counts.items()))
        outcomes = ", ".join(f"{count} {word}" for word, count in verdict.outcomes.most_common())
        print(
            f"aiorq chaos: {options.jobs} jobs, {options.kills} kills, {options.redis_faults} server faults,"
            f" lease {options.lease:g} s, {options.workers} workers, seed {options.seed}:"
            f" {time.monotonic() - self.began:.0f} s"
        )
        print(f"blows: {blows}")
        print(f"workers started: {fleet.started}; enqueues repeated by the program: {self.resent}")
        print(f"jobs: {outcomes}; {len(self.waits)} of them waited for others")
        print()
        worker_limit = 20.0 if options.lease >= 15 else options.lease + 3.0
        rows: list[tuple[str, str, str, bool]] = [
            _count("lost", verdict.lost),
            _count("recorded twice", verdict.twice),
            _count("stuck", verdict.stuck),
            _count("finished without having run", verdict.not_run),
            _count("status and place differ", verdict.askew),
            _count("run before what they waited for had ended", verdict.early),
            _count("slots and dependents left behind", verdict.left),
            (
                "slots of the rate limit, at most",
                str(self.most_slots),
                str(LIMIT.concurrency),
                self.most_slots > LIMIT.concurrency,
            ),
            _count("workers gone by themselves", fleet.gone),
            _count("workers that did not end well at SIGTERM", bad),
            _count("processes left behind", left),
            _count("tracebacks in the workers' logs", complaints),
            (
                "runs again",
                str(verdict.reruns),
                f"{verdict.allowed} in flight",
                verdict.reruns > verdict.allowed,
            ),
            *_times("after a worker's kill, its jobs go on", verdict.after_worker, worker_limit),
            *_times("after a horse's kill, its failure is recorded", verdict.after_horse, 1.0),
            *_times("after an outage, the next job starts", verdict.after_outage, 5.0),
            ("all ended, after the last blow", f"{calm:.1f} s", f"{options.lease + QUIET:g} s", bool(verdict.stuck)),
        ]
        print(f"{'':48}{'measured':>12}{'limit':>16}")
        for what, measured, limit, is_broken in rows:
            print(f"{what:48}{measured:>12}{limit:>16}{'  BROKEN' if is_broken else ''}")
        for gone in [*fleet.gone, *bad]:
            print(f"\nworker {gone.name} ended with {gone.code}; its log ends:\n{gone.log}")
        for complaint in complaints[:5]:
            print(f"\n{complaint}")
        for what, ids in (("lost", verdict.lost), ("twice", verdict.twice), ("stuck", verdict.stuck)):
            if ids:
                print(f"{what}: {', '.join(ids[:20])}")
        return any(row[3] for row in rows)


def _count(what: str, found: Sequence[object]) -> tuple[str, str, str, bool]:
    return what, str(len(found)), "0", bool(found)


def _times(what: str, recovery: Recovery, limit: float) -> list[tuple[str, str, str, bool]]:
    median = f"{recovery.median:.2f} s"
    return [
        (f"{what}: p50", median, f"(of {len(recovery.seconds)})", False),
        (f"{what}: max", f"{recovery.most:.2f} s", f"{limit:g} s", recovery.most > limit),
    ]


def _complaints(folder: Path) -> list[str]:
    found = []
    for log in sorted(folder.glob("*.log")):
        text = log.read_text(errors="replace")
        if "Traceback" in text:
            found.append(f"{log.name}: ...{text[text.index('Traceback') :][:1500]}")
    return found


async def _enqueue(producer: Redis, queue: str, name: str, job_id: str, seconds: float, **options: Any) -> None:
    options |= {"job_id": job_id, "result_ttl": 86_400, "failure_ttl": 86_400}
    await Queue(queue, connection=producer).enqueue(f"effects.{name}", job_id, seconds, **options)


async def _enqueue_with_rq(client: redis.Redis, queue: str, job_id: str, seconds: float) -> None:
    await asyncio.to_thread(
        rq.Queue(queue, connection=client).enqueue,
        "effects.fail_once",
        job_id,
        seconds,
        job_id=job_id,
        retry=rq.Retry(max=2),
        result_ttl=86_400,
        failure_ttl=86_400,
    )


if __name__ == "__main__":
    sys.exit(main())
