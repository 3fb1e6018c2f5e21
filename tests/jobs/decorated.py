"""Functions that are decorated; rq's and aiorq's workers find them by their names."""

from __future__ import annotations

import asyncio
from typing import Any

from aiorq.decorators import job
from aiorq.retry import Repeat, Retry

calls: list[Any] = []


@job("low")
def add(left: int, right: int = 1) -> int:
    """Add two numbers."""
    calls.append((left, right))
    return left + right


@job("low", timeout="2m", result_ttl=-1, ttl="1h", failure_ttl=60, meta={"kind": "mail"}, description="a mail")
async def send(address: str, *, copy: bool = False) -> list[str]:
    await asyncio.sleep(0)
    return [address] * (2 if copy else 1)


@job("low", retry=Retry(2, [1, 2]), repeat=Repeat(3, 5), at_front=True)
def often() -> None:
    pass


@job("low", unique=True)
def single(number: int) -> int:
    return number


@job("low", depends_on=["the-parent"])
def after(job_id: str = "the function's own") -> str:
    return job_id


@job("low", on_success="here.on_success", on_failure="here.on_failure", on_stopped="here.on_stopped", on_lost="requeue")
def told() -> None:
    pass


def another() -> None:
    """For tests that decorate it."""
