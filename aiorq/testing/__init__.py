"""A kit for testing applications that enqueue jobs: a real server, a place for each test, and no waiting.

    from aiorq.testing import Sandbox

    with Sandbox() as sandbox:
        await sandbox.queue().enqueue(send, "Ada")
        sandbox.assert_enqueued(send, args=["Ada"])
        await sandbox.work()

`Sandbox` is all that is needed in plain code. `SandboxMixin` brings it into `unittest` and Django's test cases, and the
fixtures of `aiorq.testing.plugin` into pytest.

    place      the server of a process, and the prefix of a test
    sandbox    what a test does there; `blocking` is the same over `aiorq.sync`
    calls      what was enqueued, and assertions
    running    runs jobs in the test's own process; `forks` has them run by workers
    waiting    waits for what workers do
    clock      moves the time
"""

from __future__ import annotations

from aiorq.testing.blocking import SyncSide
from aiorq.testing.calls import Calls, EnqueuedCall
from aiorq.testing.case import SandboxMixin
from aiorq.testing.clock import Clock
from aiorq.testing.failures import Failure, JobFailed
from aiorq.testing.place import server_url
from aiorq.testing.sandbox import Sandbox
from aiorq.testing.waiting import WaitTimeout

__all__ = [
    "Calls",
    "Clock",
    "EnqueuedCall",
    "Failure",
    "JobFailed",
    "Sandbox",
    "SandboxMixin",
    "SyncSide",
    "WaitTimeout",
    "server_url",
]
