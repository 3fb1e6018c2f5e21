"""What type checkers see of an enqueue: `nox -s types` reads this file, whose every `type: ignore` must be needed.

The calls are also made, on a queue that is asked nothing but what it was handed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

import pytest
from decorated import add, send

from aiorq import Job, Queue
from aiorq.enqueuer import EnqueueData, Enqueuer
from aiorq.options import JobOptions
from aiorq.retry import Retry


def double(number: int, *, times: int = 1) -> float:
    return 2.0**times * number


async def fetch(url: str, job_id: str = "an argument of its own") -> bytes:
    return f"{url} {job_id}".encode()


class Greeter:
    def greet(self, name: str) -> str:
        return name

    async def __call__(self, name: str) -> list[str]:
        return [name]


class Recorder:
    """Takes what would be put on a queue."""

    def __init__(self) -> None:
        self.put: list[tuple[EnqueueData, datetime | timedelta | None]] = []

    async def enqueue_data(self, data: EnqueueData, when: datetime | timedelta | None = None) -> Job[Any]:
        self.put.append((data, when))
        return Job("a-job")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


async def test_results_are_those_of_the_function(recorder: Recorder) -> None:
    options = Enqueuer(recorder, JobOptions())
    assert_type(await options.enqueue(double, 1, times=3), Job[float])
    assert_type(await options.enqueue(fetch, "url"), Job[bytes])
    assert_type(await options.enqueue(Greeter().greet, "ada"), Job[str])
    assert_type(await options.enqueue(Greeter(), "ada"), Job[list[str]])
    assert_type(await options.enqueue(add, 1), Job[int])
    assert_type(await options.enqueue(send, "ada", copy=True), Job[list[str]])
    assert [(data.args, data.kwargs) for data, _ in recorder.put] == [
        ((1,), {"times": 3}),
        (("url",), {}),
        (("ada",), {}),
        (("ada",), {}),
        ((1,), {}),
        (("ada",), {"copy": True}),
    ]


async def test_times(recorder: Recorder) -> None:
    options = Enqueuer(recorder, JobOptions())
    moment, delta = datetime(2030, 1, 1, tzinfo=UTC), timedelta(hours=1)
    assert_type(await options.enqueue_at(moment, double, 1), Job[float])
    assert_type(await options.enqueue_in(delta, fetch, "url"), Job[bytes])
    assert [(data.func, when) for data, when in recorder.put] == [(double, moment), (fetch, delta)]


async def test_arguments_are_checked(recorder: Recorder) -> None:
    options = Enqueuer(recorder, JobOptions())
    await options.enqueue(double, "one")  # type: ignore[call-overload]
    await options.enqueue(double)  # type: ignore[call-overload]
    await options.enqueue(double, 1, 2)  # type: ignore[call-overload]
    await options.enqueue(double, 1, job_timeout=3)  # type: ignore[arg-type, call-arg]
    await options.enqueue_at(datetime.now(UTC), fetch, 3)  # type: ignore[call-overload]
    await options.enqueue_in(3, fetch, "url")  # type: ignore[call-overload]
    options.prepare(fetch, 3)  # type: ignore[arg-type]
    assert len(recorder.put) == 6


async def test_all_names_are_the_functions_own(recorder: Recorder) -> None:
    """Even those of options."""
    options = Enqueuer(recorder, JobOptions(job_id="the-job"))
    await options.enqueue(fetch, "url", job_id="its own")
    ((data, _),) = recorder.put
    assert (data.kwargs, data.options.job_id) == ({"job_id": "its own"}, "the-job")


def test_options_of_a_queue() -> None:
    queue = Queue()
    options = queue.options(job_timeout="2m", retry=Retry(3), at_front=True)
    assert_type(options, Enqueuer)
    data = options.prepare(fetch, "url")
    assert_type(data, EnqueueData)
    assert (data.func, data.args, data.options.job_timeout) == (fetch, ("url",), 120)
    with pytest.raises(TypeError):
        queue.options(no_such=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        queue.options(retry=3)  # type: ignore[arg-type]


async def enqueue_decorated() -> None:
    """Not called: this would ask Redis."""
    assert_type(await add.enqueue(1, right=2), Job[int])
    assert_type(await add.delay(1), Job[int])
    assert_type(await send.enqueue("ada"), Job[list[str]])
    assert_type(await add.enqueue(1, job_id="mine"), Job[int])
    assert_type(await add.enqueue(1, at_front=True, depends_on="other"), Job[int])
    await add.enqueue("one")  # type: ignore[call-overload]
    await add.enqueue()  # type: ignore[call-overload]
    await add.enqueue(1, timeout=3)  # type: ignore[call-overload]
    await send.enqueue("ada", copy=True, job_id=3)  # type: ignore[call-overload]


async def test_decorated_functions_stay_what_they_are() -> None:
    assert_type(add(1), int)
    assert_type(await send("ada"), list[str])
    with pytest.raises(TypeError):
        add()  # type: ignore[call-arg]
    assert (add(1), await send("ada")) == (2, ["ada"])
