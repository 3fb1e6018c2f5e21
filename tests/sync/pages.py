"""Which story of the blocking API covers which example of RQ's documentation.

The examples are those of `tests/stories/examples.py`, by page and number. Each story runs twice, with RQ too.
"""

from __future__ import annotations

from typing import Final

from tests.stories.examples import JOBS_0, JOBS_1, JOBS_2, QUEUES, RESULTS

_Q: Final = "test_stories_of_queues.py"
_J: Final = "test_stories_of_jobs.py"
_R: Final = "test_stories_of_results.py"
FILES: Final = (_Q, _J, _R)
BY_COMMAND: Final = {QUEUES: range(20, 34)}
"""Examples of the command line, which belongs to neither API: their stories are those of the list there."""

STORIES: Final[dict[str, dict[str, tuple[int, ...]]]] = {
    QUEUES: {
        f"{_Q}::test_a_call_is_delayed": (1, 2),
        f"{_Q}::test_a_queue_of_any_name": (3,),
        f"{_Q}::test_arguments_that_are_named_like_options": (4,),
        f"{_Q}::test_a_function_by_its_name": (5,),
        f"{_Q}::test_many_at_once": (6, 7),
        f"{_Q}::test_jobs_of_a_group": (8, 9, 10),
        f"{_Q}::test_one_after_the_other": (11, 12),
        f"{_Q}::test_failure_may_count_too": (13, 14),
        f"{_Q}::test_callbacks": (15, 17, 18, 19),
        f"{_Q}::test_callbacks_with_timeouts": (16,),
        f"{_Q}::test_what_can_be_asked_of_a_queue": (34,),
        f"{_Q}::test_the_decorator": (35,),
        f"{_Q}::test_without_workers": (36,),
        f"{_Q}::test_suspension": (37,),
    },
    JOBS_0: {
        f"{_J}::test_a_job_and_its_attributes": (1,),
        f"{_J}::test_the_current_job": (2,),
        f"{_J}::test_data_of_the_callers": (3,),
        f"{_J}::test_two_times_to_live": (4,),
        f"{_J}::test_requeueing_of_the_oldest_page": (5,),
    },
    JOBS_1: {
        f"{_J}::test_a_job_and_its_id": (1, 2),
        f"{_J}::test_created_first_and_enqueued_then": (3,),
        f"{_J}::test_arguments_that_are_named_like_options": (4,),
        f"{_J}::test_a_job_and_its_attributes": (5,),
        f"{_J}::test_many_jobs": (6,),
        f"{_J}::test_stopping": (7,),
        f"{_J}::test_canceling": (8,),
        f"{_J}::test_the_dependents_of_a_canceled_job": (9,),
        f"{_J}::test_serializers": (10,),
        f"{_J}::test_the_current_job": (11,),
        f"{_J}::test_data_of_the_callers": (12,),
        f"{_J}::test_two_times_to_live": (13,),
        f"{_J}::test_the_position_in_the_queue": (14,),
        f"{_J}::test_failed_jobs": (15, 16),
        f"{_J}::test_requeueing": (17, 18),
    },
    JOBS_2: {
        f"{_J}::test_a_job_and_its_id": (1, 2),
        f"{_J}::test_created_first_and_enqueued_then": (3,),
        f"{_J}::test_arguments_that_are_named_like_options": (4,),
        f"{_J}::test_a_job_and_its_attributes": (5,),
        f"{_J}::test_many_jobs": (6,),
        f"{_J}::test_executions": (7,),
        f"{_J}::test_stopping": (8,),
        f"{_J}::test_canceling": (9,),
        f"{_J}::test_the_dependents_of_a_canceled_job": (10,),
        f"{_J}::test_serializers": (11,),
        f"{_J}::test_the_current_job": (12,),
        f"{_J}::test_data_of_the_callers": (13,),
        f"{_J}::test_two_times_to_live": (14,),
        f"{_J}::test_the_position_in_the_queue": (15,),
        f"{_J}::test_failed_jobs": (16, 17),
        f"{_J}::test_requeueing": (18, 19),
    },
    RESULTS: {
        f"{_R}::test_the_latest": (1, 2),
        f"{_R}::test_several": (3,),
        f"{_R}::test_waiting_for_one": (4,),
        f"{_R}::test_how_long_results_are_kept": (5, 6),
        f"{_R}::test_asking_for_another_attempt": (7,),
        f"{_R}::test_timeouts": (8, 9),
    },
}
"""By page: each story, and the numbers of the examples that it tells."""

STATEMENTS: Final = {
    f"{_Q}::test_functions_of_main_are_refused": "no functions of `__main__`",
    f"{_Q}::test_timeouts": "`job_timeout` as number and as text",
    f"{_J}::test_why_a_job_failed": "`job.exc_info`; `get_meta` reads anew",
}
"""Stories of what the pages say around their examples."""
