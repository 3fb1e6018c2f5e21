"""What a traceback says in one line."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Final

from aiorq.record import decode_traceback

_HEAD: Final = "Traceback (most recent call last):"
_SUCCESSFUL: Final = b"1"


def last_line(text: str) -> str:
    """The line that names the exception that was not caught, with the first line of its message."""
    lines = [line for line in text.splitlines() if line.strip()]
    heads = [index for index, line in enumerate(lines) if line == _HEAD]
    if heads:
        for line in lines[heads[-1] + 1 :]:
            if not line.startswith((" ", "|", "+")):
                return line.strip()
    return lines[-1].strip() if lines else ""


def traceback_of(outcome: Mapping[bytes, bytes] | None) -> str | None:
    """The traceback of an outcome in RQ's fields; None where there is none, or it was a success."""
    if outcome is None or outcome.get(b"type") == _SUCCESSFUL:
        return None
    try:
        return decode_traceback(base64.b64decode(outcome.get(b"exc_string", b""))) or None
    except (binascii.Error, ValueError):
        return None
