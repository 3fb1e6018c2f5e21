"""A process is killed at every command that it sends to Redis; what it leaves is put right by another worker."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

import pytest

from aiorq import scripts
from tests.crash import again, clients, dependents, scenarios, upkeep
from tests.crash.conftest import MakeStage
from tests.crash.points import Point
from tests.crash.scenarios import Scenario
from tests.crash.stage import Actor

SCENARIOS = scenarios.SCENARIOS | again.SCENARIOS | clients.SCENARIOS | dependents.SCENARIOS | upkeep.SCENARIOS
ALONE = {"browse", "compact", "empty", "list_failed", "move_clock", "pause", "peek", "sweep_workers", "tally"} | {
    name
    for name in scripts.names()
    if name.startswith("cron_")  # tests/cron/test_processes.py kills around each
}
"""Scripts of which each call stands for itself: nothing has to follow that a kill could keep from happening."""
SHOWN = 2000
"""Characters of each failure that are shown."""


async def play(scenario: Scenario, make_stage: MakeStage, kill: Point | None) -> Actor:
    """Play a scenario, with a kill or without, and see that all is well at last."""
    async with make_stage() as stage:
        await scenario.prepare(stage)
        actor = scenario.start(stage, kill)
        await scenario.react(stage, actor)
        await actor.gone()
        assert actor.told("raised") == []
        if kill is not None:
            assert actor.was_hit, f"{kill.name} was not sent:\n{actor.last_words}"
        await stage.connection.ping()  # what the server was sent before its client went is behind it now
        await scenario.look(stage)
        await scenario.expect(stage, actor)
        await stage.rescue()
        await scenario.conclude(stage)
        await stage.check()
        if "stop" in stage.memory:
            assert await stage.memory["stop"] == stage.expected["it"].status
        return actor


def points_of(actor: Actor, timed: Mapping[str, int]) -> list[str]:
    """The commands of a process, but for those whose number depends on time."""
    points = []
    for name in actor.names:
        kind, _, number = name.partition("#")
        if int(number) <= timed.get(kind.removeprefix("horse "), int(number)):
            points.append(name)
    return points


@pytest.mark.parametrize("name", SCENARIOS)
async def test_killed_at_every_command(name: str, make_stage: MakeStage) -> None:
    scenario = SCENARIOS[name]
    kills = [
        Point(point, moment)
        for point in scenario.points
        if point not in scenario.elsewhere
        for moment in ("before", "after")
    ]
    plays = [play(scenario, make_stage, kill) for kill in (None, *kills)]
    whole, *crashes = await asyncio.gather(*plays, return_exceptions=True)
    if isinstance(whole, BaseException):
        raise whole
    sent, known = Counter(points_of(whole, scenario.timed)), Counter(scenario.points)
    assert sent == known, f"sent also {[*sent - known]}, not {[*known - sent]}:\n{whole.last_words}"
    failures = [
        f"{kill.moment} {kill.name}: {type(crash).__name__}: {crash!s:.{SHOWN}}"
        for kill, crash in zip(kills, crashes, strict=True)
        if isinstance(crash, BaseException)
    ]
    if failures:
        pytest.fail("\n\n".join(failures), pytrace=False)


def test_every_script_has_its_crashes() -> None:
    """Whoever adds a script, or a command to one of the scenarios, adds its crashes."""
    killed = {
        point.removeprefix("horse ").partition("#")[0]
        for scenario in SCENARIOS.values()
        for point in {*scenario.points} - {*scenario.elsewhere}
    }
    elsewhere = {point for scenario in SCENARIOS.values() for point in scenario.elsewhere}
    assert {*scripts.names()} - killed == ALONE
    assert elsewhere <= {p for s in SCENARIOS.values() for p in {*s.points} - {*s.elsewhere}} | {"release#2"}
