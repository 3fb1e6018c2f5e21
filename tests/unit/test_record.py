"""The hash of a job: what RQ writes, to the byte, and whatever stands there instead."""

from __future__ import annotations

import importlib
import math
import pickle
import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import redis
import rq
import rq.job

from aiorq.call import make_call
from aiorq.callback import Callback
from aiorq.dependency import Dependency
from aiorq.errors import CorruptJobError, DeserializationError, SerializationError
from aiorq.options import JobOptions
from aiorq.rate_limit import RateLimit
from aiorq.record import JobRecord, decode_date, decode_traceback, encode_date
from aiorq.retry import Repeat, Retry
from aiorq.status import JobStatus
from aiorq.webhook import Webhook

shapes: Any = importlib.import_module("shapes")
MOMENT = datetime(2026, 2, 28, 23, 59, 59, 123456, UTC)
DATA = zlib.compress(pickle.dumps(("shapes.function", None, (), {})))


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    """RQ's client of an empty server."""
    with redis.Redis.from_url(url) as client:
        client.flushall()
        yield client


def as_stored(fields: dict[str, bytes | int]) -> dict[bytes, bytes]:
    """The fields as Redis gives them back."""
    return {name.encode(): value if isinstance(value, bytes) else str(value).encode() for name, value in fields.items()}


def shown(options: object) -> str:
    """Options in the name of a test, which is the same in every process: without the addresses of RQ's objects."""
    return re.sub(" object at 0x[0-9a-f]+", "", str(options))


