"""The options of an enqueue: what is accepted, what it becomes, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import rq.utils

from aiorq.errors import TimeoutFormatError
from aiorq.options import RESERVED, JobOptions, parse_memory, split_options
from aiorq.seconds import MAX_SECONDS, parse_kept, parse_seconds, parse_timeout, parse_ttl

DURATIONS: list[tuple[Any, int]] = [
    (1, 1),
    (90, 90),
    ("90", 90),
    ("90s", 90),
    ("15m", 900),
    ("2h", 7200),
    ("1d", 86_400),
    ("2H", 7200),
    (" 5 ", 5),
    (1.0, 1),
    (2.9, 2),
    (MAX_SECONDS, MAX_SECONDS),
]
NO_DURATIONS: list[Any] = [
    "abc",
    "1x",
    "",
    " ",
    "1h30m",
    "1.5h",
    "--5",
    "0x10",
    "1e3",
    "\u0663",
    "9" * 5000,
    True,
    False,
    float("nan"),
    float("inf"),
    -float("inf"),
    1e30,
    10**12,
    10**5000,
    MAX_SECONDS + 1,
    "36501d",
    0.5,
    -0.5,
    -1.5,
    [1],
    b"5",
    {},
    object(),
]


@pytest.mark.parametrize(("given", "seconds"), DURATIONS)
def test_durations(given: Any, seconds: int) -> None:
    assert parse_seconds(given, "it") == seconds
    assert parse_timeout(given) == seconds
    assert parse_ttl(given) == seconds
    assert parse_kept(given, "it") == seconds
    assert type(parse_seconds(given, "it")) is int


@pytest.mark.parametrize("given", [1, "90", "90s", "15m", "2h", "1d", "2H", 2.9])
def test_durations_are_read_as_rq_reads_them(given: Any) -> None:
    assert parse_timeout(given) == rq.utils.parse_timeout(given)


@pytest.mark.parametrize("given", NO_DURATIONS, ids=[repr(given)[:20] for given in map(str, map(type, NO_DURATIONS))])
@pytest.mark.parametrize("name", ["job_timeout", "ttl", "result_ttl", "failure_ttl"])
def test_no_durations(name: str, given: Any) -> None:
    with pytest.raises(TimeoutFormatError, match=f"^{name}: ") as caught:
        JobOptions(**{name: given})
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("given", [0, "0", -2, -7, "-7", "-5m", 0.0])
def test_timeouts_out_of_range(given: Any) -> None:
    with pytest.raises(ValueError, match=r"job_timeout.*at least one second, or -1"):
        parse_timeout(given)


@pytest.mark.parametrize("given", [-1, "-1", -1.0])
def test_no_timeout(given: Any) -> None:
    assert parse_timeout(given) == -1


@pytest.mark.parametrize("given", [0, -1, -5, "0", "-1"])
def test_ttls_out_of_range(given: Any) -> None:
    with pytest.raises(ValueError, match=r"ttl.*at least one second"):
        parse_ttl(given)


@pytest.mark.parametrize("given", [-2, -5, "-5", "-1m"])
def test_kept_out_of_range(given: Any) -> None:
    with pytest.raises(ValueError, match=r"result_ttl.*0 to delete at once, or -1 to keep"):
        parse_kept(given, "result_ttl")


@pytest.mark.parametrize(("given", "kept"), [(0, 0), ("0", 0), (-1, -1), ("-1", -1)])
def test_kept_for_no_time_and_for_ever(given: Any, kept: int) -> None:
    assert parse_kept(given, "result_ttl") == kept


@pytest.mark.parametrize(
    ("given", "size"),
    [
        (2**20, 2**20),
        ("1048576", 2**20),
        ("512m", 512 * 2**20),
        ("512M", 512 * 2**20),
        ("2g", 2 * 2**30),
        (" 2GiB ", 2 * 2**30),
        ("4096kb", 4 * 2**20),
        (2**50, 2**50),
        (None, None),
    ],
)
def test_memory(given: Any, size: int | None) -> None:
    assert parse_memory(given) == size
    assert JobOptions(memory_limit=given).memory_limit == size


@pytest.mark.parametrize(
    "given",
    [
        0,
        -1,
        2**20 - 1,
        2**50 + 1,
        True,
        1.5e9,
        "",
        "m",
        "1m2",
        "-5m",
        "1.5g",
        "1t",
        "abc",
        b"512m",
        [1],
        "9" * 400,
        "5 m",
    ],
    ids=lambda given: repr(given)[:20],
)
def test_no_memory(given: Any) -> None:
    with pytest.raises(ValueError, match=r"^memory_limit: .* is not allowed; use bytes"):
        parse_memory(given)
    with pytest.raises(ValueError, match=r"^memory_limit: "):
        JobOptions(memory_limit=given)


@pytest.mark.parametrize("given", ["fail", "requeue", None])
def test_on_lost(given: str | None) -> None:
    assert JobOptions(on_lost=given).on_lost == given


@pytest.mark.parametrize("given", ["", "FAIL", "retry", 5, True, [1], b"fail"])
def test_no_on_lost(given: Any) -> None:
    with pytest.raises(ValueError, match="on_lost must be 'fail' or 'requeue', not "):
        JobOptions(on_lost=given)


def test_nothing_said_stays_nothing() -> None:
    assert (parse_timeout(None), parse_ttl(None), parse_kept(None, "it")) == (None, None, None)
    options = JobOptions()
    assert (options.job_timeout, options.result_ttl, options.failure_ttl, options.ttl) == (None, None, None, None)


def test_options_are_parsed_once_and_do_not_change() -> None:
    given: dict[str, Any] = {"job_timeout": "1h", "result_ttl": "0", "failure_ttl": "1d", "ttl": "5m"}
    options = JobOptions(**given)
    assert (options.job_timeout, options.result_ttl, options.failure_ttl, options.ttl) == (3600, 0, 86_400, 300)
    with pytest.raises(AttributeError):
        options.ttl = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("job_id", "a b", ValueError),
        ("job_id", "", ValueError),
        ("job_id", 5, TypeError),
        ("meta", [1], TypeError),
        ("meta", "text", TypeError),
        ("description", 5, TypeError),
        ("description", b"text", TypeError),
    ],
)
def test_bad_options(name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        JobOptions(**{name: value})


class TestSplit:
    def test_options_and_the_rest(self) -> None:
        options, args, kwargs = split_options({"job_timeout": 5, "x": 1, "timeout": 7, "job_id": "a"})
        assert (options.job_timeout, options.job_id) == (5, "a")
        assert args is None
        assert kwargs == {"x": 1, "timeout": 7}

    def test_explicit_arguments(self) -> None:
        given: dict[str, Any] = {"args": [1, 2], "kwargs": {"args": 3, "ttl": 4}, "ttl": 5}
        options, args, kwargs = split_options(given)
        assert options.ttl == 5
        assert args == (1, 2)
        assert kwargs == {"args": 3, "ttl": 4}
        assert given == {"args": [1, 2], "kwargs": {"args": 3, "ttl": 4}, "ttl": 5}

    def test_keywords_beside_explicit_ones(self) -> None:
        with pytest.raises(TypeError, match="x, y stood beside"):
            split_options({"kwargs": {}, "y": 1, "x": 2})

    @pytest.mark.parametrize("given", [{"args": 5}, {"args": "text"}, {"kwargs": [1]}, {"kwargs": 5}])
    def test_explicit_arguments_of_another_type(self, given: dict[str, Any]) -> None:
        with pytest.raises(TypeError, match="must be"):
            split_options(given)

    def test_every_keyword_that_rq_reserves_is_reserved(self) -> None:
        reserved = {
            *("job_timeout", "description", "result_ttl", "ttl", "failure_ttl", "depends_on", "job_id", "at_front"),
            *("meta", "retry", "repeat", "on_success", "on_failure", "on_stopped", "rate_limit", "webhooks"),
            "unique",
        }
        assert reserved | {"on_lost", "memory_limit"} == RESERVED  # ours
