"""Which story covers which example of RQ's documentation, and which statement around them.

The pages are RQ's and stand elsewhere; what is said of them here was written while reading them. Examples are numbered
on each page as they stand: every block of code, also where one example is cut into two of them, and every line of the
list of arguments of `rq enqueue`. Pages of the same name are those of RQ 0.x, 1.x and 2.x.

A story makes the calls of its example in the same order, with functions and texts of its own, and awaits what asks
Redis; it asserts what the page says comes out. Where there is no such call any more, in RQ 3 itself or here, the note
says so.
"""

from __future__ import annotations

from typing import Final, NamedTuple

QUEUES: Final = "queues (2.x)"
JOBS_0: Final = "jobs (0.x)"
JOBS_1: Final = "jobs (1.x)"
JOBS_2: Final = "jobs (2.x)"
RESULTS: Final = "results (2.x)"

_QUEUES: Final = "tests/stories/test_queues_page.py::"
_CHAINS: Final = "tests/stories/test_queues_page_chains.py::"
_JOBS: Final = "tests/stories/test_jobs_pages.py::"
_RESULTS: Final = "tests/stories/test_results_page.py::"
_ARGUMENTS: Final = "tests/cli/test_commands.py::test_arguments"

COUNTS: Final = {QUEUES: 24 + 13, JOBS_0: 5, JOBS_1: 18, JOBS_2: 19, RESULTS: 9}
"""How many examples each page has, counted by hand: on that on queues there are 24 blocks and 13 lines in a list."""


class Example(NamedTuple):
    """An example of a page."""

    page: str
    number: int
    """From 1 on, in the order of the page."""
    heading: str
    """Under which it stands; empty for the top of a page without headings."""
    what: str
    """What it shows, in words of ours."""
    story: str
    """`file::class::test`; empty where there is none, and then the note says why."""
    argument: str = ""
    """Of the command line: the case of the story that is meant."""
    note: str = ""


class Statement(NamedTuple):
    """What a page says of its examples, in words of ours."""

    page: str
    what: str
    story: str
    note: str = ""


