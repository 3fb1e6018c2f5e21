"""What a job does to its process concerns no other job, and what it leaves behind is gone with it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiorq.execution.frames import Kind
from aiorq.outcome import Returned
from tests.execution.conftest import Executor, lost, value_of
from tests.execution.processes import Fifo


class TestProcesses:
    @pytest.mark.parametrize("how", ["returned", "killed"])
    async def test_children_are_dead(self, executor: Executor, told: Fifo, gate: Fifo, how: str) -> None:
        run = executor.start("leftovers.leave_children", told.path, gate.path)
        children = await told.pids(3)
        assert all(child.alive for child in children)
        if how == "returned":
            gate.let()
            assert await run == Returned(b"")
        else:
            executor.inner.kill(executor.inner._last_number, "asked for")
            assert lost(await run).signal == 9
        for child in children:
            assert await child.ended()

    async def test_children_of_other_jobs_live(self, executor: Executor, told: Fifo, gate: Fifo) -> None:
        run = executor.start("leftovers.leave_children", told.path, gate.path)
        children = await told.pids(3)
        for _ in range(5):
            await executor.run("endings.give", 1)
        assert all(child.alive for child in children)
        gate.let()
        await run
        await executor.inner.close()  # at once: the job's process may be reaped before or after the zygote hears of it
        for child in children:
            assert await child.ended()

    async def test_they_end_with_the_executor(self, start_executor: Callable[..., Any], told: Fifo, gate: Fifo) -> None:
        executor: Executor = await start_executor()
        run = executor.start("leftovers.leave_tree", told.path, timeout=-1)
        tree = await told.pids(5)
        await executor.inner.close()
        for process in tree:
            assert await process.ended()
        assert (lost(await run).signal, lost(await run).why) == (9, "the worker ended")

    async def test_threads_are_not_waited_for(self, executor: Executor) -> None:
        assert await executor.value("leftovers.leave_thread") == "returned"


class TestSettings:
    async def test_nothing_is_left_for_the_next_job(self, executor: Executor, tmp_path: Path) -> None:
        before = await executor.value("leftovers.describe_process")
        assert await executor.value("leftovers.change_process", str(tmp_path)) == str(tmp_path)
        assert await executor.value("leftovers.describe_process") == before
        assert os.getcwd() == before["cwd"]

    async def test_what_a_job_finds(self, executor: Executor) -> None:
        found = await executor.value("leftovers.describe_process")
        assert found["stdin"]
        assert found["group"]
        assert found["blocked"] == []
        assert found["environment"] == ["a-worker", "a-job"]
        default, ignored = str(signal.SIG_DFL), str(signal.SIG_IGN)
        assert found["handlers"][signal.SIGTERM] == found["handlers"][signal.SIGHUP] == default
        assert found["handlers"][signal.SIGCHLD] == default
        assert found["handlers"][signal.SIGPIPE] == ignored
        assert "default_int_handler" in found["handlers"][signal.SIGINT]

    async def test_stdin_is_empty(self, executor: Executor) -> None:
        assert await executor.value("leftovers.read_stdin") == ""

    async def test_much_output(self, capfd: pytest.CaptureFixture[str]) -> None:
        async with Executor() as noisy:
            assert await noisy.value("leftovers.print_megabytes", 10) == "printed"
        captured = capfd.readouterr()
        assert len(captured.out) == 10 * ((1 << 20) + 1)
        assert captured.err == "the end\n"

    @pytest.mark.parametrize("preload", [(), ("random",)])
    async def test_random_numbers_differ(self, start_executor: Callable[..., Any], preload: tuple[str, ...]) -> None:
        executor: Executor = await start_executor(preload)
        drawn = [await executor.value("leftovers.draw") for _ in range(3)]
        assert len({*drawn, random.random()}) == 4

    async def test_numbers_differ_without_preload(self, executor: Executor) -> None:
        """The second time, as the zygote may have learnt to import more."""
        assert await executor.value("leftovers.draw") != await executor.value("leftovers.draw")


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
    async def test_early_ones(self, executor: Executor, number: int) -> None:
        """A signal that comes before the job's process has its own handlers is not lost: the process dies of it."""
        for _ in range(50):
            order = executor.order("waiting.hang")
            run = asyncio.create_task(executor.inner.execute(order))
            await asyncio.sleep(0)
            executor.inner._send(Kind.KILL, [b"%d" % order.number, b"%d" % number])
            assert lost(await run).signal == number

    async def test_ctrl_c_of_the_terminal_does_not_reach_jobs(self, executor: Executor, told: Fifo, gate: Fifo) -> None:
        run = executor.start("waiting.meet", told.path, gate.path)
        [horse] = await told.pids()
        groups = {os.getpgid(pid) for pid in (0, executor.zygote, horse.pid)}
        assert len(groups) == 3
        gate.let()
        await run


class TestSocket:
    """The socket to the worker is within reach of a job."""

    @pytest.mark.parametrize(
        "junk", [b"junk", b"\x0a\x00\x00\x00\x00\x01\x00\x00\x00\x01x", b"\x05\x00\x00\x00\x00\x00", b"\x63" + bytes(5)]
    )
    async def test_junk(self, executor: Executor, caplog: pytest.LogCaptureFixture, junk: bytes) -> None:
        assert await executor.value("leftovers.write_junk", junk) == "written"
        assert "a job wrote to the worker's socket" in caplog.text
        assert await executor.value("endings.give", 1) == 1

    async def test_descriptors(self, executor: Executor) -> None:
        before = len(os.listdir("/dev/fd"))
        for count in (1, 2, 5):
            assert await executor.value("leftovers.pass_descriptors", count) == "passed"
        assert len(os.listdir("/dev/fd")) == before


async def test_two_at_a_time(executor: Executor, told: Fifo, gate: Fifo) -> None:
    runs = [executor.start("waiting.meet", told.path, gate.path) for _ in range(5)]
    horses = await told.pids(5)
    gate.let(5)
    assert {value_of(await run) for run in runs} == {horse.pid for horse in horses}
