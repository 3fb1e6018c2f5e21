"""Arguments of a function on the command line, in RQ's syntax.

    value        text            key=value
    :value       JSON            key:=value
    %value       Python literal  key%=value

A value that begins with `@` is the path of a file whose content is taken; `@-` is what comes from stdin.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from aiorq.call import MAX_PAYLOAD

_KEYWORD: Final = re.compile(r"([^\W\d]\w*)([:%]?)=(.*)", re.DOTALL)
_PARSERS: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "": ("text", str),
    ":": ("JSON", json.loads),
    "%": ("a Python literal", ast.literal_eval),
}


def parse(arguments: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """Read arguments.

    Returns:
        positional and keyword arguments.

    Raises:
        ValueError: the text of an argument cannot be read, a keyword stands twice, or a file cannot be read.
    """
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for number, argument in enumerate(arguments, 1):
        keyword = _KEYWORD.fullmatch(argument)
        if keyword is None:
            kind = argument[0] if argument[:1] in (":", "%") else ""
            args.append(_value(kind, argument[len(kind) :], f"argument {number}"))
        elif keyword[1] in kwargs:
            raise ValueError(f"the keyword {keyword[1]} is given twice")
        else:
            kwargs[keyword[1]] = _value(keyword[2], keyword[3], f"the keyword {keyword[1]}")
    return args, kwargs


def _content(path: str, what: str) -> str:
    """What is in a file, up to what a job may hold: it may be a device that never ends."""
    try:
        with open(0 if path == "-" else path, "rb") as file:
            content = file.read(MAX_PAYLOAD + 1)
        if len(content) > MAX_PAYLOAD:
            raise ValueError(f"{what}: the file {path} has more than the {MAX_PAYLOAD} bytes that a job may hold")
        return content.decode()
    except OSError as error:
        raise ValueError(f"{what}: the file {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{what}: the file {path} is not UTF-8: {error.reason} at byte {error.start}") from None


def _value(kind: str, text: str, what: str) -> Any:
    name, read = _PARSERS[kind]
    if text.startswith("@"):
        text = _content(text[1:], what)
    try:
        return read(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"{what} is not {name}: {reason}") from error
