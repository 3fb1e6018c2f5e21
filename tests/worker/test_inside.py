"""What a job finds when it looks at itself, and what nobody else looks at."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from aiorq import Queue, Worker, get_current_job
from tests.worker.conftest import FUNCTIONS, Log, result_of


@pytest.fixture(autouse=True)
def functions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions can be imported here too."""
    monkeypatch.syspath_prepend(FUNCTIONS)


class TestCurrentJob:
    @pytest.mark.parametrize("function", ["inside.describe", "inside.describe_async"])
    async def test_it_knows_itself(self, queue: Queue, make_worker: Callable[..., Worker], function: str) -> None:
        job = await queue.enqueue(function, 1, "two", meta={"caller": "me"}, job_timeout=77)
        await make_worker(name="the-worker").work(burst=True)
        assert await job.return_value() == {
            "id": job.id,
            "origin": "default",
            "status": "started",
            "worker_name": "the-worker",
            "args": (1, "two"),
            "func_name": function,
            "meta": {"caller": "me"},
            "timeout": 77,
            "environment": ["the-worker", job.id],
        }

    @pytest.mark.parametrize(
        ("function", "returned", "step"),
        [("inside.save_meta_async", "started", 2), ("inside.save_meta", "saved", 1)],
    )
    async def test_meta(
        self, queue: Queue, make_worker: Callable[..., Worker], function: str, returned: str, step: int
    ) -> None:
        job = await queue.enqueue(function, meta={"caller": "me"})
        await make_worker().work(burst=True)
        assert await job.return_value() == returned
        assert await job.get_meta() == {"caller": "me", "step": step}

    async def test_with_another_prefix_and_database(self, url: str, make_worker: Callable[..., Worker]) -> None:
        from aiorq import connect

        client = connect(f"{url}?db=3")
        queue = Queue(connection=client, prefix="app:{one}")
        job = await queue.enqueue("inside.save_meta_async")
        await make_worker([queue], connection=None).work(burst=True)
        assert await job.get_meta() == {"step": 2}
        assert await client.keys("rq:*") == []
        await client.aclose()

    async def test_in_a_thread(self, queue: Queue, make_worker: Callable[..., Worker]) -> None:
        job = await queue.enqueue("inside.outside")
        await make_worker().work(burst=True)
        assert await job.return_value() is True

    async def test_outside_of_a_job(self) -> None:
        assert get_current_job() is None

    async def test_an_application_with_threads(self, queue: Queue, make_worker: Callable[..., Worker]) -> None:
        ended = threading.Event()
        thread = threading.Thread(target=ended.wait)
        thread.start()
        try:
            job = await queue.enqueue("inside.describe_async")
            await make_worker().work(burst=True)
            assert (await result_of(job)).return_value["id"] == job.id
        finally:
            ended.set()
            thread.join()


class TestSerializers:
    async def test_json(self, connection: Redis, make_worker: Callable[..., Worker]) -> None:
        queue = Queue(connection=connection, serializer="json")
        job = await queue.enqueue("jobs.echo", 1, b="two", meta={"caller": "me"})
        about = await queue.enqueue("inside.save_meta_async", meta={"caller": "me"})
        await make_worker([queue]).work(burst=True)
        assert await job.return_value() == [[1], {"b": "two"}]
        assert await about.get_meta() == {"caller": "me", "step": 2}

    @pytest.mark.parametrize("given", ["queue", "worker"])
    async def test_by_dotted_path(self, connection: Redis, make_worker: Callable[..., Worker], given: str) -> None:
        queue = Queue(connection=connection, serializer="backwards.Backwards")
        job = await queue.enqueue("jobs.echo", 1, b="two")
        options = {"serializer": "backwards.Backwards"} if given == "worker" else {}
        await make_worker(["default"] if options else [queue], **options).work(burst=True)
        assert await job.return_value() == ((1,), {"b": "two"})
        entries: Any = await connection.xrange(f"rq:results:{job.id}")
        assert entries[0][1][b"return_value"].startswith(b"YmFja3dhcmRz")  # base64 of "backwards"

    async def test_one_that_no_other_process_can_find(self, make_worker: Callable[..., Worker]) -> None:
        class Mine:
            def dumps(self, value: Any) -> bytes:
                return b""

            def loads(self, data: bytes) -> Any:
                return None

        with pytest.raises(ValueError, match="dotted path"):
            make_worker(serializer=Mine())

    async def test_of_another_worker(self, queue: Queue, make_worker: Callable[..., Worker]) -> None:
        job = await queue.enqueue("jobs.add", 1)
        await make_worker(serializer="json").work(burst=True)
        assert "DeserializationError" in (await result_of(job)).exc_string


class TestSecrets:
    async def test_only_the_job_unpickles(
        self, queue: Queue, make_worker: Callable[..., Worker], tmp_path: Path
    ) -> None:
        """Unpickling runs code of whoever enqueued the job: arguments, results and meta stay bytes in the worker."""
        import inside  # type: ignore[import-not-found]

        sprung = {name: tmp_path / name for name in ("argument", "result", "meta")}
        traps = {name: inside.Trap(str(path)) for name, path in sprung.items()}
        plain = await queue.enqueue("jobs.nothing", traps["argument"], meta={"trap": traps["meta"]})
        await queue.enqueue("jobs.echo", traps["result"])
        about = await queue.enqueue("inside.describe", meta={"trap": traps["meta"]})
        await make_worker().work(burst=True)
        horses = {name: set(path.read_text().split()) for name, path in sprung.items()}
        assert str(os.getpid()) not in horses["argument"] | horses["meta"] | horses["result"]
        assert len(horses["meta"]) == 1  # of the job that asked for it
        for job in (plain, about):
            assert (await result_of(job)).type.name == "SUCCESSFUL"

    async def test_the_log_has_no_arguments(
        self, queue: Queue, make_worker: Callable[..., Worker], log: Log, caplog: pytest.LogCaptureFixture
    ) -> None:
        canary = "canary-4711"
        await queue.enqueue("jobs.echo", canary, key=canary, meta={"key": canary})
        await queue.enqueue("jobs.add", canary, no_such_argument=canary)
        await queue.enqueue("jobs.no_such_function", canary)
        await queue.enqueue("jobs.unserializable", description=f"{canary} of somebody")
        await queue.enqueue("jobs.die", description=canary)
        job = await queue.enqueue("jobs.add", canary, job_timeout=10)
        await queue.connection.hset(job.key, "timeout", "abc")
        caplog.set_level("DEBUG")
        await make_worker().work(burst=True)
        assert log.count("jobs.echo finished") == 1
        assert canary not in caplog.text
        for record in caplog.records:
            assert canary not in str(record.__dict__)


async def test_a_sync_function_saves_from_one_loop_after_the_other(
    queue: Queue, make_worker: Callable[..., Worker]
) -> None:
    job = await queue.enqueue("jobs.save_meta_twice")
    await make_worker().work(burst=True)
    assert await job.return_value() == job.id
    assert await job.get_meta() == {"first": True, "second": True}
