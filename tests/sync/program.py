"""A program that was written for RQ. `test_program.py` runs it with `rq`, and with `aiorq.sync` in its import lines.

What it prints depends on neither ids nor times. Statuses are printed by their value: RQ's text of one is
`JobStatus.QUEUED`.
"""

# mypy: ignore-errors
# pyright: basic, reportOptionalMemberAccess=false, reportArgumentType=false, reportOperatorIssue=false
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from redis import Redis
from rq import Callback, Queue, Repeat, Retry, SimpleWorker, Worker, cancel_job, get_current_job, requeue_job
from rq.command import send_stop_job_command
from rq.decorators import job
from rq.exceptions import InvalidJobOperation, NoSuchJobError, TimeoutFormatError
from rq.group import Group
from rq.job import Dependency, Job, JobStatus
from rq.registry import (
    CanceledJobRegistry,
    DeferredJobRegistry,
    FailedJobRegistry,
    FinishedJobRegistry,
    ScheduledJobRegistry,
    StartedJobRegistry,
)
from rq.results import Result
from rq.serializers import JSONSerializer
from rq.suspension import is_suspended, resume, suspend

connection = Redis.from_url(sys.argv[1])


# What is enqueued.


def fetch(page):
    return {"spring": "tulip rose tulip", "summer": "rose lily", "autumn": "aster rose aster"}[page]


def count(text):
    return dict(Counter(text.split()))


def total(*job_ids):
    """Add up what other jobs have counted."""
    counted = Counter()
    for each in Job.fetch_many(job_ids, connection=connection):
        counted.update(each.return_value())
    return sorted(counted.items())


def unreliable(marks):
    """Succeeds at its third attempt; the others leave a mark in a file."""
    with Path(marks).open("a") as file:
        file.write("x")
    if len(Path(marks).read_text()) < 3:
        raise ConnectionError("not yet")
    return "at last"


def broken(number):
    return number / 0


def remember(step):
    current = get_current_job()
    current.meta.setdefault("steps", []).append(step)
    current.save_meta()
    return current.origin


def again(most):
    return Retry(max=most, interval=0)


def log_success(job, connection, result, *args, **kwargs):
    connection.rpush("log", f"{job.func_name.rpartition('.')[2]} gave {result}, {job.meta}")


def log_failure(job, connection, type, value, traceback):  # noqa: A002
    connection.rpush("log", f"{job.func_name.rpartition('.')[2]} raised {type.__name__}: {value}")


# The program.


def say(*what):
    print(*what)


def work(*names, kind=SimpleWorker, **options):
    worker = kind([Queue(name, connection=connection) for name in names], connection=connection)
    say("worked:", worker.work(burst=True, logging_level="CRITICAL", **options), worker.queue_names())


def log():
    lines = [line.decode() for line in connection.lrange("log", 0, -1)]
    connection.delete("log")
    return lines


def dependencies():
    say("== dependencies")
    q, low = Queue(connection=connection), Queue("low", connection=connection)
    pages = [q.enqueue(fetch, page) for page in ("spring", "summer", "autumn")]
    counts = [
        low.enqueue(count, "tulip rose lily", depends_on=page, job_id=f"count-{n}") for n, page in enumerate(pages)
    ]
    report = low.enqueue(total, *(each.id for each in counts), depends_on=counts, on_success=Callback(log_success))
    say(len(q), len(low), report.get_status().value, report.is_deferred, len(low.deferred_job_registry))
    say([each.dependency == page for each, page in zip(counts, pages, strict=True)], pages[0].dependent_ids)
    work("default", "low")
    say(report.result, report.return_value(), [page.get_status() for page in pages], log())
    say(len(q.finished_job_registry), len(low.finished_job_registry), len(low.deferred_job_registry), low.is_empty())


def failures(marks):
    say("== failures")
    q = Queue(connection=connection)
    lucky = q.enqueue(unreliable, marks, retry=Retry(max=5), on_success=log_success, on_failure=Callback(log_failure))
    unlucky = q.enqueue(broken, 7, job_id="unlucky", on_failure=Callback("program.log_failure", timeout=10))
    anyway = q.enqueue(fetch, "spring", depends_on=Dependency(jobs=[unlucky], allow_failure=True))
    never = q.enqueue(fetch, "spring", depends_on="unlucky")
    work("default", kind=Worker)
    say(sorted(log()), lucky.return_value(), Path(marks).read_text(), anyway.is_finished, never.is_deferred)
    say(unlucky.is_failed, unlucky.exc_info.strip().splitlines()[-1], unlucky.latest_result().type)
    registry = FailedJobRegistry(queue=q)
    say("unlucky" in registry, unlucky in registry, registry.get_job_ids(), registry.count)
    requeue_job("unlucky", connection=connection)
    say(q.job_ids, len(registry), unlucky.get_position(), q.get_job_position("unlucky"), unlucky.get_status().value)
    work("default")
    say([result.type is Result.Type.FAILED for result in unlucky.results()], len(log()))
    registry.remove(unlucky, delete_job=True)
    for attempt in (lambda: Job.fetch("unlucky", connection=connection), lambda: requeue_job(lucky.id, connection)):
        try:
            attempt()
        except (NoSuchJobError, InvalidJobOperation) as error:
            say(type(error).__name__)
    asked = q.enqueue(again, 2)
    work("default")
    say(asked.is_failed, [result.type.name for result in asked.results()])


