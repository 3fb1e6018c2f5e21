"""A job as RQ's hash holds it: the fields, their encoding, and the rules for reading them.

`JobRecord.encode` writes what RQ 3.0 writes, byte for byte, and `JobRecord.decode` reads what any RQ wrote. A field
that cannot be read is an error of that job alone (`CorruptJobError`), whoever reads it.

What the serializer wrote, the call and `meta`, is read at the first look and not before: to read a pickle is to run
code, and a worker's supervisor, which decodes the records of all its jobs, must never do that.
"""

from __future__ import annotations

import contextlib
import json
import re
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, cast
from uuid import uuid4

from aiorq.call import Call, decode_call, describe_error, encode_call, import_name, resolve
from aiorq.errors import CorruptJobError, SerializationError
from aiorq.keys import check_job_id
from aiorq.options import JobOptions
from aiorq.retry import Retry
from aiorq.serializers import Serializer, resolve_serializer
from aiorq.status import JobStatus
from aiorq.webhook import Webhook, decode_webhooks, encode_webhooks

T = TypeVar("T")
_DATE: Final = "%Y-%m-%dT%H:%M:%S.%fZ"
_DATE_TEXT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)
_MAX_INTEGER: Final = 2**53  # Lua has no greater whole numbers, and Redis no greater TTLs
_MAX_TRACEBACK: Final = 4 * 1024 * 1024  # bytes of a traceback that are read; nobody reads more, and it may be a bomb
_ALWAYS: Final = (
    "success_callback_name",
    "failure_callback_name",
    "stopped_callback_name",
    "started_at",
    "ended_at",
    "last_heartbeat",
    "worker_name",
    "group_id",
)  # RQ writes these eight even when they are unset


def encode_date(moment: datetime | None) -> str:
    """RQ's text of a date: UTC with six digits of the second; empty for None."""
    return "" if moment is None else moment.astimezone(UTC).strftime(_DATE)


def decode_date(text: str) -> datetime | None:
    """Read RQ's text of a date, with or without the fraction of the second; None for an empty text.

    Raises:
        ValueError: it is another text.
    """
    if not text:
        return None
    if not _DATE_TEXT.fullmatch(text):
        raise ValueError(f"{text!r} is not a date")
    return datetime.fromisoformat(text)  # 40 times as fast as strptime, and less strict


