"""A job that needs more memory than it may have is told so, and one that dies of it is known to have died of that."""

from __future__ import annotations

import asyncio
import random
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiorq.execution.memory import OomKills, find_counter
from aiorq.outcome import Raised
from tests.execution.conftest import Executor, lost, traceback_of, value_of

MIB = 1 << 20
LIMIT = 256 * MIB
REFUSED = f"MemoryError (its process may have {LIMIT} bytes of memory)"


@pytest.fixture
async def tight(start_executor: Callable[..., Any]) -> Executor:
    """An executor whose zygote cannot have more memory than it has, but for some MiB."""
    executor: Executor = await start_executor(("tight",))
    return executor


def score() -> int:
    return int(Path("/proc/self/oom_score_adj").read_text())


class TestLimit:
    @pytest.mark.parametrize("function", ["limits.need", "limits.need_async"])
    async def test_enough(self, executor: Executor, function: str) -> None:
        assert value_of(await executor.run(function, 128, memory_limit=LIMIT)) == 128 * MIB

    @pytest.mark.parametrize(
        ("function", "args"),
        [
            ("limits.need", (256,)),
            ("limits.need_async", (256,)),
            ("limits.fill", (MIB,)),
            ("limits.fill", (1000,)),
            ("limits.give", (100,)),
        ],
    )
    async def test_too_much(self, executor: Executor, function: str, args: tuple[int, ...]) -> None:
        outcome = await executor.run(function, *args, memory_limit=LIMIT)
        assert isinstance(outcome, Raised)
        assert outcome.summary == REFUSED
        assert f"MemoryError\nits process may have {LIMIT} bytes of memory\n" in traceback_of(outcome)

    async def test_less_than_it_has(self, executor: Executor) -> None:
        outcome = await executor.run("limits.need", 1, memory_limit=1)
        assert isinstance(outcome, Raised)
        assert "MemoryError" in outcome.summary

    async def test_threads_count(self, executor: Executor) -> None:
        assert value_of(await executor.run("limits.start_threads", 4, memory_limit=LIMIT)) == "started"
        outcome = await executor.run("limits.start_threads", 64, memory_limit=LIMIT)
        assert isinstance(outcome, Raised)

    async def test_children_have_the_same(self, executor: Executor) -> None:
        assert value_of(await executor.run("limits.fill_in_child", memory_limit=LIMIT)) == 7
        assert value_of(await executor.run("limits.fill_in_child")) == 0

    async def test_it_is_the_jobs_alone(self, executor: Executor) -> None:
        ours = resource.getrlimit(resource.RLIMIT_DATA)
        found = value_of(await executor.run("limits.find_limits", memory_limit=LIMIT))
        assert found["data"] == (LIMIT, ours[1])
        assert (await executor.value("limits.find_limits"))["data"] == ours
        assert resource.getrlimit(resource.RLIMIT_DATA) == ours

    async def test_other_errors_say_nothing_of_it(self, executor: Executor) -> None:
        outcome = await executor.run("endings.raise_lines", memory_limit=LIMIT)
        assert isinstance(outcome, Raised)
        assert outcome.summary == "ValueError: one two three"


class TestDeaths:
    async def test_an_abort_at_the_limit(self, executor: Executor) -> None:
        outcome = lost(await executor.run("limits.fill_and_abort", memory_limit=LIMIT))
        assert (outcome.signal, outcome.why) == (signal.SIGABRT, "out of memory")
        assert str(outcome) == "the process that ran the job was killed by signal 6 (SIGABRT): out of memory"

    async def test_an_exit_at_the_limit(self, executor: Executor) -> None:
        outcome = lost(await executor.run("limits.fill_and_exit", memory_limit=LIMIT))
        assert (outcome.exit_code, outcome.why) == (3, "out of memory")

    async def test_far_from_the_limit(self, executor: Executor) -> None:
        outcome = lost(await executor.run("endings.abort", memory_limit=LIMIT))
        assert (outcome.signal, outcome.why) == (signal.SIGABRT, "")

    async def test_the_kernel(self, executor: Executor, tmp_path: Path) -> None:
        counter = tmp_path / "memory.events"
        counter.write_text("low 0\noom 2\noom_kill 2\noom_group_kill 0\n")
        executor.inner._oom_kills = OomKills(counter)
        outcome = lost(await executor.run("limits.be_chosen", str(counter), 3))
        assert (outcome.signal, outcome.why) == (signal.SIGKILL, "out of memory")

    async def test_somebody(self, executor: Executor, tmp_path: Path) -> None:
        counter = tmp_path / "memory.events"
        counter.write_text("oom_kill 2\n")
        executor.inner._oom_kills = OomKills(counter)
        outcome = lost(await executor.run("limits.be_chosen", str(counter), 2))
        assert (outcome.signal, outcome.why) == (signal.SIGKILL, "not sent by the worker")


