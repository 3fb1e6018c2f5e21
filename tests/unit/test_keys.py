"""The names of keys: RQ's names, the same in Lua, and what may stand in them."""

from __future__ import annotations

import inspect
import re
from importlib.resources import files

import pytest
from redis.asyncio import Redis

from aiorq.keys import Keys, check_job_id, check_queue_name, is_job_id

FOLDER = files("aiorq").joinpath("lua", "lib")
LUA = "\n".join(FOLDER.joinpath(f"{name}.lua").read_text(encoding="utf-8") for name in ("queue_keys", "keys"))
PREFIXES = ["rq", "{app}", "a.b:c-d_e"]

# What the wire format of RQ 3.0 calls them.
RQ_NAMES = {
    "queues": "rq:queues",
    "queue": "rq:queue:A0",
    "job": "rq:job:A0",
    "dependents": "rq:job:A0:dependents",
    "dependencies": "rq:job::A0:dependencies",
    "results": "rq:results:A0",
    "executions": "rq:executions:A0",
    "execution": "rq:execution:A0:A1",
    "registry": "rq:A0:A1",
    "workers": "rq:workers",
    "queue_workers": "rq:workers:A0",
    "worker": "rq:worker:A0",
    "worker_executions": "rq:worker:A0:executions",
    "suspended": "rq:suspended",
    "intermediate": "rq:queue:A0:intermediate",
    "first_seen": "rq:queue:A0:intermediate:first_seen:A1",
    "scheduler_lock": "rq:scheduler-lock:A0",
    "channel": "rq:pubsub:A0",
    "scheduler": "rq:scheduler:A0",
    "limits": "rq:rl-keys",
    "limit": "rq:rl:A0",
    "allowed": "rq:rl:A0:allowed",
    "limited": "rq:rl:A0:rate_limited",
    "groups": "rq:groups",
    "group": "rq:group:A0",
    "cron_schedulers": "rq:cron_schedulers",
    "cron_scheduler": "rq:cron_scheduler:A0",
    "cron_jobs": "rq:cron_jobs",
    "cron_history": "rq:cron_job:A0:jobs",
}


def names_of(prefix: str) -> dict[str, str]:
    """Every name that `Keys` builds, from arguments A0, A1 ..."""
    keys = Keys(prefix)
    built = {}
    for name, member in vars(Keys).items():
        if isinstance(member, property):
            built[name] = getattr(keys, name)
        elif inspect.isfunction(member) and not name.startswith("_") and name != "queue_name":
            arguments = [f"A{number}" for number in range(len(inspect.signature(member).parameters) - 1)]
            built[name] = getattr(keys, name)(*arguments)
    return built


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_lua_builds_the_same_names(connection: Redis, prefix: str) -> None:
    functions = re.findall(r"^local function (\w+)_key\((.*?)\)", LUA, re.MULTILINE)
    calls = []
    for name, parameters in functions:
        first, *rest = parameters.split(", ")
        assert first == "prefix"
        arguments = "".join(f", 'A{number}'" for number in range(len(rest)))
        calls.append(f"{name}_key(ARGV[1]{arguments})")
    built = await connection.eval(f"{LUA}\nreturn {{{', '.join(calls)}}}", 0, prefix)
    lua = {name: value.decode() for (name, _), value in zip(functions, built, strict=True)}
    assert lua == names_of(prefix)


def test_names_are_those_of_rq() -> None:
    names = names_of("rq")
    assert {name: names[name] for name in RQ_NAMES} == RQ_NAMES


def test_names_of_our_own_stay_in_their_corner() -> None:
    ours = {name: key for name, key in names_of("p").items() if name not in RQ_NAMES}
    assert ours
    assert all(key.startswith("p:aiorq:") for key in ours.values())


def test_no_two_names_are_the_same() -> None:
    names = list(names_of("rq").values())
    assert len(set(names)) == len(names)


def test_queue_name_is_the_reverse_of_queue() -> None:
    keys = Keys("{app}:x")
    assert keys.queue_name(keys.queue("a:b")) == "a:b"
    for key in ("rq:queue:a", "{app}:x:queues", "{app}:x:queue", ""):
        with pytest.raises(ValueError, match="not the key of a queue"):
            keys.queue_name(key)


@pytest.mark.parametrize("prefix", ["", "a b", "rq\n", "a*", "ä", "a/b"])
def test_bad_prefixes(prefix: str) -> None:
    with pytest.raises(ValueError, match="bad key prefix"):
        Keys(prefix)


def test_prefix_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Keys().prefix == "rq"
    monkeypatch.setenv("RQ_KEY_PREFIX", "theirs")
    assert Keys().prefix == "theirs"
    monkeypatch.setenv("AIORQ_KEY_PREFIX", "{ours}")
    assert Keys().prefix == "{ours}"
    assert Keys("mine").prefix == "mine"
    monkeypatch.setenv("AIORQ_KEY_PREFIX", "no good")
    with pytest.raises(ValueError, match="bad key prefix"):
        Keys()


def test_keys_of_one_prefix_are_equal() -> None:
    assert Keys("a") == Keys("a")
    assert Keys("a") != Keys("b")
    assert len({Keys("a"), Keys("a"), Keys("b")}) == 2


@pytest.mark.parametrize("job_id", ["a", "A-z_09", "-", "_", "a" * 255, "3f2504e0-4f89-11d3-9a0c-0305e82c3301"])
def test_good_ids(job_id: str) -> None:
    assert check_job_id(job_id) == job_id
    assert is_job_id(job_id)


@pytest.mark.parametrize(
    "job_id",
    ["", " ", "a b", "a\n", "\na", "a:b", "{}", "*", "a/b", "..", "\N{SNAKE}", "é", "a\x00", "a" * 256, "a" * 2**20],
)
def test_bad_ids(job_id: str) -> None:
    with pytest.raises(ValueError, match="bad job id") as caught:
        check_job_id(job_id)
    assert len(str(caught.value)) < 200
    assert not is_job_id(job_id)


@pytest.mark.parametrize("job_id", [None, 5, b"a", ["a"], 1.5])
def test_ids_that_are_no_text(job_id: object) -> None:
    with pytest.raises(TypeError, match="must be text"):
        check_job_id(job_id)


@pytest.mark.parametrize("name", ["default", "a:b", "a b", "é", "a" * 100, "{tag}", "\N{SNAKE}"])
def test_good_queue_names(name: str) -> None:
    assert check_queue_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "a,b", ",", "a\n", "\x00", "\x1b[31m", "a\x7f", "\x9b31m", "\ud800", "a" * 101, "a" * 10_240]
)
def test_bad_queue_names(name: str) -> None:
    with pytest.raises(ValueError, match="queue name") as caught:
        check_queue_name(name)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", [None, 5, b"default", ["default"]])
def test_queue_names_that_are_no_text(name: object) -> None:
    with pytest.raises(TypeError, match="must be text"):
        check_queue_name(name)