class JobRecord:
    """The attributes of a job, as last read or made. Reading one of them never asks Redis."""

    def __init__(
        self,
        id: str | None = None,  # noqa: A002 - RQ's name
        serializer: object | None = None,
        *,
        check: bool = True,
    ) -> None:
        """Make an empty record.

        Args:
            id: 1 to 255 letters, digits, `_` or `-`; None for a random one.
            serializer: name, dotted path or object with `dumps` and `loads`; None for pickle.
            check: False for an id that was found in Redis, where RQ allows any length.
        """
        self.id: str = str(uuid4()) if id is None else check_job_id(id) if check else id
        self.serializer: Serializer = resolve_serializer(serializer)
        self.status: JobStatus = JobStatus.CREATED
        self.origin: str = ""
        """The name of the queue that the job belongs to."""
        self.description: str | None = None
        self.created_at: datetime = datetime.now(UTC)
        self.enqueued_at: datetime | None = None
        self.started_at: datetime | None = None
        self.ended_at: datetime | None = None
        self.last_heartbeat: datetime | None = None
        self.worker_name: str | None = None
        self.group_id: str | None = None
        self.timeout: int | None = None
        """Seconds that the job may run; -1 for no limit."""
        self.timeout_when_due: int | None = None
        """The same, of a job that is scheduled and has none yet: it takes this one when it is due, or 180."""
        self.result_ttl: int | None = None
        self.failure_ttl: int | None = None
        self.ttl: int | None = None
        self.success_callback_name: str | None = None
        self.failure_callback_name: str | None = None
        self.stopped_callback_name: str | None = None
        self.success_callback_timeout: int | None = None
        self.failure_callback_timeout: int | None = None
        self.stopped_callback_timeout: int | None = None
        self.dependency_ids: list[str] = []
        self.allow_dependency_failures: bool | None = None
        self.enqueue_at_front: bool | None = None
        self.retries_left: int | None = None
        self.retry_intervals: list[int] | None = None
        self.enqueue_at_front_on_retry: bool | None = None
        self.number_of_retries: int | None = None
        self.repeats_left: int | None = None
        self.repeat_intervals: list[int] | None = None
        self.rate_limit_key: str | None = None
        self.rate_limit_concurrency: int | None = None
        self.on_lost: str | None = None
        """What becomes of the job if its worker is lost while it runs: `fail` or `requeue`."""
        self.memory_limit: int | None = None
        """Bytes of data that its process may have."""
        self.retry_jitter: float | None = None
        """Share of an interval by which it is made longer or shorter at random."""
        self.retry_on: list[str] | None = None
        """Dotted names of the exceptions that alone are tried again."""
        self.never_retry: list[str] | None = None
        """Dotted names of the exceptions that are not tried again."""
        self.attempts_before: int | None = None
        """How many attempts of this life have ended and were followed by another one."""
        self.webhooks: list[Webhook] = []
        self.data: bytes = b""
        """The call, as RQ stores it."""
        self._call: Call | None = None
        self._meta: dict[str, Any] | None = {}  # None: not looked at yet, it is in `_raw_meta`
        self._raw_meta: bytes = b""

    def take_after(self, other: JobRecord) -> None:
        """Take over the attributes of another object for the same job."""
        _ = other.meta  # read now, so that both have the same one
        own = ("_connection", "_store", "_prefix")  # where it lives, which each object says for itself
        vars(self).update({name: value for name, value in vars(other).items() if name not in own})

    @property
    def meta(self) -> dict[str, Any]:
        """Data of the caller's; `{"unserialized": <bytes>}` where the bytes in Redis cannot be read (RQ)."""
        meta = self._meta
        if meta is None:
            try:
                meta = self.serializer.loads(self._raw_meta)
            except Exception:  # noqa: BLE001 - code of whoever wrote it
                meta = {"unserialized": self._raw_meta}
            self._meta = meta
        return meta

    @meta.setter
    def meta(self, meta: dict[str, Any]) -> None:
        self._meta = meta

    @property
    def call(self) -> Call:
        """The function and its arguments, deserialised at the first look.

        Raises:
            DeserializationError: the bytes cannot be read.
        """
        if self._call is None:
            self._call = decode_call(self.data, self.serializer)
        return self._call

    @property
    def func_name(self) -> str:
        """The dotted name of the function, or the name of the method."""
        return self.call.func_name

    @property
    def func(self) -> Callable[..., Any]:
        """The function itself, imported.

        Raises:
            DeserializationError: the call cannot be read.
            FunctionNotFoundError: there is no such function here.
        """
        return resolve(self.call)

    @property
    def instance(self) -> object | None:
        """The object whose method is called, if it is a method."""
        return self.call.instance

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments."""
        return self.call.args

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments."""
        return self.call.kwargs

    @property
    def attempt(self) -> int:
        """The number of the attempt that runs, or is to run, from 1 on."""
        return 1 + (self.attempts_before or 0)

    @property
    def has_rate_limit(self) -> bool:
        """Whether the job takes a slot of a rate limit while it waits and runs."""
        return self.rate_limit_key is not None

    @property
    def is_queued(self) -> bool:
        """Whether the job was queued when it was last read."""
        return self.status is JobStatus.QUEUED

    @property
    def is_started(self) -> bool:
        """Whether the job ran when it was last read."""
        return self.status is JobStatus.STARTED

    @property
    def is_finished(self) -> bool:
        """Whether the job had finished when it was last read."""
        return self.status is JobStatus.FINISHED

    @property
    def is_failed(self) -> bool:
        """Whether the job had failed when it was last read."""
        return self.status is JobStatus.FAILED

    @property
    def is_deferred(self) -> bool:
        """Whether the job waited for others when it was last read."""
        return self.status is JobStatus.DEFERRED

    @property
    def is_scheduled(self) -> bool:
        """Whether the job waited for its time when it was last read."""
        return self.status is JobStatus.SCHEDULED

    @property
    def is_canceled(self) -> bool:
        """Whether the job was canceled when it was last read."""
        return self.status is JobStatus.CANCELED

    @property
    def is_stopped(self) -> bool:
        """Whether the job had been stopped when it was last read."""
        return self.status is JobStatus.STOPPED

    @property
    def is_ready_to_enqueue(self) -> bool:
        """Whether RQ was about to put the job, which had waited for others, on its queue when it was last read."""
        return self.status is JobStatus.READY_TO_ENQUEUE

    @property
    def success_callback(self) -> Callable[..., Any] | None:
        """What is called when the job has succeeded, imported; None when there is nothing.

        Raises:
            FunctionNotFoundError: there is no such function here; so do its two siblings.
        """
        return _imported(self.success_callback_name)

    @property
    def failure_callback(self) -> Callable[..., Any] | None:
        """What is called when an attempt has failed, imported."""
        return _imported(self.failure_callback_name)

    @property
    def stopped_callback(self) -> Callable[..., Any] | None:
        """What is called when the job was stopped, imported."""
        return _imported(self.stopped_callback_name)

    def get_call_string(self) -> str:
        """The call as text, each argument cut to 75 characters."""
        return str(self.call)

    def get_ttl(self, default_ttl: int | None = None) -> int | None:
        """Seconds that the job may wait, or `default_ttl` where it does not say."""
        return default_ttl if self.ttl is None else self.ttl

    def get_result_ttl(self, default_ttl: int | None = None) -> int | None:
        """Seconds that the job is kept once it has finished, or `default_ttl` where it does not say."""
        return default_ttl if self.result_ttl is None else self.result_ttl

    def set_call(self, call: Call, options: JobOptions, default_timeout: int | None = None) -> None:
        """Fill a new record with a call and the options of its enqueue.

        Raises:
            SerializationError: an argument cannot be serialised.
        """
        self._call = call
        self.data = encode_call(call, self.serializer)
        self.description = options.description or str(call)
        self.timeout = default_timeout if options.job_timeout is None else options.job_timeout
        self.result_ttl = options.result_ttl
        self.failure_ttl = options.failure_ttl
        self.ttl = options.ttl
        self.on_lost = options.on_lost
        self.memory_limit = options.memory_limit
        self.meta = dict(options.meta or {})
        self.dependency_ids = list(options.waits.ids)
        self.allow_dependency_failures = options.waits.allow_failure
        self.enqueue_at_front = options.waits.enqueue_at_front
        for kind, callback in options.callbacks().items():
            setattr(self, f"{kind}_callback_name", callback.name)
            setattr(self, f"{kind}_callback_timeout", callback.timeout)
        if options.retry is not None:
            self.set_retry(options.retry)
        if options.repeat is not None:
            self.repeats_left, self.repeat_intervals = options.repeat.times, list(options.repeat.intervals)
        if options.rate_limit is not None:
            self.rate_limit_key = options.rate_limit.key
            self.rate_limit_concurrency = options.rate_limit.concurrency
        self.webhooks = list(options.webhooks or ())

    def set_retry(self, retry: Retry) -> None:
        """Take over how often a job is tried again."""
        self.retries_left, self.retry_intervals = retry.max, list(retry.intervals)
        self.enqueue_at_front_on_retry = retry.enqueue_at_front
        self.retry_jitter = retry.jitter or None
        self.retry_on, self.never_retry = retry.retry_on or None, retry.never or None

    def encode_meta(self) -> bytes:
        """`meta` in bytes; what could not be read is given back unchanged; empty when there is none.

        Raises:
            SerializationError: it cannot be serialised.
        """
        if self._meta is None or (self._raw_meta and self._meta == {"unserialized": self._raw_meta}):
            return self._raw_meta
        if not self._meta:
            return b""
        try:
            return self.serializer.dumps(self._meta)
        except Exception as error:
            raise SerializationError(
                f"the meta of job {self.id!r} cannot be serialised: {describe_error(error)}", "meta"
            ) from error

    def encode(self) -> dict[str, bytes | int]:
        """The fields of the hash, in RQ's encoding.

        Raises:
            SerializationError: an attribute was set to what the field cannot hold; `path` names it.
        """
        fields: dict[str, str | bytes | int] = {
            "status": self.status.value,
            "created_at": encode_date(self.created_at),
            "data": self.data,
        }
        for name in _ALWAYS:
            value = getattr(self, name)
            fields[name] = encode_date(value) if isinstance(value, datetime) else value or ""
        optional: dict[str, str | bytes | int | None] = {
            "origin": self.origin or None,
            "description": self.description,
            "enqueued_at": encode_date(self.enqueued_at) or None,
            "timeout": self.timeout,
            "result_ttl": self.result_ttl,
            "failure_ttl": self.failure_ttl,
            "ttl": self.ttl,
            "meta": self.encode_meta() or None,
            "success_callback_timeout": self.success_callback_timeout,
            "failure_callback_timeout": self.failure_callback_timeout,
            "stopped_callback_timeout": self.stopped_callback_timeout,
            "dependency_ids": json.dumps(self.dependency_ids) if self.dependency_ids else None,
            "dependency_id": self.dependency_ids[0] if self.dependency_ids else None,
            "allow_dependency_failures": _flag(self.allow_dependency_failures),
            "enqueue_at_front": _flag(self.enqueue_at_front),
            "retries_left": self.retries_left,
            "retry_intervals": None if self.retry_intervals is None else json.dumps(self.retry_intervals),
            "enqueue_at_front_on_retry": 1 if self.enqueue_at_front_on_retry else None,
            "number_of_retries": self.number_of_retries,
            "repeats_left": self.repeats_left,
            "repeat_intervals": None if self.repeat_intervals is None else json.dumps(self.repeat_intervals),
            "rate_limit_key": self.rate_limit_key,
            "rate_limit_concurrency": self.rate_limit_concurrency,
            "webhooks": encode_webhooks(self.webhooks) if self.webhooks else None,
            "aiorq_timeout": self.timeout_when_due,
            "aiorq_on_lost": self.on_lost,
            "aiorq_memory_limit": self.memory_limit,
            "aiorq_jitter": None if self.retry_jitter is None else repr(float(self.retry_jitter)),
            "aiorq_retry_on": json.dumps(self.retry_on) if self.retry_on else None,
            "aiorq_never": json.dumps(self.never_retry) if self.never_retry else None,
        }
        fields.update({name: value for name, value in optional.items() if value is not None})
        encoded: dict[str, bytes | int] = {}
        for name, value in fields.items():
            try:
                if isinstance(value, str):
                    encoded[name] = value.encode()
                elif isinstance(value, bytes):
                    encoded[name] = value
                else:
                    encoded[name] = value.__index__()  # an int, and not a bool, which redis-py refuses
            except (UnicodeEncodeError, AttributeError):
                shown = ascii(value) if isinstance(value, str) else f"a {type(value).__name__}"
                raise SerializationError(
                    f"the {name} of job {self.id!r} cannot be stored: it is {shown[:80]}", name
                ) from None
        return encoded

    def decode(self, fields: Mapping[bytes, bytes]) -> None:
        """Take over the fields of a hash; what the hash does not have becomes unset.

        Raises:
            CorruptJobError: a field cannot be read; the record is then partly filled.
        """
        read = _Fields(self.id, fields)
        self.status = read.convert("status", JobStatus) or JobStatus.CREATED
        self.data = fields.get(b"data", b"")
        self._call = None
        if not self.data:
            raise CorruptJobError(self.id, "data", "is missing")
        self.origin = read.text("origin") or ""
        self.description = read.text("description")
        self.created_at = read.date("created_at") or self.created_at
        self.enqueued_at = read.date("enqueued_at")
        self.started_at = read.date("started_at")
        self.ended_at = read.date("ended_at")
        if self.status is JobStatus.FAILED and self.ended_at is None:  # who enqueued it ran it
            self.ended_at = read.date("aiorq_ended_at")
        self.last_heartbeat = read.date("last_heartbeat")
        self.worker_name = read.text("worker_name") or None
        self.group_id = read.text("group_id") or None
        self.timeout = read.integer("timeout")
        self.timeout_when_due = read.integer("aiorq_timeout")
        self.result_ttl = read.integer("result_ttl")
        self.failure_ttl = read.integer("failure_ttl")
        self.ttl = read.integer("ttl")
        for kind in ("success", "failure", "stopped"):
            setattr(self, f"{kind}_callback_name", read.text(f"{kind}_callback_name") or None)
            setattr(self, f"{kind}_callback_timeout", read.integer(f"{kind}_callback_timeout"))
        first = read.text("dependency_id")
        self.dependency_ids = read.convert("dependency_ids", _strings) or ([first] if first else [])
        self.allow_dependency_failures = read.convert("allow_dependency_failures", _boolean)
        self.enqueue_at_front = read.convert("enqueue_at_front", _boolean)
        self.retries_left = read.integer("retries_left")
        self.retry_intervals = read.convert("retry_intervals", _integers)
        self.enqueue_at_front_on_retry = read.convert("enqueue_at_front_on_retry", _boolean)
        self.number_of_retries = read.integer("number_of_retries")
        self.repeats_left = read.integer("repeats_left")
        self.repeat_intervals = read.convert("repeat_intervals", _integers)
        self.rate_limit_key = read.text("rate_limit_key")
        self.rate_limit_concurrency = read.integer("rate_limit_concurrency")
        self.retry_jitter = read.convert("aiorq_jitter", float)
        self.retry_on = read.convert("aiorq_retry_on", _strings)
        self.never_retry = read.convert("aiorq_never", _strings)
        self.attempts_before = read.integer("aiorq_attempts")
        self.webhooks = decode_webhooks(read.text("webhooks"))
        self.on_lost = read.text("aiorq_on_lost") or None
        self.memory_limit = read.integer("aiorq_memory_limit")
        self.decode_meta(fields.get(b"meta", b""))

    def decode_status(self, raw: bytes) -> JobStatus:
        """The state that a word of RQ's names.

        Raises:
            CorruptJobError: it is no such word.
        """
        return _Fields(self.id, {b"status": raw}).convert("status", JobStatus) or JobStatus.CREATED

    def decode_meta(self, raw: bytes) -> None:
        """Take over the bytes of `meta`; they are read when somebody looks at it."""
        self._raw_meta = raw
        self._meta = None if raw else {}


