"""The forms in which rq takes a function."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any


def callables(jobs: ModuleType) -> dict[str, tuple[Any, Any]]:
    """Every form in which rq takes a function, with what `form("you")` returns."""
    return {
        "function": (jobs.echo, (("you",), {})),
        "function by name": ("jobs.echo", (("you",), {})),
        "static method": (jobs.Greeter.shout, "HELLO you"),
        "static method by name": ("jobs.Greeter.shout", "HELLO you"),
        "method": (jobs.Greeter("good day").greet, "good day you"),
        "class method": (jobs.Greeter.by_class, "Greeter greets you"),
        "object": (jobs.Greeter(), "called you"),
        "partial": (partial(jobs.echo, 1, two=2), ((1, "you"), {"two": 2})),
        "builtin": (len, 3),
        "builtin by name": ("len", 3),
        "coroutine method": (jobs.Greeter("good day").greet_async, "good day you, later"),
        "coroutine object": (jobs.AsyncGreeter(), "called you, later"),
    }
