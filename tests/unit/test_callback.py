"""`Callback`: what is accepted, beside what RQ accepts."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import pytest
import rq

from aiorq.callback import Callback, as_callback
from aiorq.errors import UnserializableFunctionError

shapes: Any = importlib.import_module("shapes")


class TestAcceptedAndRefused:
    @pytest.mark.parametrize(
        ("func", "name"),
        [
            (shapes.function, "shapes.function"),
            ("shapes.function", "shapes.function"),
            ("function", "function"),
            ("a.b.c.D.e", "a.b.c.D.e"),
            (print, "builtins.print"),
        ],
    )
    def test_name_is_that_of_rq(self, func: Any, name: str) -> None:
        assert Callback(func).name == name
        if func is not print:  # RQ stores `print.print`, which nothing can import
            assert rq.Callback(func).name == name

    @pytest.mark.parametrize(
        ("timeout", "seconds"), [(None, 60), (1, 1), (90, 90), ("90", 90), ("2m", 120), ("1h", 3600), (" 5s ", 5)]
    )
    def test_timeout_is_that_of_rq(self, timeout: Any, seconds: int) -> None:
        assert Callback("a.b", timeout).timeout == seconds
        if timeout != " 5s ":
            assert rq.Callback("a.b", timeout).timeout == seconds

    @pytest.mark.parametrize(
        "func",
        [5, None, "", " ", "a b", "a.", ".a", "a..b", "a-b", "a.b()", b"a.b", shapes.Counter, object(), ["a.b"]],
    )
    def test_what_is_no_function(self, func: Any) -> None:
        with pytest.raises(ValueError, match=r"function"):
            Callback(func)

    def test_what_no_worker_could_import(self) -> None:
        def nested() -> None: ...

        for func in (lambda *_: None, nested, functools.partial(shapes.function)):
            with pytest.raises(ValueError, match=r"."):
                Callback(func)
        with pytest.raises(UnserializableFunctionError):
            Callback(nested)

    @pytest.mark.parametrize("timeout", [0, -1, "0", "abc", "", True, float("nan"), 10**12, [1], 0.5])
    def test_what_is_no_timeout(self, timeout: Any) -> None:
        with pytest.raises(ValueError, match=r"timeout"):
            Callback("a.b", timeout)


class TestOption:
    def test_forms(self) -> None:
        given = Callback("a.b", 5)
        assert as_callback(given, "on_success") is given
        assert as_callback(None, "on_success") is None
        assert as_callback("a.b", "on_success") == Callback("a.b")
        assert as_callback(shapes.function, "on_success") == Callback("shapes.function")

    def test_error_names_the_option(self) -> None:
        bad: list[Any] = [5, "a b"]
        for value in bad:
            with pytest.raises(ValueError, match=r"^on_failure: "):
                as_callback(value, "on_failure")
        with pytest.raises(UnserializableFunctionError, match=r"^on_failure: "):
            as_callback(lambda: None, "on_failure")


def test_equality_and_looks() -> None:
    assert Callback(shapes.function) == Callback("shapes.function", 60)
    assert Callback("a.b", 5) != Callback("a.b", 6)
    assert Callback("a.b") != "a.b"
    assert len({Callback("a.b"), Callback("a.b"), Callback("a.c")}) == 2
    assert repr(Callback("a.b", 5)) == "Callback('a.b', timeout=5)"
