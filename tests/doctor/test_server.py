"""What the doctor says of a server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from aiorq import connect
from aiorq.doctor import examine
from aiorq.doctor.server import check_server
from aiorq.errors import ConnectionLostError, StoreError
from aiorq.server import EmbeddedServer

FIT = {
    "redis_version": "7.0.0",
    "maxmemory_policy": "noeviction",
    "maxmemory": "0",
    "aof_enabled": "1",
    "role": "master",
}
VALKEY = {"redis_version": "7.2.4", "server_name": "valkey"}


@pytest.mark.parametrize(
    ("facts", "found", "text"),
    [
        ({}, [], ""),
        ({"redis_version": "6.2.14"}, [("version", "error")], "it is Redis 6.2.14, and aiorq needs 7.0 or later"),
        ({"redis_version": "10.1.0"}, [], ""),
        ({**VALKEY, "valkey_version": "7.2.0"}, [], ""),
        ({**VALKEY, "valkey_version": "7.1.9"}, [("version", "error")], "Valkey 7.1.9, and aiorq needs 7.2"),
        ({"valkey_version": "9.1.0"}, [], ""),
        ({"server_name": "other", "other_version": "1.2"}, [("version", "warning")], "it is Other 1.2"),
        ({"maxmemory": "1000"}, [], ""),
        ({"maxmemory_policy": "allkeys-lru", "maxmemory": "1000"}, [("eviction", "warning")], "it drops keys"),
        ({"maxmemory_policy": "volatile-ttl"}, [("eviction", "warning")], "it will drop keys"),
        ({"aof_enabled": "0"}, [("persistence", "warning")], "no append-only file"),
        ({"rdb_last_bgsave_status": "err"}, [("persistence", "error")], "could not save"),
        ({"aof_last_write_status": "err"}, [("persistence", "error")], "could not write"),
        ({"aof_last_bgrewrite_status": "err"}, [("persistence", "error")], "could not rewrite"),
        ({"role": "slave"}, [("replica", "error")], "takes no writes"),
    ],
)
def test_facts(facts: dict[str, str], found: list[tuple[str, str]], text: str) -> None:
    findings = check_server(FIT | facts)
    assert [(finding.rule, finding.severity.value) for finding in findings] == found
    assert all(text in finding.problem and finding.remedy.startswith("nothing: ") for finding in findings)


@pytest.fixture
async def guarded() -> AsyncIterator[tuple[EmbeddedServer, Redis]]:
    """A server of the test's own that evicts, and its client."""
    with EmbeddedServer(options={"maxmemory-policy": "allkeys-lru"}, append_only=True) as server:
        client = connect(server.url)
        yield server, client
        await client.aclose()


async def test_a_real_one(guarded: tuple[EmbeddedServer, Redis]) -> None:
    report = await examine(guarded[1])
    assert [finding.rule for finding in report.findings] == ["eviction"]


async def test_a_user_that_may_do_little(guarded: tuple[EmbeddedServer, Redis]) -> None:
    server, admin = guarded
    await admin.execute_command("ACL", "SETUSER", "small", "on", ">secret", "~rq:*", "+@all", "-info", "-@scripting")
    async with connect(server.url, username="small", password="secret") as client:
        report = await examine(client)
    assert [(finding.rule, finding.severity.value) for finding in report.findings] == [
        ("facts", "warning"),
        ("scripts", "error"),
    ]
    async with connect(server.url, username="small", password="wrong") as client:
        with pytest.raises(StoreError, match="refused"):
            await examine(client)


async def test_none_there(guarded: tuple[EmbeddedServer, Redis]) -> None:
    guarded[0].kill()
    with pytest.raises(ConnectionLostError):
        await examine(guarded[1])
