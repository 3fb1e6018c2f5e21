"""Things to call, of every shape that a job may have, and some that it may not."""

from __future__ import annotations

import functools
import threading
from typing import Any


class Outer:
    """A class with another one inside."""

    class Inner:
        @staticmethod
        def deep(value: Any = None) -> tuple[str, Any]:
            return "deep", value

    @classmethod
    def by_class(cls, value: Any = None) -> tuple[str, Any]:
        return cls.__name__, value


class Counter:
    """Has a state that travels with its methods."""

    def __init__(self, start: int = 0) -> None:
        self.start = start

    def add(self, value: int) -> int:
        return self.start + value

    def __call__(self, value: int) -> int:
        return self.start * value

    def __len__(self) -> int:
        return self.start


class Locked:
    """Cannot be pickled."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def method(self) -> None:
        return None


class Ambiguous:
    """Neither true nor false, as arrays are."""

    def __bool__(self) -> bool:
        raise ValueError("the truth value is ambiguous")

    def method(self) -> str:
        return "here"


class Unprintable:
    """Raises when it is shown."""

    def __repr__(self) -> str:
        raise RuntimeError("not to be shown")


class Surrogate:
    """Shows itself with half a surrogate pair."""

    def __repr__(self) -> str:
        return "<\ud800>"


def function(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
    return args, kwargs


@functools.lru_cache
def cached(value: int) -> int:
    return value + 1


@functools.wraps(function)
def wrapped(*args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


class Pushy:
    """Raises an error that cannot be shown when it is pickled."""

    def __reduce__(self) -> Any:
        raise Unshowable


class Unshowable(Exception):  # noqa: N818 - what it is
    """An error whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Explosive:
    """Raises an error that cannot be shown when it is unpickled."""

    def __reduce__(self) -> Any:
        return explode, ()


def explode() -> None:
    raise Unshowable


partial = functools.partial(function, 1, key=2)
NUMBER = 5
