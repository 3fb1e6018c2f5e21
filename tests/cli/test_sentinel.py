"""Redis behind sentinels, as RQ's config files describe it: for commands, workers, pools and jobs."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiorq.server import EmbeddedServer, find_server_binary
from tests.cli.conftest import Run

MASTER, SENTINEL = 27383, 27384


@pytest.fixture(scope="module")
def sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A master with a password, and a sentinel that watches it."""
    folder = tmp_path_factory.mktemp("sentinel")
    (folder / "sentinel.conf").write_text(
        f"port {SENTINEL}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor shop 127.0.0.1 {MASTER} 1\n"
        "sentinel auth-pass shop secret\n"
    )
    with (
        EmbeddedServer(options=[("port", MASTER), ("bind", "127.0.0.1"), ("requirepass", "secret")]),
        subprocess.Popen(
            [find_server_binary(), folder / "sentinel.conf", "--sentinel"], stdout=subprocess.DEVNULL
        ) as process,
    ):
        try:
            end = time.monotonic() + 20
            while not listens():
                assert time.monotonic() < end
                time.sleep(0.05)
            yield
        finally:
            process.kill()


def listens() -> bool:
    """Whether the sentinel can be asked."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", SENTINEL)) == 0


@pytest.mark.usefixtures("sentinel")
def test_all_find_the_master(run: Run, tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(
        "from aiorq import get_current_job\n"
        "async def note():\n"
        "    job = get_current_job()\n"
        "    job.meta['seen'] = True\n"
        "    await job.save_meta()\n"
        "    return (await job.get_meta(refresh=True))['seen']\n"
    )
    (tmp_path / "settings.py").write_text(
        f"SENTINEL = {{'INSTANCES': [('127.0.0.1', 1), ('127.0.0.1', {SENTINEL})], 'MASTER_NAME': 'shop', "
        "'PASSWORD': 'secret', 'DB': 2, 'SOCKET_TIMEOUT': None, 'SENTINEL_KWARGS': {}}\n"
    )
    (tmp_path / "a.toml").write_text(
        f"[sentinel]\ninstances = ['127.0.0.1:{SENTINEL}']\nmaster_name = 'shop'\npassword = 'secret'\ndb = 2\n"
    )
    for config, command in (("settings", ["worker"]), ("a.toml", ["worker-pool"])):
        job_id = run("enqueue", "-c", config, "task.note", server="").stdout.strip()
        done = run(*command, "--burst", "-c", config, server="")
        assert done.returncode == 0
        assert f"at shop/2 of the sentinels 127.0.0.1:{1 if config == 'settings' else SENTINEL}" in done.stderr
        assert "secret" not in done.stderr
        assert run("job", "result", job_id, "-c", config, server="").stdout == "True\n"


@pytest.mark.usefixtures("sentinel")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("instances = ['127.0.0.1:1']", "cannot be asked now"),
        (f"instances = ['127.0.0.1:{SENTINEL}']\nmaster_name = 'nobody'", "cannot be asked now"),
        (f"instances = ['127.0.0.1:{SENTINEL}']\nmaster_name = 'shop'\npassword = 'canary'", "refused"),
        (f"instances = ['127.0.0.1:{SENTINEL}']\nconnection_kwargs = {{ nonsense = 1 }}", "nonsense"),
    ],
)
def test_what_is_not_there(run: Run, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.toml").write_text(f"[sentinel]\n{text}\n")
    for command in (["enqueue", "math.sqrt"], ["worker", "-b"]):
        done = run(*command, "-c", "a.toml", server="")
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert "canary" not in done.stderr
