"""What users do with jobs, as calls that rq and aiorq both know. A scenario has the name of its function, with dashes.

Numbers of seconds differ by more than a minute, so that comparing them with a tolerance tells one from another.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeAlias

from tests.interop.sides import Here, Scenario, done

Play: TypeAlias = AsyncGenerator[str, None]
SCENARIOS: dict[str, Scenario] = {}
RUN = ""
"""A worker runs what waits in the scenario's first queue."""
IDLE = "idle"
"""The role of a queue that no worker serves: what comes into it stays."""


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__.replace("_", "-")] = function
    return function


# What is stored.


@scenario
async def stored_retry(here: Here) -> None:
    await here.put("once", retry=here.words.Retry(1))
    await here.put("every-minute", retry=here.words.Retry(3, 60))
    await here.put("list", retry=here.words.Retry(5, [60, 300], enqueue_at_front=True))


@scenario
async def stored_repeat(here: Here) -> None:
    await here.put("once", repeat=here.words.Repeat(1))
    await here.put("list", repeat=here.words.Repeat(4, [60, 300]))


@scenario
async def stored_callbacks(here: Here) -> None:
    callback = here.words.Callback
    await here.put("success", on_success=callback("parity.on_success"))
    await here.put("failure", on_failure=callback("parity.on_failure", timeout="2m"))
    await here.put("stopped", on_stopped=callback("parity.on_stopped", timeout=90))


@scenario
async def stored_webhooks(here: Here) -> None:
    webhook = here.words.Webhook
    given = [
        webhook("http://127.0.0.1:9/a", "finished"),
        webhook("https://127.0.0.1:9/b?c=d", "failed", method="POST", headers={"X-Who": "me"}, timeout=70),
    ]
    await here.put("both", webhooks=given)
    await here.put("none", webhooks=[])


@scenario
async def stored_all(here: Here) -> None:
    words = here.words
    await here.put("parent")
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
        at_front=True,
        retry=words.Retry(3, [60, 300], enqueue_at_front=True),
        repeat=words.Repeat(4, [60, 300]),
        on_success=words.Callback("parity.on_success", timeout=70),
        on_failure=words.Callback("parity.on_failure"),
        on_stopped=words.Callback("parity.on_stopped", timeout="3m"),
        webhooks=[words.Webhook("http://127.0.0.1:9/", "failed")],
        depends_on=words.Dependency(here.id("parent"), allow_failure=True, enqueue_at_front=True),
    )


@scenario
async def created_and_saved(here: Here) -> None:
    await done(here.made("job", meta={"a": 1}, timeout=90, result_ttl=700).save())


@scenario
async def created_and_enqueued(here: Here) -> None:
    await done(here.queue().enqueue_job(here.made("job", ttl=900, retry=here.words.Retry(3, 60))))
    await done(here.queue().enqueue_job(here.made("front"), at_front=True))


@scenario
async def created_and_scheduled(here: Here) -> None:
    await done(here.queue().schedule_job(here.made("job"), datetime.now(UTC) + timedelta(seconds=300)))


@scenario
async def created_and_scheduled_on_a_queue_with_a_timeout(here: Here) -> None:
    queue = here.queue(default_timeout=400)
    await done(queue.schedule_job(here.made("job"), datetime.now(UTC) + timedelta(seconds=300)))
    await done(queue.schedule_job(here.made("own", timeout=90), datetime.now(UTC) + timedelta(seconds=300)))


@scenario
async def created_and_scheduled_for_now(here: Here) -> Play:
    await done(here.queue().schedule_job(here.made("job"), datetime.now(UTC) - timedelta(seconds=5)))
    yield RUN


@scenario
async def created_by_queue(here: Here) -> None:
    job = here.queue().create_job(
        "jobs.add", (1,), timeout=90, job_id=here.id("job"), depends_on=[here.id("parent")], meta={"a": 1}
    )
    await here.put("parent")
    await done(here.queue().enqueue_job(job))


@scenario
async def enqueue_call(here: Here) -> None:
    call = partial(here.queue().enqueue_call, "jobs.echo", (1,), {"timeout": 2})
    await done(call(timeout=90, result_ttl=700, ttl=900, failure_ttl=300, job_id=here.id("job"), meta={"a": 1}))
    await done(call(job_id=here.id("front"), at_front=True))


@scenario
async def changed_while_it_waits(here: Here) -> None:
    job = await here.put("meta", meta={"a": 1})
    job.meta["b"] = 2
    await done(job.save_meta())
    job = await here.put("all", meta={"a": 1})
    job.meta["b"] = 2
    job.description = "another one"
    job.timeout = 400
    job.result_ttl = 900
    await done(job.save())


# Unique jobs.


@scenario
async def unique(here: Here) -> None:
    await here.put("job", unique=True, ttl=900, meta={"a": 1})
    await here.put("front", unique=True, at_front=True)


@scenario
async def unique_twice(here: Here) -> None:
    await here.put("job", "jobs.add", 1, unique=True)
    await refused(partial(here.put, "job", "jobs.add", 2, unique=True), "DuplicateJobError")
    await here.put("plain", "jobs.add", 1)
    await refused(partial(here.put, "plain", "jobs.add", 2, unique=True), "DuplicateJobError")


