"""A sandbox for each test, on the server of the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aiorq.server import EmbeddedServer
from aiorq.testing import Sandbox


@pytest.fixture
def box(server: EmbeddedServer) -> Iterator[Sandbox]:
    with Sandbox(server.url) as sandbox:
        yield sandbox
