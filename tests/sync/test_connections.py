"""The clients that `aiorq.sync` is given, and trouble on the way to the server."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jobs
import pytest
from redis import BlockingConnectionPool, Redis
from redis.backoff import ConstantBackoff
from redis.connection import AbstractConnection
from redis.retry import Retry

import aiorq
from aiorq.errors import ConnectionLostError, StoreError
from aiorq.server import EmbeddedServer
from aiorq.sync import Group, Job, Queue, Result, SimpleWorker, connect
from aiorq.sync.registry import FailedJobRegistry
from tests.execution.processes import LIMIT

CLIENTS: dict[str, Callable[[str], Redis]] = {
    "decode_responses": lambda url: Redis.from_url(url, decode_responses=True),
    "single_connection_client": lambda url: Redis.from_url(url, single_connection_client=True),
    "one connection": lambda url: Redis.from_pool(BlockingConnectionPool.from_url(url, max_connections=1)),
    "socket_timeout": lambda url: Redis.from_url(url, socket_timeout=1),
    "protocol 2": lambda url: Redis.from_url(url, protocol=2),
    "protocol 3": lambda url: Redis.from_url(url, protocol=3),
    "another encoding": lambda url: Redis.from_url(url, encoding="latin-1", decode_responses=True),
    "connect": connect,
}


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, redis: Redis, server: EmbeddedServer) -> Iterator[Redis]:
    """A client of each kind, of the empty server."""
    with CLIENTS[request.param](server.url) as made:
        yield made


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes were sent in each round trip over whatever blocking client."""
    sent: list[int] = []
    send = AbstractConnection.send_packed_command

    def counted(self: Any, command: Any, check_health: bool = True) -> Any:
        sent.append(len(command))
        return send(self, command, check_health)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counted)
    return sent


def wait_until(seen: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT
    while not seen():
        assert time.monotonic() < end
        time.sleep(0.005)


def is_waiting(redis: Redis) -> bool:
    """Whether somebody waits for a result."""
    clients: Any = redis.client_list(_type="normal")
    return any(each["cmd"] == "xread" for each in clients)


class TestKinds:
    def test_everything_works(self, client: Redis) -> None:
        queue = Queue("ä", connection=client)
        job = queue.enqueue(jobs.echo, "ö", key=b"\xff", meta={"ü": 1}, description="ß")
        with queue.connection.pipeline() as pipe:
            piped = queue.enqueue(jobs.fail, pipeline=pipe)
            pipe.execute()
        group = Group.create(client, "g")
        group.enqueue_many(queue, [Queue.prepare_data(jobs.add, (1,), job_id="grouped")])
        waiting = queue.enqueue(jobs.nothing, depends_on=job)
        assert (len(queue), queue.job_ids) == (3, [job.id, piped.id, "grouped"])
        assert SimpleWorker([queue], connection=client).work(burst=True)
        fetched = Job.fetch(job.id, client)
        assert (fetched.args, fetched.kwargs, fetched.meta, fetched.description) == (
            ("ö",),
            {"key": b"\xff"},
            {"ü": 1},
            "ß",
        )
        assert fetched.return_value() == (("ö",), {"key": b"\xff"})
        assert [each.get_status().value for each in (job, piped, waiting)] == ["finished", "failed", "finished"]
        assert "on purpose" in (piped.exc_info or "")
        assert piped in queue.failed_job_registry
        assert queue.failed_job_registry.requeue_all() == 1
        assert [each.result for each in group.get_jobs()] == [2]
        assert queue.empty() == 1

    def test_waiting_in_vain(self, client: Redis) -> None:
        """Longer than the client itself would wait for an answer, and no longer than asked for."""
        job = Queue(connection=client).enqueue(jobs.nothing)
        began = time.monotonic()
        assert job.latest_result(timeout=1.5) is None
        assert 1.4 < time.monotonic() - began < 1.5 + LIMIT
        assert client.ping()

    def test_waiting(self, client: Redis, server: EmbeddedServer) -> None:
        queue = Queue(connection=client)
        job = queue.enqueue(jobs.add, 1)
        with Redis.from_url(server.url) as other:
            found: list[Result[int] | None] = []
            waiting = threading.Thread(target=lambda: found.append(job.latest_result(timeout=LIMIT)))
            waiting.start()
            wait_until(lambda: is_waiting(other))
            SimpleWorker([Queue(connection=other)]).work(burst=True)
            waiting.join(LIMIT)
        assert [each and each.return_value for each in found] == [2]

    def test_a_client_for_asyncio_is_refused(self, server: EmbeddedServer) -> None:
        with pytest.raises(TypeError, match=r"connection must be a redis\.Redis, .*`aiorq` takes those of asyncio"):
            _ = Queue(connection=aiorq.connect(server.url)).count  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"aiorq\.sync takes that one"):
            _ = aiorq.Queue(connection=connect(server.url)).store  # type: ignore[arg-type]


