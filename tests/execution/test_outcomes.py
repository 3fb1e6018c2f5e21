"""However a function ends, the outcome says so exactly, and the executor goes on."""

from __future__ import annotations

import base64
import signal

import pytest

from aiorq.ending import TRACEBACK_LIMIT
from aiorq.outcome import Lost, Raised, Returned
from tests.execution.conftest import Executor, lost, traceback_of, value_of


class TestReturned:
    @pytest.mark.parametrize("function", ["endings.give", "endings.give_async"])
    @pytest.mark.parametrize("value", [None, 0, "", [1, {"two": b"3"}], "\ud800"], ids=repr)
    async def test_values(self, executor: Executor, function: str, value: object) -> None:
        outcome = await executor.run(function, value)
        assert value_of(outcome) == value
        assert isinstance(outcome, Returned)
        assert outcome.warning == ""

    async def test_none_is_empty(self, executor: Executor) -> None:
        assert await executor.run("endings.give", None) == Returned(b"")

    async def test_16_megabytes_both_ways(self, executor: Executor) -> None:
        value = bytes(range(256)) * (1 << 16)
        assert await executor.value("endings.give", value) == value

    async def test_more_than_is_kept(self, executor: Executor) -> None:
        outcome = await executor.run("endings.give_bytes", 70 << 20)
        assert isinstance(outcome, Raised)
        assert outcome.summary.startswith("PayloadTooLargeError: the result has 734")

    async def test_what_cannot_be_serialised(self, executor: Executor) -> None:
        outcome = await executor.run("endings.give_function")
        assert value_of(outcome) == "Unserializable return value"
        assert isinstance(outcome, Returned)
        assert outcome.warning.startswith("its result, a function, cannot be serialised: ")

    async def test_a_warning_that_is_not_unicode(self, executor: Executor) -> None:
        outcome = await executor.run("endings.give_half_text")
        assert value_of(outcome) == "Unserializable return value"
        assert isinstance(outcome, Returned)
        assert outcome.warning == "its result, a HalfText, cannot be serialised: ValueError: ? half"

    async def test_pickling_that_never_ends(self, executor: Executor) -> None:
        outcome = await executor.run("endings.give_slow", timeout=1)
        assert lost(outcome).why == "timeout"

    @pytest.mark.parametrize("function", ["endings.fork_and_return", "endings.fork_and_raise"])
    async def test_a_forked_process_that_comes_back(self, executor: Executor, function: str) -> None:
        assert await executor.value(function) == "parent"


