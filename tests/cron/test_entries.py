"""Entries: what can be said of one, modules that register them, and what Redis then has."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jobs
import pytest
from redis.asyncio import Redis

from aiorq import Callback, Job, Retry, Webhook, cron
from aiorq.cron import Cron, CronJob, CronScheduler, create_cron, get_cron_job_ids, get_cron_job_names, register
from aiorq.cron.config import config_name, load_config, take_registered
from aiorq.cron.entries import put_all
from aiorq.cron.entry import NOT_JSON, check_name
from aiorq.doctor import examine, mend
from aiorq.errors import (
    CronConfigError,
    DuplicateSchedulerError,
    SchedulerNotFound,
    SerializationError,
    StoreError,
    TimeoutFormatError,
    UnserializableFunctionError,
)
from tests.cron.conftest import MINUTE, Clock
from tests.scripts.conftest import NOON, Books, ClockedStore

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write the module `conf` with these lines behind its imports, and forget what was known of it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two versions may be of the same second

    def write_config(body: str) -> str:
        (tmp_path / "conf.py").write_text(f"import jobs\nfrom aiorq import cron\n{body}\n")
        importlib.invalidate_caches()
        return "conf"

    yield write_config
    sys.modules.pop("conf", None)
    assert take_registered() == []


class TestJob:
    def test_attributes(self) -> None:
        job = CronJob("mail", jobs.add, args=(1, 2), kwargs={"c": 3}, cron="@daily", timezone="Europe/Berlin", ttl="1m")
        assert (job.name, job.func_name, job.queue_name, job.func) == ("jobs.add", "jobs.add", "mail", jobs.add)
        assert (job.args, job.kwargs) == ((1, 2), {"c": 3})
        assert (job.interval, job.cron, job.timezone) == (None, "@daily", "Europe/Berlin")
        assert job.job_options == {"result_ttl": 500, "ttl": 60}
        assert (job.latest_enqueue_time, job.next_enqueue_time, job.last_job_id) == (None, None, None)
        assert not job.paused
        assert repr(job) == "CronJob('jobs.add', '@daily' Europe/Berlin, 'jobs.add' on 'mail')"

    def test_next_time(self) -> None:
        job = CronJob("mail", func_name="jobs.add", interval=60)
        assert job.should_run()
        job.latest_enqueue_time = datetime.now(UTC)
        assert job.get_next_enqueue_time() == job.latest_enqueue_time + timedelta(seconds=60)
        assert not job.should_run()
        yearly = CronJob("mail", "jobs.add", cron="@yearly", timezone="UTC").get_next_enqueue_time()
        assert (yearly.month, yearly.day) == (1, 1)
        assert yearly > datetime.now(UTC)

    def test_as_rq_shows_it(self) -> None:
        hook = Webhook("https://example.org", "failed")
        job = CronJob("mail", jobs.add, args=(1, object()), interval=5, meta={"a": 1}, webhooks=[hook])
        shown = job.to_dict()
        assert shown["args"] == NOT_JSON
        assert (shown["kwargs"], shown["meta"], shown["interval"]) == (None, '{"a": 1}', 5)
        assert '"url": "https://example.org"' in shown["webhooks"]

    async def test_every_option_reaches_the_job(self, clock: Clock) -> None:
        hook = Webhook("https://example.org", "failed")
        await clock.add(
            func="jobs.add",
            args=(1, 2),
            kwargs={"c": 3},
            job_timeout="2m",
            result_ttl=7,
            ttl=8,
            failure_ttl=9,
            meta={"a": 1},
            webhooks=[hook],
            retry=Retry(3, 5),
            on_success="jobs.add",
            on_failure=Callback("jobs.fail", 7),
            on_stopped=jobs.add,
            description="text",
            on_lost="requeue",
            memory_limit="64m",
        )
        await clock.tick(MINUTE + 60)
        job = await Job.fetch((await clock.cron.job_ids("entry"))[0], clock.connection)
        assert (job.func_name, job.args, job.kwargs) == ("jobs.add", (1, 2), {"c": 3})
        assert (job.timeout, job.result_ttl, job.ttl, job.failure_ttl) == (120, 7, 8, 9)
        assert (job.meta, job.webhooks, job.description) == ({"a": 1}, [hook], "text")
        assert (job.retries_left, job.retry_intervals) == (3, [5])
        assert (job.success_callback_name, job.stopped_callback_name) == ("jobs.add", "jobs.add")
        assert (job.failure_callback_name, job.failure_callback_timeout) == ("jobs.fail", 7)
        assert (job.on_lost, job.memory_limit) == ("requeue", 64 * 2**20)
        assert job.created_at.timestamp() == MINUTE + 60

    async def test_serializer(self, clock: Clock) -> None:
        await clock.add(args=(1, 2), serializer="json")
        job = await clock.cron.run_now("entry")
        assert (await Job.fetch(job.id, clock.connection, "json")).args == (1, 2)

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"interval": -5}, "interval: -5"),
            ({"interval": None}, "cron= or interval="),
            ({"cron": "@daily"}, "cron= or interval="),
            ({"interval": None, "cron": "* * 31 2 *"}, "never comes true"),
            ({"interval": None, "cron": "* * * * 9"}, "day-of-week"),
            ({"interval": None, "cron": "@daily", "timezone": "Moon/Sea"}, "timezone: 'Moon/Sea'"),
            ({"timezone": "UTC"}, "timezone"),
            ({"misfire": "never"}, "misfire: 'never' is none of 'skip', 'once', 'all'"),
            ({"misfire": None}, "misfire"),
            ({"misfire_limit": 0}, "misfire_limit"),
            ({"misfire_limit": 10**6}, "misfire_limit"),
            ({"misfire_limit": 1.5}, "misfire_limit"),
            ({"misfire_grace": 0}, "misfire_grace"),
            ({"misfire_grace": float("nan")}, "misfire_grace"),
            ({"misfire_grace": "5"}, "misfire_grace"),
            ({"overlap": "no"}, "overlap"),
            ({"jitter": -1}, "jitter"),
            ({"jitter": float("inf")}, "jitter"),
            ({"jitter": 10**6}, "jitter"),
            ({"ttl": 0}, "ttl"),
            ({"job_timeout": "soon"}, "job_timeout"),
            ({"result_ttl": -5}, "result_ttl"),
            ({"retry": 5}, "retry"),
            ({"webhooks": ["x"]}, "webhooks"),
            ({"queue_name": "a,b"}, "queue name"),
            ({"name": "a\nb"}, "name: "),
            ({"name": "x" * 300}, "name: "),
            ({"name": 5}, "name: "),
            ({"depends_on": "a"}, "depends_on: there is no such option"),
            ({"job_id": "a"}, "job_id: there is no such option"),
            ({"func": None}, "func"),
            ({"func": "..."}, "must not be empty"),
            ({"func": int}, "expected a function"),
            ({"func": lambda: 5}, "lambda"),
            ({"serializer": "nope"}, "nope"),
            ({"args": (lambda: 5,)}, "args"),
        ],
    )
    def test_bad_input(self, options: dict[str, Any], text: str) -> None:
        """The error names what is wrong."""
        given: dict[str, Any] = {"queue_name": "default", "func": jobs.add, "interval": 60} | options
        errors = (ValueError, TypeError, SerializationError, TimeoutFormatError, NotImplementedError, ImportError)
        with pytest.raises(errors) as caught:
            CronJob(**given)
        assert text in str(caught.value)

    def test_names(self) -> None:
        assert check_name("a b: \N{SNAKE}") == "a b: \N{SNAKE}"
        for name in ("", "\x00", "\ud800", "\x9b"):
            with pytest.raises(ValueError, match="name: "):
                check_name(name)

    async def test_ids_of_unique_jobs(self, clock: Clock) -> None:
        """Whatever the names, the ids are ids, and no two are the same."""
        ids = set()
        for name in ("a", "a.b", "a_b", "a-b", "a b", "\N{SNAKE}", "x" * 200, "." * 200):
            await clock.add(name, unique=True)
            ids.add((await clock.cron.run_now(name)).id)
        assert len(ids) == 8


class TestConfig:
    def test_register(self) -> None:
        job = register(jobs.add, "default", (1,), {"b": 2}, 60, name="first")
        assert register(jobs.add, "default", cron="@daily").name == "jobs.add"
        assert [made.name for made in take_registered()] == [job.name, "jobs.add"]
        assert take_registered() == []

    def test_parameters_are_those_of_rq(self) -> None:
        import inspect

        import rq.cron

        theirs = list(inspect.signature(rq.cron.register).parameters)
        for ours in (register, CronScheduler.register, Cron.set):
            names = [name for name in inspect.signature(ours).parameters if name not in ("self", "options")]
            assert names == theirs

    def test_load(self, write: Write) -> None:
        name = write(
            "cron.register(jobs.add, 'default', (1,), interval=5)\n"
            "cron.register(jobs.add, 'default', (2,), interval=5)\n"
            "cron.register(jobs.add, 'default', (3,), interval=5, name='three')"
        )
        loaded = load_config(name)
        assert [(job.name, job.args, job.config) for job in loaded] == [
            ("jobs.add", (1,), "conf"),
            ("jobs.add#2", (2,), "conf"),
            ("three", (3,), "conf"),
        ]
        assert len({job.definition.version for job in loaded}) == 3
        write("cron.register(jobs.add, 'default', interval=6)")
        assert [job.interval for job in load_config(name)] == [6]  # loaded again

    def test_by_path(self, write: Write, tmp_path: Path) -> None:
        write("cron.register(jobs.add, 'default', interval=5)")
        path = str(tmp_path / "conf.py")
        assert [job.config for job in load_config(path)] == [path]
        assert [job.config for job in load_config("conf.py")] == ["conf"]

    def test_names_of_configs(self) -> None:
        for config, name in {
            "app.crons": "app.crons",
            "app/crons.py": "app.crons",
            "app/crons": "app.crons",
            "./app/crons.py": "app.crons",
            "crons.py": "crons",
            "/srv/app/../crons.py": "/srv/crons.py",
        }.items():
            assert config_name(config) == name
        for config in ("", "a b", "../up.py", "a..b", "-x", "a;b"):
            with pytest.raises(ValueError, match="neither the dotted name"):
                config_name(config)

    @pytest.mark.parametrize(
        ("body", "text"),
        [
            ("1/0", "ZeroDivisionError: division by zero"),
            ("import nothing_of_that_name", "No module named 'nothing_of_that_name'"),
            ("cron.register(jobs.add, 'default', cron='99 * * * *')", "minute"),
            ("cron.register(jobs.add, 'default', interval=-1)", "interval: -1"),
            ("cron.register(jobs.add, 'default', interval=1, name='x')\n" * 2, "'x' is registered twice"),
            ("cron.register(jobs.add, 'default', interval=1)\n1/0", "division"),
            ("this is no Python", "SyntaxError"),
        ],
    )
    def test_broken(self, write: Write, body: str, text: str) -> None:
        name = write(body)
        with pytest.raises(CronConfigError, match="'conf' cannot be loaded") as caught:
            load_config(name)
        assert text in str(caught.value)
        assert isinstance(caught.value, ImportError)

    @pytest.mark.parametrize("config", ["no_such_module", "/no/such/file.py", "", "a b", "/etc/hostname", "/"])
    def test_nothing_there(self, config: str) -> None:
        with pytest.raises(CronConfigError):
            load_config(config)

    def test_function_of_a_file(self, write: Write, tmp_path: Path) -> None:
        """No worker could import it by the name that it has there."""
        write("def work(): ...\ncron.register(work, 'default', interval=5)")
        with pytest.raises(CronConfigError, match="no worker could import it"):
            load_config(str(tmp_path / "conf.py"))
        assert [job.func_name for job in load_config("conf")] == ["conf.work"]

    def test_function_without_a_name(self) -> None:
        with pytest.raises(UnserializableFunctionError):
            register(lambda: 5, "default", interval=5)


class TestPutting:
    async def load(self, store: ClockedStore, write: Write, body: str) -> dict[str, str]:
        name = write(body)
        return await put_all(store, load_config(name), name)

    async def test_again_at_each_start(self, clock: Clock, store: ClockedStore, write: Write, books: Books) -> None:
        """A restart neither repeats an interval nor loses a slot."""
        body = (
            "cron.register(jobs.add, 'default', interval=60)\n"
            "cron.register(jobs.add, 'default', cron='* * * * *', timezone='UTC', name='b')"
        )
        assert await self.load(store, write, body) == {"jobs.add": "added", "b": "added"}
        await clock.tick()
        await clock.set(MINUTE + 62)
        before = await books.dump()
        assert await self.load(store, write, body) == {"jobs.add": "same", "b": "same"}
        assert await books.dump() == before
        await clock.tick()
        assert await clock.slots("jobs.add") == [0.25, 60.25]
        assert await clock.slots("b") == [60]

    async def test_what_is_not_there_any_more(self, clock: Clock, store: ClockedStore, write: Write) -> None:
        await clock.add("by-hand")
        a, b = (f"cron.register(jobs.add, 'default', interval=60, name='{name}')\n" for name in "ab")
        await self.load(store, write, a + b)
        await put_all(store, [CronJob("default", jobs.add, interval=5, name="other")], "another_module")
        assert await self.load(store, write, b) == {"b": "same", "a": "removed"}
        assert await clock.cron.names() == ["b", "by-hand", "other"]
        assert await self.load(store, write, "") == {"b": "removed"}
        assert await clock.cron.names() == ["by-hand", "other"]

    async def test_what_is_another_one(self, clock: Clock, store: ClockedStore, write: Write) -> None:
        await self.load(store, write, "cron.register(jobs.add, 'default', (1,), interval=60)")
        body = "cron.register(jobs.add, 'default', (2,), interval=60)"
        assert await self.load(store, write, body) == {"jobs.add": "replaced"}
        job = await clock.cron.run_now("jobs.add")
        assert job.args == (2,)

    async def test_moves_between_modules(self, clock: Clock, store: ClockedStore, write: Write) -> None:
        job = CronJob("default", jobs.add, interval=5, name="it")
        job.rename("it", "former_module")
        await put_all(store, [job], "former_module")
        await self.load(store, write, "cron.register(jobs.add, 'default', interval=5, name='it')")
        assert await put_all(store, [], "former_module") == {}
        assert [(each.name, each.config) for each in await clock.cron.list()] == [("it", "conf")]


class TestEntries:
    async def test_list(self, clock: Clock) -> None:
        await clock.add("b", interval=60)
        await clock.add("a", args=(1, "x"), kwargs={"k": [None]})
        await clock.tick()
        a, b = await clock.cron.list()
        assert (a.name, a.args, a.kwargs) == ("a", [1, "x"], {"k": [None]})
        assert (a.latest_enqueue_time, a.enqueued, a.last_job_id, a.paused) == (None, 0, None, False)
        assert a.next_enqueue_time == datetime.fromtimestamp(MINUTE + 60, UTC)
        assert b.latest_enqueue_time == b.latest_slot == datetime.fromtimestamp(NOON, UTC)
        assert (b.enqueued, [b.last_job_id]) == (1, await clock.cron.job_ids("b"))
        assert await b.get_job_ids(clock.connection) == await get_cron_job_ids("b", clock.connection)
        assert await get_cron_job_names(clock.connection) == ["b"]

    async def test_many(self, clock: Clock) -> None:
        for number in range(120):
            await clock.add(f"{number:03}")
        assert [job.name for job in await clock.cron.list()] == [f"{number:03}" for number in range(120)]

    async def test_history(self, clock: Clock) -> None:
        await clock.add()
        ids: list[str] = []
        for number in range(1, 6):
            ids[:0] = [ticked.job_id for ticked in await clock.tick(MINUTE + 60 * number)]
        assert await clock.cron.job_ids("entry") == ids
        assert await clock.cron.job_ids("entry", 1, 2) == ids[1:3]
        assert await clock.cron.job_ids("nope") == []

    async def test_entry_that_cannot_be_read(self, clock: Clock, books: Books) -> None:
        await books.connection.hset("rq:aiorq:cron", mapping={"x": "{", b"\xff": "{"})
        with pytest.raises(StoreError, match="cannot be read"):
            await clock.cron.get("x")
        assert await clock.cron.list() == []

    async def test_without_a_connection(self, url: str, connection: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIORQ_REDIS_URL", url)
        entries = Cron()
        await entries.set(jobs.add, "default", interval=60)
        assert [job.name for job in await Cron(url).list()] == ["jobs.add"]
        await entries.store.connection.aclose()


class TestScheduler:
    async def test_enqueue_jobs(self, clock: Clock) -> None:
        scheduler = CronScheduler(clock.connection)
        made = scheduler.register(jobs.add, "default", (1, 2), interval=60)
        scheduler.register(jobs.add, "default", (3, 4), interval=60)
        scheduler.register(jobs.add, "default", cron="@daily", name="daily", timezone="UTC")
        assert [job.name for job in scheduler.get_jobs()] == ["jobs.add", "jobs.add#2", "daily"]
        assert made is scheduler.get_jobs()[0]
        assert [job.name for job in await scheduler.enqueue_jobs()] == ["jobs.add", "jobs.add#2"]
        assert await scheduler.enqueue_jobs() == []
        assert await scheduler.calculate_sleep_interval() == 60
        await clock.set(NOON + 59)
        assert await scheduler.calculate_sleep_interval() == pytest.approx(1)
        await clock.set(NOON + 60)
        assert await scheduler.calculate_sleep_interval() == 0
        with pytest.raises(ValueError, match="'daily' is registered twice"):
            scheduler.register(jobs.add, "default", interval=1, name="daily")

    async def test_config(self, clock: Clock, write: Write) -> None:
        scheduler = CronScheduler(clock.connection)
        scheduler.load_config_from_file(write("cron.register(jobs.add, 'default', interval=60)"))
        assert scheduler.config_file == "conf"
        assert await scheduler.put() == {"jobs.add": "added"}
        with pytest.raises(CronConfigError):
            scheduler.load_config_from_file("no_such_module")

    async def test_create_cron(self, connection: Redis) -> None:
        register(jobs.add, "default", interval=5)
        register(jobs.add, "default", interval=6)
        scheduler = create_cron(connection)
        assert [job.name for job in scheduler.get_jobs()] == ["jobs.add", "jobs.add#2"]
        assert create_cron(connection).get_jobs() == []

    async def test_who_is_alive(self, clock: Clock, books: Books) -> None:
        scheduler = CronScheduler(clock.connection, name="first")
        with pytest.raises(SchedulerNotFound):
            await CronScheduler.fetch("first", clock.connection)
        assert await scheduler.last_heartbeat() is None
        await scheduler.register_birth()
        with pytest.raises(DuplicateSchedulerError, match="'first'"):
            await CronScheduler(clock.connection, name="first").register_birth()
        await scheduler.register_birth()  # the same one again
        (found,) = await CronScheduler.all(clock.connection)
        assert found == scheduler
        assert (found.hostname, found.pid) == (scheduler.hostname, scheduler.pid)
        assert found.created_at == scheduler.created_at
        heard = await found.last_heartbeat()
        assert heard is not None
        assert heard.timestamp() == NOON
        await clock.set(NOON + 121)
        await CronScheduler(clock.connection, name="first").register_birth()  # the first one is dead
        await scheduler.register_death()
        assert await CronScheduler.all(clock.connection) == []
        assert await books.dump() == {}

    def test_name(self) -> None:
        scheduler = CronScheduler()
        host, pid, rest = scheduler.name.rsplit(":", 2)
        assert (host, int(pid), len(rest)) == (scheduler.hostname, scheduler.pid, 6)


async def test_doctor_knows_the_keys(connection: Redis) -> None:
    """Those of an entry are as they should be; what is left of one that is gone is to expire."""
    entries = Cron(connection)
    for name in ("a", "b:c"):
        await entries.set(jobs.add, "default", interval=60, name=name)
    await CronScheduler(connection).enqueue_jobs()

    async def findings() -> list[str]:
        found = (await examine(connection, settle=0.01)).findings
        return sorted(finding.subject for finding in found if finding.invariant != "server")

    assert await findings() == []
    await connection.delete("rq:aiorq:cron:fields:b:c")
    assert await findings() == ["rq:aiorq:cron:state:b:c"]
    await mend(await examine(connection, settle=0.01), connection)
    assert await connection.ttl("rq:aiorq:cron:state:b:c") > 0


def test_module_says_what_it_has() -> None:
    assert cron.register is register
    assert sorted(cron.__all__) == cron.__all__
