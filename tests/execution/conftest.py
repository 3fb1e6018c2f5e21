"""Executors, short ways to run a function on them, and fifos to talk with the jobs."""

from __future__ import annotations

import asyncio
import base64
import os
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import pytest

from aiorq.call import Call, encode_call
from aiorq.execution.forking import ForkExecutor, Zygote
from aiorq.execution.horse import Context, Order
from aiorq.execution.zygote import Settings
from aiorq.outcome import Lost, Outcome, Raised, Returned
from aiorq.record import decode_traceback
from aiorq.serializers import PickleSerializer
from tests.execution.processes import Fifo, Process

FUNCTIONS = str(Path(__file__).parent / "functions")


class Executor:
    """An executor that runs functions by name."""

    def __init__(
        self,
        preload: tuple[str, ...] = (),
        *,
        path: tuple[str, ...] = (FUNCTIONS,),
        zygote: Zygote | None = None,
        timeout_grace: float = 0.1,
    ) -> None:
        context = Context("a-worker", "pickle", "rq", {})
        settings = Settings(context, list(path), list(preload))
        self.inner = ForkExecutor(settings, zygote, timeout_grace=timeout_grace)

    async def __aenter__(self) -> Self:
        try:
            await self.inner.start()
        except BaseException:
            await self.inner.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.inner.close()

    @property
    def zygote(self) -> int:
        """The process id of the zygote."""
        assert self.inner.zygote_pid is not None
        return self.inner.zygote_pid

    def order(self, function: str, *args: Any, timeout: int = 30, memory_limit: int = 0, **kwargs: Any) -> Order:
        """What the zygote is asked for."""
        data = encode_call(Call(function, None, args, kwargs), PickleSerializer())
        return Order(self.inner.next_number(), "a-job", "an-execution", timeout, {b"data": data}, memory_limit)

    async def run(self, function: str, *args: Any, timeout: int = 30, memory_limit: int = 0, **kwargs: Any) -> Outcome:
        """Run a function and say how it ended."""
        order = self.order(function, *args, timeout=timeout, memory_limit=memory_limit, **kwargs)
        return await self.inner.execute(order)

    def start(self, function: str, *args: Any, timeout: int = 30) -> asyncio.Task[Outcome]:
        """Begin to run a function."""
        return asyncio.create_task(self.run(function, *args, timeout=timeout))

    async def value(self, function: str, *args: Any) -> Any:
        """What a function returns."""
        return value_of(await self.run(function, *args))


def value_of(outcome: Outcome) -> Any:
    """What a function returned."""
    assert isinstance(outcome, Returned), outcome
    return pickle.loads(base64.b64decode(outcome.value)) if outcome.value else None


def traceback_of(outcome: Outcome) -> str:
    """The traceback of a function that raised."""
    assert isinstance(outcome, Raised), outcome
    return decode_traceback(base64.b64decode(outcome.traceback))


def lost(outcome: Outcome) -> Lost:
    """The outcome of a process that ended without one."""
    assert isinstance(outcome, Lost), outcome
    return outcome


@pytest.fixture
async def executor() -> AsyncIterator[Executor]:
    """An executor that has started."""
    async with Executor() as started:
        yield started


@pytest.fixture
async def start_executor() -> AsyncIterator[Callable[..., Any]]:
    """Starts further executors, with other settings."""
    async with AsyncExitStack() as stack:

        async def start(*args: Any, **kwargs: Any) -> Executor:
            return await stack.enter_async_context(Executor(*args, **kwargs))

        yield start


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Fifo]:
    """A fifo that jobs write to."""
    fifo = Fifo(tmp_path / "told")
    yield fifo
    fifo.close()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Fifo]:
    """A fifo that jobs wait at."""
    fifo = Fifo(tmp_path / "gate")
    yield fifo
    fifo.close()


@pytest.fixture
def me() -> Process:
    """This process."""
    return Process(os.getpid())
