"""`python -m aiorq.worker.cron_child`: import modules of cron entries for a worker, and put the entries into Redis.

What it is told comes from its standard input, a Python literal; how it went it says over a pipe, in a line: `ok`, or
the name of an error and its text.
"""

from __future__ import annotations

import ast
import asyncio
import os
import signal
import sys
from typing import Any

from aiorq.cron.scheduler import CronScheduler
from aiorq.errors import AiorqError
from aiorq.execution.zygote import die_with_parent
from aiorq.store.connection import connect_as
from aiorq.worker.cron import MAX_ANSWER


def main() -> None:
    """Do what standard input says."""
    told: dict[str, Any] = ast.literal_eval(sys.stdin.buffer.read().decode())
    die_with_parent(told["parent"], signal.SIGKILL)
    sys.path[:] = list(dict.fromkeys(told["path"]))
    try:
        asyncio.run(_register(told))
        answer = "ok"
    except AiorqError as error:
        answer = f"{type(error).__name__} {error}"
    line = " ".join(answer.split()).encode(errors="backslashreplace")
    os.write(told["answer"], line[: MAX_ANSWER - 1] + b"\n")


async def _register(told: dict[str, Any]) -> None:
    client = connect_as(told["connection"])
    try:
        scheduler = CronScheduler(client, prefix=told["prefix"])
        for config in told["configs"]:
            scheduler.load_config_from_file(config)
        await scheduler.put()
    finally:
        await client.aclose()


if __name__ == "__main__":
    main()
