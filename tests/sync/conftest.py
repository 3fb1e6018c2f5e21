"""A blocking client of an empty server, and workers that run what is queued."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from aiorq.server import EmbeddedServer
from tests.execution.conftest import gate, told  # noqa: F401 - fixtures


@pytest.fixture
def redis(server: EmbeddedServer) -> Iterator[Redis]:
    """A client of an empty server, made as RQ's users make theirs."""
    with Redis.from_url(server.url) as client:
        client.flushall()
        yield client