class TestBytesAreThoseOfRQ:
    @pytest.mark.parametrize("serializer", ["pickle", "json"])
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"job_timeout": 5},
            {"job_timeout": -1, "result_ttl": -1, "failure_ttl": -1},
            {"job_timeout": "1h", "result_ttl": 0, "failure_ttl": 0, "ttl": 60},
            {"description": "täxt", "meta": {"k": [1, "ä"], "n": None}},
            {"job_id": "an-id", "meta": {}},
        ],
        ids=str,
    )
    @pytest.mark.parametrize(
        ("func", "args", "kwargs"),
        [
            ("shapes.function", (), {}),
            (shapes.function, (1, "two", None), {"b": 2, "a": "ä" * 200}),
            ("len", ([1, 2],), {}),
        ],
    )
    def test_enqueued(
        self,
        client: redis.Redis,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: dict[str, Any],
        serializer: str,
    ) -> None:
        queue = rq.Queue("some:queue", connection=client, serializer=serializer)
        theirs = queue.enqueue(func, args=args, kwargs=kwargs, **options)

        record = JobRecord(theirs.id, serializer)
        record.set_call(make_call(func, args, kwargs), JobOptions(**options), default_timeout=180)
        record.origin = "some:queue"
        record.status = JobStatus.QUEUED
        record.created_at = theirs.created_at
        record.enqueued_at = theirs.enqueued_at
        stored: Any = client.hgetall(theirs.key)
        assert as_stored(record.encode()) == stored

    @pytest.mark.parametrize(
        "func",
        [shapes.Counter(2).add, shapes.Counter(3), shapes.Outer.by_class, shapes.partial, len, shapes.Outer.Inner.deep],
    )
    def test_created(self, client: redis.Redis, func: Any) -> None:
        theirs = rq.job.Job.create(func, args=(1,), connection=client, timeout=7, origin="q", group_id="g")
        record = JobRecord(theirs.id)
        record.set_call(make_call(func, (1,)), JobOptions(job_timeout=7))
        record.origin = "q"
        record.group_id = "g"
        record.created_at = theirs.created_at
        theirs.save()
        stored: Any = client.hgetall(theirs.key)
        assert as_stored(record.encode()) == stored

    @pytest.mark.parametrize(
        ("theirs", "ours"),
        [
            ({"retry": rq.Retry(3)}, {"retry": Retry(3)}),
            ({"retry": rq.Retry(3, [1, 2], enqueue_at_front=True)}, {"retry": Retry(3, [1, 2], enqueue_at_front=True)}),
            ({"on_success": rq.Callback("a.b")}, {"on_success": "a.b"}),
            ({"on_failure": rq.Callback(shapes.function, "2m")}, {"on_failure": Callback(shapes.function, "2m")}),
            ({"on_stopped": rq.Callback("a.b", 5)}, {"on_stopped": Callback("a.b", 5)}),
            ({"depends_on": "a"}, {"depends_on": "a"}),
            ({"depends_on": ["a", "b"]}, {"depends_on": ["a", "b"]}),
            ({"depends_on": rq.job.Dependency(["a"])}, {"depends_on": Dependency(["a"])}),
            (
                {"depends_on": rq.job.Dependency(["a", "b"], True, True)},
                {"depends_on": Dependency(["a", "b"], True, True)},
            ),
            (
                {"depends_on": ["a", rq.job.Dependency(["b"], True), rq.job.Dependency(["c"], False, True)]},
                {"depends_on": ["a", Dependency(["b"], True), Dependency(["c"], False, True)]},
            ),
            (
                {"webhooks": [rq.Webhook("https://é.org", "failed", method="POST", headers={"a": "ä"})]},
                {"webhooks": [Webhook("https://é.org", "failed", method="POST", headers={"a": "ä"})]},
            ),
        ],
        ids=shown,
    )
    def test_created_with_options(self, client: redis.Redis, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
        job = rq.job.Job.create("shapes.function", connection=client, timeout=7, origin="q", **theirs)
        record = JobRecord(job.id)
        record.set_call(make_call("shapes.function"), JobOptions(job_timeout=7, **ours))
        record.origin = "q"
        record.created_at = job.created_at
        job.save()
        stored: Any = client.hgetall(job.key)
        assert as_stored(record.encode()) == stored

    @pytest.mark.parametrize(
        ("theirs", "ours"),
        [
            ({"repeat": rq.Repeat(2)}, {"repeat": Repeat(2)}),
            ({"repeat": rq.Repeat(2, [5, 6])}, {"repeat": Repeat(2, [5, 6])}),
            ({"rate_limit": rq.RateLimit("api", 3)}, {"rate_limit": RateLimit("api", 3)}),
        ],
        ids=shown,
    )
    def test_enqueued_with_options(self, client: redis.Redis, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
        job = rq.Queue("q", connection=client).enqueue("shapes.function", **theirs)
        record = JobRecord(job.id)
        record.set_call(make_call("shapes.function"), JobOptions(**ours), default_timeout=180)
        record.origin = "q"
        stored: Any = client.hgetall(job.key)
        written = as_stored(record.encode())
        times = {b"created_at", b"enqueued_at", b"status"}
        assert {name: written[name] for name in written.keys() - times} == {
            name: stored[name] for name in stored.keys() - times
        }

    def test_every_field(self, client: redis.Redis) -> None:
        """A job of RQ that has every field: read by us and written by us it is the same."""
        first = rq.Queue("q", connection=client).enqueue("shapes.function")
        theirs = rq.job.Job.create(
            "shapes.function",
            kwargs={"a": 1},
            connection=client,
            timeout=9,
            result_ttl=1,
            failure_ttl=2,
            ttl=3,
            status=rq.job.JobStatus.DEFERRED,
            description="text",
            depends_on=rq.job.Dependency([first, "other"], allow_failure=True, enqueue_at_front=True),
            retry=rq.Retry(3, [1, 2], enqueue_at_front=True),
            meta={"k": "v"},
            group_id="group",
            origin="q",
            on_success=rq.Callback("shapes.function", 5),
            on_failure=rq.Callback("shapes.function"),
            on_stopped=rq.Callback("shapes.function", "1m"),
            webhooks=[rq.Webhook("https://example.org", "finished")],
        )
        theirs.number_of_retries = 2
        theirs.repeats_left, theirs.repeat_intervals = 4, [5, 6]
        theirs.rate_limit_key, theirs.rate_limit_concurrency = "limit", 7
        theirs.worker_name = "worker"
        theirs.enqueued_at = theirs.started_at = theirs.ended_at = theirs.last_heartbeat = MOMENT
        theirs.save()
        stored: Any = client.hgetall(theirs.key)

        record = JobRecord(theirs.id)
        record.decode(stored)
        assert as_stored(record.encode()) == stored
        for name in vars(JobRecord()):
            if hasattr(theirs, name) and name not in {"serializer", "data", "created_at", "webhooks", "dependency_ids"}:
                assert getattr(record, name) == getattr(theirs, name), name
        assert record.created_at == theirs.created_at
        assert record.meta == theirs.meta
        assert record.dependency_ids == [first.id, "other"]
        assert (record.func_name, record.args, record.kwargs) == ("shapes.function", (), {"a": 1})
        assert record.webhooks == [Webhook("https://example.org", "finished")]

    def test_rq_reads_ours(self, client: redis.Redis) -> None:
        record = JobRecord("an-id")
        options: dict[str, Any] = {"job_timeout": "2m", "result_ttl": 0, "failure_ttl": -1, "ttl": 9, "meta": {"a": 1}}
        record.set_call(make_call(shapes.function, (1,), {"k": 2}), JobOptions(**options))
        record.origin = "q"
        client.hset("rq:job:an-id", mapping=record.encode())  # type: ignore[arg-type]
        theirs = rq.job.Job.fetch("an-id", client)
        assert (theirs.func_name, list(theirs.args), theirs.kwargs) == ("shapes.function", [1], {"k": 2})
        assert (theirs.timeout, theirs.result_ttl, theirs.failure_ttl, theirs.ttl) == (120, 0, -1, 9)
        assert theirs.meta == {"a": 1}
        assert theirs.description == "shapes.function(1, k=2)"
        assert theirs.created_at == record.created_at
        assert theirs.get_status() == "created"


class TestOurs:
    """Fields that RQ does not know: they begin with `aiorq_`, and are there only where somebody asked for them."""

    def record(self, **options: Any) -> JobRecord:
        record = JobRecord("a")
        record.set_call(make_call("shapes.function", ()), JobOptions(**options), default_timeout=180)
        return record

    def test_there_and_back(self) -> None:
        fields = as_stored(self.record(on_lost="requeue", memory_limit="1m").encode())
        assert (fields[b"aiorq_on_lost"], fields[b"aiorq_memory_limit"]) == (b"requeue", b"1048576")
        read = JobRecord("a")
        read.decode(fields)
        assert (read.on_lost, read.memory_limit) == ("requeue", 2**20)

    def test_not_asked_for(self) -> None:
        fields = as_stored(self.record().encode())
        assert not [name for name in fields if name.startswith(b"aiorq_")]
        read = self.record(on_lost="fail", memory_limit="1m")
        read.decode(fields)
        assert (read.on_lost, read.memory_limit) == (None, None)

    def test_empty_is_unset(self) -> None:
        fields = as_stored(self.record().encode())
        read = JobRecord("a")
        read.decode({**fields, b"aiorq_on_lost": b"", b"aiorq_memory_limit": b""})
        assert (read.on_lost, read.memory_limit) == (None, None)

    def test_retries_there_and_back(self) -> None:
        retry = Retry(3, 10, jitter=0.25, retry_on=[OSError, "a.B"], never=KeyError)
        fields = as_stored(self.record(retry=retry).encode())
        assert fields[b"aiorq_jitter"] == b"0.25"
        assert (fields[b"aiorq_retry_on"], fields[b"aiorq_never"]) == (b'["OSError", "a.B"]', b'["KeyError"]')
        read = JobRecord("a")
        read.decode(fields)
        assert (read.retry_jitter, read.retry_on, read.never_retry) == (0.25, ["OSError", "a.B"], ["KeyError"])
        assert (read.retries_left, read.retry_intervals) == (3, [10])
        assert as_stored(read.encode()) == fields

    def test_attempts(self) -> None:
        """A script counts them; nobody else writes them."""
        fields = as_stored(self.record().encode())
        read = JobRecord("a")
        read.decode({**fields, b"aiorq_attempts": b"2"})
        assert (read.attempts_before, read.attempt) == (2, 3)
        assert b"aiorq_attempts" not in as_stored(read.encode())
        read.decode(fields)
        assert (read.attempts_before, read.attempt) == (None, 1)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("aiorq_jitter", value) for value in (b"abc", b"[]", b"\xff")),
            *(("aiorq_retry_on", value) for value in (b"abc", b"5", b"{}", b"[" * 100_000, b"\xff")),
            *(("aiorq_never", value) for value in (b"abc", b"null", b'"a"', b"\xff")),
            *(("aiorq_attempts", value) for value in (b"abc", b"1.5", b"9" * 30, b"\xff")),
        ],
        ids=lambda value: repr(value)[:20],
    )
    def test_damage_is_named(self, field: str, value: bytes) -> None:
        with pytest.raises(CorruptJobError) as caught:
            JobRecord("a").decode({b"data": DATA, field.encode(): value})
        assert caught.value.field == field

    def test_limit_that_is_no_number(self) -> None:
        fields = as_stored(self.record().encode())
        with pytest.raises(CorruptJobError, match="field 'aiorq_memory_limit'"):
            JobRecord("a").decode({**fields, b"aiorq_memory_limit": b"much"})


