"""What the options, the environment and the config file come to: a client, queues, classes.

Redis is the first of: `--url`, `AIORQ_REDIS_URL`, `RQ_REDIS_URL`, `redis_url`, `sentinel` or `redis_host` and its like
in the config file, RQ's `REDIS_URL` and `REDIS_HOST` and its like in the environment, `redis://localhost:6379/0`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from aiorq.cli.config import REDIS, add_to_path
from aiorq.cli.mistakes import Mistake

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from aiorq.cli.parameters import Given
    from aiorq.queue import Queue

_OURS: Final = {
    "rq.Worker": "aiorq.Worker",
    "rq.SimpleWorker": "aiorq.SimpleWorker",
    "rq.SpawnWorker": "aiorq.SpawnWorker",
    "rq.worker.Worker": "aiorq.Worker",
    "rq.worker.SimpleWorker": "aiorq.SimpleWorker",
    "rq.worker.SpawnWorker": "aiorq.SpawnWorker",
    "rq.job.Job": "aiorq.Job",
    "rq.Queue": "aiorq.Queue",
    "rq.queue.Queue": "aiorq.Queue",
    "redis.Redis": "redis.asyncio.Redis",
    "redis.client.Redis": "redis.asyncio.Redis",
    "rq.serializers.DefaultSerializer": "pickle",
    "rq.serializers.PickleSerializer": "pickle",
    "rq.serializers.JSONSerializer": "json",
}
"""What RQ's own classes are here, so that its command lines and variables can stay as they are."""
_YES: Final = frozenset({"y", "yes", "t", "true", "on", "1"})
_NO: Final = frozenset({"n", "no", "f", "false", "off", "0", ""})


_SENTINEL: Final = (
    "instances",
    "master_name",
    "db",
    "username",
    "password",
    "socket_timeout",
    "ssl",
    "connection_kwargs",
    "sentinel_kwargs",
)


@asynccontextmanager
async def client_of(given: Given) -> AsyncIterator[Redis]:
    """A client for the Redis that is meant, which connects when it is first used.

    Raises:
        InvalidURLError, Mistake: a URL or a setting that cannot be read; the text never shows a password.
    """
    client = make_client(given)
    try:
        yield client
    finally:
        await client.aclose()


def make_client(given: Given) -> Redis:
    """As `client_of`, for whoever closes the client himself."""
    from aiorq.store.connection import connect

    kind = connection_class_of(given)
    if not given.url and given.settings is not None and given.settings.values.get("sentinel"):
        client = _through_sentinels(given.settings.values["sentinel"], f"{given.settings.path}, key sentinel")
    else:
        url, options = _place(given)
        client = connect(url, **options)
    return client if kind is None else kind.from_pool(client.connection_pool)


def _through_sentinels(settings: Any, origin: str) -> Redis:
    """The client that RQ's `SENTINEL` describes, with lower-case keys in TOML."""
    from aiorq.store.connection import connect_through_sentinels

    if not isinstance(settings, Mapping):
        raise Mistake(f"{origin}: it is no table")
    given = {str(name).lower(): value for name, value in settings.items()}
    for name in given:
        if name not in _SENTINEL:
            raise Mistake(f"{origin}: {name!r} means nothing; there are {', '.join(_SENTINEL)}")
    instances: list[tuple[str, int]] = []
    for each in given.get("instances", [("localhost", 26379)]):
        host, port = each.rpartition(":")[::2] if isinstance(each, str) else each
        if not (host and str(port).isdecimal()):
            raise Mistake(f"{origin}: {each!r} is no host and port of a sentinel")
        instances.append((str(host), int(port)))
    options = {name: given[name] for name in ("db", "username", "password", "ssl") if given.get(name) is not None}
    options |= given.get("connection_kwargs", {})
    return connect_through_sentinels(
        instances, str(given.get("master_name", "mymaster")), given.get("sentinel_kwargs"), **options
    )


def names_server(given: Given) -> bool:
    """Whether anything says where Redis is: an option, the environment or the config file."""
    return bool(given.settings is not None and given.settings.values.get("sentinel")) or _place(given) != (None, {})


