"""Clients for Redis and Valkey: from a URL, from the environment, or from what another process of ours was given."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import weakref
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import unquote, urlsplit

import redis
import redis.sentinel
from redis.asyncio import Redis
from redis.asyncio.connection import ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry as BlockingRetry

from aiorq.errors import InvalidURLError

AnyRedis: TypeAlias = "Redis | redis.Redis"
"""A client: for an event loop, or one that blocks."""
DEFAULT_URL: Final = "redis://localhost:6379/0"
_SCHEMES: Final = {
    "redis": "redis",
    "rediss": "rediss",
    "valkey": "redis",
    "valkeys": "rediss",
    "unix": "unix",
}
_SENTINEL_POOLS: Final = (SentinelConnectionPool, redis.sentinel.SentinelConnectionPool)
_PORTABLE: Final = (str, int, float, bool, bytes, type(None))
_CONNECT_TIMEOUT: Final = 5.0
_KEEPALIVE: Final = {
    getattr(socket, name): value
    for name, value in {
        "TCP_KEEPIDLE": 5,
        "TCP_KEEPALIVE": 5,  # the same on macOS
        "TCP_KEEPINTVL": 3,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": 15_000,  # milliseconds: for what was sent, which keepalive leaves to long retransmissions
    }.items()
    if hasattr(socket, name)
}
"""So that a connection on which nothing gets through is lost within 15 s, also one on which a command blocks."""


def default_url() -> str:
    """The URL from `AIORQ_REDIS_URL`, else from RQ's `RQ_REDIS_URL`, else `redis://localhost:6379/0`."""
    return os.environ.get("AIORQ_REDIS_URL") or os.environ.get("RQ_REDIS_URL") or DEFAULT_URL


def connect(url: str | None = None, **options: Any) -> Redis:
    """Make a client with the settings that suit aiorq. It connects when it is first used; close it with `aclose()`.

    Requests are sent again by aiorq itself, which knows that each of them may be; redis-py's own retries are off.

    Args:
        url: `redis://`, `rediss://`, `valkey://`, `valkeys://` (as `user:password@host:port/db`) or `unix:///path?db=0`;
            None for the URL of the environment (`default_url`).
        options: further settings of `redis.asyncio.Redis`.

    Raises:
        InvalidURLError: the URL cannot be read; the text names the part and never shows the password.
    """
    return Redis.from_pool(_pool(ConnectionPool, url, {"retry": Retry(NoBackoff(), 0), **options}))


def connect_for_loop(url: str | None = None) -> Redis:
    """As `connect`, a client that nobody has to close: that is done when the event loop ends which first used it."""
    return Redis.from_pool(_pool(_LoopPool, url, {"retry": Retry(NoBackoff(), 0)}))


