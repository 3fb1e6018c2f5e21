"""The worker that runs jobs in its own process: for tests and debuggers.

    await SimpleWorker(["default"]).work(burst=True)

`work` runs in the caller's event loop, and each job in a thread beside it: a function there, a coroutine in an event
loop of that thread's own. `run` has the main thread run the jobs, as RQ's SimpleWorker does, and an event loop in
another thread look after the worker. Either way leases are renewed and commands are heard whatever the jobs do.

Nothing that runs in the worker's process can be killed. How a job is told to end, and what becomes of one that does not
heed that, says `execution.threads`. A job that ends its process ends the worker.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from types import FrameType
from typing import Any

import anyio

from aiorq.execution.executor import Executor
from aiorq.execution.forking import Zygote
from aiorq.execution.threads import MainThread, ThreadExecutor
from aiorq.inline import close_handles
from aiorq.store.base import Store
from aiorq.worker.worker import Worker


class SimpleWorker(Worker):
    """Takes jobs from queues and runs one at a time in this process, without a fork. It has the options of `Worker`."""

    _forks = False

    def __init__(self, *args: Any, **options: Any) -> None:
        """Describe a worker; the arguments are those of `Worker`.

        Raises:
            ValueError: as for `Worker`; or a `concurrency` above 1.
        """
        super().__init__(*args, **options)
        if self.options.concurrency != 1:
            raise ValueError(f"a SimpleWorker runs one job at a time; concurrency cannot be {self.options.concurrency}")
        self._place: MainThread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heard: deque[int] = deque()

    def _make_executor(self, store: Store, zygote: Zygote | None) -> Executor:  # noqa: ARG002 - there is none
        return ThreadExecutor(self._settings(store), self._place, tidy=close_handles)

    def _run_in_loop(self, main: Callable[[], Awaitable[bool]]) -> bool:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("run() takes the main thread; within another one, await work() in an event loop")
        place = self._place = MainThread()
        ended: list[bool] = []
        failed: list[BaseException] = []

        def supervise() -> None:
            try:
                ended.append(anyio.run(main, backend_options={"use_uvloop": True}))
            except BaseException as error:  # noqa: BLE001 - it is raised below
                failed.append(error)
            finally:
                place.end()

        thread = threading.Thread(target=supervise, name="aiorq worker")
        with ExitStack() as stack:
            stack.callback(setattr, self, "_place", None)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                before = signal.signal(number, self._pass_on)
                stack.callback(signal.signal, number, signal.SIG_DFL if before is None else before)
            thread.start()
            try:
                place.serve()
            finally:
                thread.join()
        if failed:
            raise failed[0]
        return ended[0]

    def _handle_signals(self, stack: ExitStack) -> None:
        if self._place is None:
            super()._handle_signals(stack)
            return
        self._loop = asyncio.get_running_loop()
        stack.callback(setattr, self, "_loop", None)
        self._heed()  # what came before

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        """Hear a signal in the main thread, for the event loop in the other one."""
        self._heard.append(number)
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(self._heed)

    def _heed(self) -> None:
        while self._heard:
            self._on_signal(self._heard.popleft())
