"""The README names every field of JSON that commands print, and no other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from tests.cli.conftest import Start
from tests.cli.stage import fill

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
LOOKS = [
    ["info"],
    ["workers"],
    ["jobs"],
    ["job", "show", "failed-1", "--args"],
    ["job", "result", "finished-1"],
    ["check"],
    ["doctor"],
]
CHANGES = [
    ["job", "cancel", "queued-1"],
    ["requeue", "--queue", "shop", "failed-1", "ghost"],
    ["pause", "shop"],
    ["unpause", "shop"],
    ["empty", "mail"],
    ["suspend"],
    ["resume"],
    ["stop", "--all"],
]


def fields_of(value: Any) -> set[str]:
    """All names in a JSON document."""
    if isinstance(value, list):
        return {name for each in value for name in fields_of(each)}
    if isinstance(value, dict):
        return set(value) | fields_of(list(value.values()))
    return set()


async def test_fields(start: Start, busy: Any, connection: Redis, url: str) -> None:
    await fill(connection)
    await busy("worker-1", queue="other")
    (table,) = re.findall(r"^\| command \| fields \|\n\|---\|---\|\n((?:\|.*\n)+)", README, re.MULTILINE)
    rows = [line.split("|")[2] for line in table.splitlines()]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)} - {"null", "repr", "aiorq", "rq"}
    printed: set[str] = set()
    for commands in (LOOKS, CHANGES):
        processes = [start(*command, "--json", AIORQ_REDIS_URL=url) for command in commands]
        for command, process in zip(commands, processes, strict=True):
            out, error = process.communicate(timeout=50)
            assert error == "", command
            fields = fields_of(json.loads(out))
            assert fields <= named, command
            printed |= fields
    assert printed == named