class TestDates:
    @pytest.mark.parametrize(
        ("moment", "text"),
        [
            (MOMENT, "2026-02-28T23:59:59.123456Z"),
            (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00.000000Z"),
            (datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))), "2025-12-31T23:00:00.000000Z"),
            (None, ""),
        ],
    )
    def test_there_and_back(self, moment: datetime | None, text: str) -> None:
        assert encode_date(moment) == text
        assert decode_date(text) == moment

    def test_without_a_fraction(self) -> None:
        assert decode_date("2026-02-28T23:59:59Z") == MOMENT.replace(microsecond=0)

    @pytest.mark.parametrize(
        "text",
        ["zzz", "2026-02-30T00:00:00Z", "2026-02-28T23:59:59", "2026-02-28T23:59:59+00:00", "1767322800.5", "Z", "-"],
    )
    def test_other_texts(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"(is not a date|out of range|range for month)"):
            decode_date(text)


DATES = ("created_at", "enqueued_at", "started_at", "ended_at", "last_heartbeat")
INTEGERS = (
    *("timeout", "result_ttl", "failure_ttl", "ttl", "retries_left", "number_of_retries", "repeats_left"),
    *("success_callback_timeout", "failure_callback_timeout", "stopped_callback_timeout", "rate_limit_concurrency"),
)
FLAGS = ("allow_dependency_failures", "enqueue_at_front", "enqueue_at_front_on_retry")
LISTS = ("retry_intervals", "repeat_intervals", "dependency_ids")
TEXTS = (
    *("origin", "description", "worker_name", "group_id", "dependency_id", "rate_limit_key", "webhooks"),
    *("success_callback_name", "failure_callback_name", "stopped_callback_name"),
)
BAD = [
    ("status", b"banana"),
    *((field, value) for field in DATES for value in (b"zzz", b"2026-01-02T03:04:05+00:00", b"1767322800", b"0")),
    *(
        (field, value)
        for field in INTEGERS
        for value in (b"abc", b"1.5", b"1h", b"1e3", b"inf", b"9" * 30, b"9" * 5000)
    ),
    *((field, value) for field in FLAGS for value in (b"yes", b"True", b"0.5")),
    *((field, value) for field in LISTS for value in (b"[1, ", b"1", b'"a"', b"{}", b"null", b"[" * 100_000)),
    *(
        (field, value)
        for field in LISTS[:2]
        for value in (b'["a"]', b"[null]", b"[Infinity]", b"[1e999]", b"[NaN]", b"[[]]")
    ),
    *((field, b"\xff\xfe") for field in ("status", *DATES, *INTEGERS, *FLAGS, *LISTS, *TEXTS)),
    ("data", b""),
]


