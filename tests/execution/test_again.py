"""What a function may return and raise beside the ordinary: a `Retry`, and exceptions of many classes."""

from __future__ import annotations

import base64
import pickle
import signal
from dataclasses import replace
from typing import Any

import pytest
import rq

from aiorq.outcome import Again, Raised, Returned
from tests.execution.conftest import Executor, lost, value_of


class TestRetry:
    @pytest.mark.parametrize("function", ["give_ours", "give_subclass"])
    async def test_it_is_asked_for(self, executor: Executor, function: str) -> None:
        options: dict[str, Any] = {"max": 3, "interval": [1, 20], "enqueue_at_front": True}
        assert await executor.run(f"again.{function}", **options) == Again(3, (1, 20), True)
        assert await executor.run(f"again.{function}", max=1) == Again(1, (0,), False)

    async def test_that_of_rq_is_kept_as_rq_keeps_it(self, executor: Executor) -> None:
        outcome = await executor.run("again.give_theirs", max=3, interval=[1, 20], enqueue_at_front=True)
        assert isinstance(outcome, Again)
        assert replace(outcome, value=b"") == Again(3, (1, 20), True)
        kept = pickle.loads(base64.b64decode(outcome.value))
        assert type(kept) is rq.Retry
        assert (kept.max, kept.intervals, kept.enqueue_at_front) == (3, [1, 20], True)

    @pytest.mark.parametrize("function", ["give_other", "give_class"])
    async def test_what_is_none(self, executor: Executor, function: str) -> None:
        """An object of another class of that name, and the class itself."""
        outcome = await executor.run(f"again.{function}")
        assert isinstance(outcome, Returned)
        assert outcome.warning == ""

    @pytest.mark.parametrize(
        ("name", "value"),
        [("max", 0), ("max", "three"), ("intervals", [-1]), ("intervals", [1.5]), ("intervals", None)],
    )
    async def test_one_that_cannot_be_read(self, executor: Executor, name: str, value: object) -> None:
        outcome = await executor.run("again.give_odd", name, value)
        assert isinstance(outcome, Raised)
        assert outcome.summary.startswith(("ValueError: the job returned a Retry", "TypeError"))


async def test_the_classes_of_an_exception(executor: Executor) -> None:
    outcome = await executor.run("endings.write_to_closed_pipe")
    assert isinstance(outcome, Raised)
    assert outcome.kinds == ("BrokenPipeError", "ConnectionError", "OSError", "Exception", "BaseException")
    outcome = await executor.run("endings.raise_leaving")
    assert isinstance(outcome, Raised)
    assert outcome.kinds == ("endings.LeavingError", "Exception", "BaseException")


async def test_what_a_process_used(executor: Executor) -> None:
    outcome = lost(await executor.run("endings.leave", 3))
    assert outcome.pid not in (None, executor.zygote)
    assert outcome.usage is not None
    assert (len(outcome.usage), outcome.usage[2]) == (16, outcome.peak_kib)
    outcome = lost(await executor.run("endings.signal_self", signal.SIGKILL))
    assert outcome.pid is not None
    assert str(outcome).startswith("the process that ran the job was killed by signal 9")


async def test_what_follows_is_undisturbed(executor: Executor) -> None:
    for number in range(3):
        lost(await executor.run("endings.leave", 3))
        assert value_of(await executor.run("endings.give", number)) == number
