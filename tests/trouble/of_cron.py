"""What those call who look after cron, and who change its entries: it is done once, or not at all."""

from __future__ import annotations

from typing import Final

from aiorq.cron import Cron, CronScheduler
from aiorq.cron.ticker import Ticker
from tests.trouble.cases import Case, Scenario


async def cron_set(case: Case, script: str) -> None:
    fault = case.arm(script)
    done = await case.call(lambda: enter(case.client))
    assert fault.hits == 1
    assert await Cron(case.real).names() == (["hourly"] if done else [])
    if not done:
        await enter(case.real)
    assert await case.real.zcard("rq:aiorq:cron:next") == 1


async def cron_tick(case: Case, script: str) -> None:
    """A slot has one job; where it has none yet, the next one that looks makes it."""
    await enter(case.real)
    fault = case.arm(script)
    done = await case.call(Ticker(Cron(case.client).store).tick)
    assert fault.hits == 1
    assert await case.real_queue.count() == done
    for _ in range(2):
        await Ticker(Cron(case.real).store).tick()
    assert await case.real_queue.count() == 1


async def cron_run(case: Case, script: str) -> None:
    await enter(case.real)
    fault = case.arm(script)
    done = await case.call(lambda: Cron(case.client).run_now("hourly"))
    assert fault.hits == 1
    assert await case.real_queue.count() == done


async def cron_pause(case: Case, script: str) -> None:
    await enter(case.real)
    fault = case.arm(script)
    done = await case.call(lambda: Cron(case.client).pause("hourly"))
    assert fault.hits == 1
    assert (await Cron(case.real).get("hourly")).paused == done


async def cron_resume(case: Case, script: str) -> None:
    await enter(case.real)
    await Cron(case.real).pause("hourly")
    fault = case.arm(script)
    done = await case.call(lambda: Cron(case.client).resume("hourly"))
    assert fault.hits == 1
    assert (await Cron(case.real).get("hourly")).paused == (not done)


async def cron_remove(case: Case, script: str) -> None:
    await enter(case.real)
    fault = case.arm(script)
    done = await case.call(lambda: Cron(case.client).remove("hourly"))
    assert fault.hits == 1
    assert await case.real.exists("rq:aiorq:cron", "rq:aiorq:cron:next") == (0 if done else 2)


async def cron_beat(case: Case, script: str) -> None:
    """At its begin a scheduler that cannot be entered says so; sent twice it is no other one of its name."""
    scheduler = CronScheduler(case.client, name="here")
    fault = case.arm(script)
    done = await case.call(scheduler.register_birth)
    assert fault.hits == 1
    assert await case.real.zcard("rq:cron_schedulers") == done


async def enter(client: object) -> None:
    await Cron(client).set("jobs.add", "default", (1,), interval=3600, name="hourly")  # type: ignore[arg-type]


SCENARIOS: Final[dict[str, Scenario]] = {
    "cron_beat": cron_beat,
    "cron_look": cron_tick,
    "cron_pause": cron_pause,
    "cron_remove": cron_remove,
    "cron_resume": cron_resume,
    "cron_run": cron_run,
    "cron_set": cron_set,
    "cron_tick": cron_tick,
}
"""What each script is put through."""
