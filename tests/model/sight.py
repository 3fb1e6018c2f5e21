"""What is in Redis after every step, in one round trip with the step itself."""

from __future__ import annotations

import json
import re
from asyncio import Future, ensure_future
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

from redis.exceptions import NoScriptError

from aiorq.errors import ConnectionLostError
from aiorq.scripts import Script, load
from aiorq.store.replies import Value
from tests.model.model import MANY_DEPENDENTS, MANY_PARENTS, Fields, Picture
from tests.scripts.conftest import NOON, ClockedStore

Raw: TypeAlias = dict[bytes, tuple[int | None, bytes, Any]]
"""Name of a key -> the second of its expiry, its type, its content as the server sends it."""
PREFIX: Final = "model"
_LOOK: Final = Script("look", Path(__file__).with_name("look.lua").read_text(encoding="utf-8"))
_BASE: Final = 4_102_444_800_000
"""2100-01-01: the date that stands for second 0."""


_SMALL: Final = {"MANY_DEPENDENTS": MANY_DEPENDENTS, "MANY_PARENTS": MANY_PARENTS}
"""Numbers of the scripts that no example would reach."""
_RANDOM: Final = "redis.pcall('SPOP', set, most)"
_IN_ORDER: Final = """(function()
  local members = redis.call('SMEMBERS', set)
  table.sort(members)
  while #members > most do table.remove(members) end
  if #members > 0 then redis.call('SREM', set, unpack(members)) end
  return members
end)()"""
"""In place of what is random: an example must go the same way each time."""
_SOONER: Final = "redis.call('EXPIRE', results_key(prefix, id), seconds, 'LT')"
_SOONER_BY_OUR_CLOCK: Final = f"""(function()
  local key = results_key(prefix, id)
  local due = {_BASE} + (tonumber(redis.call('GET', '{PREFIX}:aiorq:clock')) - {NOON} + seconds) * 1000
  local before = redis.call('PEXPIRETIME', key)
  if before < {_BASE} / 2 + 900000000000 then redis.call('EXPIRE', key, seconds, 'LT')
  elseif before > due then redis.call('EXPIRE', key, seconds) end
end)()"""
"""In place of what compares with a TTL, which look.lua may have moved to another date."""


@cache
def _small(name: str) -> Script:
    """A script with the clock of the tests, small numbers, and nothing random."""
    script = load(name, "clock_virtual")
    source = script.source
    for constant, number in _SMALL.items():
        source = re.sub(rf"^local {constant} = \d+$", f"local {constant} = {number}", source, flags=re.MULTILINE)
    if name == "enqueue_dependents":
        assert _RANDOM in source
        source = source.replace(_RANDOM, _IN_ORDER)
    if "'LT'" in source:
        assert _SOONER in source
        source = source.replace(_SOONER, _SOONER_BY_OUR_CLOCK)
    return replace(script, source=source)


@dataclass(frozen=True)
class Call:
    """A call of a script, and all that was there before and after it."""

    script: str
    keys: Sequence[Value]
    args: tuple[Value, ...]
    before: Raw
    reply: Any
    after: Raw


class WatchedStore(ClockedStore):
    """Looks at all keys right after each script, before a TTL could have run on."""

    raw: Raw
    calls: list[Call]
    """Those since the list was last emptied."""
    severed: int | None = None
    """After how many calls that look at dependents which were set apart the connection is lost; None for never."""

    async def run(self, script: str, keys: Sequence[Value], *args: Value) -> Any:
        if script == "enqueue_dependents":
            if self.severed is not None and self.severed <= sum(call.script == script for call in self.calls):
                raise ConnectionLostError("severed by the test")
            args = (*args[:-1], MANY_DEPENDENTS)
        before = self.raw
        reply = await self._run(script, keys, *args)
        self.calls.append(Call(script, keys, args, before, reply, self.raw))
        return reply

    async def _run(self, script: str, keys: Sequence[Value], *args: Value) -> Any:
        called = _small(script)
        reply, seen = await self.transport.try_many(
            [
                ("EVALSHA", called.sha, len(keys), *keys, self.keys.prefix, *args),
                ("EVALSHA", _LOOK.sha, 0, _BASE, NOON),
            ]
        )
        if isinstance(reply, BaseException):
            if not isinstance(reply.__cause__, NoScriptError):
                raise reply
            # Scripts were flushed, or never loaded: the way of the store itself.
            reply = await self.transport.run(called, keys, (self.keys.prefix, *args))
            await self.look()
        elif isinstance(seen, BaseException):
            await self.look()
        else:
            self.raw = _sorted_out(seen)
        return reply

    def send(self, script: str, keys: Sequence[Value], *args: Value, left: Callable[[], None]) -> Future[Any]:
        left()
        return ensure_future(self.run(script, keys, *args))

    async def repeat(self, call: Call) -> Any:
        """Send a call once more, as after a lost reply."""
        return await self._run(call.script, call.keys, *call.args)

    async def look(self) -> None:
        self.raw = _sorted_out(await self.transport.run(_LOOK, [], (_BASE, NOON)))


