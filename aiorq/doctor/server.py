"""Whether the server is fit: its version, what it does when it is full, and whether it keeps what it acknowledged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from aiorq.doctor.finding import Finding, Severity

_OLDEST: Final = {"redis": (7, 0), "valkey": (7, 2)}


def check_server(facts: Mapping[str, str]) -> list[Finding]:
    """What is wrong with a server that says this of itself in INFO."""
    found: list[Finding] = []

    def say(rule: str, severity: Severity, problem: str, remedy: str) -> None:
        found.append(Finding(rule, "server", severity, "server", problem, f"nothing: {remedy}"))

    kind = facts.get("server_name") or ("valkey" if "valkey_version" in facts else "redis")
    version = facts.get(f"{kind}_version") or facts.get("redis_version", "")
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    oldest = _OLDEST.get(kind)
    name = kind.capitalize()
    if oldest is None:
        say(
            "version",
            Severity.WARNING,
            f"it is {name} {version}, which aiorq is not tested with",
            "use Redis or Valkey",
        )
    elif numbers < oldest:
        needed = ".".join(map(str, oldest))
        say("version", Severity.ERROR, f"it is {name} {version}, and aiorq needs {needed} or later", "update it")

    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        limit = int(facts.get("maxmemory") or 0)
        effect = "at its memory limit it drops keys, jobs among them"
        if not limit:
            effect = "if it is given a memory limit it will drop keys there, jobs among them"
        say("eviction", Severity.WARNING, f"its policy is {policy}: {effect}", "set maxmemory-policy to noeviction")

    if facts.get("aof_enabled") == "0":
        problem = (
            "it keeps no append-only file: a crash loses what it acknowledged since its last snapshot, if it makes any"
        )
        say(
            "persistence", Severity.WARNING, problem, "set appendonly to yes if jobs must survive a crash of the server"
        )
    for field, what in (
        ("rdb_last_bgsave_status", "save its last snapshot"),
        ("aof_last_write_status", "write to its append-only file"),
        ("aof_last_bgrewrite_status", "rewrite its append-only file"),
    ):
        if facts.get(field, "ok") != "ok":
            say("persistence", Severity.ERROR, f"it could not {what}", "see its log, and whether its disk is full")
    if facts.get("role") == "slave":
        say("replica", Severity.ERROR, "it is a replica, and takes no writes", "give the URL of its primary")
    return found


def unknown_server() -> Finding:
    """What stands for the facts of a server that may not be asked for them."""
    problem = "this user may not ask it for its version and its settings (INFO)"
    return Finding("facts", "server", Severity.WARNING, "server", problem, "nothing: add +info to the user's ACL")


def no_scripts(reason: str) -> Finding:
    """The finding for a server that does not run scripts for this user."""
    problem = f"it does not run scripts for this user, without which aiorq does nothing: {reason}"
    remedy = "nothing: add +eval +evalsha +script|load to the user's ACL, and the keys of this prefix"
    return Finding("scripts", "server", Severity.ERROR, "server", problem, remedy)
