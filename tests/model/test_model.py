"""Every script against the model, from many beginnings, with every invariant after every step.

`AIORQ_MODEL_EXAMPLES=20000 pytest tests/model` soaks: so many examples in place of 500, other ones each time. A failure
names its seed: `AIORQ_MODEL_SEED=... AIORQ_MODEL_EXAMPLES=50` does the same again.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Iterator
from typing import Final, cast

import pytest
from hypothesis import HealthCheck, Phase, note, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from aiorq.server import EmbeddedServer
from tests.model.machine import Machine, Server, Tally

SOAK: Final = os.environ.get("AIORQ_MODEL_EXAMPLES")  # at import: no test sees such a variable
SEED: Final = int(os.environ.get("AIORQ_MODEL_SEED", "0"))
EXAMPLES: Final = int(SOAK or 500)
STEPS: Final = 60
"""Of an example; some are shorter, and further ones make up for them."""
ROUND: Final = 50
"""Examples from one seed."""
ANSWERS: Final = """
    ask_stop again, ask_stop asked, ask_stop missing, ask_stop refused, ask_stop unanswered, begin True,
    begin again, begin outdated, cancel again, cancel canceled, cancel ok, claim 0, claim 1, claim 2, claim 3,
    claim None, claim again, claim paused, delete 0, delete 1, delete 2, delete again, doctor, empty 0, empty 1,
    empty 2, empty again, enqueue again, enqueue cycle, enqueue deferred, enqueue exists, enqueue queued,
    enqueue rate_limited, enqueue running, enqueue scheduled, enqueue started, enqueue_dependents 0,
    enqueue_dependents 1, fail again, fail failed, fail outdated, fail queued, fail scheduled, finish True,
    finish again, finish outdated, finish repeated, hand_over, let go by cancel, let go by delete, let go by empty,
    let go by enqueue_dependents, let go by fail, let go by finish, let go by reap, let go by retry,
    let go by sweep, overdue None, overdue again, pause again, promote again, promote dropped, promote early,
    promote queued, promote rate_limited, promote_due 0, promote_due 1, promote_due 2, reap again, reap failed,
    reap held, reap poisoned, reap renewed, reap requeued, reap retried, reap returned, register again, register ok,
    register taken, release 0, release 1, release 2, release again, release inbox, release outdated, renew False,
    renew True, renew again, renew outdated, requeue again, requeue elsewhere, requeue missing, requeue queued,
    requeue rate_limited, retire ok, retry again, retry failed, retry outdated, retry queued, retry scheduled,
    stop True, stop again, stop outdated, sweep 0, sweep 1, sweep 2, sweep again, sweep_group 0, sweep_group 1,
    sweep_group again, sweep_limit 0, sweep_limit 1, sweep_limit again
"""
"""What the scripts answer, each of it at least once: or the steps do not go everywhere any more."""


@pytest.fixture
def model_server(server: EmbeddedServer) -> Iterator[Server]:
    loop = asyncio.new_event_loop()
    opened = Server(loop, server.url)
    yield opened
    opened.close()
    loop.close()


@pytest.mark.timeout(0 if SOAK else 600)
def test_every_script(model_server: Server) -> None:
    tally = Tally()
    rounds = 0
    began = time.monotonic()
    while tally.steps < EXAMPLES * STEPS:
        rounds += 1
        _run_round(model_server, tally, SEED or (secrets.randbits(64) if SOAK else rounds))
        assert rounds <= 2 * EXAMPLES / ROUND + 1, f"{rounds} rounds made only {tally.steps} steps"
    seconds = time.monotonic() - began
    print(f"\n{tally.steps} steps in {seconds:.1f} s, {tally.steps / seconds:.0f} a second")
    missing = {words.strip() for words in ANSWERS.split(",")} - tally.words.keys()
    assert not missing or EXAMPLES < 500, f"no script ever answered {sorted(missing)}"


def _run_round(model_server: Server, tally: Tally, number: int) -> None:
    def begin() -> Machine:
        note(f"seed {number}")
        return Machine(model_server, tally)

    run_state_machine_as_test(
        cast("type[Machine]", seed(number)(begin)),  # it is called, and nothing else
        settings=settings(
            max_examples=ROUND,
            stateful_step_count=STEPS,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            report_multiple_bugs=False,
            suppress_health_check=[
                HealthCheck.too_slow,
                HealthCheck.data_too_large,
                HealthCheck.large_base_example,
                HealthCheck.filter_too_much,
            ],
        ),
    )
