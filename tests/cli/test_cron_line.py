"""`aiorq cron CONFIG` with all of the options that `rq cron` has."""

from __future__ import annotations

import signal
from pathlib import Path

from redis.asyncio import Redis

from aiorq import Queue
from tests.cli.conftest import Start
from tests.cli.test_restart import heard


async def test_command_line_of_rq(start: Start, connection: Redis, url: str, tmp_path: Path) -> None:
    (tmp_path / "entries.py").write_text(
        "from aiorq import cron\ncron.register('math.sqrt', 'sums', (4,), interval=3600)\n"
    )
    (tmp_path / "settings.py").write_text(f"REDIS_URL = '{url}'\nNAME = 'not-of-cron'\n")
    line = (
        "cron entries.py -l DEBUG -c settings -P . -w aiorq.Worker -j aiorq.job.Job --queue-class aiorq.Queue -S pickle"
    )
    cron = start(*line.split(), "--connection-class", "redis.Redis")
    heard(cron, "math.sqrt")
    queue = Queue("sums", connection)
    while not await queue.get_job_ids():
        heard(cron, "")
    cron.send_signal(signal.SIGINT)
    assert cron.wait(30) == 0
    assert await connection.keys("rq:*not-of-cron*") == []


async def test_logging_options_of_ours(start: Start, connection: Redis, url: str, tmp_path: Path) -> None:
    (tmp_path / "entries.py").write_text(
        "from aiorq import cron\ncron.register('math.sqrt', 'sums', (4,), interval=3600)\n"
    )
    cron = start(
        "cron", "entries", "--log-format", '%(levelname)s "%(message)s', "--logging-level", "info", AIORQ_REDIS_URL=url
    )
    assert heard(cron, "math.sqrt").startswith('INFO "')
    while not await Queue("sums", connection).get_job_ids():
        heard(cron, "")
    cron.send_signal(signal.SIGTERM)
    assert cron.wait(30) == 0
