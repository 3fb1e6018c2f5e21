"""`RateLimit`: what is accepted, beside what RQ accepts."""

from __future__ import annotations

from typing import Any

import pytest
import rq

from aiorq.rate_limit import MAX_CONCURRENCY, RateLimit


@pytest.mark.parametrize(("key", "concurrency"), [("api", 1), ("a:b c", 5), ("é", MAX_CONCURRENCY), ("x" * 255, 2)])
def test_good_ones_are_those_of_rq(key: str, concurrency: int) -> None:
    ours, theirs = RateLimit(key, concurrency), rq.RateLimit(key, concurrency)
    assert (ours.key, ours.concurrency) == (theirs.key, theirs.concurrency)


@pytest.mark.parametrize(
    ("key", "concurrency", "error"),
    [
        ("", 1, ValueError),
        ("x" * 256, 1, ValueError),
        ("a\nb", 1, ValueError),
        ("\x00", 1, ValueError),
        ("\ud800", 1, ValueError),
        (b"api", 1, TypeError),
        (None, 1, TypeError),
        (5, 1, TypeError),
        ("api", 0, ValueError),
        ("api", -1, ValueError),
        ("api", MAX_CONCURRENCY + 1, ValueError),
        ("api", True, ValueError),
        ("api", 1.5, ValueError),
        ("api", "1", ValueError),
        ("api", None, ValueError),
        ("api", float("nan"), ValueError),
    ],
)
def test_bad_ones(key: Any, concurrency: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"key|concurrency") as caught:
        RateLimit(key, concurrency)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(("key", "concurrency"), [("", 1), ("api", 0), ("api", -1)])
def test_what_rq_refuses_is_refused(key: str, concurrency: int) -> None:
    for kind in (rq.RateLimit, RateLimit):
        with pytest.raises(ValueError, match=r"."):
            kind(key, concurrency)


def test_equality_and_looks() -> None:
    assert RateLimit("api", 1) == RateLimit("api", 1)
    assert RateLimit("api", 1) != RateLimit("api", 2)
    assert RateLimit("api", 1) != ("api", 1)
    assert len({RateLimit("api", 1), RateLimit("api", 1), RateLimit("b", 1)}) == 2
    assert repr(RateLimit("api", 1)) == "RateLimit('api', 1)"
