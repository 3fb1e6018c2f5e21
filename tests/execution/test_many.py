"""After thousands of jobs everything is as it was after the first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiorq.outcome import Returned
from tests.execution.conftest import Executor
from tests.execution.processes import LIMIT, Process

JOBS = 2000


async def test_nothing_accumulates(start_executor: Callable[..., Any], me: Process) -> None:
    executor: Executor = await start_executor(("endings",))
    zygote = Process(executor.zygote)
    limit = asyncio.Semaphore(4)

    async def one(number: int) -> None:
        async with limit:
            size = 100_000 if number % 100 == 0 else 10  # some results travel in a file
            assert isinstance(await executor.run("endings.give_bytes", size), Returned)

    async def many(count: int) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(one(number))

    await many(200)
    before = [(process.descriptors(), kib(process)) for process in (me, zygote)]
    await many(JOBS)
    after = [(process.descriptors(), kib(process)) for process in (me, zygote)]
    for (descriptors, memory), (descriptors_after, memory_after) in zip(before, after, strict=True):
        assert abs(descriptors_after - descriptors) <= 4  # one for each process that is not reaped yet
        assert memory_after - memory < 5 * 1024
    async with asyncio.timeout(LIMIT):  # an outcome is heard of before the process that sent it is reaped
        while zygote.children():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
    assert me.children() == [executor.zygote]
    assert executor.inner._running == {}


def kib(process: Process) -> int:
    return int(process.status("VmRSS").split()[0])
