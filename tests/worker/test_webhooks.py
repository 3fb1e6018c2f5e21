"""The requests that are made when jobs have come to their end, against a server that takes note of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from aiorq import JobStatus, Queue, Worker
from aiorq.retry import Retry
from aiorq.store import runs
from aiorq.store.base import store_of
from aiorq.webhook import Webhook
from tests.execution.processes import LIMIT, Fifo
from tests.worker.conftest import Log, Started, result_of, working


class Listener:
    """An HTTP server that keeps what it is asked and answers with what `answers` says for the path; else with 204."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[tuple[str, dict[str, str], bytes]] = asyncio.Queue()
        self.answers: dict[str, bytes] = {}
        self.silent = asyncio.Event()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.put_nowait((first, headers, body))
        path = first.split()[1]
        if path == "/silent":
            await self.silent.wait()
        writer.write(self.answers.get(path, b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"))
        writer.close()

    def url(self, path: str) -> str:
        return f"http://{self.address}{path}"

    async def next(self) -> tuple[str, dict[str, str], bytes]:
        async with asyncio.timeout(LIMIT):
            return await self.requests.get()

    async def close(self) -> None:
        self.silent.set()
        self._server.close()
        await self._server.wait_closed()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    """A server to send requests to."""
    listener = Listener()
    await listener.start()
    yield listener
    await listener.close()


def redirection(target: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()


async def test_both_methods(queue: Queue, start: Started, listener: Listener) -> None:
    """One errand for all, after the job has finished; what is for failures is not sent."""
    hooks = [
        Webhook(listener.url("/get"), "finished", headers={"X-Token": "one"}),
        Webhook(listener.url("/failed"), "failed"),
        Webhook(listener.url("/post?a=b"), "finished", method="POST", headers={"X-Token": "two"}),
    ]
    job = await queue.enqueue("jobs.add", 1, webhooks=hooks)
    await start()
    line, headers, body = await listener.next()
    assert await job.get_status() is JobStatus.FINISHED
    assert (line, headers["x-token"], body) == ("GET /get HTTP/1.1", "one", b"")
    assert headers["user-agent"].startswith("aiorq/")
    line, headers, body = await listener.next()
    assert (line, headers["x-token"]) == ("POST /post?a=b HTTP/1.1", "two")
    assert headers["content-type"] == "application/json"
    payload: dict[str, Any] = json.loads(body)
    ended = datetime.fromisoformat(payload.pop("ended_at"))
    await job.refresh()
    assert job.enqueued_at is not None
    assert job.ended_at is not None
    assert abs((ended - job.ended_at).total_seconds()) < 5
    assert payload == {
        "job_id": job.id,
        "func_name": "jobs.add",
        "status": "finished",
        "enqueued_at": job.enqueued_at.isoformat(),
    }
    assert listener.requests.empty()


async def test_a_failure(queue: Queue, make_worker: Callable[..., Worker], listener: Listener) -> None:
    """None for an attempt that is followed by another one."""
    hooks = [Webhook(listener.url("/"), status, method="POST") for status in ("finished", "failed")]
    await queue.enqueue("jobs.fail", "of the job", webhooks=hooks, retry=Retry(max=2))
    await make_worker().work(burst=True)
    payload = json.loads((await listener.next())[2])
    assert payload["status"] == "failed"
    assert payload["exc_info"].endswith("ValueError: of the job\n")
    assert listener.requests.empty()


async def test_a_lost_process(queue: Queue, make_worker: Callable[..., Worker], listener: Listener) -> None:
    await queue.enqueue("jobs.die", webhooks=[Webhook(listener.url("/"), "failed", method="POST")])
    await make_worker().work(burst=True)
    assert "HorseTerminatedError" in json.loads((await listener.next())[2])["exc_info"]


async def test_a_lost_worker(
    queue: Queue, make_worker: Callable[..., Worker], listener: Listener, connection: Redis
) -> None:
    await queue.enqueue("jobs.nothing", webhooks=[Webhook(listener.url("/"), "failed", method="POST")])
    store = store_of(connection)
    [claimed] = await runs.claim(store, "lost", ["default"], 1, 1) or []
    await runs.begins(store, "lost", claimed.run, runs.send_begin(store, "lost", claimed.run, lambda: None))
    async with working(make_worker(reap_interval=0.05)):
        assert "AbandonedJobError" in json.loads((await listener.next())[2])["exc_info"]


async def test_a_stopped_job(queue: Queue, make_worker: Callable[..., Worker], listener: Listener, told: Fifo) -> None:
    hooks = [Webhook(listener.url("/"), status) for status in ("finished", "failed")]
    job = await queue.enqueue("waiting.hang", told.path, webhooks=hooks)
    async with working(make_worker()):
        await told.pids()
        assert await job.stop() is JobStatus.STOPPED
        last = await queue.enqueue("jobs.nothing", webhooks=[Webhook(listener.url("/last"), "finished")])
        await result_of(last)
        assert (await listener.next())[0] == "GET /last HTTP/1.1"


class TestTrouble:
    """It is logged, without what may be secret in the URL; the next request is made; the job stays what it is."""

    async def check(
        self, queue: Queue, worker: Worker, listener: Listener, log: Log, url: str, said: str, timeout: int = 20
    ) -> None:
        hooks = [
            Webhook(url, "finished", timeout=timeout, headers={"Authorization": "secret", "X-Other": "kept"}),
            Webhook(listener.url("/next"), "finished"),
        ]
        job = await queue.enqueue("jobs.nothing", webhooks=hooks)
        await worker.work(burst=True)
        assert log.count(f"job {job.id}: webhook (127.0.0.1) raised {said}") == 1, log.lines
        assert log.count("token") == 0
        assert await job.get_status() is JobStatus.FINISHED
        requests = [await listener.next() for _ in range(listener.requests.qsize())]
        assert requests[-1][0] == "GET /next HTTP/1.1"

    async def test_nobody_is_there(
        self, queue: Queue, make_worker: Callable[..., Worker], listener: Listener, log: Log
    ) -> None:
        await self.check(queue, make_worker(), listener, log, "http://127.0.0.1:1/token", "URLError")

    async def test_no_success(
        self, queue: Queue, make_worker: Callable[..., Worker], listener: Listener, log: Log
    ) -> None:
        listener.answers["/token"] = b"HTTP/1.1 500 Broken\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        said = "HTTPError: HTTP Error 500: Broken"
        await self.check(queue, make_worker(), listener, log, listener.url("/token"), said)

    async def test_no_answer(
        self, queue: Queue, make_worker: Callable[..., Worker], listener: Listener, log: Log
    ) -> None:
        await self.check(queue, make_worker(), listener, log, listener.url("/silent"), "", timeout=1)

    @pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/token", "gopher://127.0.0.1/token"])
    async def test_a_redirection_to_elsewhere(
        self, queue: Queue, make_worker: Callable[..., Worker], listener: Listener, log: Log, target: str
    ) -> None:
        listener.answers["/token"] = redirection(target)
        await self.check(queue, make_worker(), listener, log, listener.url("/token"), "HTTPError: HTTP Error 302")

    async def test_a_redirection(
        self, queue: Queue, make_worker: Callable[..., Worker], listener: Listener, log: Log
    ) -> None:
        """It is followed; what is for the first host alone is not given to another one."""
        listener.answers["/here"] = redirection(f"http://localhost:{listener.address.split(':')[1]}/there")
        hook = Webhook(listener.url("/here"), "finished", headers={"Authorization": "secret", "X-Other": "kept"})
        await queue.enqueue("jobs.nothing", webhooks=[hook])
        await make_worker().work(burst=True)
        line, headers, _ = await listener.next()
        assert (line, headers["authorization"]) == ("GET /here HTTP/1.1", "secret")
        line, headers, _ = await listener.next()
        assert line == "GET /there HTTP/1.1"
        assert "authorization" not in headers
        assert headers["x-other"] == "kept"
