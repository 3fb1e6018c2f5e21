"""Functions for the tests of the executor: jobs that ask to be tried again, in every way."""

from __future__ import annotations

from typing import Any

import aiorq.retry


class Patient(aiorq.retry.Retry):
    """A subclass, which cannot be serialised."""

    def __reduce__(self) -> str:
        raise ValueError("nobody needs to")


class Retry:
    """Something else of that name."""

    def __init__(self, max: int) -> None:  # noqa: A002
        self.max = max


def give_ours(**options: Any) -> object:
    return aiorq.retry.Retry(**options)


def give_theirs(**options: Any) -> object:
    import rq.job

    return rq.job.Retry(**options)


async def give_subclass(**options: Any) -> object:
    return Patient(**options)


def give_other() -> object:
    return Retry(3)


def give_class() -> object:
    return aiorq.retry.Retry


def give_odd(name: str, value: Any) -> object:
    retry = aiorq.retry.Retry(3)
    setattr(retry, name, value)
    return retry
