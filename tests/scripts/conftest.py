"""A store whose clock the tests set, and a look at everything that is in Redis."""

from __future__ import annotations

import json
import re
from asyncio import Future
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from aiorq import Job
from aiorq.call import make_call
from aiorq.dependency import Dependency
from aiorq.keys import Keys
from aiorq.options import JobOptions
from aiorq.rate_limit import RateLimit
from aiorq.store import commands, jobs, overdue, runs, workers
from aiorq.store.base import Store
from aiorq.store.commands import Asked
from aiorq.store.jobs import NewJob
from aiorq.store.overdue import Finding
from aiorq.store.replies import Value
from aiorq.store.runs import Claimed, Failed, Run

CLOCK = Keys("rq").clock
NOON = 1_767_355_200.25
"""2026-01-02T12:00:00.250000Z"""
TRACEBACK = b"dHJhY2U="
POISONED = b"cG9pc29u"
YEAR = 31_536_000
LISTS = ("queue",)
_BYTES = frozenset({b"data", b"result", b"exc_info"})
REGISTRIES = ("finished", "failed", "deferred", "scheduled", "canceled", "ready")


class ClockedStore(Store):
    """A store whose time stands where it is set, as it can below the prefixes of `aiorq.testing`. It can send its last
    call once more.
    """

    last: tuple[str, Sequence[Value], tuple[Value, ...]]
    before: Callable[[str], Awaitable[None]] | None = None
    """Is told of each script before it runs, by name."""

    def __init__(self, connection: Redis, keys: Keys) -> None:
        super().__init__(connection, keys)
        self.clock = "clock_virtual"

    async def run(self, script: str, keys: Sequence[Value], *args: Value) -> Any:
        if self.before is not None:
            await self.before(script)
        self.last = script, keys, args
        return await super().run(script, keys, *args)

    def send(self, script: str, keys: Sequence[Value], *args: Value, left: Callable[[], None]) -> Future[Any]:
        self.last = script, keys, args
        return super().send(script, keys, *args, left=left)

    async def again(self) -> Any:
        """Send the last call of a script once more, as after a lost reply."""
        script, keys, args = self.last
        return await self.run(script, keys, *args)

    async def set_clock(self, moment: float) -> None:
        await self.connection.set(self.keys.clock, repr(moment))


async def begin(store: Store, worker: str, run: Run) -> bool:
    """Begin a run; whether it holds its place."""
    return await runs.begins(store, worker, run, runs.send_begin(store, worker, run, lambda: None))


async def renew(store: Store, held: Sequence[Run], lease: float = 15, ttl: int = 480) -> tuple[bool, list[Run]]:
    """Renew what worker `w` holds and has not begun: whether it is known, and what it has lost."""
    renewed = await runs.renew(store, "w", "boot", dict.fromkeys(held, False), lease, ttl)
    return renewed.known, renewed.lost


@asynccontextmanager
async def told(connection: Any, worker: str = "w") -> AsyncIterator[list[dict[str, Any]]]:
    """The commands that a worker is sent within this block; the list is filled at its end."""
    heard: list[dict[str, Any]] = []
    async with connection.pubsub() as channel:
        await channel.subscribe(f"rq:pubsub:{worker}")
        assert (await channel.get_message(timeout=10))["type"] == "subscribe"
        yield heard
        await connection.publish(f"rq:pubsub:{worker}", "end")
        async for message in channel.listen():
            if message["data"] == b"end":
                break
            heard.append(json.loads(message["data"]))


def changed(before: dict[bytes, tuple[Any, bool]], after: dict[bytes, tuple[Any, bool]]) -> dict[str, Any]:
    """What two looks at everything differ in: what each key holds now, of a hash the fields; None for what is gone."""
    found: dict[str, Any] = {}
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key, (None, False))[0], after.get(key, (None, False))[0]
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
            new = {name.decode(): new[name].decode(errors="replace") if name in new else None for name in names}
        found[key.decode()] = new
    return found


