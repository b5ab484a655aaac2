"""Where the data are, by the variables of the environment that the service has always had; and the clients that follow from them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlsplit

import redis
from redis.sentinel import Sentinel

import keystead.redis

#: Schemes of a server's URL, and whether it is spoken to through TLS.
SERVERS = {"valkey": False, "redis": False, "valkeys": True, "rediss": True}


@dataclass(frozen=True)
class Settings:
    """What the environment says; the defaults are those of the service, but for the URL."""

    url: str = "keystead://policy-cache/0"
    password: str | None = None
    pool_size: int = 20
    #: Seconds until a call, a new connection, and a look whether an idle one still lives.
    socket_timeout: float = 5
    socket_connect_timeout: float = 2
    health_check_interval: float = 30
    #: Sentinels as (host, port); without any, the URL is the only server.
    sentinels: tuple[tuple[str, int], ...] = ()
    sentinel_master: str = "mymaster"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Reads the variables `VALKEY_*`.

        Raises:
            ValueError: one of them is not what it should be; its name is in the message.
        """
        settings = cls()
        for name, field, kind in (
            ("VALKEY_URL", "url", _url),
            ("VALKEY_PASSWORD", "password", str),
            ("VALKEY_POOL_SIZE", "pool_size", _positive),
            ("VALKEY_SOCKET_TIMEOUT", "socket_timeout", float),
            ("VALKEY_SOCKET_CONNECT_TIMEOUT", "socket_connect_timeout", float),
            ("VALKEY_HEALTH_CHECK_INTERVAL", "health_check_interval", float),
            ("VALKEY_SENTINEL_HOSTS", "sentinels", _sentinels),
            ("VALKEY_SENTINEL_MASTER", "sentinel_master", str),
        ):
            if text := environment.get(name):
                try:
                    settings = replace(settings, **{field: kind(text)})
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from None
        return settings

    @property
    def is_embedded(self) -> bool:
        """Whether the data are in this process."""
        return not self.sentinels and urlsplit(self.url).scheme == "keystead"


def _url(text: str) -> str:
    if urlsplit(text).scheme not in ("keystead", *SERVERS):
        raise ValueError(f"{text!r} is no URL of {', '.join(('keystead', *SERVERS))}")
    return text


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(f"{text!r} is less than 1")
    return number


def _sentinels(text: str) -> tuple[tuple[str, int], ...]:
    hosts = []
    for word in text.split(","):
        host, _, port = word.strip().rpartition(":")
        if not host:
            raise ValueError(f"{word.strip()!r} is no host:port")
        hosts.append((host, int(port)))
    return tuple(hosts)


@dataclass
class Clients:
    """Clients of the same data: text for most of it, and bytes for what is compressed, which is no text.

    With Sentinels, `replica` reads from a replica, which may lag; otherwise it is `text`.
    """

    text: redis.Redis
    raw: redis.Redis
    replica: redis.Redis

    def close(self) -> None:
        """Closes the connections; the data stay."""
        for client in (self.text, self.raw, self.replica):
            client.close()


def connect(settings: Settings) -> Clients:
    """Clients as the settings want them. A server is not spoken to before the first call."""
    if settings.sentinels:
        return _through_sentinels(settings)
    text, raw = (redis.Redis(connection_pool=pool(settings, decode_responses=yes)) for yes in (True, False))
    return Clients(text, raw, text)


def pool(settings: Settings, **options: Any) -> redis.BlockingConnectionPool:
    """The pool of the settings' URL: who finds all connections in use waits for one as long as for a reply."""
    url = urlsplit(settings.url)
    # The one line that differs between a server and the engine in this process.
    connection_class = {False: redis.Connection, True: redis.SSLConnection}.get(
        SERVERS.get(url.scheme),
        keystead.redis.Connection,  # type: ignore[arg-type]
    )
    return redis.BlockingConnectionPool(
        connection_class=connection_class,
        host=url.hostname or "localhost",
        port=url.port or 6379,
        db=int(url.path.strip("/") or 0),
        username=unquote(url.username) if url.username else None,
        password=unquote(url.password) if url.password else settings.password,
        max_connections=settings.pool_size,
        timeout=settings.socket_timeout,
        socket_timeout=settings.socket_timeout,
        socket_connect_timeout=settings.socket_connect_timeout,
        socket_keepalive=True,
        health_check_interval=settings.health_check_interval,
        **options,
    )


def _through_sentinels(settings: Settings) -> Clients:
    timeouts = {
        "socket_timeout": settings.socket_timeout,
        "socket_connect_timeout": settings.socket_connect_timeout,
    }
    sentinel = Sentinel(
        list(settings.sentinels), sentinel_kwargs=timeouts, password=settings.password, **timeouts
    )
    options = {"max_connections": settings.pool_size, "health_check_interval": settings.health_check_interval}
    master = sentinel.master_for(settings.sentinel_master, decode_responses=True, **options)
    raw = sentinel.master_for(settings.sentinel_master, **options)
    return Clients(
        master, raw, sentinel.slave_for(settings.sentinel_master, decode_responses=True, **options)
    )
