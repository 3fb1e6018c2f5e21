"""Calls on their way to a worker: every shape of a callable there and back, what is refused, and what is damaged."""

from __future__ import annotations

import functools
import importlib
import json
import operator
import pickle
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
import rq.job
import rq.utils

from aiorq import Queue
from aiorq.call import MAX_PAYLOAD, Call, as_args, decode_call, encode_call, import_name, make_call, resolve
from aiorq.errors import (
    DeserializationError,
    FunctionNotFoundError,
    PayloadTooLargeError,
    SerializationError,
    UnserializableFunctionError,
)
from aiorq.serializers import JSONSerializer, PickleSerializer

PICKLE = PickleSerializer()
JSON = JSONSerializer()
shapes: Any = importlib.import_module("shapes")


def packed(value: object) -> bytes:
    return zlib.compress(pickle.dumps(value))


def there_and_back(func: object, *args: Any, **kwargs: Any) -> Any:
    """What the function returns when it is called as a worker calls it."""
    call = decode_call(encode_call(make_call(func, args, kwargs), PICKLE), PICKLE)
    return resolve(call)(*call.args, **call.kwargs)


class TestShapes:
    """What may be called, the name it travels by, and what comes back."""

    @pytest.mark.parametrize(
        ("func", "args", "name", "returned"),
        [
            (shapes.function, (1,), "shapes.function", ((1,), {})),
            ("shapes.function", (1,), "shapes.function", ((1,), {})),
            (shapes.Outer.Inner.deep, (1,), "shapes.Outer.Inner.deep", ("deep", 1)),
            ("shapes.Outer.Inner.deep", (1,), "shapes.Outer.Inner.deep", ("deep", 1)),
            (shapes.Outer.by_class, (1,), "by_class", ("Outer", 1)),
            ("shapes.Outer.by_class", (1,), "shapes.Outer.by_class", ("Outer", 1)),
            (shapes.Counter(3).add, (4,), "add", 7),
            (shapes.Counter(3), (4,), "__call__", 12),
            (shapes.Counter(0).add, (4,), "add", 4),
            (shapes.Counter(0), (4,), "__call__", 0),
            (shapes.Ambiguous().method, (), "method", "here"),
            (shapes.wrapped, (1,), "shapes.function", ((1,), {})),
            (shapes.cached, (1,), "__call__", 2),
            (shapes.partial, (5,), "__call__", ((1, 5), {"key": 2})),
            (functools.partial(shapes.partial, 6), (7,), "__call__", ((1, 6, 7), {"key": 2})),
            (functools.partial(shapes.Counter(3).add, 5), (), "__call__", 8),
            (functools.partial(int, base=2), ("11",), "__call__", 3),
            (len, ([1, 2],), "builtins.len", 2),
            ("len", ([1, 2],), "len", 2),
            ("builtins.len", ([1, 2],), "builtins.len", 2),
            ([3, 1].index, (1,), "index", 1),
            ([].count, (1,), "count", 0),
            ({}.get, (1, 2), "get", 2),
            (str.upper, ("a",), "__call__", "A"),
            (dict.fromkeys, ("ab", 1), "fromkeys", {"a": 1, "b": 1}),
            (operator.add, (1, 2), "_operator.add", 3),
            (operator.itemgetter(1), ("ab",), "__call__", "b"),
        ],
    )
    def test_there_and_back(self, func: object, args: tuple[Any, ...], name: str, returned: Any) -> None:
        assert make_call(func, args).func_name == name
        assert there_and_back(func, *args) == returned

    @pytest.mark.parametrize(
        "func",
        [
            shapes.function,
            shapes.Outer.by_class,
            shapes.Outer.Inner.deep,
            shapes.Counter(3).add,
            shapes.Counter(3),
            shapes.partial,
            len,
            "shapes.function",
            str.upper,
        ],
    )
    def test_names_are_those_of_rq(self, func: Any) -> None:
        ours = make_call(func)
        theirs = rq.job.Job.create(func, connection=object())  # type: ignore[arg-type]
        assert ours.func_name == theirs.func_name
        assert (ours.instance is None) == (theirs.instance is None)

    def test_arguments_are_those_given(self) -> None:
        values = (None, True, 2**80, -1.5, float("inf"), "\ud800", "a\x00b", b"\xff", {"k": [1, {2}]}, (), range(3))
        assert there_and_back(shapes.function, *values, key=values) == (values, {"key": values})
        (back,), _ = there_and_back(shapes.function, float("nan"))
        assert back != back

    def test_self_containing_argument(self) -> None:
        ring: list[Any] = []
        ring.append(ring)
        ((back,), _) = there_and_back(shapes.function, ring)
        assert back[0] is back

    def test_call_is_a_copy_of_the_arguments(self) -> None:
        args, kwargs = [1], {"a": 1}
        call = make_call(shapes.function, args, kwargs)
        args.append(2)
        kwargs["b"] = 2
        assert (call.args, call.kwargs) == ((1,), {"a": 1})

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**80, "\ud800", "a\x00b", None, True, {"a": [1]}])
    def test_json(self, value: Any) -> None:
        call = decode_call(encode_call(make_call("shapes.function", (value,), {"k": value}), JSON), JSON)
        assert repr(call.args) == repr((value,))
        assert repr(call.kwargs) == repr({"k": value})


