"""`aiorq requeue`, `empty`, `suspend`, `resume`, `pause` and `unpause`."""

from __future__ import annotations

import json
from collections.abc import Callable

import jobs
import pytest
from redis.asyncio import Redis

from aiorq import Queue
from aiorq.suspension import is_suspended
from tests.cli.conftest import Run, Start
from tests.cli.stage import damage, fill
from tests.cli.terminal import Terminal

Open = Callable[..., Terminal]


async def fail_many(connection: Redis, number: int) -> Queue:
    """Failed jobs, put in their places by hand."""
    queue = Queue("shop", connection)
    made = await queue.enqueue_many([Queue.prepare_data(jobs.nothing, job_id=f"job-{each}") for each in range(number)])
    await connection.delete(queue.key)
    await connection.zadd("rq:failed:shop", {job.id: 4_102_444_800 for job in made})
    for job in made:
        await connection.hset(job.key, "status", "failed")
    return queue


class TestRequeue:
    async def test_by_ids(self, run: Run, connection: Redis) -> None:
        queue = await fill(connection)
        done = run("requeue", "--queue", "shop", "failed-2", "failed-1")
        assert (done.returncode, done.stdout, done.stderr) == (0, "2 jobs requeued on shop\n", "")
        assert (await queue.get_job_ids())[-2:] == ["failed-2", "failed-1"]

    async def test_at_the_front(self, run: Run, connection: Redis) -> None:
        queue = await fill(connection)
        assert run("requeue", "--queue", "shop", "--at-front", "failed-1").stdout == "1 job requeued on shop\n"
        assert (await queue.get_job_ids())[0] == "failed-1"

    async def test_unknown_ids_get_a_line_each(self, run: Run, connection: Redis) -> None:
        queue = await fill(connection)
        done = run("requeue", "--queue", "shop", "ghost", "failed-1", "queued-1")
        assert (done.returncode, done.stdout) == (1, "1 job requeued on shop\n")
        ghost, queued = done.stderr.splitlines()
        assert ghost == "aiorq: no job 'ghost': it was never enqueued, was deleted, or has expired"
        assert "job 'queued-1' cannot be requeued: it is not among the failed jobs" in queued
        assert (await queue.get_job_ids())[-1] == "failed-1"

    async def test_all(self, run: Run, connection: Redis) -> None:
        queue = await fill(connection)
        await damage(connection)  # a ghost among the failed jobs
        done = run("requeue", "--queue", "shop", "-a")
        assert (done.returncode, done.stdout, done.stderr) == (0, "2 jobs requeued on shop\n", "")
        assert set(await queue.get_job_ids()) >= {"failed-1", "failed-2"}
        assert await queue.failed_job_registry.get_job_ids() == ["ghost"]

    async def test_json(self, run: Run, connection: Redis) -> None:
        await fill(connection)
        done = run("requeue", "--queue", "shop", "failed-1", "ghost", "--json")
        told = json.loads(done.stdout)
        (refused,) = told.pop("refused")
        assert (done.returncode, told) == (1, {"queue": "shop", "requeued": 1})
        assert refused["id"] == "ghost"
        assert "no job 'ghost'" in refused["error"]
        assert json.loads(run("requeue", "--queue", "shop", "--all", "--json").stdout) == {
            "queue": "shop",
            "requeued": 1,
            "refused": [],
        }

    async def test_nothing_to_do(self, run: Run, connection: Redis) -> None:
        done = run("requeue", "--queue", "shop")
        assert done.returncode == 0  # as in RQ
        assert "Nothing to do" in done.stdout
        assert run("requeue", "failed-1").returncode == 2
        assert run("requeue", "--queue", "a,b", "--all").returncode == 2

    async def test_bar_on_a_terminal_only(self, run: Run, terminal: Open, connection: Redis) -> None:
        await fail_many(connection, 2000)
        screen = terminal("requeue", "--queue", "shop", "--all")
        screen.shows("Requeueing")
        assert screen.end() == 0
        assert screen.rows == ["2000 jobs requeued on shop"]
        await fail_many(connection, 200)
        done = run("requeue", "--queue", "shop", "--all")
        assert (done.stdout, done.stderr) == ("200 jobs requeued on shop\n", "")


