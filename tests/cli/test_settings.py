"""Where settings come from: options, the environment, a config file; and what is said of wrong ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from aiorq import Queue
from aiorq.server import EmbeddedServer
from tests.cli.conftest import Run

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def enqueue(run: Run, connection: Redis) -> Callable[..., str]:
    """Enqueue a job, with nothing said of Redis but what the caller says; gives what went wrong, if anything did."""

    def enqueue_job(*options: str, **settings: str) -> str:
        done = run("enqueue", "math.sqrt", "%4", *options, server="", **settings)
        assert done.returncode == (2 if done.stderr else 0)
        assert len(done.stderr.splitlines()) <= 2
        assert "Traceback" not in done.stderr
        return done.stderr

    return enqueue_job


async def test_each_source_is_stronger_than_the_next(
    enqueue: Callable[..., str], connection: Redis, url: str, tmp_path: Path
) -> None:
    (tmp_path / "right.toml").write_text(f'redis_url = "{url}"')
    (tmp_path / "wrong.toml").write_text(f'redis_url = "{NOWHERE}"')

    def sources(where: str, file: str) -> list[tuple[list[str], dict[str, str]]]:
        return [
            (["--url", where], {}),
            ([], {"AIORQ_REDIS_URL": where}),
            ([], {"RQ_REDIS_URL": where}),
            (["--config", file], {}),
            ([], {"REDIS_URL": where}),
        ]

    right, wrong = sources(url, "right.toml"), sources(NOWHERE, "wrong.toml")
    for number in range(4):
        for (options, variables), others in ((right[number], wrong[number + 1]), (wrong[number], right[number + 1])):
            said = enqueue(*options, *others[0], **variables | others[1])
            assert ("127.0.0.1:1/0 cannot be asked" in said) == ((options, variables) in wrong)
    assert enqueue(**right[-1][1]) == ""
    assert await Queue(connection=connection).count() == 4 + 1


class TestConfigFiles:
    async def test_toml(self, run: Run, connection: Redis, url: str, tmp_path: Path) -> None:
        (tmp_path / "a.toml").write_text(
            f'redis_url = "{url}"\nqueues = ["high", "low"]\nname = "mine"\nkey_prefix = "other"\nserializer = "json"\n'
            'burst = true\nlog_format = "json"\nconcurrency = 2\nmax_memory = "1g"\n'
        )
        queue = Queue("low", connection, prefix="other", serializer="json")
        job = await queue.enqueue("math.sqrt", 4)
        done = run("worker", "--config", "a.toml", server="")
        assert done.returncode == 0
        assert await job.return_value() == 2.0
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        assert any(
            "worker mine" in line["msg"] and "high, low" in line["msg"] and "2 at a time" in line["msg"]
            for line in lines
        )

    async def test_options_and_environment_are_stronger(
        self, run: Run, connection: Redis, url: str, tmp_path: Path
    ) -> None:
        (tmp_path / "a.toml").write_text(
            f'redis_url = "{url}"\nqueues = ["low"]\nname = "mine"\nconcurrency = 2\nburst = true'
        )
        told = run("worker", "-c", "a.toml", "--name", "yours", "high", server="", AIORQ_CONCURRENCY="3").stderr
        assert "worker yours " in told
        assert "takes jobs from high at" in told
        assert "3 at a time" in told
        assert "takes jobs from a, b at" in run("worker", "-c", "a.toml", server="", AIORQ_QUEUES="a b").stderr

    async def test_the_table_of_a_pyproject(self, run: Run, connection: Redis, url: str, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "x"\n[tool.aiorq]\nredis_url = "{url}"\n')
        assert run("enqueue", "-c", "pyproject.toml", "math.sqrt", "%4", server="").returncode == 0

    async def test_a_python_module_as_rq_has_it(self, run: Run, connection: Redis, url: str, tmp_path: Path) -> None:
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep" / "settings.py").write_text(
            f"import os\nREDIS_URL = '{url}'\nQUEUES = ['high', 'low']\nNAME = 'mine'\nSENTRY_DSN = 'x'\nOTHER = os\n"
            "AIORQ_CONCURRENCY = 2\nREDIS_PASSWORD = None\n"
        )
        job = await Queue("low", connection).enqueue("math.sqrt", 4)
        told = run("worker", "-b", "-c", "settings", "-P", "deep", server="").stderr
        assert "worker mine " in told
        assert "takes jobs from high, low" in told
        assert "2 at a time" in told
        assert await job.return_value() == 2.0
        for named in ("deep.settings", "deep/settings.py"):
            assert run("enqueue", "math.sqrt", "%4", AIORQ_CONFIG=named, server="").returncode == 0
        assert run("enqueue", "math.sqrt", "%4", RQ_CONFIG="deep.settings", server="").returncode == 0

    async def test_logging_as_it_is_configured(self, run: Run, connection: Redis, url: str, tmp_path: Path) -> None:
        (tmp_path / "settings.py").write_text(
            f"REDIS_URL = '{url}'\n"
            "DICT_CONFIG = {'version': 1, 'formatters': {'f': {'format': 'MINE %(name)s %(message)s'}}, 'handlers': "
            "{'h': {'class': 'logging.FileHandler', 'filename': 'log.txt', 'formatter': 'f'}}, "
            "'loggers': {'aiorq': {'handlers': ['h'], 'level': 'INFO'}}}\n"
        )
        assert run("worker", "-b", "-c", "settings", server="").stderr == ""
        text = (tmp_path / "log.txt").read_text()
        assert "MINE aiorq.worker worker " in text
        assert run("worker-pool", "-b", "-q", "-c", "settings", server="").stderr == ""
        assert "pool" not in (tmp_path / "log.txt").read_text().removeprefix(text)

    async def test_of_other_loggers_is_no_reason_to_log_nothing(
        self, run: Run, connection: Redis, url: str, tmp_path: Path
    ) -> None:
        (tmp_path / "settings.py").write_text(f"REDIS_URL = '{url}'\nDICT_CONFIG = {{'version': 1}}\n")
        assert "takes jobs from" in run("worker", "-b", "-c", "settings", server="").stderr

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("queues = [", "a.toml is not TOML"),
            (b"\xff", "a.toml is not TOML"),
            ("redis_ulr = 'x'", "a.toml has the key 'redis_ulr', which means nothing; did you mean redis_url?"),
            ("[tool.aiorq]\nconcurency = 1", "'concurency', which means nothing; did you mean concurrency?"),
            ("concurrency = 'many'", "a.toml, key concurrency: Invalid value for '--concurrency'"),
            ("quiet = 'perhaps'", "a.toml, key quiet: Invalid value"),
            ("preload = 'math'", "a.toml, key preload: Invalid value"),
            ("on_lost = 'cry'", "a.toml, key on_lost: Invalid value"),
            ("concurrency = 0", "concurrency must be 1 to 1000, not 0"),
            ("redis_url = 'redis://:canary@h/x'", "the database in the Redis URL"),
            ("redis_port = 'canary'", "a.toml, key redis_port: 'canary' is not a number from 0 to 65535"),
            ("redis_db = -1", "a.toml, key redis_db"),
            ("redis_ssl = 'perhaps'", "a.toml, key redis_ssl: 'perhaps' is neither true nor false"),
            ("redis_ssl = true\nredis_ssl_cert_reqs = 'x'", "SSL"),
            ("sentinel = 1", "a.toml, key sentinel: it is no table"),
            ("[sentinel]\nhosts = []", "a.toml, key sentinel: 'hosts' means nothing"),
            ("[sentinel]\ninstances = ['h']", "'h' is no host and port of a sentinel"),
            ("[dict_config]\nversion = 7", "a.toml, key dict_config: Unsupported version"),
            ("log_level = 'loud'", "'loud' is no level of the log"),
            ("job_class = 'no.such'", "no.such"),
        ],
    )
    async def test_mistakes(
        self, run: Run, connection: Redis, url: str, tmp_path: Path, text: str | bytes, said: str
    ) -> None:
        (tmp_path / "a.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
        done = run(
            "worker", "--burst", "-c", "a.toml", server="" if "redis" in str(text) or "sentinel" in str(text) else url
        )
        assert (done.returncode, done.stdout) == (1 if "job_class" in str(text) else 2, "")
        assert said in done.stderr
        assert len([line for line in done.stderr.splitlines() if line.startswith("aiorq: ")]) <= 2
        assert "Traceback" not in done.stderr
        assert "canary@" not in done.stderr

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("1 / 0", "the config module settings cannot be imported: ZeroDivisionError"),
            ("def (", "the config module settings cannot be imported: SyntaxError"),
            ("AIORQ_LEESE = 1", "settings has AIORQ_LEESE, which means nothing; did you mean AIORQ_LEASE?"),
        ],
    )
    def test_mistakes_in_python(self, run: Run, tmp_path: Path, text: str, said: str) -> None:
        (tmp_path / "settings.py").write_text(text)
        done = run("worker", "-c", "settings")
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("no.toml", "the config file no.toml cannot be read: No such file"),
            (".toml", "the config file .toml cannot be read: Is a directory"),
            ("no_such_module", "the config module no_such_module cannot be imported: ModuleNotFoundError"),
            ("no/such.py", "the config file no/such.py cannot be read: No such file"),
            ("pyproject.toml", "pyproject.toml has no table [tool.aiorq]"),
        ],
    )
    def test_files_that_are_no_config(self, run: Run, tmp_path: Path, name: str, said: str) -> None:
        (tmp_path / ".toml").mkdir()
        (tmp_path / "pyproject.toml").write_text("[project]\n")
        for options, variables in ((["-c", name], {}), ([], {"AIORQ_CONFIG": name})):
            done = run("info", *options, **variables)
            assert (done.returncode, done.stdout) == (2, "")
            assert said in done.stderr
            assert len(done.stderr.splitlines()) == 1

    def test_help_does_not_need_it(self, run: Run) -> None:
        assert run("worker", "-c", "no.toml", "--help").returncode == 0


@pytest.fixture(scope="module")
def server_with_password() -> Iterator[str]:
    """The port of a server on TCP."""
    port = "27381"
    with EmbeddedServer(options={"port": port, "bind": "127.0.0.1", "requirepass": "p/@:w"}):
        yield port


class TestParts:
    """Redis by host, port and so on, as RQ has it."""

    async def test_in_the_environment(self, enqueue: Callable[..., str], server_with_password: str) -> None:
        parts = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": server_with_password, "REDIS_SSL": "no"}
        assert enqueue(**parts, REDIS_PASSWORD="p/@:w", REDIS_DB="3") == ""
        said = enqueue(**parts, REDIS_PASSWORD="canary")
        assert f"127.0.0.1:{server_with_password}/0" in said
        assert "canary" not in said
        assert "environment variable REDIS_PORT" in enqueue(REDIS_PORT="x")

    async def test_in_a_config_file(
        self, enqueue: Callable[..., str], server_with_password: str, tmp_path: Path
    ) -> None:
        text = (
            f"redis_host = '127.0.0.1'\nredis_port = {server_with_password}\nredis_password = 'p/@:w'\nredis_db = 2\n"
        )
        (tmp_path / "a.toml").write_text(text)
        assert enqueue("-c", "a.toml") == ""
        (tmp_path / "settings.py").write_text(
            f"REDIS_HOST = '127.0.0.1'\nREDIS_PORT = {server_with_password}\nREDIS_PASSWORD = 'p/@:w'\n"
        )
        assert enqueue("-c", "settings") == ""


class TestClasses:
    async def test_of_ones_own(self, run: Run, connection: Redis, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text(
            "import aiorq, redis.asyncio\nfrom aiorq import get_current_job\n"
            "class Job(aiorq.Job): pass\n"
            "class Worker(aiorq.Worker):\n"
            "    def __init__(self, *args, **options):\n"
            "        super().__init__(*args, **options)\n"
            "        print(type(self).__name__, type(self.queues[0]).__name__, type(self._connection).__name__)\n"
            "class Queue(aiorq.Queue): pass\n"
            "class Redis(redis.asyncio.Redis): pass\n"
            "def kind(): return type(get_current_job()).__module__\n"
        )
        job = await Queue(connection=connection).enqueue("mine.kind")
        classes = [
            "-w",
            "mine.Worker",
            "-j",
            "mine.Job",
            "--queue-class",
            "mine.Queue",
            "--connection-class",
            "mine.Redis",
        ]
        done = run("worker", "-b", "-q", *classes)
        assert (done.returncode, done.stdout, done.stderr) == (0, "Worker Queue Redis\n", "")
        assert await job.return_value() == "mine"
        assert run("enqueue", "math.sqrt", "%4", *classes).returncode == 0
        variables = {
            "AIORQ_WORKER_CLASS": "mine.Worker",
            "RQ_JOB_CLASS": "mine.Job",
            "RQ_QUEUE_CLASS": "mine.Queue",
            "RQ_CONNECTION_CLASS": "mine.Redis",
        }
        assert run("worker", "-b", "-q", **variables).stdout == "Worker Queue Redis\n"

    @pytest.mark.parametrize("kind", ["aiorq.SimpleWorker", "rq.SimpleWorker", "rq.worker.SpawnWorker", "aiorq.Worker"])
    async def test_workers(self, run: Run, queue: Queue, kind: str) -> None:
        job = await queue.enqueue("math.sqrt", 4)
        own = ["-j", "rq.job.Job", "--queue-class", "rq.Queue", "--connection-class", "redis.Redis"]
        assert run("worker", "-b", "-w", kind, *own, "-S", "rq.serializers.DefaultSerializer").returncode == 0
        assert await job.return_value() == 2.0

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["-w", "nonsense"], "no worker class 'nonsense'"),
            (["-w", "no.such"], "no worker class 'no.such': ModuleNotFoundError"),
            (["-w", "math.nope"], "no worker class 'math.nope': AttributeError"),
            (["-w", "math.sqrt"], "the worker class 'math.sqrt' is no class"),
            (["-w", "fractions.Fraction"], "'fractions.Fraction' is not derived from aiorq.Worker"),
            (["--connection-class", "fractions.Fraction"], "not derived from redis.asyncio.Redis"),
            (["--connection-class", "redis.RedisCluster"], "not derived from redis.asyncio.Redis"),
            (["-S", "no.such"], "no serializer 'no.such'"),
        ],
    )
    def test_mistakes(self, run: Run, options: list[str], said: str) -> None:
        done = run("worker", "-b", *options)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