class TestDamage:
    @pytest.mark.parametrize(("field", "value"), BAD, ids=lambda value: repr(value)[:20])
    def test_is_named(self, field: str, value: bytes) -> None:
        record = JobRecord("an-id")
        with pytest.raises(CorruptJobError) as caught:
            record.decode({b"data": DATA, field.encode(): value})
        assert (caught.value.job_id, caught.value.field) == ("an-id", field)
        assert f"field {field!r}" in str(caught.value)
        assert len(str(caught.value)) < 200

    def test_missing_data(self) -> None:
        with pytest.raises(CorruptJobError, match="field 'data' is missing"):
            JobRecord("an-id").decode({b"status": b"queued"})

    @pytest.mark.parametrize("field", [*DATES, *INTEGERS, *FLAGS, *LISTS, *TEXTS, "status", "meta"])
    def test_empty_is_unset(self, field: str) -> None:
        empty, absent = JobRecord("an-id"), JobRecord("an-id")
        empty.decode({b"data": DATA, field.encode(): b""})
        absent.decode({b"data": DATA})
        for name in vars(absent):
            if name not in {"created_at", "serializer"}:
                assert (getattr(empty, name) or None) == (getattr(absent, name) or None), name

    def test_what_is_not_read_does_no_harm(self) -> None:
        record = JobRecord("an-id")
        fields = {b"data": DATA, b"webhooks": b"[{", b"result": b"\xff", b"exc_info": b"\xff", b"\x00new": b"\xff"}
        record.decode(fields)
        assert record.webhooks == []

    def test_every_status(self) -> None:
        record = JobRecord("an-id")
        for status in JobStatus:
            record.decode({b"data": DATA, b"status": status.value.encode()})
            assert record.status is status
            assert record.decode_status(status.value.encode()) is status
        with pytest.raises(CorruptJobError, match="status"):
            record.decode_status(b"banana")

    def test_old_dependency_field(self) -> None:
        record = JobRecord("an-id")
        record.decode({b"data": DATA, b"dependency_id": b"first"})
        assert record.dependency_ids == ["first"]
        record.decode({b"data": DATA, b"dependency_id": b"first", b"dependency_ids": b'["first", "second"]'})
        assert record.dependency_ids == ["first", "second"]

    def test_decoding_again_forgets_the_old(self) -> None:
        record = JobRecord("an-id")
        record.set_call(make_call("other.function"), JobOptions(meta={"a": 1}, ttl=5, description="text"))
        record.decode({b"data": DATA})
        assert (record.func_name, record.meta, record.ttl, record.description) == ("shapes.function", {}, None, None)

    @pytest.mark.parametrize(
        ("name", "value"),
        [("description", "\ud800"), ("group_id", "\ud800"), ("timeout", 1.5), ("ttl", [1]), ("worker_name", object())],
    )
    def test_attribute_that_no_field_can_hold(self, name: str, value: Any) -> None:
        record = JobRecord("an-id")
        record.set_call(make_call("shapes.function"), JobOptions())
        setattr(record, name, value)
        with pytest.raises(SerializationError, match=f"the {name} of job 'an-id'") as caught:
            record.encode()
        assert caught.value.path == name


