"""Serializers: as `aiorq.serializers`."""

from __future__ import annotations

from aiorq.serializers import DefaultSerializer, JSONSerializer, PickleSerializer, Serializer, resolve_serializer

__all__ = [
    "DefaultSerializer",
    "JSONSerializer",
    "PickleSerializer",
    "Serializer",
    "resolve_serializer",
]
