"""What a list shows of a job: read from the first bytes, without running code of anybody's."""

from __future__ import annotations

import pickle
import zlib
from pathlib import Path
from random import Random
from typing import Any

import pytest

from aiorq.call import encode_call, make_call
from aiorq.inspection.summary import UNKNOWN, JobSummary, function_of, summarize
from aiorq.inspection.traceback import last_line, traceback_of
from aiorq.serializers import resolve_serializer

CUT = 1_024
HEAD = "Traceback (most recent call last):"
LONG = "".join(Random(7).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=50_000))


class Trap:
    """Reading its pickle leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("serializer", ["pickle", "json"])
@pytest.mark.parametrize(
    "arguments", [(), (1, "two"), (LONG,), ([LONG], {"a": LONG})], ids=["none", "few", "long", "nested"]
)
@pytest.mark.parametrize("name", ["jobs.add", "shop.orders.of_a_rather_long_module.send_confirmation", "läden.öffnen"])
def test_function_from_the_first_bytes(name: str, arguments: tuple[Any, ...], serializer: str) -> None:
    call = make_call(name, arguments)
    data = encode_call(call, resolve_serializer(serializer))
    assert function_of(data[:CUT], str(call)[:CUT]) == (name, None)
    assert function_of(data[:CUT], "for people") == (name, "for people")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_of_pickle(protocol: int) -> None:
    raw = pickle.dumps(("jobs.add", None, (LONG,), {}), protocol)
    assert function_of(zlib.compress(raw)[:CUT], None) == ("jobs.add", None)
    assert function_of(raw[:CUT], None) == ("jobs.add", None)  # RQ takes calls that are not compressed


def test_no_pickle_is_read(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    data = zlib.compress(pickle.dumps(("add", Trap(trap), (Trap(trap),), {})))
    assert function_of(data, None) == ("add", None)
    assert not trap.exists()
    pickle.loads(zlib.decompress(data))
    assert trap.exists()  # so it is one


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"garbage", b"[", b'["a', zlib.compress(b"\x80\x05.")[:5], b"\x80\x05K\x01."]
)
def test_damaged_calls(data: bytes) -> None:
    assert function_of(data, None) == (UNKNOWN, None)
    assert function_of(data, "for people") == (UNKNOWN, "for people")
    # The description is RQ's text of the call: its arguments stay hidden.
    assert function_of(data, "shop.send('canary', to=1)") == ("shop.send", None)
    assert function_of(data, "shop.send('canary', to=" + "x" * CUT) == ("shop.send", None)


def test_a_job_that_is_not_there() -> None:
    assert summarize("gone", None) == JobSummary(id="gone", problem="there is no such job (any more)")
    assert "nor can there be" in (summarize("g o n e", None).problem or "")
    assert summarize("a", "string").problem == "its key holds a string, not a hash"


def test_every_damage_is_named_and_hides_nothing_else() -> None:
    fields = {
        "status": b"banana",
        "origin": b"\xff",
        "data": zlib.compress(pickle.dumps(("jobs.add", None, (), {}))),
        "created_at": b"zzz",
        "enqueued_at": b"2026-01-02T03:04:05.000006Z",
        "timeout": b"abc",
        "worker_name": b"",
    }
    job = summarize("a", fields)
    assert (job.function, job.status, job.timeout, job.worker, job.created_at) == ("jobs.add", None, None, None, None)
    assert job.enqueued_at is not None
    assert job.enqueued_at.microsecond == 6
    for text in ("its status cannot be read: 'banana'", "its created_at", "its timeout", "its origin"):
        assert text in (job.problem or "")
    assert summarize("a", {"status": b"queued"}).problem == "it has no call"
    assert (summarize("a", {"data": b"x"}).problem or "").startswith("it has no status")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("boom", "boom"),
        (f"{HEAD}\n  File x\n    y\nValueError: a\nsecond line of it\n", "ValueError: a"),
        (f"{HEAD}\n  a\nA: 1\n\nDuring ...\n\n{HEAD}\n  b\nB: 2\n", "B: 2"),
        ("Work-horse terminated\n", "Work-horse terminated"),
    ],
)
def test_last_line_of_a_traceback(text: str, line: str) -> None:
    assert last_line(text) == line


def test_outcomes_that_are_no_traceback() -> None:
    assert traceback_of(None) is None
    assert traceback_of({b"type": b"1", b"exc_string": b"eA=="}) is None
    assert traceback_of({b"type": b"2", b"exc_string": b"not base64!"}) is None
    assert traceback_of({b"type": b"2"}) is None
    assert traceback_of({b"type": b"2", b"exc_string": b"eA=="}) == "x"
