"""Whatever a script's call is answered with, and whether the answer comes: the state is right and the worker goes on.

Each script has a scenario here. A scenario arms the fault, does what calls the script, and checks what became of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import pytest
from redis.asyncio import Redis

from aiorq import Queue, Worker, scripts
from aiorq.errors import AiorqError, ConnectionLostError, QueueFullError, StoreError
from tests.execution.processes import LIMIT, Fifo
from tests.trouble.conftest import Ledger
from tests.trouble.proxy import Fault, Proxy, calls_of
from tests.worker.conftest import Log, result_of, working

ERRORS: Final = {
    "LOADING": "LOADING Redis is loading the dataset in memory",
    "READONLY": "READONLY You can't write against a read only replica.",
    "MISCONF": "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "OOM": "OOM command not allowed when used memory > 'maxmemory'.",
    "BUSY": "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "CLUSTERDOWN": "CLUSTERDOWN The cluster is down",
    "MASTERDOWN": "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "TRYAGAIN": "TRYAGAIN Multiple keys request during rehashing of slot",
    "NOREPLICAS": "NOREPLICAS Not enough good replicas to write.",
    "UNBLOCKED": "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
    "NOSCRIPT": "NOSCRIPT No matching script. Please use EVAL.",
    "ERR": "ERR something that nobody expected",
}
"""What Redis answers instead of running a script; none of it changes anything."""
WAITED_OUT: Final = frozenset(ERRORS) - {"NOSCRIPT", "OOM", "ERR"}
"""Of these the client is told that Redis cannot be asked now."""
LOSSES: Final = ("lost before", "lost after")
"""The connection is closed before the script runs, or when it has run and nobody heard of it."""


@dataclass
class Case:
    """One fault, and what a scenario needs."""

    name: str
    proxy: Proxy
    client: Redis
    ledger: Ledger
    log: Log
    make_worker: Callable[..., Worker]
    told: Fifo
    gate: Fifo

    @property
    def queue(self) -> Queue:
        """The default queue, through the proxy."""
        return Queue(connection=self.client)

    @property
    def real(self) -> Any:
        """A client of the server itself."""
        return self.ledger.connection

    def worker(self, **options: Any) -> Worker:
        """A worker that works through the proxy."""
        return self.make_worker(connection=self.client, **options)

    def arm(self, script: str) -> Fault:
        """Let the fault befall the next call of the script."""
        error = ERRORS.get(self.name, "").encode()
        return self.proxy.arm(Fault(calls_of(script), error, executed=self.name == "lost after"))

    @property
    def error(self) -> type[AiorqError] | None:
        """What a client's call raises; None where it is sent again and nobody notices."""
        if self.name == "OOM":
            return QueueFullError
        if self.name == "ERR":
            return StoreError
        if self.name in WAITED_OUT - {"LOADING"}:
            return ConnectionLostError
        return None

    async def call(self, call: Callable[[], Awaitable[Any]]) -> bool:
        """Do what a client does; returns whether it was done, or else the right error was raised."""
        if self.error is None:
            await call()
            return True
        with pytest.raises(self.error) as caught:
            await call()
        assert type(caught.value) is self.error
        return False

    async def noticed(self) -> None:
        """Wait until the worker has logged the trouble, where there was any that it had to know of."""
        if self.error is not None:
            await self.log.line("trying again until it works")
            await self.log.line("again after")
        assert self.log.count("trying again") == (self.error is not None)


Scenario: TypeAlias = Callable[[Case, str], Awaitable[None]]


async def enqueue(case: Case, script: str) -> None:
    """It is told at once, with nothing written, or is done once."""
    for options in ({}, {"job_id": "chosen"}):
        before = set(await case.real.keys("*"))
        fault = case.arm(script)
        if not await case.call(lambda options=options: case.ledger.enqueue(case.queue, **options)):  # type: ignore[misc]
            assert set(await case.real.keys("*")) == before
            await case.ledger.enqueue(case.queue, **options)
        assert fault.hits == 1
    await case.worker().work(burst=True)
    await case.ledger.check()


async def save(case: Case, script: str) -> None:
    job = await case.ledger.enqueue(case.queue)
    fault = case.arm(script)
    job.description = "new"
    saved = await case.call(job.save)
    assert fault.hits == 1
    assert await case.real.hget(job.key, "description") == (b"new" if saved else b"line-0")
    await case.worker().work(burst=True)
    await case.ledger.check()


async def delete(case: Case, script: str) -> None:
    """All of it is there, or nothing."""
    job = await case.queue.enqueue("jobs.add", 1)
    fault = case.arm(script)
    deleted = await case.call(job.delete)
    assert fault.hits == 1
    assert await case.real.exists(job.key) == (not deleted)
    assert await case.real.lrange("rq:queue:default", 0, -1) == ([] if deleted else [job.id.encode()])


async def empty(case: Case, script: str) -> None:
    made = [await case.queue.enqueue("jobs.add", 1) for _ in range(3)]
    fault = case.arm(script)
    emptied = await case.call(case.queue.empty)
    assert fault.hits == 1
    assert await case.real.llen("rq:queue:default") == (0 if emptied else 3)
    assert await case.real.exists(*[job.key for job in made]) == (0 if emptied else 3)


