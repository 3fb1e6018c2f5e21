"""Messages between the supervisor, the zygote and the horses, over one socket pair that keeps their boundaries.

A message is a kind and a list of byte strings. All horses write to the same socket as their zygote: a message is sent
in one system call, so that none is ever half written or mixed with another, and what a process sent before its end is
read before the notice of its end. A message that is too large for that travels in an anonymous file whose descriptor is
passed along.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

INLINE: Final = 48 * 1024
"""Bytes up to which a message travels in the socket itself; well below Linux's default buffer of 208 KiB."""
BUFFER: Final = 2 * INLINE
"""Bytes to receive a message into."""
_HEAD: Final = struct.Struct("!BBI")  # kind, 1 when the rest is in a passed file, number of fields
_FILE_DESCRIPTOR: Final = struct.Struct("i")
_ANCILLARY: Final = socket.CMSG_SPACE(_FILE_DESCRIPTOR.size)


class Kind(IntEnum):
    """What a message says."""

    CONFIGURE = 1
    """To the zygote, first of all: settings of `zygote.Settings`."""
    READY = 2
    """From the zygote: modules are imported, it forks from now on. Fields: version of the zygote's code."""
    UNUSABLE = 3
    """From the zygote: a module could not be imported. Fields: text, version of the zygote's code."""
    RUN = 4
    """To the zygote: fork a horse. Fields: see `horse.Order`."""
    REFUSED = 5
    """From the zygote: no horse could be forked. Fields: number of the run, text."""
    KILL = 6
    """To the zygote: send a signal to the process group of a horse. Fields: number of the run, signal."""
    WARM = 7
    """To the zygote: import modules of the standard library or of ours that horses were seen to need. Fields: names."""
    RETURNED = 8
    """From a horse: see `horse.perform`."""
    RAISED = 9
    """From a horse: see `horse.perform`."""
    ENDED = 10
    """From the zygote: horses were reaped. Fields: of each the number of the run, wait status, peak resident KiB, and
    where the status is not 0 what `zygote.decode_usage` reads."""
    AGAIN = 11
    """From a horse: see `horse.perform`."""
    DOING = 12
    """From a horse, where there is more than the function: what it does next. Fields: number of the run, seconds that
    it may take (0 and less for no limit), text, 1 when the callbacks of a failure have their turn by now."""


class NoMemoryError(MemoryError):
    """There is no memory for a message; it was thrown away."""

    def __init__(self, kind: int, first: bytes) -> None:
        """Say which message.

        Args:
            kind: its kind.
            first: its first field, cut to 64 bytes.
        """
        super().__init__(f"no memory for a message of kind {kind}")
        self.kind = kind
        self.first = first


class Frame(NamedTuple):
    """A message."""

    kind: int
    fields: list[bytes]


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets that keep the boundaries of messages."""
    kind = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM
    return socket.socketpair(socket.AF_UNIX, kind)


def send(sock: socket.socket, kind: Kind, fields: Iterable[bytes]) -> None:
    """Send a message; waits while the socket is full, unless it is non-blocking.

    Raises:
        BlockingIOError: the socket is non-blocking and full; nothing was sent.
        OSError: the other end is gone.
    """
    parts = list(fields)
    body = pack(parts)
    if len(body) <= INLINE:
        sock.send(_HEAD.pack(kind, 0, len(parts)) + body)
        return
    file = _anonymous_file()
    try:
        view = memoryview(body)
        while view:
            view = view[os.write(file, view) :]
        passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, _FILE_DESCRIPTOR.pack(file))]
        sock.sendmsg([_HEAD.pack(kind, 1, len(parts))], passed)
    finally:
        os.close(file)


def receive(sock: socket.socket, buffer: bytearray | None = None) -> Frame | None:
    """Receive a message; None when the other end is gone.

    Args:
        sock: one end of a `pair`.
        buffer: a `bytearray(BUFFER)` to receive into, for who receives often.

    Raises:
        BlockingIOError: the socket is non-blocking and there is none.
        ValueError: a message that is not one of ours; it was thrown away.
        NoMemoryError: a message that came in a file does not fit into memory.
    """
    buffer = buffer or bytearray(BUFFER)
    try:
        size, ancillary, _, _ = sock.recvmsg_into([buffer], _ANCILLARY)
    except ConnectionResetError:  # it went with messages of ours unread
        return None
    if not size:
        return None
    files: Sequence[int] = _passed(ancillary) if ancillary else []
    number = count = 0
    try:
        number, passed, count = _HEAD.unpack(buffer[: min(size, _HEAD.size)])
        body = _read_all(files[0]) if passed else buffer[_HEAD.size : size]
        return Frame(number, unpack(body, count))
    except (struct.error, IndexError, OSError) as error:
        raise ValueError(f"not a message: {error}") from error
    except MemoryError:
        if not files:
            raise
        raise NoMemoryError(number, _first_field(files[0], count)) from None
    finally:
        for file in files:
            os.close(file)


def _passed(ancillary: Sequence[tuple[int, int, bytes]]) -> Sequence[int]:
    files: list[int] = []
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            whole = len(payload) // _FILE_DESCRIPTOR.size * _FILE_DESCRIPTOR.size
            files += [file for (file,) in _FILE_DESCRIPTOR.iter_unpack(payload[:whole])]
    return files


def pack(parts: list[bytes]) -> bytes:
    """Byte strings as one: their lengths, then their contents."""
    return b"".join([len(part).to_bytes(4, "big") for part in parts] + parts)


def unpack(body: bytes | bytearray, count: int) -> list[bytes]:
    """Take apart what `pack` made of `count` byte strings.

    Raises:
        struct.error: it was not made so.
    """
    lengths = struct.unpack_from(f"!{count}I", body)
    position = count * 4
    fields = []
    for length in lengths:
        fields.append(bytes(body[position : position + length]))
        position += length
    if position != len(body):
        raise struct.error(f"{len(body)} bytes where {position} were announced")
    return fields


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("aiorq")
    import tempfile

    file, path = tempfile.mkstemp(prefix="aiorq-")
    os.unlink(path)
    return file


def _first_field(file: int, count: int) -> bytes:
    length = int.from_bytes(os.pread(file, 4, 0), "big")
    return os.pread(file, min(length, 64), 4 * count)


def _read_all(file: int) -> bytes:
    size = os.fstat(file).st_size
    chunks = []
    position = 0
    while position < size and (chunk := os.pread(file, size - position, position)):
        chunks.append(chunk)
        position += len(chunk)
    return b"".join(chunks)