class TestTrouble:
    def test_nobody_is_there(self) -> None:
        queue = Queue(connection=connect("redis://localhost:1"))
        calls: list[Callable[[], Any]] = [
            lambda: len(queue),
            lambda: queue.enqueue(jobs.nothing),
            lambda: Job.fetch("a", queue.connection),
            queue.failed_job_registry.requeue_all,
            lambda: FailedJobRegistry(queue=queue).count,
        ]
        for call in calls:
            with pytest.raises(ConnectionLostError, match=r"^Redis at localhost:1/0 cannot be asked now: .*refused"):
                call()

    def test_a_client_that_tries_to_connect_several_times_is_not_asked_to_do_so_again(self) -> None:
        """As redis-py's do by default; there the attempts take seconds."""
        tried: list[Exception] = []

        class Counted(Retry):
            def call_with_retry(self, do: Any, fail: Any, *args: Any, **options: Any) -> Any:
                def note(error: Exception) -> None:
                    tried.append(error)
                    fail(error)

                return super().call_with_retry(do, note, *args, **options)

        client = Redis(port=1, retry=Counted(ConstantBackoff(0.01), 5))
        with pytest.raises(ConnectionLostError, match="localhost:1/0"):
            _ = Queue(connection=client).count
        assert len(tried) == 6

    def test_a_wait_goes_on_without_a_server_until_its_time_is_over(self) -> None:
        job: Job[Any] = Job("a", connect("redis://localhost:1"))
        began = time.monotonic()
        assert job.latest_result(timeout=0.5) is None
        assert 0.5 <= time.monotonic() - began < LIMIT

    def test_a_client_without_permission(self, redis: Redis, server: EmbeddedServer) -> None:
        redis.acl_setuser("reader", enabled=True, nopass=True, keys=["*"], commands=["+@read", "+select", "+hello"])
        try:
            with Redis.from_url(server.url, username="reader", password="any") as client:
                assert Queue(connection=client).count == 0
                with pytest.raises(StoreError, match=r"refused: .*permission"):
                    Queue(connection=client).enqueue(jobs.nothing)
        finally:
            redis.acl_deluser("reader")

    def test_connections_are_killed(self, redis: Redis, server: EmbeddedServer) -> None:
        """Between two calls, and in the middle of a wait, which goes on."""
        with Redis.from_url(server.url) as client:
            queue = Queue(connection=client)
            job = queue.enqueue(jobs.add, 1)
            for _ in range(3):
                redis.client_kill_filter(_type="normal", skipme=True)
                assert queue.job_ids == [job.id]
            found: list[Result[int] | None] = []
            waiting = threading.Thread(target=lambda: found.append(job.latest_result(timeout=LIMIT)))
            waiting.start()
            for _ in range(3):
                wait_until(lambda: is_waiting(redis))
                redis.client_kill_filter(_type="normal", skipme=True)
            wait_until(lambda: is_waiting(redis))
            SimpleWorker([Queue(connection=redis)]).work(burst=True)
            waiting.join(LIMIT)
            assert [each and each.return_value for each in found] == [2]

    def test_a_lost_answer_puts_one_job_on_the_queue(self, redis: Redis, server: EmbeddedServer) -> None:
        """The request is sent again, and the server knows it."""
        with Redis.from_url(server.url) as client:
            queue = Queue(connection=client)
            queue.enqueue(jobs.nothing)
            read = AbstractConnection.read_response
            lost: list[object] = []

            def lose(self: Any, *args: Any, **options: Any) -> Any:
                answer = read(self, *args, **options)
                if not lost:
                    lost.append(answer)
                    raise ConnectionError("the answer got lost")
                return answer

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(AbstractConnection, "read_response", lose)
                job = queue.enqueue(jobs.add, 1)
            assert lost
            assert len(queue) == 2
            assert queue.job_ids[-1] == job.id

    def test_an_interrupt_in_a_wait(self, redis: Redis, server: EmbeddedServer) -> None:
        """Ctrl-C: no answer is left behind for the next call, and the connection goes back to the pool."""
        with Redis.from_url(server.url, max_connections=1) as client:
            job = Queue(connection=client).enqueue(jobs.add, 1)

            def interrupt() -> None:
                wait_until(lambda: is_waiting(redis))
                os.kill(os.getpid(), signal.SIGINT)

            thread = threading.Thread(target=interrupt)
            thread.start()
            with pytest.raises(KeyboardInterrupt):
                job.latest_result(timeout=LIMIT)
            thread.join()
            assert job.get_status().value == "queued"
            assert client.echo("here") == b"here"
            assert Queue(connection=client).job_ids == [job.id]

    def test_scripts_that_the_server_has_forgotten(self, redis: Redis) -> None:
        queue = Queue(connection=redis)
        for number in range(3):
            redis.script_flush()
            queue.enqueue(jobs.nothing, job_id=str(number))
        redis.script_flush()
        queue.enqueue_many([Queue.prepare_data(jobs.nothing, job_id=str(number)) for number in range(3, 600)])
        redis.script_flush()
        assert queue.fetch_job("1") is not None
        Job.fetch("1", redis).cancel()
        redis.script_flush()
        assert queue.empty() == 599


