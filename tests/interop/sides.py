"""One scenario, two libraries: the same calls for rq and for aiorq, which differ in whether one awaits them.

A scenario is a function of a `Here`, which makes queues and jobs of the scenario's name. Where it yields, a worker runs
what waits in its queues; what it does after its last yield, no worker sees.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from inspect import isawaitable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import rq
import rq.group
import rq.job
import rq.rate_limit
from redis.asyncio import Redis

from aiorq import Job, Queue, Worker
from aiorq.callback import Callback
from aiorq.dependency import Dependency
from aiorq.group import Group
from aiorq.rate_limit import RateLimit
from aiorq.registry import RateLimitRegistry
from aiorq.retry import Repeat, Retry
from aiorq.webhook import Webhook
from tests.interop.conftest import Command, Side

WORKER = "one-worker"
Scenario: TypeAlias = "Callable[[Here], AsyncGenerator[str, None] | Awaitable[None]]"
"""Yields the roles of the queues that a worker is to serve, separated by spaces; "" is the scenario's first queue."""


async def done(value: Any) -> Any:
    """What a call gives, of rq's (at once) or of aiorq's (awaited)."""
    return await value if isawaitable(value) else value


class Library(ABC):
    """One of the two libraries, under its prefix."""

    words: SimpleNamespace
    """The classes by their names."""

    def __init__(self, side: Side, path: str, folder: Path) -> None:
        self.side = side
        self.path = path
        self.folder = folder
        """Where `Here.tell` leaves files."""

    @abstractmethod
    def queue(self, name: str, **options: Any) -> Any:
        """A queue of that name."""

    @abstractmethod
    def group(self, name: str) -> Any:
        """A group of that name."""

    @abstractmethod
    def made(self, function: str, *args: Any, **options: Any) -> Any:
        """A job that is not enqueued."""

    @abstractmethod
    def fetch(self, job_id: str) -> Any:
        """Read a job."""

    @abstractmethod
    def pipeline(self) -> Any:
        """A transaction of the caller's."""

    @abstractmethod
    def limit(self, key: str) -> Any:
        """The registries of a rate limit."""

    @abstractmethod
    async def work(self, queues: list[str]) -> None:
        """Run what waits in queues or is due, and what comes of it."""


class Theirs(Library):
    """RQ."""

    words = SimpleNamespace(
        Callback=rq.Callback,
        Dependency=rq.job.Dependency,
        RateLimit=rq.rate_limit.RateLimit,
        Repeat=rq.Repeat,
        Retry=rq.Retry,
        Webhook=rq.Webhook,
        prepare=rq.Queue.prepare_data,
    )

    def queue(self, name: str, **options: Any) -> Any:
        return rq.Queue(name, connection=self.side.client, **options)

    def group(self, name: str) -> Any:
        return rq.group.Group.create(self.side.client, name)

    def made(self, function: str, *args: Any, **options: Any) -> Any:
        return rq.job.Job.create(function, args, connection=self.side.client, **options)

    def fetch(self, job_id: str) -> Any:
        return rq.job.Job.fetch(job_id, self.side.client)

    def pipeline(self) -> Any:
        return self.side.client.pipeline()

    def limit(self, key: str) -> Any:
        return rq.rate_limit.RateLimitRegistry(key, self.side.client)

    async def work(self, queues: list[str]) -> None:
        await Command("rq.cli", self.side.url, self.path).work("--name", WORKER, "--quiet", "--with-scheduler", *queues)


class Ours(Library):
    """aiorq."""

    words = SimpleNamespace(
        Callback=Callback,
        Dependency=Dependency,
        RateLimit=RateLimit,
        Repeat=Repeat,
        Retry=Retry,
        Webhook=Webhook,
        prepare=Queue.prepare_data,
    )

    def __init__(self, side: Side, path: str, folder: Path, connection: Redis) -> None:
        super().__init__(side, path, folder)
        self.connection = connection

    def queue(self, name: str, **options: Any) -> Any:
        return Queue(name, self.connection, prefix=self.side.prefix, **options)

    def group(self, name: str) -> Any:
        return Group.create(self.connection, name, prefix=self.side.prefix)

    def made(self, function: str, *args: Any, **options: Any) -> Any:
        return Job.create(function, args, connection=self.connection, prefix=self.side.prefix, **options)

    def fetch(self, job_id: str) -> Any:
        return Job.fetch(job_id, self.connection, prefix=self.side.prefix)

    def pipeline(self) -> Any:
        return self.connection.pipeline()

    def limit(self, key: str) -> Any:
        return RateLimitRegistry(key, self.connection, prefix=self.side.prefix)

    async def work(self, queues: list[str]) -> None:
        worker = Worker(
            queues,
            WORKER,
            connection=self.connection,
            path=self.path,
            prefix=self.side.prefix,
            preload=["jobs", "parity"],
        )
        await worker.work(burst=True)


class Here:
    """A scenario in one library. The ids of its jobs and the names of its queues begin with its own name."""

    def __init__(self, library: Library, name: str) -> None:
        self.library = library
        self.words = library.words
        self.name = name
        self.group = library.group(self.id("group"))
        self.folder = str(library.folder)

    def id(self, role: str) -> str:
        """The id of the job, or the name of the queue, that has a role in the scenario."""
        return f"{self.name}_{role}" if role else self.name

    def queue(self, role: str = "", **options: Any) -> Any:
        """A queue."""
        return self.library.queue(self.id(role), **options)

    async def put(self, role: str, function: str = "jobs.add", *args: Any, queue: str = "", **options: Any) -> Any:
        """Enqueue a job."""
        args = args or ((1,) if function == "jobs.add" else ())
        return await done(self.queue(queue).enqueue(function, *args, job_id=self.id(role), **options))

    async def job(self, role: str) -> Any:
        """Read a job."""
        return await done(self.library.fetch(self.id(role)))

    def tell(self, role: str) -> None:
        """Let a job of `parity.fail_unless_told` succeed from now on."""
        (self.library.folder / f"{self.library.side.prefix}:job:{self.id(role)}").touch()

    def data(self, role: str, function: str = "jobs.add", *args: Any, **options: Any) -> Any:
        """Describe a job for `enqueue_many`."""
        return self.words.prepare(function, args or (1,), job_id=self.id(role), **options)

    def made(self, role: str, function: str = "jobs.add", *args: Any, **options: Any) -> Any:
        """Make a job that is not enqueued."""
        return self.library.made(function, *(args or (1,)), id=self.id(role), origin=self.id(""), **options)


def names_of(scenario: str) -> str:
    """What the names of a scenario's jobs and queues look like, as a regular expression."""
    return rf"{re.escape(scenario)}(_[a-z0-9-]+)?"


async def play_all(library: Library, scenarios: dict[str, Scenario]) -> None:
    """Play scenarios side by side: all up to where they wait for a worker, then the worker, and so on."""
    playing: dict[str, AsyncGenerator[str, None]] = {}
    for name, scenario in scenarios.items():
        play = scenario(Here(library, name))
        if isinstance(play, AsyncGenerator):
            playing[name] = play
        else:
            await play
    while playing:
        queues: list[str] = []
        for name, begun in list(playing.items()):
            try:
                roles = await anext(begun)
            except StopAsyncIteration:
                del playing[name]
            else:
                queues += [f"{name}_{role}" if role else name for role in ["", *roles.split()]]
        if queues:
            await library.work(queues)