def queue_of(given: Given, name: str, connection: Redis) -> Queue:
    """The queue of that name, of the class and with the serializer that are meant.

    Raises:
        ValueError: a bad name, a class or serializer that cannot be found.
    """
    from aiorq.queue import Queue

    kind: Any = class_of(given.queue_class, given, "queue class", Queue)
    made: Queue = kind(
        name,
        connection,
        job_class=class_of(given.job_class, given, "job class", None),
        serializer=serializer_of(given),
        prefix=given.prefix,
    )
    return made


def class_of(path: str | None, given: Given, what: str, default: Any) -> Any:
    """The class of that dotted path, RQ's own being ours; `default` for None.

    Raises:
        Mistake: there is none.
    """
    if path is None:
        return default
    path = _OURS.get(path, path)
    add_to_path(given.folders)
    module, _, name = path.rpartition(".")
    try:
        if not all(path.split(".")) or not module:
            raise ImportError("that is no dotted path of a class")
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # noqa: BLE001 - it may be the user's code
        raise Mistake(f"no {what} {path!r}: {type(error).__name__}: {error}") from None
    if not isinstance(found, type):
        raise Mistake(f"the {what} {path!r} is no class")
    return found


def own_class(path: str | None) -> str | None:
    """The dotted path of a class, RQ's own being ours; None for the usual one."""
    path = None if path is None else _OURS.get(path, path)
    return None if path in ("aiorq.Job", "aiorq.Queue") else path


def serializer_of(given: Given) -> str:
    """The name or the dotted path of the serializer, RQ's own being ours."""
    add_to_path(given.folders)
    return _OURS.get(given.serializer, given.serializer)


def connection_class_of(given: Given) -> Any:
    """The class of the client, None for the usual one.

    Raises:
        Mistake: there is none of that path, or it is no class of redis.asyncio's.
    """
    from redis.asyncio import Redis

    found = class_of(given.connection_class, given, "connection class", None)
    if found is None or found is Redis:
        return None
    if not issubclass(found, Redis):
        raise Mistake(f"the connection class {given.connection_class!r} is not derived from redis.asyncio.Redis")
    return found


def _place(given: Given) -> tuple[str | None, dict[str, Any]]:
    """The URL, None for the default, and the options beside it."""
    if given.url:
        return given.url, {}
    if given.settings is not None:
        return _place_in(given.settings.values, f"{given.settings.path}, key ")
    values = {name.lower(): os.environ[name] for name in map(str.upper, ("redis_url", *REDIS)) if name in os.environ}
    return _place_in(values, "environment variable ", str.upper)


def _place_in(values: Mapping[str, Any], origin: str, spell: Any = str) -> tuple[str | None, dict[str, Any]]:
    """The place that a config file or the environment names, as RQ reads it."""
    if values.get("redis_url"):
        return str(values["redis_url"]), {}
    if not any(values.get(name) not in (None, "") for name in REDIS):
        return None, {}

    def number(name: str, default: int, highest: int) -> int:
        text = str(values.get(name) or default)
        if not (text.isascii() and text.isdigit() and int(text) <= highest):
            raise Mistake(f"{origin}{spell(name)}: {text!r} is not a number from 0 to {highest}")
        return int(text)

    host = str(values.get("redis_host") or "localhost")
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    options = {}
    if values.get("redis_password"):
        options["password"] = str(values["redis_password"])
    secure = _truth(values.get("redis_ssl", False), f"{origin}{spell('redis_ssl')}")
    if secure:
        for name in ("ssl_ca_certs", "ssl_cert_reqs", "ssl_ca_data", "ssl_keyfile", "ssl_certfile"):
            if values.get(f"redis_{name}"):
                options[name] = values[f"redis_{name}"]
    scheme = "rediss" if secure else "redis"
    return f"{scheme}://{host}:{number('redis_port', 6379, 65535)}/{number('redis_db', 0, 10**6)}", options


def _truth(value: Any, what: str) -> bool:
    text = str(value).lower()
    if text not in _YES | _NO:
        raise Mistake(f"{what}: {text!r} is neither true nor false")
    return text in _YES