class Books:
    """What is in Redis, read without aiorq."""

    def __init__(self, connection: Redis) -> None:
        self.connection: Any = connection

    async def dump(self) -> dict[bytes, tuple[Any, bool]]:
        """Every key with all that it holds, and whether it expires."""
        keys = sorted(key for key in await self.connection.keys("*") if key != CLOCK.encode())
        looks = self.connection.pipeline()
        for key in keys:
            looks.type(key).pttl(key)
        kinds = await looks.execute()
        for key, kind in zip(keys, kinds[::2], strict=True):
            self._ask(looks, key, kind)
        contents = iter(await looks.execute())
        found = {}
        for key, kind, left in zip(keys, kinds[::2], kinds[1::2], strict=True):
            content = next(contents)
            found[key] = ((content, next(contents)) if kind == b"stream" else content, left >= 0)
        return found

    @staticmethod
    def _ask(looks: Any, key: bytes, kind: bytes) -> None:
        """All that a key holds, in an order of its own only where the type has one: DUMP's bytes differ by it."""
        match kind:
            case b"hash":
                looks.hgetall(key)
            case b"set":
                looks.smembers(key)
            case b"zset":
                looks.zrange(key, 0, -1, withscores=True)
            case b"list":
                looks.lrange(key, 0, -1)
            case b"stream":
                looks.xrange(key).xinfo_stream(key)
            case _:
                looks.get(key)

    async def job(self, job_id: str) -> dict[str, str]:
        """The hash of a job, without what is no text."""
        fields = await self.connection.hgetall(f"rq:job:{job_id}")
        return {name.decode(): value.decode() for name, value in fields.items() if name not in _BYTES}

    async def status(self, job_id: str) -> str | None:
        value = await self.connection.hget(f"rq:job:{job_id}", "status")
        return None if value is None else value.decode()

    async def queue(self, name: str = "default") -> list[str]:
        return [job_id.decode() for job_id in await self.connection.lrange(f"rq:queue:{name}", 0, -1)]

    async def inbox(self, worker: str, name: str = "default") -> list[str]:
        return [job_id.decode() for job_id in await self.connection.lrange(f"rq:aiorq:inbox:{worker}:{name}", 0, -1)]

    async def registry(self, kind: str, name: str = "default") -> dict[str, float]:
        members = await self.connection.zrange(f"rq:{kind}:{name}", 0, -1, withscores=True)
        return {member.decode(): score for member, score in members}

    async def places(self, job_id: str) -> list[str]:
        """Every queue and registry that lists a job, once for each time that it is listed there."""
        pattern = rf"rq:(queue|aiorq:inbox|wip|{'|'.join(REGISTRIES)}|rl:.*:rate_limited$)"
        keys = [key for key in await self.connection.keys("rq:*") if re.match(pattern, key.decode())]
        looks = self.connection.pipeline()
        for key in keys:
            looks.type(key)
        kinds = dict(zip(keys, await looks.execute(), strict=True))
        listing = [key for key in keys if kinds[key] in {b"list", b"zset"}]
        for key in listing:
            self._ask(looks, key, kinds[key])
        found = []
        for key, entries in zip(listing, await looks.execute(), strict=True):
            members = [entry if isinstance(entry, bytes) else entry[0] for entry in entries]
            found += [key.decode() for member in members if member.decode().partition(":")[0] == job_id]
        return sorted(found)

    async def runs(self, job_id: str) -> list[str]:
        """Every key that speaks of runs of a job."""
        found = []
        for raw in await self.connection.keys("*"):
            key = raw.decode()
            if key == f"rq:executions:{job_id}" or key.startswith(f"rq:execution:{job_id}:"):
                found.append(key)
            elif key.startswith("rq:worker:") and key.endswith(":executions"):
                members = await self.connection.smembers(key)
                found += [key for member in members if member.decode().startswith(f"{job_id}:")]
        return sorted(found)

    async def results(self, job_id: str) -> list[dict[str, str]]:
        """The outcomes of a job, newest first."""
        entries = await self.connection.xrevrange(f"rq:results:{job_id}")
        return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in entries]

    async def members(self, key: str) -> set[str]:
        """What a set holds."""
        return {member.decode() for member in await self.connection.smembers(key)}

    async def slots(self, limit: str = "api") -> set[str]:
        """The jobs that hold a slot of a rate limit."""
        return {member.decode() for member in await self.connection.zrange(f"rq:rl:{limit}:allowed", 0, -1)}

    async def attempts(self, job_id: str) -> list[dict[str, Any]]:
        """The attempts of a job that were followed by another one."""
        return [json.loads(entry) for entry in await self.connection.lrange(f"rq:aiorq:attempts:{job_id}", 0, -1)]

    async def stops(self, worker: str = "w") -> dict[str, str]:
        """The runs that a worker was asked to stop, with their seconds."""
        asked = await self.connection.hgetall(f"rq:aiorq:stops:{worker}")
        return {token.decode(): grace.decode() for token, grace in asked.items()}

    async def answers(self, token: str) -> list[str]:
        """What those heard who asked for a run to be stopped."""
        return [fields[b"outcome"].decode() for _, fields in await self.connection.xrange(f"rq:aiorq:answer:{token}")]

    async def ttl(self, key: str) -> int:
        """Seconds; -1 for ever, -2 for a key that is not there."""
        seconds: int = await self.connection.ttl(key)
        return seconds