EXAMPLES: Final[list[Example]] = [
    Example(
        QUEUES,
        1,
        "Enqueueing Jobs",
        "a function that counts the words at a URL",
        f"{_QUEUES}TestEnqueueing::test_a_call_is_delayed",
    ),
    Example(
        QUEUES,
        2,
        "Enqueueing Jobs",
        "it is enqueued on the default queue; nothing is returned before a worker ran it, and its value afterwards",
        f"{_QUEUES}TestEnqueueing::test_a_call_is_delayed",
        note="`job.result` was a property; the result is asked for with `return_value()`",
    ),
    Example(
        QUEUES, 3, "Enqueueing Jobs", "a queue with another name", f"{_QUEUES}TestEnqueueing::test_a_queue_of_any_name"
    ),
    Example(
        QUEUES,
        4,
        "Enqueueing Jobs",
        "`args=` and `kwargs=` beside an option of the same name",
        f"{_QUEUES}TestEnqueueing::test_arguments_that_are_named_like_options",
    ),
    Example(
        QUEUES,
        5,
        "Enqueueing Jobs",
        "a function by its dotted name",
        f"{_QUEUES}TestEnqueueing::test_a_function_by_its_name",
    ),
    Example(
        QUEUES, 6, "Bulk Job Enqueueing", "two jobs with ids of their own", f"{_QUEUES}TestBulk::test_many_at_once"
    ),
    Example(
        QUEUES,
        7,
        "Bulk Job Enqueueing",
        "the same in a pipeline of the caller's, which executes it",
        f"{_QUEUES}TestBulk::test_in_a_pipeline_of_the_callers",
    ),
    Example(
        QUEUES,
        8,
        "Grouping jobs",
        "a new group, and two jobs in it",
        f"{_QUEUES}TestGroups::test_jobs_of_a_group",
        note="the call of the page is none that Python reads; the queue is given as an object, as in RQ 3",
    ),
    Example(QUEUES, 9, "Grouping jobs", "the jobs of a group", f"{_QUEUES}TestGroups::test_jobs_of_a_group"),
    Example(
        QUEUES,
        10,
        "Grouping jobs",
        "an existing group by its name",
        f"{_QUEUES}TestGroups::test_an_existing_group",
        note="the parameter is called `name`, as in RQ 3, and not `id`",
    ),
    Example(
        QUEUES,
        11,
        "Job dependencies",
        "a job after another one",
        f"{_CHAINS}TestDependencies::test_one_after_the_other",
    ),
    Example(
        QUEUES, 12, "Job dependencies", "a job after two others", f"{_CHAINS}TestDependencies::test_one_after_several"
    ),
    Example(
        QUEUES,
        13,
        "Job dependencies",
        "a job that fails, and a `Dependency` on it (to the opening bracket)",
        f"{_CHAINS}TestDependencies::test_failure_may_count_too",
    ),
    Example(
        QUEUES,
        14,
        "Job dependencies",
        "(from there on) which allows that, and puts the job that waited at the front",
        f"{_CHAINS}TestDependencies::test_failure_may_count_too",
    ),
    Example(
        QUEUES,
        15,
        "Job Callbacks",
        "functions for success, failure and a stop",
        f"{_CHAINS}TestCallbacks::test_after_success_failure_and_a_stop",
    ),
    Example(
        QUEUES,
        16,
        "Callback Class and Callback Timeouts",
        "callbacks with 60 seconds, with 10, and with two minutes as a text",
        f"{_CHAINS}TestCallbacks::test_timeouts_of_their_own",
    ),
    Example(
        QUEUES,
        17,
        "Success Callback",
        "a function of job, connection, result, and whatever more there is",
        f"{_CHAINS}TestCallbacks::test_after_success_failure_and_a_stop",
    ),
    Example(
        QUEUES,
        18,
        "Failure Callbacks",
        "a function of job, connection, and what was raised",
        f"{_CHAINS}TestCallbacks::test_after_success_failure_and_a_stop",
    ),
    Example(
        QUEUES,
        19,
        "Stopped Callbacks",
        "a function of job and connection",
        f"{_CHAINS}TestCallbacks::test_after_success_failure_and_a_stop",
    ),
    Example(
        QUEUES,
        20,
        "CLI Enqueueing",
        "the usage of `rq enqueue`",
        "tests/cli/test_commands.py::test_options_of_enqueue",
    ),
    Example(QUEUES, 21, "CLI Enqueueing", "a text", _ARGUMENTS, "abc"),
    Example(QUEUES, 22, "CLI Enqueueing", "a text with a keyword", _ARGUMENTS, "abc=def"),
    Example(
        QUEUES,
        23,
        "CLI Enqueueing",
        "JSON",
        _ARGUMENTS,
        ':{"json": "abc"}',
        note="the page leaves out the colon that its table asks for; without it, it is a text, as for RQ",
    ),
    Example(
        QUEUES,
        24,
        "CLI Enqueueing",
        "JSON with a keyword",
        _ARGUMENTS,
        'key:={"json": "abc"}',
        note="as the one before",
    ),
    Example(QUEUES, 25, "CLI Enqueueing", "a literal: a tuple", _ARGUMENTS, "%1, 2"),
    Example(QUEUES, 26, "CLI Enqueueing", "a literal: None", _ARGUMENTS, "%None"),
    Example(QUEUES, 27, "CLI Enqueueing", "a literal: True", _ARGUMENTS, "%True"),
    Example(QUEUES, 28, "CLI Enqueueing", "a literal with a keyword: a tuple", _ARGUMENTS, "key%=(1, 2)"),
    Example(QUEUES, 29, "CLI Enqueueing", "a literal with a keyword: a dict", _ARGUMENTS, 'key%={"foo": True}'),
    Example(QUEUES, 30, "CLI Enqueueing", "the text of a file", _ARGUMENTS, "@data.json"),
    Example(QUEUES, 31, "CLI Enqueueing", "the text of a file, with a keyword", _ARGUMENTS, "key=@data.json"),
    Example(QUEUES, 32, "CLI Enqueueing", "the JSON of a file", _ARGUMENTS, ":@data.json"),
    Example(QUEUES, 33, "CLI Enqueueing", "the JSON of a file, with a keyword", _ARGUMENTS, "key:=@data.json"),
    Example(
        QUEUES,
        34,
        "Working with Queues",
        "the number of jobs, their ids, the jobs, one of them, emptying and deleting",
        f"{_QUEUES}TestQueues::test_what_can_be_asked_of_a_queue",
        note="`len(q)`, `q.job_ids` and `q.jobs` are coroutines here; emptying and deleting has a story of its own",
    ),
    Example(
        QUEUES,
        35,
        "The @job decorator",
        "a function that is enqueued by itself, with a timeout",
        f"{_QUEUES}TestQueues::test_the_decorator",
    ),
    Example(
        QUEUES,
        36,
        "Bypassing workers",
        "a queue whose jobs run at once",
        f"{_QUEUES}TestQueues::test_without_workers",
    ),
    Example(
        QUEUES,
        37,
        "Suspending and Resuming",
        "`rq suspend`, the same for some time, and `rq resume`",
        f"{_QUEUES}TestSuspension::test_no_worker_takes_jobs_until_they_resume",
        note="by the functions of `aiorq.suspension`; for some time in the next story",
    ),
    Example(
        JOBS_0,
        1,
        "Retrieving Job from Redis",
        "a job by its id, and its status",
        f"{_JOBS}TestRetrieving::test_a_job_and_its_attributes",
    ),
    Example(
        JOBS_0,
        2,
        "Accessing the current job",
        "a function that asks for it",
        f"{_JOBS}TestInside::test_the_current_job",
    ),
    Example(
        JOBS_0,
        3,
        "Storing arbitrary data on jobs",
        "a function that saves `meta` before it goes on",
        f"{_JOBS}TestInside::test_data_of_the_callers",
    ),
    Example(
        JOBS_0,
        4,
        "Time to live for job in queue",
        "`ttl` of a created job, and of an enqueued one",
        f"{_JOBS}TestTimes::test_two_times_to_live",
    ),
    Example(
        JOBS_0,
        5,
        "Failed Jobs",
        "a job of a queue `fake` among the failed ones, requeued from there",
        f"{_JOBS}TestFailures::test_requeueing_of_the_oldest_page",
        note="`push_connection`, `get_failed_queue` and `quarantine` are gone in RQ 3: connections are given, each "
        "queue has its registry of failed jobs, and a worker puts the job there",
    ),
    Example(JOBS_1, 1, "Job Creation", "the id of an enqueued job", f"{_JOBS}TestCreation::test_a_job_has_an_id"),
    Example(JOBS_1, 2, "Job Creation", "an id of the caller's", f"{_JOBS}TestCreation::test_an_id_of_the_callers"),
    Example(
        JOBS_1,
        3,
        "Job Creation",
        "jobs that are created first and enqueued then, one with an id of the caller's",
        f"{_JOBS}TestCreation::test_created_first_and_enqueued_then",
        note="a text in place of `args` is one argument, as the page has it; RQ 3 takes its letters for the arguments",
    ),
    Example(
        JOBS_1,
        4,
        "Job Creation",
        "`args=` and `kwargs=` beside an option of the same name",
        f"{_JOBS}TestCreation::test_arguments_that_are_named_like_options",
    ),
    Example(
        JOBS_1,
        5,
        "Retrieving Jobs",
        "a job by its id, and its status",
        f"{_JOBS}TestRetrieving::test_a_job_and_its_attributes",
    ),
    Example(JOBS_1, 6, "Retrieving Jobs", "several jobs by their ids", f"{_JOBS}TestRetrieving::test_many_jobs"),
    Example(
        JOBS_1,
        7,
        "Stopping a Currently Executing Job",
        "the command to stop a job, which raises if it does not run",
        f"{_JOBS}TestStopping::test_a_job_that_runs",
    ),
    Example(
        JOBS_1,
        8,
        "Canceling a Job",
        "a job that is canceled, and its registry",
        f"{_JOBS}TestStopping::test_a_job_that_waits",
    ),
    Example(
        JOBS_1,
        9,
        "Canceling a Job",
        "canceling by id, with the dependents enqueued",
        f"{_JOBS}TestStopping::test_the_dependents_of_a_canceled_job",
    ),
    Example(
        JOBS_1,
        10,
        "Job / Queue Creation with Custom Serializer",
        "a job and a queue with JSON",
        f"{_JOBS}TestSerializers::test_json",
    ),
    Example(
        JOBS_1,
        11,
        "Accessing The current Job",
        "a function that asks for it",
        f"{_JOBS}TestInside::test_the_current_job",
    ),
    Example(
        JOBS_1,
        12,
        "Storing arbitrary data on jobs",
        "a function that saves `meta` before it goes on",
        f"{_JOBS}TestInside::test_data_of_the_callers",
    ),
    Example(
        JOBS_1,
        13,
        "Time to live for job in queue",
        "`ttl` and `result_ttl` of a created job, and of an enqueued one",
        f"{_JOBS}TestTimes::test_two_times_to_live",
    ),
    Example(
        JOBS_1,
        14,
        "Job Position in Queue",
        "positions of two jobs",
        f"{_JOBS}TestTimes::test_the_position_in_the_queue",
    ),
    Example(
        JOBS_1,
        15,
        "Failed Jobs",
        "a job that fails in a burst of a worker, and its registry",
        f"{_JOBS}TestFailures::test_they_are_kept_in_a_registry",
    ),
    Example(JOBS_1, 16, "Failed Jobs", "five minutes as `failure_ttl`", f"{_JOBS}TestFailures::test_for_how_long"),
    Example(
        JOBS_1,
        17,
        "Requeuing Failed Jobs",
        "every job of the registry is requeued",
        f"{_JOBS}TestFailures::test_requeueing",
    ),
    Example(
        JOBS_1,
        18,
        "Requeuing Failed Jobs via CLI",
        "two jobs of `myqueue` by their ids, and all of them",
        f"{_JOBS}TestFailures::test_requeueing_all",
        note="by the methods of the registry",
    ),
    Example(JOBS_2, 1, "", "the id of an enqueued job", f"{_JOBS}TestCreation::test_a_job_has_an_id"),
    Example(JOBS_2, 2, "", "an id of the caller's", f"{_JOBS}TestCreation::test_an_id_of_the_callers"),
    Example(
        JOBS_2,
        3,
        "",
        "jobs that are created first and enqueued then, one with an id of the caller's",
        f"{_JOBS}TestCreation::test_created_first_and_enqueued_then",
        note="as that of 1.x",
    ),
    Example(
        JOBS_2,
        4,
        "",
        "`args=` and `kwargs=` beside an option of the same name",
        f"{_JOBS}TestCreation::test_arguments_that_are_named_like_options",
    ),
    Example(JOBS_2, 5, "", "a job by its id, and its status", f"{_JOBS}TestRetrieving::test_a_job_and_its_attributes"),
    Example(JOBS_2, 6, "", "several jobs by their ids", f"{_JOBS}TestRetrieving::test_many_jobs"),
    Example(
        JOBS_2,
        7,
        "",
        "the executions of a job, since when, and when last heard of",
        f"{_JOBS}TestLife::test_executions",
    ),
    Example(
        JOBS_2,
        8,
        "",
        "the command to stop a job, which raises if it does not run",
        f"{_JOBS}TestStopping::test_a_job_that_runs",
    ),
    Example(JOBS_2, 9, "", "a job that is canceled, and its registry", f"{_JOBS}TestStopping::test_a_job_that_waits"),
    Example(
        JOBS_2,
        10,
        "",
        "canceling by id, with the dependents enqueued",
        f"{_JOBS}TestStopping::test_the_dependents_of_a_canceled_job",
    ),
    Example(JOBS_2, 11, "", "a job and a queue with JSON", f"{_JOBS}TestSerializers::test_json"),
    Example(JOBS_2, 12, "", "a function that asks for the current job", f"{_JOBS}TestInside::test_the_current_job"),
    Example(
        JOBS_2, 13, "", "a function that saves `meta` before it goes on", f"{_JOBS}TestInside::test_data_of_the_callers"
    ),
    Example(
        JOBS_2,
        14,
        "",
        "`ttl` and `result_ttl` of a created job, and of an enqueued one",
        f"{_JOBS}TestTimes::test_two_times_to_live",
    ),
    Example(JOBS_2, 15, "", "positions of two jobs", f"{_JOBS}TestTimes::test_the_position_in_the_queue"),
    Example(
        JOBS_2,
        16,
        "",
        "a job that fails in a burst of a worker, and its registry",
        f"{_JOBS}TestFailures::test_they_are_kept_in_a_registry",
    ),
    Example(JOBS_2, 17, "", "five minutes as `failure_ttl`", f"{_JOBS}TestFailures::test_for_how_long"),
    Example(JOBS_2, 18, "", "every job of the registry is requeued", f"{_JOBS}TestFailures::test_requeueing"),
    Example(
        JOBS_2,
        19,
        "",
        "two jobs of `myqueue` by their ids, and all of them, on the command line",
        f"{_JOBS}TestFailures::test_requeueing_all",
        note="by the methods of the registry",
    ),
    Example(
        RESULTS,
        1,
        "Job Results",
        "the latest result, of a success or a failure",
        f"{_RESULTS}TestResults::test_the_latest",
    ),
    Example(RESULTS, 2, "Job Results", "the return value", f"{_RESULTS}TestResults::test_the_return_value"),
    Example(
        RESULTS,
        3,
        "Job Results",
        "all results, with their times and types",
        f"{_RESULTS}TestResults::test_the_return_value",
    ),
    Example(RESULTS, 4, "Job Results", "waiting for a result", f"{_RESULTS}TestResults::test_waiting_for_one"),
    Example(
        RESULTS,
        5,
        "Result TTL",
        "results that are kept for 500 seconds, for a day, not at all, and for ever",
        f"{_RESULTS}TestResultTTL::test_how_long_results_are_kept",
    ),
    Example(
        RESULTS,
        6,
        "Result TTL",
        "a job without a return value that is kept",
        f"{_RESULTS}TestResultTTL::test_without_a_return_value",
        note="RQ 3 keeps such jobs by default too",
    ),
    Example(
        RESULTS,
        7,
        "Asking RQ to Retry",
        "a function that returns a `Retry`: three times, a minute in between",
        f"{_RESULTS}TestRetries::test_asked_for_by_the_function",
    ),
    Example(
        RESULTS,
        8,
        "Dealing with Job Timeouts",
        "ten minutes for one job",
        f"{_RESULTS}TestTimeouts::test_how_long_a_job_may_take",
    ),
    Example(
        RESULTS,
        9,
        "Dealing with Job Timeouts",
        "queues with a default each, and a job with more than that",
        f"{_RESULTS}TestTimeouts::test_the_default_of_a_queue",
    ),
]

