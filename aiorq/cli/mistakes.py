"""What went wrong, in a line or two, with an exit code.

0    done
1    the operation failed
2    something given is wrong: an option, a name, a file, a URL; or no server is there, or it lets nobody in
130  interrupted (Ctrl-C)
141  whoever read the output has gone, as `head` does
"""

from __future__ import annotations

import re
import sys
from typing import Any, Final

import typer

INTERRUPTED: Final = 130
READER_GONE: Final = 141
_SECRET: Final = re.compile(r"(\w+://)\S*@")
_UsageError: Final[Any] = typer.BadParameter.__mro__[1]  # typer does not export it


class Mistake(ValueError):  # noqa: N818 - it is the user's, and no error of ours
    """Something given is wrong; the text says what, and what to do. Exit code 2."""


class Failure(Exception):  # noqa: N818 - it is what the user asked for that failed
    """What was asked for could not be done; the text says why. Exit code 1."""


class Interrupted(BaseException):
    """A command was interrupted by Ctrl-C. Beyond `Exception`, so that typer does not make exit code 1 of it."""


def printable(text: str) -> str:
    """The text with its control characters escaped, line ends too: nothing in it reaches the terminal as a command."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def without_secrets(text: str) -> str:
    """The text with stars for what stands before the @ of a URL."""
    return _SECRET.sub(r"\1***@", text)


def tell(message: str, *, name: str = "aiorq") -> None:
    """Print a line for people to stderr, in which no password and no control character is left."""
    if sys.stderr is not None:
        print(f"{name}: {printable(without_secrets(' '.join(message.split())))}", file=sys.stderr)


def tell_usage(error: Any, origin: str = "") -> None:
    """Print what is wrong with the command line, and where to look."""
    possible = list(getattr(error, "possibilities", None) or ())
    message = error.message if possible else error.format_message()
    if possible and "Did you mean" not in message:
        message = f"{message.rstrip('.')}. Did you mean {', '.join(possible)}?"
    if not message:  # a group without a command has shown its help
        return
    tell(origin + message)
    context = error.ctx
    if context is not None:
        tell(f"`{context.command_path} --help` shows what there is.")


def is_usage_error(error: BaseException) -> bool:
    """Whether typer refused the command line."""
    return isinstance(error, _UsageError)
