"""Small projects that test their jobs, each as its users would write it: files, and the command that runs the tests."""

from __future__ import annotations

import sys
from typing import Final, NamedTuple

APP: Final = '''
"""An application: it greets people, later."""
from datetime import timedelta

from aiorq import Queue
from aiorq.sync import Queue as SyncQueue

queue = Queue("mail")
sync_queue = SyncQueue("mail")
sent = []


async def greet(name):
    sent.append(name)
    return f"Hello, {name}"


def count(text):
    return len(text)


async def sign_up(name):
    await queue.enqueue(greet, name)
    await queue.enqueue_in(timedelta(days=1), greet, f"{name}, still there?")


def measure(text):
    return sync_queue.enqueue(count, text)
'''
PLUGIN: Final = 'pytest_plugins = ["aiorq.testing.plugin"]\n'
STRICT: Final = "[pytest]\nfilterwarnings = error\n"
LOOPS: Final = STRICT + "asyncio_default_fixture_loop_scope = function\n"
BODY: Final = """
    await app.sign_up("Ada")
    aiorq_sandbox.assert_enqueued(app.greet, args=["Ada"], queue="mail")
    (job,) = await aiorq_worker()
    assert await job.return_value() == "Hello, Ada"
    aiorq_clock.move(days=1)
    assert len(await aiorq_worker()) == 1
    assert app.sent[-1] == "Ada, still there?"
    await aiorq_connection.set(f"{aiorq_sandbox.prefix}:mine", "gone with the test")
    await aiorq_queue.enqueue(app.count, "four")
    await aiorq_make_queue("low").enqueue(app.count, "five5")
    assert [await job.return_value() for job in await aiorq_fork_worker()] == [4, 5]
"""
ASYNC_TEST: Final = f"""
async def test_async(
    aiorq_sandbox, aiorq_worker, aiorq_fork_worker, aiorq_clock, aiorq_connection, aiorq_queue, aiorq_make_queue
):{BODY}

@pytest.mark.parametrize("number", range(3))
async def test_again(aiorq_sandbox, number):
    aiorq_sandbox.assert_nothing_enqueued()
    await app.sign_up("Ada")
    assert len(await aiorq_sandbox.work()) == 1
"""
SYNC_TEST: Final = """
def test_sync(aiorq_sandbox, aiorq_sync_worker, aiorq_sync_fork_worker, aiorq_make_sync_queue, aiorq_sync_queue,
              aiorq_sync_connection):
    job = app.measure("four")
    aiorq_sandbox.assert_enqueued(app.count, args=["four"], count=1)
    assert [job.return_value() for job in aiorq_sync_worker()] == [4]
    aiorq_make_sync_queue("low").enqueue(app.count, "five5")
    aiorq_sync_queue.enqueue(app.greet, "Ada")
    assert len(aiorq_sync_fork_worker()) == 2
    assert aiorq_sync_connection.ping()
"""
CASES: Final = """
import unittest

import app
from aiorq.testing import SandboxMixin


class TestAsync(SandboxMixin, unittest.IsolatedAsyncioTestCase):
    async def test_letter(self):
        await app.sign_up("Ada")
        self.aiorq.assert_enqueued(app.greet, args=["Ada"])
        (job,) = await self.aiorq.work()
        self.assertEqual(await job.return_value(), "Hello, Ada")
        self.aiorq.clock.move(days=1)
        self.assertEqual(len(await self.aiorq.work()), 1)

    async def test_other_place(self):
        self.aiorq.assert_nothing_enqueued()


class TestSync(SandboxMixin, unittest.TestCase):
    def test_measure(self):
        with self.aiorq.enqueued() as calls:
            job = app.measure("four")
        calls.assert_enqueued(app.count, args=["four"], count=1)
        self.aiorq.sync.work()
        self.assertEqual(job.return_value(), 4)

    def test_beside(self):
        with self.aiorq.sync.worker("mail"):
            self.assertEqual(self.aiorq.sync.wait_for_result(app.measure("four")).return_value, 4)
"""
DJANGO_SETTINGS: Final = """
SECRET_KEY = "not secret"
INSTALLED_APPS = ["letters"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
"""
DJANGO_MODELS: Final = """
from django.db import models


class Letter(models.Model):
    text = models.CharField(max_length=100)
    sent = models.BooleanField(default=False)
"""
DJANGO_JOBS: Final = """
from django.db import transaction

from aiorq import Queue
from aiorq.sync import Queue as SyncQueue

queue = SyncQueue("mail")


def send(number):
    from letters.models import Letter

    assert Letter.objects.filter(pk=number).update(sent=True) == 1


async def send_async(number):
    from letters.models import Letter

    assert await Letter.objects.filter(pk=number).aupdate(sent=True) == 1


def write(text):
    from letters.models import Letter

    letter = Letter.objects.create(text=text)
    transaction.on_commit(lambda: queue.enqueue(send, letter.pk))
    return letter


async def write_async(text):
    from letters.models import Letter

    letter = await Letter.objects.acreate(text=text)
    await Queue("mail").enqueue(send_async, letter.pk)
    return letter
"""
DJANGO_TESTS: Final = """
from django.test import TestCase, TransactionTestCase

from aiorq.testing import SandboxMixin
from letters import jobs


class TestInTransaction(SandboxMixin, TestCase):
    def test_job_sees_what_is_not_committed(self):
        with self.captureOnCommitCallbacks(execute=True):
            letter = jobs.write("Dear Ada")
            self.aiorq.assert_nothing_enqueued()
        self.aiorq.assert_enqueued(jobs.send, args=[letter.pk])
        self.aiorq.sync.work()
        letter.refresh_from_db()
        self.assertTrue(letter.sent)

    async def test_coroutines(self):
        letter = await jobs.write_async("Dear Ada")
        self.aiorq.assert_enqueued(jobs.send_async, count=1)
        await self.aiorq.work()
        await letter.arefresh_from_db()
        self.assertTrue(letter.sent)


class TestCommitted(SandboxMixin, TransactionTestCase):
    def test_at_commit(self):
        letter = jobs.write("Dear Ada")
        self.aiorq.sync.work()
        letter.refresh_from_db()
        self.assertTrue(letter.sent)
"""