class TestRefused:
    """What no worker could run is refused before anything is sent."""

    def test_lambda(self) -> None:
        with pytest.raises(UnserializableFunctionError, match=r"lambda.*top level") as caught:
            make_call(lambda: None)
        assert isinstance(caught.value, ValueError)
        assert isinstance(caught.value, SerializationError)

    def test_function_in_a_function(self) -> None:
        def inner() -> None: ...

        with pytest.raises(UnserializableFunctionError, match="inner, defined inside a function"):
            make_call(inner)

    @pytest.mark.parametrize("depth", [1, 2])
    def test_partial_of_a_lambda(self, depth: int) -> None:
        func: Callable[..., Any] = lambda *_: None  # noqa: E731
        for _ in range(depth):
            func = functools.partial(func, 1)
        with pytest.raises(UnserializableFunctionError, match="lambda"):
            make_call(func)

    def test_function_without_a_module(self) -> None:
        function = FunctionType(shapes.function.__code__, {})
        function.__module__ = None  # type: ignore[assignment]
        with pytest.raises(UnserializableFunctionError, match="no module"):
            make_call(function)

    @pytest.mark.parametrize(
        "what",
        ["function", "Class().method", "Class.by_class", "Class()", "partial(function, 1)", "cached", "lambda: 1"],
    )
    def test_main(self, what: str) -> None:
        script = f"""
from functools import lru_cache, partial
from aiorq.call import make_call
from aiorq.errors import UnserializableFunctionError

def function(): ...
cached = lru_cache(function)
class Class:
    def method(self): ...
    @classmethod
    def by_class(cls): ...
    def __call__(self): ...

try:
    make_call({what})
except UnserializableFunctionError as error:
    print(error)
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert "__main__" in done.stdout
        assert "move " in done.stdout
        assert "to a module that the worker can import" in done.stdout

    @pytest.mark.parametrize("func", [shapes.Counter, type, int, None, 5, shapes, [], object()])
    def test_what_is_no_function(self, func: object) -> None:
        with pytest.raises(TypeError, match="expected a function"):
            make_call(func)

    def test_text_of_what_is_no_function_is_short_and_never_raises(self) -> None:
        for value in ("x" * 10_000, shapes.Unprintable(), shapes.Surrogate()):
            with pytest.raises(TypeError) as caught:
                make_call([value] if isinstance(value, str) else value)
            assert len(str(caught.value)) < 200

    def test_coroutine(self) -> None:
        async def function() -> None: ...

        with pytest.raises(TypeError, match="pass the function, not its call"):
            make_call(function())

    async def test_awaitable(self) -> None:
        import asyncio

        future = asyncio.get_running_loop().create_future()
        with pytest.raises(TypeError, match="pass the function, not its call"):
            make_call(future)

    @pytest.mark.parametrize("name", ["", ".", "..", " "])
    def test_empty_name(self, name: str) -> None:
        with pytest.raises(ValueError, match="must not be empty"):
            make_call(name)

    @pytest.mark.parametrize(
        ("args", "kwargs", "path"),
        [
            ((1, threading.Lock()), {}, "args[1]"),
            ((1,), {"a": 1, "f": threading.Lock()}, "kwargs['f']"),
            (([{"deep": threading.Lock()}],), {}, "args[0]"),
            ((lambda: None,), {}, "args[0]"),
            ((shapes.Pushy(),), {}, "args[0]"),
            ((shapes.Locked(),), {}, "args[0]"),
        ],
    )
    def test_unserializable_argument(self, args: tuple[Any, ...], kwargs: dict[str, Any], path: str) -> None:
        with pytest.raises(SerializationError) as caught:
            encode_call(make_call(shapes.function, args, kwargs), PICKLE)
        assert caught.value.path == path
        assert f"cannot enqueue shapes.function: {path} cannot be serialised" in str(caught.value)
        assert caught.value.__cause__ is not None

    def test_open_file(self, tmp_path: Path) -> None:
        with (tmp_path / "file").open("w") as file, pytest.raises(SerializationError) as caught:
            encode_call(make_call(shapes.function, (), {"file": file}), PICKLE)
        assert caught.value.path == "kwargs['file']"

    def test_method_of_an_unserializable_object(self) -> None:
        with pytest.raises(SerializationError, match="the object whose method it is"):
            encode_call(make_call(shapes.Locked().method), PICKLE)

    def test_method_for_json(self) -> None:
        with pytest.raises(SerializationError, match="the object whose method it is"):
            encode_call(make_call(shapes.Counter(1).add, (1,)), JSON)

    @pytest.mark.parametrize("serializer", [PICKLE, JSON])
    def test_nested_too_deep(self, serializer: PickleSerializer | JSONSerializer) -> None:
        nested: list[Any] = []
        for _ in range(100_000):
            nested = [nested]
        try:
            with pytest.raises(SerializationError) as caught:
                encode_call(make_call("shapes.function", (0, nested)), serializer)
            assert caught.value.path == "args[1]"
        finally:
            while nested:  # its destruction must not recurse either
                nested = nested.pop()

    def test_ring_for_json(self) -> None:
        ring: list[Any] = []
        ring.append(ring)
        with pytest.raises(SerializationError) as caught:
            encode_call(make_call("shapes.function", (ring,)), JSON)
        assert caught.value.path == "args[0]"

    def test_serializer_that_gives_no_bytes(self) -> None:
        with pytest.raises(SerializationError, match="gave str, not bytes"):
            encode_call(make_call("shapes.function"), json)  # type: ignore[arg-type]

    def test_size(self) -> None:
        call = make_call("shapes.function", (b"x" * 10_000,))
        exact = len(PICKLE.dumps(tuple(call)))
        assert decode_call(encode_call(call, PICKLE, exact), PICKLE, exact) == call
        with pytest.raises(PayloadTooLargeError, match=f"has {exact} bytes, more than {exact - 1}") as caught:
            encode_call(call, PICKLE, exact - 1)
        assert isinstance(caught.value, SerializationError)

    def test_size_by_default(self) -> None:
        assert MAX_PAYLOAD == 64 * 1024 * 1024
        with pytest.raises(PayloadTooLargeError):
            encode_call(make_call("shapes.function", (bytes(MAX_PAYLOAD),)), PICKLE)


class TestDescription:
    """RQ's text of a call."""

    @pytest.mark.parametrize(
        ("args", "kwargs"),
        [
            ((), {}),
            ((1, "two", [3]), {"b": 2, "a": 1}),
            (("x" * 74,), {}),
            (("x" * 73,), {"long": "y" * 500}),
            ((), {"a1": 1, "a": 2, "a_b": 3, "A": 4}),
            (({"k": "v"}, None, 1.5), {"ä": "ö"}),
        ],
    )
    def test_is_that_of_rq(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call = make_call("shapes.function", args, kwargs)
        assert str(call) == rq.utils.get_call_string("shapes.function", args, kwargs, max_length=75)

    def test_arguments_are_cut(self) -> None:
        text = str(make_call("f", ("x" * 1000,), {"k": "y" * 1000}))
        assert text == f"f('{'x' * 74}..., k='{'y' * 74}...)"

    def test_whatever_the_arguments_do(self) -> None:
        text = str(make_call("f", (shapes.Unprintable(), shapes.Surrogate()), {"\udc80": 1}))
        assert text == r"f(<unprintable Unprintable>, <\ud800>, \udc80=1)"
        assert text.encode()


class TestDamaged:
    """Bytes that are no call say so, and cost no more than their limit."""

    @pytest.mark.parametrize(
        "data",
        [
            b"garbage",
            b"\x80\x05",
            b"\x00" * 100,
            packed(()),
            packed(("f", None, ())),
            packed(("f", None, (), {}, 5)),
            packed(None),
            packed(5),
            packed((5, None, (), {})),
            packed((None, None, (), {})),
            packed(("f", None, "text", {})),
            packed(("f", None, 5, {})),
            packed(("f", None, (), [("a", 1)])),
            packed(("f", None, (), None)),
            zlib.compress(b"cno_such_module\nname\n."),
            zlib.compress(json.dumps(["f", None, [], {}]).encode()),
            zlib.compress(b""),
        ],
    )
    def test_what_is_no_call(self, data: bytes) -> None:
        with pytest.raises(DeserializationError, match="the call cannot be read with PickleSerializer: "):
            decode_call(data, PICKLE)

    def test_error_that_cannot_be_shown(self) -> None:
        with pytest.raises(DeserializationError, match="<unprintable Unshowable>"):
            decode_call(packed(("f", None, (), shapes.Explosive())), PICKLE)

    def test_every_truncation(self) -> None:
        data = encode_call(make_call("shapes.function", ("some", "arguments")), PICKLE)
        for length in range(len(data)):
            with pytest.raises(DeserializationError):
                decode_call(data[:length], PICKLE)

    def test_not_compressed(self) -> None:
        call = make_call("shapes.function", (1,))
        assert decode_call(PICKLE.dumps(tuple(call)), PICKLE) == call
        assert decode_call(b'["f", null, [1], {"a": 2}]', JSON) == Call("f", None, (1,), {"a": 2})

    def test_lists_are_fine(self) -> None:
        assert decode_call(packed(["f", None, [1], {}]), PICKLE) == Call("f", None, (1,), {})

    def test_bomb(self) -> None:
        bomb = zlib.compress(bytes(50_000_000))
        assert len(bomb) < 60_000
        with pytest.raises(DeserializationError, match="more than 1000000 bytes when inflated"):
            decode_call(bomb, PICKLE, 1_000_000)

    def test_bomb_is_not_inflated(self) -> None:
        import tracemalloc

        bomb = zlib.compress(bytes(50_000_000))
        tracemalloc.start()
        try:
            with pytest.raises(DeserializationError):
                decode_call(bomb, PICKLE, 1_000_000)
            assert tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()

    def test_large_and_not_compressed(self) -> None:
        with pytest.raises(DeserializationError, match="more than 1000 bytes"):
            decode_call(PICKLE.dumps(("f", None, ("x" * 2000,), {})), PICKLE, 1000)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write modules of a package `pack`: names and sources."""
    folder = tmp_path / "pack"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)

    def write(**sources: str) -> None:
        for name, source in sources.items():
            (folder / f"{name}.py").write_text(source)

    for name in list(sys.modules):
        if name == "pack" or name.startswith("pack."):
            monkeypatch.delitem(sys.modules, name)
    return write


class TestResolve:
    """Finding what a name names: RQ's rule, with errors that say what was met."""

    @pytest.mark.parametrize(
        ("name", "found"),
        [
            ("shapes.function", shapes.function),
            ("shapes.Outer.Inner.deep", shapes.Outer.Inner.deep),
            ("os.path.join", __import__("os").path.join),
            ("len", len),
            ("builtins.len", len),
            ("shapes.Outer", shapes.Outer),
            ("shapes.partial", shapes.partial),
        ],
    )
    def test_names(self, name: str, found: object) -> None:
        assert import_name(name) is found

    @pytest.mark.parametrize(
        "name",
        ["nope", "no_such_module.f", "shapes.nope", "shapes.Outer.nope", "shapes.Outer.Inner.nope", "os.path.nope.f"],
    )
    def test_missing(self, name: str) -> None:
        with pytest.raises(FunctionNotFoundError) as caught:
            resolve(Call(name, None, (), {}))
        assert name in str(caught.value)

    @pytest.mark.parametrize("name", ["", ".", "a..b", ".f", "shapes.", "shapes..function"])
    def test_what_is_no_name(self, name: str) -> None:
        with pytest.raises(FunctionNotFoundError, match="not the dotted name of a function"):
            import_name(name)

    @pytest.mark.parametrize("name", ["a\x00b.c", "a b.c d", "\ud800.f", "x" * 10_000 + ".f", "\n"])
    def test_strange_names(self, name: str) -> None:
        with pytest.raises(FunctionNotFoundError):
            import_name(name)

    @pytest.mark.parametrize(
        ("name", "kind"),
        [("shapes.Counter", "a class"), ("int", "a class"), ("shapes.NUMBER", "a int"), ("os.path", "a module")],
    )
    def test_no_functions(self, name: str, kind: str) -> None:
        with pytest.raises(FunctionNotFoundError, match=f"{name} is {kind}, not a function"):
            resolve(Call(name, None, (), {}))

    def test_method_that_is_missing(self) -> None:
        for name in ("nope", "start"):
            with pytest.raises(FunctionNotFoundError, match=f"Counter has no method {name}"):
                resolve(Call(name, shapes.Counter(1), (), {}))

    def test_module_that_imports_what_is_missing(self, package: Callable[..., None]) -> None:
        package(broken="import no_such_thing_at_all\ndef f(): ...\n")
        for name in ("pack.broken.f", "pack.broken.Class.f"):
            with pytest.raises(FunctionNotFoundError, match="No module named 'no_such_thing_at_all'"):
                import_name(name)

    def test_module_that_imports_a_missing_name(self, package: Callable[..., None]) -> None:
        package(broken="from os import no_such_name\n")
        with pytest.raises(FunctionNotFoundError, match="cannot import name 'no_such_name'"):
            import_name("pack.broken.f")

    @pytest.mark.parametrize(
        ("source", "text"),
        [
            ("raise ValueError('settings are missing')", "pack.broken raised ValueError: settings are missing"),
            ("1 / 0", "ZeroDivisionError: division by zero"),
            ("def f(:", "SyntaxError"),
            ("raise TypeError('wrong')", "TypeError: wrong"),
        ],
    )
    def test_module_that_raises(self, package: Callable[..., None], source: str, text: str) -> None:
        package(broken=source)
        with pytest.raises(FunctionNotFoundError) as caught:
            import_name("pack.broken.f")
        assert text in str(caught.value)
        assert caught.value.__cause__ is not None

    def test_module_that_is_missing_in_a_package(self, package: Callable[..., None]) -> None:
        with pytest.raises(FunctionNotFoundError, match="module 'pack' has no attribute 'nope'"):
            import_name("pack.nope.f")

    def test_modules_win_over_attributes(self, package: Callable[..., None]) -> None:
        package(module="def f(): return 'of the module'\n")
        assert resolve(Call("pack.module.f", None, (), {}))() == "of the module"


@pytest.mark.parametrize(
    ("given", "args"), [(None, ()), ([1, 2], (1, 2)), ((), ()), ("ab", ("ab",)), ("", ("",)), (b"ab", (b"ab",))]
)
def test_arguments_that_are_given_as_one(given: Any, args: tuple[Any, ...]) -> None:
    """A text is not taken for its letters."""
    assert as_args(given) == args
    assert Queue.prepare_data(len, given).args == args