@scenario
async def unique_after_the_end(here: Here) -> Play:
    await here.put("job", "jobs.add", 1, unique=True)
    yield RUN
    await refused(partial(here.put, "job", "jobs.add", 2, unique=True), "DuplicateJobError")


@scenario
async def unique_scheduled(here: Here) -> None:
    enqueue = partial(here.queue().enqueue_in, timedelta(seconds=300), "jobs.add", job_id=here.id("job"), unique=True)
    await done(enqueue(1, ttl=900))
    await refused(partial(enqueue, 2), "DuplicateJobError")


async def refused(call: Callable[[], object], error: str) -> None:
    """Make a call that must raise an error of that name."""
    raised = ""
    try:
        await done(call())
    except Exception as refusal:  # noqa: BLE001 - of either library
        raised = type(refusal).__name__
    assert raised == error


# For a later time.


@scenario
async def enqueue_at(here: Here) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=300)
    enqueue = partial(here.queue().enqueue_at, moment)
    await done(enqueue("jobs.add", 1, job_id=here.id("job"), ttl=900, meta={"a": 1}))
    await done(enqueue("jobs.add", 1, job_id=here.id("front"), at_front=True))


@scenario
async def enqueue_in(here: Here) -> None:
    await done(here.queue().enqueue_in(timedelta(seconds=300), "jobs.add", 1, job_id=here.id("job")))
    await done(here.queue().enqueue_in(timedelta(hours=2), "jobs.add", 1, job_id=here.id("later"), at_front=True))


@scenario
async def scheduled_and_deferred(here: Here) -> None:
    parent = await here.put("parent")
    enqueue = partial(here.queue().enqueue_in, timedelta(seconds=300), "jobs.add", 1)
    await done(enqueue(job_id=here.id("child"), depends_on=parent))


@scenario
async def scheduled_anew(here: Here) -> None:
    job = await done(here.queue().enqueue_in(timedelta(seconds=300), "jobs.add", 1, job_id=here.id("job")))
    await done(here.queue().scheduled_job_registry.schedule(job, datetime.now(UTC) + timedelta(seconds=900)))


# Waiting for others.


@scenario
async def deferred(here: Here) -> None:
    parent = await here.put("parent")
    await here.put("child", depends_on=parent)
    await here.put("by-id", depends_on=here.id("parent"), ttl=900)
    await here.put("grandchild", depends_on=here.id("child"), at_front=True)


@scenario
async def deferred_by_several(here: Here) -> None:
    parents = [await here.put(role) for role in ("one", "two", "three")]
    await here.put("child", depends_on=parents)


@scenario
async def deferred_across_queues(here: Here) -> None:
    one, two = await here.put("one"), await here.put("two", queue="other")
    await here.put("child", depends_on=[one, two], queue="third")


@scenario
async def deferred_with_options(here: Here) -> None:
    parent, other = await here.put("parent"), await here.put("other")
    dependency = here.words.Dependency
    await here.put("plain", depends_on=dependency(parent))
    await here.put("allowing", depends_on=dependency(parent, allow_failure=True))
    await here.put("front", depends_on=dependency([parent, other], enqueue_at_front=True))
    await here.put("both", depends_on=[dependency(parent, True), dependency(other, enqueue_at_front=True)])


@scenario
async def parent_missing(here: Here) -> None:
    await here.put("child", depends_on=here.id("missing"))
    await here.put("parent")
    await here.put("mixed", depends_on=[here.id("missing"), here.id("parent")])


@scenario
async def parent_finished_before(here: Here) -> Play:
    parent = await here.put("parent")
    yield RUN
    await here.put("child", depends_on=parent)
    await here.put("front", depends_on=here.words.Dependency(parent, enqueue_at_front=True))


@scenario
async def parent_failed_before(here: Here) -> Play:
    parent = await here.put("parent", "jobs.fail")
    yield RUN
    await here.put("strict", depends_on=parent)
    await here.put("allowing", depends_on=here.words.Dependency(parent, allow_failure=True))


@scenario
async def parent_finished(here: Here) -> Play:
    parent = await here.put("parent")
    await here.put("before", queue=IDLE)
    await here.put("child", depends_on=parent, queue=IDLE)
    yield RUN


@scenario
async def parent_finished_child_with_ttl(here: Here) -> Play:
    parent = await here.put("parent")
    await here.put("child", depends_on=parent, queue=IDLE, ttl=900)
    yield RUN


@scenario
async def parent_finished_child_at_front(here: Here) -> Play:
    parent = await here.put("parent")
    await here.put("before", queue=IDLE)
    await here.put("child", depends_on=here.words.Dependency(parent, enqueue_at_front=True), queue=IDLE)
    yield RUN


@scenario
async def parent_finished_child_run(here: Here) -> Play:
    parent = await here.put("parent")
    child = await here.put("child", depends_on=parent)
    await here.put("grandchild", depends_on=child)
    yield RUN


