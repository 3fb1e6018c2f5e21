"""`aiorq info` and `aiorq workers`."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import jobs
import pytest
from redis.asyncio import Redis

from aiorq import Queue, connect
from aiorq.server import EmbeddedServer
from aiorq.suspension import suspend
from tests.cli.conftest import Run, Start
from tests.cli.stage import STATES, damage, everything, fill
from tests.cli.terminal import Terminal
from tests.interop.conftest import Gate

Busy = Callable[..., Awaitable[tuple["subprocess.Popen[str]", Gate]]]
Open = Callable[..., Terminal]


def table(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.strip()]


async def test_plain_table(run: Run, connection: Redis) -> None:
    await fill(connection)
    await Queue("mail", connection).pause("the provider is down")
    done = run("info")
    assert (done.returncode, done.stderr) == (0, "")
    head, titles, mail, shop, queues, limits, limit, nobody = table(done.stdout)
    assert head[1:3] == ["prefix", "rq,"]
    assert " ".join(titles) == "Queue Waiting Oldest Running Failed Finished Scheduled Deferred Canceled Note"
    assert mail[:2] == ["mail", "1"]
    assert mail[-4:] == ["the", "provider", "is", "down"]
    assert shop[:2] + shop[3:] == ["shop", "3", "0", "2", "2", "1", "1", "1"]
    assert " ".join(queues) == "2 queues, 4 jobs waiting, 2 failed"
    assert limits == ["Rate", "limit", "In", "use", "Of", "Waiting"]
    assert limit == ["mail", "1", "1", "1"]
    assert " ".join(nobody) == "No worker runs: `aiorq worker` starts one."
    assert "\x1b" not in done.stdout


async def test_nothing_there(run: Run, connection: Redis) -> None:
    done = run("info")
    assert done.returncode == 0
    assert "There are no queues" in done.stdout


async def test_parts(run: Run, connection: Redis) -> None:
    await fill(connection)
    queues, workers, both = run("info", "-Q").stdout, run("info", "-W").stdout, run("info", "-Q", "-W").stdout
    assert "2 queues" in queues
    assert "worker" not in queues
    assert "queues," not in workers
    assert "No worker runs" in workers
    assert "2 queues" in both  # as in RQ
    assert "No worker" not in both
    chosen = run("info", "mail").stdout
    assert "1 queue, 1 job waiting" in chosen
    assert "No worker takes jobs from mail" in chosen


async def test_workers_and_what_they_run(run: Run, busy: Busy, connection: Redis) -> None:
    await busy("worker-1")
    seen = json.loads(run("info", "--json").stdout)
    assert seen.keys() == {
        *("moment", "server", "prefix", "queues", "workers", "limits", "suspended", "suspended_for", "rates"),
    }
    (queue,), (worker,) = seen["queues"], seen["workers"]
    assert queue.keys() == {
        *("name", "counts", "lost", "oldest", "paused", "paused_since", "pause_reason", "problem", "rate"),
    }
    assert queue["counts"] == dict.fromkeys(STATES, 0) | {"started": 1}
    ours = {"name": "worker-1", "kind": "aiorq", "state": "busy", "queues": ["shop"], "running": 1}
    assert {name: worker[name] for name in ours} == ours
    assert {
        *("hostname", "ip_address", "pid", "version", "python_version", "birth_date", "last_heartbeat", "rate"),
        *(
            "shutdown_requested_date",
            "successful_job_count",
            "problem",
            "failed_job_count",
            "total_working_time",
            "runs",
        ),
    } | ours.keys() == worker.keys()
    (going,) = worker["runs"]
    assert going.keys() == {"job_id", "execution_id", "function", "queue", "started_at", "seconds"}
    assert (going["job_id"], going["function"], going["queue"]) == ("running", "jobs.touch_and_wait", "shop")
    assert 0 <= going["seconds"] < 60

    plain = run("info").stdout
    assert ["worker-1", "busy", "jobs.touch_and_wait"] in [line[:3] for line in table(plain)]
    assert "1 worker, 1 job running" in plain
    assert ["shop", "worker-1", "(busy)"] in table(run("info", "-R").stdout)

    listed = run("workers").stdout
    assert ["worker-1", "busy", "jobs.touch_and_wait", "running"] in [line[:4] for line in table(listed)]
    told = json.loads(run("workers", "shop", "--json").stdout)
    assert told.keys() == {"server", "prefix", "moment", "workers"}
    assert told["workers"][0]["runs"] == [going | {"seconds": told["workers"][0]["runs"][0]["seconds"]}]
    assert json.loads(run("workers", "other", "--json").stdout)["workers"] == []


async def test_a_worker_of_rq(run: Run, busy: Busy, connection: Redis) -> None:
    await busy("theirs", module="rq.cli")
    (worker,) = json.loads(run("workers", "--json").stdout)["workers"]
    assert (worker["name"], worker["kind"], worker["version"], worker["state"]) == ("theirs", "rq", "3.0.0", "busy")
    assert [going["job_id"] for going in worker["runs"]] == ["running"]


async def test_many_runs_of_a_worker(run: Run, start: Start, make_gate: Any, connection: Redis, url: str) -> None:
    queue, gates = Queue("shop", connection), [make_gate() for _ in range(3)]
    for number, gate in enumerate(gates):
        await queue.enqueue(jobs.touch_and_wait, *gate.args, job_id=f"job-{number}")
    folder = jobs.__file__.rpartition("/")[0]
    start("worker", "shop", "--url", url, "--path", folder, "--name", "many", "--concurrency", "3")
    for gate in gates:
        await gate.reached()
    assert "jobs.touch_and_wait +2" in run("info").stdout
    listed = run("workers").stdout
    assert all(f"job-{number}" in listed for number in range(3))


async def test_suspended(run: Run, connection: Redis) -> None:
    await suspend(connection, 500)
    assert "All workers are suspended for 8m" in run("info").stdout
    await suspend(connection)
    assert "All workers are suspended: `aiorq resume`" in run("info").stdout


async def test_damage_is_shown_and_nothing_is_changed(run: Run, connection: Redis) -> None:
    await fill(connection)
    await damage(connection)
    before = await everything(connection)
    commands: list[list[str]] = [["info"], ["info", "-r"], ["info", "-R"], ["info", "--json"], ["workers"], ["check"]]
    for command in commands:
        done = run(*command)
        assert "\x1b" not in done.stdout + done.stderr
        assert (done.returncode, done.stderr) == (int(command == ["check"]), "")
        assert await everything(connection) == before
    assert r"esc\x1b[31m," in run("info").stdout


class TestInterval:
    async def test_live_view(self, terminal: Open, connection: Redis, queue: Queue) -> None:
        await queue.enqueue(jobs.nothing)
        screen = terminal("info", "--interval", "0.2")
        screen.shows("1 queue, 1 job waiting")
        await queue.enqueue_many([Queue.prepare_data(jobs.nothing) for _ in range(3)])
        screen.shows("1 queue, 4 jobs waiting")
        assert "per s" in screen.text
        screen.interrupt()
        assert screen.end() == 0
        # It was drawn on a screen of its own, and its last state stands on the usual one.
        _, _, left = screen.sent.rpartition(b"\x1b[?1049l")
        assert screen.sent.count(b"\x1b[?1049h") == 1
        assert "4 jobs waiting" in left.decode()
        assert b"Traceback" not in screen.sent

    async def test_raw_on_a_terminal(self, terminal: Open, connection: Redis, queue: Queue) -> None:
        await queue.enqueue(jobs.nothing)
        screen = terminal("info", "-r", "-i", "0.2")
        screen.shows("queue default 1, 0 executing, 0 finished, 0 failed")
        await queue.enqueue(jobs.nothing)
        screen.shows("queue default 2,")
        screen.process.send_signal(signal.SIGTERM)
        assert screen.end() == 0

    async def test_trouble_with_the_server_is_waited_out(self, tmp_path: Path) -> None:
        with EmbeddedServer(append_only=True) as server:
            async with connect(server.url) as client:
                await Queue("shop", client).enqueue(jobs.nothing)
            screen = Terminal(tmp_path, server.url, "info", "-i", "0.2")
            try:
                screen.shows("1 queue, 1 job waiting")
                server.kill()
                screen.shows("trying again")
                assert "1 queue, 1 job waiting" in screen.text
                server.start()
                while "trying again" in screen.text:
                    screen.read()
                screen.shows("1 queue, 1 job waiting")
                screen.interrupt()
                assert screen.end() == 0
            finally:
                screen.close()

    async def test_rates(self, terminal: Open, connection: Redis, start: Start, url: str) -> None:
        queue = Queue("shop", connection)
        worker = start("worker", "shop", "--url", url, "--path", jobs.__file__.rpartition("/")[0])
        screen = terminal("info", "--interval", "0.3")
        screen.shows("1 worker, 0 jobs running, 0.0 jobs/s")
        await queue.enqueue_many([Queue.prepare_data(jobs.nothing) for _ in range(50)])
        while "1 worker, 0 jobs running, 0.0 jobs/s" in screen.text:
            screen.shows("1 worker")
            screen.shows(" jobs/s")
            screen.read()
        worker.terminate()

    async def test_pipe_gets_one_table(self, run: Run, connection: Redis, queue: Queue) -> None:
        await queue.enqueue(jobs.nothing)
        done = run("info", "-i", "0.1")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("1 queue, 1 job waiting") == 1
        assert "per s" in done.stdout

    async def test_json_gets_a_line_for_each_look(
        self, start: Start, connection: Redis, url: str, queue: Queue
    ) -> None:
        await queue.enqueue(jobs.nothing)
        process = start("info", "--json", "-i", "0.1", "--url", url)
        assert process.stdout is not None
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        assert (first["rates"], first["queues"][0]["rate"]) == (None, None)
        assert second["rates"]["seconds"] >= 0.1
        assert second["queues"][0]["rate"] == 0.0
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0

    @pytest.mark.parametrize("interval", ["nan", "0.01", "often"])
    def test_wrong(self, run: Run, interval: str) -> None:
        done = run("info", "-i", interval)
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) <= 2
        assert "interval" in done.stderr


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
async def test_any_width(terminal: Open, busy: Busy, connection: Redis, columns: int) -> None:
    await fill(connection)
    await damage(connection)
    await busy(
        "a-worker-with-a-rather-long-name.of-a-host.example.com", queue="a-queue-with-a-rather-long-name-as-well"
    )
    screen = terminal("info", columns=columns, lines=100)
    assert screen.end() == 0
    assert "a-queu" in screen.text
    assert "busy" in screen.text
    sent = screen.sent.decode().replace("\r", "")
    plain = "".join(part.partition("m")[2] if index else part for index, part in enumerate(sent.split("\x1b[")))
    assert all(len(line) <= columns for line in plain.splitlines())
