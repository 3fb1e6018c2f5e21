"""A job is told when its time is over, and killed when it goes on; its own code decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from aiorq.outcome import Raised
from tests.execution.conftest import Executor, lost, value_of
from tests.execution.processes import Fifo

TOLD = "JobTimeoutException: the job ran longer than its timeout of 1 seconds"


async def test_every_way_to_wait(start_executor: Callable[..., Any]) -> None:
    executor: Executor = await start_executor(("waiting",), timeout_grace=20)  # its import takes none of their time
    names = ["hang", "spin", "block", "hang_async", "block_async", "block_child_task", "run_loop"]
    runs = [executor.start(f"waiting.{name}", timeout=1) for name in names]
    outcomes = dict(zip(names, await asyncio.gather(*runs), strict=True))
    summaries = {name: outcome.summary for name, outcome in outcomes.items() if isinstance(outcome, Raised)}
    assert summaries == dict.fromkeys(names, TOLD)


async def test_a_coroutine_cleans_up(start_executor: Callable[..., Any], told: Fifo) -> None:
    executor: Executor = await start_executor(timeout_grace=20)
    outcome = await executor.run("waiting.clean_up", told.path, timeout=1)
    assert await told.line() == "cleaned up"
    assert isinstance(outcome, Raised)
    assert outcome.summary == TOLD


async def test_a_job_that_deals_with_it(executor: Executor) -> None:
    assert value_of(await executor.run("waiting.catch_timeout", timeout=1)) == "JobTimeoutException"


@pytest.mark.parametrize("function", ["ignore_timeout", "ignore_alarm", "stop_self"])
async def test_a_job_that_goes_on_is_killed(executor: Executor, told: Fifo, function: str) -> None:
    run = executor.start(f"waiting.{function}", told.path, timeout=1)
    [horse] = await told.pids()
    outcome = lost(await run)
    assert (outcome.signal, outcome.why) == (9, "timeout")
    assert str(outcome) == "the process that ran the job was killed by signal 9 (SIGKILL): timeout"
    assert not horse.alive


async def test_a_job_in_another_group_is_killed(executor: Executor, told: Fifo) -> None:
    run = executor.start("leftovers.leave_group", told.path, timeout=1)
    [horse] = await told.pids()
    zygote = executor.zygote
    executor.inner.kill(executor.inner._last_number, "asked for")
    outcome = lost(await run)
    assert (outcome.signal, outcome.why) == (9, "asked for")
    assert not horse.alive
    assert executor.zygote == zygote


async def test_its_processes_are_killed_with_it(executor: Executor, told: Fifo) -> None:
    run = executor.start("leftovers.leave_tree", told.path, timeout=1)
    processes = await told.pids(5)
    assert isinstance(await run, Raised)
    for process in processes:
        assert await process.ended()


async def test_no_timeout(executor: Executor, told: Fifo, gate: Fifo) -> None:
    run = executor.start("waiting.meet", told.path, gate.path, timeout=-1)
    [horse] = await told.pids()
    gate.let()
    assert value_of(await run) == horse.pid


async def test_kill(executor: Executor, told: Fifo) -> None:
    run = executor.start("waiting.hang", told.path)
    [horse] = await told.pids()
    executor.inner.kill(executor.inner._last_number, "asked for")
    outcome = lost(await run)
    assert (outcome.signal, outcome.why) == (9, "asked for")
    assert not horse.alive
    executor.inner.kill(executor.inner._last_number, "again")  # too late, and no harm
    assert await executor.value("endings.give", 1) == 1


async def test_a_kill_before_the_job_began(executor: Executor, told: Fifo) -> None:
    """The order and the kill are read by the zygote one after the other."""
    order = executor.order("waiting.hang", told.path)
    run = asyncio.create_task(executor.inner.execute(order))
    await asyncio.sleep(0)
    executor.inner.kill(order.number, "asked for")
    assert lost(await run).why == "asked for"


async def test_a_caller_that_is_cancelled_leaves_the_job(executor: Executor, told: Fifo, gate: Fifo) -> None:
    run = executor.start("waiting.meet", told.path, gate.path)
    [horse] = await told.pids()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert horse.alive
    gate.let()
    assert await horse.ended()