@scenario
async def parent_finished_in_another_queue(here: Here) -> Play:
    parent = await here.put("parent", queue="other")
    await here.put("child", depends_on=parent)
    yield "other"


@scenario
async def parents_finished(here: Here) -> Play:
    parents = [await here.put(role) for role in ("one", "two")]
    await here.put("child", depends_on=parents, queue=IDLE)
    yield RUN


@scenario
async def one_of_two_parents_finished(here: Here) -> Play:
    parents = [await here.put("one"), await here.put("two", queue=IDLE)]
    await here.put("child", depends_on=parents)
    yield RUN


@scenario
async def parent_failed(here: Here) -> Play:
    parent = await here.put("parent", "jobs.fail", failure_ttl=900)
    await here.put("strict", depends_on=parent)
    await here.put("allowing", depends_on=here.words.Dependency(parent, allow_failure=True), queue=IDLE)
    yield RUN


@scenario
async def parent_failed_and_finished(here: Here) -> Play:
    parents = [await here.put("one", "jobs.fail"), await here.put("two")]
    await here.put("strict", depends_on=parents)
    await here.put("allowing", depends_on=here.words.Dependency(parents, allow_failure=True), queue=IDLE)
    yield RUN


@scenario
async def parent_to_be_tried_again(here: Here) -> Play:
    parent = await here.put("parent", "jobs.fail", retry=here.words.Retry(1, 300))
    await here.put("strict", depends_on=parent)
    await here.put("allowing", depends_on=here.words.Dependency(parent, allow_failure=True))
    yield RUN


@scenario
async def parent_stopped(here: Here) -> Play:
    parent = await here.put("parent", "parity.stop_myself")
    await here.put("strict", depends_on=parent)
    await here.put("allowing", depends_on=here.words.Dependency(parent, allow_failure=True))
    yield RUN


@scenario
async def parent_not_kept(here: Here) -> Play:
    parent = await here.put("parent", result_ttl=0)
    await here.put("child", depends_on=parent, queue=IDLE)
    yield RUN


@scenario
async def failed_parent_not_kept(here: Here) -> Play:
    parent = await here.put("parent", "jobs.fail", failure_ttl=0)
    await here.put("allowing", depends_on=here.words.Dependency(parent, allow_failure=True), queue=IDLE)
    yield RUN


@scenario
async def failed_parent_not_kept_strict(here: Here) -> Play:
    parent = await here.put("parent", "jobs.fail", failure_ttl=0)
    await here.put("strict", depends_on=parent, queue=IDLE)
    yield RUN


@scenario
async def parent_canceled(here: Here) -> None:
    parent = await here.put("parent")
    await here.put("child", depends_on=parent)
    await done(parent.cancel())


@scenario
async def parent_canceled_for_its_children(here: Here) -> None:
    parent, other = await here.put("parent"), await here.put("other")
    await here.put("child", depends_on=parent)
    await here.put("mixed", depends_on=[parent, other])
    await done(parent.cancel(enqueue_dependents=True))


@scenario
async def parent_deleted(here: Here) -> None:
    parent = await here.put("parent")
    await here.put("child", depends_on=parent)
    await done(parent.delete())


@scenario
async def parent_deleted_with_its_children(here: Here) -> None:
    await here.put("other")
    parent = await here.put("parent")
    await here.put("child", depends_on=parent)
    await done(parent.delete(delete_dependents=True))


@scenario
async def children_deleted(here: Here) -> None:
    parent = await here.put("parent")
    await here.put("child", depends_on=parent)
    await done(parent.delete_dependents())


@scenario
async def failed_parent_requeued(here: Here) -> Play:
    parent = await here.put("parent", "jobs.fail")
    await here.put("child", depends_on=parent)
    yield RUN
    await done((await here.job("parent")).requeue())


@scenario
async def failed_parent_requeued_and_finished(here: Here) -> Play:
    parent = await here.put("parent", "parity.fail_unless_told", here.folder)
    await here.put("child", depends_on=parent, queue=IDLE)
    yield RUN
    here.tell("parent")
    await done((await here.job("parent")).requeue())
    yield RUN


@scenario
async def parent_retried_to_success(here: Here) -> Play:
    parent = await here.put("parent", "parity.fail_while_retries_are_left", 1, retry=here.words.Retry(1))
    await here.put("child", depends_on=parent, queue=IDLE)
    yield RUN


@scenario
async def parent_asking_again(here: Here) -> Play:
    parent = await here.put("parent", "parity.ask_again", 1, 300)
    await here.put("child", depends_on=parent, queue=IDLE)
    yield RUN


@scenario
async def parent_whose_callback_raises(here: Here) -> Play:
    parent = await here.put("parent", on_success=here.words.Callback("parity.on_success_raising"))
    await here.put("strict", depends_on=parent, queue=IDLE)
    await here.put("allowing", depends_on=here.words.Dependency(parent, allow_failure=True), queue=IDLE)
    yield RUN


@scenario
async def waiting_for_itself(here: Here) -> None:
    """RQ takes it."""
    await here.put("other")
    with suppress(ValueError):
        await here.put("job", depends_on=here.id("job"))