class TestEmpty:
    async def test_some(self, run: Run, connection: Redis) -> None:
        queue = await fill(connection)
        done = run("empty", "shop", "never")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == ["3 jobs removed from shop queue", "0 jobs removed from never queue"]
        assert await queue.failed_job_registry.count() == 2
        assert await Queue("mail", connection).count() == 1

    async def test_all(self, run: Run, connection: Redis) -> None:
        await fill(connection)
        done = run("empty", "-a", "--json")
        assert json.loads(done.stdout) == [{"queue": "mail", "removed": 1}, {"queue": "shop", "removed": 3}]
        assert await Queue("shop", connection).get_job_ids() == ["child"]  # whose parent is gone

    async def test_nothing_to_do(self, run: Run, connection: Redis) -> None:
        assert "Nothing to do" in run("empty").stdout
        done = run("empty", "--all")
        assert (done.returncode, done.stdout) == (0, "Nothing to do: there are no queues.\n")
        assert run("empty", "a,b").returncode == 2

    async def test_bar_on_a_terminal_only(self, terminal: Open, connection: Redis) -> None:
        queue = Queue("shop", connection)
        await queue.enqueue_many([Queue.prepare_data(jobs.nothing) for _ in range(3000)])
        screen = terminal("empty", "shop")
        screen.shows("Emptying shop")
        assert screen.end() == 0
        assert screen.rows == ["3000 jobs removed from shop queue"]


class TestSuspension:
    async def test_for_a_while_and_for_ever(self, run: Run, connection: Redis) -> None:
        assert run("suspend", "--duration", "100").stdout.startswith("All workers are suspended for 100 s: ")
        assert 90 < await connection.ttl("rq:suspended") <= 100
        done = run("suspend")
        assert (done.returncode, done.stderr) == (0, "")
        assert "until `aiorq resume`" in done.stdout
        assert await connection.ttl("rq:suspended") == -1
        assert await is_suspended(connection)
        assert run("resume").stdout == "Workers take jobs again.\n"
        assert not await is_suspended(connection)
        assert run("resume").stdout == "The workers were not suspended.\n"

    async def test_json(self, run: Run, connection: Redis) -> None:
        assert json.loads(run("suspend", "--duration", "9", "--json").stdout) == {"suspended": True, "for": 9}
        assert json.loads(run("resume", "--json").stdout) == {"suspended": False, "changed": True}
        assert json.loads(run("resume", "--json").stdout) == {"suspended": False, "changed": False}

    @pytest.mark.parametrize("duration", ["0", "-1", "1.5", "99999999999"])
    async def test_wrong(self, run: Run, connection: Redis, duration: str) -> None:
        done = run("suspend", "--duration", duration)
        assert (done.returncode, done.stdout) == (2, "")
        assert not await is_suspended(connection)

    async def test_workers_obey(self, run: Run, start: Start, connection: Redis, url: str) -> None:
        queue = Queue("shop", connection)
        start("worker", "shop", "--url", url, "--path", jobs.__file__.rpartition("/")[0], "--name", "worker-1")
        while not await connection.exists("rq:worker:worker-1"):
            pass
        run("suspend")
        job = await queue.enqueue(jobs.add, 1, 2)
        while await connection.hget("rq:worker:worker-1", "state") != b"suspended":
            pass
        assert await queue.count() == 1
        assert "suspended" in run("workers").stdout
        run("resume")
        assert await job.latest_result(timeout=30) is not None


class TestPause:
    async def test_queues(self, run: Run, connection: Redis) -> None:
        await fill(connection)
        done = run("pause", "shop", "mail", "--reason", "the provider\x1b is down")
        assert (done.returncode, done.stderr) == (0, "")
        shop, mail = done.stdout.splitlines()
        assert shop.startswith("shop: paused since ")
        assert mail.endswith(r": the provider\x1b is down")
        assert await Queue("shop", connection).paused() is not None
        done = run("unpause", "shop", "never")
        assert done.stdout.splitlines() == ["shop: workers take jobs from it again", "never: was not paused"]
        assert await Queue("shop", connection).paused() is None

    async def test_json(self, run: Run, connection: Redis) -> None:
        await fill(connection)
        (told,) = json.loads(run("pause", "shop", "--reason", "why", "--json").stdout)
        assert told.pop("since")
        assert told == {"queue": "shop", "paused": True, "reason": "why"}
        assert json.loads(run("unpause", "shop", "shop", "--json").stdout) == [
            {"queue": "shop", "paused": False, "changed": True}
        ]

    async def test_a_queue_that_was_never_used(self, run: Run, connection: Redis) -> None:
        done = run("pause", "shopp")
        assert done.returncode == 0
        assert done.stderr == "aiorq: no job was ever enqueued on shopp; it is paused all the same\n"
        assert run("pause").returncode == 2
        assert run("pause", "a,b").returncode == 2
