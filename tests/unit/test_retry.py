"""`Retry` and `Repeat`: what is accepted, beside what RQ accepts, and the intervals that come of it."""

from __future__ import annotations

import fractions
from typing import Any

import pytest
import rq

from aiorq.retry import MAX_TIMES, Repeat, Retry, kinds_of, qualified_name
from aiorq.seconds import MAX_SECONDS

GOOD: list[tuple[int, Any]] = [
    (1, 0),
    (3, 5),
    (3, [10]),
    (3, [10, 20]),
    (2, [10, 20, 30]),
    (3, (0, 5)),
    (MAX_TIMES, 0),
    (1, MAX_SECONDS),
    (3, range(3)),
]
BAD: list[tuple[Any, Any, type[Exception]]] = [
    (0, 0, ValueError),
    (-1, 0, ValueError),
    (10**9, 0, ValueError),
    (True, 0, TypeError),
    (1.5, 0, TypeError),
    ("3", 0, TypeError),
    (None, 0, TypeError),
    (3, -1, ValueError),
    (3, [5, -1], ValueError),
    (3, [], ValueError),
    (3, (), ValueError),
    (3, float("nan"), TypeError),
    (3, float("inf"), TypeError),
    (3, 1.5, TypeError),
    (3, [1, 2.0], TypeError),
    (3, True, TypeError),
    (3, "5", TypeError),
    (3, ["5"], TypeError),
    (3, None, TypeError),
    (3, [None], TypeError),
    (3, MAX_SECONDS + 1, ValueError),
    (3, 10**30, ValueError),
]
BAD_IN_RQ = {(0, 0), (-1, 0), (3, -1)}
"""RQ does not check the others, or not all of them."""


class LateError(ConnectionError):
    """An exception of one's own."""

    class VeryError(Exception):
        """One within it."""


class TestAcceptedAndRefused:
    @pytest.mark.parametrize(("times", "interval"), GOOD)
    def test_good_retries_are_those_of_rq(self, times: int, interval: Any) -> None:
        ours, theirs = Retry(times, interval), rq.Retry(times, interval)
        assert (ours.max, ours.intervals) == (theirs.max, list(theirs.intervals))
        assert ours.enqueue_at_front == theirs.enqueue_at_front is False
        assert rq.Retry(times, interval, enqueue_at_front=True).enqueue_at_front is True
        assert Retry(times, interval, True).enqueue_at_front is True

    @pytest.mark.parametrize(("times", "interval"), GOOD)
    def test_good_repeats_are_those_of_rq(self, times: int, interval: Any) -> None:
        ours, theirs = Repeat(times, interval), rq.Repeat(times, interval)
        assert (ours.times, ours.intervals) == (theirs.times, list(theirs.intervals))

    @pytest.mark.parametrize(("times", "interval", "error"), BAD)
    def test_bad_ones(self, times: Any, interval: Any, error: type[Exception]) -> None:
        for kind, name in ((Retry, "max"), (Repeat, "times")):
            with pytest.raises(error, match=f"^({name}|interval) must"):
                kind(times, interval)

    @pytest.mark.parametrize(("times", "interval"), sorted(BAD_IN_RQ))
    def test_what_rq_refuses_is_refused(self, times: int, interval: int) -> None:
        for theirs, ours in ((rq.Retry, Retry), (rq.Repeat, Repeat)):
            for kind in (theirs, ours):
                with pytest.raises(ValueError, match=r"."):
                    kind(times, interval)

    def test_one_shot_iterables(self) -> None:
        assert Retry(3, (number for number in (1, 2))).intervals == [1, 2]
        assert Repeat(3, iter([1, 2])).intervals == [1, 2]

    def test_a_list_that_is_changed_afterwards(self) -> None:
        given = [1, 2]
        retry = Retry(3, given)
        given.append(3)
        assert retry.intervals == [1, 2]