class TestLazy:
    """What the serializer wrote is read at the first look, which runs its writer's code."""

    def test_decoding_unpickles_nothing(self) -> None:
        record = JobRecord("an-id")
        explosive = pickle.dumps(shapes.Explosive())
        record.decode({b"data": zlib.compress(explosive), b"meta": explosive})
        assert record.encode()["data"] == zlib.compress(explosive)
        assert record.encode()["meta"] == explosive
        with pytest.raises(DeserializationError):
            assert record.call
        assert record.meta == {"unserialized": explosive}

    def test_call_is_read_once(self) -> None:
        record = JobRecord("an-id")
        record.decode({b"data": DATA})
        assert record.call is record.call
        assert record.instance is None


class TestMeta:
    def test_unreadable_is_kept(self) -> None:
        record = JobRecord("an-id")
        record.decode({b"data": DATA, b"meta": b"\xff\x00"})
        assert record.encode_meta() == b"\xff\x00"
        assert record.meta == {"unserialized": b"\xff\x00"}
        assert record.encode_meta() == b"\xff\x00"

    def test_unreadable_and_then_set(self) -> None:
        record = JobRecord("an-id")
        record.decode({b"data": DATA, b"meta": b"\xff\x00"})
        record.meta = {"new": 1}
        assert pickle.loads(record.encode_meta()) == {"new": 1}

    def test_unreadable_and_then_added_to(self) -> None:
        record = JobRecord("an-id")
        record.decode({b"data": DATA, b"meta": b"\xff\x00"})
        record.meta["new"] = 1
        assert pickle.loads(record.encode_meta()) == {"unserialized": b"\xff\x00", "new": 1}

    def test_changed_in_place(self) -> None:
        record = JobRecord("an-id")
        record.decode({b"data": DATA, b"meta": pickle.dumps({"a": 1})})
        record.meta["b"] = 2
        assert pickle.loads(record.encode_meta()) == {"a": 1, "b": 2}
        record.meta.clear()
        assert record.encode_meta() == b""
        assert "meta" not in record.encode()

    def test_of_another_serializer(self) -> None:
        record = JobRecord("an-id", "json")
        record.decode({b"data": DATA, b"meta": pickle.dumps({"a": 1})})
        assert record.meta == {"unserialized": pickle.dumps({"a": 1})}

    def test_that_cannot_be_serialised(self) -> None:
        record = JobRecord("an-id")
        record.set_call(make_call("shapes.function"), JobOptions(meta={"f": lambda: None}))
        with pytest.raises(SerializationError, match="the meta of job 'an-id' cannot be serialised") as caught:
            record.encode()
        assert caught.value.path == "meta"

    def test_is_a_copy(self) -> None:
        given = {"a": 1}
        record = JobRecord("an-id")
        record.set_call(make_call("shapes.function"), JobOptions(meta=given))
        given["b"] = 2
        assert record.meta == {"a": 1}


