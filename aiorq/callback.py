"""What a job's callbacks are called with, in the process that calls them."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any, Final, cast

from aiorq.call import Call, encode_call, import_name
from aiorq.current import current_run
from aiorq.job import get_current_job
from aiorq.serializers import Serializer
from aiorq.store.connection import connect_as, connect_sync_as

DEFAULT_TIMEOUT: Final = 60
"""Seconds that a callback may take when nothing else is said (RQ)."""
_STOPPED: Final = f"{__name__}.call_stopped"
_DATA: Final = b"aiorq_data"


def stopped_fields(fields: dict[bytes, bytes], name: str, serializer: Serializer) -> dict[bytes, bytes]:
    """The fields of a job whose function is stood in for by the callback `name`, to be run like a job.

    Args:
        fields: of the job.
        name: the dotted name of its callback.
        serializer: of the worker.
    """
    data = encode_call(Call(_STOPPED, None, (name,), {}), serializer)
    return {**fields, b"status": b"stopped", b"data": data, _DATA: fields.get(b"data", b"")}


def call_stopped(name: str) -> object:
    """Call a job's `on_stopped` with the job and a connection: an asynchronous one if it is a coroutine function."""
    run = current_run.get()
    if run is None:
        raise LookupError("no job runs here")
    current = run()
    fields = dict(current.fields)
    fields[b"data"] = fields.pop(_DATA)
    current.fields = fields
    callback = cast("Callable[..., Any]", import_name(name))
    description = dict(current.connection)
    if iscoroutinefunction(callback):
        return callback(get_current_job(), connect_as(description))
    with connect_sync_as(description) as connection:
        return callback(get_current_job(), connection)