class TestBackoff:
    @pytest.mark.parametrize(
        ("arguments", "intervals"),
        [
            ({"max": 5, "interval": 10, "backoff": 2}, [10, 20, 40, 80, 160]),
            ({"max": 5, "interval": 10, "backoff": 2, "max_interval": 50}, [10, 20, 40, 50]),
            ({"max": 2, "interval": 10, "backoff": 2}, [10, 20]),
            ({"max": 3, "interval": 10, "backoff": 1}, [10, 10, 10]),
            ({"max": 4, "interval": 10, "backoff": 1.5}, [10, 15, 22, 34]),
            ({"max": 9, "interval": 3600, "backoff": 10}, [3600, 36_000, 86_400]),
            ({"max": 3, "interval": [7], "backoff": 3}, [7, 21, 63]),
            ({"max": 3, "interval": 7, "backoff": 3, "max_interval": 7}, [7]),
        ],
    )
    def test_grows(self, arguments: dict[str, Any], intervals: list[int]) -> None:
        assert Retry(**arguments).intervals == intervals

    def test_is_written_out_so_far(self) -> None:
        assert len(Retry(MAX_TIMES, 1, backoff=1.0001).intervals) == 100
        assert len(Retry(MAX_TIMES, 1, backoff=1).intervals) == 100

    @pytest.mark.parametrize(
        ("arguments", "error", "text"),
        [
            ({"interval": 0, "backoff": 2}, ValueError, "needs one interval"),
            ({"interval": [1, 2], "backoff": 2}, ValueError, "needs one interval"),
            ({"interval": 1, "backoff": 0.5}, ValueError, "factor of 1 to 100"),
            ({"interval": 1, "backoff": 101}, ValueError, "factor of 1 to 100"),
            ({"interval": 1, "backoff": float("nan")}, ValueError, "factor of 1 to 100"),
            ({"interval": 10, "backoff": 2, "max_interval": 9}, ValueError, "must be 10 seconds to"),
            ({"interval": 10, "backoff": 2, "max_interval": 10**12}, ValueError, "must be 10 seconds to"),
            ({"interval": 90_000, "backoff": 2}, ValueError, "must be 90000 seconds to"),
            ({"max_interval": 9}, ValueError, "goes with backoff"),
            ({"jitter": 1.1}, ValueError, "0 to 1"),
            ({"jitter": -0.1}, ValueError, "0 to 1"),
            ({"jitter": float("nan")}, ValueError, "0 to 1"),
            ({"jitter": "x"}, TypeError, "not supported"),
            ({"interval": 1, "backoff": "x"}, TypeError, "not supported"),
        ],
    )
    def test_bad_ones(self, arguments: dict[str, Any], error: type[Exception], text: str) -> None:
        with pytest.raises(error, match=text):
            Retry(3, **arguments)


class TestWhich:
    @pytest.mark.parametrize(
        ("given", "names"),
        [
            (OSError, ["OSError"]),
            ("OSError", ["OSError"]),
            ("builtins.OSError", ["OSError"]),
            ("mine.Late", ["mine.Late"]),
            (LateError, [f"{__name__}.LateError"]),
            (LateError.VeryError, [f"{__name__}.LateError.VeryError"]),
            ([OSError, "a.B", LateError], ["OSError", "a.B", f"{__name__}.LateError"]),
            ((), []),
            ([], []),
            (KeyboardInterrupt, ["KeyboardInterrupt"]),
        ],
    )
    def test_names(self, given: Any, names: list[str]) -> None:
        assert Retry(1, retry_on=given).retry_on == names
        assert Retry(1, never=given).never == names

    @pytest.mark.parametrize("given", [int, 5, None, "a b", "", "a.", [int], [OSError, 5], OSError("one"), object()])
    def test_what_is_none(self, given: Any) -> None:
        for name in ("retry_on", "never"):
            with pytest.raises(TypeError, match=f"{name} must be exception classes or their dotted names"):
                Retry(1, **{name: given})

    def test_kinds_of_an_exception(self) -> None:
        assert kinds_of(LateError) == [
            f"{__name__}.LateError",
            *("ConnectionError", "OSError", "Exception", "BaseException"),
        ]
        assert qualified_name(fractions.Fraction) == "fractions.Fraction"

    @pytest.mark.parametrize("given", [OSError, LateError, "ConnectionError", Exception])
    def test_name_is_among_the_kinds(self, given: Any) -> None:
        assert set(Retry(1, retry_on=given).retry_on) & set(kinds_of(LateError))


def test_equality_and_looks() -> None:
    assert Retry(3, [1, 2]) == Retry(3, (1, 2))
    assert Retry(3, 1) != Retry(3, 2)
    assert Retry(3, 1, jitter=0.5) != Retry(3, 1)
    assert Retry(3) != Repeat(3)
    assert Repeat(3, 1) == Repeat(3, [1])
    assert Repeat(3, 1) != Repeat(2, 1)
    assert len({Retry(3, 1), Retry(3, [1]), Repeat(3, 1), Repeat(3, [1])}) == 2
    assert repr(Retry(3, 5)) == "Retry(max=3, interval=5, enqueue_at_front=False)"
    assert repr(Retry(3, [5, 6], True)) == "Retry(max=3, interval=[5, 6], enqueue_at_front=True)"
    assert repr(Repeat(3, 5)) == "Repeat(times=3, interval=[5])"