@scenario
async def waiting_in_a_circle(here: Here) -> None:
    """RQ takes it."""
    await here.put("one", depends_on=await here.put("parent"))
    await here.put("two", depends_on=here.id("one"))
    with suppress(ValueError):
        await here.put("one", depends_on=here.id("two"))


@scenario
async def enqueued_again_while_it_waits(here: Here) -> None:
    await here.put("deferred", "jobs.add", 1, depends_on=await here.put("parent"))
    in_five_minutes = partial(here.queue().enqueue_in, timedelta(seconds=300), "jobs.add")
    await done(in_five_minutes(1, job_id=here.id("scheduled")))
    for role in ("deferred", "scheduled"):
        await here.put(role, "jobs.add", 2)


# Many at once.


@scenario
async def many(here: Here) -> None:
    words = here.words
    datas = [
        here.data("plain"),
        here.data("front", at_front=True),
        here.data("retry", retry=words.Retry(3, [60, 300]), ttl=900, meta={"a": 1}),
        here.data("callback", on_success=words.Callback("parity.on_success"), failure_ttl=300),
    ]
    await done(here.queue().enqueue_many(datas))


@scenario
async def many_with_dependencies(here: Here) -> None:
    parent = await here.put("outside")
    datas = [
        here.data("child", depends_on=[here.id("parent")]),
        here.data("parent"),
        here.data("grandchild", depends_on=here.words.Dependency(here.id("child"), allow_failure=True)),
        here.data("of-another", depends_on=parent),
        here.data("met", depends_on=[here.id("missing")]),
    ]
    await done(here.queue().enqueue_many(datas))


@scenario
async def many_with_dependencies_run(here: Here) -> Play:
    datas = [here.data("child", depends_on=[here.id("parent")]), here.data("parent")]
    await done(here.queue().enqueue_many(datas))
    yield RUN


@scenario
async def grouped(here: Here) -> None:
    await done(here.group.enqueue_many(here.queue(), [here.data("one"), here.data("two", ttl=900)]))


@scenario
async def group_run(here: Here) -> Play:
    await done(here.group.enqueue_many(here.queue(), [here.data("one"), here.data("two", "jobs.fail", "why")]))
    yield RUN


@scenario
async def group_with_a_job_deleted(here: Here) -> None:
    await done(here.group.enqueue_many(here.queue(), [here.data("one"), here.data("two")]))
    await done((await here.job("one")).delete())


@scenario
async def group_without_a_job(here: Here) -> None:
    await done(here.group.enqueue_many(here.queue(), [here.data("one"), here.data("two")]))
    await done(here.group.delete_job(here.id("one")))


@scenario
async def group_of_which_one_is_not_kept(here: Here) -> Play:
    await done(here.group.enqueue_many(here.queue(), [here.data("one", result_ttl=0), here.data("two")]))
    yield RUN
    await done(here.group.cleanup())


@scenario
async def in_a_pipeline(here: Here) -> None:
    queue, pipeline = here.queue(), here.library.pipeline()
    parent = await here.put("parent")
    doomed = await here.put("doomed")
    await done(queue.enqueue("jobs.add", 1, job_id=here.id("job"), ttl=900, pipeline=pipeline))
    await done(queue.enqueue("jobs.add", 1, job_id=here.id("front"), at_front=True, pipeline=pipeline))
    await done(queue.enqueue_many([here.data("one"), here.data("two")], pipeline=pipeline))
    await done(queue.enqueue_in(timedelta(seconds=300), "jobs.add", 1, job_id=here.id("later"), pipeline=pipeline))
    await done(parent.cancel(pipeline=pipeline))
    await done(doomed.delete(pipeline=pipeline))
    await done(pipeline.execute())


# Tried again, and run again.


@scenario
async def retried_to_success(here: Here) -> Play:
    await here.put("job", "parity.fail_while_retries_are_left", 1, retry=here.words.Retry(2))
    yield RUN


@scenario
async def retried_in_vain(here: Here) -> Play:
    await here.put("job", "jobs.fail", retry=here.words.Retry(2), failure_ttl=900)
    yield RUN


@scenario
async def retried_at_front(here: Here) -> Play:
    await here.put("job", "parity.fail_while_retries_are_left", 1, retry=here.words.Retry(1, enqueue_at_front=True))
    await here.put("other")
    yield RUN


@scenario
async def retried_later(here: Here) -> Play:
    await here.put("job", "jobs.fail", retry=here.words.Retry(3, 300), ttl=900)
    yield RUN


@scenario
async def retried_later_by_a_list(here: Here) -> Play:
    await here.put("job", "jobs.fail", retry=here.words.Retry(2, [300, 900]))
    yield RUN


@scenario
async def retried_by_a_list_that_is_too_long(here: Here) -> Play:
    await here.put("job", "jobs.fail", retry=here.words.Retry(2, [300, 900, 1500]))
    yield RUN


@scenario
async def retried_by_a_list_that_is_too_short(here: Here) -> Play:
    await here.put("job", "jobs.fail", retry=here.words.Retry(4, [0, 900]))
    yield RUN


@scenario
async def retried_after_a_crash(here: Here) -> Play:
    await here.put("job", "parity.die_once", retry=here.words.Retry(1))
    yield RUN


