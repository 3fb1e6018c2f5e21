"""Processes for the crash tests, forked from one that has everything imported: 5 ms each instead of half a second."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NoReturn

from aiorq import Job, Queue, Worker, connect, doctor
from aiorq.execution.zygote import die_with_parent
from aiorq.group import Group
from aiorq.rate_limit import RateLimit
from tests.crash import faults, points
from tests.crash.points import Point, report
from tests.cron.roles import schedule, use_cron


class _Told(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        report("log", record.getMessage())


def work(url: str, options: dict[str, Any], run: dict[str, Any]) -> None:
    """Be a worker."""
    Worker(connection=url, **options).run(**run)


def enqueue(url: str, calls: Sequence[dict[str, Any]]) -> None:
    """Enqueue jobs, one after the other."""

    async def main() -> None:
        async with connect(url) as client:
            for call in calls:
                await Queue(connection=client).enqueue("deeds.deed", **call)

    asyncio.run(main())


def enqueue_many(url: str, count: int, args: Sequence[Any]) -> None:
    """Enqueue many jobs with one call."""

    async def main() -> None:
        async with connect(url) as client:
            await Queue(connection=client).enqueue_many([Queue.prepare_data("deeds.deed", args)] * count)

    asyncio.run(main())


def enqueue_with_wishes(url: str, args: Sequence[Any]) -> None:
    """Enqueue jobs that ask for more than a place in their queue, and two into a group."""

    async def main() -> None:
        async with connect(url) as client:
            queue = Queue(connection=client)
            await queue.enqueue("deeds.deed", args=args, job_id="child", depends_on=["parent", "unknown"])
            await queue.enqueue_in(timedelta(hours=1), "deeds.deed", args=args, job_id="later")
            for name in ("first", "second"):
                await queue.enqueue("deeds.deed", args=args, job_id=name, rate_limit=RateLimit("api", 1))
            datas = [Queue.prepare_data("deeds.deed", args, job_id=f"member-{number}") for number in (1, 2)]
            await Group(client, "mail").enqueue_many(queue, datas)
            await queue.enqueue("deeds.deed", args=args, job_id="unique", unique=True)

    asyncio.run(main())


def enqueue_family(url: str, queue: str, args: Sequence[Any], names: Sequence[str]) -> None:
    """Enqueue a job and all those that wait for it with one call, these first."""

    async def main() -> None:
        async with connect(url) as client:
            datas = [Queue.prepare_data("deeds.deed", args, job_id=name, depends_on="parent") for name in names]
            parent = Queue.prepare_data("deeds.deed", args, job_id="parent")
            await Queue(queue, connection=client).enqueue_many([*datas, parent])

    asyncio.run(main())


def ask(url: str, asked: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
    """Call methods of jobs, one after the other."""

    async def main() -> None:
        async with connect(url) as client:
            for job_id, method, options in asked:
                await getattr(Job(job_id, client), method)(**options)

    asyncio.run(main())


def mend(url: str) -> None:
    """Look over the books, and put right what is wrong."""

    async def main() -> None:
        async with connect(url) as client:
            await doctor.mend(await doctor.examine(client, settle=0.01), client)

    asyncio.run(main())


ROLES = {
    role.__name__: role
    for role in (
        *(work, enqueue, enqueue_many, enqueue_with_wishes, enqueue_family, ask, mend),
        *(schedule, use_cron),
    )
}


def become(pipe: int, role: str, kill: list[str] | None, hold: list[str] | None, fault: str, **given: Any) -> NoReturn:
    """Play a role in this process, and end it."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        points.install(pipe, Point(*kill) if kill else None, (hold[0], hold[1]) if hold else None)
        if fault:
            faults.install(fault)
        logging.getLogger().addHandler(_Told())
        logging.getLogger().setLevel(logging.INFO)
        ROLES[role](**given)
        code = 0
    except BaseException:  # noqa: BLE001 - the test is told
        report("raised", traceback.format_exc())
    finally:
        os._exit(code)


def main() -> None:
    """Fork a process for each message, until the test's end of the socket is closed."""
    with socket.socket(fileno=int(sys.argv[-1])) as requests:
        points.scripts_by_sha()  # reading them takes a quarter of a second
        _serve(requests)


def _serve(requests: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    me = os.getpid()
    while True:
        message, files, _, _ = socket.recv_fds(requests, 1 << 16, 1)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            die_with_parent(me, signal.SIGKILL)
            requests.close()
            become(files[0], **json.loads(message))
        os.close(files[0])
        requests.send(b"%d" % pid)