async def taken_and_ended(case: Case, script: str) -> None:
    """What a worker calls for each job: every job runs once, and the worker goes on."""
    async with working(case.worker(concurrency=2)):
        await case.ledger.enqueue()
        await case.ledger.settled()
        fault = case.arm(script)
        for _ in range(5):
            await case.ledger.enqueue()
        await case.ledger.settled()
        assert fault.hits == 1
        await case.noticed()
        await case.ledger.enqueue()
        await case.ledger.check()


async def fail(case: Case, script: str) -> None:
    async with working(case.worker()):
        fault = case.arm(script)
        job = await case.queue.enqueue("jobs.fail")
        assert (await result_of(job)).type.name == "FAILED"
        assert fault.hits == 1
        await case.noticed()
        assert await case.real.xlen(f"rq:results:{job.id}") == 1
        assert await case.real.zrange("rq:failed:default", 0, -1) == [job.id.encode()]
        await case.ledger.enqueue()
        await case.ledger.check()


async def renew(case: Case, script: str) -> None:
    """The lease is kept; the job runs on."""
    job = await case.queue.enqueue("waiting.meet", case.told.path, case.gate.path)
    async with working(case.worker(lease=1)):
        await case.told.pids()
        fault = case.arm(script)
        async with asyncio.timeout(LIMIT):
            await fault.struck.wait()
        await case.noticed()
        renewed = case.proxy.arm(Fault(calls_of(script), gate=asyncio.Event()))
        assert renewed.gate is not None
        renewed.gate.set()
        async with asyncio.timeout(LIMIT):
            await renewed.struck.wait()
        case.gate.let()
        assert (await result_of(job)).type.name == "SUCCESSFUL"
        assert case.log.count("killed") == 0


async def register(case: Case, script: str) -> None:
    """At the start it is told at once. A worker that was forgotten is entered anew."""
    fault = case.arm(script)
    starting = case.worker()
    await case.call(lambda: starting.work(burst=True))
    assert fault.hits == 1
    assert await case.real.smembers("rq:workers") == set()
    job = await case.queue.enqueue("waiting.meet", case.told.path, case.gate.path)
    worker = case.worker(lease=1)
    async with working(worker):
        await case.told.pids()
        fault = case.arm(script)
        await case.real.delete(f"rq:worker:{worker.name}")
        async with asyncio.timeout(LIMIT):
            await fault.struck.wait()
        await case.noticed()
        async with asyncio.timeout(LIMIT):
            while not await case.real.hexists(f"rq:worker:{worker.name}", "birth"):
                pass
        case.gate.let()
        assert (await result_of(job)).type.name == "SUCCESSFUL"
        assert case.log.count("killed") == 0


async def release(case: Case, script: str) -> None:
    """A job that was taken while the worker was told to stop is put back, not lost and not run."""
    worker = case.worker()
    async with working(worker) as work:
        await case.ledger.enqueue()
        await case.ledger.settled()
        held = case.proxy.arm(Fault(calls_of("claim"), gate=asyncio.Event()))
        job = await case.ledger.enqueue()
        async with asyncio.timeout(LIMIT):
            await held.struck.wait()
            fault = case.arm(script)
            worker.request_stop()
            assert held.gate is not None
            held.gate.set()
            await work
    assert fault.hits == 1
    await case.noticed()
    assert await case.real.lrange("rq:queue:default", 0, -1) == [job.id.encode()]
    assert set(case.ledger.runs) == {"line-0"}
    await case.worker().work(burst=True)
    await case.ledger.check()


async def retire(case: Case, script: str) -> None:
    """The worker ends all the same; what it leaves expires."""
    await case.ledger.enqueue()
    worker = case.worker()
    fault = case.arm(script)
    await worker.work(burst=True)
    assert fault.hits == 1
    await case.ledger.check()
    retired = await case.real.hexists(f"rq:worker:{worker.name}", "death")
    assert retired == (case.error is None)
    assert case.log.count("cannot sign off") == (not retired)
    assert await case.real.ttl(f"rq:worker:{worker.name}") > 0


SCENARIOS: Final[dict[str, Scenario]] = {
    "claim": taken_and_ended,
    "delete": delete,
    "empty": empty,
    "enqueue": enqueue,
    "fail": fail,
    "finish": taken_and_ended,
    "register": register,
    "release": release,
    "renew": renew,
    "retire": retire,
    "save": save,
}
"""What each script is put through."""


def test_every_script_has_a_scenario() -> None:
    missing = set(scripts.names()) - set(SCENARIOS)
    assert not missing, f"add to SCENARIOS what calls {', '.join(sorted(missing))} and what must become of it"
    assert set(SCENARIOS) == set(scripts.names())


@pytest.mark.parametrize("name", [*ERRORS, *LOSSES])
@pytest.mark.parametrize("script", sorted(set(SCENARIOS) & set(scripts.names())))
async def test_trouble(
    script: str,
    name: str,
    proxy: Proxy,
    through_proxy: Redis,
    ledger: Ledger,
    log: Log,
    make_worker: Callable[..., Worker],
    told: Fifo,
    gate: Fifo,
) -> None:
    case = Case(name, proxy, through_proxy, ledger, log, make_worker, told, gate)
    async with asyncio.timeout(2 * LIMIT):
        await SCENARIOS[script](case, script)