@scenario
async def retried_after_a_timeout(here: Here) -> Play:
    await here.put("job", "jobs.sleep", 600, job_timeout=1, retry=here.words.Retry(1, 300))
    yield RUN


@scenario
async def asked_again(here: Here) -> Play:
    await here.put("job", "parity.ask_again_once", 1)
    yield RUN


@scenario
async def asked_again_later(here: Here) -> Play:
    await here.put("job", "parity.ask_again", 3, [300, 900], failure_ttl=900)
    yield RUN


@scenario
async def asked_again_in_vain(here: Here) -> Play:
    await here.put("job", "parity.ask_again", 1, failure_ttl=900)
    yield RUN


@scenario
async def asked_again_for_the_front(here: Here) -> Play:
    await here.put("job", "parity.ask_again", 3, 300, True)
    await here.put("now", "parity.ask_again", 1, 0, True)
    yield RUN


@scenario
async def asked_again_with_retries(here: Here) -> Play:
    await here.put("job", "parity.ask_again", 3, 300, retry=here.words.Retry(5, 60))
    yield RUN


@scenario
async def repeated(here: Here) -> Play:
    await here.put("job", repeat=here.words.Repeat(2), on_success=here.words.Callback("parity.on_success"))
    yield RUN


@scenario
async def repeated_later(here: Here) -> Play:
    await here.put("job", repeat=here.words.Repeat(2, 300))
    yield RUN


@scenario
async def repeated_by_a_list(here: Here) -> Play:
    await here.put("job", repeat=here.words.Repeat(3, [0, 300, 900]), ttl=1500)
    yield RUN


@scenario
async def repeated_and_kept_for_ever(here: Here) -> Play:
    await here.put("job", repeat=here.words.Repeat(1, 300), result_ttl=-1, ttl=900)
    yield RUN


@scenario
async def repeated_with_a_short_time(here: Here) -> Play:
    await here.put("job", repeat=here.words.Repeat(1, 300), result_ttl=1500, ttl=900)
    yield RUN


@scenario
async def repeated_not_kept(here: Here) -> Play:
    callback = here.words.Callback("parity.on_success")
    await here.put("job", repeat=here.words.Repeat(1), result_ttl=0, on_success=callback)
    yield RUN


@scenario
async def repeated_failed(here: Here) -> Play:
    await here.put("job", "jobs.fail", repeat=here.words.Repeat(2, 300))
    yield RUN


@scenario
async def repeated_parent(here: Here) -> Play:
    parent = await here.put("parent", repeat=here.words.Repeat(1, 300))
    await here.put("child", depends_on=parent, queue=IDLE)
    yield RUN


# Callbacks.


@scenario
async def on_success(here: Here) -> Play:
    await here.put("job", on_success=here.words.Callback("parity.on_success"))
    await here.put("failing", "jobs.fail", on_success=here.words.Callback("parity.on_success"))
    yield RUN


@scenario
async def on_success_raises(here: Here) -> Play:
    callback = here.words.Callback
    await here.put("job", on_success=callback("parity.on_success_raising"), on_failure=callback("parity.on_failure"))
    yield RUN


@scenario
async def on_failure(here: Here) -> Play:
    await here.put("job", "jobs.fail", on_failure=here.words.Callback("parity.on_failure"))
    await here.put("good", on_failure=here.words.Callback("parity.on_failure"))
    yield RUN


@scenario
async def on_failure_raises(here: Here) -> Play:
    await here.put("job", "jobs.fail", on_failure=here.words.Callback("parity.on_failure_raising"))
    yield RUN


@scenario
async def on_failure_of_each_attempt(here: Here) -> Play:
    callback = here.words.Callback("parity.on_failure")
    await here.put("job", "jobs.fail", on_failure=callback, retry=here.words.Retry(1))
    yield RUN


@scenario
async def on_stopped(here: Here) -> Play:
    callback = here.words.Callback
    options = {"on_stopped": callback("parity.on_stopped"), "on_failure": callback("parity.on_failure")}
    await here.put("job", "parity.stop_myself", **options, retry=here.words.Retry(1), failure_ttl=900)
    yield RUN


# Rate limits.


@scenario
async def rate_limited(here: Here) -> None:
    limit = here.words.RateLimit(here.id("limit"), 2)
    for role in ("one", "two", "three", "four"):
        await here.put(role, rate_limit=limit, ttl=900)


@scenario
async def rate_limited_at_front(here: Here) -> None:
    limit = here.words.RateLimit(here.id("limit"), 2)
    await here.put("plain")
    await here.put("one", rate_limit=limit, at_front=True)
    await here.put("two", rate_limit=limit)
    await here.put("waits", rate_limit=limit, at_front=True)


@scenario
async def rate_limit_of_which_the_first_finished(here: Here) -> Play:
    limit = here.words.RateLimit(here.id("limit"), 1)
    await here.put("one", rate_limit=limit)
    # Of those that came in the same second RQ takes the first by its name.
    await here.put("second", rate_limit=limit, queue=IDLE)
    await here.put("third", rate_limit=limit, queue=IDLE)
    yield RUN