class _Fields:
    """A hash under one reader, which turns every damage into a `CorruptJobError` that names the field."""

    __slots__ = ("fields", "job_id")

    def __init__(self, job_id: str, fields: Mapping[bytes, bytes]) -> None:
        self.job_id = job_id
        self.fields = fields

    def text(self, name: str) -> str | None:
        raw = self.fields.get(name.encode())
        if not raw:
            return None if raw is None else ""
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise CorruptJobError(self.job_id, name, f"is not UTF-8: {raw[:40]!r}") from None

    def integer(self, name: str) -> int | None:
        return self.convert(name, _integer)

    def date(self, name: str) -> datetime | None:
        return self.convert(name, decode_date)

    def convert(self, name: str, convert: Callable[[str], T | None]) -> T | None:
        text = self.text(name)
        if not text:
            return None
        try:
            return convert(text)
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise CorruptJobError(self.job_id, name, f"cannot be read: {text[:40]!r}") from None


def _imported(name: str | None) -> Callable[..., Any] | None:
    return None if name is None else cast("Callable[..., Any]", import_name(name))


def _flag(value: bool | None) -> int | None:
    return None if value is None else int(value)


def _integer(text: str) -> int:
    value = int(text)
    if abs(value) > _MAX_INTEGER:
        raise ValueError(text)
    return value


def _boolean(text: str) -> bool:
    return bool(int(text))


def _strings(text: str) -> list[str]:
    items = json.loads(text)
    if not isinstance(items, list):
        raise TypeError(text)
    return [str(item) for item in items]


def _integers(text: str) -> list[int]:
    items = json.loads(text)
    if not isinstance(items, list):
        raise TypeError(text)
    return [_integer(item) for item in items]


def decode_traceback(raw: bytes) -> str:
    """The text of a traceback that RQ compressed; text that is not compressed is taken as it is. Cut at 4 MiB."""
    inflater = zlib.decompressobj()
    with contextlib.suppress(zlib.error):
        text = inflater.decompress(raw, _MAX_TRACEBACK)
        if inflater.eof or len(text) == _MAX_TRACEBACK:
            raw = text
    return raw[:_MAX_TRACEBACK].decode(errors="replace")
