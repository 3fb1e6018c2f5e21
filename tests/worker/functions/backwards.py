"""A serializer that only the tests know."""

from __future__ import annotations

import pickle
from typing import Any


class Backwards:
    @staticmethod
    def dumps(value: Any) -> bytes:
        return b"backwards" + pickle.dumps(value)[::-1]

    @staticmethod
    def loads(data: bytes) -> Any:
        assert data.startswith(b"backwards")
        return pickle.loads(data[9:][::-1])