class TestIds:
    def test_random(self) -> None:
        assert JobRecord().id != JobRecord().id
        assert len(JobRecord().id) == 36

    @pytest.mark.parametrize("job_id", ["", "a b", "a:b"])
    def test_bad(self, job_id: str) -> None:
        with pytest.raises(ValueError, match="bad job id"):
            JobRecord(job_id)


class TestTracebacks:
    def test_compressed_and_not(self) -> None:
        assert decode_traceback(zlib.compress("täxt".encode())) == "täxt"
        assert decode_traceback("täxt".encode()) == "täxt"
        assert decode_traceback(b"\xff") == "\N{REPLACEMENT CHARACTER}"
        assert decode_traceback(b"x") == "x"  # the first byte of much that is compressed
        assert decode_traceback(b"") == ""

    def test_bomb(self) -> None:
        assert len(decode_traceback(zlib.compress(bytes(50_000_000)))) == 4 * 1024 * 1024
        assert len(decode_traceback(b"x" * 5_000_000)) == 4 * 1024 * 1024


class TestReadings:
    """What is derived from the fields."""

    @pytest.mark.parametrize("status", [status for status in JobStatus if hasattr(JobRecord, f"is_{status.value}")])
    def test_one_state_at_a_time(self, status: JobStatus) -> None:
        record = JobRecord("it")
        record.status = status
        names = [f"is_{other.value}" for other in JobStatus if hasattr(record, f"is_{other.value}")]
        assert len(names) == 9
        assert [name for name in names if getattr(record, name)] == [f"is_{status.value}"]

    def test_the_function_itself(self) -> None:
        record = JobRecord("it")
        record.set_call(make_call("math.factorial", (3,)), JobOptions())
        assert record.func is math.factorial
        assert record.get_call_string() == "math.factorial(3)"

    def test_durations_with_a_default(self) -> None:
        record = JobRecord("it")
        assert (record.get_ttl(), record.get_ttl(5), record.get_result_ttl(7)) == (None, 5, 7)
        record.ttl, record.result_ttl = 1, 0
        assert (record.get_ttl(5), record.get_result_ttl(7)) == (1, 0)

    def test_rate_limit(self) -> None:
        record = JobRecord("it")
        assert not record.has_rate_limit
        record.rate_limit_key = "api"
        assert record.has_rate_limit
