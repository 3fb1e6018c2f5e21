"""What the README says of deploying and of settings: its files work, its command lines exist, its tables are whole."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from aiorq.cli.app import COMMANDS, app, load
from aiorq.cli.bench import Figures
from aiorq.cli.config import KEYS, read_config
from aiorq.cli.demo import Report
from aiorq.server import EmbeddedServer

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
LIMIT = 30.0


def block(mark: str) -> str:
    found = re.search(rf"<!-- {mark} -->\n```\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


def command_lines() -> Iterator[list[str]]:
    """Every command line of aiorq's that stands in a block of the README, as a list of arguments."""
    for line in re.findall(r"^    (?:\$ )?(aiorq .*)$", README, re.MULTILINE):
        yield shlex.split(line)[1:]
    for line in re.findall(r"^ExecStart=\S+/aiorq (.*)$", block("unit"), re.MULTILINE):
        yield shlex.split(line)
    for mark in ("dockerfile", "kubernetes"):
        for text in re.findall(r"\[\"aiorq\".*?\]", block(mark)):
            yield json.loads(text)[1:]
    for text in re.findall(r"`aiorq ([a-z][^`]*)`", README):
        words = text.split()
        if not any(word.isupper() or word.startswith("[") for word in words):
            yield shlex.split(text)


@pytest.mark.parametrize("arguments", list(command_lines()), ids=" ".join)
def test_command_lines_exist(arguments: list[str]) -> None:
    command: Any = get_command(app)
    name, *rest = arguments
    assert name in COMMANDS
    command = load(name)
    needs_more = {"info", "job", "cron", "enqueue", "requeue", "drain", "stop", "pause"} & {name} and len(rest) < 2
    command.make_context(name, list(rest), resilient_parsing=bool(needs_more)).close()


def test_there_are_enough_of_them() -> None:
    lines = [" ".join(line) for line in command_lines()]
    assert len(lines) > 10
    assert [line for line in lines if "--shutdown-timeout 60" in line]
    assert [line for line in lines if line == "check --worker $(POD_NAME)"]


def test_the_config_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(block("toml"))
    values = read_config(str(tmp_path / "a.toml")).values
    assert values["concurrency"] == 4
    whole = re.sub(r"^# (?!In)", "", block("toml"), flags=re.MULTILINE)
    (tmp_path / "b.toml").write_text(whole)
    assert read_config(str(tmp_path / "b.toml")).values["sentinel"]["master_name"] == "mymaster"


def test_the_table_of_settings_is_whole() -> None:
    table = README[
        README.index("| option | variable | of RQ |") : README.index("Redis 7.0 or Valkey 7.2 and later. URLs:")
    ]
    variables = {name.lower() for name in re.findall(r"`AIORQ_([A-Z_]+)`", table)}
    in_files = set(re.findall(r"`([a-z_]+)`", " ".join(line for line in table.splitlines() if "only " in line)))
    assert variables - {"server_bin"} | in_files == KEYS | {"config"}


def fields_of(command: str) -> set[str]:
    """The fields of JSON that the README has for a command."""
    row = re.search(rf"^\| `{command}` \| (.*) \|$", README, re.MULTILINE)
    assert row is not None
    return set(re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", row[1].partition(";")[0])))


def test_fields_of_json() -> None:
    assert fields_of("bench") == {field.name for field in fields(Figures)}
    assert fields_of("demo") == {field.name for field in fields(Report)}
    with EmbeddedServer() as server:
        told = []
        for line in ("enqueue math.sqrt --json", "cron add x math.sqrt --every 60", "cron list --json"):
            command = [sys.executable, "-m", "aiorq", *line.split()]
            environment = os.environ | {"AIORQ_REDIS_URL": server.url}
            told.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert fields_of("enqueue") == json.loads(told[0]).keys()
    assert fields_of("cron list") == json.loads(told[2])[0].keys()


def test_the_unit(tmp_path: Path) -> None:
    """Its command line, started as systemd starts a service of its type, becomes ready, is reloaded, and ends."""
    unit = dict(line.split("=", 1) for line in block("unit").splitlines() if "=" in line and not line.startswith("#"))
    assert unit["Type"] == "notify"
    arguments = shlex.split(unit["ExecStart"])
    assert arguments[0].endswith("/bin/aiorq")
    environment = {"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": f"{int(unit['WatchdogSec'])}000000"}
    with EmbeddedServer() as server, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(environment["NOTIFY_SOCKET"])
        manager.settimeout(LIMIT)

        def hear(text: str) -> None:
            while text not in manager.recv(4096).decode():
                pass

        process = subprocess.Popen(
            [sys.executable, "-m", "aiorq", *arguments[1:], "--quiet"],
            env=os.environ | environment | {"AIORQ_REDIS_URL": server.url},
            cwd=tmp_path,
        )
        try:
            hear("READY=1")
            process.send_signal(signal.Signals[f"SIG{unit['ExecReload'].split()[1].lstrip('-')}"])
            hear("RELOADING=1")
            hear("READY=1")
            process.send_signal(signal.SIGTERM)
            hear("STOPPING=1")
            assert process.wait(LIMIT) == 0
        finally:
            process.kill()
            process.wait()
    shutdown = int(arguments[arguments.index("--shutdown-timeout") + 1])
    assert shutdown < int(unit["TimeoutStopSec"])