@scenario
async def rate_limit_of_which_the_first_failed(here: Here) -> Play:
    limit = here.words.RateLimit(here.id("limit"), 1)
    await here.put("one", "jobs.fail", rate_limit=limit)
    await here.put("two", rate_limit=limit, queue=IDLE, at_front=True)
    yield RUN


@scenario
async def rate_limit_used_up(here: Here) -> Play:
    limit = here.words.RateLimit(here.id("limit"), 1)
    await here.put("one", rate_limit=limit)
    await here.put("two", rate_limit=limit)
    yield RUN
    await done(here.library.limit(here.id("limit")).cleanup())


@scenario
async def rate_limit_of_which_the_first_is_not_kept(here: Here) -> Play:
    limit = here.words.RateLimit(here.id("limit"), 1)
    await here.put("one", rate_limit=limit, result_ttl=0)
    await here.put("two", rate_limit=limit, queue=IDLE)
    yield RUN


@scenario
async def rate_limit_of_which_the_first_was_canceled(here: Here) -> None:
    limit = here.words.RateLimit(here.id("limit"), 1)
    first = await here.put("one", rate_limit=limit)
    await here.put("two", rate_limit=limit)
    await done(first.cancel())


@scenario
async def rate_limit_of_which_the_first_was_deleted(here: Here) -> None:
    limit = here.words.RateLimit(here.id("limit"), 1)
    first = await here.put("one", rate_limit=limit)
    await here.put("two", rate_limit=limit)
    await done(first.delete())


@scenario
async def rate_limit_of_which_a_waiting_one_was_canceled(here: Here) -> None:
    limit = here.words.RateLimit(here.id("limit"), 1)
    await here.put("one", rate_limit=limit)
    canceled, deleted = await here.put("two", rate_limit=limit), await here.put("three", rate_limit=limit)
    await done(canceled.cancel())
    await done(deleted.delete())


@scenario
async def rate_limit_and_a_retry_at_once(here: Here) -> Play:
    limit = here.words.RateLimit(here.id("limit"), 1)
    await here.put("one", "jobs.fail", rate_limit=limit, retry=here.words.Retry(1))
    await here.put("two", rate_limit=limit, queue=IDLE)
    yield RUN


@scenario
async def rate_limit_and_a_retry_later(here: Here) -> Play:
    limit = here.words.RateLimit(here.id("limit"), 1)
    await here.put("one", "jobs.fail", rate_limit=limit, retry=here.words.Retry(1, 300))
    await here.put("two", rate_limit=limit, queue=IDLE)
    yield RUN


@scenario
async def rate_limit_and_a_repeat_later(here: Here) -> Play:
    limit = here.words.RateLimit(here.id("limit"), 1)
    await here.put("one", rate_limit=limit, repeat=here.words.Repeat(1, 300))
    await here.put("two", rate_limit=limit, queue=IDLE)
    yield RUN


@scenario
async def rate_limit_and_a_requeue(here: Here) -> Play:
    limit = here.words.RateLimit(here.id("limit"), 1)
    await here.put("one", "jobs.fail", rate_limit=limit)
    await here.put("two", rate_limit=limit, queue=IDLE)
    yield RUN
    await done((await here.job("one")).requeue())


@scenario
async def rate_limit_and_a_requeue_of_what_came_at_front(here: Here) -> Play:
    limit = here.words.RateLimit(here.id("limit"), 1)
    await here.put("one", "jobs.fail", rate_limit=limit, at_front=True)
    yield RUN
    await here.put("other")
    await done((await here.job("one")).requeue())


@scenario
async def rate_limit_scheduled(here: Here) -> None:
    limit = here.words.RateLimit(here.id("limit"), 1)
    enqueue = partial(here.queue().enqueue_in, timedelta(seconds=300), "jobs.add", 1)
    await done(enqueue(job_id=here.id("job"), rate_limit=limit, at_front=True))


@scenario
async def rate_limit_deferred(here: Here) -> Play:
    limit = here.words.RateLimit(here.id("limit"), 1)
    parent = await here.put("parent")
    await here.put("one", rate_limit=limit, queue=IDLE)
    await here.put("two", rate_limit=limit, queue=IDLE, depends_on=parent)
    yield RUN


# Canceled, deleted, requeued.


@scenario
async def canceled_queued(here: Here) -> None:
    job = await here.put("job", failure_ttl=900)
    await here.put("other")
    await done(job.cancel())
    await refused(job.cancel, "InvalidJobOperation")


@scenario
async def canceled_deferred(here: Here) -> None:
    parent = await here.put("parent")
    child = await here.put("child", depends_on=parent)
    await here.put("grandchild", depends_on=child)
    await done(child.cancel())


@scenario
async def canceled_deferred_and_forgotten(here: Here) -> None:
    parent, other = await here.put("parent"), await here.put("other")
    child = await here.put("child", depends_on=[parent, other])
    await here.put("sibling", depends_on=parent)
    await done(child.cancel(remove_from_dependencies=True))


