"""The desk, the books and the clock of the tests of single scripts."""

from __future__ import annotations

from tests.scripts.conftest import books, desk, store

__all__ = ["books", "desk", "store"]
