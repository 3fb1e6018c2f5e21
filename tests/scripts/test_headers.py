"""The scripts as files: what their headers promise, who calls them, and the pieces that they share."""

from __future__ import annotations

import ast
import itertools
import random
import re
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import pytest
from redis.asyncio import Redis

import aiorq
from aiorq.scripts import load, names
from aiorq.status import TRANSITIONS, Edge, JobStatus

LUA = files("aiorq").joinpath("lua")
STORE = Path(aiorq.__file__).parent / "store"
VIRTUAL = LUA.joinpath("lib", "clock_virtual.lua").read_text(encoding="utf-8").rstrip()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def source_of(name: str) -> str:
    return LUA.joinpath(f"{name}.lua").read_text(encoding="utf-8")


def header_of(name: str) -> list[str]:
    """The comment at the top of a script, without the includes."""
    first, *lines = source_of(name).splitlines()
    assert re.fullmatch(r"#!lua( flags=allow-oom)?", first)
    header = list(itertools.takewhile(lambda line: line.startswith("--"), lines))
    return [line.removeprefix("--").strip() for line in header if not line.startswith("-- @include")]


def states(text: str) -> set[JobStatus | None]:
    """What one side of a header's `from -> to` names."""
    found: set[JobStatus | None] = set()
    for term in re.sub(r"\(.*\)", "", text).split("|"):
        word, _, exceptions = term.strip().partition(" but ")
        if word == "any state":
            found |= set(JobStatus) - {JobStatus(name) for name in exceptions.split()}
        else:
            found.add(None if word == "nothing" else JobStatus(word))
    return found


@pytest.mark.parametrize("name", names())
def test_header(name: str) -> None:
    purpose, *rest = header_of(name)
    assert re.fullmatch(r"[A-Z].*[.;,:]?", purpose)
    text = "\n".join(rest)
    assert re.search(r"^KEYS", text, re.MULTILINE)
    assert re.search(r"^ARGV\[1\] prefix\b", text, re.MULTILINE)
    assert re.search(r"^Returns ", text, re.MULTILINE)


@pytest.mark.parametrize("name", names())
def test_header_names_what_the_script_takes(name: str) -> None:
    code = [line for line in source_of(name).splitlines() if not line.lstrip().startswith("--")]
    header = "\n".join(header_of(name))
    for line in code:
        for place in re.findall(r"(?:KEYS|ARGV)\[\d+\]", line):
            # An index has a name from its first statement on, and stands nowhere else.
            assert line.startswith("local ") or name == "save", (place, line)
            assert place in header or place.startswith("KEYS"), place


@pytest.mark.parametrize("name", names())
def test_header_and_table_of_states_agree(name: str) -> None:
    (line,) = [line for line in header_of(name) if " -> " in line or line == "no change of state"][:1]
    stated = set()
    if " -> " in line:
        before, after = line.split(" -> ")
        stated = {Edge(name, old, new) for old in states(before) for new in states(after)}
    assert {edge for edge in TRANSITIONS if edge.script == name} == stated


def test_every_transition_has_its_script() -> None:
    assert {edge.script for edge in TRANSITIONS} <= set(names())
    assert len(set(TRANSITIONS)) == len(TRANSITIONS)


def test_every_script_has_its_caller() -> None:
    said: set[str] = set()
    run: set[str] = set()
    for path in STORE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                said.add(node.value)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "run":
                run |= {str(argument.value) for argument in node.args[:1] if isinstance(argument, ast.Constant)}
    assert run <= set(names())
    assert set(names()) <= said


@pytest.mark.parametrize("name", names())
def test_pieces_are_put_in(name: str) -> None:
    script = load(name)
    assert script.source.startswith("#!lua")
    assert "@include" not in script.source
    assert "redis.call('TIME')" not in load(name, "clock_virtual").source.replace(VIRTUAL, "")
    assert load(name) is script
    included = re.findall(r"^-- @include (\w+)$", source_of(name), re.MULTILINE)
    assert len(set(included)) == len(included)
    for piece in included:
        first = LUA.joinpath("lib", f"{piece}.lua").read_text(encoding="utf-8").splitlines()[0]
        assert first in script.source


def test_every_piece_is_used_and_says_what_it_is() -> None:
    pieces = {entry.name.removesuffix(".lua") for entry in LUA.joinpath("lib").iterdir()}
    used = {piece for name in names() for piece in re.findall(r"^-- @include (\w+)$", source_of(name), re.MULTILINE)}
    assert used | {"clock_virtual"} == pieces
    for piece in pieces:
        assert LUA.joinpath("lib", f"{piece}.lua").read_text(encoding="utf-8").startswith("-- ")


