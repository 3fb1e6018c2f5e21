"""What is kept of how a function ended, in RQ's encoding: its result, or the traceback of its exception.

Processes that run jobs import this: it is kept small.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any, Final

from aiorq.call import MAX_PAYLOAD
from aiorq.errors import PayloadTooLargeError
from aiorq.serializers import UNSERIALIZABLE, Serializer

TRACEBACK_LIMIT: Final = 64 * 1024
"""Characters of a traceback that are kept: the first and the last half of that."""
_SUMMARY_LIMIT: Final = 200
_RQ: Final = "rq.job"
_RETRIES: Final = ("aiorq.retry", _RQ)
"""The modules whose class `Retry` a job may return."""


def encode_result(value: Any, serializer: Serializer) -> tuple[bytes, str]:
    """A result as RQ stores it, and a warning where it is replaced by RQ's placeholder; never call it with None.

    Raises:
        PayloadTooLargeError: it has more bytes than are accepted.
        MemoryError: there is no memory for it.
    """
    warning = ""
    try:
        raw = serializer.dumps(value)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - user code
        warning = f"its result, a {type(value).__name__}, cannot be serialised: {summarize(error)}"
        raw = serializer.dumps(UNSERIALIZABLE)
    if len(raw) > MAX_PAYLOAD:
        raise PayloadTooLargeError(f"the result has {len(raw)} bytes, more than {MAX_PAYLOAD}")
    return base64.b64encode(raw), warning


def summarize(error: BaseException) -> str:
    """Type and message of an exception on one line, cut to 200 characters; never raises."""
    name = type(error).__name__
    try:
        text = " ".join(str(error)[: 4 * _SUMMARY_LIMIT].split())
    except BaseException:  # noqa: BLE001 - user code
        text = "<unprintable>"
    line = f"{name}: {text}" if text else name
    return line if len(line) <= _SUMMARY_LIMIT else line[:_SUMMARY_LIMIT] + "..."


def encode_traceback(error: BaseException) -> bytes:
    """The traceback of an exception as RQ stores it, its middle cut out where it is long; never raises."""
    import traceback

    try:
        text = "".join(traceback.format_exception(error))
    except BaseException:  # noqa: BLE001 - user code
        text = f"{type(error).__name__}: <unprintable>\n"
    return encode_text(text)


def encode_text(text: str) -> bytes:
    """A text as RQ stores tracebacks: compressed, in base64; of more than 64 Ki characters the middle is cut out."""
    if len(text) > TRACEBACK_LIMIT:
        half = TRACEBACK_LIMIT // 2
        text = f"{text[:half]}\n... {len(text) - TRACEBACK_LIMIT} characters left out ...\n{text[-half:]}"
    return base64.b64encode(zlib.compress(text.encode(errors="backslashreplace")))


def retry_of(value: object) -> tuple[int, tuple[int, ...], bool] | None:
    """What a function asks for that returned a `Retry`, ours or RQ's; None for every other value.

    Returns:
        how many times at most, the seconds before each, and whether for the front of the queue.

    Raises:
        ValueError: it says nothing that can be done.
    """
    # RQ's own one is known by its name: to look for it by its class, RQ would have to be there.
    if not _is_retry(value, _RETRIES):
        return None
    asked: Any = value
    most, intervals = asked.max, tuple(asked.intervals) or (0,)
    for number in (most, *intervals):
        if not isinstance(number, int) or number < 0:
            raise ValueError(f"the job returned a Retry with {number!r} in it, which is no number of times or seconds")
    if not most:
        raise ValueError("the job returned a Retry of 0 times")
    return most, intervals, bool(asked.enqueue_at_front)


def encode_retry(value: object, serializer: Serializer) -> bytes:
    """A `Retry` that a function returned as RQ stores it; empty for ours, which nobody could read who has only RQ."""
    return encode_result(value, serializer)[0] if _is_retry(value, (_RQ,)) else b""


def _is_retry(value: object, modules: tuple[str, ...]) -> bool:
    return any(kind.__name__ == "Retry" and kind.__module__ in modules for kind in type(value).__mro__)
