"""`aiorq job show`, `stop`, `cancel`, `requeue`, `delete`, `result` and `wait`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import jobs
import pytest
from redis.asyncio import Redis

from aiorq import Job, JobStatus, Queue, Retry
from tests.cli.conftest import Run, Start
from tests.cli.stage import SECRET, damage, everything, fill
from tests.cli.terminal import Terminal
from tests.interop.conftest import Gate

Busy = Callable[..., Awaitable[tuple["subprocess.Popen[str]", Gate]]]
FOLDER = str(Path(jobs.__file__).parent)


def known(text: str) -> dict[str, str]:
    """The lines of `job show` before its tables."""
    first, _, _ = text.partition("\n\n")
    return dict(line.split("  ", 1) for line in first.splitlines())


class TestShow:
    async def test_of_a_failed_job(self, run: Run, connection: Redis) -> None:
        await fill(connection)
        before = await everything(connection)
        done = run("job", "show", "failed-1")
        assert (done.returncode, done.stderr) == (0, "")
        facts = {name: value.strip() for name, value in known(done.stdout).items()}
        assert facts["Job"] == "failed-1"
        assert (facts["State"], facts["Function"], facts["Queue"]) == ("failed", "jobs.fail", "shop")
        assert (facts["Worker"], facts["May run for"]) == ("simple", "180 s (3m00s)")
        assert {"Created", "Enqueued", "Started", "Ended", "Took"} <= facts.keys()
        assert "Argument 1" not in facts
        assert done.stdout.splitlines()[-1] == "ValueError: the mailbox is full"
        assert "Attempt" in done.stdout
        assert await everything(connection) == before

    async def test_arguments_only_when_asked_for(self, run: Run, connection: Redis) -> None:
        await fill(connection)
        for options in ([], ["--json"]):
            done = run("job", "show", "queued-1", *options)
            assert done.returncode == 0
            assert SECRET not in done.stdout + done.stderr
        for options in (["--args"], ["--args", "--json"]):
            assert SECRET in run("job", "show", "queued-1", *options).stdout

    async def test_everything_that_a_job_may_have(self, run: Run, connection: Redis) -> None:
        queue = Queue("shop", connection)
        parent = await queue.enqueue(jobs.nothing, job_id="parent")
        await queue.enqueue(
            *(jobs.echo, 1),
            a="b\x1b",
            job_id="child",
            depends_on=parent,
            meta={"who": "me"},
            retry=Retry(3, [5, 10]),
            ttl=7200,
            result_ttl=-1,
            on_lost="requeue",
            memory_limit="1g",
        )
        told = known(run("job", "show", "child", "--args").stdout)
        facts = {name: value.strip() for name, value in told.items()}
        assert facts["State"] == "deferred"
        assert facts["Waits for"] == "parent"
        assert (facts["May wait for"], facts["Result kept for"]) == ("7200 s (2h00m)", "ever")
        assert facts["Retries left"] == "3 (after 5, 10 s)"
        assert (facts["If lost"], facts["Memory limit"]) == ("requeue", "1073741824 bytes")
        assert (facts["Argument 1"], facts["Argument a"], facts["Meta"]) == ("1", r"'b\x1b'", "{'who': 'me'}")
        assert known(run("job", "show", "parent").stdout)["Waited for by"].strip() == "child"
        assert known(run("job", "show", "parent").stdout)["Queue"].strip() == "shop (position 1)"

    async def test_json(self, run: Run, connection: Redis) -> None:
        await fill(connection)
        told = json.loads(run("job", "show", "later", "--json").stdout)
        assert told.keys() == {
            *("moment", "id", "status", "queue", "function", "description", "created_at", "enqueued_at", "started_at"),
            *("ended_at", "worker", "timeout", "error", "problem", "problems", "position", "scheduled_for", "payload"),
            *("last_heartbeat", "result_ttl", "failure_ttl", "ttl", "retries_left", "retry_intervals", "repeats_left"),
            *("on_lost", "memory_limit", "rate_limit", "rate_limit_concurrency", "group", "waits_for", "dependents"),
            *("attempts", "traceback"),
        }
        assert (told["id"], told["status"], told["payload"], told["problems"]) == ("later", "scheduled", None, [])
        assert told["scheduled_for"] > told["created_at"]
        failed = json.loads(run("job", "show", "failed-1", "--json", "--args").stdout)
        assert failed["payload"] == {"args": ["the mailbox is full"], "kwargs": {}, "meta": {}}
        assert failed["traceback"].endswith("ValueError: the mailbox is full\n")
        (attempt,) = failed["attempts"]
        assert (attempt["number"], attempt["outcome"], attempt["worker_name"]) == (1, "failed", "simple")

    async def test_damaged_jobs(self, run: Run, connection: Redis) -> None:
        await fill(connection)
        await damage(connection)
        for job_id, text in (
            ("corrupt", "its timeout cannot be read: 'abc'"),
            ("text", "its key holds a string, not a hash"),
        ):
            done = run("job", "show", job_id, "--args")
            assert (done.returncode, done.stderr) == (0, "")
            assert text in done.stdout
            assert "\x1b" not in done.stdout
        gone = run("job", "show", "ghost")
        assert (gone.returncode, gone.stdout) == (1, "")
        assert "no job 'ghost'" in gone.stderr
        assert len(gone.stderr.splitlines()) == 1

    async def test_arguments_that_cannot_be_read(self, run: Run, connection: Redis) -> None:
        queue = Queue("shop", connection)
        await queue.enqueue(jobs.nothing, job_id="garbage")
        await connection.hset("rq:job:garbage", "data", b"garbage")
        done = run("job", "show", "garbage", "--args")
        assert (done.returncode, done.stderr) == (0, "")
        assert "the call cannot be read with PickleSerializer" in done.stdout
        await Queue("shop", connection, serializer="json").enqueue(jobs.nothing, "told", job_id="in-json")
        assert "'told'" in run("job", "show", "in-json", "--args", "-S", "json").stdout

    async def test_on_a_terminal(self, terminal: Callable[..., Terminal], connection: Redis) -> None:
        await fill(connection)
        for columns in (40, 200):
            screen = terminal("job", "show", "failed-1", columns=columns)
            assert screen.end() == 0
            assert screen.rows[0].split() == ["Job", "failed-1"]
            assert screen.rows[-1] == "ValueError: the mailbox is full"


class TestStop:
    async def test_a_job_that_runs(self, run: Run, busy: Busy, connection: Redis) -> None:
        await busy("worker-1")
        done = run("job", "stop", "running", "--grace", "0")
        assert (done.returncode, done.stdout, done.stderr) == (0, "running: stopped\n", "")
        assert await (await Job.fetch("running", connection)).get_status() is JobStatus.STOPPED

    async def test_without_waiting(self, run: Run, busy: Busy, connection: Redis) -> None:
        await busy("worker-1")
        done = run("job", "stop", "running", "--no-wait", "--json")
        assert json.loads(done.stdout) == [{"id": "running", "ok": True, "done": "told to stop", "error": None}]
        ended = run("job", "wait", "running", "--timeout", "30")
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr == "aiorq: job 'running' was stopped\n"

    async def test_jobs_that_do_not_run(self, run: Run, connection: Redis) -> None:
        await fill(connection)
        done = run("job", "stop", "queued-1", "ghost")
        assert (done.returncode, done.stdout) == (1, "")
        assert sorted(done.stderr.splitlines()) == [
            "aiorq: job 'queued-1' cannot be stopped: it does not run, the job is queued",
            "aiorq: no job 'ghost': it was never enqueued, was deleted, or has expired",
        ]
        assert run("job", "stop", "queued-1", "--grace", "-1").returncode == 2


class TestCancel:
    async def test_some(self, run: Run, connection: Redis) -> None:
        await fill(connection)
        done = run("job", "cancel", "queued-1", "canceled", "later")
        assert done.returncode == 1
        assert done.stdout == "queued-1: canceled\nlater: canceled\n"
        assert "it is canceled already" in done.stderr
        assert await Queue("shop", connection).get_job_ids() == ["queued-2", "parent"]

    async def test_dependents(self, run: Run, connection: Redis) -> None:
        await fill(connection)
        done = run("job", "cancel", "parent", "--enqueue-dependents")
        assert done.stdout == "parent: canceled, and enqueued child\n"
        assert "child" in await Queue("shop", connection).get_job_ids()


async def test_requeue(run: Run, connection: Redis) -> None:
    queue = await fill(connection)
    done = run("job", "requeue", "failed-1", "finished-1", "canceled", "later", "queued-1", "ghost", "--at-front")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"{job_id}: queued on shop" for job_id in ("failed-1", "finished-1", "canceled", "later")
    ]
    assert "job 'queued-1' cannot be requeued: it is queued" in done.stderr
    assert "no job 'ghost'" in done.stderr
    assert (await queue.get_job_ids())[:4] == ["later", "canceled", "finished-1", "failed-1"]


class TestDelete:
    async def test_some(self, run: Run, connection: Redis) -> None:
        await fill(connection)
        await damage(connection)
        done = run("job", "delete", "queued-1", "corrupt", "ghost", "--json")
        assert done.returncode == 1
        first, second, third = json.loads(done.stdout)
        assert first == {"id": "queued-1", "ok": True, "done": "deleted", "error": None}
        assert second["ok"]
        assert (third["ok"], third["done"]) == (False, None)
        assert "no job 'ghost'" in third["error"]
        assert not await connection.exists("rq:job:queued-1", "rq:job:corrupt")

    async def test_dependents(self, run: Run, connection: Redis) -> None:
        await fill(connection)
        assert (
            run("job", "delete", "parent", "--dependents").stdout == "parent: deleted, with what waited for it: child\n"
        )
        assert not await connection.exists("rq:job:parent", "rq:job:child")


class TestResult:
    async def test_of_every_kind(self, run: Run, connection: Redis) -> None:
        await fill(connection)
        assert run("job", "result", "finished-1").stdout == "3\n"
        assert run("job", "result", "finished-2").stdout == "(({'sum': 3},), {})\n"
        failed = run("job", "result", "failed-1")
        assert (failed.returncode, failed.stdout) == (1, "")
        assert failed.stderr.splitlines()[-2:] == [
            "ValueError: the mailbox is full",
            "aiorq: job failed-1 has no result: it is failed",
        ]
        none = run("job", "result", "queued-1")
        assert (none.returncode, none.stdout) == (1, "")
        assert "job queued-1 has no result: it is queued" in none.stderr
        assert run("job", "result", "ghost").returncode == 1

    async def test_json(self, run: Run, connection: Redis) -> None:
        await fill(connection)
        told = json.loads(run("job", "result", "finished-2", "--json").stdout)
        assert told.pop("created_at")
        assert told == {
            "id": "finished-2",
            "status": "finished",
            "outcome": "successful",
            "value": [[{"sum": 3}], {}],
            "traceback": None,
        }
        done = run("job", "result", "failed-1", "--json")
        failed = json.loads(done.stdout)
        assert (done.returncode, failed["outcome"], failed["value"]) == (1, "failed", None)
        assert "mailbox" in failed["traceback"]


class TestWait:
    async def test_for_jobs_that_have_ended(self, run: Run, connection: Redis) -> None:
        await fill(connection)
        done = run("job", "wait", "finished-1", "failed-1", "canceled")
        assert (done.returncode, done.stdout) == (1, "finished-1: finished\n")
        assert sorted(done.stderr.splitlines()) == [
            "aiorq: job 'canceled' was canceled",
            "aiorq: job 'failed-1' failed",
        ]

    async def test_for_one_that_runs(self, start: Start, busy: Busy, connection: Redis, url: str) -> None:
        _, gate = await busy("worker-1")
        waiting = start("job", "wait", "running", "--url", url)
        await gate.open()
        assert waiting.wait(30) == 0
        assert waiting.stdout is not None
        assert waiting.stdout.read() == "running: finished\n"

    async def test_for_another_life(self, start: Start, connection: Redis, url: str) -> None:
        """The outcome of an earlier life is none of this one."""
        queue = await fill(connection)
        job = await Job.fetch("failed-1", connection)
        await job.requeue()
        waiting = start("job", "wait", "failed-1", "--url", url)
        await connection.config_resetstat()
        while "cmdstat_xlen" not in await connection.info("commandstats"):
            assert waiting.poll() is None
        worker = start("worker", queue.name, "--url", url, "--path", FOLDER, "--burst", "--quiet")
        assert waiting.wait(30) == 1
        assert worker.wait(30) == 0
        assert await job.get_status() is JobStatus.FAILED

    async def test_for_one_that_is_canceled(self, start: Start, run: Run, connection: Redis, url: str) -> None:
        await fill(connection)
        waiting = start("job", "wait", "queued-1", "--url", url)
        await connection.config_resetstat()
        while "cmdstat_xread" not in await connection.info("commandstats"):
            assert waiting.poll() is None
        await (await Job.fetch("queued-1", connection)).cancel()
        assert waiting.wait(30) == 1

    async def test_timeout(self, run: Run, connection: Redis) -> None:
        queue = Queue("shop", connection)
        await queue.enqueue_in(timedelta(hours=1), jobs.nothing, job_id="later")
        done = run("job", "wait", "later", "-t", "0.2", "--json")
        assert done.returncode == 1
        (told,) = json.loads(done.stdout)
        assert told["error"] == "job 'later' is scheduled after 0.2 s"


def test_without_a_command_it_says_what_there_is(run: Run) -> None:
    done = run("job")
    assert (done.returncode, done.stderr) == (2, "")
    assert "requeue" in done.stdout
    assert "completion" not in done.stdout


@pytest.mark.parametrize("command", ["show", "stop", "cancel", "requeue", "delete", "result", "wait"])
def test_wrong_ids(run: Run, command: str) -> None:
    done = run("job", command, "esc\x1b[31m")
    assert done.stdout == ""
    assert "\x1b" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.returncode == (1 if command == "show" else 2)  # there is one of any name in RQ's lists
