"""How arguments, results and `meta` become bytes.

Nothing in RQ's format says which serializer wrote a job, so producers, workers and readers of a queue must agree.
"""

from __future__ import annotations

import importlib
import pickle
from typing import Any, Final, Protocol, runtime_checkable


@runtime_checkable
class Serializer(Protocol):
    """Anything with `dumps` and `loads`, an object, a class with static methods, or a module."""

    def dumps(self, obj: Any, /) -> bytes:
        """Turn `obj` into bytes."""
        ...

    def loads(self, data: bytes, /) -> Any:
        """Turn bytes back into the object."""
        ...


class PickleSerializer:
    """The default, as in RQ: everything that pickles, with the highest protocol of the running Python.

    Reading a pickle runs code of whoever wrote it: whoever can write to the queue's keys can run code in a worker.
    """

    @staticmethod
    def dumps(obj: Any, /) -> bytes:
        """Turn `obj` into bytes."""
        return pickle.dumps(obj, protocol=pickle.HIGHEST_PROTOCOL)

    @staticmethod
    def loads(data: bytes, /) -> Any:
        """Turn bytes back into the object."""
        return pickle.loads(data)  # noqa: S301 - the documented default; `json` is the other choice


class JSONSerializer:
    """UTF-8 JSON: text, numbers, booleans, None, lists and dicts with text keys. Tuples come back as lists."""

    @staticmethod
    def dumps(obj: Any, /) -> bytes:
        """Turn `obj` into bytes."""
        import json  # here, and not above: what runs pickled jobs is kept small

        return json.dumps(obj).encode()

    @staticmethod
    def loads(data: bytes, /) -> Any:
        """Turn bytes back into the object."""
        import json

        return json.loads(data)


DefaultSerializer: Final = PickleSerializer

_BY_NAME: Final[dict[str, Serializer]] = {"pickle": PickleSerializer(), "json": JSONSerializer()}


UNSERIALIZABLE: Final = "Unserializable return value"
"""What stands for a result that could not be serialised (RQ)."""


def resolve_serializer(serializer: object | None) -> Serializer:
    """The serializer for a name (`pickle`, `json`), a dotted path, an object with `dumps` and `loads`, or None.

    Raises:
        ValueError: a text that is neither a known name nor the path of such an object.
        NotImplementedError: an object without `dumps` and `loads` (RQ's exception).
    """
    if serializer is None:
        return _BY_NAME["pickle"]
    if isinstance(serializer, str):
        if serializer in _BY_NAME:
            return _BY_NAME[serializer]
        serializer = _import(serializer)
    if serializer is PickleSerializer or serializer is JSONSerializer:
        return serializer()
    if callable(getattr(serializer, "dumps", None)) and callable(getattr(serializer, "loads", None)):
        return serializer  # type: ignore[return-value]
    raise NotImplementedError(f"a serializer needs the methods dumps and loads; {serializer!r} has not both")


def serializer_path(serializer: Serializer) -> str | None:
    """The text from which `resolve_serializer` makes `serializer` in another process, or None if there is none."""
    for name, known in _BY_NAME.items():
        if type(known) is type(serializer):
            return name
    module: str | None = getattr(serializer, "__module__", None)
    path: str | None = getattr(serializer, "__qualname__", None)
    if path is not None:
        return f"{module}.{path}"
    return getattr(serializer, "__name__", None) if module is None else None  # a module; an instance has no path


def _import(path: str) -> object:
    module, _, name = path.rpartition(".")
    try:
        if not all(path.split(".")):
            raise ImportError("not a dotted path")
        if not module:
            return importlib.import_module(path)
        try:
            return getattr(importlib.import_module(module), name)
        except AttributeError:
            return importlib.import_module(path)
    except ImportError as error:
        raise ValueError(f"no serializer {path!r}: use 'pickle', 'json' or a dotted path ({error})") from error
