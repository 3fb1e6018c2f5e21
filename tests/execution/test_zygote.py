"""The process that forks: what it imports, how it is started, and what happens when it, or its supervisor, dies."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import aiorq
from aiorq.execution.forking import ZygoteError
from aiorq.outcome import Lost, NotBegun
from tests.execution.conftest import FUNCTIONS, Executor, lost, value_of
from tests.execution.processes import Fifo, Process

HEAD = """
import asyncio, os, signal, sys, threading
sys.path.insert(0, {functions!r})
from aiorq.call import Call, encode_call
from aiorq.execution.forking import ForkExecutor, ZygoteError, fork_zygote
from aiorq.execution.horse import Context, Order
from aiorq.execution.zygote import Settings
from aiorq.serializers import PickleSerializer

def say(text):
    with open({told!r}, "w") as fifo:
        fifo.write(f"{{text}}\\n")

async def main(zygote, *functions):
    executor = ForkExecutor(Settings(Context("a-worker", "pickle", "rq", {{}}), [], []), zygote)
    await executor.start()
    say(executor.zygote_pid)
    orders = []
    for name, *args in functions:
        data = encode_call(Call(name, None, tuple(args), {{}}), PickleSerializer())
        orders.append(Order(executor.next_number(), "a-job", "an-execution", -1, {{b"data": data}}))
    for outcome in await asyncio.gather(*(executor.execute(order) for order in orders)):
        say(type(outcome).__name__)
    await executor.close()
"""


@pytest.fixture
def script(told: Fifo, tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Runs a script that may use `say` and `main` of `HEAD`, in a process group of its own."""
    started: list[subprocess.Popen[bytes]] = []

    def start(body: str) -> subprocess.Popen[bytes]:
        path = tmp_path / "script.py"
        path.write_text(HEAD.format(functions=FUNCTIONS, told=told.path) + body)
        started.append(subprocess.Popen([sys.executable, "-W", "error", str(path)], process_group=0))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


class TestPreload:
    async def test_a_module_is_imported_once(self, start_executor: Callable[..., Any]) -> None:
        executor: Executor = await start_executor(("warm",))
        for _ in range(2):
            imported_by, pid = await executor.value("warm.imported_by")
            assert imported_by == executor.zygote
            assert pid != executor.zygote

    async def test_otherwise_each_job_imports_it(self, executor: Executor) -> None:
        imported_by, pid = await executor.value("warm.imported_by")
        assert imported_by == pid

    @pytest.mark.parametrize(
        ("module", "message"),
        [
            ("broken", r"^cannot preload broken: RuntimeError: broken on purpose$"),
            (
                "no_such_module",
                r"^cannot preload no_such_module: ModuleNotFoundError: No module named 'no_such_module'$",
            ),
            ("leaving", r"^the process that forks jobs ended while it started$"),
        ],
    )
    async def test_failures(self, module: str, message: str, caplog: pytest.LogCaptureFixture, me: Process) -> None:
        descriptors = me.descriptors()
        with pytest.raises(ZygoteError, match=message):
            async with Executor((module,)):
                pass
        assert caplog.records == []
        assert me.children() == []
        assert me.descriptors() == descriptors

    async def test_an_import_that_never_ends(self, told: Fifo, monkeypatch: pytest.MonkeyPatch, me: Process) -> None:
        monkeypatch.setenv("TOLD", told.path)
        starting = asyncio.create_task(Executor(("stuck",)).__aenter__())
        [zygote] = await told.pids()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert not zygote.alive
        assert me.children() == []

    async def test_processes_of_a_module_are_spared(self, start_executor: Callable[..., Any]) -> None:
        executor: Executor = await start_executor(("helped",))
        helper = Process(await executor.value("helped.helper"))
        for _ in range(3):
            await executor.run("endings.give", 1)
        assert helper.alive
        await executor.inner.close()
        assert await helper.ended()  # of the end of its stdin

    @pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="no number of the system call")
    async def test_no_more_processes(self, start_executor: Callable[..., Any]) -> None:
        executor: Executor = await start_executor(("no_fork",))
        zygote = executor.zygote
        for _ in range(3):
            assert await executor.run("endings.give", 1) == NotBegun("cannot fork: Resource temporarily unavailable")
        assert executor.zygote == zygote

    async def test_what_jobs_need_is_imported_once_it_is_known(self, executor: Executor, told: Fifo) -> None:
        """The first coroutine imports asyncio in its own process; then the zygote does, for all that follow."""
        modules = "sys.modules.__contains__"
        assert not await executor.value(modules, "asyncio")
        await executor.run("endings.give_async", 1)
        assert await executor.value(modules, "asyncio")

    async def test_what_cannot_be_imported_does_no_harm(
        self, start_executor: Callable[..., Any], tmp_path: Path
    ) -> None:
        (tmp_path / "traceback.py").write_text("raise RuntimeError('of the name of a standard module')")
        executor: Executor = await start_executor(path=(str(tmp_path), FUNCTIONS))
        zygote = executor.zygote
        for _ in range(3):
            assert isinstance(await executor.run("endings.interrupt"), Lost)
        assert executor.zygote == zygote