@scenario
async def canceled_child_of_a_finished_parent(here: Here) -> Play:
    parent = await here.put("parent")
    child = await here.put("child", depends_on=parent)
    await done(child.cancel())
    yield RUN


@scenario
async def canceled_scheduled(here: Here) -> None:
    job = await done(here.queue().enqueue_in(timedelta(seconds=300), "jobs.add", 1, job_id=here.id("job")))
    await done(job.cancel())


@scenario
async def canceled_after_the_end(here: Here) -> Play:
    await here.put("finished")
    await here.put("failed", "jobs.fail")
    yield RUN
    await done((await here.job("finished")).cancel())
    await done((await here.job("failed")).cancel())


@scenario
async def canceled_retry(here: Here) -> Play:
    await here.put("job", "jobs.fail", retry=here.words.Retry(1, 300))
    yield RUN
    await done((await here.job("job")).cancel())


@scenario
async def canceled_running(here: Here) -> Play:
    await here.put("job", "parity.cancel_myself")
    yield RUN


@scenario
async def deleted_running(here: Here) -> Play:
    await here.put("other", queue=IDLE)
    await here.put("job", "parity.delete_myself")
    yield RUN


@scenario
async def deleted_waiting(here: Here) -> None:
    await here.put("other")
    parent = await here.put("parent")
    queued = await here.put("queued")
    child = await here.put("child", depends_on=parent)
    scheduled = await done(here.queue().enqueue_in(timedelta(seconds=300), "jobs.add", 1, job_id=here.id("scheduled")))
    canceled = await here.put("canceled")
    await done(canceled.cancel())
    for job in (queued, child, scheduled, canceled):
        await done(job.delete())


@scenario
async def deleted_after_the_end(here: Here) -> Play:
    await here.put("other", queue=IDLE)
    await here.put("finished")
    await here.put("failed", "jobs.fail")
    await here.put("stopped", "parity.stop_myself")
    await here.put("again", "jobs.fail", retry=here.words.Retry(1, 300))
    yield RUN
    for role in ("finished", "failed", "stopped", "again"):
        await done((await here.job(role)).delete())


@scenario
async def requeued(here: Here) -> Play:
    await here.put("job", "jobs.fail")
    await here.put("front", "jobs.fail")
    yield RUN
    await done((await here.job("job")).requeue())
    await done((await here.job("front")).requeue(at_front=True))


@scenario
async def requeued_by_the_registry(here: Here) -> Play:
    await here.put("job", "jobs.fail")
    await here.put("front", "jobs.fail")
    yield RUN
    registry = here.queue().failed_job_registry
    await done(registry.requeue(here.id("job")))
    await done(registry.requeue(here.id("front"), at_front=True))


@scenario
async def requeued_with_retries(here: Here) -> Play:
    await here.put("job", "jobs.fail", retry=here.words.Retry(1))
    yield RUN
    await done((await here.job("job")).requeue())


@scenario
async def requeued_and_run(here: Here) -> Play:
    await here.put("job", "jobs.fail", failure_ttl=900)
    yield RUN
    await done((await here.job("job")).requeue())
    yield RUN


@scenario
async def requeued_stopped(here: Here) -> Play:
    await here.put("job", "parity.stop_myself")
    yield RUN
    await done((await here.job("job")).requeue())


@scenario
async def requeued_canceled(here: Here) -> None:
    job = await here.put("job")
    await done(job.cancel())
    await done(here.queue().canceled_job_registry.requeue(here.id("job")))


@scenario
async def requeued_canceled_with_ttl(here: Here) -> None:
    job = await here.put("job", ttl=900)
    await done(job.cancel())
    await done(here.queue().canceled_job_registry.requeue(here.id("job"), at_front=True))


@scenario
async def requeued_finished(here: Here) -> Play:
    await here.put("job", result_ttl=900)
    yield RUN
    await done(here.queue().finished_job_registry.requeue(here.id("job")))


@scenario
async def not_requeued(here: Here) -> None:
    await here.put("job")
    await refused(partial(here.queue().failed_job_registry.requeue, here.id("job")), "InvalidJobOperation")


@scenario
async def stopped(here: Here) -> Play:
    await here.put("job", "parity.stop_myself", failure_ttl=900, result_ttl=300)
    yield RUN


@scenario
async def stopped_not_kept(here: Here) -> Play:
    await here.put("other", queue=IDLE)
    await here.put("job", "parity.stop_myself", failure_ttl=0)
    yield RUN


# In the caller's process.


@scenario
async def at_once(here: Here) -> None:
    queue = here.queue(is_async=False)
    await done(queue.enqueue("jobs.add", 1, job_id=here.id("job"), result_ttl=900, meta={"a": 1}))
    await done(queue.enqueue("jobs.nothing", job_id=here.id("nothing")))


@scenario
async def at_once_failed(here: Here) -> None:
    queue = here.queue(is_async=False)
    await done(queue.enqueue("jobs.fail", job_id=here.id("job"), failure_ttl=900))


@scenario
async def at_once_with_retries(here: Here) -> None:
    queue = here.queue(is_async=False)
    await done(queue.enqueue("jobs.fail", job_id=here.id("job"), retry=here.words.Retry(2)))


