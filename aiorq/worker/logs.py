"""Logging for scripts that set up none: as RQ does it, to the terminal, errors to its other stream."""

from __future__ import annotations

import logging
import sys
from typing import Final

LOG_FORMAT: Final = "%(asctime)s %(message)s"
DATE_FORMAT: Final = "%H:%M:%S"


def set_up_logging(level: str | int, date_format: str = DATE_FORMAT, log_format: str = LOG_FORMAT) -> None:
    """Log from `level` on, to stdout, and errors to stderr; where somebody has set up handlers, to those.

    Args:
        level: a number, or a name such as `INFO`.
        date_format: of times.
        log_format: of lines.

    Raises:
        ValueError: there is no level of that name.
    """
    logger = logging.getLogger("aiorq")
    logger.setLevel(level.upper() if isinstance(level, str) else level)
    if logger.hasHandlers():
        return
    out, err = logging.StreamHandler(sys.stdout), logging.StreamHandler(sys.stderr)
    out.addFilter(lambda record: record.levelno < logging.ERROR)
    err.setLevel(logging.ERROR)
    for handler in (out, err):
        handler.setFormatter(logging.Formatter(log_format, date_format))
        logger.addHandler(handler)
    logger.propagate = False