class TestPath:
    async def test_folders_come_first_and_in_order(self, start_executor: Callable[..., Any], tmp_path: Path) -> None:
        for name, text in (("one", "here = 'one'.upper"), ("two", "here = 'two'.upper")):
            (tmp_path / name).mkdir()
            (tmp_path / name / "somewhere.py").write_text(text)
        executor: Executor = await start_executor(path=(str(tmp_path / "one"), str(tmp_path / "two")))
        assert await executor.value("somewhere.here") == "ONE"
        path = await executor.value("sys.path.copy")
        assert path[:2] == [str(tmp_path / "one"), str(tmp_path / "two")]
        assert path[2:] == sys.path

    async def test_the_current_folder(
        self, start_executor: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "nearby.py").write_text("here = 'here'.upper")
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend("")
        executor: Executor = await start_executor()
        assert await executor.value("nearby.here") == "HERE"


class TestItsDeath:
    async def test_running_jobs_are_lost_and_the_next_runs(
        self, executor: Executor, told: Fifo, caplog: pytest.LogCaptureFixture, me: Process
    ) -> None:
        runs = [executor.start("waiting.hang", told.path) for _ in range(3)]
        horses = await told.pids(3)
        first = executor.zygote
        os.kill(first, signal.SIGKILL)
        for run in runs:
            outcome = lost(await run)
            assert (outcome.signal, outcome.why) == (9, "the worker's process that forks jobs died")
        for horse in horses:
            assert await horse.ended()
        assert isinstance(await executor.run("endings.give", 1), NotBegun)
        assert executor.inner._restarting is not None
        await executor.inner._restarting
        assert await executor.value("endings.give", 1) == 1
        assert executor.zygote != first
        assert me.children() == [executor.zygote]
        assert "the worker's process that forks jobs died; a new one is started" in caplog.messages

    async def test_processes_that_jobs_left_do_not_hide_it(self, executor: Executor, told: Fifo, gate: Fifo) -> None:
        """They hold its end of the socket open."""
        run = executor.start("leftovers.leave_children", told.path, gate.path)
        children = await told.pids(3)
        try:
            os.kill(executor.zygote, signal.SIGKILL)
            assert lost(await run).why == "the worker's process that forks jobs died"
        finally:
            for child in children:
                os.kill(child.pid, signal.SIGKILL)

    async def test_what_was_sent_before_it_counts(self, executor: Executor, told: Fifo, gate: Fifo) -> None:
        run = executor.start("waiting.meet", told.path, gate.path)
        [horse] = await told.pids()
        zygote = Process(executor.zygote)
        os.kill(zygote.pid, signal.SIGSTOP)
        gate.let()
        assert horse.ended_now()
        os.kill(zygote.pid, signal.SIGKILL)
        assert zygote.ended_now()
        assert value_of(await run) == horse.pid

    async def test_an_order_that_could_not_be_sent_was_not_begun(self, executor: Executor) -> None:
        zygote = Process(executor.zygote)
        os.kill(zygote.pid, signal.SIGKILL)
        assert zygote.ended_now()  # and the event loop did not have a chance to see it
        assert isinstance(await executor.run("endings.give", 1), NotBegun)

    async def test_a_new_one_that_does_not_start_is_tried_again(
        self, start_executor: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        module = tmp_path / "fickle.py"
        module.write_text("")
        executor: Executor = await start_executor(("fickle",), path=(FUNCTIONS, str(tmp_path)))
        module.write_text(
            f"import pathlib; pathlib.Path({str(module)!r}).write_text(''); raise RuntimeError('not now')"
        )
        os.kill(executor.zygote, signal.SIGKILL)
        run = executor.start("endings.give", 1)
        assert isinstance(await run, NotBegun | Lost)
        assert executor.inner._restarting is not None
        await executor.inner._restarting
        assert await executor.value("endings.give", 1) == 1
        assert (
            "the process that forks jobs does not start: cannot preload fickle: RuntimeError: not now"
            in caplog.messages
        )

    async def test_a_stopped_one_is_replaced(
        self, executor: Executor, told: Fifo, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr("aiorq.execution.forking._UNANSWERED", 0.2)
        run = executor.start("waiting.hang", told.path)
        [horse] = await told.pids()
        os.kill(executor.zygote, signal.SIGSTOP)
        executor.inner.kill(executor.inner._last_number, "asked for")
        assert lost(await run).why == "asked for"
        assert await horse.ended()
        assert "does not answer; it is killed" in caplog.text

    async def test_aiorq_was_upgraded(
        self, script: Callable[[str], subprocess.Popen[bytes]], told: Fifo, tmp_path: Path
    ) -> None:
        """A new one would be made of other code than the worker's."""
        package = tmp_path / "aiorq"  # beside the script, which imports it from there
        shutil.copytree(Path(aiorq.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
        supervisor = script(
            "import aiorq, logging, pathlib\n"
            "logging.disable()\n"
            "async def live():\n"
            "    executor = ForkExecutor(Settings(Context('a-worker', 'pickle', 'rq', {}), [], []))\n"
            "    await executor.start()\n"
            "    path = pathlib.Path(aiorq.__file__)\n"
            "    say(path)\n"
            "    path.write_text(path.read_text().replace(aiorq.__version__, '99.0.dev1'))\n"
            "    os.kill(executor.zygote_pid, signal.SIGKILL)\n"
            "    say(repr(await executor.broken()))\n"
            "    say(await executor.execute(Order(1, 'a-job', 'an-execution', -1, {})))\n"
            "    await executor.close()\n"
            "    try:\n"
            "        await ForkExecutor(executor._settings).start()\n"
            "    except ZygoteError as error:\n"
            "        say(error)\n"
            "asyncio.run(live())\n"
        )
        text = f"aiorq was upgraded on disk: restart the worker ({aiorq.__version__} runs, 99.0.dev1 is there)"
        assert await told.line() == str(package / "__init__.py")
        assert await told.line() == f"UpgradedError('{text}')"
        assert await told.line() == f"NotBegun(reason='{text}')"
        assert await told.line() == text
        assert supervisor.wait() == 0

    async def test_an_end_while_it_restarts(self, start_executor: Callable[..., Any], me: Process) -> None:
        executor: Executor = await start_executor()
        descriptors = me.descriptors()
        for _ in range(3):
            os.kill(executor.zygote, signal.SIGKILL)
            assert isinstance(await executor.run("endings.give", 1), NotBegun | Lost)
            if executor.inner._restarting is not None:
                break
        await executor.inner.close()
        assert me.children() == []
        assert me.descriptors() < descriptors


class TestSupervisor:
    @pytest.mark.parametrize("zygote", ["None", "fork_zygote()"])
    async def test_all_end_with_it(
        self, script: Callable[[str], subprocess.Popen[bytes]], told: Fifo, zygote: str
    ) -> None:
        functions = f"('waiting.hang', {told.path!r}), ('leftovers.leave_tree', {told.path!r})"
        supervisor = script(f"asyncio.run(main({zygote}, {functions}))\n")
        processes = await told.pids(1 + 1 + 5)
        assert all(process.alive for process in processes)
        supervisor.kill()
        async with asyncio.timeout(2):
            for process in processes:
                assert await process.ended()

    async def test_it_dies_while_a_module_is_imported(
        self, script: Callable[[str], subprocess.Popen[bytes]], told: Fifo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TOLD", told.path)
        settings = "Settings(Context('a-worker', 'pickle', 'rq', {}), [], ['stuck'])"
        supervisor = script(f"asyncio.run(ForkExecutor({settings}, fork_zygote()).start())\n")
        [zygote] = await told.pids()
        supervisor.kill()
        assert await zygote.ended(2)

    async def test_ctrl_c_reaches_it_alone(
        self, script: Callable[[str], subprocess.Popen[bytes]], told: Fifo, gate: Fifo
    ) -> None:
        supervisor = script(
            "signal.signal(signal.SIGINT, lambda *_: say('interrupted'))\n"
            f"asyncio.run(main(fork_zygote(), ('waiting.meet', {told.path!r}, {gate.path!r})))\n"
        )
        zygote, horse = await told.pids(2)
        os.killpg(supervisor.pid, signal.SIGINT)
        assert await told.line() == "interrupted"
        assert zygote.alive
        assert horse.alive
        gate.let()
        assert await told.line() == "Returned"
        assert await zygote.ended()
        assert supervisor.wait() == 0


class TestFork:
    async def test_what_a_script_imported_is_there(
        self,
        script: Callable[[str], subprocess.Popen[bytes]],
        told: Fifo,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("TOLD", told.path)
        supervisor = script(
            "import warm\n"
            "zygote = fork_zygote()\n"
            f"asyncio.run(main(zygote, ('warm.imported_by',), ('waiting.tell', {told.path!r}, 'ran')))\n"
        )
        assert await told.line() == str(supervisor.pid)  # it is imported there, and never again
        assert int(await told.line()) != supervisor.pid
        assert [await told.line() for _ in range(3)] == ["ran", "Returned", "Returned"]
        assert supervisor.wait() == 0

    async def test_not_with_threads(self, script: Callable[[str], subprocess.Popen[bytes]], told: Fifo) -> None:
        supervisor = script(
            "threading.Thread(target=signal.pause, daemon=True).start()\n"
            "zygote = fork_zygote()\n"
            "say(zygote)\n"
            f"asyncio.run(main(zygote, ('waiting.tell', {told.path!r}, 'ran')))\n"
        )
        assert await told.line() == "None"
        assert int(await told.line())
        assert [await told.line() for _ in range(2)] == ["ran", "Returned"]
        assert supervisor.wait() == 0

    async def test_not_in_a_running_loop(self, script: Callable[[str], subprocess.Popen[bytes]], told: Fifo) -> None:
        supervisor = script(
            "async def inside():\n"
            "    zygote = fork_zygote()\n"
            "    say(zygote)\n"
            f"    await main(zygote, ('waiting.tell', {told.path!r}, 'ran'))\n"
            "asyncio.run(inside())\n"
        )
        assert await told.line() == "None"
        assert int(await told.line())
        assert [await told.line() for _ in range(2)] == ["ran", "Returned"]
        assert supervisor.wait() == 0

    async def test_signal_handlers_of_the_script_do_not_reach_jobs(
        self, script: Callable[[str], subprocess.Popen[bytes]], told: Fifo
    ) -> None:
        supervisor = script(
            "for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD):\n"
            "    signal.signal(number, lambda *_: say('handled'))\n"
            "async def both():\n"
            "    await main(fork, ('endings.signal_self', 15), ('endings.signal_self', 10))\n"
            "fork = fork_zygote()\n"
            "signal.signal(signal.SIGCHLD, signal.SIG_DFL)\n"
            "asyncio.run(both())\n"
        )
        assert int(await told.line())
        assert [await told.line() for _ in range(2)] == ["Lost", "Lost"]
        assert supervisor.wait() == 0

    async def test_one_that_is_never_used(self, script: Callable[[str], subprocess.Popen[bytes]], told: Fifo) -> None:
        supervisor = script("zygote = fork_zygote()\nsay(zygote.pid)\nsignal.pause()\n")
        [zygote] = await told.pids()
        supervisor.kill()
        assert await zygote.ended(2)


async def test_the_environment_of_the_worker(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATER", "not seen")
    assert await executor.value("os.getenv", "PATH") == os.environ["PATH"]
    assert await executor.value("os.getenv", "LATER") is None
    assert await executor.value("os.getenv", "RQ_JOB_ID") == "a-job"


async def test_close_twice_and_without_a_start(me: Process) -> None:
    executor = Executor()
    await executor.inner.close()
    async with Executor() as started:
        await started.inner.close()
    assert isinstance(await started.run("endings.give", 1), NotBegun)
    assert me.children() == []


def test_it_stays_small() -> None:
    """Each fork pays for what the zygote has imported."""
    code = "import sys, aiorq.execution.zygote; print(*sys.modules)"
    modules = set(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.decode().split())
    assert not modules & {
        "asyncio",
        "dataclasses",
        "inspect",
        "json",
        "logging",
        "redis",
        "subprocess",
        "tempfile",
        "uvloop",
    }