class Desk:
    """Makes, claims and ends jobs through the store, with short calls."""

    def __init__(self, store: ClockedStore) -> None:
        self.store = store
        self._nonces = 0

    def new(
        self,
        job_id: str,
        queue: str = "default",
        *,
        nonce: str | None = None,
        ttl: int | None = None,
        at_front: bool = False,
        parents: Sequence[str] = (),
        allow_failure: bool = False,
        limit: tuple[str, int] | None = None,
        wishes: Mapping[str, Any] | None = None,
        **attributes: Any,
    ) -> NewJob:
        """A job as a queue makes it; `wishes` are what else it asks for of a `NewJob`."""
        job: Job[Any] = Job(job_id, self.store.connection)
        waits = Dependency(parents, allow_failure) if parents else None
        rate_limit = RateLimit(*limit) if limit else None
        options = JobOptions(ttl=ttl, depends_on=waits, rate_limit=rate_limit)
        job.set_call(make_call("jobs.add", (1,)), options, default_timeout=180)
        job.group_id = (wishes or {}).get("group")
        for name, value in attributes.items():
            setattr(job, name, value)
        self._nonces += 1
        given = f"nonce{self._nonces}" if nonce is None else nonce
        new = NewJob(job_id, queue, job.fields_to_enqueue(queue), ttl, at_front, given)
        return replace(new, parents=tuple(parents), allow_failure=allow_failure, limit=limit, **(wishes or {}))

    async def place(self, job_id: str, queue: str = "default", **options: Any) -> str:
        """Enqueue a job; the state that it is in then."""
        return (await jobs.enqueue(self.store, self.new(job_id, queue, **options))).status.value

    async def take(self, job_id: str, queue: str = "default", *, worker: str = "w", begun: bool = False) -> Run:
        """Claim the first job of a queue, which must be this one."""
        (claim,) = await self.claim(queue, worker=worker) or []
        assert claim.run.job_id == job_id
        if begun:
            assert await begin(self.store, worker, claim.run)
        return claim.run

    async def finish(self, job_id: str, queue: str = "default", ttl: int = 500) -> None:
        """Take the first job of a queue, which must be this one, and end it well."""
        assert await runs.finish(self.store, "w", await self.take(job_id, queue), b"", ttl)

    async def fail(self, job_id: str, queue: str = "default", ttl: int = YEAR) -> Failed:
        """Take the first job of a queue, which must be this one, and let it fail."""
        return await runs.fail(self.store, "w", await self.take(job_id, queue), TRACEBACK, ttl)

    async def enqueue(self, *job_ids: str, queue: str = "default", **options: Any) -> None:
        for job_id in job_ids:
            await jobs.enqueue(self.store, self.new(job_id, queue, **options))

    async def claim(self, *queues: str, worker: str = "w", most: int = 1, lease: float = 15.0) -> list[Claimed] | None:
        return await runs.claim(self.store, worker, queues or ("default",), most, lease)

    async def start(
        self, job_id: str, queue: str = "default", *, worker: str = "w", lease: float = 15.0, **options: Any
    ) -> Run:
        """Enqueue a job and claim it; it has not begun."""
        await self.enqueue(job_id, queue=queue, **options)
        claimed = await self.claim(queue, worker=worker, lease=lease)
        assert claimed is not None
        assert [claim.run.job_id for claim in claimed] == [job_id]
        return claimed[0].run

    async def begin(self, job_id: str, queue: str = "default", *, worker: str = "w", **options: Any) -> Run:
        """Enqueue a job, claim it and begin it."""
        run = await self.start(job_id, queue, worker=worker, **options)
        assert await begin(self.store, worker, run)
        return run

    async def end_apart(self, script: str, run: Run, ttl: int = 500) -> str:
        """End a run with `finish` or `fail` and go no further, as who dies then; the part that was set apart."""
        args: list[Value] = ["w", run.queue, run.job_id, run.token, b"", ttl]
        args += ["", 0.5, "1"] if script == "fail" else [b""]
        word, _, part = (await self.store.run(script, [self.store.keys.job(run.job_id)], *args)).decode().partition(" ")
        assert word == {"finish": "ok", "fail": "failed"}[script]
        return str(part)

    async def register(self, worker: str = "w", *queues: str) -> None:
        await workers.register(self.store, worker, "boot", queues or ("default",), {"state": "idle"}, 480)

    async def ask(self, job_id: str, token: str = "", grace: float | None = None) -> Asked:
        return await commands.ask_stop(self.store, job_id, token, grace)

    async def look(self, worker: str = "w", leads: float = 5.0) -> list[Finding] | None:
        return await overdue.look(self.store, worker, leads)

    async def reap(
        self,
        run: Run | str,
        *,
        worker: str = "w",
        requeue_lost: bool = False,
        kept: int = YEAR,
        queue: str = "default",
        kinds: Sequence[str] = (),
    ) -> str:
        """End a run, or what a member of the registry stands for."""
        member = run if isinstance(run, str) else f"{run.job_id}:{run.token}"
        finding = Finding("lease", queue if isinstance(run, str) else run.queue, member, worker)
        said = {"traceback": TRACEBACK, "poisoned": POISONED, "kept": kept, "kinds": kinds}
        return await overdue.reap(self.store, finding, requeue_lost=requeue_lost, most=3, **said)  # type: ignore[arg-type]

    async def recover(self, job_id: str, queue: str = "default", *, kept: int = YEAR) -> str:
        finding = Finding("intermediate", queue, job_id)
        return await overdue.recover(self.store, finding, patience=60, traceback=TRACEBACK, kept=kept)

    async def promote(self, job_id: str, kind: str = "due", queue: str = "default") -> str:
        return await overdue.promote(self.store, Finding(kind, queue, job_id))

    async def start_at_rq(self, job_id: str, queue: str = "default", *, lease: float = 15.0, **options: Any) -> Run:
        """A job that a worker of RQ's, named `rqw`, runs."""
        connection: Any = self.store.connection
        run = Run(queue, job_id, "12345678-1234-1234-1234-123456789abc")
        member = f"{job_id}:{run.token}"
        job = self.new(job_id, queue, **options)
        fields = {"status": "started", "worker_name": "rqw", "started_at": "2026-01-02T12:00:00.250000Z"}
        await connection.hset(f"rq:job:{job_id}", mapping={**job.fields, **fields})
        await connection.sadd("rq:queues", f"rq:queue:{queue}")
        times = {"created_at": repr(NOON), "last_heartbeat": repr(NOON)}
        execution = {"id": run.token, "job_id": job_id, "worker_name": "rqw", **times}
        await connection.hset(f"rq:execution:{member}", mapping=execution)
        await connection.zadd(f"rq:executions:{job_id}", {run.token: NOON + lease})
        await connection.zadd(f"rq:wip:{queue}", {member: NOON + lease})
        await connection.sadd("rq:worker:rqw:executions", member)
        for key in (f"rq:execution:{member}", f"rq:executions:{job_id}", "rq:worker:rqw:executions"):
            await connection.expire(key, 90)
        await connection.hset("rq:worker:rqw", mapping={"birth": "2026-01-02T12:00:00.250000Z", "state": "busy"})
        await connection.sadd("rq:workers", "rq:worker:rqw")
        return run

    async def put(self, job_id: str, status: str, queue: str = "default") -> None:
        """A job in a state that only RQ, or another version, brings it to."""
        connection: Any = self.store.connection
        job = self.new(job_id, queue)
        await connection.hset(f"rq:job:{job_id}", mapping={**job.fields, "status": status, "old": "field"})
        await connection.sadd("rq:queues", f"rq:queue:{queue}")
        registry = {"stopped": "failed", "ready_to_enqueue": "ready"}.get(status, status)
        if status == "queued":
            await connection.rpush(f"rq:queue:{queue}", job_id)
        elif registry in REGISTRIES:
            await connection.zadd(f"rq:{registry}:{queue}", {job_id: NOON + 500})


@pytest.fixture
async def store(connection: Redis) -> ClockedStore:
    """The store of an empty server; its clock stands at noon."""
    store = ClockedStore(connection, Keys("rq"))
    await store.set_clock(NOON)
    return store


@pytest.fixture
def desk(store: ClockedStore) -> Desk:
    return Desk(store)


@pytest.fixture
def books(connection: Redis) -> Books:
    return Books(connection)
