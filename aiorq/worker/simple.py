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
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Final

import anyio

from aiorq.execution.executor import Executor
from aiorq.execution.forking import Zygote
from aiorq.execution.threads import MainThread, ThreadExecutor
from aiorq.inline import close_handles
from aiorq.store.base import Store
from aiorq.worker.supervisor import Supervisor
from aiorq.worker.worker import Worker

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class InProcess(Supervisor):
    """A worker, whatever API it belongs to, that runs one job at a time in this process, without a fork."""

    _forks = False
    _place: MainThread | None = None
    _heard = -1

    def _check_options(self) -> None:
        if self.options.concurrency != 1:
            raise ValueError(f"a SimpleWorker runs one job at a time; concurrency cannot be {self.options.concurrency}")

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
            self._heard = self._hear_signals(stack)
            thread.start()
            try:
                place.serve()
            finally:
                thread.join()
        if failed:
            raise failed[0]
        return ended[0]

    @staticmethod
    def _hear_signals(stack: ExitStack) -> int:
        """A descriptor from which the numbers of signals can be read, whatever the main thread does."""
        heard, told = os.pipe()
        for descriptor in (heard, told):
            stack.callback(os.close, descriptor)
            os.set_blocking(descriptor, False)
        before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        stack.callback(signal.set_wakeup_fd, before)
        for number in _SIGNALS:
            handler = signal.signal(number, lambda *_: None)
            stack.callback(signal.signal, number, signal.SIG_DFL if handler is None else handler)
        return heard

    def _handle_signals(self, stack: ExitStack) -> None:
        if self._place is None:
            super()._handle_signals(stack)
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(self._heard, self._heed)
        stack.callback(loop.remove_reader, self._heard)

    def _heed(self) -> None:
        for number in os.read(self._heard, 4096):
            if number in _SIGNALS:
                self._on_signal(number)


class SimpleWorker(InProcess, Worker):
    """Takes jobs from queues and runs one at a time in this process, without a fork. It has the options of `Worker`."""
