"""A call on its way to a worker: function, arguments, and RQ's bytes for them.

RQ stores `zlib(serializer.dumps((func_name, instance, args, kwargs)))`. A function travels as its dotted name, a method
as the pickled object and the method's name. Only the process that runs the job turns the bytes back into a call. That
process is forked anew for each job, and pays for the size of what it imports: no `inspect` and no dataclasses here.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import sys
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import BuiltinFunctionType, CoroutineType, FunctionType, MethodType, ModuleType
from typing import Any, Final, NamedTuple

from aiorq.errors import (
    DeserializationError,
    FunctionNotFoundError,
    PayloadTooLargeError,
    SerializationError,
    UnserializableFunctionError,
)
from aiorq.serializers import Serializer

MAX_PAYLOAD: Final = 64 * 1024 * 1024
"""Bytes of a call, uncompressed, that are accepted by default."""
_DESCRIBED_ARGUMENT: Final = 75  # characters of an argument in a description (RQ)


class Call(NamedTuple):
    """What a job calls: `func_name`, on `instance` if there is one, with `args` and `kwargs`."""

    func_name: str
    instance: object | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __str__(self) -> str:
        """The call as text, each argument cut to 75 characters, keywords sorted (RQ's description)."""
        shown = [_show(arg) for arg in self.args]
        shown += sorted(f"{name}={_show(value)}" for name, value in self.kwargs.items())
        text = f"{self.func_name}({', '.join(shown)})"
        return text.encode(errors="backslashreplace").decode()  # a name or a `repr` may hold half a surrogate pair


def make_call(func: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Call:
    """Describe a call of `func`: a function, a builtin, a bound or static method, a callable object, or a dotted text.

    Raises:
        TypeError: `func` is a coroutine, a class, or nothing that can be called.
        ValueError: an empty text, or one that is not Unicode.
        UnserializableFunctionError: a lambda, a function inside a function, or one of `__main__`, which no worker could
            import (a ValueError, as in RQ).
    """
    name, instance = _name(func)
    return Call(name, instance, tuple(args), dict(kwargs or {}))


def as_args(args: Sequence[Any] | None) -> tuple[Any, ...]:
    """Positional arguments that are given as one; a text alone is one argument, as on RQ's page about jobs."""
    return (args,) if isinstance(args, (str, bytes)) else tuple(args or ())


def _name(func: object) -> tuple[str, object | None]:
    if isinstance(func, str):
        if not func.strip(". "):
            raise ValueError("the name of a function must not be empty")
        return func, None
    if isinstance(func, CoroutineType):
        name = func.__qualname__
        func.close()
        raise TypeError(f"pass the function, not its call: enqueue({name}, ...) instead of enqueue({name}(...))")
    if isinstance(func, Awaitable):
        raise TypeError(f"pass the function, not its call: {type(func).__name__} is something to await")
    if isinstance(func, MethodType):
        _check_home(func.__module__, func.__qualname__)
        return func.__name__, func.__self__
    if isinstance(func, BuiltinFunctionType) and not isinstance(func.__self__, ModuleType | None):
        return func.__name__, func.__self__
    if isinstance(func, FunctionType | BuiltinFunctionType):
        return function_name(func), None
    if isinstance(func, type) or not callable(func):
        raise TypeError(f"expected a function, a callable object or a text, not {_show(func)}")
    if isinstance(func, functools.partial):
        if not isinstance(func.func, type):
            _name(func.func)  # what it wraps must be fit for a worker too
    else:
        _check_home(getattr(func, "__module__", None), getattr(func, "__qualname__", type(func).__qualname__))
    return "__call__", func


def _check_home(module: str | None, name: str) -> None:
    if module == "__main__":
        raise UnserializableFunctionError(
            f"functions from the __main__ module cannot be processed by workers: move {name} to a module that the "
            "worker can import"
        )


def function_name(func: Any) -> str:
    """The dotted name by which workers import a function.

    Raises:
        UnserializableFunctionError: they could not: a lambda, a function inside a function, or one of `__main__`.
    """
    module, name = func.__module__, func.__qualname__
    if module is None:
        raise UnserializableFunctionError(f"{name} belongs to no module: a worker could not import it")
    _check_home(module, name)
    if "<" in name:
        what = "a lambda" if name.endswith("<lambda>") else f"{func.__name__}, defined inside a function,"
        raise UnserializableFunctionError(
            f"{what} has no name that a worker could import; define a function at the top level of {module}"
        )
    return f"{module}.{name}"


def encode_call(call: Call, serializer: Serializer, limit: int = MAX_PAYLOAD) -> bytes:
    """The bytes of a call, as RQ stores them.

    Args:
        call: what to encode.
        serializer: the one that the queue's workers use too.
        limit: the most bytes before compression.

    Raises:
        SerializationError: an argument cannot be serialised; `path` names it.
        PayloadTooLargeError: more bytes than `limit`.
    """
    try:
        raw = serializer.dumps((call.func_name, call.instance, call.args, call.kwargs))
    except Exception as error:
        path, cause = _culprit(call, serializer) or ("", error)
        what = path or "its arguments"
        raise SerializationError(
            f"cannot enqueue {call.func_name}: {what} cannot be serialised ({describe_error(cause)})", path
        ) from error
    if not isinstance(raw, bytes):  # as from the module `json`
        raise SerializationError(
            f"cannot enqueue {call.func_name}: {serializer!r} gave {type(raw).__name__}, not bytes"
        )
    if len(raw) > limit:
        raise PayloadTooLargeError(f"cannot enqueue {call.func_name}: the call has {len(raw)} bytes, more than {limit}")
    return zlib.compress(raw)


def _culprit(call: Call, serializer: Serializer) -> tuple[str, Exception] | None:
    parts = [("the object whose method it is", call.instance)]
    parts += [(f"args[{index}]", value) for index, value in enumerate(call.args)]
    parts += [(f"kwargs[{name!r}]", value) for name, value in call.kwargs.items()]
    for path, value in parts:
        try:
            serializer.dumps(value)
        except Exception as error:  # noqa: BLE001 - code of the value's own class
            return path, error
    return None


def decode_call(data: bytes, serializer: Serializer, limit: int = MAX_PAYLOAD) -> Call:
    """Turn a job's bytes into a call. Bytes that are not compressed are taken as they are, as RQ does.

    With pickle this runs code of whoever enqueued the job.

    Raises:
        DeserializationError: the bytes are damaged, of another serializer, larger than `limit` when inflated, or name
            something that cannot be imported.
    """
    return load_call(inflate(data, limit), serializer)


def load_call(raw: bytes, serializer: Serializer) -> Call:
    """The second half of `decode_call`, for bytes that are inflated already.

    Raises:
        DeserializationError: as `decode_call`.
    """
    try:
        func_name, instance, args, kwargs = serializer.loads(raw)
        if not (isinstance(func_name, str) and isinstance(args, (tuple, list)) and isinstance(kwargs, dict)):
            raise TypeError("it is not a name, an object, a list and a dict")
        return Call(func_name, instance, tuple(args), kwargs)
    except Exception as error:
        raise DeserializationError(
            f"the call cannot be read with {type(serializer).__name__}: {describe_error(error)}"
        ) from error


def inflate(data: bytes, limit: int = MAX_PAYLOAD) -> bytes:
    """The first half of `decode_call`: runs no code of anybody's.

    Raises:
        DeserializationError: the bytes are truncated, or more than `limit` when inflated.
    """
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(data, limit + 1)
    except zlib.error:
        raw = data
    else:
        if len(raw) <= limit and not inflater.eof:
            raise DeserializationError("the call is truncated")
    if len(raw) > limit:
        raise DeserializationError(f"the call has more than {limit} bytes when inflated")
    return raw


def resolve(call: Call) -> Callable[..., Any]:
    """The function that a call names, imported.

    Raises:
        FunctionNotFoundError: nothing of that name can be imported, or it is not a function.
    """
    module, _, name = call.func_name.rpartition(".")
    if call.instance is None and isinstance(known := getattr(sys.modules.get(module), name, None), FunctionType):
        return known  # as nearly always
    if call.instance is not None:
        found = getattr(call.instance, call.func_name, None)
        if not callable(found):
            raise FunctionNotFoundError(f"{type(call.instance).__name__} has no method {call.func_name}")
        return found  # type: ignore[no-any-return]
    found = import_name(call.func_name)
    if isinstance(found, type) or not callable(found):
        kind = "a class" if isinstance(found, type) else f"a {type(found).__name__}"
        raise FunctionNotFoundError(f"{call.func_name} is {kind}, not a function")
    return found


def import_name(name: str) -> object:
    """What a dotted text names: an attribute of the longest importable module, or a builtin (RQ's rule).

    Raises:
        FunctionNotFoundError: with the import errors that were met.
    """
    parts = name.split(".")
    if not all(parts):
        raise FunctionNotFoundError(f"{name!r} is not the dotted name of a function")
    failure: ImportError | None = None
    for split in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:split])
        try:
            # The look into `sys.modules` is worth 0.1 ms to a process that was just forked.
            found: object = sys.modules.get(module_name) or importlib.import_module(module_name)
        except ImportError as error:
            # A module that is not there says less than an import that failed inside one that is.
            if failure is None or not _is_missing(error, module_name):
                failure = error
            continue
        except Exception as error:
            raise FunctionNotFoundError(
                f"cannot import {name}: {module_name} raised {describe_error(error)}"
            ) from error
        for attribute in parts[split:]:
            try:
                found = getattr(found, attribute)
            except AttributeError as error:
                met = "" if failure is None or "is not a package" in str(failure) else f" ({failure})"
                raise FunctionNotFoundError(f"cannot import {name}: {error}{met}") from failure or error
        return found
    if len(parts) == 1 and hasattr(builtins, name):
        return getattr(builtins, name)
    reason = f": {failure}" if failure else ": give it as module.function"
    raise FunctionNotFoundError(f"cannot import {name}{reason}") from failure


def _is_missing(error: ImportError, module_name: str) -> bool:
    return isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}.")


def _show(value: object, convert: Callable[[object], str] = repr, length: int = _DESCRIBED_ARGUMENT) -> str:
    """A value as text of at most `length` characters, whatever its own methods do."""
    try:
        text = convert(value)
    except Exception:  # noqa: BLE001 - code of the value's own class
        text = f"<unprintable {type(value).__name__}>"
    return text if len(text) <= length else text[:length] + "..."


def describe_error(error: Exception) -> str:
    """Type and text of an exception of somebody else's code; never raises."""
    return f"{type(error).__name__}: {_show(error, str, 200)}"
