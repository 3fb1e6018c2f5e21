"""Log lines: for people, or as JSON for machines."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from aiorq.cli.mistakes import Mistake

if TYPE_CHECKING:
    from aiorq.cli.parameters import Given, Logging

_EXTRA: Final = ("worker", "queue", "job_id", "attempt", "duration_ms")


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
    """A format of `logging`, `HH:MM:SS message` unless it is told otherwise; control characters are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return "".join(
            character if character.isprintable() or character == "\n" else repr(character)[1:-1] for character in text
        )


def configure(options: Logging, given: Given | None = None) -> None:
    """Send aiorq's log lines where they are wanted: to stderr, or as the config file's `dict_config` has it.

    Raises:
        Mistake: a level, a format or a `dict_config` that makes no sense.
    """
    level, formatter = options.level, _formatter(options)
    logger = logging.getLogger("aiorq")
    settings = None if given is None else given.settings
    if settings is not None and "dict_config" in settings.values:
        _apply(settings.values["dict_config"], settings.path)
        if logger.hasHandlers():  # that is what was meant, as in RQ; else they were for other loggers
            if level is not None:
                logger.setLevel(level)
            return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logger.handlers = [handler]
    logger.setLevel(level or "INFO")
    logger.propagate = False


@contextmanager
def bar_of_jobs(total: int) -> Iterator[None]:
    """Show on stderr how many jobs have ended, of so many; warnings of the log stand above it."""
    from aiorq.cli.output import progress

    class Counter(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if getattr(record, "duration_ms", None) is not None:
                step(1)

    logger = logging.getLogger("aiorq")
    with progress("running jobs", total) as step:
        for handler in logger.handlers:
            handler.setLevel(logger.level)
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(sys.stderr)  # which knows of the bar by now
        logger.addHandler(Counter())
        logger.setLevel(logging.INFO)
        yield
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(sys.stderr)


def _formatter(options: Logging) -> logging.Formatter:
    if options.log_format == "json":
        return _JSONFormatter()
    text = "%(asctime)s %(message)s" if options.log_format == "text" else options.log_format
    try:
        formatter = _TextFormatter(text, options.date_format)
        formatter.format(logging.makeLogRecord({"msg": "", "levelname": "INFO"}))
    except (ValueError, KeyError, TypeError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise Mistake(f"log format {options.log_format!r}: {reason}; use text, json or one of logging's") from None
    return formatter


def _apply(settings: Any, path: str) -> None:
    import logging.config

    try:
        logging.config.dictConfig(settings)
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        raise Mistake(f"the config file {path}, key dict_config: {error}") from None
    for name, logger in logging.root.manager.loggerDict.items():
        if name.split(".")[0] == "aiorq" and isinstance(logger, logging.Logger):
            logger.disabled = False  # what is imported already is not less wanted
