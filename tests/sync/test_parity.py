"""RQ's names, signatures, properties, operators and modules are those of `aiorq.sync`; what is not is in the README."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from typing import Any, Final, cast

import jobs
import pytest
import rq.cron
import rq.executions
import rq.group
import rq.job
import rq.rate_limit
import rq.registry
import rq.results
import rq.worker_pool
from redis import Redis

from aiorq.sync import (
    Group,
    Job,
    Queue,
    Result,
    SimpleWorker,
    SpawnWorker,
    Worker,
    WorkerPool,
    cron,
    executions,
    registry,
)
from tests.parity.signatures import assert_taken_alike
from tests.parity.test_boxes import ABSENT, README

REGISTRIES: Final = (
    "BaseRegistry",
    "CanceledJobRegistry",
    "DeferredJobRegistry",
    "FailedJobRegistry",
    "FinishedJobRegistry",
    "ReadyJobRegistry",
    "ScheduledJobRegistry",
    "StartedJobRegistry",
)
PAIRS: Final[dict[str, tuple[type[Any], type[Any]]]] = {
    "Queue": (rq.Queue, Queue),
    "Job": (rq.job.Job, Job),
    "Group": (rq.group.Group, Group),
    "Result": (rq.results.Result, Result),
    "Execution": (rq.executions.Execution, executions.Execution),
    "ExecutionRegistry": (rq.executions.ExecutionRegistry, executions.ExecutionRegistry),
    "RateLimitRegistry": (rq.rate_limit.RateLimitRegistry, registry.RateLimitRegistry),
    "Worker": (rq.Worker, Worker),
    "SimpleWorker": (rq.SimpleWorker, SimpleWorker),
    "SpawnWorker": (rq.SpawnWorker, SpawnWorker),
    "WorkerPool": (rq.worker_pool.WorkerPool, WorkerPool),
    "CronScheduler": (rq.cron.CronScheduler, cron.CronScheduler),
    "CronJob": (rq.cron.CronJob, cron.CronJob),
    **{name: (getattr(rq.registry, name), getattr(registry, name)) for name in REGISTRIES},
}
BASES: Final = {
    **dict.fromkeys(REGISTRIES, ("BaseRegistry",)),
    "ExecutionRegistry": ("BaseRegistry",),
    "Worker": ("BaseWorker",),
    "SimpleWorker": ("Worker", "BaseWorker"),
    "SpawnWorker": ("Worker", "BaseWorker"),
}
"""Under which other names the README may speak of a class."""


def words(text: str) -> set[str]:
    return set(text.split())


OF_KEYS: Final = words(
    "key_template redis_job_namespace_prefix dependencies_key worker_executions_key config_key executions_key get_key"
)
OF_ENTRIES: Final = words(
    "get_job_ids get_job_count get_expired_job_ids get_expiration_time get_queue requeue parse_job_id"
)
UNDOCUMENTED: Final[dict[str, set[str]]] = {
    "Job": OF_KEYS,
    "Group": {"REDIS_GROUP_CLEANING_KEY", "REDIS_GROUP_KEY", "REDIS_GROUP_NAME_PREFIX"} | OF_KEYS,
    "Result": {"fetch", "restore", "save", "serialize"},
    "Execution": {"restore", "serialize"} | OF_KEYS,
    "ExecutionRegistry": {"job_class"} | OF_ENTRIES,  # its entries are no jobs
    "BaseRegistry": OF_KEYS,
    "RateLimitRegistry": {"add_to_rate_limited", "from_job", "register", "rl_keys_key"} | OF_KEYS,
    "BaseWorker": words(
        "check_for_suspension clean_group_registries clean_registries cleanup_execution dequeue_job_and_maintain_ttl "
        "exponential_backoff_factor fork_work_horse handle_execution_ended handle_payload increment_failed_job_count "
        "increment_successful_job_count increment_total_working_time job_class log_job_description "
        "log_result_lifespan main_work_horse maintain_heartbeats max_connection_wait_time monitor_work_horse "
        "prepare_execution prepare_job_execution queue_class redis_worker_namespace_prefix redis_workers_keys refresh "
        "request_force_stop request_stop_execution serialize set_shutdown_requested_date should_run_maintenance_tasks "
        "state stop_scheduler subscribe unsubscribe validate_queues wait_for_horse death_penalty_class "
        "pubsub_channel_name"
    )
    | OF_KEYS,
    "WorkerPool": {"all_workers_have_stopped", "get_worker_process", "handle_dead_worker", "stop_worker"},
}
"""Names that RQ's documentation does not have, and its classes for their own use."""
MODULES: Final = {
    "": "Callback Retry cancel_job get_current_job requeue_job Queue SimpleWorker SpawnWorker Worker Repeat Webhook",
    "callbacks": "Callback",
    "command": (
        "send_command send_kill_horse_command send_shutdown_command send_stop_execution_command send_stop_job_command"
    ),
    "cron": "CronJob CronScheduler create_cron get_cron_job_ids register",
    "cron_job_registry": "get_names",
    "decorators": "job",
    "defaults": (
        "CALLBACK_TIMEOUT DEFAULT_FAILURE_TTL DEFAULT_LOGGING_DATE_FORMAT DEFAULT_LOGGING_FORMAT DEFAULT_RESULT_TTL "
        "DEFAULT_WORKER_TTL UNSERIALIZABLE_RETURN_VALUE_PAYLOAD"
    ),
    "exceptions": (
        "AbandonedJobError DeserializationError DuplicateJobError DuplicateSchedulerError InvalidJobOperation "
        "NoSuchGroupError NoSuchJobError SchedulerNotFound TimeoutFormatError"
    ),
    "executions": "Execution ExecutionRegistry",
    "group": "Group",
    "job": "Dependency Job JobStatus Retry cancel_job get_current_job requeue_job",
    "queue": "EnqueueData Queue",
    "rate_limit": "RateLimit RateLimitRegistry",
    "registry": " ".join([*REGISTRIES, "clean_registries"]),
    "repeat": "Repeat",
    "results": "Result",
    "serializers": "DefaultSerializer JSONSerializer PickleSerializer resolve_serializer",
    "suspension": "is_suspended resume suspend",
    "timeouts": "JobTimeoutException",
    "webhook": "Webhook",
    "worker": "DequeueStrategy RandomWorker RoundRobinWorker SimpleWorker SpawnWorker Worker WorkerStatus",
    "worker_pool": "WorkerPool",
}
"""RQ's modules that users import from, and what of them."""
_OF_WORKERS: Final[dict[str, object]] = {
    "log_job_description": False,
    "maintenance_interval": None,
    "job_monitoring_interval": None,
}
_KINDS: Final = ("Worker", "SimpleWorker", "SpawnWorker")
CHANGED: Final[dict[str, dict[str, object]]] = {
    **dict.fromkeys(_KINDS, _OF_WORKERS),
    **{f"{kind}.work": {"dequeue_strategy": None} for kind in _KINDS},
    "WorkerPool": {"worker_class": None, "serializer": None, "job_class": None, "queue_class": None},
    "CronScheduler": {"logging_level": None},
    **{f"{kind}.add": {"ttl": 0} for kind in ("DeferredJobRegistry", "ReadyJobRegistry")},
}
"""Defaults that are others."""


