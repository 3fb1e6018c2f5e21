"""Messages arrive whole, whatever their size, and nothing that is written to the socket can upset the reader."""

from __future__ import annotations

import array
import os
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorq.execution import frames
from aiorq.execution.frames import INLINE, Frame, Kind


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a pair."""
    ours, theirs = frames.pair()
    with ours, theirs:
        ours.settimeout(10)
        yield ours, theirs


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))


class TestRoundTrip:
    @pytest.mark.parametrize("size", [0, 1, INLINE - 4, INLINE - 3, INLINE, 200_000, 16 * 1024 * 1024])
    def test_sizes(self, ends: tuple[socket.socket, socket.socket], size: int) -> None:
        before = open_descriptors()
        payload = random.randbytes(size)
        frames.send(ends[1], Kind.RETURNED, [payload])
        assert frames.receive(ends[0]) == Frame(Kind.RETURNED, [payload])
        assert open_descriptors() == before

    @given(st.lists(st.binary(max_size=2000), max_size=60), st.sampled_from(Kind))
    def test_fields(self, fields: list[bytes], kind: Kind) -> None:
        ours, theirs = frames.pair()
        with ours, theirs:
            frames.send(theirs, kind, fields)
            assert frames.receive(ours) == Frame(kind, fields)

    def test_messages_keep_their_order_and_boundaries(self, ends: tuple[socket.socket, socket.socket]) -> None:
        sent = [[b"%d" % number, bytes(number % 3 * 30_000)] for number in range(60)]

        def send_all() -> None:
            for fields in sent:
                frames.send(ends[1], Kind.RUN, fields)

        sender = threading.Thread(target=send_all)
        sender.start()
        received = [frames.receive(ends[0]) for _ in sent]
        sender.join()
        assert received == [Frame(Kind.RUN, fields) for fields in sent]


class TestEnds:
    def test_the_end_comes_after_what_was_sent(self, ends: tuple[socket.socket, socket.socket]) -> None:
        frames.send(ends[1], Kind.ENDED, [b"1"])
        frames.send(ends[1], Kind.RETURNED, [bytes(1 << 20)])
        ends[1].close()
        assert frames.receive(ends[0]) == Frame(Kind.ENDED, [b"1"])
        assert frames.receive(ends[0]) == Frame(Kind.RETURNED, [bytes(1 << 20)])
        assert frames.receive(ends[0]) is None

    def test_the_end_of_who_did_not_read_all(self, ends: tuple[socket.socket, socket.socket]) -> None:
        frames.send(ends[0], Kind.ENDED, [b"never read"])
        ends[1].close()
        assert frames.receive(ends[0]) is None

    @pytest.mark.parametrize("size", [0, 1 << 20])
    def test_nobody_there(self, ends: tuple[socket.socket, socket.socket], size: int) -> None:
        ends[0].close()
        before = open_descriptors()
        with pytest.raises(OSError, match="Broken pipe"):
            frames.send(ends[1], Kind.ENDED, [bytes(size)])
        assert open_descriptors() == before

    def test_nothing_there(self, ends: tuple[socket.socket, socket.socket]) -> None:
        ends[0].setblocking(False)
        with pytest.raises(BlockingIOError):
            frames.receive(ends[0])

    @pytest.mark.parametrize("size", [10, 100_000])
    def test_a_full_socket_takes_all_or_nothing(self, ends: tuple[socket.socket, socket.socket], size: int) -> None:
        before = open_descriptors()
        ends[1].setblocking(False)
        count = 0
        with suppress(BlockingIOError):
            while count < 100_000:
                frames.send(ends[1], Kind.RUN, [b"%d" % count, bytes(size)])
                count += 1
        assert 0 < count < 100_000
        for number in range(count):
            assert frames.receive(ends[0]) == Frame(Kind.RUN, [b"%d" % number, bytes(size)])
        ends[0].setblocking(False)
        with pytest.raises(BlockingIOError):
            frames.receive(ends[0])
        assert open_descriptors() == before


JUNK = {
    "text": b"hello",
    "a byte": b"\x01",
    "no body": struct.pack("!BBI", 1, 0, 3),
    "a field too long": struct.pack("!BBII", 1, 0, 1, 10) + b"short",
    "more than announced": struct.pack("!BBII", 1, 0, 1, 1) + b"long",
    "four billion fields": struct.pack("!BBI", 1, 0, 2**32 - 1),
    "a file that was not passed": struct.pack("!BBI", 1, 1, 1),
    "more than fits": bytes(INLINE + 100_000),
}


class TestJunk:
    @pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK.keys())
    def test_it_is_thrown_away(self, ends: tuple[socket.socket, socket.socket], junk: bytes) -> None:
        before = open_descriptors()
        ends[1].send(junk)
        frames.send(ends[1], Kind.READY, [b"next"])
        with pytest.raises(ValueError, match="not a message"):
            frames.receive(ends[0])
        assert frames.receive(ends[0]) == Frame(Kind.READY, [b"next"])
        assert open_descriptors() == before

    @given(st.binary(min_size=1, max_size=200))
    def test_any_bytes(self, junk: bytes) -> None:
        ours, theirs = frames.pair()
        with ours, theirs:
            theirs.send(junk)
            with suppress(ValueError):
                assert frames.receive(ours) is not None

    @pytest.mark.parametrize("count", [1, 2, 3, 50])
    @pytest.mark.parametrize("junk", [b"junk", struct.pack("!BBII", 1, 0, 1, 0), struct.pack("!BBI", 1, 1, 1)])
    def test_descriptors_that_nobody_asked_for(
        self, ends: tuple[socket.socket, socket.socket], junk: bytes, count: int
    ) -> None:
        before = open_descriptors()
        with open(os.devnull, "rb") as null:
            passed = array.array("i", [null.fileno()] * count)
            ends[1].sendmsg([junk], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
            with suppress(ValueError):
                assert frames.receive(ends[0]) is not None
        assert open_descriptors() == before

    @pytest.mark.parametrize("make", [os.pipe, lambda: (os.open("/", os.O_RDONLY),)], ids=["a pipe", "a folder"])
    def test_a_descriptor_of_something_else(
        self, ends: tuple[socket.socket, socket.socket], make: Callable[[], tuple[int, ...]]
    ) -> None:
        passed = make()
        before = open_descriptors()
        socket.send_fds(ends[1], [struct.pack("!BBI", 1, 1, 1)], [passed[0]])
        with pytest.raises(ValueError, match="not a message"):
            frames.receive(ends[0])
        assert open_descriptors() == before
        for descriptor in passed:
            os.close(descriptor)
