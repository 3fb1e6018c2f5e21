"""What may befall the call of a script, and the stage on which a scenario lets it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, closing
from contextvars import ContextVar
from dataclasses import dataclass
from logging import LogRecord, getLogger
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
from redis.asyncio import Redis

from aiorq import Job, Queue, Worker, connect
from aiorq.errors import AiorqError, ConnectionLostError, QueueFullError, StoreError
from aiorq.server import EmbeddedServer
from aiorq.store import runs
from aiorq.store.base import store_of
from aiorq.store.runs import Run
from tests.execution.processes import LIMIT, Fifo
from tests.trouble.conftest import REST, Ledger, proxied
from tests.trouble.proxy import Fault, Proxy, calls_of
from tests.worker.conftest import WAITING, Log

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


_listening: ContextVar[Log | None] = ContextVar("listening", default=None)


class CaseLog(Log):
    """What is logged by the tasks of one case; others go on at the same time."""

    def __init__(self) -> None:
        super().__init__()
        _listening.set(self)

    def emit(self, record: LogRecord) -> None:
        if _listening.get() is self:
            super().emit(record)


@dataclass
class Case:
    """One fault, and what a scenario needs."""

    name: str
    proxy: Proxy
    client: Redis
    ledger: Ledger
    log: Log
    told: Fifo
    gate: Fifo
    jobs_path: str
    other: str
    """The name of a worker that is none of this process; no other case has it."""

    @property
    def queue(self) -> Queue:
        """The default queue, through the proxy."""
        return Queue(connection=self.client)

    @property
    def real(self) -> Any:
        """A client of the server itself."""
        return self.ledger.connection

    @property
    def real_queue(self) -> Queue:
        """The default queue, not through the proxy."""
        return Queue(connection=self.real)

    def worker(self, **options: Any) -> Worker:
        """A worker that works through the proxy."""
        return Worker(connection=self.client, path=(self.jobs_path, WAITING), **options)

    async def take(self, lease: float) -> Run:
        """Take the job that waits, as the other worker; the run does not begin."""
        claimed = await runs.claim(store_of(self.real), self.other, ["default"], 1, lease)
        assert claimed is not None
        return claimed[0].run

    def arm(self, script: str, passes: int = 0) -> Fault:
        """Let the fault befall the next call of the script, or a later one."""
        error = ERRORS.get(self.name, "").encode()
        return self.proxy.arm(Fault(calls_of(script), error, executed=self.name == "lost after", passes=passes))

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

    async def until(self, condition: Callable[[], Awaitable[Any]]) -> None:
        """Look until it is so."""
        async with asyncio.timeout(LIMIT):
            while not await condition():  # noqa: ASYNC110 - what is asked is Redis, which tells nobody by itself
                await asyncio.sleep(REST)

    async def failed_once(self, job: Job[Any]) -> None:
        """The job is the only one that failed, and its outcome is there once."""
        assert await self.real.xlen(f"rq:results:{job.id}") == 1
        assert await self.real.zrange("rq:failed:default", 0, -1) == [job.id.encode()]


Scenario: TypeAlias = Callable[[Case, str], Awaitable[None]]
"""Arms the fault of a case for a script, does what calls the script, and checks what became of it."""


@asynccontextmanager
async def staged(name: str, number: int, server: EmbeddedServer, folder: Path, jobs_path: str) -> AsyncIterator[Case]:
    """A case with the empty database of that number to itself, and `folder`."""
    log, logger = CaseLog(), getLogger("aiorq")
    logger.addHandler(log)
    try:
        with closing(Fifo(folder / "told")) as told, closing(Fifo(folder / "gate")) as gate:
            async with (
                proxied(server, folder) as proxy,
                aclosing(connect(f"{server.url}?db={number}")) as real,
                aclosing(connect(f"{proxy.url}?db={number}")) as client,
            ):
                ledger = Ledger(folder / "lines", Queue(connection=real))
                yield Case(name, proxy, client, ledger, log, told, gate, jobs_path, f"other-{number}")
    finally:
        logger.removeHandler(log)
