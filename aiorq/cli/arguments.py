"""Arguments of a function on the command line, in RQ's syntax.

    value        text            key=value
    :value       JSON            key:=value
    %value       Python literal  key%=value

A value that begins with `@` is the path of a file whose content is taken.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

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


def _value(kind: str, text: str, what: str) -> Any:
    name, read = _PARSERS[kind]
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{what}: the file {text[1:]} cannot be read: {error}") from error
    try:
        return read(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"{what} is not {name}: {reason}") from error
