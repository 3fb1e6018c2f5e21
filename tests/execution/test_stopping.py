"""A job that is told to stop may clean up, is dead in time whatever its code does, and never counts as returned."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest

from aiorq.execution.frames import Kind
from aiorq.outcome import Lost, Outcome, Returned
from tests.execution.conftest import Executor, lost, value_of
from tests.execution.processes import Fifo, Process

AT_ONCE = 0.05
NEVER = 3600.0


class Job:
    """A run that can be stopped."""

    def __init__(self, executor: Executor, function: str, *args: Any, timeout: int = -1) -> None:
        order = executor.order(function, *args, timeout=timeout)
        self.number = order.number
        self._executor = executor.inner
        self.outcome = asyncio.create_task(executor.inner.execute(order))

    def stop(self, grace: float, why: str = "asked for") -> None:
        self._executor.stop(self.number, why, grace)

    def kill(self, why: str) -> None:
        self._executor.kill(self.number, why)

    async def ended(self) -> Lost:
        async with asyncio.timeout(20):
            return lost(await self.outcome)


class TestFunctions:
    async def test_the_signal_ends_it(self, executor: Executor, told: Fifo) -> None:
        job = Job(executor, "waiting.hang", told.path)
        [horse] = await told.pids()
        job.stop(NEVER)
        outcome = await job.ended()
        assert (outcome.signal, outcome.exit_code, outcome.why, outcome.stopped) == (15, None, "asked for", True)
        assert str(outcome) == "the process that ran the job was killed by signal 15 (SIGTERM): asked for"
        assert outcome.peak_kib > 1000
        assert not horse.alive

    async def test_a_handler_of_its_own(self, executor: Executor, told: Fifo) -> None:
        job = Job(executor, "stopping.handle", told.path)
        [horse] = await told.pids()
        job.stop(NEVER)
        outcome = await job.ended()
        assert await told.line() == "handled"
        assert (outcome.signal, outcome.exit_code, outcome.why, outcome.stopped) == (None, 0, "asked for", True)
        assert str(outcome) == "the process that ran the job was told to end: asked for"
        assert not horse.alive

    async def test_one_in_another_group(self, executor: Executor, told: Fifo) -> None:
        job = Job(executor, "leftovers.leave_group", told.path)
        await told.line()
        zygote = executor.zygote
        job.stop(NEVER)
        assert (await job.ended()).signal == 15
        assert executor.zygote == zygote

    async def test_before_it_began(self, executor: Executor) -> None:
        for _ in range(50):
            job = Job(executor, "waiting.hang")
            await asyncio.sleep(0)
            job.stop(NEVER)
            assert (await job.ended()).signal == 15


class TestCoroutines:
    @pytest.mark.parametrize("module", ["stopping", "on_uvloop"])
    async def test_it_is_cancelled(self, executor: Executor, told: Fifo, module: str) -> None:
        job = Job(executor, f"{module}.clean_up", told.path)
        [horse] = await told.pids()
        job.stop(NEVER)
        outcome = await job.ended()
        assert told.rest() == "cancelled\n"
        assert (outcome.signal, outcome.exit_code, outcome.why, outcome.stopped) == (None, 0, "asked for", True)
        assert not horse.alive

    async def test_what_it_returns_then_does_not_count(self, executor: Executor, told: Fifo, gate: Fifo) -> None:
        job = Job(executor, "stopping.clean_up", told.path, gate.path)
        await told.line()
        job.stop(NEVER)
        assert await told.line() == "cancelled"
        job.stop(NEVER)  # once is enough
        gate.let()
        assert (await job.ended()).stopped
        assert told.rest() == "cleaned up\n"

    async def test_tasks_beside_it_end_too(self, executor: Executor, told: Fifo) -> None:
        job = Job(executor, "stopping.leave_task", told.path)
        await told.line()
        job.stop(NEVER)
        assert (await job.ended()).exit_code == 0
        assert told.rest() == "cleaned up\n"

    async def test_a_handler_of_its_own(self, executor: Executor, told: Fifo) -> None:
        job = Job(executor, "stopping.handle_async", told.path)
        await told.line()
        job.stop(NEVER)
        assert await told.line() == "handled"
        job.kill("enough")
        assert (await job.ended()).signal == 9

    async def test_before_it_began(self, executor: Executor) -> None:
        """It either dies of the signal or is cancelled, whenever that comes."""
        for number in range(60):
            job = Job(executor, "waiting.hang_async")
            await asyncio.sleep(number / 5000)
            job.stop(NEVER)
            outcome = await job.ended()
            assert outcome.stopped
            assert (outcome.signal, outcome.exit_code) in [(15, None), (None, 0)]

    async def test_its_children_know_nothing_of_it(self, executor: Executor) -> None:
        assert await executor.value("stopping.terminate_children", 20) == 20 * [-signal.SIGTERM]

    async def test_functions_have_no_handler(self, executor: Executor) -> None:
        await executor.value("endings.give_async", 1)
        assert await executor.value("stopping.find_handler") == str(signal.SIG_DFL)


class TestGrace:
    @pytest.mark.parametrize(
        ("function", "heard"),
        [("spin", "handled"), ("ignore", ""), ("hold", ""), ("swallow", "swallowed"), ("block", "")],
    )
    async def test_who_goes_on_is_killed(self, executor: Executor, told: Fifo, function: str, heard: str) -> None:
        job = Job(executor, f"stopping.{function}", told.path)
        [horse] = await told.pids()
        job.stop(0.3)
        if heard:
            assert await told.line() == heard
        outcome = await job.ended()
        assert (outcome.signal, outcome.why, outcome.stopped) == (9, "asked for", True)
        assert not horse.alive

    @pytest.mark.parametrize(
        ("function", "grace"),
        [
            ("leave_daemons", 0),
            ("leave_daemons", NEVER),
            ("leave_daemons_async", 0),
            ("leave_daemons_async", AT_ONCE),
        ],
    )
    async def test_nothing_is_left(self, executor: Executor, told: Fifo, function: str, grace: float) -> None:
        job = Job(executor, f"stopping.{function}", told.path)
        processes = await told.pids(3)
        assert all(process.alive for process in processes)
        zygote = Process(executor.zygote)
        job.stop(grace)
        assert (await job.ended()).stopped
        for process in processes:
            assert await process.ended()
        assert await executor.value("endings.give", 1) == 1
        assert zygote.alive

    async def test_nothing_is_left_although_the_zygote_is_never_idle(self, executor: Executor, told: Fifo) -> None:
        job = Job(executor, "stopping.leave_daemons", told.path)
        processes = await told.pids(3)

        async def keep_busy() -> None:
            while True:
                executor.inner._send(Kind.KILL, [b"0", b"0"])
                await asyncio.sleep(0)

        busy = asyncio.create_task(keep_busy())
        job.stop(AT_ONCE)
        assert (await job.ended()).stopped
        for process in processes:
            assert await process.ended(8)
        busy.cancel()

    async def test_no_grace(self, executor: Executor, told: Fifo) -> None:
        job = Job(executor, "stopping.clean_up", told.path)
        [horse] = await told.pids()
        job.stop(0)
        outcome = await job.ended()
        assert (outcome.signal, outcome.why, outcome.stopped) == (9, "asked for", True)
        assert told.rest() == ""
        assert not horse.alive

    async def test_the_earliest_end_and_the_first_reason_count(self, executor: Executor, told: Fifo) -> None:
        for graces in [(NEVER, AT_ONCE), (AT_ONCE, NEVER)]:
            job = Job(executor, "stopping.ignore", told.path)
            await told.line()
            job.stop(graces[0], "first")
            job.stop(graces[1], "second")
            outcome = await job.ended()
            assert (outcome.signal, outcome.why) == (9, "first")

    async def test_a_kill_does_not_wait(self, executor: Executor, told: Fifo) -> None:
        job = Job(executor, "stopping.ignore", told.path)
        await told.line()
        job.stop(NEVER)
        job.kill("now")
        outcome = await job.ended()
        assert (outcome.signal, outcome.why, outcome.stopped) == (9, "asked for", True)

    async def test_after_a_kill(self, executor: Executor, told: Fifo) -> None:
        job = Job(executor, "waiting.hang", told.path)
        await told.line()
        job.kill("first")
        job.stop(NEVER)
        outcome = await job.ended()
        assert (outcome.signal, outcome.why, outcome.stopped) == (9, "asked for", True)

    async def test_the_timeout_still_counts(self, executor: Executor, told: Fifo) -> None:
        job = Job(executor, "stopping.swallow", told.path, timeout=1)
        await told.line()
        job.stop(NEVER)
        outcome = await job.ended()
        assert (outcome.signal, outcome.why, outcome.stopped) == (9, "asked for", True)


class TestLate:
    """The job has returned, and its outcome is on the way."""

    async def returned(self, executor: Executor, told: Fifo, gate: Fifo) -> Job:
        job = Job(executor, "waiting.meet", told.path, gate.path)
        [horse] = await told.pids()
        gate.let()
        assert horse.ended_now()
        return job

    @pytest.mark.parametrize("grace", [0, NEVER])
    async def test_a_stop_counts(self, executor: Executor, told: Fifo, gate: Fifo, grace: float) -> None:
        job = await self.returned(executor, told, gate)
        job.stop(grace)
        outcome = await job.ended()
        assert (outcome.signal, outcome.exit_code, outcome.why, outcome.stopped) == (None, 0, "asked for", True)

    async def test_a_kill_does_not(self, executor: Executor, told: Fifo, gate: Fifo) -> None:
        job = await self.returned(executor, told, gate)
        job.kill("too late")
        assert isinstance(await job.outcome, Returned)

    async def test_after_the_outcome(self, executor: Executor) -> None:
        executor.inner.stop(99, "nobody", 1)
        job = Job(executor, "endings.give", 1)
        assert value_of(await job.outcome) == 1
        job.stop(0)
        assert await executor.value("endings.give", 2) == 2


async def test_one_that_could_not_begin(start_executor: Callable[..., Any]) -> None:
    executor: Executor = await start_executor(("no_fork",))
    job = Job(executor, "endings.give", 1)
    await asyncio.sleep(0)
    job.stop(NEVER)
    outcome = await job.ended()
    assert (outcome.signal, outcome.exit_code, outcome.why, outcome.stopped) == (None, None, "asked for", True)


async def test_the_zygote_dies_meanwhile(executor: Executor, told: Fifo) -> None:
    job = Job(executor, "stopping.ignore", told.path)
    await told.line()
    job.stop(NEVER)
    Process(executor.zygote).kill()
    outcome = await job.ended()
    assert (outcome.signal, outcome.why, outcome.stopped) == (9, "asked for", True)


async def test_kill_all(executor: Executor, told: Fifo) -> None:
    jobs = [Job(executor, f"stopping.{name}", told.path) for name in ("spin", "ignore", "hold", "swallow")]
    horses = await told.pids(4)
    jobs[0].stop(NEVER)
    executor.inner.kill_all("fenced")
    ends = [await job.ended() for job in jobs]
    assert [(end.signal, end.why, end.stopped) for end in ends] == [
        (9, "asked for", True),
        (9, "fenced", False),
        (9, "fenced", False),
        (9, "fenced", False),
    ]
    assert not any(horse.alive for horse in horses)


def test_the_words() -> None:
    outcome: Outcome = Lost(exit_code=0, why="asked for", stopped=True)
    assert str(outcome) == "the process that ran the job was told to end: asked for"