def changes():
    say("== changes of mind")
    q = Queue("plans", connection=connection)
    first, second, third = (q.enqueue(fetch, "spring", job_id=name, at_front=name == "c") for name in "abc")
    child = q.enqueue(fetch, "summer", depends_on=[first], job_id="child")
    say(q.job_ids, [each.id for each in q.jobs], q.get_job_ids(1, 1), q.count, third.get_position())
    second.cancel()
    say(second.is_canceled, "b" in CanceledJobRegistry("plans", connection=connection), q.job_ids)
    try:
        second.cancel()
    except InvalidJobOperation as error:
        say(type(error).__name__)
    cancel_job("a", connection=connection, enqueue_dependents=True)
    say(q.job_ids, child.get_status().value, child in DeferredJobRegistry(queue=q))
    try:
        send_stop_job_command(connection, "child")
    except InvalidJobOperation as error:
        say(type(error).__name__)
    third.delete()
    say(q.fetch_job("c"), q.fetch_job("child").id, Job.exists("c", connection=connection), q.empty(), len(q))
    suspend(connection)
    say(
        bool(is_suspended(connection)),
        Queue("plans", connection=connection) == q,
        sorted([q, Queue("a", connection)])[0].name,
    )
    resume(connection)
    say(bool(is_suspended(connection)))


def groups():
    say("== groups")
    q = Queue("grouped", connection=connection)
    group = Group.create(connection=connection, name="flowers")
    made = group.enqueue_many(
        q, [Queue.prepare_data(count, (text,), job_id=f"g{n}") for n, text in enumerate(("a b a", "c"))]
    )
    say(
        [each.id for each in made],
        sorted(each.id for each in group.get_jobs()),
        [g.name for g in Group.all(connection)],
    )
    work("grouped")
    say([each.return_value() for each in Job.fetch_many(["g0", "g1"], connection=connection)])
    with connection.pipeline() as pipe:
        q.enqueue_many([Queue.prepare_data(count, ("x",)), Queue.prepare_data(fetch, ("summer",))], pipeline=pipe)
        before = len(q)
        pipe.execute()
    say(before, len(q), q.delete(), [each.name for each in Queue.all(connection=connection) if each == q])


def times():
    say("== times")
    q = Queue("later", connection=connection, default_timeout="2m")
    soon = q.enqueue_in(timedelta(hours=1), remember, "later", meta={"by": "ada"}, result_ttl=77)
    late = q.enqueue_at(datetime(2100, 1, 1, tzinfo=UTC), fetch, "spring")
    registry = ScheduledJobRegistry(queue=q)
    say(len(q), len(registry), soon in registry, registry.get_scheduled_time(late), soon.is_scheduled, soon.timeout)
    registry.remove(soon)
    q.enqueue_job(soon)
    repeated = q.enqueue(fetch, "summer", repeat=Repeat(times=2))
    work("later")
    soon.refresh()
    say(soon.meta, soon.get_meta(), soon.result, soon.timeout, soon.result_ttl, 70 <= connection.ttl(soon.key) <= 77)
    say(
        soon.created_at <= soon.enqueued_at <= soon.started_at <= soon.ended_at,
        soon.args,
        soon.kwargs,
        soon.description,
    )
    say(
        len(repeated.results()),
        repeated.is_finished,
        len(FinishedJobRegistry(queue=q)),
        len(StartedJobRegistry(queue=q)),
    )


def corners():
    say("== corners")
    q = Queue("corners", connection=connection, serializer=JSONSerializer)
    plain = q.enqueue(fetch, args=("summer",), kwargs={}, description="a page", ttl=90)
    SimpleWorker([q], connection=connection, serializer=JSONSerializer).work(burst=True, logging_level="CRITICAL")
    say(plain.return_value(), plain.description, plain.get_status() == JobStatus.FINISHED, bool(q), q.name, q.key)
    now = Queue("now", is_async=False, connection=connection)
    say(now.enqueue(fetch, "spring").result, now.enqueue(broken, 1).is_failed, len(now), get_current_job())
    named = job("named", connection=connection, timeout=5, result_ttl=10)(count)
    made = named.delay("z z")
    say(made.origin, made.timeout, named("z"), made.func_name.rpartition(".")[2], made.get_call_string())
    work("named")
    say(made.return_value(), Worker.count(connection=connection), Worker.all(connection=connection))
    for bad in ({"job_timeout": "soon"}, {"ttl": 0}, {"job_id": "a b"}):
        try:
            q.enqueue(fetch, "spring", **bad)
        except (ValueError, TimeoutFormatError):
            say("refused", sorted(bad))


def main():
    dependencies()
    failures(sys.argv[2])
    changes()
    groups()
    times()
    corners()
