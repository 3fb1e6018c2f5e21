"""The tree of errors: as it is drawn, and fit for travelling between processes."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from aiorq import errors
from aiorq.errors import (
    AiorqError,
    CorruptJobError,
    DuplicateJobError,
    InvalidJobOperation,
    JobTimeoutException,
    NoSuchJobError,
    SerializationError,
    StopTimeoutError,
)

CLASSES = {
    name: member
    for name, member in vars(errors).items()
    if inspect.isclass(member) and issubclass(member, BaseException) and member.__module__ == errors.__name__
}


def drawn() -> dict[str, str]:
    """Each error of the tree in the docstring with the one that it stands under; bases of Python's follow behind it."""
    found: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        text = line.lstrip("│├└─ ")
        name = text.split(" ")[0].rstrip(",")
        if name not in CLASSES or text == line:
            continue
        depth = (len(line) - len(text) - 4) // 4
        path[depth:] = [name]
        found[name] = path[depth - 1] if depth else ""
    return found


def test_tree_is_as_drawn() -> None:
    real = {
        name: next((base.__name__ for base in error.__bases__ if base.__name__ in CLASSES), "")
        for name, error in CLASSES.items()
        if error is not JobTimeoutException
    }
    assert drawn() == real
    assert real.pop("AiorqError") == ""
    assert all(real.values())


def test_drawn_in_the_order_of_the_module() -> None:
    assert list(drawn()) == [name for name in CLASSES if name != "JobTimeoutException"]


def test_bases_of_python_are_drawn() -> None:
    lines = {line.lstrip("│├└─ ").split(" ")[0]: line for line in (errors.__doc__ or "").splitlines() if line}
    for name, error in CLASSES.items():
        if name != "JobTimeoutException":
            assert issubclass(error, ValueError) == (
                "(ValueError)" in lines[name] or issubclass(error.__bases__[0], ValueError)
            )


def test_stop_that_takes_too_long_is_a_timeout() -> None:
    assert issubclass(StopTimeoutError, TimeoutError)


def test_timeouts_stand_outside() -> None:
    assert not issubclass(JobTimeoutException, AiorqError)
    assert issubclass(JobTimeoutException, Exception)


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_says_what_it_is(name: str) -> None:
    assert (CLASSES[name].__doc__ or "").strip()


@pytest.mark.parametrize(
    "error",
    [
        NoSuchJobError("an-id"),
        DuplicateJobError("an-id", "is running"),
        CorruptJobError("an-id", "status", "cannot be read: 'x'"),
        CorruptJobError("an-id", "", "does not hold a hash"),
        SerializationError("text", "args[0]"),
        InvalidJobOperation("text"),
        StopTimeoutError("text"),
    ],
)
def test_errors_travel(error: Exception) -> None:
    for same in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(same) is type(error)
        assert str(same) == str(error)
        assert vars(same) == vars(error)


def test_fields() -> None:
    assert NoSuchJobError("an-id").job_id == "an-id"
    assert DuplicateJobError("an-id", "is running").job_id == "an-id"
    corrupt = CorruptJobError("an-id", "status", "is odd")
    assert (corrupt.job_id, corrupt.field) == ("an-id", "status")
    assert str(corrupt) == "job 'an-id' is corrupt: field 'status' is odd"
    assert str(CorruptJobError("an-id", "", "is odd")) == "job 'an-id' is corrupt: its key is odd"
    assert SerializationError("text", "args[0]").path == "args[0]"
