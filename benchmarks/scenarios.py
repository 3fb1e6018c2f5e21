"""What is measured. Each scenario gives one number for a library and a round."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import redis

from aiorq.server import EmbeddedServer
from benchmarks.adapters import Adapter, running


def drain(adapter: Adapter, number: int) -> float:
    """Jobs a second through one worker that finds all in its queue, from the first start to the last end."""
    with EmbeddedServer() as server, redis.Redis.from_url(server.url) as client:
        ids = adapter.enqueue(server.url, number)
        with running(adapter, server.url, burst=True):
            pass
        times = [_times(client, job_id) for job_id in ids]
        return number / (max(end for _, end in times) - min(start for start, _ in times))


def idle_latency(adapter: Adapter, number: int) -> float:
    """Median milliseconds from enqueue to start, one job after the other, with a worker that waits."""
    with (
        EmbeddedServer() as server,
        redis.Redis.from_url(server.url) as client,
        running(adapter, server.url, burst=False),
    ):
        delays = []
        for _ in range(number):
            (job_id,) = adapter.enqueue(server.url, 1)
            client.xread({f"rq:results:{job_id}": "0-0"}, block=30_000)
            enqueued = client.hget(f"rq:job:{job_id}", "enqueued_at")
            assert isinstance(enqueued, bytes)
            delays.append((_times(client, job_id)[0] - _seconds(enqueued.decode())) * 1000)
        return statistics.median(delays[1:])


def _times(client: redis.Redis, job_id: str) -> tuple[float, float]:
    entries: Any = client.xrevrange(f"rq:results:{job_id}", count=1)
    if not entries or entries[0][1][b"type"] != b"1":
        raise RuntimeError(f"job {job_id} has no result: a library that loses jobs is not fast")
    fields = entries[0][1]
    return float(fields[b"execution_started_at"]), float(fields[b"execution_ended_at"])


def _seconds(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp()


SCENARIOS: dict[str, tuple[str, int, Callable[[Adapter, int], float]]] = {
    "drain": ("jobs/s", 500, drain),
    "idle": ("ms to start", 40, idle_latency),
}
"""Name -> unit, number of jobs, what measures it."""