@scenario
async def at_once_with_a_repeat(here: Here) -> None:
    queue = here.queue(is_async=False)
    await done(queue.enqueue("jobs.add", 1, job_id=here.id("job"), repeat=here.words.Repeat(2)))


@scenario
async def at_once_with_callbacks(here: Here) -> None:
    queue, callback = here.queue(is_async=False), here.words.Callback
    await done(queue.enqueue("jobs.add", 1, job_id=here.id("job"), on_success=callback("parity.on_success")))
    await done(queue.enqueue("jobs.fail", job_id=here.id("failing"), on_failure=callback("parity.on_failure")))


@scenario
async def at_once_not_kept(here: Here) -> None:
    await here.put("other", queue=IDLE)
    queue = here.queue(is_async=False)
    await done(queue.enqueue("jobs.add", 1, job_id=here.id("job"), result_ttl=0))
    await done(queue.enqueue("jobs.fail", job_id=here.id("failing"), failure_ttl=0))


@scenario
async def at_once_with_a_parent(here: Here) -> None:
    queue = here.queue(is_async=False)
    parent = await here.put("parent")
    met = await done(queue.enqueue("jobs.add", 1, job_id=here.id("met"), depends_on=here.id("missing")))
    await done(queue.enqueue("jobs.add", 1, job_id=here.id("waits"), depends_on=parent))
    await done(queue.enqueue("jobs.add", 1, job_id=here.id("child"), depends_on=met))


@scenario
async def at_once_scheduled(here: Here) -> None:
    queue = here.queue(is_async=False)
    await done(queue.enqueue_in(timedelta(seconds=300), "jobs.add", 1, job_id=here.id("job")))


# Queues and registries.


@scenario
async def emptied(here: Here) -> None:
    parent = await here.put("parent")
    await here.put("other")
    await here.put("child", depends_on=parent, queue=IDLE)
    await done(here.queue().empty())


@scenario
async def emptied_of_a_child(here: Here) -> Play:
    parent = await here.put("parent")
    await here.put("child", depends_on=parent, queue=IDLE)
    yield RUN
    await done(here.queue(IDLE).empty())


@scenario
async def queue_deleted(here: Here) -> None:
    await here.put("other", queue=IDLE)
    await here.put("job")
    await done(here.queue().delete())


@scenario
async def queue_deleted_without_its_jobs(here: Here) -> None:
    await here.put("job")
    await done(here.queue().delete(delete_jobs=False))


@scenario
async def queue_compacted(here: Here) -> None:
    for role in ("one", "two", "three", "four"):
        await here.put(role)
    prefix = here.library.side.prefix
    here.library.side.client.delete(f"{prefix}:job:{here.id('two')}", f"{prefix}:job:{here.id('four')}")
    await done(here.queue().compact())


@scenario
async def removed_from_the_queue(here: Here) -> None:
    await here.put("one")
    job = await here.put("two")
    await here.put("three")
    await done(here.queue().remove(here.id("one")))
    await done(here.queue().remove(job))


@scenario
async def expired_in_the_queue(here: Here) -> Play:
    await here.put("gone")
    await here.put("job")
    here.library.side.client.delete(f"{here.library.side.prefix}:job:{here.id('gone')}")
    yield RUN


@scenario
async def registered(here: Here) -> None:
    queue, job = here.queue(), await here.put("job")
    await done(queue.finished_job_registry.add(job, 300))
    await done(queue.failed_job_registry.add(job, 900))
    await done(queue.deferred_job_registry.add(await here.put("child", depends_on=job)))
    canceled = await here.put("canceled", failure_ttl=900)
    await done(canceled.cancel())
    await done(queue.canceled_job_registry.add(canceled))


@scenario
async def registered_after_the_end(here: Here) -> Play:
    await here.put("finished")
    await here.put("failed", "jobs.fail", failure_ttl=300)
    yield RUN
    registry = here.queue().failed_job_registry
    await done(registry.add(await here.job("finished"), 900))
    await done(registry.add(await here.job("failed"), 1500))


@scenario
async def registered_for_ever(here: Here) -> None:
    queue, job = here.queue(), await here.put("job")
    await done(queue.finished_job_registry.add(job, -1))
    await done(queue.failed_job_registry.add(job, -1))


@scenario
async def removed_from_registries(here: Here) -> Play:
    parent = await here.put("parent", queue=IDLE)
    await here.put("finished")
    await here.put("failed", "jobs.fail")
    await here.put("child", depends_on=parent)
    yield RUN
    queue = here.queue()
    await done(queue.finished_job_registry.remove(here.id("finished")))
    await done(queue.failed_job_registry.remove(await here.job("failed")))
    await done(queue.deferred_job_registry.remove(await here.job("child")))


@scenario
async def removed_from_registries_and_deleted(here: Here) -> Play:
    await here.put("other", queue=IDLE)
    await here.put("finished")
    await here.put("failed", "jobs.fail")
    yield RUN
    queue = here.queue()
    await done(queue.finished_job_registry.remove(await here.job("finished"), delete_job=True))
    await done(queue.failed_job_registry.remove(await here.job("failed"), delete_job=True))
