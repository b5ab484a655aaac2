"""redis-py on the engine in this process: `redis.Redis(connection_pool=keystead.redis.pool("app"))`.

Every method of redis-py works as it does on a server that knows the command; exceptions are redis-py's. Where a program takes the name of a class, it
gets `keystead.redis.Pool` or `keystead.redis.Connection`; a `Connection` without an engine belongs to the one that stands for its host and port.
"""

from __future__ import annotations

from typing import Any

from keystead._connection import AsyncConnectionMixin, ConnectionMixin, LinkParser, PoolMixin
from keystead._engine import Path
from keystead._extras import needed
from keystead._keystead import Engine

with needed("redis", "redis"):
    import redis
    import redis.asyncio
    from redis._parsers.base import BaseParser
    from redis.asyncio.connection import AbstractConnection as AsyncAbstractConnection
    from redis.connection import URL_QUERY_ARGUMENT_PARSERS, AbstractConnection
    from redis.exceptions import ConnectionError, DataError, RedisError, TimeoutError

try:
    from redis.maint_notifications import MaintNotificationsConfig
except ImportError:
    MaintNotificationsConfig = None  # type: ignore[assignment, misc]

__all__ = ["AsyncConnection", "AsyncPool", "Connection", "Pool", "async_pool", "pool"]


def _without_maintenance(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Leaves out announcements of a moving server, which redis-py expects by default with RESP3: nothing moves here.

    Raises:
        RedisError: somebody insists on them.
    """
    if MaintNotificationsConfig is None:
        return kwargs
    wanted = kwargs.get("maint_notifications_config")
    if wanted is not None and wanted.enabled is True:
        raise RedisError("Maintenance notifications are not supported by an engine in this process")
    handlers = ("maint_notifications_pool_handler", "oss_cluster_maint_notifications_handler")
    kwargs = {name: value for name, value in kwargs.items() if name not in handlers}
    return {**kwargs, "maint_notifications_config": MaintNotificationsConfig(enabled=False)}


class _Parser(LinkParser, BaseParser):
    def on_connect(self, connection: Any) -> None:
        connection.attach_to(self)

    def read_response(self, disable_decoding: bool = False, push_request: bool = False, **wait: Any) -> Any:
        return self.read(disable_decoding, push_request, **wait)


class _AsyncParser(LinkParser, BaseParser):
    def on_connect(self, connection: Any) -> None:
        """The connection reads for itself."""

    async def read_response(self, disable_decoding: bool = False) -> Any:
        return self.read(disable_decoding)


class Connection(ConnectionMixin, AbstractConnection):
    """A connection of redis-py's pools that is a session of an engine: `engine=` takes one or a name, `path=` a folder."""

    make_error = BaseParser.parse_error
    connection_error = ConnectionError
    data_error = DataError
    link_parser = _Parser

    # What redis-py tells of errors, and asks of what it caches replies of.
    host = "keystead"
    port = 0

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**_without_maintenance(kwargs))

    @property
    def handshake_metadata(self) -> Any:
        """The reply to HELLO. redis-py caches replies of servers called redis only, and of such does tracking as it is here."""
        reply = self._handshake_metadata
        if not isinstance(reply, dict):
            return reply
        return {name: b"redis" if name in (b"server", "server") else value for name, value in reply.items()}

    @handshake_metadata.setter
    def handshake_metadata(self, value: Any) -> None:
        self._handshake_metadata = value


class AsyncConnection(AsyncConnectionMixin, AsyncAbstractConnection):  # type: ignore[misc]
    """The same for `redis.asyncio`."""

    make_error = BaseParser.parse_error
    connection_error = ConnectionError
    data_error = DataError
    timeout_error = TimeoutError
    link_parser = _AsyncParser

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**_without_maintenance(kwargs))


class Pool(PoolMixin, redis.ConnectionPool):
    """A redis.ConnectionPool of sessions of one engine, which is named, given, or kept in the folder `path`; without any it is private to the pool.

    Further arguments are redis-py's; those about sockets have no effect but for `socket_timeout`, which limits how long a reply is waited for.
    """

    default_connection = Connection
    url_parsers = URL_QUERY_ARGUMENT_PARSERS

    def __init__(self, engine: Engine | str | None = None, **kwargs: Any) -> None:
        super().__init__(engine, **_without_maintenance({"protocol": 2, **kwargs}))


class AsyncPool(PoolMixin, redis.asyncio.ConnectionPool):
    """The same for `redis.asyncio`."""

    default_connection = AsyncConnection
    url_parsers = URL_QUERY_ARGUMENT_PARSERS

    def __init__(self, engine: Engine | str | None = None, **kwargs: Any) -> None:
        super().__init__(engine, **_without_maintenance({"protocol": 2, **kwargs}))


def pool(engine: Engine | str | None = None, *, path: Path | None = None, **kwargs: Any) -> Pool:
    """A pool of sessions of an engine, named, given, or kept in the folder `path`; without any it is private to the pool. `kwargs` are redis-py's.

    Who wants to say when the log ends gives a `keystead.Engine(path=...)` and closes that.
    """
    return Pool(engine, path=path, **kwargs)


def async_pool(engine: Engine | str | None = None, *, path: Path | None = None, **kwargs: Any) -> AsyncPool:
    """As `pool`, for `redis.asyncio.Redis`."""
    return AsyncPool(engine, path=path, **kwargs)
