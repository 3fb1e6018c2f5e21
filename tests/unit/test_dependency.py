"""`Dependency`, and all that `depends_on` takes."""

from __future__ import annotations

from typing import Any

import pytest
import redis
import rq.job

from aiorq import Job
from aiorq.dependency import MAX_DEPENDENCIES, Dependency, Waits, read_depends_on
from aiorq.errors import DependencyCycleError
from aiorq.options import JobOptions

ONE, TWO = Job[Any]("one"), Job[Any]("two")
BAD: list[Any] = [
    *(5, 1.5, True, b"one", object(), [5], ["one", None], [["one"]], [Dependency("one"), 5], {1: 2}),
    *("", "a b", "a:b", "x" * 256, ["one", ""]),
]


class TestDependency:
    @pytest.mark.parametrize("jobs", ["one", ONE, ["one", "two"], (ONE, "two"), [ONE, TWO]])
    def test_is_that_of_rq(self, jobs: Any) -> None:
        def as_theirs(job: Any) -> Any:
            return job if isinstance(job, str) else rq.job.Job(job.id, connection=redis.Redis())

        theirs = rq.job.Dependency([as_theirs(job) for job in ([jobs] if isinstance(jobs, (str, Job)) else jobs)])
        ours = Dependency(jobs)
        ids = [job if isinstance(job, str) else job.id for job in ours.dependencies]
        assert ids == [job if isinstance(job, str) else job.id for job in theirs.dependencies]
        assert (ours.allow_failure, ours.enqueue_at_front) == (theirs.allow_failure, theirs.enqueue_at_front)
        assert (ours.allow_failure, ours.enqueue_at_front) == (False, False)

    @pytest.mark.parametrize("jobs", [[], (), None, *BAD])
    def test_what_is_none(self, jobs: Any) -> None:
        with pytest.raises(ValueError, match=r"depends_on takes|bad job id|at least one job"):
            Dependency(jobs)

    @pytest.mark.parametrize("jobs", [[], [5], 5])
    def test_what_rq_refuses(self, jobs: Any) -> None:
        with pytest.raises(ValueError, match=r"."):
            rq.job.Dependency(jobs)

    def test_jobs_of_rq_are_jobs(self) -> None:
        theirs = rq.job.Job("one", connection=redis.Redis())
        assert read_depends_on(theirs) == Waits(["one"])

    def test_looks(self) -> None:
        shown = repr(Dependency([ONE, "two"], allow_failure=True))
        assert shown == "Dependency(['one', 'two'], allow_failure=True, enqueue_at_front=False)"


class TestDependsOn:
    @pytest.mark.parametrize(
        ("given", "waits"),
        [
            (None, Waits([])),
            ([], Waits([])),
            ((), Waits([])),
            ("one", Waits(["one"])),
            (ONE, Waits(["one"])),
            (["two", ONE], Waits(["two", "one"])),
            (["one", ONE, "one", "two"], Waits(["one", "two"])),
            (Dependency("one"), Waits(["one"], False, False)),
            (Dependency(["one", TWO], True), Waits(["one", "two"], True, False)),
            ([Dependency("one", True), "two"], Waits(["one", "two"], True, False)),
            (["two", Dependency("one"), Dependency("x", False, True)], Waits(["two", "one", "x"], False, True)),
            ([Dependency("one", True), Dependency("two", False, True)], Waits(["one", "two"], True, True)),
            (Waits(["one"], True, False), Waits(["one"], True, False)),
        ],
    )
    def test_put_together(self, given: Any, waits: Waits) -> None:
        assert read_depends_on(given) == waits
        assert JobOptions(depends_on=given).waits == waits

    def test_one_shot_iterables(self) -> None:
        assert read_depends_on(job for job in (ONE, "two")).ids == ["one", "two"]
        assert read_depends_on({"one": 1}.keys()).ids == ["one"]

    @pytest.mark.parametrize("given", BAD)
    def test_what_is_none(self, given: Any) -> None:
        with pytest.raises(ValueError, match=r"depends_on takes|bad job id"):
            read_depends_on(given)

    def test_how_many(self) -> None:
        ids = [f"job-{number}" for number in range(MAX_DEPENDENCIES)]
        assert len(read_depends_on(ids).ids) == MAX_DEPENDENCIES
        with pytest.raises(ValueError, match="at most 20000 are allowed"):
            read_depends_on([*ids, "one-more"])
        assert len(read_depends_on([*ids, *ids]).ids) == MAX_DEPENDENCIES

    @pytest.mark.parametrize("given", ["a", ["b", "a"], Dependency("a"), ["b", Dependency(["c", "a"])], Job("a")])
    def test_itself(self, given: Any) -> None:
        with pytest.raises(DependencyCycleError, match="'a' would wait for itself") as caught:
            JobOptions(job_id="a", depends_on=given)
        assert isinstance(caught.value, ValueError)
        assert JobOptions(job_id="d", depends_on=given).waits.ids
