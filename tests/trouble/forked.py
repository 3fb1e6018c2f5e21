"""What becomes of a client when its process forks; a script, since the process of the tests may have threads."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from redis.asyncio import Redis

from aiorq import Job, Queue, connect
from aiorq.errors import WrongLoopError


async def made(url: str) -> Redis:
    return connect(url)


def is_not_shared(url: str) -> None:
    """Neither process reads the answers of the other one."""

    async def use(number: int) -> tuple[Any, ...]:
        job = await queue.enqueue("jobs.add", number)
        return (await Job.fetch(job.id, client)).args

    async def wait() -> object:
        return await Job("never", client).latest_result(timeout=1)

    def complaints(runner: asyncio.Runner) -> list[str]:
        found = []
        for call in (lambda: use(1), wait, queue.count):
            try:
                runner.run(call())
            except WrongLoopError as error:
                found.append(str(error))
        return found

    with asyncio.Runner() as runner:
        client = runner.run(made(url))
        queue = Queue(connection=client)
        assert runner.run(use(1)) == (1,)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                with asyncio.Runner() as other:
                    found = [*complaints(runner), *complaints(other)]
                os.write(writer, b"\n".join(line.encode() for line in found))
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            told = pipe.read().splitlines()
        os.waitpid(child, 0)
        assert len(told) == 6, told
        assert all("forked from" in line for line in told), told
        for number in range(3):
            assert runner.run(use(number)) == (number,)
        runner.run(client.aclose())


def of_its_own_works(url: str) -> None:
    """Both processes may make one each."""

    async def use_once() -> int:
        client = connect(url)
        try:
            queue = Queue("forked", client)
            await client.delete("rq:queue:forked")
            await queue.enqueue("jobs.add", 1)
            return await queue.count()
        finally:
            await client.aclose()

    assert asyncio.run(use_once()) == 1
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if asyncio.run(use_once()) == 1 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


if __name__ == "__main__":
    {"not-shared": is_not_shared, "own": of_its_own_works}[sys.argv[1]](sys.argv[2])
    print("done")
