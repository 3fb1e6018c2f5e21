"""Log lines: for people, or as JSON for machines."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from enum import Enum
from typing import Final

_EXTRA: Final = ("worker", "queue", "job_id", "attempt", "duration_ms")


class LogFormat(str, Enum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


class _JSONFormatter(logging.Formatter):
    """One JSON object a line: ts, level, logger, msg; worker, queue, job_id and duration_ms where they are known."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        line |= {name: value for name in _EXTRA if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class _TextFormatter(logging.Formatter):
    """`HH:MM:SS message`, with the level where it is a warning or worse; control characters are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return "".join(
            character if character.isprintable() or character == "\n" else repr(character)[1:-1] for character in text
        )


def configure(form: LogFormat, level: int) -> None:
    """Send aiorq's log lines to stderr in this form, from this level on."""
    handler = logging.StreamHandler(sys.stderr)
    if form is LogFormat.JSON:
        handler.setFormatter(_JSONFormatter())
    else:
        handler.setFormatter(_TextFormatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("aiorq")
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False
