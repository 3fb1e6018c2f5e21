"""What forking costs by itself: a zygote, frames over a socket, fork, run, reply, exit; no Redis, no event loop."""

from __future__ import annotations

import sys
import time

from aiorq.call import encode_call, make_call
from aiorq.execution import frames
from aiorq.execution.forking import spawn_zygote
from aiorq.execution.frames import Kind
from aiorq.execution.horse import Context, Order
from aiorq.execution.zygote import Settings
from aiorq.serializers import PickleSerializer
from benchmarks import jobs


def bare_zygote(number: int, at_a_time: int, preload: list[str]) -> float:
    """Jobs a second through a zygote that imported `preload`, with `at_a_time` of them under way."""
    data = encode_call(make_call(jobs.nothing), PickleSerializer())
    zygote = spawn_zygote()
    try:
        sock = zygote.sock
        frames.send(sock, Kind.CONFIGURE, Settings(Context("bench", None, "rq", {}), sys.path[:1], preload).encode())
        ready = frames.receive(sock)
        assert ready is not None
        assert ready.kind == Kind.READY
        began = time.perf_counter()
        sent = answered = ended = 0
        while ended < number:
            while sent < number and sent - answered < at_a_time:
                frames.send(sock, Kind.RUN, Order(sent, f"job-{sent}", "0" * 32, 180, {b"data": data}).encode())
                sent += 1
            frame = frames.receive(sock)
            assert frame is not None
            answered += frame.kind == Kind.RETURNED
            ended += len(frame.fields) // 4 if frame.kind == Kind.ENDED else 0
        return number / (time.perf_counter() - began)
    finally:
        zygote.sock.close()
        if zygote.process is not None:
            zygote.process.wait(timeout=10)