class _LoopPool(ConnectionPool):
    """Disconnects when its event loop ends in order."""

    _guard: AsyncGenerator[None] | None = None

    async def get_connection(self, *args: Any, **options: Any) -> Any:
        if self._guard is None:
            # An event loop, before it ends, finishes the generators that were begun in it.
            self._guard = self._disconnect_at_end()
            await anext(self._guard)
        return await super().get_connection(*args, **options)  # type: ignore[no-untyped-call]

    async def _disconnect_at_end(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await self.disconnect()


def connect_blocking(url: str | None = None, **options: Any) -> redis.Redis:
    """As `connect`, a client for `aiorq.sync`.

    Args:
        url: as for `connect`.
        options: further settings of `redis.Redis`.

    Raises:
        InvalidURLError: as `connect`.
    """
    return redis.Redis.from_pool(_pool(redis.ConnectionPool, url, {"retry": BlockingRetry(NoBackoff(), 0), **options}))


def _pool(kind: Any, url: str | None, options: dict[str, Any]) -> Any:
    settings: dict[str, Any] = {
        "socket_timeout": None,
        "socket_connect_timeout": _CONNECT_TIMEOUT,
        "decode_responses": False,
        **options,
    }
    try:
        checked = check_url(url or default_url())
        if not checked.startswith("unix:"):
            settings.setdefault("socket_keepalive_options", _KEEPALIVE)
        pool: Any = kind.from_url(checked, **settings)
        pool.make_connection()  # connects nothing, but finds settings that redis-py does not know
    except ValueError as error:
        if isinstance(error, InvalidURLError):
            raise
        raise InvalidURLError(f"the Redis URL cannot be read: {error}") from None
    except (TypeError, RedisError) as error:
        raise InvalidURLError(f"a setting in the Redis URL, or beside it, is unfit: {error}") from None
    return pool


def check_url(url: str) -> str:
    """Return `url` in a form that redis-py reads, or say what is wrong with it.

    redis-py itself takes `redis://host/name` for database 0 and `redis://:p@ss/w@host` for the host `ss`.

    Raises:
        InvalidURLError: the text names the part and never shows the password.
    """
    scheme, found, _ = url.partition("://")
    if not found or scheme not in _SCHEMES:
        shown = scheme if found and re.fullmatch(r"[a-z0-9+.-]{1,20}", scheme) else "none"
        known = ", ".join(f"{name}://" for name in _SCHEMES)
        raise InvalidURLError(f"the Redis URL has the scheme {shown}; use one of {known}")
    hint = "percent-encode '/', '@', ':', '#' and '?' in a password"
    try:
        parts = urlsplit(_SCHEMES[scheme] + url[len(scheme) :])
    except ValueError:
        raise InvalidURLError(f"the host of the Redis URL cannot be read ({hint})") from None
    try:
        port = parts.port
    except ValueError:
        raise InvalidURLError(f"the port of the Redis URL is not a number from 0 to 65535 ({hint})") from None
    # `geturl` leaves out the slashes before an empty host, which redis-py's blocking client insists on.
    whole = f"{parts.scheme}://{parts.geturl().partition(':')[2].removeprefix('//')}"
    if "@" in parts.query:
        raise InvalidURLError(f"the Redis URL has an '@' behind '?' ({hint})")
    if parts.scheme == "unix":
        if not parts.path or parts.path == "/":
            raise InvalidURLError("the Redis URL names no socket: write unix:///path/to/socket")
        return whole
    if port == 0:
        raise InvalidURLError("the port of the Redis URL is 0")
    database = unquote(parts.path).strip("/")
    if database and not re.fullmatch("[0-9]+", database):
        raise InvalidURLError(f"the database in the Redis URL is not a number, as in redis://host:6379/0 ({hint})")
    if parts.fragment:
        raise InvalidURLError(f"the Redis URL has a part behind '#' ({hint})")
    return whole


def connect_through_sentinels(
    instances: Sequence[tuple[str, int]],
    service: str,
    sentinel_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> Redis:
    """Make a client of the server that Redis Sentinel names the master, now and after each failover.

    Args:
        instances: hosts and ports of sentinels.
        service: the name of the master.
        sentinel_options: further settings for the connections to the sentinels, such as `password`.
        options: the same for those to the master, such as `password` and `db`; `ssl=True` for TLS.

    Raises:
        InvalidURLError: a setting that redis-py does not know.
    """
    asked: dict[str, Any] = {
        "socket_connect_timeout": _CONNECT_TIMEOUT,
        "socket_timeout": _CONNECT_TIMEOUT,
        "retry": Retry(NoBackoff(), 0),  # there are others to ask
        **(sentinel_options or {}),
    }
    settings: dict[str, Any] = {
        "socket_connect_timeout": _CONNECT_TIMEOUT,
        "socket_keepalive_options": _KEEPALIVE,
        **options,
        "socket_timeout": None,
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": False,
    }
    try:
        client: Redis = Sentinel(instances, sentinel_kwargs=asked).master_for(service, **settings)
        client.connection_pool.make_connection()  # connects nothing, but finds settings that redis-py does not know
    except (TypeError, ValueError, RedisError) as error:
        raise InvalidURLError(f"a setting for Redis Sentinel is unfit: {error}") from None
    return client


_shared: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Redis]] = weakref.WeakKeyDictionary()


