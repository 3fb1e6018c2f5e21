"""Options of jobs across the two libraries: what one enqueues the other runs, and both read the same of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest
import redis
import rq
import rq.group
from redis.asyncio import Redis
from rq.rate_limit import RateLimitRegistry as RqRateLimitRegistry

from aiorq import Queue, Worker
from aiorq.group import Group
from aiorq.registry import RateLimitRegistry
from tests.interop.conftest import Side
from tests.interop.sides import Here, Library, Ours, Theirs, done
from tests.worker.test_webhooks import Listener, listener  # noqa: F401 - a fixture

NAME = "default"

Libraries: TypeAlias = dict[str, Library]


@pytest.fixture
def libraries(url: str, client: redis.Redis, connection: Redis, jobs_path: str, tmp_path: Path) -> Libraries:
    """Both libraries, under one prefix of an empty server."""
    side = Side(url, client, "rq")
    return {"rq": Theirs(side, jobs_path, tmp_path), "aiorq": Ours(side, jobs_path, tmp_path, connection)}


DIRECTIONS = pytest.mark.parametrize(("producer", "runner"), [("rq", "aiorq"), ("aiorq", "rq")])


class Read(NamedTuple):
    """What there is to read of a job that a worker has dealt with."""

    status: str
    results: list[str]
    """What kinds of outcomes it had, the last one first."""
    value: Any = None
    trace: Sequence[bytes] = ()
    """What its callbacks left."""


async def read(here: Here, role: str) -> Read:
    """Read a job."""
    job = await here.job(role)
    status = await done(job.get_status())
    results = [result.type.name for result in await done(job.results())]
    trace: Any = here.library.side.client.lrange(f"rq:trace:{job.id}", 0, -1)
    return Read(status.value, results, await done(job.return_value()), tuple(trace))


async def enqueue_all(here: Here) -> None:
    """Jobs with every option that says something about what becomes of them."""
    words = here.words
    retry, callback, dependency = words.Retry, words.Callback, words.Dependency
    await here.put("retried", "parity.fail_while_retries_are_left", 7, retry=retry(2))
    await here.put("in-vain", "jobs.fail", retry=retry(2), on_failure=callback("parity.on_failure"))
    await here.put("later", "jobs.fail", retry=retry(3, [60, 300]))
    await here.put("survivor", "parity.die_once", retry=retry(1, enqueue_at_front=True))
    await here.put("asked", "parity.ask_again_once", 8)
    await here.put("asked-in-vain", "parity.ask_again", 1)
    await here.put("asked-later", "parity.ask_again", 2, [300, 900])
    await here.put("repeated", "jobs.add", 1, repeat=words.Repeat(2), on_success=callback("parity.on_success"))
    await here.put("repeated-later", "jobs.add", 1, repeat=words.Repeat(2, [300, 900]))
    await here.put("successful", "jobs.nothing", on_success=callback("parity.on_success"))
    await here.put("undone", "jobs.add", 1, on_success=callback("parity.on_success_raising", timeout=20))
    await here.put("stopped", "parity.stop_myself", on_stopped=callback("parity.on_stopped"), retry=retry(1))
    await here.put("parent", "jobs.add", 1, result_ttl=60)
    await here.put("other-parent", "jobs.add", 1, result_ttl=0)
    await here.put("child", "jobs.add", 2, depends_on=[here.id("parent"), here.id("other-parent")])
    await here.put("grandchild", "jobs.add", 3, depends_on=dependency(here.id("child"), enqueue_at_front=True))
    await here.put("failing-parent", "jobs.fail")
    await here.put("strict", "jobs.add", 1, depends_on=here.id("failing-parent"))
    await here.put("allowing", "jobs.add", 4, depends_on=dependency(here.id("failing-parent"), allow_failure=True))
    limit = words.RateLimit("a-limit", 1)
    for role in ("limited-1", "limited-2", "limited-3"):
        await here.put(role, "jobs.fail" if role == "limited-2" else "jobs.add", 5, rate_limit=limit)
    await done(here.group.enqueue_many(here.queue(), [here.data("group-1"), here.data("group-2", result_ttl=60)]))
    many = [here.data("many-child", "jobs.add", 6, depends_on=here.id("many-parent")), here.data("many-parent")]
    await done(here.queue().enqueue_many(many))
    await done(here.queue().enqueue_in(timedelta(seconds=300), "jobs.add", 1, job_id=here.id("scheduled")))
    await done(here.queue().enqueue_in(timedelta(seconds=300), "jobs.add", 9, job_id=here.id("due"), at_front=True))
    await here.put("unique", "jobs.add", 1, unique=True)


def expected(runner: str) -> dict[str, Read]:
    """What must have become of these jobs."""
    once = ["SUCCESSFUL"]
    failure = b"failure: ValueError: on purpose, with a traceback"
    return {
        "retried": Read("finished", once, 7),
        "in-vain": Read("failed", ["FAILED"], None, (failure,) * 3),
        "later": Read("scheduled", []),
        "survivor": Read("finished", once, "survived"),
        "asked": Read("finished", ["SUCCESSFUL", "RETRIED"], 8),
        "asked-in-vain": Read("failed", ["MAX_RETRIES_EXCEEDED", "RETRIED"]),
        "asked-later": Read("scheduled", ["RETRIED"]),
        "repeated": Read("finished", once * 3, 2, (b"success: 2",) * 3),
        "repeated-later": Read("scheduled", once, 2),
        "successful": Read("finished", once, None, (b"success: None",)),
        "undone": Read("failed", ["FAILED"], None, (b"success, and raises: 2",)),
        "stopped": Read("stopped", ["STOPPED" if runner == "aiorq" else "FAILED"], None, (b"stopped",)),
        "parent": Read("finished", once, 2),
        "child": Read("finished", once, 3),
        "grandchild": Read("finished", once, 4),
        "failing-parent": Read("failed", ["FAILED"]),
        "strict": Read("deferred", []),
        "allowing": Read("finished", once, 5),
        "limited-1": Read("finished", once, 6),
        "limited-2": Read("failed", ["FAILED"]),
        "limited-3": Read("finished", once, 6),
        "group-1": Read("finished", once, 2),
        "group-2": Read("finished", once, 2),
        "many-parent": Read("finished", once, 2),
        "many-child": Read("finished", once, 7),
        "scheduled": Read("scheduled", []),
        "due": Read("finished", once, 10),
        "unique": Read("finished", once, 2),
    }


@DIRECTIONS
async def test_what_becomes_of_all_options(producer: str, runner: str, libraries: Libraries) -> None:
    await enqueue_all(Here(libraries[producer], NAME))
    client: Any = libraries[producer].side.client
    client.zadd("rq:scheduled:default", {"default_due": 1})
    await libraries[runner].work([NAME])
    for library in libraries.values():
        here = Here(library, NAME)
        roles = expected(runner)
        assert {role: await read(here, role) for role in roles} == roles
        assert not client.exists("rq:job:default_other-parent")
    # Nothing is left of what ran.
    assert client.llen("rq:queue:default") == 0
    assert client.keys("rq:wip:*") == client.keys("rq:execution*") == []
    assert [client.zcard(f"rq:rl:a-limit:{kind}") for kind in ("allowed", "rate_limited")] == [0, 0]
    assert client.zrange("rq:deferred:default", 0, -1) == [b"default_strict"]
    scheduled = client.zrange("rq:scheduled:default", 0, -1)
    assert sorted(scheduled) == [
        b"default_asked-later",
        b"default_later",
        b"default_repeated-later",
        b"default_scheduled",
    ]


ATTRIBUTES = (
    *(
        "status",
        "origin",
        "description",
        "meta",
        "timeout",
        "result_ttl",
        "failure_ttl",
        "ttl",
        "group_id",
        "func_name",
    ),
    *("args", "kwargs", "created_at", "enqueued_at", "dependency_ids", "allow_dependency_failures", "enqueue_at_front"),
    *("retries_left", "retry_intervals", "enqueue_at_front_on_retry", "repeats_left", "repeat_intervals"),
    *("rate_limit_key", "rate_limit_concurrency"),
)
CALLBACKS = [f"{kind}_callback_{what}" for kind in ("success", "failure", "stopped") for what in ("name", "timeout")]


async def show(here: Here, role: str) -> dict[str, Any]:
    """What a library reads of a job that waits. (What is not there is None, False or 0 in one or the other.)"""
    job = await here.job(role)
    shown = {name: getattr(job, name) or None for name in ATTRIBUTES if name != "status"}
    shown["status"] = await done(job.get_status())
    for name in CALLBACKS:
        shown[name] = getattr(job, f"_{name}" if isinstance(job, rq.job.Job) else name) or None
    shown["webhooks"] = [webhook.to_dict() for webhook in job.webhooks or []]
    return shown


@pytest.mark.parametrize("producer", ["rq", "aiorq"])
async def test_what_both_read_of_a_job_that_waits(producer: str, libraries: Libraries) -> None:
    here = Here(libraries[producer], NAME)
    words = here.words
    hooks = [words.Webhook("http://127.0.0.1:9/", "failed", method="POST", headers={"X-Who": "me"}, timeout=70)]
    await here.put("parent", "jobs.echo", 1, two=2, rate_limit=words.RateLimit("a-limit", 3), ttl=900)
    await here.put(
        "all",
        "jobs.echo",
        1,
        two=2,
        job_timeout="2m",
        result_ttl=700,
        failure_ttl="1h",
        ttl=900,
        description="a description",
        meta={"caller": "me"},
        retry=words.Retry(3, [60, 300], enqueue_at_front=True),
        repeat=words.Repeat(4, [60, 300]),
        on_success=words.Callback("parity.on_success", timeout=70),
        on_failure=words.Callback("parity.on_failure"),
        on_stopped=words.Callback("parity.on_stopped", timeout="3m"),
        webhooks=hooks,
        depends_on=words.Dependency(here.id("parent"), allow_failure=True, enqueue_at_front=True),
    )
    await done(here.group.enqueue_many(here.queue(), [here.data("grouped")]))
    theirs, ours = (Here(library, NAME) for library in libraries.values())
    for role in ("parent", "all", "grouped"):
        assert await show(theirs, role) == await show(ours, role), role
    shown = await show(ours, "all")
    assert (shown["retries_left"], shown["retry_intervals"], shown["repeats_left"]) == (3, [60, 300], 4)
    assert (shown["dependency_ids"], shown["webhooks"][0]["timeout"]) == (["default_parent"], 70)


@DIRECTIONS
async def test_groups(producer: str, runner: str, libraries: Libraries, connection: Redis) -> None:
    here = Here(libraries[producer], NAME)
    await done(here.group.enqueue_many(here.queue(), [here.data("one"), here.data("two", "jobs.fail", "why")]))
    await libraries[runner].work([NAME])
    client = here.library.side.client
    assert [group.name for group in rq.group.Group.all(client)] == ["default_group"]
    assert [group.name for group in await Group.all(connection)] == ["default_group"]
    theirs = rq.group.Group.fetch("default_group", client).get_jobs()
    ours = await (await Group.fetch("default_group", connection)).get_jobs()
    for jobs in theirs, ours:
        states = {job.id: await done(job.get_status()) for job in jobs}
        assert states == {"default_one": "finished", "default_two": "failed"}


@DIRECTIONS
async def test_rate_limits_while_they_wait(
    producer: str, runner: str, libraries: Libraries, client: redis.Redis, connection: Redis
) -> None:
    """What one library lets wait the other lets in."""
    here, other = Here(libraries[producer], NAME), Here(libraries[runner], NAME)
    limit = here.words.RateLimit("a-limit", 2)
    for role in ("1", "2", "3"):
        await here.put(role, rate_limit=limit)
    await other.put("4", rate_limit=other.words.RateLimit("a-limit", 2))
    theirs, ours = RqRateLimitRegistry("a-limit", client), RateLimitRegistry("a-limit", connection)
    assert theirs.get_allowed_job_ids() == await ours.get_allowed_job_ids() == ["default_1", "default_2"]
    # RQ's moments are whole seconds, so one of its jobs may come before one of aiorq's of the same second.
    assert theirs.get_rate_limited_job_ids() == await ours.get_rate_limited_job_ids()
    await done((await other.job("1")).cancel())
    await done((await other.job("2")).delete())
    assert theirs.get_allowed_job_ids() == await ours.get_allowed_job_ids()
    assert sorted(theirs.get_allowed_job_ids()) == ["default_3", "default_4"]
    assert sorted(await Queue(NAME, connection).get_job_ids()) == ["default_3", "default_4"]


async def test_rate_limit_of_rq_holds_in_a_worker_of_many_jobs(
    rq_queue: rq.Queue, connection: Redis, jobs_path: str
) -> None:
    limited = [rq_queue.enqueue("jobs.sleep", 0.02, rate_limit=rq.RateLimit("a-limit", 1)) for _ in range(4)]
    await Worker(NAME, connection=connection, path=jobs_path, concurrency=4).work(burst=True)
    results = [job.latest_result() for job in limited]
    runs: list[Any] = [(result.execution_started_at, result.execution_ended_at) for result in results if result]
    assert len(runs) == len(limited)
    for (_, ended), (began, _) in pairwise(sorted(runs)):
        assert ended <= began


@DIRECTIONS
async def test_webhooks(
    producer: str,
    runner: str,
    libraries: Libraries,
    listener: Listener,  # noqa: F811
) -> None:
    here = Here(libraries[producer], NAME)

    def hooks(status: str) -> list[Any]:
        url, kind = listener.url(f"/{status}"), here.words.Webhook
        return [kind(url, status, method="POST", headers={"X-Who": "me"}), kind(listener.url("/never"), other[status])]

    other = {"finished": "failed", "failed": "finished"}
    await here.put("good", "jobs.add", 1, webhooks=hooks("finished"))
    await here.put("bad", "jobs.fail", webhooks=hooks("failed"), retry=here.words.Retry(1))
    await libraries[runner].work([NAME])
    requests = [await listener.next() for _ in range(2)]
    assert listener.requests.empty()
    bodies = {line: json.loads(body) for line, _, body in requests}
    assert {headers["x-who"] for _, headers, _ in requests} == {"me"}
    good, bad = bodies["POST /finished HTTP/1.1"], bodies["POST /failed HTTP/1.1"]
    assert bad.pop("exc_info").splitlines()[-1] == "ValueError: on purpose"
    for role, body, status in ("good", good, "finished"), ("bad", bad, "failed"):
        job = await here.job(role)
        assert body.pop("enqueued_at") == job.enqueued_at.isoformat()
        assert body.pop("ended_at")[:10] == job.ended_at.isoformat()[:10]
        function = "jobs.add" if role == "good" else "jobs.fail"
        assert body == {"job_id": job.id, "func_name": function, "status": status}


@DIRECTIONS
async def test_one_cancels_and_requeues_what_the_other_enqueued(
    producer: str, runner: str, libraries: Libraries, client: redis.Redis
) -> None:
    here, other = Here(libraries[producer], NAME), Here(libraries[runner], NAME)
    await here.put("parent")
    await here.put("child", depends_on=here.id("parent"))
    await here.put("failing", "parity.fail_unless_told", here.folder)
    await here.put("waiting", depends_on=here.id("failing"))
    enqueued = await done((await other.job("parent")).cancel(enqueue_dependents=True))
    assert enqueued == {NAME: ["default_child"]}
    await libraries[runner].work([NAME])
    here.tell("failing")
    await done((await here.job("failing")).requeue())
    await libraries[runner].work([NAME])
    found = {role: (await read(other, role)).status for role in ("parent", "child", "failing", "waiting")}
    assert found == {"parent": "canceled", "child": "finished", "failing": "finished", "waiting": "finished"}
    assert client.zrange("rq:canceled:default", 0, -1) == [b"default_parent"]
