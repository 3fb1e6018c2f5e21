"""Comparing what a function of ours takes with what RQ's function takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import Any

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def _taken(function: Callable[..., Any]) -> list[Parameter]:
    return [each for each in signature(function).parameters.values() if each.name not in ("self", "cls")]


def assert_taken_alike(
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    *,
    without: tuple[str, ...] = (),
    changed: Mapping[str, object] | None = None,
) -> None:
    """Ours takes what theirs takes, in the same order and with the same defaults.

    What it takes besides is keyword-only, and what RQ requires may have a default.

    Args:
        ours: of aiorq.
        theirs: of RQ.
        without: RQ's parameters that are not to be there.
        changed: our defaults where they differ.
    """
    changed = changed or {}
    wanted = [each for each in _taken(theirs) if each.name not in without]
    taken = {each.name: each for each in _taken(ours)}
    assert not set(without) & set(taken), "it is there"
    assert {each.name for each in _taken(theirs)} >= {*without, *changed}, "RQ does not take it"
    by_position = [name for name, each in taken.items() if each.kind in _POSITIONAL]
    assert by_position == [each.name for each in wanted if each.kind in _POSITIONAL and each.name in by_position]
    seen_keyword_only = False
    for each in wanted:
        mine = taken[each.name]
        if each.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            assert mine.kind is each.kind, each.name
            continue
        # After the first parameter that has become keyword-only none is positional: nothing changes its place.
        seen_keyword_only |= mine.kind is Parameter.KEYWORD_ONLY
        assert not (seen_keyword_only and mine.kind in _POSITIONAL), each.name
        if each.name in changed:
            assert mine.default == changed[each.name] != each.default, each.name
        elif each.default is Parameter.empty:
            assert mine.default in (Parameter.empty, None, ()) or mine.kind in _POSITIONAL, each.name
        else:
            assert mine.default == each.default, each.name