def shared_connection(url: str | None = None) -> Redis:
    """The client for a URL, or for that of the environment, that everything in the running event loop shares.

    It is closed when the loop ends.

    Raises:
        InvalidURLError: the URL cannot be read.
    """
    clients = _shared.setdefault(asyncio.get_running_loop(), {})
    url = url or default_url()
    client = clients.get(url)
    if client is None:
        client = clients[url] = connect_for_loop(url)
    return client


def describe(connection: AnyRedis) -> dict[str, Any]:
    """What another process needs to connect to the same place, in plain values (it may hold a password)."""
    pool: Any = connection.connection_pool
    kinds = (
        ((UnixDomainSocketConnection, redis.UnixDomainSocketConnection), "unix"),
        ((SSLConnection, redis.SSLConnection), "ssl"),
    )
    kind = next((name for cls, name in kinds if issubclass(pool.connection_class, cls)), "tcp")
    described: dict[str, Any] = {"kind": kind, "settings": _portable(pool.connection_kwargs)}
    if isinstance(pool, _SENTINEL_POOLS):
        described["sentinels"] = [list(_address(sentinel)) for sentinel in pool.sentinel_manager.sentinels]
        described["service"] = pool.service_name
        described["sentinel_settings"] = _portable(pool.sentinel_manager.sentinel_kwargs)
    return described


def connect_as(description: dict[str, Any]) -> Redis:
    """Make a client from what `describe` said in another process."""
    if "sentinels" in description:
        instances = [tuple(address) for address in description["sentinels"]]
        settings = dict(description["settings"], ssl=description["kind"] == "ssl")
        return connect_through_sentinels(
            instances, description["service"], description["sentinel_settings"], **settings
        )
    classes: dict[str, Any] = {"unix": UnixDomainSocketConnection, "ssl": SSLConnection}
    settings = dict(description["settings"], socket_timeout=None, retry=Retry(NoBackoff(), 0))
    if description["kind"] in classes:
        settings["connection_class"] = classes[description["kind"]]
    return Redis.from_pool(ConnectionPool(**settings))


def connect_sync_as(description: dict[str, Any]) -> redis.Redis:
    """Make a blocking client from what `describe` said in another process."""
    settings = {name: value for name, value in description["settings"].items() if name != "retry"}
    if "sentinels" in description:
        instances = [tuple(address) for address in description["sentinels"]]
        manager = redis.Sentinel(instances, sentinel_kwargs=description["sentinel_settings"])
        master: redis.Redis = manager.master_for(description["service"], **settings, ssl=description["kind"] == "ssl")
        return master
    classes: dict[str, Any] = {"unix": redis.UnixDomainSocketConnection, "ssl": redis.SSLConnection}
    if description["kind"] in classes:
        settings["connection_class"] = classes[description["kind"]]
    return redis.Redis(connection_pool=redis.ConnectionPool(**settings))


def _portable(settings: Mapping[str, Any]) -> dict[str, Any]:
    left = {"decode_responses", "socket_timeout", "client_name"}
    return {name: value for name, value in settings.items() if isinstance(value, _PORTABLE) and name not in left}


def _address(sentinel: AnyRedis) -> tuple[str, int]:
    settings: dict[str, Any] = sentinel.connection_pool.connection_kwargs
    return settings["host"], settings["port"]


def where(connection: AnyRedis) -> str:
    """The place a client connects to, for people: no user, no password."""
    pool: Any = connection.connection_pool
    settings: dict[str, Any] = pool.connection_kwargs
    if isinstance(pool, _SENTINEL_POOLS):
        named = ", ".join(f"{host}:{port}" for host, port in map(_address, pool.sentinel_manager.sentinels))
        return f"{pool.service_name}/{settings.get('db') or 0} of the sentinels {named}"
    if "path" in settings:
        return f"unix://{settings['path']}"
    return f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}/{settings.get('db') or 0}"


def place_of(connection: AnyRedis | str | None) -> str:
    """The place that a client, a URL, or that of the environment leads to, as `where` says it; nothing is connected.

    Raises:
        InvalidURLError: the URL cannot be read.
    """
    return where(connect(connection) if connection is None or isinstance(connection, str) else connection)
