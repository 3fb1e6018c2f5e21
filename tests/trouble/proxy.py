"""A way to Redis on which chosen requests fare badly: answered with an error, lost, or never answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from aiorq.scripts import load

Command: TypeAlias = list[bytes]
_LINE_TYPES: Final = b"+-:_,#("
_SIZES: Final = {b"*": 1, b"~": 1, b">": 1, b"%": 2, b"|": 2}
"""Types that hold other values, and how many there are for each that is counted."""


class Incomplete(Exception):  # noqa: N818 - no error
    """More bytes are needed."""


class Messages:
    """Cuts a stream of bytes into whole RESP messages, requests as well as answers."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        start = 0
        with suppress(Incomplete):
            while start < len(self._buffer):
                end = self._end(start)
                yield self._buffer[start:end]
                start = end
        self._buffer = self._buffer[start:]

    def _end(self, start: int) -> int:
        line = self._buffer.find(b"\r\n", start)
        if line < 0:
            raise Incomplete
        kind, rest, end = self._buffer[start : start + 1], self._buffer[start + 1 : line], line + 2
        if kind in _LINE_TYPES or rest == b"-1":
            return end
        if kind in _SIZES:
            for _ in range(int(rest) * _SIZES[kind] + (kind == b"|")):
                end = self._end(end)
            return end
        end += int(rest) + 2  # a text of that many bytes
        if end > len(self._buffer):
            raise Incomplete
        return end


def words(message: bytes) -> Command:
    """The words of a request."""
    found, position = [], message.index(b"\r\n") + 2
    while position < len(message):
        line = message.index(b"\r\n", position)
        size = int(message[position + 1 : line])
        found.append(message[line + 2 : line + 2 + size])
        position = line + 2 + size + 2
    return found


@dataclass(eq=False)
class Fault:
    """What befalls some requests. As it is made here the connection is closed, and Redis never sees the request."""

    concerns: Callable[[Command], bool]
    error: bytes = b""
    """What is answered in place of Redis, which never sees the request."""
    executed: bool = False
    """Whether the request gets through, and only its answer is lost."""
    gate: asyncio.Event | None = None
    """What the answer, a true one, waits for."""
    passes: int = 0
    """How many requests it lets through first."""
    times: int = 1
    """How many requests it befalls."""
    hits: int = 0
    """How many it has."""
    struck: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it has struck."""

    def strikes(self, command: Command) -> bool:
        if self.hits >= self.times or not self.concerns(command):
            return False
        if self.passes > 0:
            self.passes -= 1
            return False
        self.hits += 1
        self.struck.set()
        return True


def calls_of(script: str) -> Callable[[Command], bool]:
    """Requests to run a script, by its name or in full."""
    ways = []
    for clock in ("clock", "clock_virtual"):
        loaded = load(script, clock)
        ways += [[b"EVALSHA", loaded.sha.encode()], [b"EVAL", loaded.source.encode()]]
    return lambda command: command[:2] in ways


class Proxy:
    """Stands between clients and a server."""

    def __init__(self, upstream: Path, folder: Path) -> None:
        self.upstream = str(upstream)
        """The socket of the server that new connections lead to."""
        self.path = str(folder / "proxy")
        self.url = f"unix://{self.path}"
        self.connected = 0
        """How many connections were made."""
        self.swallows = False
        self._faults: list[Fault] = []
        self._passages: dict[Passage, asyncio.Task[None]] = {}

    @property
    def destinations(self) -> set[str]:
        """The servers that connections lead to."""
        return {passage.upstream for passage in self._passages}

    def arm(self, fault: Fault) -> Fault:
        """From now on strike requests, each fault as often as it says; of several the first one strikes."""
        self._faults.append(fault)
        return fault

    def fault_of(self, command: Command) -> Fault | None:
        return next((fault for fault in self._faults if fault.strikes(command)), None)

    @contextmanager
    def black_hole(self) -> Iterator[None]:
        """Within the block nothing gets through, and nothing is closed. What was connected before stays cut off."""
        self.swallows = True
        for passage in self._passages:
            passage.swallows = True
        yield
        self.swallows = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        self.connected += 1
        passage = Passage(self, reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._passages[passage] = task
        try:
            with suppress(OSError, asyncio.CancelledError):
                await passage.carry()
        finally:
            writer.close()
            del self._passages[passage]

    async def end(self) -> None:
        tasks = list(self._passages.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Passage:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writer = writer
        self._planned: asyncio.Queue[Fault | None] = asyncio.Queue()
        self._received: asyncio.Queue[bytes] = asyncio.Queue()
        self.upstream = proxy.upstream
        self.swallows = proxy.swallows

    async def carry(self) -> None:
        """Until one side closes, or a fault does."""
        up_reader, up_writer = await asyncio.open_unix_connection(self.upstream)
        parts = self._requests(up_writer), self._receive(up_reader), self._answers()
        ways = [asyncio.ensure_future(part) for part in parts]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            up_writer.close()

    async def _requests(self, up_writer: asyncio.StreamWriter) -> None:
        messages = Messages()
        while data := await self._reader.read(65_536):
            for message in messages.feed(b"" if self.swallows else data):
                fault = self._proxy.fault_of(words(message))
                if fault is not None and not (fault.error or fault.executed or fault.gate):
                    return
                if fault is None or not fault.error:
                    up_writer.write(message)
                self._planned.put_nowait(fault)
        if self.swallows:
            await asyncio.Event().wait()  # the server does not hear that the client is gone

    async def _receive(self, up_reader: asyncio.StreamReader) -> None:
        messages = Messages()
        while data := await up_reader.read(65_536):
            for message in messages.feed(data):
                self._received.put_nowait(message)

    async def _answers(self) -> None:
        while True:
            fault = await self._planned.get()
            if fault is not None and fault.error:
                await self._answer(b"-" + fault.error + b"\r\n")
                continue
            answer = await self._received.get()
            if fault is not None and fault.gate is not None:
                await fault.gate.wait()
            elif fault is not None:
                return
            await self._answer(answer)

    async def _answer(self, answer: bytes) -> None:
        if self.swallows:
            await asyncio.Event().wait()
        self._writer.write(answer)
