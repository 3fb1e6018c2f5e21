"""What holds where nothing else is said, under RQ's names."""

from __future__ import annotations

from aiorq.callback import DEFAULT_TIMEOUT as CALLBACK_TIMEOUT
from aiorq.options import DEFAULT_FAILURE_TTL, DEFAULT_RESULT_TTL
from aiorq.serializers import UNSERIALIZABLE as UNSERIALIZABLE_RETURN_VALUE_PAYLOAD
from aiorq.worker.logs import DATE_FORMAT as DEFAULT_LOGGING_DATE_FORMAT
from aiorq.worker.logs import LOG_FORMAT as DEFAULT_LOGGING_FORMAT
from aiorq.worker.options import WORKER_TTL as DEFAULT_WORKER_TTL

__all__ = [
    "CALLBACK_TIMEOUT",
    "DEFAULT_FAILURE_TTL",
    "DEFAULT_LOGGING_DATE_FORMAT",
    "DEFAULT_LOGGING_FORMAT",
    "DEFAULT_RESULT_TTL",
    "DEFAULT_WORKER_TTL",
    "UNSERIALIZABLE_RETURN_VALUE_PAYLOAD",
]
