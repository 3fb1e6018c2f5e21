"""Points in the course of a process at which it can be killed: before a Redis command, or after it.

All that aiorq sends goes through `send_packed_command` of redis-py's connections, and all answers through
`read_response`. Here both are wrapped, in a process of a test's own: every command gets a name, which is the script's
or the verb, and its number among those of the same name, as in `claim#2`. So the names do not depend on what comes in
between. A command of a process that runs a job has `horse` before its name.

- *before* a command: all that was to travel ahead of it in the same round trip is sent and will be executed, the
  command itself is not.
- *after* it: the server has executed it and its answer has arrived, but nobody in the process has seen it.

What happens is told over a pipe, a line each. The processes that are forked from this one have the pipe too: its end
says that all of them are gone.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple, NoReturn

from redis.asyncio.connection import AbstractConnection

from aiorq.scripts import load, names


class Point(NamedTuple):
    """A moment in which to kill a process."""

    name: str
    moment: str
    """`before` or `after`."""


class Command(NamedTuple):
    """A command in the bytes of a round trip."""

    name: str
    start: int
    """Where it begins in them."""


class _Points:
    def __init__(self) -> None:
        self.pipe = -1
        self.kill: Point | None = None
        self.hold: tuple[str, str] | None = None
        self.counts: Counter[str] = Counter()
        self.pid = 0

    def count(self, kind: str) -> str:
        whose = kind if os.getpid() == self.pid else f"horse {kind}"
        self.counts[whose] += 1
        return f"{whose}#{self.counts[whose]}"

    def is_here(self, name: str, moment: str) -> bool:
        return self.kill is not None and self.kill == (name, moment)

    def die(self) -> NoReturn:
        assert self.kill is not None
        report("killed", *self.kill)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


_points = _Points()


def report(*words: str) -> None:
    """Tell the test something, in one line."""
    if _points.pipe >= 0:
        os.write(_points.pipe, "\t".join(words).replace("\n", " ").encode(errors="replace")[:4000] + b"\n")


def install(pipe: int, kill: Point | None, hold: tuple[str, str] | None) -> None:
    """Wrap the connections of this process and of those that it forks.

    Args:
        pipe: a descriptor to report to.
        kill: where to die.
        hold: the name of a command, and the path of a fifo; its answer is not given before a byte comes from there.
            With `before` in front of the name: it is not sent, and a process that is to die there does so no earlier.
    """
    _points.pipe, _points.kill, _points.hold, _points.pid = pipe, kill, hold, os.getpid()
    send, read = AbstractConnection.send_packed_command, AbstractConnection.read_response

    async def send_packed_command(self: Any, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        parts = [command] if isinstance(command, bytes) else command
        whole = b"".join(part.encode() if isinstance(part, str) else bytes(part) for part in parts)
        expected = self.__dict__.setdefault("_expected", [])
        sent: list[str] = []
        for name, start in parse(whole):
            if _points.is_here(name, "before"):
                _write(self, whole[:start])
                for earlier in sent:
                    report("executed", earlier)
                await _held(f"before {name}")
                _points.die()
            sent.append(name)
        for name in sent:
            report("sent", name)
        expected += sent
        await send(self, whole, check_health)

    async def read_response(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return await read(self, *args, **kwargs)
        finally:
            expected = self.__dict__.setdefault("_expected", [])
            if expected:
                await _answered(expected.pop(0))

    AbstractConnection.send_packed_command = send_packed_command  # type: ignore[method-assign]
    AbstractConnection.read_response = read_response  # type: ignore[method-assign]


async def _answered(name: str) -> None:
    report("executed", name)
    if _points.is_here(name, "after"):
        _points.die()
    await _held(name)


async def _held(name: str) -> None:
    """Wait for a byte where that was asked for."""
    if _points.hold is None or _points.hold[0] != name:
        return
    loop, come = asyncio.get_running_loop(), asyncio.Event()
    fifo = os.open(_points.hold[1], os.O_RDONLY | os.O_NONBLOCK)
    loop.add_reader(fifo, come.set)
    report("waits", name)
    await come.wait()
    loop.remove_reader(fifo)
    os.close(fifo)


def _write(connection: Any, data: bytes) -> None:
    """Hand bytes to the kernel, which delivers them also when this process is gone."""
    file = connection._writer.get_extra_info("socket").fileno()
    os.set_blocking(file, True)
    while data:
        data = data[os.write(file, data) :]


def parse(whole: bytes) -> list[Command]:
    """The commands in the bytes of a round trip."""
    commands = []
    position = 0
    while position < len(whole):
        start = position
        count, position = _number(whole, position)
        words = []
        for _ in range(count):
            length, position = _number(whole, position)
            words.append(whole[position : position + length])
            position += length + 2
        commands.append(Command(_points.count(_kind(words)), start))
    return commands


def _number(whole: bytes, position: int) -> tuple[int, int]:
    end = whole.index(b"\r\n", position)
    return int(whole[position + 1 : end]), end + 2


def _kind(words: list[bytes]) -> str:
    verb = words[0].decode().upper()
    if verb in ("EVALSHA", "EVAL"):
        sha = words[1].decode() if verb == "EVALSHA" else hashlib.sha1(words[1]).hexdigest()
        return scripts_by_sha()[sha]
    return f"{verb} {words[1].decode().upper()}" if verb == "CLIENT" else verb


@cache
def scripts_by_sha() -> dict[str, str]:
    """The names of all scripts, by what a command calls them."""
    return {load(name).sha: name for name in names()}