def _sorted_out(seen: list[Any]) -> Raw:
    return {seen[index]: (seen[index + 1], seen[index + 2], seen[index + 3]) for index in range(0, len(seen), 4)}


def _texts(parts: list[bytes]) -> list[str]:
    return [part.decode() for part in parts]


def _table(flat: list[bytes]) -> dict[str, str]:
    return {flat[index].decode(): flat[index + 1].decode(errors="replace") for index in range(0, len(flat), 2)}


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _flag(text: str | None) -> bool | None:
    return None if text is None else text == "1"


def _job(flat: list[bytes]) -> Fields:
    fields = _table(flat)
    at = fields.get("aiorq_at")
    return Fields(
        fields.get("status", ""),
        fields.get("origin", ""),
        fields.get("worker_name", ""),
        fields.get("aiorq_nonce", ""),
        _number(fields.get("retries_left")),
        _number(fields.get("aiorq_retries")),
        _number(fields.get("aiorq_losses")),
        fields.get("aiorq_held"),
        _number(fields.get("number_of_retries")),
        _number(fields.get("aiorq_attempts")),
        _number(fields.get("repeats_left")),
        fields.get("repeat_intervals"),
        _flag(fields.get("enqueue_at_front")),
        "aiorq_at_front" in fields,
        None if at is None else float(at),
        fields.get("rate_limit_key"),
        fields.get("group_id", ""),
        _flag(fields.get("allow_dependency_failures")),
        fields.get("aiorq_barred"),
        "aiorq_unlisted" not in fields,
    )


def _attempts(content: list[bytes]) -> list[tuple[int, str, str]]:
    entries = [json.loads(text) for text in content]
    return [(entry["number"], entry["outcome"], entry["execution_id"]) for entry in entries]


def _results(content: list[Any]) -> list[tuple[str, str]]:
    entries = _entries(content)
    return [(entry["type"], entry.get("execution_id") or entry["aiorq_execution_id"]) for entry in entries]


def _worker(flat: list[bytes]) -> Any:
    fields = _table(flat)
    known: dict[str, Any] = {"state": fields["state"]} if "state" in fields else {}
    if "birth" in fields:
        known["boot"] = fields["aiorq_boot"]
    if "death" in fields:
        known["dead"] = True
    return known


def _execution(flat: list[bytes]) -> Any:
    fields = _table(flat)
    return fields["worker_name"], fields.get("aiorq_on_lost", "")


def _scores(content: list[Any]) -> dict[str, float]:
    return {content[index].decode(): float(content[index + 1]) for index in range(0, len(content), 2)}


def _entries(content: list[Any]) -> list[dict[str, str]]:
    return [_table(flat) for _, flat in content]


def _reader(key: str, kind: str) -> Callable[[Any], Any]:
    """What reads the part of a key that the model knows."""
    if key.startswith("results:"):
        return _results
    if key.startswith("aiorq:answer:"):
        return lambda content: [entry["outcome"] for entry in _entries(content)]
    if key == "aiorq:dropped":
        return lambda content: {queue: int(count) for queue, count in _table(content).items()}
    if key.startswith("aiorq:attempts:"):
        return _attempts
    if key == "aiorq:paused":
        return lambda content: set(_table(content))
    if kind == "hash" and key.startswith("job:"):
        return _job
    if kind == "hash" and key.startswith("worker:"):
        return _worker
    if key.startswith("execution:"):
        return _execution
    if key in {"queues", "workers"} or key.startswith("workers:"):
        return lambda content: {name.decode().removeprefix(f"{PREFIX}:") for name in content}
    readers: dict[str, Callable[[Any], Any]] = {
        "hash": _table,
        "list": _texts,
        "set": lambda content: set(_texts(content)),
        "zset": _scores,
        "string": bytes.decode,
    }
    return readers[kind]


class Sight:
    """Reads raw keys as a picture; what did not change is not read again."""

    def __init__(self) -> None:
        self._read: dict[bytes, tuple[Any, str, tuple[Any, int | None]]] = {}

    def picture(self, raw: Raw) -> Picture:
        read = {}
        for name, held in raw.items():
            known = self._read.get(name)
            if known is None or known[0] != held:
                # A key that is not below the prefix keeps its name, which is that of no key of the model.
                key = name.decode().removeprefix(f"{PREFIX}:")
                expires, kind, content = held
                known = held, key, (_reader(key, kind.decode())(content), expires)
            read[name] = known
        self._read = read
        return {key: seen for _, key, seen in read.values()}
