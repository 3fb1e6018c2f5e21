"""How many jobs with the same key may be queued or run at a time."""

from __future__ import annotations

from typing import Final

MAX_CONCURRENCY: Final = 1_000_000
_KEY_LENGTH: Final = 255


class RateLimit:
    """A limit that jobs share: of those with one key, so many may be in queues or run at a time; the others wait."""

    def __init__(self, key: str, concurrency: int) -> None:
        """Name a limit.

        Args:
            key: 1 to 255 characters.
            concurrency: how many jobs, 1 to 1,000,000.

        Raises:
            ValueError, TypeError: an empty or too long key, or a number out of range.
        """
        if not isinstance(key, str):
            raise TypeError(f"the key of a rate limit must be text, not {type(key).__name__}")
        if not 1 <= len(key) <= _KEY_LENGTH or not key.isprintable():
            raise ValueError(f"key: 1 to {_KEY_LENGTH} printable characters, not {key[:40]!r}")
        if type(concurrency) is not int or not 1 <= concurrency <= MAX_CONCURRENCY:
            raise ValueError(f"concurrency must be a whole number from 1 to {MAX_CONCURRENCY}, not {concurrency!r}")
        self.key = key
        self.concurrency = concurrency

    def __repr__(self) -> str:
        return f"RateLimit({self.key!r}, {self.concurrency})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RateLimit) and (other.key, other.concurrency) == (self.key, self.concurrency)

    def __hash__(self) -> int:
        return hash((self.key, self.concurrency))
