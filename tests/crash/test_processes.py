"""The process that runs a job is killed, or the one that forks those: the worker lives and deals with it at once."""

from __future__ import annotations

import pytest
from rq import Retry

from aiorq import JobStatus
from tests.crash.conftest import MakeStage
from tests.crash.points import Point
from tests.crash.stage import Fate
from tests.execution.processes import LIMIT, Process

FINISHED = Fate(JobStatus.FINISHED)
HORSE_DIED = Fate(
    JobStatus.FAILED,
    "HorseTerminatedError: the process that ran the job was killed by signal 9 (SIGKILL): not sent by the worker\n",
)
ZYGOTE_DIED = Fate(JobStatus.FAILED, "(SIGKILL): the worker's process that forks jobs died\n")
FAULTS = {
    "horse before its outcome": ("deeds.deed", HORSE_DIED),
    "horse after its outcome": ("deeds.deed", FINISHED),
    "zygote before an outcome": ("deeds.deed", ZYGOTE_DIED),
    "zygote after an outcome": ("deeds.deed", FINISHED),
    "zygote before a fork": ("deeds.deed", ZYGOTE_DIED),
    "zygote after a fork": ("deeds.deed", ZYGOTE_DIED),
    "zygote before it tells of an end": ("deeds.deed_that_dies", ZYGOTE_DIED),
    "zygote after it told of an end": ("deeds.deed_that_dies", HORSE_DIED),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_killed_at_a_moment(make_stage: MakeStage, fault: str) -> None:
    function, fate = FAULTS[fault]
    async with make_stage() as stage:
        await stage.enqueue("it", function=function)
        if "fork" not in fault:  # otherwise the job is to be killed in its middle
            stage.gate.let()
        worker = stage.work("worker", fault=fault)
        await stage.jobs["it"].latest_result(timeout=LIMIT)
        assert await worker.tells("felled")
        if fault.startswith("zygote"):  # a new one has no faults
            assert await worker.tells("log", "the worker's process that forks jobs died; a new one is started")
            await stage.enqueue("next", gate=False)
            await stage.jobs["next"].latest_result(timeout=LIMIT)
            stage.expected["next"] = FINISHED
        stage.expected["it"] = fate
        worker.end()
        await worker.gone()
        assert len(worker.told("felled")) == 1
        assert worker.told("raised") == []
        await stage.rescue()
        await stage.check()


@pytest.mark.parametrize("whom", ["horse", "zygote"])
async def test_killed_while_a_job_with_retries_runs(make_stage: MakeStage, whom: str) -> None:
    async with make_stage() as stage:
        stage.enqueue_by_rq("it", retry=Retry(max=1))
        worker = stage.work("worker")
        assert await worker.tells("deed")
        horse = Process(int(worker.told("deed")[0][1]))
        victim = horse if whom == "horse" else Process(int(horse.status("PPid")))
        victim.kill()
        assert await horse.ended()
        stage.gate.let()
        await stage.jobs["it"].latest_result(timeout=LIMIT)
        stage.expected["it"] = FINISHED._replace(starts=2)
        assert stage.starts("it") == 2
        worker.end()
        await worker.gone()
        await stage.rescue()
        await stage.check()


async def test_the_time_of_a_lease_passes(make_stage: MakeStage) -> None:
    """As it does outside of the other tests here, which let it run out."""
    async with make_stage() as stage:
        await stage.enqueue("begun")
        worker = stage.work("actor", Point("renew#2", "after"), lease=2)
        await worker.gone()
        assert worker.was_hit
        held = stage.work("held", Point("claim#1", "after"), lease=2)
        await stage.enqueue("held", gate=False)
        await held.gone()
        stage.work("rescuer")
        for name, expected in (("begun", JobStatus.FAILED), ("held", JobStatus.FINISHED)):
            assert await stage.jobs[name].latest_result(timeout=LIMIT)
            assert await stage.jobs[name].get_status() is expected