class TestRaised:
    @pytest.mark.parametrize(
        ("function", "args", "summary"),
        [
            ("endings.exit_with", (3,), "SystemExit: 3"),
            ("endings.interrupt", (), "KeyboardInterrupt"),
            ("endings.recurse", (), "RecursionError: maximum recursion depth exceeded"),
            ("endings.exhaust_memory", (), "MemoryError"),
            ("endings.raise_unprintable", (), "UnprintableError: <unprintable>"),
            ("endings.raise_leaving", (), "LeavingError: <unprintable>"),
            ("endings.raise_half_text", (), "ValueError: half ? text"),
            ("endings.raise_lines", (), "ValueError: one two three"),
            ("endings.raise_nothing", (), "ValueError"),
            ("endings.write_to_closed_pipe", (), "BrokenPipeError: [Errno 32] Broken pipe"),
            ("endings.give", (), "TypeError: give() missing 1 required positional argument: 'value'"),
            ("endings.no_such", (), "FunctionNotFoundError: "),
            ("no_such_module.function", (), "FunctionNotFoundError: "),
            ("broken.function", (), "FunctionNotFoundError: "),
        ],
    )
    async def test_summary_and_traceback(
        self, executor: Executor, function: str, args: tuple[object, ...], summary: str
    ) -> None:
        outcome = await executor.run(function, *args)
        assert isinstance(outcome, Raised)
        assert outcome.summary.startswith(summary)
        assert "\n" not in outcome.summary
        text = traceback_of(outcome)
        assert text.startswith("Traceback (most recent call last):\n")
        assert summary.partition(":")[0] in text

    async def test_20_megabytes_of_message(self, executor: Executor) -> None:
        outcome = await executor.run("endings.raise_long")
        assert isinstance(outcome, Raised)
        assert outcome.summary.startswith("ValueError: begin x x")
        assert len(outcome.summary) < 300
        text = traceback_of(outcome)
        assert text.startswith("Traceback")
        assert text.endswith("x end\n")
        assert "characters left out" in text
        assert len(text) < TRACEBACK_LIMIT + 100

    async def test_half_a_surrogate_pair(self, executor: Executor) -> None:
        assert traceback_of(await executor.run("endings.raise_half_text")).endswith("half \\udc80 text\n")

    async def test_a_group(self, executor: Executor) -> None:
        outcome = await executor.run("endings.raise_group")
        text = traceback_of(outcome)
        assert "ExceptionGroup: many (2 sub-exceptions)" in text
        assert "ValueError: first" in text
        assert "KeyError: 'second'" in text

    async def test_a_chain_of_1000(self, executor: Executor) -> None:
        outcome = await executor.run("endings.raise_chain", 1000)
        assert isinstance(outcome, Raised)
        assert outcome.summary == "ValueError: link 999"
        text = traceback_of(outcome)
        assert "ValueError: link 0\n" in text
        assert text.endswith("ValueError: link 999\n")
        assert len(text) < TRACEBACK_LIMIT + 100

    async def test_a_call_that_cannot_be_read(self, executor: Executor) -> None:
        order = executor.order("endings.give", 1)._replace(fields={b"data": b"not a call"})
        outcome = await executor.inner.execute(order)
        assert isinstance(outcome, Raised)
        assert outcome.summary.startswith("DeserializationError: ")

    async def test_a_job_without_a_call(self, executor: Executor) -> None:
        outcome = await executor.inner.execute(executor.order("endings.give", 1)._replace(fields={}))
        assert isinstance(outcome, Raised)


class TestLost:
    @pytest.mark.parametrize(
        ("function", "args", "expected", "text"),
        [
            ("endings.leave", (3,), Lost(exit_code=3), "exited with code 3 before the job had ended"),
            ("endings.leave", (0,), Lost(exit_code=0), "exited with code 0 before the job had ended"),
            ("endings.segfault", (), Lost(signal=signal.SIGSEGV), "was killed by signal 11 (SIGSEGV)"),
            ("endings.abort", (), Lost(signal=signal.SIGABRT), "was killed by signal 6 (SIGABRT)"),
            (
                "endings.signal_self",
                (signal.SIGKILL,),
                Lost(signal=9, why="not sent by the worker"),
                "was killed by signal 9 (SIGKILL): not sent by the worker",
            ),
            ("endings.signal_self", (signal.SIGTERM,), Lost(signal=15), "was killed by signal 15 (SIGTERM)"),
            ("endings.signal_self", (40,), Lost(signal=40), "was killed by signal 40"),
            ("endings.close_descriptors", (), Lost(exit_code=1), "exited with code 1 before the job had ended"),
        ],
    )
    async def test_code_or_signal(
        self, executor: Executor, function: str, args: tuple[object, ...], expected: Lost, text: str
    ) -> None:
        outcome = lost(await executor.run(function, *args))
        assert (outcome.exit_code, outcome.signal, outcome.why) == (expected.exit_code, expected.signal, expected.why)
        assert str(outcome) == f"the process that ran the job {text}"
        assert outcome.peak_kib > 1000
        assert await executor.value("endings.give", "goes on") == "goes on"

    async def test_ctrl_c_of_its_own(self, executor: Executor) -> None:
        outcome = await executor.run("endings.signal_self", signal.SIGINT)
        assert isinstance(outcome, Raised)
        assert outcome.summary == "KeyboardInterrupt"


async def test_the_traceback_is_what_rq_stores(executor: Executor) -> None:
    outcome = await executor.run("endings.exit_with", 3)
    assert isinstance(outcome, Raised)
    assert base64.b64decode(outcome.traceback)[:1] == b"\x78"  # zlib
