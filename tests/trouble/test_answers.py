"""Whatever a script's call is answered with, and whether the answer comes: the state is right and the worker goes on.

Each script has a scenario, among those of clients, of cron or of workers.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from aiorq import scripts
from aiorq.server import EmbeddedServer
from tests.execution.processes import LIMIT
from tests.trouble import of_clients, of_cron, of_workers
from tests.trouble.cases import ERRORS, LOSSES, staged

SCENARIOS: Final = of_clients.SCENARIOS | of_cron.SCENARIOS | of_workers.SCENARIOS


def test_every_script_has_a_scenario() -> None:
    missing = set(scripts.names()) - set(SCENARIOS)
    assert not missing, f"add to SCENARIOS what calls {', '.join(sorted(missing))} and what must become of it"
    assert set(SCENARIOS) == set(scripts.names())


@pytest.mark.parametrize("script", sorted(set(SCENARIOS) & set(scripts.names())))
@pytest.mark.usefixtures("log")
async def test_trouble(script: str, connection: Any, server: EmbeddedServer, tmp_path: Path, jobs_path: str) -> None:
    """All cases at the same time, most of which is waiting; each has a database and a way to the server of its own."""

    for name in scripts.names():  # what gets through is then executed, not refused with NOSCRIPT
        for clock in ("clock", "clock_virtual"):
            await connection.script_load(scripts.load(name, clock).source)
    names = [*ERRORS, *LOSSES]
    folders = {name: tmp_path / name.replace(" ", "-") for name in names}
    for folder in folders.values():
        folder.mkdir()

    async def put_through(name: str, number: int) -> None:
        try:
            async with staged(name, number, server, folders[name], jobs_path) as case, asyncio.timeout(2 * LIMIT):
                await SCENARIOS[script](case, script)
        except BaseException as error:
            error.add_note(f"This was the case {name}.")
            raise

    tasks = [asyncio.create_task(put_through(name, number)) for number, name in enumerate(names, start=1)]
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {len(names)} cases of {script}", failures)
