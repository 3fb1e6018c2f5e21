"""What is sent to the server and what comes back, in plain words: both transports have these rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from redis import exceptions as redis_errors

from aiorq.errors import AiorqError, ConnectionLostError, QueueFullError, StoreError

Value: TypeAlias = str | bytes | int | float
Command: TypeAlias = Sequence[Value]
Reply: TypeAlias = Any

REPLY_TIMEOUT: Final = 10.0
"""Seconds without an answer after which a connection is given up."""
RESENDS: Final = (0.0, 0.1, 0.3)
"""Seconds to wait before a request is sent again after its connection was lost, at most; then the caller is told."""
_REFUSED: Final = (redis_errors.AuthenticationError, redis_errors.NoPermissionError)
_LOST: Final = (
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
    redis_errors.ReadOnlyError,
    redis_errors.ClusterDownError,
    redis_errors.TryAgainError,
    OSError,
)
_TRANSIENT: Final = (
    "LOADING",
    "READONLY",
    "MISCONF",
    "BUSY",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "TRYAGAIN",
    "UNBLOCKED",
    "NOREPLICAS",
)


def in_our_words(error: BaseException, where: str) -> AiorqError:
    """What stands for an error of redis-py's, or of the system's, that came up with the server at that place."""
    # What the server says to the greeting (wrong password, no such database) is the cause of a lost connection.
    while isinstance(error, redis_errors.ConnectionError) and isinstance(error.__cause__, redis_errors.RedisError):
        error = error.__cause__
    text = str(error)
    if isinstance(error, _REFUSED) or text.startswith(("NOAUTH", "WRONGPASS")):
        return StoreError(f"Redis at {where} refused: {text}")
    if isinstance(error, redis_errors.OutOfMemoryError) or text.startswith("OOM"):
        return QueueFullError(f"Redis at {where} is at its memory limit and refuses new work; nothing was written")
    if isinstance(error, _LOST) or text.startswith(_TRANSIENT):
        reason = text or "no answer in time"
        return ConnectionLostError(f"Redis at {where} cannot be asked now: {reason}")
    return StoreError(f"Redis at {where} refused: {text}")


def is_missing(error: StoreError) -> bool:
    """Whether the server did not have a script, as after a restart."""
    return isinstance(error.__cause__, redis_errors.NoScriptError)


def encoded(command: Command) -> Command:
    """A command in bytes: its texts in UTF-8, whatever the client's encoding is.

    Raises:
        UnicodeEncodeError: a text that is none; so it is the caller who hears of it, and not the others of a batch.
    """
    return [part.encode() if isinstance(part, str) else part for part in command]