class TestRoundTrips:
    def test_a_hundred_jobs_are_requeued_in_one(self, redis: Redis, trips: list[int]) -> None:
        """Those that are gone, or are none, are passed over; the others are on their queue, in order."""
        queue = Queue(connection=redis)
        made = queue.enqueue_many([Queue.prepare_data(jobs.fail, job_id=f"j{number:03}") for number in range(250)])
        redis.delete(queue.key)
        redis.zadd(queue.failed_job_registry.key, {job.id: 2e9 + number for number, job in enumerate(made)})
        for job in made:
            redis.hset(job.key, "status", "failed")
        redis.delete(made[7].key)
        redis.hset(made[120].key, "status", "nonsense")
        told: list[int] = []
        assert Queue("other", redis).failed_job_registry.requeue_all() == 0  # which loads a script; here is the other:
        queue.enqueue(jobs.nothing, job_id="before").cancel()
        queue.canceled_job_registry.requeue("before")
        queue.remove("before")
        trips.clear()
        assert queue.failed_job_registry.requeue_all(progress=told.append) == 248
        assert told == [99, 198, 248]
        assert len(trips) == 1 + 2 * 3  # the count; each page, and its jobs
        assert queue.job_ids == [job.id for job in made if job not in (made[7], made[120])]
        assert queue.failed_job_registry.get_job_ids() == ["j007", "j120"]

    def test_a_call_is_one(self, redis: Redis, trips: list[int]) -> None:
        queue = Queue(connection=redis)
        job = queue.enqueue(jobs.add, 1)
        calls: list[Callable[[], Any]] = [
            lambda: queue.enqueue(jobs.add, 1),
            lambda: queue.enqueue(jobs.add, 1, depends_on=job, meta={"a": 1}),
            lambda: queue.enqueue_many([Queue.prepare_data(jobs.add, (1,)) for _ in range(100)]),
            lambda: len(queue),
            lambda: Job.fetch(job.id, redis),
            lambda: Job.fetch_many([job.id] * 10, redis),
            job.get_status,
            lambda: job.is_finished,
            job.latest_result,
            lambda: job in queue.failed_job_registry,
        ]
        for call in calls:
            call()  # which loads its script
            trips.clear()
            call()
            assert len(trips) == 1
