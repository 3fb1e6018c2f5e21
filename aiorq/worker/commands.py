"""Obeying commands: RQ's four words, which anybody may send over the worker's channel.

What cannot be read and what is unknown is ignored. Requests to stop a job are kept in Redis as well, so that one which
is sent while the channel is closed is found by the renewal that follows its opening.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, Final

from aiorq.errors import AiorqError
from aiorq.store import commands
from aiorq.store.schedule import Due
from aiorq.worker.leases import Leases
from aiorq.worker.run import Runner
from aiorq.worker.schedule import Schedule
from aiorq.worker.state import State, Stop, log

_BACKOFF: Final = (0.05, 0.1, 0.2, 0.5, 1.0)


async def obey(state: State, runner: Runner, leases: Leases, schedule: Schedule) -> None:
    """Listen and obey, connecting anew whenever the connection is lost, until cancelled.

    Args:
        state: of the worker.
        runner: is told which runs are to be stopped.
        leases: are renewed once the worker can be told to stop a run.
        schedule: is told of jobs that were scheduled.
    """
    failures = 0
    complained = False
    while True:
        try:
            async with aclosing(commands.listen(state.store, state.options.name)) as messages:
                async for message in messages:
                    failures = 0
                    if message is None:
                        schedule.ask()
                        await leases.renew()
                    elif isinstance(message, Due):
                        schedule.hear(message)
                    elif not _obey(state, runner, message) and not complained:
                        complained = True
                        log.warning("a command that is none came over the worker's channel; such are ignored")
        except AiorqError as error:
            log.debug("listening for commands goes on: %s", error)
        except Exception:  # noqa: BLE001 - whatever was said, the jobs of this worker go on
            log.exception("cannot do what a command says")
        await asyncio.sleep(_BACKOFF[min(failures, len(_BACKOFF) - 1)])
        failures += 1


def _obey(state: State, runner: Runner, message: dict[str, Any]) -> bool:
    """Do what a message says; False when it says nothing that is known."""
    command, job_id, token = message.get("command"), message.get("job_id"), message.get("execution_id")
    if command == "shutdown" and message.get("aiorq_now") is True:
        log.warning("told to shut down now: killing what runs, and putting it back")
        state.request_stop(Stop.COLD)
    elif command == "shutdown":
        log.warning("told to shut down: finishing what runs")
        state.request_stop(Stop.WARM)
    elif command == "kill-horse":
        runner.kill_all()
    elif command == "stop-job" and isinstance(job_id, str):
        for run in [active.run for active in state.running.values() if active.run.job_id == job_id]:
            runner.stop(run.token, None)
    elif command == commands.DROPPED and isinstance(token, str):
        runner.drop(token)
    elif command == "stop-execution" and isinstance(token, str):
        grace = message.get("aiorq_grace")
        fit = isinstance(grace, (int, float)) and 0 <= grace <= commands.MAX_GRACE
        runner.stop(token, float(grace) if fit and grace is not None else None)
    else:
        return False
    return True
