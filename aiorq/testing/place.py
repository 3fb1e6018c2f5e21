"""Where tests have their jobs: one server for a process, a prefix for each test."""

from __future__ import annotations

import os
import secrets
import threading
from contextlib import ExitStack
from typing import Final

from aiorq.keys import TEST_PREFIX
from aiorq.server import EmbeddedServer
from aiorq.store.base import Store, end_stores, wipe
from aiorq.store.blocking import drive, store_of
from aiorq.store.connection import check_url

_URL: Final = "AIORQ_REDIS_URL"
_PREFIX: Final = "AIORQ_KEY_PREFIX"
_starting = threading.Lock()
_server: EmbeddedServer | None = None


def server_url() -> str:
    """The URL of the server for tests: that of `AIORQ_REDIS_URL`, else of one that this process starts now, or has.

    One that it starts is gone with the process. On one of the environment nothing is touched but what is below prefixes
    of tests.

    Raises:
        InvalidURLError: that of the environment cannot be read.
        ServerNotFoundError, ServerStartError: none can be started.
    """
    global _server
    given = os.environ.get(_URL)
    if given:
        return check_url(given)
    with _starting:
        if _server is None:
            _server = EmbeddedServer().start()
        return _server.url


class Place:
    """A prefix that nobody has, and the environment that leads there, until it is left."""

    def __init__(self, url: str) -> None:
        """Choose a prefix on the server of `url`."""
        self.url = url
        self.prefix = f"{TEST_PREFIX}{secrets.token_hex(8)}"
        self._stack = ExitStack()
        self.store: Store = store_of(url, self.prefix)
        """The way there for who waits in place of awaiting."""

    def enter(self) -> None:
        """Have all that goes by the environment come here, also in processes that are started from now on."""
        for name, value in ((_URL, self.url), (_PREFIX, self.prefix)):
            self._stack.callback(_restore, name, os.environ.get(name))
            os.environ[name] = value

    def leave(self) -> None:
        """Let the environment be as it was, and delete all keys below the prefix."""
        self._stack.close()
        end_stores(self.prefix)
        drive(wipe(self.store))


def _restore(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
