"""Serializers by name, by path and as objects."""

from __future__ import annotations

import marshal
import pickle
from types import SimpleNamespace
from typing import Any

import pytest
import rq.serializers

from aiorq.serializers import JSONSerializer, PickleSerializer, Serializer, resolve_serializer, serializer_path

VALUES: list[Any] = [
    None,
    True,
    1,
    -1.5,
    2**80,
    "text",
    "\N{SNAKE}\x00\ud800",
    [1, [2]],
    {"k": {"k": None}},
    "",
    [],
    {},
]


class Reversed:
    """Somebody's own."""

    def dumps(self, obj: Any, /) -> bytes:
        return pickle.dumps(obj)[::-1]

    def loads(self, data: bytes, /) -> Any:
        return pickle.loads(data[::-1])


@pytest.mark.parametrize("name", ["pickle", "json"])
@pytest.mark.parametrize("value", VALUES)
def test_round_trip(name: str, value: Any) -> None:
    serializer = resolve_serializer(name)
    raw = serializer.dumps(value)
    assert isinstance(raw, bytes)
    assert serializer.loads(raw) == value


@pytest.mark.parametrize("name", ["pickle", "json"])
@pytest.mark.parametrize("value", VALUES)
def test_bytes_are_those_of_rq(name: str, value: Any) -> None:
    theirs = rq.serializers.resolve_serializer(name)
    assert resolve_serializer(name).dumps(value) == theirs.dumps(value)
    assert resolve_serializer(name).loads(theirs.dumps(value)) == value


def test_pickle_keeps_what_json_cannot() -> None:
    value = (1, {2}, b"\xff", {3: range(4)})
    assert PickleSerializer.loads(PickleSerializer.dumps(value)) == value
    with pytest.raises(TypeError):
        JSONSerializer.dumps(value)


def test_the_default_is_pickle() -> None:
    assert isinstance(resolve_serializer(None), PickleSerializer)


def test_kinds_of_serializers() -> None:
    own = Reversed()
    assert resolve_serializer(own) is own
    assert isinstance(own, Serializer)
    assert resolve_serializer(marshal) is marshal
    assert resolve_serializer("marshal") is marshal
    assert isinstance(resolve_serializer(JSONSerializer), JSONSerializer)
    assert isinstance(resolve_serializer(PickleSerializer), PickleSerializer)
    assert resolve_serializer("rq.serializers.JSONSerializer") is rq.serializers.JSONSerializer


@pytest.mark.parametrize("path", ["", "nope", "no.such.module", "json.nope", ".json", "a..b", "Pickle"])
def test_unknown_names(path: str) -> None:
    with pytest.raises(ValueError, match="no serializer"):
        resolve_serializer(path)


@pytest.mark.parametrize("what", ["os.path", "os.path.join", 5, object(), SimpleNamespace(dumps=len), {}])
def test_what_is_no_serializer(what: object) -> None:
    with pytest.raises(NotImplementedError, match="dumps and loads"):
        resolve_serializer(what)


@pytest.mark.parametrize("what", [None, "pickle", "json", marshal, rq.serializers.JSONSerializer])
def test_path_leads_to_the_same_serializer(what: object) -> None:
    serializer = resolve_serializer(what)
    path = serializer_path(serializer)
    assert path is not None
    again = resolve_serializer(path)
    assert again is serializer or type(again) is type(serializer)
    assert again.loads(serializer.dumps([1, "a"])) == [1, "a"]


def test_an_instance_of_somebody_has_no_path() -> None:
    assert serializer_path(Reversed()) is None