DIFFERENT: Final = {
    "Job.dependencies_are_met": "RQ's parameters are for what it asks itself",
    "Job.fetch_dependencies": "likewise",
    "Job.restore": "makes a job; RQ's fills one",
    "Group.get_jobs": "takes a serializer besides, by position",
    "RateLimitRegistry.get_allowed_job_ids": "takes a page besides",
    "RateLimitRegistry.get_rate_limited_job_ids": "likewise",
    "Worker.request_stop": "RQ's is its signal handler",
    "WorkerPool.request_stop": "likewise",
    "WorkerPool.start_worker": "RQ's takes what its `start` gives it",
    "WorkerPool.start_workers": "likewise",
    "WorkerPool.stop_workers": "may be a cold stop besides",
    "ScheduledJobRegistry.": "RQ's takes whatever comes and hands it on",
}
"""Methods of the same names that take other things, and why."""


def present() -> set[str]:
    """What the README says `aiorq.sync` has of that which the async API has not."""
    text = README.read_text(encoding="utf-8")
    sentence = re.search(r"`aiorq\.sync` has, of these: (.*?)\.\n\n", text, flags=re.DOTALL)
    assert sentence is not None
    return set(re.findall(r"`([^`]+)`", sentence[1]))


PRESENT = present()
absent = {each.token for each in ABSENT} - PRESENT