def test_no_such_script() -> None:
    with pytest.raises(FileNotFoundError):
        load("nope")


def test_new_work_is_refused_at_the_memory_limit_and_all_else_goes_on() -> None:
    refused = {name for name in names() if not source_of(name).startswith("#!lua flags=allow-oom\n")}
    assert refused == {"enqueue", "requeue", "save", "list_failed", "cron_set", "cron_tick", "cron_run"}


def test_keys_are_named_in_one_piece_only() -> None:
    for name in names():
        assert not re.search(r"prefix\s*\.\.", source_of(name)), name


@pytest.mark.parametrize("name", names())
async def test_server_takes_it(connection: Redis, name: str) -> None:
    script = load(name)
    loaded = await connection.script_load(script.source)
    assert loaded in (script.sha, script.sha.encode())


class TestDates:
    DATES = LUA.joinpath("lib", "dates.lua").read_text(encoding="utf-8")

    async def both(self, connection: Redis, micros: list[int]) -> tuple[list[str], list[str]]:
        """RQ's text for moments in microseconds since 1970: by Lua, by Python."""
        seconds = [f"{moment // 1_000_000}.{moment % 1_000_000:06d}" for moment in micros]
        body = "local out = {} for i, moment in ipairs(ARGV) do out[i] = iso(tonumber(moment)) end return out"
        answer = await connection.eval(f"{self.DATES}\n{body}", 0, *seconds)
        lua = [text.decode() for text in answer]
        python = [(EPOCH + timedelta(microseconds=moment)).strftime("%Y-%m-%dT%H:%M:%S.%fZ") for moment in micros]
        return lua, python

    async def test_every_day_of_four_centuries(self, connection: Redis) -> None:
        days = (datetime(2400, 3, 2, tzinfo=UTC) - EPOCH).days
        for first in range(0, days, 5000):
            lua, python = await self.both(
                connection, [day * 86_400_000_000 for day in range(first, min(first + 5000, days))]
            )
            assert lua == python

    async def test_edges(self, connection: Redis) -> None:
        moments = [
            datetime(1970, 1, 1, tzinfo=UTC),
            *(datetime(year, 2, 28, 23, 59, 59, 999_999, UTC) for year in (1972, 2000, 2026, 2028, 2100)),
            *(datetime(year, 2, 29, tzinfo=UTC) for year in (1972, 2000, 2028)),
            *(datetime(year, 3, 1, tzinfo=UTC) for year in (2000, 2026, 2028, 2100)),
            *(datetime(year, 12, 31, 23, 59, 59, 999_999, UTC) for year in (1999, 2026, 2028, 2099)),
            datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
        ]
        micros = [int((moment - EPOCH) / timedelta(microseconds=1)) for moment in moments]
        lua, python = await self.both(connection, micros)
        assert lua == python

    async def test_any_microsecond(self, connection: Redis) -> None:
        last = int((datetime(2106, 1, 1, tzinfo=UTC) - EPOCH) / timedelta(microseconds=1))
        chosen = random.Random(7)
        lua, python = await self.both(connection, [chosen.randrange(last) for _ in range(5000)])
        assert lua == python

    async def test_epoch(self, connection: Redis) -> None:
        answer = await connection.eval(
            f"{self.DATES}\nreturn {{epoch(tonumber(ARGV[1])), epoch(0)}}", 0, "1767322800.123456"
        )
        assert answer == [b"1767322800.123456", b"0.000000"]


async def test_text_is_utf8_or_not(connection: Redis) -> None:
    source = LUA.joinpath("lib", "text.lua").read_text(encoding="utf-8")
    body = "local out = {} for i, text in ipairs(ARGV) do out[i] = is_utf8(text) and 1 or 0 end return out"
    chosen = random.Random(7)
    texts = [chr(point).encode(errors="surrogatepass") for point in range(0, 0x110000, 251)]
    texts += [bytes(chosen.choices(range(256), k=chosen.randrange(5))) for _ in range(20_000)]
    texts += [
        b"\xc0\x80",
        b"\xe0\x80\x80",
        b"\xf0\x80\x80\x80",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"a\x00\xc3\xa9",
    ]

    def decodes(text: bytes) -> int:
        try:
            text.decode()
        except UnicodeDecodeError:
            return 0
        return 1

    for first in range(0, len(texts), 5000):
        part = texts[first : first + 5000]
        assert await connection.eval(f"{source}\n{body}", 0, *part) == [decodes(text) for text in part]