STATEMENTS: Final[list[Statement]] = [
    Statement(QUEUES, "a queue is made by the first enqueue", f"{_QUEUES}TestEnqueueing::test_a_queue_of_any_name"),
    Statement(
        QUEUES,
        "whoever enqueues a function by its name need not have its code",
        f"{_QUEUES}TestEnqueueing::test_a_function_by_its_name",
    ),
    Statement(QUEUES, "no functions of `__main__`", f"{_QUEUES}TestEnqueueing::test_functions_of_main_are_refused"),
    Statement(QUEUES, "`job_timeout` as number and as text", f"{_QUEUES}TestOptions::test_job_timeout"),
    Statement(QUEUES, "options are no arguments", f"{_QUEUES}TestOptions::test_they_are_not_arguments"),
    Statement(QUEUES, "`at_front`", f"{_QUEUES}TestOptions::test_at_front"),
    Statement(
        QUEUES,
        "`ttl`, for ever by default, after which a job that waits is discarded",
        f"{_QUEUES}TestOptions::test_what_waited_longer_than_its_ttl_is_dropped",
    ),
    Statement(
        QUEUES,
        "`result_ttl` and `failure_ttl` are 500 seconds and a year by default",
        f"{_QUEUES}TestOptions::test_how_long_jobs_are_kept",
    ),
    Statement(QUEUES, "`prepare_data` takes the options of `enqueue`", f"{_QUEUES}TestBulk::test_all_options"),
    Statement(QUEUES, "a group without jobs is removed", f"{_QUEUES}TestGroups::test_a_group_without_jobs_is_gone"),
    Statement(
        QUEUES, "only success lets dependents go on, by default", f"{_CHAINS}TestDependencies::test_only_success_counts"
    ),
    Statement(
        QUEUES,
        "a dependency takes an id, a job, or several of either",
        f"{_CHAINS}TestDependencies::test_what_a_dependency_takes",
    ),
    Statement(QUEUES, "callbacks by name", f"{_CHAINS}TestCallbacks::test_by_name"),
    Statement(
        QUEUES,
        "success callbacks run before dependents are enqueued",
        f"{_CHAINS}TestCallbacks::test_dependents_come_after_success_callbacks",
    ),
    Statement(
        QUEUES,
        "one that raises fails the job, and dependents are not enqueued",
        f"{_CHAINS}TestCallbacks::test_a_success_callback_that_raises",
    ),
    Statement(
        QUEUES,
        "callbacks are limited in time",
        f"{_CHAINS}TestCallbacks::test_callbacks_that_take_too_long",
    ),
    Statement(
        QUEUES,
        "the options of `rq enqueue`",
        "tests/cli/test_commands.py::test_options_of_enqueue",
        note="without `--depends-on`, `--retry-max`, `--retry-interval`, `--schedule-in` and `--schedule-at`",
    ),
    Statement(
        QUEUES,
        "a deleted queue can be made anew by enqueueing",
        f"{_QUEUES}TestQueues::test_emptying_and_deleting",
    ),
    Statement(
        QUEUES,
        "without workers the job runs in the same process, and its state is kept in Redis",
        f"{_QUEUES}TestQueues::test_without_workers",
    ),
    Statement(
        QUEUES,
        "a suspension is for all queues, and what runs goes on",
        f"{_QUEUES}TestSuspension::test_no_worker_takes_jobs_until_they_resume",
    ),
    Statement(QUEUES, "a suspension for some time", f"{_QUEUES}TestSuspension::test_for_some_time"),
    Statement(JOBS_1, "the keywords of `Job.create`", f"{_JOBS}TestCreation::test_all_options"),
    Statement(JOBS_1, "`timeout` as number and as text", f"{_JOBS}TestCreation::test_timeouts"),
    Statement(
        JOBS_1,
        "the attributes of a job; `refresh` reads them anew",
        f"{_JOBS}TestRetrieving::test_a_job_and_its_attributes",
    ),
    Statement(
        JOBS_1,
        "why a job failed",
        f"{_JOBS}TestRetrieving::test_why_a_job_failed",
        note="`job.exc_info` was a property; the text is that of the latest result",
    ),
    Statement(JOBS_1, "`get_meta` reads anew", f"{_JOBS}TestRetrieving::test_meta_is_read_anew"),
    Statement(
        JOBS_1,
        "`last_heartbeat` is updated while the job runs, and `worker_name` says where",
        f"{_JOBS}TestLife::test_executions",
    ),
    Statement(
        JOBS_1,
        "a stopped job is among the failed ones and is not tried again",
        f"{_JOBS}TestStopping::test_a_job_that_runs",
    ),
    Statement(
        JOBS_1,
        "subclasses of `Worker` that handle failures look after stopped jobs",
        "",
        note="there are no such methods to override: no stopped job is tried again",
    ),
    Statement(JOBS_1, "canceling deletes nothing, and `delete` does", f"{_JOBS}TestStopping::test_a_job_that_waits"),
    Statement(
        JOBS_1,
        "a serializer is any object with `loads` and `dumps`",
        f"{_JOBS}TestSerializers::test_any_object_that_dumps_and_loads",
    ),
    Statement(JOBS_1, "pickle is the default", f"{_JOBS}TestSerializers::test_pickle_is_the_default"),
    Statement(JOBS_1, "no current job outside of jobs", f"{_JOBS}TestInside::test_the_current_job"),
    Statement(
        JOBS_1,
        "failed jobs are kept for a year, and `is_failed` is true",
        f"{_JOBS}TestFailures::test_they_are_kept_in_a_registry",
    ),
    Statement(
        JOBS_2,
        "the life of a job: queued, started with an execution, finished with a result",
        f"{_JOBS}TestLife::test_from_the_queue_to_the_result",
    ),
    Statement(
        JOBS_2,
        "the states, and the properties of their names",
        f"{_JOBS}TestLife::test_every_status",
        note="a job that expires in its queue is gone, in RQ 3 too, and not failed as the page says",
    ),
    Statement(
        RESULTS,
        "a return value only if the latest result is a success",
        f"{_RESULTS}TestResults::test_the_return_value",
    ),
    Statement(RESULTS, "the ten latest results are kept", f"{_RESULTS}TestResults::test_ten_are_kept"),
    Statement(
        RESULTS,
        "without a result in time there is none; one that is there comes at once",
        f"{_RESULTS}TestResults::test_waiting_for_one",
    ),
    Statement(
        RESULTS,
        "retries that a function asks for are counted apart from those of the option",
        f"{_RESULTS}TestRetries::test_are_counted_apart",
    ),
    Statement(
        RESULTS,
        "a worker that is asked to end finishes what it does",
        f"{_RESULTS}TestInterruptions::test_a_worker_that_is_asked_to_end",
    ),
    Statement(
        RESULTS,
        "a job whose worker was killed ends among the failed ones, with an `AbandonedJobError`",
        f"{_RESULTS}TestInterruptions::test_a_worker_that_is_killed",
    ),
    Statement(
        RESULTS,
        "after its timeout a job's process is killed, and the job failed",
        f"{_RESULTS}TestTimeouts::test_a_job_that_takes_too_long",
    ),
    Statement(RESULTS, "180 seconds by default", f"{_RESULTS}TestTimeouts::test_how_long_a_job_may_take"),
    Statement(
        RESULTS,
        "workers respect the default of a queue",
        f"{_RESULTS}TestTimeouts::test_the_default_of_a_queue_is_enforced",
    ),
]