def is_absent(name: str, member: str) -> bool:
    """Whether the README, or the list of undocumented names, says that a class has no such member."""
    owners = (name, *BASES.get(name, ()))
    return any(f"{owner}.{member}" in absent or member in UNDOCUMENTED.get(owner, ()) for owner in owners)


def public(kind: type[Any]) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.fixture
def instances(redis: Redis) -> dict[str, Any]:
    """One of each class."""
    queue = Queue(connection=redis)
    job = queue.enqueue(jobs.add, 1)
    made: dict[str, Any] = {name: getattr(registry, name)("default", redis) for name in REGISTRIES}
    return made | {
        "Queue": queue,
        "Job": job,
        "Group": Group.create(redis, "g"),
        "Result": Result(job.id, "1-0", {b"type": b"1"}, queue.serializer),
        "Execution": executions.Execution("e", job.id, redis),
        "ExecutionRegistry": executions.ExecutionRegistry(job.id, redis),
        "RateLimitRegistry": registry.RateLimitRegistry("r", redis),
        "Worker": Worker([queue]),
        "SimpleWorker": SimpleWorker([queue]),
        "SpawnWorker": SpawnWorker([queue]),
        "WorkerPool": WorkerPool([queue], redis),
        "CronScheduler": cron.CronScheduler(redis),
        "CronJob": cron.CronJob("default", jobs.nothing, interval=60),
    }


@pytest.mark.parametrize("name", PAIRS)
def test_no_name_is_missing(name: str, instances: dict[str, Any]) -> None:
    theirs, ours = public(PAIRS[name][0]), set(dir(instances[name]))
    assert {member for member in theirs - ours if not is_absent(name, member)} == set()


def test_no_name_is_listed_in_vain() -> None:
    for name, listed in UNDOCUMENTED.items():
        kinds = [pair for each, pair in PAIRS.items() if name in (each, *BASES.get(each, ()))]
        assert kinds, name
        for member in listed - OF_KEYS:
            assert any(hasattr(theirs, member) or member == "scheduler" for theirs, _ in kinds), (name, member)
            assert not all(hasattr(ours, member) for _, ours in kinds), (name, member)


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_called_and_what_is_not(name: str, instances: dict[str, Any]) -> None:
    """RQ's properties are properties or attributes, its methods are methods."""
    theirs, ours = PAIRS[name]
    for member in public(theirs):
        his, mine = inspect.getattr_static(theirs, member), inspect.getattr_static(ours, member, None)
        if is_absent(name, member) or (mine is None and member in dir(instances[name])):
            continue
        if isinstance(his, property) or not callable(getattr(theirs, member)):
            assert not inspect.isroutine(mine), member
        elif not isinstance(his, type):
            assert callable(getattr(ours, member)), member


def parameters_of(name: str, member: str) -> tuple[str, ...]:
    """RQ's parameters that the README says are not here."""
    found = []
    for owner in (name, *BASES.get(name, ())):
        head = f"{owner}.{member}(" if member else f"{owner}("
        found += [token.removeprefix(head).rstrip(")") for token in absent if token.startswith(head)]
    return tuple(found)


@pytest.mark.parametrize("name", PAIRS)
def test_signatures(name: str) -> None:
    """Of constructors and of all methods: RQ's parameters in RQ's order, with RQ's defaults."""
    theirs, ours = PAIRS[name]
    if name not in ("Result", "Execution") and f"{name}." not in DIFFERENT:  # nobody makes the first two by hand
        taken_by_theirs = inspect.signature(theirs).parameters
        passed_on = {
            each.name for each in taken_by_theirs.values() if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        }
        without = {*parameters_of(name, ""), *passed_on} & set(taken_by_theirs)
        assert_taken_alike(ours, theirs, without=tuple(without), changed=CHANGED.get(name))
    wrong = []
    for member in sorted(public(theirs)):
        his, mine = getattr(theirs, member), cast("Any", getattr(ours, member, None))
        is_different = any(f"{kind.__name__}.{member}" in DIFFERENT for kind in ours.__mro__)
        if is_different or is_absent(name, member) or not (inspect.isroutine(his) and callable(his)):
            continue
        taken = set(inspect.signature(his).parameters)
        without = {*parameters_of(name, member), "death_penalty_class"} & taken
        try:
            assert_taken_alike(mine, his, without=tuple(without), changed=CHANGED.get(f"{name}.{member}"))
        except (AssertionError, KeyError):
            wrong.append(f"{member}{inspect.signature(mine)} is not as {inspect.signature(his)}")
    assert wrong == []


