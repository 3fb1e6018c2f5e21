"""Messages between the supervisor, the zygote and the horses, over one socket pair that keeps their boundaries.

A message is a kind and a list of byte strings. All horses write to the same socket as their zygote: a message is sent in one system
call, so that none is ever half written or mixed with another, and what a process sent before its end is read before the notice of
its end. A message that is too large for that travels in an anonymous file whose descriptor is passed along.
"""

from __future__ import annotations

import array
import os
import socket
import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import Final, NamedTuple

INLINE: Final = 48 * 1024
"""Bytes up to which a message travels in the socket itself; well below Linux's default buffer of 208 KiB."""
_HEAD: Final = struct.Struct("!BBI")  # kind, 1 when the rest is in a passed file, number of fields
_LENGTH: Final = struct.Struct("!I")
_FILE_DESCRIPTOR: Final = array.array("i", [0]).itemsize


class Kind(IntEnum):
    """What a message says."""

    CONFIGURE = 1
    """To the zygote, first of all: settings of `zygote.Settings`."""
    READY = 2
    """From the zygote: modules are imported, it forks from now on."""
    UNUSABLE = 3
    """From the zygote: a module could not be imported. Fields: text."""
    RUN = 4
    """To the zygote: fork a horse. Fields: see `horse.Order`."""
    REFUSED = 5
    """From the zygote: no horse could be forked. Fields: number of the run, text."""
    KILL = 6
    """To the zygote: send a signal to the process group of a horse. Fields: number of the run, signal."""
    WARM = 7
    """To the zygote: import modules of the standard library or of ours that horses were seen to need. Fields: names."""
    RETURNED = 8
    """From a horse: see `horse.report`."""
    RAISED = 9
    """From a horse: see `horse.report`."""
    ENDED = 10
    """From the zygote: a horse was reaped. Fields: number of the run, wait status, peak resident KiB."""


class Frame(NamedTuple):
    """A message."""

    kind: int
    fields: list[bytes]


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets that keep the boundaries of messages."""
    kind = socket.SOCK_SEQPACKET if hasattr(socket, "SOCK_SEQPACKET") and os.uname().sysname == "Linux" else socket.SOCK_DGRAM
    return socket.socketpair(socket.AF_UNIX, kind)


def send(sock: socket.socket, kind: Kind, fields: Iterable[bytes]) -> None:
    """Send a message; waits while the socket is full, unless it is non-blocking.

    Raises:
        BlockingIOError: the socket is non-blocking and full; nothing was sent.
        OSError: the other end is gone.
    """
    parts = list(fields)
    body = b"".join([*(_LENGTH.pack(len(part)) for part in parts), *parts])
    if len(body) <= INLINE:
        sock.send(_HEAD.pack(kind, 0, len(parts)) + body)
        return
    file = _anonymous_file()
    try:
        view = memoryview(body)
        while view:
            view = view[os.write(file, view) :]
        passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))]
        sock.sendmsg([_HEAD.pack(kind, 1, len(parts))], passed)
    finally:
        os.close(file)


def receive(sock: socket.socket) -> Frame | None:
    """Receive a message; None when the other end is gone.

    Raises:
        BlockingIOError: the socket is non-blocking and there is none.
        ValueError: a message that is not one of ours; it was thrown away.
    """
    data, ancillary, _, _ = sock.recvmsg(INLINE + 64 * 1024, socket.CMSG_SPACE(_FILE_DESCRIPTOR))
    file = -1
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            file = array.array("i", payload[:_FILE_DESCRIPTOR])[0]
    try:
        if not data:
            return None
        try:
            number, passed, count = _HEAD.unpack_from(data)
            body = _read_all(file) if passed else data[_HEAD.size :]
            return Frame(number, _split(body, count))
        except (struct.error, OSError) as error:
            raise ValueError(f"not a message: {error}") from error
    finally:
        if file >= 0:
            os.close(file)


def _split(body: bytes, count: int) -> list[bytes]:
    lengths = struct.unpack_from(f"!{count}I", body)
    position = count * _LENGTH.size
    fields = []
    for length in lengths:
        fields.append(body[position : position + length])
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


def _read_all(file: int) -> bytes:
    size = os.fstat(file).st_size
    chunks = []
    position = 0
    while position < size and (chunk := os.pread(file, size - position, position)):
        chunks.append(chunk)
        position += len(chunk)
    return b"".join(chunks)
