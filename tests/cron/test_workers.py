"""Workers that look after cron: modules are imported apart, and the slots are dealt with beside the jobs."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from aiorq import Job, SimpleWorker, Worker
from aiorq.cron import Cron, CronScheduler
from aiorq.errors import CronConfigError
from tests.execution.processes import LIMIT, Fifo, Process
from tests.worker.conftest import (  # noqa: F401 - fixtures
    Log,
    Started,
    log,
    make_worker,
    result_of,
    start,
    working,
)

Make = Callable[..., Worker]
HEAD = "import jobs, os\nfrom aiorq import cron\n"


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], str]:
    """Writes a module of entries, and gives its path."""

    def write(body: str) -> str:
        (tmp_path / "cron_entries.py").write_text(HEAD + body)
        return str(tmp_path / "cron_entries.py")

    return write


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Fifo]:
    """To hear from a module that is imported."""
    made = Fifo(tmp_path / "fifo")
    yield made
    made.close()


async def last_job(connection: Redis, name: str) -> Job[Any]:
    """The newest job of an entry."""
    return await Job.fetch((await Cron(connection).job_ids(name))[0], connection)


async def test_burst(connection: Redis, make_worker: Make, config: Any) -> None:  # noqa: F811
    """What is due at the start is enqueued before the worker looks for jobs."""
    worker = make_worker("default", cron=config("cron.register(jobs.add, 'default', (1, 2), interval=3600)"))
    assert await worker.work(burst=True)
    job = await last_job(connection, "jobs.add")
    assert (await result_of(job)).return_value == 3
    assert not await make_worker(
        "default", cron=config("cron.register(jobs.add, 'default', (1, 2), interval=3600)")
    ).work(burst=True)
    assert len(await Cron(connection).job_ids("jobs.add")) == 1


async def test_slots_that_come(
    connection: Redis,
    start: Started,  # noqa: F811
    config: Any,
    log: Log,  # noqa: F811
) -> None:
    body = "cron.register(jobs.add, 'default', (1, 2), cron='* * * * * *', timezone='UTC', name='tick')"
    await start("default", cron=config(body))
    await log.line("of cron entry tick", 2)
    ids = await Cron(connection).job_ids("tick")
    assert (await result_of(await Job.fetch(ids[-1], connection))).return_value == 3


async def test_supervisor_imports_nothing(
    connection: Redis,
    start: Started,  # noqa: F811
    config: Any,
    fifo: Fifo,
) -> None:
    body = (
        f"with open({fifo.path!r}, 'a') as told:\n    told.write(f'{{os.getpid()}}\\n')\n"
        "cron.register(jobs.add, 'default', interval=3600)"
    )
    await start("default", cron=config(body))
    assert int(await fifo.line()) != os.getpid()
    assert [name for name in sys.modules if "cron_entries" in name] == []


async def test_worker_is_seen_as_a_scheduler(
    connection: Redis,
    make_worker: Make,  # noqa: F811
    config: Any,
    log: Log,  # noqa: F811
) -> None:
    path = config("cron.register(jobs.add, 'default', (1, 2), interval=3600)")
    worker = make_worker("default", cron=path)
    async with working(worker):
        await log.line("looks after the entries")
        found = await CronScheduler.all(connection)
        assert [(each.pid, each.config_file) for each in found] == [(os.getpid(), path)]
    assert await CronScheduler.all(connection) == []


async def test_simple_worker(connection: Redis, config: Any, jobs_path: str) -> None:
    path = config("cron.register(jobs.add, 'default', (1, 2), interval=3600)")
    worker = SimpleWorker("default", connection=connection, path=jobs_path, cron=path)
    assert await worker.work(burst=True)
    assert (await result_of(await last_job(connection, "jobs.add"))).return_value == 3


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("1/0", "division by zero"),
        ("cron.register(jobs.add, 'default', cron='61 * * * *')", "minute"),
        ("import sys; sys.exit(3)", "died"),
        ("os.kill(os.getpid(), 9)", "died"),
        ("raise RuntimeError('a\\nb' * 5000)", "RuntimeError"),
    ],
)
async def test_broken_config(
    connection: Redis,
    make_worker: Make,  # noqa: F811
    config: Any,
    body: str,
    text: str,
) -> None:
    """The worker says so and ends in order; nothing is left of it."""
    worker = make_worker("default", cron=config(body))
    with pytest.raises(CronConfigError) as caught:
        await worker.work()
    assert text in str(caught.value)
    assert len(str(caught.value)) < 5000
    assert await connection.keys("rq:worker*") == [f"rq:worker:{worker.name}".encode()]


async def test_told_to_end_while_a_module_is_imported(
    connection: Redis,
    make_worker: Make,  # noqa: F811
    config: Any,
    fifo: Fifo,
) -> None:
    """The process that imports it is killed, and the worker ends."""
    worker = make_worker(
        "default",
        cron=config(
            f"told = open({fifo.path!r}, 'a')\nprint(os.getpid(), file=told, flush=True)\nimport time\ntime.sleep(600)"
        ),
    )
    task = asyncio.create_task(worker.work())
    (process,) = await fifo.pids()
    worker.request_stop()
    async with asyncio.timeout(LIMIT):
        assert not await task
    assert not process.alive
    process.close()


async def test_module_that_leaves_something_running(
    connection: Redis,
    make_worker: Make,  # noqa: F811
    config: Any,
    fifo: Fifo,
) -> None:
    """A process that it forked, and that has its descriptors, does not keep the worker waiting."""
    body = (
        "import time\n"
        "if os.fork() == 0:\n"
        f"    with open({fifo.path!r}, 'a') as told:\n        told.write(f'{{os.getpid()}}\\n')\n"
        "    time.sleep(600)\n"
        "cron.register(jobs.add, 'default', (1, 2), interval=3600)"
    )
    async with asyncio.timeout(LIMIT):
        assert await make_worker("default", cron=config(body)).work(burst=True)
    left = Process(int(await fifo.line()))
    left.kill()
    assert await left.ended()
    left.close()


async def test_redis_that_is_away_is_waited_for(
    connection: Redis,
    make_worker: Make,  # noqa: F811
    config: Any,
    log: Log,  # noqa: F811
) -> None:
    """Entries that Redis refuses do not end the worker; it tries again."""
    await connection.set("rq:aiorq:cron:next", "text")
    worker = make_worker("default", cron=config("cron.register(jobs.add, 'default', (1, 2), interval=3600)"))
    task: Awaitable[bool] = asyncio.create_task(worker.work(burst=True))
    await log.line("cannot register cron entries")
    await connection.delete("rq:aiorq:cron:next")
    async with asyncio.timeout(LIMIT):
        assert await task


@pytest.mark.parametrize("config", ["", "a b", "../up.py", "-x"])
def test_bad_name(config: str) -> None:
    with pytest.raises(ValueError, match="neither the dotted name"):
        Worker("default", cron=config)