class TestCounter:
    def test_it_is_read_when_asked(self, tmp_path: Path) -> None:
        counter = tmp_path / "memory.events"
        counter.write_text("oom 7\noom_kill 2\n")
        kills = OomKills(counter)
        assert kills.recent(100.0) == 2
        counter.write_text("oom 7\noom_kill 3\n")
        assert kills.recent(100.9) == 2
        assert kills.count() == 3
        counter.write_text("oom 7\noom_kill 4\n")
        assert kills.recent(101.1) == 4
        counter.unlink()
        assert kills.count() == 4

    def test_there_is_none(self) -> None:
        assert OomKills(None).count() == OomKills(None).recent(1.0) == 0

    @pytest.mark.parametrize(
        ("groups", "expected"),
        [
            ("0::/system.slice/a:b.service\n", "system.slice/a:b.service/memory.events"),
            ("0::/\n", "memory.events"),
            ("5:devices:/\n4:cpu,memory:/docker/1\n0::/elsewhere\n", "memory/docker/1/memory.oom_control"),
        ],
    )
    def test_where_it_is(self, tmp_path: Path, groups: str, expected: str) -> None:
        (tmp_path / "groups").write_text(groups)
        assert find_counter(tmp_path / "groups", tmp_path) is None
        (tmp_path / expected).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / expected).write_text("oom_kill 0\n")
        assert find_counter(tmp_path / "groups", tmp_path) == tmp_path / expected

    def test_no_groups(self, tmp_path: Path) -> None:
        assert find_counter(tmp_path / "groups", tmp_path) is None


class TestTheZygote:
    """One process forks for all jobs: no job may cost it its life."""

    async def test_a_call_that_is_large_when_inflated(self, tight: Executor) -> None:
        await self.refused(tight, bytes(12 * MIB))

    async def test_a_call_that_is_large_at_last(self, tight: Executor) -> None:
        await self.refused(tight, bytes(60 * MIB))

    async def test_a_call_that_is_large(self, tight: Executor) -> None:
        await self.refused(tight, random.randbytes(40 * MIB))

    async def refused(self, executor: Executor, value: bytes) -> None:
        zygote = executor.zygote
        outcome = await executor.run("endings.give", value)
        assert isinstance(outcome, Raised)
        assert "MemoryError" in outcome.summary
        assert "MemoryError" in traceback_of(outcome)
        assert await executor.value("endings.give", 1) == 1
        assert executor.zygote == zygote

    async def test_one_that_is_stopped_meanwhile(self, tight: Executor) -> None:
        zygote = tight.zygote
        order = tight.order("endings.give", random.randbytes(40 * MIB))
        run = asyncio.create_task(tight.inner.execute(order))
        await asyncio.sleep(0)
        tight.inner.stop(order.number, "asked for", 3600)
        outcome = lost(await run)
        assert (outcome.why, outcome.stopped) == ("asked for", True)
        assert tight.zygote == zygote


async def test_no_core_is_dumped() -> None:
    before, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    try:
        async with Executor() as executor:
            assert (await executor.value("limits.find_limits"))["core"] == (0, most)
        assert resource.getrlimit(resource.RLIMIT_CORE) == (most, most)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (before, most))


async def test_jobs_go_before_the_worker_when_memory_runs_out(executor: Executor) -> None:
    ours = score()
    assert await executor.value("limits.find_score") == min(ours + 100, 1000)
