"""What all executors have in common, and what jobs in this process, which nothing can kill, have of their own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import pytest

from aiorq.execution.horse import Context
from aiorq.execution.threads import MainThread, ThreadExecutor, ThreadExecutorError
from aiorq.execution.zygote import Settings
from aiorq.outcome import Again, Lost, NotBegun, Outcome, Raised, Returned
from tests.execution.conftest import FUNCTIONS, Executor, lost, traceback_of, value_of
from tests.execution.processes import LIMIT, Fifo

TOLD = "JobTimeoutException: the job ran longer than its timeout of 1 seconds"
Start: TypeAlias = Callable[..., Any]


class Threads(Executor):
    """An executor whose jobs run in threads of this process."""

    def __init__(self, preload: tuple[str, ...] = (), *, timeout_grace: float = 0.1) -> None:
        context = Context("a-worker", "pickle", "rq", {})
        settings = Settings(context, [FUNCTIONS], list(preload))
        self.inner = ThreadExecutor(settings, timeout_grace=timeout_grace)  # type: ignore[assignment]

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        for thread in job_threads():
            await asyncio.to_thread(thread.join, LIMIT)
        assert job_threads() == []


def job_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("aiorq job")]


@pytest.fixture
async def threads() -> AsyncIterator[Executor]:
    async with Threads() as started:
        yield started


@pytest.fixture(params=[Executor, Threads], ids=["fork", "threads"])
async def any_executor(request: pytest.FixtureRequest) -> AsyncIterator[Executor]:
    """Executors that give jobs much time to end, one of each kind."""
    async with request.param(timeout_grace=20) as started:
        yield started


@pytest.fixture(params=[Executor, Threads], ids=["fork", "threads"])
def any_kind(request: pytest.FixtureRequest) -> Any:
    return request.param


class TestEnds:
    @pytest.mark.parametrize("function", ["endings.give", "endings.give_async"])
    @pytest.mark.parametrize("value", [None, 0, [1, {"two": b"3"}]], ids=repr)
    async def test_values(self, any_executor: Executor, function: str, value: object) -> None:
        outcome = await any_executor.run(function, value)
        assert isinstance(outcome, Returned)
        assert value_of(outcome) == value
        assert outcome.warning == ""

    async def test_what_cannot_be_serialised(self, any_executor: Executor) -> None:
        outcome = await any_executor.run("endings.give_function")
        assert isinstance(outcome, Returned)
        assert value_of(outcome) == "Unserializable return value"
        assert outcome.warning.startswith("its result, a function, cannot be serialised: ")

    @pytest.mark.parametrize(
        ("function", "args", "summary"),
        [
            ("endings.exit_with", (3,), "SystemExit: 3"),
            ("endings.interrupt", (), "KeyboardInterrupt"),
            ("endings.raise_unprintable", (), "UnprintableError: <unprintable>"),
            ("endings.raise_nothing", (), "ValueError"),
            ("no_such_module.function", (), "FunctionNotFoundError: "),
        ],
    )
    async def test_exceptions(
        self, any_executor: Executor, function: str, args: tuple[object, ...], summary: str
    ) -> None:
        outcome = await any_executor.run(function, *args)
        assert isinstance(outcome, Raised)
        assert outcome.summary.startswith(summary)
        assert summary.partition(":")[0] in traceback_of(outcome)
        assert outcome.kinds[-1] == "BaseException"

    @pytest.mark.parametrize("function", ["endings.fork_and_return", "endings.fork_and_raise"])
    async def test_a_forked_process_that_comes_back(self, any_executor: Executor, function: str) -> None:
        assert await any_executor.value(function) == "parent"

    async def test_many_at_once(self, any_executor: Executor) -> None:
        outcomes = await asyncio.gather(*(any_executor.value("endings.give", number) for number in range(20)))
        assert outcomes == list(range(20))

    async def test_a_wish_to_run_again(self, any_executor: Executor) -> None:
        outcome = await any_executor.inner.execute(any_executor.order("again.give_ours", max=3, interval=[1, 2]))
        assert outcome == Again(3, (1, 2), False)

    async def test_a_module_that_is_not_there(self, any_kind: Any) -> None:
        with pytest.raises(Exception, match="no_such_module"):
            async with any_kind(("no_such_module",)):
                pass

    async def test_after_the_end(self, any_kind: Any) -> None:
        async with any_kind() as executor:
            pass
        assert isinstance(await executor.run("endings.give", 1), NotBegun)


class TestTimeouts:
    @pytest.mark.parametrize("function", ["spin", "hang_async"])
    async def test_the_job_is_told(self, any_executor: Executor, function: str) -> None:
        outcome = await any_executor.run(f"waiting.{function}", timeout=1)
        assert isinstance(outcome, Raised)
        assert outcome.summary == TOLD
        assert traceback_of(outcome).endswith(f"aiorq.errors.{TOLD}\n")
        assert "aiorq.errors.JobTimeoutException" in outcome.kinds

    async def test_a_coroutine_cleans_up(self, any_executor: Executor, told: Fifo) -> None:
        outcome = await any_executor.run("waiting.clean_up", told.path, timeout=1)
        assert await told.line() == "cleaned up"
        assert isinstance(outcome, Raised)
        assert outcome.summary == TOLD

    async def test_what_goes_on_is_lost(self, any_kind: Any, told: Fifo, gate: Fifo) -> None:
        async with any_kind(timeout_grace=0.1) as executor:
            outcome = lost(await executor.run("stopping.clean_up", told.path, gate.path, timeout=1))
            gate.let()
        assert (outcome.why, outcome.stopped) == ("timeout", False)


class TestStopping:
    @pytest.mark.parametrize("function", ["waiting.hang_async", "stopping.clean_up"])
    async def test_a_coroutine_is_cancelled(self, any_executor: Executor, told: Fifo, function: str) -> None:
        run = any_executor.start(function, told.path)
        await told.line()
        any_executor.inner.stop(any_executor.inner._last_number, "asked for", 20)
        outcome = lost(await run)
        assert (outcome.why, outcome.stopped) == ("asked for", True)
        assert (await told.line() == "cancelled") if function == "stopping.clean_up" else True

    async def test_what_it_returns_does_not_count(self, any_executor: Executor, told: Fifo, gate: Fifo) -> None:
        run = any_executor.start("stopping.clean_up", told.path, gate.path)
        await told.line()
        any_executor.inner.stop(any_executor.inner._last_number, "asked for", 20)
        assert await told.line() == "cancelled"
        gate.let()
        assert await told.line() == "cleaned up"
        outcome = lost(await run)
        assert (outcome.why, outcome.stopped) == ("asked for", True)

    async def test_the_first_reason_counts(self, any_executor: Executor, told: Fifo, gate: Fifo) -> None:
        run = any_executor.start("stopping.clean_up", told.path, gate.path)
        await told.line()
        number = any_executor.inner._last_number
        any_executor.inner.stop(number, "first", 20)
        assert await told.line() == "cancelled"
        any_executor.inner.stop(number, "second", 0)
        outcome = lost(await run)
        gate.let()
        assert (outcome.why, outcome.stopped) == ("first", True)

    async def test_all(self, any_executor: Executor, told: Fifo) -> None:
        runs = [any_executor.start("waiting.hang_async", told.path) for _ in range(3)]
        for _ in runs:
            await told.line()
        any_executor.inner.kill_all("the end")
        assert [lost(outcome).why for outcome in await asyncio.gather(*runs)] == ["the end"] * 3

    async def test_numbers_that_do_not_run(self, any_executor: Executor) -> None:
        await any_executor.value("endings.give", 1)
        any_executor.inner.stop(any_executor.inner._last_number, "late", 1)
        any_executor.inner.kill(99, "unknown")
        assert await any_executor.value("endings.give", 2) == 2

    async def test_the_end_of_the_executor(self, any_kind: Any, told: Fifo) -> None:
        async with any_kind() as executor:
            run = executor.start("waiting.hang_async", told.path)
            await told.line()
        assert lost(await run).why == "the worker ended"


class TestThreads:
    async def test_jobs_run_in_this_process(self, threads: Executor) -> None:
        assert await threads.value("os.getpid") == os.getpid()
        assert await threads.value("threading.get_ident") != threading.get_ident()

    async def test_a_function_is_stopped(self, threads: Executor, told: Fifo) -> None:
        run = threads.start("precise.count_for_ever", told.path)
        await told.line()
        threads.inner.stop(1, "asked for", 20)
        outcome = lost(await run)
        assert (outcome.why, outcome.stopped) == ("asked for", True)

    async def test_one_that_starts_threads_is_stopped(self, threads: Executor, told: Fifo) -> None:
        """Its exception does not go to a thread that has not begun, whose begin it would wait for, for ever."""
        for number in range(1, 11):
            run = threads.start("precise.start_threads", told.path)
            await told.line()
            threads.inner.stop(number, "asked for", 20)
            assert lost(await run).why == "asked for"

    # The exception may come while the function opens a file, which is then nobody's to close.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    async def test_what_cannot_be_interrupted_is_left_to_itself(
        self, threads: Executor, told: Fifo, gate: Fifo, caplog: pytest.LogCaptureFixture
    ) -> None:
        run = threads.start("precise.endure", told.path, gate.path)
        await told.line()
        threads.inner.kill(1, "asked for")
        outcome = await run
        assert outcome == Lost(why="asked for")
        assert "job a-job cannot be interrupted (asked for)" in caplog.text
        # It goes on.
        (thread,) = job_threads()
        gate.let(2)
        await asyncio.to_thread(thread.join, LIMIT)
        assert not thread.is_alive()
        assert await threads.value("endings.give", 1) == 1

    async def test_an_exception_that_comes_too_late_is_taken_back(self, threads: Executor) -> None:
        """Jobs that end at their deadline, one way or the other: none takes the next one with it."""
        await threads.value("precise.count_for", 0)
        runs = [threads.start("precise.count_for", 0.999 + number / 10_000, timeout=1) for number in range(20)]
        for outcome in await asyncio.gather(*runs):
            assert isinstance(outcome, (Returned, Raised))
            assert isinstance(outcome, Returned) or outcome.summary == TOLD
        assert await threads.value("endings.give", 1) == 1

    async def test_modules_that_break(self) -> None:
        with pytest.raises(ThreadExecutorError, match="cannot use broken as a module: "):
            async with Threads(("broken",)):
                pass


class TestMainThread:
    def serve(self, *calls: tuple[str, tuple[Any, ...], int], during: Callable[[Any], None] | None = None) -> Any:
        """Run jobs in the main thread, which this is, from an event loop in another one."""
        place = MainThread()
        outcomes: list[Outcome] = []

        async def work() -> None:
            context = Context("a-worker", "pickle", "rq", {})
            executor = Threads()
            executor.inner = ThreadExecutor(  # type: ignore[assignment]
                Settings(context, [FUNCTIONS], []), place, timeout_grace=20
            )
            async with executor:
                for function, args, timeout in calls:
                    run = executor.start(function, *args, timeout=timeout)
                    if during is not None:
                        await asyncio.sleep(0)
                        during(executor.inner)
                    outcomes.append(await run)

        def loop() -> None:
            try:
                asyncio.run(work())
            finally:
                place.end()

        thread = threading.Thread(target=loop)
        thread.start()
        place.serve()
        thread.join()
        return outcomes

    def test_jobs_run_there(self) -> None:
        main, process = self.serve(("threading.get_ident", (), 30), ("os.getpid", (), 30))
        assert value_of(main) == threading.get_ident()
        assert value_of(process) == os.getpid()

    @pytest.mark.parametrize("function", ["block", "spin", "hang_async", "block_async", "run_loop"])
    def test_timeouts_end_what_waits_in_the_system_too(self, function: str) -> None:
        outcome, after = self.serve((f"waiting.{function}", (), 1), ("endings.give", (1,), 30))
        assert outcome.summary == TOLD
        assert value_of(after) == 1

    def test_so_does_a_stop(self) -> None:
        outcome, *_ = self.serve(("waiting.block", (), 30), during=lambda executor: executor.stop(1, "asked for", 0))
        assert (outcome.why, outcome.stopped) == ("asked for", True)