class Project(NamedTuple):
    """Files, how their tests are run, and how many there are."""

    files: dict[str, str]
    command: list[str]
    says: str


PYTEST: Final = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
"""Of plugins those alone that are named; see `run`."""
PROJECTS: Final = {
    "three files": Project(
        {"app.py": APP, "conftest.py": PLUGIN, "test_app.py": f"import app\n{SYNC_TEST}"},
        [*PYTEST, "-W", "error"],
        "1 passed",
    ),
    "pytest-asyncio": Project(
        {
            "app.py": APP,
            "conftest.py": PLUGIN,
            "pytest.ini": LOOPS,
            "test_app.py": f"import app\nimport pytest\n\n@pytest.mark.asyncio{ASYNC_TEST}".replace(
                "@pytest.mark.param", "@pytest.mark.asyncio\n@pytest.mark.param"
            )
            + SYNC_TEST,
        },
        [*PYTEST, "-p", "pytest_asyncio.plugin"],
        "5 passed",
    ),
    "pytest-asyncio, one loop": Project(
        {
            "app.py": APP,
            "conftest.py": PLUGIN,
            "pytest.ini": LOOPS,
            "test_app.py": "import app\nimport pytest\n\n"
            'pytestmark = pytest.mark.asyncio(loop_scope="session")\n' + ASYNC_TEST,
        },
        [*PYTEST, "-p", "pytest_asyncio.plugin"],
        "4 passed",
    ),
    "anyio": Project(
        {
            "app.py": APP,
            "conftest.py": PLUGIN + 'import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return "asyncio"\n',
            "pytest.ini": STRICT,
            "test_app.py": "import app\nimport pytest\n\npytestmark = pytest.mark.anyio\n" + ASYNC_TEST + SYNC_TEST,
        },
        [*PYTEST, "-p", "anyio"],
        "5 passed",
    ),
    "unittest": Project(
        {"app.py": APP, "test_app.py": CASES},
        [sys.executable, "-W", "error", "-m", "unittest", "-v"],
        "Ran 4 tests",
    ),
    "django": Project(
        {
            "settings.py": DJANGO_SETTINGS,
            "letters/__init__.py": "",
            "letters/models.py": DJANGO_MODELS,
            "letters/jobs.py": DJANGO_JOBS,
            "letters/tests.py": DJANGO_TESTS,
        },
        [sys.executable, "-m", "django", "test", "--settings=settings", "--pythonpath=."],
        "Ran 3 tests",
    ),
}
