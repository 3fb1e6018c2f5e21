"""Functions that are called when a job has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from aiorq.call import function_name
from aiorq.seconds import parse_seconds

DEFAULT_TIMEOUT: Final = 60
"""Seconds that a callback may take when nothing else is said (RQ)."""


class Callback:
    """A function to call when a job has succeeded, failed or was stopped, and the time that it may take.

    It is called in a process of its own or in that of the job, with `(job, connection, result)` after a success,
    `(job, connection, type, value, traceback)` after a failure, and `(job, connection)` after a stop. It may be a
    coroutine function, which gets an asynchronous connection.
    """

    def __init__(self, func: Callable[..., Any] | str, timeout: int | str | None = None) -> None:
        """Name a function.

        Args:
            func: a function that workers can import, or its dotted name.
            timeout: seconds, 1 and more, or a text such as `90` or `2m`; None for 60.

        Raises:
            ValueError: it is neither, or the time is none.
            UnserializableFunctionError: a function that workers could not import (a ValueError too).
        """
        if isinstance(func, str):
            if not all(part.isidentifier() for part in func.split(".")):
                raise ValueError(f"{func!r} is not the dotted name of a function")
            self.name = func
        elif isinstance(func, type) or not hasattr(func, "__qualname__"):
            raise ValueError(f"a callback must be a function or its dotted name, not {func!r}")
        else:
            self.name = function_name(func)
        self.func = func
        self.timeout = DEFAULT_TIMEOUT if timeout is None else parse_seconds(timeout, "timeout")
        if self.timeout < 1:
            raise ValueError(f"the timeout of a callback must be at least 1 second, not {timeout!r}")

    def __repr__(self) -> str:
        return f"Callback({self.name!r}, timeout={self.timeout})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Callback) and (other.name, other.timeout) == (self.name, self.timeout)

    def __hash__(self) -> int:
        return hash((self.name, self.timeout))


AnyCallback: TypeAlias = "Callback | Callable[..., Any] | str"
"""A callback as options take it."""


def as_callback(value: AnyCallback | None, option: str) -> Callback | None:
    """A callback that was given as one, as a function, or as a dotted name; None stays None.

    Raises:
        ValueError: it is something else; the text names the option.
    """
    if value is None or isinstance(value, Callback):
        return value
    try:
        return Callback(value)
    except ValueError as error:
        raise type(error)(f"{option}: {error}") from None
