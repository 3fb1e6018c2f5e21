"""A cron entry: a call, when it recurs, and the options of its jobs; once it was read, also what became of it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self, TypedDict, Unpack, cast

from aiorq.call import as_args, make_call
from aiorq.callback import AnyCallback
from aiorq.cron.definition import MISFIRE, OVERLAP, Definition
from aiorq.crontab import Recurrence
from aiorq.enqueuer import EnqueueData
from aiorq.keys import check_queue_name, is_job_id
from aiorq.options import DEFAULT_RESULT_TTL, JobOptions
from aiorq.queue import Queue
from aiorq.rate_limit import RateLimit
from aiorq.retry import Repeat, Retry
from aiorq.seconds import MAX_SECONDS, Duration
from aiorq.store.crons import Kept
from aiorq.webhook import Webhook

NOT_JSON: Final = "<not JSON serializable>"
"""What RQ shows in place of what JSON has no words for."""
_MAX_NAME: Final = 200
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_MAX_SHOWN: Final = 10_000  # characters of arguments that are kept to be shown
_MAX_MISFIRES: Final = 10_000


class CronOptions(TypedDict, total=False):
    """What RQ does not have: how slots are dealt with, and more options of the jobs."""

    timezone: str | None
    """Of the expression, as in `Europe/Berlin`; None for that of the machine which registers (RQ's rule)."""
    misfire: str
    """What becomes of slots that nobody dealt with for longer than the grace: `skip` (the default) them, run `once` for
    all of them, or run `all`, the newest `misfire_limit` of them."""
    misfire_limit: int
    """1 to 10,000; 100 unless it is given."""
    misfire_grace: float
    """Seconds, 1 and more, by which a slot may be late and is simply run; 30 unless it is given."""
    overlap: str
    """What becomes of a slot while a job of the entry is not over: it is run all the same (`allow`, the default), it is
    passed over (`skip`), or it is run unless one waits already (`queue`)."""
    jitter: float
    """Seconds up to which the job of a slot is put off at random, so that not all begin at once."""
    retry: Retry | None
    repeat: Repeat | None
    on_success: AnyCallback | None
    on_failure: AnyCallback | None
    on_stopped: AnyCallback | None
    rate_limit: RateLimit | None
    at_front: bool
    description: str | None
    unique: bool
    """All jobs of the entry have one id, made of its name, and a slot is passed over while a job of that id exists, one
    that has ended and is kept included."""
    on_lost: str | None
    memory_limit: int | str | None
    serializer: object | None
    """That of the workers of the queue; None for pickle."""


_OWN: Final = frozenset({"timezone", "misfire", "misfire_limit", "misfire_grace", "overlap", "jitter", "serializer"})
_SHOWN: Final = ("job_timeout", "result_ttl", "ttl", "failure_ttl")


class CronEntry:
    """An entry of cron, whatever API it belongs to. Attributes show what it was made with or last read."""

    def __init__(
        self,
        queue_name: str,
        func: Callable[..., Any] | str | None = None,
        func_name: str | None = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        interval: int | None = None,
        cron: str | None = None,
        job_timeout: Duration | None = None,
        result_ttl: Duration | None = DEFAULT_RESULT_TTL,
        ttl: Duration | None = None,
        failure_ttl: Duration | None = None,
        meta: Mapping[str, Any] | None = None,
        webhooks: Sequence[Webhook] | None = None,
        name: str = "",
        **options: Unpack[CronOptions],
    ) -> None:
        """Describe an entry; `cron.register` is the usual way.

        Args:
            queue_name: the queue of its jobs.
            func: a function that workers can import, a method, a callable object, or a dotted name.
            func_name: the dotted name of a function, in place of `func`.
            args: its positional arguments.
            kwargs: its keyword arguments.
            interval: seconds from one job to the next, 1 and more.
            cron: in its place an expression of five fields, of six with the seconds first, or `@hourly` and the like.
            job_timeout: seconds that a job may run; None for 180.
            result_ttl: seconds that a finished job is kept.
            ttl: seconds that a job may wait; None for ever.
            failure_ttl: seconds that a failed job is kept; None for a year.
            meta: data to keep with each job.
            webhooks: HTTP requests to make when a job has ended.
            name: of the entry, unlike that of any other; by default that of the function.
            options: those of `CronOptions`.

        Raises:
            TypeError, ValueError: something is wrong; the text names it.
            SerializationError: an argument cannot be serialised.
        """
        unknown = set(options) - set(CronOptions.__annotations__)
        if unknown:
            raise TypeError(f"{', '.join(sorted(unknown))}: there is no such option of a cron entry")
        called = func if func is not None else func_name
        if called is None:
            raise ValueError("func: give a function or its name")
        call = make_call(called, as_args(args), dict(kwargs or {}))
        self.func: Callable[..., Any] | None = called if callable(called) else None
        self.func_name = call.func_name
        if call.instance is not None:
            self.func_name = f"{type(call.instance).__module__}.{type(call.instance).__qualname__}.{call.func_name}"
        self.has_own_name = bool(name)
        """Whether it has another name than that of its function."""
        self.queue_name = check_queue_name(queue_name)
        self.args: Any = call.args
        self.kwargs: Any = call.kwargs
        recurrence = Recurrence(cron, interval, options.get("timezone"))
        self._options = options
        given: dict[str, Any] = {key: value for key, value in options.items() if key not in _OWN}
        self._unique = bool(given.pop("unique", False))
        if self._unique and given.get("rate_limit") is not None:
            raise ValueError("unique does not go with rate_limit")
        self._job_options = JobOptions(
            job_timeout=cast("int | None", job_timeout),
            result_ttl=cast("int | None", result_ttl),
            ttl=cast("int | None", ttl),
            failure_ttl=cast("int | None", failure_ttl),
            meta=meta,
            webhooks=webhooks,
            **given,
        )
        self._recurrence = recurrence
        self.definition, self.fields = self._define(check_name(name or self.func_name), "")
        self._adopt(self.definition)
        self._no_state()

    @classmethod
    def like(cls, entry: CronEntry) -> Self:
        """The same entry as one of this class."""
        if isinstance(entry, cls):
            return entry
        made = cls.__new__(cls)
        vars(made).update(vars(entry))
        return made

    def _adopt(self, definition: Definition) -> None:
        self.definition = definition
        self.name = definition.name
        self.queue_name, self.func_name = definition.queue, definition.func_name
        self.interval, self.cron, self.timezone = definition.interval, definition.cron, definition.timezone
        self.misfire, self.misfire_limit = definition.misfire, definition.misfire_limit
        self.misfire_grace, self.overlap, self.jitter = definition.misfire_grace, definition.overlap, definition.jitter
        self.config = definition.source
        """The module that registered it; empty for what was added by hand."""

    def _no_state(self) -> None:
        self.latest_enqueue_time: datetime | None = None
        """When its last job was enqueued, by the server's clock."""
        self.next_enqueue_time: datetime | None = None
        """Its next slot; None where that is not known, or while it is paused."""
        self.latest_slot: datetime | None = None
        """The last slot that was dealt with."""
        self.last_job_id: str | None = None
        self.paused_since: datetime | None = None
        self.enqueued = 0
        """How many jobs it has had."""
        self.missed = 0
        """How many slots were passed over since nobody dealt with them in time."""
        self.overlapped = 0
        """How many were passed over since a job was not over."""
        self.refused = 0
        """How many had no job since a key in Redis was of another type."""

    def __repr__(self) -> str:
        when = f"every {self.interval} s" if self.interval is not None else f"{self.cron!r} {self.timezone}"
        return f"{type(self).__name__}({self.name!r}, {when}, {self.func_name!r} on {self.queue_name!r})"

    @property
    def paused(self) -> bool:
        """Whether its slots pass without a job."""
        return self.paused_since is not None

    @property
    def recurrence(self) -> Recurrence:
        """When it runs."""
        return self.definition.recurrence

    @property
    def job_options(self) -> dict[str, Any]:
        """The options of its jobs that RQ shows, those that are None left out."""
        shown = self.definition.shown
        return {name: shown[name] for name in (*_SHOWN, "meta", "webhooks") if shown.get(name) is not None}

    def get_next_enqueue_time(self) -> datetime:
        """Its next slot as far as it can be told without Redis: that after the last one, or after now.

        The end of time where there is none any more.
        """
        if self.next_enqueue_time is not None:
            return self.next_enqueue_time
        last = self.latest_slot or self.latest_enqueue_time
        if self.interval is not None:
            return datetime.now(UTC) if last is None else last + timedelta(seconds=self.interval)
        return self.recurrence.next_after(last or datetime.now(UTC)) or datetime.max.replace(tzinfo=UTC)

    def should_run(self) -> bool:
        """Whether its next slot has come, by the clock of this machine; an interval that never ran has its first."""
        return not self.paused and self.get_next_enqueue_time() <= datetime.now(UTC)

    def _define(self, name: str, source: str) -> tuple[Definition, dict[str, bytes | int]]:
        """The definition under that name, and the fields of the jobs."""
        given, options = self._options, self._job_options
        jitter = _number(given.get("jitter", 0.0), "jitter", 0, 86_400)
        job_id = _job_id(name) if self._unique else None
        queue = Queue(self.queue_name, serializer=given.get("serializer"))
        data = EnqueueData(
            self.func or self.func_name, self.args, self.kwargs, replace(options, job_id=job_id, unique=self._unique)
        )
        job = queue._make(data)
        new = queue._new(job, options.at_front, self._unique, timedelta() if jitter else None)
        fields = dict(new.fields)
        fields.pop("created_at", None)
        definition = Definition(
            name=name,
            queue=self.queue_name,
            func_name=self.func_name,
            cron=self._recurrence.cron,
            interval=self._recurrence.interval,
            timezone=self._recurrence.timezone,
            misfire=_word(given.get("misfire", "skip"), "misfire", MISFIRE),
            misfire_limit=_whole(given.get("misfire_limit", 100), "misfire_limit", 1, _MAX_MISFIRES),
            misfire_grace=_number(given.get("misfire_grace", 30.0), "misfire_grace", 1, MAX_SECONDS),
            overlap=_word(given.get("overlap", "allow"), "overlap", OVERLAP),
            jitter=jitter,
            at_front=new.at_front,
            ttl=new.ttl,
            job_id=job_id,
            wishes=tuple(str(wish) for wish in replace(new, at=None, delay=None).wishes),
            source=source,
            shown=self._shown(),
        )
        digest = hashlib.sha256(definition.encode().encode())
        for key, value in sorted(fields.items()):
            raw = value if isinstance(value, bytes) else str(value).encode()
            digest.update(f"{key}:{len(raw)}:".encode() + raw)
        return replace(definition, version=digest.hexdigest()[:32]), fields

    def rename(self, name: str, source: str) -> None:
        """Give the entry another name, or another module that registered it."""
        definition, self.fields = self._define(check_name(name), source)
        self._adopt(definition)

    def _shown(self) -> dict[str, Any]:
        options = self._job_options
        shown: dict[str, Any] = {
            "args": _json(self.args) if self.args else None,
            "kwargs": _json(self.kwargs) if self.kwargs else None,
            **{name: getattr(options, name) for name in _SHOWN},
            "meta": _json(options.meta) if options.meta else None,
            "webhooks": _json([webhook.to_dict() for webhook in options.webhooks]) if options.webhooks else None,
        }
        return {name: value for name, value in shown.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """As RQ's views read it."""
        shown = self.definition.shown
        return {
            "func_name": self.func_name,
            "name": self.name,
            "queue_name": self.queue_name,
            "args": shown.get("args"),
            "kwargs": shown.get("kwargs"),
            "interval": self.interval,
            "cron": self.cron,
            "latest_enqueue_time": _date(self.latest_enqueue_time),
            "next_enqueue_time": _date(self.next_enqueue_time),
            **self.job_options,
        }

    @classmethod
    def from_kept(cls, kept: Kept) -> Self:
        """The entry that Redis keeps.

        Raises:
            ValueError: it cannot be read.
        """
        definition = Definition.decode(kept.definition)
        job = cls.__new__(cls)
        job.func, job.fields, job.has_own_name = None, {}, True
        job.args, job.kwargs = _from_json(definition.shown.get("args")), _from_json(definition.shown.get("kwargs"))
        job._adopt(definition)
        job._no_state()
        state = kept.state
        job.latest_enqueue_time, job.latest_slot = _moment(state.get("ran")), _moment(state.get("slot"))
        job.paused_since = _moment(state.get("paused"))
        job.last_job_id = state.get("job")
        for name in ("enqueued", "missed", "overlapped", "refused"):
            setattr(job, name, int(state[name]) if state.get(name, "").isdecimal() else 0)
        job.next_enqueue_time = _moment(None if kept.slot is None else repr(kept.slot))
        return job


def check_name(name: object) -> str:
    """Return `name` if it can name an entry: 1 to 200 characters, no control ones.

    Raises:
        TypeError: it is not text.
        ValueError: it is empty, too long, or has a control character or half a surrogate pair.
    """
    if not isinstance(name, str):
        raise TypeError(f"name: {name!r} is not a text")
    if not 1 <= len(name) <= _MAX_NAME or _UNFIT.search(name):
        shown = name if len(name) <= 40 else name[:40] + "..."
        raise ValueError(f"name: {shown!r} cannot name a cron entry; use 1 to {_MAX_NAME} characters, no control ones")
    return name


def _job_id(name: str) -> str:
    """The id of all jobs of an entry of that name; no two names have the same one."""
    if is_job_id(f"cron-{name}"):
        return f"cron-{name}"
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return f"cron-{plain}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _word(value: object, name: str, words: Sequence[str]) -> str:
    if value not in words:
        raise ValueError(f"{name}: {value!r} is none of {', '.join(map(repr, words))}")
    return str(value)


def _whole(value: object, name: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name}: {value!r} is not a whole number")
    if not least <= value <= most:
        raise ValueError(f"{name}: {value} is not {least} to {most}")
    return value


def _number(value: object, name: str, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}: {value!r} is not a number of seconds")
    if not (math.isfinite(value) and least <= value <= most):
        raise ValueError(f"{name}: {value} is not {least:g} to {most:g} seconds")
    return float(value)


def _json(value: Any) -> str:
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return NOT_JSON
    return text if len(text) <= _MAX_SHOWN else NOT_JSON


def _from_json(text: Any) -> Any:
    if not isinstance(text, str):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _moment(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _date(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