@pytest.mark.parametrize("module", MODULES)
def test_modules(module: str) -> None:
    """`from rq.X import Y` becomes `from aiorq.sync.X import Y`."""
    theirs, ours = import_module(f"rq.{module}".rstrip(".")), import_module(f"aiorq.sync.{module}".rstrip("."))
    for name in MODULES[module].split():
        assert hasattr(theirs, name), name
        assert hasattr(ours, name), name
        assert name in getattr(ours, "__all__", [name]), name


FUNCTIONS: Final = {
    "command": MODULES["command"],
    "suspension": "is_suspended resume suspend",
    "job": "cancel_job requeue_job get_current_job",
    "cron": "create_cron get_cron_job_ids register",
    "cron_job_registry": "get_names",
    "decorators": "job",
    "registry": "clean_registries",
    "callbacks": "Callback",
    "job ": "Dependency Retry",
    "rate_limit": "RateLimit",
    "repeat": "Repeat",
    "webhook": "Webhook",
}


@pytest.mark.parametrize("module", FUNCTIONS)
def test_functions(module: str) -> None:
    theirs, ours = import_module(f"rq.{module.strip()}"), import_module(f"aiorq.sync.{module.strip()}")
    for name in FUNCTIONS[module].split():
        head = f"rq.{module.strip()}.{name}("
        without = tuple(token.removeprefix(head).rstrip(")") for token in absent if token.startswith(head))
        his: Callable[..., Any] = getattr(theirs, name)
        assert_taken_alike(getattr(ours, name), his, without=without)


class TestOperators:
    def test_queues(self, redis: Redis) -> None:
        for kind in (Queue, rq.Queue):
            a, b = kind("a", connection=redis), kind("b", connection=redis)
            assert (len(a), bool(a), list(a), sorted([b, a]), a == kind("a", connection=redis)) == (
                *(0, True, [a], [a, b]),
                True,
            )
            assert len({a, b, kind("a", connection=redis)}) == 2
            a.enqueue(jobs.nothing)
            assert (len(a), a.count, bool(b)) == (1, 1, True)
            a.delete()
            for other in ("a", None):
                with pytest.raises(TypeError):
                    assert a == other

    def test_registries(self, redis: Redis) -> None:
        for kind in (Queue, rq.Queue):
            queue = kind(connection=redis)
            job = queue.enqueue_in(timedelta(hours=1), jobs.nothing)
            found = queue.scheduled_job_registry
            assert (len(found), job in found, job.id in found, "none" in found, found.count) == (
                1,
                True,
                True,
                False,
                1,
            )
            assert bool(found) is True
            assert bool(queue.failed_job_registry) is False
            assert found == kind(connection=redis).scheduled_job_registry
            job.delete()

    def test_jobs_and_results(self, redis: Redis) -> None:
        for kind, job_kind, worker in ((Queue, Job, SimpleWorker), (rq.Queue, rq.job.Job, rq.SimpleWorker)):
            queue: Any = kind(connection=redis)
            job = queue.enqueue(jobs.add, 1)
            same: Any = job_kind.fetch(job.id, connection=redis)
            assert (job == same, hash(job) == hash(same), job != queue.enqueue(jobs.add, 1)) == (True, True, True)
            worker([queue], connection=redis).work(burst=True)
            latest = job.latest_result()
            assert latest == job.results()[0]
            assert bool(latest) is True
            assert str(latest.type) == "Type.SUCCESSFUL"


def test_what_the_readme_says_is_here_is_here() -> None:
    names = {each.token for each in ABSENT}
    for token in PRESENT:
        assert token in names, token
        owner, _, name = token.rpartition(".")
        if "(" in token:
            continue
        if owner in PAIRS or owner == "BaseWorker":
            assert hasattr(PAIRS.get(owner, PAIRS["Worker"])[1], name), token
        else:
            module = import_module(token.replace("rq", "aiorq.sync", 1)) if owner == "rq" else None
            assert module or hasattr(import_module(owner.replace("rq", "aiorq.sync", 1)), name), token
