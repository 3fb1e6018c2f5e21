"""The checklist of RQ 3.0's public API and documented behaviour: each of its boxes has a test here.

Its sections on commands, on schedulers and cron, on the worker pool and on the command line are not among them: they
have tests of their own elsewhere, or are to come.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Box(NamedTuple):
    """A box of the checklist."""

    section: str
    number: int
    """In its section, from 1 on."""
    words: str
    """What it is about."""
    test: str
    """The file, and the function in it."""


COUNTS: Final = {
    "2.1": 3,
    "2.2": 6,
    "2.3": 15,
    "2.4": 14,
    "2.5": 1,
    "2.6": 8,
    "2.7": 3,
    "2.8": 5,
    "2.9": 19,
    "2.13": 2,
}
"""How many boxes each section has."""

_WORDS: Final = {
    "2.1": {
        "test_package.py::test_exports": "names at the top level",
        "test_package.py::test_documented_paths": "names in modules",
        "test_package.py::test_removed_and_deprecated": "what RQ removed or has deprecated",
    },
    "2.2": {
        "test_package.py::test_prefix": "the prefix of all keys",
        "test_package.py::test_constants": "numbers",
        "test_package.py::test_texts": "log formats, the text for a result that cannot be stored",
        "test_package.py::test_environment_of_the_command_line": "variables that the command line reads",
        "test_package.py::test_environment_of_a_job": "variables that a job finds",
        "test_package.py::test_durations": "durations as texts",
    },
    "2.3": {
        "test_queue.py::test_constructor": "constructor and operators",
        "test_queue.py::test_first_enqueue_declares": "no declaration",
        "test_queue.py::test_class_methods": "class methods",
        "test_queue.py::test_dequeueing": "how jobs are taken",
        "test_queue.py::test_properties": "properties",
        "test_queue.py::test_entries": "what waits: listing, finding, removing, emptying",
        "test_queue.py::test_enqueue": "enqueue and its keywords",
        "test_queue.py::test_enqueue_call": "enqueue_call",
        "test_queue.py::test_enqueue_at_and_in": "enqueue_at and enqueue_in",
        "test_queue.py::test_create_job": "create_job",
        "test_queue.py::test_enqueue_job": "enqueue_job and schedule_job",
        "test_queue.py::test_enqueue_many": "enqueue_many",
        "test_queue.py::test_sync_queue": "queues that run jobs at once",
        "test_queue.py::test_dependents_are_enqueued": "enqueueing what waited",
        "test_queue.py::test_unique": "unique",
    },
    "2.4": {
        "test_job.py::test_constructor": "constructor and ids",
        "test_job.py::test_create": "create",
        "test_job.py::test_functions": "what may be the function",
        "test_job.py::test_class_methods": "class methods",
        "test_job.py::test_module_functions": "functions beside the class",
        "test_job.py::test_data": "attributes",
        "test_job.py::test_status": "states",
        "test_job.py::test_reading_and_writing": "meta, saving, refreshing",
        "test_job.py::test_results": "results",
        "test_job.py::test_cancel": "cancel",
        "test_job.py::test_requeue_and_delete": "requeue and delete",
        "test_job.py::test_relatives_and_runs": "dependencies and executions",
        "test_job.py::test_coroutines": "coroutines",
        "test_job.py::test_subclasses": "job classes",
    },
    "2.5": {"test_job.py::test_states": "the words for states"},
    "2.6": {
        "test_helpers.py::test_retry": "Retry",
        "test_helpers.py::test_repeat": "Repeat",
        "test_helpers.py::test_callback": "Callback",
        "test_helpers.py::test_dependency": "Dependency",
        "test_helpers.py::test_rate_limit": "RateLimit",
        "test_helpers.py::test_webhook": "Webhook",
        "test_helpers.py::test_group": "Group",
        "test_helpers.py::test_decorator": "the decorator",
    },
    "2.7": {
        "test_outcomes.py::test_results": "kinds and fields of results",
        "test_outcomes.py::test_streams": "how results are stored",
        "test_outcomes.py::test_executions": "executions",
    },
    "2.8": {
        "test_registries.py::test_common": "what all registries do",
        "test_registries.py::test_started": "what runs",
        "test_registries.py::test_kinds": "the other registries",
        "test_registries.py::test_clean_registries": "clean_registries",
        "test_registries.py::test_rate_limits": "rate limits",
    },
    "2.9": {
        "test_workers.py::test_classes": "classes",
        "test_workers.py::test_constructor": "constructor",
        "test_workers.py::test_work": "work",
        "test_workers.py::test_strategies": "from which queue",
        "test_workers.py::test_states": "states of workers, and timeouts of connections",
        "test_workers.py::test_finding": "class methods",
        "test_workers.py::test_inspection": "what can be seen of a worker",
        "test_workers.py::test_birth_and_death": "names, birth and death",
        "test_workers.py::test_life_of_a_job": "from the queue to the result",
        "test_workers.py::test_timeout": "timeouts of jobs",
        "test_workers.py::test_death_of_a_process": "a job's process dies",
        "test_workers.py::test_signals": "signals",
        "test_workers.py::test_ends_of_the_loop": "when a worker ends",
        "test_workers.py::test_suspension": "suspension",
        "test_workers.py::test_maintenance": "maintenance",
        "test_workers.py::test_exception_handlers": "exception handlers",
        "test_workers.py::test_hooks": "hooks",
        "test_workers.py::test_time_limits": "what a timeout is",
        "test_workers.py::test_logging": "loggers and handlers",
    },
    "2.13": {
        "test_package.py::test_serializers": "serializers",
        "test_package.py::test_exceptions": "exceptions",
    },
}
BOXES: Final = [
    Box(section, number, words, test)
    for section, tests in _WORDS.items()
    for number, (test, words) in enumerate(tests.items(), 1)
]
"""All of them, in the order of the checklist."""
