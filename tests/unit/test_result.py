"""Entries of the stream of results: those of RQ, and those that nobody should have written."""

from __future__ import annotations

import base64
import importlib
import pickle
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
import rq
import rq.job
import rq.results

from aiorq.ending import encode_result
from aiorq.errors import DeserializationError
from aiorq.result import Result, ResultType
from aiorq.serializers import UNSERIALIZABLE, resolve_serializer

shapes: Any = importlib.import_module("shapes")
PICKLE = resolve_serializer("pickle")
ENTRY = "1767322800123-0"
MOMENT = datetime(2026, 1, 2, tzinfo=UTC)


def result_of(entry: str = ENTRY, **fields: bytes) -> Result[Any]:
    return Result("an-id", entry, {name.encode(): value for name, value in fields.items()}, PICKLE)


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url) as client:
        client.flushall()
        yield client


def newest(client: redis.Redis) -> Result[Any]:
    entries: Any = client.xrevrange("rq:results:an-id", count=1)
    entry_id, fields = entries[0]
    return Result("an-id", entry_id.decode(), fields, PICKLE)


def test_types_are_those_of_rq() -> None:
    assert {kind.name: kind.value for kind in ResultType} == {kind.name: kind.value for kind in rq.results.Result.Type}
    assert Result.Type is ResultType


@pytest.mark.parametrize("value", [None, 5, "text", {"a": (1, b"\xff")}, UNSERIALIZABLE])
def test_success_of_rq(client: redis.Redis, value: Any) -> None:
    job = rq.job.Job.create("shapes.function", id="an-id", connection=client)
    theirs = rq.results.Result.create(
        job,
        rq.results.Result.Type.SUCCESSFUL,
        500,
        return_value=value,
        worker_name="worker",
        execution_id="token",
        execution_started_at=MOMENT,
        execution_ended_at=datetime(2026, 1, 2, 0, 0, 1, 500_000, tzinfo=UTC),
    )
    ours = newest(client)
    assert (ours.type, ours.return_value, ours.exc_string) == (ResultType.SUCCESSFUL, value, None)
    assert (ours.worker_name, ours.execution_id) == ("worker", "token")
    assert ours.execution_started_at == MOMENT
    assert ours.execution_ended_at == datetime(2026, 1, 2, 0, 0, 1, 500_000, tzinfo=UTC)
    latest = rq.results.Result.fetch_latest(job)
    assert latest is not None
    assert theirs.id in (None, ours.id)
    assert ours.id == latest.id
    assert ours.created_at == latest.created_at


def test_failure_of_rq(client: redis.Redis) -> None:
    job = rq.job.Job.create("shapes.function", id="an-id", connection=client)
    rq.results.Result.create_failure(job, 500, "Träceback\n")
    ours = newest(client)
    assert (ours.type, ours.return_value, ours.exc_string) == (ResultType.FAILED, None, "Träceback\n")
    assert (ours.worker_name, ours.execution_id, ours.execution_started_at) == ("", None, None)


def test_retry_of_rq(client: redis.Redis) -> None:
    job = rq.job.Job.create("shapes.function", id="an-id", connection=client)
    rq.results.Result.create_retried(job, 500, rq.Retry(2, 5), "worker", "token", MOMENT, MOMENT)
    ours = newest(client)
    assert (ours.type, ours.execution_id) == (ResultType.RETRIED, "token")
    assert isinstance(ours.return_value, rq.Retry)


@pytest.mark.parametrize("value", [5, "text", {"a": (1, b"\xff")}, [], ""])
def test_value_as_rq_stores_it(client: redis.Redis, value: Any) -> None:
    job = rq.job.Job.create("shapes.function", id="an-id", connection=client)
    rq.results.Result.create(job, rq.results.Result.Type.SUCCESSFUL, 500, return_value=value)
    entries: Any = client.xrevrange("rq:results:an-id", count=1)
    assert entries[0][1][b"return_value"] == encode_result(value, PICKLE)[0]


def test_what_is_not_stored_is_none() -> None:
    assert result_of(type=b"1").return_value is None


@pytest.mark.parametrize(
    ("entry", "fields"),
    [
        (ENTRY, {}),
        (ENTRY, {"type": b""}),
        (ENTRY, {"type": b"6"}),
        (ENTRY, {"type": b"banana"}),
        (ENTRY, {"type": b"\xff"}),
        (ENTRY, {"type": b"1", "worker_name": b"\xff"}),
        (ENTRY, {"type": b"1", "execution_id": b"\xff"}),
        (ENTRY, {"type": b"1", "execution_started_at": b"zzz"}),
        (ENTRY, {"type": b"1", "execution_started_at": b"nan"}),
        (ENTRY, {"type": b"1", "execution_started_at": b"inf"}),
        (ENTRY, {"type": b"1", "execution_ended_at": b"1e300"}),
        (ENTRY, {"type": b"1", "execution_ended_at": b"-1e15"}),
        (ENTRY, {"type": b"2", "exc_string": b"a"}),
        ("99999999999999999-0", {"type": b"1"}),
        ("18446744073709551615-0", {"type": b"1"}),
    ],
)
def test_what_is_no_result(entry: str, fields: dict[str, bytes]) -> None:
    with pytest.raises(DeserializationError, match=f"result {entry} of job 'an-id' cannot be read"):
        result_of(entry, **fields)


@pytest.mark.parametrize("raw", [b"", b"a", b"garbage!", base64.b64encode(b"garbage"), base64.b64encode(b"")])
def test_value_that_cannot_be_read(raw: bytes) -> None:
    result = result_of(type=b"1", return_value=raw)
    assert result.type is ResultType.SUCCESSFUL
    with pytest.raises(DeserializationError, match="the result of job 'an-id' cannot be read with PickleSerializer"):
        assert result.return_value


def test_value_of_another_serializer() -> None:
    raw = base64.b64encode(resolve_serializer("json").dumps({"a": 1}))
    with pytest.raises(DeserializationError):
        assert result_of(type=b"1", return_value=raw).return_value


def test_value_that_raises_what_cannot_be_shown() -> None:
    raw = base64.b64encode(pickle.dumps(shapes.Explosive()))
    with pytest.raises(DeserializationError, match="<unprintable Unshowable>"):
        assert result_of(type=b"1", return_value=raw).return_value


def test_value_of_a_retry_needs_no_rq() -> None:
    raw = base64.b64encode(b"cno_such_module\nRetry\n.")
    assert result_of(type=b"4", return_value=raw).return_value is None


def test_unknown_fields_are_ignored() -> None:
    assert result_of(type=b"1", aiorq_new=b"\xff").type is ResultType.SUCCESSFUL


def test_traceback_bomb() -> None:
    text = result_of(type=b"2", exc_string=base64.b64encode(zlib.compress(bytes(50_000_000)))).exc_string
    assert text is not None
    assert len(text) == 4 * 1024 * 1024


def test_equality() -> None:
    assert result_of(type=b"1") == result_of(type=b"2")
    assert result_of(type=b"1") != result_of("1-0", type=b"1")
    assert result_of(type=b"1") != 5
    assert len({result_of(type=b"1"), result_of(type=b"1"), result_of("1-0", type=b"1")}) == 2
    assert repr(result_of(type=b"1")) == f"Result(job_id='an-id', type=SUCCESSFUL, id='{ENTRY}')"


def test_created_at() -> None:
    assert result_of(type=b"1").created_at == datetime(2026, 1, 2, 3, 0, 0, 123_000, UTC)
